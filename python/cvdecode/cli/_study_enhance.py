"""cvdecode study enhance."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import cvdecode
from cvdecode.cli import enhance as files
from cvdecode.cli._study_grid import why
from cvdecode.cli._terminal import print_table, progress


def enhance_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("grid", help="output folder of cvdecode study transcode")
    parser.add_argument("cell", help="a setting in it, as hevc-crf35-g250-medium")
    parser.add_argument("--checkpoint", required=True, metavar="FILE", help="as for enhance")
    parser.add_argument("--name", help="of the new cell, CELL+NAME (default: the checkpoint's)")
    parser.add_argument("--device", default="cpu", help="(default: cpu)")


def enhance(arguments: argparse.Namespace) -> int:
    """Enhance every clip of a cell: a new cell beside it, to be measured and evaluated.

    Its files are lossless; its bytes, bitrate, QP and bits are those of the compressed clips, so
    that curves over the bitrate compare what is sent.
    """
    from cvdecode.study.enhanced import enhance_cell
    from cvdecode.study.sources import digest_of

    a = arguments
    model, planes = files.load(a.checkpoint, a.device)

    def one(source: Path, out: Path) -> int:
        with cvdecode.VideoReader(source, planes=planes) as video:
            return files.enhance_file(video, source, out, model, a.device, 0, lambda: None)

    with progress() as bar:
        task = bar.add_task("enhancing", total=None)
        records, failed = enhance_cell(
            a.grid,
            a.cell,
            a.name or Path(a.checkpoint).stem,
            one,
            digest_of(a.checkpoint),
            on_progress=lambda done, total: bar.update(task, completed=done, total=total),
        )
    setting = f"{a.cell}+{a.name or Path(a.checkpoint).stem}"
    if a.json:
        print(json.dumps({"setting": setting, "clips": len(records), "failed": failed}))
    else:
        print(f"{setting}: {len(records)} clips in {Path(a.grid) / setting}")
        if failed:
            print_table("failed", ("clip", "setting", "why"), [why(f) for f in failed])
    return 1 if failed else 0
