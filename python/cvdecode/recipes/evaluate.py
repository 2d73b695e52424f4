"""Testing one network, or several whose scores are added."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch.utils.data import DataLoader
from torchmetrics.classification import MulticlassAccuracy

from cvdecode.data import collate
from cvdecode.recipes import inputs, statistics
from cvdecode.recipes.config import Recipe
from cvdecode.recipes.systems import System


@dataclasses.dataclass
class Result:
    """Scores of every clip, and what follows from them."""

    paths: list[str]
    scores: torch.Tensor
    """Added scores (N, C), averaged over segments and crops before."""
    labels: torch.Tensor
    """int64 (N,)."""
    failures: int
    """Files that could not be read and are left out."""

    def summary(self) -> dict[str, Any]:
        """Accuracies (torchmetrics), and a 95 % bootstrap interval over the clips."""
        count = self.scores.shape[1]
        found: dict[str, Any] = {"videos": len(self.labels), "failures": self.failures}
        kinds = {"top1": (1, "micro"), "mean_class": (1, "macro")}
        if count > 5:
            kinds["top5"] = (5, "micro")
        for name, (top, average) in kinds.items():
            metric = MulticlassAccuracy(count, top_k=top, average=average)  # type: ignore[arg-type]
            found[name] = round(float(metric(self.scores, self.labels)), 5)
        right = (self.scores.argmax(1) == self.labels).numpy()
        found["top1_interval_95"] = [round(v, 5) for v in statistics.interval(right[None])]
        return found


@torch.no_grad()
def evaluate(
    systems: Sequence[System],
    recipes: Sequence[Recipe],
    videos: inputs.Videos,
    weights: Sequence[float] | None = None,
    *,
    workers: int = 0,
    device: str = "cpu",
    batch_size: int = 1,
    on_error: str = "raise",
    tick: Callable[[int, int], None] = lambda done, total: None,
) -> Result:
    """Score every video by every network.

    Args:
        systems: trained networks; several are fused late, their scores added.
        recipes: of each.
        videos: with labels.
        weights: of each network's scores (CoViAR: 2 for I, 1 for motion and residual); default 1.
        workers: processes that read.
        device: of the networks.
        batch_size: videos at a time; times segments and crops that is what a network sees at once.
        on_error: "raise" or "skip".
        tick: called after each batch with videos done and in all.

    Raises:
        ValueError: no video could be read; weights of another number.
    """
    factors = list(weights) if weights is not None else [1.0] * len(systems)
    if len(factors) != len(systems):
        raise ValueError(f"{len(factors)} weights for {len(systems)} networks")
    where = torch.device(device)
    total: dict[int, torch.Tensor] = {}
    labels: dict[int, int] = {}
    failures = 0
    for number, (net, recipe, factor) in enumerate(zip(systems, recipes, factors, strict=True)):
        net.to(where).eval()
        data = inputs.dataset(recipe, videos, "test", on_error=on_error)
        loader = DataLoader(data, batch_size, num_workers=workers, collate_fn=collate)
        seen: set[int] = set()
        for batch in loader:
            indices = batch["index"].tolist()
            if indices:
                views = inputs.prepare(recipe, batch, "test", where)
                scores = net.scores(views).cpu().view(len(indices), -1, len(videos.classes))
                for index, score in zip(indices, scores.mean(1), strict=True):
                    total[index] = total.get(index, torch.zeros(())) + factor * score
                seen.update(indices)
                labels.update(zip(indices, batch["label"].tolist(), strict=True))
            tick(number * len(data) + (indices[-1] + 1 if indices else 0), len(systems) * len(data))
        failures = max(failures, len(data) - len(seen))
    if not total:
        raise ValueError("no video could be read")
    order = sorted(total)
    return Result(
        [data.path(k) for k in order],
        torch.stack([total[k] for k in order]),
        torch.tensor([labels[k] for k in order]),
        failures,
    )
