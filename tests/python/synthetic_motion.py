"""Random streams with every corner of accumulation in them, and their form as arrays."""

from __future__ import annotations

from typing import Any

import numpy as np

from literal_accumulate import MISSING, OTHER_FIELD, UNUSED, Picture


def random_stream(
    rng: np.random.Generator,
    count: int = 9,
    size: tuple[int, int] = (48, 64),
    crop: tuple[int, int, int, int] = (0, 0, 0, 0),
    *,
    b_pictures: bool = True,
    hidden: bool = True,
    damage: bool = True,
    speed: int = 24,
    saturate: bool = False,
    second_intra: bool = True,
) -> list[Picture]:
    """`count` pictures: pyramids, leading pictures, far references, holes, loss, as asked."""
    h, w = size
    h4, w4 = h // 4, w // 4
    left, top, right, bottom = crop
    # Decode order: an anchor or P picture, then the B pictures shown before it.
    shown: list[tuple[int, str]] = []  # (place in output order, kind), in decode order
    at = 0
    while len(shown) < count:
        run = int(rng.integers(0, 3)) if b_pictures and shown else 0
        kind = "I" if not shown or (second_intra and rng.random() < 0.15) else "P"
        shown.append((at + run, kind))
        shown += [(int(at + j), "B") for j in rng.permutation(run)]
        at += run + 1
    shown = shown[:count]
    ranks = {place: rank for rank, place in enumerate(sorted(p for p, _ in shown))}
    hide = {int(rng.integers(0, count))} if hidden and rng.random() < 0.7 else set()
    pictures: list[Picture] = []
    visible = 0
    presented = {}
    for rank in range(count):
        presented[rank] = None if rank in hide else visible
        visible += rank not in hide
    for place, kind in shown:
        refpic = np.full((2, h4, w4), UNUSED, np.int32)
        mv = np.zeros((2, 2, h4, w4), np.int16)
        lost = np.zeros((h // 16, w // 16), bool)
        if kind != "I":
            earlier = [i for i, p in enumerate(pictures) if p.is_reference]
            near = earlier[-3:]
            for by in range(0, h4, 2):
                for bx in range(0, w4, 2):
                    if rng.random() < 0.1:
                        continue  # intra
                    uses = [0] if kind == "P" else [[0], [1], [0, 1]][int(rng.integers(3))]
                    for k in uses:
                        pool = earlier if rng.random() < 0.15 else near
                        r = int(rng.choice(pool))
                        if damage and rng.random() < 0.04:
                            r = MISSING if rng.random() < 0.7 else OTHER_FIELD
                        step = 1 if rng.random() < 0.3 else 2  # 4x4 or 8x8 partitions
                        for sy in range(0, 2, step):
                            for sx in range(0, 2, step):
                                reach = 32767 if saturate and rng.random() < 0.5 else speed
                                v = rng.integers(-reach, reach + 1, 2)
                                cell = np.s_[by + sy : by + sy + step, bx + sx : bx + sx + step]
                                refpic[(k, *cell)] = r
                                mv[(k, 0, *cell)], mv[(k, 1, *cell)] = v
            if damage and rng.random() < 0.25:
                j, i = int(rng.integers(h // 16)), int(rng.integers(w // 16))
                lost[j, i] = True
                refpic[:, 4 * j : 4 * j + 4, 4 * i : 4 * i + 4] = UNUSED
                mv[:, :, 4 * j : 4 * j + 4, 4 * i : 4 * i + 4] = 0
        big = 20000 if saturate else 90
        pictures.append(
            Picture(
                presentation=presented[ranks[place]],
                order=ranks[place],
                kind=kind,
                is_reference=kind != "B" or rng.random() < 0.4,
                mv=mv,
                refpic=refpic,
                mb_lost=lost,
                res_y=rng.integers(-big, big, (h, w)).astype(np.int16),
                res_uv=rng.integers(-big, big, (2, h // 2, w // 2)).astype(np.int16),
                rgb=rng.integers(0, 256, (3, h - top - bottom, w - left - right)).astype(np.uint8),
            )
        )
    return pictures


def as_arrays(
    pictures: list[Picture], crop: tuple[int, int, int, int], chroma: int = 1
) -> tuple[tuple[int, ...], dict[str, Any]]:
    """What `_core.accumulate_arrays` takes."""
    h, w = pictures[0].res_y.shape
    mb_type = np.stack(
        [np.where(p.mb_lost, 255, 253 if p.kind == "I" else 252) for p in pictures]
    ).astype(np.uint8)
    kinds = {"I": 1, "P": 2, "B": 3}

    def column(values: list[int], dtype: Any) -> np.ndarray:
        return np.array(values, dtype)

    planes: dict[str, Any] = {
        "presentation": column(
            [-1 if p.presentation is None else p.presentation for p in pictures], np.int64
        ),
        "time": column([p.order for p in pictures], np.int64),
        "decode": np.arange(len(pictures), dtype=np.int64),
        "type": column([kinds[p.kind] for p in pictures], np.uint8),
        "all_intra": column([p.kind == "I" for p in pictures], np.uint8),
        "is_reference": column([p.is_reference for p in pictures], np.uint8),
        "mv": np.stack([p.mv for p in pictures]),
        "ref_picture": np.stack([p.refpic for p in pictures]),
        "mb_type": mb_type,
        "residual_y": np.stack([p.res_y for p in pictures]),
        "residual_uv": np.stack([p.res_uv for p in pictures]),
        "rgb": np.stack([p.rgb for p in pictures]),
    }
    return (w, h, *crop, chroma), planes
