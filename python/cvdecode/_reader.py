"""Opening videos and reading frames: VideoReader, read() and probe()."""

from __future__ import annotations

import operator
import os
from collections.abc import Iterable, Iterator, Sequence
from types import TracebackType
from typing import Any, Literal, NamedTuple, cast

import numpy as np
import numpy.typing as npt

from . import _core
from ._frame import PLANES, Array, Clip, Frame, Gop, Metadata, Segment
from ._source import Opening, Source, check_unchanged, has_descriptor, opening_of
from ._stream import NO_SEGMENT, Offer, Probe, Stats, metadata_fields, segments_of
from ._times import PlayOrder

Rgb = Literal["none", "key", "all"]
Backend = Literal["auto", "native", "libav"]
Indices = Any
"""A sequence or array (or CPU tensor) of integers."""


class _Options(NamedTuple):
    """How to open a source, again if need be."""

    planes: tuple[str, ...]
    rgb: str
    backend: str
    num_threads: int
    stream_index: int  # -1 = the best
    index_file: str  # "" = none
    max_bytes: int  # 0 = half of the free memory


def _plane_names(planes: str | Iterable[str]) -> tuple[str, ...]:
    names = (planes,) if isinstance(planes, str) else tuple(planes)
    for name in names:
        if name not in PLANES:
            raise ValueError(f"there is no plane {name!r}; the planes are {', '.join(PLANES)}")
    return names


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
        self._options = _Options(
            planes=_plane_names(planes),
            rgb=_choice("rgb", rgb, ("none", "key", "all")),
            backend=_choice("backend", backend, ("auto", "native", "libav")),
            num_threads=_integer("num_threads", num_threads, 1),
            stream_index=-1 if stream_index is None else _integer("stream_index", stream_index, 0),
            index_file="" if index_file is None else os.path.abspath(index_file),
            max_bytes=0 if max_bytes is None else _integer("max_bytes", max_bytes, 1),
        )
        self._opening = opening_of(source)
        self._open()

    # Opening, closing, and moving to another process

    def _open(self) -> None:
        options = self._options
        self._core = _core.Reader(
            source=self._opening.source,
            planes=list(options.planes),
            rgb=options.rgb,
            backend=options.backend,
            num_threads=options.num_threads,
            stream_index=options.stream_index,
            max_bytes=options.max_bytes,
            index_file=options.index_file,
            index_stamp=str(self._opening.stamp),
        )
        self._pid = os.getpid()
        self._last_stats: dict[str, Any] = {}
        self._index = self._core.index()
        self._length = int(self._index["size"])
        self._segments = segments_of(self._index)
        self._frames_cache: dict[str, Array] | None = None
        self._play_order: PlayOrder | None = None
        # Made when it is asked for, but from here on: it outlives close().
        self._info = self._core.info()
        self._metadata: Metadata | None = None

    def _handle(self) -> _core.Reader:
        """The native reader; opened anew in the child of a fork."""
        if self._core is None:
            raise _core.ReaderState("this VideoReader is closed")
        if self._pid != os.getpid():
            self._after_fork(self._core)
        return self._core

    def _after_fork(self, parent: _core.Reader) -> None:
        opening = self._opening
        if opening.kind == "file" and has_descriptor(opening.source):
            raise _core.ReaderState(
                "this VideoReader reads a file object whose position is shared with the parent "
                "process; open the reader in the child, or open it by its path"
            )
        check_unchanged(self._opening)
        parent.abandon()
        self._open()

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
        if self._metadata is None:
            fields = metadata_fields(self._opening.name, self._info, self._index)
            self._metadata = Metadata(**fields)
        return self._metadata

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
        planes = set(self._options.planes)
        if self._options.rgb != "none":
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
        where = self._segments[segment] if self._segments else NO_SEGMENT
        if out is None:
            return Clip(arrays, self.metadata, where, batch)
        out.metadata = self.metadata
        out._set(arrays, where, batch)
        return out

    def _normal(self, indices: Indices, name: str = "indices") -> npt.NDArray[np.int64]:
        """Indices as int64, negative ones counted from the end; ``name`` is what refusals say."""
        array = np.asarray(indices)
        if array.ndim != 1:
            raise TypeError(
                f"{name} are a flat list or array of integers, not of {array.ndim} dimensions"
            )
        if array.size == 0:
            return np.zeros(0, np.int64)
        if array.dtype.kind not in "iu":
            if array.dtype.kind == "O":
                array = np.array([self._in_range(operator.index(i)) for i in array])
            else:
                raise TypeError(f"{name} are integers, not {array.dtype}")
        length = self._length
        if array.dtype == np.int64 and array.min() >= 0 and array.max() < length:
            return array.copy()  # as most are
        wrong = array >= length
        if array.dtype.kind == "i":
            wrong |= array < -length
        if wrong.any():
            self._in_range(int(array[wrong][0]))
        whole = array.astype(np.int64)
        return np.where(whole < 0, whole + length, whole)

    def _slice(self, rows: slice) -> npt.NDArray[np.int64]:
        return np.arange(*rows.indices(self._length), dtype=np.int64)

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
            first = self._segments[0] if self._segments else NO_SEGMENT
            return np.zeros((0, 3, first.height, first.width), np.uint8)
        each, row = np.unique(frames, return_inverse=True)
        rgb = _core.read_rgb(self._handle(), each.tolist())
        return rgb if np.array_equal(each, frames) else rgb[row]

    def get_frames_in_range(
        self, start: int, stop: int | None = None, step: int = 1, *, out: Clip | None = None
    ) -> Clip:
        """Frames of the half-open range [start, stop), with Python's slice rules."""
        return self._read(self._slice(slice(start, stop, step)), out)

    def __getitem__(self, key: Any) -> Any:
        """A Frame for an int, a Clip for a slice with any step."""
        if isinstance(key, slice):
            return self._read(self._slice(key))
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
        return self._batches(self._slice(slice(start, stop, step)), size)

    def _batches(self, frames: npt.NDArray[np.int64], size: int) -> Iterator[Clip]:
        pool = _core.BufferPool()
        for segment in self._segments:
            inside = frames[(frames >= segment.start) & (frames < segment.stop)]
            for first in range(0, len(inside), size):
                yield self._read(inside[first : first + size], pool=pool)

    # Reading by time

    def _play(self) -> PlayOrder:
        if self._play_order is None:
            span = self._index["span"]
            self._play_order = PlayOrder(self._opening.name, self.pts_seconds, span)
        return self._play_order

    def get_frame_played_at(self, seconds: float) -> Frame:
        """The frame on the screen at ``seconds``: the last whose timestamp is not later.

        Raises IndexError outside [begin_stream_seconds, end_stream_seconds).
        """
        return self._read(self._play().at(np.array([float(seconds)])))._frame(0)

    def get_frames_played_at(self, seconds: Any, *, out: Clip | None = None) -> Clip:
        """The frames on the screen at these seconds (a list, array or CPU tensor of floats)."""
        times = np.asarray(seconds, np.float64)
        if times.ndim != 1:
            raise TypeError(f"seconds are a flat list or array, not of {times.ndim} dimensions")
        return self._read(self._play().at(times), out)

    def get_frames_played_in_range(
        self, start_seconds: float, stop_seconds: float, *, out: Clip | None = None
    ) -> Clip:
        """Every frame that is on the screen at some time of [start_seconds, stop_seconds)."""
        return self._read(self._play().within(start_seconds, stop_seconds), out)


def _reopened(opening: Any, options: _Options, closed: bool) -> VideoReader:
    """Unpickles a reader."""
    video = VideoReader.__new__(VideoReader)
    video._core = None
    video._options = options
    video._opening = Opening(*opening)
    if video._opening.kind == "bytes":
        video._opening = video._opening._replace(source=memoryview(video._opening.source))
    check_unchanged(video._opening)
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
            **vars(video.metadata),
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
