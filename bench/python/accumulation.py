"""What accumulation costs: GOPs of 12 frames, CPU time of one thread, medians, sides in turn.

python bench/python/accumulation.py [--rounds N] [--out FOLDER]      -> accumulation.json, a table

Sides, per GOP, all of its frames asked for:
  pixel, grid=4   cvdecode.accumulate(out=...): choosing predictors and tracing (stats.cpu_seconds)
  grid=4 call     the whole call, with the parsing that it needs and no more
  parse           the same frames' vectors, references and block types, without accumulation
  np.take         the pixel maps in NumPy: the predictors are chosen already, indices are flat and
                  built from one row and one column per block, all arrays preallocated; its maps
                  are compared with ours, byte by byte, in every GOP
  memcpy          the bytes of the maps, each picture's from the picture's before
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import sources

import cvdecode

Ints = npt.NDArray[Any]
GOP = 12
BYTES = 9  # of a cell: displacement 4, anchor 4, mask 1


class NumpyMaps:
    """The maps of one GOP by np.take. Slot t is the map of picture t; slot GOP + t is a map of
    traces that stop in picture t. ``memory`` (of an earlier GOP) is used again."""

    def __init__(self, clip: cvdecode.Clip) -> None:
        width, height = clip.segment.coded_size
        self.size = (height, width)
        cells = width * height
        self.x = np.zeros((2 * GOP, cells), np.int16)
        self.y = np.zeros((2 * GOP, cells), np.int16)
        self.end = np.zeros((2 * GOP, cells), np.int32)
        self.mask = np.zeros((2 * GOP, cells), np.uint8)
        self.index = np.empty((height // 4, 4, width // 4, 4), np.intp)
        self.rows = np.arange(height).reshape(height // 4, 4, 1)
        self.columns = np.arange(width).reshape(1, width // 4, 4)

    def prepare(self, clip: cvdecode.Clip, anchors: Ints, masks: Ints) -> None:
        """Not timed: predictors as accumulate() chooses them (the nearest, ties to list 0)."""
        self.motion: list[tuple[int, Ints, Ints, Ints]] = []
        first = int(clip.index[0])
        for t in cvdecode_order(clip):
            self.end[[t, GOP + t]] = first + t
            self.mask[GOP + t] = 1
            if clip.frame_type[t] == "I":
                self.mask[t] = 0
                continue
            ref, mv = clip.ref[t].astype(int), clip.mv[t]
            used = ref != 0
            far = np.where(used, np.abs(ref), 1 << 20)
            second = far[1] < far[0]
            chosen = np.where(second, ref[1], ref[0])
            source = np.where(used.any(0), t + chosen, GOP + t)
            vx, vy = (np.where(second, mv[1, k], mv[0, k]) for k in range(2))
            self.motion.append((t, source, vx, vy))

    def run(self) -> None:
        height, width = self.size
        x, y = self.x.reshape(-1), self.y.reshape(-1)
        end, mask = self.end.reshape(-1), self.mask.reshape(-1)
        flat = self.index.reshape(-1)
        for t, source, vx, vy in self.motion:
            rows = self.rows + ((vy.astype(np.intp) + 2) >> 2)[:, None, :]
            np.clip(rows, 0, height - 1, out=rows)
            rows += (source * height)[:, None, :]
            rows *= width
            columns = self.columns + ((vx.astype(np.intp) + 2) >> 2)[:, :, None]
            np.clip(columns, 0, width - 1, out=columns)
            np.add(rows[:, :, :, None], columns[:, None, :, :], out=self.index)
            np.take(x, flat, out=self.x[t], mode="wrap")
            np.take(y, flat, out=self.y[t], mode="wrap")
            np.take(end, flat, out=self.end[t], mode="wrap")
            np.take(mask, flat, out=self.mask[t], mode="wrap")
            for plane, v in ((self.x[t], vx), (self.y[t], vy)):
                blocks = plane.reshape(self.index.shape)
                np.subtract(blocks, v[:, None, :, None], out=blocks)


def cvdecode_order(clip: cvdecode.Clip) -> list[int]:
    """Rows in an order in which every reference comes first."""
    names = [set(np.unique(clip.ref[t]).tolist()) - {0} for t in range(len(clip))]
    order: list[int] = []
    while len(order) < len(clip):
        for t in range(len(clip)):
            if t not in order and all(t + r in order for r in names[t]):
                order.append(t)
    return order


def timed(action: Callable[[], Any]) -> float:
    begin = time.process_time()
    action()
    return time.process_time() - begin


def measure(path: Path, rounds: int) -> dict[str, Any]:
    """Milliseconds per GOP of each side, and what `pixel` takes against them."""
    runs: dict[str, list[float]] = {}
    with cvdecode.VideoReader(path, planes=("mv", "ref", "mb_type"), backend="native") as video:
        gops = [(g.start, g.stop) for g in video.gops if g.stop - g.start == GOP][1 : 1 + rounds]
        if not gops:
            raise SystemExit(f"{path} has no closed GOPs of {GOP} frames")
        clip = video.get_frames_in_range(*gops[0])
        width, height = clip.segment.coded_size
        literal = NumpyMaps(clip)
        maps = np.zeros((GOP, width * height * BYTES), np.uint8)
        pixel = cvdecode.accumulate(video, range(*gops[0]))
        coarse = cvdecode.accumulate(video, range(*gops[0]), grid=4)

        def copy() -> None:
            for t in range(1, GOP):
                np.copyto(maps[t], maps[t - 1])

        for start, stop in gops:
            frames = range(start, stop)
            pixel = cvdecode.accumulate(video, frames, out=pixel)
            begin = time.process_time()
            coarse = cvdecode.accumulate(video, frames, grid=4, out=coarse)
            call = time.process_time() - begin
            figures = {
                "parse": timed(lambda: video.get_frames_in_range(start, stop, out=clip)),  # noqa: B023
                "pixel": pixel.stats.cpu_seconds,
                "grid=4": coarse.stats.cpu_seconds,
                "grid=4 call": call,
            }
            literal.prepare(clip, pixel.anchor, pixel.mask)
            figures["np.take"] = timed(literal.run)
            figures["memcpy"] = timed(copy)
            check(literal, pixel)
            for name, seconds in figures.items():
                runs.setdefault(name, []).append(seconds * 1e3)
    return {"size": [width, height], "gops": len(gops), "ms": runs}


def check(literal: NumpyMaps, pixel: cvdecode.Accumulation) -> None:
    crop, segment = pixel.segment.crop, pixel.segment
    shown = np.s_[:GOP, crop.top : crop.top + segment.height, crop.left : crop.left + segment.width]
    for ours, theirs in (
        (pixel.displacement[:, 0], literal.x),
        (pixel.displacement[:, 1], literal.y),
        (pixel.anchor, literal.end),
        (pixel.mask, literal.mask),
    ):
        if not np.array_equal(ours, theirs.reshape(-1, *literal.size)[shown]):
            raise SystemExit("np.take and accumulate() do not give the same maps")


def ratios(result: dict[str, Any]) -> dict[str, float]:
    """Medians of the GOPs' own ratios."""
    ms = result["ms"]

    def of(a: str, b: str) -> float:
        return statistics.median(x / y for x, y in zip(ms[a], ms[b], strict=True))

    return {
        "np.take / pixel": of("np.take", "pixel"),
        "memcpy / pixel": of("memcpy", "pixel"),
        "pixel / grid=4": of("pixel", "grid=4"),
        "grid=4 / parse": of("grid=4", "parse"),
    }


