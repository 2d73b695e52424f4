"""Trained on one quality, tested on another: the matrix, and fine-tuning between qualities.

What is trained is the caller's: a model of any type M goes from `train` to `test` and is never
looked at here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Protocol, TypeVar

from .records import Record

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
) -> Iterator[Record]:
    """The two-by-two of pre-training (Johnston et al.): on a; on b; on a then b; on b then a.

    Each is tested on both.

    Yields:
        {"key", "kind": "fine_tuned", "trained_on": "a" or "a > b", "tested_on", "seed", **metrics}.
    """
    for seed in seeds:
        models = {quality: train(quality, seed) for quality in qualities}
        for first, then in (qualities, qualities[::-1]):
            models[f"{first} > {then}"] = train(then, seed, models[first])
        for name, model in models.items():
            for quality in qualities:
                yield {
                    "key": f"fine_tuned|{name}|{quality}|{seed}",
                    "kind": "fine_tuned",
                    "trained_on": name,
                    "tested_on": quality,
                    "seed": seed,
                    **test(model, quality),
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
