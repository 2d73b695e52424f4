"""Write motion accumulated back to the intra pictures (or to anchors of your own)."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np

import cvdecode
from cvdecode.cli._store import SafetensorsWriter
from cvdecode.cli._terminal import progress

BATCH = 32


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("video", help="a video file")
    parser.add_argument("-o", "--out", help="output file (default: NAME.accumulated.safetensors)")
    parser.add_argument("--start", type=int, default=0, help="first frame (default: 0)")
    parser.add_argument("--stop", type=int, help="one past the last frame (default: the end)")
    parser.add_argument("--virtual-gop", type=int, metavar="N", help="an anchor every N frames")
    parser.add_argument("--grid", choices=("pixel", "4"), default="pixel")
    parser.add_argument("--png", metavar="FOLDER", help="also write pictures of the displacement")


def run(arguments: argparse.Namespace) -> int:
    source = Path(arguments.video)
    out = Path(arguments.out or f"{source.stem}.accumulated.safetensors")
    grid = 4 if arguments.grid == "4" else "pixel"
    extra = {} if arguments.virtual_gop is None else {"virtual_gop": arguments.virtual_gop}
    with cvdecode.VideoReader(source, planes=("mv", "ref")) as video:
        stop = len(video) if arguments.stop is None else min(arguments.stop, len(video))
        indices = list(range(arguments.start, stop))
        if not indices:
            raise ValueError(
                f"--start {arguments.start} --stop {arguments.stop}: "
                f"{source} has {len(video)} frames"
            )
        writer = None
        with progress() as bar:
            task = bar.add_task("accumulating", total=len(indices))
            try:
                for i in range(0, len(indices), BATCH):
                    frames = indices[i : i + BATCH]
                    acc = cvdecode.accumulate(video, frames, grid=grid, **extra)
                    arrays = {
                        "displacement": acc.displacement,
                        "anchor": acc.anchor,
                        "mask": acc.mask,
                        "frame": np.asarray(frames, np.int64),
                    }
                    if writer is None:
                        layout = {
                            name: ((len(indices), *array.shape[1:]), array.dtype)
                            for name, array in arrays.items()
                        }
                        writer = SafetensorsWriter(out, layout, _metadata(source, str(grid)))
                    for name, array in arrays.items():
                        writer.write(name, i, array)
                    if arguments.png:
                        _pictures(Path(arguments.png), frames, acc.displacement)
                    bar.advance(task, len(frames))
                assert writer is not None
                writer.finish()
            except BaseException:
                if writer is not None:
                    writer.abort()
                raise
    print(out)
    return 0


def _metadata(source: Path, grid: str) -> dict[str, str]:
    return {
        "format": "cvdecode accumulated",
        "plane_version": str(cvdecode.PLANE_VERSION),
        "cvdecode_version": cvdecode.__version__,
        "source": source.name,
        "grid": grid,
        "units": "displacement: quarter luma samples, here minus source, (x, y); anchor: "
        "presentation index, -1 none, -2 not presented; mask: 0 intra picture, 1 intra block, "
        "2 broken, 3 cut, 4 passed the anchor's time",
    }


def _pictures(folder: Path, frames: list[int], displacement: Any) -> None:
    try:
        from PIL import Image

        from cvdecode.report import flow_image
    except ImportError as error:
        raise OSError(f"{error}: pictures need pip install 'cvdecode[report]'") from None
    folder.mkdir(parents=True, exist_ok=True)
    for frame, field in zip(frames, displacement, strict=True):
        Image.fromarray(flow_image(field)).save(folder / f"{frame:06d}.png")
