"""cvdecode.resample against a literal two-pass version in whole numbers, and against torch."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
import torch

import cvdecode


def weights(length: int, resized: int) -> tuple[list[tuple[int, int, int, int]], int]:
    """(first, second, weight, weight) of each sample, and the bits of the weights."""
    pairs = []
    for i in range(resized):
        place = min(max((i + 0.5) * length / resized - 0.5, 0), length - 1)
        first = int(place)
        pairs.append((first, min(first + 1, length - 1), 1 - (place - first), place - first))
    largest = max(max(pair[2:]) for pair in pairs)
    bits = 0
    while 0.5 + largest * 2 ** (bits + 1) < 32768:  # they are to fit 16 bits with a sign
        bits += 1
    return [(a, b, int(0.5 + v * 2**bits), int(0.5 + w * 2**bits)) for a, b, v, w in pairs], bits


def one_pass(rows: np.ndarray, resized: int) -> np.ndarray:
    """The last axis brought to a size, rounded to bytes."""
    found, bits = weights(rows.shape[-1], resized)
    whole = rows.astype(np.int64)
    columns = [(whole[..., a] * v + whole[..., b] * w + 2 ** (bits - 1)) >> bits
               for a, b, v, w in found]  # fmt: skip
    return np.stack(columns, axis=-1)


def literal(plane: np.ndarray, resized: tuple[int, int]) -> np.ndarray:
    return one_pass(one_pass(plane, resized[1]).swapaxes(-1, -2), resized[0]).swapaxes(-1, -2)


CASES = [
    ((20, 31), (3, 2, 24, 16), (12, 30)),  # smaller and larger
    ((64, 70), (0, 0, 70, 64), (64, 33)),  # one side stays
    ((40, 90), (11, 7, 64, 32), (32, 64)),  # both do
    ((9, 9), (4, 4, 1, 1), (5, 3)),  # a single sample
    ((37, 41), (1, 1, 40, 36), (201, 300)),
]


@pytest.mark.parametrize(("shape", "box", "resized"), CASES)
def test_bytes_are_those_of_two_literal_passes(
    shape: tuple[int, int], box: tuple[int, int, int, int], resized: tuple[int, int]
) -> None:
    planes = np.random.default_rng(1).integers(0, 256, (2, 3, *shape)).astype(np.uint8)
    size = (max(1, resized[0] - 2), max(1, resized[1] - 1))
    crops = [(0, 0, False), (resized[1] - size[1], resized[0] - size[0], True)]
    kept = planes.copy()
    found = cvdecode.resample(planes[:, ::-1], box, resized, size, crops)
    assert np.array_equal(planes, kept)
    interleaved = np.ascontiguousarray(planes[:, ::-1].transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2)
    assert np.array_equal(cvdecode.resample(interleaved, box, resized, size, crops), found)
    x, y, w, h = box
    whole = literal(planes[:, ::-1, y : y + h, x : x + w], resized)
    for crop, (left, top, mirrored) in zip(found, crops, strict=True):
        want = whole[..., top : top + size[0], left : left + size[1]]
        assert np.array_equal(crop, want[..., ::-1] if mirrored else want)


@pytest.mark.skipif(
    torch.backends.cpu.get_cpu_capability() not in ("AVX2", "AVX512"),
    reason="torch resizes bytes in another way on this CPU",
)
def test_bytes_are_those_of_torch() -> None:
    rng = np.random.default_rng(2)
    sizes = [(16, 9), (31, 40), (40, 31), (56, 56), (1, 7)]
    for (h, w), resized in itertools.product(sizes, sizes):
        planes = rng.integers(0, 256, (2, 3, h, w)).astype(np.uint8)
        want = torch.from_numpy(planes)
        if resized != (h, w):
            want = torch.nn.functional.interpolate(want, resized, mode="bilinear")
        found = cvdecode.resample(planes, (0, 0, w, h), resized, resized, [(0, 0, False)])
        assert np.array_equal(found[0], want.numpy())


def test_values_are_encoded_before_they_are_resized() -> None:
    every = np.arange(-32768, 32768).astype(np.int16).reshape(1, 1, 256, 256)
    whole: tuple[Any, ...] = ((0, 0, 256, 256), (256, 256), (256, 256), [(0, 0, False)])
    mirrored: tuple[Any, ...] = (*whole[:3], [(0, 0, True)])
    both = every.repeat(2, axis=1)
    samples = np.trunc(both.astype(np.float64) / 4 * 127.5 / 20) + 128
    found = cvdecode.resample(both, *whole, encoding="vector")[0]
    assert np.array_equal(found, samples.clip(0, 255))
    # Mirrored, x points the other way and y does not.
    found = cvdecode.resample(both, *mirrored, encoding="vector")[0, 0, :, :, ::-1]
    away = np.trunc(-both[0, 0].astype(np.float64) / 4 * 127.5 / 20) + 128
    assert np.array_equal(found[0], away.clip(0, 255))
    assert np.array_equal(found[1], samples[0, 1].clip(0, 255))
    for crop in (whole, mirrored):
        found = cvdecode.resample(every, *crop, encoding="residual")[0]
        want = (every.astype(np.int64) + 128).clip(0, 255)
        assert np.array_equal(found, want[..., ::-1] if crop is mirrored else want)
    rng = np.random.default_rng(3)
    some = rng.integers(-90, 90, (1, 2, 30, 40)).astype(np.int16)
    window: tuple[Any, ...] = ((3, 2, 33, 27), (20, 50), (20, 50), [(0, 0, False)])
    first = cvdecode.resample(
        some, (0, 0, 40, 30), (30, 40), (30, 40), [(0, 0, False)], encoding="vector"
    )[0]
    assert np.array_equal(
        cvdecode.resample(some, *window, encoding="vector"), cvdecode.resample(first, *window)
    )


@pytest.mark.parametrize("corner", [(0, 0), (1, 0), (0, 1), (3, 5)])
def test_halved_planes_are_repeated(corner: tuple[int, int]) -> None:
    rng = np.random.default_rng(4)
    chroma = rng.integers(-200, 200, (2, 2, 17, 23)).astype(np.int16)
    repeated = chroma.repeat(2, axis=2).repeat(2, axis=3)
    crops = [(5, 1, True), (0, 0, False)]
    options: tuple[Any, ...] = ((*corner, 41, 28), (20, 30), (18, 22), crops)
    want = cvdecode.resample(repeated, *options, encoding="residual")
    out = np.zeros((2, 2, 3, 18, 22), np.uint8)
    found = cvdecode.resample(chroma, *options, encoding="residual", halved=True, out=out[:, :, 1:])
    assert np.array_equal(found, want)
    assert not out[:, :, 0].any()


def test_what_does_not_fit_is_refused() -> None:
    planes = np.zeros((1, 2, 10, 12), np.uint8)
    good: dict[str, Any] = {
        "box": (0, 0, 12, 10), "resized": (5, 6), "size": (5, 6), "crops": [(0, 0, False)],
    }  # fmt: skip
    cvdecode.resample(planes, **good)
    bad: list[dict[str, Any]] = [
        {"box": (1, 0, 12, 10)}, {"box": (0, -1, 12, 10)}, {"box": (0, 0, 0, 10)},
        {"resized": (0, 6)}, {"crops": [(1, 0, False)]}, {"crops": [(0, -1, False)]},
        {"encoding": "vector"}, {"encoding": "jpeg"}, {"out": np.zeros((1, 1, 2, 4, 6), np.uint8)},
        {"out": np.zeros((1, 1, 2, 5, 12), np.uint8)[..., ::2]},
    ]  # fmt: skip
    for change in bad:
        with pytest.raises(ValueError, match="resample"):
            cvdecode.resample(planes, **{**good, **change})
    for wrong in (planes[0], planes[..., ::2], planes.astype(np.float32)):
        with pytest.raises(ValueError, match="resample"):
            cvdecode.resample(wrong, **good)
