"""Still images as clips, and histograms of the QP that was coded."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import numpy as np
import pytest

import cvdecode
from conftest import Encode, run_ffmpeg
from cvdecode.cli import main
from cvdecode.study import qp, stills
from cvdecode.study.errors import EncodeFailed, StudyError
from cvdecode.study.measures import psnr


def pictures(count: int = 5, size: int = 32, seed: int = 0) -> np.ndarray:
    """RGB textures (N, H, W, 3) without hard edges in colour."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 256, (count, size // 8, size // 8, 3)).astype(float)
    big = np.repeat(np.repeat(coarse, 8, 1), 8, 2) + rng.normal(0, 12, (count, size, size, 3))
    return np.clip(big, 0, 255).astype(np.uint8)


# The variants


def test_yuv_is_that_of_ffmpeg(tmp_path: Path) -> None:
    images = pictures(1)
    raw = subprocess.run(
        ["ffmpeg", "-v", "error", "-f", "rawvideo", "-pix_fmt", "rgb24", "-s", "32x32", "-i", "-",
         "-vf", "scale=out_color_matrix=bt601:out_range=tv:flags=accurate_rnd+full_chroma_int",
         "-f", "rawvideo", "-pix_fmt", "yuv444p", "-"],
        input=images.tobytes(), check=True, capture_output=True,
    )  # fmt: skip
    theirs = np.frombuffer(raw.stdout, np.uint8).reshape(3, 32, 32).astype(int)
    assert np.abs(stills.to_yuv(images)[0] - theirs).max() <= 1
    white = np.full((1, 2, 2, 3), 255, np.uint8)
    assert stills.to_yuv(white)[0, :, 0, 0].tolist() == [235, 128, 128]
    red = np.array([[[[255, 0, 0]]]], np.uint8)
    assert stills.to_yuv(red)[0, :, 0, 0].tolist() == [81, 90, 240]
    grey = np.array([[[0, 255]]], np.uint8)
    assert stills.to_yuv(grey)[0].tolist() == [[[0, 255]], [[128, 128]], [[128, 128]]]


def test_colour_variants_by_hand() -> None:
    yuv = np.zeros((1, 3, 4, 4), np.uint8)
    yuv[0, 0] = np.arange(16).reshape(4, 4)
    yuv[0, 1, :2, :2] = [[10, 20], [30, 41]]  # mean 25.25
    yuv[0, 2, 2:, 2:] = [[1, 2], [2, 1]]  # mean 1.5, rounded up
    less = stills.chroma_420(yuv)[0]
    assert np.array_equal(less[0], yuv[0, 0])
    assert np.unique(less[1, :2, :2]).tolist() == [25]
    assert np.unique(less[2, 2:, 2:]).tolist() == [2]
    yuv[0, 1, 0] = [0, 31, 32, 255]
    assert stills.level_uv(yuv)[0, 1, 0].tolist() == [16, 16, 48, 240]
    assert np.array_equal(stills.level_uv(yuv)[0, 0], yuv[0, 0])
    teeth = stills.interlaced(yuv)[0, 0]
    assert teeth.tolist() == [[0, 1, 2, 3], [4, 4, 4, 5], [8, 9, 10, 11], [12, 12, 12, 13]]
    assert set(stills.COLOURS) == {"yuv444", "yuv420", "leveluv", "interlaced"}
    names = stills.variant_names([10], [40], [0, 6])
    assert names[4:] == ["q10_f0", "q10_f6", "b40_f0", "b40_f6"]


