"""Networks trained on one cell of a grid and tested on another, from the command line."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from conftest import run_ffmpeg
from cvdecode.cli import main
from cvdecode.study import clips
from cvdecode.study.clips import ClipSpec
from cvdecode.study.errors import StudyError
from cvdecode.study.evaluate import read_labels
from cvdecode.study.grid import short_names
from cvdecode.study.models import Model
from cvdecode.study.records import read_lines
from cvdecode.study.splits import read_split

torch = pytest.importorskip("torch")

from cvdecode.recipes import clip_training, grids  # noqa: E402

LOW, HIGH = "h264-crf20-g12-medium", "h264-crf40-g12-medium"


class Level(torch.nn.Module):  # type: ignore[misc, name-defined]
    """Scores from the mean of each channel."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.drop = torch.nn.Dropout(0.1)
        self.fc = torch.nn.Linear(3, classes)

    def forward(self, x: Any) -> Any:
        return self.fc(self.drop(x.mean((2, 3, 4))))


def make_level(weights: str | None, classes: int) -> Model:
    """Named on the command lines below."""
    net = Level(classes)
    if weights:
        net.load_state_dict(torch.load(weights, weights_only=True)["model_state"])
    return Model("level", ClipSpec(16, 16, 2, 2), net)


def make_one_score(weights: str | None) -> Model:
    return Model("one", ClipSpec(16, 16, 2, 2), Level(1))


def make_function(weights: str | None) -> Model:
    return Model("function", ClipSpec(16, 16, 2, 2), lambda batch: batch.mean((2, 3, 4)))


