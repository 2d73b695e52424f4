"""CoViAR (Wu et al., CVPR 2018): three networks, one for each kind of compressed data.

Inputs, as its authors trained it: frames of a P-only GOP of 12 at 340 x 256, cropped to 224 x 224,
three segments of each video.

- I-frame: RGB, x / 255, less (.485, .456, .406), over (.229, .224, .225).
- Motion: accumulated displacement here minus source in samples, (x, y); int(v * 127.5 / 20) + 128
  clipped to 0..255 (that is +-20 samples), / 255, less 0.5: in [-0.5, 0.5].
- Residual: the accumulated *reconstruction difference* (`residual="recon_diff"`, not the coded
  residual), BGR, + 128 clipped to 0..255, / 255, less 0.5, over (.229, .224, .225).
"""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor, nn

from .backbones import resnet18, resnet152, small_cnn
from .streams import Stream, fuse_scores

FUSION = (2.0, 1.0, 1.0)
"""Weights of the scores of I, motion and residual."""


class Scores(NamedTuple):
    """Logits (N, C) of each stream."""

    iframe: Tensor
    mv: Tensor
    residual: Tensor


class CoViAR(nn.Module):
    """Three streams that are trained apart and whose scores are added 2 : 1 : 1.

    Args:
        num_classes: C.
        iframe, mv, residual: streams of your own; default ResNet-152 for I, ResNet-18 for motion
            (2-channel conv1) and residual, both with BatchNorm2d on the input.
    """

    def __init__(
        self,
        num_classes: int,
        *,
        iframe: Stream | None = None,
        mv: Stream | None = None,
        residual: Stream | None = None,
    ) -> None:
        super().__init__()
        self.iframe = iframe or Stream(resnet152(), num_classes)
        self.mv = mv or Stream(resnet18(2), num_classes, data_bn=True)
        self.residual = residual or Stream(resnet18(), num_classes, data_bn=True)

    def scores(self, iframe: Tensor, mv: Tensor, residual: Tensor) -> Scores:
        """As `forward`, but the scores of each stream: each is trained by a loss of its own."""
        return Scores(self.iframe(iframe), self.mv(mv), self.residual(residual))

    def forward(self, iframe: Tensor, mv: Tensor, residual: Tensor) -> Tensor:
        """Fused scores (N, C).

        Args:
            iframe: (N, S, 3, H, W), normalised as the module says; H and W 224 in the paper.
            mv: (N, S', 2, H, W).
            residual: (N, S'', 3, H, W).
        """
        return fuse_scores(self.scores(iframe, mv, residual), FUSION)


def small_coviar(num_classes: int, mv_stem_stride: int = 2) -> CoViAR:
    """CoViAR with three small CNNs: I and residual about 56 x 56.

    Args:
        num_classes: C.
        mv_stem_stride: 2 for motion of the same size, 1 for half of it.
    """
    return CoViAR(
        num_classes,
        iframe=Stream(small_cnn(), num_classes),
        mv=Stream(small_cnn(2, mv_stem_stride), num_classes, data_bn=True),
        residual=Stream(small_cnn(), num_classes, data_bn=True),
    )
