"""One sample: a video opened, frames drawn, and only those read."""

from __future__ import annotations

import dataclasses
import os
import threading
import time
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import torch

import cvdecode
from cvdecode.data import _resample
from cvdecode.data._gops import GopTable, Indices
from cvdecode.data.encodings import (
    MV_ENCODINGS,
    RESIDUAL_ENCODINGS,
    encode_mv,
    encode_residual,
)
from cvdecode.data.jitter import HlsJitter, shift_hls
from cvdecode.data.samplers import PADDING, Draw, Sampler
from cvdecode.data.views import View, Window

MODALITIES = ("iframe", "mv", "residual", "qp", "mb_type", "bits", "mask", "rgb")
CELLS = ("qp", "mb_type", "bits")
Array = npt.NDArray[Any]
Places = Array | slice
"""Which places of a flat draw hold a frame: bool (places,), or all of them."""


@dataclasses.dataclass(frozen=True)
class What:
    """What a sample is made of; the arguments of CompressedVideoDataset of the same names."""

    modalities: tuple[str, ...]
    motion: Literal["accumulated", "step", "coded"]
    residual: Literal["coded", "recon_diff"]
    mode: Literal["exact", "coviar"]
    mv_encoding: str
    residual_encoding: str
    virtual_gop: int | None
    mv_grid: int
    per_frame: bool
    scale_values: bool
    jitter: HlsJitter | None = None

    def __post_init__(self) -> None:
        _one_of("motion", self.motion, ("accumulated", "step", "coded"))
        _one_of("residual", self.residual, ("coded", "recon_diff"))
        _one_of("mode", self.mode, ("exact", "coviar"))
        if "mv" in self.modalities:
            _one_of("the encoding of mv", self.mv_encoding, MV_ENCODINGS)
        if "residual" in self.modalities:
            _one_of("the encoding of residual", self.residual_encoding, RESIDUAL_ENCODINGS)
        if self.mv_grid not in (1, 4):
            raise ValueError(f"mv_grid is 1 (samples) or 4 (blocks), not {self.mv_grid!r}")
        if self.per_frame and self.motion != "step":
            raise ValueError('per_frame=True goes with motion="step"')
        if self.mv_grid == 4 and "residual" in self.modalities:
            raise ValueError("the residual is traced pixel by pixel: it goes with mv_grid=1")
        coded = self.motion == "coded" and "mv" in self.modalities
        if coded and self.mv_encoding not in ("int16", "float_px"):
            raise ValueError('motion="coded" has the encodings "int16" and "float_px"')
        unknown = set(self.modalities) - set(MODALITIES)
        if unknown or not self.modalities:
            names = ", ".join(MODALITIES)
            raise ValueError(f"modalities are some of {names}; not {sorted(unknown)}")

    @property
    def planes(self) -> tuple[str, ...]:
        """Planes that the reader is opened for."""
        planes = [name for name in CELLS if name in self.modalities]
        if self.motion == "coded" and "mv" in self.modalities:
            planes += ["mv", "ref"]
        return tuple(planes)

    @property
    def accumulates(self) -> bool:
        """Whether accumulate() is asked."""
        motion = "mv" in self.modalities and self.motion != "coded"
        return motion or "residual" in self.modalities or "mask" in self.modalities


def _one_of(name: str, value: object, allowed: tuple[str, ...]) -> None:
    if value not in allowed:
        raise ValueError(f"{name} is one of {', '.join(allowed)}; not {value!r}")


MOST_KEPT = 64 << 20
"""Bytes of an accumulation beyond which its memory is given back."""


class Memory(threading.local):
    """The accumulation that this thread made last: its memory serves for the next one."""

    last: cvdecode.Accumulation | None = None

    def __reduce__(self) -> tuple[type[Memory], tuple[()]]:
        return (Memory, ())  # another process starts with none


