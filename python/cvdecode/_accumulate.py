"""Accumulated motion and residual: every pixel traced back through its references to an anchor."""

from __future__ import annotations

import dataclasses
import operator
from collections.abc import Iterable, KeysView, Sequence, Set
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from . import _core, _device
from ._frame import Array, Clip, Crop, Segment, TensorDict
from ._reader import VideoReader, _integer

Select = Literal["nearest", "list0"]
Intra = Literal["stop", "coviar"]
Cross = Literal["follow", "mask"]
Residual = Literal["coded", "recon_diff"] | None
Mode = Literal["exact", "coviar"]

MASK_ANCHOR = 0
"""``mask``: the trace ended at an anchor, or at an intra picture on its way to one."""
MASK_INTRA_BLOCK = 1
"""``mask``: the trace ended in an intra block of a P or B picture."""
MASK_BROKEN = 2
"""``mask``: a lost or missing picture, or one outside the clip: displacement 0, anchor -1."""
MASK_CUT = 3
"""``mask``: cut by ``cross="mask"``: displacement 0, anchor -1."""
MASK_PASSED = 4
"""``mask``: the trace passed the wanted anchor's time without meeting it; ``anchor`` says where
it ended: in the first picture before that time."""
ANCHOR_NONE = -1
"""``anchor`` where ``mask`` is 2 or 3."""
ANCHOR_NOT_SHOWN = -2
"""``anchor``: a picture that is not presented."""

_KINDS = {"I": 1, "P": 2, "B": 3}


@dataclasses.dataclass(frozen=True)
class AccumulationStats:
    """Work done by one call."""

    saturated: int
    """Sums that were clipped to int16, over all maps computed."""
    pictures_read: int
    """Pictures whose motion was asked for: the frames and the chain behind them, no others."""
    pictures_traced: int
    """Maps computed."""
    peak_maps: int
    """Most maps alive at once of pictures that nobody asked for."""
    cpu_seconds: float
    """CPU time of choosing predictors and tracing: accumulation without the parsing under it."""


