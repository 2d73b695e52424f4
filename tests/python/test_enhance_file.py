"""cvdecode enhance: a file in, a file out."""

from __future__ import annotations

import gc
import json
import subprocess
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import cvdecode
from conftest import Encode
from cvdecode import enhance
from cvdecode.cli import enhance as command
from cvdecode.cli import main

WIDTH, HEIGHT, COUNT = 64, 48, 10


def save(path: Path, kind: Any, add: float) -> Path:
    """A network that adds `add` to every luma sample (in [0, 1])."""
    model = enhance.small_enhancer(kind, 16)
    torch.nn.init.zeros_(model.enet.last.weight)
    torch.nn.init.constant_(model.enet.last.bias, add)  # type: ignore[arg-type]
    torch.save(enhance.checkpoint(model), path)
    return path


def decoded(path: Path, pix_fmt: str = "yuv420p") -> np.ndarray:
    done = subprocess.run(
        ["ffmpeg", "-v", "error", "-i", str(path), "-f", "rawvideo", "-pix_fmt", pix_fmt, "-"],
        check=True,
        capture_output=True,
    )
    return np.frombuffer(done.stdout, np.uint8).reshape(-1, HEIGHT * 3 // 2, WIDTH)


def clip(encode: Encode, name: str, *options: str, codec: str = "libx264") -> Path:
    source = f"testsrc2=size={WIDTH}x{HEIGHT}:rate=30"
    return encode(f"enhance_{name}", "-c:v", codec, *options, source=source, frames=COUNT)


@pytest.mark.parametrize("kind", ["window", "recurrent", "vectors"])
def test_luma_is_enhanced_and_chroma_passed_on(
    kind: str, encode: Encode, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = clip(encode, "plain.mp4", "-pix_fmt", "yuv420p", "-bf", "2")
    out = tmp_path / "out.mkv"
    saved = save(tmp_path / "net.pt", kind, 10.2 / 255)
    arguments = [str(source), str(out), "--checkpoint", str(saved), "--crf", "0", "--json"]
    assert main(["enhance", *arguments]) == 0
    said = json.loads(capsys.readouterr().out)
    assert said["frames"] == COUNT
    before, after = decoded(source), decoded(out)
    assert len(after) == COUNT
    luma = np.minimum(before[:, :HEIGHT].astype(int) + 10, 255)
    np.testing.assert_array_equal(after[:, :HEIGHT], luma)
    np.testing.assert_array_equal(after[:, HEIGHT:], before[:, HEIGHT:])
    assert sorted(p.name for p in tmp_path.iterdir()) == ["net.pt", "out.mkv"]


def test_hevc_in_and_full_range_stays_full(encode: Encode, tmp_path: Path) -> None:
    source = clip(
        encode, "full.mp4", "-vf", "format=yuvj420p", "-x265-params",
        "log-level=none:pools=1:range=full", "-color_range", "pc", codec="libx265",
    )  # fmt: skip
    out = tmp_path / "out.mp4"
    saved = save(tmp_path / "net.pt", "frame", 0.0)
    assert main(["enhance", str(source), str(out), "--checkpoint", str(saved), "--crf", "0"]) == 0
    np.testing.assert_array_equal(decoded(out, "yuvj420p"), decoded(source, "yuvj420p"))
    probe = ["ffprobe", "-v", "error", "-show_entries", "stream=color_range,r_frame_rate"]
    ranges = [
        subprocess.run([*probe, str(p)], check=True, capture_output=True, text=True).stdout
        for p in (source, out)
    ]
    assert "color_range=pc" in ranges[0]
    assert ranges[0] == ranges[1]


def test_what_cannot_be_enhanced_says_why(
    encode: Encode, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    saved = save(tmp_path / "net.pt", "vectors", 0.0)
    out = tmp_path / "out.mp4"

    def said(source: Path, target: Path, network: Path = saved) -> str:
        assert main(["enhance", str(source), str(target), "--checkpoint", str(network)]) == 1
        return capsys.readouterr().err

    plain = clip(encode, "plain.mp4", "-pix_fmt", "yuv420p", "-bf", "2")
    wide = clip(encode, "444.mp4", "-pix_fmt", "yuv444p")
    hevc = clip(encode, "plain265.mp4", "-x265-params", "log-level=none:pools=1", codec="libx265")
    assert "-pix_fmt yuv420p" in said(wide, out)
    assert "overwrite the input" in said(plain, plain)
    assert "mv" in said(hevc, out)
    torch.save({"state": {}}, tmp_path / "other.pt")
    assert "this is no" in said(plain, out, tmp_path / "other.pt")
    assert "no.such" in said(plain, tmp_path / "out.no.such")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["net.pt", "other.pt"]


def held() -> int:
    """Bytes of arrays and Python's objects, and of the tensors that are alive."""
    gc.collect()
    tensors = [o for o in gc.get_objects() if type(o) is torch.Tensor]
    storages = {t.untyped_storage().data_ptr(): t.untyped_storage().nbytes() for t in tensors}
    return tracemalloc.get_traced_memory()[0] + sum(storages.values())


@pytest.mark.parametrize("kind", ["window", "vectors"])
def test_memory_does_not_grow_with_the_file(kind: str, encode: Encode, tmp_path: Path) -> None:
    width, height, count = 320, 192, 40
    plain = clip(encode, "plain.mp4", "-pix_fmt", "yuv420p", "-bf", "2")
    long = encode(
        "enhance_long.mp4", "-c:v", "libx264", "-pix_fmt", "yuv420p", "-bf", "2",
        source=f"testsrc2=size={width}x{height}:rate=30", frames=count,
    )  # fmt: skip
    model: Any = enhance.MultiFrame(1, 2, 1, 1, 16)
    if kind == "vectors":
        model = enhance.FrameRecurrent(2, 1, None)
    seen, most = 0, 0

    def look() -> None:
        nonlocal seen, most
        seen += 1
        if seen % 10 == 1:
            most = max(most, held())

    def enhanced(source: Path) -> int:
        planes = ("mv", "ref") if kind == "vectors" else ()
        with cvdecode.VideoReader(source, planes=planes) as video:
            return command.enhance_file(
                video, source, tmp_path / "out.mp4", model, "cpu", 40, on_frame=look
            )

    enhanced(plain)  # what is imported and cached at first stays
    tracemalloc.start()
    try:
        before, seen = held(), 0
        assert enhanced(long) == count
    finally:
        tracemalloc.stop()
    assert seen == count
    # A frame is 92 kB as it comes and 246 kB as floats: all of them would be 3.7 MB and more.
    assert most - before < 8 * width * height * 4
