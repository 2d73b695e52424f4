"""Enhancers as plain dictionaries, for torch.save and torch.load(weights_only=True)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .networks import Enhancer, FrameByFrame, FrameRecurrent, MultiFrame

FORMAT = "cvdecode enhancer 1"
NETWORKS: dict[str, type[Enhancer]] = {
    network.__name__: network for network in (FrameByFrame, MultiFrame, FrameRecurrent)
}


def checkpoint(model: Enhancer) -> dict[str, Any]:
    """Architecture, sizes and weights: numbers, strings and tensors only."""
    return {
        "format": FORMAT,
        "network": type(model).__name__,
        "arguments": dict(model.arguments),
        "state": model.state_dict(),
    }


def from_checkpoint(saved: Mapping[str, Any]) -> Enhancer:
    """The enhancer that `checkpoint` was given, in evaluation mode.

    Raises:
        ValueError: this is no such dictionary.
        RuntimeError: weights are missing or have other shapes.
    """
    if saved.get("format") != FORMAT or saved.get("network") not in NETWORKS:
        raise ValueError(
            f"this is no {FORMAT!r}: save one with torch.save(checkpoint(model), path)"
        )
    model = NETWORKS[saved["network"]](**saved["arguments"])
    model.load_state_dict(saved["state"])
    return model.eval()