def read_sample(
    path: str,
    what: What,
    sampler: Sampler,
    view: View,
    rng: np.random.Generator,
    index_file: str | None = None,
    memory: Memory | None = None,
) -> dict[str, Any]:
    """The tensors of one sample; see CompressedVideoDataset."""
    with cvdecode.VideoReader(path, planes=what.planes, index_file=index_file) as video:
        return sample_of(video, path, what, sampler, view, rng, {}, memory)


def sample_of(
    video: cvdecode.VideoReader,
    path: str,
    what: What,
    sampler: Sampler,
    view: View,
    rng: np.random.Generator,
    seconds: dict[str, float],
    memory: Memory | None = None,
) -> dict[str, Any]:
    """The same of an open video; adds to ``seconds`` what "read" and "accumulate" took."""

    def took(name: str, value: float) -> None:
        seconds[name] = seconds.get(name, 0.0) + value

    if len(video) == 0:
        raise cvdecode.CorruptStream(f"{path} has no frame")
    gops = gop_table(video, what.virtual_gop)
    draw = sampler(gops, rng)
    _check(draw, len(video), path)
    segment = _segment_of(video, draw, path)
    window = view(segment.width, segment.height, rng)
    shifts = what.jitter.draw(rng) if what.jitter is not None else None
    sample: dict[str, Any] = {}
    lost = np.zeros(draw.frames.size, np.bool_)
    shape = draw.frames.shape
    frames, present = _present(draw.frames)

    def put(name: str, tensors: list[torch.Tensor], where: Places, shape: Any) -> None:
        sample[name] = _arranged(tensors, where, shape, view.num_crops > 1)

    def put_pictures(name: str, pictures: Array, where: Places, shape: Any) -> None:
        tensors = _resample.encoded(pictures, window, "none")
        if shifts is not None:
            tensors = [shift_hls(tensor, shifts) for tensor in tensors]
        put(name, tensors, where, shape)

    if "iframe" in what.modalities:
        iframes, there = _present(draw.iframes)
        start = time.perf_counter()
        pictures = video.get_rgb_at(iframes)
        took("read", time.perf_counter() - start)
        put_pictures("iframe", pictures, there, draw.iframes.shape)
    if "rgb" in what.modalities:
        start = time.perf_counter()
        pictures = video.get_rgb_at(frames)
        took("read", time.perf_counter() - start)
        put_pictures("rgb", pictures, present, shape)
    if what.planes:
        start = time.perf_counter()
        clip = video.get_frames_at(frames)
        took("read", time.perf_counter() - start)
        lost[present] |= clip.lost
        for name, tensors in _of_clip(clip, what, window):
            put(name, tensors, present, shape)
    if what.accumulates:
        start = time.perf_counter()
        acc = _accumulate(video, frames, what, gops, window, memory or Memory())
        took("read", time.perf_counter() - start - acc.stats.cpu_seconds)
        took("accumulate", acc.stats.cpu_seconds)
        lost[present] |= acc.lost if "lost" in acc.planes else _broken(acc.mask)
        for name, tensors in _of_accumulation(acc, what, window):
            put(name, tensors, present, shape)
    stats = video.stats
    damage: dict[int, str] = {}
    if stats.damage:
        lost[present] |= [frame in stats.damage for frame in frames.tolist()]
        damage = {f: stats.damage[f] for f in sorted(set(frames.tolist()) & set(stats.damage))}
    sample["frames"] = torch.from_numpy(draw.frames)
    sample["iframes"] = torch.from_numpy(draw.iframes)
    sample["lost"] = torch.from_numpy(lost.reshape(shape))
    sample["meta"] = {
        "path": path,
        "num_frames": len(video),
        "num_gops": len(gops),
        "width": segment.width,
        "height": segment.height,
        "slices_parsed": stats.slices_parsed,
        "pictures_decoded": stats.pictures_decoded,
        "damage": damage,
    }
    return sample


def _present(drawn: Indices) -> tuple[Indices, Places]:
    """The frames of a draw but for its padding, flat, and which of its places they stand at."""
    flat = drawn.ravel()
    there = flat != PADDING
    return (flat, slice(None)) if there.all() else (flat[there], there)


