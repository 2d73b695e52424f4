"""Opening videos and reading frames: VideoReader, read() and probe()."""

from __future__ import annotations

import dataclasses
import io
import operator
import os
from collections.abc import Iterable, Iterator, Sequence
from fractions import Fraction
from types import TracebackType
from typing import Any, Literal, NamedTuple, cast

import numpy as np
import numpy.typing as npt

from . import _core
from ._frame import PLANES, Array, Clip, Crop, Frame, Gop, Metadata, Segment

Rgb = Literal["none", "key", "all"]
Backend = Literal["auto", "native", "libav"]
Source = Any
"""str, os.PathLike, bytes-like, seekable binary file object, or URL."""
Indices = Any
"""A sequence or array (or CPU tensor) of integers."""

_CHROMA = {0: "4:0:0", 1: "4:2:0", 2: "4:2:2", 3: "4:4:4"}
_QP_SCALES = {
    "h264": "QP_Y (0 to 51)",
    "hevc": "QpY (0 to 51)",
    "mpeg4": "quantiser_scale of MPEG-4 part 2 (1 to 31)",
    "mpeg1video": "quantiser_scale (1 to 31)",
    "mpeg2video": "quantiser_scale_code (1 to 31)",
}
_NO_SEGMENT = Segment(0, 0, (0, 0), Crop(0, 0, 0, 0), "other", 8)
"""Of a stream without a frame."""


@dataclasses.dataclass(frozen=True)
class Stats:
    """Work done so far, and what damage took. Made anew at each look at ``video.stats``."""

    packets_read: int
    slices_parsed: int
    """native: slices entropy-decoded."""
    pictures_parsed: int
    """native: pictures whose slices were entropy-decoded."""
    pictures_decoded: int
    """libav: pictures that came out of the decoder."""
    seeks: int
    """libav: decoder restarts."""
    slices_lost: int
    slices_skipped: int
    """Redundant pictures, and NAL units outside the base view."""
    damage: dict[int, str]
    """Presentation index -> what was lost of this frame and why, for the frames read so far."""
    damage_not_presented: dict[int, str]
    """The same for pictures that are not presented, by decode number."""
    pts_contradict_order: bool
    """The container's timestamps do not rise in output order; they are not followed."""
    warnings: tuple[str, ...]
    """What was odd in the stream, with its place."""


class Offer(NamedTuple):
    """What one backend can give for a stream."""

    planes: tuple[str, ...]
    why_not: dict[str, str]
    """For each other plane: the reason."""


@dataclasses.dataclass(frozen=True)
class Probe(Metadata):
    """Metadata and everything else that a scan of the whole file tells."""

    segments: tuple[Segment, ...]
    gops: tuple[Gop, ...]
    frame_types: str
    """One letter per presented frame: I, P, B or ?."""
    key_frames: tuple[int, ...]
    """Presentation indices at which decoding can start."""
    pts_seconds: npt.NDArray[np.float64]
    """Start of each presented frame, float64 (num_frames,); NaN where the file has none."""
    backends: dict[str, Offer]
    """Under "native" and "libav" the planes of each, and why not the others."""
    warnings: tuple[str, ...]

    @property
    def planes(self) -> tuple[str, ...]:
        """The planes that backend="auto" can read."""
        return tuple(p for p in PLANES if any(p in o.planes for o in self.backends.values()))


class _Opening(NamedTuple):
    """How to open a source, again if need be."""

    kind: Literal["path", "bytes", "file"]
    source: Any
    name: str
    stamp: tuple[int, int] | None
    """(size, mtime_ns) of a local file."""


def _stamp(path: str) -> tuple[int, int]:
    stat = os.stat(path)
    return (stat.st_size, stat.st_mtime_ns)


