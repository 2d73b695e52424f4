"""Vectors, types and QPs of the libav backend against PyAV and against known motion."""

from __future__ import annotations

import csv
import os
from pathlib import Path

import numpy as np
import pytest

import libav_probe as lp

# Packets per clip that are compared; the rest of long clips brings nothing new.
LIMIT = 40
EXPORTING = {"h264", "mpeg4", "mpeg1video", "mpeg2video", "h263"}


def _clips() -> list[str]:
    root = Path(__file__).resolve().parents[2]
    folder = Path(os.environ.get("CVDECODE_TEST_DATA", root.parent / "shared" / "clips"))
    if not (folder / "manifest.csv").is_file():
        return []
    with open(folder / "manifest.csv", newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["codec"] in EXPORTING]
    return [row["path"] for row in rows if (folder / row["path"]).is_file()]


CLIPS = _clips()


@pytest.mark.skipif(bool(CLIPS), reason="the clips are there")
def test_clips_are_there() -> None:
    pytest.skip("no test clips; set CVDECODE_TEST_DATA")


@pytest.mark.parametrize("name", CLIPS)
def test_equals_pyav(name: str, data_dir: Path) -> None:
    frames = lp.pyav_frames(data_dir / name, LIMIT)
    clip = lp.Clip(data_dir / name)
    planes = clip.available("mv", "ref", "mb_type", "qp")
    assert {"mv", "qp"} <= set(planes)
    # Frames that PyAV gives before its flush have nothing before them in output order that it has
    # not given; of short clips it gives all.
    whole = max(p["last_packet"] for p in clip.pictures) < LIMIT
    expected = [f for f in frames if whole or not f.flushed]
    rows = clip.read(clip.output_order[: len(expected) + 3], *planes)
    order = [i for i in clip.output_order if i in rows and i not in clip.withheld()]
    h264 = clip.probe.why_not(lp.PLANES["ref_picture"]) != "" and "ref" in planes
    compared = 0
    for picture, frame in zip(order, expected, strict=False):
        row = rows[picture]
        if row["lost"]:
            # Nothing is lost but what FFmpeg itself calls corrupt, or gives without side data.
            assert frame.corrupt or (frame.flushed and frame.vectors is None), picture
            continue
        if frame.flushed and frame.vectors is None and frame.qp is None:
            continue  # parsed MPEG-4 has this frame too; there is nothing to compare it with
        grid = row["qp"].shape
        mv, used, kind = frame.motion(grid)
        np.testing.assert_array_equal(row["mv"], mv)
        assert frame.qp is not None
        qp = frame.qp_plane(grid)
        np.testing.assert_array_equal(row["qp"], qp if h264 else qp // 2)
        if "ref" in planes:
            np.testing.assert_array_equal(row["ref"] != 0, used)
            if h264:
                assert set(np.unique(row["ref"])) <= {lp.UNTRUSTED, 0}
        if "mb_type" in planes:
            if not h264 and frame.kind == "B" and clip.index["pictures"][picture]["type"] == "B":
                kind = np.where(kind == lp.INTRA, kind, row["mb_type"])  # test_panning looks at it
            np.testing.assert_array_equal(row["mb_type"], kind)
        compared += 1
    assert compared >= min(len(expected), 2) // 2


# name, ffmpeg options, pictures that carry exact references. Every codec and picture type.
PANNING = [
    ("mpeg1.mpg", ["-c:v", "mpeg1video", "-bf", "0"], "P"),
    ("mpeg1_b.mpg", ["-c:v", "mpeg1video", "-bf", "2"], "PB"),
    ("mpeg2.mpg", ["-c:v", "mpeg2video", "-bf", "0"], "P"),
    ("mpeg2_b.mpg", ["-c:v", "mpeg2video", "-bf", "2"], "PB"),
    ("mpeg4.avi", ["-c:v", "mpeg4", "-bf", "0"], "P"),
    ("mpeg4_b.mp4", ["-c:v", "mpeg4", "-bf", "2"], "P"),
    ("mpeg4_qpel.mp4", ["-c:v", "mpeg4", "-bf", "0", "-flags", "+qpel+mv4"], "P"),
    ("h263.3gp", ["-c:v", "h263"], ""),
    ("h263p.avi", ["-c:v", "h263p"], ""),
    ("flv1.flv", ["-c:v", "flv"], ""),
    ("msmpeg4v2.avi", ["-c:v", "msmpeg4v2"], ""),
    ("msmpeg4v3.avi", ["-c:v", "msmpeg4"], ""),
    ("wmv1.asf", ["-c:v", "wmv1"], ""),
    ("h264.mp4", ["-c:v", "libx264", "-bf", "0", "-refs", "1", "-x264-params", "scenecut=0"], ""),
]
STEP = (3, -2)


@pytest.mark.parametrize(("name", "options", "exact"), PANNING, ids=[p[0] for p in PANNING])
def test_panning(name: str, options: list[str], exact: str, tmp_path: Path) -> None:
    raw, source = lp.panning(14, STEP)
    quality = ["-qp", "12"] if "h264" in name else ["-q:v", "2"]
    gop = ["-g", "7", "-sc_threshold", "1000000000"]  # no I-picture where the motion is large
    lp.ffmpeg(*source, *options, *quality, *gop, str(tmp_path / name), data=raw)
    clip = lp.Clip(tmp_path / name)
    planes = clip.available("mv", "ref", "mb_type", "qp", "ref_picture")
    rows = clip.read(list(range(len(clip.pictures))), *planes)
    seen = set()
    for i, row in rows.items():
        kind = clip.pictures[i]["type"]
        if row["lost"]:
            # Only where libavcodec holds a frame back until the end.
            assert "_b" in name or "mpeg1" in name or "mpeg2" in name
            assert clip.output_order[-1] == i
            continue
        if kind == "I":
            assert not row["mv"].any()
            assert "ref" not in row or not row["ref"].any()
            assert "mb_type" not in row or (row["mb_type"] == lp.INTRA).all()
            continue
        seen.add(kind)
        inner = (slice(8, -8), slice(8, -8))  # the border shows what was not in the picture before
        if kind == "B" and "mpeg4" in name:
            used = row["ref"] != 0
            assert used.any()
            assert not row["mv"].any()
            assert (row["ref"][used] == lp.UNTRUSTED).all()
            assert (row["ref_picture"][used] == -2).all()
            assert set(np.unique(row["mb_type"])) <= {lp.INTER, lp.INTRA}
            continue
        for list_ in (0, 1):
            mv = row["mv"][(list_, slice(None), *inner)]
            if kind not in exact:  # no references here; every vector goes one frame back
                distance = np.full(mv.shape[1:], -1 if list_ == 0 else 0)
                if "ref" in row:
                    used = row["ref"][(list_, *inner)] != 0
                    assert (used == (list_ == 0)).all()
            else:
                distance = row["ref"][(list_, *inner)].astype(int)
            used = distance != 0
            # source = here + mv / 4, and the texture at `here` was step further on per frame back
            for axis in (0, 1):
                hit = (mv[axis] == -4 * STEP[axis] * distance)[used]
                assert hit.size == 0 or hit.mean() >= 0.95, (i, kind, list_, axis)
            assert not mv[:, ~used].any()
    assert seen == ({"P", "B"} if "_b" in name else {"P"})


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("mpeg1.mpg", ["-c:v", "mpeg1video"]),
        ("mpeg2.mpg", ["-c:v", "mpeg2video"]),
        ("mpeg2_nonlinear.mpg", ["-c:v", "mpeg2video", "-non_linear_quant", "1", "-qmax", "28"]),
        ("mpeg4.avi", ["-c:v", "mpeg4"]),
        ("h263.3gp", ["-c:v", "h263"]),
        ("flv1.flv", ["-c:v", "flv"]),
        ("wmv1.asf", ["-c:v", "wmv1"]),
        ("h264.mp4", ["-c:v", "libx264", "-x264-params", "aq-mode=0:ipratio=1:pbratio=1"]),
    ],
)
@pytest.mark.parametrize("quantiser", [3, 7, 20])
def test_qp_of_a_known_encode(
    name: str, options: list[str], quantiser: int, tmp_path: Path
) -> None:
    """The encoder was told one quantiser for the whole stream: the plane says the same number."""
    raw, source = lp.panning(7, (5, 1))
    how = ["-qp", str(quantiser)] if "h264" in name else ["-q:v", str(quantiser)]
    path = tmp_path / name
    lp.ffmpeg(*source, *options, *how, "-bf", "0", "-g", "6", str(path), data=raw)
    clip = lp.Clip(path)
    rows = [r for r in clip.read(list(range(6)), "qp").values() if not r["lost"]]
    assert len(rows) >= 5
    for row in rows:
        assert (row["qp"] == quantiser).all()


