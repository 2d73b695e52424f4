"""Networks by their files: of cvdecode train and study train, in grad-cam and study evaluate."""

from __future__ import annotations

import base64
import io
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import cvdecode
from conftest import run_ffmpeg
from cvdecode.cli import main
from cvdecode.study.records import read_lines

torch = pytest.importorskip("torch")
Image = pytest.importorskip("PIL.Image")

from cvdecode.recipes import checkpoint, grids, looks  # noqa: E402
from cvdecode.recipes.clip_training import Schedule  # noqa: E402


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two clips a class of 64x64, GOPs of 6; two networks after one step; a grid of one cell."""
    root = tmp_path_factory.mktemp("saved")
    lines, rows = [], ["path,label"]
    for n in range(4):
        label = ("a", "b")[n % 2]
        path = root / "in" / label / f"c{n}.mp4"
        path.parent.mkdir(parents=True, exist_ok=True)
        run_ffmpeg(
            *["-f", "lavfi", "-i", f"testsrc2=size=64x64:rate=25,hue=h={40 * n}"],
            *["-frames:v", "16", "-c:v", "libx264", "-g", "6", "-bf", "0", "-sc_threshold", "0"],
            *["-threads", "1", str(path)],
        )
        name = f"{label}/c{n}"
        rows.append(f"{name}.mp4,{label}")
        more = {"path": f"../in/{name}.mp4", "bytes": 9, "seconds": 0.64, "frames": 16}
        lines.append(json.dumps({"key": name, "setting": "x-y-z", "source": name, **more}))
    (root / "labels.csv").write_text("\n".join(rows) + "\n")
    (root / "grid").mkdir()
    (root / "grid/manifest.jsonl").write_text("\n".join(lines) + "\n")
    for recipe in ("small_coviar_i", "small_coviar_mv", "small_ttp"):
        typed = ["train", recipe, "--data", str(root / "in"), "-o", str(root / recipe)]
        changes = ["data.size=64", "data.resize=64", "train.batch_size=2", "data.test_crops=1"]
        typed += [word for change in changes for word in ("--set", change)]
        assert main([*typed, "--max-steps", "1"]) == 0
    return root


def test_map_of_a_stream_is_that_of_its_classifier(root: Path) -> None:
    """With pooling and a linear layer, Grad-CAM is the positive part of weights times features."""
    trained = checkpoint.load(root / "small_coviar_i")
    path = root / "in/a/c0.mp4"
    found = looks.looks_of_system(trained, path, lambda scores: 1)
    with cvdecode.VideoReader(path, planes=(), rgb="all") as video:
        keys = [gop.start for gop in video.gops]
        rgb = torch.from_numpy(np.array(video.get_frames_at(keys).rgb)).float() / 255
    assert len(keys) == 3
    assert torch.allclose(found.pictures, rgb, atol=1e-6), "64x64 into crops of 64: as decoded"
    mean, std = ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225])
    x = (rgb - torch.tensor(mean).view(3, 1, 1)) / torch.tensor(std).view(3, 1, 1)
    stream = trained.system.net
    with torch.no_grad():
        features = stream.backbone(x)
        scores = stream.fc(features.mean((2, 3)))
        cam = torch.einsum("k,tkhw->thw", stream.fc.weight[1], features).clamp(min=0)[:, None]
        cam = cam / cam.amax((1, 2, 3), keepdim=True).clamp(min=1e-12)
        cam = torch.nn.functional.interpolate(cam, size=(64, 64), mode="bilinear")[:, 0]
    assert found.layer == "net.backbone"
    assert found.chosen == 1
    assert torch.allclose(found.scores, scores.mean(0), atol=1e-5)
    assert torch.allclose(found.maps, cam, atol=1e-4)
    assert cam.amax() == 1, "a map of nothing would prove nothing"


@pytest.mark.parametrize(("recipe", "layer", "keys"), [
    ("small_coviar_mv", None, False), ("small_ttp", "net.mv", False), ("small_ttp", None, True),
])  # fmt: skip
def test_maps_lie_on_the_pictures_that_were_seen(
    recipe: str, layer: str | None, keys: bool, root: Path
) -> None:
    path = root / "in/b/c1.mp4"
    trained = checkpoint.load(root / recipe)
    found = looks.looks_of_system(trained, path, lambda scores: 0, layer=layer)
    # GOPs of 6, 6, 4 from 0, 6, 12; a frame of each is the seventh or the last.
    frames = [0, 6, 12] if keys else [5, 11, 15]
    with cvdecode.VideoReader(path, planes=(), rgb="all") as video:
        rgb = torch.from_numpy(np.array(video.get_frames_at(frames).rgb)).float() / 255
    assert torch.allclose(found.pictures, rgb, atol=1e-6)
    assert found.maps.shape == (3, 64, 64)
    assert found.maps.amax((1, 2)).gt(0).any()


def test_files_are_taken_by_both_commands(
    root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("matplotlib")
    labels, video = str(root / "labels.csv"), str(root / "in/a/c0.mp4")
    grids.matrix(
        "small_frames", root / "grid", {"a/c0": 0, "b/c1": 1}, {"a/c2": 0, "b/c3": 1},
        tmp_path / "run", Schedule(1, 2), trained_on=["x-y-z"], tested_on=["x-y-z"],
        classes=["a", "b"],
    )  # fmt: skip
    network = str(tmp_path / "run/networks/x-y-z_s0.pt")
    by_file, by_name = tmp_path / "file.png", tmp_path / "name.png"
    assert main(["grad-cam", network, video, "-o", str(by_file), "--label", "b"]) == 0
    typed = ["grad-cam", "small_frames", video, "--weights", network, "--label", "b"]
    assert main([*typed, "-o", str(by_name)]) == 0
    assert by_file.read_bytes() == by_name.read_bytes()

    capsys.readouterr()
    assert main(["grad-cam", network, video, video, "-o", str(by_file), "--json"]) == 0
    shares = [told["share"] for told in json.loads(capsys.readouterr().out)["videos"]]
    assert shares[0] == shares[1], "the second as the first: no dropout in between"

    page = tmp_path / "cam.html"
    assert main(["grad-cam", str(root / "small_coviar_mv"), video, "-o", str(page)]) == 0
    image = base64.b64decode(re.findall(r"base64,([A-Za-z0-9+/=]+)", page.read_text())[0])
    assert Image.open(io.BytesIO(image)).size == (3 * 128 + 2 * 4, 2 * 128 + 4)  # 64 enlarged

    # The same scores as cvdecode evaluate's, in the same classes.
    capsys.readouterr()
    whole = tmp_path / "whole.jsonl"
    out = tmp_path / "cells.jsonl"
    assert main(["evaluate", str(root / "small_coviar_mv"), "--data", str(root / "in"), "-o",
                 str(whole), "--json"]) == 0  # fmt: skip
    typed = ["study", "evaluate", str(root / "small_coviar_mv"), str(root / "grid"), "--out"]
    assert main([*typed, str(out), "--labels", labels]) == 0
    scores = read_lines(whole)[0]["clips"]
    losses = {r["source"]: r["log_loss"] for r in read_lines(out) if r["kind"] == "clip"}
    assert len(losses) == 4
    for path, logits in scores.items():
        label = "ab".index(Path(path).parent.name)
        expected = np.log(np.exp(logits).sum()) - logits[label]
        assert losses[f"{Path(path).parent.name}/{Path(path).stem}"] == pytest.approx(expected)


def test_what_is_wrong_with_a_file_is_said(
    root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    video, out = str(root / "in/a/c0.mp4"), ["-o", str(tmp_path / "x.png")]
    other = tmp_path / "other.pt"
    torch.save({"x": torch.zeros(1)}, other)
    (tmp_path / "labels.csv").write_text("path,label\na/c0.mp4,cat\nb/c1.mp4,dog\n")
    mv = str(root / "small_coviar_mv")
    evaluate = ["study", "evaluate", mv, str(root / "grid"), "--out", str(tmp_path / "e.jsonl")]
    typed: list[tuple[list[str], str]] = [
        (["grad-cam", str(root / "labels.csv"), video, *out], "is no network of cvdecode"),
        (["grad-cam", str(other), video, *out], "neither of `cvdecode train` nor of"),
        (["grad-cam", str(root), video, *out], "no such checkpoint"),
        (["grad-cam", mv, video, *out, "--weights", mv], "--weights is for names"),
        (["grad-cam", mv, video, *out, "--layer", "nose"], "no module 'nose'; some: net"),
        (["grad-cam", mv, video, *out, "--label", "c"], "no class 'c' of 2: a, b"),
        ([*evaluate, "--labels", str(tmp_path / "labels.csv")], "knows the classes a, b; the"),
    ]
    for arguments, words in typed:
        assert main(arguments) == 1
        assert words in capsys.readouterr().err, arguments


def test_results_of_other_weights_are_refused(
    root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A network that was trained on, under the name it had before."""
    run: dict[str, Any] = torch.load(root / "small_coviar_mv/checkpoint.pt", weights_only=True)
    network = tmp_path / "checkpoint.pt"
    typed = ["study", "evaluate", str(network), str(root / "grid"), "--out"]
    typed += [str(tmp_path / "e.jsonl"), "--labels", str(root / "labels.csv")]
    torch.save(run, network)
    assert main(typed) == 0
    run["system"]["net.fc.bias"] = run["system"]["net.fc.bias"] + 1
    torch.save(run, network)
    assert main(typed) == 1
    assert "holds results with weights" in capsys.readouterr().err
