"""Label a video with a trained network, GOP by GOP, and say what each step cost."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from cvdecode.cli._terminal import print_table

PARTS = ("read", "accumulate", "prepare", "network")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("video", help="a video file")
    parser.add_argument("--checkpoint", required=True, type=Path, help="of cvdecode train")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--json", action="store_true", help="one JSON line a GOP, and a last one")


def run(arguments: argparse.Namespace) -> int:
    import torch

    from cvdecode.recipes import checkpoint
    from cvdecode.recipes.predict import predict

    trained = checkpoint.load(arguments.checkpoint)
    total = torch.zeros(len(trained.classes))
    seconds = dict.fromkeys(PARTS, 0.0)
    rows, looked, count = [], 0, 0
    for each in predict(trained, arguments.video, device=arguments.device):
        share = each.scores.softmax(0)
        best = int(share.argmax())
        total += each.scores
        count += 1
        looked += len(each.frames)
        for name in PARTS:
            seconds[name] += each.seconds[name]
        if arguments.json:
            print(
                json.dumps(
                    {
                        "gop": each.gop,
                        "start": each.start,
                        "frames": each.frames,
                        "label": trained.classes[best],
                        "scores": dict(zip(trained.classes, each.scores.tolist(), strict=True)),
                        "seconds": each.seconds,
                    }
                ),
                flush=True,
            )
        rows.append((str(each.gop), str(each.start), trained.classes[best], f"{share[best]:.3f}"))
    if not count:
        raise ValueError(f"{arguments.video} has no GOP")
    mean = total / count
    label = trained.classes[int(mean.argmax())]
    per_frame = {name: 1000 * seconds[name] / looked for name in PARTS}
    if arguments.json:
        scores = dict(zip(trained.classes, mean.tolist(), strict=True))
        print(
            json.dumps(
                {
                    "video": arguments.video,
                    "label": label,
                    "scores": scores,
                    "frames_looked_at": looked,
                    "milliseconds_per_frame": per_frame,
                }
            )
        )
        return 0
    print_table(str(arguments.video), ("GOP", "from frame", "label", "share"), rows)
    cost = ", ".join(f"{name} {per_frame[name]:.2f}" for name in PARTS)
    print(f"{label}   ({looked} frames looked at; ms a frame: {cost})")
    return 0
