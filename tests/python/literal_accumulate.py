"""Accumulation, literally: one pixel at a time, one sentence of the definition at a time.

Slow on purpose and written from the definition, not from the C++: the oracle of
test_accumulate.py. A stream is a list of `Picture` in decode order.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from typing import Any

import numpy as np

sys.setrecursionlimit(20000)

UNUSED, UNTRUSTED, MISSING, OTHER_FIELD = -1, -2, -3, -4


def clamp(at: int, size: int) -> int:
    return max(0, min(size - 1, at))


@dataclass
class Picture:
    """One picture. `refpic` holds decode numbers or the four words above."""

    presentation: int | None  # None: not presented
    order: int  # place in output order among all pictures
    kind: str  # "I", "P", "B"
    is_reference: bool
    mv: np.ndarray  # (2, 2, H4, W4) int16
    refpic: np.ndarray  # (2, H4, W4) int32
    mb_lost: np.ndarray  # (H16, W16) bool
    res_y: np.ndarray  # (H, W) int16, coded size
    res_uv: np.ndarray  # (2, H/2, W/2) int16
    rgb: np.ndarray  # (3, Hd, Wd) uint8, display size


@dataclass
class Settings:
    anchors: list[int] | None = None
    select: str = "nearest"
    intra: str = "stop"
    cross: str = "follow"
    hops: int | None = None
    recon: bool = False


@dataclass
class Literal:
    pictures: list[Picture]
    crop: tuple[int, int, int, int]  # left, top, right, bottom
    settings: Settings
    saturated: int = 0
    touched: set[int] = field(default_factory=set)
    memo: dict[Any, Any] = field(default_factory=dict)

    @property
    def size(self) -> tuple[int, int]:
        h, w = self.pictures[0].res_y.shape
        return h, w

    def clip16(self, value: int) -> int:
        if value > 32767 or value < -32768:
            self.saturated += 1
        return max(-32768, min(32767, value))

    def pi(self, x: int, y: int, vx: int, vy: int) -> tuple[int, int]:
        h, w = self.size
        return (
            clamp(x + ((vx + 2) >> 2), w),
            clamp(y + ((vy + 2) >> 2), h),
        )

    # Which picture is the wanted anchor of frame t.
    def wanted(self, t: int) -> int | None:
        if self.settings.anchors is None:
            # The last intra picture at or before t in decode order.
            for n in range(t, -1, -1):
                if self.pictures[n].kind == "I":
                    return n
            return None
        here = self.pictures[t].presentation
        before = [a for a in self.settings.anchors if here is not None and a <= here]
        if not before:
            return None
        return self.decode_number(max(before))

    def distance(self, t: int, r: int) -> float:
        if r < 0:
            return float("inf")
        a, b = self.pictures[t], self.pictures[r]
        if a.presentation is None or b.presentation is None:
            return abs(a.order - b.order)
        return abs(a.presentation - b.presentation)

    def block(self, t: int, bx: int, by: int) -> Any:
        """("lost" | "intra" | "broken" | "inter", source picture, vx, vy)."""
        picture = self.pictures[t]
        if picture.mb_lost[by // 4, bx // 4]:
            return ("lost", -1, 0, 0)
        refs = [int(picture.refpic[k, by, bx]) for k in range(2)]
        lists = [k for k in range(2) if refs[k] != UNUSED]
        if not lists:
            return ("intra", -1, 0, 0)
        s = lists[0]
        if len(lists) == 2 and self.settings.select == "nearest":
            s = 1 if self.distance(t, refs[1]) < self.distance(t, refs[0]) else 0
        if self.settings.recon and self.settings.hops == 1 and min(refs[k] for k in lists) < 0:
            return ("broken", -1, 0, 0)
        if refs[s] < 0:
            return ("broken", -1, 0, 0)
        return ("inter", refs[s], int(picture.mv[s, 0, by, bx]), int(picture.mv[s, 1, by, bx]))

    def arrival(self, t: int, r: int, wanted: int | None) -> tuple[str, int]:
        """What happens to a trace that steps from t to r: ("go" | "end" | "void", mask)."""
        s = self.settings
        picture = self.pictures[r]
        if s.anchors is None:
            if s.cross == "mask":
                own = self.wanted(t)
                if own is not None and r < own:
                    return ("void", 3)
            if s.hops == 1 or picture.kind == "I":
                return ("end", 0)
            return ("go", 0)
        if picture.presentation in s.anchors:
            if s.cross == "mask" and r != wanted:
                return ("void", 3)
            return ("end", 0)
        if wanted is not None and picture.order < self.pictures[wanted].order:
            return ("end", 4)
        return ("end", 0) if picture.kind == "I" else ("go", 0)

    def is_start_anchor(self, t: int) -> bool:
        picture = self.pictures[t]
        if picture.kind == "I":
            return True
        return self.settings.anchors is not None and picture.presentation in self.settings.anchors

    def previous_reference(self, t: int) -> int | None:
        for n in range(t - 1, -1, -1):
            if self.pictures[n].is_reference:
                return n
        return None

    def step(self, t: int, bx: int, by: int, wanted: int | None) -> Any:
        """("here", mask) | ("void", mask) | ("end" | "go", mask, r, vx, vy) for a block of t."""
        self.touched.add(t)
        what, r, vx, vy = self.block(t, bx, by)
        if what in ("lost", "broken"):
            return ("void", 2)
        if what == "intra":
            if self.settings.intra == "stop":
                return ("here", 1)
            before = self.previous_reference(t)
            if before is None:
                return ("void", 2)
            r, vx, vy = before, 0, 0
        how, mask = self.arrival(t, r, wanted)
        if how == "void":
            return ("void", mask)
        return (how, mask, r, vx, vy)

    def luma(self, t: int, x: int, y: int, wanted: int | None) -> Any:
        """(ex, ey, end picture, mask, end x, end y, hops, residual) of a pixel of picture t."""
        key = ("y", t, x, y, wanted)
        if key in self.memo:
            return self.memo[key]
        step = self.step(t, x // 4, y // 4, wanted)
        if step[0] == "here":
            out = (0, 0, t, step[1], x, y, 0, 0)
        elif step[0] == "void":
            out = (0, 0, None, step[1], 0, 0, 0, 0)
        else:
            _, mask, r, vx, vy = step
            sx, sy = self.pi(x, y, vx, vy)
            if step[0] == "end":
                far = (0, 0, r, mask, sx, sy, 0, 0)
            else:
                far = self.luma(r, sx, sy, wanted)
            if far[3] in (2, 3):
                out = far
            else:
                out = (
                    self.clip16(-vx + far[0]),
                    self.clip16(-vy + far[1]),
                    far[2],
                    far[3],
                    far[4],
                    far[5],
                    min(65535, 1 + far[6]),
                    self.clip16(int(self.pictures[t].res_y[y, x]) + far[7]),
                )
        self.memo[key] = out
        return out

    def chroma(self, t: int, x: int, y: int, wanted: int | None) -> Any:
        """(mask, u, v) of a chroma sample."""
        key = ("c", t, x, y, wanted)
        if key in self.memo:
            return self.memo[key]
        step = self.step(t, x // 2, y // 2, wanted)
        if step[0] in ("here", "void"):
            out = (step[1], 0, 0)
        else:
            _, mask, r, vx, vy = step
            h, w = self.pictures[t].res_uv.shape[1:]
            sx, sy = clamp(x + ((vx + 4) >> 3), w), clamp(y + ((vy + 4) >> 3), h)
            far = (mask, 0, 0) if step[0] == "end" else self.chroma(r, sx, sy, wanted)
            if far[0] in (2, 3):
                out = (far[0], 0, 0)
            else:
                res = self.pictures[t].res_uv
                out = (
                    far[0],
                    self.clip16(int(res[0, y, x]) + far[1]),
                    self.clip16(int(res[1, y, x]) + far[2]),
                )
        self.memo[key] = out
        return out

    def cell(self, t: int, bx: int, by: int, wanted: int | None) -> Any:
        """grid=4: (ex, ey, end picture, mask, hops) of a 4x4 block."""
        key = ("b", t, bx, by, wanted)
        if key in self.memo:
            return self.memo[key]
        step = self.step(t, bx, by, wanted)
        if step[0] == "here":
            out = (0, 0, t, step[1], 0)
        elif step[0] == "void":
            out = (0, 0, None, step[1], 0)
        else:
            _, mask, r, vx, vy = step
            sx, sy = self.pi(4 * bx + 2, 4 * by + 2, vx, vy)
            far = (0, 0, r, mask, 0) if step[0] == "end" else self.cell(r, sx // 4, sy // 4, wanted)
            if far[3] in (2, 3):
                out = far
            else:
                out = (
                    self.clip16(-vx + far[0]),
                    self.clip16(-vy + far[1]),
                    far[2],
                    far[3],
                    min(65535, 1 + far[4]),
                )
        self.memo[key] = out
        return out

    def name(self, picture: int | None) -> int:
        if picture is None:
            return -1
        index = self.pictures[picture].presentation
        return -2 if index is None else index

    def decode_number(self, presentation: int) -> int | None:
        shown = (n for n, p in enumerate(self.pictures) if p.presentation == presentation)
        return next(shown, None)

    def frame(self, presentation: int, grid: int = 1) -> dict[str, np.ndarray]:
        """Every output for one frame, cropped to the display size."""
        t = self.decode_number(presentation)
        assert t is not None, f"frame {presentation} is not there"
        h, w = self.size
        left, top, right, bottom = self.crop
        # With the default anchors a map is one and the same for every frame that looks at it.
        wanted = None if self.settings.anchors is None else self.wanted(t)
        start = self.is_start_anchor(t)
        if grid == 4:
            rows = range(top // 4, (h - bottom - 1) // 4 + 1)
            cols = range(left // 4, (w - right - 1) // 4 + 1)
            got = [
                [(0, 0, t, 0, 0) if start else self.cell(t, bx, by, wanted) for bx in cols]
                for by in rows
            ]
            return {
                "displacement": np.array([[[c[k] for c in r] for r in got] for k in range(2)]),
                "anchor": np.array([[self.name(c[2]) for c in r] for r in got]),
                "mask": np.array([[c[3] for c in r] for r in got]),
                "hops": np.array([[c[4] for c in r] for r in got]),
            }
        pixels = [
            [
                (0, 0, t, 0, x, y, 0, 0) if start else self.luma(t, x, y, wanted)
                for x in range(left, w - right)
            ]
            for y in range(top, h - bottom)
        ]
        chroma = [
            [
                (0, 0, 0) if start else self.chroma(t, x, y, wanted)
                for x in range(left // 2, left // 2 + (w - left - right + 1) // 2)
            ]
            for y in range(top // 2, top // 2 + (h - top - bottom + 1) // 2)
        ]
        return {
            "displacement": np.array([[[p[k] for p in r] for r in pixels] for k in range(2)]),
            "anchor": np.array([[self.name(p[2]) for p in r] for r in pixels]),
            "mask": np.array([[p[3] for p in r] for r in pixels]),
            "hops": np.array([[p[6] for p in r] for r in pixels]),
            "residual_y": np.array([[p[7] for p in r] for r in pixels]),
            "residual_uv": np.array([[[c[k] for c in r] for r in chroma] for k in (1, 2)]),
            "mask_uv": np.array([[c[0] for c in r] for r in chroma]),
            "residual": self.recon_diff(t, pixels, wanted),
        }

    def display(self, picture: int, x: int, y: int) -> np.ndarray:
        """The pixel at coded (x, y), moved into the display area."""
        left, top, _, _ = self.crop
        rgb = self.pictures[picture].rgb
        return rgb[:, clamp(y - top, rgb.shape[1]), clamp(x - left, rgb.shape[2])].astype(int)

    def recon_diff(self, t: int, pixels: Any, wanted: int | None) -> np.ndarray:
        left, top, _, _ = self.crop
        out = np.zeros((3, len(pixels), len(pixels[0])), int)
        for j, row in enumerate(pixels):
            for i, p in enumerate(row):
                if p[3] in (2, 3):
                    continue
                x, y = i + left, j + top
                here = self.display(t, x, y)
                refs = [int(r) for r in self.pictures[t].refpic[:, y // 4, x // 4]]
                two = self.settings.hops == 1 and min(refs) >= 0 and not self.is_start_anchor(t)
                if two and not self.pictures[t].mb_lost[y // 16, x // 16]:
                    both = []
                    for k in range(2):
                        vx, vy = (int(v) for v in self.pictures[t].mv[k, :, y // 4, x // 4])
                        both.append(self.display(refs[k], *self.pi(x, y, vx, vy)))
                    out[:, j, i] = here - ((both[0] + both[1] + 1) >> 1)
                else:
                    out[:, j, i] = here - self.display(p[2], p[4], p[5])
        return out
