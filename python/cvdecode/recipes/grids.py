"""Video networks trained on one cell of a transcoding grid and tested on others (Otani et al.).

Beside the records, every network stays as a file, so that `cvdecode study evaluate --weights` can
take it. A run that was killed goes on with the epoch that it was at, and ends with the same bytes.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from cvdecode.study.cross import enter_matrix, judged
from cvdecode.study.errors import StudyError
from cvdecode.study.models import Model, torch_call
from cvdecode.study.records import Journal, Record, provenance

from .cell_clips import CellClips
from .clip_training import Files, Schedule, Unreadable, digest, fit, network, same
from .records import save

Tick = Callable[[str, int, int], None]
"""Called with what is done, how much of it, and how much there is."""

THEN = " > "


@dataclasses.dataclass(frozen=True)
class Network:
    """A trained network and what it was trained on, as "a" or "a > b"."""

    model: Model
    net: nn.Module
    trained_on: str

    def __call__(self, paths: Sequence[str]) -> npt.NDArray[np.float64]:
        """Scores (B, C) of videos."""
        return self.model(paths)


class Trainer:
    """`train` for cross_matrix() and fine_tuned(): networks that stay as files in a folder."""

    def __init__(
        self,
        name: str,
        weights: str | None,
        classes: Sequence[str],
        clips: CellClips,
        labels: Mapping[str, int],
        schedule: Schedule,
        folder: Path,
        enter: Callable[[Record], None],
        tick: Tick,
        jobs: int,
    ) -> None:
        self.name, self.weights, self.classes = name, weights, list(classes)
        self.clips, self.labels = clips, labels
        self.schedule, self.folder = schedule, folder
        self.enter, self.tick, self.jobs = enter, tick, jobs
        folder.mkdir(parents=True, exist_ok=True)

    def __call__(self, quality: str, seed: int, start: Any = None) -> Network:
        """The network of this quality and seed; trained where its file is not there."""
        return self.clips.on_readable(
            quality, self.labels, lambda files: self._trained(quality, files, seed, start)
        )

    def _trained(self, quality: str, files: Files, seed: int, start: Any) -> Network:
        lineage = quality if start is None else start.trained_on + THEN + quality
        stem = f"{lineage.replace(THEN, '_then_')}_s{seed}"
        path, state = self.folder / f"{stem}.pt", self.folder / f"{stem}.state"
        made_of = {
            "model": self.name, "weights": self.weights, "classes": len(self.classes),
            "trained_on": lineage, "seed": seed, "files": digest(files),
            "schedule": dataclasses.asdict(self.schedule),
        }  # fmt: skip
        torch.manual_seed(seed)
        spec, net, left = network(self.name, self.weights, len(self.classes))
        if path.exists():
            found = torch.load(path, map_location="cpu", weights_only=True)
            same(found, made_of, path)
            net.load_state_dict(found["model_state"])
            losses = found["losses"]
        else:
            if start is not None:
                net.load_state_dict(start.net.state_dict())
            try:
                losses = fit(
                    net, spec, files, self.schedule, seed, state=state, made_of=made_of,
                    jobs=self.jobs,
                    tick=lambda step, steps: self.tick(f"{lineage}, seed {seed}", step, steps),
                )  # fmt: skip
            except Unreadable:
                state.unlink(missing_ok=True)  # of a training with other clips than the next
                raise
            weights = {k: v.cpu() for k, v in net.state_dict().items()}
            save(path, {"made_of": made_of, "losses": losses, "names": self.classes,
                         "model_state": weights})  # fmt: skip
        state.unlink(missing_ok=True)
        self.enter(
            {
                "key": f"network|{lineage}|{seed}", "kind": "network", **made_of,
                "file": f"{self.folder.name}/{path.name}", "clips": len(files), "losses": losses,
                "not_taken": left, **_without(self.clips.left_out(quality, self.labels)),
            }
        )  # fmt: skip
        call = torch_call(net, self.schedule.device)
        return Network(Model(self.name, spec, call), net, lineage)


def _without(names: list[str]) -> Record:
    """What a record says of clips that it should have been of."""
    return {"left_out": names} if names else {}


def matrix(
    model: str,
    grid: str | os.PathLike[str],
    learn: Mapping[str, int],
    held: Mapping[str, int],
    out: str | os.PathLike[str],
    schedule: Schedule,
    *,
    trained_on: Sequence[str],
    tested_on: Sequence[str],
    pretrain: tuple[str, str] | None = None,
    seeds: Sequence[int] = (0,),
    classes: Sequence[str],
    weights: str | None = None,
    originals: Sequence[tuple[str, str]] = (),
    jobs: int = 1,
    command: str = "",
    tick: Tick = lambda what, done, total: None,
) -> list[Record]:
    """Trains a network on each cell, tests it on each, and writes what came out as JSON lines.

    Args:
        model: a name, or "package.module:function"; see network().
        grid: folder that transcode() filled.
        learn, held: class by clip name, to learn from and to test on; no clip is in both.
        out: folder of ``matrix.jsonl`` and ``networks/``; what is there is not made again.
        trained_on, tested_on: cells, or "original".
        pretrain: two cells: also trained on either, then further on either.
        classes: names of the classes.
        weights: to start every network from.
        originals: (path, name) of the sources.
        jobs: clips read at a time.

    Returns:
        Records of kind "network", "cross" and "fine_tuned", and "failed" of each clip that could
        not be read. Where a cell lacks clips for that or another reason, "left_out" names them.

    Raises:
        StudyError: no such model or cell; no clip of a cell can be read; the folder holds results
            of another training.
        ValueError: a clip is on both sides.
    """
    both = sorted(set(learn) & set(held))
    if both:
        raise ValueError(f"{both[0]} is to be trained on and tested on, and {len(both)} in all")

    spec, _, _ = network(model, weights, len(classes))
    folder = Path(out)
    journal = Journal(folder / "matrix.jsonl")
    clips = CellClips(grid, originals, journal, spec, jobs)
    for quality in dict.fromkeys((*trained_on, *(pretrain or ()))):
        clips.all(quality, learn)  # before anything is trained
    judged_on = dict.fromkeys((*tested_on, *(pretrain or ())))
    tested = {q: digest(clips.all(q, held)) for q in judged_on}
    folder.mkdir(parents=True, exist_ok=True)
    head = {"key": "study", "kind": "study", **provenance(command)}
    plan: Record = {
        "versions": {**head["versions"], "torch": torch.__version__},
        "model": model, "weights": weights, "classes": list(classes),
        "spec": {**dataclasses.asdict(spec), "mean": list(spec.mean), "std": list(spec.std)},
        "schedule": dataclasses.asdict(schedule), "train": len(learn), "test": len(held),
    }  # fmt: skip
    before = journal.records.get("study")
    if before is None:
        journal.add(head | plan)
    else:
        for field, value in plan.items():
            if before.get(field) != value:
                raise StudyError(
                    f"{folder} holds results with {field} {before.get(field)!r}, this run has "
                    f"{value!r}: choose another folder"
                )
    for record in journal.records.values():
        if tested.get(record.get("tested_on", ""), record.get("files")) != record.get("files"):
            raise StudyError(
                f"{folder} holds results on other clips of {record['tested_on']}: choose another "
                "folder"
            )

    networks = len({*trained_on, *(pretrain or ())}) + (4 if pretrain else 0)

    def told(what: str, done: int, total: int) -> None:
        made = sum(r["kind"] == "network" for r in journal.records.values())
        tick(f"network {made + 1} of {networks * len(seeds)}: {what}", done, total)

    def enter(record: Record) -> None:
        if record["key"] not in journal.records:
            journal.add(record)

    train = Trainer(
        model, weights, classes, clips, learn, schedule, folder / "networks", enter, told, jobs
    )  # fmt: skip

    def test(trained: Network, quality: str) -> Record:
        tick(f"{trained.trained_on}: testing", 0, 1)
        found = clips.on_readable(
            quality, held, lambda files: judged(trained, files, schedule.batch)
        )
        return {**found, "files": tested[quality], **_without(clips.left_out(quality, held))}

    return enter_matrix(journal, train, test, trained_on, tested_on, seeds, pretrain)
