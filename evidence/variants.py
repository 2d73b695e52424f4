"""Two ablations of Huo et al.'s Fig. 4 on the clips of evidence.ablation, label set ADD.

frames: which pictures motion and residual are drawn from (TP). Every row sees as many samples.
alignment: what the motion net is aligned with (ATTP); rows share their teacher.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Iterator
from typing import Any

import torch

from evidence import ablation, estimate, record, rows
from evidence.actions import actions, labels
from evidence.tensors import Tensors
from evidence.training import Drawn, Schedule, right

KINDS = {"I": "", "I+P": "P", "I+B": "B", "I+P+B": "PB"}
ALIGNED = {"none": "none", "FC only": "fc", "KD": "kd", "both": "both", "both, TV-L1": "both"}
TWIN = "ablation_half"
Trained = Iterator[tuple[str, Callable[[], Any]]]


@dataclasses.dataclass
class Seed:
    """The clips of one seed and how nets are trained on them."""

    seed: int
    settings: dict[str, Any]
    data: Tensors
    held: Tensors

    def __post_init__(self) -> None:
        ablation.check("add", self.data)
        self.label, self.classes = labels("add", self.data.motion, self.data.appearance)
        self.truth, _ = labels("add", self.held.motion, self.held.appearance)
        self.schedule = Schedule(epochs=self.settings["epochs"])

    def train(self, kinds: str = "PB", data: Tensors | None = None) -> Drawn:
        return Drawn(data or self.data, self.label, kinds, self.seed)

    def test(self, kinds: str = "PB") -> Drawn:
        return Drawn(self.held, self.truth, kinds, self.seed)


def by_frames(of: Seed) -> Trained:
    """Scores of each row, made when called."""

    def scores(kinds: str) -> Any:
        if not kinds:
            net = rows.single("iframe", of.train(), of.classes, of.schedule)
            return rows.run("iframe", net, of.test())
        net = rows.fused("TP", of.train(kinds), of.classes, of.schedule)
        return rows.run("TP", net, of.test(kinds))

    for row, kinds in KINDS.items():
        yield row, lambda kinds=kinds: scores(kinds)  # type: ignore[misc]


def by_alignment(of: Seed) -> Trained:
    """Scores of each row, made when called."""
    teachers: dict[bool, tuple[Drawn, Any]] = {}

    def taught(estimated: bool) -> tuple[Drawn, Any]:
        if estimated not in teachers:
            data = of.data
            if estimated:
                todo = actions("train", of.settings["train"], 6, 6)
                codec = of.settings["codec"]
                found = estimate.flows(todo, of.seed, ablation.CODECS[codec][0], codec)
                data = dataclasses.replace(data, flow=found)
            train = of.train(data=data)
            torch.manual_seed(of.seed)
            teachers[estimated] = train, rows.single("flow", train, of.classes, of.schedule)
        return teachers[estimated]

    def scores(row: str, kind: str) -> Any:
        train, teacher = taught("TV-L1" in row)
        torch.manual_seed(of.seed)
        net = rows.attp(train, of.classes, of.schedule, teacher, kind)
        return rows.run("ATTP", net, of.test())

    for row, kind in ALIGNED.items():
        yield row, lambda row=row, kind=kind: scores(row, kind)  # type: ignore[misc]


@dataclasses.dataclass(frozen=True)
class Variant:
    """One experiment, with what ``python -m evidence`` asks of one."""

    name: str
    """Also its section of expected.toml."""
    title: str
    ROWS: tuple[str, ...]
    each: Callable[[Seed], Trained]
    same: dict[str, str]
    """Rows that are, to the letter, rows of the ablation at this size: taken from there."""
    more: str
    """A sentence of its own for the report."""
    FULL: dict[str, Any] = dataclasses.field(default_factory=lambda: ablation.HALF)
    QUICK: dict[str, Any] = dataclasses.field(default_factory=lambda: ablation.QUICK)

    def run(self, book: record.Book, settings: dict[str, Any], progress: Any = print) -> None:
        torch.set_num_threads(1)
        twin = record.Book(book.path.with_name(f"{TWIN}.jsonl"), TWIN, settings)
        for seed in settings["seeds"]:
            for row, other in self.same.items():
                if not book.has(row, seed) and twin.has(other, seed):
                    found = next(r for r in twin.rows if (r["row"], r["seed"]) == (other, seed))
                    book.add(row, seed, found["scores"], same_as=f"{TWIN}: {other}")
            if all(book.has(row, seed) for row in self.ROWS):
                continue
            of = Seed(seed, settings, *ablation.clips(seed, settings))
            for row, scores in self.each(of):
                if book.has(row, seed):
                    continue
                torch.manual_seed(seed)
                start = time.process_time()
                hit = right(scores(), of.truth)
                seconds = round(time.process_time() - start, 1)
                book.add(row, seed, hit, cpu_seconds=seconds, cost=of.held.cost)
                progress(f"seed {seed}  {row:11s} {100 * hit.mean():5.1f} %  {seconds} s")

    def figure(self, book: record.Book) -> tuple[dict[str, record.Book], dict[str, float], str]:
        sorted_rows = record.part(book, "")
        sorted_rows.rows.sort(key=lambda row: self.ROWS.index(row["row"]))
        return {self.title: sorted_rows}, {self.title: 100 / 36}, "% right"

    def report(self, book: record.Book) -> str:
        s = book.settings
        section = record.expected(self.name)
        return "\n\n".join(
            [
                f"## {self.title}",
                f"{section['why']} Synthetic clips, nets and schedule of "
                f"[{TWIN}]({TWIN}.md), GOP 12, label set ADD (chance 2.8 %), from scratch: "
                f"{s['train']} train and {s['test']} test clips a seed, {s['epochs']} epochs, "
                f"seeds {book.seeds}. {self.more}",
                record.table(book, list(self.ROWS)),
                record.verdicts(section, book.scores()),
            ]
        )


frames = Variant(
    "frames",
    "Which pictures motion and residual are drawn from",
    tuple(KINDS),
    by_frames,
    {"I": "add I", "I+P+B": "add TP"},
    "I is the single stream, the others are TP; a row sees one picture a GOP in training and in "
    "the test, whatever it draws them from, so all rows see as many samples.",
)
alignment = Variant(
    "alignment",
    "What the motion net is aligned with",
    tuple(ALIGNED),
    by_alignment,
    {"none": "add TTP", "both": "add ATTP"},
    "All rows are ATTP's net; without alignment (none) that is TTP. The teacher's flow is the "
    "generator's own (an oracle), in the last row TV-L1 between decoded neighbours at half size, "
    "followed back to the I picture (evidence/estimate.py).",
)
