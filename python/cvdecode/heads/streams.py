"""One stream: a backbone, a classifier, and the mean over the segments of a video (TSN)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from .backbones import Backbone


def consensus(logits: Tensor, segments: int) -> Tensor:
    """Mean over segments (TSN's average consensus): (N * `segments`, C) to (N, C)."""
    return logits.view(-1, segments, logits.shape[-1]).mean(1)


def fold_segments(x: Tensor) -> Tensor:
    """(N, S, C, H, W) to (N * S, C, H, W).

    Raises:
        ValueError: not 5-D.
    """
    if x.dim() != 5:
        raise ValueError(f"expected (videos, segments, channels, H, W), got {tuple(x.shape)}")
    return x.flatten(0, 1)


class Stream(nn.Module):
    """Backbone, mean over positions, linear classifier; scores are averaged over segments.

    Args:
        backbone: what looks at one frame.
        num_classes: C.
        data_bn: normalise the input by a BatchNorm2d of its own (CoViAR's motion and residual).
        dropout: before the classifier, in training only.
    """

    def __init__(
        self,
        backbone: Backbone,
        num_classes: int,
        *,
        data_bn: bool = False,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.data_bn = nn.BatchNorm2d(backbone.in_channels) if data_bn else nn.Identity()
        self.backbone = backbone
        self.dropout = nn.Dropout(dropout)
        self.fc = nn.Linear(backbone.channels, num_classes)

    def features(self, x: Tensor) -> Tensor:
        """Frames (B, channels, H, W) to the feature map (B, c, h, w)."""
        found: Tensor = self.backbone(self.data_bn(x))
        return found

    def frame_outputs(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Frames (B, channels, H, W) to (pooled features (B, c), logits (B, C))."""
        pooled = self.features(x).mean((2, 3))
        return pooled, self.fc(self.dropout(pooled))

    def forward(self, x: Tensor) -> Tensor:
        """(N, S, channels, H, W): S segments of N videos, normalised; to logits (N, C)."""
        return consensus(self.frame_outputs(fold_segments(x))[1], x.shape[1])


def parameter_groups(
    stream: Stream, lr: float, weight_decay: float = 1e-4, *, image: bool = False
) -> list[dict[str, Any]]:
    """CoViAR's groups for an optimiser: learning rates by layer, no weight decay on biases.

    The classifier learns at `lr`; what lies next to the input (BatchNorm on the input, the stem) at
    0.1 `lr`, or with `image=True` (the I-frame stream, whose stem is pre-trained on images) at
    0.01 `lr`; all else at 0.01 `lr`. Biases include those of batch normalisation. These factors
    are for pre-trained backbones; from scratch give the optimiser `stream.parameters()`.

    CoViAR's optimiser is Adam(eps=1e-3), decayed by 0.1 at three epochs. lr, batch, epochs (steps):
    HMDB-51 I 3e-4, 40, 220 (55, 110, 165); motion 5e-3, 80, 360 (120, 200, 280); residual 1e-3, 80,
    300 (120, 180, 240). UCF-101 I 3e-4, motion 1e-2, residual 5e-3, 80, 510 (150, 270, 390).
    """
    stem = tuple(f"backbone.body.{name}." for name in stream.backbone.stem)
    groups: dict[tuple[float, float], list[nn.Parameter]] = {}
    for name, parameter in stream.named_parameters():
        if name.startswith("fc."):
            factor = 1.0
        elif not image and name.startswith(("data_bn.", *stem)):
            factor = 0.1
        else:
            factor = 0.01
        decay = 0.0 if name.endswith("bias") else weight_decay
        groups.setdefault((factor, decay), []).append(parameter)
    return [
        {"params": parameters, "lr": lr * factor, "weight_decay": decay}
        for (factor, decay), parameters in groups.items()
    ]


def fuse_scores(scores: Sequence[Tensor], weights: Sequence[float]) -> Tensor:
    """Weighted sum of scores (late fusion).

    CoViAR adds I, motion and residual 2 : 1 : 1; DMC-Net adds its own stream, 2 : 1 : 1 : 1.

    Args:
        scores: logits (N, C) of each stream, averaged over segments and crops, before softmax.
        weights: one for each.

    Raises:
        ValueError: their numbers differ.
    """
    if len(scores) != len(weights):
        raise ValueError(f"{len(scores)} scores but {len(weights)} weights")
    return torch.stack([s * w for s, w in zip(scores, weights, strict=True)]).sum(0)
