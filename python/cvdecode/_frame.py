"""What a read gives: a Clip of T frames, a single Frame of it, and the words that describe them."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from enum import IntEnum
from fractions import Fraction
from typing import Any, NamedTuple, cast

import numpy as np
import numpy.typing as npt

from . import _core

Array = npt.NDArray[Any]

PLANE_VERSION = 1
"""Version of the planes' meaning (names, shapes, units, signs); stored in every file we write."""

PLANES = ("mv", "ref", "mb_type", "qp", "bits", "residual_y", "residual_uv", "rgb")
"""Every plane that can be asked for."""

REF_UNTRUSTED = -32768
"""``ref``: the list is used, but this backend has no trustworthy (vector, picture) pair."""
REF_NOT_SHOWN = -32767
"""``ref``: a known picture that is not presented, or is farther than 32766 frames."""
REF_MISSING = -32766
"""``ref``: the reference is missing (a gap or damage)."""
REF_OTHER_FIELD = -32765
"""``ref``: the other field of the same frame."""
QP_NONE = -128
"""``qp``: there is none (a lost macroblock, or I_PCM)."""


class MbType(IntEnum):
    """Values of the plane ``mb_type``. libav fills only 7 to 10, 252 and 253."""

    I_4x4 = 0
    I_8x8 = 1
    I_16x16 = 2
    I_PCM = 3
    P_SKIP = 4
    B_SKIP = 5
    B_DIRECT_16x16 = 6
    INTER_16x16 = 7
    INTER_16x8 = 8
    INTER_8x16 = 9
    INTER_8x8 = 10
    INTER_UNKNOWN = 252
    INTRA_UNKNOWN = 253
    LOST = 255


class PlaneNotRead(_core.PlaneUnavailable, AttributeError):
    """The clip was read without this plane. Also an AttributeError, so that hasattr() works."""


class Crop(NamedTuple):
    """Luma samples of the coded picture outside the display, on each side.

    Display pixel (x, y) lies in the 4x4 block ((x + left) // 4, (y + top) // 4).
    """

    left: int
    top: int
    right: int
    bottom: int


class Segment(NamedTuple):
    """A run of frames [start, stop) of constant coded size, crop and chroma format."""

    start: int
    stop: int
    coded_size: tuple[int, int]
    """(width, height) in luma samples, multiples of 16."""
    crop: Crop
    chroma_format: str
    """One of "4:0:0", "4:2:0", "4:2:2", "4:4:4" and "other"."""
    bit_depth: int

    @property
    def width(self) -> int:
        """Display width in luma samples."""
        return self.coded_size[0] - self.crop.left - self.crop.right

    @property
    def height(self) -> int:
        """Display height in luma samples."""
        return self.coded_size[1] - self.crop.top - self.crop.bottom


class Gop(NamedTuple):
    """Pictures from one all-I picture up to the next, in decode order.

    ``start`` and ``stop`` bound the presentation indices of its pictures: [start, stop). In an
    open GOP leading pictures belong to the later I picture, so ``key_frame`` may lie past
    ``start``.
    """

    start: int
    stop: int
    key_frame: int
    """Presentation index of the all-I picture; -1 = not presented."""
    closed: bool
    """No picture of it refers to a picture before its all-I picture in decode order."""
    decode_start: int
    """Decode number of the all-I picture."""
    decode_stop: int


@dataclasses.dataclass(frozen=True)
class Metadata:
    """What is known of the stream. Sizes are those of the first segment."""

    source: str
    """The path, or "<bytes>", "<file object>"."""
    container: str
    codec: str
    profile: str
    stream_index: int
    width: int
    """Display width, luma samples: coded width less the crop. Rotation is not applied."""
    height: int
    """Display height, luma samples."""
    coded_width: int
    coded_height: int
    crop: Crop
    chroma_format: str
    bit_depth: int
    rotation: float
    """Display matrix, degrees counter-clockwise; reported, not applied."""
    sar: Fraction | None
    """Sample aspect ratio; reported, not applied."""
    clean_aperture: tuple[int, int, int, int]
    """(left, top, right, bottom) luma samples; reported, not applied."""
    time_base: Fraction
    """Seconds per unit of ``pts``."""
    frame_rate: Fraction | None
    """Average frame rate as the container says."""
    duration_seconds: float | None
    """From the start of the first presented frame to the end of the last; None = no timestamps."""
    begin_stream_seconds: float | None
    end_stream_seconds: float | None
    bit_rate: int | None
    """Bits per second as the container says."""
    num_frames: int
    """Presented frames: len(video)."""
    num_key_frames: int
    num_pictures: int
    """Coded pictures, with those that the edit list discards."""
    mv_unit: int
    """``mv`` counts 1/mv_unit luma samples."""
    qp_scale: str
    """The scale of ``qp``, in the words of the codec's standard."""

    @property
    def average_fps(self) -> float | None:
        """Frames per second over the presented frames; None without timestamps."""
        if not self.duration_seconds:
            return float(self.frame_rate) if self.frame_rate else None
        return self.num_frames / self.duration_seconds

    @property
    def coded_size(self) -> tuple[int, int]:
        """(width, height) in luma samples."""
        return (self.coded_width, self.coded_height)


