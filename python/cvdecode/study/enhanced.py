"""Cells of a grid that were enhanced after decoding (Pourreza et al.): compressed, then restored.

An enhanced cell lies beside the one it was made of, ``hevc-crf35-g250-medium+pixel`` beside
``hevc-crf35-g250-medium``, one file a clip, and is measured and evaluated like any other. What it
costs to send is what the compressed cell costs: bytes, bitrate, QP and bits of its records are
those of the compressed clips.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from pathlib import Path

import cvdecode

from .errors import DiskFull, EncodeFailed, StudyError
from .records import Journal, Record, room_for
from .sources import one_line, sha256_of
from .transcode import only_one

Enhance = Callable[[Path, Path], int]
"""Enhances a clip into a new file without further loss; gives the number of its frames."""


def enhance_cell(
    grid: str | os.PathLike[str],
    cell: str,
    name: str,
    enhance: Enhance,
    digest: str,
    *,
    on_progress: Callable[[int, int], None] = lambda done, total: None,
) -> tuple[list[Record], list[Record]]:
    """Enhances every clip of a cell and enters it; goes on where it stopped.

    Args:
        grid: folder that transcode() filled.
        cell: name of a setting in it.
        name: of the enhancement: the new cell is `cell`+`name`.
        enhance: does it.
        digest: names what does it: clips that another one made are made again.

    Returns:
        The records of the new cell, and source, setting and error of each clip that failed.

    Raises:
        StudyError: there is no such cell, the name is none for a folder, or another run works here.
        DiskFull: what is finished is kept; the same call goes on from it.
    """
    folder = Path(grid)
    if not name or set(name) & set("/\\+") or name.startswith("."):
        raise StudyError(f"{name!r} is no name for an enhancement: letters, digits and - will do")
    if not (folder / "manifest.jsonl").exists():
        raise StudyError(f"{folder}: no manifest.jsonl; make it with cvdecode study transcode")
    setting = f"{cell}+{name}"
    failed: list[Record] = []
    with only_one(folder):
        journal = Journal(folder / "manifest.jsonl")
        wanted = sorted(
            (r for r in journal.records.values() if r["setting"] == cell),
            key=lambda r: str(r["source"]),
        )
        if not wanted:
            there = ", ".join(dict.fromkeys(r["setting"] for r in journal.records.values()))
            raise StudyError(f"{folder} has no cell {cell}; it has {there}")
        for left in folder.glob(f"{setting}/**/.*.part*"):  # of a run that was killed
            left.unlink(missing_ok=True)
        keys = []
        for done, record in enumerate(wanted):
            on_progress(done, len(wanted))
            key = hashlib.sha256(f"{record['key']} {digest}".encode()).hexdigest()
            path = f"{setting}/{record['source']}.mp4"
            if not _is_there(journal.records.get(key), folder, path):
                try:
                    with room_for(folder):
                        found = _enhanced(folder, record, path, enhance)
                except DiskFull:
                    raise
                except cvdecode.Error as error:
                    told = {"source": record["source"], "setting": setting}
                    failed.append(told | {"error": one_line(error)})
                    continue
                more = {"key": key, "setting": setting, "enhanced": name}
                journal.add(record | more | found)
            keys.append(key)
        on_progress(len(wanted), len(wanted))
        made = journal.finish(keys, lambda r: r["path"], lambda r: (r["setting"], r["source"]))
    return made, failed


def _is_there(record: Record | None, folder: Path, path: str) -> bool:
    if record is None or record["path"] != path:
        return False
    try:
        return (folder / path).stat().st_size == int(record["file_bytes"])
    except OSError:
        return False


def _enhanced(folder: Path, record: Record, path: str, enhance: Enhance) -> Record:
    """Makes one clip; what is to be said of it."""
    final = folder / path
    final.parent.mkdir(parents=True, exist_ok=True)
    part = final.with_name(f".{final.stem}.{os.getpid()}.part.mp4")
    try:
        frames = enhance(folder / record["path"], part)
        if frames != record["frames"]:
            raise EncodeFailed(f"{record['frames']} frames were to be enhanced, {frames} were")
        found = {"file_bytes": part.stat().st_size, "sha256": sha256_of(part)}
        os.replace(part, final)
    finally:
        part.unlink(missing_ok=True)
    return found | {"path": path, "compressed": record["path"]}
