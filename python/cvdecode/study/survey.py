"""Measures of every clip of a grid against its original, one JSON line a clip, resumable.

A clip's reference is what its encoder was fed: the decoded source after the same resize (for JPEG
the decoded source as it is).
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

import cvdecode

from . import motion
from .errors import StudyError
from .grid import input_filters, target_size
from .manifest import load_manifest
from .measures import compare, luma_frames, psnr_of, rgb_frames
from .records import Journal, Record, provenance
from .sources import Source, load_sources

SSIM_FRAMES = 16
"""SSIM (and LPIPS) look at so many frames of a clip at the most, evenly spread."""

MEASURES = {
    "mae": "mean absolute error, RGB, range [0, 1]",
    "rmse": "root mean square error, RGB, range [0, 1]",
    "psnr": "dB, RGB, from the clip's mean square error",
    "ssim": "mean over at most 16 frames, RGB, torchmetrics (11x11 Gaussian, sigma 1.5)",
    "psnr_y": "dB, luma plane as coded",
    "tc": "dB, luma against the frame before moved by the compressed stream's own vectors, in its "
    "inter blocks",
    "tc_known": "share of the samples that the vectors cover",
    "lpips": "mean over at most 16 frames, AlexNet",
}


def measure_grid(
    inputs: Sequence[tuple[str, str]],
    grid: str | os.PathLike[str],
    out: str | os.PathLike[str] | None = None,
    *,
    perceptual: bool = False,
    jobs: int = 1,
    command: str = "",
    on_progress: Callable[[int, int], None] = lambda done, total: None,
) -> tuple[list[Record], list[Record]]:
    """Measures every output of a grid against its source; goes on where it stopped.

    Args:
        inputs: (path, name) of the sources, as they were given to transcode().
        grid: its output folder.
        out: JSON lines; None = measures.jsonl in the grid's folder.
        perceptual: also LPIPS.

    Returns:
        (records, failures). Where a clip has no vectors (no H.264), there is no "tc"; infinite
        values (equal clips) are None.

    Raises:
        StudyError: nothing of the grid has its source among the inputs.
    """
    sources, failed = load_sources(inputs, jobs)
    by_name = {s.name: s for s in sources}
    wanted = []
    for record in load_manifest(grid):
        source = by_name.get(record["source"])
        if source is not None and source.sha256 == record["source_sha256"]:
            wanted.append((source, record))
    if not wanted:
        raise StudyError(f"{grid}: none of its clips was made from these sources")
    path = Path(grid) / "measures.jsonl" if out is None else Path(out)
    journal = Journal(path)
    keys = {id(r): f"{r['key']}{'|lpips' if perceptual else ''}" for _, r in wanted}
    todo = [(s, r) for s, r in wanted if keys[id(r)] not in journal.records]

    def work(pair: tuple[Source, Record]) -> Record | None:
        source, record = pair
        try:
            found = measure(source, record, perceptual=perceptual)
        except (cvdecode.Error, ValueError) as error:
            failed.append(
                {"source": source.name, "setting": record["setting"], "error": str(error)}
            )
            return None
        journal.add(
            {
                "key": keys[id(record)],
                "kind": "measures",
                "setting": record["setting"],
                "source": source.name,
                **found,
            }
        )
        return None

    done = len(wanted) - len(todo)
    with ThreadPoolExecutor(max(1, jobs)) as pool:
        for _ in pool.map(work, todo):
            done += 1
            on_progress(done, len(wanted))
    journal.records["study"] = {"key": "study", "kind": "study", **provenance(command)} | {
        "measures": MEASURES
    }
    present = [k for k in ("study", *keys.values()) if k in journal.records]
    records = journal.finish(
        present,
        lambda r: (r.get("setting"), r.get("source")),
        lambda r: (r["kind"] != "study", r.get("setting"), r.get("source")),
    )
    return [r for r in records if r["kind"] == "measures"], failed


def measure(source: Source, record: Record, *, perceptual: bool = False) -> dict[str, Any]:
    """The measures of one output; see MEASURES."""
    width, height = record["width"], record["height"]
    is_jpeg = record["codec"] == "jpeg"
    chain = "" if is_jpeg else input_filters(source.width, source.height, record["short_side"])
    if not is_jpeg:
        assert (width, height) == target_size(source.width, source.height, record["short_side"])
    found: dict[str, Any] = compare(
        rgb_frames(source.path, width, height, chain),
        rgb_frames(record["file"], width, height),
        perceptual=perceptual,
        every=-(-int(record["frames"]) // SSIM_FRAMES),
    )
    if not is_jpeg:
        found |= luma_measures(source, record, chain)
    return {
        name: None if isinstance(v, float) and not np.isfinite(v) else v
        for name, v in found.items()
    }


def luma_measures(source: Source, record: Record, chain: str) -> dict[str, float]:
    """psnr_y, and for H.264 tc by the stream's own vectors."""
    width, height = record["width"], record["height"]
    has_vectors = record["codec"] == "h264"
    consistency = _Consistency(record["stream"]) if has_vectors else None
    square = samples = 0
    reference = luma_frames(source.path, width, height, chain)
    distorted = luma_frames(record["file"], width, height)
    for a, b in zip(reference, distorted, strict=True):
        difference = b.astype(np.int64) - a
        square += int(np.square(difference).sum())
        samples += a.size
        if consistency is not None:
            consistency.add(b)
    found = {"psnr_y": psnr_of(square / samples / 255**2)}
    return found | (consistency.result() if consistency is not None else {})


class _Consistency:
    """Temporal consistency of a stream of luma frames, two frames in memory at a time."""

    def __init__(self, path: str) -> None:
        self.motion, self.known = motion.stream_motion(path)
        self.before: Any = None
        self.t = 0
        self.square = 0.0
        self.covered = self.samples = 0

    def add(self, luma: Any) -> None:
        if self.before is not None and self.t < len(self.motion):
            height, width = luma.shape
            known = motion.dense(self.known[self.t], height, width)
            flow = motion.dense(self.motion[self.t], height, width)
            error = np.square(luma - motion.warp(self.before, flow))[known]
            self.square += float(error.sum())
            self.covered += error.size
            self.samples += luma.size
        self.before = luma.astype(np.float64)
        self.t += 1

    def result(self) -> dict[str, float]:
        if not self.covered:
            return {"tc_known": 0.0}
        return {
            "tc": psnr_of(self.square / self.covered / 255**2),
            "tc_known": self.covered / self.samples,
        }
