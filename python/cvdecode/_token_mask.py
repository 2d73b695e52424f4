"""Which patches of a clip are worth a model's attention, by what the codec had to spend on them."""

from __future__ import annotations

import bisect
import math
import numbers
from collections.abc import Callable
from typing import Any, Literal, cast

import numpy as np
import numpy.typing as npt

from ._accumulate import MASK_ANCHOR, MASK_PASSED, Accumulation
from ._core import PlaneUnavailable
from ._frame import REF_UNTRUSTED, Array, Clip, MbType
from ._rasterize import Canvas, Resize, _whole, canvas_of

Energy = Literal["mv", "residual", "both"]
Fuse = Literal["weighted", "max", "sum", "geomean"]
Floats = npt.NDArray[np.float64]

_PERCENTILE = 95.0
_LEAST_MOTION = 1e-6  # samples
_LEAST_RESIDUAL = 1.0  # sample values
_DIGITS = 6  # of scores: what differs by less is a tie


def token_mask(
    clip: Clip | Accumulation,
    patch: int = 14,
    *,
    size: int | tuple[int, int] | None = None,
    resize: Resize = "longer",
    source: Energy | None = None,
    fuse: Fuse = "weighted",
    weights: tuple[float, float] = (1.0, 1.0),
    budget: float | None = None,
    threshold: float | None = None,
    keep_first: bool = False,
    unknown: float = 1.0,
    return_scores: bool = False,
) -> Any:
    """Patches to keep: those with most motion against the frame's own, or most residual.

    Per frame, the energy of motion is the length of each vector minus the frame's median vector
    (x and y apart), over the 95th percentile of these lengths; the energy of the residual is
    |luma residual| over its 95th percentile (at least 1); both are clipped to [0, 1] and fused.
    The energy is resized to the model's input like the picture (bilinear, half-sample centres),
    and the score of a patch is its mean. Patches that touch padding are never kept.

    Args:
        clip: a Clip with "mv" (list 0 where it is used, else list 1) and "residual_y"; or an
            Accumulation, whose displacement and residual say what changed since its anchors.
        patch: side of a patch, in samples of the model's input.
        size: (height, width) of that input, or one number; a multiple of ``patch``. 36 patches
            (504 for patch 14, 576 for 16) if left out.
        resize: "longer", "shorter", "squash" or "none": see rasterize().
        source: "mv", "residual" or "both"; what the clip or accumulation has, if left out.
        fuse: for "both": "weighted" mean, "max", clipped "sum", "geomean".
        weights: of motion and residual, for "weighted".
        budget: how many patches to keep over all frames: a whole number of patches, or a fraction
            below 1 of all patches without padding (rounded). 1/8 if neither it nor
            ``threshold`` is given. Of equal scores the earlier frame's and the upper left one wins;
            scores are rounded to 6 decimals.
        threshold: keep every patch whose score is at least this.
        keep_first: keep all of the first frame; what is left of the budget goes to the others.
        unknown: the energy of samples of which nothing is known: they count as changed, and have
            no part in medians and percentiles. Of an accumulation, those that no trace connects
            with an anchor (mask 1, 2, 3; with ``anchors`` also what ended in an intra picture
            since the wanted one). Of a clip, lost macroblocks (``mb_type`` 255); where it
            was read without "mb_type", all of a frame of which a part is ``lost``. The residual of
            a lost frame without lost macroblocks (coefficients out of range) is unknown as well.
        return_scores: also return the scores.

    Returns:
        bool (T, rows, columns); with return_scores a pair with the scores, float64, NaN at
        patches that touch padding.

    Raises:
        ValueError: arguments out of range; an accumulation of a box of the picture.
        PlaneNotRead: a plane that the clip was read without.
        PlaneUnavailable: vectors of MPEG-4 B-VOPs, which libavcodec does not export.
    """
    patch = _whole("patch", patch)
    if not isinstance(clip, (Clip, Accumulation)):
        raise TypeError(f"token_mask() takes a Clip or an Accumulation, not {type(clip).__name__}")
    if source is None:
        source = "both" if {"residual", "residual_y"} & set(clip.planes) else "mv"
    if source not in ("mv", "residual", "both"):
        raise ValueError(f'source is "mv", "residual" or "both", not {source!r}')
    if fuse not in ("weighted", "max", "sum", "geomean"):
        raise ValueError(f'fuse is "weighted", "max", "sum" or "geomean", not {fuse!r}')
    if budget is not None and threshold is not None:
        raise ValueError("budget and threshold both say how many patches to keep: give one")
    for name, value in (("budget", budget), ("threshold", threshold), ("unknown", unknown)):
        if value is not None and not _is_number(value):
            raise ValueError(f"{name} is a number, not {value!r}")
    if isinstance(clip, Accumulation) and "mask" not in clip.planes:
        raise ValueError(
            "this accumulation does not say where its traces ended: leave ends=False out"
        )
    if isinstance(clip, Accumulation):
        clip._whole("token_mask()")
    width, height = clip.segment.width, clip.segment.height
    canvas = canvas_of(width, height, 36 * patch if size is None else size, resize)
    if canvas.width % patch or canvas.height % patch:
        raise ValueError(f"size {size} is no multiple of patch {patch}")

    parts: list[Callable[[int], Floats]] = []
    if source != "residual":
        parts.append(_motion(clip, unknown))
    if source != "mv":
        parts.append(_residual(clip, unknown))
    rows = _patch_sums(canvas.height, height, canvas.resized_height, canvas.top, patch)
    columns = _patch_sums(canvas.width, width, canvas.resized_width, canvas.left, patch).T
    scores = np.empty((len(clip), len(rows), columns.shape[1]))
    for t in range(len(clip)):
        energies = [part(t) for part in parts]
        energy = (
            energies[0] if len(energies) == 1 else _fused(energies[0], energies[1], fuse, weights)
        )
        scores[t] = rows @ energy @ columns
    scores = np.round(scores / patch**2, _DIGITS)
    valid = _inside(canvas, patch)
    keep = _select(scores, valid, budget, threshold, keep_first)
    if not return_scores:
        return keep
    scores[:, ~valid] = np.nan
    return keep, scores


