"""The main job on one video: every plane it has, accumulated motion, a table and a page.

python examples/demo.py [VIDEO]        without VIDEO, a clip is made with ffmpeg first
"""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import numpy as np

import cvdecode
from cvdecode.cli._terminal import console, print_table, readable
from cvdecode.report import write_page
from cvdecode.report.page import available_planes

OUT = Path("demo")


def make_clip(path: Path) -> Path:
    """A moving scene with known motion, coded by x264 with B-frames and several references."""
    path.parent.mkdir(parents=True, exist_ok=True)
    scene = (
        "mandelbrot=size=960x720:rate=25:start_scale=0.8:end_scale=0.3:maxiter=400,"
        "format=yuv420p,crop=640:480:160+120*sin(t*1.3):120+80*cos(t*0.9),"
        "drawbox=x='mod(t*140\\,720)-80':y=300:w=80:h=80:color=orange:t=fill,"
        "noise=alls=6:allf=t"
    )
    subprocess.run(
        ["ffmpeg", "-v", "error", "-y", "-f", "lavfi", "-i", scene, "-t", "4", "-c:v", "libx264",
         "-preset", "medium", "-crf", "23", "-g", "50", "-bf", "3", "-refs", "3", str(path)],
        check=True,
    )  # fmt: skip
    return path


def main() -> int:
    screen = console()
    clip_path = Path(sys.argv[1]) if len(sys.argv) > 1 else OUT / "clip.mp4"
    if len(sys.argv) == 1 and not clip_path.exists():
        screen.print("making a clip with ffmpeg ...")
        make_clip(clip_path)
    try:
        rows = describe(clip_path)
        page = write_page(clip_path, OUT / "report.html", rows=rows)
    except (cvdecode.Error, OSError) as error:
        print(error, file=sys.stderr)
        return 1
    screen.print(f"open {page} in a browser ({readable(page.stat().st_size)})")
    return 0


def describe(path: Path) -> list[list[str]]:
    """Reads everything, prints the table; returns what the page's table should add."""
    meta = cvdecode.probe(path)
    available, reasons = available_planes(meta)
    planes = tuple(sorted(available))
    table = []
    with cvdecode.VideoReader(path, planes=planes) as video:
        frames = min(len(video), 250, video.segments[0].stop)
        begin = time.perf_counter()
        clip = video.get_frames_in_range(0, frames)
        seconds = time.perf_counter() - begin
        for name in planes:
            plane = getattr(clip, name)
            table.append(
                (name, str(plane.shape), str(plane.dtype), video.backend[name], summary(name, clip))
            )
        for name, why in reasons.items():
            table.append((name, "not available", "", "", why))
        try:
            begin = time.perf_counter()
            motion = cvdecode.accumulate(video, list(range(frames)))
            spent = time.perf_counter() - begin
            table.append(
                ("displacement", str(motion.displacement.shape), "int16", "accumulate",
                 f"up to {np.abs(motion.displacement).max() / 4:.1f} px since the anchor; "
                 f"{np.count_nonzero(motion.mask == 0) / motion.mask.size:.0%} of pixels traced to "
                 f"an intra picture ({spent * 1000 / frames:.1f} ms a frame)")
            )  # fmt: skip
        except (cvdecode.PlaneUnavailable, cvdecode.UnsupportedStream) as error:
            table.append(("displacement", "not available", "", "", str(error)))
    print_table(
        f"{path.name}: {meta.codec} {meta.width}x{meta.height}, {meta.num_frames} frames; "
        f"{frames} read in {seconds * 1000:.0f} ms",
        ("plane", "shape", "type", "by", "what it says"),
        table,
    )
    return [["time", f"{frames} frames in {seconds * 1000:.0f} ms", "", ", ".join(planes)]]


def summary(name: str, clip: cvdecode.Clip) -> str:
    plane = getattr(clip, name)
    if name == "mv":
        used = clip.used
        length = np.hypot(plane[:, :, 0][used], plane[:, :, 1][used]) / 4
        return f"mean length {length.mean():.2f} px" if length.size else "no vectors"
    if name == "ref":
        far = np.unique(plane[(plane != 0) & (plane > -32765)])
        return f"distances {', '.join(f'{r:+d}' for r in far[:8])}" if far.size else "not known"
    if name == "mb_type":
        kinds, counts = np.unique(plane, return_counts=True)
        top = np.argsort(-counts)[:3]
        return ", ".join(
            f"{cvdecode.MbType(kinds[i]).name} {counts[i] / plane.size:.0%}" for i in top
        )
    if name == "qp":
        known = plane[plane != -128]
        return f"{known.min()} to {known.max()}, mean {known.mean():.1f}" if known.size else "none"
    if name == "bits":
        return f"{int(plane.astype(np.int64).sum()) // 8} bytes in blocks"
    return f"{np.count_nonzero(plane) / plane.size:.1%} of samples not zero"


if __name__ == "__main__":
    sys.exit(main())
