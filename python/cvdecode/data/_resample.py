"""Planes through a Window: bilinear for pixels and dense vectors, nearest for cells."""

from __future__ import annotations

from typing import Any, cast

import numpy as np
import numpy.typing as npt
import torch

import cvdecode
from cvdecode.data.views import Window

Array = npt.NDArray[Any]


def cut(planes: Array, window: Window) -> Array:
    """The window's box of planes (..., H, W) of display size; a view."""
    x, y, w, h = window.box
    return planes[..., y : y + h, x : x + w]


def encoded(planes: Array, window: Window, encoding: Any) -> list[torch.Tensor]:
    """Planes (N, C, H, W) of display size through a window, as bytes: (N, C, h, w) per crop.

    See cvdecode.resample, which does all of it in one pass.
    """
    return [torch.from_numpy(c) for c in cvdecode.resample(planes, *window, encoding=encoding)]


def encoded_residual(luma: Array, chroma: Array | None, window: Window) -> list[torch.Tensor]:
    """The same of a coded residual, Y, Cb, Cr: (N, H, W) and (N, 2, ceil(H/2), ceil(W/2)) or None.

    Chroma is repeated to luma size; 128 where there is none.
    """
    bytes_ = np.empty((len(window.crops), len(luma), 3, *window.size), np.uint8)
    cvdecode.resample(luma[:, None], *window, encoding="residual", out=bytes_[:, :, :1])
    if chroma is None:
        bytes_[:, :, 1:] = 128
    else:
        options: dict[str, Any] = {"encoding": "residual", "halved": True}
        cvdecode.resample(chroma, *window, **options, out=bytes_[:, :, 1:])
    return [torch.from_numpy(crop) for crop in bytes_]


def bilinear(boxes: Array, window: Window) -> list[torch.Tensor]:
    """Boxes (N, C, h, w) resized and cropped: one tensor (N, C, H, W) of their dtype per crop.

    The tensors share no memory with the boxes.

    Sample centres lie at half samples, no anti-aliasing, as OpenCV's INTER_LINEAR. int16 and
    uint8 are rounded to the nearest.
    """
    if boxes.dtype == np.uint8:
        height, width = boxes.shape[-2:]
        return encoded(boxes, window._replace(box=(0, 0, width, height)), "none")
    source = torch.from_numpy(np.ascontiguousarray(boxes))
    if tuple(source.shape[-2:]) == window.resized or source.numel() == 0:
        resized = source
        if source.numel() == 0:
            resized = source.new_zeros((*source.shape[:2], *window.resized))
    else:
        whole = source.dtype == torch.int16
        resized = torch.nn.functional.interpolate(
            source.to(torch.float32) if whole else source,
            size=window.resized,
            mode="bilinear",
            align_corners=False,
        )
        if whole:
            resized = resized.round_().to(torch.int16)
    height, width = window.size
    tensors = []
    for x, y, flipped in window.crops:
        crop = resized[..., y : y + height, x : x + width]
        if flipped:
            crop = crop.flip(-1)
        elif resized is source or len(window.crops) > 1:
            crop = crop.clone(memory_format=torch.contiguous_format)
        tensors.append(crop.contiguous())
    return tensors


def nearest(cells: Array, block: int, crop: tuple[int, int], window: Window) -> list[Array]:
    """Cells (..., rows, columns) of ``block`` samples for each crop of a window.

    Cell (0, 0) starts ``crop`` = (left, top) samples before the display. Each crop gets cells of
    ``block`` samples of its own: the value under the centre of each (of its part inside).
    """
    box_x, box_y, box_w, box_h = window.box
    height, width = window.size
    out = []
    for x, y, flipped in window.crops:
        columns = _under(x, width, block, box_x, box_w, window.resized[1], crop[0])
        rows = _under(y, height, block, box_y, box_h, window.resized[0], crop[1])
        if flipped:
            columns = columns[::-1]
        out.append(np.take(np.take(cells, rows, axis=-2), columns, axis=-1))
    return out


def _under(
    start: int, length: int, block: int, box_start: int, box_length: int, resized: int, crop: int
) -> npt.NDArray[np.int64]:
    """Along one axis: the source cell under the centre of each of the crop's cells."""
    left = np.arange(0, length, block)
    centre = start + (left + np.minimum(left + block, length)) / 2
    place = np.floor(box_start + centre * (box_length / resized) + crop)
    return cast("npt.NDArray[np.int64]", (place // block).astype(np.int64))
