"""Slice data (7.3.4, 9.2, 9.3): every slice ends at its trailing bits, QP is libavcodec's, PCM
residual is the picture, damage stays inside its slice, memory can be used again."""

from __future__ import annotations

import csv
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import streams
from cvdecode import _core
from oracles import reference

ROOT = Path(__file__).resolve().parents[2]
DATA = Path(os.environ.get("CVDECODE_TEST_DATA", ROOT.parent / "shared" / "clips"))
I_PCM, LOST = 3, 255
QP_NONE = -128
# What the manifest calls streams outside the native scope (docs/design.md).
OUTSIDE = {"MBAFF", "PAFF", "field-only", "FMO", "4:2:2", "4:4:4", "9bit", "10bit"}
FRAMES = 40  # per clip; the clips repeat themselves


def in_scope() -> list[str]:
    manifest = DATA / "manifest.csv"
    if not manifest.exists():
        return []
    with manifest.open(newline="") as file:
        rows = [r for r in csv.DictReader(file) if r["codec"] == "h264"]
    return [
        r["path"]
        for r in rows
        if r["group"] in ("h264", "h264-conformance")
        and not OUTSIDE & set(r["features"].split())
        and "SP" not in r["slice_types"]
    ]


CLIPS = in_scope()


def annexb(path: Path, folder: Path, frames: int = FRAMES) -> Path:
    """The first pictures of a clip as Annex B, parameter sets of the container in front."""
    bsf = "h264_mp4toannexb"
    if path.suffix in (".mp4", ".mov", ".mkv"):
        bsf += ",dump_extra=freq=keyframe"
    out = folder / (path.name + ".264")
    command = ["ffmpeg", "-nostdin", "-v", "error", "-y", "-i", str(path), "-map", "0:v:0"]
    command += ["-c", "copy", "-frames:v", str(frames), "-bsf:v", bsf]
    subprocess.run([*command, "-f", "h264", str(out)], check=True, capture_output=True)
    return out


def read(data: bytes, **options: bool) -> Iterator[dict[str, Any]]:
    reader = _core.H264SyntaxReader(data, **options)
    while (picture := reader.next()) is not None:
        yield picture


def stop_bit_of_sum(s: dict[str, Any], bits: int) -> int:
    """Where rbsp_stop_one_bit stands if the macroblocks took `bits` (docs/planes.md)."""
    header = int(s["header_bits"])
    if s["entropy_coding_mode_flag"]:
        return (header + 7) // 8 * 8 + 9 + bits - 1
    return header + bits


def check_slices(picture: dict[str, Any]) -> None:
    for number, s in enumerate(picture["slices"]):
        assert not s["damaged"], (number, s["damage"])
        mine = picture["slice"] == number
        assert mine.sum() == s["mb_count"]
        stop = stop_bit_of_sum(s, int(picture["bits"][mine].sum()))
        # x264 writes a bit of its own into the last byte behind the stop bit of CABAC slices.
        if s["entropy_coding_mode_flag"]:
            assert stop // 8 == s["stop_bit"] // 8
            assert stop <= s["stop_bit"]
        else:
            assert stop == s["stop_bit"]


def check_qp(path: Path, pictures: list[dict[str, Any]]) -> None:
    compared = 0
    for frame in reference.frames(path, planes=False):
        if frame.qp is None or frame.packet >= len(pictures) or not frame.clean:
            continue
        mine = pictures[frame.packet]
        coded = (mine["mb_type"] != I_PCM) & (mine["mb_type"] != LOST)
        np.testing.assert_array_equal(mine["qp"][coded], frame.qp[coded])
        compared += int(coded.sum())
    assert compared > 0 or all((p["mb_type"] == I_PCM).all() for p in pictures)


@pytest.mark.parametrize("path", CLIPS or [pytest.param("", marks=pytest.mark.skip("no clips"))])
def test_shared_clips_parse_to_their_last_bit(path: str, tmp_path: Path) -> None:
    stream = annexb(DATA / path, tmp_path)
    pictures = list(read(stream.read_bytes(), residual_y=True, residual_uv=True))
    assert pictures
    for picture in pictures:
        check_slices(picture)
        assert (picture["mb_type"] != LOST).all()
    check_qp(stream, pictures)


@pytest.fixture(scope="module")
def generated(tmp_path_factory: pytest.TempPathFactory) -> list[streams.Stream]:
    folder = tmp_path_factory.mktemp("x264")
    return streams.special(folder) + streams.matrix(folder, frames=8)


def test_generated_streams_parse_to_their_last_bit(generated: list[streams.Stream]) -> None:
    for stream in generated:
        pictures = list(read(stream.path.read_bytes(), residual_y=True, residual_uv=True))
        assert pictures, stream.name
        for picture in pictures:
            check_slices(picture)
            assert (picture["mb_type"] != LOST).all(), stream.name
        check_qp(stream.path, pictures)


def by_name(generated: list[streams.Stream], name: str) -> bytes:
    return next(s.path for s in generated if s.name == name).read_bytes()


