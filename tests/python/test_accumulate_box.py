"""accumulate() of a part of the picture, and without the ends: against all of it.

What all of it is, tests/python/test_accumulate.py holds to the definition.
"""

from __future__ import annotations

import pickle
from typing import Any

import numpy as np
import pytest

import cvdecode
from cvdecode import _core
from literal_accumulate import MISSING, UNUSED
from synthetic_motion import as_arrays, random_stream

CROP = (2, 4, 6, 8)


@pytest.mark.parametrize("build", _core.trace_builds())
@pytest.mark.parametrize("options", [{}, {"residual": "coded"}, {"one_step": True}])
def test_inside_the_box_nothing_changes(build: str, options: dict[str, Any]) -> None:
    lost = 0
    for seed in range(12):
        rng = np.random.default_rng(seed)
        pictures = random_stream(
            rng,
            count=8,
            size=(96, 80),
            crop=CROP,
            damage=seed % 3 == 0,
            speed=[3, 24, 90][seed % 3],
        )
        if seed % 4 == 0:  # nothing of it leads anywhere
            pictures[-1].refpic[0] = MISSING
            pictures[-1].refpic[1] = UNUSED
        size, planes = as_arrays(pictures, CROP)
        frames = sorted(p.presentation for p in pictures if p.presentation is not None)
        width, height = 80 - CROP[0] - CROP[2], 96 - CROP[1] - CROP[3]
        box_w, box_h = int(rng.integers(1, width + 1)), int(rng.integers(1, height + 1))
        x, y = int(rng.integers(width - box_w + 1)), int(rng.integers(height - box_h + 1))
        asked = {"frames": [*frames, frames[0]], "build": build, **options}
        want = _core.accumulate_arrays(size, planes, {**asked, "build": "scalar"})
        part = {"box": (x, y, box_w, box_h), "ends": False}
        got = _core.accumulate_arrays(size, planes, {**asked, **part})
        assert not got.keys() & {"anchor", "mask", "mask_uv"}
        shown = np.s_[:, CROP[1] : 96 - CROP[3], CROP[0] : 80 - CROP[2]]
        broken = (want["mask"][shown] == 2).all((1, 2))
        np.testing.assert_array_equal(got["lost"], broken)
        lost += int(broken.sum())
        left, top = x + CROP[0], y + CROP[1]
        inside = np.s_[..., top : top + box_h, left : left + box_w]
        halves = np.s_[..., top // 2 : (top + box_h + 1) // 2, left // 2 : (left + box_w + 1) // 2]
        for name, cells in (
            ("displacement", inside), ("residual_y", inside), ("residual_uv", halves),
        ):  # fmt: skip
            if want[name] is not None:
                np.testing.assert_array_equal(got[name][cells], want[name][cells], f"{name} {seed}")
        whole = _core.accumulate_arrays(size, planes, {**asked, "ends": False})
        np.testing.assert_array_equal(whole["displacement"], want["displacement"])
        assert whole["stats"]["saturated"] == want["stats"]["saturated"]
        assert got["stats"]["pictures_read"] == want["stats"]["pictures_read"]
    assert lost > 0


def test_what_is_left_out_cannot_be_had(encode: Any) -> None:
    path = encode("box.mp4", "-c:v", "libx264", "-pix_fmt", "yuv420p", "-g", "12", frames=12)
    with cvdecode.VideoReader(path) as video:
        acc = cvdecode.accumulate(video, [3, 7], box=(4, 4, 20, 20), ends=False)
        assert acc.planes == ("displacement", "lost")
        assert acc.lost.dtype == np.bool_
        assert not acc.lost.any()
        with pytest.raises(AttributeError, match="ends=True"):
            _ = acc.mask
        both = cvdecode.accumulate(video, [3, 7], box=(4, 4, 20, 20), residual="recon_diff")
        assert both.mask.shape == acc.displacement.shape[:1] + acc.displacement.shape[2:]
        none = cvdecode.accumulate(video, [], ends=False)
        assert none.lost.shape == (0,)
        boxes: Any = (
            *((0, 0, 0, 4), (-1, 0, 4, 4), (0, 0, 10_000, 4), (0, 1, 4, both.mask.shape[1])),
            *(5, "abcd", (1, 2, 3), (0.5, 0, 4, 4), (0, 0, 1 << 40, 4)),
        )
        for box in boxes:
            with pytest.raises(ValueError, match="box"):
                cvdecode.accumulate(video, [3], box=box)


def test_a_part_is_not_taken_for_the_picture(encode: Any) -> None:
    """What lies outside the box was never written: no call may read it."""
    path = encode("part.mp4", "-c:v", "libx264", "-pix_fmt", "yuv420p", "-g", "12", frames=12)
    with cvdecode.VideoReader(path) as video:
        part = cvdecode.accumulate(video, [5], box=(0, 0, 16, 16))
        whole = cvdecode.accumulate(video, [5])
        height, width = whole.mask.shape[1:]
        everything = cvdecode.accumulate(video, [5], box=(0, 0, width, height), grid=4)
        coarse = cvdecode.accumulate(video, [5], grid=4)
    assert part.box == (0, 0, 16, 16)
    assert "box=(0, 0, 16, 16)" in repr(part)
    assert whole.box is None
    assert everything.box == (0, 0, width, height)
    for acc in (part, pickle.loads(pickle.dumps(part))):
        for call in (
            cvdecode.token_mask,
            lambda acc: cvdecode.rasterize(acc, "displacement", patch=16),
            lambda acc: cvdecode.rasterize(acc, "mask"),
        ):
            with pytest.raises(ValueError, match=r"box \(0, 0, 16, 16\).*leave box= out"):
                call(acc)
    # A box that is the whole picture leaves nothing out.
    for call in (cvdecode.token_mask, cvdecode.rasterize):
        np.testing.assert_array_equal(call(everything), call(coarse))
