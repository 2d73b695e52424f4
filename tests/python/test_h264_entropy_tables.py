"""The committed tables are what the numeric tables of the standard give."""

from __future__ import annotations

import importlib.util
import json
import os
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
TABLES = Path(
    os.environ.get("CVDECODE_TABLES", ROOT.parent / "shared" / "tables" / "h264_tables.json")
)


def test_tables_are_those_of_the_standard() -> None:
    if not TABLES.exists():
        pytest.skip(f"{TABLES} is not there (CVDECODE_TABLES names another place)")
    script = ROOT / "tools" / "make_h264_tables.py"
    spec = importlib.util.spec_from_file_location("make_h264_tables", script)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    files = module.generate(json.loads(TABLES.read_text()))
    assert len(files) == 5
    for path, text in files.items():
        assert (ROOT / "csrc" / path).read_text() == text, path
