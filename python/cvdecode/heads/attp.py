"""ATTP (Huo et al., ECCV workshops 2020): trilinear pooling with motion aligned to flow."""

from __future__ import annotations

from typing import Literal, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .backbones import Backbone, small_cnn
from .fusion import ThreeStreamNet, TrilinearHead
from .streams import Stream, consensus, fold_segments

Alignment = Literal["none", "fc", "kd", "both"]
"""What is aligned: nothing, the logits, the softened probabilities (knowledge distillation after
Hinton), or features before and after the classifier (the paper's)."""


class AlignedOutput(NamedTuple):
    """What ATTP gives in training."""

    logits: Tensor
    """(N, C) of the fused net, the mean over GOPs."""
    mv_pooled: Tensor
    """Features of the motion net before its classifier, (N * T, c)."""
    mv_logits: Tensor
    """Its features after it, (N * T, C)."""


class ATTP(ThreeStreamNet):
    """TTP whose motion net has a classifier of its own, used for the alignment in training alone.

    Args:
        num_classes: C.
        dim, factors: D and d of the trilinear pooling.
        iframe, mv, residual: backbones as in `ThreeStreamNet`; default EfficientNet-B1.

    AMBIGUOUS in the paper: accumulated motion or not (as CoViAR: accumulated), optimiser and
    epochs (as CoViAR), B-frames' motion (two channels, displacement here minus source).
    """

    def __init__(
        self,
        num_classes: int,
        *,
        dim: int = 1024,
        factors: int = 1,
        iframe: Backbone | None = None,
        mv: Backbone | None = None,
        residual: Backbone | None = None,
    ) -> None:
        channels = iframe.channels if iframe is not None else 1280
        head = TrilinearHead(channels, num_classes, dim, factors)
        super().__init__(head, iframe=iframe, mv=mv, residual=residual)
        self.mv_fc = nn.Linear(self.mv.channels, num_classes)

    def run(
        self, iframe: Tensor, mv: Tensor, residual: Tensor, adjacent: Tensor | None
    ) -> AlignedOutput:
        """All that `attp_loss` needs; arguments as in `ThreeStreamNet.forward`."""
        maps = self.maps(iframe, mv, residual, adjacent)
        logits = consensus(self.head(*maps), iframe.shape[1])
        pooled = maps[1].mean((2, 3))
        return AlignedOutput(logits, pooled, self.mv_fc(pooled))


class FlowTeacher(nn.Module):
    """A net trained on optical flow, frozen: no gradients, always in evaluation mode.

    Args:
        stream: of 2 input channels and the motion net's architecture, already trained on flow.

    AMBIGUOUS in the paper: whether the flow net is trained along. Here it is trained before and
    then frozen. Flow: TV-L1 in DMC-Net, not named by Huo et al.
    """

    def __init__(self, stream: Stream) -> None:
        super().__init__()
        self.stream = stream.requires_grad_(False)
        self.eval()

    def train(self, mode: bool = True) -> FlowTeacher:
        """Stays in evaluation mode."""
        return super().train(False)

    @torch.no_grad()
    def forward(self, flow: Tensor) -> tuple[Tensor, Tensor]:
        """Flow (N, T, 2, H, W) of the frames whose motion is used, normalised like motion.

        Returns pooled features (N * T, c) and logits (N * T, C).
        """
        return self.stream.frame_outputs(fold_segments(flow))


def alignment_loss(
    student: tuple[Tensor, Tensor],
    teacher: tuple[Tensor, Tensor],
    kind: Alignment = "both",
    tau: float = 4.0,
) -> Tensor:
    """||f3d_MV - f3d_OF||^2 + ||ffc_MV - ffc_OF||^2 (equation 8), or a part for the ablation.

    AMBIGUOUS: sum or mean over elements; here the mean, so that `weight` does not depend on sizes.
    "f3d" is read as the pooled features before the classifier.

    Args:
        student, teacher: (features before (B, c), after the classifier (B, C)).
        kind: "both" is the paper's; "fc" the second term; "kd" KL(teacher || student) of
            softmax(logits / tau), times tau^2; "none" is 0.
        tau: temperature of "kd".
    """
    if kind == "none":
        return student[1].new_zeros(())
    if kind == "kd":
        return F.kl_div(
            F.log_softmax(student[1] / tau, -1),
            F.log_softmax(teacher[1] / tau, -1),
            reduction="batchmean",
            log_target=True,
        ) * (tau * tau)
    loss = F.mse_loss(student[1], teacher[1])
    return loss if kind == "fc" else loss + F.mse_loss(student[0], teacher[0])


def attp_loss(
    out: AlignedOutput,
    labels: Tensor,
    teacher: tuple[Tensor, Tensor],
    *,
    weight: float = 1.0,
    kind: Alignment = "both",
) -> Tensor:
    """Cross-entropy of the fused scores + `weight` * alignment (equation 10, weight 1).

    Args:
        out: of `ATTP.run`.
        labels: (N,) int64.
        teacher: of `FlowTeacher`, for the same frames.
        weight: lambda.
        kind: as in `alignment_loss`.
    """
    aligned = alignment_loss((out.mv_pooled, out.mv_logits), teacher, kind)
    return F.cross_entropy(out.logits, labels) + weight * aligned


def small_attp(num_classes: int, dim: int = 256, mv_stem_stride: int = 2) -> ATTP:
    """ATTP of small CNNs (64 channels, D = 256): inputs about 56 x 56."""
    return ATTP(
        num_classes,
        dim=dim,
        iframe=small_cnn(),
        mv=small_cnn(2, mv_stem_stride),
        residual=small_cnn(),
    )
