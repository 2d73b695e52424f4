"""Two ablations of Huo et al.'s Fig. 4 on the clips of evidence.ablation, label set ADD.

frames: which pictures motion and residual are drawn from (TP). Every row sees as many samples.
alignment: what the motion net is aligned with (ATTP); all rows share the teacher.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

import torch

from evidence import record, rows
from evidence.ablation import check, clips
from evidence.actions import labels
from evidence.training import Drawn, Schedule, right

FRAMES = {"I": "", "I+P": "P", "I+B": "B", "I+P+B": "PB"}
ALIGNMENT = {"none": "none", "FC only": "fc", "KD": "kd", "both": "both"}
Trained = Iterator[tuple[str, Callable[[], Any]]]


def frames(train: Any, test: Any, classes: int, schedule: Schedule) -> Trained:
    """Scores of each row, made when called."""

    def scores(kinds: str) -> Any:
        if not kinds:
            net = rows.single("iframe", train("PB"), classes, schedule)
            return rows.run("iframe", net, test("PB"))
        return rows.run("TP", rows.fused("TP", train(kinds), classes, schedule), test(kinds))

    for row, kinds in FRAMES.items():
        yield row, lambda kinds=kinds: scores(kinds)  # type: ignore[misc]


def alignment(train: Any, test: Any, classes: int, schedule: Schedule) -> Trained:
    """Scores of each row, made when called."""
    teacher: list[Any] = []

    def scores(kind: str) -> Any:
        if not teacher:
            teacher.append(rows.single("flow", train("PB"), classes, schedule))
            torch.manual_seed(train("PB").seed)
        net = rows.attp(train("PB"), classes, schedule, teacher[0], kind)
        return rows.run("ATTP", net, test("PB"))

    for row, kind in ALIGNMENT.items():
        yield row, lambda kind=kind: scores(kind)  # type: ignore[misc]


def run(book: record.Book, settings: dict[str, Any], each: Any, progress: Any) -> None:
    torch.set_num_threads(1)
    schedule = Schedule(epochs=settings["epochs"])
    for seed in settings["seeds"]:
        data, held = clips(seed, settings)
        check("add", data)
        label, classes = labels("add", data.motion, data.appearance)
        truth, _ = labels("add", held.motion, held.appearance)

        def train(kinds: str, seed: int = seed, of: Any = (data, label)) -> Drawn:
            return Drawn(*of, kinds, seed)

        def test(kinds: str, seed: int = seed, of: Any = (held, truth)) -> Drawn:
            return Drawn(*of, kinds, seed)

        for row, scores in each(train, test, classes, schedule):
            if book.has(row, seed):
                continue
            torch.manual_seed(seed)
            start = time.process_time()
            hit = right(scores(), truth)
            book.add(row, seed, hit, cpu_seconds=round(time.process_time() - start, 1))
            progress(f"seed {seed}  {row:8s} {100 * hit.mean():5.1f} %")


def report(book: record.Book, name: str, text: str, order: list[str]) -> str:
    s = book.settings
    section = record.expected(name)
    return "\n\n".join(
        [
            f"## {text}",
            f"{section['why']} Clips, nets and schedule as in ablation.md, label set ADD (chance "
            f"2.8 %): {s['train']} train and {s['test']} test clips, {s['epochs']} epochs, seeds "
            f"{book.seeds}.",
            record.table(book, order),
            record.verdicts(section, book.scores()),
        ]
    )
