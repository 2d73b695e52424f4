"""Properties that accumulation has on any stream."""

from __future__ import annotations

import concurrent.futures
from typing import Any

import numpy as np
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cvdecode import VideoReader, _core, accumulate
from literal_accumulate import UNUSED
from synthetic_motion import as_arrays, random_stream

NO_CROP = (0, 0, 0, 0)
QUICK = settings(
    max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


def run(pictures: Any, frames: list[int], **options: Any) -> dict[str, Any]:
    size, planes = as_arrays(pictures, NO_CROP)
    out: dict[str, Any] = _core.accumulate_arrays(
        size, planes, {"frames": frames, "count_hops": True, **options}
    )
    return out


def same(a: dict[str, Any], b: dict[str, Any], rows: Any = slice(None)) -> None:
    for key in ("displacement", "anchor", "mask", "hops"):
        np.testing.assert_array_equal(a[key][rows], b[key], key)


def shown(pictures: Any) -> list[int]:
    return sorted(p.presentation for p in pictures if p.presentation is not None)


@QUICK
@given(st.integers(0, 10**6))
def test_zero_motion_gives_zero(seed: int) -> None:
    pictures = random_stream(np.random.default_rng(seed), count=7)
    for p in pictures:
        p.mv[:] = 0
    for grid in (1, 4):
        assert not run(pictures, shown(pictures), grid=grid)["displacement"].any()


@QUICK
@given(st.integers(0, 10**6), st.integers(-20, 20), st.integers(-20, 20))
def test_translation_composes(seed: int, vx: int, vy: int) -> None:
    """The same vector everywhere, hop by hop, is hops times that vector."""
    pictures = random_stream(np.random.default_rng(seed), count=7, damage=False)
    for p in pictures:
        p.mv[:, 0], p.mv[:, 1] = vx, vy
        if p.kind != "I":
            p.refpic[0][(p.refpic == UNUSED).all(0)] = 0
    for grid in (1, 4):
        got = run(pictures, shown(pictures), grid=grid)
        assert (got["mask"] == 0).all()
        for k, v in ((0, vx), (1, vy)):
            want = -v * got["hops"].astype(np.int64)
            np.testing.assert_array_equal(got["displacement"][:, k], want)


@QUICK
@given(st.integers(0, 10**6), st.randoms())
def test_order_of_frames_does_not_matter(seed: int, random: Any) -> None:
    pictures = random_stream(np.random.default_rng(seed), count=8)
    frames = shown(pictures)
    anchors = sorted(random.sample(frames, 2))
    for options in ({}, {"anchors": anchors}, {"anchors": anchors, "cross": "mask"}, {"grid": 4}):
        whole = run(pictures, frames, **options)
        mixed = list(range(len(frames)))
        random.shuffle(mixed)
        part = mixed[:4] + mixed[:1]
        same(whole, run(pictures, [frames[i] for i in part], **options), part)


@QUICK
@given(st.integers(0, 10**6))
def test_anchors_everywhere_else_are_one_step(seed: int) -> None:
    """Every other frame an anchor: the trace ends after one hop, as hops=1 says."""
    pictures = random_stream(np.random.default_rng(seed), count=7, hidden=False)
    frames = shown(pictures)
    for select in ("nearest", "list0"):
        one = run(pictures, frames, one_step=True, select=select)
        for row, frame in enumerate(frames):
            others = [f for f in frames if f != frame]
            got = run(pictures, [frame], anchors=others, select=select)
            passed = got["mask"] == 4
            assert not passed.any()
            same(one, got, [row])


def test_threads_do_not_matter(encode: Any) -> None:
    """Readers in several threads, and readers with several threads, give the same bytes."""
    path = encode("acc_threads.mp4", "-c:v", "libx264", "-g", "40", "-bf", "3", frames=40)
    frames = list(range(0, 40, 3))

    def work(num_threads: int) -> bytes:
        with VideoReader(path, planes=("mv",), num_threads=num_threads) as video:
            acc = accumulate(video, frames, residual="recon_diff", return_hops=True)
        return b"".join(array.tobytes() for array in acc.numpy().values())

    alone = work(1)
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        assert all(result == alone for result in pool.map(work, [1, 2, 1, 2]))
