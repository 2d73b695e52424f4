"""A trained model over every cell of a grid: accuracy beside size, QP and bits.

One JSON line a clip and one a cell; a run that was cut off goes on where it stopped, and its
results have the same bytes. How long loading took differs from run to run and lies in a file of its
own, ``*.timing.jsonl``.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

import cvdecode

from . import scores
from .errors import StudyError
from .manifest import load_manifest
from .models import Model
from .records import Journal, Record, append, dump, provenance
from .sources import load_sources, one_line

ORIGINAL = "original"
"""Name of the cell that holds the sources themselves."""

SAID = ("codec", "rate", "value", "gop", "preset", "bframes", "enhanced")
"""What a cell says of its setting."""

Predict = Callable[[Sequence[str]], Any]
"""Scores (B, K) of the clips at these paths; a Model is one."""


def read_labels(
    path: str | os.PathLike[str], names: Sequence[str]
) -> tuple[dict[str, int], list[str]]:
    """Class of each clip from a CSV file with the columns path and label.

    Args:
        path: paths are matched with `names` without their suffix.
        names: of the clips, as in a grid's manifest.

    Returns:
        {name: class number}, and the class names; numbers as labels are kept, names are numbered
        in sorted order.

    Raises:
        StudyError: a column is missing or no clip has a label.
    """
    import csv

    with open(path, newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    if not rows or not {"path", "label"} <= set(rows[0]):
        raise StudyError(f"{path}: a CSV file with the columns path and label is wanted")
    given = {str(Path(row["path"]).with_suffix("")): row["label"].strip() for row in rows}
    if all(label.isdigit() for label in given.values()):
        classes = [str(n) for n in range(1 + max(map(int, given.values())))]
    else:
        classes = sorted(set(given.values()))
    number = {label: n for n, label in enumerate(classes)}
    labels = {
        name: number[str(int(given[name])) if given[name].isdigit() else given[name]]
        for name in names
        if name in given
    }
    if not labels:
        raise StudyError(
            f"{path}: no clip of the grid has a label; it names, e.g., {rows[0]['path']}"
        )
    return labels, classes


def evaluate(
    predict: Predict,
    grid: str | os.PathLike[str],
    labels: Mapping[str, int],
    out: str | os.PathLike[str],
    *,
    name: str,
    weights: str = "",
    originals: Sequence[tuple[str, str]] = (),
    settings: Sequence[str] | None = None,
    classes: Sequence[str] = (),
    batch: int = 8,
    seed: int | None = None,
    command: str = "",
    on_progress: Callable[[int, int], None] = lambda done, total: None,
) -> list[Record]:
    """Scores every labelled clip of every cell; goes on where it stopped.

    Args:
        predict: a Model, or any callable from paths to scores.
        grid: folder that transcode() filled.
        labels: class number by clip name.
        out: the JSON lines.
        name: of the model, to tell runs apart.
        weights: a digest of its weights, likewise.
        originals: (path, name) of the sources: they make the cell "original".
        settings: names of the cells to evaluate; None = all.
        classes: names of the classes, for the report.
        batch: clips to one call.

    Returns:
        The lines of the cells: top1, top5, log_loss, per-class accuracy, size, mean QP and bits.
        Clips that cannot be loaded are lines of kind "failed" and count in no mean.

    Raises:
        StudyError: `out` holds results of another model, grid or version.
    """
    clips = _clips(grid, originals, labels, settings)
    journal = Journal(out)
    head = {
        "key": "study",
        "kind": "study",
        "model": name,
        "weights": weights,
        "classes": list(classes),
        "spec": _spec_of(predict),
        **provenance(command, seed),
    }
    _same_study(journal, head, out)
    todo = [c for c in clips if c["key"] not in journal.records]
    done = len(clips) - len(todo)
    timing = Path(out).with_suffix(".timing.jsonl")
    for at in range(0, len(todo), batch):
        chunk = todo[at : at + batch]
        clock = _Clock(predict)
        found = _scored(clock, chunk)
        files = [[c["setting"], c["source"]] for c in chunk]
        seconds = {"seconds": round(clock.loading, 6), "model_seconds": round(clock.model, 6)}
        append(timing, [{"clips": files, **seconds}])
        journal.add(*found)
        done += len(chunk)
        on_progress(done, len(clips))
    cells = summarise([journal.records[c["key"]] for c in clips], {c["key"]: c for c in clips})
    for cell in cells:
        journal.records[cell["key"]] = cell
    order = {"study": 0, "cell": 1, "clip": 2, "failed": 2}
    keys = ["study", *(c["key"] for c in cells), *(c["key"] for c in clips)]
    journal.finish(
        keys,
        lambda r: (r.get("setting"), r.get("source")),
        lambda r: (order[r["kind"]], r.get("setting", ""), r.get("source", "")),
    )
    return cells


class _Clock:
    """The callable with its time: loading and model apart where it is a Model, else all loading."""

    def __init__(self, predict: Predict) -> None:
        self.predict = predict
        self.loading = self.model = 0.0

    def __call__(self, paths: Sequence[str]) -> Any:
        begin = time.perf_counter()
        if not isinstance(self.predict, Model):
            found = self.predict(paths)
            self.loading += time.perf_counter() - begin
            return found
        batch = self.predict.prepare(paths)
        loaded = time.perf_counter()
        found = self.predict.scores(batch)
        self.loading += loaded - begin
        self.model += time.perf_counter() - loaded
        return found


def _spec_of(predict: Predict) -> Record | None:
    import dataclasses

    return dataclasses.asdict(predict.spec) if isinstance(predict, Model) else None


def _same_study(journal: Journal, head: Record, out: str | os.PathLike[str]) -> None:
    before = journal.records.get("study")
    head = json.loads(dump(head))
    if before is None:
        journal.add(head)
        return
    for field in ("model", "weights", "spec", "seed", "versions", "classes"):
        if (before.get(field) or None) != (head[field] or None):  # not said, as none
            raise StudyError(
                f"{out} holds results with {field} {before.get(field)!r}, this run has "
                f"{head[field]!r}: choose another file, or delete it"
            )


def _clips(
    grid: str | os.PathLike[str],
    originals: Sequence[tuple[str, str]],
    labels: Mapping[str, int],
    settings: Sequence[str] | None,
) -> list[Record]:
    manifest = load_manifest(grid)
    unknown = set(settings or ()) - {r["setting"] for r in manifest} - {ORIGINAL}
    if unknown:
        raise StudyError(f"{grid} has no cell {', '.join(sorted(unknown))}")
    if originals:
        sources, _ = load_sources(originals)
        manifest += [
            {
                "setting": ORIGINAL,
                "source": s.name,
                "file": s.path,
                "key": s.sha256,
                "bytes": os.path.getsize(s.path),
                "seconds": float(s.frames / s.frame_rate),
                "frames": s.frames,
            }
            for s in sources
        ]
    chosen = [
        r | {"key": f"{r['setting']}|{r['source']}|{r['key'][:16]}", "label": labels[r["source"]]}
        for r in manifest
        if r["source"] in labels and (settings is None or r["setting"] in settings)
    ]
    return sorted(chosen, key=lambda r: (r["setting"], r["source"]))


def _scored(predict: Predict, chunk: Sequence[Record]) -> list[Record]:
    """Lines of a batch; when it fails, of each clip by itself, so that one bad clip is one."""
    base = [{k: c[k] for k in ("key", "setting", "source", "label")} for c in chunk]
    try:
        logits = np.asarray(predict([c["file"] for c in chunk]), np.float64)
    except (cvdecode.Error, OSError, ValueError) as error:
        if len(chunk) > 1:
            return [line for c in chunk for line in _scored(predict, [c])]
        return [base[0] | {"kind": "failed", "error": one_line(error)}]
    labels = np.array([c["label"] for c in chunk])
    if labels.max() >= logits.shape[1]:
        raise StudyError(f"class {labels.max()} among the labels, {logits.shape[1]} scores a clip")
    places, losses = scores.ranks(logits, labels), scores.log_losses(logits, labels)
    guess = logits.argmax(axis=1)
    return [
        line
        | {
            "kind": "clip",
            "rank": int(places[n]),
            "predicted": int(guess[n]),
            "log_loss": round(float(losses[n]), 9),
        }
        for n, line in enumerate(base)
    ]


def summarise(records: Sequence[Record], clips: Mapping[str, Record]) -> list[Record]:
    """One line a cell from the lines of its clips and what the manifest knows of them."""
    cells: dict[str, list[Record]] = {}
    for record in records:
        cells.setdefault(record["setting"], []).append(record)
    lines = []
    for setting in sorted(cells):
        good = [r for r in cells[setting] if r["kind"] == "clip"]
        known = [clips[r["key"]] for r in good]
        labels = [r["label"] for r in good]
        line: Record = {
            "key": f"cell|{setting}",
            "kind": "cell",
            "setting": setting,
            "clips": len(good),
            "failed": len(cells[setting]) - len(good),
        }
        if known:
            first = known[0]
            hits = np.array([r["rank"] == 0 for r in good], np.float64)
            seconds = sum(c["seconds"] for c in known)
            sizes = [c["video_bytes"] if "video_bytes" in c else c["bytes"] for c in known]
            line |= {
                **{k: first.get(k) for k in SAID},
                "top1": float(hits.mean()),
                "top1_interval": scores.bootstrap(hits),
                "top5": float(np.mean([r["rank"] < 5 for r in good])),
                "log_loss": float(np.mean([r["log_loss"] for r in good])),
                "bytes": sum(c["bytes"] for c in known),
                "kbps": 8e-3 * sum(sizes) / seconds if seconds else None,
                "class_top1": scores.class_means(hits, labels),
                "class_bytes": scores.class_means([c["bytes"] for c in known], labels),
            }
            qps = [c["mean_qp"] for c in known if c.get("mean_qp") is not None]
            if len(qps) == len(known):
                bits = [c["macroblock_bits"] / c["frames"] for c in known]
                line |= {
                    "mean_qp": float(np.mean(qps)),
                    "class_mean_qp": scores.class_means(qps, labels),
                    "class_bits_per_frame": scores.class_means(bits, labels),
                }
        lines.append(json.loads(dump(line)))
    return lines
