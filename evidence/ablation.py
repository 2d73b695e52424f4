"""I, MV, R and every way of fusing them, on two label sets of the same clips (Huo et al., Table 3).

Both label sets share clips and drawn pictures, and all rows of a set share them too, so that
differences are paired.
"""

from __future__ import annotations

import pickle
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

from evidence import record, rows
from evidence.actions import actions, labels, mutual_information
from evidence.encode import X264_DEFAULT, X264_GOP12
from evidence.tensors import Tensors, make
from evidence.training import Drawn, Schedule, right

FULL = {"train": 720, "test": 360, "epochs": 15, "seeds": [0, 1, 2], "codec": "gop12"}
QUICK = {"train": 36, "test": 36, "epochs": 1, "seeds": [0], "codec": "gop12"}
HALF = {"train": 360, "test": 216, "epochs": 10, "seeds": [0, 1, 2], "codec": "gop12",
        "sets": ["add"]}  # fmt: skip
"""What three seeds of every table can be had of; evidence.variants has it too."""
ROWS = ("I", "MV", "R", "I+MV+R", "concat", "BP", "TP-frozen", "TP", "TTP", "ATTP")
SETS = ("add", "xor")
CODECS = {"gop12": (X264_GOP12, False), "default": (X264_DEFAULT, True)}
STREAMS = {"I": "iframe", "MV": "mv", "R": "residual"}


def clips(seed: int, settings: dict[str, Any]) -> tuple[Tensors, Tensors]:
    """Train and test clips of a seed, made once and kept in the cache."""
    found = []
    for split in ("train", "test"):
        path = record.cache() / f"{settings['codec']}-{split}-{settings[split]}-{seed}.pickle"
        if not path.exists():
            codec, virtual = CODECS[settings["codec"]]
            todo = actions(split, settings[split], 6, 6)
            with tempfile.TemporaryDirectory() as folder:
                made = make(
                    todo, seed, Path(folder) / "clips.mp4", codec,
                    virtual=virtual, with_flow=split == "train",
                )  # fmt: skip
            path.parent.mkdir(parents=True, exist_ok=True)
            part = path.with_suffix(".part")
            part.write_bytes(pickle.dumps(made))
            part.replace(path)
        found.append(pickle.loads(path.read_bytes()))
    return found[0], found[1]


def check(kind: str, data: Tensors) -> None:
    """The label set hides what it should, by counting."""
    label, _ = labels(kind, data.motion, data.appearance)
    told = [mutual_information(label, part) for part in (data.motion, data.appearance)]
    wanted = 0.0 if kind == "xor" else np.log2(6)
    if not np.allclose(told, wanted, atol=1e-12):
        raise ValueError(f"{kind}: motion and appearance tell {told} bits, not {wanted}")


def run(book: record.Book, settings: dict[str, Any], progress: Any = print) -> None:
    torch.set_num_threads(1)
    schedule = Schedule(epochs=settings["epochs"])
    sets = settings.get("sets", SETS)
    for seed in settings["seeds"]:
        if all(book.has(f"{kind} {row}", seed) for kind in sets for row in ROWS):
            continue
        data, held = clips(seed, settings)
        for kind in sets:
            check(kind, data)
            check(kind, held)
            label, classes = labels(kind, data.motion, data.appearance)
            truth, _ = labels(kind, held.motion, held.appearance)
            train = Drawn(data, label, "PB", seed)
            test = Drawn(held, truth, "PB", seed)
            nets: dict[str, Any] = {}
            singles: dict[str, Any] = {}
            # Two rows are made of the single streams.
            built = all(book.has(f"{kind} {row}", seed) for row in ("I+MV+R", "TP-frozen"))
            for row in ROWS:
                if book.has(f"{kind} {row}", seed) and (row not in STREAMS or built):
                    continue
                torch.manual_seed(seed)
                start = time.process_time()
                if row in STREAMS:
                    nets[row] = rows.single(STREAMS[row], train, classes, schedule)
                    scores = singles[row] = rows.run(STREAMS[row], nets[row], test)
                elif row == "I+MV+R":
                    scores = sum(singles[name] for name in STREAMS)
                elif row == "TP-frozen":
                    streams = tuple(nets[name] for name in STREAMS)
                    scores = rows.run(row, rows.frozen(train, classes, schedule, streams), test)
                elif row == "ATTP":
                    teacher = rows.single("flow", train, classes, schedule)
                    net = rows.attp(train, classes, schedule, teacher)
                    scores = rows.run(row, net, test)
                else:
                    scores = rows.run(row, rows.fused(row, train, classes, schedule), test)
                if not book.has(f"{kind} {row}", seed):
                    hit = right(scores, truth)
                    seconds = round(time.process_time() - start, 1)
                    book.add(f"{kind} {row}", seed, hit, cpu_seconds=seconds, cost=held.cost)
                    progress(f"seed {seed} {kind} {row:8s} {100 * hit.mean():5.1f} %  {seconds} s")


