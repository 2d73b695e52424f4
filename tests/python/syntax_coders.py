"""Writers of slice data syntax, literally from clauses 9.1 to 9.3 of H.264: CAVLC and CABAC.

The numbers come from the tables that the decoder is built from (test_h264_entropy_tables.py holds
those against the standard); everything else is a second implementation, written the other way
round: what to send, not what to read.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from handmade import Bits

CSRC = Path(__file__).resolve().parents[2] / "csrc"


def _numbers(path: str, name: str) -> Any:
    """The initialiser of a table in a generated file as nested lists."""
    text = (CSRC / path).read_text()
    match = re.search(rf"\b{name}(?:\[\d*\])+ = (\{{.*?\n\}});", text, re.S)
    assert match, name
    body = re.sub(r"//.*", "", match.group(1)).replace("{", "[").replace("}", "]")
    return eval(body)


INIT = _numbers("h264/cabac_tables.inc", "kCabacInitMN")
RANGE_LPS = _numbers("bitstream/cabac_engine_tables.inc", "kRangeTabLPS")
NEXT_LPS = _numbers("bitstream/cabac_engine_tables.inc", "kTransIdxLPS")
SIG8 = _numbers("h264/cabac_tables.inc", "kSignificant8x8CtxIdxInc")
LAST8 = _numbers("h264/cabac_tables.inc", "kLast8x8CtxIdxInc")
TOKENS = [
    {(t, o): (n, c) for n, c, t, o in _numbers("h264/cavlc_tables.inc", f"kCoeffToken{k}Codes")}
    for k in ("0", "2", "4", "8", "ChromaDc")
]
TOTAL_ZEROS = _numbers("h264/cavlc_tables.inc", "kTotalZerosCodes")
TOTAL_ZEROS_DC = _numbers("h264/cavlc_tables.inc", "kTotalZerosChromaDcCodes")
RUN_BEFORE = _numbers("h264/cavlc_tables.inc", "kRunBeforeCodes")
CBP = {
    (chroma, intra): _numbers("h264/macroblock_tables.inc", f"kCbp{chroma}{intra}")
    for chroma in ("420", "400")
    for intra in ("Intra", "Inter")
}
SLICE_P, SLICE_B, SLICE_I = 0, 1, 2

# Bin strings of Tables 9-36 to 9-38 with the ctxIdx of every bin; "T" is the terminate bin.
T = -1


def intra_bins(mb_type: int, base: list[Any]) -> list[tuple[Any, int]]:
    """mb_type of an I slice. base: ctxIdx of bins 0, 2, 3, 4 (chroma 2), and the last two."""
    if mb_type == 0:
        return [(base[0], 0)]
    if mb_type == 25:
        return [(base[0], 1), (T, 1)]
    mode, chroma, luma = (mb_type - 1) % 4, (mb_type - 1) // 4 % 3, int(mb_type >= 13)
    bins = [(base[0], 1), (T, 0), (base[1], luma), (base[2], int(chroma > 0))]
    if chroma:
        bins.append((base[3], chroma - 1))
    return [*bins, (base[4], mode >> 1), (base[5], mode & 1)]


B_BINS = {
    0: "0", 1: "100", 2: "101", 3: "110000", 4: "110001", 5: "110010", 6: "110011", 7: "110100",
    8: "110101", 9: "110110", 10: "110111", 11: "111110", 12: "1110000", 13: "1110001",
    14: "1110010", 15: "1110011", 16: "1110100", 17: "1110101", 18: "1110110", 19: "1110111",
    20: "1111000", 21: "1111001", 22: "111111",
}  # fmt: skip
B_SUB_BINS = {
    0: "0", 1: "100", 2: "101", 3: "11000", 4: "11001", 5: "11010", 6: "11011", 7: "111000",
    8: "111001", 9: "111010", 10: "111011", 11: "11110", 12: "11111",
}  # fmt: skip


@dataclass
class Mb:
    """One macroblock as written. Blocks are in raster order."""

    address: int
    kind: str  # skip, direct, inter, i4, i8, i16, pcm
    mb_type: int = -1  # as sent
    cbp: int = 0
    transform8: bool = False
    qp: int = 0
    qp_delta: int = 0
    chroma_mode: int = 0
    modes: list[int] = field(default_factory=lambda: [2] * 16)
    direct: list[bool] = field(default_factory=lambda: [False] * 4)
    ref: list[list[int]] = field(default_factory=lambda: [[-1] * 4, [-1] * 4])
    mvd: list[list[tuple[int, int]]] = field(default_factory=lambda: [[(0, 0)] * 16, [(0, 0)] * 16])
    sent_mvd: list[tuple[int, int]] = field(default_factory=list)
    luma: list[int] = field(default_factory=lambda: [0] * 16)  # coefficients per 4x4 block
    chroma: list[list[int]] = field(default_factory=lambda: [[0] * 4, [0] * 4])
    dc: list[int] = field(default_factory=lambda: [0] * 3)
    bits: int = 0

    @property
    def intra(self) -> bool:
        """Any intra type."""
        return self.kind in ("i4", "i8", "i16", "pcm")


class Place:
    """The macroblock being written and its neighbours A (left) and B (above), None = not there."""

    def __init__(self, mb: Mb, a: Mb | None, b: Mb | None) -> None:
        self.mb, self.a, self.b = mb, a, b

    def blocks(self, x: int, y: int) -> list[tuple[Mb | None, int]]:
        """The macroblocks and raster blocks left of and above luma block (x, y)."""
        left = (self.mb, 4 * y + x - 1) if x else (self.a, 4 * y + 3)
        above = (self.mb, 4 * (y - 1) + x) if y else (self.b, 12 + x)
        return [left, above]

    def chroma_blocks(self, x: int, y: int) -> list[tuple[Mb | None, int]]:
        """The same for a 2x2 arrangement: chroma blocks, or quadrants."""
        left = (self.mb, 2 * y + x - 1) if x else (self.a, 2 * y + 1)
        above = (self.mb, 2 * (y - 1) + x) if y else (self.b, 2 + x)
        return [left, above]


class Cavlc:
    """9.1 and 9.2."""

    cabac = False

    def __init__(self, b: Bits, kind: int, qp: int, init_idc: int) -> None:
        self.b, self.kind = b, kind

    def position(self) -> int:
        """Bits written."""
        return len(self.b.bits)

    def mb_type(self, p: Place, value: int) -> None:
        """Table 7-11, 7-13 or 7-14 numbering."""
        self.b.ue(value)

    def sub_mb_type(self, value: int) -> None:
        """Tables 7-17 and 7-18."""
        self.b.ue(value)

    def transform8(self, p: Place, value: bool) -> None:
        """transform_size_8x8_flag."""
        self.b.u(1, int(value))

    def intra_mode(self, rem: int) -> None:
        """-1: predicted."""
        self.b.u(1, int(rem < 0))
        if rem >= 0:
            self.b.u(3, rem)

    def chroma_mode(self, p: Place, value: int) -> None:
        """intra_chroma_pred_mode."""
        self.b.ue(value)

    def cbp(self, p: Place, value: int, chroma: bool) -> None:
        """Table 9-4."""
        table = CBP["420" if chroma else "400", "Intra" if p.mb.intra else "Inter"]
        self.b.ue(table.index(value))

    def qp_delta(self, previous: Mb | None, value: int) -> None:
        """mb_qp_delta."""
        self.b.se(value)

    def ref_idx(self, p: Place, lst: int, quadrant: int, value: int, most: int) -> None:
        """ref_idx_lX."""
        self.b.te(most, value)

    def mvd(self, p: Place, lst: int, x: int, y: int, value: tuple[int, int]) -> None:
        """mvd_lX of the partition whose first block is (x, y)."""
        self.b.se(value[0])
        self.b.se(value[1])

    def pcm(self, samples: list[int]) -> None:
        """Alignment and samples."""
        self.b.bits += [0] * (-len(self.b.bits) % 8)
        for s in samples:
            self.b.u(8, s)

    # nC (9.2.1)
    @staticmethod
    def _nc(counts: list[int]) -> int:
        nc = (sum(counts) + 1) // 2 if len(counts) == 2 else sum(counts)
        return 0 if nc < 2 else 1 if nc < 4 else 2 if nc < 8 else 3

    def luma_dc(self, p: Place, levels: list[int]) -> None:
        """Intra16x16DCLevel."""
        counts = [m.luma[i] for m, i in p.blocks(0, 0) if m]
        self._block(levels, self._nc(counts))

    def luma(self, p: Place, raster: int, levels: list[int], ac: bool) -> None:
        """A 4x4 block; 15 levels where ac."""
        counts = [m.luma[i] for m, i in p.blocks(raster % 4, raster // 4) if m]
        self._block(levels, self._nc(counts))
        p.mb.luma[raster] = sum(v != 0 for v in levels)

    def luma8(self, p: Place, quadrant: int, levels: list[int]) -> None:
        """An 8x8 block as four interleaved 4x4 blocks."""
        first = quadrant // 2 * 8 + quadrant % 2 * 2
        for i, offset in enumerate((0, 1, 4, 5)):
            self.luma(p, first + offset, levels[i::4], False)

    def chroma_dc(self, p: Place, plane: int, levels: list[int]) -> None:
        """ChromaDCLevel."""
        self._block(levels, 4)

    def chroma(self, p: Place, plane: int, block: int, levels: list[int]) -> None:
        """ChromaACLevel."""
        counts = [m.chroma[plane][i] for m, i in p.chroma_blocks(block % 2, block // 2) if m]
        self._block(levels, self._nc(counts))
        p.mb.chroma[plane][block] = sum(v != 0 for v in levels)

    def _block(self, levels: list[int], table: int) -> None:
        places = [i for i, v in enumerate(levels) if v]
        values = [levels[i] for i in reversed(places)]
        total, ones = len(values), 0
        while ones < min(3, total) and abs(values[ones]) == 1:
            ones += 1
        self.b.u(*TOKENS[table][total, ones])
        for v in values[:ones]:
            self.b.u(1, int(v < 0))
        length = int(total > 10 and ones < 3)
        for i, v in enumerate(values[ones:]):
            code = 2 * abs(v) - 2 + int(v < 0) - (2 if i == 0 and ones < 3 else 0)
            self._level(code, length)
            length = max(length, 1)
            if abs(v) > 3 << (length - 1) and length < 6:
                length += 1
        if not total or total == len(levels):
            return
        zeros = places[-1] + 1 - total
        tables = TOTAL_ZEROS_DC if len(levels) == 4 else TOTAL_ZEROS
        self.b.u(*tables[total - 1][zeros])
        for k in range(total - 1, 0, -1):
            if not zeros:
                break
            run = places[k] - places[k - 1] - 1
            self.b.u(*RUN_BEFORE[min(zeros, 7) - 1][run])
            zeros -= run

    def _level(self, code: int, length: int) -> None:
        if length == 0 and code < 14:
            self.b.u(code + 1, 1)
        elif length == 0 and code < 30:
            self.b.u(15, 1)
            self.b.u(4, code - 14)
        elif length and code < 15 << length:
            self.b.u((code >> length) + 1, 1)
            self.b.u(length, code & ((1 << length) - 1))
        else:
            code -= 15 << length if length else 30
            prefix = 15
            while code >= (1 << (prefix - 2)) - 4096:
                prefix += 1
            self.b.u(prefix + 1, 1)
            self.b.u(prefix - 3, code - (1 << (prefix - 3)) + 4096)

    def skip(self, p: Place, run: int) -> None:
        """mb_skip_run, before a coded macroblock or at the end."""
        self.b.ue(run)


class Cabac:
    """9.3 with the encoder of 9.3.4 (informative)."""

    cabac = True

    def __init__(self, b: Bits, kind: int, qp: int, init_idc: int) -> None:
        self.b, self.kind = b, kind
        b.bits += [1] * (-len(b.bits) % 8)
        column = 0 if kind == SLICE_I else 1 + init_idc
        self.state = []
        for m, n in INIT[column]:
            pre = min(max(((m * min(max(qp, 0), 51)) >> 4) + n, 1), 126)
            self.state.append([63 - pre, 0] if pre <= 63 else [pre - 64, 1])
        self.shifts = 0
        self._start()

    def _start(self) -> None:
        self.low, self.range, self.first, self.outstanding = 0, 510, True, 0

    def position(self) -> int:
        """Bits that a decoder has read by now, less the nine of the start."""
        return self.shifts

    def _put(self, bit: int) -> None:
        if self.first:
            self.first = False
        else:
            self.b.bits.append(bit)
        self.b.bits += [1 - bit] * self.outstanding
        self.outstanding = 0

    def _renorm(self) -> None:
        while self.range < 256:
            if self.low < 256:
                self._put(0)
            elif self.low >= 512:
                self.low -= 512
                self._put(1)
            else:
                self.low -= 256
                self.outstanding += 1
            self.range <<= 1
            self.low <<= 1
            self.shifts += 1

    def _bin(self, ctx: int, value: int) -> None:
        if ctx == T:
            return self._terminate(value)
        state = self.state[ctx]
        lps = RANGE_LPS[state[0]][self.range >> 6 & 3]
        self.range -= lps
        if value != state[1]:
            self.low += self.range
            self.range = lps
            if state[0] == 0:
                state[1] = 1 - state[1]
            state[0] = NEXT_LPS[state[0]]
        elif state[0] < 62:
            state[0] += 1
        self._renorm()

    def _bypass(self, value: int) -> None:
        self.low <<= 1
        if value:
            self.low += self.range
        if self.low >= 1024:
            self._put(1)
            self.low -= 1024
        elif self.low < 512:
            self._put(0)
        else:
            self.low -= 512
            self.outstanding += 1
        self.shifts += 1

    def _terminate(self, value: int) -> None:
        self.range -= 2
        if not value:
            return self._renorm()
        self.low += self.range
        shifts = self.shifts
        self.range = 2
        self._renorm()
        self._put(self.low >> 9 & 1)
        self.b.u(2, (self.low >> 7 & 3) | 1)
        self.shifts = shifts  # a decoder stops here
        return None

    def end_of_slice(self, value: bool) -> None:
        """end_of_slice_flag; after a 1 the last bit written is rbsp_stop_one_bit."""
        self._terminate(int(value))

    def _walk(self, bins: str, ctxs: list[int]) -> None:
        for i, bit in enumerate(bins):
            self._bin(ctxs[min(i, len(ctxs) - 1)], int(bit))

    def skip_flag(self, p: Place, value: bool) -> None:
        """mb_skip_flag."""
        inc = sum(m is not None and m.kind != "skip" for m in (p.a, p.b))
        self._bin((11 if self.kind == SLICE_P else 24) + inc, int(value))

    def mb_type(self, p: Place, value: int) -> None:
        """Tables 9-36 and 9-37."""
        if self.kind == SLICE_I:
            inc = sum(m is not None and m.kind not in ("i4", "i8") for m in (p.a, p.b))
            bins = intra_bins(value, [3 + inc, 6, 7, 8, 9, 10])
        elif self.kind == SLICE_P:
            if value >= 5:
                bins = [(14, 1), *intra_bins(value - 5, [17, 18, 19, 19, 20, 20])]
            else:
                text = {0: "000", 1: "011", 2: "010", 3: "001"}[value]
                bins = [(14, 0), (15, int(text[1])), (17 if text[1] == "1" else 16, int(text[2]))]
        else:
            inc = sum(m is not None and m.kind not in ("skip", "direct") for m in (p.a, p.b))
            text = B_BINS.get(value, "111101")
            ctxs = [27 + inc, 30, 31 if text[1:2] == "1" else 32, 32]
            bins = [(ctxs[min(i, 3)], int(bit)) for i, bit in enumerate(text)]
            if value >= 23:
                bins += intra_bins(value - 23, [32, 33, 34, 34, 35, 35])
        for ctx, bit in bins:
            self._bin(ctx, bit)

    def sub_mb_type(self, value: int) -> None:
        """Table 9-38."""
        if self.kind == SLICE_P:
            self._walk({0: "1", 1: "00", 2: "011", 3: "010"}[value], [21, 22, 23])
        else:
            text = B_SUB_BINS[value]
            self._walk(text, [36, 37, 38 if text[1:2] == "1" else 39, 39])

    def transform8(self, p: Place, value: bool) -> None:
        """transform_size_8x8_flag."""
        self._bin(399 + sum(bool(m and m.transform8) for m in (p.a, p.b)), int(value))

    def intra_mode(self, rem: int) -> None:
        """-1: predicted."""
        self._bin(68, int(rem < 0))
        if rem >= 0:
            for i in range(3):
                self._bin(69, rem >> i & 1)

    def chroma_mode(self, p: Place, value: int) -> None:
        """intra_chroma_pred_mode: TU, cMax 3."""
        neighbours = (p.a, p.b)
        inc = sum(bool(m and m.intra and m.kind != "pcm" and m.chroma_mode) for m in neighbours)
        self._walk("1" * value + "0" * (value < 3), [64 + inc, 67])

    def cbp(self, p: Place, value: int, chroma: bool) -> None:
        """9.3.3.1.1.4."""
        for q in range(4):
            inc = 0
            for weight, (m, i) in zip((1, 2), p.chroma_blocks(q % 2, q // 2), strict=True):
                if m is p.mb:
                    clear = not value >> i & 1
                else:
                    clear = m is not None and m.kind != "pcm" and not m.cbp >> i & 1
                inc += weight * int(clear)
            self._bin(73 + inc, value >> q & 1)
        if not chroma:
            return
        for k, bit in enumerate([int(value > 15), int(value > 31)][: 1 + (value > 15)]):
            inc = 0
            for weight, m in ((1, p.a), (2, p.b)):
                at = 2 if m is not None and m.kind == "pcm" else m.cbp >> 4 if m else 0
                inc += weight * int(at > k)
            self._bin(77 + 4 * k + inc, bit)

    def qp_delta(self, previous: Mb | None, value: int) -> None:
        """mb_qp_delta: mapped, unary."""
        mapped = 2 * value - 1 if value > 0 else -2 * value
        inc = int(bool(previous and previous.qp_delta))
        self._walk("1" * mapped + "0", [60 + inc, 62, 63])

    def ref_idx(self, p: Place, lst: int, quadrant: int, value: int, most: int) -> None:
        """ref_idx_lX: unary."""
        inc = 0
        for weight, (m, i) in zip(
            (1, 2), p.chroma_blocks(quadrant % 2, quadrant // 2), strict=True
        ):
            inc += weight * int(m is not None and not m.direct[i] and m.ref[lst][i] > 0)
        self._walk("1" * value + "0", [54 + inc, 58, 59])

    def mvd(self, p: Place, lst: int, x: int, y: int, value: tuple[int, int]) -> None:
        """mvd_lX: UEG3, signedValFlag 1, uCoff 9."""
        for c in range(2):
            total = sum(abs(m.mvd[lst][i][c]) for m, i in p.blocks(x, y) if m)
            base = (40, 47)[c]
            inc = 0 if total < 3 else 1 if total <= 32 else 2
            size = abs(value[c])
            text = "1" * min(size, 9) + "0" * (size < 9)
            self._walk(text, [base + inc, base + 3, base + 4, base + 5, base + 6])
            if size >= 9:
                self._exp_golomb(size - 9, 3)
            if size:
                self._bypass(int(value[c] < 0))

    def _exp_golomb(self, value: int, k: int) -> None:
        while value >= 1 << k:
            self._bypass(1)
            value -= 1 << k
            k += 1
        self._bypass(0)
        for i in range(k - 1, -1, -1):
            self._bypass(value >> i & 1)

    def pcm(self, samples: list[int]) -> None:
        """Samples after the terminate bin of mb_type, then a fresh start."""
        read = len(self.b.bits)
        self.b.bits += [0] * (-read % 8)
        self.shifts += -read % 8 + 8 * len(samples) + 9
        for s in samples:
            self.b.u(8, s)
        self._start()

    # residual_block_cabac: coded_block_flag by its neighbours (9.3.3.1.1.9)
    def _flag(self, p: Place, cat: int, found: list[tuple[Mb | None, int]]) -> int:
        inc = 0
        for weight, (m, coded) in zip((1, 2), found, strict=True):
            known = m is not None and m.kind != "pcm"
            inc += weight * int(coded != 0 if known else p.mb.intra or m is not None)
        return (85, 89, 93, 97, 101)[cat] + inc

    def _residual(self, flag_ctx: int | None, cat: int, levels: list[int]) -> None:
        count = sum(v != 0 for v in levels)
        if flag_ctx is not None:
            self._bin(flag_ctx, int(count > 0))
        if not count:
            return
        sig = (105, 120, 134, 149, 152, 402)[cat]
        last = (166, 181, 195, 210, 213, 417)[cat]
        level = (227, 237, 247, 257, 266, 426)[cat]
        end = max(i for i, v in enumerate(levels) if v)
        for i in range(len(levels) - 1):
            at = (SIG8[i], LAST8[i]) if cat == 5 else (i, i)
            self._bin(sig + at[0], int(levels[i] != 0))
            if levels[i]:
                self._bin(last + at[1], int(i == end))
                if i == end:
                    break
        ones = greater = 0
        for v in reversed([v for v in levels if v]):
            size = abs(v) - 1
            self._bin(level + (0 if greater else min(4, 1 + ones)), int(size > 0))
            if size:
                ctx = level + 5 + min(4 - (cat == 3), greater)
                for _ in range(min(size, 14) - 1):
                    self._bin(ctx, 1)
                if size < 14:
                    self._bin(ctx, 0)
                else:
                    self._exp_golomb(size - 14, 0)
                greater += 1
            else:
                ones += 1
            self._bypass(int(v < 0))

    def luma_dc(self, p: Place, levels: list[int]) -> None:
        """Intra16x16DCLevel, ctxBlockCat 0."""
        found = [(m, m.dc[0] if m else 0) for m in (p.a, p.b)]
        self._residual(self._flag(p, 0, found), 0, levels)
        p.mb.dc[0] = int(any(levels))

    def luma(self, p: Place, raster: int, levels: list[int], ac: bool) -> None:
        """Intra16x16ACLevel or LumaLevel4x4."""
        cat = 1 if ac else 2
        found = [(m, m.luma[i] if m else 0) for m, i in p.blocks(raster % 4, raster // 4)]
        self._residual(self._flag(p, cat, found), cat, levels)
        p.mb.luma[raster] = sum(v != 0 for v in levels)

    def luma8(self, p: Place, quadrant: int, levels: list[int]) -> None:
        """LumaLevel8x8: no coded_block_flag; its blocks count as coded."""
        self._residual(None, 5, levels)
        first = quadrant // 2 * 8 + quadrant % 2 * 2
        for offset in (0, 1, 4, 5):
            p.mb.luma[first + offset] = 1

    def chroma_dc(self, p: Place, plane: int, levels: list[int]) -> None:
        """ChromaDCLevel."""
        found = [(m, m.dc[1 + plane] if m else 0) for m in (p.a, p.b)]
        self._residual(self._flag(p, 3, found), 3, levels)
        p.mb.dc[1 + plane] = int(any(levels))

    def chroma(self, p: Place, plane: int, block: int, levels: list[int]) -> None:
        """ChromaACLevel."""
        found = [
            (m, m.chroma[plane][i] if m else 0) for m, i in p.chroma_blocks(block % 2, block // 2)
        ]
        self._residual(self._flag(p, 4, found), 4, levels)
        p.mb.chroma[plane][block] = sum(v != 0 for v in levels)
