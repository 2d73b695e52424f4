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
THREADS_FRAMES = 300
COVIAR_FRAMES = 300
RANDOM_FRAMES = 500


@dataclasses.dataclass(frozen=True)
class Source:
    kind: str
    size: str  # "native", "340x256" or "340x256 CAVLC"
    crf: int
    path: Path

    @property
    def name(self) -> str:
        return f"{self.kind} {self.size} CRF {self.crf}"


def _encode(source: Path, out: Path, *options: str, frames: int | None = None) -> None:
    if out.exists():
        return
    out.parent.mkdir(parents=True, exist_ok=True)
    part = out.with_suffix(".part.mp4")
    subprocess.run(
        ["ffmpeg", "-v", "error", "-y", "-i", str(source), "-an",
         "-frames:v", str(frames or FRAMES), *options, str(part)],
        check=True,
    )  # fmt: skip
    part.replace(out)


def h264_sources(kinds: dict[str, str] = KINDS) -> list[Source]:
    """x264 at its defaults (preset medium, 3 B-frames, 3 references, keyint 250); CAVLC: its
    Baseline profile."""
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
        out = CACHE / f"{kind}-340x256-baseline-crf23.mp4"
        _encode(DATA / name, out, "-vf", "scale=340:256,setsar=1", "-c:v", "libx264",
                "-profile:v", "baseline", "-crf", "23", "-pix_fmt", "yuv420p")  # fmt: skip
        found.append(Source(kind, "340x256 CAVLC", 23, out))
    return found


def _base() -> Path:
    """Footage for what is not about kinds of footage."""
    return DATA / KINDS.get("surveillance", next(iter(KINDS.values())))


def _derived(name: str, frames: int, *options: str) -> Path:
    out = CACHE / name
    if not out.exists():
        out.parent.mkdir(parents=True, exist_ok=True)
        part = out.with_suffix(".part.mp4")
        subprocess.run(
            ["ffmpeg", "-v", "error", "-y", "-stream_loop", "-1", "-i", str(_base()), "-an",
             "-frames:v", str(frames), "-vf", "scale=340:256,setsar=1:1", *options, str(part)],
            check=True,
        )  # fmt: skip
        part.replace(out)
    return out


def gop_source(gop: int, bframes: int) -> Path:
    """A 340x256 clip of 500 frames with a given GOP, for random access."""
    return _derived(
        f"gop{gop}-b{bframes}.mp4", RANDOM_FRAMES, "-c:v", "libx264", "-g", str(gop),
        "-keyint_min", str(gop), "-sc_threshold", "0", "-bf", str(bframes), "-pix_fmt", "yuv420p",
    )  # fmt: skip


def gop_sources(quick: bool = False) -> list[tuple[str, Path]]:
    all_of_them = (("GOP 250", 250, 3), ("GOP 12, B", 12, 2), ("GOP 12, P", 12, 0))
    return [
        (label, gop_source(gop, b))
        for label, gop, b in (all_of_them[1:2] if quick else all_of_them)
    ]


def accumulation_sources() -> list[tuple[str, Path]]:
    """Closed GOPs of 12 with B-frames, which accumulation traces whole, at two sizes."""
    found = []
    for kind, name in KINDS.items():
        for width, height in ((340, 256), (1920, 1080)):
            out = CACHE / f"gop12-{kind}-{width}x{height}.mp4"
            if not (DATA / name).exists():
                continue
            _encode(
                DATA / name, out, "-vf", f"scale={width}:{height},setsar=1", "-c:v", "libx264",
                "-g", "12", "-keyint_min", "12", "-sc_threshold", "0", "-bf", "2",
                "-pix_fmt", "yuv420p", "-x264-params", "open-gop=0",
            )  # fmt: skip
            found.append((f"{kind} {width}x{height}", out))
    return found


def threads_sources() -> list[Path]:
    """1080p: a recording of a screen at its own size, and a street scene scaled up, which has bits
    in every frame."""
    found = []
    for kind in ("screen", "surveillance", "given"):
        if kind in KINDS and (DATA / KINDS[kind]).exists():
            out = CACHE / f"{kind}-1080p-{THREADS_FRAMES}.mp4"
            _encode(
                DATA / KINDS[kind], out, "-vf", "scale=1920:1080,setsar=1", "-c:v", "libx264",
                "-crf", "23", "-pix_fmt", "yuv420p", frames=THREADS_FRAMES,
            )  # fmt: skip
            found.append(out)
    return found


def coviar_source() -> Path:
    """Re-encoded as pytorch-coviar asks for: raw MPEG-4, I and P, GOP 12."""
    return _derived(
        "coviar.mp4", COVIAR_FRAMES, "-q:v", "1", "-c:v", "mpeg4", "-f", "rawvideo"
    )  # fmt: skip


def sample_folder(name: str, *options: str) -> Path:
    """A folder of 340x256 clips, one of each kind of footage."""
    for kind, source in KINDS.items():
        if (DATA / source).exists():
            _encode(DATA / source, CACHE / name / f"{kind}.mp4", "-vf", "scale=340:256,setsar=1",
                    "-c:v", "libx264", "-crf", "23", "-pix_fmt", "yuv420p", *options)  # fmt: skip
    return CACHE / name


def sample_folders() -> list[tuple[str, Path]]:
    """CoViAR's kind of GOP in H.264, and what encoders make by default."""
    p_only = ("-g", "12", "-keyint_min", "12", "-sc_threshold", "0", "-bf", "0", "-refs", "1")
    return [
        ("GOP 12, P", sample_folder("samples-gop12-p", *p_only)),
        ("GOP 12, B", sample_folder("samples-gop12-b", *p_only[:6], "-bf", "2")),
        ("GOP 250, as 12", sample_folder("samples-gop250")),
    ]


def cavlc_source() -> Path:
    """Baseline profile, for the microbenchmarks."""
    return _derived(
        "cavlc-340x256-crf23.mp4", FRAMES, "-c:v", "libx264", "-profile:v", "baseline", "-crf",
        "23", "-pix_fmt", "yuv420p",
    )  # fmt: skip


def largest(clips: list[Source]) -> Path:
    """The 1080p clip, or what is at its place."""
    for clip in clips:
        if clip.kind == "screen" and clip.size == "native":
            return clip.path
    return clips[0].path if clips else Path()


def use_clip(clip: Path, cache: Path) -> None:
    """From now on everything is derived from this video."""
    global CACHE, DATA, COVIAR_FRAMES, RANDOM_FRAMES, THREADS_FRAMES
    CACHE, DATA = cache, clip.resolve().parent
    COVIAR_FRAMES, RANDOM_FRAMES, THREADS_FRAMES = 97, 60, 40
    KINDS.clear()
    KINDS["given"] = clip.name
