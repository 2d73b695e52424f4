"""Flow as one can have it: estimated from decoded pictures, where the generator's own is an oracle.

TV-L1 between neighbours at half size, followed from picture to picture back to the I picture, so
that it is the same quantity as accumulated motion: displacement here minus there.
"""

from __future__ import annotations

import pickle
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d, grid_sample

import cvdecode
from cvdecode.recipes.flow import tv_l1
from evidence import record
from evidence.actions import Action, draw
from evidence.encode import encode
from evidence.tensors import CELLS, FRAMES, GOP, Array, halved


def traced(steps: Tensor) -> Tensor:
    """Flow of each picture since the one before, to displacement since the picture before them all.

    Args:
        steps: float32 (T, 2 (x, y), H, W), samples, here minus there, of T pictures in order.

    Returns the same shape; a trace that leaves the picture goes on at its edge.
    """
    count, _, height, width = steps.shape
    y, x = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    total = steps[:1]
    found = [total]
    for t in range(1, count):
        at = torch.stack(
            [(x - steps[t, 0]) * 2 / (width - 1) - 1, (y - steps[t, 1]) * 2 / (height - 1) - 1], -1
        )
        before = grid_sample(total, at[None], padding_mode="border", align_corners=True)
        total = steps[t : t + 1] + before
        found.append(total)
    return torch.cat(found)


def displacement(pictures: Array) -> Array:
    """Estimated displacement of each predicted picture of a clip since its I picture.

    Args:
        pictures: (T, 112, 112) luma as decoded, GOPs of 12.

    Returns float16 (T / 12, 11, 2 (x, y), 28, 28), samples, as ``Tensors.flow``.
    """
    small = torch.from_numpy(halved(pictures))[:, None].expand(-1, 3, -1, -1)
    found = []
    for first in range(0, len(small), GOP):
        gop = small[first : first + GOP]
        steps = tv_l1(gop[1:], gop[:-1], levels=2, warps=2, steps=6)
        # Two samples of the whole picture are one of the half, and a cell is two of those.
        found.append(2 * avg_pool2d(traced(steps), 2))
    return torch.stack(found).numpy().astype(np.float16)


def flows(todo: list[Action], seed: int, codec: tuple[str, ...], name: str) -> Array:
    """(N, G, 11, 2, 28, 28) of the clips of ``todo``, made once and kept in the cache."""
    path = record.cache() / f"tvl1-{name}-{len(todo)}-{seed}.pickle"
    if not path.exists():
        out = np.empty((len(todo), FRAMES // GOP, GOP - 1, 2, CELLS, CELLS), np.float16)
        with tempfile.TemporaryDirectory() as folder:
            video = Path(folder) / "clips.mp4"
            encode((draw(a, FRAMES, seed) for a in todo), video, FRAMES, codec)
            with cvdecode.VideoReader(video, planes=("rgb",)) as pixels:
                for n in range(len(todo)):
                    span = list(range(n * FRAMES, (n + 1) * FRAMES))
                    out[n] = displacement(pixels.get_frames_at(span).rgb[:, 1])
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_suffix(".part")
        part.write_bytes(pickle.dumps(out))
        part.replace(path)
    kept: Any = pickle.loads(path.read_bytes())
    return np.asarray(kept)