def _motion(clip: Clip | Accumulation, unknown: float) -> Callable[[int], Floats]:
    """Energy of motion of frame t, float64 (H, W), at display size."""
    segment = clip.segment
    crop = segment.crop
    block = clip.grid if isinstance(clip, Accumulation) else 4
    if isinstance(clip, Accumulation):
        samples = 1.0 if clip.mode == "coviar" else 4.0
        vectors = clip.displacement
    else:
        samples = float(clip.metadata.mv_unit)
        cells = np.s_[
            ...,
            crop.top // 4 : (crop.top + segment.height - 1) // 4 + 1,
            crop.left // 4 : (crop.left + segment.width - 1) // 4 + 1,
        ]
        mv, used = clip.mv[cells], clip.ref[cells] != 0
        _refuse_unknown(clip)
        there = _there(clip, 4)
    ys = (np.arange(segment.height) + crop.top % block) // block
    xs = (np.arange(segment.width) + crop.left % block) // block

    def energy(t: int) -> Floats:
        if isinstance(clip, Accumulation):
            v = vectors[t].astype(np.float64) / samples
            known = _known(clip, t)
        else:
            # A vector that is not used is 0 in both lists.
            v = np.where(used[t, 0], mv[t, 0], mv[t, 1]).astype(np.float64) / samples
            known = there(t)
        if not known.any():
            return np.full((segment.height, segment.width), unknown)
        v = v - np.median(v[:, known], axis=1)[:, None, None]
        length = np.sqrt(v[0] ** 2 + v[1] ** 2)
        scaled = _scaled(length, known, _LEAST_MOTION, unknown)
        return scaled[ys[:, None], xs[None, :]]

    return energy


def _refuse_unknown(clip: Clip) -> None:
    if clip.metadata.codec != "mpeg4":
        return
    for index, kind, ref in zip(clip.index, clip.frame_type, clip.ref, strict=True):
        if kind == "B" and (ref == REF_UNTRUSTED).any():
            raise PlaneUnavailable(
                f"frame {index} is a B-VOP, whose vectors libavcodec does not export: they are 0 "
                "here, and it would pass for still; leave the B frames of clip.frame_type out"
            )


def _residual(clip: Clip | Accumulation, unknown: float) -> Callable[[int], Floats]:
    """Energy of the residual of frame t, float64 (H, W)."""
    if not isinstance(clip, Accumulation):
        luma = clip.residual_y
        there = _there(clip, 1)
        return lambda t: _scaled(
            np.abs(luma[t].astype(np.float64)), there(t), _LEAST_RESIDUAL, unknown
        )
    if "residual" in clip.planes:
        weights = np.array([0.299, 0.587, 0.114])  # BT.601 luma of the difference

        def luma_of(t: int) -> Array:
            return cast(Array, np.tensordot(weights, clip.residual[t].astype(np.float64), 1))
    elif "residual_y" in clip.planes:

        def luma_of(t: int) -> Array:
            return cast(Array, clip.residual_y[t].astype(np.float64))
    else:
        raise ValueError(
            'this accumulation has no residual: pass residual= to accumulate(), or source="mv"'
        )
    return lambda t: _scaled(np.abs(luma_of(t)), _known(clip, t), _LEAST_RESIDUAL, unknown)


