"""The shared test clips: their manifest, and which of them the native parser must read."""

from __future__ import annotations

import csv
import os
from pathlib import Path

DATA = Path(
    os.environ.get("CVDECODE_TEST_DATA", Path(__file__).resolve().parents[3] / "../shared/clips")
)
# Features of the manifest that lie outside the native parser's scope (docs/design.md).
OUTSIDE = {"MBAFF", "PAFF", "field-only", "FMO", "4:2:2", "4:4:4", "9bit", "10bit"}


def manifest() -> list[dict[str, str]]:
    """The rows of the H.264 clips that ffmpeg can read; empty where the clips are absent."""
    path = DATA / "manifest.csv"
    if not path.exists():
        return []
    with path.open(newline="") as file:
        return [r for r in csv.DictReader(file) if r["codec"] == "h264" and r["w"]]


def in_scope(row: dict[str, str]) -> bool:
    """By the manifest's features, never by what our parser thinks of the stream."""
    return not OUTSIDE & set(row["features"].split()) and "S" not in row["slice_types"]
