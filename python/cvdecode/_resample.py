"""Planes as networks take them: cut, encoded to bytes, resized, cropped and mirrored at once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
import numpy.typing as npt

from . import _core
from ._frame import Array

Encoding = Literal["none", "vector", "residual"]


def resample(
    planes: Array,
    box: tuple[int, int, int, int],
    resized: tuple[int, int],
    size: tuple[int, int],
    crops: Sequence[tuple[int, int, bool]],
    *,
    encoding: Encoding = "none",
    halved: bool = False,
    out: npt.NDArray[np.uint8] | None = None,
) -> npt.NDArray[np.uint8]:
    """Crops of a part of the picture, resized bilinearly: uint8 (len(crops), N, C, height, width).

    Sample centres lie at half samples, no anti-aliasing, edges repeated; columns come first, then
    rows, and each pass rounds to bytes. Every CPU gives the same. The arithmetic is that of
    torch's interpolate() for bytes where it has AVX2.

    Args:
        planes: (N, C, H, W), uint8, or int16 with an encoding. Any strides will do; where samples
            of a row do not lie side by side, they are copied first.
        box: (x, y, width, height) of the part of the planes, inside them.
        resized: (height, width) that the box is brought to.
        size: (height, width) of each crop.
        crops: (x, y, mirrored) of each crop in the resized box: cut first, then mirrored left to
            right.
        encoding: "none"; "vector" for quarter samples q, C = 2 of which the first is x:
            trunc(q * 51 / 32) + 128, clipped (CoViAR's), where x changes its sign in mirrored
            crops; "residual" for r: r + 128, clipped.
        halved: the planes hold every second sample, as chroma of 4:2:0 does, and are repeated;
            ``box`` counts whole samples.
        out: memory for the result, which is returned; its rows must lie one after the other.

    Raises:
        ValueError: a part that lies outside, or arrays of another shape or dtype.
    """
    shape = (len(crops), *planes.shape[:2], *size)
    if out is None:
        out = np.empty(shape, np.uint8)
    elif out.shape != shape:
        raise ValueError(f"resample: out has the shape {out.shape}, the result {shape}")
    if planes.strides[-1] != planes.itemsize or planes.strides[-2] % planes.itemsize:
        planes = np.ascontiguousarray(planes)
    _core.resample(planes, encoding, halved, box, resized, crops, out)
    return out