class Accumulation:
    """What accumulate() gives for T frames.

    Arrays are views, cropped to the display size, of memory that the compiled core allocated and
    that lives as long as one of them does. H and W are display sizes; for ``grid=4`` they count
    the 4x4 blocks that hold a displayed sample, of which the first lies ``origin`` samples from
    the top left of the display. Where ``mask`` is 2 or 3: displacement 0, residual 0, anchor -1.
    """

    __slots__ = (
        "_arrays", "_memory", "anchors", "box", "frames", "grid", "mode", "segment", "stats",
    )  # fmt: skip

    def __init__(
        self,
        arrays: dict[str, Array],
        frames: npt.NDArray[np.int64],
        grid: int,
        mode: Mode,
        segment: Segment,
        stats: AccumulationStats,
        memory: _core.AccumulationMemory | None = None,
        box: tuple[int, int, int, int] | None = None,
        anchors: Sequence[int] | None = None,
    ) -> None:
        """Made by accumulate(); ``memory`` is what ``out=`` can use again."""
        self._arrays = arrays
        self._memory = memory
        self.frames = frames
        """Presentation index of each row, int64 (T,)."""
        self.grid = grid
        """Samples per cell: 1 or 4."""
        self.mode = mode
        """"exact" or "coviar"."""
        self.segment = segment
        """Sizes of the coded and the shown picture."""
        self.stats = stats
        """Work done, and how many sums were clipped."""
        self.box = box
        """(x, y, width, height) of the shown picture that the arrays hold: they are undefined
        outside. None = all of it."""
        self.anchors = anchors
        """Presentation indices that were asked for as anchors, ascending. None = the intra
        pictures."""

    def _whole(self, call: str) -> None:
        """Refuses what reads outside the box."""
        if self.box in (None, (0, 0, self.segment.width, self.segment.height)):
            return
        raise ValueError(
            f"{call} reads the whole picture of {self.segment.width}x{self.segment.height}, and "
            f"this accumulation holds its box {self.box} only: leave box= out of accumulate()"
        )

    def _get(self, name: str, ask: str) -> Array:
        try:
            return self._arrays[name]
        except KeyError:
            raise AttributeError(f"accumulate() was called without {ask}") from None

    @property
    def displacement(self) -> Array:
        """Here minus source: int16 (T, 2 (x, y), H, W), quarter luma samples.

        mode="coviar": whole samples. per_frame=True: float32, quarter samples per frame.
        """
        return self._arrays["displacement"]

    @property
    def anchor(self) -> Array:
        """Presentation index of the picture in which the trace ended, int32 (T, H, W).

        -1 where mask is 2 or 3; -2 a picture that is not presented.
        """
        return self._get("anchor", "ends=True")

    @property
    def mask(self) -> Array:
        """How the trace ended, uint8 (T, H, W).

        0 at an anchor, 1 in an intra block, 2 broken, 3 cut by cross="mask", 4 it passed the
        wanted anchor's time.
        """
        return self._get("mask", "ends=True")

    @property
    def lost(self) -> Array:
        """With ends=False: frames whose traces are all broken (mask 2), bool (T,)."""
        return self._get("lost", "ends=False")

    @property
    def hops(self) -> Array:
        """Steps taken, uint16 (T, H, W), with return_hops=True; 0 where mask is 2 or 3."""
        return self._get("hops", "return_hops=True")

    @property
    def residual(self) -> Array:
        """residual="recon_diff": rgb here minus rgb where the trace ended, int16 (T, 3, H, W)."""
        return self._get("residual", 'residual="recon_diff"')

    @property
    def residual_y(self) -> Array:
        """residual="coded": luma residual summed along the trace, int16 (T, H, W)."""
        return self._get("residual_y", 'residual="coded"')

    @property
    def residual_uv(self) -> Array:
        """residual="coded": the same for Cb and Cr, int16 (T, 2, ceil(H / 2), ceil(W / 2))."""
        return self._get("residual_uv", 'residual="coded" of a 4:2:0 stream')

    @property
    def mask_uv(self) -> Array:
        """How the traces of ``residual_uv`` ended, uint8 (T, ceil(H / 2), ceil(W / 2)).

        Chroma has a trace of its own: its vectors round to chroma samples.
        """
        return self._get("mask_uv", 'residual="coded" of a 4:2:0 stream')

    @property
    def planes(self) -> tuple[str, ...]:
        """Names of the arrays that this call gave."""
        return tuple(self._arrays)

    @property
    def origin(self) -> tuple[int, int]:
        """(x, y) of the first cell's first luma sample in the display: 0, or less for grid=4."""
        crop = self.segment.crop
        return (-(crop.left % self.grid), -(crop.top % self.grid))

    def numpy(self) -> dict[str, Array]:
        """All arrays by name, and ``frames``, without a copy; from a GPU with one."""
        return {**{name: _device.to_numpy(a) for name, a in self._arrays.items()}, **self._own()}

    def _own(self) -> dict[str, Array]:
        return {"frames": self.frames}

    def torch(self) -> TensorDict:
        """All arrays as tensors by name, over the same memory. Needs torch."""
        import torch

        arrays: dict[str, Any] = {**self._arrays, **self._own()}
        return TensorDict(
            (name, torch.from_numpy(array) if isinstance(array, np.ndarray) else array)
            for name, array in arrays.items()
        )

    def __reduce__(self) -> tuple[Any, ...]:
        own = (self._arrays, self.frames, self.grid, self.mode, self.segment, self.stats)
        return (Accumulation, (*own, None, self.box, self.anchors))

    def __len__(self) -> int:
        return len(self.frames)

    def __repr__(self) -> str:
        shapes = "".join(
            f"\n  {name}: {array.dtype}{list(array.shape)}" for name, array in self._arrays.items()
        )
        part = "" if self.box is None else f", box={self.box}"
        head = f"Accumulation(T={len(self)}, mode={self.mode!r}, grid={self.grid}{part})"
        return f"{head}:{shapes}"


