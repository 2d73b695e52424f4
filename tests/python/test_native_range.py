"""Coefficients out of range (8.5): they take the residual of a macroblock, and nothing else."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest

import cvdecode

# I B B P in presentation order; a coefficient of the P picture is out of range. Found by fuzzing.
STREAM = Path(__file__).parents[1] / "fuzz/regressions/parser/coefficient-out-of-range"
BLOCKS = ("mv", "ref", "mb_type", "qp", "bits")
PLANES = (*BLOCKS, "residual_y", "residual_uv")


@pytest.fixture(scope="module")
def data() -> bytes:
    return STREAM.read_bytes()[1:]  # the first byte is the fuzz target's


def test_the_macroblock_has_no_residual_and_the_frame_is_marked(data: bytes) -> None:
    with cvdecode.VideoReader(data, PLANES, backend="native") as video:
        clip = video[:]
        assert clip.frame_type.tolist() == ["I", "B", "B", "P"]
        assert clip.lost.tolist() == [False, False, False, True]
        assert "out of range" in video.stats.damage[3]
    assert not (clip.mb_type == cvdecode.MbType.LOST).any()
    still = [
        (y, x)
        for y, x in itertools.product(range(2), range(2))
        if not clip.residual_y[3, 16 * y : 16 * y + 16, 16 * x : 16 * x + 16].any()
    ]
    assert len(still) == 1
    y, x = still[0]
    assert not clip.residual_uv[3, :, 8 * y : 8 * y + 8, 8 * x : 8 * x + 8].any()
    assert clip.bits[3, y, x] > 100  # it was sent


@pytest.mark.parametrize("order", [(0, 1, 2, 3), (3, 2, 1, 0), (1, 2, 3, 0)])
def test_neither_order_nor_planes_matter(data: bytes, order: tuple[int, ...]) -> None:
    """B pictures look at the vectors of the P picture, read with its residual or without."""
    whole = cvdecode.read(data, PLANES, backend="native")
    for planes in (PLANES, BLOCKS):
        with cvdecode.VideoReader(data, planes, backend="native") as video:
            for frame in order:
                one = video.get_frames_at([frame])
                for plane in planes:
                    assert np.array_equal(getattr(one, plane)[0], getattr(whole, plane)[frame])
                assert one.lost[0] == (frame == 3 and planes is PLANES)
