"""Models over a grid: clip settings, call contracts on stand-ins, evaluation, cross-evaluation."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import cvdecode
from conftest import Encode, run_ffmpeg
from cvdecode.cli import main
from cvdecode.study import clips, models
from cvdecode.study.clips import ClipSpec
from cvdecode.study.cross import cross_matrix, fine_tuned, matrix_of, on_grid
from cvdecode.study.errors import StudyError, ToolMissing
from cvdecode.study.evaluate import ORIGINAL, evaluate, read_labels
from cvdecode.study.grid import grid
from cvdecode.study.models import MODELS, PRESETS, Model
from cvdecode.study.records import read_lines
from cvdecode.study.transcode import transcode


def test_study_needs_numpy_alone() -> None:
    """Every module imports without torch, Pillow and matplotlib, which single functions ask for."""
    folder = Path(cvdecode.__file__).parent / "study"
    names = [f"cvdecode.study.{p.stem}" for p in folder.glob("*.py") if p.stem != "__init__"]
    code = f"import sys, {', '.join(names)}; print(*sys.modules)"
    environment = os.environ | {"PYTHONPATH": str(folder.parents[1])}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, check=True, capture_output=True, text=True
    )
    loaded = {name.split(".")[0] for name in done.stdout.split()}
    assert not loaded & {"torch", "torchmetrics", "PIL", "matplotlib", "transformers", "rich"}


# Clip settings


def test_presets_are_table_1() -> None:
    table = {
        "x3d_xs": (181, 160, 4, 12),
        "x3d_s": (181, 160, 13, 6),
        "x3d_m": (256, 224, 16, 5),
        "slowfast": (256, 224, 32, 2),
        "r50_3d": (256, 224, 8, 8),
        "timesformer": (256, 224, 8, 32),
        "video_swin": (256, 224, 32, 2),
    }
    for name, numbers in table.items():
        spec = PRESETS[name]
        assert (spec.short_side, spec.crop, spec.frames, spec.stride) == numbers
    assert PRESETS["slowfast"].layout == "slowfast"
    assert PRESETS["slowfast"].alpha == 4
    assert {n for n, s in PRESETS.items() if s.layout == "btchw"} == {"timesformer", "videomae"}


def test_frames_start_at_0_and_repeat_the_last() -> None:
    spec = ClipSpec(16, 16, 4, 5)
    assert clips.frame_indices(spec, 100) == [0, 5, 10, 15]
    assert clips.frame_indices(spec, 12) == [0, 5, 10, 11]
    assert clips.frame_indices(spec, 1) == [0, 0, 0, 0]


def test_load_gives_the_frames_named(encode: Encode) -> None:
    source = "testsrc2=size=64x48:rate=25"
    path = encode("study_models.mp4", "-c:v", "libx264", "-bf", "2", frames=9, source=source)
    spec = ClipSpec(16, 16, 4, 3)
    with cvdecode.VideoReader(path, planes=(), rgb="all") as video:
        expected = video.get_frames_at([0, 3, 6, 8]).rgb
    assert np.array_equal(clips.load(path, spec), expected)


def test_resize_is_torch_interpolate() -> None:
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(1)
    frames = rng.integers(0, 256, (2, 3, 37, 52), np.uint8)
    for size in ((20, 33), (64, 80), (37, 52), (1, 1)):
        theirs = torch.nn.functional.interpolate(
            torch.tensor(frames).float(), size=size, mode="bilinear", align_corners=False
        )
        assert np.allclose(clips.resize(frames, *size), theirs.numpy(), atol=1e-3)


def test_preprocess_by_hand() -> None:
    assert clips.short_side_size(256, 340, 181) == (181, 240)  # 240.4
    assert clips.short_side_size(340, 256, 181) == (240, 181)
    spec = ClipSpec(4, 2, 1, 1, mean=(0.5, 0.5, 0.5), std=(0.25, 0.5, 1.0))
    rgb = np.zeros((1, 3, 4, 6), np.uint8)
    rgb[:, :, 1:3, 2:4] = 255  # exactly the crop at the centre
    out = clips.preprocess(rgb, spec)
    assert out.shape == (3, 1, 2, 2)
    assert [np.unique(channel).tolist() for channel in out] == [[2], [1], [0.5]]


# Call contracts, on stand-ins


def shapes(batch: Any) -> Any:
    return [b.shape for b in batch] if isinstance(batch, list) else batch.shape


def test_layouts_are_those_of_the_models() -> None:
    wanted = {
        "x3d_m": (2, 3, 16, 224, 224),
        "slowfast": [(2, 3, 8, 224, 224), (2, 3, 32, 224, 224)],
        "timesformer": (2, 8, 3, 224, 224),
        "videomae": (2, 16, 3, 224, 224),
        "video_swin": (2, 3, 32, 224, 224),
    }
    for name, shape in wanted.items():
        spec = PRESETS[name]
        frame = np.arange(spec.frames, dtype=np.float32)[None, :, None, None]
        clip = np.broadcast_to(frame, (3, spec.frames, spec.crop, spec.crop))
        batch = clips.pack([clip, clip], spec)
        assert shapes(batch) == shape
        if name == "slowfast":  # the slow path: linspace over the clip, cut off to whole numbers
            assert batch[0][0, 0, :, 0, 0].tolist() == [0, 4, 8, 13, 17, 22, 26, 31]
        if name == "timesformer":
            assert batch[1, :, 0, 0, 0].tolist() == list(range(8))


def test_torch_stand_ins() -> None:
    torch = pytest.importorskip("torch")

    class SlowFast(torch.nn.Module):  # type: ignore[misc, name-defined]
        def forward(self, x: list[Any]) -> Any:
            assert [t.shape[2] for t in x] == [8, 32]
            assert not torch.is_grad_enabled()
            assert not self.training
            return torch.stack([x[0].mean((1, 2, 3, 4)), x[1].mean((1, 2, 3, 4))], 1)

    class Output:
        def __init__(self, logits: Any) -> None:
            self.logits = logits

    class TimeSformer(torch.nn.Module):  # type: ignore[misc, name-defined]
        def forward(self, x: Any) -> Any:
            assert x.shape[1:3] == (8, 3)
            return Output(x.mean((3, 4)).sum(1))

    for spec, module, classes in (
        (ClipSpec(8, 8, 32, 2, "slowfast"), SlowFast(), 2),
        (ClipSpec(8, 8, 8, 32, "btchw"), TimeSformer(), 3),
    ):
        model = Model("stand-in", spec, models.torch_call(module))
        batch = clips.pack([np.ones((3, spec.frames, 8, 8), np.float32)] * 2, spec)
        assert model.scores(batch).shape == (2, classes)


@pytest.mark.parametrize("wrong", [np.zeros(4), np.zeros((3, 2)), np.full((2, 2), np.nan)])
def test_wrong_scores_are_named(wrong: np.ndarray) -> None:
    model = Model("odd", ClipSpec(8, 8, 1, 1), lambda batch: wrong)
    with pytest.raises(StudyError, match="odd gave scores"):
        model.scores(np.zeros((2, 3, 1, 8, 8)))


def test_transformers_models_run() -> None:
    """The true libraries, at a size that takes no time, behind the contract of the full size."""
    pytest.importorskip("torch")
    transformers = pytest.importorskip("transformers")
    for kind in ("Timesformer", "VideoMAE"):
        size = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
        config = getattr(transformers, f"{kind}Config")(
            image_size=32, patch_size=16, num_frames=4, intermediate_size=32, num_labels=5, **size
        )
        module = getattr(transformers, f"{kind}ForVideoClassification")(config)
        spec = ClipSpec(32, 32, 4, 2, "btchw")
        model = Model(kind, spec, models.torch_call(module))
        batch = clips.pack([np.ones((3, 4, 32, 32), np.float32)] * 2, spec)
        assert model.scores(batch).shape == (2, 5)


def test_models_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["study", "models", "--json"]) == 0
    rows = {r["model"]: r for r in json.loads(capsys.readouterr().out)}
    assert rows["x3d_m"]["state"] == "untested"
    assert rows["timesformer"]["state"] == "tested"
    for name, entry in MODELS.items():
        if not entry.imports:
            with pytest.raises(ToolMissing, match=entry.library):
                models.build(name)
    with pytest.raises(StudyError, match="no model"):
        models.build("nonsense")


# Evaluation


def brightness(batch: np.ndarray) -> np.ndarray:
    """Class 1 where the clip is bright, with a margin that depends on it."""
    level = batch.mean(axis=(1, 2, 3, 4))
    return np.stack([-level, level], 1)


def make_brightness(weights: str | None) -> Any:
    """Named on the command line of a test below."""
    return Model("brightness", ClipSpec(16, 16, 2, 2), brightness)


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> tuple[list[tuple[str, str]], Path, Path]:
    """(sources, grid, labels): two dark clips of class dark, two bright; c1 is labelled wrong."""
    root = tmp_path_factory.mktemp("study_models")
    sources = []
    for n, level in enumerate(("0x202020", "0x303030", "0xd0d0d0", "0xe0e0e0")):
        path = root / "in" / f"c{n}.mkv"
        path.parent.mkdir(exist_ok=True)
        run_ffmpeg(
            *["-f", "lavfi", "-i", f"color={level}:size=32x32:rate=25", "-frames:v", "4"],
            *["-c:v", "ffv1", str(path)],
        )
        sources.append((str(path), f"c{n}"))
    labels = root / "labels.csv"
    labels.write_text("path,label\nc0.mkv,dark\nc1.mkv,bright\nc2.mkv,bright\nc3.mkv,bright\n")
    transcode(sources, grid("h264", "crf", [20, 40]), root / "grid")
    return sources, root / "grid", labels


def test_labels(study: tuple[Any, Path, Path], tmp_path: Path) -> None:
    found, classes = read_labels(study[2], ["c0", "c1", "other"])
    assert found == {"c0": 1, "c1": 0}
    assert classes == ["bright", "dark"]
    numbers = tmp_path / "n.csv"
    numbers.write_text("path,label\nx/a.mp4,7\nb.mp4,0\n")
    assert read_labels(numbers, ["x/a", "b"]) == ({"x/a": 7, "b": 0}, [str(n) for n in range(8)])
    with pytest.raises(StudyError, match="no clip"):
        read_labels(numbers, ["a"])
    numbers.write_text("file,label\n")
    with pytest.raises(StudyError, match="columns"):
        read_labels(numbers, ["a"])


def run_evaluation(
    study: tuple[Any, Path, Path], out: Path, predict: Any = None
) -> list[dict[str, Any]]:
    sources, folder, _ = study
    return evaluate(
        predict or make_brightness(None),
        folder,
        {"c0": 0, "c1": 1, "c2": 1, "c3": 1},
        out,
        name="brightness",
        originals=sources,
        classes=["dark", "bright"],
        batch=3,
        seed=7,
        command="as typed",
    )


def test_evaluation_of_a_grid(study: tuple[Any, Path, Path], tmp_path: Path) -> None:
    out = tmp_path / "e.jsonl"
    cells = {c["setting"]: c for c in run_evaluation(study, out)}
    assert set(cells) == {ORIGINAL, "h264-crf20-g12-medium", "h264-crf40-g12-medium"}
    for cell in cells.values():
        assert cell["clips"] == 4
        assert cell["top1"] == 0.75, "c1 is dark and called bright"
        assert cell["top5"] == 1
        assert cell["class_top1"] == {"0": 1.0, "1": pytest.approx(2 / 3)}
    assert cells["h264-crf20-g12-medium"]["mean_qp"] > 0
    assert "class_bits_per_frame" in cells["h264-crf20-g12-medium"]
    assert "mean_qp" not in cells[ORIGINAL]
    lines = read_lines(out)
    assert lines[0]["seed"] == 7
    assert lines[0]["command"] == "as typed"
    assert lines[0]["versions"]["cvdecode"] == cvdecode.__version__
    clip = next(r for r in lines if r["kind"] == "clip" and r["setting"] == ORIGINAL)
    level = float((np.float32(0x20 / 255) - 0.45) / 0.225)  # decoded exactly: ffv1
    assert clip["log_loss"] == pytest.approx(np.log1p(np.exp(2 * level)), rel=0.05)


def test_evaluation_goes_on_where_it_stopped(study: tuple[Any, Path, Path], tmp_path: Path) -> None:
    whole, part = tmp_path / "whole.jsonl", tmp_path / "part.jsonl"
    run_evaluation(study, whole)
    seen: list[int] = []

    def dying(paths: Any) -> Any:
        seen.append(len(paths))
        if sum(seen) > 6:
            raise KeyboardInterrupt
        return make_brightness(None).prepare(paths)

    with pytest.raises(KeyboardInterrupt):
        run_evaluation(study, part, Patched(dying))
    before = len(read_lines(part))
    assert before == 1 + 6
    run_evaluation(study, part)
    assert part.read_bytes() == whole.read_bytes()
    with pytest.raises(StudyError, match="another file"):
        evaluate(make_brightness(None), study[1], {"c0": 0}, part, name="other")
    # Results from before weights were noted are those of a model without any.
    part.write_text(part.read_text().replace(', "weights": ""', ""))
    run_evaluation(study, part)
    with pytest.raises(StudyError, match="with weights"):
        evaluate(
            make_brightness(None), study[1], {"c0": 0}, part, name="brightness", weights="abc"
        )  # fmt: skip


class Patched(Model):
    """The stand-in with another loader, so that it counts as the same model."""

    def __init__(self, run: Any) -> None:
        base = make_brightness(None)
        super().__init__(base.name, base.spec, base.call)
        object.__setattr__(self, "run", run)

    def prepare(self, paths: Any) -> Any:
        return self.run(paths)  # type: ignore[attr-defined]


def test_cells_can_be_evaluated_one_by_one(study: tuple[Any, Path, Path], tmp_path: Path) -> None:
    whole, part = tmp_path / "whole.jsonl", tmp_path / "part.jsonl"
    run_evaluation(study, whole)
    sources, folder, _ = study
    for setting in (ORIGINAL, "h264-crf40-g12-medium", "h264-crf20-g12-medium"):
        cells = evaluate(
            make_brightness(None),
            folder,
            {"c0": 0, "c1": 1, "c2": 1, "c3": 1},
            part,
            name="brightness",
            originals=sources,
            settings=[setting],
            classes=["dark", "bright"],
            seed=7,
            command="as typed",
        )
        assert [c["setting"] for c in cells] == [setting]
    assert part.read_bytes() == whole.read_bytes()
    with pytest.raises(StudyError, match="no cell"):
        evaluate(make_brightness(None), folder, {"c0": 0}, part, name="b", settings=["x"])


def test_a_bad_clip_is_one_line(study: tuple[Any, Path, Path], tmp_path: Path) -> None:
    def picky(paths: Any) -> Any:
        if any("c2" in str(p) for p in paths):
            raise cvdecode.CorruptStream("c2 is broken")
        return make_brightness(None).prepare(paths)

    cells = run_evaluation(study, tmp_path / "e.jsonl", Patched(picky))
    assert {(c["clips"], c["failed"]) for c in cells} == {(3, 1)}
    assert cells[0]["top1"] == pytest.approx(2 / 3)
    failed = [r for r in read_lines(tmp_path / "e.jsonl") if r["kind"] == "failed"]
    assert {r["error"] for r in failed} == {"c2 is broken"}


def test_evaluate_on_the_command_line(
    study: tuple[Any, Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sources, folder, labels = study
    code = main(
        [
            *["study", "evaluate", "test_study_models:make_brightness", str(folder)],
            *["--labels", str(labels), "--originals", str(Path(sources[0][0]).parent)],
            *["--out", str(tmp_path / "e.jsonl"), "--json"],
        ]
    )
    assert code == 0
    cells = json.loads(capsys.readouterr().out)
    assert len(cells) == 3
    assert main(["study", "evaluate", "x3d_m", str(folder), "--labels", str(labels)]) == 1
    assert "--weights" in capsys.readouterr().err


# Trained on one, tested on another


def test_cross_matrix_and_fine_tuning() -> None:
    trained: list[tuple[str, int, Any]] = []

    def train(quality: str, seed: int, start: Any = None) -> str:
        trained.append((quality, seed, start))
        return f"{start}+{quality}" if start else quality

    def test(model: str, quality: str) -> dict[str, float]:
        return {"top1": 1.0 if model.endswith(quality) else 0.5}

    rows = list(cross_matrix(train, test, ["raw", "50"], ["raw", "50"], [0, 1]))
    assert trained == [("raw", 0, None), ("50", 0, None), ("raw", 1, None), ("50", 1, None)]
    assert matrix_of(rows, "top1", ["raw", "50"], ["raw", "50"]) == [[1, 0.5], [0.5, 1]]
    assert matrix_of(rows, "top1", ["41"], ["raw"]) == [[None]]
    trained.clear()
    again = list(cross_matrix(train, test, ["raw", "50"], ["raw", "50"], [0, 1], done=rows[:5]))
    assert [r["key"] for r in again] == [r["key"] for r in rows[5:]]
    assert trained == [("raw", 1, None), ("50", 1, None)]
    trained.clear()
    rows = list(fine_tuned(train, test, ("a", "b")))
    both = {(r["trained_on"], r["tested_on"]): r["top1"] for r in rows}
    further = [("a", 0, "a"), ("b", 0, "a"), ("a", 0, "b"), ("b", 0, "b")]
    assert trained == [("a", 0, None), ("b", 0, None), *further]
    assert both["a > b", "b"] == 1
    assert both["a > b", "a"] == 0.5
    assert len(both) == 12


def test_matrix_over_a_grid(study: tuple[Any, Path, Path]) -> None:
    sources, folder, _ = study
    low, high = "h264-crf20-g12-medium", "h264-crf40-g12-medium"
    fitted: list[tuple[list[str], list[int], int]] = []

    def fit(samples: Any, seed: int, start: Any) -> Any:
        fitted.append(([Path(p).parent.name for p, _ in samples], [c for _, c in samples], seed))
        return make_brightness(None)

    train, test = on_grid(
        folder, fit, {"c0": 0, "c3": 1}, {"c1": 1, "c2": 1}, originals=sources, batch=1
    )
    rows = list(cross_matrix(train, test, [low, ORIGINAL], [low, high, ORIGINAL], [5]))
    assert fitted == [([low] * 2, [0, 1], 5), (["in"] * 2, [0, 1], 5)]
    assert {r["top1"] for r in rows} == {0.5}, "c1 is dark and called bright"
    assert {r["clips"] for r in rows} == {2}
    with pytest.raises(StudyError, match="no labelled clip"):
        train("h264-crf30-g12-medium", 0)
    with pytest.raises(ValueError, match="trained on and tested on"):
        on_grid(folder, fit, {"c0": 0}, {"c0": 0})
