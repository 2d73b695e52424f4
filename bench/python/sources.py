"""The clips that are timed: real footage of four kinds, at two sizes and two qualities."""

from __future__ import annotations

import dataclasses
import os
import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
DATA = Path(os.environ.get("CVDECODE_TEST_DATA", ROOT / ".." / "shared" / "clips"))
CACHE = ROOT / "build" / "bench-clips"

# Footage as recorded, re-encoded below so that size and quality are known.
KINDS = {
    "hand-held": "h264/walk.mkv",
    "screen": "h264/first-test-debugging-30fps.mp4",
    "surveillance": "h264/traffic_camera.mp4",
    "grain": "h264/DSLR_webcam-test.h264",
}
FRAMES = 120


@dataclasses.dataclass(frozen=True)
class Source:
    kind: str
    size: str  # "native" or "340x256"
    crf: int
    path: Path

    @property
    def name(self) -> str:
        return f"{self.kind} {self.size} CRF {self.crf}"


def _encode(source: Path, out: Path, *options: str) -> None:
    if out.exists():
        return
    out.parent.mkdir(parents=True, exist_ok=True)
    part = out.with_suffix(".part.mp4")
    subprocess.run(
        ["ffmpeg", "-v", "error", "-y", "-i", str(source), "-an", "-frames:v", str(FRAMES),
         *options, str(part)],
        check=True,
    )  # fmt: skip
    part.replace(out)


def h264_sources(kinds: dict[str, str] = KINDS) -> list[Source]:
    """x264 at its defaults (preset medium, 3 B-frames, 3 references, keyint 250)."""
    found = []
    for kind, name in kinds.items():
        if not (DATA / name).exists():
            continue
        for size in ("native", "340x256"):
            for crf in (23, 35):
                out = CACHE / f"{kind}-{size}-crf{crf}.mp4"
                scale = [] if size == "native" else ["-vf", "scale=340:256,setsar=1"]
                _encode(DATA / name, out, *scale, "-c:v", "libx264", "-crf", str(crf),
                        "-pix_fmt", "yuv420p")  # fmt: skip
                found.append(Source(kind, size, crf, out))
    return found


def gop_source(gop: int, bframes: int) -> Path:
    """A 340x256 clip of 500 frames with a given GOP, for random access."""
    out = CACHE / f"gop{gop}-b{bframes}.mp4"
    if not out.exists():
        out.parent.mkdir(parents=True, exist_ok=True)
        part = out.with_suffix(".part.mp4")
        subprocess.run(
            ["ffmpeg", "-v", "error", "-y", "-stream_loop", "-1", "-i",
             str(DATA / KINDS["surveillance"]), "-an", "-frames:v", "500", "-vf",
             "scale=340:256,setsar=1", "-c:v", "libx264", "-g", str(gop), "-keyint_min", str(gop),
             "-sc_threshold", "0", "-bf", str(bframes), "-pix_fmt", "yuv420p", str(part)],
            check=True,
        )  # fmt: skip
        part.replace(out)
    return out
