"""Ten classes of small colour pictures: stripes in clutter, five directions of two periods.

What tells the class is fine detail of varying contrast, which coarse quantisation removes step by
step, and a hue, which tells a little of it and survives longer. Splits and seeds share nothing but
these formulas.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]

SIZE = 32
CLASSES = 10
DIRECTIONS = 5
PERIODS = (8.0, 4.5)
"""Samples."""


def stripes(direction: Array, period: Array, phase: Array) -> Array:
    """(N, 32, 32) in -1 to 1; direction in radians."""
    y, x = np.mgrid[:SIZE, :SIZE].astype(np.float64)
    along = np.cos(direction)[:, None, None] * x + np.sin(direction)[:, None, None] * y
    wave: Array = np.sin(2 * np.pi * along / period[:, None, None] + phase[:, None, None])
    return wave


def textures(split: str, seed: int, count: int, clutter: float) -> tuple[Array, Array]:
    """(count, 32, 32, 3) RGB uint8 and classes (count,), as many of each, in turn.

    Args:
        clutter: amplitude of each of three random stripe patterns, in grey levels: the difficulty.
    """
    rng = np.random.default_rng([seed, ("train", "test").index(split), 77])
    labels = np.arange(count) % CLASSES

    def uniform(low: float, high: float) -> Array:
        return rng.uniform(low, high, count)

    direction = np.pi * (labels % DIRECTIONS) / DIRECTIONS + rng.normal(0, 0.12, count)
    period = np.array(PERIODS)[labels // DIRECTIONS] * np.exp(rng.normal(0, 0.08, count))
    luma = 128 + rng.normal(0, 12, count)[:, None, None]
    contrast = uniform(15, 75)[:, None, None]
    luma = luma + contrast * stripes(direction, period, uniform(0, 2 * np.pi))
    for _ in range(3):
        other = stripes(uniform(0, np.pi), np.exp(uniform(np.log(4), np.log(16))), uniform(0, 6.3))
        luma = luma + clutter * other
    luma = luma + rng.normal(0, 4, (count, SIZE, SIZE))
    # A hue a class, far apart for classes whose stripes are alike, and mostly noise.
    hue = 2 * np.pi * (3 * labels % CLASSES) / CLASSES + rng.normal(0, 1.2, count)
    depth = uniform(5, 25)
    u, v = (depth * f(hue) for f in (np.cos, np.sin))
    u, v = u[:, None, None], v[:, None, None]
    rgb = np.stack([luma + 1.402 * v, luma - 0.344 * u - 0.714 * v, luma + 1.772 * u], axis=-1)
    return np.clip(np.rint(rgb), 0, 255).astype(np.uint8), labels
