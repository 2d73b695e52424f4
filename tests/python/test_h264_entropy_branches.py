"""Every branch of slice data syntax, from streams that a second implementation wrote."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import syntax_writer
from cvdecode import _core
from oracles import compare
from oracles.parsed import (
    B_DIRECT_16X16,
    B_SKIP,
    I_4X4,
    I_8X8,
    I_16X16,
    I_PCM,
    P_SKIP,
)
from syntax_coders import SLICE_P, Mb

RECIPES = [
    syntax_writer.Recipe(seed, cabac, **options)
    for cabac in (False, True)
    for seed, options in (
        (1, {"pictures": 16}),
        (2, {"pictures": 16, "inference": False}),
        (3, {"pictures": 24, "width": 7}),
        (4, {"pictures": 8, "transform8": False}),
        (5, {"pictures": 8, "chroma": False}),
        (6, {"pictures": 12, "lossless": True}),
        (7, {"pictures": 8, "chroma": False, "lossless": True}),
    )
]
IDS = [f"{'cabac' if r.cabac else 'cavlc'}-{r.seed}" for r in RECIPES]

# What only the other coder has.
CAVLC_ONLY = {
    "mb_skip_run", "coeff_token table", "total_coeff", "level code", "suffixLength",
    "total_zeros tzVlcIndex", "total_zeros chroma DC", "run_before zerosLeft",
}  # fmt: skip
CABAC_ONLY = {
    "ref_idx ctxIdxInc", "mvd ctxIdxInc", "mvd prefix", "mvd suffix bits", "coded_block_flag 0",
    "coded_block_flag 1", "last coefficient inferred", "coeff_abs_level_minus1 suffix",
    "coeff_abs_level_minus1 ctxIdxInc",
}  # fmt: skip
IMPOSSIBLE = {"cabac: mb_type in P slices = 4"}  # P_8x8ref0 has no bin string


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("written")


def pictures(data: bytes, **options: bool) -> list[dict[str, Any]]:
    reader = _core.H264SyntaxReader(data, **options)
    found = []
    while (picture := reader.next()) is not None:
        found.append(picture)
    return found


def check_macroblock(mb: Mb, kind: int, d: dict[str, Any], at: tuple[int, int]) -> None:
    skip = P_SKIP if kind == SLICE_P else B_SKIP
    known = {"skip": skip, "direct": B_DIRECT_16X16, "i4": I_4X4, "i8": I_8X8}
    known |= {"i16": I_16X16, "pcm": I_PCM}
    if mb.kind != "inter":
        assert d["mb_type"][at] == known[mb.kind]
    if mb.kind == "pcm":
        return
    assert d["qp"][at] == mb.qp
    assert d["coded_block_pattern"][at] == mb.cbp
    assert d["transform_size_8x8_flag"][at] == mb.transform8
    if mb.kind == "inter":
        want = np.array([[-2 if mb.direct[q] else mb.ref[x][q] for q in range(4)] for x in (0, 1)])
        np.testing.assert_array_equal(d["ref_idx"][at], want)
    if mb.kind in ("i4", "i8"):
        np.testing.assert_array_equal(d["intra_luma_mode"][at], mb.modes)


@pytest.mark.parametrize("recipe", RECIPES, ids=IDS)
def test_reads_what_was_written(recipe: syntax_writer.Recipe, folder: Path) -> None:
    path = folder / f"{int(recipe.cabac)}-{recipe.seed}.264"
    written = syntax_writer.write(path, recipe)
    read = pictures(path.read_bytes(), residual_y=True, residual_uv=True, intra_modes=True)
    assert len(read) == len(written)
    for d, slices in zip(read, written, strict=True):
        for s, w in zip(d["slices"], slices, strict=True):
            assert not s["damaged"], s["damage"]
            assert (s["first_mb"], s["mb_count"]) == (w.first, len(w.mbs))
            assert s["header_bits"] == w.header_bits
            mvd = [v for mb in w.mbs for v in mb.sent_mvd]
            np.testing.assert_array_equal(s["mvd"], np.array(mvd, np.int16).reshape(-1, 2))
            for mb in w.mbs:
                at = divmod(mb.address, recipe.width)
                check_macroblock(mb, w.kind, d, at)
                assert d["bits"][at] == mb.bits


@pytest.mark.parametrize("recipe", RECIPES, ids=IDS)
def test_libavcodec_agrees(recipe: syntax_writer.Recipe, folder: Path) -> None:
    """Samples, vectors, QP, types: the streams are legal, and the levels right."""
    path = folder / f"{int(recipe.cabac)}-{recipe.seed}.264"
    if not path.exists():
        syntax_writer.write(path, recipe)
    report = compare.compare(path)
    assert report.exact, report.findings
    assert report.counts["macroblocks exact"] == report.counts["macroblocks"]
    assert report.counts["pictures"] >= recipe.pictures - 1


def test_every_branch_was_taken(folder: Path) -> None:
    _core.h264_reset_branch_counts()
    for recipe in RECIPES:
        path = folder / f"{int(recipe.cabac)}-{recipe.seed}.264"
        if not path.exists():
            syntax_writer.write(path, recipe)
        pictures(path.read_bytes(), residual_y=True, residual_uv=True, count_branches=True)
    missing = []
    for name, count in _core.h264_branch_counts().items():
        coder, group = name.split(": ")
        other = CABAC_ONLY if coder == "cavlc" else CAVLC_ONLY
        if count == 0 and group.rsplit(" = ", 1)[0] not in other and name not in IMPOSSIBLE:
            missing.append(name)
    assert not missing, "\n".join(missing)
