"""Every full-size network takes a training step of its own recipe on a coded file's contents."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from conftest import Encode
from cvdecode import heads
from heads_data import sample

CLASSES = 51
LABELS = torch.tensor([7])


@pytest.fixture(scope="module")
def video(encode: Encode) -> dict[str, torch.Tensor]:
    """(1, 2, ...) tensors of two closed GOPs of 12 with B-frames, at 224 x 224."""
    path: Path = encode(
        "heads.mp4", "-c:v", "libx264", "-preset", "veryfast", "-g", "12", "-bf", "2",
        "-pix_fmt", "yuv420p", source="mandelbrot=size=340x256:rate=25", frames=24,
    )  # fmt: skip
    torch.manual_seed(0)
    found = {name: value.unsqueeze(0) for name, value in sample(path, 2, 224, 224).items()}
    assert found["mv"].abs().amax() > 0.05
    assert found["residual"].std() > 0.05
    return found


def step(
    loss: torch.Tensor, optimiser: torch.optim.Optimizer, module: nn.Module
) -> dict[str, torch.Tensor]:
    """Backward and optimiser step; every parameter of the module must move and stay finite."""
    before = {name: p.detach().clone() for name, p in module.named_parameters()}
    optimiser.zero_grad()
    loss.backward()
    optimiser.step()
    for name, parameter in module.named_parameters():
        assert torch.isfinite(parameter).all(), name
        assert not torch.equal(parameter, before[name]), name
    return before


@pytest.mark.parametrize("stream", ["iframe", "mv", "residual"])
def test_coviar(video: dict[str, torch.Tensor], stream: str) -> None:
    backbone = {"iframe": heads.resnet152, "mv": lambda: heads.resnet18(2)}.get(
        stream, heads.resnet18
    )()
    net = heads.Stream(backbone, CLASSES, data_bn=stream != "iframe")
    groups = heads.parameter_groups(net, 3e-3, image=stream == "iframe")
    loss = nn.functional.cross_entropy(net(video[stream][:, : 1 + (stream != "iframe")]), LABELS)
    step(loss, torch.optim.Adam(groups, eps=1e-3), net)


def test_coviar_is_made_of_those() -> None:
    with torch.device("meta"):
        net = heads.CoViAR(CLASSES)
        shapes = [(1, 1, c, 224, 224) for c in (3, 2, 3)]
        assert net(*(torch.empty(s) for s in shapes)).shape == (1, CLASSES)
    assert [s.backbone.channels for s in (net.iframe, net.mv, net.residual)] == [2048, 512, 512]
    assert isinstance(net.iframe.data_bn, nn.Identity)
    assert net.mv.data_bn.num_features == 2
    assert net.residual.data_bn.num_features == 3


def test_dmcnet_in_both_stages(video: dict[str, torch.Tensor]) -> None:
    net, discriminator = heads.DMCNet(CLASSES), heads.Discriminator()
    flow = nn.functional.avg_pool2d(video["mv1"][0], 9, 1, 4).unsqueeze(0)  # stands for TV-L1
    batch = (video["mv1"], video["residual1"], flow, LABELS)

    def adam(module: nn.Module, lr: float) -> torch.optim.Optimizer:
        return torch.optim.Adam(heads.decay_groups(module, lr), eps=1e-3)

    generates, classifies = adam(net.generator, 1e-2), adam(net.classifier, 1e-4)
    judges = adam(discriminator, 1e-2)
    loss = heads.stage1_loss(net, *batch).total
    step(loss, classifies, net.classifier)
    generates.step()
    step(heads.stage2_classifier_loss(net, discriminator, *batch).total, judges, discriminator)
    classifies.step()
    step(heads.stage2_generator_loss(net, discriminator, *batch).total, generates, net.generator)


def test_ttp_and_attp(video: dict[str, torch.Tensor]) -> None:
    net = heads.ATTP(CLASSES)
    teacher = heads.FlowTeacher(heads.Stream(heads.efficientnet_b1(2), CLASSES))
    names = ("iframe", "mv", "residual", "adjacent")
    out = net.run(*(video[name][:, :1] for name in names))
    known = teacher(video["mv1"][:, :1])
    assert out.logits.shape == (1, CLASSES)
    ttp = heads.attp_loss(out, LABELS, known, kind="none")
    attp = heads.attp_loss(out, LABELS, known)
    assert float(attp.detach()) > float(ttp.detach())
    step(attp, torch.optim.Adam(net.parameters(), 1e-3, eps=1e-3, weight_decay=1e-4), net)


def test_mfcdnet(video: dict[str, torch.Tensor]) -> None:
    student, net = heads.MFNet3D(CLASSES), heads.MFNet3D(CLASSES)
    student.load_state_dict(net.state_dict())
    teacher = heads.RgbTeacher(net)
    clip = heads.compressed_clip(video["first"], video["gop_residual"])
    assert clip.shape == (1, 3, 12, 224, 224)
    known = teacher(heads.normalise_clip(video["frames"].transpose(1, 2)))
    loss = heads.mimic_loss(student.run(clip), known, LABELS).total
    sgd = torch.optim.SGD(student.parameters(), 5e-3, momentum=0.9, weight_decay=1e-4)
    step(loss, sgd, student)