def figure(book: record.Book) -> tuple[dict[str, record.Book], dict[str, float], str]:
    sets = book.settings.get("sets", SETS)
    parts = {kind.upper(): record.part(book, f"{kind} ") for kind in sets}
    for part in parts.values():
        part.rows.sort(key=lambda row: ROWS.index(row["row"]))
    return parts, {"ADD": 100 / 36, "XOR": 100 / 6}, "% right"


def report(book: record.Book) -> str:
    s = book.settings
    text = [
        "## Streams and their fusion",
        f"Synthetic clips (6 motions x 6 textures, 36 pictures of 112x112), x264 CRF 23, "
        f"{'GOP 12 with 2 B pictures' if s['codec'] == 'gop12' else 'defaults (keyint 250, 3 B pictures, pyramid, 3 references) read through virtual GOPs of 12'}. "  # noqa: E501
        f"Small nets from scratch ({'-'.join(map(str, rows.WIDTHS))} channels, no pre-training), "
        f"{s['train']} train and {s['test']} test clips a seed, {s['epochs']} epochs, seeds "
        f"{book.seeds}. I: luma of the I picture at 56x56; MV: exact displacement to it on the "
        "4x4 grid; R: coded luma residual accumulated along it at 56x56. A clip's score is the "
        "mean over its three GOPs, one drawn P or B picture each. I+MV+R adds the scores of the "
        "three single nets; concat has as many weights as TP; TP-frozen trains TP's head on the "
        "backbones of the three single nets and keeps those, so that what it is made of has had "
        "twice the epochs; the flow that ATTP's teacher saw is the generator's own (an oracle).",
    ]
    if s["train"] < FULL["train"]:
        text.append(
            "Half of the clips and two thirds of the epochs of [ablation](ablation.md), so that "
            "three seeds of every row could be had. This size was chosen after the first seed of "
            "that page had been seen: it had shown this label set near its ceiling."
        )
    hops = [r["cost"] for r in book.rows if "cost" in r]
    if hops:
        text.append(
            f"Accumulation: {np.mean([h['hops'] for h in hops]):.2f} hops a block on average, "
            f"{100 * np.mean([h['masked'] for h in hops]):.1f} % of the blocks end in an intra "
            "block (mask)."
            + (f" {np.median([h['ms'] for h in hops]):.2f} CPU ms a predicted picture on the 4x4 "
               "grid, shared machine." if all("ms" in h for h in hops) else "")
        )  # fmt: skip
    names = {"add": "ADD: class = (motion, texture), 36 classes, chance 2.8 %",
             "xor": "XOR: class = (motion + texture) mod 6, chance 16.7 %"}  # fmt: skip
    for kind in s.get("sets", SETS):
        mine = record.part(book, f"{kind} ")
        text += [
            f"### {names[kind]}",
            record.table(mine, list(ROWS)),
            record.verdicts(record.expected("ablation", kind), mine.scores()),
        ]
    return "\n\n".join(text)
