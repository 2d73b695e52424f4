"""Streams of random parameter sets and slice headers that together take every branch of 7.3.2.1,
7.3.2.2 and 7.3.3 in scope. What stands behind a slice header is noise.

References are kept legal: each command names a frame that is there (tests' own literal reading of
8.2.5 says which), so the index has no reason to doubt a list.
"""

from __future__ import annotations

import random
from typing import Any

from handmade import Bits
from literal_h264_references import Frame, References

HIGH = (100, 244)


def _scaling_lists(b: Bits, rng: random.Random, count: int) -> None:
    """scaling_list() of 7.3.2.1.1.1: absent, the default, cut short, complete."""
    for i in range(count):
        present = rng.random() < 0.7
        b.u(1, int(present))
        if not present:
            continue
        size = 16 if i < 6 else 64
        stop = rng.choice([0, rng.randrange(1, size), size])  # the scale that is sent as 0
        last = 8
        for place in range(size):
            value = 0 if place == stop else rng.randrange(1, 256)
            b.se((value - last + 128) % 256 - 128)
            if value == 0:
                break
            last = value


def _hrd(b: Bits, rng: random.Random) -> None:
    count = rng.randrange(3)
    b.ue(count)
    b.u(8, rng.randrange(256))
    for _ in range(count + 1):
        b.ue(rng.randrange(1 << 16))
        b.ue(rng.randrange(1 << 16))
        b.u(1, rng.randrange(2))
    b.u(20, rng.randrange(1 << 20))


