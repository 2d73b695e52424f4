"""A drop-in for pytorch-coviar's loader module: load(), get_num_frames(), get_num_gops().

    from cvdecode.coviar import load, get_num_frames, get_num_gops

Vectors are the original's integer for integer on the MPEG-4 files that it reads (I and P pictures
only). What differs:

- Any container and codec that cvdecode reads with I and P pictures works, not raw MPEG-4 alone.
- get_num_frames() counts every frame; the original loses the last one of a file, which its parser
  never hands out. libavcodec exports no vectors for a frame that comes out only when the stream
  ends: where the last frame is such a one, load() raises CorruptStream for its vectors and
  accumulated residual.
- Pixels come from libswscale's bilinear conversion with the stream's own matrix and range, the
  original's from bicubic: single values of images and residuals differ by a few levels.
- A GOP or position that does not exist raises IndexError, a B picture ValueError.
- Files stay open and the maps of the last GOP are kept, per thread: a loader that asks for one
  position after another decodes each GOP once. close() lets go of them.
"""

from __future__ import annotations

import os
import threading
from collections import OrderedDict
from typing import Any, cast

import numpy as np
import numpy.typing as npt

from . import _core
from ._accumulate import MASK_BROKEN, Accumulation, accumulate
from ._reader import VideoReader

I_FRAME, MV, RESIDUAL = 0, 1, 2
"""Values of ``representation``."""

_MOST_OPEN = 8
_MOST_KEPT = 64 << 20
"""Bytes of maps kept per open file."""


class _Video:
    """An open file, and the maps of the GOP that was asked for last."""

    def __init__(self, path: str, stamp: tuple[int, int]) -> None:
        self.stamp = stamp
        self.reader = VideoReader(path, planes=())
        self.gops = self.reader.gops
        self.kept: tuple[Any, Accumulation] | None = None
        self.asked: Any = None

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

    def maps(self, gop_index: int, gop_pos: int, residual: bool, one_step: bool) -> Any:
        """(displacement, residual or None) of one position; of a GOP asked for twice, of all."""
        start, stop = self.gops[gop_index][:2]
        key = (gop_index, residual, one_step)
        if self.kept is None or self.kept[0] != key:
            frames = [start + gop_pos]
            size = self.reader.metadata.coded_width * self.reader.metadata.coded_height
            fits = (stop - start) * size * (19 if residual else 9) <= _MOST_KEPT
            if self.asked == key and fits:
                frames = list(range(start, stop))
            self.asked = key
            got = accumulate(
                self.reader,
                frames,
                mode="coviar",
                residual="recon_diff" if residual else None,
                hops=1 if one_step else None,
            )
            if len(frames) > 1:
                self.kept = (key, got)
            row = gop_pos if len(frames) > 1 else 0
        else:
            got, row = self.kept[1], gop_pos
        if (got.mask[row] == MASK_BROKEN).all():
            raise _core.CorruptStream(
                f"no vectors for position {gop_pos} of GOP {gop_index}: a frame up to it is "
                "damaged, or is the last of the file, for which libavcodec exports none"
            )
        return got.displacement[row], got.residual[row] if residual else None


class _Open(threading.local):
    """The files that this thread has open, the latest last."""

    def __init__(self) -> None:
        self.videos: OrderedDict[str, _Video] = OrderedDict()


_open = _Open()


def _video(path: str | os.PathLike[str]) -> _Video:
    name = os.fspath(path)
    stat = os.stat(name)
    stamp = (stat.st_size, stat.st_mtime_ns)
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
        CorruptStream: the vectors are damaged or withheld by libavcodec.
    """
    if representation not in (I_FRAME, MV, RESIDUAL):
        raise ValueError(
            f"representation is 0 (picture), 1 (vectors) or 2 (residual), not {representation!r}"
        )
    video = _video(path)
    frame = video.frame(gop_index, gop_pos)
    if representation == I_FRAME:
        rgb = _core.read_rgb(video.reader._handle(), [frame])[0]
        return np.ascontiguousarray(rgb[::-1].transpose(1, 2, 0))
    displacement, residual = video.maps(
        gop_index, gop_pos, representation == RESIDUAL, not accumulate
    )
    plane = residual[::-1] if representation == RESIDUAL else displacement
    return cast("npt.NDArray[Any]", plane.transpose(1, 2, 0).astype(np.int32, order="C"))


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
