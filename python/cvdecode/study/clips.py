"""From a video file to a model's input: which frames, what size, what layout."""

from __future__ import annotations

import dataclasses
import math
import os
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

import cvdecode

Array = npt.NDArray[Any]
Layout = Literal["bcthw", "btchw", "slowfast"]


@dataclasses.dataclass(frozen=True)
class ClipSpec:
    """What a video model takes (Otani et al., Table 1): one view from the start of the video.

    ``layout``: "bcthw" (B, 3, T, S, S); "btchw" (B, T, 3, S, S); "slowfast" the list [slow, fast]
    of (B, 3, T / alpha, S, S) and (B, 3, T, S, S).
    """

    short_side: int
    crop: int
    frames: int
    stride: int
    layout: Layout = "bcthw"
    mean: tuple[float, float, float] = (0.45, 0.45, 0.45)
    std: tuple[float, float, float] = (0.225, 0.225, 0.225)
    alpha: int = 4


def frame_indices(spec: ClipSpec, length: int, at: float = 0.0) -> list[int]:
    """s, s + stride, ...; where the video is too short, its last frame again and again.

    Args:
        at: where the clip starts, as a share in [0, 1) of the places where it fits; 0: s = 0.
    """
    room = max(0, length - 1 - (spec.frames - 1) * spec.stride)
    start = int(at * (room + 1))
    return [min(start + i * spec.stride, length - 1) for i in range(spec.frames)]


def load(path: str | os.PathLike[str], spec: ClipSpec, at: float = 0.0) -> npt.NDArray[np.uint8]:
    """The frames of the clip, uint8 (T, 3, H, W), as decoded; `at` as in frame_indices()."""
    with cvdecode.VideoReader(path, planes=(), rgb="all") as video:
        wanted = frame_indices(spec, len(video), at)
        found = sorted(set(wanted))
        rgb = video.get_frames_at(found).rgb
    rows = np.searchsorted(found, wanted)
    return np.asarray(rgb[rows], np.uint8)


def resize(frames: Array, height: int, width: int) -> npt.NDArray[np.float32]:
    """Bilinear over the last two axes, sample centres aligned (what torch's interpolate does)."""
    columns = _bilinear(frames.astype(np.float32), -1, width)
    return _bilinear(columns, -2, height)


def _bilinear(values: npt.NDArray[np.float32], axis: int, to: int) -> npt.NDArray[np.float32]:
    """Linear interpolation between the two nearest samples of one axis, no antialiasing.

    Sample by sample, without matrix products: the bits do not depend on how many threads BLAS has.
    """
    size = values.shape[axis]
    at = np.clip((np.arange(to) + 0.5) * size / to - 0.5, 0, size - 1)
    low = np.minimum(at.astype(np.intp), max(0, size - 2))
    weight = (at - low).astype(np.float32).reshape((-1,) + (1,) * (-1 - axis))
    left = np.take(values, low, axis)
    right = np.take(values, np.minimum(low + 1, size - 1), axis)
    between: npt.NDArray[np.float32] = left * (1 - weight) + right * weight
    return between


def short_side_size(height: int, width: int, short_side: int) -> tuple[int, int]:
    """(height, width) with the short side at `short_side` and the long one rounded down."""
    if width <= height:
        return math.floor(height / width * short_side), short_side
    return short_side, math.floor(width / height * short_side)


def preprocess(
    rgb: Array,
    spec: ClipSpec,
    *,
    zoom: float = 1.0,
    place: tuple[float, float] = (0.5, 0.5),
    mirrored: bool = False,
) -> npt.NDArray[np.float32]:
    """Resized, cropped and normalised: uint8 (T, 3, H, W) -> (3, T, S, S).

    Args:
        zoom: factor on the short side before the crop, at least 1.
        place: of the crop, from (0, 0) at the top left to (1, 1) at the bottom right.
        mirrored: left to right.
    """
    short_side = round(spec.short_side * zoom)
    frames = resize(rgb, *short_side_size(rgb.shape[-2], rgb.shape[-1], short_side))
    top = round((frames.shape[-2] - spec.crop) * place[0])
    left = round((frames.shape[-1] - spec.crop) * place[1])
    frames = frames[..., top : top + spec.crop, left : left + spec.crop] / np.float32(255)
    frames = frames[..., ::-1] if mirrored else frames
    mean, std = (np.array(v, np.float32).reshape(3, 1, 1) for v in (spec.mean, spec.std))
    return np.ascontiguousarray(((frames - mean) / std).transpose(1, 0, 2, 3))


def pack(clips: Sequence[Array], spec: ClipSpec) -> Any:
    """Preprocessed clips (3, T, S, S) as one batch in the model's layout."""
    batch = np.stack(clips)
    if spec.layout == "btchw":
        return np.ascontiguousarray(batch.transpose(0, 2, 1, 3, 4))
    if spec.layout == "slowfast":
        slow = np.linspace(0, spec.frames - 1, spec.frames // spec.alpha).astype(np.intp)
        return [np.ascontiguousarray(batch[:, :, slow]), batch]
    return batch
