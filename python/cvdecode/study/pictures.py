"""Pictures as records, so that a study's page can show them: filters, crops side by side."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from .errors import ToolMissing
from .records import Record

Array = npt.NDArray[Any]


def png(pixels: Array) -> bytes:
    """(H, W) grey or (H, W, 3) RGB, uint8, as a PNG file.

    Raises:
        ToolMissing: Pillow is not installed.
    """
    try:
        from PIL import Image
    except ImportError:
        raise ToolMissing("pictures need Pillow: pip install 'cvdecode[study]'") from None
    buffer = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(pixels)).save(buffer, "PNG")
    return buffer.getvalue()


def picture(title: str, pixels: Array, caption: str = "") -> Record:
    """A record of kind "picture" from (H, W) grey or (H, W, 3) RGB, uint8.

    Raises:
        ToolMissing: Pillow is not installed.
    """
    return {
        "key": f"picture|{title}",
        "kind": "picture",
        "title": title,
        "caption": caption,
        "width": pixels.shape[1],
        "png": base64.b64encode(png(pixels)).decode(),
    }


def beside(images: Sequence[Array], gap: int = 4) -> npt.NDArray[np.uint8]:
    """Crops of equal size side by side, (H, W, 3), with white between: compressed, enhanced, ..."""
    colour = [np.stack([i] * 3, axis=-1) if i.ndim == 2 else i for i in images]
    white = np.full((colour[0].shape[0], gap, 3), 255, np.uint8)
    parts = [part for image in colour for part in (image, white)]
    return np.concatenate(parts[:-1], axis=1)


def filters(weights: Array, scale: int = 8) -> npt.NDArray[np.uint8]:
    """First-layer filters (N, C, k, k) as a picture: a column a filter, a row a channel.

    Each filter is stretched to its own largest magnitude; mid-grey is zero.
    """
    largest = np.abs(weights).max(axis=(1, 2, 3), keepdims=True)
    levels = np.rint(127.5 + 127.5 * weights / np.where(largest > 0, largest, 1))
    n, channels, height, width = weights.shape
    out = np.full((channels, height + 1, n, width + 1), 255, np.uint8)
    out[:, :height, :, :width] = levels.transpose(1, 2, 0, 3).astype(np.uint8)
    flat = out.reshape(channels * (height + 1), n * (width + 1))[:-1, :-1]
    return np.repeat(np.repeat(flat, scale, axis=0), scale, axis=1)