def accumulate(
    source: VideoReader | Clip,
    frames: Any = None,
    *,
    anchors: Any = None,
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
    box: tuple[int, int, int, int] | None = None,
    ends: bool = True,
    out: Accumulation | None = None,
    device: Any = "cpu",
) -> Accumulation:
    """Trace every pixel of ``frames`` back through its true references to an anchor.

    A vector v moves a trace from sample p to clamp(p + ((v + 2) >> 2)) of its reference; the
    displacement sums -v along the way, exactly, in quarter samples.

    Args:
        source: an open VideoReader, whose planes need not include those used here: it parses the
            frames and the reference chain that they need, and no others. Or a Clip with "mv" and
            "ref" (and "residual_y", "residual_uv" or "rgb"), which must hold the whole chain:
            what lies outside is mask 2. Without "mb_type" a partly lost frame counts as lost.
        frames: presentation indices in any order, repeats allowed; all frames by default. A set
            is taken in ascending order. Of a video, negative ones count from the end. All must
            lie in one segment.
        anchors: presentation indices at which traces end; the intra pictures by default. The
            wanted anchor of a frame is then the last of them at or before it; a trace that passes
            below its time without meeting it ends at the first picture there (mask 4). Traces
            also end in intra pictures.
        virtual_gop: n makes every n-th frame (0, n, 2n ...) an anchor.
        select: which predictor of a bi-predicted block the trace follows: the "nearest" reference
            in presentation order (list 0 if both are equally far), or "list0".
        intra: in an intra block of a P or B picture the trace stops ("stop": mask 1), or goes on
            at the same place of the nearest reference picture earlier in decode order ("coviar").
        residual: "coded" sums what the stream adds to its predictions (``residual_y``,
            ``residual_uv``; native backend); "recon_diff" is the RGB difference to where the trace
            ended (``residual``). Two different tensors.
        cross: "follow" traces past the frame's own intra picture into the GOP before; "mask" cuts
            such traces (mask 3). With ``anchors``, it cuts those that end in another one of them.
        grid: "pixel", or 4 for one cell per 4x4 block, a coarser and much faster recursion.
        hops: 1 takes one step only, to the true reference; residual="recon_diff" is then the
            difference to the motion-compensated reference, through both lists.
        per_frame: with hops=1, divide by the distance of the reference in frames: motion per
            frame forward in time, float32.
        return_hops: also give the number of steps of each trace.
        mode: "exact", or "coviar" for the map of pytorch-coviar's loader, integer for integer:
            whole samples, I and P pictures only, with hops=1 its map of a single frame.
        box: (x, y, width, height) of the shown picture, all that is wanted of it: arrays keep
            their shapes, and outside hold anything, so rasterize() and token_mask() refuse them.
        ends: False leaves out ``anchor``, ``mask`` and ``mask_uv`` and gives ``lost`` instead. With
            a box, only what its traces meet is traced then.
        out: an accumulation of an earlier call. Its memory is used again where it is large enough,
            so arrays taken from it change, and it must not be read afterwards: fresh memory costs
            more than the tracing.
        device: "cpu", or a GPU as "cuda" or "cuda:1" (also a torch.device): the stream is parsed
            on the CPU, its motion goes to the GPU and is traced there, and the arrays are torch
            tensors on it, written in the order of its current stream. It needs a build with CUDA
            and does not do mode="coviar", per_frame and the residual of hops=1.

    Returns:
        An Accumulation: displacement, anchor, mask and what else was asked for.

    Raises:
        IndexError: no such frame.
        ValueError: frames of two segments; arguments that exclude each other; mode="coviar" on a
            stream with B pictures.
        PlaneUnavailable: the chain meets a picture whose references the backend does not know
            (H.264 and MPEG-4 B-VOPs by libavcodec), or a plane is not there.
        MemoryError: the planes, or of a GPU the motion, residuals and pixels that go there, would
            take more than the reader's ``max_bytes``; nothing was allocated for them.
        DeviceUnavailable: no module for GPUs, no GPU, or no torch.
    """
    gpu = _device.find(device)
    options, wanted = _request(
        source,
        frames,
        anchors=anchors,
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
        box=box,
        ends=ends,
    )
    memory = None
    if out is not None:
        if not isinstance(out, Accumulation):
            raise TypeError(f"out is an Accumulation, not {type(out).__name__}")
        if gpu is not None:
            raise ValueError("out is for the CPU: memory of a GPU comes from torch's own cache")
        memory, out._memory = out._memory, None
    if gpu is not None and not (ends and box is None):
        raise ValueError("box and ends=False are for the CPU: leave them out, or device")
    if gpu is None:
        result, where = _compute(source, options, memory)
    else:
        plan, where = _plan(source, options, _max_bytes([source]))
        _check_bytes(options, where, (1, len(wanted)), _max_bytes([source]), gpu)
        arrays = gpu.allocate(_stacked(_shapes(options, where), (1, len(wanted))), ())
        counters = _device.run_plans(gpu, [plan], arrays)
        result = {name: array[0] for name, array in arrays.items()}
        result["stats"] = {**plan.stats, "saturated": int(counters[0]), "peak_maps": 0}
    return _result(result, wanted, options, mode, where)


