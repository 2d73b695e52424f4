"""How coarsely a video was coded, frame by frame and inside boxes: histograms of the true QP."""

from __future__ import annotations

import csv
import dataclasses
import os
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

import cvdecode

from .errors import StudyError

Counts = npt.NDArray[np.int64]


@dataclasses.dataclass(frozen=True)
class Box:
    """A rectangle in shown samples: x to x + width, y to y + height."""

    x: int
    y: int
    width: int
    height: int
    frame: int | None = None
    """Presentation index; None = every frame."""
    name: str = ""


@dataclasses.dataclass(frozen=True)
class Histograms:
    """QP of a video. Macroblocks without a QP (I_PCM, lost) count nowhere."""

    frame_types: str
    frames: Counts
    """(T, QP) macroblocks of each frame."""
    boxes: Counts
    """(B, QP) samples of each box, over all its frames."""
    scale: str
    """What the QP is, in the words of the codec's standard."""


def read_boxes(path: str | os.PathLike[str]) -> list[Box]:
    """Boxes from a CSV file with the columns x, y, width, height, and if wanted frame and name.

    An empty frame means every frame.

    Raises:
        StudyError: a column is missing or a field is no whole number; says the line.
    """
    boxes = []
    with open(path, newline="", encoding="utf-8") as file:
        reader = csv.DictReader(file)
        missing = {"x", "y", "width", "height"} - set(reader.fieldnames or ())
        if missing:
            raise StudyError(f"{path}: the column {', '.join(sorted(missing))} is missing")
        for row in reader:
            try:
                x, y, width, height = (int(row[k]) for k in ("x", "y", "width", "height"))
                frame = int(row["frame"]) if row.get("frame") else None
            except (TypeError, ValueError):
                raise StudyError(
                    f"{path}, line {reader.line_num}: whole numbers are wanted"
                ) from None
            if width < 1 or height < 1:
                raise StudyError(f"{path}, line {reader.line_num}: the box is empty")
            boxes.append(Box(x, y, width, height, frame, row.get("name") or ""))
    return boxes


def histograms(source: Any, boxes: Sequence[Box] = ()) -> Histograms:
    """Histograms of the coded QP of every frame, and of the samples inside boxes.

    Raises:
        StudyError: a box lies outside the picture or the video.
        cvdecode.PlaneUnavailable: no backend gives the QP of this stream.
    """
    rows: list[Counts] = []
    inside = np.zeros((len(boxes), 64), np.int64)
    types = ""
    with cvdecode.VideoReader(source, planes=("qp",)) as video:
        meta = video.metadata
        for box in boxes:
            if box.frame is not None and not 0 <= box.frame < len(video):
                raise StudyError(f"{box}: the video has {len(video)} frames")
        for segment in video.segments:
            for start in range(segment.start, segment.stop, 64):
                clip = video.get_frames_in_range(start, min(start + 64, segment.stop))
                types += "".join(clip.frame_type)
                cell = clip.block_size["qp"]
                weights = [_overlap(box, segment, cell, clip.qp.shape[1:]) for box in boxes]
                for index, qp in zip(clip.index, clip.qp, strict=True):
                    known = qp != cvdecode.QP_NONE
                    rows.append(np.bincount(qp[known], minlength=64))
                    for n, box in enumerate(boxes):
                        if box.frame is None or box.frame == index:
                            inside[n] += np.bincount(
                                qp[known], weights[n][known], minlength=64
                            ).astype(np.int64)
    frames = np.stack(rows) if rows else np.zeros((0, 64), np.int64)
    return Histograms(types, frames, inside, meta.qp_scale)


def _overlap(box: Box, segment: cvdecode.Segment, cell: int, shape: Sequence[int]) -> Counts:
    """Samples that the box shares with each cell of the plane."""
    right, bottom = box.x + box.width, box.y + box.height
    if box.x < 0 or box.y < 0 or right > segment.width or bottom > segment.height:
        raise StudyError(f"{box} lies outside the picture of {segment.width}x{segment.height}")
    shared = []
    for low, size, cells in (
        (box.y + segment.crop.top, box.height, shape[0]),
        (box.x + segment.crop.left, box.width, shape[1]),
    ):
        edges = np.clip(np.arange(cells + 1) * cell, low, low + size)
        shared.append(np.diff(edges))
    overlap: Counts = np.outer(*shared)
    return overlap


def mean(histogram: Counts) -> float | None:
    """Mean QP of a histogram; None of an empty one."""
    total = int(histogram.sum())
    return float(histogram @ np.arange(len(histogram))) / total if total else None
