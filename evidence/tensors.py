"""Everything that a small net may see of a set of clips, read once: I, motion, residual, flow."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

import cvdecode
from evidence.actions import Action, draw, flow
from evidence.encode import encode

Array = npt.NDArray[Any]
GOP = 12
FRAMES = 36
CELLS = 28
"""Side of the 4x4-block grid of a 112x112 picture."""


@dataclasses.dataclass
class Tensors:
    """N clips of G GOPs of 12 pictures, of which the 11 predicted ones are kept (position 1 on)."""

    iframe: Array
    """uint8 (N, G, 56, 56): luma of each I picture (or anchor), 2x2 means."""
    mv: Array
    """int16 (N, G, 11, 2, 28, 28): displacement since the I picture, quarter samples."""
    residual: Array
    """int8 (N, G, 11, 56, 56): coded luma residual accumulated along it, 2x2 means, clipped."""
    flow: Array
    """float16 (N, G, 11, 2, 28, 28): the generator's own displacement, samples."""
    kind: Array
    """"P" or "B", (N, G, 11)."""
    motion: Array
    appearance: Array
    cost: dict[str, float]
    """Means over the predicted pictures: hops, share of masked blocks, CPU ms on the 4x4 grid."""

    def __len__(self) -> int:
        return len(self.motion)


def halved(plane: Array) -> Array:
    """2x2 means, (..., H, W) to (..., H / 2, W / 2), float32."""
    *first, height, width = plane.shape
    return plane.reshape(*first, height // 2, 2, width // 2, 2).mean((-3, -1), dtype=np.float32)


def make(
    todo: list[Action],
    seed: int,
    path: Path,
    codec: tuple[str, ...],
    *,
    virtual: bool = False,
    with_flow: bool = True,
    tick: Callable[[], None] = lambda: None,
) -> Tensors:
    """Draw, encode and read the clips of ``todo``.

    Args:
        todo: which clips.
        seed: of the set.
        path: where the video goes.
        codec: how it is encoded, of evidence.encode.
        virtual: anchors at every 12th picture instead of at I pictures (keyint 250).
        with_flow: fill ``flow``.
        tick: called after each clip.
    """
    encode((draw(a, FRAMES, seed) for a in todo), path, FRAMES, codec)
    gops = FRAMES // GOP
    shape = (len(todo), gops, GOP - 1)
    out = Tensors(
        iframe=np.empty((*shape[:2], 56, 56), np.uint8),
        mv=np.empty((*shape, 2, CELLS, CELLS), np.int16),
        residual=np.empty((*shape, 56, 56), np.int8),
        flow=np.zeros((*shape, 2, CELLS, CELLS) if with_flow else (0,), np.float16),
        kind=np.empty(shape, "U1"),
        motion=np.array([a.motion for a in todo]),
        appearance=np.array([a.appearance for a in todo]),
        cost={},
    )
    options: dict[str, Any] = {}
    hops, masked, spent = [], [], []
    with cvdecode.VideoReader(path, planes=("mv", "ref")) as video:
        kinds = np.asarray(video.frame_types)
        if virtual:
            options["anchors"] = list(range(0, len(video), GOP))
        elif (kinds[::GOP] != "I").any():
            raise ValueError(f"{path}: GOPs are not of {GOP} pictures; virtual=True")
        with cvdecode.VideoReader(path, planes=("rgb",)) as pixels:
            for n, action in enumerate(todo):
                start = n * FRAMES
                keys = [start + g * GOP for g in range(gops)]
                grey = pixels.get_frames_at(keys).rgb[:, 1]
                out.iframe[n] = np.rint(halved(grey))
                frames = [k + p for k in keys for p in range(1, GOP)]
                started = time.process_time()
                coarse = cvdecode.accumulate(video, frames, grid=4, return_hops=True, **options)
                spent.append((time.process_time() - started) / len(frames))
                fine = cvdecode.accumulate(video, frames, residual="coded", **options)
                out.mv[n] = coarse.displacement.reshape(out.mv[n].shape)
                small = np.clip(np.rint(halved(fine.residual_y)), -127, 127)
                out.residual[n] = small.reshape(out.residual[n].shape)
                out.kind[n] = kinds[frames].reshape(shape[1:])
                hops.append(coarse.hops.mean())
                masked.append((coarse.mask != 0).mean())
                if with_flow:
                    for g in range(gops):
                        for p in range(1, GOP):
                            since = g * GOP
                            out.flow[n, g, p - 1] = flow(action, FRAMES, seed, since, since + p)
                tick()
    out.cost = {"hops": float(np.mean(hops)), "masked": float(np.mean(masked))}
    out.cost["ms"] = 1000 * float(np.median(spent))
    return out
