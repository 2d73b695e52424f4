"""Which part of the picture a sample shows, at which size: one view for all its modalities."""

from __future__ import annotations

import dataclasses
from typing import NamedTuple, Protocol

import numpy as np


class Window(NamedTuple):
    """What is cut and how it is resized. Display samples, x to the right, y down."""

    box: tuple[int, int, int, int]
    """(x, y, width, height) of the picture, inside it."""
    resized: tuple[int, int]
    """(height, width) that the box is brought to."""
    size: tuple[int, int]
    """(height, width) of each crop of the resized box."""
    crops: tuple[tuple[int, int, bool], ...]
    """(x, y, flipped) of each crop: cut first, then mirrored left to right."""


class View(Protocol):
    """``view(width, height, rng)`` gives the Window of a picture of this display size."""

    @property
    def num_crops(self) -> int:
        """Crops of a sample; tensors get a first axis of it where it is more than 1."""

    @property
    def size(self) -> tuple[int, int] | None:
        """(height, width) of every crop; None: that of the picture."""

    def __call__(self, width: int, height: int, rng: np.random.Generator, /) -> Window: ...


def _pair(size: int | tuple[int, int]) -> tuple[int, int]:
    return (size, size) if isinstance(size, int) else size


def _positive(name: str, value: tuple[int, int]) -> None:
    if len(value) != 2 or min(value) < 1:
        raise ValueError(f"{name} is {value}: a height and a width of 1 or more")


def _fits(output: tuple[int, int], resize: int | tuple[int, int]) -> None:
    _positive("output", output)
    if any(r < o for r, o in zip(_pair(resize), output, strict=True)):
        raise ValueError(f"crops of {output} do not fit into pictures of {resize}")


def _resized(resize: int | tuple[int, int], width: int, height: int) -> tuple[int, int]:
    """(height, width) of a picture brought to ``resize``."""
    if not isinstance(resize, int):
        return resize
    scale = resize / min(width, height)
    return round(height * scale), round(width * scale)


@dataclasses.dataclass(frozen=True)
class FullFrame:
    """The whole picture, at its own size or squashed to ``resize`` (height, width)."""

    resize: int | tuple[int, int] | None = None
    flip: float = 0.0
    """Probability of mirroring."""

    @property
    def num_crops(self) -> int:
        """1."""
        return 1

    @property
    def size(self) -> tuple[int, int] | None:
        """(height, width), None for the picture's own."""
        return None if self.resize is None else _pair(self.resize)

    def __call__(self, width: int, height: int, rng: np.random.Generator) -> Window:
        """The window of a picture."""
        size = self.size or (height, width)
        flipped = self.flip > 0 and bool(rng.random() < self.flip)
        return Window((0, 0, width, height), size, size, ((0, 0, flipped),))


class _OneCrop:
    """What views of one crop a picture share."""

    output: int | tuple[int, int]

    @property
    def num_crops(self) -> int:
        """1."""
        return 1

    @property
    def size(self) -> tuple[int, int]:
        """(height, width) of the crop."""
        return _pair(self.output)


