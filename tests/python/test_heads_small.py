"""The small forms learn eight real clips by heart, each through its own loss."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from cvdecode import heads
from heads_data import sample

LABELS = torch.tensor([0, 0, 0, 0, 1, 1, 1, 1])


@pytest.fixture(scope="module")
def clips(data_dir: Path) -> dict[str, torch.Tensor]:
    """(8, ...) tensors of four fights and four others, 256 x 256 down to 64 x 64."""
    folder = data_dir.parent / "actions"
    if not folder.is_dir():
        pytest.skip(f"no action clips at {folder}")
    paths = [p for name in ("fight", "nofight") for p in sorted((folder / name).glob("*.mp4"))[:4]]
    samples = [sample(path, 1, 256, 64) for path in paths]
    assert len(samples) == len(LABELS)
    return {name: torch.stack([s[name] for s in samples]) for name in samples[0]}


def settle(net: nn.Module, scores: Callable[[], torch.Tensor]) -> None:
    """Batch normalisation's statistics of these clips, and evaluation mode.

    The running means of so few steps lag behind the weights.
    """
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d | nn.BatchNorm3d):
            module.reset_running_stats()
            module.momentum = None  # the plain mean over what is seen from here
    net.train()
    scores()
    net.eval()


def learn(
    net: nn.Module, loss: Callable[[], torch.Tensor], scores: Callable[[], torch.Tensor]
) -> None:
    """Adam until the net, in evaluation, names all eight; fails after 30 steps."""
    optimiser = torch.optim.Adam(net.parameters(), 3e-3)
    for number in range(1, 31):
        net.train()
        optimiser.zero_grad()
        loss().backward()
        optimiser.step()
        if number % 10 == 0:
            with torch.no_grad():
                settle(net, scores)
                right = scores().argmax(1) == LABELS
            if right.all():
                return
    raise AssertionError(f"{int(right.sum())} of 8 after {number} steps")


@pytest.fixture(autouse=True)
def seed() -> None:
    torch.manual_seed(0)


def test_coviar(clips: dict[str, torch.Tensor]) -> None:
    net = heads.small_coviar(2)
    inputs = [clips[name] for name in ("iframe", "mv", "residual")]

    def loss() -> torch.Tensor:
        return torch.stack([F.cross_entropy(s, LABELS) for s in net.scores(*inputs)]).sum()

    learn(net, loss, lambda: net(*inputs))


@pytest.mark.parametrize("kind", ["late", "concat", "bilinear", "trilinear"])
def test_fusions(clips: dict[str, torch.Tensor], kind: str) -> None:
    head = {
        "late": heads.LateFusion(64, 2),
        "concat": heads.ConcatMLP(64, 2),
        "bilinear": heads.BilinearHead(64, 2, 512),
        "trilinear": heads.TrilinearHead(64, 2, 256),
    }[kind]
    net = heads.small_three_stream(head)
    inputs = [clips[name] for name in ("iframe", "mv", "residual")]
    learn(net, lambda: F.cross_entropy(net(*inputs), LABELS), lambda: net(*inputs))


def test_attp(clips: dict[str, torch.Tensor]) -> None:
    net = heads.small_attp(2)
    teacher = heads.FlowTeacher(heads.Stream(heads.small_cnn(2), 2))
    inputs = [clips[name] for name in ("iframe", "mv", "residual", "adjacent")]
    known = teacher(clips["mv1"])
    learn(net, lambda: heads.attp_loss(net.run(*inputs), LABELS, known), lambda: net(*inputs))


def test_dmcnet(clips: dict[str, torch.Tensor]) -> None:
    net, _ = heads.small_dmcnet(2)
    inputs = (clips["mv1"], clips["residual1"])
    flow = heads.block_mean(clips["mv1"].flatten(0, 1), 4).view_as(clips["mv1"])
    learn(net, lambda: heads.stage1_loss(net, *inputs, flow, LABELS).total, lambda: net(*inputs))


def test_mfcdnet(clips: dict[str, torch.Tensor]) -> None:
    student, net = heads.small_mfnet(2), heads.small_mfnet(2)
    student.load_state_dict(net.state_dict())
    teacher = heads.RgbTeacher(net)
    clip = heads.compressed_clip(clips["first"], clips["gop_residual"])
    clip = clip[..., 8:56, 8:56]
    known = teacher(heads.normalise_clip(clips["frames"].transpose(1, 2))[..., 8:56, 8:56])

    def loss() -> torch.Tensor:
        return heads.mimic_loss(student.run(clip), known, LABELS).total

    learn(student, loss, lambda: student(clip))
