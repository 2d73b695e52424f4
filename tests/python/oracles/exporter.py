"""What libavcodec would export of our planes: its vector list and its `-debug mb_type` letters.

The rules are facts about libavcodec's behaviour (docs/libavcodec.md). A macroblock is exported by
the shape that libavcodec gives it, list 0 before list 1, each partition's first vector. A list is
exported when any partition uses it, with zero vectors for the partitions that do not; in a B
macroblock of four 8x8 always both. Direct macroblocks take the shape of the co-located macroblock.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from .parsed import (
    B_DIRECT_16X16,
    B_SKIP,
    I_16X16,
    I_PCM,
    INTER_8X8,
    INTER_8X16,
    INTER_16X8,
    INTER_16X16,
    P_SKIP,
    SLICE_B,
    ParsedPicture,
)
from .reference import VECTOR

# Shapes. Intra counts as 16x16 where a direct macroblock looks at it.
S16X16, S16X8, S8X16, S8X8, INTRA = range(5)


@dataclass
class Exported:
    """shape uint8 (H16, W16); uses bool (2, H16, W16): the list is exported; vectors: VECTOR."""

    shape: np.ndarray
    uses: np.ndarray
    vectors: np.ndarray


def _blocks(plane: np.ndarray, n: int) -> np.ndarray:
    """(..., H16 * n, W16 * n) -> (..., H16, W16, n, n)."""
    *lead, h, w = plane.shape
    cut = plane.reshape(*lead, h // n, n, w // n, n)
    return np.moveaxis(cut, -3, -2)


def _col_zero(col: ParsedPicture) -> np.ndarray:
    """colZeroFlag of 8.4.1.2.2 for every 4x4 block, (H4, W4); long-term is for the caller."""
    ref = np.repeat(np.repeat(col.ref_idx, 2, 1), 2, 2)
    small = (np.abs(col.mv.astype(np.int32)) <= 1).all(axis=1)
    return np.where(ref[0] >= 0, (ref[0] == 0) & small[0], (ref[1] == 0) & small[1])


def _direct_shapes(
    picture: ParsedPicture,
    direct: np.ndarray,
    shape: np.ndarray,
    done: Mapping[int, Exported],
    pictures: Mapping[int, ParsedPicture],
) -> None:
    for number, s in enumerate(picture.slices):
        here = direct & (picture.slice == number)
        if s.slice_type != SLICE_B or not here.any():
            continue
        if not s.ref_lists[1] or s.ref_lists[1][0][0] not in done:
            continue
        col_number, long_term = s.ref_lists[1][0]
        col_shape = done[col_number].shape
        shape[here] = np.where(col_shape == INTRA, S16X16, col_shape)[here]
        if not s.direct_spatial_mv_pred:
            continue
        col = pictures[col_number]
        zero = _blocks(_col_zero(col), 4)
        if s.direct_8x8_inference:  # the corner of the macroblock stands for its quadrant
            zero = zero[..., ::3, ::3]
        count = zero.sum(axis=(-2, -1))
        full = zero.shape[-1] * zero.shape[-2]
        if long_term:
            count = np.zeros_like(count)
        # Nothing or everything was set to zero: the macroblock is one again.
        shape[here & ((count == 0) | (count == full))] = S16X16
        still = ~_blocks(picture.mv, 4).any(axis=(0, 1, 4, 5))
        shape[here & still] = S16X16


def export(
    picture: ParsedPicture,
    done: Mapping[int, Exported],
    pictures: Mapping[int, ParsedPicture],
) -> Exported:
    """Simulate the export of one picture; `done` and `pictures` hold its co-located pictures."""
    t = picture.mb_type
    h, w = picture.mb_shape
    shape = np.full((h, w), S16X16, np.uint8)
    shape[t <= I_PCM] = INTRA
    shape[t == INTER_16X8] = S16X8
    shape[t == INTER_8X16] = S8X16
    shape[t == INTER_8X8] = S8X8
    direct = (t == B_SKIP) | (t == B_DIRECT_16X16)
    _direct_shapes(picture, direct, shape, done, pictures)

    inter = (t >= P_SKIP) & (t <= INTER_8X8)
    uses = (_blocks(picture.ref_idx, 2) >= 0).any(axis=(-2, -1)) & inter
    is_b = picture.of_slices([int(s.slice_type == SLICE_B) for s in picture.slices]).astype(bool)
    uses |= (t == INTER_8X8) & is_b

    valid = np.zeros((h, w, 2, 4), bool)
    parts = np.array([1, 2, 2, 4, 0])[shape]
    valid[...] = np.arange(4) < parts[..., None, None]
    valid &= np.moveaxis(uses, 0, -1)[..., None]

    # Where each partition begins, in 4x4 blocks, and its centre in samples: [shape][part].
    col = np.array([[0, 0, 0, 0], [0, 0, 0, 0], [0, 2, 0, 0], [0, 2, 0, 2], [0] * 4])[shape]
    row = np.array([[0, 0, 0, 0], [0, 2, 0, 0], [0, 0, 0, 0], [0, 0, 2, 2], [0] * 4])[shape]
    cx = np.array([[8] * 4, [8] * 4, [4, 12, 0, 0], [4, 12, 4, 12], [0] * 4])[shape]
    cy = np.array([[8] * 4, [4, 12, 0, 0], [8] * 4, [4, 4, 12, 12], [0] * 4])[shape]
    width = np.array([16, 16, 8, 8, 0])[shape]
    height = np.array([16, 8, 16, 8, 0])[shape]

    mb_y, mb_x = np.mgrid[0:h, 0:w]
    full = (h, w, 2, 4)
    which = np.broadcast_to(np.arange(2)[:, None], full)
    x4 = np.broadcast_to((mb_x[..., None] * 4 + col)[:, :, None, :], full)
    y4 = np.broadcast_to((mb_y[..., None] * 4 + row)[:, :, None, :], full)
    mx = picture.mv[which, 0, y4, x4].astype(np.int32)
    my = picture.mv[which, 1, y4, x4].astype(np.int32)
    out = np.zeros(full, VECTOR)
    out["source"] = np.where(which == 0, -1, 1)
    out["w"] = width[..., None, None]
    out["h"] = height[..., None, None]
    out["dst_x"] = (mb_x[..., None] * 16 + cx)[:, :, None, :]
    out["dst_y"] = (mb_y[..., None] * 16 + cy)[:, :, None, :]
    out["motion_x"], out["motion_y"], out["motion_scale"] = mx, my, 4
    out["src_x"] = out["dst_x"] + np.trunc(mx / 4).astype(np.int16)
    out["src_y"] = out["dst_y"] + np.trunc(my / 4).astype(np.int16)
    return Exported(shape, uses, out[valid])


def letters(picture: ParsedPicture, exported: Exported) -> list[list[str]]:
    """The two characters per macroblock that `-debug mb_type` prints, (H16, W16) strings."""
    t = picture.mb_type
    kind = np.full(t.shape, "X")
    kind[~exported.uses[1]] = ">"
    kind[~exported.uses[0] & exported.uses[1]] = "<"
    kind[t == P_SKIP] = "S"
    kind[t == B_SKIP] = "d"
    kind[t == B_DIRECT_16X16] = "D"
    kind[t < I_16X16] = "i"
    kind[t == I_16X16] = "I"
    kind[t == I_PCM] = "P"
    seg = np.array([" ", "-", "|", "+", " "])[exported.shape]
    return [[a + b for a, b in zip(*rows, strict=True)] for rows in zip(kind, seg, strict=True)]


def parse_letters(text: str, h: int, w: int) -> list[list[str]] | None:
    """The last macroblock type table in libavcodec's log text, or None when there is none."""
    lines = [line.split("] ", 1)[-1] for line in text.splitlines()]
    starts = [i for i, line in enumerate(lines) if line.startswith("New frame, type:")]
    if not starts:
        return None
    rows = lines[starts[-1] + 1 : starts[-1] + 1 + h]
    if len(rows) < h or any(len(row) < 3 * w for row in rows):
        return None
    return [[row[3 * i : 3 * i + 2] for i in range(w)] for row in rows]


__all__ = ["INTER_16X16", "Exported", "export", "letters", "parse_letters"]
