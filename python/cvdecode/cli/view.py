"""Write one self-contained HTML page: picture, vectors, QP, types, bits, residual, motion."""

from __future__ import annotations

import argparse
from pathlib import Path

import cvdecode


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("video", help="a video file")
    parser.add_argument("-o", "--out", help="the page to write (default: NAME.html)")
    parser.add_argument("--start", type=int, default=0, help="first frame (default: 0)")
    parser.add_argument("--frames", type=int, default=60, help="how many (default: 60)")
    parser.add_argument(
        "--png", metavar="FOLDER", help="write pictures with motion arrows instead of a page"
    )


def run(arguments: argparse.Namespace) -> int:
    try:
        from cvdecode.report import overlay_image, write_page
    except ImportError as error:
        raise OSError(
            f"{error}: pictures need the report extra: pip install 'cvdecode[report]'"
        ) from None
    if arguments.png is None:
        out = arguments.out or Path(arguments.video).stem + ".html"
        print(write_page(arguments.video, out, start=arguments.start, frames=arguments.frames))
        return 0
    from PIL import Image

    folder = Path(arguments.png)
    folder.mkdir(parents=True, exist_ok=True)
    with cvdecode.VideoReader(arguments.video, planes=("mv", "ref"), rgb="all") as video:
        stop = min(arguments.start + arguments.frames, len(video))
        for index in range(arguments.start, stop):
            clip = video.get_frames_at([index])
            path = folder / f"{index:06d}.png"
            Image.fromarray(overlay_image(clip, 0)).save(path)
            print(path)
    return 0
