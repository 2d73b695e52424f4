"""A video network trained on files of clips; after a kill it goes on with the epoch it was at."""

from __future__ import annotations

import dataclasses
import hashlib
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

import cvdecode
from cvdecode.study import clips
from cvdecode.study.clips import ClipSpec
from cvdecode.study.errors import StudyError
from cvdecode.study.models import MODELS, is_module, resolve
from cvdecode.study.records import Record
from cvdecode.study.sources import one_line

from .clip_nets import NETS
from .records import save

Files = Sequence[tuple[str, int]]
"""(path, class)."""


@dataclasses.dataclass(frozen=True)
class Schedule:
    """How every network of a matrix is trained; one cycle of the learning rate.

    The paper's: Adam at 1e-4, for transformers gradient descent with momentum 0.9 at 5e-4; weight
    decay 5e-5, batches of 8, 5 epochs from Kinetics weights (50 of HMDB), short side random between
    256 and 320, crops of 224, mirrored by half; whether its rate was constant it does not say. A
    clip starts anywhere in its video in training, and at frame 0 in testing.
    """

    epochs: int = 5
    batch: int = 8
    lr: float = 1e-4
    optimiser: str = "adam"
    """"adam" or "sgd"."""
    flip: bool = True
    device: str = "cpu"


ZOOM = 320 / 256
"""Largest random factor on the short side."""
DECAY = 5e-5

READING = (cvdecode.Error, OSError, ValueError)
"""What a clip that cannot be read raises."""


class Unreadable(StudyError):
    """A clip could not be read in training; `path` is its file."""

    def __init__(self, path: str, error: BaseException) -> None:
        super().__init__(f"{path}: {one_line(error)}")
        self.path = path


def unreadable(files: Files, spec: ClipSpec, jobs: int = 1) -> dict[str, str]:
    """Why, by path, of the clips from whose start a network cannot be given its frames."""

    def why(path: str) -> str | None:
        try:
            clips.load(path, spec)
        except READING as error:
            return one_line(error)
        return None

    paths = [path for path, _ in files]
    with ThreadPoolExecutor(max(1, jobs)) as pool:
        return {p: said for p, said in zip(paths, pool.map(why, paths), strict=True) if said}


def network(name: str, weights: str | None, classes: int) -> tuple[ClipSpec, nn.Module, list[str]]:
    """A model by name, as a torch module with as many scores as classes, to be trained.

    Args:
        name: as for `cvdecode.study.models.build`, or of NETS.
        weights: of known models, those that fit are taken, so that a classifier of other classes
            is learned anew.

    Returns:
        Its clip settings, the module, and the names of the weights that did not fit.

    Raises:
        StudyError: it is no torch module, or no weight fits.
    """
    left: list[str] = []
    known = name in {**MODELS, **NETS}
    taken = known and weights is not None and os.path.isfile(weights)
    model = resolve(name, None if taken else weights, classes, NETS)
    if not is_module(model.call):
        raise StudyError(f"{name} is no torch module: it can be evaluated, not trained")
    net: Any = model.call
    if taken:
        found = torch.load(str(weights), map_location="cpu", weights_only=True)
        found, mine = found.get("model_state", found), net.state_dict()
        fits = {k: v for k, v in found.items() if k in mine and mine[k].shape == v.shape}
        if not fits:
            raise StudyError(f"{weights}: no weight in it fits {name}")
        net.load_state_dict(fits, strict=False)
        left = sorted(set(mine) - set(fits))
    elif known and getattr(getattr(net, "config", None), "num_labels", classes) != classes:
        net.classifier = nn.Linear(net.classifier.in_features, classes)  # of transformers
        net.num_labels = net.config.num_labels = classes
        left = ["classifier.bias", "classifier.weight"]
    return model.spec, net, left


def digest(files: Files) -> str:
    """Names the content of a set of labelled files: their names, sizes and classes."""

    def size(path: str) -> int | None:
        return os.path.getsize(path) if os.path.exists(path) else None

    told = (f"{Path(path).name} {size(path)} {label}\n" for path, label in files)
    return hashlib.sha256("".join(told).encode()).hexdigest()[:16]


