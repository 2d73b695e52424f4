"""rasterize() by the body of its CUDA kernel, walked on the CPU, against the core's own."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from conftest import Encode
from cvdecode import VideoReader, _core, _device, accumulate_batch, rasterize
from cvdecode._rasterize import canvas_of
from emulated_device import EmulatedGpu, Guarded

# Display size, crop, samples per cell.
PLANES = [
    ((40, 24), (0, 0), 4),
    ((37, 29), (5, 2), 4),
    ((64, 48), (0, 6), 16),
    ((13, 7), (3, 1), 1),
]
GRIDS = [("grid", 1), ("grid", 5), ("grid", 16), ("longer", 28), ("shorter", 28), ("none", 56)]


def axes(display: tuple[int, int], crop: tuple[int, int], block: int, grid: Any) -> Any:
    kind, n = grid
    width, height = display
    if kind == "grid":
        canvas, step = canvas_of(width, height, None, "none"), n
        cells = (-(-width // step), -(-height // step))
    else:
        canvas, step = canvas_of(width, height, n, kind), 14
        cells = (canvas.width // step, canvas.height // step)
    return (
        (cells[0], step, width, canvas.resized_width, canvas.left, crop[0], block),
        (cells[1], step, height, canvas.resized_height, canvas.top, crop[1], block),
    )


@pytest.mark.parametrize("reduce", ["nearest", "max", "mean"])
@pytest.mark.parametrize("dtype", ["uint8", "int16", "uint16", "int32", "float32"])
def test_kernel_is_the_core(dtype: str, reduce: str) -> None:
    rng = np.random.default_rng(1)
    for display, crop, block in PLANES:
        cells = [-(-(side + c) // block) for side, c in zip(display, crop, strict=True)]
        values = rng.integers(0, 200, (2, 3, 2, cells[1], cells[0] + 3)).astype(dtype)
        if dtype == "float32":
            values = (values / 7).astype(np.float32)
        plane = values[..., : cells[0]]  # rows that are not next to each other
        for grid in GRIDS:
            x, y = axes(display, crop, block, grid)
            for vectors, none in ((True, None), (False, None), (False, values.flat[0].item())):
                arguments = (vectors, reduce, none, 3.0, x, y)
                want = _core.rasterize(plane, *arguments)
                strides = [s // plane.itemsize for s in plane.strides]
                work = _core.DeviceRaster(list(plane.shape), strides, dtype, *arguments)
                assert (work.rows, work.columns) == want.shape[-2:]
                upload, out = Guarded(work.upload_bytes), Guarded(want.nbytes)
                launch = work.pack(upload.address, upload.address, plane.ctypes.data, out.address)
                for backwards in (False, True):
                    out.bytes[:] = 0x5A
                    _core.emulate_launch(*launch, backwards)  # type: ignore[attr-defined]
                    got = out.bytes.view(want.dtype).reshape(want.shape)
                    np.testing.assert_array_equal(got, want, f"{display}, {grid}, {arguments}")
                assert upload.intact()
                assert out.intact()


def test_what_does_not_fit_is_refused() -> None:
    x = (2, 16, 32, 32, 0, 0, 16)
    good: dict[str, Any] = {
        **{"shape": [2, 2, 2], "strides": [4, 2, 1], "dtype": "int16", "vectors": True},
        **{"reduce": "mean", "none": None, "fill": 0, "x": x, "y": x},
    }
    assert _core.DeviceRaster(**good).rows == 2
    for wrong in (
        {"shape": [3, 2, 2]},
        {"strides": [4, 1, 2]},
        {"dtype": "int64"},
        {"shape": [2, 2, 1], "strides": [2, 1, 1]},
    ):
        with pytest.raises(ValueError, match="rasterize"):
            _core.DeviceRaster(**{**good, **wrong})


def test_batches_on_a_device(encode: Encode, monkeypatch: pytest.MonkeyPatch) -> None:
    """rasterize() of a batch whose planes are tensors of a device, which is emulated."""
    torch = pytest.importorskip("torch")
    source = "testsrc2=size=74x54:rate=25"
    path = encode("raster_gpu.mp4", "-c:v", "libx264", "-pix_fmt", "yuv420p", source=source)
    with VideoReader(path) as video:
        sources, frames = [video] * 2, [[7, 8], [40]]
        for options in ({"return_hops": True}, {"grid": 4}):
            want = accumulate_batch(sources, frames, **options)
            with monkeypatch.context() as patch:
                patch.setattr(_device, "find", lambda _: EmulatedGpu())
                got = accumulate_batch(sources, frames, device="cuda", **options)
                for more in (
                    {},
                    {"grid": 8, "reduce": "max"},
                    {"patch": 14, "size": 56, "scale_vectors": True},
                    {"plane": "mask", "patch": 16, "size": 64, "resize": "shorter"},
                ):
                    cells = rasterize(got, **more)
                    assert isinstance(cells, torch.Tensor)
                    expected = rasterize(want, **more)
                    np.testing.assert_array_equal(cells.numpy(), expected, str(more))
                    assert cells.numpy().dtype == expected.dtype