NET = "test_study_train:make_level"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Ten clips, dark or bright, and a grid of two cells; in HIGH dark and bright are swapped."""
    root = tmp_path_factory.mktemp("study_train")
    (root / "in").mkdir()
    rows = ["path,label"]
    manifest = []
    for n in range(10):
        level = 20 + 5 * n if n % 2 else 230 - 5 * n
        for name in (f"in/c{n}.mkv", f"inverse/c{n}.mkv"):
            (root / name).parent.mkdir(exist_ok=True)
            grey = f"{level if name[:3] == 'in/' else 255 - level:02x}" * 3
            run_ffmpeg(
                *["-f", "lavfi", "-i", f"color=0x{grey}:size=32x32:rate=25", "-frames:v", "4"],
                *["-c:v", "ffv1", str(root / name)],
            )
        rows.append(f"c{n}.mkv,{'dark' if n % 2 else 'bright'}")
        for setting, where in ((LOW, "in"), (HIGH, "inverse")):
            line = {"setting": setting, "source": f"c{n}", "path": f"../{where}/c{n}.mkv"}
            line |= {"bytes": 100, "seconds": 0.16, "frames": 4}
            manifest.append(json.dumps({"key": f"{setting}{n}", **line}))
    (root / "labels.csv").write_text("\n".join(rows) + "\n")
    (root / "grid").mkdir()
    (root / "grid" / "manifest.jsonl").write_text("\n".join(manifest) + "\n")
    return root


def typed(folder: Path, out: Path, *more: str) -> list[str]:
    return [
        *["study", "train", NET, str(folder / "grid"), "--labels", str(folder / "labels.csv")],
        *["--out", str(out), "--epochs", "5", "--batch", "4", "--lr", "0.3", "--jobs", "1", *more],
    ]


def test_matrix_over_cells(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("matplotlib")
    out = tmp_path / "run"
    both = ["--originals", str(folder / "in"), "--pretrain", f"{LOW},{HIGH}", "--seeds", "0,1"]
    assert main([*typed(folder, out, *both), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    cross = {(r["trained_on"], r["tested_on"], r["seed"]): r for r in found if r["kind"] == "cross"}
    alike = {"original": 0, LOW: 0, HIGH: 1}
    assert len(cross) == 3 * 3 * 2
    for (trained, tested, _), r in cross.items():
        assert r["clips"] == 2
        # What is dark in one cell is bright in the other.
        assert r["top1"] == (alike[trained] == alike[tested]), (trained, tested)
    tuned = {(r["trained_on"], r["tested_on"]): r["top1"] for r in found if r["kind"] != "cross"}
    assert len(tuned) == 12
    for first in (LOW, HIGH):
        assert tuned[f"{first} > {LOW}", LOW] == tuned[f"{first} > {HIGH}", HIGH] == 1, (
            "what came last"
        )
    lines = read_lines(out / "matrix.jsonl")
    head = lines[0]
    assert head["train"] == 8
    assert head["versions"]["torch"] == torch.__version__
    networks = {r["key"]: r for r in lines if r["kind"] == "network"}
    assert len(networks) == (3 + 4) * 2
    first = networks[f"network|{LOW}|0"]
    assert len(first["losses"]) == 5
    assert first["losses"][-1] < first["losses"][0]

    before = (out / "matrix.jsonl").read_bytes()
    assert main(typed(folder, out, *both)) == 0
    assert "crf20" in capsys.readouterr().out
    assert (out / "matrix.jsonl").read_bytes() == before, "nothing left to do"

    # A network that stayed is what evaluate takes.
    typed_too = ["study", "evaluate", NET, str(folder / "grid"), "--weights"]
    typed_too += [str(out / first["file"]), "--labels", str(folder / "labels.csv"), "--json"]
    assert main([*typed_too, "--out", str(tmp_path / "e.jsonl")]) == 0
    cells = {c["setting"]: c["top1"] for c in json.loads(capsys.readouterr().out)}
    assert cells == {LOW: 1, HIGH: 0}

    page = tmp_path / "page.html"
    assert main(["study", "report", str(page), str(out / "matrix.jsonl")]) == 0
    text = page.read_text()
    for part in ("Trained on one, tested on another", "Fine-tuned", "cells h264-*-g12-medium",
                 "8 to learn from, 2 to test on", "mean over seeds 0, 1"):  # fmt: skip
        assert part in text, part
    assert "no command noted" not in text

    with pytest.raises(StudyError, match="schedule"):
        grids.matrix(
            NET, folder / "grid", {"c0": 1, "c1": 0}, {"c2": 1}, out, clip_training.Schedule(),
            trained_on=[LOW], tested_on=[LOW], classes=["bright", "dark"],
        )  # fmt: skip


def test_killed_and_resumed_gives_the_same_bytes(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    step = int(np.random.default_rng().integers(1, 20))  # of 20: 2 networks, 5 epochs of 2 steps
    arguments = typed(folder, Path("run"), "--test", LOW)
    code = f"""
import os, signal, sys
from cvdecode.recipes import clip_training
done, real = [0], clip_training._step
def dying(*arguments):
    done[0] += 1
    if done[0] > {step}:
        os.kill(os.getpid(), signal.SIGKILL)
    return real(*arguments)
