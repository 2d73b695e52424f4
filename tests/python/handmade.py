"""A small CAVLC writer for what x264 never makes: streams of random macroblocks, made by hand.

Explicit weights in B slices, slices of different types in one picture, duplicate list entries,
list modification, long-term references, vectors far outside the picture, I_PCM anywhere, every
sub-macroblock type. Macroblocks carry no coefficients. The writer remembers what it wrote, so
macroblock types, raw reference indices, vector differences and bits have a second witness.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from pathlib import Path

from oracles.parsed import (
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
    SLICE_I,
    SLICE_P,
)

LOG2_MAX_FRAME_NUM = 6
LOG2_MAX_POC_LSB = 8

# Table 7-14, mb_type 1..21: shape and lists used by the two partitions (1 = L0, 2 = L1, 3 = Bi).
B_TYPES = {
    1: (INTER_16X16, (1,)),
    2: (INTER_16X16, (2,)),
    3: (INTER_16X16, (3,)),
    **{
        4 + 2 * i + j: ((INTER_16X8, INTER_8X16)[j], lists)
        for i, lists in enumerate(
            [(1, 1), (2, 2), (1, 2), (2, 1), (1, 3), (2, 3), (3, 1), (3, 2), (3, 3)]
        )
        for j in range(2)
    },
}
# Tables 7-17 and 7-18: sub_mb_type -> lists used, number of sub-macroblock partitions.
P_SUB = {0: (1, 1), 1: (1, 2), 2: (1, 2), 3: (1, 4)}
B_SUB = {
    **{1: (1, 1), 2: (2, 1), 3: (3, 1), 4: (1, 2), 5: (1, 2), 6: (2, 2), 7: (2, 2)},
    **{8: (3, 2), 9: (3, 2), 10: (1, 4), 11: (2, 4), 12: (3, 4)},
}


class Bits:
    """A bit string that grows (7.2, 9.1)."""

    def __init__(self) -> None:
        self.bits: list[int] = []

    def u(self, n: int, value: int) -> None:
        """n bits, most significant first."""
        self.bits += [(value >> (n - 1 - i)) & 1 for i in range(n)]

    def ue(self, value: int) -> None:
        """Unsigned Exp-Golomb."""
        length = (value + 1).bit_length()
        self.u(2 * length - 1, value + 1)

    def se(self, value: int) -> None:
        """Signed Exp-Golomb."""
        self.ue(2 * value - 1 if value > 0 else -2 * value)

    def te(self, largest: int, value: int) -> None:
        """Truncated Exp-Golomb: one inverted bit when the largest value is 1."""
        if largest > 1:
            self.ue(value)
        elif largest == 1:
            self.u(1, 1 - value)

    def nal(self, ref_idc: int, unit_type: int) -> bytes:
        """Trailing bits, emulation prevention, Annex B start code."""
        bits = [*self.bits, 1]
        bits += [0] * (-len(bits) % 8)
        raw = bytes(int("".join(map(str, bits[i : i + 8])), 2) for i in range(0, len(bits), 8))
        out = bytearray([ref_idc << 5 | unit_type])
        zeros = 0
        for byte in raw:
            if zeros >= 2 and byte <= 3:
                out.append(3)
                zeros = 0
            out.append(byte)
            zeros = zeros + 1 if byte == 0 else 0
        return b"\0\0\0\1" + bytes(out)


def baseline_sets(width: int, height: int, level_idc: int = 40, poc_lsb_bits: int = 4) -> bytes:
    """SPS and PPS 0 of Baseline pictures of width x height macroblocks with one reference: CAVLC,
    frame_num of 4 bits, POC type 0, QP 26, nothing else in slice headers."""
    sps, pps = Bits(), Bits()
    for value in (66, 0, level_idc):
        sps.u(8, value)
    # id, log2_max_frame_num_minus4, pic_order_cnt_type, log2_max_pic_order_cnt_lsb_minus4,
    # max_num_ref_frames
    for value in (0, 0, 0, poc_lsb_bits - 4, 1):
        sps.ue(value)
    sps.u(1, 0)  # gaps_in_frame_num_value_allowed_flag
    sps.ue(width - 1)
    sps.ue(height - 1)
    sps.u(4, 0b1100)  # frame_mbs_only_flag, direct_8x8_inference_flag, no cropping, no VUI
    # ids 0, CAVLC, one slice group, one reference in each list, no weights, QP 26, no offsets, no
    # flags
    pps.u(16, 0b1100111000111000)
    return sps.nal(3, 7) + pps.nal(3, 8)


@dataclass
class WrittenMb:
    """What was written of one macroblock; ref_idx per 8x8 and list, None = derived (direct)."""

    mb_type: int = -1
    bits: int = 0
    ref_idx: list[list[int | None]] = field(default_factory=lambda: [[-1] * 4, [-1] * 4])
    pcm: list[int] | None = None


@dataclass
class WrittenPicture:
    """One picture in decode order: macroblocks, slice types, POC."""

    poc: int
    slice_types: list[int] = field(default_factory=list)
    slice_of: list[int] = field(default_factory=list)
    header_bits: list[int] = field(default_factory=list)
    mbs: list[WrittenMb] = field(default_factory=list)


@dataclass
class _Reference:
    frame_num: int
    poc: int
    long_term_idx: int | None = None
    refers_to: set[int] = field(default_factory=set)  # POCs, for temporal direct


@dataclass
class Recipe:
    """What a stream is made of. Sizes in macroblocks."""

    seed: int
    width: int = 5
    height: int = 4
    pictures: int = 10
    weighted_bipred_idc: int = 1
    weighted_pred: bool = True
    direct_8x8_inference: bool = True
    long_term: bool = True
    temporal: bool = True
    constrained_intra: bool = False
    max_refs: int = 4


class Writer:
    """Writes one random stream of a recipe."""

    def __init__(self, recipe: Recipe) -> None:
        self.r = recipe
        self.rng = random.Random(recipe.seed)
        self.out = bytearray()
        self.refs: list[_Reference] = []
        self.written: list[WrittenPicture] = []

    # -- parameter sets -------------------------------------------------------------------------
    def parameter_sets(self) -> None:
        """7.3.2.1 and 7.3.2.2, Main profile."""
        b = Bits()
        b.u(8, 77)
        b.u(8, 0)
        b.u(8, 40)
        b.ue(0)
        b.ue(LOG2_MAX_FRAME_NUM - 4)
        b.ue(0)  # pic_order_cnt_type
        b.ue(LOG2_MAX_POC_LSB - 4)
        b.ue(self.r.max_refs)
        b.u(1, 0)
        b.ue(self.r.width - 1)
        b.ue(self.r.height - 1)
        b.u(1, 1)  # frame_mbs_only_flag
        b.u(1, int(self.r.direct_8x8_inference))
        b.u(1, 0)  # frame_cropping_flag
        b.u(1, 0)  # vui_parameters_present_flag
        self.out += b.nal(3, 7)
        b = Bits()
        b.ue(0)
        b.ue(0)
        b.u(1, 0)  # entropy_coding_mode_flag
        b.u(1, 0)
        b.ue(0)  # num_slice_groups_minus1
        b.ue(0)
        b.ue(0)
        b.u(1, int(self.r.weighted_pred))
        b.u(2, self.r.weighted_bipred_idc)
        b.se(0)
        b.se(0)
        b.se(0)
        b.u(1, 0)
        b.u(1, int(self.r.constrained_intra))
        b.u(1, 0)
        self.out += b.nal(3, 8)

    # -- slice header ---------------------------------------------------------------------------
    def _modification(self, b: Bits, frame_num: int, first: _Reference | None) -> tuple[int, int]:
        """7.3.3.1 with random entries, then repeats: (least, most) active entries of the list."""
        rng = self.rng
        chosen = [first] if first else []
        chosen += rng.sample(self.refs, rng.randint(0, len(self.refs)))
        extra = 0
        if not chosen or (not first and rng.random() < 0.4):
            b.u(1, 0)
            return 1, len(self.refs)
        b.u(1, 1)
        chosen = [c for i, c in enumerate(chosen) if c not in chosen[:i]]
        if rng.random() < 0.5:
            extra = rng.randint(1, 2)
            chosen += [chosen[-1]] * extra  # duplicates: the list grows (8.2.4.3.1)
        size = 1 << LOG2_MAX_FRAME_NUM
        pred = frame_num
        for ref in chosen:
            if ref.long_term_idx is not None:
                b.ue(2)
                b.ue(ref.long_term_idx)
                continue
            num = ref.frame_num - size if ref.frame_num > frame_num else ref.frame_num
            diff = (num - pred) % size
            if diff == 0 or rng.random() < 0.5:
                b.ue(0)
                b.ue((pred - num - 1) % size)  # subtract
            else:
                b.ue(1)
                b.ue(diff - 1)
            pred = num
        b.ue(3)
        return len(chosen), len(self.refs) + extra

    def _weights(self, b: Bits, active: list[int]) -> None:
        """pred_weight_table (7.3.3.2)."""
        rng = self.rng
        luma, chroma = rng.randint(0, 7), rng.randint(0, 7)
        b.ue(luma)
        b.ue(chroma)
        # The sum of two weights stays inside -128..127 (7.4.3.2), whatever the pair.
        for count in active:
            for _ in range(count):
                for planes, denom in ((1, luma), (2, chroma)):
                    send = rng.random() < 0.6
                    b.u(1, int(send))
                    for _ in range(planes if send else 0):
                        low, high = (-60, 60) if denom < 7 else (-30, 0)
                        b.se(rng.randint(low, high) if rng.random() < 0.5 else min(1 << denom, 63))
                        b.se(rng.randint(-40, 40))

    def _slice_header(
        self, b: Bits, kind: int, first_mb: int, pic: dict[str, int], marking: Bits
    ) -> tuple[list[int], bool, _Reference | None]:
        rng = self.rng
        b.ue(first_mb)
        b.ue(kind)
        b.ue(0)
        b.u(LOG2_MAX_FRAME_NUM, pic["frame_num"])
        if pic["idr"]:
            b.ue(pic["idr_pic_id"])
        b.u(LOG2_MAX_POC_LSB, pic["poc"] % (1 << LOG2_MAX_POC_LSB))
        active: list[int] = []
        spatial, col = True, None
        if kind == SLICE_B:
            col = rng.choice(self.refs)
            # 8.4.1.2.3 needs the co-located picture's references in list 0.
            legal = col.refers_to <= {r.poc for r in self.refs}
            spatial = not (self.r.temporal and legal and rng.random() < 0.6)
            b.u(1, int(spatial))
        if kind != SLICE_I:
            lists = 2 if kind == SLICE_B else 1
            body = Bits()
            sizes = [
                self._modification(body, pic["frame_num"], col if i == 1 else None)
                for i in range(lists)
            ]
            active = [
                most if (i == 0 and not spatial) else rng.randint(least, most)
                for i, (least, most) in enumerate(sizes)
            ]
            b.u(1, 1)
            for n in active:
                b.ue(n - 1)
            b.bits += body.bits
            if (kind == SLICE_P and self.r.weighted_pred) or (
                kind == SLICE_B and self.r.weighted_bipred_idc == 1
            ):
                self._weights(b, active)
        b.bits += marking.bits
        b.se(rng.randint(-4, 4))
        return active, spatial, col

    # -- macroblocks ----------------------------------------------------------------------------
    def _mvd(self, b: Bits) -> None:
        rng = self.rng
        for _ in range(2):
            big = rng.random() < 0.03
            b.se(rng.randint(-300, 300) if big else rng.randint(-14, 14))

    def _pcm(self, b: Bits, mb: WrittenMb) -> None:
        b.bits += [0] * (-len(b.bits) % 8)
        mb.pcm = [self.rng.randrange(256) for _ in range(384)]
        for sample in mb.pcm:
            b.u(8, sample)
        mb.mb_type = I_PCM

    def _intra(self, b: Bits, offset: int, pic: WrittenPicture, index: int) -> WrittenMb:
        """I_PCM or Intra_16x16 without coefficients."""
        rng, w = self.rng, self.r.width
        mb = WrittenMb()
        if rng.random() < 0.3:
            b.ue(offset + 25)
            self._pcm(b, mb)
            return mb

        def neighbour(other: int, exists: bool) -> WrittenMb | None:
            same = exists and other >= 0 and pic.slice_of[other] == len(pic.slice_types) - 1
            return pic.mbs[other] if same else None

        x = index % w
        left, top = neighbour(index - 1, x > 0), neighbour(index - w, True)
        corner = neighbour(index - w - 1, x > 0)

        def usable(n: WrittenMb | None) -> bool:
            intra = n is not None and n.mb_type <= I_PCM
            return n is not None and (intra or not self.r.constrained_intra)

        modes, chroma = [2], [0]
        if usable(top):
            modes.append(0)
            chroma.append(2)
        if usable(left):
            modes.append(1)
            chroma.append(1)
        if usable(top) and usable(left) and usable(corner):
            modes.append(3)
            chroma.append(3)
        b.ue(offset + 1 + rng.choice(modes))  # no AC, no chroma coefficients
        b.ue(rng.choice(chroma))
        b.se(rng.randint(-2, 2))
        # coeff_token of Intra16x16DCLevel with no coefficient: nC from the neighbours (9.2.1),
        # where I_PCM counts 16 and everything else here 0; with constrained intra prediction
        # nothing changes (that exception is for data partitioning).
        counts = [16 if n.mb_type == I_PCM else 0 for n in (left, top) if n is not None]
        nc = (sum(counts) + 1) // 2 if len(counts) == 2 else sum(counts)
        if nc < 2:
            b.u(1, 1)
        else:
            b.u(6, 3)
        mb.mb_type = I_16X16
        return mb

    def _inter(self, b: Bits, kind: int, active: list[int]) -> WrittenMb:
        rng = self.rng
        mb = WrittenMb()
        lists = 2 if kind == SLICE_B else 1
        if kind == SLICE_B and rng.random() < 0.12:
            b.ue(0)
            b.ue(0)  # coded_block_pattern 0
            mb.mb_type = B_DIRECT_16X16
            mb.ref_idx = [[None] * 4, [None] * 4]
            return mb
        if rng.random() < 0.4:
            mb.mb_type = INTER_8X8
            table = B_SUB if kind == SLICE_B else P_SUB
            ref0 = kind == SLICE_P and rng.random() < 0.25
            b.ue(22 if kind == SLICE_B else 4 if ref0 else 3)
            subs = [rng.choice([*table, *([0] if kind == SLICE_B else [])]) for _ in range(4)]
            if self.r.direct_8x8_inference and rng.random() < 0.5:
                subs = [s if s in (0, 1, 2, 3) else rng.choice([1, 2, 3]) for s in subs]
                if kind == SLICE_P:
                    subs = [0] * 4
            for s in subs:
                b.ue(s)
            for s, q in zip(subs, range(4), strict=True):
                if kind == SLICE_B and s == 0:
                    mb.ref_idx[0][q] = mb.ref_idx[1][q] = None
            for lst in range(lists):
                for q, s in enumerate(subs):
                    if (kind == SLICE_B and s == 0) or not table[s][0] & (1 << lst):
                        continue
                    ref = 0 if ref0 else rng.randrange(active[lst])
                    mb.ref_idx[lst][q] = ref
                    if not ref0:
                        b.te(active[lst] - 1, ref)
            for lst in range(lists):
                for s in subs:
                    if (kind == SLICE_B and s == 0) or not table[s][0] & (1 << lst):
                        continue
                    for _ in range(table[s][1]):
                        self._mvd(b)
        else:
            if kind == SLICE_B:
                code = rng.choice(list(B_TYPES))
                mb.mb_type, uses = B_TYPES[code]
            else:
                code = rng.randrange(3)
                mb.mb_type = (INTER_16X16, INTER_16X8, INTER_8X16)[code]
                uses = (1,) if code == 0 else (1, 1)
            b.ue(code)
            quads = {
                INTER_16X16: [(0, 1, 2, 3)],
                INTER_16X8: [(0, 1), (2, 3)],
                INTER_8X16: [(0, 2), (1, 3)],
            }[mb.mb_type]
            for lst in range(lists):
                for part, use in zip(quads, uses, strict=True):
                    if not use & (1 << lst):
                        continue
                    ref = rng.randrange(active[lst])
                    b.te(active[lst] - 1, ref)
                    for q in part:
                        mb.ref_idx[lst][q] = ref
            for lst in range(lists):
                for use in uses:
                    if use & (1 << lst):
                        self._mvd(b)
        b.ue(0)  # coded_block_pattern 0 (Table 9-4, Inter)
        return mb

    def _slice(
        self,
        pic: WrittenPicture,
        kind: int,
        first: int,
        stop: int,
        info: dict[str, int],
        marking: Bits,
        all_pcm: bool,
    ) -> None:
        rng = self.rng
        b = Bits()
        number = len(pic.slice_types)
        active, _, _ = self._slice_header(b, kind, first, info, marking)
        pic.slice_types.append(kind)
        pic.header_bits.append(len(b.bits))
        skips, mark = 0, len(b.bits)
        for index in range(first, stop):
            pic.slice_of.append(number)
            if kind != SLICE_I and rng.random() < 0.25:
                skips += 1
                skipped = WrittenMb(P_SKIP if kind == SLICE_P else B_SKIP)
                if kind == SLICE_P:
                    skipped.ref_idx[0] = [0] * 4
                else:
                    skipped.ref_idx = [[None] * 4, [None] * 4]
                pic.mbs.append(skipped)
                continue
            if kind != SLICE_I:
                b.ue(skips)
                skips = 0
            if all_pcm:
                mb = WrittenMb()
                b.ue(25)
                self._pcm(b, mb)
            elif kind == SLICE_I or rng.random() < 0.12:
                offset = {SLICE_I: 0, SLICE_P: 5, SLICE_B: 23}[kind]
                mb = self._intra(b, offset, pic, index)
            else:
                mb = self._inter(b, kind, active)
            mb.bits = len(b.bits) - mark
            mark = len(b.bits)
            pic.mbs.append(mb)
        if skips:  # a run that ends the slice counts to its last macroblock (docs/planes.md)
            b.ue(skips)
            pic.mbs[-1].bits = len(b.bits) - mark
        self.out += b.nal(info["nal_ref_idc"], 5 if info["idr"] else 1)

    # -- pictures -------------------------------------------------------------------------------
    def _marking(self, info: dict[str, int], me: _Reference) -> Bits:
        """dec_ref_pic_marking (7.3.3.3), and its effect on the references."""
        rng = self.rng
        b = Bits()
        self._after = lambda: None
        if info["idr"]:
            b.u(1, 0)
            b.u(1, 0)

            def reset() -> None:
                self.refs = [me]

            self._after = reset
            return b
        short = [r for r in self.refs if r.long_term_idx is None]
        room = len(self.refs) < self.r.max_refs
        if self.r.long_term and short and rng.random() < 0.4:
            target = rng.choice(short)
            idx = rng.randrange(2)
            b.u(1, 1)
            b.ue(4)
            b.ue(2)  # max_long_term_frame_idx_plus1
            b.ue(3)
            b.ue((info["frame_num"] - target.frame_num) % (1 << LOG2_MAX_FRAME_NUM) - 1)
            b.ue(idx)
            after = [r for r in self.refs if r.long_term_idx != idx]
            if len(after) >= self.r.max_refs:
                drop = next(r for r in after if r is not target)
                if drop.long_term_idx is None:
                    b.ue(1)
                    b.ue((info["frame_num"] - drop.frame_num) % (1 << LOG2_MAX_FRAME_NUM) - 1)
                else:
                    b.ue(2)
                    b.ue(drop.long_term_idx)
                after.remove(drop)
            b.ue(0)

            def make_long() -> None:
                target.long_term_idx = idx
                self.refs = [*after, me]

            self._after = make_long
            return b
        b.u(1, 0)

        def slide() -> None:
            if not room:
                self.refs.remove(short[0])
            self.refs.append(me)

        if not room and not short:
            raise AssertionError("a sliding window without short-term references")
        self._after = slide
        return b

    def _picture(self, info: dict[str, int], all_pcm: bool, kinds: list[int]) -> None:
        rng = self.rng
        pic = WrittenPicture(info["poc"])
        me = _Reference(info["frame_num"], info["poc"])
        marking = self._marking(info, me) if info["nal_ref_idc"] else Bits()
        count = self.r.width * self.r.height
        cuts = sorted(rng.sample(range(1, count), len(kinds) - 1))
        for kind, first, stop in zip(kinds, [0, *cuts], [*cuts, count], strict=True):
            self._slice(pic, kind, first, stop, info, marking, all_pcm)
            if kind != SLICE_I:
                me.refers_to = {r.poc for r in self.refs}
        if info["nal_ref_idc"]:
            self._after()
        self.written.append(pic)

    def write(self) -> bytes:
        """The whole stream; `written` then says what is in it, in decode order."""
        rng = self.rng
        self.parameter_sets()
        frame_num, previous_was_ref = 0, False
        order = [0]
        while len(order) < self.r.pictures:  # groups of coding order P B b b or plain P
            last = max(order)
            order += [last + 8, last + 4, last + 2, last + 6] if rng.random() < 0.6 else [last + 2]
        for number, poc in enumerate(order[: self.r.pictures]):
            idr = number == 0
            if previous_was_ref:
                frame_num = (frame_num + 1) % (1 << LOG2_MAX_FRAME_NUM)
            ref = idr or rng.random() < 0.75
            if idr:
                kinds = [SLICE_I]
            else:
                kinds = [
                    rng.choice([SLICE_I, SLICE_P, SLICE_B, SLICE_B, SLICE_P, SLICE_B])
                    for _ in range(rng.randint(1, min(3, self.r.width * self.r.height)))
                ]
            info = {"frame_num": frame_num, "poc": poc, "idr": idr, "idr_pic_id": 0}
            info["nal_ref_idc"] = 2 if ref else 0
            self._picture(info, idr, kinds)
            previous_was_ref = ref
        return bytes(self.out)


def write(path: Path, recipe: Recipe) -> list[WrittenPicture]:
    """Write the stream of a recipe to path; returns its pictures in decode order."""
    writer = Writer(recipe)
    path.write_bytes(writer.write())
    return writer.written
