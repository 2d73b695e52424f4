"""Train a recognition recipe on compressed videos, or go on where it stopped."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from cvdecode.cli._inputs import command
from cvdecode.cli._terminal import progress


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("recipe", nargs="?", help="name, or a .toml file; none: list them")
    parser.add_argument("--data", help="a folder with a folder per class, or a list 'path label'")
    parser.add_argument("--val", help="the same, tested at the end")
    parser.add_argument("-o", "--out", help="folder of checkpoint and results (runs/RECIPE)")
    parser.add_argument("--teacher", type=Path, help="checkpoint to learn from (attp, mfcd)")
    parser.add_argument("--start", type=Path, help="checkpoint to take fitting weights from")
    parser.add_argument(
        "--set",
        action="append",
        metavar="KEY=VALUE",
        help="as train.epochs=5 or data.virtual_gop=12",
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--workers", type=int, default=0, help="processes that read videos")
    parser.add_argument("--device", default="cpu", help="cpu, cuda, cuda:1 (default: cpu)")
    parser.add_argument("--on-error", choices=("raise", "skip"), default="raise")
    parser.add_argument("--max-steps", type=int, help="stop after so many steps of this run")
    parser.add_argument("--checkpoint-steps", type=int, default=200, metavar="N")


def run(arguments: argparse.Namespace) -> int:
    from cvdecode.recipes import config

    if arguments.recipe is None:
        for name in config.names():
            print(f"{name:22s} {config.load(name).about}")
        return 0
    if arguments.data is None:
        raise ValueError("--data is needed: a folder with a folder per class, or a list")
    recipe = config.load(arguments.recipe, arguments.set)
    from cvdecode.recipes import inputs
    from cvdecode.recipes.train import Options, train

    videos = inputs.videos(arguments.data)
    val = inputs.videos(arguments.val, videos.classes) if arguments.val else None
    rank = int(os.environ.get("RANK", "0"))
    device = arguments.device
    if device == "cuda" and "LOCAL_RANK" in os.environ:
        device = f"cuda:{os.environ['LOCAL_RANK']}"
    options = Options(
        out=Path(arguments.out or Path("runs") / recipe.name),
        seed=arguments.seed,
        workers=arguments.workers,
        device=device,
        on_error=arguments.on_error,
        max_steps=arguments.max_steps,
        checkpoint_steps=arguments.checkpoint_steps,
        command=command(),
    )
    with progress() as bar:
        task = bar.add_task(recipe.name, total=None, visible=rank == 0)

        def tick(step: int, steps: int, loss: float) -> None:
            bar.update(
                task, completed=step, total=steps, description=f"{recipe.name}  loss {loss:.3f}"
            )

        line = train(
            recipe, videos, options, val=val, teacher=arguments.teacher, start=arguments.start,
            tick=tick,
        )  # fmt: skip
    if rank == 0:
        print(f"{options.out / 'checkpoint.pt'}: {line}")
    return 0
