"""Every build of the trace's kernels against the scalar one: same bytes, and not one beside them.

The arrays lie at addresses that no vector is aligned to, between guard bytes, or end at a page
that must not be touched. tests/python/test_accumulate.py holds the scalar build to its definition.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from cvdecode import _core
from guarded import Guarded, Walled

BUILDS = _core.trace_builds()
# Displacements, and planes of grid=4, that do not stay in the nearer caches leave by other stores.
SIZES = [(16, 16), (32, 16), (16, 48), (48, 80), (112, 16), (144, 64), (272, 32)]
LARGE = {"pixels": [(1360, 208)], "chroma": [], "blocks": [(1024, 1024)]}
BLOCK = np.dtype([("x", "<i2"), ("y", "<i2"), ("source", "<i4")])
LUMA = {"x": "<i2", "y": "<i2", "end": "<i4", "mask": "u1"}
MORE = {"at_x": "<i2", "at_y": "<i2", "hops": "<u2", "residual_y": "<i2"}
MANY = np.uint64(2**64 - 1)  # of a macroblock: its traces ended in different pictures
CHROMA = {"residual_u": "<i2", "residual_v": "<i2", "mask_uv": "u1"}


def random_blocks(rng: np.random.Generator, w4: int, h4: int, sources: int) -> np.ndarray:
    """Rectangles of one motion: macroblocks, rows, 8x8 and 4x4 blocks, some far too long."""
    blocks = np.zeros((h4, w4), BLOCK)
    for _ in range(4 + w4 * h4 // 12):
        step = int(rng.choice([1, 2, 4]))
        y = int(rng.integers(h4 // step)) * step
        x = int(rng.integers(w4 // step)) * step
        wide = step * int(rng.choice([1, 1, 2, w4]))
        reach = int(rng.choice([3, 40, 40, 700, 32767]))
        vx, vy = rng.integers(-reach - (reach == 32767), reach + 1, 2)
        blocks[y : y + step, x : x + wide] = (vx, vy, rng.integers(-3, sources))
    # Short runs at the right edge that lead well into the picture: a vector would reach over it.
    for y in np.flatnonzero(rng.random(h4) < 0.5):
        vx, vy = rng.integers(-64, -8), rng.integers(-8, 9)
        blocks[y, w4 - rng.integers(1, 4) :] = (vx, vy, rng.integers(0, sources))
    return blocks


def random_map(rng: np.random.Generator, cells: int, void: bool, reach: int) -> dict[str, Any]:
    """A map as an earlier picture could have left it: nothing is carried where it is void."""
    mask = rng.choice([0, 1, 4], cells).astype("u1")
    if void:
        mask = np.where(rng.random(cells) < 0.3, rng.integers(2, 4, cells), mask).astype("u1")
    dead = (mask == 2) | (mask == 3)
    low, high = max(-reach, -32768), min(reach, 32767) + 1
    planes: dict[str, Any] = {
        "x": rng.integers(low, high, cells),
        "y": rng.integers(low, high, cells),
        "end": rng.integers(-40, 1 << 20, cells),
        "at_x": rng.integers(0, 300, cells),
        "at_y": rng.integers(0, 300, cells),
        "hops": rng.integers(0, 65536, cells),
        "residual_y": rng.integers(-32768, 32768, cells),
    }
    for name, plane in planes.items():
        plane[dead] = -1 if name == "end" else 0
        planes[name] = plane.astype({**LUMA, **MORE}[name])
    planes["mask"] = mask
    return planes


def macroblocks_of(plane: np.ndarray, width: int) -> np.ndarray:
    """(macroblocks, 256)"""
    return plane.reshape(-1, 16, width // 16, 16).swapaxes(1, 2).reshape(-1, 256)


def share(rng: np.random.Generator, planes: dict[str, Any], width: int, void: bool) -> None:
    """Gives most macroblocks one end, and many one displacement, as pictures do."""
    ends = [(17, 0), (17, 1), (-2, 0), *([(-1, 2)] * 3 if void else [])]
    chosen = rng.integers(-1, len(ends), (len(planes["mask"]) // width // 16, width // 16))
    chosen[rng.random(chosen.shape) < 0.5] = 0
    kind = np.where(rng.random(chosen.shape) < 0.3, rng.integers(3, size=chosen.shape), 0)
    chosen, kind = (a.repeat(16, 0).repeat(16, 1).reshape(-1) for a in (chosen, kind))
    for name in ("x", "y"):
        planes[name][(kind == 0) & (chosen >= 0)] = rng.choice(planes[name])
        planes[name][(kind == 1) & (chosen >= 0)] = 0
    for number, (end, mask) in enumerate(ends):
        planes["end"][chosen == number] = end
        planes["mask"][chosen == number] = mask
        if mask == 2:
            for name in planes.keys() - {"end", "mask"}:
                planes[name][chosen == number] = 0


def shared_of(planes: dict[str, Any], width: int) -> np.ndarray:
    """Two words of each macroblock: what the traces ended in (end and mask), and the
    displacement (x and y); MANY where its samples differ."""
    words = [
        planes["end"].astype(np.uint32).astype(np.uint64)
        | planes["mask"].astype(np.uint64) << np.uint64(32),
        planes["x"].view("<u2").astype(np.uint64)
        | planes["y"].view("<u2").astype(np.uint64) << np.uint64(16),
    ]
    each = [macroblocks_of(word, width) for word in words]
    return np.stack([np.where((w == w[:, :1]).all(1), w[:, 0], MANY) for w in each], 1).reshape(-1)


def random_chroma(rng: np.random.Generator, cells: int, void: bool) -> dict[str, Any]:
    mask = rng.choice([0, 1, 2, 3, 4] if void else [0, 1, 4], cells).astype("u1")
    dead = (mask == 2) | (mask == 3)
    u, v = (np.where(dead, 0, rng.integers(-32768, 32768, cells)).astype("<i2") for _ in "uv")
    return {"residual_u": u, "residual_v": v, "mask_uv": mask}


def pack(planes: dict[str, Any]) -> np.ndarray:
    """x, y, mask and the low byte of end, the rest of end: four 16-bit lanes."""
    end = planes["end"].astype(np.int64) & 0xFFFFFF
    low, high = (planes[k].view("<u2").astype(np.uint64) for k in ("x", "y"))
    return (
        low | high << np.uint64(16) | planes["mask"].astype(np.uint64) << np.uint64(32)
    ) | end.astype(np.uint64) << np.uint64(40)


class Case:
    """One picture's job, drawn at random; `run` gives it memory and a build."""

    def __init__(self, kind: str, size: tuple[int, int], seed: int, plain: bool = False) -> None:
        """plain: of the luma grid displacements and ends, and no other plane."""
        self.kind, self.size = kind, size
        rng = np.random.default_rng([seed, *size])
        width, height = size
        self.cells = width * height // {"pixels": 1, "chroma": 4, "blocks": 16}[kind]
        more = [name for name in MORE if rng.random() < 0.6]
        if plain:
            more = []
        if ("at_x" in more) != ("at_y" in more):
            more = sorted({*more, "at_x", "at_y"})
        if kind == "blocks":
            more = [name for name in more if name == "hops"]
        planes_too = kind != "blocks" or rng.random() < 0.8
        self.out = {**(LUMA if planes_too else {}), **{name: MORE[name] for name in more}}
        if kind == "chroma":
            self.out = dict(CHROMA)
        if kind == "blocks" and not (planes_too and rng.random() < 0.4):
            self.out["packed"] = "<u8"  # else no later picture looks at the words
        if kind == "pixels" and (plain or rng.random() < 0.7):
            self.out["shared"] = "<u8"
        self.sources: list[dict[str, Any]] = []
        for _ in range(int(rng.integers(1, 5))):
            void, reach = bool(rng.random() < 0.5), int(rng.choice([50, 50, 3000, 32767, 65536]))
            source: dict[str, Any] = {
                "is_end": bool(rng.random() < 0.3), "end_picture": int(rng.integers(-40, 1 << 20)),
                "end_mask": int(rng.choice([0, 4])), "may_void": void, "reach": reach,
            }  # fmt: skip
            if not source["is_end"]:
                if kind == "chroma":
                    planes = random_chroma(rng, self.cells, void)
                else:
                    planes = random_map(rng, self.cells, void, reach)
                if kind == "blocks":
                    planes["packed"] = pack(planes)
                if kind == "pixels":
                    share(rng, planes, width, void)
                    planes["shared"] = shared_of(planes, width)
                    planes["shared"][rng.random(planes["shared"].shape) < 0.1] = MANY  # not known
                source.update({name: planes[name] for name in self.out if name in planes})
                if kind == "blocks":
                    source["packed"] = planes["packed"]
            self.sources.append(source)
        blocks = random_blocks(rng, width // 4, height // 4, len(self.sources))
        self.job: dict[str, Any] = {"here": int(rng.integers(-40, 1 << 20))}
        if rng.random() < 0.5:  # some rows of the picture
            top, bottom = sorted(4 * rng.choice(height // 16 + 1, 2, replace=False))
            blocks = blocks[top:bottom]
            self.job.update(top=int(top), bottom=int(bottom))
        if rng.random() < 0.5:
            macroblocks = blocks.reshape(-1, 4, width // 16, 4).swapaxes(1, 2).reshape(-1, 16)
            quarters = blocks.reshape(-1, 2, 2, width // 16, 2, 2)
            quarters = quarters.transpose(0, 3, 1, 4, 2, 5).reshape(-1, 4, 4)
            one = (macroblocks == macroblocks[:, :1]).all(1)
            four = (quarters == quarters[:, :, :1]).all((1, 2))
            self.job["shapes"] = np.where(one, 1, 2 * four).astype("u1")
        if rng.random() < 0.5:
            self.job["longest"] = int(max(np.abs(blocks[k].astype(int)).max() for k in "xy"))
        self.job["blocks"] = blocks.reshape(-1)
        for name in ("residual_y", "residual_u", "residual_v"):
            if name in self.out:
                self.job[name] = rng.integers(-32768, 32768, self.cells).astype("<i2")

    def run(self, build: str, memory: Any, shift: int = 0) -> tuple[dict[str, np.ndarray], int]:
        def place(items: dict[str, Any]) -> dict[str, Any]:
            return {
                k: memory.like(v, shift) if isinstance(v, np.ndarray) else v
                for k, v in items.items()
            }

        out = {
            name: memory.like(np.full(cells, 0x5A, np.uint8).astype(kind), shift)
            for name, kind in self.out.items()
            for cells in [self.cells // 128 if name == "shared" else self.cells]
        }
        job, sources = place(self.job), [place(s) for s in self.sources]
        clipped = _core.trace_kernel(build, self.kind, *self.size, job, sources, out)
        for given, now in ((self.job, job), *zip(self.sources, sources, strict=True)):
            for name, plane in given.items():
                if isinstance(plane, np.ndarray):
                    np.testing.assert_array_equal(now[name], plane, f"{name} was written")
        assert memory.intact(), "bytes beside an array were written"
        return out, clipped


@pytest.mark.parametrize("kind", ["pixels", "chroma", "blocks"])
@pytest.mark.parametrize("build", BUILDS[1:])
def test_same_bytes_and_none_beside_them(build: str, kind: str) -> None:
    clipped = 0
    for seed in range({"pixels": 6, "chroma": 3, "blocks": 6}[kind]):
        for size in (*SIZES, *(LARGE[kind] if seed < 2 else [])):
            case = Case(kind, size, seed, plain=seed % 2 == 0 or size in LARGE[kind])
            want, total = case.run("scalar", Guarded())
            clipped += total
            if "shared" in want:
                rows = slice(case.job.get("top", 0) // 4, case.job.get("bottom", size[1] // 4) // 4)
                shared = shared_of(want, size[0]).reshape(-1, size[0] // 8)[rows]
                np.testing.assert_array_equal(
                    want["shared"].reshape(-1, size[0] // 8)[rows], shared
                )
            for memory, shift in ((Guarded(), 1 + seed % 3), (Walled(), 0)):
                got, count = case.run(build, memory, shift)
                assert count == total, f"clipped sums, size {size}, seed {seed}"
                for name, plane in want.items():
                    told = got[name]
                    if name == "shared":  # ends are known wherever there is nothing else
                        more = bool(case.out.keys() & MORE.keys())
                        free = np.arange(len(plane)) % 2 == 1 if not more else slice(None)
                        told = told.copy()
                        told[free] = np.where(told[free] == MANY, plane[free], told[free])
                    np.testing.assert_array_equal(told, plane, f"{name} {size} seed {seed}")
    assert clipped > 10


@pytest.mark.parametrize("kind", ["pixels", "chroma"])
@pytest.mark.parametrize("build", BUILDS[1:])
def test_sums_alone(build: str, kind: str) -> None:
    """Maps that do not say where their traces ended, of all macroblocks or of some."""
    clipped = 0
    for seed in range(6):
        for size in SIZES:
            case = Case(kind, size, seed)
            case.out = {k: v for k, v in case.out.items() if k in ("x", "y") or k[:4] == "resi"}
            case.job["blocks"]["source"] = case.job["blocks"]["source"].clip(-1)
            for source in case.sources:
                source["may_void"] = False
                for name in list(source):
                    if isinstance(source[name], np.ndarray) and name not in case.out:
                        del source[name]
            want, total = case.run("scalar", Guarded())
            got, count = case.run(build, Guarded(), 1 + seed % 3)
            assert count == total
            clipped += total
            for name, plane in want.items():
                np.testing.assert_array_equal(got[name], plane, f"{name} {size} seed {seed}")
            side = 16 if kind == "pixels" else 8
            rows = case.job.get("top", 0) // 4, case.job.get("bottom", size[1] // 4) // 4
            wanted = np.random.default_rng(seed).random((size[1] // 16, size[0] // 16)) < 0.6
            case.job["wanted"] = wanted.astype("u1").reshape(-1)
            got, _ = case.run(build, Walled())
            wanted[: rows[0]] = wanted[rows[1] :] = False
            cells = wanted.repeat(side, 0).repeat(side, 1).reshape(-1)
            for name, plane in want.items():
                np.testing.assert_array_equal(got[name][cells], plane[cells], f"{name} {size}")
    assert clipped > 10


@pytest.mark.parametrize("build", BUILDS[1:])
def test_blocks_of_four_motions(build: str) -> None:
    """grid=4 where every 8x8 block has its own short vector, and nothing is void or saturates."""
    for seed in range(3):
        rng = np.random.default_rng([6, seed])
        case = Case("blocks", (144, 64), seed)
        case.out = {**LUMA, "packed": "<u8"}
        planes = random_map(rng, case.cells, False, 50)
        case.sources = [
            {"is_end": end, "end_picture": 7, "end_mask": 0, "may_void": False, "reach": 50}
            for end in (True, False)
        ]
        case.sources[1]["packed"] = pack(planes)
        blocks = np.zeros((8, 18), BLOCK)
        for name, low, high in (("x", -40, 41), ("y", -40, 41), ("source", -1, 2)):
            blocks[name] = rng.integers(low, high, blocks.shape)
        case.job = {
            "here": 9, "longest": 40, "shapes": np.full(36, 2, "u1"),
            "blocks": blocks.repeat(2, 0).repeat(2, 1).reshape(-1),
        }  # fmt: skip
        want, _ = case.run("scalar", Guarded())
        got, _ = case.run(build, Guarded(), 1)
        for name, plane in want.items():
            np.testing.assert_array_equal(got[name], plane, name)


@pytest.mark.parametrize("build", BUILDS[1:])
def test_selection(build: str) -> None:
    """Runs of blocks with the references of the first, at every length and start."""
    rng = np.random.default_rng(2)
    for count in (*range(1, 40), 67, 120):
        for _ in range(4):
            same = int(rng.integers(1, count + 1))
            job = {name: np.full(count, 7 + i, "<i4") for i, name in enumerate(("ref0", "ref1"))}
            job[str(rng.choice(["ref0", "ref1"]))][same:] = 3
            reach = int(rng.choice([40, 32767]))
            if rng.random() < 0.8:
                for name in "xy":
                    job[name] = rng.integers(-reach - 1, reach + 1, count).astype("<i2")
            for make in (Guarded, Walled):
                memory = make()
                placed = {name: memory.like(plane, 1) for name, plane in job.items()}
                out = memory.like(np.zeros(count, BLOCK), 1)
                n, longest = _core.select_kernel(build, count, placed, 5, out)
                assert n == same
                assert memory.intact()
                assert (out["source"][:n] == 5).all()
                real = 0
                for name in "xy":
                    want = job.get(name, np.zeros(count, "<i2"))
                    np.testing.assert_array_equal(out[name][:n], want[:n])
                    real = max(real, int(np.abs(want[:n].astype(int)).max()))
                assert longest >= real


@pytest.mark.parametrize("build", BUILDS)
def test_runs_of_ends(build: str) -> None:
    """Traces side by side, broken off in one of five ways at every place."""
    rng = np.random.default_rng(3)
    for count in (*range(1, 36), 67):
        for what in ("at_x", "at_y", "end", "mask", "nothing"):
            same = count if what == "nothing" else int(rng.integers(1, count + 1))
            void = rng.random() < 0.2
            row = {
                "at_x": (0 if void else 7 + np.arange(count)) + np.zeros(count, "<i2"),
                "at_y": np.full(count, 0 if void else 9),
                "end": np.full(count, -1 if void else 70000),
                "mask": rng.integers(2, 4, count) if void else rng.choice([0, 1, 4], count),
            }
            if what == "mask":
                row[what][same:] = 0 if void else 2
            elif what != "nothing":
                row[what][same:] += 1
            for memory in (Guarded(), Walled()):
                placed = {
                    name: memory.like(plane.astype({**LUMA, **MORE}[name]), 1)
                    for name, plane in row.items()
                }
                assert _core.ends_kernel(build, count, placed) == same
                assert memory.intact()


@pytest.mark.parametrize("build", BUILDS)
def test_subtraction(build: str) -> None:
    rng = np.random.default_rng(4)
    for count in (*range(1, 36), 67):
        there = rng.integers(0, 256, count).astype("u1")
        here = rng.integers(0, 256, count).astype("<i2")
        for memory in (Guarded(), Walled()):
            planes = {"from": memory.like(there, 1), "to": memory.like(here, 1)}
            _core.subtract_kernel(build, count, planes)
            np.testing.assert_array_equal(planes["to"], here - there.astype("<i2"))
            assert memory.intact()
