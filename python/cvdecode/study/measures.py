"""How far decoded frames are from their originals: MAE, RMSE, PSNR, SSIM, LPIPS; range [0, 1].

Frames are uint8 (then divided by 255) or floats in [0, 1]; both sides have the same shape. A clip's
MAE and RMSE are over all its samples, its PSNR comes from the same mean square error (equal clips:
infinite), its SSIM and LPIPS are means over frames.
"""

from __future__ import annotations

import functools
import importlib
import math
import os
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Any

import numpy as np
import numpy.typing as npt

from .errors import StudyError, ToolMissing
from .ffmpeg import frames as decoded

Array = npt.NDArray[Any]
AT_ONCE = 8
"""Frames compared at a time."""


def unit(frames: Array) -> npt.NDArray[np.float64]:
    """Samples in [0, 1] as float64; uint8 is divided by 255."""
    scale = 255.0 if frames.dtype == np.uint8 else 1.0
    return np.asarray(frames, np.float64) / scale


def _pair(reference: Array, distorted: Array) -> Array:
    if reference.shape != distorted.shape:
        raise ValueError(f"frames of {distorted.shape} cannot be compared with {reference.shape}")
    if reference.size == 0:
        raise ValueError("there is no frame to compare")
    return unit(distorted) - unit(reference)


def mae(reference: Array, distorted: Array) -> float:
    """Mean absolute error, 0 to 1."""
    return float(np.abs(_pair(reference, distorted)).mean())


def rmse(reference: Array, distorted: Array) -> float:
    """Root of the mean square error, 0 to 1."""
    return math.sqrt(float(np.square(_pair(reference, distorted)).mean()))


def psnr(reference: Array, distorted: Array) -> float:
    """Peak signal-to-noise ratio, dB, peak 1; infinite where nothing differs."""
    return psnr_of(float(np.square(_pair(reference, distorted)).mean()))


def psnr_of(mean_square: float) -> float:
    """dB of a mean square error on range [0, 1]."""
    return -10 * math.log10(mean_square) if mean_square > 0 else math.inf


def ssim(reference: Array, distorted: Array) -> npt.NDArray[np.float64]:
    """Structural similarity of each frame, (T,), by torchmetrics: 11x11 Gaussian, sigma 1.5,
    the image mirrored at its borders.

    Args:
        reference, distorted: (T, C, H, W) or (T, H, W), at least 11 samples high and wide.

    Raises:
        ToolMissing: torchmetrics is not installed.
    """
    try:
        import torch
        from torchmetrics.functional.image import structural_similarity_index_measure
    except ImportError:
        raise ToolMissing("SSIM is torchmetrics' own: pip install 'cvdecode[study]'") from None
    if reference.ndim == 3:
        reference, distorted = reference[:, None], distorted[:, None]
    _pair(reference[:1], distorted[:1])
    a, b = (torch.from_numpy(unit(x)).float() for x in (reference, distorted))
    found = structural_similarity_index_measure(b, a, data_range=1.0, reduction="none")
    return np.asarray(found, np.float64).reshape(len(reference))


@functools.cache
def _lpips_network() -> Any:
    try:
        return importlib.import_module("lpips").LPIPS(net="alex", verbose=False).eval()
    except Exception as error:
        raise ToolMissing(
            f"LPIPS needs the package lpips and the weights that it downloads: {error}"
        ) from error


def lpips(reference: Array, distorted: Array) -> npt.NDArray[np.float64]:
    """Learned perceptual distance of each frame, (T,), AlexNet; (T, 3, H, W) on both sides.

    Raises:
        ToolMissing: its library or its weights are not there.
    """
    network = _lpips_network()
    import torch

    _pair(reference[:1], distorted[:1])
    a, b = (torch.from_numpy(unit(x) * 2 - 1).float() for x in (reference, distorted))
    with torch.no_grad():
        return np.asarray(network(a, b), np.float64).reshape(-1)


def compare(
    reference: Iterable[Array],
    distorted: Iterable[Array],
    *,
    perceptual: bool = False,
    every: int = 1,
) -> dict[str, float]:
    """mae, rmse, psnr and ssim (and lpips) of a clip, a few frames in memory at a time.

    Args:
        reference, distorted: frames (3, H, W) or (H, W), one by one.
        perceptual: also LPIPS; frames are then (3, H, W).
        every: ssim and lpips, which cost most, look at frames 0, every, 2 every, ...

    Raises:
        StudyError: one side has more frames than the other.
    """
    left, right = iter(reference), iter(distorted)
    count = samples = looked = 0
    absolute = square = similar = distance = 0.0
    while True:
        a, b = list(islice(left, AT_ONCE)), list(islice(right, AT_ONCE))
        if len(a) != len(b):
            raise StudyError(
                f"the clip has {count + len(b)} frames where the original has {count + len(a)} "
                "(or more): they cannot be compared frame by frame"
            )
        if not a:
            break
        x, y = np.stack(a), np.stack(b)
        difference = _pair(x, y)
        absolute += float(np.abs(difference).sum())
        square += float(np.square(difference).sum())
        some = slice(-count % every, None, every)
        if len(x[some]):
            similar += float(ssim(x[some], y[some]).sum())
            distance += float(lpips(x[some], y[some]).sum()) if perceptual else 0.0
            looked += len(x[some])
        count += len(a)
        samples += difference.size
    if not count:
        raise StudyError("there is no frame to compare")
    said = {
        "mae": absolute / samples,
        "rmse": math.sqrt(square / samples),
        "psnr": psnr_of(square / samples),
        "ssim": similar / looked,
    }
    return said | ({"lpips": distance / looked} if perceptual else {})


def rgb_frames(
    source: str | os.PathLike[str], width: int, height: int, filters: str = ""
) -> Iterator[Array]:
    """Decoded frames as uint8 (3, height, width)."""
    for frame in decoded(source, (height, width, 3), "rgb24", filters):
        yield frame.transpose(2, 0, 1)


def luma_frames(
    source: str | os.PathLike[str], width: int, height: int, filters: str = ""
) -> Iterator[Array]:
    """The luma plane of decoded 4:2:0 frames, uint8 (height, width), samples as coded.

    The plane is taken from yuv420p: pixel format "gray" would stretch limited to full range.
    Sizes are even.
    """
    for frame in decoded(source, (height * 3 // 2, width), "yuv420p", filters):
        yield frame[:height]
