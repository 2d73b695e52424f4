"""Sizes and costs of the networks, computed, beside the figures that the papers print.

`python -m cvdecode.heads.table` prints the tables of docs/heads.md. Networks are built on the meta
device: no memory, no arithmetic. Costs are multiply-adds of convolutions and matrix products
(`torch.utils.flop_counter`, which counts each as 2, halved); normalisation, activations, pooling
and Fourier transforms are not counted.
"""

from __future__ import annotations

import dataclasses
import functools

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from .attp import ATTP, small_attp
from .backbones import (
    Backbone,
    _resnet,
    efficientnet_b1,
    mobilenet_v2,
    resnet18,
    small_cnn,
)
from .coviar import CoViAR, small_coviar
from .dmcnet import DMCNet, Generator, small_dmcnet
from .fusion import ThreeStreamNet, TrilinearHead
from .mfnet import MFNet3D, small_mfnet

CLASSES = 51  # HMDB-51


@dataclasses.dataclass(frozen=True)
class Row:
    """One figure of a paper. Values are in millions of parameters or 10^9 multiply-adds."""

    system: str
    unit: str
    ours: float
    """Of the network of this package with 51 classes."""
    counted: str
    """What is counted under the paper's convention."""
    convention: float
    """Ours, so counted."""
    paper: float
    source: str

    @property
    def unexplained(self) -> float:
        """The paper's figure less ours under its convention."""
        return self.paper - self.convention


def parameters(module: nn.Module) -> float:
    """Millions of parameters."""
    return sum(p.numel() for p in module.parameters()) / 1e6


def multiply_adds(module: nn.Module, *shapes: tuple[int, ...]) -> float:
    """10^9 multiply-adds of one pass over inputs of these shapes; the module is on meta."""
    inputs: list[Tensor] = [torch.empty(shape, device="meta") for shape in shapes]
    module.eval()  # batch normalisation in training takes long on meta
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        module(*inputs)
    return float(counter.get_total_flops()) / 2e9


@functools.cache
def _pass(name: str, size: int = 224, channels: int = 3) -> float:
    """10^9 multiply-adds of one image through a backbone, its classifier left out."""
    make = {
        "resnet18": resnet18,
        "resnet152 of 2016": _resnet152_of_2016,
        "mobilenet_v2": mobilenet_v2,
    }
    with torch.device("meta"):
        net = efficientnet_b1(channels, size) if name == "efficientnet_b1" else make[name](channels)
    return multiply_adds(net, (1, channels, size, size))


def _resnet152_of_2016(in_channels: int) -> Backbone:
    """With the stride in the first 1x1 convolution, as He et al. print it: 11.3 of 11.5."""
    widths = [256, 512, 1024, 2048]
    return _resnet(in_channels, "bottleneck", [3, 8, 36, 3], widths, downsample_in_bottleneck=True)


def _with_head(backbone: Backbone) -> float:
    """Millions of parameters with ImageNet's classifier of 1000 classes."""
    return parameters(backbone) + (backbone.channels + 1) * 1000 / 1e6