def _broken(masks: Array) -> Array:
    """Of which frames nothing is left: bool (T,)."""
    broken: Array = masks[:, 0, 0] == cvdecode.MASK_BROKEN  # mostly the first cell tells
    for row in np.flatnonzero(broken):
        broken[row] = (masks[row] == cvdecode.MASK_BROKEN).all()
    return broken


def gop_table(video: cvdecode.VideoReader, virtual_gop: int | None) -> GopTable:
    """The GOPs that samplers see."""
    if virtual_gop is not None:
        return GopTable.virtual(virtual_gop, len(video))
    return GopTable.of(video.gops, len(video))


def _check(draw: Draw, num_frames: int, path: str) -> None:
    for name, frames in zip(Draw._fields, draw, strict=True):
        if frames.dtype != np.int64:
            raise TypeError(f"a sampler draws {name} as int64, not {frames.dtype}")
        drawn = frames.ravel().tolist()
        if drawn and not PADDING <= min(drawn) <= max(drawn) < num_frames:
            raise IndexError(f"the sampler drew {name} outside the {num_frames} frames of {path}")


def _segment_of(video: cvdecode.VideoReader, draw: Draw, path: str) -> cvdecode.Segment:
    """The one segment that a sample lies in."""
    segments = video.segments
    if len(segments) == 1:
        return segments[0]
    drawn = np.concatenate([draw.frames.ravel(), draw.iframes.ravel()])
    drawn = drawn[drawn != PADDING]
    for segment in segments:
        if ((drawn >= segment.start) & (drawn < segment.stop)).all():
            return segment
    raise cvdecode.UnsupportedStream(
        f"{path} changes its picture size at frame {segments[0].stop}, between the frames that "
        "the sampler drew; cut the video there"
    )


def _accumulate(
    video: cvdecode.VideoReader,
    frames: Indices,
    what: What,
    gops: GopTable,
    window: Window,
    memory: Memory,
) -> cvdecode.Accumulation:
    """All that is taken from the result is copied before the next call."""
    last, memory.last = memory.last, None
    one_step = what.motion != "accumulated"  # to the true reference, wherever GOPs begin
    acc = cvdecode.accumulate(
        video,
        frames,
        anchors=None if what.virtual_gop is None or one_step else gops.keys.tolist(),
        residual=what.residual if "residual" in what.modalities else None,
        grid=4 if what.mv_grid == 4 else "pixel",
        hops=1 if one_step else None,
        per_frame=what.per_frame,
        mode=what.mode,
        box=window.box,
        ends="mask" in what.modalities,
        out=last,
    )
    if sum(array.nbytes for array in acc.numpy().values()) <= MOST_KEPT:
        memory.last = acc
    return acc


def _of_clip(
    clip: cvdecode.Clip, what: What, window: Window
) -> list[tuple[str, list[torch.Tensor]]]:
    """Planes of cells, each with its tensors (N, rows, columns) per crop."""
    found = []
    left, top = clip.crop.left, clip.crop.top
    for name in what.planes:
        block = clip.block_size[name]
        cells = _resample.nearest(getattr(clip, name), block, (left, top), window)
        if name == "mv":
            cells = [
                _mirrored(cell, axis=-3) if flipped else cell
                for cell, (_, _, flipped) in zip(cells, window.crops, strict=True)
            ]
            if what.mv_encoding == "float_px":
                cells = [cell.astype(np.float32) / 4 for cell in cells]
        found.append((name, [torch.from_numpy(np.ascontiguousarray(cell)) for cell in cells]))
    return found


def _mirrored(vectors: Array, axis: int = -3) -> Array:
    """Vectors whose picture is mirrored: x changes its sign; ``axis`` holds (x, y)."""
    factors = np.array([-1, 1], vectors.dtype).reshape(2, *(1,) * (-axis - 1))
    mirrored: Array = vectors * factors
    return mirrored


