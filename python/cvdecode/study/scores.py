"""How well a classifier did: top-k, log loss, classes one by one, intervals."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]


def log_softmax(logits: Array) -> npt.NDArray[np.float64]:
    """Natural logarithm of softmax over the last axis."""
    shifted = np.asarray(logits, np.float64)
    shifted = shifted - shifted.max(axis=-1, keepdims=True)
    total: npt.NDArray[np.float64] = np.log(np.exp(shifted).sum(axis=-1, keepdims=True))
    result: npt.NDArray[np.float64] = shifted - total
    return result


def ranks(logits: Array, labels: Array) -> npt.NDArray[np.int64]:
    """Place of each true class, 0 = first, (B,); of equal scores the lower class goes first.

    Args:
        logits: (B, K).
        labels: (B,), 0 to K - 1.
    """
    labels = np.asarray(labels)
    own = np.take_along_axis(logits, labels[:, None], axis=1)
    lower = np.arange(logits.shape[1])[None] < labels[:, None]
    before = (logits > own) | ((logits == own) & lower)
    return np.asarray(before.sum(axis=1), np.int64)


def top_k(logits: Array, labels: Array, k: int) -> float:
    """Share of samples whose true class is among the k best scores."""
    return float((ranks(logits, labels) < k).mean())


def log_losses(logits: Array, labels: Array) -> npt.NDArray[np.float64]:
    """-log softmax of the true class, nats, (B,)."""
    found = np.take_along_axis(log_softmax(logits), np.asarray(labels)[:, None], axis=1)
    return np.asarray(-found[:, 0], np.float64)


def class_means(values: Iterable[float], labels: Iterable[int]) -> dict[int, float]:
    """Mean of the values of each class: accuracy of 0/1 values, mean QP, mean bits, ..."""
    groups: dict[int, list[float]] = {}
    for value, label in zip(values, labels, strict=True):
        groups.setdefault(int(label), []).append(float(value))
    return {label: float(np.mean(groups[label])) for label in sorted(groups)}


def relative_accuracy(
    accuracy: Mapping[int, float], original: Mapping[int, float]
) -> dict[int, float | None]:
    """Accuracy of each class over its accuracy on the originals; None where that is 0."""
    return {c: accuracy[c] / original[c] if original[c] else None for c in original}


def most_and_least_lost(
    accuracy: Mapping[int, float], original: Mapping[int, float], count: int = 15
) -> tuple[list[tuple[int, float]], list[tuple[int, float]]]:
    """The `count` classes that lose most and those that lose least: (class, change in accuracy).

    Equal changes are ordered by class.
    """
    change = sorted(((accuracy[c] - original[c], c) for c in original), key=lambda p: (p[0], p[1]))
    lost = [(c, d) for d, c in change]
    return lost[:count], sorted(lost, key=lambda p: (-p[1], p[0]))[:count]


def slope(x: Sequence[float], y: Sequence[float]) -> tuple[float, float]:
    """(slope, intercept) of the least-squares line; NaN where x does not vary."""
    a, b = np.asarray(x, np.float64), np.asarray(y, np.float64)
    spread = float(np.square(a - a.mean()).sum()) if len(a) else 0.0
    if spread == 0:
        return float("nan"), float("nan")
    rise = float(((a - a.mean()) * (b - b.mean())).sum()) / spread
    return rise, float(b.mean() - rise * a.mean())


def bootstrap(
    values: Array, *, seed: int = 0, draws: int = 2000, level: float = 0.95
) -> tuple[float, float]:
    """Percentile interval of the mean of `values` (N,) over resampled samples.

    For a paired comparison of two models pass the differences, sample by sample.
    """
    values = np.asarray(values, np.float64)
    rng = np.random.default_rng(seed)
    picks = rng.integers(0, len(values), (draws, len(values)))
    means = values[picks].mean(axis=1)
    low, high = np.quantile(means, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)
