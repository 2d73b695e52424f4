"""The slice sum of docs/planes.md: header + alignment + 9 + sum(bits) = end of the slice."""

from __future__ import annotations

import re

import numpy as np

from .parsed import ParsedPicture, ParsedSlice


def rbsp(nal: bytes) -> bytes:
    """The raw byte sequence payload of a NAL unit: 7.3.1, emulation prevention removed."""
    return re.sub(rb"\x00\x00\x03", b"\x00\x00", nal[1:])


def end_of_slice(payload: bytes) -> int:
    """Bits of the payload up to and including rbsp_stop_one_bit (7.3.2.11)."""
    data = payload.rstrip(b"\0")  # trailing zero bits of the last byte, cabac_zero_words
    last = data[-1]
    trailing = (last & -last).bit_length() - 1
    return len(data) * 8 - trailing


def slice_sum(picture: ParsedPicture, number: int) -> int:
    """Where the slice ends by our account, in bits of its payload, stop bit included.

    CAVLC: the stop bit follows the macroblocks. CABAC: the arithmetic decoder reads 9 bits at its
    start; the last bit that it reads before it ends is rbsp_stop_one_bit (9.3.1.2).
    """
    s: ParsedSlice = picture.slices[number]
    total = int(picture.bits[picture.slice == number].astype(np.int64).sum())
    if s.entropy_coding_mode:
        return (s.header_bits + 7) // 8 * 8 + 9 + total
    return s.header_bits + total + 1


def ends_at(payload: bytes, position: int, *, cabac: bool) -> bool:
    """Whether rbsp_stop_one_bit is the last bit before `position`.

    x264 sets the last bit of a CABAC slice's last byte at will, behind the stop bit, where the
    standard wants rbsp_alignment_zero_bit; nothing else may follow.
    """
    if end_of_slice(payload) == position:
        return True
    data = payload.rstrip(b"\0")
    if not cabac or (position + 7) // 8 != len(data):
        return False
    tail = data[-1] & (0xFF >> ((position - 1) % 8))
    return tail == (0x80 >> ((position - 1) % 8)) | 1
