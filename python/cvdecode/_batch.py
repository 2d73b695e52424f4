"""Accumulation of many clips at once: what a loader stacks."""

from __future__ import annotations

import concurrent.futures
import dataclasses
import itertools
import operator
import threading
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from . import _core, _device
from ._accumulate import (
    _NOWHERE,
    Accumulation,
    AccumulationStats,
    Cross,
    Intra,
    Mode,
    Residual,
    Select,
    _check_bytes,
    _compute,
    _crop,
    _max_bytes,
    _plan,
    _request,
    _shapes,
    _stacked,
)
from ._frame import Array, Clip, Segment, TensorDict
from ._reader import VideoReader, _integer


class AccumulationBatch:
    """What accumulate_batch() gives for N clips of at most T frames.

    Every plane of Accumulation with the clips in front: ``displacement`` int16 (N, T, 2, H, W),
    ``anchor`` int32 (N, T, H, W), ``mask`` uint8 (N, T, H, W), and so on; NumPy arrays, or torch
    tensors where ``out`` held such or a GPU was named. Rows past the end of a clip hold mask 2,
    anchor -1 and 0 elsewhere.

    ``batch[i]`` is the Accumulation of one clip, without the padding: views of the same memory.
    """

    __slots__ = (
        "_arrays", "_counters", "_planes", "_work", "anchors", "frames", "grid", "mode", "segment",
    )  # fmt: skip

    def __init__(
        self,
        planes: dict[str, Any],
        frames: npt.NDArray[np.int64],
        grid: int,
        mode: Mode,
        segment: Segment,
        work: list[dict[str, Any]],
        anchors: list[Sequence[int] | None],
        counters: Any = None,
    ) -> None:
        """Made by accumulate_batch(); ``planes`` are of coded size, ``counters`` of a GPU."""
        self._planes = planes
        self._arrays = {name: _crop(name, a, grid, segment) for name, a in planes.items()}
        self._work = work
        self._counters = counters
        self.anchors = anchors
        """Accumulation.anchors of each clip."""
        self.frames = frames
        """Presentation index of each row, int64 (N, T); -1 = padding."""
        self.grid = grid
        """Samples per cell: 1 or 4."""
        self.mode = mode
        """"exact" or "coviar"."""
        self.segment = segment
        """Sizes of the coded and the shown picture, the same for all clips."""

    def __getattr__(self, name: str) -> Any:
        try:
            return object.__getattribute__(self, "_arrays")[name]
        except KeyError:
            raise AttributeError(f"this batch has no {name!r}") from None

    @property
    def lengths(self) -> npt.NDArray[np.int64]:
        """Frames of each clip, int64 (N,)."""
        result: npt.NDArray[np.int64] = (self.frames >= 0).sum(1)
        return result

    @property
    def planes(self) -> tuple[str, ...]:
        """Names of the arrays that this call gave."""
        return tuple(self._arrays)

    @property
    def stats(self) -> list[AccumulationStats]:
        """Work done for each clip. Of a GPU, this waits until it is done."""
        if self._counters is not None:
            for work, count in zip(self._work, self._counters.tolist(), strict=True):
                work["saturated"] = int(count)
            self._counters = None
        return [AccumulationStats(**work) for work in self._work]

    def numpy(self) -> dict[str, Array]:
        """All planes, ``frames`` and ``lengths`` by name, without a copy; from a GPU with one."""
        arrays = {name: _device.to_numpy(array) for name, array in self._arrays.items()}
        return {**arrays, "frames": self.frames, "lengths": self.lengths}

    def torch(self) -> TensorDict:
        """All planes, ``frames`` and ``lengths`` as tensors, over the same memory. Needs torch."""
        import torch

        arrays: dict[str, Any] = {**self._arrays, "frames": self.frames, "lengths": self.lengths}
        return TensorDict(
            (name, torch.from_numpy(array) if isinstance(array, np.ndarray) else array)
            for name, array in arrays.items()
        )

    def __reduce__(self) -> tuple[Any, ...]:
        work = [dataclasses.asdict(stats) for stats in self.stats]
        own = (self._planes, self.frames, self.grid, self.mode, self.segment, work, self.anchors)
        return (AccumulationBatch, own)

    def __len__(self) -> int:
        return len(self.frames)

    def __getitem__(self, clip: int) -> Accumulation:
        try:
            clip = operator.index(clip)
        except TypeError:
            raise TypeError(
                f"a batch is indexed by an int, not by {type(clip).__name__}; index its planes, as "
                "in batch.displacement[0:2]"
            ) from None
        if not -len(self) <= clip < len(self):
            raise IndexError(f"clip {clip} is out of range: the batch has {len(self)}")
        length = int(self.lengths[clip])
        return Accumulation(
            {name: array[clip, :length] for name, array in self._arrays.items()},
            self.frames[clip, :length],
            self.grid,
            self.mode,
            self.segment,
            self.stats[clip],
            anchors=self.anchors[clip],
        )

    def __iter__(self) -> Iterator[Accumulation]:
        return (self[clip] for clip in range(len(self)))

    def __repr__(self) -> str:
        shapes = "".join(
            f"\n  {name}: {array.dtype}{list(array.shape)}" for name, array in self._arrays.items()
        )
        return f"AccumulationBatch(N={len(self)}, mode={self.mode!r}, grid={self.grid}):{shapes}"


