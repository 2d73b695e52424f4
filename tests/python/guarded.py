"""Memory for kernels: arrays at any address, between guard bytes or against a forbidden page."""

from __future__ import annotations

import ctypes
import mmap
from typing import Any

import numpy as np

GUARD = 0xA5
MARGIN = 192  # more than any vector


class Guarded:
    """Arrays whose surroundings are watched: `intact()` says whether they were left alone."""

    def __init__(self) -> None:
        self._all: list[tuple[np.ndarray, int, int]] = []

    def like(self, array: np.ndarray, shift: int = 0) -> np.ndarray:
        """A copy, `shift` elements off any alignment."""
        head = MARGIN + shift * array.itemsize
        raw = np.full(head + array.nbytes + MARGIN, GUARD, np.uint8)
        inside = raw[head : head + array.nbytes]
        inside[:] = np.frombuffer(array.tobytes(), np.uint8)
        self._all.append((raw, head, head + array.nbytes))
        return inside.view(array.dtype)

    def intact(self) -> bool:
        return all(
            bool((raw[:begin] == GUARD).all() and (raw[end:] == GUARD).all())
            for raw, begin, end in self._all
        )


class Walled:
    """Arrays that end where a page begins that nobody may read: an overrun ends the process."""

    def __init__(self) -> None:
        self._libc = ctypes.CDLL(None, use_errno=True)
        self._maps: list[tuple[mmap.mmap, Any]] = []

    def like(self, array: np.ndarray, shift: int = 0) -> np.ndarray:
        page = mmap.PAGESIZE
        room = -(-max(array.nbytes, 1) // page) * page
        memory = mmap.mmap(-1, room + page)
        anchor = ctypes.c_char.from_buffer(memory)
        wall = ctypes.addressof(anchor) + room
        if self._libc.mprotect(ctypes.c_void_p(wall), page, 0) != 0:
            raise OSError(ctypes.get_errno(), "mprotect")
        self._maps.append((memory, anchor))
        inside = np.frombuffer(memory, np.uint8, array.nbytes, room - array.nbytes)
        inside[:] = np.frombuffer(array.tobytes(), np.uint8)
        return inside.view(array.dtype)

    def intact(self) -> bool:
        return True