def test_clip_is_a_still_on_scrolling_lines() -> None:
    yuv = stills.to_yuv(pictures(1, 16))
    clip = stills.clip_420(yuv[0])
    assert clip.shape == (7, 32 * 3 // 2, 32)
    for frame in clip:
        assert np.array_equal(frame[8:24, 8:24], yuv[0, 0])
    edge = clip[:, :32, 0].astype(int)
    assert set(np.unique(edge)) == {48, 208}
    assert edge[0].tolist() == ([48] * 4 + [208] * 4) * 4, "a period of 8 rows"
    for t in range(6):
        assert np.array_equal(edge[t + 1, :-2], edge[t, 2:]), "upwards, 2 rows a frame"
    u = clip[3, 32:].reshape(2, 16, 16)[0]
    expected = yuv[0, 1].reshape(8, 2, 8, 2).mean(axis=(1, 3))
    assert np.abs(u[4:12, 4:12] - expected).max() <= 0.5
    assert (u[:4] == 128).all()


# Through the codec


def test_every_macroblock_has_the_qp_asked_for(tmp_path: Path) -> None:
    yuv = stills.to_yuv(pictures(3))
    for value in (10, 50):
        histogram = stills.encode(yuv, tmp_path / "s.264", qp=value)
        # 3 images of 48x48: 9 macroblocks at each of the 7 frames
        assert histogram[:, value].tolist() == [27] * 7
        assert histogram.sum() == 27 * 7
    with cvdecode.VideoReader(tmp_path / "s.264", planes=("qp",)) as video:
        clip = video[:]
        assert "".join(clip.frame_type) == "IBBPBBP" * 3
        assert clip.is_key.tolist() == [True, *[False] * 6] * 3
    with pytest.raises(EncodeFailed, match=r"QP 49 was asked for, the stream has QP 50 to 50"):
        stills.check(tmp_path / "s.264", 3, 49)
    with pytest.raises(EncodeFailed, match="4 clips make 28 frames"):
        stills.check(tmp_path / "s.264", 4)


def test_wrong_order_of_frame_types_is_noticed(tmp_path: Path) -> None:
    run_ffmpeg(
        *["-f", "lavfi", "-i", "testsrc2=size=48x48:rate=25", "-frames:v", "7", "-c:v", "libx264"],
        *["-bf", "0", str(tmp_path / "p.264")],
    )
    with pytest.raises(EncodeFailed, match="IBBPBBP was asked for, the stream has IPPPPPP"):
        stills.check(tmp_path / "p.264", 1)


def test_range_trap_of_stills(tmp_path: Path) -> None:
    """At QP 10 the luma plane is above 48 dB of the original, at every frame type."""
    images = pictures(4)
    yuv = stills.to_yuv(images)
    left = tmp_path / ".s.77.part.264"
    left.write_bytes(b"of a run that was killed")
    stills.encode(yuv, tmp_path / "s.264", qp=10)
    assert not left.exists()
    shown = stills.decode(tmp_path / "s.264", (32, 32))
    assert shown.shape == (4, 4, 3, 32, 32)
    for n in range(4):
        assert psnr(yuv[:, 0], shown[:, n, 0]) > 48
        assert psnr(stills.chroma_420(yuv)[:, 1:], shown[:, n, 1:]) > 44
    one = stills.decode(tmp_path / "s.264", (32, 32), [6])
    assert np.array_equal(one[:, 0], shown[:, 3])


def test_variants_of_a_set(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("torchmetrics")
    images, labels = pictures(6), np.arange(6)
    np.savez(tmp_path / "set.npz", images=images, labels=labels)
    out = tmp_path / "out"
    command = ["study", "stills", str(tmp_path / "set.npz"), str(out), "--qp", "25,46"]
    assert main([*command, "--frames", "0,2", "--bitrate", "30", "--json"]) == 0
    records = {r["variant"]: r for r in json.loads(capsys.readouterr().out)}
    assert list(records) == stills.variant_names([25, 46], [30], [0, 2])
    assert records["yuv444"]["psnr"] is None, "the same"
    assert records["q25_f0"]["psnr"] > records["q46_f0"]["psnr"]
    assert records["q25_f2"]["mean_qp"] == 25
    assert sum(records["b30_f0"]["qp_histogram"]) == 6 * 9
    for name in records:
        assert np.load(out / f"{name}.npy").shape == (6, 3, 32, 32)
    assert np.load(out / "labels.npy").tolist() == labels.tolist()
    assert not list(out.glob(".*"))
    stamp = (out / "q25.264").stat().st_mtime_ns
    before = (out / "stills.jsonl").read_bytes()
    assert json.loads(before.splitlines()[0])["versions"]["cvdecode"] == cvdecode.__version__
    assert len(before.splitlines()) == 1 + len(records)
    assert main([*command, "--frames", "0,2", "--bitrate", "30"]) == 0
    assert (out / "q25.264").stat().st_mtime_ns == stamp
    assert (out / "stills.jsonl").read_bytes() == before
    with pytest.raises(StudyError, match="other images"):
        stills.synthesise(images[:3], out)


def test_images_from_folders(tmp_path: Path) -> None:
    image = pytest.importorskip("PIL.Image")
    for n, name in enumerate(("b/1.png", "a/2.png", "a/1.png")):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        image.fromarray(np.full((4, 6, 3), 10 * n, np.uint8)).save(path)
    images, labels = stills.load_images(tmp_path)
    assert images[:, 0, 0, 0].tolist() == [20, 10, 0]
    assert labels.tolist() == [0, 0, 1]
    assert stills.double(images).shape == (3, 8, 12, 3)
    with pytest.raises(StudyError, match="are wanted"):
        stills.load_images(tmp_path / "a")


# QP


def boxed_clip(encode: Encode) -> Path:
    """Coded 80x64, cropped on the right and below."""
    options = ("-c:v", "libx264", "-crf", "30", "-g", "4")
    return encode("study_boxes.mp4", *options, source="testsrc2=size=70x50:rate=25", frames=6)


def test_box_counts_by_hand(tmp_path: Path, encode: Encode) -> None:
    size = "testsrc2=size=70x50:rate=25"  # coded 80x64, cropped right and bottom
    path = encode(
        "study_boxes.mp4", "-c:v", "libx264", "-crf", "30", "-g", "4", source=size, frames=6
    )
    clip = cvdecode.read(path, planes=("qp",))
    listing = tmp_path / "boxes.csv"
    listing.write_text("frame,x,y,width,height,name\n2,10,12,20,9,face\n,0,0,70,50,\n")
    boxes = qp.read_boxes(listing)
    found = qp.histograms(path, boxes)
    assert found.frame_types == "".join(clip.frame_type)
    assert found.frames.sum(axis=1).tolist() == [20] * 6
    for t in range(6):
        assert found.frames[t].tolist() == np.bincount(clip.qp[t].ravel(), minlength=64).tolist()
    dense = np.repeat(np.repeat(clip.qp, 16, 1), 16, 2)  # one QP a sample
    face = dense[2, 12:21, 10:30]
    assert found.boxes[0].tolist() == np.bincount(face.ravel(), minlength=64).tolist()
    whole = dense[:, :50, :70]
    assert found.boxes[1].tolist() == np.bincount(whole.ravel(), minlength=64).tolist()
    assert qp.mean(found.boxes[0]) == pytest.approx(face.mean())
    assert qp.mean(np.zeros(64, np.int64)) is None
    assert main(["study", "qp", str(path), "--boxes", str(listing)]) == 0


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("x,y,width\n1,2,3\n", "height"),
        ("x,y,width,height\n1,2,3,a\n", "line 2"),
        ("x,y,width,height\n1,2,3,0\n", "empty"),
        ("x,y,width,height\n60,2,30,3\n", "outside the picture"),
        ("x,y,width,height,frame\n0,2,3,3,99\n", "frames"),
    ],
)
def test_wrong_boxes_are_named(tmp_path: Path, encode: Encode, text: str, why: str) -> None:
    size = "testsrc2=size=70x50:rate=25"
    path = encode(
        "study_boxes.mp4", "-c:v", "libx264", "-crf", "30", "-g", "4", source=size, frames=6
    )
    listing = tmp_path / "boxes.csv"
    listing.write_text(text)
    with pytest.raises(StudyError, match=why):
        qp.histograms(path, qp.read_boxes(listing))
