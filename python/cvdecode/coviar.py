"""A drop-in for pytorch-coviar's loader module: load(), get_num_frames(), get_num_gops().

    from cvdecode.coviar import load, get_num_frames, get_num_gops

Vectors are the original's integer for integer on the MPEG-4 files that it reads (I and P pictures
only). What differs:

- Any container and codec that cvdecode reads with I and P pictures works, not raw MPEG-4 alone.
- get_num_frames() counts every frame; the original loses the last one of a file, which its parser
  never hands out. libavcodec exports no vectors for a frame that comes out only when the stream
  ends: where the last frame is such a one, load() raises CorruptStream for its vectors and
  accumulated residual.
- The original ignores what a stream says of its colours, and so does this: libswscale's bicubic
  conversion with its default matrix. Only the last columns of pictures whose width is no multiple
  of 32 may differ, where versions of libswscale disagree.
- A GOP or position that does not exist raises IndexError, a B picture ValueError.
- Files stay open, up to eight per thread, and of the GOP that was asked for last in each the
  vectors, the map and the first picture are kept (at most 64 MiB of vectors): a loader that asks
  for one position after another reads each frame once. A file that has changed is opened anew.
  close() lets go of everything.
- Plain I- and P-VOPs of MPEG-4 are parsed for their vectors, no pixel is decoded for them; with a
  residual, whose pixels are decoded anyway, the vectors come along.
"""

from __future__ import annotations

import os
import threading
from collections import OrderedDict
from typing import Any

import numpy.typing as npt

from . import _core
from ._reader import VideoReader

I_FRAME, MV, RESIDUAL = 0, 1, 2
"""Values of ``representation``."""

_MOST_OPEN = 8


class _Video:
    """An open file, and its loader, which keeps the GOP that was asked for last."""

    def __init__(self, path: str, stamp: tuple[int, int]) -> None:
        self.stamp = stamp
        self.reader = VideoReader(path, planes=())
        self.gops = self.reader.gops
        self._core: _core.Reader | None = None

    def loader(self) -> _core.CoviarLoader:
        """The loader; a new one in the child of a fork, where the reader opens anew."""
        core = self.reader._handle()
        if core is not self._core:
            self._core = core
            self._loader = _core.CoviarLoader(core)
        return self._loader

    def frame(self, gop_index: int, gop_pos: int) -> int:
        """Presentation index of a position of a GOP."""
        if not 0 <= gop_index < len(self.gops):
            raise IndexError(f"gop_index {gop_index} is out of range: there are {len(self.gops)}")
        gop = self.gops[gop_index]
        if not 0 <= gop_pos < gop.stop - gop.start:
            raise IndexError(
                f"gop_pos {gop_pos} is out of range: GOP {gop_index} has {gop.stop - gop.start} "
                "frames"
            )
        return gop.start + gop_pos


class _Open(threading.local):
    """The files that this thread has open, the latest last."""

    def __init__(self) -> None:
        self.videos: OrderedDict[str, _Video] = OrderedDict()


_open = _Open()


def _stamp(name: str) -> tuple[int, int]:
    try:
        stat = os.stat(name)
    except FileNotFoundError:
        raise _core.SourceNotFound(f"{name}: no such file") from None
    except OSError as error:
        raise _core.SourceError(f"{name}: {error.strerror}") from None
    return (stat.st_size, stat.st_mtime_ns)


def _video(path: str | os.PathLike[str]) -> _Video:
    name = os.fspath(path)
    stamp = _stamp(name)
    video = _open.videos.pop(name, None)
    if video is None or video.stamp != stamp:
        if video is not None:
            video.reader.close()
        video = _Video(name, stamp)
    _open.videos[name] = video
    while len(_open.videos) > _MOST_OPEN:
        _open.videos.popitem(last=False)[1].reader.close()
    return video


def load(
    path: str | os.PathLike[str],
    gop_index: int,
    gop_pos: int,
    representation: int,
    accumulate: bool,
) -> npt.NDArray[Any]:
    """One frame in one representation.

    Args:
        path: a video file.
        gop_index: which GOP, from 0; each starts at an intra picture.
        gop_pos: which frame of it; 0 is the intra picture.
        representation: 0 the picture, 1 motion vectors, 2 residual.
        accumulate: vectors and residual since the GOP's intra picture; False: since the frame
            before.

    Returns:
        0: uint8 (H, W, 3) BGR. 1: int32 (H, W, 2) (x, y), whole samples, here minus source; 0 where
        nothing is known. 2: int32 (H, W, 3) BGR, difference to the traced-back pixel.

    Raises:
        IndexError: no such GOP or position.
        ValueError: an unknown representation, or a stream with B pictures.
        SourceNotFound, SourceError: there is no such file, or it cannot be read.
        CorruptStream: the vectors are damaged or withheld by libavcodec.
    """
    if representation not in (I_FRAME, MV, RESIDUAL):
        raise ValueError(
            f"representation is 0 (picture), 1 (vectors) or 2 (residual), not {representation!r}"
        )
    video = _video(path)
    frame = video.frame(gop_index, gop_pos)
    if representation == I_FRAME:
        return video.loader().picture(frame)
    if representation == MV:
        return video.loader().vectors(frame, accumulate)
    return video.loader().residual(frame, accumulate)


def get_num_frames(path: str | os.PathLike[str]) -> int:
    """Number of frames of a video."""
    return len(_video(path).reader)


def get_num_gops(path: str | os.PathLike[str]) -> int:
    """Number of GOPs of a video: runs of frames that start at an intra picture."""
    return len(_video(path).gops)


def close() -> None:
    """Close the files that this thread has open and free what is kept of them."""
    while _open.videos:
        _open.videos.popitem()[1].reader.close()