class TensorDict(dict[str, Any]):
    """A dict of tensors whose keys are attributes too: ``t["mv"]`` is ``t.mv``."""

    def __getattr__(self, name: str) -> Any:
        try:
            return self[name]
        except KeyError:
            raise AttributeError(f"no tensor {name!r}; there are {', '.join(self)}") from None


# Samples per cell; the other planes have one cell per macroblock.
_CELLS = {"mv": 4, "ref": 4, "residual_y": 1, "residual_uv": 2, "rgb": 1}


class _Rows:
    """What Clip and Frame share: arrays by name, and the stream that they came from."""

    __slots__ = ("_arrays", "_batch", "metadata", "segment")

    _arrays: dict[str, Array]
    _batch: _core.Batch | None
    metadata: Metadata
    segment: Segment

    def _plane(self, name: str) -> Array:
        array = self._arrays.get(name)
        if array is None:
            remedy = f'planes=(..., "{name}")' if name != "rgb" else 'rgb="all" (or "key")'
            raise PlaneNotRead(
                f"{name!r} was not read; this {type(self).__name__} has "
                f"{', '.join(self.planes) or 'no planes'}. Open the reader with {remedy}"
            )
        return array

    @property
    def planes(self) -> tuple[str, ...]:
        """Names of the planes that were read."""
        return tuple(name for name in PLANES if name in self._arrays)

    @property
    def mv(self) -> Array:
        """Motion vectors, int16 (T, 2 lists, 2 (x, y), H4, W4), 1/metadata.mv_unit luma sample.

        From this block to its reference: source = here + mv / mv_unit. 0 where ``ref`` is 0.
        """
        return self._plane("mv")

    @property
    def ref(self) -> Array:
        """References, int16 (T, 2 lists, H4, W4): index(reference) - index(this frame).

        -1 is the previous frame; the sign is the direction in time. 0 = the list is not used.
        -32768 used, but no trustworthy (vector, picture) pair; -32767 a known picture that is not
        presented or farther than 32766; -32766 the reference is missing; -32765 the other field
        of the same frame. ``used`` and ``ref_known`` are masks.
        """
        return self._plane("ref")

    @property
    def mb_type(self) -> Array:
        """Macroblock types, uint8 (T, H16, W16), values of MbType; 255 = lost."""
        return self._plane("mb_type")

    @property
    def qp(self) -> Array:
        """Quantiser, int16 (T, H16, W16), in metadata.qp_scale; -128 = none (lost, I_PCM).

        Skipped and uncoded macroblocks carry the predicted value.
        """
        return self._plane("qp")

    @property
    def bits(self) -> Array:
        """Bits read while parsing each macroblock, uint16 (T, H16, W16), saturating."""
        return self._plane("bits")

    @property
    def residual_y(self) -> Array:
        """Luma residual, int16 (T, H, W): added to the prediction before clipping.

        A cropped view of memory at coded size. I_PCM blocks hold their samples.
        """
        return self._plane("residual_y")

    @property
    def residual_uv(self) -> Array:
        """Chroma residual (Cb, Cr), int16 (T, 2, ceil(H / 2), ceil(W / 2))."""
        return self._plane("residual_uv")

    @property
    def used(self) -> npt.NDArray[np.bool_]:
        """Mask (T, 2 lists, H4, W4): the list is used, whether or not its picture is known."""
        return cast("npt.NDArray[np.bool_]", self.ref != 0)

    @property
    def ref_known(self) -> npt.NDArray[np.bool_]:
        """Mask (T, 2 lists, H4, W4): ``ref`` is a distance in frames, no special value."""
        ref = self.ref
        return cast("npt.NDArray[np.bool_]", (ref != 0) & (ref > REF_OTHER_FIELD))

    @property
    def crop(self) -> Crop:
        """(left, top, right, bottom) luma samples between the coded and the shown picture."""
        return self.segment.crop

    @property
    def block_size(self) -> dict[str, int]:
        """Samples per cell of each plane; luma samples but for residual_uv, which is 2 wide."""
        block = 8 if self.metadata.codec == "hevc" else 16
        return {name: _CELLS.get(name, block) for name in PLANES}

    def numpy(self) -> dict[str, Any]:
        """All arrays by name, planes and per-frame ones, without a copy."""
        return dict(self._arrays)

    def torch(self) -> TensorDict:
        """All but frame_type as tensors by name, over the same memory.

        Needs torch, which is imported here and nowhere else. ``clip.torch().mv`` shares its
        memory with ``clip.mv``.
        """
        import torch

        return TensorDict(
            (name, torch.from_numpy(value) if isinstance(value, np.ndarray) else value.item())
            for name, value in self.numpy().items()
            if value.dtype.kind != "U"
        )

    def _shapes(self) -> str:
        return "".join(
            f"  {name}: {self._arrays[name].dtype}{list(self._arrays[name].shape)}\n"
            for name in self.planes
        )


