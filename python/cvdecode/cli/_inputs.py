"""What the user typed: the command itself, and the videos that it names."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path

VIDEO_SUFFIXES = {
    ".mp4", ".m4v", ".mov", ".mkv", ".webm", ".avi", ".ts", ".m2ts", ".mts", ".mpg", ".mpeg",
    ".ps", ".vob", ".flv", ".3gp", ".3g2", ".264", ".h264", ".avc", ".jsv", ".26l", ".bit",
    ".265", ".h265", ".hevc", ".m1v", ".m2v", ".m4a", ".mxf", ".wmv", ".asf",
}  # fmt: skip


def command() -> str:
    """What the user typed, for the records of what was made."""
    return shlex.join(["cvdecode", *sys.argv[1:]]) if sys.argv else ""


def expand(inputs: list[str]) -> list[tuple[str, str]]:
    """(source, name below the output folder without suffix) for each file, folder, list or URL.

    A folder gives every video below it, by suffix, in sorted order. A .txt file is a list: one
    path a line, relative to the list, "#" starts a comment.

    Raises:
        FileNotFoundError: an input does not exist.
        ValueError: a folder or list holds no video, or two inputs would write the same file.
    """
    found: list[tuple[str, str]] = []
    for text in inputs:
        path = Path(text)
        if "://" in text:
            found.append((text, Path(text.split("?")[0]).stem or "stream"))
        elif path.is_dir():
            below = sorted(p for p in path.rglob("*") if p.suffix.lower() in VIDEO_SUFFIXES)
            if not below:
                raise ValueError(f"{text}: no video in this folder (looked for known suffixes)")
            found += [(str(p), str(p.relative_to(path).with_suffix(""))) for p in below]
        elif path.suffix == ".txt":
            lines = (line.split("#")[0].strip() for line in path.read_text().splitlines())
            listed = [path.parent / line for line in lines if line]
            if not listed:
                raise ValueError(f"{text}: the list is empty")
            found += [(str(p), p.stem) for p in listed]
        elif path.exists():
            found.append((text, path.stem))
        else:
            raise FileNotFoundError(f"{text}: no such file or folder")
    seen: dict[str, str] = {}
    unique = []
    for source, name in found:
        while name in seen and seen[name] != source:  # a.mp4 beside a.mkv
            name += "_" + (Path(source).suffix.lstrip(".") or "2")
        if name not in seen:
            seen[name] = source
            unique.append((source, name))
    return unique
