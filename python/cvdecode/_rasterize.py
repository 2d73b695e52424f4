"""Planes on other grids: pixels, 8x8, 16x16, or the patches of a model after its own resize."""

from __future__ import annotations

import dataclasses
from typing import Any, Literal

import numpy as np

from . import _core, _device
from ._accumulate import Accumulation
from ._batch import AccumulationBatch
from ._frame import QP_NONE, Array, Clip, Frame
from ._reader import _integer

Reduce = Literal["mean", "max", "nearest"]
Resize = Literal["longer", "shorter", "squash", "none"]

_VECTORS = ("mv", "displacement")
_ON_PIXELS = ("residual_y", "residual_uv", "rgb")
_NAMES = ("mb_type", "ref", "anchor", "mask", "mask_uv")
"""Planes whose values name things: they are picked, never averaged."""


@dataclasses.dataclass(frozen=True)
class Canvas:
    """How a picture lies on the square (or rectangle) that a model sees."""

    width: int
    """Canvas, in samples."""
    height: int
    resized_width: int
    """The picture after the resize; (left, top) is where its first sample lies on the canvas,
    negative where it is cropped."""
    resized_height: int
    left: int
    top: int

    def scale_of(self, width: int, height: int) -> tuple[float, float]:
        """(x, y) resize ratio of a picture of this size."""
        return (self.resized_width / width, self.resized_height / height)


def canvas_of(
    width: int, height: int, size: int | tuple[int, int] | None, resize: Resize
) -> Canvas:
    """The canvas of a picture of display size ``width`` x ``height``.

    Args:
        width: display width.
        height: display height.
        size: canvas (height, width), or one number for both; None = the picture's own size.
        resize: "longer" scales the longer side to the canvas and pads the other, centred;
            "shorter" scales the shorter side and crops the other, centred; "squash" scales both
            sides, changing the shape; "none" keeps the size, centred, padded or cropped.
            Sizes are rounded half to even, as Python's round() does; of odd paddings the smaller
            half comes first.
    """
    if resize not in ("longer", "shorter", "squash", "none"):
        raise ValueError(f'resize is "longer", "shorter", "squash" or "none", not {resize!r}')
    if size is None:
        return Canvas(width, height, width, height, 0, 0)
    sides = (size, size) if hasattr(size, "__index__") else size
    try:
        high, wide = (_integer("size", side, 1) for side in sides)
    except (TypeError, ValueError):
        raise ValueError(
            f"size is (height, width) or one number for both, whole numbers from 1, not {size!r}"
        ) from None
    if resize == "squash":
        new_width, new_height = wide, high
    elif resize == "none":
        new_width, new_height = width, height
    else:
        pick = min if resize == "longer" else max
        scale = pick(wide / width, high / height)
        new_width = max(1, round(width * scale))
        new_height = max(1, round(height * scale))
    left, top = (wide - new_width) // 2, (high - new_height) // 2
    return Canvas(wide, high, new_width, new_height, left, top)


