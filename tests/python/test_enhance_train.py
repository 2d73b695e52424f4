"""cvdecode enhance-train: originals in, a network out, the same one after a kill."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import pytest
import torch

from cvdecode import enhance
from cvdecode.cli import main
from cvdecode.recipes import enhancement

SMALL = ["--small", "--batch", "2", "--frames", "3", "--patch", "32", "--rate", "3e-3"]


@pytest.fixture(scope="module")
def originals(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three lossless clips of 64x48 and one that is too short."""
    folder = tmp_path_factory.mktemp("originals")
    for name, frames, speed in (("a", 6, 1), ("b", 6, -2), ("c", 6, 3), ("short", 2, 1)):
        subprocess.run(
            ["ffmpeg", "-v", "error", "-f", "lavfi", "-i",
             f"testsrc2=size=128x48:rate=25,crop=64:48:32+{speed}*n:0,format=yuv420p",
             "-frames:v", str(frames), "-c:v", "ffv1", str(folder / f"{name}.mkv")],
            check=True,
        )  # fmt: skip
    return folder


def trained(originals: Path, out: Path, *options: str) -> dict[str, Any]:
    arguments = ["enhance-train", str(originals), "--out", str(out), *SMALL, *options]
    with mock.patch.object(sys, "argv", ["cvdecode", *arguments]):  # what the log names
        assert main(arguments) == 0
    return torch.load(out, weights_only=True)["state"]


def lines(out: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in out.with_suffix(".jsonl").read_text().splitlines()]


def decoded(path: Path) -> np.ndarray:
    """Luma, float64 (T, 48, 64)."""
    done = subprocess.run(
        ["ffmpeg", "-v", "error", "-i", str(path), "-f", "rawvideo", "-pix_fmt", "yuv420p", "-"],
        check=True, capture_output=True,
    )  # fmt: skip
    return np.frombuffer(done.stdout, np.uint8).reshape(-1, 72, 64)[:, :48].astype(np.float64)


def test_trained_network_enhances_a_file(
    originals: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "net.pt"
    options = ("--codec", "h264", "--crf", "42", "--architecture", "vectors", "--steps", "30")
    trained(originals, out, *options, "--val", str(originals))
    said = capsys.readouterr()
    assert "left out: short: 2 frames" in said.err
    told = json.loads(said.out)
    assert told["clips"] == 3
    # What a single small network learns of its own training clips: that it learns at all.
    assert told["enhanced_psnr"] > told["compressed_psnr"] + 0.03
    start, *steps, last, image = lines(out)
    assert start["crf"] == 42
    assert {"cvdecode", "torch", "ffmpeg"} <= set(start["versions"])
    assert start["command"].startswith(f"cvdecode enhance-train {originals} --out {out} ")
    assert [line["step"] for line in steps] == [30]
    assert last["event"] == "validation"
    assert image["kind"] == "picture"
    page = tmp_path / "page.html"
    assert main(["study", "report", str(page), str(out.with_suffix(".jsonl"))]) == 0
    assert "compressed, enhanced, original" in page.read_text()
    # Both, worked from what ffmpeg decodes of the files: the network sees in a file what it saw in
    # training, the stream's motion among it.
    found: dict[str, list[float]] = {"compressed_psnr": [], "enhanced_psnr": []}
    for name in "abc":
        made = tmp_path / "net.pairs" / "h264-crf42-g250-medium" / f"{name}.mp4"
        better = tmp_path / f"{name}.mkv"
        command = ["enhance", str(made), str(better), "--checkpoint", str(out), "--crf", "0"]
        assert main(command) == 0
        original = decoded(originals / f"{name}.mkv")
        assert len(decoded(better)) == 6
        for key, path in (("compressed_psnr", made), ("enhanced_psnr", better)):
            error = ((decoded(path)[:3] - original[:3]) ** 2).mean()
            found[key].append(10 * math.log10(255**2 / error))
    for key, values in found.items():
        assert told[key] == pytest.approx(sum(values) / 3, abs=1e-4), key


def test_pairs_are_the_first_frames_of_both(originals: Path, tmp_path: Path) -> None:
    plan = enhancement.Plan(codec="h264", crf=0, frames=3, patch=32)
    pairs, left_out = enhancement.prepare(
        [(str(originals / f"{n}.mkv"), n) for n in ("a", "b")], plan, tmp_path
    )
    assert not left_out
    raw = subprocess.run(
        ["ffmpeg", "-v", "error", "-i", str(originals / "a.mkv"), "-frames:v", "3",
         "-f", "rawvideo", "-pix_fmt", "yuv420p", "-"], check=True, capture_output=True,
    ).stdout  # fmt: skip
    luma = np.frombuffer(raw, np.uint8).reshape(3, 72, 64)[:, :48]
    np.testing.assert_array_equal(pairs[0].luma[0], luma)
    np.testing.assert_array_equal(pairs[0].luma[1], luma)  # CRF 0 of x264 is lossless
    model = enhance.FrameByFrame(4, 1).eval()
    told, _ = enhancement.judged(pairs, model)
    assert told["compressed_psnr"] == math.inf
    beside = enhancement.crops(pairs[0], enhancement.shown(pairs[0], model), 40)
    np.testing.assert_array_equal(beside[:, :40, 0], luma[2, 4:44, 12:52])
    np.testing.assert_array_equal(beside[:, 88:, 2], luma[2, 4:44, 12:52])


@pytest.mark.parametrize("loss", ["pixel", "gan"])
def test_killed_and_resumed_is_the_same_network(
    loss: str, originals: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = ["--codec", "h264", "--loss", loss, "--steps", "4"]
    if loss == "gan":  # phi with random weights, as a file of torchvision's
        small = partial(enhance.Discriminator, width=2)
        monkeypatch.setattr(enhance, "Discriminator", small)
        phi = enhance.VGG19Features
        monkeypatch.setattr(phi, "WIDTHS", ((2, 2), (2, 2), (2,) * 4, (2,) * 4, (2,) * 4))
        torch.manual_seed(0)
        torch.save({k: v for k, v in phi().state_dict().items() if "." in k}, tmp_path / "vgg.pth")
        options += ["--vgg", str(tmp_path / "vgg.pth")]
    whole = trained(originals, tmp_path / "whole.pt", *options)
    trained(originals, tmp_path / "two.pt", *options, "--max-steps", "3")
    halfway = (tmp_path / "two.jsonl").read_text()
    # A line of a step after the checkpoint, as a kill leaves it.
    (tmp_path / "two.jsonl").write_text(halfway + '{"event": "step", "st')
    two = trained(originals, tmp_path / "two.pt", *options)
    assert whole.keys() == two.keys()
    assert all(torch.equal(whole[k], two[k]) for k in whole)
    assert lines(tmp_path / "two.pt")[1:] == lines(tmp_path / "whole.pt")[1:]
    assert not list(tmp_path.glob(".*.part"))


def test_what_cannot_be_trained_says_why(
    originals: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "net.pt"
    start = ["enhance-train", str(originals), "--out", str(out), *SMALL]
    for wrong, why in (
        (["--architecture", "vectors"], "--codec h264"),
        (["--codec", "h264", "--loss", "perceptual", "--steps", "1"], "--vgg"),
        (["--codec", "h264", "--frames", "7"], "7 of 32 are wanted"),
    ):
        assert main([*start, *wrong]) == 1
        assert why in capsys.readouterr().err
    trained(originals, out, "--codec", "h264", "--steps", "1")
    assert main([*start, "--codec", "h264", "--crf", "20"]) == 1
    assert "another crf" in capsys.readouterr().err
