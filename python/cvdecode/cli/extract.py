"""Write the planes of videos to files, one file a video, in bounded memory.

A run that was cut off, even by kill -9, is taken up where it stopped: finished files are listed in
manifest.jsonl with their checksums and are not made again while their source is unchanged.
"""

from __future__ import annotations

import argparse
import dataclasses
import hashlib
import json
import os
import shutil
import sys
from pathlib import Path
from typing import Any

import numpy as np

import cvdecode
from cvdecode.cli._inputs import expand
from cvdecode.cli._store import SUFFIXES, WRITERS, Layout, layout_bytes
from cvdecode.cli._terminal import print_table, progress, readable

PLANES = cvdecode.PLANES
UNITS = {
    "mv": "1/mv_unit luma sample, from this block to its reference; (list, x|y, row, column)",
    "ref": "frames in presentation order from this frame to the reference; 0 = list not used; "
    "-32768 not known, -32767 not shown, -32766 missing, -32765 other field",
    "mb_type": "cvdecode.MbType",
    "qp": "quantiser on qp_scale; -128 = none",
    "bits": "bits of the macroblock",
    "residual_y": "luma samples, added to the prediction before clipping",
    "residual_uv": "chroma samples (Cb, Cr), added to the prediction before clipping",
    "rgb": "8-bit R, G, B",
}
GRID_PLANES = ("mv", "ref")  # the others are on the macroblock or sample grid already
BATCH_BYTES = 64 << 20
FRAME_TYPES = {"?": 0, "I": 1, "P": 2, "B": 3}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("inputs", nargs="+", help="video files, folders, or .txt lists of files")
    parser.add_argument("-o", "--out", default="planes", help="output folder (default: planes)")
    parser.add_argument(
        "--planes",
        default="mv,ref,qp",
        help=f"comma-separated, of {','.join(PLANES)}; 'all' = every plane the stream can give "
        "(default: %(default)s)",
    )
    parser.add_argument("--format", choices=sorted(WRITERS), default="safetensors")
    parser.add_argument(
        "--grid",
        type=int,
        choices=(4, 8, 16),
        default=4,
        help="cell size of mv and ref in luma samples: 8 and 16 keep the 4x4 block in which the "
        "cell's centre lies, so a vector and its reference stay a pair (default: 4)",
    )
    parser.add_argument("--backend", choices=("auto", "native", "libav"), default="auto")
    parser.add_argument("--json", action="store_true", help="print the result as JSON")


def run(arguments: argparse.Namespace) -> int:
    inputs = expand(arguments.inputs)
    out = Path(arguments.out)
    out.mkdir(parents=True, exist_ok=True)
    manifest = Manifest(out / "manifest.jsonl")
    jobs: list[Job] = []
    failures: list[tuple[str, str]] = []
    done = 0
    with progress() as bar:
        task = bar.add_task("measuring", total=len(inputs))
        for source, name in inputs:
            try:
                job = plan(source, name, arguments)
                if manifest.is_done(job):
                    done += 1
                else:
                    jobs.append(job)
            except (cvdecode.Error, OSError, ValueError) as error:
                failures.append((source, str(error)))
            bar.advance(task)
    total = sum(job.bytes for job in jobs)
    free = shutil.disk_usage(out).free
    print(
        f"{len(jobs)} to write, {readable(total)}; {done} done before; {readable(free)} free "
        f"in {out}",
        file=sys.stderr,
    )
    if total > free:
        raise OSError(
            f"{readable(total)} are needed in {out}, {readable(free)} are free: choose fewer "
            "planes (--planes), a coarser grid (--grid 16) or another folder (--out)"
        )
    written = []
    with progress() as bar:
        task = bar.add_task("extracting", total=sum(job.frames for job in jobs))
        for job in jobs:
            try:
                entry = extract(job, lambda n: bar.advance(task, n))
                manifest.add(entry)
                written.append(entry)
            except (cvdecode.Error, OSError, ValueError, MemoryError) as error:
                failures.append((job.source, str(error)))
    report(arguments, written, failures, done)
    return 1 if failures else 0


