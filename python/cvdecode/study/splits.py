"""Which clips are learned from and which are tested on."""

from __future__ import annotations

import csv
import os
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from .errors import StudyError

SHARE = 5
"""Without a column that says it, one clip in so many of each class is tested on."""

Labels = dict[str, int]


def read_split(path: str | os.PathLike[str], labels: Mapping[str, int]) -> tuple[Labels, Labels]:
    """The labels to learn from and those to test on, by clip name.

    With a column ``split`` in the CSV file, "train" is learned from, and "test" tested on, or "val"
    where there is no "test"; other clips are left out. Without it one clip in SHARE of each class
    is tested on, the same ones always: then clips that were cut from one video may be on both
    sides, and tests come out too well.

    Args:
        path: the CSV file of read_labels().
        labels: what read_labels() gave.

    Raises:
        StudyError: one side is empty, or a class has fewer than SHARE clips.
    """
    with open(path, newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    if rows and "split" in rows[0]:
        said = {str(Path(r["path"]).with_suffix("")): r["split"].strip() for r in rows}
        tested = "test" if "test" in said.values() else "val"
        learn = {n: c for n, c in labels.items() if said.get(n) == "train"}
        held = {n: c for n, c in labels.items() if said.get(n) == tested}
        if not learn or not held:
            raise StudyError(f'{path}: the column split leaves {len(learn)} clips with "train" and '
                             f'{len(held)} with "test" or "val"; both are wanted')  # fmt: skip
        return learn, held
    rng = np.random.default_rng(0)
    held = {}
    for number in sorted(set(labels.values())):
        mine = sorted(name for name, label in labels.items() if label == number)
        if len(mine) < SHARE:
            raise StudyError(
                f"class {number} has {len(mine)} clips, fewer than {SHARE}: say in a column split "
                f'of {path} which are "train" and which "test"'
            )
        for k in rng.permutation(len(mine))[: len(mine) // SHARE]:
            held[mine[k]] = number
    return {n: c for n, c in labels.items() if n not in held}, dict(sorted(held.items()))
