"""accumulate(device="cuda") on a real GPU. CVDECODE_REQUIRE_CUDA=1 makes a skip a failure."""

from __future__ import annotations

import os
from typing import Any

import numpy as np
import pytest

import cvdecode
from conftest import Encode
from cvdecode import VideoReader, accumulate, accumulate_batch

KINDS: list[dict[str, Any]] = [
    {},
    {"residual": "coded", "return_hops": True},
    {"residual": "recon_diff", "virtual_gop": 5},
    {"grid": 4, "return_hops": True},
]


@pytest.fixture(scope="module")
def torch() -> Any:
    """torch, where the whole chain up to a GPU is there."""
    module = pytest.importorskip("torch")
    try:
        cvdecode._device.find("cuda")
    except cvdecode.DeviceUnavailable as error:
        if os.environ.get("CVDECODE_REQUIRE_CUDA") == "1":
            pytest.fail(f"CVDECODE_REQUIRE_CUDA=1, but {error}")
        pytest.skip(str(error))
    return module


@pytest.mark.parametrize("options", KINDS)
def test_gpu_is_the_cpu(torch: Any, encode: Encode, options: dict[str, Any]) -> None:
    source = "testsrc2=size=88x50:rate=25"
    path = encode("gpu.mp4", "-c:v", "libx264", "-pix_fmt", "yuv420p", "-g", "12", source=source)
    frames = [[3, 1, 14, 3], [29], [], list(range(7, 12))]
    with VideoReader(path) as video:
        want = accumulate_batch([video] * 4, frames, **options)
        stream = torch.cuda.Stream()
        with torch.cuda.stream(stream):
            got = accumulate_batch([video] * 4, frames, device="cuda", **options)
            assert got.displacement.is_cuda
            shared = torch.from_dlpack(got.mask)
            assert shared.data_ptr() == got.mask.data_ptr()
        stream.synchronize()
        for name, array in got.numpy().items():
            np.testing.assert_array_equal(array, want.numpy()[name], name)
        assert [s.saturated for s in got.stats] == [s.saturated for s in want.stats]
        one = accumulate(video, frames[0], device="cuda:0", **options)
        alone = accumulate(video, frames[0], **options).numpy()
        for name, array in one.numpy().items():
            np.testing.assert_array_equal(array, alone[name], name)


def test_the_current_gpu_stays_current(torch: Any, encode: Encode) -> None:
    """Launches go to the GPU that was named, and the caller's own choice survives them."""
    if torch.cuda.device_count() < 2:
        pytest.skip("there are fewer than two GPUs")
    path = encode("gpu_two.mp4", "-c:v", "libx264", "-pix_fmt", "yuv420p", "-g", "12")
    with VideoReader(path) as video, torch.cuda.device(0):
        assert accumulate(video, [3], device="cuda:1").mask.device.index == 1
        assert torch.cuda.current_device() == 0
        assert torch.empty(1, device="cuda").device.index == 0
