"""The layer table of the architecture, executable: a wrong arrow fails here."""

from __future__ import annotations

import ast
import graphlib
import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
CSRC = ROOT / "csrc"
PACKAGE = ROOT / "python" / "cvdecode"

# A folder of csrc/ may include itself and those listed.
NATIVE: dict[str, set[str]] = {
    "base": set(),
    "frame": {"base"},
    "bitstream": {"base"},
    "av": {"base"},
    "kernels": {"base"},
    "demux": {"av", "frame", "base"},
    "mpeg": {"bitstream", "frame", "base"},
    "h264": {"bitstream", "kernels", "frame", "base"},
    "backend": {"av", "h264", "mpeg", "frame", "base"},
    "accumulate": {"kernels", "frame", "base"},
    "reader": {"demux", "backend", "frame", "base"},
    "cuda": {"kernels"},
    "bind": {"reader", "accumulate", "backend", "demux", "h264", "bitstream", "frame", "base"},
}
# Headers of other projects and the only folders that may include them.
OUTSIDE: dict[str, set[str]] = {
    r"lib(av(codec|format|util)|swscale)/": {"av", "demux", "backend"},
    r"hwy/": {"kernels"},
    r"cuda|cub/|thrust/": {"kernels"},
    r"pybind11/": {"bind", "cuda"},
    r"torch/|ATen/|c10/": set(),
}
# A module (or folder) of python/cvdecode may import itself, the core, and those listed.
CORE = {"_core", "_frame", "_reader", "_accumulate", "coviar", "__init__"}
PYTHON: dict[str, set[str]] = {
    "_core": set(),
    "_frame": {"_core"},
    "_reader": {"_core", "_frame"},
    "_accumulate": {"_core", "_frame", "_reader"},
    "coviar": {"_core", "_frame", "_reader", "_accumulate"},
    "__init__": CORE,
    "data": {"__init__"},
    "heads": set(),
    "enhance": set(),
    "study": {"__init__"},
    "report": {"study", "__init__"},
    "recipes": {"data", "heads", "enhance", "study", "__init__"},
    "cli": {"recipes", "report", "study", "enhance", "heads", "data", "__init__"},
}


def test_tables_have_no_cycle() -> None:
    graphlib.TopologicalSorter(NATIVE).prepare()
    graphlib.TopologicalSorter({k: v - {k} for k, v in PYTHON.items()}).prepare()


def test_native_layers() -> None:
    wrong = []
    seen = 0
    for path in sorted(CSRC.rglob("*")):
        if path.suffix not in {".h", ".cc", ".cu", ".inc"}:
            continue
        folder = path.relative_to(CSRC).parts[0]
        assert folder in NATIVE, f"csrc/{folder} has no row in the table"
        for name in re.findall(r'#include\s+[<"]([^>"]+)[>"]', path.read_text()):
            seen += 1
            target = name.split("/")[0]
            ours = "/" in name and (CSRC / target).is_dir()
            if ours and target != folder and target not in NATIVE[folder]:
                wrong.append(f"{path.relative_to(ROOT)} includes {name}")
            wrong += [
                f"{path.relative_to(ROOT)} includes {name}"
                for pattern, allowed in OUTSIDE.items()
                if re.match(pattern, name) and folder not in allowed
            ]
    assert seen > 50, "the scan found hardly any #include: is the pattern right?"
    assert not wrong, "\n".join(wrong)


def imports(path: Path) -> list[tuple[str, bool]]:
    """(absolute module name, whether it runs when the module is imported)."""
    tree = ast.parse(path.read_text())
    at_import = {id(node) for node in tree.body}
    package = ("cvdecode", *path.relative_to(PACKAGE).parts[:-1])
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found += [(alias.name, id(node) in at_import) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                above = package[: len(package) - node.level + 1]
                base = ".".join((*above, *([base] if base else [])))
            names = [f"cvdecode.{a.name}" for a in node.names] if base == "cvdecode" else [base]
            found += [(name, id(node) in at_import) for name in names]
    return found


def test_python_layers() -> None:
    wrong = []
    for path in sorted(PACKAGE.rglob("*.py")):
        owner = path.relative_to(PACKAGE).with_suffix("").parts[0]
        allowed = PYTHON.get(owner, CORE)
        for name, at_import in imports(path):
            where = f"{path.relative_to(ROOT)} imports {name}"
            if (
                name.split(".")[0] == "torch"
                and at_import
                and owner not in {"data", "heads", "enhance", "recipes"}
            ):
                wrong.append(f"{where}: import cvdecode must not need torch")
            if not name.startswith("cvdecode"):
                continue
            parts = name.split(".")
            target = parts[1] if len(parts) > 1 else "__init__"
            if target not in PYTHON:  # a public name of the package, or a private helper of a row
                target = owner if target.startswith("_") else "__init__"
            if target != owner and target not in allowed:
                wrong.append(where)
    assert not wrong, "\n".join(wrong)