class Writer:
    """Writes coded video sequences, each with parameter sets of its own."""

    def __init__(self, seed: int) -> None:
        self.rng = random.Random(seed)
        self.out = bytearray()
        self.references = References()
        self.idr_pic_id = 0

    def flag(self, b: Bits, chance: float = 0.5) -> int:
        """One bit; returns it."""
        value = int(self.rng.random() < chance)
        b.u(1, value)
        return value

    # -- parameter sets -------------------------------------------------------------------------
    def _vui(self, b: Bits) -> None:
        rng = self.rng
        if self.flag(b):
            idc = rng.choice([1, 255])
            b.u(8, idc)
            if idc == 255:
                b.u(32, rng.randrange(1, 1 << 31))
        if self.flag(b):
            self.flag(b)
        if self.flag(b):  # video_signal_type_present_flag
            b.u(3, rng.randrange(6))
            self.flag(b)
            if self.flag(b):
                b.u(24, rng.choice([0x010101, 0x050606, 0x090E09]))
        if self.flag(b):
            b.ue(rng.randrange(6))
            b.ue(rng.randrange(6))
        if self.flag(b):  # timing_info_present_flag
            b.u(32, rng.randrange(1, 1000))
            b.u(32, rng.randrange(1000, 100000))
            self.flag(b)
        hrd = False
        for _ in range(2):
            if self.flag(b):
                _hrd(b, rng)
                hrd = True
        if hrd:
            self.flag(b)
        self.flag(b)
        if self.flag(b):  # bitstream_restriction_flag
            self.flag(b)
            for _ in range(4):
                b.ue(rng.randrange(16))
            reorder = rng.randrange(5)
            b.ue(reorder)
            b.ue(rng.randrange(reorder, 17))

    def _sps(self) -> None:
        rng, b = self.rng, Bits()
        s: dict[str, Any] = {"chroma_format_idc": 1, "offset_for_ref_frame": []}
        s["profile_idc"] = rng.choice([66, 77, 88, 100, 100, 244])
        s["seq_parameter_set_id"] = rng.randrange(4)
        b.u(8, s["profile_idc"])
        b.u(8, rng.randrange(64) << 2)
        b.u(8, 40)
        b.ue(s["seq_parameter_set_id"])
        if s["profile_idc"] in HIGH:
            s["chroma_format_idc"] = rng.randrange(2)
            b.ue(s["chroma_format_idc"])
            b.ue(0)
            b.ue(0)
            self.flag(b)  # qpprime_y_zero_transform_bypass_flag
            if self.flag(b):
                _scaling_lists(b, rng, 8)
        s["log2_max_frame_num_minus4"] = rng.choice([0, 0, 3, 12])
        b.ue(s["log2_max_frame_num_minus4"])
        s["pic_order_cnt_type"] = kind = rng.randrange(3)
        b.ue(kind)
        s["delta_pic_order_always_zero_flag"] = 1
        if kind == 0:
            s["log2_max_pic_order_cnt_lsb_minus4"] = rng.choice([0, 4, 12])
            b.ue(s["log2_max_pic_order_cnt_lsb_minus4"])
        elif kind == 1:
            s["delta_pic_order_always_zero_flag"] = self.flag(b)
            s["offset_for_non_ref_pic"] = rng.randrange(-3, 1)
            s["offset_for_top_to_bottom_field"] = rng.randrange(-1, 2)
            s["offset_for_ref_frame"] = [rng.randrange(1, 9) for _ in range(rng.randrange(4))]
            b.se(s["offset_for_non_ref_pic"])
            b.se(s["offset_for_top_to_bottom_field"])
            b.ue(len(s["offset_for_ref_frame"]))
            for offset in s["offset_for_ref_frame"]:
                b.se(offset)
        s["max_num_ref_frames"] = rng.randrange(1, 6)
        b.ue(s["max_num_ref_frames"])
        self.flag(b)  # gaps_in_frame_num_value_allowed_flag; there are none
        s["frame_mbs_only_flag"] = int(rng.random() < 0.6)
        b.ue(1)
        b.ue(1 if s["frame_mbs_only_flag"] else 0)  # 2 x 2 macroblocks
        b.u(1, s["frame_mbs_only_flag"])
        if not s["frame_mbs_only_flag"]:
            b.u(1, 0)  # mb_adaptive_frame_field_flag
        b.u(1, 1 if not s["frame_mbs_only_flag"] else rng.randrange(2))
        if self.flag(b):
            for _ in range(4):
                b.ue(rng.randrange(3))
        if self.flag(b, 0.8):
            self._vui(b)
        self.sps = s
        self.out += b.nal(3, 7)

    def _pps(self, number: int) -> dict[str, Any]:
        rng, b = self.rng, Bits()
        p: dict[str, Any] = {"pic_parameter_set_id": number}
        b.ue(number)
        b.ue(self.sps["seq_parameter_set_id"])
        p["cabac"] = self.flag(b)
        p["bottom"] = self.flag(b)
        b.ue(0)  # num_slice_groups_minus1
        p["refs"] = [rng.randrange(4), rng.randrange(4)]
        b.ue(p["refs"][0])
        b.ue(p["refs"][1])
        p["weighted_pred"] = self.flag(b)
        p["weighted_bipred"] = rng.randrange(3)
        b.u(2, p["weighted_bipred"])
        p["qp"] = rng.randrange(10, 40)
        b.se(p["qp"] - 26)
        b.se(rng.randrange(-26, 26))
        b.se(rng.randrange(-12, 13))
        p["deblocking"] = self.flag(b)
        self.flag(b)  # constrained_intra_pred_flag
        p["redundant"] = self.flag(b)
        if self.sps["profile_idc"] in HIGH and rng.random() < 0.8:
            transform_8x8 = self.flag(b)
            if self.flag(b):
                _scaling_lists(b, rng, 6 + 2 * transform_8x8)
            b.se(rng.randrange(-12, 13))
        self.out += b.nal(3, 8)
        return p

    # -- slice header ---------------------------------------------------------------------------
    def _wrap(self, frame: Frame, frame_num: int) -> int:
        size = 1 << (self.sps["log2_max_frame_num_minus4"] + 4)
        return frame.frame_num - (size if frame.frame_num > frame_num else 0)

    def _modification(self, b: Bits, frame_num: int, most: int) -> list[tuple[int, int]]:
        rng = self.rng
        size = 1 << (self.sps["log2_max_frame_num_minus4"] + 4)
        out: list[tuple[int, int]] = []
        if not self.flag(b):
            return out
        pred = frame_num
        for _ in range(rng.randrange(1, most + 1)):
            frame = rng.choice(self.references.frames)
            if frame.long_term_frame_idx is not None:
                out.append((2, frame.long_term_frame_idx))
                continue
            target = self._wrap(frame, frame_num) % size
            forth = (target - pred) % size
            idc = 1 if forth > 0 and rng.random() < 0.5 else 0
            out.append((idc, (forth if idc else (pred - target - 1) % size + 1) - 1))
            pred = target
        for idc, value in out:
            b.ue(idc)
            b.ue(value)
        b.ue(3)
        return out

    def _weights(self, b: Bits, active: list[int]) -> None:
        rng = self.rng
        chroma = self.sps["chroma_format_idc"] != 0
        for _ in range(1 + chroma):
            b.ue(rng.randrange(8))
        for count in active:
            for _ in range(count):
                for values in (2, 4)[: 1 + chroma]:
                    if self.flag(b):
                        for _ in range(values):
                            b.se(rng.randrange(-128, 128))

    def _commands(self, frame_num: int) -> list[dict[str, int]]:
        """memory_management_control_operations that leave room for the current picture."""
        rng = self.rng
        out: list[dict[str, int]] = []
        short = [f for f in self.references.frames if f.long_term_frame_idx is None]
        long = [f.long_term_frame_idx for f in self.references.frames if f not in short]
        current = None

        def add(operation: int, **fields: int) -> None:
            names = ("difference_of_pic_nums_minus1", "long_term_pic_num", "long_term_frame_idx")
            empty = dict.fromkeys((*names, "max_long_term_frame_idx_plus1"), 0)
            out.append({"memory_management_control_operation": operation} | empty | fields)

        def difference(frame: Frame) -> int:
            return frame_num - self._wrap(frame, frame_num) - 1

        if rng.random() < 0.12:
            add(5)
            self.long_limit = 0
            return out
        if self.long_limit == 0 or rng.random() < 0.3:
            self.long_limit = rng.randrange(0, min(4, self.sps["max_num_ref_frames"] + 1))
            add(4, max_long_term_frame_idx_plus1=self.long_limit)
            long = [i for i in long if i is not None and i < self.long_limit]
        if self.long_limit and short and rng.random() < 0.5:
            frame, idx = rng.choice(short), rng.randrange(self.long_limit)
            add(3, difference_of_pic_nums_minus1=difference(frame), long_term_frame_idx=idx)
            short.remove(frame)
            long = [*(i for i in long if i != idx), idx]
        if self.long_limit and rng.random() < 0.3:
            current = rng.randrange(self.long_limit)
        while len(short) + len([i for i in long if i != current]) >= self.sps["max_num_ref_frames"]:
            if short and (not long or rng.random() < 0.5):
                frame = rng.choice(short)
                add(1, difference_of_pic_nums_minus1=difference(frame))
                short.remove(frame)
            else:
                idx = rng.choice([i for i in long if i is not None])
                add(2, long_term_pic_num=idx)
                long.remove(idx)
        if current is not None:
            add(6, long_term_frame_idx=current)
        return out

    def _marking(self, pic: dict[str, Any]) -> Bits:
        rng, b = self.rng, Bits()
        pic |= {"mmco": [], "long_term_reference_flag": 0, "adaptive_ref_pic_marking_mode_flag": 0}
        if not pic["nal_ref_idc"]:
            return b
        if pic["nal_unit_type"] == 5:
            self.flag(b)  # no_output_of_prior_pics_flag
            pic["long_term_reference_flag"] = self.flag(b)
            self.long_limit = pic["long_term_reference_flag"]
            return b
        frames = self.references.frames
        stuck = len(frames) >= self.sps["max_num_ref_frames"] and all(
            f.long_term_frame_idx is not None for f in frames
        )
        adaptive = int(stuck or rng.random() < 0.5)
        b.u(1, adaptive)
        pic["adaptive_ref_pic_marking_mode_flag"] = adaptive
        if not adaptive:
            return b
        pic["mmco"] = self._commands(pic["frame_num"])
        for m in pic["mmco"]:
            operation = m["memory_management_control_operation"]
            b.ue(operation)
            if operation in (1, 3):
                b.ue(m["difference_of_pic_nums_minus1"])
            if operation == 2:
                b.ue(m["long_term_pic_num"])
            if operation in (3, 6):
                b.ue(m["long_term_frame_idx"])
            if operation == 4:
                b.ue(m["max_long_term_frame_idx_plus1"])
        b.ue(0)
        return b

    def _slice(self, pic: dict[str, Any], pps: dict[str, Any], marking: Bits, first: int,
               redundant: int) -> None:  # fmt: skip
        rng, b, sps = self.rng, Bits(), self.sps
        kinds = (
            (0, 1, 2, 5, 6, 7) if self.references.frames and pic["nal_unit_type"] == 1 else (2, 7)
        )
        kind = rng.choice(kinds)
        b.ue(first)
        b.ue(kind)
        b.ue(pps["pic_parameter_set_id"])
        b.u(sps["log2_max_frame_num_minus4"] + 4, pic["frame_num"])
        if not sps["frame_mbs_only_flag"]:
            b.u(1, 0)  # field_pic_flag
        if pic["nal_unit_type"] == 5:
            b.ue(pic["idr_pic_id"])
        if sps["pic_order_cnt_type"] == 0:
            b.u(sps["log2_max_pic_order_cnt_lsb_minus4"] + 4, pic["pic_order_cnt_lsb"])
            if pps["bottom"]:
                b.se(pic["delta_pic_order_cnt_bottom"])
        elif not sps["delta_pic_order_always_zero_flag"]:
            for value in pic["delta_pic_order_cnt"][: 1 + pps["bottom"]]:
                b.se(value)
        if pps["redundant"]:
            b.ue(redundant)
        if kind % 5 == 1:
            self.flag(b)  # direct_spatial_mv_pred_flag
        active = [n + 1 for n in pps["refs"]][: (1, 2, 0)[kind % 5]]
        if active and self.flag(b):
            active = [rng.randrange(1, 5) for _ in active]
            for n in active:
                b.ue(n - 1)
        modifications = [self._modification(b, pic["frame_num"], n) for n in active]
        if (kind % 5 == 0 and pps["weighted_pred"]) or (
            kind % 5 == 1 and pps["weighted_bipred"] == 1
        ):
            self._weights(b, active)
        b.bits += marking.bits
        if pps["cabac"] and kind % 5 != 2:
            b.ue(rng.randrange(3))
        b.se(rng.randrange(-10, 11))
        if pps["deblocking"]:
            idc = rng.randrange(3)
            b.ue(idc)
            if idc != 1:
                b.se(rng.randrange(-6, 7))
                b.se(rng.randrange(-6, 7))
        if pps["cabac"]:
            b.bits += [1] * (-len(b.bits) % 8)
        for _ in range(rng.randrange(3, 20)):
            b.u(8, rng.randrange(256))
        self.out += b.nal(pic["nal_ref_idc"], pic["nal_unit_type"])
        empty: list[tuple[int, int]] = []
        slice_ = pic | {"slice_type": kind, "redundant_pic_cnt": redundant}
        slice_["num_ref_idx_active"] = ([*active, 0, 0])[:2]
        slice_["ref_pic_list_modification"] = ([*modifications, empty, empty])[:2]
        self.references.slice(slice_, sps)

    # -- pictures -------------------------------------------------------------------------------
    def _picture(self, pps: dict[str, Any], idr: bool) -> None:
        rng, sps = self.rng, self.sps
        size = 1 << (sps["log2_max_frame_num_minus4"] + 4)
        pic: dict[str, Any] = {"nal_unit_type": 5 if idr else 1, "frame_num": 0, "idr_pic_id": 0}
        pic["nal_ref_idc"] = rng.randrange(1, 4)
        if idr:
            self.idr_pic_id = (self.idr_pic_id + 1) % 5
            pic["idr_pic_id"] = self.idr_pic_id
        else:
            pic["frame_num"] = (self.references.prev_ref_frame_num + 1) % size
            if self.previous_is_reference and rng.random() < 0.3:
                pic["nal_ref_idc"] = 0
        self.previous_is_reference = pic["nal_ref_idc"] != 0
        pic |= {"pic_order_cnt_lsb": 0, "delta_pic_order_cnt_bottom": 0}
        pic["delta_pic_order_cnt"] = [0, 0]
        if sps["pic_order_cnt_type"] == 0:
            self.lsb = 0 if idr else self.lsb + rng.randrange(1, 4)
            pic["pic_order_cnt_lsb"] = self.lsb % (
                1 << (sps["log2_max_pic_order_cnt_lsb_minus4"] + 4)
            )
            pic["delta_pic_order_cnt_bottom"] = rng.randrange(-1, 2) * pps["bottom"]
        elif not sps["delta_pic_order_always_zero_flag"]:
            bottom = rng.randrange(-1, 2) * pps["bottom"]
            pic["delta_pic_order_cnt"] = [rng.randrange(-2, 3), bottom]
        marking = self._marking(pic)
        if any(m["memory_management_control_operation"] == 5 for m in pic["mmco"]):
            self.lsb = 0
        for first in (0, 2)[: rng.randrange(1, 3)]:
            self._slice(pic, pps, marking, first, 0)
        if pps["redundant"] and rng.random() < 0.5:
            self._slice(pic, pps, marking, 0, rng.randrange(1, 4))
        self.references.finish()

    def write(self, sequences: int, pictures: int) -> bytes:
        """The whole stream."""
        for _ in range(sequences):
            self._sps()
            sets = [self._pps(number) for number in self.rng.sample(range(8), 2)]
            self.lsb, self.previous_is_reference, self.long_limit = 0, True, 0
            for number in range(pictures):
                self._picture(self.rng.choice(sets), number == 0)
        return bytes(self.out)
