"""Trained on one quality, tested on another: the matrix, and fine-tuning between qualities.

What is trained is the caller's: a model of any type M goes from `train` to `test` and is never
looked at here.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Protocol, TypeVar

import numpy as np

from . import scores
from .errors import StudyError
from .evaluate import ORIGINAL, Predict
from .manifest import labelled
from .records import Journal, Record

M = TypeVar("M")
M_co = TypeVar("M_co", covariant=True)


class Train(Protocol[M_co]):
    """Trains on the quality named, from scratch or from a trained model."""

    def __call__(self, quality: str, seed: int, start: Any = None) -> M_co: ...


Test = Callable[[M, str], Mapping[str, float]]
"""Metrics of a trained model on the quality named: {"top1": ..., ...}."""


def cross_matrix(
    train: Train[M],
    test: Test[M],
    trained_on: Sequence[str],
    tested_on: Sequence[str],
    seeds: Iterable[int] = (0,),
    done: Iterable[Record] = (),
) -> Iterator[Record]:
    """Every quality to train on with every quality to test on, for each seed.

    Args:
        done: records of an earlier run; a network all of whose cells are among them is not trained
            again, and they are not given again.

    Yields:
        {"key", "kind": "cross", "trained_on", "tested_on", "seed", **metrics}, ready for a Journal.
    """
    before = {record["key"] for record in done}
    for seed in seeds:
        for first in trained_on:
            keys = {q: f"cross|{first}|{q}|{seed}" for q in tested_on}
            if before.issuperset(keys.values()):
                continue
            model = train(first, seed)
            for quality, key in keys.items():
                if key not in before:
                    yield {
                        "key": key,
                        "kind": "cross",
                        "trained_on": first,
                        "tested_on": quality,
                        "seed": seed,
                        **test(model, quality),
                    }


def fine_tuned(
    train: Train[M],
    test: Test[M],
    qualities: tuple[str, str],
    seeds: Iterable[int] = (0,),
    done: Iterable[Record] = (),
) -> Iterator[Record]:
    """The two-by-two of pre-training (Johnston et al., Fig. 9): on a or b, then again on a or b.

    The two without further training and the four with it are tested on both.

    Args:
        done: records of an earlier run, which are not given again; where all of a seed are among
            them, nothing is trained for it.

    Yields:
        {"key", "kind": "fine_tuned", "trained_on": "a" or "a > b", "tested_on", "seed", **metrics}.
    """
    before = {record["key"] for record in done}
    pairs = list(itertools.product(qualities, repeat=2))
    names = [*qualities, *(f"{first} > {then}" for first, then in pairs)]
    for seed in seeds:
        keys = {(n, q): f"fine_tuned|{n}|{q}|{seed}" for n in names for q in qualities}
        if before.issuperset(keys.values()):
            continue
        models = {quality: train(quality, seed) for quality in qualities}
        for first, then in pairs:
            models[f"{first} > {then}"] = train(then, seed, models[first])
        for name, model in models.items():
            for quality in qualities:
                if keys[name, quality] in before:
                    continue
                yield {
                    "key": keys[name, quality],
                    "kind": "fine_tuned",
                    "trained_on": name,
                    "tested_on": quality,
                    "seed": seed,
                    **test(model, quality),
                }


class Fit(Protocol):
    """Trains on labelled files, from scratch (None) or from what an earlier call gave."""

    def __call__(
        self, samples: Sequence[tuple[str, int]], seed: int, start: Predict | None
    ) -> Predict: ...


def enter_matrix(
    journal: Journal,
    train: Train[M],
    test: Test[M],
    trained_on: Sequence[str],
    tested_on: Sequence[str],
    seeds: Sequence[int],
    pretrain: tuple[str, str] | None,
) -> list[Record]:
    """cross_matrix(), and fine_tuned() of the pair `pretrain`, into a journal that may hold a part.

    Returns:
        All records of the journal.
    """
    done = list(journal.records.values())
    for record in cross_matrix(train, test, trained_on, tested_on, seeds, done):
        journal.add(record)
    if pretrain:
        for record in fine_tuned(train, test, pretrain, seeds, done):
            journal.add(record)
    return list(journal.records.values())


def on_grid(
    grid: str | os.PathLike[str],
    fit: Fit,
    train_labels: Mapping[str, int],
    test_labels: Mapping[str, int],
    *,
    originals: Sequence[tuple[str, str]] = (),
    batch: int = 8,
) -> tuple[Train[Predict], Test[Predict]]:
    """`train` and `test` for cross_matrix() and fine_tuned() over the cells of a grid.

    Args:
        grid: folder that transcode() filled.
        fit: trains on (path, class) pairs; what it gives takes paths and gives scores (B, K).
        train_labels, test_labels: class by clip name; no clip is in both.
        originals: (path, name) of the sources: they make the quality "original".

    Raises:
        ValueError: a clip is in both.
    """
    shared = sorted(set(train_labels) & set(test_labels))
    if shared:
        raise ValueError(f"{shared[0]} is to be trained on and tested on, and {len(shared)} in all")

    def train(quality: str, seed: int, start: Predict | None = None) -> Predict:
        return fit(samples(grid, quality, train_labels, originals), seed, start)

    def test(model: Predict, quality: str) -> dict[str, float]:
        return judged(model, samples(grid, quality, test_labels, originals), batch)

    return train, test


def samples(
    grid: str | os.PathLike[str],
    quality: str,
    labels: Mapping[str, int],
    originals: Sequence[tuple[str, str]] = (),
) -> list[tuple[str, int]]:
    """(path, class) of the labelled clips of one cell, or of the sources for "original".

    Raises:
        StudyError: there is none.
    """
    if quality == ORIGINAL and originals:
        found = [(path, labels[name]) for path, name in originals if name in labels]
        if not found:
            raise StudyError(f"none of the {len(originals)} sources has a label")
        return found
    return labelled(grid, quality, labels)


def judged(model: Predict, files: Sequence[tuple[str, int]], batch: int = 8) -> dict[str, float]:
    """top1, top5, log_loss (nats) and number of the clips, all of which must load."""
    chunks = [files[at : at + batch] for at in range(0, len(files), batch)]
    logits = np.concatenate([np.asarray(model([path for path, _ in c])) for c in chunks])
    labels = np.array([label for _, label in files])
    return {
        "top1": scores.top_k(logits, labels, 1),
        "top5": scores.top_k(logits, labels, 5),
        "log_loss": float(scores.log_losses(logits, labels).mean()),
        "clips": len(files),
    }


def matrix_of(
    records: Iterable[Record], metric: str, rows: Sequence[str], columns: Sequence[str]
) -> list[list[float | None]]:
    """Mean of a metric over seeds: [tested_on][trained_on], None where there is no record."""
    values: dict[tuple[str, str], list[float]] = {}
    for r in records:
        if metric in r:
            values.setdefault((r["tested_on"], r["trained_on"]), []).append(float(r[metric]))
    return [
        [sum(v) / len(v) if (v := values.get((row, column), [])) else None for column in columns]
        for row in rows
    ]
