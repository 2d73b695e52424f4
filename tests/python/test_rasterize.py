"""rasterize() against a literal version: display sample by display sample."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import cvdecode
from cvdecode import VideoReader, accumulate, rasterize

X264 = ["-c:v", "libx264", "-pix_fmt", "yuv420p", "-g", "30", "-bf", "2"]


@pytest.fixture(scope="module")
def path(encode: Any) -> Path:
    """Odd crops on every side but the top left: 74x54 in 80x64."""
    result: Path = encode("raster.mp4", *X264, source="mandelbrot=size=74x54:rate=25", frames=6)
    return result


@pytest.fixture(scope="module")
def clip(path: Path) -> Any:
    planes = ("mv", "ref", "mb_type", "qp", "residual_y", "residual_uv", "rgb")
    return cvdecode.read(path, planes)


def with_crop(clip: Any, left: int, top: int) -> Any:
    """The same memory seen as if `left`, `top` more samples were cropped away."""
    segment = clip.segment
    crop = cvdecode.Crop(left, top, segment.crop.right, segment.crop.bottom)
    arrays = {
        name: clip.numpy()[name] for name in ("mv", "ref", "mb_type", "qp", "index", "frame_type")
    }
    return cvdecode.Clip(arrays, clip.metadata, segment._replace(crop=crop))


def on_pixels(clip: Any, plane: str, block: int) -> np.ndarray:
    """Each display sample looks its block up (docs/planes.md, Frames)."""
    array, segment = getattr(clip, plane), clip.segment
    out = np.empty((*array.shape[:-2], segment.height, segment.width), array.dtype)
    for y in range(segment.height):
        for x in range(segment.width):
            by, bx = (y + segment.crop.top) // block, (x + segment.crop.left) // block
            out[..., y, x] = array[..., by, bx]
    return out


@pytest.mark.parametrize("crop", [(0, 0), (6, 2), (13, 7)])
@pytest.mark.parametrize(("plane", "block"), [("mv", 4), ("ref", 4), ("mb_type", 16), ("qp", 16)])
def test_pixels(clip: Any, crop: tuple[int, int], plane: str, block: int) -> None:
    cropped = with_crop(clip, *crop)
    got = rasterize(cropped, plane)
    assert got.dtype == getattr(clip, plane).dtype
    np.testing.assert_array_equal(got, on_pixels(cropped, plane, block))


def literal_cells(pixels: np.ndarray, step: int, reduce: str) -> np.ndarray:
    """Cells of step x step display samples, over pixels (..., H, W)."""
    h, w = pixels.shape[-2:]
    rows, columns = -(-h // step), -(-w // step)
    dtype = np.float64 if reduce == "mean" else pixels.dtype
    out = np.empty((*pixels.shape[:-2], rows, columns), dtype)
    for j in range(rows):
        for i in range(columns):
            cell = pixels[..., j * step : (j + 1) * step, i * step : (i + 1) * step]
            if reduce == "mean":
                out[..., j, i] = cell.mean((-2, -1))
            elif reduce == "nearest":
                out[..., j, i] = cell[..., cell.shape[-2] // 2, cell.shape[-1] // 2]
            else:  # vectors: (..., 2, step, step)
                flat = cell.reshape(*cell.shape[:-2], -1)
                longest = (flat.astype(np.int64) ** 2).sum(-2).argmax(-1)
                out[..., j, i] = np.take_along_axis(flat, longest[..., None, None], -1)[..., 0]
    return out


@pytest.mark.parametrize("step", [8, 16, 5])
@pytest.mark.parametrize("reduce", ["mean", "nearest", "max"])
def test_cells(clip: Any, step: int, reduce: Any) -> None:
    for crop in ((0, 0), (6, 2)):
        cropped = with_crop(clip, *crop)
        want = literal_cells(on_pixels(cropped, "mv", 4), step, reduce)
        got = rasterize(cropped, "mv", grid=step, reduce=reduce)
        assert got.dtype == (np.float32 if reduce == "mean" else np.int16)
        np.testing.assert_allclose(got, want, rtol=1e-6, atol=1e-5)


def test_max_keeps_negative_vectors(clip: Any) -> None:
    cropped = with_crop(clip, 0, 0)
    cropped.mv[:] = 0
    cropped.mv[0, 0, :, 3, 2] = (-7, 2)
    cropped.mv[0, 0, :, 2, 3] = (5, 5)
    got = rasterize(cropped, reduce="max", grid=16)
    assert got[0, 0, :, 0, 0].tolist() == [-7, 2]


def test_patches(clip: Any) -> None:
    """Mean over a fine resize by nearest sample converges to the mean by area."""
    cropped = with_crop(clip, 6, 2)
    segment = cropped.segment
    width, height = segment.width, segment.height  # 68 x 52
    pixels = on_pixels(cropped, "mv", 4).astype(np.float64)
    for size, resize, patch in ((56, "longer", 14), (64, "shorter", 16), ((32, 48), "squash", 16),
                                (96, "none", 16), (32, "none", 8), (112, "longer", 8)):  # fmt: skip
        got = rasterize(cropped, "mv", patch=patch, size=size, resize=resize, scale_vectors=True,
                        fill=-1)  # fmt: skip
        high, wide = (size, size) if isinstance(size, int) else size
        if resize == "squash":
            new_w, new_h = wide, high
        elif resize == "none":
            new_w, new_h = width, height
        else:
            scale = (min if resize == "longer" else max)(wide / width, high / height)
            new_w, new_h = round(width * scale), round(height * scale)
        left, top = (wide - new_w) // 2, (high - new_h) // 2
        fine = 24
        ys = (np.arange(high * fine) + 0.5) / fine - top
        xs = (np.arange(wide * fine) + 0.5) / fine - left
        inside = np.outer((ys >= 0) & (ys < new_h), (xs >= 0) & (xs < new_w))
        sy = np.clip((ys * height / new_h).astype(int), 0, height - 1)
        sx = np.clip((xs * width / new_w).astype(int), 0, width - 1)
        sampled = np.where(inside, pixels[0, 0][:, sy[:, None], sx[None, :]], 0)
        n = patch * fine
        shape = (2, high // patch, n, wide // patch, n)
        area = inside.reshape(shape[1:]).sum((1, 3))
        sums = sampled.reshape(shape).sum((2, 4))
        ratio = np.array([new_w / width, new_h / height])[:, None, None]
        want = np.where(area > 0, sums / np.maximum(area, 1) * ratio, -1)
        assert got.shape == (6, 2, 2, high // patch, wide // patch)
        scale = max(1.0, float(np.abs(pixels).max()))
        np.testing.assert_allclose(got[0, 0], want, atol=0.05 * scale)
        assert (got[0, 0][:, area == 0] == -1).all()
        nearest = rasterize(cropped, "mb_type", patch=patch, size=size, resize=resize, fill=77)
        assert ((nearest == 77) == (area == 0)[None]).all()


def test_qp_without_a_value_has_no_part(clip: Any) -> None:
    qp = clip.qp.copy()
    qp[:] = 20
    qp[0, 0, 0] = -128
    qp[1] = -128
    cropped = with_crop(clip, 0, 0)
    cropped._arrays["qp"] = qp
    got = rasterize(cropped, "qp", patch=32, reduce="mean", fill=-5)
    assert got[0, 0, 0] == 20
    assert (got[1] == -5).all()


def test_other_sources(path: Path, clip: Any) -> None:
    frame = clip[2]
    np.testing.assert_array_equal(rasterize(frame, "qp"), rasterize(clip, "qp")[2])
    np.testing.assert_array_equal(
        rasterize(clip, "residual_y", grid=8, reduce="nearest")[:, :6, :9],
        clip.residual_y[:, 4:48:8, 4:72:8],
    )
    assert rasterize(clip, "residual_uv", grid=8).shape == (6, 2, 4, 5)
    assert rasterize(clip, "rgb", grid=8, reduce="mean").shape == (6, 3, 7, 10)
    with VideoReader(path) as video:
        fine = accumulate(video)
        coarse = accumulate(video, grid=4)
    np.testing.assert_array_equal(rasterize(fine), fine.displacement)
    np.testing.assert_array_equal(
        rasterize(coarse), coarse.displacement.repeat(4, -1).repeat(4, -2)[..., :54, :74]
    )
    assert rasterize(fine, "mask", grid=16).shape == (6, 4, 5)


def test_refusals(clip: Any) -> None:
    with pytest.raises(ValueError, match="name things"):
        rasterize(clip, "mb_type", grid=8, reduce="mean")
    with pytest.raises(ValueError, match="no plane is called 'motion'"):
        rasterize(clip, "motion")
    with pytest.raises(cvdecode.PlaneNotRead, match="bits"):
        rasterize(clip, "bits")
    with pytest.raises(ValueError, match="multiple"):
        rasterize(clip, patch=14, size=100)
    with pytest.raises(ValueError, match="grid"):
        rasterize(clip, grid=0)
    with pytest.raises(ValueError, match="scale_vectors"):
        rasterize(clip, "qp", scale_vectors=True)
    with pytest.raises(ValueError, match="resize"):
        rasterize(clip, patch=14, size=56, resize="fit")  # type: ignore[arg-type]
    sizes: Any = ((224,), (14, 14, 14), "224", 224.0, (14.0, 14), 0, True)
    for size in sizes:
        with pytest.raises(ValueError, match="size"):
            rasterize(clip, patch=14, size=size)
    steps: Any = (0, 8.0, "8", True)
    for step in steps:
        with pytest.raises(ValueError, match="grid"):
            rasterize(clip, grid=step)
        with pytest.raises(ValueError, match="patch"):
            rasterize(clip, patch=step)
    with pytest.raises(ValueError, match="grid and patch"):
        rasterize(clip, grid=8, patch=14)
    with pytest.raises(ValueError, match="no patch of 64 fits into 74x54"):
        rasterize(clip, patch=64)
    for plane, fill in (("mb_type", -1), ("mb_type", 300), ("ref", 0.5), ("ref", float("nan"))):
        with pytest.raises(ValueError, match="fill"):
            rasterize(clip, plane, patch=14, size=56, fill=fill)
    with pytest.raises(TypeError):
        rasterize(np.zeros((4, 4)))  # type: ignore[arg-type]
    integers: Any = (np.int64(14), np.int32(56), np.int64(8))
    patch, size, step = integers
    np.testing.assert_array_equal(
        rasterize(clip, patch=patch, size=size), rasterize(clip, patch=14, size=56)
    )
    np.testing.assert_array_equal(rasterize(clip, grid=step), rasterize(clip, grid=8))
    assert rasterize(clip[0:0]).shape == (0, 2, 2, 54, 74)
