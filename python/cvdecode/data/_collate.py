"""Samples to a batch: stacked, or padded with masks where they are ragged."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

PADDED = {"frames": -1, "iframes": -1}
"""What padding holds; 0 in everything else."""


class Skipped(dict[str, Any]):
    """In the place of a sample that could not be read, with on_error="skip"; collate drops it."""


def collate(samples: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """A batch of samples.

    Tensors get a first axis B. Where their shapes differ (GOPs of different number or length,
    pictures of different size) each axis is padded to the longest with zeros, ``frames`` and
    ``iframes`` with -1. Added: ``frame_mask`` and ``iframe_mask``, bool of the shapes of
    ``frames`` and ``iframes``: False on padding. ``meta`` becomes a list of dicts.

    Skipped samples are left out, so B may be less than was asked for. With none left the batch
    holds empty ``label``, ``index`` and ``meta`` alone.
    """
    kept = [sample for sample in samples if not isinstance(sample, Skipped)]
    if not kept:
        none = torch.zeros(0, dtype=torch.int64)
        return {"label": none, "index": none.clone(), "meta": []}
    batch: dict[str, Any] = {}
    for name, first in kept[0].items():
        values = [sample[name] for sample in kept]
        batch[name] = _stack(values, PADDED.get(name, 0)) if torch.is_tensor(first) else values
    for name in ("frames", "iframes"):
        if name in batch:
            batch[f"{name[:-1]}_mask"] = batch[name] >= 0
    return batch


def _stack(tensors: list[torch.Tensor], padding: int) -> torch.Tensor:
    shapes = {tuple(tensor.shape) for tensor in tensors}
    if len(shapes) == 1:
        return torch.stack(tensors)
    if len({len(shape) for shape in shapes}) > 1:
        raise ValueError(f"samples of shapes {sorted(shapes)} do not make a batch")
    longest = [max(sizes) for sizes in zip(*shapes, strict=True)]
    out = tensors[0].new_full((len(tensors), *longest), padding)
    for row, tensor in zip(out, tensors, strict=True):
        row[tuple(slice(0, size) for size in tensor.shape)] = tensor
    return out