def fit(
    net: nn.Module,
    spec: ClipSpec,
    files: Files,
    schedule: Schedule,
    seed: int,
    *,
    state: Path,
    made_of: Record,
    jobs: int = 1,
    tick: Callable[[int, int], None] = lambda step, steps: None,
) -> list[float]:
    """Trains a network; goes on from `state`, which is written each epoch.

    Args:
        state: file of the training so far; it stays there.
        made_of: what makes the training what it is; a file of another is not taken.
        jobs: clips read at a time.

    Returns:
        The mean loss of each epoch.

    Raises:
        Unreadable: a clip; the training so far is of no use without it.
        StudyError: `state` is of another training; the module's scores are not (B, classes).
    """
    net.to(schedule.device)
    batch = min(schedule.batch, len(files))
    steps = len(files) // batch
    optimiser = _optimiser(net, schedule)
    rate = torch.optim.lr_scheduler.OneCycleLR(
        optimiser, schedule.lr, total_steps=max(2, schedule.epochs * steps), cycle_momentum=False
    )  # momentum, and Adam's betas, stay the paper's
    losses: list[float] = []
    if state.exists():
        before = torch.load(state, map_location=schedule.device, weights_only=True)
        same(before, made_of, state)
        losses = before["losses"]
        net.load_state_dict(before["model_state"])
        optimiser.load_state_dict(before["optimiser"])
        rate.load_state_dict(before["rate"])

    def read(row: int, drawn: Any) -> npt.NDArray[np.float32]:
        at, zoom, top, left, side = drawn
        try:
            rgb = clips.load(files[row][0], spec, float(at))
        except READING as error:
            raise Unreadable(files[row][0], error) from error
        return clips.preprocess(
            rgb,
            spec,
            zoom=1 + float(zoom) * (ZOOM - 1),
            place=(float(top), float(left)),
            mirrored=schedule.flip and bool(side < 0.5),
        )

    with ThreadPoolExecutor(max(1, jobs)) as pool:
        for epoch in range(len(losses), schedule.epochs):
            rng = np.random.default_rng([seed, epoch])
            torch.manual_seed(int(rng.integers(1 << 31)))
            order, draws = rng.permutation(len(files)), rng.random((len(files), 5))
            parts = [order[at : at + batch] for at in range(0, steps * batch, batch)]
            net.train()
            told = []
            # The next batch is read while the network works on this one.
            coming = [pool.submit(read, row, draws[row]) for row in parts[0]]
            for number, rows in enumerate(parts):
                packed = clips.pack([future.result() for future in coming], spec)
                if number + 1 < len(parts):
                    coming = [pool.submit(read, row, draws[row]) for row in parts[number + 1]]
                labels = torch.tensor([files[row][1] for row in rows], device=schedule.device)
                told.append(
                    _step(net, packed, labels, made_of["classes"], optimiser, made_of["model"])
                )
                rate.step()
                tick(epoch * steps + number + 1, schedule.epochs * steps)
            losses.append(round(float(np.mean(told)), 6))
            content = {"made_of": made_of, "losses": losses, "model_state": net.state_dict()}
            content |= {"optimiser": optimiser.state_dict(), "rate": rate.state_dict()}
            save(state, content)
    return losses


def _optimiser(net: nn.Module, schedule: Schedule) -> torch.optim.Optimizer:
    if schedule.optimiser == "sgd":
        return torch.optim.SGD(net.parameters(), schedule.lr, momentum=0.9, weight_decay=DECAY)
    if schedule.optimiser == "adam":
        return torch.optim.Adam(net.parameters(), schedule.lr, weight_decay=DECAY)
    raise ValueError(f'the optimiser is "adam" or "sgd", not {schedule.optimiser!r}')


def _step(
    net: nn.Module, packed: Any, labels: torch.Tensor, classes: int, optimiser: Any, name: str
) -> float:
    tensors = [torch.from_numpy(a).to(labels.device) for a in _listed(packed)]
    out = net(tensors if isinstance(packed, list) else tensors[0])
    scores = getattr(out, "logits", out)
    if scores.shape != (len(labels), classes):
        raise StudyError(
            f"{name} gave scores of shape {tuple(scores.shape)}; ({len(labels)}, {classes}) is "
            "wanted: a score a class"
        )
    loss = nn.functional.cross_entropy(scores, labels)
    optimiser.zero_grad(set_to_none=True)
    loss.backward()  # type: ignore[no-untyped-call]
    nn.utils.clip_grad_norm_(net.parameters(), 5.0)
    optimiser.step()
    return float(loss.detach())


def _listed(packed: Any) -> list[Any]:
    return packed if isinstance(packed, list) else [packed]


def same(found: Any, made_of: Record, path: Path) -> None:
    """Raises StudyError where a file is of another training, and says what differs."""
    for field, wanted in made_of.items():
        if found["made_of"].get(field) != wanted:
            raise StudyError(
                f"{path} was trained with {field} {found['made_of'].get(field)!r}, this run has "
                f"{wanted!r}: choose another folder"
            )