def _opening(source: Source) -> _Opening:
    """What ``source`` is; a TypeError that says what it could be instead."""
    if isinstance(source, (str, os.PathLike)):
        path = os.fsdecode(source)
        if "://" in path and not path.startswith("file://"):
            return _Opening("path", path, path, None)
        try:
            return _Opening("path", path, path, _stamp(path))
        except (OSError, ValueError):
            return _Opening("path", path, path, None)  # opening it tells what is wrong
    if hasattr(source, "read"):
        return _file_opening(source)
    try:
        view = memoryview(source)
    except TypeError:
        raise TypeError(_teach(source)) from None
    if not view.c_contiguous or view.itemsize != 1:
        raise TypeError(
            "a video in memory must be contiguous bytes, not "
            f"{'items of ' + view.format if view.format else 'items'}; pass bytes(source)"
        )
    return _Opening("bytes", view, "<bytes>", None)


def _file_opening(file: Any) -> _Opening:
    if isinstance(file, io.TextIOBase):
        raise TypeError("the file object is in text mode; open it with mode 'rb'")
    if not (hasattr(file, "seek") and getattr(file, "seekable", lambda: True)()):
        raise TypeError(
            f"a {type(file).__name__} that cannot seek is no source; read it into memory first: "
            "VideoReader(file.read())"
        )
    name = getattr(file, "name", None)
    return _Opening("file", file, name if isinstance(name, str) else "<file object>", None)


def _teach(source: object) -> str:
    kinds = "a path, a URL, bytes or a memoryview, or a seekable binary file object"
    if isinstance(source, (list, tuple, set)):
        return f"one reader reads one source ({kinds}); open one reader for each of the sequence"
    if type(source).__module__.startswith("torch"):
        return f"a source is {kinds}; of a tensor of bytes pass tensor.numpy()"
    return f"a source is {kinds}, not {type(source).__name__}"


def _plane_names(planes: str | Iterable[str]) -> tuple[str, ...]:
    names = (planes,) if isinstance(planes, str) else tuple(planes)
    for name in names:
        if name not in PLANES:
            raise ValueError(f"there is no plane {name!r}; the planes are {', '.join(PLANES)}")
    return names


def _qp_scale(codec: str, bit_depth: int) -> str:
    if codec == "h264" and bit_depth > 8:  # 7.4.2.1.1: from -QpBdOffsetY on
        return f"QP_Y ({-6 * (bit_depth - 8)} to 51)"
    return _QP_SCALES.get(codec, "the codec's own")


def _array(rows: range) -> npt.NDArray[np.int64]:
    return np.arange(rows.start, rows.stop, rows.step, dtype=np.int64)


def _choice(name: str, value: str, allowed: Sequence[str]) -> str:
    if value not in allowed:
        raise ValueError(f"{name} is {value!r}; it is one of {', '.join(map(repr, allowed))}")
    return value


def _integer(name: str, value: Any, least: int) -> int:
    try:
        number = operator.index(value)
    except TypeError:
        raise TypeError(f"{name} is an integer, not {type(value).__name__}") from None
    if number < least:
        raise ValueError(f"{name} is {number}; it is at least {least}")
    return number