def accumulate_batch(
    sources: Sequence[VideoReader | Clip],
    frames: Sequence[Any] | None = None,
    *,
    anchors: Sequence[Any] | None = None,
    virtual_gop: int | None = None,
    select: Select = "nearest",
    intra: Intra = "stop",
    residual: Residual = None,
    cross: Cross = "follow",
    grid: int | str = "pixel",
    hops: int | None = None,
    per_frame: bool = False,
    return_hops: bool = False,
    mode: Mode = "exact",
    out: AccumulationBatch | Mapping[str, Any] | None = None,
    device: Any = "cpu",
    num_threads: int = 1,
) -> AccumulationBatch:
    """accumulate() of several clips into one stack of arrays, each written in place.

    Args:
        sources: opened videos or clips of one coded size, crop and chroma format. A video may
            stand here more than once (several windows of it).
        frames: for each source what accumulate() takes; all frames of every source by default.
        anchors: for each source what accumulate() takes.
        virtual_gop: as for accumulate(), for all sources; so are ``select``, ``intra``,
            ``residual``, ``cross``, ``grid``, ``hops``, ``per_frame``, ``return_hops``, ``mode``.
        out: memory to write into: a batch of an earlier call with the same shapes, which must not
            be read afterwards; or arrays or CPU tensors by plane, each C-contiguous, of the
            plane's dtype and of coded size: (N, T, 2, Hc, Wc) for "displacement" and so on.
            Tensors in give tensors out.
        device: "cpu", or a GPU ("cuda", "cuda:1"): all clips go there in one buffer and are
            traced together, and the planes are torch tensors on it. Nothing waits for the GPU.
        num_threads: sources worked on at a time, each on a thread of its own.

    Returns:
        An AccumulationBatch: N = len(sources), T = the most frames of one of them.

    Raises:
        ValueError: sources of different sizes, ``out`` that does not fit; and what accumulate()
            raises.
        MemoryError: the stack, or of a GPU the motion, residuals and pixels of all clips that go
            there, would take more than the least ``max_bytes`` of the readers (half of the free
            memory where none has one); nothing was allocated for them.
        DeviceUnavailable: no module for GPUs, no GPU, or no torch.
    """
    gpu = _device.find(device)
    if isinstance(sources, (VideoReader, Clip)):  # which are iterable: over their frames
        raise TypeError("sources is a list of videos or clips; put it in one: [source]")
    sources = _list("sources", sources, "the videos or clips")
    num_threads = _integer("num_threads", num_threads, 1)
    each = "what accumulate() takes for each source"
    frames = None if frames is None else _list("frames", frames, each)
    anchors = None if anchors is None else _list("anchors", anchors, each)
    for name, values in (("frames", frames), ("anchors", anchors)):
        if values is not None and len(values) != len(sources):
            raise ValueError(f"{len(sources)} sources and {len(values)} lists of {name}")
    requests = [
        _request(
            source,
            None if frames is None else frames[i],
            anchors=None if anchors is None else anchors[i],
            virtual_gop=virtual_gop,
            select=select,
            intra=intra,
            residual=residual,
            cross=cross,
            grid=grid,
            hops=hops,
            per_frame=per_frame,
            return_hops=return_hops,
            mode=mode,
        )
        for i, source in enumerate(sources)
    ]
    segment = _common_segment(sources, [wanted for _, wanted in requests])
    most = max((len(wanted) for _, wanted in requests), default=0)
    stacked = np.full((len(sources), most), -1, np.int64)
    for row, (_, wanted) in zip(stacked, requests, strict=True):
        row[: len(wanted)] = wanted
    nothing = {"grid": 1, "per_frame": False, "count_hops": False, "residual": None}
    options: dict[str, Any] = requests[0][0] if requests else nothing
    shapes = _stacked(_shapes(options, segment), stacked.shape)
    max_bytes = _max_bytes(sources)
    named = [request.get("anchors") for request, _ in requests]
    if gpu is not None:
        if out is not None:
            raise ValueError("out is for the CPU: memory of a GPU comes from torch's own cache")
        _check_bytes(options, segment, stacked.shape, max_bytes, gpu)
        plans = _plans(sources, [request for request, _ in requests], max_bytes, num_threads)
        planes = gpu.allocate(shapes, ())
        counters = _device.run_plans(gpu, plans, planes)
        work = [{**plan.stats, "peak_maps": 0} for plan in plans]
        return AccumulationBatch(
            planes, stacked, options["grid"], mode, segment, work, named, counters
        )
    if out is None:
        _check_bytes(options, segment, stacked.shape, max_bytes, at_once=num_threads)
    planes = _memory(shapes, out)
    arrays = {name: _array(name, plane) for name, plane in planes.items()}

    def run(i: int) -> dict[str, Any]:
        length = len(requests[i][1])
        own = {name: array[i, :length] for name, array in arrays.items()}
        if options["per_frame"]:
            own["displacement_per_frame"] = own.pop("displacement")
        memory = _core.accumulation_memory(own)
        result, _ = _compute(sources[i], requests[i][0], memory)
        for name, array in arrays.items():
            array[i, length:] = _device.PADDING.get(name, 0)
            if length and result[name].ctypes.data != array[i].ctypes.data:
                raise AssertionError(f"{name} of clip {i} was written elsewhere")
        return dict(result["stats"])

    work = _for_each(sources, num_threads, run)
    return AccumulationBatch(planes, stacked, options["grid"], mode, segment, work, named)


