"""MFNet-3D, the multi-fiber network for video (Chen et al., ECCV 2018), for clips of any length."""

from __future__ import annotations

from collections import OrderedDict

from torch import Tensor, nn

Triple = tuple[int, int, int]


def _unit(
    channels: int, out: int, kernel: Triple = (1, 1, 1), stride: Triple = (1, 1, 1), groups: int = 1
) -> nn.Sequential:
    """BN, ReLU, convolution without bias, padded to keep the size at stride 1."""
    padding = (kernel[0] // 2, kernel[1] // 2, kernel[2] // 2)
    conv = nn.Conv3d(channels, out, kernel, stride, padding, groups=groups, bias=False)
    return nn.Sequential(
        OrderedDict(bn=nn.BatchNorm3d(channels), relu=nn.ReLU(inplace=True), conv=conv)
    )


class MultiFiberUnit(nn.Module):
    """Grouped convolutions ("fibers") behind a 1x1x1 bottleneck that mixes them.

    out = main(x + mix(x)) + shortcut(x); mix is 1x1x1 to a quarter of `mid` and back, main is 3x3x3
    grouped to `mid`, then to `out`: 1x1x1 dense in the first unit of a stage, 1x3x3 grouped in the
    others; the shortcut is a 1x1x1 convolution in the first unit, else x itself.
    """

    def __init__(
        self, channels: int, mid: int, out: int, groups: int, stride: Triple | None = None
    ) -> None:
        """`stride` is given in the first unit of a stage, and there only."""
        super().__init__()
        first = stride is not None
        stride = stride or (1, 1, 1)
        self.conv_i1 = _unit(channels, mid // 4)
        self.conv_i2 = _unit(mid // 4, channels)
        self.conv_m1 = _unit(channels, mid, (3, 3, 3), stride, groups)
        self.conv_m2 = _unit(mid, out) if first else _unit(mid, out, (1, 3, 3), groups=groups)
        self.conv_w1: nn.Module = _unit(channels, out, stride=stride) if first else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """(N, channels, T, H, W) to (N, out, T', H', W')."""
        mixed = x + self.conv_i2(self.conv_i1(x))
        main: Tensor = self.conv_m2(self.conv_m1(mixed))
        shortcut: Tensor = self.conv_w1(x)
        return main + shortcut


class MFNet3D(nn.Module):
    """MFNet-3D: stages of 3, 4, 6 and 3 multi-fiber units, 8.0 M parameters with 400 classes.

    conv1 3 -> 16 (3, 5, 5) stride (1, 2, 2), max pooling (1, 3, 3) / (1, 2, 2); stages of 96, 192,
    384 and 768 channels, 16 groups; the first unit of conv2 halves time, those of conv3 to conv5
    halve height and width; BN, ReLU, mean over time and space, linear classifier. Xavier's initial
    weights. The authors' code pools 8 x 7 x 7 and so takes 16 frames of 224 x 224 only; a mean over
    everything gives the same there and takes any clip.

    Args:
        num_classes: C.
        width: factor on all channels; `groups` must divide them.
        groups: fibers.
        dropout: before the classifier ("only for fine-tuning": 0.5 there).

    Names of parameters are those of the published checkpoints.
    """

    UNITS = (3, 4, 6, 3)

    def __init__(
        self, num_classes: int, *, width: float = 1.0, groups: int = 16, dropout: float = 0.0
    ) -> None:
        super().__init__()
        stem = max(1, round(16 * width))
        self.conv1 = nn.Sequential(
            OrderedDict(
                conv=nn.Conv3d(3, stem, (3, 5, 5), (1, 2, 2), (1, 2, 2), bias=False),
                bn=nn.BatchNorm3d(stem),
                relu=nn.ReLU(inplace=True),
            )
        )
        self.maxpool = nn.MaxPool3d((1, 3, 3), (1, 2, 2), (0, 1, 1))
        channels = stem
        stages = []
        for stage, count in enumerate(self.UNITS, 2):
            out = round(96 * width) * 2 ** (stage - 2)
            if out % groups or channels % groups:
                raise ValueError(
                    f"width {width}: {groups} groups do not divide {channels} -> {out}"
                )
            stride = (2, 1, 1) if stage == 2 else (1, 2, 2)
            units: OrderedDict[str, nn.Module] = OrderedDict()
            for number in range(1, count + 1):
                units[f"B{number:02d}"] = MultiFiberUnit(
                    channels, out, out, groups, stride if number == 1 else None
                )
                channels = out
            stages.append(nn.Sequential(units))
        self.conv2, self.conv3, self.conv4, self.conv5 = stages
        self.tail = nn.Sequential(
            OrderedDict(bn=nn.BatchNorm3d(channels), relu=nn.ReLU(inplace=True))
        )
        self.dropout = nn.Dropout(dropout)
        self.classifier = nn.Linear(channels, num_classes)
        for module in self.modules():
            if isinstance(module, nn.Conv3d | nn.Linear):
                nn.init.xavier_uniform_(module.weight)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)

    def run(self, clip: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Logits (N, C), and the outputs of conv2 to conv5: (N, c_i, T_i, H_i, W_i).

        Args:
            clip: (N, 3, T, H, W), RGB, (x - (124, 117, 104)) * 0.0167 with x in 0..255
                (`normalise_clip`); 12 or 16 frames of 224 x 224 in the papers.
        """
        if clip.dim() != 5 or clip.shape[1] != 3:
            raise ValueError(f"expected clips (N, 3, T, H, W), got {tuple(clip.shape)}")
        x = self.maxpool(self.conv1(clip))
        hints = []
        for stage in (self.conv2, self.conv3, self.conv4, self.conv5):
            x = stage(x)
            hints.append(x)
        pooled = self.tail(x).mean((2, 3, 4))
        return self.classifier(self.dropout(pooled)), hints

    def forward(self, clip: Tensor) -> Tensor:
        """Logits (N, C) of clips (N, 3, T, H, W)."""
        return self.run(clip)[0]


def small_mfnet(num_classes: int) -> MFNet3D:
    """MFNet-3D of a quarter of the width and 4 groups (fibers as wide as in the full net)."""
    return MFNet3D(num_classes, width=0.25, groups=4)
