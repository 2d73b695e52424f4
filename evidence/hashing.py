"""Near-duplicates by perceptual hash, and folds that keep them together."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]


def difference_hash(grey: Array) -> Array:
    """64 bits of each picture: is a cell of a 9x8 grid of means brighter than its left neighbour?

    Args:
        grey: (N, H, W).

    Returns:
        bool (N, 64).
    """
    count, height, width = grey.shape
    rows = np.linspace(0, height, 9).astype(int)
    columns = np.linspace(0, width, 10).astype(int)
    sums = np.add.reduceat(np.add.reduceat(grey.astype(np.float64), rows[:-1], 1), columns[:-1], 2)
    area = np.diff(rows)[:, None] * np.diff(columns)[None]
    means = sums / area
    return (means[:, :, 1:] > means[:, :, :-1]).reshape(count, 64)


def groups(hashes: list[Array], limit: int) -> Array:
    """Group number of each clip: clips with a pair of pictures within ``limit`` bits are joined.

    Args:
        hashes: bool (n, 64) of each clip.
        limit: largest Hamming distance of duplicates.
    """
    owner = np.repeat(np.arange(len(hashes)), [len(h) for h in hashes])
    # Hamming distance of all pairs as one product: bits as -1 and 1.
    signs = np.concatenate(hashes).astype(np.float32) * 2 - 1
    near = (64 - signs @ signs.T) / 2 <= limit
    parent = np.arange(len(hashes))

    def root(k: int) -> int:
        while parent[k] != k:
            parent[k] = parent[parent[k]]
            k = parent[k]
        return int(k)

    for a, b in zip(*np.nonzero(np.triu(near, 1)), strict=True):
        parent[root(owner[a])] = root(owner[b])
    _, numbers = np.unique([root(k) for k in range(len(hashes))], return_inverse=True)
    return numbers


def folds(group: Array, label: Array, count: int, seed: int) -> Array:
    """Fold of each clip: groups stay whole, folds get about equal numbers of each class.

    Large groups first, each into the fold that has fewest of its classes; ties by chance.
    """
    rng = np.random.default_rng(seed)
    classes = int(label.max()) + 1
    filled = np.zeros((count, classes))
    fold = np.empty(len(group), np.int64)
    sizes = np.bincount(group)
    order = np.lexsort((rng.random(len(sizes)), -sizes))
    for number in order:
        members = group == number
        add = np.bincount(label[members], minlength=classes)
        cost = ((filled + add) ** 2).sum(1) - (filled**2).sum(1) + rng.random(count) * 1e-3
        best = int(cost.argmin())
        filled[best] += add
        fold[members] = best
    return fold