class Clip(_Rows):
    """T frames: one array per plane, and one entry per frame of what else is known.

    The arrays are ordinary writable ``numpy.ndarray`` over memory that the compiled core
    allocated; each plane is an allocation of its own that lives as long as an array refers to it.
    They are never written again behind your back, unless you pass the clip as ``out=``.

    ``clip[3]`` is a Frame, ``clip[3:7]`` a Clip, both views; iterating yields Frames.
    """

    __slots__ = ("_decode_places", "_rgb_index")

    _decode_places: npt.NDArray[np.int64] | None
    _rgb_index: npt.NDArray[np.int64] | None

    def __init__(
        self,
        arrays: dict[str, Array],
        metadata: Metadata,
        segment: Segment,
        batch: _core.Batch | None = None,
    ) -> None:
        """Made by the reader; ``batch`` is the memory that ``out=`` can use again."""
        self.metadata = metadata
        self._set(arrays, segment, batch)

    def _set(self, arrays: dict[str, Array], segment: Segment, batch: _core.Batch | None) -> None:
        self._rgb_index = arrays.pop("rgb_index", None)
        # In decode order (T, 3): this frame, the reference picture before it, the last all-I one.
        self._decode_places = arrays.pop("decode_places", None)
        self._arrays = arrays
        self.segment = segment
        self._batch = batch

    @property
    def rgb(self) -> Array:
        """Pixels, uint8 (T, 3, H, W), full range; with rgb="key" (K, 3, H, W): see rgb_index."""
        return self._plane("rgb")

    @property
    def rgb_index(self) -> npt.NDArray[np.int64]:
        """Presentation index of each row of ``rgb``, int64 (K,); equals ``index`` for rgb="all"."""
        self._plane("rgb")
        return self.index if self._rgb_index is None else self._rgb_index

    @property
    def index(self) -> npt.NDArray[np.int64]:
        """Presentation index of each frame, int64 (T,)."""
        return self._arrays["index"]

    @property
    def pts(self) -> npt.NDArray[np.int64]:
        """Timestamps in metadata.time_base, int64 (T,); the smallest int64 where there is none."""
        return self._arrays["pts"]

    @property
    def pts_seconds(self) -> npt.NDArray[np.float64]:
        """Timestamps in seconds, float64 (T,); NaN where there is none."""
        return self._arrays["pts_seconds"]

    @property
    def duration_seconds(self) -> npt.NDArray[np.float64]:
        """How long each frame is shown, seconds, float64 (T,); NaN where unknown."""
        return self._arrays["duration_seconds"]

    @property
    def frame_type(self) -> npt.NDArray[np.str_]:
        """I, P, B or ? for each frame, (T,)."""
        return self._arrays["frame_type"]

    @property
    def is_key(self) -> npt.NDArray[np.bool_]:
        """Whether decoding can start here, bool (T,); never taken from packet flags."""
        return self._arrays["is_key"]

    @property
    def lost(self) -> npt.NDArray[np.bool_]:
        """Frames that damage took, wholly or in part, bool (T,); video.stats says why."""
        return self._arrays["lost"]

    def __len__(self) -> int:
        return len(self.index)

    def __getitem__(self, key: int | slice) -> Any:
        """A Frame for an int, a Clip for a slice; both are views."""
        if isinstance(key, slice):
            return self._rows(key)
        try:
            row = key.__index__()
        except AttributeError:
            raise TypeError(
                f"a clip is indexed by an int or a slice, not by {type(key).__name__}; "
                "index its planes, as in clip.mv[mask]"
            ) from None
        if not -len(self) <= row < len(self):
            raise IndexError(f"row {row} is out of range: the clip has {len(self)} frames")
        return self._frame(row % len(self))

    def _frame(self, row: int) -> Frame:
        one = self._rows(slice(row, row + 1))
        arrays = {
            name: array[0] for name, array in one._arrays.items() if name != "rgb" or len(array)
        }
        return Frame(arrays, self.metadata, self.segment)

    def _rows(self, rows: slice) -> Clip:
        arrays = {name: array[rows] for name, array in self._arrays.items() if name != "rgb"}
        if self._decode_places is not None:
            arrays["decode_places"] = self._decode_places[rows]
        rgb = self._arrays.get("rgb")
        if rgb is not None and self._rgb_index is None:
            arrays["rgb"] = rgb[rows]
        elif rgb is not None:
            which = self._key_rows(rows)
            arrays["rgb"] = rgb[which]
            arrays["rgb_index"] = cast("Array", self._rgb_index)[which]
        return Clip(arrays, self.metadata, self.segment)

    def _key_rows(self, rows: slice) -> slice:
        """The rows of ``rgb`` that belong to these rows of the clip."""
        # Row k of rgb is the k-th row of the clip that is a key frame.
        number = np.cumsum(self.is_key) - 1
        which = number[rows][self.is_key[rows]]
        if len(which) == 0:
            return slice(0, 0)
        step = 1 if len(which) == 1 else int(which[1] - which[0])
        if np.all(np.diff(which) == step):
            stop = int(which[-1]) + (1 if step > 0 else -1)
            return slice(int(which[0]), stop if stop >= 0 else None, step)
        return cast("slice", which)  # an index array: NumPy then copies

    def __iter__(self) -> Iterator[Frame]:
        return (self._frame(row) for row in range(len(self)))

    def numpy(self) -> dict[str, Any]:
        """All arrays by name, planes and per-frame ones, without a copy."""
        arrays = dict(self._arrays)
        if "rgb" in arrays:
            arrays["rgb_index"] = self.rgb_index
        return arrays

    def __repr__(self) -> str:
        shown = f"frames {self.index[0]} to {self.index[-1]}" if len(self) else "no frames"
        types = "".join(self.frame_type[:64].tolist()) + ("..." if len(self) > 64 else "")
        keys = "" if self._rgb_index is None else f"  rgb_index: {self._rgb_index.tolist()}\n"
        lost = f"  lost: {int(self.lost.sum())} of {len(self)}\n" if self.lost.any() else ""
        return (
            f"Clip(T={len(self)}, {shown}, {self.metadata.codec}, "
            f"{self.segment.width}x{self.segment.height}):\n"
            f"{self._shapes()}{keys}{lost}  frame_type: {types}"
        )

    def __reduce__(self) -> tuple[Any, ...]:
        arrays = {name: np.ascontiguousarray(array) for name, array in self._arrays.items()}
        if self._rgb_index is not None:
            arrays["rgb_index"] = self._rgb_index
        if self._decode_places is not None:
            arrays["decode_places"] = self._decode_places
        return (Clip, (arrays, self.metadata, self.segment))


