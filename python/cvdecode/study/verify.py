"""Is an output what was asked for? Frames, size, and for H.264 the QP that was really coded."""

from __future__ import annotations

import os
import struct
from pathlib import Path
from typing import Any

import numpy as np

import cvdecode

from .errors import EncodeFailed
from .grid import Setting


def video_bytes(path: str | os.PathLike[str]) -> int:
    """Bytes of the coded pictures alone: the "mdat" boxes of an MP4, else the whole file."""
    path = Path(path)
    size = path.stat().st_size
    if path.suffix != ".mp4":
        return size
    total = position = 0
    with open(path, "rb") as file:
        while position + 8 <= size:
            file.seek(position)
            length, kind = struct.unpack(">I4s", file.read(8))
            head = 8
            if length == 1:
                length, head = struct.unpack(">Q", file.read(8))[0], 16
            elif length == 0:
                length = size - position
            if kind == b"mdat":
                total += length - head
            position += max(length, head)
    return total


def verify(
    path: str | os.PathLike[str], setting: Setting, frames: int, width: int, height: int
) -> dict[str, Any]:
    """Reads an output back and compares it with what was asked for.

    Returns:
        Its size in bytes (file, and coded pictures), frames, width, height, and for H.264 the
        frame types, the mean QP over all macroblocks (skipped ones carry the predicted QP),
        the mean QP of each frame type, and the bits of all macroblocks.

    Raises:
        EncodeFailed: another number of frames, another size, damage, or with constant QP a
            macroblock with another QP.
    """
    planes = ("qp", "bits") if setting.codec == "h264" else ()
    counts: dict[str, np.ndarray[Any, Any]] = {}
    types, bits, lost = "", 0, 0
    with cvdecode.VideoReader(path, planes=planes) as video:
        meta, found = video.metadata, len(video)
        for clip in video.batches(64) if planes else ():
            lost += int(np.count_nonzero(clip.lost))
            types += "".join(clip.frame_type)
            bits += int(clip.bits.sum(dtype=np.int64))
            for letter, qp in zip(clip.frame_type, clip.qp, strict=True):
                here = counts.setdefault(str(letter), np.zeros(52, np.int64))
                here += np.bincount(qp[qp != cvdecode.QP_NONE], minlength=52)
    if found != frames:
        raise EncodeFailed(f"{frames} frames were to be encoded, the output has {found}")
    if (meta.width, meta.height) != (width, height):
        raise EncodeFailed(
            f"{width}x{height} was to be encoded, the output is {meta.width}x{meta.height}"
        )
    if lost:
        raise EncodeFailed(f"{lost} of {frames} frames of the output are damaged")
    said: dict[str, Any] = {
        "bytes": os.path.getsize(path),
        "video_bytes": video_bytes(path),
        "frames": found,
        "width": width,
        "height": height,
    }
    if planes:
        total = sum(counts.values(), np.zeros(52, np.int64))
        coded = np.flatnonzero(total)
        if setting.rate == "qp" and list(coded) not in ([], [setting.value]):
            raise EncodeFailed(
                f"QP {setting.value} was asked for, the stream has QP {coded[0]} to {coded[-1]}"
            )
        said |= {
            "frame_types": types,
            "macroblock_bits": bits,
            "mean_qp": _mean(total),
            "mean_qp_by_type": {letter: _mean(counts[letter]) for letter in sorted(counts)},
        }
    return said


def _mean(histogram: np.ndarray[Any, Any]) -> float | None:
    """Mean QP of a histogram over QP 0 to 51, rounded to 1e-6; None of an empty one."""
    total = int(histogram.sum())
    return round(float(histogram @ np.arange(52)) / total, 6) if total else None
