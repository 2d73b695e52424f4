"""Colour jitter against colorsys, one pixel at a time."""

from __future__ import annotations

import colorsys
from typing import Any

import numpy as np
import pytest
import torch

from conftest import Encode
from cvdecode.data import CompressedVideoDataset, Draw, FullFrame, HlsJitter, MultiScaleCrop
from cvdecode.data.jitter import shift_hls


def literal(rgb: tuple[int, ...], shifts: tuple[float, ...]) -> list[float]:
    hls = colorsys.rgb_to_hls(*(value / 255 for value in rgb))
    moved = [min(max(value + shift, 0), 1) for value, shift in zip(hls, shifts, strict=True)]
    return [255 * value for value in colorsys.hls_to_rgb(*moved)]


@pytest.mark.parametrize(
    "shifts", [(0, 0, 0), (0.2, -0.19, 0.1), (-0.2, 0.19, -0.15), (0.9, 0, 0), (0, 0.9, -0.9)]
)
def test_shifts_are_those_of_colorsys(shifts: tuple[float, float, float]) -> None:
    rng = np.random.default_rng(3)
    pictures = rng.integers(0, 256, (2, 3, 8, 16)).astype(np.uint8)
    # Corners of the cube, greys, and ties of two channels.
    some = [(0, 0, 0), (255, 255, 255), (255, 0, 0), (0, 255, 0), (0, 0, 255), (7, 7, 7)]
    some += [(200, 200, 10), (10, 200, 200), (200, 10, 200), (255, 255, 0), (128, 127, 127)]
    pictures[0, :, 0, : len(some)] = np.array(some).T
    kept = pictures.copy()
    found = shift_hls(torch.from_numpy(pictures), shifts)
    assert np.array_equal(pictures, kept)
    assert found.dtype == torch.uint8
    assert found.shape == pictures.shape
    for n, y, x in np.ndindex(2, 8, 16):
        want = literal(tuple(pictures[n, :, y, x].tolist()), shifts)
        assert np.abs(found[n, :, y, x].numpy() - want).max() <= 0.51, pictures[n, :, y, x]


def test_draws_are_even_and_within_their_bounds() -> None:
    rng = np.random.default_rng(0)
    drawn = np.array([HlsJitter(36, 51, 0).draw(rng) for _ in range(2000)])
    assert np.abs(drawn).max(axis=0) == pytest.approx([0.2, 0.2, 0], abs=2e-3)
    assert np.abs(drawn.mean(axis=0)).max() < 0.02
    # Each is drawn by itself.
    assert abs(np.corrcoef(drawn[:, 0], drawn[:, 1])[0, 1]) < 0.1
    with pytest.raises(ValueError, match="largest shift"):
        HlsJitter(-1)


def draw(gops: object, rng: object) -> Draw:
    return Draw(np.array([1, 3], np.int64), np.array([0], np.int64))


def test_a_sample_is_shifted_jointly_and_by_its_own_generator(encode: Encode) -> None:
    path = encode("jitter.mp4", "-c:v", "libx264", "-g", "6", "-bf", "0", frames=8)
    names = ("iframe", "rgb", "mv", "residual")

    def read(jitter: HlsJitter | None, epoch: int = 0) -> dict[str, Any]:
        dataset = CompressedVideoDataset([path], draw, names, FullFrame((48, 80)), jitter=jitter)
        dataset.set_epoch(epoch)
        return dataset[0]

    plain, shifted = read(None), read(HlsJitter())
    generator = np.random.default_rng((0, 0, 0))  # seed, epoch, index; the view draws nothing
    shifts = HlsJitter().draw(generator)
    for name in ("iframe", "rgb"):
        assert not torch.equal(plain[name], shifted[name])
        assert torch.equal(shift_hls(plain[name], shifts), shifted[name])
    for name in ("mv", "residual"):
        assert torch.equal(plain[name], shifted[name])
    assert torch.equal(read(HlsJitter())["iframe"], shifted["iframe"])
    assert not torch.equal(read(HlsJitter(), epoch=1)["iframe"], shifted["iframe"])
    # The draw comes after those of frames and view, which stay what they were.
    views = [
        CompressedVideoDataset([path], draw, ("mv",), MultiScaleCrop(32), jitter=jitter)[0]
        for jitter in (None, HlsJitter())
    ]
    assert torch.equal(views[0]["mv"], views[1]["mv"])