class VideoReader:
    """A video whose frames are read as planes of coded information.

    Opening scans the stream and indexes it; nothing is decoded. Frames are numbered in
    presentation order. One reader serves one thread at a time; open one per thread.

    Args:
        source: a path, a URL that the system's FFmpeg can open, bytes or a memoryview (not
            copied), or a seekable binary file object (fsspec's too).
        planes: names of the planes to read, of mv, ref, mb_type, qp, bits, residual_y,
            residual_uv, rgb. "rgb" means ``rgb="all"``.
        rgb: pixels of no frame ("none"), of key frames ("key"), or of every frame ("all").
        backend: "native" parses H.264 and decodes no pixel; "libav" decodes with libavcodec;
            "auto" prefers native, and ``backend_reason`` says why it did not take it. Pixels
            always come from libavcodec.
        num_threads: threads for one call; the result does not depend on it.
        stream_index: which stream of the file; None = the best video stream.
        index_file: where to keep the index of this source. When the file holds the index of this
            very source (same size, modification time, and first and last 64 KiB) and version, the
            video opens without a scan; else it is scanned and the file is written. None = no file.
        max_bytes: a larger batch raises MemoryError before it is allocated; None = half of the
            memory that is free at the call.

    Raises:
        TypeError: ``source`` is nothing that can be read.
        SourceNotFound, SourceError: there is no such file, or it cannot be read.
        CorruptStream: no video can be made out in it.
        UnsupportedStream: there is no video stream, or backend="native" cannot read it.
        PlaneUnavailable: no backend (or not the one asked for) gives a plane; says which would.
    """

    def __init__(
        self,
        source: Source,
        planes: str | Iterable[str] = ("mv", "ref", "qp"),
        rgb: Rgb = "none",
        backend: Backend = "auto",
        num_threads: int = 1,
        stream_index: int | None = None,
        *,
        index_file: str | os.PathLike[str] | None = None,
        max_bytes: int | None = None,
    ) -> None:
        self._core: _core.Reader | None = None
        self._pid = os.getpid()
        self._options = {
            "planes": _plane_names(planes),
            "rgb": _choice("rgb", rgb, ("none", "key", "all")),
            "backend": _choice("backend", backend, ("auto", "native", "libav")),
            "num_threads": _integer("num_threads", num_threads, 1),
            "stream_index": None
            if stream_index is None
            else _integer("stream_index", stream_index, 0),
            "index_file": "" if index_file is None else os.path.abspath(index_file),
            "max_bytes": None if max_bytes is None else _integer("max_bytes", max_bytes, 1),
        }
        self._opening = _opening(source)
        self._open()

    # Opening, closing, and moving to another process

    def _open(self) -> None:
        options = self._options
        stream = options["stream_index"]
        self._core = _core.Reader(
            source=self._opening.source,
            planes=list(cast("tuple[str, ...]", options["planes"])),
            rgb=cast(str, options["rgb"]),
            backend=cast(str, options["backend"]),
            num_threads=cast(int, options["num_threads"]),
            stream_index=-1 if stream is None else cast(int, stream),
            max_bytes=cast("int | None", options["max_bytes"]) or 0,
            index_file=cast(str, options["index_file"]),
            index_stamp=str(self._opening.stamp),
        )
        self._pid = os.getpid()
        self._last_stats: dict[str, Any] = {}
        self._index = self._core.index()
        self._length = int(self._index["size"])
        self._segments = tuple(
            Segment(start, stop, coded_size, Crop(*crop), _CHROMA.get(chroma, "other"), depth)
            for start, stop, coded_size, crop, chroma, depth in self._index["segments"]
        )
        self._frames_cache: dict[str, Array] | None = None
        self._play_order: tuple[Array, Array] | None = None
        self._metadata = Metadata(**self._metadata_fields())

    def _handle(self) -> _core.Reader:
        """The native reader; opened anew in the child of a fork."""
        if self._core is None:
            raise _core.ReaderState("this VideoReader is closed")
        if self._pid != os.getpid():
            self._after_fork(self._core)
        return self._core

    def _after_fork(self, parent: _core.Reader) -> None:
        opening = self._opening
        if opening.kind == "file" and _has_descriptor(opening.source):
            raise _core.ReaderState(
                "this VideoReader reads a file object whose position is shared with the parent "
                "process; open the reader in the child, or open it by its path"
            )
        self._check_stamp()
        parent.abandon()
        self._open()

    def _check_stamp(self) -> None:
        name, stamp = self._opening.name, self._opening.stamp
        if stamp is None:
            return
        try:
            now = _stamp(name)
        except FileNotFoundError:
            raise _core.SourceNotFound(
                f"{name}: no such file any more; a reader in another process opens it anew"
            ) from None
        if now != stamp:
            raise _core.SourceError(
                f"{name} has changed (size or modification time) since this reader opened it; "
                "open it anew"
            )

    def close(self) -> None:
        """Free everything. Clips stay valid; reading again raises ReaderState."""
        if self._core is None:
            return
        if self._pid == os.getpid():
            stats = self._core.stats()
            self._core.close()
            self._last_stats = stats
        else:
            self._core.abandon()
        self._core = None

    def __enter__(self) -> VideoReader:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def __del__(self) -> None:
        # In the child of a fork the parent's codec threads cannot be joined.
        core = getattr(self, "_core", None)
        if core is not None and self._pid != os.getpid():
            core.abandon()

    def __reduce__(self) -> tuple[Any, ...]:
        kind, source, name, stamp = self._opening
        if kind == "file":
            raise TypeError(
                "a VideoReader over a file object cannot be pickled; open it by path or from bytes"
            )
        if kind == "bytes":
            source = bytes(source)
        elif "://" not in source:
            source = name = os.path.abspath(source)
        opening = (kind, source, name, stamp)
        return (_reopened, (opening, self._options, self._core is None))

    # What is known of the stream

    def __len__(self) -> int:
        """Number of presented frames."""
        return self._length

    @property
    def metadata(self) -> Metadata:
        """Codec, sizes, rates, units; see Metadata."""
        return self._metadata

    def _metadata_fields(self) -> dict[str, Any]:
        info = self._handle().info()
        first = self._segments[0] if self._segments else _NO_SEGMENT
        begin, end = self._index["span"] or (None, None)
        num, den = info["frame_rate"]
        sar_num, sar_den = info["sar"]
        return {
            "source": self._opening.name,
            "container": info["container"],
            "codec": info["codec"],
            "profile": info["profile"],
            "stream_index": info["stream_index"],
            "width": first.width,
            "height": first.height,
            "coded_width": first.coded_size[0],
            "coded_height": first.coded_size[1],
            "crop": first.crop,
            "chroma_format": first.chroma_format,
            "bit_depth": first.bit_depth,
            "rotation": info["rotation"],
            "sar": Fraction(sar_num, sar_den) if sar_num > 0 and sar_den > 0 else None,
            "clean_aperture": info["clean_aperture"],
            "time_base": Fraction(*info["time_base"]),
            "frame_rate": Fraction(num, den) if num > 0 and den > 0 else None,
            "duration_seconds": None if begin is None else end - begin,
            "begin_stream_seconds": begin,
            "end_stream_seconds": end,
            "bit_rate": info["bit_rate"] or None,
            "num_frames": self._length,
            "num_key_frames": self._index["key_frames"],
            "num_pictures": self._index["pictures"],
            "mv_unit": 4,
            "qp_scale": _qp_scale(info["codec"], first.bit_depth),
        }

    def _frames(self) -> dict[str, Array]:
        """Per-frame arrays of the whole video."""
        if self._frames_cache is None:
            self._frames_cache = self._handle().frame_arrays()
            for array in self._frames_cache.values():
                array.flags.writeable = False
        return self._frames_cache

    @property
    def pts(self) -> npt.NDArray[np.int64]:
        """Timestamp of every frame in metadata.time_base, int64 (len,), read-only."""
        return self._frames()["pts"]

    @property
    def pts_seconds(self) -> npt.NDArray[np.float64]:
        """Timestamp of every frame in seconds, float64 (len,), read-only; NaN = none."""
        return self._frames()["pts_seconds"]

    @property
    def duration_seconds(self) -> npt.NDArray[np.float64]:
        """How long every frame is shown, float64 (len,), read-only; NaN = unknown."""
        return self._frames()["duration_seconds"]

    @property
    def frame_types(self) -> npt.NDArray[np.str_]:
        """I, P, B or ? for every frame, (len,), read-only."""
        return self._frames()["frame_type"]

    @property
    def is_key(self) -> npt.NDArray[np.bool_]:
        """Whether decoding can start at a frame, bool (len,), read-only."""
        return self._frames()["is_key"]

    @property
    def gops(self) -> tuple[Gop, ...]:
        """The GOPs in decode order; each starts at an all-I picture."""
        return tuple(Gop(*gop) for gop in self._index["gops"])

    @property
    def segments(self) -> tuple[Segment, ...]:
        """Runs of constant coded size, crop and chroma format; one call reads within one."""
        return self._segments

    @property
    def stats(self) -> Stats:
        """Work done so far, damage met, and what was odd in the stream; also after close()."""
        counts = self._last_stats if self._core is None else self._handle().stats()
        return Stats(
            **counts,
            pts_contradict_order=self._index["pts_contradict_order"],
            warnings=tuple(self._index["warnings"]),
        )

    @property
    def planes(self) -> tuple[str, ...]:
        """The planes that a read gives."""
        planes = set(cast("tuple[str, ...]", self._options["planes"]))
        if self._options["rgb"] != "none":
            planes.add("rgb")
        return tuple(name for name in PLANES if name in planes)

    @property
    def backend(self) -> dict[str, str]:
        """The name of the backend, native or libav, for each plane that a read gives."""
        handle = self._handle()
        return {name: handle.backend_of(name) for name in self.planes}

    @property
    def backend_reason(self) -> str:
        """Why backend="auto" did not take the native parser; "" when it did."""
        return self._handle().backend_reason

    def __repr__(self) -> str:
        if self._core is None:
            return f"VideoReader({self._opening.name!r}, closed)"
        meta = self.metadata
        return (
            f"VideoReader({self._opening.name!r}, {meta.codec}, {meta.width}x{meta.height}, "
            f"{len(self)} frames, planes={self.planes})"
        )

    # Reading by index

    def _read(
        self, frames: npt.NDArray[np.int64], out: Clip | None = None, pool: Any = None
    ) -> Clip:
        """Frames by index, all within range."""
        handle = self._handle()
        batch = None
        if out is not None:
            if not isinstance(out, Clip):
                raise TypeError(f"out is a Clip of an earlier read, not {type(out).__name__}")
            batch = out._batch
            if batch is None:
                raise ValueError(
                    "out is a view, or was pickled: its memory is not the reader's to use again; "
                    "pass the clip that a read returned"
                )
        batch, arrays, segment = handle.read(frames, batch, pool)
        where = self._segments[segment] if self._segments else _NO_SEGMENT
        if out is None:
            return Clip(arrays, self.metadata, where, batch)
        out.metadata = self.metadata
        out._set(arrays, where, batch)
        return out

    def _normal(self, indices: Indices) -> npt.NDArray[np.int64]:
        """Indices as int64, negative ones counted from the end."""
        array = np.asarray(indices)
        if array.ndim != 1:
            raise TypeError(
                f"indices are a flat list or array of integers, not of {array.ndim} dimensions"
            )
        if array.size == 0:
            return np.zeros(0, np.int64)
        if array.dtype.kind not in "iu":
            if array.dtype.kind == "O":
                array = np.array([self._in_range(operator.index(i)) for i in array])
            else:
                raise TypeError(f"indices are integers, not {array.dtype}")
        length = self._length
        wrong = array >= length
        if array.dtype.kind == "i":
            wrong |= array < -length
        if wrong.any():
            self._in_range(int(array[wrong][0]))
        whole = array.astype(np.int64)
        return np.where(whole < 0, whole + length, whole)

    def _in_range(self, index: int) -> int:
        if not -self._length <= index < self._length:
            raise IndexError(
                f"frame {index} is out of range: {self._opening.name} has {self._length} frames"
            )
        return index

    def get_frames_at(self, indices: Indices, *, out: Clip | None = None) -> Clip:
        """Frames by presentation index, in the order given, repeats included.

        Args:
            indices: a list, range, array or CPU tensor of integers; negative ones count from the
                end.
            out: a clip that this reader (or one of the same options) returned. Its memory is used
                again where it is large enough, so arrays taken from it change; it is returned.

        Returns:
            A Clip of len(indices) frames, all read by one native call.

        Raises:
            IndexError: an index is out of range.
            ValueError: the frames lie in two segments.
            MemoryError: the clip would be larger than max_bytes.
        """
        return self._read(self._normal(indices), out)

    def get_frame_at(self, index: int) -> Frame:
        """One frame: a Frame, whose planes lack the first axis of a clip's."""
        number = self._in_range(operator.index(index)) % max(self._length, 1)
        return self._read(np.array([number], np.int64))._frame(0)

    def get_rgb_at(self, indices: Indices) -> npt.NDArray[np.uint8]:
        """Pixels alone, of frames by presentation index: uint8 (len(indices), 3, H, W).

        Whatever planes the reader was opened for: so the vectors of some frames and the pixels of
        others come from one opened video. Raises as get_frames_at does.
        """
        frames = self._normal(indices)
        if len(frames) == 0:
            first = self._segments[0] if self._segments else _NO_SEGMENT
            return np.zeros((0, 3, first.height, first.width), np.uint8)
        each, row = np.unique(frames, return_inverse=True)
        rgb = _core.read_rgb(self._handle(), each.tolist())
        return rgb if np.array_equal(each, frames) else rgb[row]

    def get_frames_in_range(
        self, start: int, stop: int | None = None, step: int = 1, *, out: Clip | None = None
    ) -> Clip:
        """Frames of the half-open range [start, stop), with Python's slice rules."""
        return self._read(_array(range(*slice(start, stop, step).indices(self._length))), out)

    def __getitem__(self, key: Any) -> Any:
        """A Frame for an int, a Clip for a slice with any step."""
        if isinstance(key, slice):
            return self._read(_array(range(*key.indices(self._length))))
        try:
            return self.get_frame_at(key)
        except TypeError:
            raise TypeError(
                f"a video is indexed by an int or a slice, not by {type(key).__name__}; for a "
                "list or tensor of indices use get_frames_at()"
            ) from None

    def __iter__(self) -> Iterator[Frame]:
        """Every frame in order, read in batches."""
        for clip in self.batches(16):
            yield from clip

    def batches(
        self, n: int = 64, *, start: int = 0, stop: int | None = None, step: int = 1
    ) -> Iterator[Clip]:
        """Every frame of [start, stop) in order, as clips of up to ``n``, in bounded memory.

        A batch ends early at the end of a segment. The memory of a clip is used for a later one
        only when neither the clip nor any array or tensor made from it exists any more.
        """
        size = _integer("n", n, 1)
        _integer("step", step, 1)
        rows = range(*slice(start, stop, step).indices(self._length))
        return self._batches(_array(rows), size)

    def _batches(self, frames: npt.NDArray[np.int64], size: int) -> Iterator[Clip]:
        pool = _core.BufferPool()
        for segment in self._segments:
            inside = frames[(frames >= segment.start) & (frames < segment.stop)]
            for first in range(0, len(inside), size):
                yield self._read(inside[first : first + size], pool=pool)

    # Reading by time

    def _play(self) -> tuple[Array, Array, float, float]:
        """(start seconds, frame) in playing order, and the seconds of begin and end."""
        if self._index["span"] is None:
            raise ValueError(f"{self._opening.name} has no timestamps; read its frames by index")
        begin, end = self._index["span"]
        if self._play_order is None:
            starts = self.pts_seconds
            timed = np.flatnonzero(~np.isnan(starts))
            order = timed[np.argsort(starts[timed], kind="stable")]
            self._play_order = (starts[order], order)
        return (*self._play_order, begin, end)

    def _played_at(self, seconds: npt.NDArray[np.float64]) -> npt.NDArray[np.int64]:
        starts, order, begin, end = self._play()
        wrong = ~((seconds >= begin) & (seconds < end))
        if wrong.any():
            raise IndexError(
                f"no frame is played at {float(seconds[wrong][0])} s: the video plays from {begin} "
                f"to {end} s (the end excluded)"
            )
        # A frame is played until the next one starts, whatever its own duration says.
        return order[np.searchsorted(starts, seconds, side="right") - 1]

    def get_frame_played_at(self, seconds: float) -> Frame:
        """The frame on the screen at ``seconds``: the last whose timestamp is not later.

        Raises IndexError outside [begin_stream_seconds, end_stream_seconds).
        """
        frames = self._played_at(np.array([float(seconds)]))
        return self._read(frames)._frame(0)

    def get_frames_played_at(self, seconds: Any, *, out: Clip | None = None) -> Clip:
        """The frames on the screen at these seconds (a list, array or CPU tensor of floats)."""
        times = np.asarray(seconds, np.float64)
        if times.ndim != 1:
            raise TypeError(f"seconds are a flat list or array, not of {times.ndim} dimensions")
        return self._read(self._played_at(times), out)

    def get_frames_played_in_range(
        self, start_seconds: float, stop_seconds: float, *, out: Clip | None = None
    ) -> Clip:
        """Every frame that is on the screen at some time of [start_seconds, stop_seconds)."""
        starts, order, begin, end = self._play()
        if not start_seconds <= stop_seconds:
            raise ValueError(
                f"start_seconds is {start_seconds}, later than stop_seconds ({stop_seconds})"
            )
        if not begin <= start_seconds < end or not stop_seconds <= end:
            raise ValueError(
                f"[{start_seconds}, {stop_seconds}) does not lie within the video, which plays "
                f"from {begin} to {end} s"
            )
        if start_seconds == stop_seconds:
            return self._read(np.zeros(0, np.int64), out)
        first = int(np.searchsorted(starts, start_seconds, side="right")) - 1
        last = int(np.searchsorted(starts, stop_seconds, side="left"))
        return self._read(order[first:last], out)


