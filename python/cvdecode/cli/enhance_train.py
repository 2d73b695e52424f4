"""Train an enhancer on a folder of originals, compressed at one rate; goes on after a kill."""

from __future__ import annotations

import argparse
import json
import math
import os
import sys
from pathlib import Path

from cvdecode.cli._inputs import command, expand
from cvdecode.cli._terminal import progress


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("originals", help="a folder of videos, or a .txt list")
    parser.add_argument("--out", required=True, help="the checkpoint, for cvdecode enhance")
    parser.add_argument("--val", help="other originals: PSNR gained at the end")
    parser.add_argument("--codec", choices=("hevc", "h264"), default="hevc")
    parser.add_argument("--crf", type=int, default=35, help="one network a rate (default: 35)")
    parser.add_argument(
        "--architecture",
        choices=("recurrent", "vectors", "window", "frame"),
        default="recurrent",
        help="vectors: aligned by the stream's own, H.264 (default: recurrent)",
    )
    parser.add_argument("--small", action="store_true", help="a quarter of the width, 4 blocks")
    parser.add_argument("--loss", choices=("pixel", "perceptual", "gan"), default="pixel")
    parser.add_argument("--vgg", type=Path, help="torchvision's VGG-19 weights, for phi")
    parser.add_argument("--start", type=Path, help="checkpoint to fine-tune")
    parser.add_argument("--steps", type=int, default=10_000, help="(default: 10000)")
    parser.add_argument("--batch", type=int, default=16, help="sequences a step (default: 16)")
    parser.add_argument("--frames", type=int, default=10, help="first of each clip (default: 10)")
    parser.add_argument("--patch", type=int, default=96, help="samples (default: 96)")
    parser.add_argument("--rate", type=float, default=1e-4, help="of Adam (default: 1e-4)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--device", default="cpu", help="e.g. cuda (default: cpu)")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="encoders at a time")
    parser.add_argument("--max-steps", type=int, help="stop after so many steps of this run")
    parser.add_argument("--checkpoint-steps", type=int, default=200, metavar="N")


def run(arguments: argparse.Namespace) -> int:
    from cvdecode.recipes import enhancement

    a = arguments
    plan = enhancement.Plan(
        a.architecture, a.small, a.codec, a.crf, a.loss, a.steps, a.batch, a.frames, a.patch,
        a.rate, a.seed,
    )  # fmt: skip
    out = Path(a.out)
    work = out.with_suffix(".pairs")
    with progress() as bar:
        tasks = {}

        def tick(what: str, done: int, total: int) -> None:
            if what not in tasks:
                tasks[what] = bar.add_task(what, total=total)
            bar.update(tasks[what], completed=done, total=total)

        pairs, left_out = enhancement.prepare(
            expand([a.originals]), plan, work, jobs=a.jobs, tick=tick
        )
        for why in left_out:
            print(f"left out: {why}", file=sys.stderr)
        model = enhancement.train(
            pairs, plan, out, start=a.start, vgg=a.vgg, device=a.device, max_steps=a.max_steps,
            checkpoint_steps=a.checkpoint_steps, command=command(),
            tick=tick,
        )  # fmt: skip
        said: dict[str, object] = {"out": str(out), "clips": len(pairs)}
        if a.val:
            held, _ = enhancement.prepare(expand([a.val]), plan, work / "val", jobs=a.jobs)
            found, image = enhancement.judged(held, model, a.device)
            gained = {k: v if math.isfinite(v) else None for k, v in found.items()}
            said |= gained
            with out.with_suffix(".jsonl").open("a", encoding="utf-8") as file:
                line = {"event": "validation", "clips": len(held), **gained}
                file.write(json.dumps(line) + "\n" + json.dumps(image) + "\n")
    print(json.dumps(said))
    return 0