@dataclasses.dataclass
class Job:
    source: str
    out: Path
    planes: tuple[str, ...]
    format: str
    grid: int
    backend: str
    frames: int
    layouts: list[Layout]  # one a segment
    bytes: int

    def key(self) -> dict[str, Any]:
        """What must be unchanged for an earlier output to count as this one."""
        stat = os.stat(self.source) if "://" not in self.source else None
        return {
            "source": self.source,
            "source_size": stat.st_size if stat else None,
            "source_mtime_ns": stat.st_mtime_ns if stat else None,
            "planes": list(self.planes),
            "format": self.format,
            "grid": self.grid,
            "backend": self.backend,
            "plane_version": cvdecode.PLANE_VERSION,
        }


def plan(source: str, name: str, arguments: argparse.Namespace) -> Job:
    """Opens the source, settles the planes, and computes the size of the output."""
    planes = _planes(source, arguments)
    rest = tuple(p for p in planes if p != "rgb")
    with _open(source, rest, "rgb" in planes, arguments.backend) as video:
        layouts = []
        for segment in video.segments:
            probe = video.get_frames_in_range(segment.start, segment.start + 1)
            layouts.append(_layout(probe, planes, arguments.grid, segment.stop - segment.start))
        frames = len(video)
    return Job(
        source=source,
        out=Path(arguments.out) / (name + SUFFIXES[arguments.format]),
        planes=planes,
        format=arguments.format,
        grid=arguments.grid,
        backend=arguments.backend,
        frames=frames,
        layouts=layouts,
        bytes=sum(layout_bytes(layout) for layout in layouts),
    )


def _planes(source: str, arguments: argparse.Namespace) -> tuple[str, ...]:
    if arguments.planes == "all":
        offers = cvdecode.probe(source).backends
        offers = {n: o for n, o in offers.items() if arguments.backend in ("auto", n)}
        return tuple(p for p in PLANES if any(p in o.planes for o in offers.values()))
    planes = tuple(dict.fromkeys(p.strip() for p in arguments.planes.split(",") if p.strip()))
    unknown = [p for p in planes if p not in PLANES]
    if unknown or not planes:
        raise ValueError(f"--planes {arguments.planes}: choose from {', '.join(PLANES)} or all")
    return planes


def _open(source: str, planes: tuple[str, ...], rgb: bool, backend: Any) -> Any:
    return cvdecode.VideoReader(
        source, planes=planes, rgb="all" if rgb else "none", backend=backend
    )


