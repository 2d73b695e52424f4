"""Motion of one picture on a coarse grid, read in right and in wrong ways."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from cvdecode import Clip

Array = npt.NDArray[Any]

READINGS = ("exact", "forward only", "sign only", "naive")


def motion(clip: Clip, reading: str) -> Array:
    """Motion of every 4x4 block of every picture, samples, float32 (T, 2 (x, y), H/4, W/4).

    Readings of a vector v with reference distance d (index(reference) - index(this)):
        exact: v / d, the motion per picture forward in time, whichever way v points
        forward only: the same of vectors with d < 0; those with d > 0 are left out
        sign only: v sign(d): its direction in time is right, its length is not divided
        naive: -v, as if every reference were the picture before
    Bi-predicted blocks are the mean of their two vectors, blocks without a vector 0.
    """
    vectors = clip.mv.astype(np.float32) / 4
    distance = np.where(clip.ref_known, clip.ref, 0).astype(np.float32)[:, :, None]
    used = distance != 0
    if reading == "forward only":
        used = distance < 0
    if reading in ("exact", "forward only"):
        flow = np.divide(vectors, distance, out=np.zeros_like(vectors), where=used)
    elif reading == "sign only":
        flow = vectors * np.sign(distance)
    elif reading == "naive":
        flow = -vectors * used
    else:
        raise ValueError(f"a reading is one of {', '.join(READINGS)}, not {reading!r}")
    return (flow * used).sum(1) / np.maximum(used.sum(1), 1)


def sign_only_trace(clip: Clip) -> Array:
    """Displacement to the first picture of a clip, every vector taken for one between neighbours.

    What can be done with vectors whose direction in time is known and whose reference is not:
    v sign(d) is followed from picture to picture in presentation order, and a block without a
    vector stays where it is. Samples, float32 (T, 2, H/4, W/4).
    """
    steps = motion(clip, "sign only")
    _, _, height, width = steps.shape
    y, x = np.mgrid[:height, :width]
    total = np.zeros_like(steps)
    for t in range(1, len(steps)):
        # The block that holds this block's centre, moved back by one step.
        from_x = np.clip(np.floor((4 * x + 2 - steps[t, 0]) / 4), 0, width - 1).astype(int)
        from_y = np.clip(np.floor((4 * y + 2 - steps[t, 1]) / 4), 0, height - 1).astype(int)
        total[t] = steps[t] + total[t - 1][:, from_y, from_x]
    return total


def grid_means(field: Array, cells: int = 7) -> Array:
    """(T, 2, H, W) -> (T, 2 * cells * cells): mean vectors of a coarse grid."""
    count, _, height, width = field.shape
    if height % cells or width % cells:
        raise ValueError(f"a field of {height} x {width} has no {cells} x {cells} equal cells")
    shape = (count, 2, cells, height // cells, cells, width // cells)
    return field.reshape(shape).mean((3, 5)).reshape(count, -1)