def _has_descriptor(file: Any) -> bool:
    try:
        file.fileno()
    except (AttributeError, OSError, ValueError):
        return False
    return True


def _reopened(opening: Any, options: dict[str, Any], closed: bool) -> VideoReader:
    """Unpickles a reader."""
    video = VideoReader.__new__(VideoReader)
    video._core = None
    video._options = options
    video._opening = _Opening(*opening)
    if video._opening.kind == "bytes":
        video._opening = video._opening._replace(source=memoryview(video._opening.source))
    video._check_stamp()
    video._open()
    if closed:
        video.close()
    return video


def read(
    source: Source,
    planes: str | Iterable[str] = ("mv", "ref", "qp"),
    rgb: Rgb = "none",
    backend: Backend = "auto",
    num_threads: int = 1,
    stream_index: int | None = None,
    *,
    start: int = 0,
    stop: int | None = None,
    step: int = 1,
    max_bytes: int | None = None,
) -> Clip:
    """Frames [start, stop) of a video (all by default) as one clip. See VideoReader."""
    with VideoReader(
        source, planes, rgb, backend, num_threads, stream_index, max_bytes=max_bytes
    ) as video:
        return cast(Clip, video[start:stop:step])


def probe(source: Source, stream_index: int | None = None) -> Probe:
    """Scan a video: codec, sizes, frames, GOPs, segments, and what each backend can give.

    Never fails for want of a plane; raises as VideoReader does for what is no video.
    """
    with VideoReader(source, planes=(), stream_index=stream_index) as video:
        frames = video._frames()
        return Probe(
            **video._metadata_fields(),
            segments=video.segments,
            gops=video.gops,
            frame_types="".join(frames["frame_type"].tolist()),
            key_frames=tuple(np.flatnonzero(frames["is_key"]).tolist()),
            pts_seconds=frames["pts_seconds"],
            backends={
                name: Offer(tuple(planes), why_not)
                for name, planes, why_not in video._handle().offers()
            },
            warnings=tuple(video._index["warnings"]),
        )