def _on_grid(name: str, rows: Any, grid: int) -> Any:
    if grid == 4 or name not in GRID_PLANES:
        return rows
    step = grid // 4
    return rows[..., step // 2 :: step, step // 2 :: step]


def _layout(clip: Any, planes: tuple[str, ...], grid: int, frames: int) -> Layout:
    layout: Layout = {
        "pts": ((frames,), np.dtype(np.int64)),
        "frame_type": ((frames,), np.dtype(np.uint8)),
        "is_key": ((frames,), np.dtype(np.uint8)),
        "lost": ((frames,), np.dtype(np.uint8)),
    }
    for name in planes:
        rows = _on_grid(name, getattr(clip, name), grid)
        layout[name] = ((frames, *rows.shape[1:]), rows.dtype)
    return layout


def _metadata(job: Job, video: Any, clip: Any) -> dict[str, str]:
    meta = video.metadata
    return {
        "format": "cvdecode planes",
        "plane_version": str(cvdecode.PLANE_VERSION),
        "cvdecode_version": cvdecode.__version__,
        "source": os.path.basename(job.source),
        "codec": meta.codec,
        "mv_unit": str(meta.mv_unit),
        "qp_scale": str(meta.qp_scale),
        "time_base": str(meta.time_base),
        "coded_size": json.dumps(list(clip.segment.coded_size)),
        "crop": json.dumps([int(c) for c in clip.crop]),
        "grid": str(job.grid),
        "backend": json.dumps(dict(video.backend)),
        "units": json.dumps({p: UNITS[p] for p in job.planes}),
        "frame_type": json.dumps({v: k for k, v in FRAME_TYPES.items()}),
    }


def extract(job: Job, advance: Any) -> dict[str, Any]:
    """Writes one video; returns its manifest entry."""
    rest = tuple(p for p in job.planes if p != "rgb")
    outputs = []
    lost = 0
    with _open(job.source, rest, "rgb" in job.planes, job.backend) as video:
        several = len(video.segments) > 1
        for number, (segment, layout) in enumerate(zip(video.segments, job.layouts, strict=True)):
            out = job.out
            if several:
                out = out.with_name(
                    f"{out.name.removesuffix(SUFFIXES[job.format])}.{number}{SUFFIXES[job.format]}"
                )
            writer = None
            step = max(1, BATCH_BYTES * (segment.stop - segment.start) // layout_bytes(layout))
            try:
                for start in range(segment.start, segment.stop, step):
                    clip = video.get_frames_in_range(start, min(start + step, segment.stop))
                    if writer is None:
                        writer = WRITERS[job.format](out, layout, _metadata(job, video, clip))
                    row = start - segment.start
                    for name in job.planes:
                        writer.write(name, row, _on_grid(name, getattr(clip, name), job.grid))
                    types = np.array([FRAME_TYPES[t] for t in clip.frame_type], np.uint8)
                    writer.write("pts", row, np.asarray(clip.pts, np.int64))
                    writer.write("frame_type", row, types)
                    writer.write("is_key", row, np.asarray(clip.is_key).astype(np.uint8))
                    writer.write("lost", row, np.asarray(clip.lost).astype(np.uint8))
                    lost += int(np.count_nonzero(clip.lost))
                    advance(len(clip))
                assert writer is not None
                writer.finish()
            except BaseException:
                if writer is not None:
                    writer.abort()
                raise
            outputs.append(out)
    return {
        **job.key(),
        "outputs": {str(p.relative_to(job.out.parent)): _checksum(p) for p in outputs},
        "folder": str(job.out.parent),
        "frames": job.frames,
        "lost_frames": lost,
        "bytes": job.bytes,
    }


def _checksum(path: Path) -> str:
    digest = hashlib.sha256()
    for file in sorted(path.iterdir()) if path.is_dir() else [path]:
        with open(file, "rb") as stream:
            while block := stream.read(1 << 20):
                digest.update(block)
    return digest.hexdigest()


class Manifest:
    """manifest.jsonl: one line a finished file. A line cut off by a kill is ignored."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._entries: dict[tuple[str, str], dict[str, Any]] = {}
        if path.exists():
            for line in path.read_text().splitlines():
                try:
                    entry = json.loads(line)
                    self._entries[entry["source"], entry["folder"]] = entry
                except (ValueError, KeyError):
                    continue

    def is_done(self, job: Job) -> bool:
        entry = self._entries.get((job.source, str(job.out.parent)))
        if entry is None or any(entry.get(k) != v for k, v in job.key().items()):
            return False
        return all((job.out.parent / name).exists() for name in entry["outputs"])

    def add(self, entry: dict[str, Any]) -> None:
        self._entries[entry["source"], entry["folder"]] = entry
        # A line cut off earlier must not swallow this one.
        torn = self._path.exists() and not self._path.read_bytes().endswith(b"\n")
        with open(self._path, "a") as file:
            file.write(("\n" if torn else "") + json.dumps(entry) + "\n")
            file.flush()
            os.fsync(file.fileno())


def report(
    arguments: argparse.Namespace,
    written: list[dict[str, Any]],
    failures: list[tuple[str, str]],
    done: int,
) -> None:
    if arguments.json:
        print(
            json.dumps(
                {
                    "written": written,
                    "done_before": done,
                    "failed": [{"source": s, "error": e} for s, e in failures],
                }
            )
        )
        return
    if written:
        print_table(
            "written",
            ("file", "frames", "lost", "size"),
            [
                (
                    ", ".join(e["outputs"]),
                    str(e["frames"]),
                    str(e["lost_frames"]),
                    readable(e["bytes"]),
                )
                for e in written
            ],
        )
    for source, why in failures:
        print(f"failed: {why if source in why else f'{source}: {why}'}")
