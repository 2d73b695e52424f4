"""Which frames a sample is made of: small pure functions of a GOP table and a generator.

A sampler is called as ``sampler(gops, rng)`` with a GopTable and a ``numpy.random.Generator`` and
gives a Draw. It reads no file, keeps no state, and draws the same from the same generator.
"""

from __future__ import annotations

import dataclasses
import itertools
from typing import Literal, NamedTuple, Protocol, get_args

import numpy as np

from cvdecode.data._gops import GopTable, Indices

Mode = Literal["train", "test"]
Dialect = Literal["coviar", "team_net", "dmc_i3d", "huo", "mmaction2", "onevision"]
PADDING = -1
"""In the arrays of a Draw: no frame; its rows are zeros and its mask is False."""


class Draw(NamedTuple):
    """Presentation indices, int64, of any shape, which the tensors of the sample begin with.

    ``frames`` are those of mv, residual, qp, mb_type, bits, mask and rgb; ``iframes`` are the
    pictures of the modality iframe. -1 is padding.
    """

    frames: Indices
    iframes: Indices


class Sampler(Protocol):
    """Anything that draws frames from a GOP table."""

    def __call__(self, gops: GopTable, rng: np.random.Generator, /) -> Draw: ...


def _mode(mode: str) -> None:
    if mode not in ("train", "test"):
        raise ValueError(f'mode is "train" or "test", not {mode!r}')


def _at_least_one(**numbers: int) -> None:
    for name, number in numbers.items():
        if isinstance(number, bool) or not isinstance(number, int) or number < 1:
            raise ValueError(f"{name} is a whole number, 1 or more, not {number!r}")


def _position(pos: int | str, *words: str) -> None:
    good = pos in words or (isinstance(pos, int) and not isinstance(pos, bool) and pos >= 0)
    if not good:
        raise ValueError(f"pos is a position of the GOP, 0 or more, or one of {words}: not {pos!r}")


@dataclasses.dataclass(frozen=True)
class TSN:
    """One frame of each of ``num_segments`` equal parts of the video: frames (S,), iframes (S,).

    Dialects, with n the number of frames and GOPs as the video has them:

    - "coviar": (n - 1) / S wide segments with bounds rounded half to even; the predicted frames
      count from frame 1 with n one less. Train: one random frame of each; test: the rounded
      middle. A predicted frame that falls on the start of a GOP becomes the last one of the GOP
      before; an I-frame is the key of the GOP it falls into. Both are drawn independently, as in
      the separate trainings of the original (pytorch-coviar, dataset.py).
    - "dmc_i3d": as coviar, but the start of a GOP becomes the frame after it.
    - "team_net": the I-frame as in coviar; the predicted frame lies in the same GOP: random from
      1 on in training, (L - 1) // 2 of its L frames in test.
    - "huo": every GOP whatever ``num_segments``, its key and position 6 (or its last).
    - "mmaction2": UniformSample of one clip: bounds as in coviar, in training any frame from bound
      to bound, both included; in test each lower bound and half of (n - 1) / S, rounded down. The
      I-frame is the key of the frame's own GOP. (For mmaction2's other sampler see SampleFrames.)
    - "onevision": int(n / S * (s + u)), u even in [0, 1) in training and 1/2 in test; of a video
      of fewer than S frames all, the last one repeated. The I-frame as in mmaction2.
    """

    num_segments: int = 3
    mode: Mode = "train"
    dialect: Dialect = "coviar"

    def __post_init__(self) -> None:
        _mode(self.mode)
        _at_least_one(num_segments=self.num_segments)
        if self.dialect not in get_args(Dialect):
            raise ValueError(f"there is no TSN dialect {self.dialect!r}")

    def __call__(self, gops: GopTable, rng: np.random.Generator) -> Draw:
        """Draw from a video; see the class."""
        if self.dialect == "huo":
            return AllGOPs(pos=6)(gops, rng)
        if self.dialect in ("mmaction2", "onevision"):
            whole = self._uniform if self.dialect == "mmaction2" else self._onevision
            frames = whole(gops.num_frames, rng)
            return Draw(frames, gops.keys[gops.gop_of(frames)])
        number = gops.gop_of(self._segments(gops.num_frames, 0, rng))
        iframes = gops.keys[number]
        if self.dialect == "team_net":
            return Draw(self._within(gops, number, rng), iframes)
        frames = self._segments(gops.num_frames, 1, rng)
        number = gops.gop_of(frames)
        at_start = gops.starts[number] == frames
        if self.dialect == "coviar":
            frames -= at_start & (frames > 0)
        else:
            alone = gops.stops[number] - frames == 1
            frames += at_start & ~alone
        return Draw(frames, iframes)

    def _segments(self, num_frames: int, first: int, rng: np.random.Generator) -> Indices:
        """CoViAR's segments; ``first`` is 1 for predicted frames, else 0."""
        # Python's round() takes ties to even, as np.round does.
        n, last = num_frames - first, num_frames - 1
        width = (n - 1) / self.num_segments
        drawn = []
        for s in range(self.num_segments):
            if self.mode == "train":
                begin, end = round(width * s), round(width * (s + 1))
                drawn.append(int(rng.integers(begin, max(end, begin + 1))))
            else:
                drawn.append(round(width * (s + 0.5)))
        return np.array([min(max(frame + first, 0), last) for frame in drawn], np.int64)

    def _uniform(self, n: int, rng: np.random.Generator) -> Indices:
        width = (n - 1) / self.num_segments
        bounds = [round(width * s) for s in range(self.num_segments + 1)]
        pairs = itertools.pairwise(bounds)
        if self.mode == "train":
            return np.array([rng.integers(a, b + 1) for a, b in pairs], np.int64)
        return np.array([a + int(width / 2) for a, _ in pairs], np.int64)

    def _onevision(self, n: int, rng: np.random.Generator) -> Indices:
        places = np.arange(self.num_segments)
        if n < self.num_segments:
            return np.minimum(places, n - 1)
        within = rng.random(self.num_segments) if self.mode == "train" else 0.5
        frames: Indices = ((places + within) * (n / self.num_segments)).astype(np.int64)
        return np.minimum(frames, n - 1)

    def _within(self, gops: GopTable, number: Indices, rng: np.random.Generator) -> Indices:
        starts, lengths = gops.starts[number], (gops.stops - gops.starts)[number]
        if self.mode == "test":
            return starts + (lengths - 1) // 2
        return np.array(
            [
                s + (rng.integers(1, n) if n > 1 else 0)
                for s, n in zip(starts, lengths, strict=True)
            ],
            np.int64,
        )


