"""Networks trained on still images of one quality and tested on another (Johnston et al.).

What is trained on is a folder that `cvdecode.study.stills.synthesise` filled: one array a quality,
one class a picture. Beside networks of one quality each ("specialists") there are three that see
them all: "all", and "all+plane" and "all+film", which are told the QP that each sample was coded
with, as parsed from the stream.
"""

from __future__ import annotations

import dataclasses
import os
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from cvdecode.heads.johnston import Conditioning, JohnstonNet
from cvdecode.study import scores, stills
from cvdecode.study.cross import enter_matrix
from cvdecode.study.errors import StudyError
from cvdecode.study.pictures import filters, picture
from cvdecode.study.records import Journal, Record, provenance

Array = npt.NDArray[Any]
Tick = Callable[[int], None]

ALL: dict[str, Conditioning] = {"all": "none", "all+plane": "plane", "all+film": "film"}
"""Networks of all qualities, and how they are told the QP."""


@dataclasses.dataclass(frozen=True)
class Schedule:
    """How every network of a matrix is trained: as many steps each, whatever it is trained on.

    Adam and one cycle of the learning rate; the paper's plain gradient descent at 0.1 stays at
    chance in short runs. The crop is an eighth smaller than the picture (28 of 32), random in
    training, central in testing.
    """

    steps: int = 30_000
    batch: int = 128
    lr: float = 2e-3
    channels: int = 64
    hidden: tuple[int, int] = (384, 192)
    deeper: bool = False
    crop: bool = True
    flip: bool = True
    device: str = "cpu"


@dataclasses.dataclass(frozen=True)
class Quality:
    """The same N pictures as one codec setting shows them."""

    images: Array
    """(N, 3, H, W) uint8, Y, U and V."""
    qp: Array
    """(N, H, W) uint8, QP of each sample; 0 where nothing was coded."""

    def __getitem__(self, rows: Array) -> Quality:
        return Quality(self.images[rows], self.qp[rows])


def uncoded(images: Array) -> Quality:
    """A quality without a QP."""
    n, _, height, width = images.shape
    return Quality(images, np.broadcast_to(np.uint8(0), (n, height, width)))