def _there(clip: Clip, step: int) -> Callable[[int], npt.NDArray[np.bool_]]:
    """Which cells of ``step`` samples, of those that are shown, damage left in frame t."""
    segment = clip.segment
    block = clip.block_size["mb_type"]
    ys, xs = (
        np.arange(first // step, (first + length - 1) // step + 1) * step // block
        for first, length in (
            (segment.crop.top, segment.height),
            (segment.crop.left, segment.width),
        )
    )
    arrays = clip.numpy()
    lost = arrays.get("lost")  # clips made by hand may have none
    types = arrays.get("mb_type")

    def there(t: int) -> npt.NDArray[np.bool_]:
        if lost is None or not lost[t]:
            whole = True
        elif types is None:
            whole = False
        else:
            # Residuals out of range are lost without a word in the types.
            whole = step > 1 or bool((types[t] == MbType.LOST).any())
        if types is None or not whole:
            return np.full((len(ys), len(xs)), whole)
        found: npt.NDArray[np.bool_] = types[t][ys[:, None], xs[None, :]] != MbType.LOST
        return found

    return there


def _known(acc: Accumulation, t: int) -> npt.NDArray[np.bool_]:
    """Samples of frame t that a trace connects with the wanted anchor, or with one before it."""
    known = np.isin(acc.mask[t], (MASK_ANCHOR, MASK_PASSED))
    if acc.anchors is not None:
        wanted = bisect.bisect_right(acc.anchors, acc.frames[t]) - 1
        if wanted >= 0:  # an intra picture since then is as new as an intra block
            known &= acc.anchor[t] <= acc.anchors[wanted]
    return known


def _scaled(values: Floats, known: npt.NDArray[np.bool_], least: float, unknown: float) -> Floats:
    """Values over their 95th percentile, clipped to [0, 1]; `unknown` where nothing is known."""
    out = np.full(values.shape, unknown)
    if known.any():
        top = max(float(np.percentile(values[known], _PERCENTILE)), least)
        out[known] = np.clip(values[known] / top, 0.0, 1.0)
    return out


def _is_number(value: Any) -> bool:
    return isinstance(value, numbers.Real) and math.isfinite(value)


def _fused(motion: Floats, residual: Floats, fuse: Fuse, weights: tuple[float, float]) -> Floats:
    if fuse == "max":
        return np.maximum(motion, residual)
    if fuse == "sum":
        return np.clip(motion + residual, 0.0, 1.0)
    if fuse == "geomean":
        return np.sqrt(motion * residual)
    try:
        a, b = weights
    except (TypeError, ValueError):
        a = b = -1
    if not (_is_number(a) and _is_number(b)) or min(a, b) < 0 or a + b == 0:
        raise ValueError(
            f"weights are two numbers, not negative and not both 0, unlike {weights!r}"
        )
    return np.clip((a * motion + b * residual) / (a + b), 0.0, 1.0)


def _patch_sums(canvas: int, picture: int, resized: int, origin: int, patch: int) -> Floats:
    """(patches, picture): each row sums one patch of the bilinearly resized axis."""
    out = np.zeros((canvas // patch, picture))
    here = np.arange(canvas) - origin
    for i in np.flatnonzero((here >= 0) & (here < resized)):
        at = (here[i] + 0.5) * picture / resized - 0.5
        low = int(np.floor(at))
        part = at - low
        if low < 0:
            low, part = 0, 0.0
        if low >= picture - 1:
            low, part = picture - 1, 0.0
        out[i // patch, low] += 1.0 - part
        if part:
            out[i // patch, low + 1] += part
    return out


def _inside(canvas: Canvas, patch: int) -> npt.NDArray[np.bool_]:
    """Patches that lie wholly on the picture."""

    def axis(length: int, first: int, resized: int) -> npt.NDArray[np.bool_]:
        starts = np.arange(length // patch) * patch
        return (starts >= first) & (starts + patch <= first + resized)

    return np.outer(
        axis(canvas.height, canvas.top, canvas.resized_height),
        axis(canvas.width, canvas.left, canvas.resized_width),
    ).astype(bool)


def _select(
    scores: Floats,
    valid: npt.NDArray[np.bool_],
    budget: float | None,
    threshold: float | None,
    keep_first: bool,
) -> npt.NDArray[np.bool_]:
    keep = np.zeros(scores.shape, bool)
    candidates = np.broadcast_to(valid, scores.shape).copy()
    total = int(candidates.sum())
    if keep_first and len(keep):
        keep[0] = valid
        candidates[0] = False
    if threshold is not None:
        keep |= candidates & (scores >= threshold)
        return keep
    if budget is None:
        budget = 0.125
    if isinstance(budget, bool) or budget < 0:
        raise ValueError(f"budget is a number of patches, or a fraction below 1, not {budget!r}")
    count = round(budget * total) if budget < 1 else int(budget)
    if budget >= 1 and count != budget:
        raise ValueError(f"budget is a whole number of patches, or a fraction below 1: {budget!r}")
    if keep_first and len(keep) and count < int(keep[0].sum()):
        first = np.flatnonzero(keep[0])[:count]
        keep[0] = False
        keep[0].flat[first] = True
        return keep
    left = min(count - int(keep.sum()), int(candidates.sum()))
    if left > 0:
        flat = np.where(candidates, scores, -np.inf).ravel()
        keep.flat[np.argsort(-flat, kind="stable")[:left]] = True
    return keep
