"""Files of planes: written row by row in bounded memory, under a temporary name until complete."""

from __future__ import annotations

import json
import os
import struct
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from collections.abc import Callable

# name -> (shape, dtype): everything is known before the first row is written.
Layout = dict[str, tuple[tuple[int, ...], np.dtype[Any]]]

_SAFETENSORS_TYPES = {
    "uint8": "U8",
    "bool": "BOOL",
    "int16": "I16",
    "uint16": "U16",
    "int32": "I32",
    "int64": "I64",
    "float64": "F64",
}


class Writer(Protocol):
    def write(self, name: str, first_row: int, rows: npt.NDArray[Any]) -> None: ...
    def finish(self) -> None: ...
    def abort(self) -> None: ...


def layout_bytes(layout: Layout) -> int:
    return sum(int(np.prod(shape)) * dtype.itemsize for shape, dtype in layout.values())


class SafetensorsWriter:
    """One .safetensors file. The library's own writer wants all tensors in memory at once; the
    format (8 bytes of header length, a JSON header, raw little-endian data) allows rows in turn."""

    def __init__(self, path: Path, layout: Layout, metadata: dict[str, str]) -> None:
        self._path = path
        self._part = path.with_name(path.name + ".part")
        self._layout = layout
        header: dict[str, Any] = {"__metadata__": metadata}
        offset = 0
        self._offsets: dict[str, int] = {}
        # Widest first keeps every tensor aligned to its own item size.
        for name, (shape, dtype) in sorted(layout.items(), key=lambda i: -i[1][1].itemsize):
            size = int(np.prod(shape)) * dtype.itemsize
            header[name] = {
                "dtype": _SAFETENSORS_TYPES[dtype.name],
                "shape": list(shape),
                "data_offsets": [offset, offset + size],
            }
            self._offsets[name] = offset
            offset += size
        text = json.dumps(header).encode()
        text += b" " * (-len(text) % 8)
        self._base = 8 + len(text)
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = open(self._part, "wb")  # noqa: SIM115 (open across calls: rows come in turn)
        try:
            self._file.write(struct.pack("<Q", len(text)) + text)
            self._file.truncate(self._base + offset)
        except OSError:
            self.abort()
            raise

    def write(self, name: str, first_row: int, rows: npt.NDArray[Any]) -> None:
        shape, dtype = self._layout[name]
        if rows.shape[1:] != shape[1:] or rows.dtype != dtype:
            raise ValueError(f"{name}: {rows.dtype}{rows.shape} does not fit {dtype}{shape}")
        row_bytes = int(np.prod(shape[1:])) * dtype.itemsize
        self._file.seek(self._base + self._offsets[name] + first_row * row_bytes)
        self._file.write(np.ascontiguousarray(rows).data)

    def finish(self) -> None:
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()
        self._part.replace(self._path)

    def abort(self) -> None:
        self._file.close()
        self._part.unlink(missing_ok=True)


class NpyWriter:
    """A folder with one .npy file a tensor and metadata.json."""

    def __init__(self, path: Path, layout: Layout, metadata: dict[str, str]) -> None:
        self._path = path
        self._part = path.with_name(path.name + ".part")
        _remove(self._part)
        self._part.mkdir(parents=True)
        (self._part / "metadata.json").write_text(json.dumps(metadata, indent=1) + "\n")
        self._maps = {
            name: np.lib.format.open_memmap(
                self._part / f"{name}.npy", mode="w+", dtype=dtype, shape=shape
            )
            for name, (shape, dtype) in layout.items()
        }

    def write(self, name: str, first_row: int, rows: npt.NDArray[Any]) -> None:
        self._maps[name][first_row : first_row + len(rows)] = rows

    def finish(self) -> None:
        for array in self._maps.values():
            array.flush()
        self._maps.clear()
        _remove(self._path)
        self._part.replace(self._path)

    def abort(self) -> None:
        self._maps.clear()
        _remove(self._part)


class NpzWriter:
    """One compressed .npz: the whole clip is held in memory, so for small clips only."""

    LIMIT = 1 << 30

    def __init__(self, path: Path, layout: Layout, metadata: dict[str, str]) -> None:
        if layout_bytes(layout) > self.LIMIT:
            raise ValueError(
                f"{path.name} would hold {layout_bytes(layout)} bytes in memory: npz is for small "
                "clips; use --format safetensors or npy"
            )
        self._path = path
        self._arrays = {name: np.zeros(shape, dtype) for name, (shape, dtype) in layout.items()}
        self._arrays["metadata"] = np.array(json.dumps(metadata))

    def write(self, name: str, first_row: int, rows: npt.NDArray[Any]) -> None:
        self._arrays[name][first_row : first_row + len(rows)] = rows

    def finish(self) -> None:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        part = self._path.with_name(self._path.name + ".part")
        with open(part, "wb") as file:
            np.savez_compressed(file, allow_pickle=False, **self._arrays)
            file.flush()
            os.fsync(file.fileno())
        part.replace(self._path)

    def abort(self) -> None:
        self._arrays.clear()


WRITERS: dict[str, Callable[[Path, Layout, dict[str, str]], Writer]] = {
    "safetensors": SafetensorsWriter,
    "npy": NpyWriter,
    "npz": NpzWriter,
}
SUFFIXES = {"safetensors": ".safetensors", "npy": "", "npz": ".npz"}


def _remove(path: Path) -> None:
    if path.is_dir():
        for child in path.iterdir():
            child.unlink()
        path.rmdir()
    else:
        path.unlink(missing_ok=True)
