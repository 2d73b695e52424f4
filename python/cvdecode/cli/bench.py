"""Time reading the planes of one video here, beside a full decode to pixels."""

from __future__ import annotations

import argparse
import json
import statistics
import time
from typing import Any

import cvdecode
from cvdecode.cli._terminal import print_table

SETS = (
    ("mv, qp", ("mv", "qp"), "none"),
    ("mv, ref, qp, mb_type", ("mv", "ref", "qp", "mb_type"), "none"),
    ("residual_y, residual_uv", ("residual_y", "residual_uv"), "none"),
    ("rgb", (), "all"),
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("video", help="a video file")
    parser.add_argument("--runs", type=int, default=5, help="median of this many (default: 5)")
    parser.add_argument("--json", action="store_true", help="print the figures as JSON")


def run(arguments: argparse.Namespace) -> int:
    rows = []
    for name, planes, rgb in SETS:
        for backend in ("native", "libav"):
            try:
                spent = [
                    _once(arguments.video, planes, rgb, backend) for _ in range(arguments.runs)
                ]
            except (cvdecode.PlaneUnavailable, cvdecode.UnsupportedStream):
                continue
            frames = spent[0][1]
            milliseconds = statistics.median(s for s, _ in spent) * 1000 / max(1, frames)
            rows.append({"planes": name, "backend": backend, "ms_per_frame": milliseconds})
    if arguments.json:
        print(json.dumps({"video": arguments.video, "version": cvdecode.__version__, "rows": rows}))
    else:
        print_table(
            f"{arguments.video}: one thread, CPU time, median of {arguments.runs}",
            ("planes", "backend", "ms a frame"),
            [(r["planes"], r["backend"], f"{r['ms_per_frame']:.3f}") for r in rows],  # type: ignore[misc]
        )
    return 0


def _once(source: str, planes: tuple[str, ...], rgb: Any, backend: Any) -> tuple[float, int]:
    begin = time.process_time()
    frames = 0
    with cvdecode.VideoReader(source, planes=planes, rgb=rgb, backend=backend) as video:
        for clip in video.batches(32):
            frames += len(clip)
    return time.process_time() - begin, frames