@functools.cache
def rows() -> tuple[Row, ...]:
    """Every figure that Huo et al. (Table 2) and Battash et al. (Table 1, appendix) give."""
    with torch.device("meta"):
        generator = Generator()
        coviar, dmc = CoViAR(CLASSES), DMCNet(CLASSES)
        attp, mfnet = ATTP(CLASSES), MFNet3D(CLASSES)
        kinetics = parameters(MFNet3D(400))
        ttp = ThreeStreamNet(
            TrilinearHead(1280, CLASSES),
            iframe=mobilenet_v2(), mv=mobilenet_v2(2), residual=mobilenet_v2(),
        )  # fmt: skip
    r152, r18 = _with_head(coviar.iframe.backbone), _with_head(coviar.residual.backbone)
    b1, mobile = _with_head(attp.iframe), _with_head(ttp.iframe)
    frame, motion = (1, 1, 3, 224, 224), (1, 1, 2, 224, 224)
    one = multiply_adds(coviar, frame, motion, frame)
    cues = multiply_adds(dmc, motion, frame)
    delta = multiply_adds(generator, (1, 2, 224, 224), (1, 3, 224, 224))
    temporal = multiply_adds(attp, frame, motion, frame, frame)
    mobile_temporal = multiply_adds(ttp, frame, motion, frame, frame)
    he152, he18 = _pass("resnet152 of 2016"), _pass("resnet18")
    b224, b240, b256 = (_pass("efficientnet_b1", size) for size in (224, 240, 256))
    clip12, clip16 = (multiply_adds(mfnet, (1, 3, t, 224, 224)) for t in (12, 16))
    huo, battash = "Huo, Table 2", "Battash, Table 1"
    million, billion = "M", "G"
    poolings = 4 * 1280 * 1024 * 64 / 1e9
    both = parameters(coviar) + parameters(dmc)
    return (
        Row("CoViAR", million, parameters(coviar), "three nets with 1000 classes, 3 input channels",
            r152 + 2 * r18, 83.6, f"{huo}; {battash}"),
        Row("CoViAR", billion, one, "one pass each; ResNet-152 as of 2016 (stride in a 1x1)",
            he152 + 2 * he18, 14.9, f"{huo} (a frame)"),
        Row("CoViAR", billion, 250 * one, "250 x ResNet-152 of 2016 + 500 x ResNet-18",
            250 * he152 + 500 * he18, 3615, f"{battash} (a video)"),
        Row("DMC-Net", million, both, "ResNet-152 + 3 x ResNet-18, 1000 classes",
            r152 + 3 * r18, 95.2, battash),
        Row("DMC-Net", million, both, "ResNet-152 + 2 x ResNet-18, 1000 classes; generator",
            r152 + 2 * r18 + parameters(generator), 83.6, huo),
        Row("DMC-Net", billion, one + cues, "as CoViAR, and the generator",
            he152 + 2 * he18 + delta, 15.1, f"{huo} (a frame)"),
        Row("DMC-Net", billion, 25 * (one + cues), "25 x ResNet-152 of 2016 + 75 x ResNet-18",
            25 * he152 + 75 * he18, 401, f"{battash} (a video)"),
        Row("TTP, MobileNetV2", million, parameters(ttp), "three nets with 1000 classes",
            3 * mobile, 17.5, battash),
        Row("TTP, MobileNetV2", billion, mobile_temporal / 4, "one pass of one net at 224",
            _pass("mobilenet_v2"), 1.4, "Battash, 5.2 (a pass)"),
        Row("TTP, MobileNetV2", billion, 250 * mobile_temporal, "750 passes at 224",
            750 * _pass("mobilenet_v2"), 1050, f"{battash} (a video)"),
        Row("ATTP", million, parameters(attp), "three EfficientNet-B1 with 1000 classes, no fusion",
            3 * b1, 23.4, huo),
        Row("ATTP", billion, temporal, "three passes at 224", 3 * b224, 3.0, f"{huo} (a frame)"),
        Row("ATTP", billion, temporal, "four passes at 240 and two poolings",
            4 * b240 + poolings, 3.0, f"{huo} (a frame)"),
        Row("ATTP", billion, temporal, "four passes at 256", 4 * b256, 3.0, f"{huo} (a frame)"),
        Row("MFCD-Net", million, parameters(mfnet), "400 classes", kinetics, 8.0, battash),
        Row("MFCD-Net", billion, clip16, "16 frames of 224", clip16, 11.1, "Battash, 7.2 (a clip)"),
        Row("MFCD-Net", billion, clip12, "12 frames of 224", clip12, 8.53, "Battash, 7.2 (a clip)"),
        Row("MFCD-Net", billion, 15 * clip12, "15 clips of 12 frames",
            15 * clip12, 128, f"{battash} (a video)"),
    )  # fmt: skip


def small_rows() -> list[tuple[str, str, float, float]]:
    """(net, input, thousands of parameters, 10^6 multiply-adds) of the small forms, 18 classes."""
    frame, motion = (1, 1, 3, 56, 56), (1, 1, 2, 28, 28)
    with torch.device("meta"):
        forms: list[tuple[str, str, nn.Module, tuple[tuple[int, ...], ...]]] = [
            ("small_cnn", "56 x 56", small_cnn(), ((1, 3, 56, 56),)),
            ("small_coviar", "56 x 56, motion 28 x 28", small_coviar(18, 1),
             (frame, motion, frame)),
            ("small_attp", "two I and a residual 56 x 56, motion 28 x 28", small_attp(18, 256, 1),
             (frame, motion, frame, frame)),
            ("small_dmcnet", "64 x 64", small_dmcnet(18)[0],
             ((1, 1, 2, 64, 64), (1, 1, 3, 64, 64))),
            ("small_mfnet", "12 x 56 x 56", small_mfnet(18), ((1, 3, 12, 56, 56),)),
        ]  # fmt: skip
    return [
        (name, text, parameters(net) * 1e3, multiply_adds(net, *shapes) * 1e3)
        for name, text, net, shapes in forms
    ]


def _number(value: float) -> str:
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:.2f}"


def markdown() -> str:
    """Both tables."""
    lines = [
        "| system | unit | ours, 51 classes | counted as the paper does | so counted | paper "
        "| unexplained | source |",
        "|---|---|---:|---|---:|---:|---:|---|",
    ]
    for row in rows():
        values = (row.convention, row.paper, row.unexplained)
        numbers = " | ".join(map(_number, values))
        lines.append(
            f"| {row.system} | {row.unit} | {_number(row.ours)} | {row.counted} | {numbers} "
            f"| {row.source} |"
        )
    lines += ["", "| small form, 18 classes | input | thousand parameters | 10^6 multiply-adds |"]
    lines.append("|---|---|---:|---:|")
    lines += [f"| {n} | {text} | {p:.1f} | {m:.1f} |" for n, text, p, m in small_rows()]
    return "\n".join(lines)


if __name__ == "__main__":
    print(markdown())