@pytest.mark.parametrize("name", ["pcm-cavlc", "pcm-cabac"])
def test_pcm_residual_is_the_picture(generated: list[streams.Stream], name: str) -> None:
    path = next(s.path for s in generated if s.name == name)
    pictures = list(read(path.read_bytes(), residual_y=True, residual_uv=True))
    met = 0
    for frame in reference.frames(path):
        mine = pictures[frame.packet]
        pcm = mine["mb_type"] == I_PCM
        met += int(pcm.sum())
        luma = np.kron(pcm, np.ones((16, 16), bool))
        chroma = np.kron(pcm, np.ones((8, 8), bool))
        np.testing.assert_array_equal(mine["residual_y"][luma], frame.planes[0][luma])
        for c in range(2):
            np.testing.assert_array_equal(
                mine["residual_uv"][c][chroma], frame.planes[1 + c][chroma]
            )
    assert met > 0


def same(a: dict[str, Any], b: dict[str, Any], keys: set[str] | None = None) -> None:
    for key in keys or set(a) - {"slices"}:
        np.testing.assert_array_equal(a[key], b[key], err_msg=key)


def test_what_is_not_asked_for_changes_nothing(generated: list[streams.Stream]) -> None:
    """The variants with and without residual, bits and modes read the same syntax."""
    for name in ("plain", "lossless-cavlc-8x8", "grey-cabac", "pcm-cabac", "aq"):
        data = by_name(generated, name)
        full = list(read(data, residual_y=True, residual_uv=True, intra_modes=True))
        bare = list(read(data, bits=False))
        luma = list(read(data, residual_y=True))
        chroma = list(read(data, residual_uv=True))
        syntax = set(bare[0]) - {"slices", "bits", "residual_y", "residual_uv", "idr"}
        for f, b, y, uv in zip(full, bare, luma, chroma, strict=True):
            same(f, b, syntax)
            same(f, y, syntax | {"bits", "residual_y"})
            same(f, uv, syntax | {"bits"})
            if f["residual_uv"] is not None:
                same(f, uv, {"residual_uv"})
            for s, t in zip(f["slices"], b["slices"], strict=True):
                np.testing.assert_array_equal(s["mvd"], t["mvd"])


def slice_nals(data: bytes) -> list[tuple[int, int]]:
    """(start, end) of the payload of every slice NAL unit, start code and header byte left out."""
    starts = []
    at = data.find(b"\0\0\1")
    while at >= 0:
        starts.append(at)
        at = data.find(b"\0\0\1", at + 3)
    spans = zip(starts, [*starts[1:], len(data)], strict=True)
    return [(a + 4, b) for a, b in spans if data[a + 3] & 31 in (1, 5)]


@pytest.mark.parametrize("name", ["many-slices", "plain", "grey-cavlc", "lossless-cavlc-8x8"])
def test_damage_stays_inside_its_slice(generated: list[streams.Stream], name: str) -> None:
    data = by_name(generated, name)
    options = {"residual_y": True, "residual_uv": True, "intra_modes": True}
    good = list(read(data, **options))
    rng = np.random.default_rng(5)
    spans = slice_nals(data)
    lost = 0
    for _ in range(60):
        start, end = spans[rng.integers(len(spans))]
        if end - start < 12:
            continue
        at = int(rng.integers(start + 6, end))  # the header stays whole
        broken = bytearray(data)
        broken[at] ^= 1 << int(rng.integers(8))
        try:
            pictures = list(read(bytes(broken), **options))
        except _core.CorruptStream:  # a start code appeared, or the header was longer
            continue
        if len(pictures) != len(good):
            continue
        changed = 0
        for a, b in zip(good, pictures, strict=True):
            for number, s in enumerate(b["slices"]):
                mine = a["slice"] == number
                if s["damaged"]:
                    lost += 1
                    assert s["damage"]
                    assert (b["mb_type"][mine] == LOST).all()
                    assert (b["bits"][mine] == 0).all()
                    luma = np.kron(mine, np.ones((16, 16), bool))
                    assert (b["residual_y"][luma] == 0).all()
                    assert len(s["mvd"]) == 0
                    changed += 1
                elif any((a[k][mine] != b[k][mine]).any() for k in ("mb_type", "bits", "qp")):
                    changed += 1
                else:
                    luma = np.kron(mine, np.ones((16, 16), bool))
                    changed += int((a["residual_y"][luma] != b["residual_y"][luma]).any())
        assert changed <= 1
    assert lost > 5


@pytest.mark.parametrize("name", ["plain", "grey-cavlc", "pcm-cavlc"])
def test_truncated_slices_are_damaged(generated: list[streams.Stream], name: str) -> None:
    data = by_name(generated, name)
    start, end = slice_nals(data)[0]
    for keep in range(start + 8, end - 1, max(1, (end - start) // 40)):
        if data[keep - 1] == 0:
            continue
        (picture,) = list(read(data[:keep], residual_y=True, residual_uv=True))
        assert picture["slices"][0]["damaged"]
        assert (picture["mb_type"] == LOST).all()
        assert (picture["residual_y"] == 0).all()


def test_memory_is_used_again(generated: list[streams.Stream]) -> None:
    """run() keeps planes from picture to picture; no slice gets damaged, nothing grows odd."""
    for name in ("plain", "lossless-cavlc-8x8", "many-slices"):
        data = by_name(generated, name)
        slices = sum(len(p["slices"]) for p in read(data))
        reader = _core.H264SyntaxReader(data, residual_y=True, residual_uv=True)
        count, bits, damaged = reader.run(3)
        assert (count, damaged) == (3 * slices, 0)
        assert bits > 0
