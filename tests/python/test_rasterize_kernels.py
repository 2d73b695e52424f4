"""Every build of rasterize's kernels against the scalar one: same bytes, and not one beside them.

The planes lie at addresses that no vector is aligned to, between guard bytes, or end at a page
that must not be touched. tests/python/test_rasterize.py holds the scalar build to its definition.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from cvdecode import _core
from cvdecode._rasterize import canvas_of
from guarded import Guarded, Walled

BUILDS = _core.raster_builds()
# Display size, crop, samples per cell.
PLANES = [
    ((341, 23), (0, 0), 4),
    ((340, 27), (3, 2), 4),
    ((130, 41), (0, 6), 16),
    ((37, 29), (5, 2), 8),
    ((61, 33), (3, 1), 1),
    ((3, 5), (1, 0), 1),
    ((17, 9), (2, 3), 4),
]
# Pixels, cells, and the patches of a canvas: padded, cropped, squashed, in its own size.
GRIDS = [
    *(("grid", 1), ("grid", 8), ("grid", 16), ("grid", 5), ("longer", 14, 56)),
    *(("shorter", 14, 28), ("squash", 16, 160), ("none", 16, 96), ("longer", 2, 300)),
]
DTYPES = ["uint8", "int16", "uint16", "int32", "float32"]


def axes(display: tuple[int, int], crop: tuple[int, int], block: int, grid: Any) -> Any:
    width, height = display
    if grid[0] == "grid":
        canvas, step = canvas_of(width, height, None, "none"), grid[1]
        cells = (-(-width // step), -(-height // step))
    else:
        canvas, step = canvas_of(width, height, grid[2], grid[0]), grid[1]
        cells = (canvas.width // step, canvas.height // step)
    return (
        (cells[0], step, width, canvas.resized_width, canvas.left, crop[0], block),
        (cells[1], step, height, canvas.resized_height, canvas.top, crop[1], block),
    )


def random_values(rng: np.random.Generator, dtype: str, shape: tuple[int, ...]) -> np.ndarray:
    """Over all of the range, with its ends, and with many that are equal."""
    if dtype == "float32":
        return rng.normal(0, 1000, shape).astype(dtype)
    limits = np.iinfo(dtype)
    values = rng.integers(limits.min, limits.max, shape, dtype, endpoint=True)
    kind = rng.integers(0, 4, shape)
    small = rng.integers(-3 if limits.min else 0, 4, shape).astype(dtype)
    values = np.where(kind == 0, small, values)
    return np.where(kind == 1, rng.choice([limits.min, limits.max], shape), values).astype(dtype)


@pytest.mark.parametrize("reduce", ["nearest", "max", "mean"])
@pytest.mark.parametrize("dtype", DTYPES)
def test_same_bytes_and_none_beside_them(dtype: str, reduce: str) -> None:
    rng = np.random.default_rng(DTYPES.index(dtype))
    for display, crop, block in PLANES:
        cells = [-(-(side + c) // block) for side, c in zip(display, crop, strict=True)]
        values = random_values(rng, dtype, (2, cells[1], cells[0]))
        for grid in GRIDS:
            x, y = axes(display, crop, block, grid)
            out = np.full((2, y[0], x[0]), 0x5A, "float32" if reduce == "mean" else dtype)
            for vectors, none in ((True, None), (False, None), (False, values.flat[0].item())):
                rest = (vectors, reduce, none, 3.0, x, y)
                want = _core.rasterize(values, *rest)
                scalar = out.copy()
                _core.raster_kernel("scalar", values, *rest, scalar)
                assert scalar.tobytes() == want.tobytes(), f"{display} {grid} {rest}"
                for number, build in enumerate(BUILDS[1:]):
                    for memory, shift in ((Guarded(), 1 + number % 3), (Walled(), 0)):
                        plane = memory.like(values, shift).reshape(values.shape)
                        got = memory.like(out, shift).reshape(out.shape)
                        _core.raster_kernel(build, plane, *rest, got)
                        assert got.tobytes() == scalar.tobytes(), f"{build} {display} {grid} {rest}"
                        assert plane.tobytes() == values.tobytes()
                        assert memory.intact(), "bytes beside an array were written"


@pytest.mark.parametrize("build", BUILDS)
def test_the_longest_vectors_of_all(build: str) -> None:
    """The sum of two squares reaches 2^31; of equals the first counts."""
    plane = np.zeros((2, 4, 64), np.int16)
    plane[:, 1, 2] = (-32768, 32767)
    plane[:, 2, 1] = (-32768, -32768)
    plane[:, 3, 0] = (-32768, -32768)
    plane[:, 0, 5] = (0, -1)
    plane[:, 1, 4] = (1, 0)
    out = np.zeros((2, 1, 16), np.int16)
    x, y = (16, 16, 256, 256, 0, 0, 4), (1, 16, 16, 16, 0, 0, 4)
    _core.raster_kernel(build, plane, True, "max", None, 3.0, x, y, out)
    assert out[:, 0, :3].tolist() == [[-32768, 0, 0], [-32768, -1, 0]]


@pytest.mark.parametrize("build", BUILDS)
def test_products_are_rounded(build: str) -> None:
    """Weights of 0.4 and values that cancel: a sum that is not rounded in between leaves a rest."""
    plane = np.tile(np.array([7, -7, 0, 11, -11], np.int16), (2, 5, 8))
    out = np.ones((2, 2, 16), np.float32)
    x, y = (16, 10, 160, 160, 0, 0, 4), (2, 10, 20, 20, 0, 0, 4)
    _core.raster_kernel(build, plane, True, "mean", None, 3.0, x, y, out)
    assert not out.any()