clip_training._step = dying
from cvdecode.cli import main
sys.argv = ["cvdecode", *{arguments!r}]
main()
"""
    roots = [str(Path(clips.__file__).parents[2]), str(Path(__file__).parent)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(roots), "OMP_NUM_THREADS": "1"}
    broken, calm = tmp_path / "a", tmp_path / "b"
    for place in (broken, calm):
        place.mkdir()
    run = subprocess.run([sys.executable, "-c", code], cwd=broken, env=environment, check=False)
    assert run.returncode == -signal.SIGKILL
    monkeypatch.setattr(sys, "argv", ["cvdecode", *arguments])
    for place in (broken, calm):
        monkeypatch.chdir(place)
        assert main(arguments) == 0
    kept = [(place / "run" / "matrix.jsonl").read_bytes() for place in (broken, calm)]
    assert kept[0] == kept[1], f"killed at step {step}"
    networks = [
        {f.name: torch.load(f, weights_only=True) for f in (place / "run/networks").iterdir()}
        for place in (broken, calm)
    ]
    assert set(networks[0]) == set(networks[1]) == {f"{LOW}_s0.pt", f"{HIGH}_s0.pt"}
    for name, one in networks[0].items():
        other = networks[1][name]
        assert one["losses"] == other["losses"]
        for key, weight in one["model_state"].items():
            assert torch.equal(weight, other["model_state"][key]), f"killed at step {step}"


def test_clips_that_cannot_be_read_are_reported_and_left_out(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A training clip cut to nonsense, another that breaks off, one to test on that is gone."""
    root = tmp_path / "copy"
    shutil.copytree(folder, root)
    labels, _ = read_labels(root / "labels.csv", [f"c{n}" for n in range(10)])
    learn, held = (sorted(side) for side in read_split(root / "labels.csv", labels))
    (root / f"in/{learn[0]}.mkv").write_bytes(b"no video")
    (root / f"in/{held[0]}.mkv").unlink()
    out = tmp_path / "out"
    assert main([*typed(root, out, "--seeds", "0,1"), "--json"]) == 1
    found = json.loads(capsys.readouterr().out)
    failed = [(r["setting"], r["source"]) for r in found if r["kind"] == "failed"]
    assert failed == [(LOW, learn[0]), (LOW, held[0])]
    lines = read_lines(out / "matrix.jsonl")
    for r in lines:
        if r["kind"] == "network":
            bad = r["trained_on"] == LOW
            assert (r["clips"], r.get("left_out")) == ((7, [learn[0]]) if bad else (8, None))
        elif r["kind"] == "cross":
            bad = r["tested_on"] == LOW
            assert (r["clips"], r.get("left_out")) == ((1, [held[0]]) if bad else (2, None))
    assert sum(r["kind"] == "cross" for r in lines) == 8, "the rest went on"
    before = (out / "matrix.jsonl").read_bytes()
    assert main(typed(root, out, "--seeds", "0,1")) == 1, "and is said again"
    said = capsys.readouterr().out
    assert "left out" in said
    assert learn[0] in said
    assert (out / "matrix.jsonl").read_bytes() == before

    pytest.importorskip("matplotlib")
    assert main(["study", "report", str(tmp_path / "p.html"), str(out / "matrix.jsonl")]) == 0
    assert f"left out: {learn[0]}, {held[0]}" in (tmp_path / "p.html").read_text()

    # What came out is what comes out of a grid that never had them.
    kept = [
        line
        for line in (root / "grid/manifest.jsonl").read_text().splitlines()
        if (r := json.loads(line))["setting"] != LOW or r["source"] not in (learn[0], held[0])
    ]
    (root / "grid/manifest.jsonl").write_text("\n".join(kept) + "\n")
    assert main(typed(root, tmp_path / "never", "--seeds", "0,1")) == 0
    never = {r["key"]: r for r in read_lines(tmp_path / "never/matrix.jsonl")}
    for r in lines:
        for field in ("losses", "log_loss", "clips", "left_out"):
            if r["kind"] in ("network", "cross"):
                assert r.get(field) == never[r["key"]].get(field), (r["key"], field)

    for name in learn:
        (root / f"in/{name}.mkv").write_bytes(b"no video")
    assert main(typed(root, tmp_path / "none", "--train", LOW)) == 1
    assert "none of 7 clips can be read" in capsys.readouterr().err