def test_reference_numbers_of_mpeg2(tmp_path: Path) -> None:
    """List 0 is the reference picture before the nearest one in B-pictures, in decode numbers."""
    raw, source = lp.panning(12, STEP)
    path = tmp_path / "clip.mpg"
    lp.ffmpeg(
        *source, "-c:v", "mpeg2video", "-q:v", "2", "-bf", "2", "-g", "12", str(path), data=raw
    )
    clip = lp.Clip(path)
    rows = clip.read(list(range(len(clip.pictures))), "ref", "ref_picture")
    references: list[int] = []
    for i, picture in enumerate(clip.pictures):
        row = rows[i]
        if not row["lost"] and picture["type"] != "I":
            expected = references[-2:] if picture["type"] == "B" else references[-1:]
            for list_, reference in enumerate(expected):
                used = row["ref"][list_] != 0
                assert set(np.unique(row["ref_picture"][list_][used])) <= {reference}
                distance = clip.pictures[reference]["presentation"] - picture["presentation"]
                assert set(np.unique(row["ref"][list_][used])) <= {distance}
        if picture["type"] != "B":
            references.append(i)


def test_interlaced_mpeg2_is_not_trusted(tmp_path: Path) -> None:
    """Dual prime looks like a frame prediction in the export, so no reference is promised."""
    raw, source = lp.panning(10, STEP)
    path = tmp_path / "clip.mpg"
    lp.ffmpeg(
        *source, "-c:v", "mpeg2video", "-flags", "+ildct+ilme", "-bf", "2", str(path), data=raw
    )  # fmt: skip
    clip = lp.Clip(path)
    rows = clip.read(list(range(len(clip.pictures))), "ref", "mb_type")
    assert all(p["field_coded"] for p in clip.pictures if p["type"] != "I")
    for row in rows.values():
        assert set(np.unique(row["ref"])) <= {lp.UNTRUSTED, 0}
        assert not set(np.unique(row["mb_type"])) & {8, 9}  # MPEG has no such partitions


