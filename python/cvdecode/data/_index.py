"""The index of a data set, kept in a file: what every video holds, found out once.

{"version": 2, "videos": {path: [size, mtime_ns, frames, width, height, gops, error]}} as JSON;
``gops`` is a flat list of (start, key) pairs, ``error`` the reason why a video cannot be read.
Beside it, in a folder of the same name with ".d", lie the readers' own indexes of the videos, which
open without a scan and without a look at the container's tables.
"""

from __future__ import annotations

import concurrent.futures
import contextlib
import hashlib
import json
import os
import sys
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

import cvdecode
from cvdecode.data._gops import GopTable

VERSION = 2


class Video(NamedTuple):
    """What the index knows of a video."""

    size: int
    """Bytes."""
    mtime_ns: int
    num_frames: int
    width: int
    height: int
    gops: tuple[int, ...]
    """start, key, start, key ...: true GOPs, presentation indices."""
    error: str
    """Why it cannot be read; "" where it can."""

    def table(self, virtual_gop: int | None) -> GopTable:
        """The GOP table that samplers see."""
        if virtual_gop is not None:
            return GopTable.virtual(virtual_gop, self.num_frames)
        pairs = np.array(self.gops, np.int64).reshape(-1, 2)
        return GopTable(pairs[:, 0], pairs[:, 1], self.num_frames)


class DatasetIndex:
    """The index of the videos of a data set; opened, completed and saved by ``complete``."""

    def __init__(self, file: str | os.PathLike[str]) -> None:
        self.file = os.fspath(os.path.abspath(file))
        self.videos: dict[str, Video] = {}
        with contextlib.suppress(FileNotFoundError):
            self._load()

    def _load(self) -> None:
        try:
            with open(self.file, encoding="utf-8") as file:
                content = json.load(file)
            if content["version"] == VERSION:
                self.videos = {
                    path: Video._make((*row[:5], tuple(row[5]), *row[6:]))
                    for path, row in content["videos"].items()
                }
        except (ValueError, KeyError, TypeError, IndexError):
            self.videos = {}  # damaged: made anew

    def reader_file(self, path: str) -> str:
        """Where the reader keeps its own index of a video."""
        return f"{self.file}.d/{hashlib.sha256(path.encode()).hexdigest()[:32]}.idx"

    def complete(self, paths: Sequence[str], root: str, workers: int, progress: bool) -> None:
        """Scan the videos that are new or changed, in parallel, and save.

        What was found is saved also when it is interrupted, and taken up from there.
        """
        missing = []
        for path in dict.fromkeys(paths):
            known = self.videos.get(path)
            if known is None or (known.size, known.mtime_ns) != _stamp(os.path.join(root, path)):
                missing.append(path)
        if not missing:
            return
        os.makedirs(f"{self.file}.d", exist_ok=True)

        def scan(path: str) -> tuple[str, Video]:
            full = os.path.join(root, path)
            size, mtime_ns = _stamp(full)
            return path, _scan(full, size, mtime_ns, self.reader_file(path))

        # Scanning happens in native code, which lets go of the interpreter: threads are enough.
        pool = concurrent.futures.ThreadPoolExecutor(max(1, workers))
        try:
            with _bar(len(missing), progress) as advance:
                jobs = [pool.submit(scan, path) for path in missing]
                for job in concurrent.futures.as_completed(jobs):
                    path, video = job.result()
                    self.videos[path] = video
                    advance()
        finally:
            pool.shutdown(wait=True, cancel_futures=True)
            self.save()

    def save(self) -> None:
        """Write the file under a temporary name, then rename it."""
        folder = os.path.dirname(self.file)
        os.makedirs(folder, exist_ok=True)
        content = {"version": VERSION, "videos": self.videos}
        name = f"{self.file}.{os.getpid()}.part"
        with open(name, "w", encoding="utf-8") as file:
            json.dump(content, file, separators=(",", ":"))
        os.replace(name, self.file)


def _stamp(path: str) -> tuple[int, int]:
    try:
        stat = os.stat(path)
    except OSError:
        return (-1, -1)
    return (stat.st_size, stat.st_mtime_ns)


def _scan(path: str, size: int, mtime_ns: int, index_file: str) -> Video:
    try:
        with cvdecode.VideoReader(path, planes=(), index_file=index_file) as video:
            if len(video) == 0:
                raise cvdecode.CorruptStream(f"{path} has no frame")
            table = GopTable.of(video.gops, len(video))
            meta = video.metadata
            pairs = np.stack([table.starts, table.keys], axis=1).ravel()
            gops = tuple(pairs.tolist())
            return Video(size, mtime_ns, len(video), meta.width, meta.height, gops, "")
    except (cvdecode.Error, OSError) as error:
        return Video(size, mtime_ns, 0, 0, 0, (), f"{type(error).__name__}: {error}")


@contextlib.contextmanager
def _bar(total: int, wanted: bool) -> Iterator[Any]:
    """A progress bar on a terminal, where rich is installed; gives the function to advance."""
    try:
        from rich.progress import Progress
    except ImportError:
        wanted = False
    if not (wanted and sys.stderr.isatty()):
        yield lambda: None
        return
    from rich.console import Console

    with Progress(console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("indexing videos", total=total)
        yield lambda: progress.advance(task)
