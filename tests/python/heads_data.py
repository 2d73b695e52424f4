"""Inputs of the networks from a coded file, coded and normalised as the papers say."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F

import cvdecode

MEAN = torch.tensor([0.485, 0.456, 0.406]).view(3, 1, 1)
STD = torch.tensor([0.229, 0.224, 0.225]).view(3, 1, 1)


def _crop(x: torch.Tensor, crop: int, size: int) -> torch.Tensor:
    """Centre crop of (..., H, W), then block means down to `size`."""
    top, left = (x.shape[-2] - crop) // 2, (x.shape[-1] - crop) // 2
    x = x[..., top : top + crop, left : left + crop].float()
    return x if size == crop else F.adaptive_avg_pool2d(x, size)


def _motion(displacement: np.ndarray) -> torch.Tensor:
    """Quarter samples to CoViAR's code less 0.5: in [-0.5, 0.5]."""
    coded = torch.from_numpy(displacement).float() / 4 * (127.5 / 20)
    return ((coded.trunc() + 128).clip(0, 255) / 255) - 0.5


def _difference(residual: np.ndarray) -> torch.Tensor:
    return ((torch.from_numpy(residual).float() + 128).clip(0, 255) / 255 - 0.5) / STD


def sample(path: Path, gops: int, crop: int, size: int) -> dict[str, torch.Tensor]:
    """One video: its first `gops` GOPs, frame 6 of each, and the first GOP whole.

    iframe, adjacent, mv, residual (accumulated), mv1, residual1 (one step): (gops, C, size, size).
    first (3, size, size), frames (12, ...), gop_residual (11, ...): values of 8-bit pictures.
    """
    with cvdecode.VideoReader(path, planes=("mv", "ref"), rgb="all") as video:
        starts = [gop.start for gop in video.gops[:gops]]
        seen = [start + 6 for start in starts]
        neighbours = [video.gops[1].start, *starts[:-1]]
        images = torch.from_numpy(video.get_frames_at(starts + neighbours).rgb)
        frames = torch.from_numpy(video.get_frames_in_range(0, 12).rgb)
        long = cvdecode.accumulate(video, seen, residual="recon_diff")
        short = cvdecode.accumulate(video, seen, residual="recon_diff", hops=1)
        gop = cvdecode.accumulate(video, range(1, 12), residual="recon_diff")
    found = {
        "images": (images.float() / 255 - MEAN) / STD,
        "mv": _motion(long.displacement),
        "residual": _difference(long.residual),
        "mv1": _motion(short.displacement) / 0.226,
        "residual1": _difference(short.residual),
        "frames": frames,
        "gop_residual": torch.from_numpy(gop.residual),
    }
    found = {name: _crop(value, crop, size) for name, value in found.items()}
    found["iframe"], found["adjacent"] = found.pop("images").split(gops)
    found["first"] = found["frames"][0]
    return found
