"""Temporal direct prediction, literally from 8.4.1.2.3, and where libavcodec departs from it.

libavcodec keeps one reference list per co-located picture and not one per slice: the last slice
that has the list wins. Where the co-located picture's slices have different lists its temporal
direct vectors are not the standard's. `check` compares the parser with the standard and tells
whether the picture meets such a case.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from .parsed import PRED_DIRECT, SLICE_B, ParsedPicture, ParsedSlice


@dataclass
class DirectCheck:
    """blocks: 4x4 blocks compared; wrong: findings; departs: libavcodec's rule gives another."""

    blocks: int = 0
    wrong: list[str] = field(default_factory=list)
    departs: bool = False


def _last_lists(col: ParsedPicture) -> list[list[tuple[int, bool]]]:
    lists: list[list[tuple[int, bool]]] = [[], []]
    for s in col.slices:
        for i in range(2):
            if s.ref_lists[i]:
                lists[i] = s.ref_lists[i]
    return lists


def _scaled(p: ParsedPicture, s: ParsedSlice, ref_idx: int, mv: tuple[int, int]) -> list[list[int]]:
    """mvL0 and mvL1 of equations 8-191 to 8-197."""
    picture0, long_term = s.ref_lists[0][ref_idx]
    poc0, poc1 = p.pocs[picture0], p.pocs[s.ref_lists[1][0][0]]

    def clip(low: int, high: int, value: int) -> int:
        return max(low, min(high, value))

    if long_term or poc1 == poc0:
        return [[*mv], [0, 0]]
    tb, td = clip(-128, 127, p.poc - poc0), clip(-128, 127, poc1 - poc0)
    tx = int((16384 + abs(int(td / 2))) / td)
    factor = clip(-1024, 1023, (tb * tx + 32) >> 6)
    first = [(factor * v + 128) >> 8 for v in mv]
    return [first, [a - v for a, v in zip(first, mv, strict=True)]]


def check(p: ParsedPicture, pictures: Mapping[int, ParsedPicture]) -> DirectCheck:
    """Every temporal direct block of a picture; pictures holds its co-located pictures."""
    out = DirectCheck()
    for number, s in enumerate(p.slices):
        if s.slice_type != SLICE_B or s.direct_spatial_mv_pred or not s.ref_lists[1]:
            continue
        col = pictures.get(s.ref_lists[1][0][0])
        if col is None:
            continue
        last = _last_lists(col)
        place = {n: i for i, (n, _) in reversed(list(enumerate(s.ref_lists[0])))}
        quads = (p.pred == PRED_DIRECT) & np.kron(p.slice == number, np.ones((2, 2), bool))
        for y8, x8 in np.argwhere(quads).tolist():
            for dy, dx in ((0, 0), (0, 1), (1, 0), (1, 1)):
                y4, x4 = y8 * 2 + dy, x8 * 2 + dx
                cy, cx = y4, x4
                if s.direct_8x8_inference:  # the corner of the macroblock (8.4.1.2.1)
                    cy, cx = y8 // 2 * 4 + y8 % 2 * 3, x8 // 2 * 4 + x8 % 2 * 3
                refs = col.ref_idx[:, cy // 2, cx // 2]
                lst = 0 if refs[0] >= 0 else 1
                ref_idx, mv = 0, (0, 0)
                if refs[lst] >= 0:
                    col_slice = int(col.slice[cy // 4, cx // 4])
                    target = col.slices[col_slice].ref_lists[lst][refs[lst]][0]
                    kept = last[lst][refs[lst]][0] if refs[lst] < len(last[lst]) else -1
                    out.departs |= place.get(target) != place.get(kept)
                    ref_idx = place.get(target, -1)
                    mv = (int(col.mv[lst, 0, cy, cx]), int(col.mv[lst, 1, cy, cx]))
                if ref_idx < 0:
                    continue  # not a legal stream
                expected = _scaled(p, s, ref_idx, mv)
                got = p.mv[:, :, y4, x4].tolist()
                got_ref = p.ref_idx[:, y8, x8].tolist()
                out.blocks += 1
                if (got, got_ref) != (expected, [ref_idx, 0]) and len(out.wrong) < 4:
                    out.wrong.append(
                        f"temporal direct 4x4 ({x4}, {y4}) slice {number}: expected ref_idx "
                        f"{[ref_idx, 0]} mv {expected}, got {got_ref} {got}"
                    )
    return out
