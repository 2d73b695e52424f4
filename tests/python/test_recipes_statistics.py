"""Bootstrap, Holm's correction and equivalence against distributions worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest

from cvdecode.recipes import statistics

MANY = 40_000


def shares(means: np.ndarray) -> dict[float, float]:
    values, counts = np.unique(means, return_counts=True)
    return dict(zip(values.tolist(), (counts / len(means)).tolist(), strict=True))


def test_clips_of_one_seed_are_drawn_with_replacement() -> None:
    # Two clips, 0 and 1: two draws give 0, 1/2, 1 with 1/4, 1/2, 1/4.
    found = shares(statistics.resampled_means(np.array([[0, 1]]), MANY, 3))
    assert found == pytest.approx({0.0: 0.25, 0.5: 0.5, 1.0: 0.25}, abs=0.015)


def test_seeds_are_drawn_too() -> None:
    # Within a seed all clips agree, so only the draw of two seeds of two matters.
    found = shares(statistics.resampled_means(np.array([[0, 0, 0], [1, 1, 1]]), MANY, 3))
    assert found == pytest.approx({0.0: 0.25, 0.5: 0.5, 1.0: 0.25}, abs=0.015)


def test_seeds_first_then_clips_within_each() -> None:
    # One draw of a seed: (0, 1) gives 0, 1/2, 1 with 1/4, 1/2, 1/4; (0, 0) gives 0. So a draw is 0
    # with 5/8, 1/2 with 1/4, 1 with 1/8, and the mean of two independent draws is 0 with 25/64.
    one = {0.0: 5 / 8, 0.5: 1 / 4, 1.0: 1 / 8}
    exact: dict[float, float] = {}
    for a, pa in one.items():
        for b, pb in one.items():
            exact[(a + b) / 2] = exact.get((a + b) / 2, 0) + pa * pb
    found = shares(statistics.resampled_means(np.array([[0, 1], [0, 0]]), MANY, 5))
    assert found == pytest.approx(exact, abs=0.015)
    assert exact[0.0] == 25 / 64


def test_interval_of_a_mean() -> None:
    # 400 coin flips: the mean's standard error is 0.025, so about 0.5 -+ 0.049.
    low, high = statistics.interval(np.tile([0, 1], 200)[None])
    assert low == pytest.approx(0.451, abs=0.005)
    assert high == pytest.approx(0.549, abs=0.005)


def test_pairing_takes_out_what_both_share() -> None:
    rng = np.random.default_rng(0)
    hard = rng.random((3, 200)) < 0.5
    worse = hard.astype(float)
    better = worse.copy()
    better[:, :20] = 1  # ten wrong ones of each seed or so become right, none the other way
    found = statistics.compare(better, worse)
    assert found.difference == pytest.approx((better - worse).mean())
    assert 0 < found.low < found.difference < found.high
    assert found.p == pytest.approx(2 / 10_001)
    assert (found.seeds, found.clips) == (3, 200)
    back = statistics.compare(worse, better)
    assert back.difference == -found.difference
    assert statistics.verdict(found, found.p) == "reproduces"
    assert statistics.verdict(back, back.p) == "opposite"
    assert statistics.verdict(found, 0.06) == "not resolved"


def test_no_difference_is_not_significant() -> None:
    same = np.ones((2, 10))
    found = statistics.compare(same, same)
    assert (found.difference, found.low, found.high, found.p) == (0, 0, 0, 1)
    assert statistics.verdict(found, 0.0) == "not resolved"


def test_p_of_few_clips_is_the_share_of_the_other_side() -> None:
    # Differences (1, 1, -1): of 27 draws of three the sum is > 0 in 1 * 8 + 3 * 4 = 20.
    found = statistics.compare(np.array([[1, 1, 0]]), np.array([[0, 0, 1]]), resamples=MANY, seed=1)
    assert found.p == pytest.approx(2 * 7 / 27, abs=0.02)


def test_holm_by_hand() -> None:
    # Sorted 0.005, 0.01, 0.03, 0.04 times 4, 3, 2, 1: 0.02, 0.03, 0.06, 0.04 -> 0.06 (never falls).
    assert statistics.holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert statistics.holm([0.9, 0.8]) == [1.0, 1.0]
    assert statistics.holm([]) == []
    with pytest.raises(ValueError, match="0 to 1"):
        statistics.holm([1.5])


def test_equivalence_needs_a_narrow_interval_not_a_small_difference() -> None:
    one = np.tile([1.0, 0.0], 500)[None]
    assert statistics.equivalent(one, one, 0.02)[0]
    shifted = one + 0.03
    assert not statistics.equivalent(shifted, one, 0.02)[0]
    # Ten clips that disagree at random: the mean difference is 0, and nothing is shown.
    few = np.tile([1.0, 0.0], 5)[None]
    same, found = statistics.equivalent(few, few[:, ::-1], 0.02)
    assert found.difference == 0
    assert not same
    with pytest.raises(ValueError, match="margin"):
        statistics.equivalent(one, one, 0)


def test_shapes_are_checked() -> None:
    with pytest.raises(ValueError, match="same clips"):
        statistics.compare(np.ones((1, 3)), np.ones((1, 4)))
    with pytest.raises(ValueError, match="seeds, clips"):
        statistics.interval(np.ones(3))