def _request(
    source: VideoReader | Clip,
    frames: Any,
    *,
    anchors: Any,
    virtual_gop: int | None,
    select: Select,
    intra: Intra,
    residual: Residual,
    cross: Cross,
    grid: int | str,
    hops: int | None,
    per_frame: bool,
    return_hops: bool,
    mode: Mode,
    box: tuple[int, int, int, int] | None = None,
    ends: bool = True,
) -> tuple[dict[str, Any], npt.NDArray[np.int64]]:
    """Arguments of accumulate() as options of the core, and its frames."""
    options: dict[str, Any] = {
        "select": select,
        "intra": intra,
        "cross": cross,
        "residual": residual,
        "grid": _grid(grid),
        "per_frame": _flag("per_frame", per_frame),
        "count_hops": _flag("return_hops", return_hops),
        "ends": _flag("ends", ends),
    }
    if box is not None:
        options["box"] = _box(box)
    if hops is not None and not _is_number(hops, 1):
        raise ValueError(f"hops is None (to the anchor) or 1 (one step), not {hops!r}")
    options["one_step"] = hops == 1
    if mode not in ("exact", "coviar"):
        raise ValueError(f'mode is "exact" or "coviar", not {mode!r}')
    options["coviar"] = mode == "coviar"
    if anchors is not None and virtual_gop is not None:
        raise ValueError("anchors and virtual_gop both name the anchors: give one of them")

    frames, anchors = _listed(frames), _listed(anchors)
    if isinstance(source, VideoReader):
        length = len(source)
        wanted = source._normal(range(length) if frames is None else frames, "frames")
    elif isinstance(source, Clip):
        length = int(source.index.max()) + 1 if len(source) else 0
        wanted = _indices("frames", source.index if frames is None else frames)
    else:
        raise TypeError(
            f"accumulate() takes a VideoReader or a Clip, not {type(source).__name__}; open a "
            "path with VideoReader first"
        )
    options["frames"] = wanted.tolist()
    if virtual_gop is not None:
        options["anchors"] = list(range(0, length, _integer("virtual_gop", virtual_gop, 1)))
    elif anchors is not None:
        # Negative ones count from the end of a video, as everywhere.
        found = (
            source._normal(anchors, "anchors")
            if isinstance(source, VideoReader)
            else _indices("anchors", anchors)
        )
        options["anchors"] = sorted(set(found.tolist()))
    return options, wanted


def _compute(
    source: VideoReader | Clip, options: dict[str, Any], memory: _core.AccumulationMemory | None
) -> tuple[dict[str, Any], Segment]:
    if isinstance(source, Clip):
        size, planes = _planes(source, options)
        return _core.accumulate_arrays(size, planes, options, memory), source.segment
    result = _core.accumulate_reader(source._handle(), options, memory)
    return result, source.segments[result["segment"]] if source.segments else _NOWHERE


def _plan(
    source: VideoReader | Clip, options: dict[str, Any], max_bytes: int, held: int = 0
) -> tuple[_core.AccumulationPlan, Segment]:
    """The work of _compute(), for a device to do; ``held``: bytes of others of its batch."""
    if isinstance(source, Clip):
        size, planes = _planes(source, options)
        return _core.plan_arrays(size, planes, options, max_bytes, held), source.segment
    plan, segment = _core.plan_reader(source._handle(), options, max_bytes, held)
    return plan, source.segments[segment] if source.segments else _NOWHERE


