"""Builds and loads the C++ oracle module (tests/cpp), which links nothing of cvdecode."""

from __future__ import annotations

import functools
import importlib.util
import os
import shutil
import subprocess
import sys
from pathlib import Path
from types import ModuleType

ROOT = Path(__file__).resolve().parents[3]


def _build(folder: Path) -> None:
    cmake = shutil.which("cmake")
    if cmake is None:
        raise RuntimeError("cmake is needed to build the oracle module of the tests (tests/cpp)")
    pybind = subprocess.run(
        [sys.executable, "-m", "pybind11", "--cmakedir"], capture_output=True, text=True, check=True
    ).stdout.strip()
    configure = [cmake, "-S", str(ROOT / "tests" / "cpp"), "-B", str(folder)]
    configure += [f"-DCMAKE_PREFIX_PATH={pybind}", f"-DPython_EXECUTABLE={sys.executable}"]
    if shutil.which("ninja"):
        configure += ["-G", "Ninja"]
    for command in (configure, [cmake, "--build", str(folder), "--parallel", "2"]):
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            raise RuntimeError(f"{' '.join(command)} failed:\n{done.stdout}\n{done.stderr}")


@functools.cache
def oracle_module() -> ModuleType:
    """The compiled oracle module; built on the first use (about ten seconds), then cached.

    CVDECODE_ORACLE_DIR names a folder that already holds the built module.
    """
    given = os.environ.get("CVDECODE_ORACLE_DIR")
    tag = f"{sys.implementation.cache_tag}-{os.path.basename(sys.prefix)}"
    folder = Path(given) if given else ROOT / "build" / f"oracle-{tag}"
    if not given:
        _build(folder)
    found = sorted(folder.glob("_oracle*.so"))
    if not found:
        raise RuntimeError(f"no _oracle module in {folder}")
    spec = importlib.util.spec_from_file_location("_oracle", found[0])
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
