"""The native H.264 parser against every oracle: all samples of all macroblocks."""

from __future__ import annotations

import dataclasses
import os
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

import handmade
import streams
from oracles import exporter, native, reference
from oracles.compare import Report, compare
from oracles.parsed import ParsedPicture
from oracles.reconstruct import reconstruct
from oracles.shared import DATA, in_scope, manifest

LONG = os.environ.get("CVDECODE_LONG") == "1"
DEPARTS = "excluded: libavcodec departs from 8.4.1.2.3"


def _require_exact(report: Report, *, may_depart: bool = False) -> None:
    """Nothing differs and no picture was left out, but where libavcodec may depart."""
    assert not report.unsupported, f"{report.path.name}: refused: {report.unsupported}"
    assert not report.findings, f"{report.path.name}:\n" + "\n".join(report.findings)
    left_out = {k: n for k, n in report.counts.items() if k.startswith("excluded") and n}
    assert set(left_out) <= ({DEPARTS} if may_depart else set()), f"{report.path.name}: {left_out}"
    assert report.counts["macroblocks"] == report.counts["macroblocks exact"]
    assert report.counts["pictures"] > 0


@pytest.fixture(scope="session")
def matrix(tmp_path_factory: pytest.TempPathFactory) -> list[streams.Stream]:
    """The generated matrix: one covering, four under CVDECODE_LONG=1."""
    folder = tmp_path_factory.mktemp("matrix")
    made = streams.matrix(folder, seeds=(1, 2, 3, 4) if LONG else (1,))
    return made + streams.special(folder)


@pytest.fixture(scope="session")
def matrix_reports(matrix: list[streams.Stream]) -> list[tuple[streams.Stream, Report]]:
    """Every oracle over every stream of the matrix."""
    return [(s, compare(s.path)) for s in matrix]


def test_every_stream_of_the_matrix_is_exact(
    matrix_reports: list[tuple[streams.Stream, Report]],
) -> None:
    wrong = [
        f"{s.name} {s.options}\n  " + "\n  ".join(r.findings or [r.unsupported])
        for s, r in matrix_reports
        if not r.exact
    ]
    assert not wrong, f"{len(wrong)} of {len(matrix_reports)} streams:\n" + "\n".join(wrong[:5])
    for _, r in matrix_reports:
        _require_exact(r)


def test_the_matrix_holds_every_macroblock_type(
    matrix_reports: list[tuple[streams.Stream, Report]],
) -> None:
    met: Counter[int] = sum((r.mb_types for _, r in matrix_reports), Counter())
    assert set(range(11)) <= set(met), met


@pytest.mark.parametrize("seed", range(80 if LONG else 16))
def test_handmade_streams_are_exact(tmp_path: Path, seed: int) -> None:
    recipe = handmade.Recipe(
        seed,
        weighted_bipred_idc=(1, 2, 0, 1)[seed % 4],
        weighted_pred=seed % 3 != 0,
        direct_8x8_inference=seed % 2 == 0,
        constrained_intra=seed % 5 == 0,
        long_term=seed % 3 != 1,
        max_refs=2 + seed % 4,
    )
    path = tmp_path / f"hand{seed}.264"
    written = handmade.write(path, recipe)
    _require_exact(compare(path, plain_c=True), may_depart=True)
    for made, p in zip(written, native.pictures(native.open_debug(path)), strict=True):
        _as_written(made, p)


def _as_written(made: handmade.WrittenPicture, p: ParsedPicture) -> None:
    """The parser gives back what the writer wrote: types, bits, raw references, headers."""
    where = f"picture {p.number}"
    assert p.poc == made.poc, where
    assert [s.slice_type for s in p.slices] == made.slice_types, where
    assert [s.header_bits for s in p.slices] == made.header_bits, where
    assert p.slice.reshape(-1).tolist() == made.slice_of, where
    assert p.mb_type.reshape(-1).tolist() == [m.mb_type for m in made.mbs], where
    assert p.bits.reshape(-1).tolist() == [m.bits for m in made.mbs], where
    width = p.mb_shape[1]
    for index, mb in enumerate(made.mbs):
        y, x = divmod(index, width)
        got = p.ref_idx[:, y * 2 : y * 2 + 2, x * 2 : x * 2 + 2].reshape(2, 4)
        for lst in range(2):
            for q in range(4):
                if mb.ref_idx[lst][q] is not None:
                    assert got[lst, q] == mb.ref_idx[lst][q], f"{where} macroblock ({x}, {y})"