def rasterize(
    source: Clip | Frame | Accumulation | AccumulationBatch,
    plane: str | None = None,
    *,
    grid: Literal["pixel"] | int = "pixel",
    patch: int | None = None,
    size: int | tuple[int, int] | None = None,
    resize: Resize = "longer",
    reduce: Reduce | None = None,
    scale_vectors: bool = False,
    fill: float = 0,
) -> Array:
    """A plane on another grid: pixels, squares of pixels, or a model's patches.

    The crop is respected: cell 0 starts at the first displayed sample.

    Args:
        source: a Clip, a Frame, an Accumulation or a batch of them, also one on a GPU.
        plane: its name; "mv" of a clip, "displacement" of an accumulation by default.
        grid: "pixel", or the side of a cell in display samples, as 8 or 16. The last column and
            row of cells may reach over the edge: they stand for the part inside.
        patch: instead of ``grid``, the side of a model's patches, as 14 or 16.
        size: with ``patch``, the (height, width) of the model's input, or one number for both; a
            multiple of ``patch``. The picture's own size if left out, rounded down to patches.
        resize: with ``patch``, how the picture comes to that size: "longer" (side to size, the
            rest padded), "shorter" (side to size, the rest cropped), "squash", "none".
        reduce: "nearest" takes the value under the cell's centre (of its part inside the picture),
            "mean" weighs by covered area, "max" takes the value of the greatest magnitude (of
            vectors the longest; of equals the first in raster order). "nearest" is the default on
            the pixel grid and for planes that name things (mb_type, ref, anchor, mask), which
            allow no other; else "mean".
        scale_vectors: multiply vectors by the resize ratio: samples of the resized picture.
        fill: the value of patches that lie wholly in padding, and of cells without any value (a
            ``qp`` of -128 is left out of mean and max).

    Returns:
        (..., rows, columns), leading axes as in the plane. float32 for "mean" and scaled vectors,
        else the plane's own dtype. A tensor where the plane is one on a GPU, on that GPU.

    Raises:
        PlaneNotRead: the clip was read without this plane.
        ValueError: no such plane; arguments out of range or that exclude each other; an
            accumulation of a box of the picture.
    """
    if plane is None:
        plane = "mv" if isinstance(source, (Clip, Frame)) else "displacement"
    if not isinstance(plane, str):
        raise TypeError(f"plane is a name, not {type(plane).__name__}")
    array, block, crop = _cells(source, plane)
    segment = source.segment
    width, height = segment.width, segment.height
    if plane in ("residual_uv", "mask_uv"):
        width, height = (width + 1) // 2, (height + 1) // 2
    if reduce is None:
        on_pixels = patch is None and grid == "pixel"
        reduce = "nearest" if on_pixels or plane in _NAMES else "mean"
    if reduce not in ("mean", "max", "nearest"):
        raise ValueError(f'reduce is "mean", "max" or "nearest", not {reduce!r}')
    if plane in _NAMES and reduce != "nearest":
        raise ValueError(
            f'the values of {plane!r} name things: reduce="nearest" is the only way to reduce them'
        )
    if scale_vectors and plane not in _VECTORS:
        raise ValueError(f"scale_vectors is for vectors ({', '.join(_VECTORS)}), not for {plane!r}")

    if patch is None:
        if size is not None:
            raise ValueError("size goes with patch: grid counts display samples")
        step = 1 if grid == "pixel" else _whole("grid", grid)
        canvas = canvas_of(width, height, None, "none")
        columns, rows = -(-width // step), -(-height // step)
    else:
        if grid != "pixel":
            raise ValueError("grid and patch both name the cells: give one of them")
        step = _whole("patch", patch)
        canvas = canvas_of(width, height, size, resize)
        if size is not None and (canvas.width % step or canvas.height % step):
            raise ValueError(f"size {size} is no multiple of patch {patch}")
        columns, rows = canvas.width // step, canvas.height // step
        if columns == 0 or rows == 0:
            raise ValueError(f"no patch of {patch} fits into {width}x{height} samples: pass size")
    x = (columns, step, width, canvas.resized_width, canvas.left, crop[0], block)
    y = (rows, step, height, canvas.resized_height, canvas.top, crop[1], block)
    none = QP_NONE if plane == "qp" else None
    if reduce != "mean":
        _check_fill(fill, str(array.dtype).removeprefix("torch."), plane)
    if not isinstance(array, np.ndarray):
        gpu = _device.find(array.device)
        if gpu is not None:
            cells: Array = _device.rasterize(
                gpu, array, plane in _VECTORS, reduce, none, float(fill), x, y
            )
            if scale_vectors:
                cells = cells * _column(cells, canvas.scale_of(width, height))
                _pad(cells, x, y, fill)
            return cells
        array = _device.to_numpy(array)
    if array.strides[-1] != array.itemsize:
        array = np.ascontiguousarray(array)
    out = _core.rasterize(array, plane in _VECTORS, reduce, none, float(fill), x, y)
    if scale_vectors:
        ratio = np.array(canvas.scale_of(width, height), np.float32)
        out = out * ratio[:, None, None]
        _pad(out, x, y, fill)
    return out


def _pad(cells: Any, x: tuple[int, ...], y: tuple[int, ...], fill: float) -> None:
    """Cells wholly in padding hold ``fill`` itself, not scaled."""
    for axis, (count, step, _, resized, origin, *_) in ((-1, x), (-2, y)):
        first = min(max(origin // step, 0), count)
        last = min(max(-(-(origin + resized) // step), 0), count)
        for part in (slice(0, first), slice(last, count)):
            cells[(..., part) if axis == -1 else (..., part, slice(None))] = fill


def _column(like: Any, ratio: tuple[float, float]) -> Any:
    """(2, 1, 1) float32 beside ``like``, a tensor on a GPU."""
    import torch

    return torch.tensor(ratio, dtype=torch.float32, device=like.device)[:, None, None]


def _whole(name: str, value: Any) -> int:
    try:
        if not isinstance(value, bool):
            return _integer(name, value, 1)
    except (TypeError, ValueError):
        pass
    raise ValueError(f"{name} is a whole number, 1 or more, not {value!r}")


def _check_fill(fill: float, dtype: str, plane: str) -> None:
    """Where the result has the plane's own dtype, ``fill`` must be a value of it."""
    if np.dtype(dtype).kind == "f":
        return
    limits = np.iinfo(dtype)
    if not (limits.min <= fill <= limits.max and fill == int(fill)):
        raise ValueError(
            f"fill={fill!r} is no {dtype}, of which {plane!r} is; give a whole number from "
            f'{limits.min} to {limits.max}, or reduce="mean"'
        )


def _cells(
    source: Clip | Frame | Accumulation | AccumulationBatch, plane: str
) -> tuple[Any, int, tuple[int, int]]:
    """(array whose cell 0 holds display sample 0, samples per cell, crop that it starts with)."""
    if not isinstance(source, (Clip, Frame, Accumulation, AccumulationBatch)):
        raise TypeError(
            f"rasterize() takes a Clip, a Frame or an Accumulation, not {type(source).__name__}"
        )
    if isinstance(source, Accumulation):
        source._whole("rasterize()")
    crop = source.segment.crop
    if isinstance(source, (Accumulation, AccumulationBatch)):
        if plane not in source.planes or plane == "lost":  # one value for a frame
            raise ValueError(
                f"an accumulation has no plane {plane!r}; this one has {', '.join(source.planes)}"
            )
        array = getattr(source, plane)
        block = source.grid if plane not in ("residual", "residual_uv", "mask_uv") else 1
        # Its planes are cropped to whole cells already.
        return array, block, (crop.left % block, crop.top % block)
    if plane not in source.planes and plane not in (*source.block_size, *_ON_PIXELS):
        raise ValueError(f"no plane is called {plane!r}; the clip has {', '.join(source.planes)}")
    array = getattr(source, plane)
    if plane in _ON_PIXELS:
        return array, 1, (0, 0)
    block = source.block_size[plane]
    array = array[..., crop.top // block :, crop.left // block :]
    return array, block, (crop.left % block, crop.top % block)
