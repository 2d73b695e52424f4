"""A device made of NumPy arrays: launches walked on the CPU, guard bytes around all memory."""

from __future__ import annotations

from typing import Any

import numpy as np

from cvdecode import _core

GUARD = 256
FILL = 0xA5

OUTPUTS = (
    "displacement",
    "anchor",
    "mask",
    "hops",
    "residual_y",
    "residual_uv",
    "mask_uv",
    "residual",
    "clipped",
)
"""In the order in which DeviceBatch.pack() takes them."""


class Guarded:
    """Memory between two guards, aligned to 256 bytes."""

    def __init__(self, size: int) -> None:
        self._all = np.full(size + 2 * GUARD + 256, FILL, np.uint8)
        self._first = GUARD + -(self._all.ctypes.data + GUARD) % 256
        self.bytes = self._all[self._first : self._first + size]
        self.address = self._all.ctypes.data + self._first

    def intact(self) -> bool:
        end = self._first + len(self.bytes)
        return bool((self._all[: self._first] == FILL).all() and (self._all[end:] == FILL).all())


def run_on_emulated_device(
    plans: list[Any], shapes: list[dict[str, Any]], *, backwards: bool = False
) -> list[dict[str, np.ndarray]]:
    """The outputs of every clip. ``shapes``: name -> array of that shape and dtype, by clip."""
    batch = _core.DeviceBatch(plans)
    upload, scratch = Guarded(batch.upload_bytes), Guarded(batch.scratch_bytes)
    memory: list[Guarded] = [upload, scratch]
    results, addresses = [], []
    for shape in shapes:
        own = {"clipped": np.zeros(1, np.uint64)}
        places = []
        for name in OUTPUTS[:-1]:
            like = shape.get(name)
            if like is None:
                places.append(0)
                continue
            guarded = Guarded(like.nbytes)
            memory.append(guarded)
            own[name] = guarded.bytes.view(like.dtype).reshape(like.shape)
            places.append(guarded.address)
        results.append(own)
        addresses.append([*places, own["clipped"].ctypes.data])
    # On a device the buffer is filled elsewhere and copied.
    for launch in batch.pack(upload.address, upload.address, scratch.address, addresses):
        _core.emulate_launch(*launch, backwards)  # type: ignore[attr-defined]
    for plan, own in zip(plans, results, strict=True):
        for source, target in plan.repeats:
            for name in own.keys() - {"clipped"}:
                own[name][target] = own[name][source]
    assert all(m.intact() for m in memory), "a thread wrote outside its memory"
    return results


class EmulatedGpu:
    """What `_device` asks of a GPU, with torch on the CPU and launches walked there."""

    def __init__(self) -> None:
        self.launches = 0
        self.free = 1 << 40

    def allocate(self, shapes: Any, lead: tuple[int, ...]) -> dict[str, Any]:
        return {name: self.empty((*lead, *shape), dtype) for name, (shape, dtype) in shapes.items()}

    def empty(self, shape: tuple[int, ...], dtype: str) -> Any:
        import torch

        memory = torch.from_numpy(np.full(shape, 0x5A, dtype))
        assert memory.numel() == 0 or memory.data_ptr() % 16 == 0
        return memory

    def free_memory(self) -> int:
        return self.free

    def host(self, size: int) -> Any:
        return self.empty((size,), "uint8")

    def launch(self, *launch: int) -> None:
        self.launches += 1
        _core.emulate_launch(*launch, False)  # type: ignore[attr-defined]
