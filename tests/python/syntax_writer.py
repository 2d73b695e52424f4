"""Streams of random macroblocks with coefficients, in CAVLC and CABAC, that take every branch.

Values that a table lists are dealt like cards, so that a short stream meets each of them. The
streams are legal (libavcodec decodes them without a complaint) and small in amplitude, so that no
sum leaves its range. What was written is remembered: types, QP, vector differences, bits.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from pathlib import Path

from handmade import B_SUB, B_TYPES, P_SUB, Bits
from oracles.parsed import INTER_8X16, INTER_16X8
from syntax_coders import SLICE_B, SLICE_I, SLICE_P, Cabac, Cavlc, Mb, Place

NORM4 = (10, 11, 13, 14, 16, 18)  # LevelScale of DC divided by 16 (8.5.9)


@dataclass
class Recipe:
    """What a stream is made of. Sizes in macroblocks."""

    seed: int
    cabac: bool
    width: int = 6
    height: int = 5
    pictures: int = 12
    chroma: bool = True
    transform8: bool = True
    inference: bool = True
    lossless: bool = False


@dataclass
class Slice:
    """One slice as written."""

    kind: int
    first: int
    header_bits: int = 0
    mbs: list[Mb] = field(default_factory=list)


class Deck:
    """Deals every card before it shuffles again."""

    def __init__(self, rng: random.Random, cards: list[int]) -> None:
        self.rng, self.cards, self.left = rng, cards, list[int]()

    def deal(self, wanted: set[int] | None = None) -> int:
        """The next card, or the next one among the wanted."""
        for _ in range(2):
            for card in reversed(self.left):
                if wanted is None or card in wanted:
                    self.left.remove(card)
                    return card
            self.left = self.rng.sample(self.cards, len(self.cards)) + self.left
        raise AssertionError("no such card")


class Writer:
    """Writes one stream; `pictures` says what is in it."""

    def __init__(self, recipe: Recipe) -> None:
        self.r = recipe
        self.rng = rng = random.Random(recipe.seed)
        self.out = bytearray()
        self.pictures: list[list[Slice]] = []
        self.decks: dict[str, Deck] = {}
        kinds = [k for k in range(1, 25) if recipe.chroma or (k - 1) // 4 % 3 == 0]
        kinds += [0] * 14 + [25] * 2
        for kind in (SLICE_I, SLICE_P, SLICE_B):
            self.decks[f"intra{kind}"] = Deck(rng, kinds)
            self.decks[f"cbp{kind}i"] = Deck(rng, list(range(48 if recipe.chroma else 16)))
            self.decks[f"cbp{kind}p"] = Deck(rng, list(range(48 if recipe.chroma else 16)))
        self.decks["B"] = Deck(rng, list(range(23)) + [22] * 8)
        self.decks["P"] = Deck(rng, [0, 1, 2, 3, 3, 3] + ([] if recipe.cabac else [4]))
        self.decks["subB"] = Deck(rng, list(range(13)))
        self.decks["subP"] = Deck(rng, list(range(4)))
        self.decks["mode"] = Deck(rng, list(range(9)))

    # -- headers --------------------------------------------------------------------------------
    def parameter_sets(self) -> None:
        """7.3.2.1 and 7.3.2.2: High, or High 4:4:4 Predictive where lossless."""
        r, b = self.r, Bits()
        b.u(8, 244 if r.lossless else 100)
        b.u(8, 0)
        b.u(8, 40)
        b.ue(0)
        b.ue(int(r.chroma))
        b.ue(0)
        b.ue(0)
        b.u(1, int(r.lossless))
        b.u(1, 0)  # seq_scaling_matrix_present_flag
        b.ue(0)  # log2_max_frame_num_minus4
        b.ue(0)
        b.ue(4)  # log2_max_pic_order_cnt_lsb_minus4
        b.ue(4)
        b.u(1, 0)
        b.ue(r.width - 1)
        b.ue(r.height - 1)
        b.u(1, 1)
        b.u(1, int(r.inference))
        b.u(2, 0)
        self.out += b.nal(3, 7)
        b = Bits()
        b.ue(0)
        b.ue(0)
        b.u(1, int(r.cabac))
        b.u(1, 0)
        b.ue(0)
        b.ue(0)
        b.ue(0)
        b.u(3, 0)  # no weights
        b.se(0)
        b.se(0)
        # libavcodec scales chroma at QP_C 0 wrongly where lossless macroblocks are allowed.
        b.se(0 if r.lossless else -3)  # chroma_qp_index_offset
        b.u(3, 0)
        b.u(1, int(r.transform8))
        b.u(1, 0)
        b.se(0 if r.lossless else 5)  # second_chroma_qp_index_offset
        self.out += b.nal(3, 8)

    def _slice(self, number: int, kind: int, first: int, stop: int, refs: int) -> Slice:
        rng, b = self.rng, Bits()
        idr = number == 0
        b.ue(first)
        b.ue(kind)
        b.ue(0)
        b.u(4, self.frame_num)
        if idr:
            b.ue(0)
        b.u(8, 2 * number)
        if kind == SLICE_B:
            b.u(1, 1)  # direct_spatial_mv_pred_flag
        self.active = [0, 0]
        if kind != SLICE_I:
            b.u(1, 1)
            for lst in range(2 if kind == SLICE_B else 1):
                self.active[lst] = rng.choice([1, 2, refs, refs]) if refs > 1 else 1
                b.ue(self.active[lst] - 1)
            b.u(2 if kind == SLICE_B else 1, 0)
        if idr:
            b.u(2, 0)
        elif self.reference:
            b.u(1, 0)
        init_idc = rng.randrange(3)
        if self.r.cabac and kind != SLICE_I:
            b.ue(init_idc)
        self.qp = 0 if self.r.lossless else rng.choice([3, 9, 20, 33, 45, 51])
        b.se(self.qp - 26)
        out = Slice(kind, first, len(b.bits))
        self.coder = (Cabac if self.r.cabac else Cavlc)(b, kind, self.qp, init_idc)
        self._slice_data(out, kind, first, stop)
        if self.r.cabac:
            bits = b.bits
            assert bits.pop() == 1  # nal() puts rbsp_stop_one_bit
        self.out += b.nal(2 if self.reference else 0, 5 if idr else 1)
        return out

    # -- slice data -----------------------------------------------------------------------------
    def _slice_data(self, out: Slice, kind: int, first: int, stop: int) -> None:
        rng, width, coder = self.rng, self.r.width, self.coder
        self.mbs: dict[int, Mb] = {}
        self.first, self.kind, self.previous = first, kind, None
        run, mark = 0, coder.position()
        for address in range(first, stop):
            a = self.mbs.get(address - 1) if address % width else None
            b = self.mbs.get(address - width)
            mb = Mb(address, "skip", qp=self.qp)
            place = Place(mb, a, b)
            skipped = kind != SLICE_I and rng.random() < (0.5 if address > stop - 3 else 0.12)
            self.mbs[address] = mb
            out.mbs.append(mb)
            if isinstance(coder, Cabac):
                if kind != SLICE_I:
                    mb.kind = "inter"
                    coder.skip_flag(place, skipped)
            elif not skipped and kind != SLICE_I:
                coder.skip(place, run)
                run = 0
            if skipped:
                mb.kind, mb.direct = "skip", [True] * 4
                self.previous = None
                run += 1
            else:
                self._macroblock(place)
                mb.qp = self.qp
            if isinstance(coder, Cabac):
                coder.end_of_slice(address == stop - 1)
            elif skipped:
                if address == stop - 1:
                    coder.skip(place, run)
                else:
                    continue
            mb.bits = coder.position() - mark
            mark = coder.position()

    def _macroblock(self, p: Place) -> None:
        if self.kind == SLICE_I or self.rng.random() < 0.42:
            self._intra(p, {SLICE_I: 0, SLICE_P: 5, SLICE_B: 23}[self.kind])
        else:
            self._inter(p)

    def _pcm(self, p: Place) -> None:
        mb = p.mb
        mb.kind, mb.luma, mb.chroma, mb.dc = "pcm", [16] * 16, [[16] * 4, [16] * 4], [1] * 3
        # libavcodec wraps where 8.5.15 clips: sums of lossless residual must stay inside 0..255.
        low, high = (110, 140) if self.r.lossless else (1, 256)
        count = 384 if self.r.chroma else 256
        self.coder.pcm([self.rng.randrange(low, high) for _ in range(count)])
        self.previous = None

    def _intra(self, p: Place, offset: int) -> None:
        mb, coder, rng = p.mb, self.coder, self.rng
        kind = self.decks[f"intra{self.kind}"].deal()
        corner = p.a is not None and p.b is not None and self._corner(mb.address)
        edges = (p.a is not None, p.b is not None, corner)
        if 1 <= kind <= 24:  # a prediction mode whose neighbours are there
            legal = {2} | ({0} if edges[1] else set()) | ({1} if edges[0] else set())
            legal |= {3} if all(edges) else set()
            if (kind - 1) % 4 not in legal:
                self.decks[f"intra{self.kind}"].left.append(kind)
                kind = (kind - 1) // 4 * 4 + 1 + rng.choice(sorted(legal))
        mb.kind = "pcm" if kind == 25 else "i16" if kind else "i4"
        coder.mb_type(p, offset + kind)
        if kind == 25:
            return self._pcm(p)
        if kind:
            mb.cbp = (kind - 1) // 4 % 3 << 4 | (15 if kind >= 13 else 0)
        else:
            if self.r.transform8:
                eight = rng.random() < 0.5
                coder.transform8(p, eight)
                mb.transform8 = eight
            mb.kind = "i8" if mb.transform8 else "i4"
            self._modes(p, edges)
        if self.r.chroma:
            legal = [0] + [1] * edges[0] + [2] * edges[1] + [3] * all(edges)
            mode = rng.choice(legal)
            coder.chroma_mode(p, mode)
            mb.chroma_mode = mode
        if not kind:
            self._cbp(p)
        if kind or mb.cbp:
            self._residual(p, (kind - 1) % 4 if kind else -1)
        else:
            self.previous = None
        return None

    def _corner(self, address: int) -> bool:
        return address % self.r.width > 0 and address - self.r.width - 1 >= self.first

    def _modes(self, p: Place, edges: tuple[bool, bool, bool]) -> None:
        """8.3.1.1, 8.3.2.1 the other way round; only modes whose samples are there."""
        mb, size = p.mb, 2 if p.mb.transform8 else 1
        for i in range(16 // size**2):
            if size == 2:
                x, y = i % 2 * 2, i // 2 * 2
            else:
                x = (i & 1) + (i >> 1 & 2)
                y = (i >> 1 & 1) + (i >> 2 & 2)
            left, top = x > 0 or edges[0], y > 0 or edges[1]
            corner = (x > 0 and y > 0) or (
                edges[2] if x == y == 0 else edges[1] if y == 0 else edges[0] if x == 0 else True
            )
            legal = {2} | ({0, 3, 7} if top else set()) | ({1, 8} if left else set())
            legal |= {4, 5, 6} if top and left and corner else set()
            near = []
            for m, raster in p.blocks(x, y):
                if m is None:
                    near.append(-1)
                else:
                    near.append(m.modes[raster] if m.kind in ("i4", "i8") else 2)
            predicted = 2 if min(near) < 0 else min(near)
            mode = self.decks["mode"].deal(legal)
            self.coder.intra_mode(-1 if mode == predicted else mode - (mode > predicted))
            for dy in range(size):
                for dx in range(size):
                    mb.modes[4 * (y + dy) + x + dx] = mode

    def _mvd(self, p: Place, lst: int, x: int, y: int, width: int, height: int) -> None:
        rng, value = self.rng, (0, 0)
        size = rng.choice([0, 1, 3, 8, 12, 20, 40, 60, 120, 250, 500])
        value = (rng.randint(-size, size), rng.randint(-size // 2, size // 2))
        self.coder.mvd(p, lst, x, y, value)
        p.mb.sent_mvd.append(value)
        for dy in range(height):
            for dx in range(width):
                p.mb.mvd[lst][4 * (y + dy) + x + dx] = value

    def _ref(self, p: Place, lst: int, quadrants: tuple[int, ...]) -> None:
        most = self.active[lst] - 1
        value = self.rng.randint(0, most)
        if most:
            self.coder.ref_idx(p, lst, quadrants[0], value, most)
        for q in quadrants:
            p.mb.ref[lst][q] = value

    def _inter(self, p: Place) -> None:
        mb, coder, lists = p.mb, self.coder, 2 if self.kind == SLICE_B else 1
        mb.kind = "inter"
        kind = self.decks["B" if lists == 2 else "P"].deal()
        small = False
        if lists == 2 and kind == 0:
            mb.kind, mb.direct = "direct", [True] * 4
            coder.mb_type(p, 0)
            small = not self.r.inference
        elif kind >= (22 if lists == 2 else 3):
            coder.mb_type(p, kind)
            small = self._sub_mb_pred(p, lists, ref0=lists == 1 and kind == 4)
        else:
            coder.mb_type(p, kind)
            if lists == 2:
                shape, uses = B_TYPES[kind]
            else:
                shape = (0, INTER_16X8, INTER_8X16)[kind]
                uses = (1,) if kind == 0 else (1, 1)
            if shape == INTER_16X8:
                parts = [((0, 1), 0, 0, 4, 2), ((2, 3), 0, 2, 4, 2)]
            elif shape == INTER_8X16:
                parts = [((0, 2), 0, 0, 2, 4), ((1, 3), 2, 0, 2, 4)]
            else:
                parts = [((0, 1, 2, 3), 0, 0, 4, 4)]
            for lst in range(lists):
                for (quadrants, *_), use in zip(parts, uses, strict=True):
                    if use >> lst & 1:
                        self._ref(p, lst, quadrants)
            for lst in range(lists):
                for (_, *where), use in zip(parts, uses, strict=True):
                    if use >> lst & 1:
                        self._mvd(p, lst, *where)
        self._cbp(p)
        if mb.cbp & 15 and self.r.transform8 and not small:
            eight = self.rng.random() < 0.5
            coder.transform8(p, eight)
            mb.transform8 = eight
        if mb.cbp:
            self._residual(p, -1)
        else:
            self.previous = None

    def _sub_mb_pred(self, p: Place, lists: int, ref0: bool) -> bool:
        mb, rng = p.mb, self.rng
        table = B_SUB if lists == 2 else P_SUB
        deck = self.decks["subB" if lists == 2 else "subP"]
        large = {0, 1, 2, 3} if lists == 2 else {0}
        only_large = rng.random() < 0.4
        subs = [deck.deal(large if only_large else None) for _ in range(4)]
        for s in subs:
            self.coder.sub_mb_type(s)
        direct = [lists == 2 and s == 0 for s in subs]
        mb.direct = direct
        for lst in range(lists):
            for q, s in enumerate(subs):
                if not direct[q] and table[s][0] >> lst & 1:
                    if ref0:
                        mb.ref[lst][q] = 0
                    else:
                        self._ref(p, lst, (q,))
        for lst in range(lists):
            for q, s in enumerate(subs):
                if direct[q] or not table[s][0] >> lst & 1:
                    continue
                count = table[s][1]
                wide = count == 2 and s in ((4, 6, 8) if lists == 2 else (1,))
                width, height = (2, 2) if count == 1 else (1, 1) if count == 4 else (1, 2)
                if wide:
                    width, height = 2, 1
                for y in range(0, 2, height):
                    for x in range(0, 2, width):
                        self._mvd(p, lst, q % 2 * 2 + x, q // 2 * 2 + y, width, height)
        return any(
            (not self.r.inference) if d else table[s][1] > 1
            for s, d in zip(subs, direct, strict=True)
        )

    # -- residual -------------------------------------------------------------------------------
    def _cbp(self, p: Place) -> None:
        cbp = self.decks[f"cbp{self.kind}{'i' if p.mb.intra else 'p'}"].deal()
        self.coder.cbp(p, cbp, self.r.chroma)
        p.mb.cbp = cbp

    def _levels(self, count: int, scale: int) -> list[int]:
        """Random levels whose scaled sum stays small; scale: 1/16 of the factor of one level."""
        rng, levels = self.rng, [0] * count
        room = max(1, 9000 // max(1, scale)) if not self.r.lossless else 4
        fill = rng.choice([0, 1, 1, 2, 3, 5, count // 2, count, count])
        places = rng.sample(range(count), min(fill, count, room))
        if not places:
            return levels
        for i in places:
            levels[i] = rng.choice([-1, 1])
        room -= len(places)
        for i in rng.sample(places, rng.randint(0, len(places))):
            top = min(room, rng.choice([1, 2, 5, 12, 40, 200, 5000]))
            if top > 0:
                extra = rng.randint(max(1, top - top // 3), top)
                levels[i] += extra if levels[i] > 0 else -extra
                room -= extra
        return levels

    def _residual(self, p: Place, pred_mode: int) -> None:
        mb, coder, rng = p.mb, self.coder, self.rng
        if self.r.lossless:
            target = 0 if rng.random() < 0.8 else rng.randint(1, 3)
        else:
            target = rng.choice([rng.randint(0, 51), rng.randint(0, 5), self.qp])
        delta = target - self.qp
        if delta < -26:
            delta += 52
        elif delta > 25:
            delta -= 52
        coder.qp_delta(self.previous, delta)
        mb.qp_delta, self.qp = delta, target
        self.previous = mb
        scale = NORM4[target % 6] * 2 << target // 6
        # Now and then a block at the edge of the ranges of 8.5.12 and 8.5.13.
        loud = target < 3 and not self.r.lossless and rng.random() < 0.4
        if pred_mode >= 0:
            coder.luma_dc(p, self._levels(16, scale))
            for i in range(16 if mb.cbp & 15 else 0):
                coder.luma(p, self._raster(i), self._levels(15, scale), True)
        elif mb.transform8:
            for q in range(4):
                if mb.cbp >> q & 1:
                    levels = [rng.choice([-1, 1]) * 3300] + [0] * 63 if loud else []
                    levels = levels or self._levels(64, scale * 2)
                    # An 8x8 block of CABAC has a coefficient (7.3.5.3.3).
                    if not any(levels) and coder.cabac:
                        levels[rng.randrange(64)] = 1
                    coder.luma8(p, q, levels)
        else:
            for i in range(16):
                if mb.cbp >> (i >> 2) & 1:
                    levels = self._levels(16, scale)
                    if loud:
                        levels = [0, 1300, 0, 0, 0, 0, 1300] + [0] * 9
                    coder.luma(p, self._raster(i), levels, False)
        if mb.cbp < 16:
            return
        for plane in range(2):
            coder.chroma_dc(p, plane, self._levels(4, 4 * scale))
        if mb.cbp >= 32:
            for plane in range(2):
                for block in range(4):
                    coder.chroma(p, plane, block, self._levels(15, 4 * scale))

    @staticmethod
    def _raster(index: int) -> int:
        x = (index & 1) + (index >> 1 & 2)
        y = (index >> 1 & 1) + (index >> 2 & 2)
        return 4 * y + x

    # -- pictures -------------------------------------------------------------------------------
    def write(self) -> bytes:
        """The stream: an IDR picture, then pictures of one to three slices of any type."""
        rng, count = self.rng, self.r.width * self.r.height
        self.parameter_sets()
        self.frame_num, refs = 0, 0
        for number in range(self.r.pictures):
            kinds = [rng.choice([SLICE_P, SLICE_B, SLICE_B, SLICE_I]) for _ in range(3)]
            kinds = kinds[: rng.choice([1, 1, 3])]
            if number < 4:
                kinds = [SLICE_P if number else SLICE_I]
            self.reference = number < 4 or rng.random() < 0.4
            cuts = sorted(rng.sample(range(1, count), len(kinds) - 1))
            self.pictures.append(
                [
                    self._slice(number, kind, first, stop, min(refs, 4))
                    for kind, first, stop in zip(kinds, [0, *cuts], [*cuts, count], strict=True)
                ]
            )
            if self.reference:
                refs += 1
                self.frame_num = (self.frame_num + 1) % 16
        return bytes(self.out)


def write(path: Path, recipe: Recipe) -> list[list[Slice]]:
    """Write the stream of a recipe; returns its pictures in decode order."""
    writer = Writer(recipe)
    path.write_bytes(writer.write())
    return writer.pictures