def _of_accumulation(
    acc: cvdecode.Accumulation, what: What, window: Window
) -> list[tuple[str, list[torch.Tensor]]]:
    found = []
    if "mv" in what.modalities and what.motion != "coded":
        found.append(("mv", _vectors(acc, what, window)))
    if "mask" in what.modalities:
        x, y = acc.origin
        cells = _resample.nearest(acc.mask, acc.grid, (-x, -y), window)
        found.append(("mask", [torch.from_numpy(cell) for cell in cells]))
    if "residual" in what.modalities:
        found.append(("residual", _residuals(acc, what, window)))
    return found


def _vectors(acc: cvdecode.Accumulation, what: What, window: Window) -> list[torch.Tensor]:
    """Displacement, encoded and then resized, as CoViAR does: (N, 2, H, W) per crop."""
    displacement = acc.displacement
    on_cells = acc.grid != 1
    if what.mode == "coviar":
        displacement = displacement * np.int16(4)  # it counts whole samples
    scale = (1.0, 1.0)
    if what.scale_values:
        scale = (window.resized[1] / window.box[2], window.resized[0] / window.box[3])
    bytes_ = what.mv_encoding == "coviar_u8" and scale == (1.0, 1.0)
    if bytes_ and not on_cells and displacement.dtype == np.int16:
        return _resample.encoded(displacement, window, "vector")
    if not on_cells:
        displacement = _resample.cut(displacement, window)
    size = (acc.segment.width, acc.segment.height)
    tensors: dict[bool, list[torch.Tensor]] = {}
    for flipped in {flipped for _, _, flipped in window.crops}:
        signed = _mirrored(displacement) if flipped else displacement
        encoded = encode_mv(signed, what.mv_encoding, scale=scale, size=size)
        if on_cells:
            x, y = acc.origin
            cells = _resample.nearest(encoded, acc.grid, (-x, -y), window)
            tensors[flipped] = [torch.from_numpy(np.ascontiguousarray(c)) for c in cells]
        else:
            tensors[flipped] = _resample.bilinear(encoded, window)
    return [tensors[flipped][k] for k, (_, _, flipped) in enumerate(window.crops)]


def _residuals(acc: cvdecode.Accumulation, what: What, window: Window) -> list[torch.Tensor]:
    """The residual encoded and then resized: (N, 3, H, W) per crop; see RESIDUAL_ENCODINGS."""
    bytes_ = what.residual_encoding == "coviar_u8"
    if what.residual == "recon_diff":
        planes = acc.residual
        if bytes_:
            return _resample.encoded(planes[:, ::-1], window, "residual")
        values = encode_residual(_resample.cut(planes, window), what.residual_encoding)
        return _resample.bilinear(values, window)
    chroma = acc.residual_uv if "residual_uv" in acc.planes else None
    if bytes_:
        return _resample.encoded_residual(acc.residual_y, chroma, window)
    luma = encode_residual(_resample.cut(acc.residual_y, window), what.residual_encoding)
    out = np.zeros((len(luma), 3, *luma.shape[-2:]), luma.dtype)
    out[:, 0] = luma
    if chroma is not None:
        x, y, w, h = window.box
        rows, columns = np.arange(y, y + h) // 2, np.arange(x, x + w) // 2
        out[:, 1:] = chroma[:, :, rows][:, :, :, columns]
    return _resample.bilinear(out, window)


def _arranged(
    tensors: list[torch.Tensor], present: Places, shape: tuple[int, ...], crops: bool
) -> torch.Tensor:
    """Crops (N, ...) as (crops, *shape, ...), or (*shape, ...) for one; padding rows are zeros."""
    arranged = []
    for tensor in tensors:
        if not isinstance(present, slice):
            full = tensor.new_zeros((len(present), *tensor.shape[1:]))
            full[torch.from_numpy(present)] = tensor
            tensor = full
        if len(shape) != 1:  # else it has it already
            tensor = tensor.reshape(*shape, *tensor.shape[1:])
        arranged.append(tensor)
    return torch.stack(arranged) if crops else arranged[0]


def is_path(value: object) -> bool:
    """A path, not a list of entries."""
    return isinstance(value, (str, os.PathLike))
