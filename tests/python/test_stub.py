"""The stub of the compiled module names what the module has, no more and no less."""

from __future__ import annotations

import ast
import re
from pathlib import Path
from typing import Any

from cvdecode import _core

STUB = Path(__file__).resolve().parents[2] / "python" / "cvdecode" / "_core.pyi"


def parameters(node: ast.FunctionDef) -> list[str]:
    return [arg.arg for arg in (*node.args.args, *node.args.kwonlyargs)]


def in_stub(body: list[ast.stmt]) -> dict[str, Any]:
    """Name -> parameters of a function, members of a class, None for anything else."""
    found: dict[str, Any] = {}
    for node in body:
        if isinstance(node, ast.FunctionDef):
            decorators = {d.id for d in node.decorator_list if isinstance(d, ast.Name)}
            found[node.name] = None if "property" in decorators else parameters(node)
        elif isinstance(node, ast.ClassDef):
            found[node.name] = in_stub(node.body)
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            found[node.target.id] = None
    return found


def signature(function: Any) -> list[str]:
    """Parameter names from the first line of the docstring that pybind11 writes."""
    first = (function.__doc__ or "").splitlines()[0]
    if ") ->" not in first:  # object's own __init__
        return []
    inside = first[first.index("(") + 1 : first.rindex(") ->")]
    inside = re.sub(r"\[[^\[\]]*\]", "", re.sub(r"\[[^\[\]]*\]", "", inside))
    return [part.split(":")[0].strip().lstrip("*") for part in inside.split(",") if part.strip()]


def in_module(members: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in members.items():
        if name.startswith("_") and name != "__init__":
            continue
        if re.search("private|test|debug|h264", f"{name} {value.__doc__}", re.IGNORECASE):
            continue  # there for tests only, and it says so
        if isinstance(value, type):
            found[name] = {} if issubclass(value, BaseException) else in_module(dict(vars(value)))
        elif callable(value):
            found[name] = signature(value)
        else:
            found[name] = None
    return found


def test_stub_is_the_module() -> None:
    stub = in_stub(ast.parse(STUB.read_text()).body)
    module = in_module(vars(_core))
    for name, members in module.items():  # a class that Python cannot make has no __init__
        if isinstance(members, dict) and "__init__" not in stub.get(name, {}):
            members.pop("__init__", None)
    assert stub == module


def test_errors_are_builtins_too() -> None:
    for name, builtin in {
        "UnsupportedStream": NotImplementedError,
        "CorruptStream": ValueError,
        "PlaneUnavailable": LookupError,
        "SourceNotFound": FileNotFoundError,
        "SourceError": OSError,
        "ReaderState": RuntimeError,
    }.items():
        assert issubclass(getattr(_core, name), (_core.Error, builtin))
        assert issubclass(getattr(_core, name), builtin)
