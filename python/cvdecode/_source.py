"""What a source is: a path or URL, bytes in memory, or a file object."""

from __future__ import annotations

import io
import os
from typing import Any, Literal, NamedTuple

from . import _core

Source = Any
"""str, os.PathLike, bytes-like, seekable binary file object, or URL."""


class Opening(NamedTuple):
    """How to open a source, again if need be."""

    kind: Literal["path", "bytes", "file"]
    source: Any
    name: str
    stamp: tuple[int, int] | None
    """(size, mtime_ns) of a local file."""


def stamp_of(path: str) -> tuple[int, int]:
    stat = os.stat(path)
    return (stat.st_size, stat.st_mtime_ns)


def opening_of(source: Source) -> Opening:
    """What ``source`` is; a TypeError that says what it could be instead."""
    if isinstance(source, (str, os.PathLike)):
        path = os.fsdecode(source)
        if "://" in path and not path.startswith("file://"):
            return Opening("path", path, path, None)
        try:
            return Opening("path", path, path, stamp_of(path))
        except (OSError, ValueError):
            return Opening("path", path, path, None)  # opening it tells what is wrong
    if hasattr(source, "read"):
        return _file_opening(source)
    try:
        view = memoryview(source)
    except TypeError:
        raise TypeError(_teach(source)) from None
    if not view.c_contiguous or view.itemsize != 1:
        raise TypeError(
            "a video in memory must be contiguous bytes, not "
            f"{'items of ' + view.format if view.format else 'items'}; pass bytes(source)"
        )
    return Opening("bytes", view, "<bytes>", None)


def _file_opening(file: Any) -> Opening:
    if isinstance(file, io.TextIOBase):
        raise TypeError("the file object is in text mode; open it with mode 'rb'")
    if not (hasattr(file, "seek") and getattr(file, "seekable", lambda: True)()):
        raise TypeError(
            f"a {type(file).__name__} that cannot seek is no source; read it into memory first: "
            "VideoReader(file.read())"
        )
    name = getattr(file, "name", None)
    return Opening("file", file, name if isinstance(name, str) else "<file object>", None)


def _teach(source: object) -> str:
    kinds = "a path, a URL, bytes or a memoryview, or a seekable binary file object"
    if isinstance(source, (list, tuple, set)):
        return f"one reader reads one source ({kinds}); open one reader for each of the sequence"
    if type(source).__module__.startswith("torch"):
        return f"a source is {kinds}; of a tensor of bytes pass tensor.numpy()"
    return f"a source is {kinds}, not {type(source).__name__}"


def has_descriptor(file: Any) -> bool:
    try:
        file.fileno()
    except (AttributeError, OSError, ValueError):
        return False
    return True


def check_unchanged(opening: Opening) -> None:
    """Raises where a file is not what it was when it was opened first."""
    name, stamp = opening.name, opening.stamp
    if stamp is None:
        return
    try:
        now = stamp_of(name)
    except FileNotFoundError:
        raise _core.SourceNotFound(
            f"{name}: no such file any more; a reader in another process opens it anew"
        ) from None
    if now != stamp:
        raise _core.SourceError(
            f"{name} has changed (size or modification time) since this reader opened it; "
            "open it anew"
        )
