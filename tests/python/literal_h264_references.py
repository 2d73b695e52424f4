"""A slow second reading of clauses 8.2.1, 8.2.4 and 8.2.5 for frames, straight from the text.

It takes syntax elements (as ffmpeg's trace_headers prints them) and gives, per picture in decode
order, the picture order counts, the marking before the picture, and the final reference lists. It
shares nothing with the C++ core. Fields are out of its scope.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

NO_PICTURE = -1
MISSING = -3


@dataclass
class Frame:
    """One frame of the decoded picture buffer that is marked as used for reference."""

    number: int  # decode number, MISSING for a non-existing frame
    frame_num: int
    top: int
    bottom: int
    long_term_frame_idx: int | None = None
    non_existing: bool = False
    poc_at_decoding: int = 0  # before memory_management_control_operation 5 resets it

    @property
    def poc(self) -> int:
        return min(self.top, self.bottom)


@dataclass
class Decoded:
    """What is expected of one picture."""

    top: int
    bottom: int
    # (frame_num, PicOrderCnt at its decoding) by descending PicNum; (LongTermFrameIdx, the same)
    short_before: list[tuple[int, int]]
    long_before: list[tuple[int, int]]
    lists: list[list[list[tuple[int, bool]]]] = field(default_factory=list)  # per slice, per list
    gap: bool = False
    mmco5: bool = False


class References:
    """Feed it every slice of a stream in order."""

    def __init__(self) -> None:
        self.pictures: list[Decoded] = []
        self.frames: list[Frame] = []
        self.pending: tuple[dict[str, Any], dict[str, Any]] | None = None
        self.prev_ref_frame_num = 0
        self.prev_msb = self.prev_lsb = 0
        self.prev_frame_num = self.prev_frame_num_offset = 0

    # 7.4.1.2.4 for frames, with elements that are absent read as 0
    @staticmethod
    def _same_picture(a: dict[str, Any], b: dict[str, Any]) -> bool:
        keys = (
            "frame_num", "pic_order_cnt_lsb", "delta_pic_order_cnt_bottom", "delta_pic_order_cnt",
            "idr_pic_id",
        )  # fmt: skip
        return (
            all(a[k] == b[k] for k in keys)
            and (a["nal_ref_idc"] == 0) == (b["nal_ref_idc"] == 0)
            and (a["nal_unit_type"] == 5) == (b["nal_unit_type"] == 5)
        )

    def slice(self, s: dict[str, Any], sps: dict[str, Any]) -> None:
        if s["redundant_pic_cnt"]:
            return
        if self.pending is None or not self._same_picture(self.pending[0], s):
            self.finish()
            self._begin(s, sps)
        self.pending = (s, sps)
        self.pictures[-1].lists.append(self._lists(s, sps))

    def finish(self) -> None:
        if self.pending is not None:
            self._end(*self.pending)
            self.pending = None

    # -- 8.2.1 ---------------------------------------------------------------------------------

    def _frame_num_offset(self, idr: bool, frame_num: int, sps: dict[str, Any]) -> int:
        if idr:
            return 0
        if self.prev_frame_num > frame_num:
            return self.prev_frame_num_offset + (1 << (sps["log2_max_frame_num_minus4"] + 4))
        return self.prev_frame_num_offset

    @staticmethod
    def _type1_expected(frame_num_offset: int, frame_num: int, ref: bool,
                        sps: dict[str, Any]) -> int:  # fmt: skip
        cycle = sps["offset_for_ref_frame"]
        abs_frame_num = frame_num_offset + frame_num if cycle else 0
        if not ref and abs_frame_num > 0:
            abs_frame_num -= 1
        expected = 0
        if abs_frame_num > 0:
            count, in_cycle = divmod(abs_frame_num - 1, len(cycle))
            expected = count * sum(cycle) + sum(cycle[: in_cycle + 1])
        if not ref:
            expected += sps["offset_for_non_ref_pic"]
        return expected

    def _order(self, s: dict[str, Any], sps: dict[str, Any]) -> tuple[int, int]:
        idr = s["nal_unit_type"] == 5
        ref = s["nal_ref_idc"] != 0
        if sps["pic_order_cnt_type"] == 0:
            if idr:
                self.prev_msb = self.prev_lsb = 0
            size = 1 << (sps["log2_max_pic_order_cnt_lsb_minus4"] + 4)
            lsb = s["pic_order_cnt_lsb"]
            self.msb = self.prev_msb
            if lsb < self.prev_lsb and self.prev_lsb - lsb >= size // 2:
                self.msb += size
            elif lsb > self.prev_lsb and lsb - self.prev_lsb > size // 2:
                self.msb -= size
            top = self.msb + lsb
            return top, top + s["delta_pic_order_cnt_bottom"]
        self.offset = self._frame_num_offset(idr, s["frame_num"], sps)
        if sps["pic_order_cnt_type"] == 1:
            delta = s["delta_pic_order_cnt"]
            top = self._type1_expected(self.offset, s["frame_num"], ref, sps) + delta[0]
            return top, top + sps["offset_for_top_to_bottom_field"] + delta[1]
        poc = 0 if idr else 2 * (self.offset + s["frame_num"]) - (0 if ref else 1)
        return poc, poc

    # -- 8.2.5 ---------------------------------------------------------------------------------

    def _wrap(self, frame: Frame, frame_num: int, max_frame_num: int) -> int:
        return frame.frame_num - (max_frame_num if frame.frame_num > frame_num else 0)

    def _short(self) -> list[Frame]:
        return [f for f in self.frames if f.long_term_frame_idx is None]

    def _long(self) -> list[Frame]:
        return sorted(
            (f for f in self.frames if f.long_term_frame_idx is not None),
            key=lambda f: f.long_term_frame_idx or 0,
        )

    def _sliding_window(self, frame_num: int, sps: dict[str, Any]) -> None:
        max_frame_num = 1 << (sps["log2_max_frame_num_minus4"] + 4)
        if len(self.frames) >= max(sps["max_num_ref_frames"], 1):
            oldest = min(self._short(), key=lambda f: self._wrap(f, frame_num, max_frame_num))
            self.frames.remove(oldest)

    def _begin(self, s: dict[str, Any], sps: dict[str, Any]) -> None:
        max_frame_num = 1 << (sps["log2_max_frame_num_minus4"] + 4)
        gap = False
        if s["nal_unit_type"] == 5:
            self.frames = []
            self.prev_ref_frame_num = 0
        elif s["frame_num"] not in (
            self.prev_ref_frame_num,
            (self.prev_ref_frame_num + 1) % max_frame_num,
        ):
            gap = True
            unused = (self.prev_ref_frame_num + 1) % max_frame_num
            while unused != s["frame_num"]:
                self._sliding_window(unused, sps)
                self.prev_frame_num_offset = self._frame_num_offset(False, unused, sps)
                self.prev_frame_num = unused
                top = bottom = 0
                if sps["pic_order_cnt_type"] == 1:
                    top = self._type1_expected(self.prev_frame_num_offset, unused, True, sps)
                    bottom = top + sps["offset_for_top_to_bottom_field"]
                elif sps["pic_order_cnt_type"] == 2:
                    top = bottom = 2 * (self.prev_frame_num_offset + unused)
                self.frames.append(Frame(MISSING, unused, top, bottom, non_existing=True))
                self.prev_ref_frame_num = unused
                unused = (unused + 1) % max_frame_num
        top, bottom = self._order(s, sps)
        short = sorted(self._short(), key=lambda f: -self._wrap(f, s["frame_num"], max_frame_num))
        self.pictures.append(
            Decoded(
                top,
                bottom,
                [(f.frame_num, f.poc_at_decoding) for f in short],
                [(f.long_term_frame_idx or 0, f.poc_at_decoding) for f in self._long()],
                gap=gap,
            )
        )

    def _end(self, s: dict[str, Any], sps: dict[str, Any]) -> None:
        max_frame_num = 1 << (sps["log2_max_frame_num_minus4"] + 4)
        picture = self.pictures[-1]
        current = Frame(len(self.pictures) - 1, s["frame_num"], picture.top, picture.bottom)
        current.poc_at_decoding = current.poc
        mmco5 = False
        if s["nal_ref_idc"]:
            if s["nal_unit_type"] == 5:
                if s["long_term_reference_flag"]:
                    current.long_term_frame_idx = 0
            elif not s["adaptive_ref_pic_marking_mode_flag"]:
                self._sliding_window(s["frame_num"], sps)
            for m in s["mmco"]:
                op = m["memory_management_control_operation"]
                pic_num = s["frame_num"] - (m["difference_of_pic_nums_minus1"] + 1)
                named = [
                    f
                    for f in self._short()
                    if self._wrap(f, s["frame_num"], max_frame_num) == pic_num
                ]
                if op == 1:
                    self.frames = [f for f in self.frames if f not in named]
                elif op == 2:
                    idx = m["long_term_pic_num"]
                    self.frames = [f for f in self.frames if f.long_term_frame_idx != idx]
                elif op == 3:
                    idx = m["long_term_frame_idx"]
                    self.frames = [f for f in self.frames if f.long_term_frame_idx != idx]
                    for f in named:
                        f.long_term_frame_idx = idx
                elif op == 4:
                    limit = m["max_long_term_frame_idx_plus1"] - 1
                    self.frames = [
                        f
                        for f in self.frames
                        if f.long_term_frame_idx is None or f.long_term_frame_idx <= limit
                    ]
                elif op == 5:
                    self.frames = []
                    mmco5 = True
                elif op == 6:
                    idx = m["long_term_frame_idx"]
                    self.frames = [f for f in self.frames if f.long_term_frame_idx != idx]
                    current.long_term_frame_idx = idx
            if mmco5:
                less = current.poc
                current.top -= less
                current.bottom -= less
                picture.top, picture.bottom, picture.mmco5 = current.top, current.bottom, True
                current.frame_num = 0
            self.frames.append(current)
            self.prev_ref_frame_num = current.frame_num
            if sps["pic_order_cnt_type"] == 0:
                self.prev_msb = 0 if mmco5 else self.msb
                self.prev_lsb = current.top if mmco5 else s["pic_order_cnt_lsb"]
        self.prev_frame_num = 0 if mmco5 else s["frame_num"]
        if sps["pic_order_cnt_type"] != 0:
            self.prev_frame_num_offset = 0 if mmco5 else self.offset

    # -- 8.2.4 ---------------------------------------------------------------------------------

    def _lists(self, s: dict[str, Any], sps: dict[str, Any]) -> list[list[tuple[int, bool]]]:
        max_frame_num = 1 << (sps["log2_max_frame_num_minus4"] + 4)
        kind = s["slice_type"] % 5
        if kind in (2, 4):
            return [[], []]
        picture = self.pictures[-1]
        poc = min(picture.top, picture.bottom)
        short, long = self._short(), self._long()
        initial: list[list[Frame | None]]
        if kind == 1:
            usable = [f for f in short if not (f.non_existing and sps["pic_order_cnt_type"] == 0)]
            past = sorted((f for f in usable if f.poc < poc), key=lambda f: -f.poc)
            future = sorted((f for f in usable if f.poc >= poc), key=lambda f: f.poc)
            initial = [[*past, *future, *long], [*future, *past, *long]]
            if len(initial[1]) > 1 and initial[0] == initial[1]:
                initial[1][0], initial[1][1] = initial[1][1], initial[1][0]
        else:
            by_pic_num = sorted(short, key=lambda f: -self._wrap(f, s["frame_num"], max_frame_num))
            initial = [[*by_pic_num, *long], []]
        out = []
        for x in range(2):
            count = s["num_ref_idx_active"][x]
            entries = (initial[x] + [None] * count)[:count]
            pred = s["frame_num"]
            for place, (idc, value) in enumerate(s["ref_pic_list_modification"][x]):
                if idc == 2:
                    named = [f for f in long if f.long_term_frame_idx == value]
                else:
                    step = value + 1
                    pred = (pred - step if idc == 0 else pred + step) % max_frame_num
                    pic_num = pred - (max_frame_num if pred > s["frame_num"] else 0)
                    named = [
                        f for f in short
                        if self._wrap(f, s["frame_num"], max_frame_num) == pic_num
                    ]  # fmt: skip
                assert named, "a clean stream names only what is there"
                rest = [f for f in entries[place:] if f is not named[0]]
                entries = ([*entries[:place], named[0], *rest])[:count]
                entries += [None] * (count - len(entries))
            out.append(
                [
                    (NO_PICTURE, False)
                    if f is None
                    else (f.number, f.long_term_frame_idx is not None)
                    for f in entries
                ]
            )
        return out
