"""Test trained networks on labelled videos; scores of several are added."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from cvdecode.cli._inputs import command
from cvdecode.cli._terminal import print_table, progress


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "checkpoint", nargs="+", type=Path, help="of cvdecode train; several: fused"
    )
    parser.add_argument("--data", required=True, help="as for train")
    parser.add_argument("--weights", type=float, nargs="+", help="CoViAR: 2 1 1 for I, MV, R")
    parser.add_argument("-o", "--out", type=Path, help="append the result to a JSON lines file")
    parser.add_argument("--workers", type=int, default=0)
    parser.add_argument("--batch-size", type=int, default=1)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--on-error", choices=("raise", "skip"), default="raise")
    parser.add_argument("--json", action="store_true", help="print the summary as JSON")


def run(arguments: argparse.Namespace) -> int:
    from cvdecode.recipes import checkpoint, inputs
    from cvdecode.recipes.evaluate import evaluate
    from cvdecode.recipes.records import versions

    trained = [checkpoint.load(path) for path in arguments.checkpoint]
    classes = trained[0].classes
    if any(each.classes != classes for each in trained):
        raise ValueError("the checkpoints know different classes")
    videos = inputs.videos(arguments.data, classes)
    with progress() as bar:
        task = bar.add_task("evaluating", total=None)
        result = evaluate(
            [each.system for each in trained],
            [each.recipe for each in trained],
            videos,
            arguments.weights,
            workers=arguments.workers,
            device=arguments.device,
            batch_size=arguments.batch_size,
            on_error=arguments.on_error,
            tick=lambda done, total: bar.update(task, completed=done, total=total),
        )
    summary = result.summary()
    if arguments.out is not None:
        line = {
            "event": "evaluate",
            **summary,
            "recipes": [each.recipe.name for each in trained],
            "weights": arguments.weights,
            "clips": dict(zip(result.paths, result.scores.tolist(), strict=True)),
            "labels": result.labels.tolist(),
            "command": command(),
            "versions": versions(),
        }
        arguments.out.parent.mkdir(parents=True, exist_ok=True)
        with arguments.out.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")
    if arguments.json:
        print(json.dumps(summary))
    else:
        rows = [(name, str(value)) for name, value in summary.items()]
        print_table(", ".join(each.recipe.name for each in trained), ("", ""), rows)
    return 0
