"""Which frame is on the screen at which second."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt


class PlayOrder:
    """The frames with timestamps in the order of their playing.

    Args:
        name: of the video, for messages.
        pts_seconds: start of each frame, float64 (frames,), NaN = none.
        span: (begin, end) of the video in seconds, or None where it has no timestamps.
    """

    def __init__(
        self, name: str, pts_seconds: npt.NDArray[np.float64], span: tuple[float, float] | None
    ) -> None:
        if span is None:
            raise ValueError(f"{name} has no timestamps; read its frames by index")
        self.begin, self.end = span
        timed = np.flatnonzero(~np.isnan(pts_seconds))
        self._frames = timed[np.argsort(pts_seconds[timed], kind="stable")]
        self._starts = pts_seconds[self._frames]

    def at(self, seconds: npt.NDArray[np.float64]) -> npt.NDArray[np.int64]:
        """The frames played at these seconds; IndexError outside [begin, end)."""
        wrong = ~((seconds >= self.begin) & (seconds < self.end))
        if wrong.any():
            raise IndexError(
                f"no frame is played at {float(seconds[wrong][0])} s: the video plays from "
                f"{self.begin} to {self.end} s (the end excluded)"
            )
        # A frame is played until the next one starts, whatever its own duration says.
        return self._frames[np.searchsorted(self._starts, seconds, side="right") - 1]

    def within(self, start: float, stop: float) -> npt.NDArray[np.int64]:
        """Every frame played at some time of [start, stop); ValueError outside the video."""
        if not start <= stop:
            raise ValueError(f"start_seconds is {start}, later than stop_seconds ({stop})")
        if not self.begin <= start < self.end or not stop <= self.end:
            raise ValueError(
                f"[{start}, {stop}) does not lie within the video, which plays from {self.begin} "
                f"to {self.end} s"
            )
        if start == stop:
            return np.zeros(0, np.int64)
        first = int(np.searchsorted(self._starts, start, side="right")) - 1
        last = int(np.searchsorted(self._starts, stop, side="left"))
        return self._frames[first:last]
