"""Many small clips through one encoder process: an IDR at each, split into clips afterwards.

A process for every clip costs more than the encoding when clips are small. With constant QP the
coded pictures are those of separate encodes; with CRF or a bitrate the rate control remembers the
clip before, so that is done only on request.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

from .errors import EncodeFailed
from .ffmpeg import keep_every_frame, local, run
from .grid import Setting, input_filters
from .sources import Source

SMALL = 2_000_000
"""Clips of at most this many samples (width x height x frames) count as small."""
AT_ONCE = 256
"""Clips to one process at the most."""

_NEW_PICTURE_H264 = (1, 5)  # nal_unit_type of slices of a primary coded picture
_BEFORE_PICTURE_H264 = (6, 7, 8, 9)  # SEI, SPS, PPS, access unit delimiter


def is_small(source: Source) -> bool:
    """Whether the clip counts as small."""
    return source.width * source.height * source.frames <= SMALL


def key_frame_times(starts: Sequence[int], rate: Fraction) -> str:
    """ffmpeg's -force_key_frames for the frames numbered `starts` at a constant rate.

    Half a frame early: ffmpeg takes the first frame at or after each time.
    """
    return ",".join(f"{max(0.0, (start - 0.5) / float(rate)):.6f}" for start in starts)


def encode(sources: Sequence[Source], setting: Setting, out: Path) -> list[bytes]:
    """Encodes clips of equal size and rate into one H.264 stream and splits it.

    Returns:
        One Annex B stream a clip, each beginning with its own parameter sets and IDR.

    Raises:
        EncodeFailed: ffmpeg failed, or the stream does not have a key frame at each clip's start.
    """
    first = sources[0]
    listing = out.with_suffix(".txt")
    text = "".join(f"file '{_quoted(os.path.abspath(s.path))}'\n" for s in sources)
    listing.write_text("ffconcat version 1.0\n" + text)
    starts = [sum(s.frames for s in sources[:n]) for n in range(len(sources))]
    rate = first.frame_rate
    chain = input_filters(first.width, first.height, setting.short_side)
    try:
        run(
            [
                *["-f", "concat", "-safe", "0", "-threads", "1", "-i", local(listing)],
                *["-map", "0:v:0", "-vf", f"{chain},setpts=N/({rate})/TB,fps={rate}"],
                *keep_every_frame(),
                *["-force_key_frames", key_frame_times(starts, rate), "-forced-idr", "1"],
                *[*setting.encoder(), "-f", "h264", local(out)],
            ],
            f"{len(sources)} clips from {first.path} on",
        )
        return split_h264(out.read_bytes(), [s.frames for s in sources])
    finally:
        listing.unlink(missing_ok=True)
        out.unlink(missing_ok=True)


def _quoted(path: str) -> str:
    return path.replace("'", "'\\''")


def split_h264(stream: bytes, frames: Sequence[int]) -> list[bytes]:
    """Cuts an Annex B stream of one slice layer a picture into clips of so many pictures.

    Raises:
        EncodeFailed: the pictures do not add up, or a clip does not begin with an IDR picture.
    """
    cuts = [0]
    wanted = iter(frames)
    left = next(wanted)
    pictures = 0
    before: int | None = None  # where what belongs to the next picture begins
    for start, kind, first in _nal_units(stream):
        if kind in _BEFORE_PICTURE_H264:
            before = start if before is None else before
        elif kind in _NEW_PICTURE_H264:
            if first:
                begin = start if before is None else before
                if left == 0:
                    left = next(wanted, -1)
                    cuts.append(begin)
                    pictures = 0
                if pictures == 0 and kind != 5:
                    raise EncodeFailed("a clip of the joint stream does not begin with an IDR")
                left -= 1
                pictures += 1
            before = None
    if left or next(wanted, None) is not None:
        raise EncodeFailed(f"the joint stream does not have the {sum(frames)} frames of its clips")
    return [stream[a:b] for a, b in zip(cuts, [*cuts[1:], len(stream)], strict=True)]


def _nal_units(stream: bytes) -> list[tuple[int, int, bool]]:
    """(start, nal_unit_type, first_mb_in_slice is 0) of each NAL unit; Annex B start codes."""
    found = []
    at = stream.find(b"\0\0\1")
    while at >= 0:
        start = at - 1 if at and stream[at - 1] == 0 else at
        head = stream[at + 3 : at + 5].ljust(2, b"\0")
        found.append((start, head[0] & 31, bool(head[1] & 0x80)))  # ue(0) is the bit 1
        at = stream.find(b"\0\0\1", at + 3)
    return found