class Frame(_Rows):
    """One frame: a clip's planes without their first axis. ``frame.mv`` is (2, 2, H4, W4).

    What a clip has per frame is a plain value here: ``frame.index`` is an int, ``frame.lost`` a
    bool. Planes are views of the clip's memory.
    """

    __slots__ = ()

    def __init__(self, arrays: dict[str, Array], metadata: Metadata, segment: Segment) -> None:
        """Made by the reader, or by taking a row of a clip."""
        self.metadata = metadata
        self.segment = segment
        self._arrays = arrays
        self._batch = None

    @property
    def rgb(self) -> Array:
        """Pixels, uint8 (3, H, W); with rgb="key" only key frames have them."""
        return self._plane("rgb")

    @property
    def index(self) -> int:
        """Presentation index."""
        return int(self._arrays["index"])

    @property
    def pts(self) -> int:
        """Timestamp in metadata.time_base; the smallest int64 where there is none."""
        return int(self._arrays["pts"])

    @property
    def pts_seconds(self) -> float:
        """Timestamp in seconds; NaN where there is none."""
        return float(self._arrays["pts_seconds"])

    @property
    def duration_seconds(self) -> float:
        """How long the frame is shown, seconds; NaN where unknown."""
        return float(self._arrays["duration_seconds"])

    @property
    def frame_type(self) -> str:
        """I, P, B or ?."""
        return str(self._arrays["frame_type"])

    @property
    def is_key(self) -> bool:
        """Whether decoding can start here."""
        return bool(self._arrays["is_key"])

    @property
    def lost(self) -> bool:
        """Whether damage took it, wholly or in part."""
        return bool(self._arrays["lost"])

    def __repr__(self) -> str:
        return (
            f"Frame(index={self.index}, {self.frame_type}, pts_seconds={self.pts_seconds:g}, "
            f"{self.metadata.codec}, {self.segment.width}x{self.segment.height}):\n"
            f"{self._shapes()}"
        ).rstrip("\n")

    def __reduce__(self) -> tuple[Any, ...]:
        arrays = {
            name: np.ascontiguousarray(array) if name in PLANES else array
            for name, array in self._arrays.items()
        }
        return (Frame, (arrays, self.metadata, self.segment))
