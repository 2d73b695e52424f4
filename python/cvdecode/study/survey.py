"""Measures of every clip of a grid against its original, one JSON line a clip, resumable.

A clip's reference is what its encoder was fed: the decoded source after the same resize (for JPEG
the decoded source as it is).
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import repeat
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

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

Array = npt.NDArray[Any]
Flow = Callable[[Array, Array], Array]
"""Luma now and before, uint8 (H, W), to (2 (x, y), H, W), samples: source = here + flow."""

MEASURES = {
    "mae": "mean absolute error, RGB, range [0, 1]",
    "rmse": "root mean square error, RGB, range [0, 1]",
    "psnr": "dB, RGB, from the clip's mean square error",
    "ssim": "mean over at most 16 frames, RGB, torchmetrics (11x11 Gaussian, sigma 1.5)",
    "psnr_y": "dB, luma plane as coded",
    "tc": "dB, luma against the frame before moved by the compressed stream's own vectors, in its "
    "inter blocks",
    "tc_known": "share of the samples that the vectors cover",
    "tc_flow": "dB, luma (limited range) against the frame before moved by an estimated flow of "
    'the measured frames, everywhere; "flow" names the estimator',
    "lpips": "mean over at most 16 frames, AlexNet",
}


def measure_grid(
    inputs: Sequence[tuple[str, str]],
    grid: str | os.PathLike[str],
    out: str | os.PathLike[str] | None = None,
    *,
    perceptual: bool = False,
    flow: Flow | None = None,
    flow_name: str = "",
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
        flow: also temporal consistency along this flow, for every codec.
        flow_name: which one it is; it stands in the results, and with another one clips are
            measured again.

    Returns:
        (records, failures). Where a clip has no vectors (no H.264), there is no "tc"; infinite
        values (equal clips) are None.

    Raises:
        StudyError: nothing of the grid has its source among the inputs.
        ValueError: a flow without a name.
    """
    if (flow is None) != (not flow_name):
        raise ValueError("flow and flow_name go together: results say which flow it was")
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
    more = ("|lpips" if perceptual else "") + (f"|{flow_name}" if flow_name else "")
    keys = {id(r): f"{r['key']}{more}" for _, r in wanted}
    todo = [(s, r) for s, r in wanted if keys[id(r)] not in journal.records]

    def work(pair: tuple[Source, Record]) -> Record | None:
        source, record = pair
        try:
            found = measure(source, record, perceptual=perceptual, flow=flow)
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
        "measures": MEASURES,
        "flow": flow_name or None,
    }
    present = [k for k in ("study", *keys.values()) if k in journal.records]
    records = journal.finish(
        present,
        lambda r: (r.get("setting"), r.get("source")),
        lambda r: (r["kind"] != "study", r.get("setting"), r.get("source")),
    )
    return [r for r in records if r["kind"] == "measures"], failed


def measure(
    source: Source, record: Record, *, perceptual: bool = False, flow: Flow | None = None
) -> dict[str, Any]:
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
    if not is_jpeg or flow is not None:
        found |= luma_measures(source, record, chain, flow)
    return {
        name: None if isinstance(v, float) and not np.isfinite(v) else v
        for name, v in found.items()
    }


def luma_measures(
    source: Source, record: Record, chain: str, flow: Flow | None = None
) -> dict[str, float]:
    """psnr_y (not of JPEG), for H.264 tc by the stream's own vectors, and tc_flow by `flow`."""
    is_jpeg = record["codec"] == "jpeg"
    width, height = (record[side] // 2 * 2 for side in ("width", "height"))
    even = f"crop={width}:{height}:0:0" if is_jpeg else ""  # the others are even
    by_vectors = _Consistency(_coded(record["stream"])) if record["codec"] == "h264" else None
    by_flow = None if flow is None else _Consistency(lambda t, a, b: (flow(a, b), None))
    square = samples = 0
    reference: Any = repeat(None) if is_jpeg else luma_frames(source.path, width, height, chain)
    distorted = luma_frames(record["file"], width, height, even)
    for a, b in zip(reference, distorted, strict=not is_jpeg):
        if a is not None:
            square += int(np.square(b.astype(np.int64) - a).sum())
            samples += a.size
        for consistency in (by_vectors, by_flow):
            if consistency is not None:
                consistency.add(b)
    found = {} if is_jpeg else {"psnr_y": psnr_of(square / samples / 255**2)}
    if by_vectors is not None:
        found |= by_vectors.result()
    if by_flow is not None and by_flow.covered:
        found["tc_flow"] = by_flow.result()["tc"]
    return found


Motion = Callable[[int, Array, Array], tuple[Array, Array | None]]
"""Frame t and the one before to motion, (2, H, W), and where it is known, (H, W) or everywhere."""


def _coded(path: str) -> Motion:
    """The vectors of a stream; nothing is known behind its last frame."""
    vectors, known = motion.stream_motion(path)

    def at(t: int, now: Array, before: Array) -> tuple[Array, Array]:
        if t >= len(vectors):
            return np.zeros((2, *now.shape)), np.zeros(now.shape, bool)
        return motion.dense(vectors[t], *now.shape), motion.dense(known[t], *now.shape)

    return at


class _Consistency:
    """Temporal consistency of a stream of luma frames, two frames in memory at a time."""

    def __init__(self, field: Motion) -> None:
        self.field = field
        self.before: Any = None
        self.t = 0
        self.square = 0.0
        self.covered = self.samples = 0

    def add(self, luma: Array) -> None:
        if self.before is not None:
            flow, known = self.field(self.t, luma, self.before)
            error = np.square(luma - motion.warp(self.before.astype(np.float64), flow))
            error = error if known is None else error[known]
            self.square += float(error.sum())
            self.covered += error.size
            self.samples += luma.size
        self.before = luma
        self.t += 1

    def result(self) -> dict[str, float]:
        if not self.covered:
            return {"tc_known": 0.0}
        return {
            "tc": psnr_of(self.square / self.covered / 255**2),
            "tc_known": self.covered / self.samples,
        }
