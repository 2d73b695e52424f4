"""The rows of the ablation tables: which net, which loss, what it sees."""

from __future__ import annotations

from typing import Any

import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from cvdecode import heads
from evidence.training import Batch, Drawn, Schedule, fit, logits

Array = npt.NDArray[Any]
WIDTHS = (12, 24, 48)
CHANNELS = WIDTHS[-1]
DIM = 256
"""D of trilinear pooling; compact bilinear pooling has 512."""


def backbone(kind: str) -> heads.Backbone:
    """Maps of 7x7: I and residual (luma) from 56x56, motion from 28x28."""
    if kind == "mv":
        return heads.small_cnn(2, 1, WIDTHS)
    return heads.small_cnn(1, 2, WIDTHS)


class SmallSketch(heads.CompactBilinearPooling):
    """The same numbers by the outer product itself: of 48 channels that is ten times faster."""

    def products(self, x: Tensor, y: Tensor) -> Tensor:
        outer = x.flatten(2) @ y.flatten(2).transpose(1, 2)
        sign = self.sign_x[:, None] * self.sign_y
        cell = (self.hash_x[:, None] + self.hash_y) % self.dim
        flat = (outer * sign).flatten(1)
        return flat.new_zeros(len(flat), self.dim).index_add(1, cell.flatten(), flat)


def single(kind: str, train: Drawn, classes: int, schedule: Schedule) -> heads.Stream:
    """One stream by itself; ``kind`` is "iframe", "mv", "residual" or "flow"."""
    net = heads.Stream(backbone("mv" if kind in ("mv", "flow") else kind), classes)
    fit(net, lambda b: cross_entropy(net(getattr(b, kind)), b.label), train, schedule)
    return net


def fused(name: str, train: Drawn, classes: int, schedule: Schedule) -> nn.Module:
    """concat, BP, TP or TTP: three backbones and a head, trained together from scratch."""
    dim = DIM
    if name == "concat":  # as many weights as TP's head
        weights = 3 * CHANNELS * dim + (dim + 1) * classes
        head: nn.Module = heads.ConcatMLP(CHANNELS, classes, weights)
    elif name == "late":
        head = heads.LateFusion(CHANNELS, classes)
    elif name == "BP":
        head = heads.BilinearHead(CHANNELS, classes, 2 * dim)
        head.pools = nn.ModuleList(
            SmallSketch(CHANNELS, 2 * dim, torch.Generator().manual_seed(k)) for k in range(3)
        )
    else:
        head = heads.TrilinearHead(CHANNELS, classes, dim)
    net = heads.ThreeStreamNet(
        head, iframe=backbone("iframe"), mv=backbone("mv"), residual=backbone("residual")
    )
    see = viewer(net, temporal=name == "TTP")
    fit(net, lambda b: cross_entropy(see(b), b.label), train, schedule)
    return net


class FrozenBackbones(heads.ThreeStreamNet):
    """Backbones that were trained one by one and stay as they are; only the head learns."""

    def train(self, mode: bool = True) -> FrozenBackbones:
        super().train(mode)
        for backbone in (self.iframe, self.mv, self.residual):
            backbone.train(False)
        return self


def frozen(
    train: Drawn, classes: int, schedule: Schedule, streams: tuple[heads.Stream, ...]
) -> nn.Module:
    """TP on the backbones of ``streams`` (I, motion, residual), whose weights are kept."""
    iframe, mv, residual = (stream.backbone.requires_grad_(False) for stream in streams)
    head = heads.TrilinearHead(CHANNELS, classes, DIM)
    net = FrozenBackbones(head, iframe=iframe, mv=mv, residual=residual)
    see = viewer(net, temporal=False)
    fit(net, lambda b: cross_entropy(see(b), b.label), train, schedule)
    return net


def viewer(net: nn.Module, *, temporal: bool) -> Any:
    def see(batch: Batch) -> torch.Tensor:
        adjacent = batch.adjacent if temporal else None
        return net(batch.iframe, batch.mv, batch.residual, adjacent)

    return see


def attp(
    train: Drawn, classes: int, schedule: Schedule, teacher: heads.Stream, kind: str = "both"
) -> heads.ATTP:
    """TTP whose motion net is aligned with a net trained on flow."""
    net = heads.ATTP(
        classes, dim=DIM,
        iframe=backbone("iframe"), mv=backbone("mv"), residual=backbone("residual"),
    )  # fmt: skip
    frozen = heads.FlowTeacher(teacher)

    def loss(b: Batch) -> torch.Tensor:
        out = net.run(b.iframe, b.mv, b.residual, b.adjacent)
        return heads.attp_loss(out, b.label, frozen(b.flow), kind=kind)

    fit(net, loss, train, schedule)
    return net


def run(name: str, net: nn.Module, test: Drawn) -> Array:
    """Scores (N, C) of the test clips."""
    if isinstance(net, heads.Stream):
        return logits(net, lambda b: net(getattr(b, name)), test)
    return logits(net, viewer(net, temporal=name in ("TTP", "ATTP")), test)
