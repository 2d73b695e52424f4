"""Networks written out from their papers' layer lists, over state dicts with the published names.

They share no code with `cvdecode.heads`: each is a chain of torch.nn.functional calls.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F

State = dict[str, torch.Tensor]

RESNET = {18: (2, 2, 2, 2), 152: (3, 8, 36, 3)}


def _norm(name: str, channels: int, state: State) -> None:
    state[f"{name}.weight"] = torch.rand(channels) + 0.5
    state[f"{name}.bias"] = torch.randn(channels) * 0.1
    state[f"{name}.running_mean"] = torch.randn(channels) * 0.1
    state[f"{name}.running_var"] = torch.rand(channels) + 0.5
    state[f"{name}.num_batches_tracked"] = torch.tensor(7)


def _conv(name: str, out: int, channels: int, *kernel: int) -> dict[str, torch.Tensor]:
    weight = torch.randn(out, channels, *kernel)
    return {f"{name}.weight": weight / weight[0].numel() ** 0.5}


def torchvision_resnet(depth: int, in_channels: int, classes: int) -> State:
    """Random weights under torchvision's names (`layer1.0.conv1.weight`, ...)."""
    state = _conv("conv1", 64, in_channels, 7, 7)
    _norm("bn1", 64, state)
    bottleneck = depth > 34
    channels = 64
    for stage, count in enumerate(RESNET[depth]):
        width = 64 * 2**stage
        out = width * (4 if bottleneck else 1)
        for block in range(count):
            name = f"layer{stage + 1}.{block}"
            if bottleneck:
                shapes = [(width, channels, 1), (width, width, 3), (out, width, 1)]
            else:
                shapes = [(width, channels, 3), (width, width, 3)]
            for number, (o, i, k) in enumerate(shapes, 1):
                state |= _conv(f"{name}.conv{number}", o, i, k, k)
                _norm(f"{name}.bn{number}", o, state)
            if channels != out:
                state |= _conv(f"{name}.downsample.0", out, channels, 1, 1)
                _norm(f"{name}.downsample.1", out, state)
            channels = out
    state["fc.weight"] = torch.randn(classes, channels) / channels**0.5
    state["fc.bias"] = torch.randn(classes)
    return state


def _bn(x: torch.Tensor, s: State, name: str) -> torch.Tensor:
    names = ("running_mean", "running_var", "weight", "bias")
    return F.batch_norm(x, *(s[f"{name}.{n}"] for n in names))


def resnet(x: torch.Tensor, s: State, depth: int) -> torch.Tensor:
    """Logits of a ResNet in evaluation, stride in the 3x3 convolution."""
    x = F.relu(_bn(F.conv2d(x, s["conv1.weight"], None, 2, 3), s, "bn1"))
    x = F.max_pool2d(x, 3, 2, 1)
    for stage, count in enumerate(RESNET[depth], 1):
        for block in range(count):
            name = f"layer{stage}.{block}"
            stride = 2 if stage > 1 and block == 0 else 1
            y = x
            if depth > 34:
                y = F.relu(_bn(F.conv2d(y, s[f"{name}.conv1.weight"]), s, f"{name}.bn1"))
                y = F.conv2d(y, s[f"{name}.conv2.weight"], None, stride, 1)
                y = F.relu(_bn(y, s, f"{name}.bn2"))
                y = _bn(F.conv2d(y, s[f"{name}.conv3.weight"]), s, f"{name}.bn3")
            else:
                y = F.conv2d(y, s[f"{name}.conv1.weight"], None, stride, 1)
                y = F.relu(_bn(y, s, f"{name}.bn1"))
                y = _bn(F.conv2d(y, s[f"{name}.conv2.weight"], None, 1, 1), s, f"{name}.bn2")
            if f"{name}.downsample.0.weight" in s:
                x = F.conv2d(x, s[f"{name}.downsample.0.weight"], None, stride)
                x = _bn(x, s, f"{name}.downsample.1")
            x = F.relu(x + y)
    return F.linear(x.mean((2, 3)), s["fc.weight"], s["fc.bias"])


MFNET_STAGES = ((2, 96, 3), (3, 192, 4), (4, 384, 6), (5, 768, 3))


def mfnet_state(classes: int) -> State:
    """Random weights under the names of PyTorch-MFNet (`conv2.B01.conv_i1.conv.weight`, ...)."""
    state = _conv("conv1.conv", 16, 3, 3, 5, 5)
    _norm("conv1.bn", 16, state)
    channels = 16
    for stage, out, count in MFNET_STAGES:
        for block in range(1, count + 1):
            name = f"conv{stage}.B{block:02d}"
            parts = [
                ("conv_i1", channels, out // 4, 1, (1, 1, 1)),
                ("conv_i2", out // 4, channels, 1, (1, 1, 1)),
                ("conv_m1", channels, out, 16, (3, 3, 3)),
            ]
            if block == 1:
                parts.append(("conv_m2", out, out, 1, (1, 1, 1)))
                parts.append(("conv_w1", channels, out, 1, (1, 1, 1)))
            else:
                parts.append(("conv_m2", out, out, 16, (1, 3, 3)))
            for part, i, o, groups, kernel in parts:
                _norm(f"{name}.{part}.bn", i, state)
                state |= _conv(f"{name}.{part}.conv", o, i // groups, *kernel)
            channels = out
    _norm("tail.bn", channels, state)
    state["classifier.weight"] = torch.randn(classes, channels) / channels**0.5
    state["classifier.bias"] = torch.randn(classes)
    return state


def mfnet(x: torch.Tensor, s: State) -> torch.Tensor:
    """Logits of MFNet-3D in evaluation."""

    def unit(x, name, stride=(1, 1, 1), pad=(0, 0, 0), groups=1):  # type: ignore[no-untyped-def]
        x = F.relu(_bn(x, s, f"{name}.bn"))
        return F.conv3d(x, s[f"{name}.conv.weight"], None, stride, pad, 1, groups)

    x = F.conv3d(x, s["conv1.conv.weight"], None, (1, 2, 2), (1, 2, 2))
    x = F.relu(_bn(x, s, "conv1.bn"))
    x = F.max_pool3d(x, (1, 3, 3), (1, 2, 2), (0, 1, 1))
    for stage, _, count in MFNET_STAGES:
        for block in range(1, count + 1):
            name = f"conv{stage}.B{block:02d}"
            stride = (1, 1, 1)
            if block == 1:
                stride = (2, 1, 1) if stage == 2 else (1, 2, 2)
            h = x + unit(unit(x, f"{name}.conv_i1"), f"{name}.conv_i2")
            h = unit(h, f"{name}.conv_m1", stride, (1, 1, 1), 16)
            if block == 1:
                x = unit(h, f"{name}.conv_m2") + unit(x, f"{name}.conv_w1", stride)
            else:
                x = unit(h, f"{name}.conv_m2", pad=(0, 1, 1), groups=16) + x
    x = F.relu(_bn(x, s, "tail.bn"))
    return F.linear(x.mean((2, 3, 4)), s["classifier.weight"], s["classifier.bias"])
