"""Is one model better than another: paired bootstrap, Holm's correction, equivalence.

Scores are arrays (seeds, clips): the score (1 right, 0 wrong, or a mean over views) of clip c in
the run of seed s. Two systems that are compared have met the same clips in the same order. Clips
of different seeds are different clips.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

Scores = npt.NDArray[Any]
Verdict = Literal["reproduces", "not resolved", "opposite"]


@dataclasses.dataclass(frozen=True)
class Comparison:
    """Mean score of one system minus that of another."""

    difference: float
    low: float
    """Lower end of the percentile interval."""
    high: float
    p: float
    """Two-sided: twice the smaller share of resamples on either side of 0, at least
    2 / (resamples + 1), at most 1."""
    seeds: int
    clips: int


def resampled_means(scores: Scores, resamples: int, seed: int) -> npt.NDArray[np.float64]:
    """Means of ``resamples`` draws with replacement: seeds first, then clips within each seed.

    Args:
        scores: (seeds, clips). With one seed only clips are drawn.
        resamples: number of draws.
        seed: of the generator.

    Returns:
        float64 (resamples,).
    """
    scores = np.asarray(scores, np.float64)
    if scores.ndim != 2 or scores.size == 0:
        raise ValueError(f"scores are (seeds, clips), not of shape {scores.shape}")
    count, clips = scores.shape
    rng = np.random.default_rng(seed)
    means = np.zeros(resamples)
    for _ in range(count):
        drawn = rng.integers(0, count, resamples)
        for number, row in enumerate(scores):
            mine = np.flatnonzero(drawn == number)
            means[mine] += row[rng.integers(0, clips, (len(mine), clips))].mean(1)
    return np.asarray(means / count, np.float64)


def interval(
    scores: Scores, level: float = 0.95, resamples: int = 10_000, seed: int = 0
) -> tuple[float, float]:
    """Percentile bootstrap interval of the mean of (seeds, clips) scores."""
    means = resampled_means(scores, resamples, seed)
    low, high = np.quantile(means, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def compare(
    better: Scores,
    worse: Scores,
    *,
    level: float = 0.95,
    resamples: int = 10_000,
    seed: int = 0,
) -> Comparison:
    """Paired bootstrap over seeds and clips of mean(better) - mean(worse).

    With three seeds the interval over seeds is rough: it can only show what the three runs show.
    """
    better, worse = np.asarray(better, np.float64), np.asarray(worse, np.float64)
    if better.shape != worse.shape:
        raise ValueError(
            f"paired scores have one shape, not {better.shape} and {worse.shape}: both systems "
            "must have met the same clips"
        )
    apart = better - worse
    means = resampled_means(apart, resamples, seed)
    low, high = np.quantile(means, [(1 - level) / 2, (1 + level) / 2])
    below, above = np.count_nonzero(means <= 0), np.count_nonzero(means >= 0)
    p = min(1.0, 2 * (min(below, above) + 1) / (resamples + 1))
    return Comparison(float(apart.mean()), float(low), float(high), p, *apart.shape)


def holm(p: Sequence[float]) -> list[float]:
    """Holm's step-down adjusted p values, in the order given (Holm 1979)."""
    values = np.asarray(p, np.float64)
    if values.ndim != 1 or ((values < 0) | (values > 1)).any():
        raise ValueError("p values are a flat list of numbers from 0 to 1")
    order = np.argsort(values, kind="stable")
    factor = np.arange(len(values), 0, -1)
    adjusted = np.empty(len(values))
    adjusted[order] = np.minimum(1, np.maximum.accumulate(values[order] * factor))
    return [float(v) for v in adjusted]


def verdict(comparison: Comparison, adjusted_p: float, alpha: float = 0.05) -> Verdict:
    """What may be said of an order that was expected before the run."""
    if adjusted_p >= alpha or comparison.difference == 0:
        return "not resolved"
    return "reproduces" if comparison.difference > 0 else "opposite"


def equivalent(
    one: Scores,
    other: Scores,
    margin: float,
    *,
    alpha: float = 0.05,
    resamples: int = 10_000,
    seed: int = 0,
) -> tuple[bool, Comparison]:
    """Two one-sided tests: does the 1 - 2 alpha interval of the difference lie inside the margin?

    A difference that is merely not significant shows nothing; this does. The margin is stated
    before the run.
    """
    if margin <= 0:
        raise ValueError(f"a margin is above 0, not {margin}")
    found = compare(one, other, level=1 - 2 * alpha, resamples=resamples, seed=seed)
    return -margin < found.low and found.high < margin, found