def _list(name: str, values: Any, what: str) -> list[Any]:
    try:
        return list(values)
    except TypeError:
        raise TypeError(f"{name} is a list with {what}, not {type(values).__name__}") from None


def _plans(
    sources: Sequence[VideoReader | Clip],
    options: Sequence[dict[str, Any]],
    max_bytes: int,
    num_threads: int,
) -> list[_core.AccumulationPlan]:
    """The work of every source for a GPU; each may hold what those before it leave."""
    held = 0
    lock = threading.Lock()

    def plan(i: int) -> _core.AccumulationPlan:
        nonlocal held
        made, _ = _plan(sources[i], options[i], max_bytes, held)
        with lock:
            held += made.bytes
            if 0 < max_bytes < held:  # made at the same time
                raise MemoryError(
                    f"what a GPU needs for {len(sources)} clips takes {held // 10**6} MB or more, "
                    f"above max_bytes = {max_bytes // 10**6} MB; ask for fewer clips at a time"
                )
        return made

    return _for_each(sources, num_threads, plan)


def _for_each(sources: Sequence[Any], num_threads: int, work: Any) -> list[Any]:
    """work(i) of every source; those of one video one after the other."""
    if num_threads == 1:
        return [work(i) for i in range(len(sources))]
    groups: dict[int, list[int]] = {}
    for i, source in enumerate(sources):
        groups.setdefault(id(source), []).append(i)
    with concurrent.futures.ThreadPoolExecutor(num_threads) as pool:
        parts = pool.map(lambda group: [(i, work(i)) for i in group], groups.values())
        found = dict(pair for part in parts for pair in part)
    return [found[i] for i in range(len(sources))]