# -- the shared clips ------------------------------------------------------------------------------


def _rows(*, scope: bool) -> list[object]:
    whole = [r for r in manifest() if r["group"] not in ("damaged", "h264-parser-edge")]
    rows = [r for r in whole if in_scope(r) == scope]
    if not rows:
        return [pytest.param(None, marks=pytest.mark.skip(reason=f"no shared clips at {DATA}"))]
    return [pytest.param(row, id=Path(row["path"]).name) for row in rows]


def _pictures(row: dict[str, str]) -> int | None:
    """Big clips are read in part unless CVDECODE_LONG=1: about 60 million samples."""
    if LONG:
        return None
    return max(12, 40_000_000 // (int(row["w"]) * int(row["h"])))


@pytest.mark.parametrize("row", _rows(scope=True))
def test_shared_streams_in_scope_are_exact(row: dict[str, str]) -> None:
    _require_exact(compare(DATA / row["path"], max_pictures=_pictures(row)))


@pytest.mark.parametrize("row", _rows(scope=False))
def test_shared_streams_out_of_scope_are_refused_with_the_element(row: dict[str, str]) -> None:
    reason = native.open_debug(DATA / row["path"]).unsupported
    assert reason, f"{row['path']} ({row['features']}) lies outside the scope and was not refused"
    assert any(char.isdigit() for char in reason), f"no value in {reason!r}"


# -- the oracles notice ----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> tuple[list[ParsedPicture], list[object]]:
    """A handmade stream, parsed, with libavcodec's frames by decode number."""
    path = tmp_path_factory.mktemp("sound") / "sound.264"
    handmade.write(path, handmade.Recipe(3, pictures=6))
    pics = list(native.pictures(native.open_debug(path)))
    frames = {f.packet: f for f in reference.frames(path, plain_c=True)}
    return pics, [frames[p.packet] for p in pics]


@pytest.mark.parametrize("what", ["mv", "ref_idx", "residual_y", "residual_uv", "weights", "mode"])
def test_the_reconstructor_notices_a_wrong(
    sound: tuple[list[ParsedPicture], list[reference.ReferenceFrame]], what: str
) -> None:
    pics, frames = sound
    refs = dict(enumerate(frames))
    noticed = tried = 0
    for p, f in zip(pics, frames, strict=True):
        assert reconstruct(p, f, refs).exact
        saved, saved_slices = getattr(p, what, None), p.slices
        if what == "mv":
            p.mv = p.mv + (p.mv != 0).astype(np.int16)
        elif what == "ref_idx":
            many = max((len(lst) for s in p.slices for lst in s.ref_lists), default=0) > 1
            p.ref_idx = np.where(p.ref_idx >= 0, p.ref_idx ^ 1, p.ref_idx) if many else p.ref_idx
        elif what == "residual_y":
            p.residual_y = p.residual_y.copy()
            p.residual_y[5, 7] += 1 if f.planes[0][5, 7] < 255 else -1
        elif what == "residual_uv":
            assert p.residual_uv is not None
            p.residual_uv = p.residual_uv.copy()
            p.residual_uv[1, 3, 2] += 1 if f.planes[2][3, 2] < 255 else -1
        elif what == "weights":
            p.slices = [dataclasses.replace(s, weighted=0) for s in p.slices]
        else:
            what = "intra_chroma_mode"
            saved = p.intra_chroma_mode
            p.intra_chroma_mode = (saved + 1) % 4
        tried += 1
        noticed += not reconstruct(p, f, refs).exact
        p.slices = saved_slices
        if saved is not None:
            setattr(p, what, saved)
    assert noticed >= (tried if what.startswith("residual") else 1)


def test_the_exporter_simulator_notices_a_wrong_vector(
    sound: tuple[list[ParsedPicture], list[reference.ReferenceFrame]],
) -> None:
    pics, frames = sound
    known = {p.number: p for p in pics}
    done: dict[int, exporter.Exported] = {}
    noticed = 0
    for p, f in zip(pics, frames, strict=True):
        done[p.number] = exporter.export(p, done, known)
        assert (done[p.number].vectors == f.vectors).all()
        p.mv = p.mv + 1
        noticed += not np.array_equal(exporter.export(p, done, known).vectors, f.vectors)
        p.mv = p.mv - 1
    assert noticed >= len(pics) - 2
