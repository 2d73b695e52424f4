"""Checkpoints: a network that says what it is, and a training that can go on.

The file is a dictionary of tensors and plain values, read with ``weights_only=True``: loading one
runs no code of its maker.
"""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path
from typing import Any

import torch

from cvdecode.recipes import records
from cvdecode.recipes.config import Recipe, from_dict
from cvdecode.recipes.inputs import Videos
from cvdecode.recipes.systems import System, system

FORMAT = 1
NAME = "checkpoint.pt"


@dataclasses.dataclass
class State:
    """Where a training stands."""

    epoch: int = 0
    batch: int = 0
    """Batches done of this epoch."""
    step: int = 0
    """Batches done in all."""
    log_bytes: int = 0
    """Length of results.jsonl at that time."""


@dataclasses.dataclass
class Trained:
    """A network out of a checkpoint."""

    recipe: Recipe
    classes: list[str]
    system: System
    step: int


def save(
    out: Path,
    recipe: Recipe,
    videos: Videos,
    seed: int,
    net: System,
    optimisers: dict[str, torch.optim.Optimizer],
    state: State,
) -> None:
    """Write ``out/checkpoint.pt``; a kill at any moment leaves the old file or the new one."""
    content = {
        "format": FORMAT,
        "recipe": recipe.as_dict(),
        "classes": videos.classes,
        "videos": len(videos.entries),
        "seed": seed,
        "system": {k: v for k, v in net.state_dict().items() if not k.startswith("teacher.")},
        "optimisers": {name: each.state_dict() for name, each in optimisers.items()},
        "state": dataclasses.asdict(state),
    }
    records.save(out / NAME, content)


def _read(path: Path) -> dict[str, Any]:
    try:
        content: Any = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise ValueError(f"{path}: no such checkpoint") from None
    except Exception as error:  # torch raises many kinds for a file that is something else
        raise ValueError(f"{path} is no checkpoint of cvdecode train: {error}") from error
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise ValueError(f"{path} is no checkpoint of cvdecode train (format {FORMAT})")
    return content


def load(path: str | os.PathLike[str]) -> Trained:
    """The network of a checkpoint (or of the folder it lies in), in evaluation mode."""
    where = Path(path)
    content = _read(where / NAME if where.is_dir() else where)
    recipe = from_dict(content["recipe"])
    net = system(recipe, len(content["classes"]))
    net.load_state_dict(content["system"])
    net.eval()
    return Trained(recipe, content["classes"], net, content["state"]["step"])


def start_from(net: System, path: str | os.PathLike[str]) -> int:
    """Copy the weights whose names and shapes agree; how many.

    DMC-Net's second stage starts so from its first.
    """
    where = Path(path)
    weights = _read(where / NAME if where.is_dir() else where)["system"]
    mine = net.state_dict()
    fitting = {k: v for k, v in weights.items() if k in mine and mine[k].shape == v.shape}
    if not fitting:
        raise ValueError(f"{path}: no weight fits this recipe's networks")
    net.load_state_dict(fitting, strict=False)
    return len(fitting)


def resume(
    out: Path,
    recipe: Recipe,
    videos: Videos,
    seed: int,
    net: System,
    optimisers: dict[str, torch.optim.Optimizer],
) -> State:
    """Load ``out/checkpoint.pt`` into these objects; a fresh State where there is none.

    Raises ValueError where it is of another recipe, seed, number of videos or classes: going on
    would mix two trainings.
    """
    if not (out / NAME).exists():
        return State()
    content = _read(out / NAME)
    # A key that is younger than the checkpoint had what is its default now.
    content["recipe"] = from_dict(content["recipe"]).as_dict()
    here = {
        "recipe": recipe.as_dict(),
        "seed": seed,
        "classes": videos.classes,
        "videos": len(videos.entries),
    }
    for name, value in here.items():
        if content[name] != value:
            raise ValueError(
                f"{out / NAME} is of another {name} ({content[name]}, not {value}); "
                "give another folder with --out, or the settings that it was started with"
            )
    net.load_state_dict(content["system"], strict=False)
    for name, each in optimisers.items():
        each.load_state_dict(content["optimisers"][name])
    return State(**content["state"])
