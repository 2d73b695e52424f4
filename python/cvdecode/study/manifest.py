"""The finished outputs of a grid, as they stand in its manifest."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from .errors import StudyError
from .records import Record, read_lines


def load_manifest(folder: str | os.PathLike[str]) -> list[Record]:
    """The finished outputs of a grid, with "file" = their full path, and "stream" = that of the
    compressed clip, which is another where it was enhanced.

    Raises:
        StudyError: there is no manifest.
    """
    path = Path(folder) / "manifest.jsonl"
    if not path.exists():
        raise StudyError(f"{folder}: no manifest.jsonl; make it with cvdecode study transcode")
    records = read_lines(path)
    for record in records:
        record["file"] = str(Path(folder) / record["path"])
        record["stream"] = str(Path(folder) / (record.get("compressed") or record["path"]))
    return records


def labelled(
    folder: str | os.PathLike[str], setting: str, labels: Mapping[str, int]
) -> list[tuple[str, int]]:
    """(path, class) of the clips of one setting that have a label, in the order of their names.

    Raises:
        StudyError: there is none.
    """
    records = sorted(load_manifest(folder), key=lambda r: str(r["source"]))
    found = [
        (str(r["file"]), labels[r["source"]])
        for r in records
        if r["setting"] == setting and r["source"] in labels
    ]
    if not found:
        raise StudyError(f"{folder}: no labelled clip with the setting {setting!r}")
    return found