def test_a_clip_that_breaks_off_is_left_out_of_the_whole_training(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It can be read from its start, and is met in the third epoch."""
    real = clips.load
    reads = []

    def load(path: str, spec: ClipSpec, at: float = 0.0) -> Any:
        if path.endswith("/c0.mkv"):
            reads.append(at)
            if len(reads) == 3:
                raise OSError("broken off")
        return real(path, spec, at)

    def run(out: str, learn: dict[str, int]) -> Any:
        records = grids.matrix(
            NET, folder / "grid", learn, {"c8": 0, "c9": 1}, tmp_path / out,
            clip_training.Schedule(epochs=4, batch=2), trained_on=[LOW], tested_on=[LOW],
            classes=["bright", "dark"],
        )  # fmt: skip
        return {r["kind"]: r for r in records}

    learn = {f"c{n}": n % 2 for n in range(6)}
    monkeypatch.setattr(clips, "load", load)
    found = run("broken", learn)
    assert "broken off" in found["failed"]["error"]
    calm = run("calm", {name: c for name, c in learn.items() if name != "c0"})
    assert found["network"]["left_out"] == ["c0"]
    assert found["network"]["losses"] == calm["network"]["losses"]
    assert found["cross"]["log_loss"] == calm["cross"]["log_loss"]


def test_a_full_disk_keeps_what_is_finished(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file system of 48 KiB, mounted for one process and gone with it."""
    disk, kept, calm = (tmp_path / name for name in ("disk", "kept", "calm"))
    disk.mkdir()
    arguments = typed(folder, Path("run"), "--test", LOW, "--seeds", "0,1,2,3,4,5,6,7")
    words = " ".join(f"'{c}'" for c in (sys.executable, "-m", "cvdecode.cli", *arguments))
    script = tmp_path / "run.sh"
    script.write_text(
        f"mount -t tmpfs -o size=48k none {disk} || exit 77\ncd {disk}\n{words}\n"
        f"code=$?; cp -r {disk} {kept}; exit $code\n"
    )
    roots = [str(Path(clips.__file__).parents[2]), str(Path(__file__).parent)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(roots), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        ["unshare", "-rm", "sh", str(script)], env=environment, capture_output=True, text=True
    )
    if done.returncode == 77 or "unshare" in done.stderr:
        pytest.skip(f"no small file system can be mounted here: {done.stderr}")
    assert done.returncode == 1, done.stderr
    assert "the disk that holds run" in done.stderr
    assert "free space and run the same command again" in done.stderr
    assert not list(kept.rglob("*.part"))
    finished = [r for r in read_lines(kept / "run/matrix.jsonl") if r["kind"] == "cross"]
    assert 0 < len(finished) < 16
    networks = {f.name: f.read_bytes() for f in (kept / "run/networks").glob("*.pt")}
    assert len(networks) >= len(finished)

    calm.mkdir()
    monkeypatch.setattr(sys, "argv", ["python", *arguments])
    for place in (kept, calm):
        monkeypatch.chdir(place)
        assert main(arguments) == 0
    for name, content in networks.items():
        assert (kept / "run/networks" / name).read_bytes() == content, "not trained again"
    lines = [(place / "run/matrix.jsonl").read_text().splitlines()[1:] for place in (kept, calm)]
    assert lines[0] == lines[1]


def test_what_cannot_be_trained_is_said(folder: Path, tmp_path: Path) -> None:
    def run(model: str, **more: Any) -> Any:
        given = {"trained_on": [LOW], "tested_on": [LOW], "classes": ["a", "b"], **more}
        return grids.matrix(
            model, folder / "grid", {"c0": 0, "c1": 1}, {"c2": 0, "c3": 1}, tmp_path / "out",
            clip_training.Schedule(epochs=1), **given,
        )  # fmt: skip

    with pytest.raises(StudyError, match="no torch module"):
        run("test_study_train:make_function")
    with pytest.raises(StudyError, match="no labelled clip with the setting 'x'"):
        run(NET, trained_on=["x"])
    with pytest.raises(StudyError, match="none of the 1 sources has a label"):
        run(NET, trained_on=["original"], originals=[("x.mp4", "x")])
    with pytest.raises(StudyError, match=r"shape \(2, 1\); \(2, 2\) is wanted"):
        run("test_study_train:make_one_score")
    with pytest.raises(StudyError, match="no model"):
        run("nonsense")
    with pytest.raises(ValueError, match="trained on and tested on"):
        grids.matrix(
            NET, folder / "grid", {"c0": 0}, {"c0": 0}, tmp_path / "out",
            clip_training.Schedule(), trained_on=[LOW], tested_on=[LOW], classes=["a", "b"],
        )  # fmt: skip


def test_weights_that_fit_are_taken(tmp_path: Path) -> None:
    _, six, left = clip_training.network("small_frames", None, 6)
    assert left == []
    torch.save({"model_state": six.state_dict()}, tmp_path / "six.pt")
    _, two, left = clip_training.network("small_frames", str(tmp_path / "six.pt"), 2)
    assert left == ["net.fc.bias", "net.fc.weight"], "the classifier of other classes is not"
    for name, weight in two.state_dict().items():
        assert torch.equal(weight, six.state_dict()[name]) == (name not in left)
    torch.save({"x": torch.zeros(1)}, tmp_path / "other.pt")
    with pytest.raises(StudyError, match="no weight in it fits small_frames"):
        clip_training.network("small_frames", str(tmp_path / "other.pt"), 2)


def test_pretrained_transformers_get_a_classifier_of_the_new_classes(tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers")
    config = transformers.TimesformerConfig(
        image_size=32, patch_size=16, num_frames=4, hidden_size=32, num_hidden_layers=1,
        num_attention_heads=2, intermediate_size=32, num_labels=5,
    )  # fmt: skip
    five = transformers.TimesformerForVideoClassification(config)
    five.save_pretrained(tmp_path / "five")
    _, two, left = clip_training.network("timesformer", str(tmp_path / "five"), 2)
    assert two(torch.zeros(1, 4, 3, 32, 32)).logits.shape == (1, 2)
    assert left == ["classifier.bias", "classifier.weight"]
    key = "timesformer.embeddings.cls_token"
    assert torch.equal(two.state_dict()[key], five.state_dict()[key])


@pytest.mark.parametrize("kind", ["adam", "sgd"])
def test_steps_by_hand(kind: str, folder: Path, tmp_path: Path) -> None:
    class Plain(torch.nn.Module):  # type: ignore[misc, name-defined]
        def __init__(self) -> None:
            super().__init__()
            self.fc = torch.nn.Linear(3, 2)

        def forward(self, x: Any) -> Any:
            return self.fc(x.mean((2, 3, 4)))

    torch.manual_seed(0)
    spec, net = ClipSpec(16, 16, 2, 2), Plain()
    path = str(folder / "in/c0.mkv")
    level = clips.preprocess(clips.load(path, spec), spec).mean((1, 2, 3)).astype(np.float64)
    x = np.append(level, 1)  # the bias is the weight of a 1
    w = np.concatenate([net.fc.weight.detach(), net.fc.bias.detach()[:, None]], 1).astype(float)
    schedule = clip_training.Schedule(epochs=4, lr=0.1, optimiser=kind)
    made_of = {"classes": 2, "model": "plain"}
    clip_training.fit(net, spec, [(path, 1)], schedule, 0, state=tmp_path / "s", made_of=made_of)
    first = second = np.zeros_like(w)
    dummy = torch.optim.SGD([torch.zeros(1, requires_grad=True)], 0.1)
    cycle = torch.optim.lr_scheduler.OneCycleLR(dummy, 0.1, 4, cycle_momentum=False)
    for step in (1, 2, 3, 4):
        rate = cycle.get_last_lr()[0]
        scores = w @ x
        share = np.exp(scores - scores.max()) / np.exp(scores - scores.max()).sum()
        slope = np.outer(share - [0, 1], x)
        slope = slope * min(1, 5 / np.linalg.norm(slope)) + 5e-5 * w
        if kind == "sgd":
            first = 0.9 * first + slope
            w = w - rate * first
        else:
            first, second = 0.9 * first + 0.1 * slope, 0.999 * second + 0.001 * slope**2
            root = np.sqrt(second / (1 - 0.999**step)) + 1e-8
            w = w - rate * first / (1 - 0.9**step) / root
        dummy.step()
        cycle.step()
    found = np.concatenate([net.fc.weight.detach(), net.fc.bias.detach()[:, None]], 1)
    assert found == pytest.approx(w, abs=1e-6)


def test_our_own_nets_keep_their_contract() -> None:
    torch.manual_seed(0)
    for name in ("small_frames", "small_stack"):
        spec, net, _ = clip_training.network(name, None, 5)
        x = torch.randn(2, spec.frames, 3, spec.crop, spec.crop)
        net.eval()
        assert net(x).shape == (2, 5)
        turned = net(x.flip(1))
        assert torch.allclose(net(x), turned, atol=1e-4) == (name == "small_frames"), (
            "single pictures have no order"
        )
    spec, net, _ = clip_training.network("mfnet3d", None, 5)
    assert net(torch.randn(1, 3, spec.frames, 32, 32)).shape == (1, 5)
    white = clips.preprocess(np.full((1, 3, 256, 256), 255, np.uint8), spec)[:, 0, 0, 0]
    assert white == pytest.approx((255 - np.array([124, 117, 104])) * 0.0167, rel=1e-4)


def test_split(tmp_path: Path) -> None:
    labels = {f"c{n}": n % 2 for n in range(23)}
    path = tmp_path / "l.csv"
    path.write_text("path,label\n" + "".join(f"c{n}.mp4,{n % 2}\n" for n in range(23)))
    learn, held = read_split(path, labels)
    assert learn | held == labels
    assert not set(learn) & set(held)
    assert sorted(held.values()) == [0, 0, 1, 1], "12 and 11 clips: 2 of each"
    assert read_split(path, dict(reversed(labels.items()))) == (learn, held)
    with pytest.raises(StudyError, match="class 1 has 1 clips, fewer than 5"):
        read_split(path, {"c1": 1})
    path.write_text("path,label,split\na.mp4,0,train\nb.mp4,0,val\nc.mp4,1,test\n")
    assert read_split(path, {"a": 0, "b": 0, "c": 1}) == ({"a": 0}, {"c": 1})
    path.write_text("path,label,split\na.mp4,0,train\nb.mp4,0,val\n")
    assert read_split(path, {"a": 0, "b": 0}) == ({"a": 0}, {"b": 0})
    with pytest.raises(StudyError, match='0 clips with "train"'):
        read_split(path, {"b": 0})


def test_random_places_by_hand() -> None:
    spec = ClipSpec(4, 2, 3, 2, mean=(0, 0, 0), std=(1, 1, 1))
    # Frames 0, 2, 4 fit at starts 0 to 3 in eight frames.
    starts = [clips.frame_indices(spec, 8, at)[0] for at in (0, 0.24, 0.26, 0.5, 0.99)]
    assert starts == [0, 0, 1, 2, 3]
    assert clips.frame_indices(spec, 3, 0.9) == [0, 2, 2]
    rgb = np.arange(16, dtype=np.uint8).reshape(1, 1, 4, 4).repeat(3, 1)
    corner = clips.preprocess(rgb, spec, place=(0, 1)) * 255
    assert corner[0, 0].round(3).tolist() == [[2, 3], [6, 7]]
    turned = clips.preprocess(rgb, spec, place=(0, 1), mirrored=True) * 255
    assert turned[0, 0].round(3).tolist() == [[3, 2], [7, 6]]
    near = clips.preprocess(rgb, spec, zoom=2, place=(0, 0)) * 255
    assert near[0, 0, 0, 0] == 0
    assert near[0, 0, 1, 1] == pytest.approx(0.25 * 4 + 0.25, abs=1e-3)  # a quarter sample further


def test_short_names() -> None:
    names = ["original", "h264-crf20-g1-medium", "h264-crf40-g1-medium"]
    assert short_names(names) == (
        {"original": "original", names[1]: "crf20", names[2]: "crf40"},
        "h264-*-g1-medium",
    )
    pair = f"{names[1]} > original"
    assert short_names([*names, pair])[0][pair] == "crf20 > original"
    assert short_names(["original", names[1]])[1] == "", "one cell shares everything with itself"
    assert short_names(["jpeg-strength10", "yuv444"])[1] == ""
