"""cvdecode grad-cam: a network whose map is known beforehand, as PNG and HTML."""

from __future__ import annotations

import base64
import io
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from conftest import run_ffmpeg
from cvdecode.cli import main
from cvdecode.study.clips import ClipSpec
from cvdecode.study.models import Model

torch = pytest.importorskip("torch")
Image = pytest.importorskip("PIL.Image")


class RedOrBlue(torch.nn.Module):  # type: ignore[misc, name-defined]
    """Class 0: how much red there is, class 1: how much blue; their channels are the map."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = torch.nn.Conv2d(3, 2, 1, bias=False)
        with torch.no_grad():
            self.conv.weight[:] = torch.tensor([[1.0, 0, 0], [0, 0, 1]])[:, :, None, None]

    def forward(self, clips: Any) -> Any:
        """(1, T, 3, H, W) to (1, 2)."""
        return self.conv(clips.flatten(0, 1)).mean((2, 3)).mean(0, keepdim=True)


def make_red_or_blue(weights: str | None) -> Model:
    """Named on the command lines below."""
    spec = ClipSpec(32, 32, 3, 2, "btchw", mean=(0, 0, 0), std=(1, 1, 1))
    return Model("red or blue", spec, RedOrBlue())


def make_flat(weights: str | None) -> Model:
    class Flat(torch.nn.Module):  # type: ignore[misc, name-defined]
        def __init__(self) -> None:
            super().__init__()
            self.fc = torch.nn.Linear(3, 2)

        def forward(self, clips: Any) -> Any:
            return self.fc(clips.mean((1, 3, 4)))

    return Model("flat", ClipSpec(32, 32, 3, 2, "btchw"), Flat())


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Red left, blue right, a little more red than blue."""
    path = tmp_path_factory.mktemp("cam") / "two.mkv"
    run_ffmpeg(
        *["-f", "lavfi", "-i", "color=blue:size=32x32:rate=25,drawbox=0:0:18:32:red:fill"],
        *["-frames:v", "6", "-c:v", "ffv1", "-pix_fmt", "yuv444p", str(path)],
    )
    return path


NET = "test_grad_cam_command:make_red_or_blue"


def half_rows(sheet: Any) -> tuple[Any, Any]:
    """Means of the left and of the right end of the tile of the first map, RGB in [0, 1]."""
    size = 4 * 32  # enlarged to about 112 samples
    assert sheet.shape == (2 * size + 4, 3 * size + 2 * 4, 3), "three pictures, three maps"
    tile = sheet[size + 4 :, :size] / 255
    return tile[:, : size // 4].mean((0, 1)), tile[:, -size // 4 :].mean((0, 1))


def test_the_map_is_the_one_known(video: Path, tmp_path: Path) -> None:
    for label, left, right in (
        # Half picture, half map: red where it spoke for the class, blue where nothing did.
        ([], (1, 0, 0), (0, 0, 1)),  # red is the best class
        (["--label", "1"], (0.5, 0, 0.5), (0.5, 0, 0.5)),
    ):
        out = tmp_path / "cam.png"
        assert main(["grad-cam", NET, str(video), "-o", str(out), *label]) == 0
        found = half_rows(np.asarray(Image.open(out)))
        assert found[0] == pytest.approx(left, abs=0.03)
        assert found[1] == pytest.approx(right, abs=0.03)


def test_page_of_two_videos(
    video: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("matplotlib")
    page = tmp_path / "cam.html"
    typed = ["grad-cam", NET, str(video), str(video), "-o", str(page), "--layer", "conv", "--json"]
    assert main(typed) == 0
    said = json.loads(capsys.readouterr().out)["videos"]
    assert [v["class"] for v in said] == [0, 0]
    red, blue = 18 / 32 * 254 / 255, 14 / 32 * 254 / 255
    assert said[0]["share"] == pytest.approx(1 / (1 + np.exp(blue - red)), abs=5e-3)
    text = page.read_text()
    pictures = re.findall(r"base64,([A-Za-z0-9+/=]+)", text)
    assert len(pictures) == 2
    half_rows(np.asarray(Image.open(io.BytesIO(base64.b64decode(pictures[0])))))
    assert "map for 0" in text
    assert "http" not in re.sub(r"http://www.w3.org/\S+", "", text), "nothing is fetched"


def test_what_has_no_map_is_said(
    video: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = ["-o", str(tmp_path / "x.png")]
    for typed, words in (
        ([NET.replace("red_or_blue", "flat"), str(video), *out], "convolutional networks"),
        ([NET, str(video), *out, "--layer", "nose"], "no module 'nose'; some: conv"),
        ([NET, str(video), *out, "--label", "2"], "no class '2' of 2"),
        ([NET, str(video), "-o", "x.gif"], "a .png or .html file"),
        (["small_stack", str(video), *out], "needs --weights"),
    ):
        assert main(["grad-cam", *typed]) == 1
        assert words in capsys.readouterr().err
    assert not (tmp_path / "x.png").exists()
