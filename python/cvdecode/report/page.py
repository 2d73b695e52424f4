"""One self-contained HTML page of a clip: picture, vectors, QP, types, bits, residual, motion."""

from __future__ import annotations

import base64
import gzip
import html
import io
import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

import cvdecode

if TYPE_CHECKING:
    from collections.abc import Sequence

HERE = Path(__file__).parent
# Planes a page can show, in the order of its table.
WANTED = ("mv", "ref", "mb_type", "qp", "bits", "residual_y")


def write_page(
    source: Any,
    out: str | os.PathLike[str],
    *,
    start: int = 0,
    frames: int = 60,
    rows: Sequence[Sequence[str]] = (),
) -> Path:
    """Writes the page for `frames` frames of `source` from presentation index `start` on.

    Everything the stream and its backend can give is shown; what cannot be had is named, with the
    reason, in the table below the picture. `rows` are extra rows for that table.

    Raises:
        ValueError: the range is empty.
        cvdecode.Error: the source cannot be read.
    """
    meta = cvdecode.probe(source)
    available, reasons = available_planes(meta)
    planes = tuple(p for p in WANTED if p in available)
    with cvdecode.VideoReader(source, planes=planes, rgb="all") as video:
        segment = next((s for s in video.segments if s.start <= start < s.stop), None)
        stop = min(start + frames, segment.stop if segment else 0)
        if segment is None or stop <= start:
            raise ValueError(
                f"frames {start} to {start + frames} lie outside {source}: "
                f"it has {len(video)} frames"
            )
        clip = video.get_frames_in_range(start, stop)
        motion, why_no_motion = _accumulated(video, range(start, stop))
        backends = dict(video.backend)
        title = Path(os.fspath(source)).name if isinstance(source, str | os.PathLike) else "video"
        page = _page_data(clip, motion, title=title, metadata=video.metadata)
    page["planes"] = [
        ["plane", "shape", "type", "read by"],
        *[
            [p, str(getattr(clip, p).shape), str(getattr(clip, p).dtype), backends.get(p, "libav")]
            for p in (*planes, "rgb")
        ],
        *[[p, "not available", "", reason] for p, reason in reasons.items()],
    ]
    if motion is not None:
        page["planes"].append(
            ["motion since the anchor", str(motion.displacement.shape), "int16", "accumulate"]
        )
    else:
        page["planes"].append(["motion since the anchor", "not available", "", why_no_motion])
    page["planes"] += [list(row) for row in rows]
    text = (HERE / "page.html").read_text(encoding="utf-8")
    text = text.replace("__TITLE__", html.escape(title))
    text = text.replace("__SCRIPT__", (HERE / "page.js").read_text(encoding="utf-8"))
    # "</" would end the script element early.
    text = text.replace("__DATA__", json.dumps(page, allow_nan=False).replace("</", "<\\/"))
    path = Path(out)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(path.name + ".part")
    temporary.write_text(text, encoding="utf-8")
    temporary.replace(path)
    return path


def available_planes(meta: cvdecode.Probe) -> tuple[set[str], dict[str, str]]:
    """(planes that some backend can fill, {plane: why no backend can})."""
    available: set[str] = set()
    reasons: dict[str, str] = {}
    for plane in WANTED:
        if plane in meta.planes:
            available.add(plane)
        else:
            why = [offer.why_not.get(plane, "") for offer in meta.backends.values()]
            reasons[plane] = "; ".join(dict.fromkeys(r for r in why if r))
    return available, reasons


def _accumulated(video: Any, frames: range) -> tuple[Any, str]:
    try:
        return cvdecode.accumulate(video, list(frames), grid=4), ""
    except (cvdecode.PlaneUnavailable, cvdecode.UnsupportedStream) as error:
        return None, str(error)


def _packed(array: npt.NDArray[Any]) -> str:
    raw = np.ascontiguousarray(array)
    return base64.b64encode(gzip.compress(raw.tobytes(), 6, mtime=0)).decode()


def _jpeg(pixels: npt.NDArray[np.uint8]) -> str:
    from PIL import Image  # matplotlib's own dependency: the `report` extra

    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "JPEG", quality=85)
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode()


def residual_image(residual: npt.NDArray[np.int16]) -> npt.NDArray[np.uint8]:
    """Mid-grey is zero; differences are shown twice as strong."""
    return np.clip(128 + 2 * residual.astype(np.int32), 0, 255).astype(np.uint8)


def _page_data(clip: Any, motion: Any, *, title: str, metadata: Any) -> dict[str, Any]:
    rows4, cols4 = clip.segment.coded_size[1] // 4, clip.segment.coded_size[0] // 4
    planes = {p: getattr(clip, p) for p in WANTED if p in clip.planes}
    qps = planes["qp"][planes["qp"] != -128] if "qp" in planes else np.zeros(0)
    records = []
    for t in range(len(clip)):
        record: dict[str, Any] = {
            "index": int(clip.index[t]),
            "seconds": None if np.isnan(clip.pts_seconds[t]) else float(clip.pts_seconds[t]),
            "type": str(clip.frame_type[t]),
            "key": bool(clip.is_key[t]),
            "lost": bool(clip.lost[t]),
            "rgb": _jpeg(np.ascontiguousarray(clip.rgb[t].transpose(1, 2, 0))),
        }
        for name, plane in planes.items():
            if name == "residual_y":
                record["residual"] = _jpeg(residual_image(plane[t]))
            else:
                record[name] = _packed(plane[t])
        if "bits" in planes:
            record["bytes"] = int(planes["bits"][t].astype(np.int64).sum()) // 8
        if motion is not None:
            record["displacement"] = _packed(motion.displacement[t])
            record["mask"] = _packed(motion.mask[t])
        records.append(record)
    note = (
        "Bar height: square root of the bits in the frame's blocks."
        if "bits" in planes
        else "One bar a frame."
    )
    return {
        "title": title,
        "subtitle": f"{metadata.codec} · {metadata.width}x{metadata.height} · frames "
        f"{int(clip.index[0])} to {int(clip.index[-1])} of {metadata.num_frames} · "
        "arrows point from a block to where its prediction was taken from",
        "timeline_note": note + " Red I, dark blue P, light blue B. Click to go there.",
        "width": int(metadata.width),
        "height": int(metadata.height),
        "crop": [int(c) for c in clip.crop],
        "w4": cols4,
        "h4": rows4,
        "w16": cols4 // 4,
        "fps": float(metadata.average_fps or 25),
        "qp_range": [int(qps.min()), int(qps.max())] if qps.size else [0, 51],
        "frames": records,
    }