def test_interlaced_mpeg4_trusts_frame_predictions_alone(tmp_path: Path) -> None:
    size = (176, 144)
    raw, source = lp.panning(20, (4, 1), size)
    frame = len(raw) // 20
    fields = b""  # two moments in each frame: field prediction pays
    for t in range(10):
        top, bottom = (
            np.frombuffer(raw[k * frame :][: size[0] * size[1]], np.uint8).reshape(144, 176)
            for k in (2 * t, 2 * t + 1)
        )
        woven = top.copy()
        woven[1::2] = bottom[1::2]
        fields += woven.tobytes() + raw[size[0] * size[1] : frame]
    path = tmp_path / "clip.mp4"
    options = ["-c:v", "mpeg4", "-q:v", "3", "-flags", "+ildct+ilme", "-bf", "0"]
    lp.ffmpeg(*source, *options, str(path), data=fields)
    frames = lp.pyav_frames(path)
    clip = lp.Clip(path)
    rows = clip.read(list(range(len(clip.pictures))), "ref", "mb_type")
    field_predicted = 0
    for i, frame_ in zip(clip.output_order, frames, strict=True):
        if rows[i]["lost"] or frame_.vectors is None:
            continue
        _, used, kind = frame_.motion(rows[i]["mb_type"].shape)
        by_field = (kind == 8).repeat(4, 0).repeat(4, 1)
        field_predicted += int(by_field.sum())
        ref = rows[i]["ref"][0]
        assert (ref[used[0] & by_field] == lp.UNTRUSTED).all()
        assert (ref[used[0] & ~by_field] == -1).all()
        assert (rows[i]["mb_type"][kind == 8] == lp.INTER).all()
    assert field_predicted > 0
