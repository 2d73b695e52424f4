"""The GOP table that samplers draw from: true GOPs, or virtual ones."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from typing import Any

import numpy as np
import numpy.typing as npt

Indices = npt.NDArray[np.int64]


@dataclasses.dataclass(frozen=True)
class GopTable:
    """The GOPs of one video in presentation order.

    ``starts`` int64 (G,): the first frame of each GOP; GOP g is [starts[g], starts[g + 1]).
    ``keys`` int64 (G,): the frame whose picture stands for it, its intra picture. In an open GOP
    leading pictures are shown before it, so a key may lie past its start.
    ``num_frames``: presented frames of the video.
    """

    starts: Indices
    keys: Indices
    num_frames: int

    @classmethod
    def of(cls, gops: Iterable[tuple[int, ...]], num_frames: int) -> GopTable:
        """From (start, stop, key_frame, ...) of each GOP, as ``VideoReader.gops``.

        A GOP whose intra picture is not presented, or that shows nothing, belongs to the one
        before it. Frames before the first GOP make up one whose first frame is its key.
        """
        rows = sorted({gop[0]: gop[2] for gop in gops if gop[2] >= 0 and gop[1] > gop[0]}.items())
        if num_frames and (not rows or rows[0][0] > 0):
            rows.insert(0, (0, 0))
        starts = np.array([start for start, _ in rows], np.int64)
        keys = np.array([key for _, key in rows], np.int64)
        return cls(starts, keys, num_frames)

    @classmethod
    def virtual(cls, length: int, num_frames: int) -> GopTable:
        """GOPs of ``length`` frames, each of which stands on its first frame."""
        starts = np.arange(0, num_frames, length, dtype=np.int64)
        return cls(starts, starts, num_frames)

    @property
    def stops(self) -> Indices:
        """One past the last frame of each GOP, int64 (G,)."""
        return np.append(self.starts[1:], self.num_frames)

    def __len__(self) -> int:
        """Number of GOPs."""
        return len(self.starts)

    def gop_of(self, frames: Any) -> Any:
        """Number of the GOP of a frame, or of an array of them."""
        return self.starts.searchsorted(frames, side="right") - 1

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, GopTable)
            and self.num_frames == other.num_frames
            and np.array_equal(self.starts, other.starts)
            and np.array_equal(self.keys, other.keys)
        )

    __hash__ = None  # type: ignore[assignment]
