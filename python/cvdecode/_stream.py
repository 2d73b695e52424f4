"""What is known of an opened stream: metadata, segments, counters, and what probe() tells."""

from __future__ import annotations

import dataclasses
from fractions import Fraction
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from ._frame import PLANES, Crop, Gop, Metadata, Segment

_CHROMA = {0: "4:0:0", 1: "4:2:0", 2: "4:2:2", 3: "4:4:4"}
_QP_SCALES = {
    "h264": "QP_Y (0 to 51)",
    "hevc": "QpY (0 to 51)",
    "mpeg4": "quantiser_scale of MPEG-4 part 2 (1 to 31)",
    "mpeg1video": "quantiser_scale (1 to 31)",
    "mpeg2video": "quantiser_scale_code (1 to 31)",
}
NO_SEGMENT = Segment(0, 0, (0, 0), Crop(0, 0, 0, 0), "other", 8)
"""Of a stream without a frame."""


@dataclasses.dataclass(frozen=True)
class Stats:
    """Work done so far, and what damage took. Made anew at each look at ``video.stats``."""

    packets_read: int
    slices_parsed: int
    """native: slices entropy-decoded."""
    pictures_parsed: int
    """native: pictures whose slices were entropy-decoded."""
    pictures_decoded: int
    """libav: pictures that came out of the decoder."""
    seeks: int
    """libav: decoder restarts."""
    slices_lost: int
    slices_skipped: int
    """Redundant pictures, and NAL units outside the base view."""
    damage: dict[int, str]
    """Presentation index -> what was lost of this frame and why, for the frames read so far."""
    damage_not_presented: dict[int, str]
    """The same for pictures that are not presented, by decode number."""
    pts_contradict_order: bool
    """The container's timestamps do not rise in output order; they are not followed."""
    warnings: tuple[str, ...]
    """What was odd in the stream, with its place."""


class Offer(NamedTuple):
    """What one backend can give for a stream."""

    planes: tuple[str, ...]
    why_not: dict[str, str]
    """For each other plane: the reason."""


@dataclasses.dataclass(frozen=True)
class Probe(Metadata):
    """Metadata and everything else that a scan of the whole file tells."""

    segments: tuple[Segment, ...]
    gops: tuple[Gop, ...]
    frame_types: str
    """One letter per presented frame: I, P, B or ?."""
    key_frames: tuple[int, ...]
    """Presentation indices at which decoding can start."""
    pts_seconds: npt.NDArray[np.float64]
    """Start of each presented frame, float64 (num_frames,); NaN where the file has none."""
    backends: dict[str, Offer]
    """Under "native" and "libav" the planes of each, and why not the others."""
    warnings: tuple[str, ...]

    @property
    def planes(self) -> tuple[str, ...]:
        """The planes that backend="auto" can read."""
        return tuple(p for p in PLANES if any(p in o.planes for o in self.backends.values()))


def _qp_scale(codec: str, bit_depth: int) -> str:
    if codec == "h264" and bit_depth > 8:  # what libavcodec exports, 7.4.5
        more = 6 * (bit_depth - 8)
        return f"QP'_Y = QP_Y + {more} (0 to {51 + more})"
    return _QP_SCALES.get(codec, "the codec's own")


def segments_of(index: dict[str, Any]) -> tuple[Segment, ...]:
    """The segments of what _core.Reader.index() gives."""
    return tuple(
        Segment(start, stop, coded_size, Crop(*crop), _CHROMA.get(chroma, "other"), depth)
        for start, stop, coded_size, crop, chroma, depth in index["segments"]
    )


def metadata_fields(name: str, info: dict[str, Any], index: dict[str, Any]) -> dict[str, Any]:
    """The fields of Metadata from what _core.Reader's info() and index() give."""
    segments = segments_of(index)
    first = segments[0] if segments else NO_SEGMENT
    begin, end = index["span"] or (None, None)
    num, den = info["frame_rate"]
    sar_num, sar_den = info["sar"]
    return {
        "source": name,
        "container": info["container"],
        "codec": info["codec"],
        "profile": info["profile"],
        "stream_index": info["stream_index"],
        "width": first.width,
        "height": first.height,
        "coded_width": first.coded_size[0],
        "coded_height": first.coded_size[1],
        "crop": first.crop,
        "chroma_format": first.chroma_format,
        "bit_depth": first.bit_depth,
        "rotation": info["rotation"],
        "sar": Fraction(sar_num, sar_den) if sar_num > 0 and sar_den > 0 else None,
        "clean_aperture": info["clean_aperture"],
        "time_base": Fraction(*info["time_base"]),
        "frame_rate": Fraction(num, den) if num > 0 and den > 0 else None,
        "duration_seconds": None if begin is None else end - begin,
        "begin_stream_seconds": begin,
        "end_stream_seconds": end,
        "bit_rate": info["bit_rate"] or None,
        "num_frames": index["size"],
        "num_key_frames": index["key_frames"],
        "num_pictures": index["pictures"],
        "mv_unit": 4,
        "qp_scale": _qp_scale(info["codec"], first.bit_depth),
    }
