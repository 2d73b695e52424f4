"""Skip and direct prediction re-derived from the text of 8.4.1.1 and 8.4.1.2, block by block.

libavcodec is no oracle for temporal direct prediction when the co-located picture has several
slices with different lists (it keeps one table per picture), and its export drops vectors below
8x8. Here every P_Skip, B_Skip and direct block of a picture is derived again, literally, from the
neighbours and the co-located picture as the parser gives them, and compared in full.
"""

from __future__ import annotations

from collections import Counter
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import handmade
import streams
from cvdecode import _core

P_SKIP, B_SKIP, B_DIRECT_16X16, INTER_8X8, LOST = 4, 5, 6, 10, 255
DIRECT = 4  # in `pred`
UNAVAILABLE = -2


class Stream:
    """The pictures of a stream by decode number, read once each."""

    def __init__(self, path: Path) -> None:
        self.debug = _core.H264Debug(str(path))
        self.kept: dict[int, Any] = {}

    def __getitem__(self, number: int) -> dict[str, Any]:
        if number not in self.kept:
            self.kept[number] = self.debug.picture(number)
        picture: dict[str, Any] = self.kept[number]
        return picture

    @cached_property
    def size(self) -> int:
        return int(self.debug.size)


def neighbour(p: dict[str, Any], lst: int, mb: int, dx: int, dy: int) -> tuple[int, np.ndarray]:
    """(refIdx, mv) of the partition that covers luma sample (dx, dy) from macroblock `mb`'s corner;
    refIdx -2 where it is not available, -1 where it does not use the list (8.4.1.3.2)."""
    width, height = p["width_mbs"], p["height_mbs"]
    x, y = mb % width * 16 + dx, mb // width * 16 + dy
    none = np.zeros(2, np.int64)
    if not (0 <= x < width * 16 and 0 <= y < height * 16):
        return UNAVAILABLE, none
    if p["slice"].flat[y // 16 * width + x // 16] != p["slice"].flat[mb]:
        return UNAVAILABLE, none
    ref = int(p["ref_idx"][lst, y // 8, x // 8])
    return ref, (p["mv"][lst, :, y // 4, x // 4].astype(np.int64) if ref >= 0 else none)


def around(p: dict[str, Any], lst: int, mb: int) -> list[tuple[int, np.ndarray]]:
    """A, B and C of the macroblock as one partition; D stands for C where C is not available."""
    a, b = neighbour(p, lst, mb, -1, 0), neighbour(p, lst, mb, 0, -1)
    c = neighbour(p, lst, mb, 16, -1)
    return [a, b, c if c[0] != UNAVAILABLE else neighbour(p, lst, mb, -1, -1)]


def median(ref: int, n: list[tuple[int, np.ndarray]]) -> np.ndarray:
    """8.4.1.3.1."""
    if n[1][0] == UNAVAILABLE and n[2][0] == UNAVAILABLE and n[0][0] != UNAVAILABLE:
        n = [n[0]] * 3
    same = [mv for r, mv in n if r == ref]
    if len(same) == 1:
        return same[0]
    return np.median(np.stack([mv for _, mv in n]), axis=0).astype(np.int64)


def wrap(v: np.ndarray) -> np.ndarray:
    return v.astype(np.int64).astype(np.int16)


def p_skip(p: dict[str, Any], mb: int) -> np.ndarray:
    n = around(p, 0, mb)
    for ref, mv in n[:2]:
        if ref == UNAVAILABLE or (ref == 0 and not mv.any()):
            return np.zeros(2, np.int64)
    return median(0, n)


def colocated_block(
    stream: Stream, p: dict[str, Any], slice_: dict[str, Any], mb: int, x: int, y: int
) -> tuple[np.ndarray, int, int]:
    """(mvCol, refIdxCol, picture that it refers to) for the 4x4 block (x, y); 8.4.1.2.1."""
    col = stream[slice_["ref_lists"][1][0][0]]
    if slice_["direct_8x8_inference"]:
        x, y = x // 2 * 3, y // 2 * 3
    width = p["width_mbs"]
    y4, x4 = mb // width * 4 + y, mb % width * 4 + x
    col_slice = int(col["slice"].flat[mb])
    assert col_slice >= 0
    for lst in (0, 1):
        ref = int(col["ref_idx"][lst, y4 // 2, x4 // 2])
        if ref >= 0:
            picture = col["slices"][col_slice]["ref_lists"][lst][ref][0]
            return col["mv"][lst, :, y4, x4].astype(np.int64), ref, picture
    return np.zeros(2, np.int64), -1, -1


Block = tuple[list[int], list[np.ndarray]]


def spatial(stream: Stream, p: dict[str, Any], slice_: dict[str, Any], mb: int) -> dict[Any, Block]:
    """8.4.1.2.2 for all 16 blocks of the macroblock."""
    n = [around(p, lst, mb) for lst in (0, 1)]
    refs = []
    for lst in (0, 1):
        positive = [r for r, _ in n[lst] if r >= 0]
        refs.append(min(positive) if positive else -1)
    zero_prediction = refs == [-1, -1]
    if zero_prediction:
        refs = [0, 0]
    long_term = slice_["ref_lists"][1][0][1]
    out = {}
    for y in range(4):
        for x in range(4):
            mv_col, ref_col, _ = colocated_block(stream, p, slice_, mb, x, y)
            col_zero = not long_term and ref_col == 0 and bool((np.abs(mv_col) <= 1).all())
            mvs = []
            for lst in (0, 1):
                if refs[lst] < 0 or zero_prediction or (refs[lst] == 0 and col_zero):
                    mvs.append(np.zeros(2, np.int64))
                else:
                    mvs.append(median(refs[lst], n[lst]))
            out[x, y] = (refs, mvs)
    return out


def temporal(
    stream: Stream, p: dict[str, Any], slice_: dict[str, Any], mb: int
) -> dict[Any, Block]:
    """8.4.1.2.3 for all 16 blocks of the macroblock."""
    list0, list1 = slice_["ref_lists"]
    out = {}
    for y in range(4):
        for x in range(4):
            mv_col, ref_col, ref_picture = colocated_block(stream, p, slice_, mb, x, y)
            ref0 = 0 if ref_col < 0 else [picture for picture, _ in list0].index(ref_picture)
            poc0, poc1 = min(p["pocs"][list0[ref0][0]]), min(p["pocs"][list1[0][0]])
            if list0[ref0][1] or poc1 == poc0:
                out[x, y] = ([ref0, 0], [mv_col, np.zeros(2, np.int64)])
                continue
            tb, td = np.clip([p["poc"] - poc0, poc1 - poc0], -128, 127).tolist()
            tx = int((16384 + abs(int(td / 2))) / td)  # "/": truncation towards zero
            scale = int(np.clip((tb * tx + 32) >> 6, -1024, 1023))
            mv0 = (scale * mv_col + 128) >> 8
            out[x, y] = ([ref0, 0], [mv0, mv0 - mv_col])
    return out


def check_picture(stream: Stream, number: int, seen: Counter[str]) -> None:
    p = stream[number]
    width = p["width_mbs"]
    for mb in range(p["mb_type"].size):
        kind = int(p["mb_type"].flat[mb])
        if kind == LOST:
            continue
        y0, x0 = mb // width, mb % width
        slice_ = p["slices"][int(p["slice"].flat[mb])]
        mv = p["mv"][:, :, y0 * 4 : y0 * 4 + 4, x0 * 4 : x0 * 4 + 4]
        ref = p["ref_idx"][:, y0 * 2 : y0 * 2 + 2, x0 * 2 : x0 * 2 + 2]
        where = f"picture {number} macroblock {mb}"
        if kind == P_SKIP:
            expected = wrap(p_skip(p, mb))
            assert (mv[0] == expected[:, None, None]).all(), where
            assert (ref[0] == 0).all(), where
            assert (ref[1] == -1).all(), where
            seen["P_Skip"] += 1
            continue
        pred = p["pred"][y0 * 2 : y0 * 2 + 2, x0 * 2 : x0 * 2 + 2]
        if kind not in (B_SKIP, B_DIRECT_16X16) and not (pred == DIRECT).any():
            continue
        mode = "spatial" if slice_["direct_spatial_mv_pred"] else "temporal"
        derived = (spatial if mode == "spatial" else temporal)(stream, p, slice_, mb)
        for (x, y), (refs, mvs) in derived.items():
            if pred[y // 2, x // 2] != DIRECT:
                continue
            for lst in (0, 1):
                got = (int(ref[lst, y // 2, x // 2]), mv[lst, :, y, x].tolist())
                assert got == (refs[lst], wrap(mvs[lst]).tolist()), f"{where} {mode} {x, y} {lst}"
            seen[mode] += 1
            seen[f"{mode} in {'8x8' if kind == INTER_8X8 else '16x16'}"] += 1
        col = stream[slice_["ref_lists"][1][0][0]]
        types = {s["slice_type"] for s in col["slices"]}
        lists = {str(s["ref_lists"]) for s in col["slices"]}
        seen[f"{mode}, co-located slices of several types"] += len(types) > 1
        seen[f"{mode}, co-located slices with several lists"] += len(lists) > 1
        for lst in slice_["ref_lists"]:
            pictures = [n for n, _ in lst]
            seen[f"{mode}, duplicate list entries"] += len(set(pictures)) < len(pictures)
        seen[f"{mode}, long-term"] += any(lt for lst in slice_["ref_lists"] for _, lt in lst)


def check(path: Path) -> Counter[str]:
    stream = Stream(path)
    assert stream.debug.unsupported == ""
    seen: Counter[str] = Counter()
    for number in range(stream.size):
        check_picture(stream, number, seen)
    return seen


def test_handmade_streams(tmp_path: Path) -> None:
    """Slices of different type and list in the co-located picture, duplicates, long-term."""
    seen: Counter[str] = Counter()
    for seed in range(12):
        recipe = handmade.Recipe(
            seed,
            weighted_bipred_idc=(1, 2, 0, 1)[seed % 4],
            direct_8x8_inference=seed % 2 == 0,
            long_term=seed % 3 != 1,
            max_refs=2 + seed % 4,
        )
        path = tmp_path / f"hand{seed}.264"
        handmade.write(path, recipe)
        seen += check(path)
    for mode in ("spatial", "temporal"):
        for what in (" in 8x8", " in 16x16", ", long-term", ", duplicate list entries"):
            assert seen[mode + what] > 20, (mode + what, seen)
        assert seen[f"{mode}, co-located slices of several types"] > 10, seen
        assert seen[f"{mode}, co-located slices with several lists"] > 10, seen
    assert seen["P_Skip"] > 20


@pytest.mark.parametrize("direct", ["spatial", "temporal"])
@pytest.mark.parametrize("slices", ["1", "4"])
def test_x264_with_duplicate_references(tmp_path: Path, direct: str, slices: str) -> None:
    """weightp=2 doubles list 0 entries, so one picture has two reference indices."""
    video = streams.noise_video(96, 80, 10, "fade", 71)
    params = {"qp": "34", "bframes": "3", "b-pyramid": "normal", "b-adapt": "0", "ref": "4"}
    params |= {"weightp": "2", "direct": direct, "slices": slices, "threads": "1"}
    path = tmp_path / "x.264"
    streams.encode_x264(video, path, params)
    seen = check(path)
    assert seen[direct] > 60, seen
    stream = Stream(path)
    lists = [s["ref_lists"][0] for n in range(stream.size) for s in stream[n]["slices"]]
    assert any(len({p for p, _ in lst}) < len(lst) for lst in lists), "no duplicate references"
