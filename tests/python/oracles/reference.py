"""What the unpatched system libavcodec says of a stream, frame by frame in output order."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ._native import oracle_module

# libavutil/motion_vector.h, as laid out by the C compiler.
VECTOR = np.dtype(
    {
        "names": [
            "source",
            "w",
            "h",
            "src_x",
            "src_y",
            "dst_x",
            "dst_y",
            "flags",
            "motion_x",
            "motion_y",
            "motion_scale",
        ],
        "formats": ["<i4", "u1", "u1", "<i2", "<i2", "<i2", "<i2", "<u8", "<i4", "<i4", "<u2"],
        "offsets": [0, 4, 5, 6, 8, 10, 12, 16, 24, 28, 32],
        "itemsize": 40,
    }
)


@dataclass
class ReferenceFrame:
    """One frame as libavcodec gave it.

    planes: Y, Cb, Cr at coded size, uint8 (more than 8 bit: raw bytes, one row per picture row).
    vectors: the exported list (structured array VECTOR); empty where there is no side data.
    qp: (H16, W16) int32, QP_Y of each macroblock, or None.
    mb_types: the text of `-debug mb_type`, empty unless asked for.
    packet: number of the demuxed packet in which the picture begins.
    """

    index: int
    packet: int
    pts: int
    width: int
    height: int
    format: str
    pict_type: str
    key_frame: bool
    interlaced: bool
    decode_error_flags: int
    corrupt: bool
    planes: list[np.ndarray]
    vectors: np.ndarray
    has_vectors: bool
    qp: np.ndarray | None
    mb_types: str

    @property
    def clean(self) -> bool:
        """True when libavcodec reports no damage in this frame."""
        return not self.corrupt and self.decode_error_flags == 0


def _shaped(plane: np.ndarray, number: int, width: int, height: int, fmt: str) -> np.ndarray:
    if number:
        if "444" not in fmt:
            width = (width + 1) // 2
        if "420" in fmt:
            height = (height + 1) // 2
    return (
        plane.reshape(height, -1) if plane.size != width * height else plane.reshape(height, width)
    )


def frames(
    path: str | Path,
    *,
    loop_filter: bool = False,
    mb_types: bool = False,
    mmco: bool = False,
    planes: bool = True,
    plain_c: bool = False,
) -> Iterator[ReferenceFrame]:
    """Decode with one thread, no cropping, corrupt frames shown, strict order, no edit lists.

    loop_filter=False is what makes the samples equal to clip(prediction + residual).
    plain_c keeps libavcodec from using SIMD, whose weighted bi-prediction saturates at 16 bits.
    """
    decoder = oracle_module().ReferenceDecoder(
        str(path),
        loop_filter=loop_filter,
        mb_types=mb_types,
        mmco=mmco,
        planes=planes,
        plain_c=plain_c,
    )
    index = 0
    while (raw := decoder.next()) is not None:
        width, height = raw["width"], raw["height"]
        qp = raw["qp"]
        if qp is not None and qp.size == (width // 16) * (height // 16):
            qp = qp.reshape(height // 16, width // 16)
        else:
            qp = None
        data = raw["vectors"]
        yield ReferenceFrame(
            index=index,
            packet=raw["packet"],
            pts=raw["pts"],
            width=width,
            height=height,
            format=raw["format"],
            pict_type=raw["pict_type"],
            key_frame=raw["key_frame"],
            interlaced=raw["interlaced"],
            decode_error_flags=raw["decode_error_flags"],
            corrupt=raw["corrupt"],
            planes=[
                _shaped(p, i, width, height, raw["format"]) for i, p in enumerate(raw["planes"])
            ],
            vectors=np.frombuffer(data or b"", dtype=VECTOR),
            has_vectors=data is not None,
            qp=qp,
            mb_types=raw["mb_types"],
        )
        index += 1


def packets(path: str | Path) -> list[bytes]:
    """The packets of the video stream in file order, as libavformat gives them."""
    found: list[bytes] = oracle_module().packets(str(path))
    return found
