"""Measures and scores against values worked by hand, literal forms and other libraries."""

from __future__ import annotations

import json
import math
import subprocess
from pathlib import Path

import numpy as np
import pytest

import cvdecode
from cvdecode.study import measures, motion, scores
from cvdecode.study.errors import StudyError, ToolMissing
from cvdecode.study.ffmpeg import frames
from cvdecode.study.grid import grid
from cvdecode.study.survey import measure_grid
from cvdecode.study.transcode import transcode


def texture(frames_: int, height: int, width: int, seed: int = 0) -> np.ndarray:
    """(T, 3H/2, W) I420: smooth texture that pans by one sample a frame, limited range."""
    rng = np.random.default_rng(seed)
    coarse = rng.uniform(40, 210, (height // 8 + 3, (width + frames_) // 8 + 3))
    big = np.kron(coarse, np.ones((8, 8)))
    for axis in (0, 1):  # a triangle filter: no hard edges
        big = sum(np.roll(big, s, axis) * (8 - abs(s)) / 64 for s in range(-7, 8))
    out = np.full((frames_, height * 3 // 2, width), 128, np.uint8)
    for t in range(frames_):
        out[t, :height] = np.rint(big[8 : 8 + height, 8 + t : 8 + t + width])
    return out


def write_lossless(video: np.ndarray, path: Path) -> Path:
    height, width = video.shape[1] * 2 // 3, video.shape[2]
    subprocess.run(
        ["ffmpeg", "-v", "error", "-y", "-f", "rawvideo", "-pix_fmt", "yuv420p", "-s",
         f"{width}x{height}", "-r", "25", "-i", "-", "-c:v", "ffv1", str(path)],
        check=True, input=video.tobytes(),
    )  # fmt: skip
    return path


# Differences


def test_values_worked_by_hand() -> None:
    a = np.zeros((2, 2), np.uint8)
    b = np.array([[0, 51], [0, 102]], np.uint8)  # 0, 0.2, 0, 0.4 on range [0, 1]
    assert measures.mae(a, b) == pytest.approx(0.15)
    assert measures.rmse(a, b) == pytest.approx(math.sqrt((0.04 + 0.16) / 4))
    assert measures.psnr(a, b) == pytest.approx(-10 * math.log10(0.05))
    assert measures.psnr(a, a) == math.inf
    # one grey level everywhere: 20 log10(255), the figure that every codec paper quotes
    assert measures.psnr(a, a + 1) == pytest.approx(48.1308, abs=1e-4)
    assert measures.mae(a / 255.0, b / 255.0) == pytest.approx(0.15), "floats are in [0, 1]"
    with pytest.raises(ValueError, match="cannot be compared"):
        measures.mae(a, b[:1])


def literal_ssim(a: np.ndarray, b: np.ndarray) -> float:
    """Wang et al. 2004, equation 13, over 11x11 Gaussian windows of sigma 1.5, range 1.

    One window at each sample; torchmetrics mirrors the image at its borders.
    """
    a, b = np.pad(a, 5, mode="reflect"), np.pad(b, 5, mode="reflect")
    at = np.arange(11) - 5
    line = np.exp(-(at**2) / (2 * 1.5**2))
    window = np.outer(line, line) / line.sum() ** 2
    found = []
    for y in range(a.shape[0] - 10):
        for x in range(a.shape[1] - 10):
            p, q = a[y : y + 11, x : x + 11], b[y : y + 11, x : x + 11]
            mp, mq = (window * p).sum(), (window * q).sum()
            vp, vq = (window * p * p).sum() - mp * mp, (window * q * q).sum() - mq * mq
            cov = (window * p * q).sum() - mp * mq
            found.append(
                (2 * mp * mq + 0.01**2) * (2 * cov + 0.03**2)
                / ((mp * mp + mq * mq + 0.01**2) * (vp + vq + 0.03**2))
            )  # fmt: skip
    return float(np.mean(found))


def test_ssim_is_the_published_formula() -> None:
    rng = np.random.default_rng(5)
    a = rng.random((2, 24, 30))
    b = np.clip(a + rng.normal(0, 0.1, a.shape), 0, 1)
    pytest.importorskip("torchmetrics")
    expected = [literal_ssim(a[t], b[t]) for t in range(2)]
    assert measures.ssim(a, b) == pytest.approx(expected, abs=1e-5)
    assert measures.ssim(a, a) == pytest.approx([1, 1])
    c = (rng.random((1, 3, 20, 20)) * 255).astype(np.uint8)
    assert measures.ssim(c, c)[0] == pytest.approx(1)


def test_streaming_equals_whole() -> None:
    pytest.importorskip("torchmetrics")
    rng = np.random.default_rng(2)
    a = rng.integers(0, 256, (measures.AT_ONCE * 2 + 3, 3, 16, 20), np.uint8)
    b = rng.integers(0, 256, a.shape, np.uint8)
    said = measures.compare(iter(a), iter(b))
    assert said["mae"] == pytest.approx(measures.mae(a, b))
    assert said["rmse"] == pytest.approx(measures.rmse(a, b))
    assert said["psnr"] == pytest.approx(measures.psnr(a, b))
    assert said["ssim"] == pytest.approx(measures.ssim(a, b).mean(), abs=1e-6)
    fifth = measures.compare(iter(a), iter(b), every=5)
    assert fifth["ssim"] == pytest.approx(measures.ssim(a[::5], b[::5]).mean(), abs=1e-6)
    assert fifth["mae"] == pytest.approx(said["mae"])
    with pytest.raises(StudyError, match="frames"):
        measures.compare(iter(a), iter(b[:-1]))


def test_lpips_says_what_is_missing() -> None:
    try:
        import lpips  # noqa: F401
    except ImportError:
        with pytest.raises(ToolMissing, match="lpips"):
            measures.lpips(np.zeros((1, 3, 64, 64)), np.zeros((1, 3, 64, 64)))


# The range trap


def test_range_trap(tmp_path: Path) -> None:
    """QP 10 is above 48 dB in the luma plane; pixel format gray would say some 15 dB less."""
    pytest.importorskip("torchmetrics")
    video = texture(6, 64, 96)
    source = write_lossless(video, tmp_path / "source.mkv")
    records = transcode(
        [(str(source), "source")], grid("h264", "qp", [10, 50]), tmp_path / "g"
    ).records
    luma = np.stack(list(measures.luma_frames(source, 96, 64)))
    assert np.array_equal(luma, video[:, :64]), "samples come out as they were coded"
    found, _ = measure_grid([(str(source), "source")], tmp_path / "g")
    by = {r["setting"]: r for r in found}
    assert by["h264-qp10-g12-medium"]["psnr_y"] > 48
    assert by["h264-qp50-g12-medium"]["psnr_y"] < 40
    path = tmp_path / "g" / records[0]["path"]
    grey = np.stack(list(frames(path, (64, 96), "gray")))
    assert measures.psnr(video[:, :64], grey) < 36, "the trap is still there"


# Motion


def test_warp_by_hand() -> None:
    frame = np.array([[0.0, 10, 20, 30]] * 3)
    right = np.zeros((2, 3, 4))
    right[0] = 1.5
    assert motion.warp(frame, right)[1].tolist() == [15, 25, 30, 30]
    down = np.zeros((2, 3, 4))
    down[1] = -0.5
    steps = np.arange(3.0)[:, None] * np.ones(4)
    assert motion.warp(steps, down)[:, 0].tolist() == [0, 0.5, 1.5]


def test_consistency_by_hand() -> None:
    rng = np.random.default_rng(3)
    wide = rng.random((8, 30))
    pan = np.stack([wide[:, 2 * t : 2 * t + 20] for t in range(4)])
    flow = np.zeros((4, 2, 8, 20))
    flow[:, 0] = 2  # what is here was two samples further right in the frame before
    inside = np.ones((4, 8, 20), bool)
    inside[:, :, -2:] = False  # came in from outside
    assert motion.temporal_consistency(pan, flow, inside) == math.inf
    still = np.mean(np.square(pan[1:] - pan[:-1]))
    expected = -10 * math.log10(still)
    assert motion.temporal_consistency(pan, np.zeros_like(flow)) == pytest.approx(expected)
    assert math.isnan(motion.temporal_consistency(pan, flow, np.zeros_like(inside)))


@pytest.mark.parametrize("bframes", [0, 2])
def test_stream_motion_is_the_pan(tmp_path: Path, bframes: int) -> None:
    """B-frames refer to pictures two or more frames away, on both sides."""
    video = texture(9, 64, 96)
    source = write_lossless(video, tmp_path / "pan.mkv")
    settings = grid("h264", "qp", [20], [30], bframes=[bframes])
    record = transcode([(str(source), "pan")], settings, tmp_path / "g").records[0]
    flow, known = motion.stream_motion(tmp_path / "g" / record["path"])
    assert not known[0].any()
    assert known[1:].mean() > 0.8
    # The texture moves one sample to the left a frame: it came from one to the right.
    assert np.median(flow[:, 0][known]) == 1
    assert np.median(flow[:, 1][known]) == 0
    assert (np.abs(flow[:, 0][known] - 1) < 0.3).mean() > 0.8


# Scores


def test_scores_by_hand() -> None:
    logits = np.array([[2.0, 1, 0], [0, 0, 0], [0, 1, 2]])
    labels = np.array([1, 1, 2])
    assert scores.ranks(logits, labels).tolist() == [1, 1, 0]
    assert scores.top_k(logits, labels, 1) == pytest.approx(1 / 3)
    assert scores.top_k(logits, labels, 2) == 1
    e = math.exp
    expected = [math.log((e(2) + e(1) + 1) / e(1)), math.log(3), math.log((1 + e(1) + e(2)) / e(2))]
    assert scores.log_losses(logits, labels) == pytest.approx(expected)
    assert scores.log_losses(logits + 1000, labels) == pytest.approx(expected), "no overflow"


def test_scores_against_torchmetrics() -> None:
    pytest.importorskip("torchmetrics")
    import torch
    from torchmetrics.functional.classification import multiclass_accuracy

    rng = np.random.default_rng(9)
    logits, labels = rng.normal(size=(200, 12)), rng.integers(0, 12, 200)
    for k in (1, 5):
        theirs = multiclass_accuracy(
            torch.tensor(logits), torch.tensor(labels), 12, average="micro", top_k=k
        )
        assert scores.top_k(logits, labels, k) == pytest.approx(float(theirs))
    theirs = torch.nn.functional.cross_entropy(torch.tensor(logits), torch.tensor(labels))
    assert scores.log_losses(logits, labels).mean() == pytest.approx(float(theirs))


def test_classes_by_hand() -> None:
    original = {0: 1.0, 1: 0.5, 2: 0.0}
    now = {0: 0.5, 1: 0.5, 2: 0.25}
    assert scores.class_means([1, 0, 1, 1], [0, 0, 3, 3]) == {0: 0.5, 3: 1.0}
    assert scores.relative_accuracy(now, original) == {0: 0.5, 1: 1.0, 2: None}
    lost, kept = scores.most_and_least_lost(now, original, 2)
    assert lost == [(0, -0.5), (1, 0.0)]
    assert kept == [(2, 0.25), (1, 0.0)]
    assert scores.slope([0, 1, 2], [5, 3, 1]) == (-2, 5)
    assert math.isnan(scores.slope([1, 1], [0, 2])[0])


def test_bootstrap_interval_covers() -> None:
    rng = np.random.default_rng(11)
    inside = 0
    for n in range(200):
        low, high = scores.bootstrap(rng.random(60) < 0.3, seed=n, draws=300)
        inside += low <= 0.3 <= high
    assert 175 <= inside <= 200, "a 95 % interval holds the truth about 95 times in a hundred"


# Over a grid


def test_consistency_by_a_flow_for_every_codec(tmp_path: Path) -> None:
    pytest.importorskip("torchmetrics")
    video = texture(4, 35 // 2 * 2, 50, 5)
    source = write_lossless(video, tmp_path / "a.mkv")
    inputs, out = [(str(source), "a")], tmp_path / "g"
    transcode(inputs, [*grid("hevc", "crf", [20]), *grid("jpeg", "quality", [95])], out)

    def right(now: np.ndarray, before: np.ndarray) -> np.ndarray:
        assert (now.shape, now.dtype) == ((34, 50), np.uint8)
        assert not np.array_equal(now, before)
        return np.broadcast_to(np.array([1.0, 0])[:, None, None], (2, *now.shape))

    def still(now: np.ndarray, before: np.ndarray) -> np.ndarray:
        return np.zeros((2, *now.shape))

    found = {}
    for flow in (right, still, None):
        more = {} if flow is None else {"flow": flow, "flow_name": flow.__name__}
        records, failed = measure_grid(inputs, out, **more)
        assert not failed
        found[flow] = {r["codec"]: r for r in ({**r, "codec": r["setting"][:4]} for r in records)}
        head = json.loads((out / "measures.jsonl").read_text().splitlines()[0])
        assert head["flow"] == (flow.__name__ if flow else None)
    for codec in ("hevc", "jpeg"):
        assert "tc_flow" not in found[None][codec]
        # What pans by one sample a frame came from one to the right.
        assert found[right][codec]["tc_flow"] > found[still][codec]["tc_flow"] + 6
        setting = found[right][codec]["setting"]
        path = next((out / setting).glob("a.*"))
        luma = np.stack(list(measures.luma_frames(path, 50, 34))).astype(float)
        square = np.square(luma[1:, :, :-1] - luma[:-1, :, 1:]).sum()
        square += np.square(luma[1:, :, -1] - luma[:-1, :, -1]).sum()  # clamped at the border
        by_hand = 10 * math.log10(255**2 * luma[1:].size / square)
        assert found[right][codec]["tc_flow"] == pytest.approx(by_hand)
    with pytest.raises(ValueError, match="go together"):
        measure_grid(inputs, out, flow=still)


def test_measured_grid_is_ordered_and_resumable(tmp_path: Path) -> None:
    pytest.importorskip("torchmetrics")
    source = write_lossless(texture(5, 48, 64, 4), tmp_path / "a.mkv")
    inputs = [(str(source), "a")]
    out = tmp_path / "g"
    transcode(inputs, [*grid("h264", "crf", [20, 45]), *grid("jpeg", "quality", [5, 90])], out)
    records, failed = measure_grid(inputs, out)
    assert not failed
    by = {r["setting"]: r for r in records}
    for better, worse in (
        ("h264-crf20-g12-medium", "h264-crf45-g12-medium"),
        ("jpeg-quality90", "jpeg-quality5"),
    ):
        assert by[better]["mae"] < by[worse]["mae"]
        assert by[better]["ssim"] > by[worse]["ssim"]
    assert "tc" in by["h264-crf20-g12-medium"]
    assert "tc" not in by["jpeg-quality90"], "JPEG has no vectors, and says nothing instead"
    before = (out / "measures.jsonl").read_bytes()
    lines = before.splitlines()
    assert json.loads(lines[0])["versions"]["cvdecode"] == cvdecode.__version__
    (out / "measures.jsonl").write_bytes(b"\n".join(lines[:3]) + b"\n" + lines[3][:20])
    measure_grid(inputs, out)
    assert (out / "measures.jsonl").read_bytes() == before
    with pytest.raises(StudyError, match="none of its clips"):
        measure_grid([(str(source), "b")], out)
