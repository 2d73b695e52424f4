"""GPUs: what does the work that ``_core`` planned. Torch allocates, ``_cuda`` launches."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from . import _core

Shapes = dict[str, tuple[tuple[int, ...], str]]
"""Plane -> (shape of one frame, dtype)."""

_ORDER = (
    *("displacement", "anchor", "mask", "hops"),
    *("residual_y", "residual_uv", "mask_uv", "residual"),
)
"""Of the addresses that DeviceBatch.pack() takes; that of a counter follows them."""

PADDING = {"mask": 2, "mask_uv": 2, "anchor": -1}
"""What rows without a frame hold; 0 in the other planes."""


class DeviceUnavailable(_core.Error, RuntimeError):
    """A GPU was asked for, and there is no module for it, no GPU, or no torch."""


class Cuda:
    """One GPU, as torch sees it: memory from torch's cache, work on torch's current stream."""

    def __init__(self, name: str) -> None:
        """``name`` as torch spells devices: "cuda" (the current one) or "cuda:1"."""
        try:
            import torch
        except ImportError as error:
            raise DeviceUnavailable(
                f"device={name!r} gives torch tensors, and torch cannot be imported ({error}): "
                "install a CUDA build of torch"
            ) from error
        try:
            from . import _cuda
        except ImportError as error:
            raise DeviceUnavailable(
                f"device={name!r}: this build of cvdecode has no module for GPUs ({error}). Build "
                "it where the CUDA toolkit is: pip install . -C cmake.define.CVDECODE_CUDA=ON; or "
                'use device="cpu"'
            ) from error
        count, reason = _cuda.devices()
        if count == 0:
            raise DeviceUnavailable(
                f"device={name!r}: no GPU can be used here ({reason}); check nvidia-smi, or use "
                'device="cpu"'
            )
        if not torch.cuda.is_available():
            raise DeviceUnavailable(
                f"device={name!r}: torch {torch.__version__} cannot use the GPU; install a CUDA "
                'build of torch, or use device="cpu"'
            )
        device = torch.device(name)
        index = torch.cuda.current_device() if device.index is None else device.index
        if index >= count:
            raise DeviceUnavailable(f"device={name!r}: there are {count} GPUs here")
        self._torch = torch
        self._launch = _cuda.launch
        self.device = torch.device("cuda", index)

    def allocate(self, shapes: Shapes, lead: tuple[int, ...]) -> dict[str, Any]:
        """Tensors (*lead, *shape) by name, contents undefined."""
        return {name: self.empty((*lead, *shape), dtype) for name, (shape, dtype) in shapes.items()}

    def free_memory(self) -> int:
        """Bytes that can still be allocated, those that torch's cache holds idle included."""
        cuda = self._torch.cuda
        free = int(cuda.mem_get_info(self.device)[0])
        idle = cuda.memory_reserved(self.device) - cuda.memory_allocated(self.device)
        return free + int(idle)

    def empty(self, shape: tuple[int, ...], dtype: str) -> Any:
        """A tensor, contents undefined."""
        torch = self._torch
        return torch.empty(shape, dtype=getattr(torch, dtype), device=self.device)

    def host(self, size: int) -> Any:
        """Bytes on this side, from which a copy to the GPU need not wait."""
        return self._torch.empty(size, dtype=self._torch.uint8, pin_memory=True)

    def launch(self, kernel: int, steps: int, count: int, width: int, height: int) -> None:
        """Starts a launch of DeviceBatch.pack() and does not wait."""
        stream = self._torch.cuda.current_stream(self.device).cuda_stream
        self._launch(self.device.index, stream, kernel, steps, count, width, height)


def find(device: Any) -> Cuda | None:
    """The GPU that ``device`` names; None = the CPU."""
    name = str(device)
    if name == "cpu":
        return None
    kind, _, index = name.partition(":")
    if kind != "cuda" or (index and not index.isdecimal()):
        raise ValueError(f'device is "cpu", "cuda" or "cuda:1", not {device!r}')
    return Cuda(name)


def run_plans(gpu: Cuda, plans: Sequence[_core.AccumulationPlan], arrays: dict[str, Any]) -> Any:
    """Carries out one plan for each row of ``arrays`` (tensors (N, T, ...), at coded size).

    Returns:
        Sums clipped to int16, int64 (N,), a tensor on the GPU. Nothing waits for the GPU here.
    """
    batch = _core.DeviceBatch(plans)
    counters = gpu.empty((len(plans),), "int64").zero_()
    host = gpu.host(batch.upload_bytes)
    upload = gpu.empty((batch.upload_bytes,), "uint8")
    scratch = gpu.empty((batch.scratch_bytes,), "uint8")
    outputs = [
        [arrays[name][i].data_ptr() if name in arrays else 0 for name in _ORDER]
        + [counters[i].data_ptr()]
        for i in range(len(plans))
    ]
    launches = batch.pack(host.data_ptr(), upload.data_ptr(), scratch.data_ptr(), outputs)
    upload.copy_(host, non_blocking=True)
    for launch in launches:
        gpu.launch(*launch)
    for i, plan in enumerate(plans):
        for name, array in arrays.items():
            for source, target in plan.repeats:
                array[i, target] = array[i, source]
            if plan.frames < array.shape[1]:
                array[i, plan.frames :] = PADDING.get(name, 0)
    return counters


def rasterize(
    gpu: Cuda,
    plane: Any,
    vectors: bool,
    reduce: str,
    none: Any,
    fill: float,
    x: Sequence[int],
    y: Sequence[int],
) -> Any:
    """What _core.rasterize() does with an array, for a tensor on ``gpu``; does not wait for it."""
    if plane.stride(-1) != 1:
        plane = plane.contiguous()
    dtype = str(plane.dtype).removeprefix("torch.")
    work = _core.DeviceRaster(
        list(plane.shape), list(plane.stride()), dtype, vectors, reduce, none, fill, x, y
    )
    shape = (*plane.shape[:-2], work.rows, work.columns)
    out = gpu.empty(shape, "float32" if reduce == "mean" else dtype)
    host = gpu.host(work.upload_bytes)
    upload = gpu.empty((work.upload_bytes,), "uint8")
    launch = work.pack(host.data_ptr(), upload.data_ptr(), plane.data_ptr(), out.data_ptr())
    upload.copy_(host, non_blocking=True)
    gpu.launch(*launch)
    return out


def to_numpy(array: Any) -> np.ndarray[Any, Any]:
    """The array itself, or a tensor's content on the CPU."""
    if isinstance(array, np.ndarray):
        return array
    result: np.ndarray[Any, Any] = array.cpu().numpy()
    return result
