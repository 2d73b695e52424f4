"""MFCD-Net (Battash et al., CVPR workshops 2020): residuals that mimic the frames they stand for.

A clip is one GOP of an I-frame and P-frames; a 3-D network sees the I-frame and augmented residuals
as if they were frames. A teacher of the same architecture sees the frames themselves.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .mfnet import MFNet3D

ClipKind = Literal["augmented", "residual", "residual_only"]
"""Rows of the paper's Table 3: [I, (R + I) / 2 ...], [I, R ...], [R1, R1, R2 ...]."""

_MEAN = (124.0, 117.0, 104.0)
_SCALE = 0.0167


def normalise_clip(clip: Tensor) -> Tensor:
    """MFNet's (x - (124, 117, 104)) * 0.0167.

    Args: clip: (N, 3, T, H, W) RGB in 0..255, any dtype. Returns float32.
    """
    mean = torch.tensor(_MEAN, device=clip.device).view(3, 1, 1, 1)
    return (clip.float() - mean) * _SCALE


def compressed_clip(
    iframe: Tensor, residual: Tensor, kind: ClipKind = "augmented", *, offset: float = 0.0
) -> Tensor:
    """The student's input: slot 0 the I-frame, slot k (R_k + I) / 2 (equation 3), normalised.

    R_k is CoViAR's accumulated residual, a difference of reconstructed pictures
    (`accumulate(..., residual="recon_diff")`). No motion vectors are used.

    AMBIGUOUS: the range of R. Here R is centred at 0, in [-255, 255], so a slot lies in
    [-127.5, 255]; `offset=128` is the alternative of a residual stored as an image.

    Args:
        iframe: (N, 3, H, W) RGB in 0..255, any dtype.
        residual: (N, T - 1, 3, H, W) in [-255, 255], any dtype; T = 12 in the paper.
        kind: "augmented" is the paper's method; the others its ablation (equations 9 and 10).
        offset: added to R.

    Returns (N, 3, T, H, W) float32.
    """
    first = iframe.float().unsqueeze(1)
    rest = residual.float() + offset
    if kind == "augmented":
        rest = (rest + first) / 2
    elif kind == "residual_only":
        first = rest[:, :1]
    return normalise_clip(torch.cat([first, rest], 1).transpose(1, 2))


def kl_divergence(p_logits: Tensor, q_logits: Tensor, tau: float) -> Tensor:
    """KL(softmax(p / tau) || softmax(q / tau)), mean over the batch; (N, C) twice to a scalar."""
    log_p = F.log_softmax(p_logits / tau, -1)
    log_q = F.log_softmax(q_logits / tau, -1)
    return F.kl_div(log_q, log_p, reduction="batchmean", log_target=True)


class MimicLosses(NamedTuple):
    """A loss and its parts, unweighted."""

    total: Tensor
    classification: Tensor
    hints: Tensor
    soft: Tensor


def mimic_loss(
    student: tuple[Tensor, Sequence[Tensor]],
    teacher: tuple[Tensor, Sequence[Tensor]],
    labels: Tensor,
    *,
    hint_weight: float = 1.0,
    soft_weight: float = 1.0,
    tau: float = 4.0,
    hinton: bool = False,
) -> MimicLosses:
    """Cross-entropy + l1 * sum of hints + l2 * KL (equation 8).

    A hint is the mean square difference of two feature maps. The KL divergence is printed as
    KL(student || teacher), without tau^2 (equation 6): that is the default; `hinton=True` is
    KL(teacher || student) * tau^2.

    AMBIGUOUS in the paper: which layers (here all given, conv2 to conv5), both weights (1, 1), tau
    (4), sum or mean (mean).

    Args:
        student, teacher: (logits (N, C), feature maps) as `MFNet3D.run` gives them.
        labels: (N,) int64.
        hint_weight, soft_weight: l1 and l2.
        tau: temperature.
        hinton: direction and scale of the KL divergence.
    """
    classification = F.cross_entropy(student[0], labels)
    pairs = zip(student[1], teacher[1], strict=True)
    hints = torch.stack([F.mse_loss(s, t.detach()) for s, t in pairs]).sum()
    if hinton:
        soft = kl_divergence(teacher[0].detach(), student[0], tau) * (tau * tau)
    else:
        soft = kl_divergence(student[0], teacher[0].detach(), tau)
    total = classification + hint_weight * hints + soft_weight * soft
    return MimicLosses(total, classification, hints, soft)


class RgbTeacher(nn.Module):
    """The net trained on frames, frozen: no gradients, and evaluation mode whatever train() says.

    The paper starts every student from this net's weights too: `student.load_state_dict(...)`.
    Its optimiser is SGD(lr 0.005, momentum 0.9, weight decay 1e-4).
    """

    def __init__(self, net: MFNet3D) -> None:
        super().__init__()
        self.net = net.requires_grad_(False)
        self.eval()

    def train(self, mode: bool = True) -> RgbTeacher:
        """Stays in evaluation mode."""
        return super().train(False)

    @torch.no_grad()
    def forward(self, clip: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Frames (N, 3, T, H, W), normalised, to logits and feature maps as `MFNet3D.run`."""
        return self.net.run(clip)
