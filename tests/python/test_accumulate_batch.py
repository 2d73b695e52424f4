"""accumulate_batch(): the same bytes as accumulate() clip by clip, written where they belong."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import cvdecode
from conftest import Encode
from cvdecode import VideoReader, _batch, _device, accumulate, accumulate_batch
from emulated_device import EmulatedGpu

KINDS: list[dict[str, Any]] = [
    {},
    {"residual": "coded", "return_hops": True},
    {"residual": "recon_diff", "virtual_gop": 5},
    {"grid": 4, "return_hops": True},
    {"hops": 1},
]
CPU_ONLY: list[dict[str, Any]] = [
    {"hops": 1, "per_frame": True},
    {"hops": 1, "residual": "recon_diff"},
]
FRAMES = [[3, 1, 14, 3], [29], [], list(range(7, 12))]


@pytest.fixture(scope="module")
def paths(encode: Encode) -> list[Path]:
    """An odd display size, B-frames in one of two."""
    options = ("-c:v", "libx264", "-pix_fmt", "yuv420p", "-g", "12")
    return [
        encode(f"batch{n}.mp4", *options, "-bf", bf, source=source, frames=30)
        for n, (bf, source) in enumerate(
            [("2", "testsrc2=size=88x50:rate=25"), ("0", "mandelbrot=size=88x50:rate=25")]
        )
    ]


def same(batch: Any, sources: Any, frames: Any, **options: Any) -> None:
    """Every clip of the batch is what accumulate() gives; the rest is padding."""
    numpy = batch.numpy()
    most = max(len(f) for f in frames)
    assert batch.frames.shape == (len(sources), most)
    assert batch.lengths.tolist() == [len(f) for f in frames]
    for i, (source, own) in enumerate(zip(sources, frames, strict=True)):
        want = accumulate(source, own, **options)
        assert batch[i].frames.tolist() == own
        assert batch[i].stats.saturated == want.stats.saturated
        assert batch[i].stats.pictures_read == want.stats.pictures_read
        for name in want.planes:
            plane = numpy[name][i]
            np.testing.assert_array_equal(plane[: len(own)], getattr(want, name), name)
            rest = {"mask": 2, "mask_uv": 2, "anchor": -1}.get(name, 0)
            assert (plane[len(own) :] == rest).all(), name
        assert batch.planes == tuple(n for n in batch.planes if n in want.planes)


@pytest.mark.parametrize("options", KINDS + CPU_ONLY)
def test_batch_is_clip_by_clip(paths: list[Path], options: dict[str, Any]) -> None:
    with VideoReader(paths[0]) as a, VideoReader(paths[1]) as b:
        sources = [a, b, b, a]  # a video may stand there twice, and threads keep off it
        for num_threads in (1, 3):
            batch = accumulate_batch(sources, FRAMES, num_threads=num_threads, **options)
            same(batch, sources, FRAMES, **options)


@pytest.mark.parametrize("options", KINDS)
def test_device_is_the_cpu(
    paths: list[Path], options: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The whole way over a device, which is emulated: one buffer, batched launches, tensors."""
    torch = pytest.importorskip("torch")
    gpu = EmulatedGpu()
    with VideoReader(paths[0]) as a, VideoReader(paths[1]) as b:
        sources = [a, b, b, a]
        with monkeypatch.context() as patch:
            patch.setattr(_device, "find", lambda device: gpu if device == "cuda" else None)
            batch = accumulate_batch(sources, FRAMES, device="cuda", num_threads=2, **options)
            one = accumulate(a, FRAMES[0], device="cuda", **options)
            with pytest.raises(ValueError, match="out"):
                accumulate_batch(sources, FRAMES, device="cuda", out=batch)
            with pytest.raises(ValueError, match="CPU only"):
                accumulate(a, [1], hops=1, per_frame=True, device="cuda")
            for part in ({"box": (0, 0, 8, 8)}, {"ends": False}):
                with pytest.raises(ValueError, match="for the CPU"):
                    accumulate(a, [1], device="cuda", **part)  # type: ignore[arg-type]
        assert gpu.launches > 1
        assert isinstance(batch.displacement, torch.Tensor)
        assert batch.torch().mask.data_ptr() == batch.mask.data_ptr()
        same(batch, sources, FRAMES, **options)
        want = accumulate(a, FRAMES[0], **options).numpy()
        for name, array in one.numpy().items():
            np.testing.assert_array_equal(array, want[name], name)
        assert isinstance(one.torch().frames, torch.Tensor)