def _common_segment(
    sources: Sequence[VideoReader | Clip], frames: Sequence[npt.NDArray[np.int64]]
) -> Segment:
    """The sizes that all sources share."""
    found: Segment | None = None
    for i, (source, wanted) in enumerate(zip(sources, frames, strict=True)):
        if isinstance(source, Clip):
            segment = source.segment
        elif not source.segments:
            continue
        else:
            first = int(wanted[0]) if len(wanted) else 0
            inside = [s for s in source.segments if s.start <= first < s.stop]
            segment = (inside or source.segments)[0]
        if found is None:
            found = segment
        elif _sizes(segment) != _sizes(found):
            raise ValueError(
                f"source {i} is {segment.width}x{segment.height} (coded "
                f"{segment.coded_size[0]}x{segment.coded_size[1]}), source 0 "
                f"{found.width}x{found.height} (coded {found.coded_size[0]}x"
                f"{found.coded_size[1]}): a batch has one size, crop and chroma format; put "
                "sources of one size together"
            )
    return _NOWHERE if found is None else found


def _sizes(segment: Segment) -> tuple[Any, ...]:
    return (segment.coded_size, segment.crop, segment.chroma_format)


def _memory(
    shapes: dict[str, tuple[tuple[int, ...], str]],
    out: AccumulationBatch | Mapping[str, Any] | None,
) -> dict[str, Any]:
    """New arrays, or those of ``out`` where they are what is needed."""
    if out is None:
        return {name: np.empty(shape, dtype) for name, (shape, dtype) in shapes.items()}
    if not isinstance(out, (AccumulationBatch, Mapping)):
        raise TypeError(
            f"out is an AccumulationBatch, or arrays or tensors by plane, not {type(out).__name__}"
        )
    given = out._planes if isinstance(out, AccumulationBatch) else dict(out)
    if given.keys() != shapes.keys():
        raise ValueError(f"out has {sorted(given)}, and this call writes {sorted(shapes)}")
    for name, (shape, dtype) in shapes.items():
        array = _array(name, given[name])
        if array.shape != shape or array.dtype != dtype:
            raise ValueError(
                f"out[{name!r}] is {array.dtype} {array.shape}; this call writes {dtype} {shape} "
                "(coded size)"
            )
        if not (array.flags.c_contiguous and array.flags.writeable):
            raise ValueError(f"out[{name!r}] must be writable and C-contiguous")
    for one, other in itertools.combinations(shapes, 2):
        # Of contiguous arrays the bounds tell all.
        if np.may_share_memory(_array(one, given[one]), _array(other, given[other])):
            raise ValueError(
                f"out[{one!r}] and out[{other!r}] share memory: each plane needs its own"
            )
    return given


def _array(name: str, plane: Any) -> Array:
    """The memory of a NumPy array or of a CPU tensor."""
    if isinstance(plane, np.ndarray):
        return plane
    numpy = getattr(plane, "numpy", None)
    if numpy is None:
        raise TypeError(f"out[{name!r}] is an array or a CPU tensor, not {type(plane).__name__}")
    array: Array = numpy()  # a tensor of a GPU refuses and says why
    return array