@dataclasses.dataclass(frozen=True)
class Dense25Test:
    """The dense test: TSN's test rule at 25 places, frames (25,), iframes (25,)."""

    num_segments: int = 25
    dialect: Dialect = "coviar"

    def __call__(self, gops: GopTable, rng: np.random.Generator) -> Draw:
        """Draw from a video; uses no randomness."""
        return TSN(self.num_segments, "test", self.dialect)(gops, rng)


@dataclasses.dataclass(frozen=True)
class GOPIndex:
    """``num_gops`` GOPs, one of each equal part of the GOP list, and frames of each.

    Train: a random GOP of each part; test: the middle one. Part g of K, of G GOPs, is
    [g * G // K, (g + 1) * G // K), never empty; with fewer GOPs than parts some repeat.

    Args:
        num_gops: K; iframes is (K,).
        pos: "random": a predicted frame of each, frames (K,); a number: that position, or the last
            of a shorter GOP, frames (K,); "all": every position from 0 on, frames (K, length).
        length: with pos="all": positions taken; a shorter GOP is filled by repeating its last
            frame. None: as many as the longest of the K has, the others padded with -1.
        mode: "train" or "test".
    """

    num_gops: int = 1
    pos: int | Literal["random", "all"] = "random"
    length: int | None = None
    mode: Mode = "train"

    def __post_init__(self) -> None:
        _mode(self.mode)
        _at_least_one(num_gops=self.num_gops)
        _position(self.pos, "random", "all")
        if self.length is not None:
            _at_least_one(length=self.length)
            if self.pos != "all":
                raise ValueError('length goes with pos="all"')

    def __call__(self, gops: GopTable, rng: np.random.Generator) -> Draw:
        """Draw from a video; see the class."""
        total, drawn = len(gops), []
        for k in range(self.num_gops):
            begin = min(k * total // self.num_gops, total - 1)
            end = max((k + 1) * total // self.num_gops, begin + 1)
            drawn.append(
                int(rng.integers(begin, end)) if self.mode == "train" else (begin + end - 1) // 2
            )
        number = np.array(drawn, np.int64)
        keys = gops.keys[number]
        if self.pos != "all":
            return Draw(_in_gops(gops, number, self.pos, rng), keys)
        starts, lengths = gops.starts[number], (gops.stops - gops.starts)[number]
        steps = np.arange(self.length or int(lengths.max()))
        frames = starts[:, None] + np.minimum(steps, lengths[:, None] - 1)
        if self.length is None:
            frames[steps >= lengths[:, None]] = PADDING
        return Draw(frames, keys)


@dataclasses.dataclass(frozen=True)
class AllGOPs:
    """Every GOP of the video: frames (G,), iframes (G,), ragged from video to video.

    ``pos``: "random" a predicted frame of each, "middle" position L // 2 of its L frames, or a
    number: that position, or the last of a shorter GOP.
    """

    pos: int | Literal["random", "middle"] = "random"

    def __post_init__(self) -> None:
        _position(self.pos, "random", "middle")

    def __call__(self, gops: GopTable, rng: np.random.Generator) -> Draw:
        """Draw from a video; see the class."""
        return Draw(_in_gops(gops, np.arange(len(gops)), self.pos, rng), gops.keys)


def _in_gops(gops: GopTable, number: Indices, pos: int | str, rng: np.random.Generator) -> Indices:
    """One frame of each GOP of ``number``, int64 (K,)."""
    starts, lengths = gops.starts[number], (gops.stops - gops.starts)[number]
    if pos == "random":
        # Position 0 only where there is no other.
        offset = np.where(lengths > 1, rng.integers(np.minimum(1, lengths - 1), lengths), 0)
    elif pos == "middle":
        offset = lengths // 2
    else:
        offset = np.minimum(np.int64(pos), lengths - 1)
    return starts + offset


@dataclasses.dataclass(frozen=True)
class Clip:
    """``length`` frames, ``stride`` apart: frames (length,), iframes (1,): the first one's key.

    Train: a random start; test: the middle. A video that is too short repeats its last frame.
    """

    length: int
    stride: int = 1
    mode: Mode = "train"

    def __post_init__(self) -> None:
        _mode(self.mode)
        _at_least_one(length=self.length, stride=self.stride)

    def __call__(self, gops: GopTable, rng: np.random.Generator) -> Draw:
        """Draw from a video; see the class."""
        room = max(0, gops.num_frames - ((self.length - 1) * self.stride + 1))
        start = int(rng.integers(0, room + 1)) if self.mode == "train" else room // 2
        frames = start + self.stride * np.arange(self.length, dtype=np.int64)
        frames = np.minimum(frames, gops.num_frames - 1)
        return Draw(frames, gops.keys[gops.gop_of(frames[:1])])


@dataclasses.dataclass(frozen=True)
class SampleFrames:
    """mmaction2's SampleFrames: ``num_clips`` clips, frames (K, length), iframes (K,).

    Each clip comes with the key of its first frame's GOP. Train: a random start in each of K equal
    parts of n - length * stride + 1 starts, rounded down to whole frames; with fewer starts than
    clips sorted random ones, or the rounded even spread, or 0, as the original has it. Test: starts
    spread evenly from the first to the last, of one clip the middle; of clips of one frame the
    middles of K equal parts. Frames past the end begin again at the start ("loop", its default).
    """

    length: int
    stride: int = 1
    num_clips: int = 1
    mode: Mode = "train"

    def __post_init__(self) -> None:
        _mode(self.mode)
        _at_least_one(length=self.length, stride=self.stride, num_clips=self.num_clips)

    def __call__(self, gops: GopTable, rng: np.random.Generator) -> Draw:
        """Draw from a video; see the class."""
        n = gops.num_frames
        starts = self._train(n, rng) if self.mode == "train" else self._test(n)
        frames = (starts[:, None] + self.stride * np.arange(self.length, dtype=np.int64)) % n
        return Draw(frames, gops.keys[gops.gop_of(frames[:, 0])])

    def _train(self, n: int, rng: np.random.Generator) -> Indices:
        clips, span = self.num_clips, self.length * self.stride
        places, room = np.arange(clips, dtype=np.int64), n - span + 1
        width = room // clips
        if width > 0:
            return places * width + rng.integers(width, size=clips)
        if n > max(clips, span):
            return np.sort(rng.integers(room, size=clips))
        if width == 0:
            spread: Indices = np.rint(places * (room / clips)).astype(np.int64)
            return spread
        return places * 0

    def _test(self, n: int) -> Indices:
        clips = self.num_clips
        places = np.arange(clips)
        if self.length == 1:
            starts: Indices = ((places + 0.5) * (n / clips)).astype(np.int64)
            return starts
        room = max(n - (self.length - 1) * self.stride - 1, 0)
        if clips == 1:
            return np.array([room // 2], np.int64)
        starts = np.rint(places * (room / (clips - 1))).astype(np.int64)
        return starts


@dataclasses.dataclass(frozen=True)
class WithAdjacent:
    """Another sampler's draw, with the key of a neighbouring GOP beside each key: iframes (..., 2).

    What temporal trilinear pooling takes (Huo et al., 2019): in training the GOP before or after,
    at random; in test the one after the first GOP and the one before any other. Clamped at both
    ends; a video of one GOP gives its key twice.
    """

    sampler: Sampler
    mode: Mode = "train"

    def __post_init__(self) -> None:
        _mode(self.mode)

    def __call__(self, gops: GopTable, rng: np.random.Generator) -> Draw:
        """Draw from a video; see the class."""
        frames, iframes = self.sampler(gops, rng)
        number = np.searchsorted(gops.keys, iframes)
        if self.mode == "train":
            step = 2 * rng.integers(0, 2, iframes.shape) - 1
        else:
            step = np.where(number == 0, 1, -1)
        beside = gops.keys[np.clip(number + step, 0, len(gops) - 1)]
        beside = np.where(iframes == PADDING, PADDING, beside)
        return Draw(frames, np.stack([iframes, beside], axis=-1))