@dataclasses.dataclass(frozen=True)
class Recogniser:
    """A trained network and how its input is normalised: (x - mean) / scale."""

    net: JohnstonNet
    mean: Array
    """(3,): of Y, U and V of what it was trained on first."""
    scale: float
    """Standard deviation of all of them together."""
    crop: tuple[int, int]

    def logits(self, quality: Quality, batch: int = 256) -> npt.NDArray[np.float32]:
        """(N, C), of the central crops."""
        height, width = self.crop
        top, left = ((a - b) // 2 for a, b in zip(quality.images.shape[2:], self.crop, strict=True))
        images = quality.images[..., top : top + height, left : left + width]
        told = quality.qp[..., top : top + height, left : left + width]
        self.net.eval()
        found = []
        with torch.no_grad():
            for at in range(0, len(images), batch):
                some = slice(at, at + batch)
                found.append(self(images[some], told[some]).cpu().numpy())
        return np.concatenate(found)

    def __call__(self, images: Array, qp: Array) -> torch.Tensor:
        device = next(self.net.parameters()).device
        mean = np.asarray(self.mean, np.float32)[:, None, None]
        x = torch.from_numpy((images.astype(np.float32) - mean) / np.float32(self.scale))
        x = x.to(memory_format=torch.channels_last)  # a third less time on a CPU
        told = None
        if self.net.qp != "none":
            told = torch.from_numpy(qp.astype(np.float32)).to(device)
        logits: torch.Tensor = self.net(x.to(device), told)
        return logits


def fit(
    qualities: Sequence[Quality],
    labels: Array,
    classes: int,
    schedule: Schedule,
    seed: int,
    *,
    qp: Conditioning = "none",
    start: Recogniser | None = None,
    tick: Tick = lambda step: None,
) -> Recogniser:
    """Trains a network, every picture at a quality drawn anew each time.

    Pictures, crops and flips of a step depend on the seed alone, so that networks of one seed meet
    the same ones in the same order.

    Args:
        qualities: of the same N pictures.
        labels: (N,), 0 to `classes` - 1.
        qp: how the network is told the QP.
        start: a trained network to go on from, with its normalisation; it is left as it is.
        tick: called with the number of steps done.
    """
    torch.manual_seed(seed)
    count, _, height, width = qualities[0].images.shape
    crop = (height - height // 8, width - width // 8) if schedule.crop else (height, width)
    net = JohnstonNet(
        classes, crop, channels=schedule.channels, hidden=schedule.hidden,
        deeper=schedule.deeper, qp=start.net.qp if start else qp,
    ).to(schedule.device, memory_format=torch.channels_last)  # type: ignore[call-overload]  # fmt: skip
    if start is not None:
        net.load_state_dict(start.net.state_dict())
        model = dataclasses.replace(start, net=net)
    else:
        mean = np.mean([q.images.mean(axis=(0, 2, 3), dtype=np.float64) for q in qualities], axis=0)
        spread = [
            np.square(q.images[:, c].astype(np.float32) - np.float32(mean[c])).mean()
            for q in qualities
            for c in range(3)
        ]
        model = Recogniser(net, mean, max(1.0, float(np.sqrt(np.mean(spread)))), crop)
    optimiser = torch.optim.Adam(net.parameters(), schedule.lr, fused=True)
    rate = torch.optim.lr_scheduler.OneCycleLR(
        optimiser, schedule.lr, total_steps=max(2, schedule.steps)
    )
    drawn, chosen = np.random.default_rng([seed, 1]), np.random.default_rng([seed, 2])
    order = np.empty(0, np.int64)
    truth = torch.from_numpy(np.asarray(labels, np.int64)).to(schedule.device)
    net.train()
    for step in range(schedule.steps):
        while len(order) < schedule.batch:
            order = np.concatenate([order, drawn.permutation(count)])
        rows, order = order[: schedule.batch], order[schedule.batch :]
        top = drawn.integers(0, height - crop[0] + 1, schedule.batch)
        left = drawn.integers(0, width - crop[1] + 1, schedule.batch)
        mirrored = drawn.integers(0, 2, schedule.batch).astype(bool) & schedule.flip
        which = chosen.integers(0, len(qualities), schedule.batch)
        images = np.empty((schedule.batch, 3, *crop), np.uint8)
        told = np.empty((schedule.batch, *crop), np.uint8)
        for n, (row, y, x) in enumerate(zip(rows, top, left, strict=True)):
            one = qualities[which[n]]
            images[n] = one.images[row, :, y : y + crop[0], x : x + crop[1]]
            told[n] = one.qp[row, y : y + crop[0], x : x + crop[1]]
        images[mirrored] = images[mirrored][..., ::-1]
        told[mirrored] = told[mirrored][..., ::-1]
        loss = nn.functional.cross_entropy(model(images, told), truth[torch.from_numpy(rows)])
        optimiser.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(net.parameters(), 5.0)
        optimiser.step()
        rate.step()
        tick(step + 1)
    net.eval()
    return model


def split(labels: Array, share: int = 5) -> tuple[Array, Array]:
    """Rows to train on and to test on: one in `share` of each class is tested on, always the same.

    Raises:
        StudyError: a class has fewer than `share` pictures.
    """
    rng = np.random.default_rng(0)
    tested = []
    for number in np.unique(labels):
        mine = rng.permutation(np.flatnonzero(labels == number))
        if len(mine) < share:
            raise StudyError(f"class {number} has {len(mine)} pictures, fewer than {share}")
        tested.append(mine[: len(mine) // share])
    test = np.sort(np.concatenate(tested))
    return np.setdiff1d(np.arange(len(labels)), test), test


class Variants:
    """The qualities in a folder of `cvdecode study stills`, by name.

    Raises:
        StudyError: there is none of that name; no labels, or of one class only.
    """

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        self.folder = Path(folder)
        path = self.folder / "labels.npy"
        if not path.exists():
            raise StudyError(f"{path} is missing: run `cvdecode study stills` first")
        found: Array = np.load(path)
        names, self.labels = np.unique(found, return_inverse=True)
        self.classes = len(names)
        if self.classes < 2:
            raise StudyError(f"{path}: pictures of at least two classes are wanted")
        self._coded: dict[Path, Array] = {}

    def names(self) -> list[str]:
        """In the order in which they were made: by colour, then by QP or bitrate and frame."""
        there = {path.stem for path in self.folder.glob("*.npy")} - {"labels"}
        coded = [(m[1], int(m[2]), int(m[3]), m[0]) for n in there if (m := _CODED.fullmatch(n))]
        rank = {"q": 0, "b": 1}
        coded.sort(key=lambda c: (rank[c[0]], c[1], c[2]))
        return [n for n in stills.COLOURS if n in there] + [c[3] for c in coded]

    def __getitem__(self, name: str) -> Quality:
        path = self.folder / f"{name}.npy"
        if not path.exists():
            there = ", ".join(self.names())
            raise StudyError(f"{self.folder} has no variant {name}; it has {there}")
        images: Array = np.load(path, mmap_mode="r")
        if len(images) != len(self.labels):
            raise StudyError(f"{path} has {len(images)} pictures for {len(self.labels)} labels")
        coded = _CODED.fullmatch(name)
        if coded is None:
            return uncoded(images)
        stream = self.folder / f"{coded[1]}{coded[2]}.264"
        if stream not in self._coded:
            self._coded[stream] = stills.coded_qp(stream, (images.shape[2], images.shape[3]))
        return Quality(images, self._coded[stream][:, int(coded[3])])


_CODED = re.compile(r"([qb])(\d+)_f(\d)")


def matrix(
    folder: str | os.PathLike[str],
    out: str | os.PathLike[str],
    schedule: Schedule,
    *,
    trained_on: Sequence[str] = (),
    tested_on: Sequence[str] = (),
    pretrain: tuple[str, str] | None = None,
    seeds: Sequence[int] = (0,),
    command: str = "",
    tick: Callable[[str, int], None] = lambda name, step: None,
) -> list[Record]:
    """Trains on each quality, tests on each, and writes what came out as JSON lines.

    Args:
        folder: of the variants.
        out: file of JSON lines; cells that are in it are not computed again.
        trained_on: variants and names of `ALL`; by default uncoded, coded at frame 0, and `ALL`.
            Those of `ALL` see every variant of `tested_on`.
        tested_on: by default uncoded, and coded at frame 0.
        pretrain: two qualities: the two-by-two of pre-training too.
        tick: called with the network's name and the number of its steps done.

    Returns:
        Records of kind "cross", "fine_tuned", and "picture" (filters of the first layers).

    Raises:
        StudyError: there is no such variant; the file holds results of another schedule.
    """
    variants = Variants(folder)
    usual = [n for n in variants.names() if n == "yuv444" or n.endswith("_f0")]
    tested_on = list(tested_on) or usual
    trained_on = list(trained_on) or [*usual, *ALL]
    for name in {*tested_on, *trained_on, *(pretrain or ())} - set(ALL):
        variants[name]  # before anything is trained
    learn, held = split(variants.labels)
    journal = Journal(out)
    head = {"key": "study", "kind": "study", **provenance(command)}
    head |= {"versions": {**head["versions"], "torch": torch.__version__}}
    how = {**dataclasses.asdict(schedule), "hidden": list(schedule.hidden)}
    plan = {"train": len(learn), "test": len(held), "classes": variants.classes,
            "schedule": how, "pooled": tested_on}  # fmt: skip
    before = journal.records.get("study")
    if before is not None and before.get("plan") != plan:
        raise StudyError(f"{out} holds results of another schedule or set: choose another file")
    if before is None:
        journal.add(head | {"plan": plan})
    trained: dict[tuple[str, int], Recogniser] = {}

    def train(quality: str, seed: int, start: Recogniser | None = None) -> Recogniser:
        if start is None and (quality, seed) in trained:
            return trained[quality, seed]
        pool = tested_on if quality in ALL else [quality]
        model = fit(
            [variants[n][learn] for n in pool], variants.labels[learn], variants.classes,
            schedule, seed, qp=ALL.get(quality, "none"), start=start,
            tick=lambda step: tick(quality, step),
        )  # fmt: skip
        if start is None:
            if pretrain and quality in pretrain:
                trained[quality, seed] = model
            if seed == seeds[0]:
                journal.add(first_layer(model, quality))
        return model

    def test(model: Recogniser, name: str) -> dict[str, float]:
        logits, labels = model.logits(variants[name][held]), variants.labels[held]
        return {
            "top1": scores.top_k(logits, labels, 1),
            "log_loss": float(scores.log_losses(logits, labels).mean()),
            "clips": len(held),
        }

    return enter_matrix(journal, train, test, trained_on, tested_on, seeds, pretrain)


def first_layer(model: Recogniser, name: str) -> Record:
    """A picture of the first filters, those of largest variance first; a row a channel."""
    weights = next(model.net.convs.parameters()).detach().cpu().numpy()
    order = np.argsort(-weights.var(axis=(1, 2, 3)), kind="stable")
    told = ", QP" if model.net.qp == "plane" else ""
    return picture(
        f"First-layer filters, trained on {name}",
        filters(weights[order], scale=4),
        f"rows: Y, U, V{told}; each filter stretched to its own largest weight",
    )