@dataclasses.dataclass(frozen=True)
class MultiScaleCrop(_OneCrop):
    """Training view of TSN and CoViAR: a crop of random size and place, resized, maybe mirrored.

    Sides are the shorter side of the picture times a scale of ``scales``, rounded down; a side
    less than 3 from the output size becomes it. Width and height may be ``max_distort`` steps of
    ``scales`` apart. CoViAR adds the scale 0.66 for I-frames, which are trained alone there.
    """

    output: int | tuple[int, int] = 224
    scales: tuple[float, ...] = (1.0, 0.875, 0.75)
    max_distort: int = 1
    flip: float = 0.5

    def __post_init__(self) -> None:
        _positive("output", self.size)
        if not self.scales or not all(0 < s <= 1 for s in self.scales):
            raise ValueError(f"scales are fractions of the shorter side, not {self.scales}")

    def __call__(self, width: int, height: int, rng: np.random.Generator) -> Window:
        """The window of a picture."""
        sides = [max(1, int(min(width, height) * s)) for s in self.scales]
        out_h, out_w = self.size

        def near(side: int, out: int, most: int) -> int:
            return out if abs(side - out) < 3 and out <= most else side

        pairs = [
            (w, h)
            for i, h in enumerate(sides)
            for j, w in enumerate(sides)
            if abs(i - j) <= self.max_distort
        ]
        w, h = pairs[int(rng.integers(len(pairs)))]
        w, h = near(w, out_w, width), near(h, out_h, height)
        x = int(rng.integers(width - w + 1))
        y = int(rng.integers(height - h + 1))
        flipped = bool(rng.random() < self.flip)
        return Window((x, y, w, h), self.size, self.size, ((0, 0, flipped),))


@dataclasses.dataclass(frozen=True)
class RandomCrop(_OneCrop):
    """A crop from a random place of the picture resized to ``resize``, maybe mirrored.

    ``resize`` as in Crops: a number is the new shorter side, (height, width) squashes, as Battash
    et al. do to 256x256.
    """

    output: int | tuple[int, int] = 224
    resize: int | tuple[int, int] = (256, 256)
    flip: float = 0.5

    def __post_init__(self) -> None:
        _fits(self.size, self.resize)

    def __call__(self, width: int, height: int, rng: np.random.Generator) -> Window:
        """The window of a picture."""
        resized = _resized(self.resize, width, height)
        h, w = self.size
        x, y = int(rng.integers(resized[1] - w + 1)), int(rng.integers(resized[0] - h + 1))
        flipped = bool(rng.random() < self.flip)
        return Window((0, 0, width, height), resized, self.size, ((x, y, flipped),))


@dataclasses.dataclass(frozen=True)
class Crops:
    """Test views: 1, 3, 5 or 10 fixed crops of ``output`` from the picture resized to ``resize``.

    1: the centre. 3: both ends and the centre along the longer side. 5: the corners and the
    centre, at multiples of (side - crop) // 4. 10: those five, then the same mirrored (CoViAR
    interleaves them; the scores are averaged).

    ``resize``: a number is the new shorter side, the shape is kept; (height, width) squashes, as
    CoViAR does with (256, 256).
    """

    count: int = 1
    output: int | tuple[int, int] = 224
    resize: int | tuple[int, int] = (256, 256)

    def __post_init__(self) -> None:
        if self.count not in (1, 3, 5, 10):
            raise ValueError(f"there are views of 1, 3, 5 and 10 crops, not of {self.count}")
        _fits(self.size, self.resize)

    @property
    def num_crops(self) -> int:
        """``count``."""
        return self.count

    @property
    def size(self) -> tuple[int, int]:
        """(height, width) of each crop."""
        return _pair(self.output)

    def __call__(self, width: int, height: int, rng: np.random.Generator) -> Window:
        """The window of a picture; uses no randomness."""
        resized = _resized(self.resize, width, height)
        h, w = self.size
        free_x, free_y = resized[1] - w, resized[0] - h
        # TSN's fixed offsets: quarters of what is left over, rounded down.
        x, y = free_x // 4, free_y // 4
        if self.count == 1:
            places = [(free_x // 2, free_y // 2)]
        elif self.count == 3:
            along_x = resized[1] >= resized[0]
            ends = (0, free_x // 2, free_x) if along_x else (0, free_y // 2, free_y)
            places = [(e, free_y // 2) if along_x else (free_x // 2, e) for e in ends]
        else:
            places = [(0, 0), (4 * x, 0), (0, 4 * y), (4 * x, 4 * y), (2 * x, 2 * y)]
        crops = [(px, py, False) for px, py in places]
        if self.count == 10:
            crops += [(px, py, True) for px, py in places]
        return Window((0, 0, width, height), resized, self.size, tuple(crops))