def test_clips_are_sources_too(paths: list[Path], monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("torch")
    clips = [cvdecode.read(p, ("mv", "ref", "mb_type", "residual_y", "residual_uv")) for p in paths]
    monkeypatch.setattr(_device, "find", lambda device: EmulatedGpu() if device == "cuda" else None)
    for device in ("cpu", "cuda"):
        batch = accumulate_batch(clips, residual="coded", device=device)
        same(batch, clips, [c.index.tolist() for c in clips], residual="coded")


def test_tensors_are_written_in_place(paths: list[Path]) -> None:
    """Tensors come out over the memory of the planes, and go in as memory of the result."""
    torch = pytest.importorskip("torch")
    with VideoReader(paths[0]) as a, VideoReader(paths[1]) as b:
        sources, frames = [a, b], [[5, 6], [7]]
        first = accumulate_batch(sources, frames, residual="coded")
        tensors = first.torch()
        for name in first.planes:
            assert tensors[name].data_ptr() == getattr(first, name).ctypes.data, name
            assert first[1].numpy()[name].ctypes.data == getattr(first, name)[1].ctypes.data
        width, height = first.segment.coded_size
        own = {
            "displacement": torch.empty((2, 2, 2, height, width), dtype=torch.int16),
            "anchor": torch.empty((2, 2, height, width), dtype=torch.int32),
            "mask": torch.empty((2, 2, height, width), dtype=torch.uint8),
        }
        second = accumulate_batch(sources, frames, out=own, num_threads=2)
        same(second, sources, frames)
        crop = first.segment.crop
        for name, tensor in own.items():
            corner = tensor[..., crop.top, crop.left]
            assert getattr(second, name).data_ptr() == corner.data_ptr()  # tensors come out
        places = {name: getattr(second, name).data_ptr() for name in second.planes}
        third = accumulate_batch(sources, [[8, 9], [1, 2]], out=second)
        same(third, sources, [[8, 9], [1, 2]])
        assert {name: getattr(third, name).data_ptr() for name in third.planes} == places
        for wrong, message in (
            ({"mask": own["mask"]}, "this call writes"),
            ({**own, "mask": own["mask"][:, :1]}, "uint8"),
            ({**own, "mask": own["anchor"]}, "int32"),
            ({**own, "mask": own["mask"].transpose(2, 3).contiguous().transpose(2, 3)}, "contig"),
        ):
            with pytest.raises(ValueError, match=message):
                accumulate_batch(sources, frames, out=wrong)
        for kind in (5, [own["mask"]], first[0]):
            with pytest.raises(TypeError, match="out is an AccumulationBatch"):
                accumulate_batch(sources, frames, out=kind)  # type: ignore[arg-type]


def test_memory_is_refused_before_it_is_taken(
    paths: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of 96x64 coded: 9 bytes a sample for the planes, whether or not a clip has so many frames."""
    pytest.importorskip("torch")
    gpu = EmulatedGpu()
    monkeypatch.setattr(_device, "find", lambda device: gpu if device == "cuda" else None)
    monkeypatch.setattr(gpu, "allocate", lambda *args: pytest.fail("memory was taken"))
    stack = 2 * 10 * 9 * 96 * 64
    frames = [list(range(10)), [0]]
    with VideoReader(paths[0]) as a, VideoReader(paths[1], max_bytes=stack - 1) as b:
        with pytest.raises(MemoryError, match="max_bytes"):
            accumulate(b, range(21), device="cuda")
        monkeypatch.setattr(_batch, "_memory", lambda *args: pytest.fail("memory was taken"))
        for device in ("cpu", "cuda"):
            with pytest.raises(MemoryError, match=r"2 x 10 frames .* max_bytes"):
                accumulate_batch([a, b], frames, device=device)
        monkeypatch.undo()
    with VideoReader(paths[1], max_bytes=stack) as b:
        assert len(accumulate_batch([b, b], frames)) == 2


@pytest.mark.parametrize(
    ("options", "kept", "work"),
    [
        # Bytes of a sample: vector 4, anchor 4, mask 1; three differences, of what is shown, and
        # (x, y) where the trace ended, which nobody gets.
        ({"residual": "recon_diff"}, 9 + 6, 4),
        ({"residual": "coded", "return_hops": True}, 9 + 2 + 2 + 1 + 0.25, 0),
        ({"hops": 1, "per_frame": True}, 8 + 5, 4),
    ],
)
def test_one_video_and_a_batch_count_alike(
    encode: Any, options: dict[str, Any], kept: float, work: float
) -> None:
    options264 = ("-c:v", "libx264", "-pix_fmt", "yuv420p")
    path = encode("batch_whole.mp4", *options264, source="testsrc2=size=96x64", frames=8)
    frame = 96 * 64
    one = int(8 * frame * (kept + work))
    with VideoReader(path, max_bytes=one) as video:
        accumulate(video, **options)
        accumulate_batch([video], **options)
    with VideoReader(path, max_bytes=one - 1) as video:
        with pytest.raises(MemoryError, match="max_bytes"):
            accumulate(video, **options)
        with pytest.raises(MemoryError, match="max_bytes"):
            accumulate_batch([video], **options)
    # What is not kept is there for the clips that are worked on.
    most = int(8 * frame * (3 * kept + work))
    with VideoReader(path, max_bytes=most) as a, VideoReader(path) as b:
        accumulate_batch([a, b, b], **options)
        if work:
            with pytest.raises(MemoryError, match="max_bytes"):
                accumulate_batch([a, b, b], num_threads=2, **options)


def test_half_of_the_free_memory(paths: list[Path], monkeypatch: pytest.MonkeyPatch) -> None:
    """Where no reader says how much: of the GPU for what goes there, of this side otherwise."""
    pytest.importorskip("torch")
    gpu = EmulatedGpu()
    monkeypatch.setattr(_device, "find", lambda device: gpu if device == "cuda" else None)
    stack = 200 * 11 * 9 * 96 * 64
    gpu.free = 2 * stack - 2
    with VideoReader(paths[0]) as a:
        with pytest.raises(MemoryError, match="half of the free"):
            accumulate_batch([a] * 200, [[0] * 11] * 200, device="cuda")
        monkeypatch.setattr(cvdecode._core, "free_memory", lambda: 2 * stack - 2)
        with pytest.raises(MemoryError, match="half of the free"):
            accumulate_batch([a] * 200, [[0] * 11] * 200)


@pytest.mark.parametrize("num_threads", [1, 2])
def test_plans_share_what_they_may_take(
    paths: list[Path], num_threads: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Residuals of the chain go to the GPU with the plan: 3 + 5/16 bytes a sample and picture."""
    pytest.importorskip("torch")
    monkeypatch.setattr(_device, "find", lambda device: EmulatedGpu() if device == "cuda" else None)
    plan = 11 * 96 * 64 * 53 // 16  # frame 11 of a GOP of 12 without B pictures
    with VideoReader(paths[1], max_bytes=2 * plan) as a, VideoReader(paths[1]) as b:
        accumulate_batch([a, b], [[11]] * 2, residual="coded", device="cuda")
    with VideoReader(paths[1], max_bytes=2 * plan - 1) as a, VideoReader(paths[1]) as b:
        accumulate(a, [11], residual="coded", device="cuda")
        with pytest.raises(MemoryError, match="max_bytes"):
            accumulate_batch(
                [a, b], [[11]] * 2, residual="coded", device="cuda", num_threads=num_threads
            )
    few = VideoReader(paths[1], max_bytes=plan - 1)
    with few, pytest.raises(MemoryError, match="max_bytes"):
        accumulate(few, [11], residual="coded", device="cuda")


def test_what_does_not_fit_is_refused(paths: list[Path], encode: Encode) -> None:
    other = encode("batch_other.mp4", "-c:v", "libx264", frames=3)
    with VideoReader(paths[0]) as a, VideoReader(other) as b:
        with pytest.raises(ValueError, match=r"source 1 is 160x96 .* source 0 88x50"):
            accumulate_batch([a, b])
        with pytest.raises(ValueError, match="1 sources and 2 lists of frames"):
            accumulate_batch([a], [[0], [1]])
        with pytest.raises(ValueError, match="num_threads"):
            accumulate_batch([a], num_threads=0)
        with pytest.raises(IndexError):
            accumulate_batch([a], [[99]])
    assert len(accumulate_batch([])) == 0


def test_a_missing_gpu_says_what_to_do(paths: list[Path], monkeypatch: pytest.MonkeyPatch) -> None:
    import sys
    import types

    def cuda(count: int, reason: str) -> types.ModuleType:
        module = types.ModuleType("cvdecode._cuda")
        module.devices = lambda: (count, reason)  # type: ignore[attr-defined]
        module.launch = lambda *_: None  # type: ignore[attr-defined]
        return module

    def install(module: types.ModuleType | None) -> None:
        monkeypatch.setitem(sys.modules, "cvdecode._cuda", module)  # type: ignore[arg-type]
        if module is None:
            monkeypatch.delattr(cvdecode, "_cuda", raising=False)
        else:
            monkeypatch.setattr(cvdecode, "_cuda", module, raising=False)

    pytest.importorskip("torch")
    with VideoReader(paths[0]) as a:
        install(None)
        with pytest.raises(cvdecode.DeviceUnavailable, match="CVDECODE_CUDA=ON"):
            accumulate(a, [1], device="cuda")
        install(cuda(0, "no CUDA-capable device is detected"))
        with pytest.raises(cvdecode.DeviceUnavailable, match="no CUDA-capable device"):
            accumulate_batch([a], [[1]], device="cuda:0")
        for wrong in ("gpu", "cuda:x", "cpu:0"):
            with pytest.raises(ValueError, match="device is"):
                accumulate(a, [1], device=wrong)
        install(cuda(1, ""))
        monkeypatch.setitem(sys.modules, "torch", None)
        with pytest.raises(cvdecode.DeviceUnavailable, match="torch cannot be imported"):
            accumulate(a, [1], device="cuda")
    assert issubclass(cvdecode.DeviceUnavailable, (cvdecode.Error, RuntimeError))