def _shapes(options: dict[str, Any], segment: Segment) -> dict[str, tuple[tuple[int, ...], str]]:
    """Shape (without the frames) and dtype of every plane, at coded size."""
    width, height = (side // options["grid"] for side in segment.coded_size)
    shapes: dict[str, tuple[tuple[int, ...], str]] = {
        "displacement": ((2, height, width), "float32" if options["per_frame"] else "int16"),
        "anchor": ((height, width), "int32"),
        "mask": ((height, width), "uint8"),
    }
    if options["count_hops"]:
        shapes["hops"] = ((height, width), "uint16")
    if options["residual"] == "coded":
        shapes["residual_y"] = ((height, width), "int16")
        if segment.chroma_format == "4:2:0":
            shapes["residual_uv"] = ((2, height // 2, width // 2), "int16")
            shapes["mask_uv"] = ((height // 2, width // 2), "uint8")
    if options["residual"] == "recon_diff":
        shapes["residual"] = ((3, segment.height, segment.width), "int16")
    return shapes


def _stacked(shapes: _device.Shapes, lead: tuple[int, ...]) -> _device.Shapes:
    """The same planes with ``lead`` in front."""
    return {name: ((*lead, *shape), dtype) for name, (shape, dtype) in shapes.items()}


def _max_bytes(sources: Sequence[VideoReader | Clip]) -> int:
    """The least that one of the readers was opened with; 0 = half of the free memory."""
    given = [s._options.max_bytes for s in sources if isinstance(s, VideoReader)]
    return min((most for most in given if most > 0), default=0)


_SMALL = 16 << 20  # bytes; never compared with the free memory


def _check_bytes(
    options: dict[str, Any],
    segment: Segment,
    stack: tuple[int, int],
    max_bytes: int,
    gpu: _device.Cuda | None = None,
    at_once: int | None = None,
) -> None:
    """Refuses planes of ``stack`` (clips, frames) that would not fit, before they are allocated.

    What is held beside them is there for ``at_once`` of the clips, or for all.
    """
    clips, frames = stack
    if clips * frames == 0:
        return
    kept, work = _core.accumulation_row_bytes(_size(segment), options)
    needed = frames * (clips * kept + min(clips, at_once or clips) * work)
    if needed <= _SMALL and max_bytes == 0:
        return
    most = max_bytes or (_core.free_memory() if gpu is None else gpu.free_memory()) // 2
    if needed > most:
        raise MemoryError(
            f"accumulating {clips} x {frames} frames takes {needed // 10**6} MB, above max_bytes = "
            f"{most // 10**6} MB{'' if max_bytes else ' (half of the free memory)'}; ask for fewer "
            "clips or frames at a time, or grid=4"
        )


_NOWHERE = Segment(0, 0, (0, 0), Crop(0, 0, 0, 0), "other", 8)


def _flag(name: str, value: Any) -> bool:
    if isinstance(value, (bool, np.bool_)):
        return bool(value)
    raise ValueError(f"{name} is True or False, not {value!r}")


def _is_number(value: Any, number: int) -> bool:
    """Whether it is this integer, and no float or bool that equals it."""
    if isinstance(value, (bool, np.bool_, np.ndarray)):
        return False
    try:
        return operator.index(value) == number
    except TypeError:
        return False


def _grid(grid: Any) -> int:
    if isinstance(grid, str) and grid == "pixel":
        return 1
    if _is_number(grid, 4):
        return 4
    raise ValueError(f'grid is "pixel" or 4, not {grid!r}')


def _box(box: Any) -> tuple[int, int, int, int]:
    try:
        sides = tuple(operator.index(side) for side in box)
    except TypeError:
        sides = ()
    if len(sides) != 4 or min(sides[2:]) < 1 or max(sides) >= 1 << 31 or min(sides) < -1 << 31:
        raise ValueError(f"box is (x, y, width, height) of a part, not {box!r}")
    x, y, width, height = sides
    return x, y, width, height


def _listed(values: Any) -> Any:
    """Iterators and sets as lists; sets ascending."""
    if isinstance(values, Set) and not isinstance(values, KeysView):
        return sorted(values)
    if isinstance(values, Iterable) and not hasattr(values, "__getitem__"):
        return list(values)
    return values


def _indices(name: str, values: Any) -> npt.NDArray[np.int64]:
    """A flat array of non-negative integers."""
    array = np.asarray(values)
    if array.ndim != 1 or (array.size and array.dtype.kind not in "iu"):
        raise TypeError(f"{name} are a flat list or array of integers")
    if array.size and array.min() < 0:
        raise IndexError(
            f"{name} of a clip are presentation indices; {int(array.min())} is negative"
        )
    return array.astype(np.int64)


def _size(segment: Segment) -> tuple[int, ...]:
    """As the core takes it."""
    chroma = {"4:0:0": 0, "4:2:0": 1, "4:2:2": 2, "4:4:4": 3}.get(segment.chroma_format, -1)
    return (*segment.coded_size, *segment.crop, chroma)


def _planes(clip: Clip, options: dict[str, Any]) -> tuple[tuple[int, ...], dict[str, Any]]:
    """Size and arrays of a clip for the core, which need not be as the core made them."""
    segment = clip.segment
    width, height = segment.coded_size
    crop = segment.crop
    kinds = clip.frame_type
    planes: dict[str, Any] = {
        "presentation": np.ascontiguousarray(clip.index, np.int64),
        "type": np.array([_KINDS.get(str(kind), 0) for kind in kinds], np.uint8),
        "all_intra": np.ascontiguousarray(kinds == "I", np.uint8),
        "is_reference": _references(clip),
        "lost": np.ascontiguousarray(clip.lost, np.uint8),
        "mv": np.ascontiguousarray(clip.mv),
        "ref": np.ascontiguousarray(clip.ref),
    }
    if clip._decode_places is not None:  # clips made by hand have none
        for i, name in enumerate(("decode", "previous_reference", "last_intra")):
            planes[name] = np.ascontiguousarray(clip._decode_places[:, i])
    if "mb_type" in clip.planes:
        planes["mb_type"] = np.ascontiguousarray(clip.mb_type)
    if options["residual"] == "coded":
        planes["residual_y"] = _coded(clip.residual_y, height, width, crop.top, crop.left)
        if segment.chroma_format == "4:2:0":
            planes["residual_uv"] = _coded(
                clip.residual_uv, height // 2, width // 2, crop.top // 2, crop.left // 2
            )
    if options["residual"] == "recon_diff":
        planes["rgb"] = np.ascontiguousarray(clip.rgb)
        place = {int(index): row for row, index in enumerate(clip.rgb_index)}
        planes["rgb_row"] = np.array([place.get(int(i), -1) for i in clip.index], np.int64)
    return _size(segment), planes


def _references(clip: Clip) -> npt.NDArray[np.uint8]:
    """Which rows later pictures may refer to: I and P, and the B pictures that some row names."""
    index = clip.index
    named: set[int] = set()
    for here, ref in zip(index.tolist(), clip.ref, strict=True):
        apart = np.unique(ref).astype(np.int64)
        named.update((apart[apart != 0] + here).tolist())
    kinds = clip.frame_type.tolist()
    return np.array(
        [kind != "B" or i in named for kind, i in zip(kinds, index.tolist(), strict=True)],
        np.uint8,
    )


def _coded(plane: Array, height: int, width: int, top: int, left: int) -> Array:
    """A residual plane at coded size, of which clips show a part."""
    base = plane.base
    if plane.shape[-2:] == (height, width):
        return np.ascontiguousarray(plane)
    if len(plane) == 0:
        return np.zeros((*plane.shape[:-2], height, width), np.int16)
    if (
        isinstance(base, np.ndarray)
        and base.ndim == plane.ndim
        and base.shape[-2:] == (height, width)
        and base.strides[1:] == plane.strides[1:]
        and len(plane)
    ):
        corner = top * base.strides[-2] + left * base.strides[-1]
        first, rest = divmod(plane.ctypes.data - base.ctypes.data - corner, base.strides[0])
        step, odd = divmod(plane.strides[0], base.strides[0])
        rows = first + step * np.arange(len(plane))
        if rest == odd == 0 and rows.min() >= 0 and rows.max() < len(base):
            return np.ascontiguousarray(base[rows])
    raise ValueError(
        'residual="coded" traces through the coded picture, of which this clip holds the shown '
        "part only, because it was pickled or copied; accumulate the clip that the reader gave, "
        "or the video"
    )


def _crop(name: str, array: Any, grid: int, segment: Segment) -> Any:
    """What is shown of a plane of coded size."""
    left, top = segment.crop.left, segment.crop.top
    height, width = segment.height, segment.width
    if name in ("residual", "lost"):
        return array
    if name in ("residual_uv", "mask_uv"):
        y, x = top // 2, left // 2
        return array[..., y : y + (height + 1) // 2, x : x + (width + 1) // 2]
    if grid == 4:
        return array[
            ...,
            top // 4 : (top + height - 1) // 4 + 1,
            left // 4 : (left + width - 1) // 4 + 1,
        ]
    return array[..., top : top + height, left : left + width]


def _result(
    out: dict[str, Any],
    frames: npt.NDArray[np.int64],
    options: dict[str, Any],
    mode: Mode,
    segment: Segment,
) -> Accumulation:
    """Names what the core gave, cropped to what is shown."""
    grid = options["grid"]
    arrays = {
        name: _crop(name, out[name], grid, segment)
        for name in (
            *("displacement", "anchor", "mask", "hops", "lost"),
            *("residual", "residual_y", "residual_uv", "mask_uv"),
        )
        if out.get(name) is not None
    }
    stats = AccumulationStats(**out["stats"])
    return Accumulation(
        arrays, frames, grid, mode, segment, stats, out.get("memory"), options.get("box"),
        options.get("anchors"),
    )  # fmt: skip
