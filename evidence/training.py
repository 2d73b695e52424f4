"""Batches of small tensors and one training loop for every row of every table."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from evidence.tensors import Tensors

Array = npt.NDArray[Any]


@dataclasses.dataclass
class Batch:
    """B clips, T GOPs each: what the nets see, normalised."""

    iframe: Tensor
    """(B, T, 1, 56, 56)"""
    adjacent: Tensor
    """(B, T, 1, 56, 56): the I picture of a neighbouring GOP."""
    mv: Tensor
    """(B, T, 2, 28, 28)"""
    residual: Tensor
    """(B, T, 1, 56, 56)"""
    flow: Tensor
    """(B, T, 2, 28, 28), or empty."""
    label: Tensor


@dataclasses.dataclass(frozen=True)
class Schedule:
    """AdamW with one cycle of the learning rate; the same for every row of a table."""

    epochs: int = 30
    batch: int = 32
    lr: float = 4e-3
    decay: float = 1e-3


def gather(
    data: Tensors, label: Array, clips: Array, gop: Array, pos: Array, beside: Array
) -> Batch:
    """clips (B,), gop, pos (0 to 10) and beside (B, T)."""
    rows = clips[:, None]

    def tensor(array: Array, scale: float, offset: float = 0.0) -> Tensor:
        return (torch.from_numpy(np.ascontiguousarray(array)).float() - offset) / scale

    return Batch(
        iframe=tensor(data.iframe[rows, gop][:, :, None], 40, 120),
        adjacent=tensor(data.iframe[rows, beside][:, :, None], 40, 120),
        mv=tensor(data.mv[rows, gop, pos], 4 * 8),
        residual=tensor(data.residual[rows, gop, pos][:, :, None], 16),
        flow=tensor(data.flow[rows, gop, pos], 8) if data.flow.size else torch.empty(0),
        label=torch.from_numpy(label[clips]),
    )


class Drawn:
    """Draws pictures for training and testing; the draws depend on the seed alone.

    Args:
        data: the clips.
        label: class of each.
        kinds: pictures that may be drawn: "P", "B" or "PB".
        seed: of the draws.
    """

    def __init__(self, data: Tensors, label: Array, kinds: str, seed: int) -> None:
        self.data, self.label, self.seed = data, label, seed
        allowed = np.isin(data.kind, list(kinds))
        if not allowed.any(-1).all():
            raise ValueError(f"there are GOPs without a picture of {kinds}")
        # Uniform among the allowed pictures: the largest of uniform numbers.
        self.bonus = np.where(allowed, 0, -2.0)

    def _positions(self, rng: np.random.Generator) -> Array:
        return (rng.random(self.bonus.shape) + self.bonus).argmax(-1)

    def train(self, epoch: int, batch: int) -> Iterable[Batch]:
        """Every clip once, one GOP of each, one picture of that."""
        rng = np.random.default_rng([self.seed, 1, epoch])
        order = rng.permutation(len(self.data))
        pos = self._positions(rng)
        gops = self.bonus.shape[1]
        gop = rng.integers(0, gops, (len(self.data), 1))
        step = rng.integers(0, 2, gop.shape) * 2 - 1
        beside = np.clip(gop + step, 0, gops - 1)
        for first in range(0, len(order) - batch + 1, batch):
            c = order[first : first + batch]
            at = np.take_along_axis(pos[c], gop[c], 1)
            yield gather(self.data, self.label, c, gop[c], at, beside[c])

    def test(self, batch: int) -> Iterable[Batch]:
        """Every clip once, all its GOPs, one picture of each: the same for every row."""
        pos = self._positions(np.random.default_rng([self.seed, 2]))
        gop = np.arange(self.bonus.shape[1])
        beside = np.where(gop == 0, min(1, len(gop) - 1), gop - 1)
        for first in range(0, len(self.data), batch):
            c = np.arange(first, min(first + batch, len(self.data)))
            shape = (len(c), len(gop))
            yield gather(
                self.data, self.label, c, np.broadcast_to(gop, shape), pos[c],
                np.broadcast_to(beside, shape),
            )  # fmt: skip


def fit(
    model: nn.Module,
    loss: Callable[[Batch], Tensor],
    drawn: Drawn,
    schedule: Schedule,
    parameters: Iterable[nn.Parameter] | None = None,
) -> None:
    """Train in place."""
    model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # a third faster
    chosen = [p for p in (parameters or model.parameters()) if p.requires_grad]
    optimiser = torch.optim.AdamW(chosen, lr=schedule.lr, weight_decay=schedule.decay, fused=True)
    steps = schedule.epochs * (len(drawn.data) // schedule.batch)
    rate = torch.optim.lr_scheduler.OneCycleLR(optimiser, schedule.lr, total_steps=steps)
    model.train()
    for epoch in range(schedule.epochs):
        for batch in drawn.train(epoch, schedule.batch):
            optimiser.zero_grad(set_to_none=True)
            loss(batch).backward()
            nn.utils.clip_grad_norm_(chosen, 5.0)
            optimiser.step()
            rate.step()
    model.eval()


@torch.no_grad()
def logits(model: nn.Module, see: Callable[[Batch], Tensor], drawn: Drawn) -> Array:
    """(N, C) of the test clips."""
    model.eval()
    return torch.cat([see(batch) for batch in drawn.test(64)]).numpy()


def right(scores: Array, label: Array) -> Array:
    return (scores.argmax(1) == label).astype(np.float64)
