"""JSON lines that survive a kill: a journal of finished work, and where numbers come from."""

from __future__ import annotations

import contextlib
import io
import json
import os
import platform
import threading
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

import cvdecode

from .errors import DiskFull
from .ffmpeg import full_disk

Record = dict[str, Any]


def dump(record: Record) -> str:
    """One line of JSON with sorted keys, so that equal records are equal bytes."""
    return json.dumps(record, sort_keys=True, ensure_ascii=False, default=_plain)


def _plain(value: Any) -> Any:
    if isinstance(value, np.generic | np.ndarray):
        return value.tolist()
    raise TypeError(f"a record holds a {type(value).__name__}, which JSON cannot")


def read_lines(path: str | os.PathLike[str]) -> list[Record]:
    """The records of a file of JSON lines; a line that a kill cut off is left out."""
    found = []
    for line in Path(path).read_text(encoding="utf-8", errors="replace").splitlines():
        try:
            record = json.loads(line)
        except ValueError:
            continue
        if isinstance(record, dict):
            found.append(record)
    return found


@contextlib.contextmanager
def room_for(path: str | os.PathLike[str]) -> Iterator[None]:
    """Says of a full disk which one it is and what to do: DiskFull."""
    try:
        yield
    except OSError as error:
        if not full_disk(error):
            raise
        raise DiskFull(
            f"the disk that holds {path} is full; what is finished is kept: free space and run the "
            "same command again"
        ) from error


def write_atomic(path: str | os.PathLike[str], content: str | bytes | memoryview) -> None:
    """Writes a file in one piece: a kill leaves the old content or the new, nothing between.

    Raises:
        DiskFull: there is no room; the old content stays.
    """
    part = Path(path).with_name(f".{Path(path).name}.{os.getpid()}.part")
    try:
        with room_for(path), open(part, "wb") as file:
            file.write(content.encode() if isinstance(content, str) else content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(part, path)
    except OSError:  # what was written is of no use
        part.unlink(missing_ok=True)
        raise


def save_array(path: str | os.PathLike[str], array: np.ndarray[Any, Any]) -> None:
    """np.save in one piece, by way of memory: np.save itself says of a full disk only numbers."""
    buffer = io.BytesIO()
    np.save(buffer, array)
    write_atomic(path, buffer.getbuffer())


def append(path: str | os.PathLike[str], records: Iterable[Record]) -> None:
    """Appends lines to a file of JSON lines; they are on the disk when this returns.

    Raises:
        DiskFull: there is no room.
    """
    with room_for(path), open(path, "ab") as file:
        if file.tell() and not _ends_with_newline(path):
            file.write(b"\n")  # a line cut off earlier must not swallow this one
        file.write("".join(dump(record) + "\n" for record in records).encode())
        file.flush()
        os.fsync(file.fileno())


def _ends_with_newline(path: str | os.PathLike[str]) -> bool:
    with open(path, "rb") as file:
        file.seek(-1, os.SEEK_END)
        return file.read(1) == b"\n"


class Journal:
    """A file of JSON lines, one for each finished piece of work, found again by its "key".

    Lines are appended as work finishes, whatever the order; finish() writes them sorted, so that
    the file does not depend on the order, nor on how often the work was interrupted.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self._path = Path(path)
        self._lock = threading.Lock()
        self.records: dict[str, Record] = {}
        if self._path.exists():
            for record in read_lines(self._path):
                if "key" in record:
                    self.records[str(record["key"])] = record

    def add(self, *records: Record) -> None:
        """Appends records, which are remembered only when they are on the disk."""
        with self._lock:
            append(self._path, records)
            self.records.update((str(record["key"]), record) for record in records)

    def finish(
        self, keys: Iterable[str], place: Callable[[Record], Any], order: Callable[[Record], Any]
    ) -> list[Record]:
        """Rewrites the file in one piece, sorted by `order`.

        Args:
            keys: of this run's records. A record of an earlier run is kept unless one of these
                takes its `place`.

        Returns:
            The records of this run, sorted.
        """
        with self._lock:
            mine = {key: self.records[key] for key in keys}
            taken = {place(record) for record in mine.values()}
            for key, record in self.records.items():
                if place(record) not in taken:
                    mine.setdefault(key, record)
            self.records = mine
            records = sorted(mine.values(), key=order)
            write_atomic(self._path, "".join(dump(record) + "\n" for record in records))
            return [record for record in records if place(record) in taken]


def provenance(command: str, seed: int | None = None) -> Record:
    """Versions, seed and command, to stand beside numbers. No time of day: runs compare equal."""
    from .ffmpeg import version

    return {
        "command": command,
        "seed": seed,
        "versions": {
            "cvdecode": cvdecode.__version__,
            "ffmpeg": version(),
            "numpy": np.__version__,
            "python": platform.python_version(),
        },
    }
