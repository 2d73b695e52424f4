"""A chain so long that its smallest step, a quarter sample to the left, leaves 16 bits."""

from __future__ import annotations

from pathlib import Path

import pytest

import cvdecode
from handmade import Bits, baseline_sets

PICTURES = 32_780


def write(path: Path) -> None:
    """Pictures of one macroblock: I_16x16, then P_L0_16x16 with mvd (-1, 0), each from the last."""
    key = Bits()
    key.ue(0), key.ue(7), key.ue(0)
    key.u(4, 0)
    key.ue(0)  # idr_pic_id
    key.u(4, 0)  # pic_order_cnt_lsb
    key.u(2, 0)
    key.se(0)
    key.ue(3), key.ue(0), key.se(0)  # I_16x16, DC prediction, no AC; chroma DC; mb_qp_delta
    key.u(1, 1)  # coeff_token of Intra16x16DCLevel: none
    steps = []
    for frame_num in range(16):
        p = Bits()
        p.ue(0), p.ue(5), p.ue(0)
        p.u(4, frame_num)
        p.u(4, frame_num)  # pic_order_cnt_lsb: each is shown after the last
        p.u(3, 0)  # no override, modification or marking
        p.se(0)
        p.ue(0), p.ue(0)  # mb_skip_run, P_L0_16x16
        p.se(-1), p.se(0)
        p.ue(0)  # coded_block_pattern 0
        steps.append(p.nal(1, 1))
    stream = baseline_sets(1, 1) + key.nal(3, 5)
    path.write_bytes(stream + b"".join(steps[n % 16] for n in range(1, PICTURES)))


@pytest.mark.parametrize("grid", ["pixel", 4])
def test_steps_of_minus_one_saturate(grid: str | int, tmp_path: Path) -> None:
    path = tmp_path / "steps.h264"
    write(path)
    with cvdecode.VideoReader(path, backend="native") as video:
        assert len(video) == PICTURES
        acc = cvdecode.accumulate(video, [30_000, PICTURES - 1], grid=grid)  # type: ignore[arg-type]
    assert (acc.displacement[0, 0] == 30_000).all()
    assert (acc.displacement[1, 0] == 32_767).all()
    assert not acc.displacement[:, 1].any()
    cells = 256 if grid == "pixel" else 16
    assert acc.stats.saturated == cells * (PICTURES - 1 - 32_767)
