"""Recipes end to end: trained, killed, resumed, split over two processes, tested, predicted."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("torchmetrics")

from cvdecode.cli import main  # noqa: E402
from cvdecode.data import Entry, GOPIndex, MultiScaleCrop, RandomCrop  # noqa: E402
from cvdecode.recipes import checkpoint, config, flow, inputs  # noqa: E402
from cvdecode.recipes.evaluate import evaluate  # noqa: E402
from cvdecode.recipes.predict import predict  # noqa: E402
from cvdecode.recipes.train import Options, Order, rate, train  # noqa: E402

FAST = ["train.epochs=2", "train.batch_size=2", "data.test_segments=2"]


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two classes of three H.264 videos with B pictures: left/ and right/."""
    root = tmp_path_factory.mktemp("videos")
    for name, speed in (("left", 3), ("right", -3)):
        (root / name).mkdir()
        for k in range(3):
            subprocess.run(
                ["ffmpeg", "-v", "error", "-f", "lavfi", "-i",
                 f"testsrc2=size=256x96:rate=25,crop=128:96:64+{speed}*n:{k},hue=h={40 * k}",
                 "-frames:v", "20", "-c:v", "libx264", "-g", "10", "-bf", "2",
                 str(root / name / f"{k}.mp4")],
                check=True,
            )  # fmt: skip
    return root


def run(name: str, videos: Path, out: Path, *changes: str, **more: Any) -> dict[str, Any]:
    options = {k: more.pop(k) for k in ("max_steps", "checkpoint_steps", "seed") if k in more}
    recipe = config.load(name, [*FAST, *changes])
    return train(recipe, inputs.videos(str(videos)), Options(out, **options), **more)


def weights(out: Path) -> dict[str, Any]:
    return torch.load(out / "checkpoint.pt", weights_only=True)["system"]


def test_every_recipe_is_complete() -> None:
    assert len(config.names()) >= 20
    for name in config.names():
        recipe = config.load(name)
        assert recipe.about, name
        assert config.from_dict(recipe.as_dict()) == recipe
        inputs.sampler(recipe, "train")
        inputs.view(recipe, "test")
    # The numbers of the published trainings (CoViAR on HMDB-51).
    mv = config.load("coviar_mv")
    assert (mv.train.lr, mv.train.batch_size, mv.train.epochs) == (5e-3, 80, 360)
    assert mv.train.milestones == (120, 200, 280)
    assert (mv.data.test_segments, mv.data.test_crops, mv.data.size) == (25, 10, 224)