def markdown(results: dict[str, Any]) -> str:
    names = ("parse", "pixel", "grid=4", "grid=4 call", "np.take", "memcpy")
    head = ["GOP of 12", *(f"{n}, ms" for n in names)]
    head += ["np.take / pixel", "memcpy / pixel", "pixel / grid=4", "grid=4 / parse"]
    lines = ["| " + " | ".join(head) + " |", "|---" * len(head) + "|"]
    for label, result in results.items():
        r = ratios(result)
        cells = [f"{statistics.median(result['ms'][n]):.2f}" for n in names]
        cells += [
            f"{r['np.take / pixel']:.1f}x", f"{r['memcpy / pixel']:.0%}",
            f"{r['pixel / grid=4']:.1f}x", f"{r['grid=4 / parse']:.0%}",
        ]  # fmt: skip
        lines.append(f"| {label} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=25, help="GOPs of each clip")
    parser.add_argument("--out", type=Path, default=sources.ROOT / "bench" / "results")
    parser.add_argument("--clip", type=Path, help="this H.264 clip with GOPs of 12 alone")
    arguments = parser.parse_args()
    load = os.getloadavg()[0]
    clips = [("given", arguments.clip)] if arguments.clip else sources.accumulation_sources()
    results = {label: measure(path, arguments.rounds) for label, path in clips}
    arguments.out.mkdir(parents=True, exist_ok=True)
    file = arguments.out / "accumulation.json"
    file.write_text(json.dumps({"load": [load, os.getloadavg()[0]], "clips": results}) + "\n")
    print(markdown(results))


if __name__ == "__main__":
    main()
