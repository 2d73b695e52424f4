"""cvdecode study train, and what it shares with cvdecode study matrix."""

from __future__ import annotations

import argparse
import json
import os
from typing import Any

from cvdecode.cli._inputs import command, expand
from cvdecode.cli._study_grid import names, numbers, why
from cvdecode.cli._terminal import print_table, progress


def pair_of(given: list[str] | None) -> tuple[str, str] | None:
    """What --pretrain names."""
    if given is None:
        return None
    if len(given) != 2:
        raise ValueError(f"--pretrain takes two, not {len(given)}")
    return given[0], given[1]


def print_matrices(records: list[dict[str, Any]], *, as_json: bool) -> None:
    """The matrices of a study on standard output, or their records."""
    from cvdecode.study.cross import matrix_of
    from cvdecode.study.grid import short_names

    found = [r for r in records if r["kind"] in ("cross", "fine_tuned")]
    if as_json:
        print(json.dumps([*found, *(r for r in records if r["kind"] == "failed")]))
        return
    every = dict.fromkeys(r[k] for r in found for k in ("trained_on", "tested_on"))
    short, of = short_names(every)
    for kind, title in (("cross", "top-1, %"), ("fine_tuned", "a > b: first on a, then on b")):
        some = [r for r in found if r["kind"] == kind]
        if not some:
            continue
        columns = list(dict.fromkeys(r["trained_on"] for r in some))
        rows = list(dict.fromkeys(r["tested_on"] for r in some))
        cells = matrix_of(some, "top1", rows, columns)
        print_table(
            f"{title}; columns: trained on, rows: tested on{'; cells ' + of if of else ''}",
            ("", *(short[c] for c in columns)),
            [
                (short[row], *("" if v is None else f"{100 * v:.1f}" for v in line))
                for row, line in zip(rows, cells, strict=True)
            ],
        )


def train_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", help="a name from `cvdecode study models`, or module:function")
    parser.add_argument("grid", help="output folder of cvdecode study transcode")
    parser.add_argument(
        "--labels",
        required=True,
        help='CSV with the columns path and label, and if wanted split: "train" or "test" '
        "(without it one clip in five of each class is tested on)",
    )
    parser.add_argument("--out", default="trained", help="output folder (default: %(default)s)")
    parser.add_argument(
        "--originals", help="what the grid was made from, as the quality named original"
    )
    lists: Any = {"type": names, "default": [], "metavar": "LIST"}
    parser.add_argument("--train", **lists, help="cells to train on (default: all, and original)")
    parser.add_argument("--test", **lists, help="cells to test on (default: all, and original)")
    parser.add_argument(
        "--pretrain", type=names, metavar="A,B", help="train A and B further on A and B too"
    )
    parser.add_argument("--weights", help="local file or folder to start every network from")
    parser.add_argument("--seeds", type=numbers, default=[0], metavar="LIST", help="(default: 0)")
    parser.add_argument("--epochs", type=int, default=5, help="(default: %(default)s)")
    parser.add_argument("--batch", type=int, default=8, help="clips a step (default: %(default)s)")
    parser.add_argument(
        "--optimiser",
        choices=("adam", "sgd"),
        default="adam",
        help="sgd: momentum 0.9, the paper's for transformers, at 5e-4 (default: %(default)s)",
    )
    parser.add_argument("--lr", type=float, default=1e-4, help="(default: %(default)s)")
    parser.add_argument("--no-flip", action="store_true", help="where left and right matter")
    parser.add_argument("--device", default="cpu", help="(default: cpu)")
    parser.add_argument(
        "--jobs", type=int, default=os.cpu_count() or 1, help="clips read at a time"
    )


def train(arguments: argparse.Namespace) -> int:
    """Train a network on each quality of a grid, test it on each, fine-tune between two.

    The matrix of trained-on by tested-on over the cells of `cvdecode study transcode`, in
    OUT/matrix.jsonl; each network stays in OUT/networks. The same command goes on where it stopped.
    """
    from cvdecode.recipes import clip_training, grids
    from cvdecode.study.evaluate import ORIGINAL, read_labels
    from cvdecode.study.grid import natural
    from cvdecode.study.manifest import load_manifest
    from cvdecode.study.splits import read_split

    a = arguments
    manifest = load_manifest(a.grid)
    cells = sorted({r["setting"] for r in manifest}, key=natural)
    cells = [*([ORIGINAL] if a.originals else []), *cells]
    labels, classes = read_labels(a.labels, sorted({r["source"] for r in manifest}))
    learn, held = read_split(a.labels, labels)
    schedule = clip_training.Schedule(a.epochs, a.batch, a.lr, a.optimiser, not a.no_flip, a.device)
    with progress() as bar:
        task = bar.add_task("training", total=None)
        records = grids.matrix(
            a.model,
            a.grid,
            learn,
            held,
            a.out,
            schedule,
            trained_on=a.train or cells,
            tested_on=a.test or cells,
            pretrain=pair_of(a.pretrain),
            seeds=a.seeds,
            classes=classes,
            weights=a.weights,
            originals=expand([a.originals]) if a.originals else (),
            jobs=a.jobs,
            command=command(),
            tick=lambda what, done, total: bar.update(
                task, description=what, completed=done, total=total
            ),
        )
    print_matrices(records, as_json=a.json)
    failed = [r for r in records if r["kind"] == "failed"]
    if failed and not a.json:
        print_table("failed, and left out", ("clip", "setting", "why"), [why(f) for f in failed])
    return 1 if failed else 0