def test_views_of_the_published_recipes() -> None:
    # CoViAR's I stream: a fourth scale, and colours shifted (dataset.py, train.py); the others not.
    crop = {name: inputs.view(config.load(f"coviar_{name}"), "train") for name in ("i", "mv", "r")}
    assert crop["i"] == MultiScaleCrop(224, (1.0, 0.875, 0.75, 0.66))
    assert crop["mv"] == crop["r"] == MultiScaleCrop(224, (1.0, 0.875, 0.75))
    one = inputs.Videos([Entry("none.mp4", 0)], "", ["a"])
    jitter = {
        (name, mode): inputs.dataset(config.load(name), one, mode).what.jitter
        for name in ("coviar_i", "coviar_mv", "mfcd") for mode in ("train", "test")
    }  # fmt: skip
    assert [key for key, value in jitter.items() if value] == [("coviar_i", "train")]
    # MFCD-Net: squashed to 256, crops of 224, half of them mirrored; 15 random clips in the test.
    mfcd = config.load("mfcd")
    assert inputs.view(mfcd, "train") == RandomCrop(224, (256, 256), 0.5)
    assert inputs.view(mfcd, "test") == RandomCrop(224, (256, 256), 0)
    assert inputs.sampler(mfcd, "test") == GOPIndex(15, "all", 12, "train")
    with pytest.raises(ValueError, match=r"data\.crop"):
        inputs.view(config.load("mfcd", ["data.crop=five"]), "train")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("train.epoch=3", "has no epoch"),
        ("train.epochs=many", "not of type int"),
        ("epochs=3", "section.key=value"),
        ("nothing.x=3", "a recipe has no nothing"),
    ],
)
def test_mistakes_in_a_recipe_are_named(change: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        config.load("small_coviar_mv", [change])
    with pytest.raises(ValueError, match=r"there is no recipe 'x'; there are .*small_attp"):
        config.load("x")


def test_changes_reach_the_recipe(tmp_path: Path) -> None:
    found = config.load("small_ttp", ["data.virtual_gop=12", "train.lr=1", "model.head=late"])
    assert (found.data.virtual_gop, found.train.lr, found.model.head) == (12, 1.0, "late")
    own = tmp_path / "own.toml"
    own.write_text('[model]\nsystem = "stream"\n[train]\nepochs = 1\nbatch_size = 1\nlr = 1\n')
    assert config.load(str(own)).model.input == "iframe"
    own.write_text('[model]\nsystem = "stream"\n[train]\nepochs = 1\n')
    with pytest.raises(ValueError, match="lacks batch_size, lr"):
        config.load(str(own))


def test_rates_by_hand() -> None:
    steps = config.load("coviar_mv")
    assert [rate(steps, e, 0.5) for e in (0, 119, 120, 200, 280)] == pytest.approx(
        [1, 1, 0.1, 0.01, 0.001]
    )
    cosine = config.load("small_coviar_mv")
    assert [rate(cosine, 0, p) for p in (0, 1 / 3, 0.5, 1)] == pytest.approx([1, 0.75, 0.5, 0])


def test_order_is_split_without_loss() -> None:
    ranks = [Order(7, 5, 2, rank, 2) for rank in range(2)]
    for order in ranks:
        order.epoch = 3
    shares = [list(order) for order in ranks]
    assert [len(s) for s in shares] == [4, 4]
    assert {*shares[0], *shares[1]} == set(range(7))
    ranks[0].first = 1
    assert list(ranks[0]) == shares[0][2:]
    ranks[0].epoch, ranks[0].first = 4, 0
    assert list(ranks[0]) != shares[0]


def test_flow_of_a_known_shift() -> None:
    rng = np.random.default_rng(0)
    noise = torch.from_numpy(rng.normal(size=(1, 1, 24, 24))).float()
    big = torch.nn.functional.interpolate(noise, scale_factor=4, mode="bicubic") * 40 + 128
    picture = big.expand(-1, 3, -1, -1)
    # What is at (x, y) now was at (x - 3, y + 2): displacement here minus there is (3, -2).
    now, before = picture[..., 10:74, 10:74], picture[..., 8:72, 13:77]
    found = flow.tv_l1(now, before)[0, :, 8:-8, 8:-8]
    assert found[0].median() == pytest.approx(3, abs=0.1)
    assert found[1].median() == pytest.approx(-2, abs=0.1)
    assert (found - torch.tensor([3.0, -2.0]).view(2, 1, 1)).abs().mean() < 0.2


KILL = """
import os, signal, sys
from pathlib import Path
from cvdecode.recipes import config, inputs
from cvdecode.recipes.train import Options, train
import torch
torch.set_num_threads(1)
name, videos, out, changes = sys.argv[1], sys.argv[2], Path(sys.argv[3]), sys.argv[4:]
def tick(step, steps, loss):
    if step == 4:
        os.kill(os.getpid(), signal.SIGKILL)
train(config.load(name, changes), inputs.videos(videos),
      Options(out, checkpoint_steps=2), tick=tick)
"""


def test_a_killed_training_goes_on_as_if_nothing_had_happened(videos: Path, tmp_path: Path) -> None:
    """Killed by SIGKILL in the fourth of six steps, after the checkpoint of the second or third."""
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    name = "small_coviar_mv"
    run(name, videos, whole)
    killed = subprocess.run(
        [sys.executable, "-c", KILL, name, str(videos), str(broken), *FAST], check=False
    )
    assert killed.returncode == -signal.SIGKILL
    state = torch.load(broken / "checkpoint.pt", weights_only=True)["state"]
    assert 0 < state["step"] < 4
    run(name, videos, broken)
    a, b = weights(whole), weights(broken)
    assert a.keys() == b.keys()
    assert all(torch.equal(a[k], b[k]) for k in a)
    lines = [
        [json.loads(line) for line in (out / "results.jsonl").read_text().splitlines()]
        for out in (whole, broken)
    ]
    assert [line["event"] for line in lines[1]] == ["start", "epoch", "epoch"]
    assert lines[0][-1]["loss"] == lines[1][-1]["loss"]
    assert lines[1][0]["versions"]["torch"] == metadata.version("torch")


def test_stopped_in_mid_epoch_with_two_optimisers(videos: Path, tmp_path: Path) -> None:
    """Adam's moments of both optimisers, and the place in the epoch, are in the checkpoint."""
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    run("small_dmc_net_gan", videos, whole, "train.epochs=1")
    first = run("small_dmc_net_gan", videos, broken, "train.epochs=1", max_steps=2)
    assert first["event"] == "stopped"
    run("small_dmc_net_gan", videos, broken, "train.epochs=1")
    a, b = weights(whole), weights(broken)
    assert all(torch.equal(a[k], b[k]) for k in a)


def test_another_training_is_not_mixed_in(videos: Path, tmp_path: Path) -> None:
    run("small_coviar_mv", videos, tmp_path, max_steps=1)
    with pytest.raises(ValueError, match="another seed"):
        run("small_coviar_mv", videos, tmp_path, seed=1)
    with pytest.raises(ValueError, match="another recipe"):
        run("small_coviar_mv", videos, tmp_path, "train.lr=1")
    # One of before a key came into being goes on.
    old = torch.load(tmp_path / "checkpoint.pt", weights_only=True)
    del old["recipe"]["data"]["jitter"]
    torch.save(old, tmp_path / "checkpoint.pt")
    assert run("small_coviar_mv", videos, tmp_path, max_steps=1)["step"] == 2


TRAIN = """
import sys
from pathlib import Path
from cvdecode.cli import main
code = main(["train", *sys.argv[1:]])
names = [(task / "comm").read_text().strip() for task in Path("/proc/self/task").iterdir()]
left = [name for name in names if "gloo" in name]
sys.exit(f"threads outlive the process group: {left}" if left else code)
"""


def test_two_processes(videos: Path, tmp_path: Path) -> None:
    """torchrun with gloo: both ranks take half of the videos and keep one network.

    No thread of gloo's is left when they end: one that met the end of the interpreter has aborted.
    """
    out = tmp_path / "out"
    program = tmp_path / "program.py"
    program.write_text(TRAIN)
    # By the loopback: the name of this machine need not lead anywhere.
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": "lo"}
    done = subprocess.run(
        [sys.executable, "-m", "torch.distributed.run", "--standalone", "--local-addr", "127.0.0.1",
         "--nproc-per-node", "2", str(program), "small_coviar_mv",
         "--data", str(videos), "-o", str(out),
         *[part for change in FAST for part in ("--set", change)]],
        capture_output=True, text=True, env=environment, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    lines = [json.loads(line) for line in (out / "results.jsonl").read_text().splitlines()]
    assert lines[0]["processes"] == 2
    assert [line["event"] for line in lines] == ["start", "epoch", "epoch"]
    # 6 videos, 2 ranks, batches of 2: ranks of 3 videos take 2 steps an epoch.
    assert torch.load(out / "checkpoint.pt", weights_only=True)["state"]["step"] == 4
    alone = tmp_path / "alone"
    run("small_coviar_mv", videos, alone)
    assert any(not torch.equal(v, weights(alone)[k]) for k, v in weights(out).items())


def test_teachers_are_asked_for(videos: Path, tmp_path: Path) -> None:
    for name, teacher in (("small_attp", "small_flow"), ("small_mfcd", "small_mfcd_teacher")):
        with pytest.raises(ValueError, match=rf"{teacher}.*--teacher"):
            run(name, videos, tmp_path / name, max_steps=1)
        run(teacher, videos, tmp_path / teacher, max_steps=1)
        line = run(name, videos, tmp_path / name, max_steps=1, teacher=tmp_path / teacher)
        assert line["event"] == "stopped"
        kept = weights(tmp_path / name)
        assert not any(key.startswith("teacher") for key in kept)
        checkpoint.load(tmp_path / name)
    with pytest.raises(ValueError, match="teacher of attp is"):
        run("small_attp", videos, tmp_path / "x", teacher=tmp_path / "small_mfcd_teacher")


def test_weights_to_start_from(videos: Path, tmp_path: Path) -> None:
    run("small_dmc_net", videos, tmp_path / "one", max_steps=1)
    recipe = config.load("small_dmc_net_gan")
    net = checkpoint.system(recipe, 2)
    count = checkpoint.start_from(net, tmp_path / "one")
    old = weights(tmp_path / "one")
    assert count == len(old)
    assert all(torch.equal(net.state_dict()[k], v) for k, v in old.items())


def test_scores_are_added_by_weight(videos: Path, tmp_path: Path) -> None:
    for name in ("small_coviar_i", "small_coviar_mv"):
        run(name, videos, tmp_path / name, max_steps=1)
    found = [checkpoint.load(tmp_path / n) for n in ("small_coviar_i", "small_coviar_mv")]
    listed = inputs.videos(str(videos), ["left", "right"])
    nets, recipes = [f.system for f in found], [f.recipe for f in found]
    apart = [evaluate([n], [r], listed).scores for n, r in zip(nets, recipes, strict=True)]
    both = evaluate(nets, recipes, listed, [2, 1])
    assert torch.allclose(both.scores, 2 * apart[0] + apart[1], atol=1e-6)
    assert both.labels.tolist() == [0, 0, 0, 1, 1, 1]
    right = (both.scores.argmax(1) == both.labels).float().mean()
    assert both.summary()["top1"] == pytest.approx(float(right))
    batched = evaluate(nets, recipes, listed, [2, 1], batch_size=4)
    assert torch.allclose(both.scores, batched.scores, atol=1e-5)
    with pytest.raises(ValueError, match="3 weights"):
        evaluate(nets, recipes, listed, [1, 1, 1])
    with pytest.raises(ValueError, match="the network knows"):
        inputs.videos(str(videos), ["up", "down"])


def test_crops_are_averaged(videos: Path, tmp_path: Path) -> None:
    run("small_coviar_i", videos, tmp_path, "data.test_crops=10", max_steps=1)
    found = checkpoint.load(tmp_path)
    listed = inputs.videos(str(videos))
    data = inputs.dataset(found.recipe, listed, "test")
    item = data[0]["iframe"]
    assert item.shape == (10, 2, 3, 56, 56)
    views = inputs.prepare(found.recipe, {"iframe": item[None]}, "test", torch.device("cpu"))
    assert views["iframe"].shape == (10, 2, 3, 56, 56)
    with torch.no_grad():
        mean = found.system.scores(views).mean(0)
    result = evaluate([found.system], [found.recipe], listed)
    assert torch.allclose(result.scores[0], mean, atol=1e-6)


def test_commands(videos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train"]) == 0
    assert "small_attp" in capsys.readouterr().out
    out = tmp_path / "ttp"
    overrides = [part for change in FAST for part in ("--set", change)]
    assert main(["train", "small_ttp", "--data", str(videos), "-o", str(out), *overrides,
                 "--set", "data.virtual_gop=7", "--set", "train.epochs=1",
                 "--val", str(videos)]) == 0  # fmt: skip
    lines = [json.loads(line) for line in (out / "results.jsonl").read_text().splitlines()]
    assert [line["event"] for line in lines] == ["start", "epoch", "validation"]
    capsys.readouterr()

    log = tmp_path / "all.jsonl"
    assert main(["evaluate", str(out), "--data", str(videos), "--json", "-o", str(log)]) == 0
    summary = json.loads(capsys.readouterr().out)
    assert summary["videos"] == 6
    assert summary["top1"] == lines[-1]["top1"]
    assert len(json.loads(log.read_text())["clips"]) == 6

    clip = videos / "left" / "1.mp4"
    assert main(["predict", str(clip), "--checkpoint", str(out), "--json"]) == 0
    said = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    # 20 frames in virtual GOPs of 7: three, the last of 6 frames.
    assert [line.get("start") for line in said] == [0, 7, 14, None]
    assert [line.get("frames") for line in said] == [[6], [13], [19], None]
    assert set(said[0]["seconds"]) == {"read", "accumulate", "prepare", "network"}
    mean = np.mean([list(line["scores"].values()) for line in said[:-1]], 0)
    assert list(said[-1]["scores"].values()) == pytest.approx(mean.tolist(), abs=1e-6)
    assert said[-1]["label"] == ("left", "right")[int(np.argmax(mean))]

    assert main(["predict", str(clip), "--checkpoint", str(log)]) == 1
    assert "is no checkpoint of cvdecode train" in capsys.readouterr().err
    assert main(["train", "small_ttp"]) == 1
    assert "--data is needed" in capsys.readouterr().err


def test_prediction_reads_one_gop_at_a_time(videos: Path, tmp_path: Path) -> None:
    run("small_attp", videos, tmp_path, "model.alignment=none", max_steps=1)
    trained = checkpoint.load(tmp_path)
    told = predict(trained, videos / "right" / "0.mp4")
    first = next(told)
    assert (first.gop, first.start, first.frames) == (0, 0, [6])
    assert [each.frames for each in told] == [[16]]
