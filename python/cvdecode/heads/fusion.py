"""Ways to classify three feature maps (I, motion, residual) of one moment, and the net around them.

All take maps (B, c, h, w) of one size and give logits (B, C), so the rows of Huo et al.'s Table 3
differ in this part alone.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from .backbones import Backbone, efficientnet_b1, small_cnn
from .pooling import CompactBilinearPooling, TrilinearPooling, signed_sqrt_l2
from .streams import consensus, fold_segments


class LateFusion(nn.Module):
    """The "I+MV+R" row: a linear classifier on the mean of each map; scores are added."""

    def __init__(self, channels: int, num_classes: int) -> None:
        super().__init__()
        self.fcs = nn.ModuleList(nn.Linear(channels, num_classes) for _ in range(3))

    def forward(self, iframe: Tensor, mv: Tensor, residual: Tensor) -> Tensor:
        """Maps (B, c, h, w) to logits (B, C)."""
        maps = (iframe, mv, residual)
        scores = [fc(x.mean((2, 3))) for fc, x in zip(self.fcs, maps, strict=True)]
        return torch.stack(scores).sum(0)


class ConcatMLP(nn.Module):
    """Control: the means of the three maps side by side, one hidden layer, trained jointly.

    Separates what joint training gives from what multiplication gives.

    Args:
        channels: c of the maps.
        num_classes: C.
        parameters: the hidden layer is as wide as this number of weights allows; default as many
            as `TrilinearHead` of the same c and C has.
    """

    def __init__(self, channels: int, num_classes: int, parameters: int | None = None) -> None:
        super().__init__()
        if parameters is None:
            parameters = 3 * channels * 1024 + 1025 * num_classes
        hidden = max(1, round((parameters - num_classes) / (3 * channels + 1 + num_classes)))
        self.layers = nn.Sequential(
            nn.Linear(3 * channels, hidden), nn.ReLU(), nn.Linear(hidden, num_classes)
        )

    def forward(self, iframe: Tensor, mv: Tensor, residual: Tensor) -> Tensor:
        """Maps (B, c, h, w) to logits (B, C)."""
        logits: Tensor = self.layers(torch.cat([x.mean((2, 3)) for x in (iframe, mv, residual)], 1))
        return logits


class BilinearHead(nn.Module):
    """The "BP" row: compact bilinear pooling and a classifier for each pair; scores are added."""

    def __init__(self, channels: int, num_classes: int, dim: int = 8192) -> None:
        super().__init__()
        self.pools = nn.ModuleList(
            CompactBilinearPooling(channels, dim, torch.Generator().manual_seed(seed))
            for seed in range(3)
        )
        self.fcs = nn.ModuleList(nn.Linear(dim, num_classes) for _ in range(3))

    def forward(self, iframe: Tensor, mv: Tensor, residual: Tensor) -> Tensor:
        """Maps (B, c, h, w) to logits (B, C)."""
        pairs = ((iframe, mv), (iframe, residual), (mv, residual))
        scores = [
            fc(pool(x, y)) for pool, fc, (x, y) in zip(self.pools, self.fcs, pairs, strict=True)
        ]
        return torch.stack(scores).sum(0)


class TrilinearHead(nn.Module):
    """The "TP" row, and with the adjacent GOP's I-frame "TTP" (Huo et al., sections 3.3, 3.4).

    s = P^T f_TTP(t), f_TTP(t) = f_TP(I_t, MV_t, R_t) + f_TP(I_t+dt, MV_t, R_t): no more parameters
    than TP has.

    AMBIGUOUS: whether root and norm come before or after that sum. Section 3.3 makes them part of
    f_TP, so they come before. MV_t and R_t are of one and the same frame (our reading of "one MV_t
    and one R_t are randomly selected"). P has a bias, as layers called FC do.
    """

    def __init__(self, channels: int, num_classes: int, dim: int = 1024, factors: int = 1) -> None:
        super().__init__()
        self.pool = TrilinearPooling(channels, dim, factors)
        self.fc = nn.Linear(dim, num_classes)

    def forward(
        self, iframe: Tensor, mv: Tensor, residual: Tensor, adjacent: Tensor | None = None
    ) -> Tensor:
        """Maps (B, c, h, w), `adjacent` of the adjacent GOP's I-frame, to logits (B, C)."""
        pair = self.pool.pair(mv, residual)
        pooled = signed_sqrt_l2(self.pool.with_pair(iframe, pair))
        if adjacent is not None:
            pooled = pooled + signed_sqrt_l2(self.pool.with_pair(adjacent, pair))
        logits: Tensor = self.fc(pooled)
        return logits


class ThreeStreamNet(nn.Module):
    """Three backbones and a way to fuse their maps; scores are averaged over the GOPs of a video.

    AMBIGUOUS in the paper: the score of a video; here the mean of s(t) over its sampled GOPs (TSN).

    Args:
        head: one of this module's, for the backbones' number of channels.
        iframe, mv, residual: backbones of 3, 2 and 3 input channels and maps of one shape; default
            EfficientNet-B1. B-frames fit: their motion enters as two channels, a displacement per
            frame of time towards the past (`accumulate`, or `hops=1, per_frame=True`).
    """

    def __init__(
        self,
        head: nn.Module,
        *,
        iframe: Backbone | None = None,
        mv: Backbone | None = None,
        residual: Backbone | None = None,
    ) -> None:
        super().__init__()
        self.iframe = iframe or efficientnet_b1()
        self.mv = mv or efficientnet_b1(2)
        self.residual = residual or efficientnet_b1()
        self.head = head

    def maps(
        self, iframe: Tensor, mv: Tensor, residual: Tensor, adjacent: Tensor | None = None
    ) -> tuple[Tensor, ...]:
        """The feature maps (N * T, c, h, w) of the inputs of `forward`, in their order."""
        frames = fold_segments(iframe)
        others = (self.mv(fold_segments(mv)), self.residual(fold_segments(residual)))
        if adjacent is None:
            return (self.iframe(frames), *others)
        both = self.iframe(torch.cat([frames, fold_segments(adjacent)]))
        now, then = both.chunk(2)
        return (now, *others, then)

    def forward(
        self, iframe: Tensor, mv: Tensor, residual: Tensor, adjacent: Tensor | None = None
    ) -> Tensor:
        """Scores (N, C) of N videos.

        Args:
            iframe: (N, T, 3, H, W), the I-frames of T GOPs; normalised as the module
                `coviar` says (224 x 224 in the paper).
            mv: (N, T, 2, H, W) of one frame of each GOP; any size whose map fits.
            residual: (N, T, 3, H, W) of the same frames.
            adjacent: (N, T, 3, H, W), the I-frames of the GOPs beside: TTP, with `TrilinearHead`
                alone. In training the GOP before or after by chance, in tests the one after for
                the first GOP and the one before for all others (`data.WithAdjacent`).
        """
        logits = self.head(*self.maps(iframe, mv, residual, adjacent))
        return consensus(logits, iframe.shape[1])


def small_three_stream(head: nn.Module, mv_stem_stride: int = 2) -> ThreeStreamNet:
    """`ThreeStreamNet` of small CNNs (64 channels): inputs about 56 x 56.

    Args:
        head: for 64 channels.
        mv_stem_stride: 2 for motion of the same size, 1 for half of it (a 4x4 grid).
    """
    return ThreeStreamNet(
        head, iframe=small_cnn(), mv=small_cnn(2, mv_stem_stride), residual=small_cnn()
    )
