"""Enhanced cells of a grid: decoded, put through a network, and judged like the rest."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from conftest import run_ffmpeg
from cvdecode.cli import enhance as files
from cvdecode.cli import main
from cvdecode.study.errors import StudyError
from cvdecode.study.manifest import load_manifest
from cvdecode.study.measures import luma_frames
from cvdecode.study.records import read_lines

torch = pytest.importorskip("torch")

from cvdecode import enhance  # noqa: E402
from cvdecode.recipes.fnet import load_flow  # noqa: E402

CELL = "h264-crf40-g12-medium"


@pytest.fixture
def grid(tmp_path: Path) -> Path:
    """Two clips that pan, a grid of one cell, and two networks whose answer is known."""
    for n in range(2):
        (tmp_path / "in").mkdir(exist_ok=True)
        run_ffmpeg(
            *["-f", "lavfi", "-i", f"testsrc2=size=160x96:rate=25,crop=64:48:{8 + n}*n:8"],
            *["-frames:v", "6", "-c:v", "libx264", "-crf", "4", "-threads", "1"],
            str(tmp_path / f"in/c{n}.mp4"),
        )
    for name, lift in (("same", 0.0), ("lifted", 10 / 255)):
        model: Any = enhance.small_enhancer("vectors")
        torch.nn.init.zeros_(model.enet.last.weight)
        torch.nn.init.constant_(model.enet.last.bias, lift)
        torch.save(enhance.checkpoint(model), tmp_path / f"{name}.pt")
    typed = ["study", "transcode", str(tmp_path / "in"), str(tmp_path / "grid"), "--crf", "40"]
    assert main([*typed, "--jobs", "1"]) == 0
    return tmp_path / "grid"


def typed(grid: Path, name: str) -> list[str]:
    return ["study", "enhance", str(grid), CELL, "--checkpoint", str(grid.parent / f"{name}.pt")]


def test_an_enhanced_cell_is_measured_and_judged(
    grid: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = grid.parent
    for name in ("same", "lifted"):
        assert main(typed(grid, name)) == 0
    assert f"{CELL}+lifted: 2 clips" in capsys.readouterr().out
    records = {(r["setting"], r["source"]): r for r in load_manifest(grid)}
    assert len(records) == 6
    for source in ("c0", "c1"):
        before = records[CELL, source]
        pictures = [
            np.stack(list(luma_frames(records[CELL + more, source]["file"], 64, 48)))
            for more in ("", "+same", "+lifted")
        ]
        assert np.array_equal(pictures[0], pictures[1]), "lossless"
        raised = np.clip(pictures[0].astype(int) + 10, 0, 255)
        assert np.array_equal(pictures[2], raised)
        after = records[f"{CELL}+lifted", source]
        for told in ("bytes", "video_bytes", "mean_qp", "macroblock_bits", "frames"):
            assert after[told] == before[told], "what was sent"

    assert main(["study", "measure", str(root / "in"), str(grid), "--json"]) == 0
    measured = {(r["setting"], r["source"]): r
                for r in json.loads(capsys.readouterr().out)["records"]}  # fmt: skip
    for source in ("c0", "c1"):
        one, two, three = (measured[CELL + m, source] for m in ("", "+same", "+lifted"))
        for name in ("mae", "psnr", "ssim", "psnr_y", "tc", "tc_known"):
            assert two[name] == one[name], name
        # A lift of all frames alike: the same motion and almost the same change from each to each.
        assert three["tc"] == pytest.approx(one["tc"], abs=0.3)
        assert three["psnr_y"] < one["psnr_y"] - 1

    (root / "labels.csv").write_text("path,label\nc0.mp4,0\nc1.mp4,1\n")
    out = root / "e.jsonl"
    judge = ["study", "evaluate", "test_study_enhance:make_brightness@x3d_xs", str(grid)]
    judge += ["--labels", str(root / "labels.csv"), "--out", str(out)]
    assert main(judge) == 0
    cells = {r["setting"]: r for r in read_lines(out) if r["kind"] == "cell"}
    assert cells[f"{CELL}+same"]["log_loss"] == cells[CELL]["log_loss"]
    assert cells[f"{CELL}+lifted"]["log_loss"] != cells[CELL]["log_loss"]
    assert cells[f"{CELL}+lifted"]["kbps"] == cells[CELL]["kbps"]
    pytest.importorskip("matplotlib")
    page = root / "p.html"
    assert main(["study", "report", str(page), str(out)]) == 0
    text = page.read_text()
    for line in ("GOP 12", "GOP 12, same", "GOP 12, lifted"):
        assert f">{line}<" in text, line


def make_brightness(weights: str | None, classes: int) -> Any:
    """Scores of two classes from how bright a clip is."""
    return lambda batch: np.stack([batch.mean((1, 2, 3, 4)), np.zeros(len(batch))], axis=1)


def test_goes_on_where_it_stopped(
    grid: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    real, made = files.enhance_file, []

    def counted(video: Any, source: Path, *more: Any) -> int:
        if len(made) == 1:
            raise KeyboardInterrupt
        made.append(source.stem)
        return real(video, source, *more)

    monkeypatch.setattr(files, "enhance_file", counted)
    assert main(typed(grid, "lifted")) == 130
    assert [r["source"] for r in read_lines(grid / "manifest.jsonl") if r.get("enhanced")] == ["c0"]
    assert not list(grid.rglob("*.part*"))
    kept = (grid / f"{CELL}+lifted/c0.mp4").read_bytes()
    made.append("room for one more")
    (grid / f"{CELL}+lifted/..c1.77.part.77.mp4").write_bytes(b"of a run that was killed")
    assert main(typed(grid, "lifted")) == 0
    assert not list(grid.rglob("*.part*"))
    assert made == ["c0", "room for one more", "c1"]
    assert (grid / f"{CELL}+lifted/c0.mp4").read_bytes() == kept
    manifest = (grid / "manifest.jsonl").read_bytes()
    assert main(typed(grid, "lifted")) == 0
    assert made[-1] == "c1", "nothing left to do"
    assert (grid / "manifest.jsonl").read_bytes() == manifest

    # Another network under the same name: made again, in the place of the first.
    (grid.parent / "lifted.pt").write_bytes((grid.parent / "same.pt").read_bytes())
    assert main(typed(grid, "lifted")) == 0
    assert len(made) == 5
    assert len(read_lines(grid / "manifest.jsonl")) == 4


def test_what_cannot_be_enhanced_is_said(grid: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (grid / CELL / "c0.mp4").write_bytes(b"no video")
    assert main(typed(grid, "same")) == 1
    said = capsys.readouterr().out
    assert "1 clips" in said
    assert "c0" in said
    assert main([*typed(grid, "same")[:3], "h264-crf1-g1-x", *typed(grid, "same")[4:]]) == 1
    assert f"has no cell h264-crf1-g1-x; it has {CELL}" in capsys.readouterr().err
    assert main([*typed(grid, "same"), "--name", "a/b"]) == 1
    assert "is no name" in capsys.readouterr().err
    with pytest.raises(StudyError, match="manifest"):
        load_manifest(grid / "nowhere")


def test_measured_by_the_flow_of_a_checkpoint(
    grid: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """An FNet whose answer is known: three samples to the right, a half up."""
    model: Any = enhance.small_enhancer("recurrent", 48)
    last = model.fnet.flow[2]
    torch.nn.init.zeros_(last.weight)
    with torch.no_grad():
        last.bias.copy_(torch.atanh(torch.tensor([3 / 24, -0.5 / 24])))
    path = grid.parent / "net.pt"
    torch.save(enhance.checkpoint(model), path)
    flow = load_flow(path)(np.zeros((20, 30), np.uint8), np.zeros((20, 30), np.uint8))
    assert flow.shape == (2, 20, 30)
    assert flow[0] == pytest.approx(3, abs=1e-4)
    assert flow[1] == pytest.approx(-0.5, abs=1e-4)

    measure = ["study", "measure", str(grid.parent / "in"), str(grid), "--flow"]
    assert main([*measure, str(path)]) == 0
    assert "FNet of net.pt" in " ".join(capsys.readouterr().out.split())
    lines = read_lines(grid / "measures.jsonl")
    assert lines[0]["flow"].startswith("FNet of net.pt (")
    assert all("tc_flow" in r and "tc" in r for r in lines[1:])
    pytest.importorskip("matplotlib")
    page = grid.parent / "p.html"
    assert main(["study", "report", str(page), str(grid / "measures.jsonl")]) == 0
    assert f"TC by {lines[0]['flow']}, dB" in page.read_text()
    assert main([*measure, str(grid.parent / "same.pt")]) == 1
    assert "has no FNet" in capsys.readouterr().err
    assert main([*measure, str(grid / "manifest.jsonl")]) == 1
    assert "is no checkpoint" in capsys.readouterr().err
