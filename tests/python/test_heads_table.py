"""The table of sizes and costs: what it explains, and that docs/heads.md holds it."""

from __future__ import annotations

from pathlib import Path

import pytest

from cvdecode.heads import table

DOCS = Path(__file__).resolve().parents[2] / "docs" / "heads.md"


def test_docs_hold_the_table_and_it_explains_what_it_says() -> None:
    assert table.markdown() in DOCS.read_text(), (
        "docs/heads.md is stale: python -m cvdecode.heads.table"
    )
    rows = {(r.system, r.unit, r.paper): r for r in table.rows()}
    # From the figures of torchvision's documentation: 60,192,808, 11,689,512, 7,794,184.
    assert rows["CoViAR", "M", 83.6].convention == pytest.approx(83.571832)
    assert rows["DMC-Net", "M", 95.2].convention == pytest.approx(95.261344)
    assert rows["ATTP", "M", 23.4].convention == pytest.approx(23.382552)
    # 51 classes instead of 1000, motion of two channels, batch normalisation of two inputs.
    fewer = 949 * (2049 + 513 + 513) + 64 * 49 - 2 * (2 + 3)
    assert rows["CoViAR", "M", 83.6].ours == pytest.approx(83.571832 - fewer / 1e6)
    # Within 2 % of the paper but for these.
    apart = {"three nets with 1000 classes", "one pass of one net at 224", "750 passes at 224"}
    apart |= {"250 x ResNet-152 of 2016 + 500 x ResNet-18", "12 frames of 224"}
    apart |= {"25 x ResNet-152 of 2016 + 75 x ResNet-18", "15 clips of 12 frames"}
    apart |= {"three passes at 224", "four passes at 240 and two poolings"}
    for row in table.rows():
        assert (abs(row.unexplained) < 0.02 * row.paper) == (row.counted not in apart), row


def test_a_convolution_is_counted_once() -> None:
    with table.torch.device("meta"):
        conv = table.nn.Conv2d(3, 8, 5, stride=2, padding=2, groups=1)
    assert table.multiply_adds(conv, (1, 3, 10, 12)) * 1e9 == 8 * 5 * 6 * 3 * 25
    assert table.parameters(conv) * 1e6 == 8 * 3 * 25 + 8
