"""Temporal consistency: how well each frame is its predecessor, moved.

The motion is the stream's own (stream_motion), or any flow in samples, an estimator's for example;
what was used belongs beside the number.
"""

from __future__ import annotations

import os
from typing import Any

import numpy as np
import numpy.typing as npt

import cvdecode

from .measures import psnr_of, unit

Array = npt.NDArray[Any]


def stream_motion(
    source: str | os.PathLike[str], start: int = 0, stop: int | None = None
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.bool_]]:
    """Where each 4x4 block came from in the frame before, by the vectors coded in the stream.

    A vector to a picture d frames away is divided by d and pointed to the frame before. Of two
    lists the nearer picture counts, list 0 where both are as near.

    Returns:
        motion, float32 (T, 2 (x, y), H4, W4), samples: source in frame t - 1 = here + motion;
        known, bool (T, H4, W4): False in intra blocks and where no reference is known, and in the
        first frame of the range.

    Raises:
        cvdecode.PlaneUnavailable: no backend gives vectors with references for this stream.
    """
    clip = cvdecode.read(source, planes=("mv", "ref"), start=start, stop=stop)
    distance = np.where(clip.ref_known, np.abs(clip.ref.astype(np.int32)), 1 << 20)
    second = distance[:, 1] < distance[:, 0]
    ref = np.where(second, clip.ref[:, 1], clip.ref[:, 0]).astype(np.float32)
    mv = np.where(second[:, None], clip.mv[:, 1], clip.mv[:, 0])
    known = distance.min(axis=1) < 1 << 20
    known[0] = False
    scale = np.where(known, -1 / (np.where(known, ref, 1) * clip.metadata.mv_unit), 0)
    return (mv * scale[:, None]).astype(np.float32), known


def dense(cells: Array, height: int, width: int, left: int = 0, top: int = 0) -> Array:
    """Repeats each 4x4 cell of the last two axes over its samples; (left, top) are cropped off."""
    full = np.repeat(np.repeat(cells, 4, axis=-2), 4, axis=-1)
    return full[..., top : top + height, left : left + width]


def warp(frame: Array, motion: Array) -> npt.NDArray[np.float64]:
    """Samples `frame` at here + motion, bilinear, clamped to its borders.

    Args:
        frame: (H, W) or (C, H, W).
        motion: (2 (x, y), H, W), samples.
    """
    height, width = frame.shape[-2:]
    y, x = np.mgrid[0:height, 0:width]
    x = np.clip(x + motion[0], 0, width - 1)
    y = np.clip(y + motion[1], 0, height - 1)
    x0 = np.minimum(x.astype(np.intp), max(0, width - 2))
    y0 = np.minimum(y.astype(np.intp), max(0, height - 2))
    fx, fy = x - x0, y - y0
    x1, y1 = np.minimum(x0 + 1, width - 1), np.minimum(y0 + 1, height - 1)
    upper = frame[..., y0, x0] * (1 - fx) + frame[..., y0, x1] * fx
    lower = frame[..., y1, x0] * (1 - fx) + frame[..., y1, x1] * fx
    warped: npt.NDArray[np.float64] = upper * (1 - fy) + lower * fy
    return warped


def temporal_consistency(frames: Array, motion: Array, known: Array | None = None) -> float:
    """PSNR, dB, of frames 1 to T - 1 against their predecessors moved along `motion`.

    Args:
        frames: (T, H, W) or (T, C, H, W), uint8 or floats in [0, 1].
        motion: (T, 2 (x, y), H, W), samples: source in frame t - 1 = here + motion.
        known: (T, H, W) bool: samples that count; None = all. NaN where none does.

    Raises:
        ValueError: fewer than two frames.
    """
    if len(frames) < 2:
        raise ValueError("temporal consistency needs two frames")
    square, samples = 0.0, 0
    for t in range(1, len(frames)):
        error = np.square(unit(frames[t]) - warp(unit(frames[t - 1]), motion[t]))
        if known is not None:
            error = error[..., known[t]]
        square += float(error.sum())
        samples += error.size
    return psnr_of(square / samples) if samples else float("nan")
