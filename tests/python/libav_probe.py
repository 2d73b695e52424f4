"""The independent reader of the libav tests: PyAV, one slice thread, side data read field by field.

PyAV brings its own FFmpeg, so it is independent of the system's libavcodec as well. Frames are told
by their place in output order; `Frame.packet` is the packet in which the frame began.
"""

from __future__ import annotations

import dataclasses
import subprocess
from pathlib import Path
from typing import Any

import av
import numpy as np
from av.codec.context import ThreadType
from av.sidedata.sidedata import Type as SideData
from av.video.frame import PictureType
from numpy.typing import NDArray

from cvdecode import _core

PLANES = {"mv": 0, "ref": 1, "mb_type": 2, "qp": 3, "rgb": 7, "ref_picture": 8}
UNTRUSTED, MISSING, NOT_SHOWN = -32768, -32766, -32767
LOST, INTRA, INTER, QP_NONE = 255, 253, 252, -128
TYPES = {(16, 16): 7, (16, 8): 8, (8, 16): 9, (8, 8): 10}


def mask(*names: str) -> int:
    """The bit mask of these planes."""
    return sum(1 << PLANES[n] for n in names)


@dataclasses.dataclass
class Frame:
    """One frame of PyAV, in output order. `vectors` and `qp` are None where there is no side data;
    `qp` holds (x, y, base + delta) of each macroblock."""

    packet: int
    kind: str
    vectors: NDArray[Any] | None
    qp: NDArray[np.int64] | None
    corrupt: bool
    rgb: NDArray[np.uint8] | None
    flushed: bool

    def qp_plane(self, grid: tuple[int, int]) -> NDArray[np.int64]:
        """(H16, W16), -128 where no macroblock says."""
        assert self.qp is not None
        out = np.full(grid, QP_NONE, np.int64)
        x, y, value = self.qp
        inside = (x < grid[1]) & (y < grid[0])
        out[y[inside], x[inside]] = value[inside]
        return out

    def motion(
        self, grid: tuple[int, int]
    ) -> tuple[NDArray[np.int16], NDArray[np.bool_], NDArray[np.uint8]]:
        """mv (2, 2, H4, W4) in quarter samples, used (2, H4, W4), and the type (H16, W16) that the
        block sizes tell, 253 where there is no vector; grid = (H16, W16)."""
        mv = np.zeros((2, 2, grid[0] * 4, grid[1] * 4), np.int16)
        used = np.zeros((2, grid[0] * 4, grid[1] * 4), bool)
        kind = np.full(grid, INTRA, np.uint8)
        if self.vectors is None:
            return mv, used, kind
        v = {n: self.vectors[n].astype(np.int64) for n in self.vectors.dtype.names}
        for (w, h), number in TYPES.items():
            for list_, sign in ((0, -1), (1, 1)):
                pick = (v["w"] == w) & (v["h"] == h) & (np.sign(v["source"]) == sign)
                x0, y0 = (v["dst_x"][pick] - w // 2) // 4, (v["dst_y"][pick] - h // 2) // 4
                scale = v["motion_scale"][pick]
                quarters = [v[n][pick] * 4 / scale for n in ("motion_x", "motion_y")]
                for dy in range(h // 4):
                    for dx in range(w // 4):
                        y, x = y0 + dy, x0 + dx
                        inside = (y < grid[0] * 4) & (x < grid[1] * 4)
                        for axis in (0, 1):
                            mv[list_, axis, y[inside], x[inside]] = quarters[axis][inside]
                        used[list_, y[inside], x[inside]] = True
                inside = y0 // 4 < grid[0]
                kind[y0[inside] // 4, x0[inside] // 4] = number
        return mv, used, kind


def _qp(frame: av.VideoFrame) -> NDArray[np.int64] | None:
    data = frame.side_data.get(SideData.VIDEO_ENC_PARAMS)
    if data is None:
        return None
    shape, strides = (data.nb_blocks, 5), (data.block_size, 4)
    fields = np.ndarray(shape, np.int32, bytes(data), data.blocks_offset, strides)
    return np.stack([fields[:, 0] // 16, fields[:, 1] // 16, data.qp + fields[:, 4]]).astype(int)


def pyav_frames(
    path: Path, limit: int | None = None, rgb: bool = False, threads: ThreadType = ThreadType.SLICE
) -> list[Frame]:
    """Decodes `path`, at most `limit` packets of it; edit lists are ignored."""
    frames: list[Frame] = []
    options = {"ignore_editlist": "1"} if path.suffix in {".mp4", ".mov", ".3gp"} else {}
    with av.open(str(path), options=options) as container:
        stream = container.streams.video[0]
        ctx = stream.codec_context
        ctx.thread_type = threads
        ctx.thread_count = 1 if threads == ThreadType.SLICE else 4
        ctx.options = {
            "flags": "+output_corrupt+unaligned",
            "flags2": "+export_mvs",
            "export_side_data": "venc_params",
        }
        number = 0
        for packet in container.demux(stream):
            flushed = packet.size == 0 or number == limit
            if not flushed:
                packet.pts = packet.dts = number
                number += 1
            try:
                decoded = ctx.decode(None if flushed else packet)
            except av.error.InvalidDataError:
                decoded = []
            for f in decoded:
                vectors = f.side_data.get(SideData.MOTION_VECTORS)
                frames.append(
                    Frame(
                        packet=int(f.pts),
                        kind=PictureType(f.pict_type).name,
                        vectors=None if vectors is None else vectors.to_ndarray().copy(),
                        qp=_qp(f),
                        corrupt=f.is_corrupt,
                        rgb=f.to_ndarray(format="rgb24") if rgb else None,
                        flushed=flushed,
                    )
                )
            if flushed:
                break
    return frames


class Clip:
    """The backend under test over a file, with the index that it works from."""

    def __init__(self, source: Path | bytes, threads: int = 1) -> None:
        where = str(source) if isinstance(source, Path) else source
        self.index = _core._Demuxer(where).index()
        self.pictures: list[dict[str, Any]] = self.index["pictures"]
        self.probe = _core.LibavProbe(where, threads)
        # decode numbers in output order, those that are not presented included
        self.output_order = sorted(
            range(len(self.pictures)),
            key=lambda i: (self.pictures[i]["sequence"], self.pictures[i]["order"], i),
        )

    def available(self, *names: str) -> tuple[str, ...]:
        """Those of `names` that libav has for this stream."""
        return tuple(n for n in names if not self.probe.why_not(PLANES[n]))

    def read(self, pictures: list[int], *names: str) -> dict[int, dict[str, Any]]:
        """Rows by decode number; one call of the backend for each segment."""
        rows: dict[int, dict[str, Any]] = {}
        for segment in sorted({self.pictures[i]["segment"] for i in pictures}):
            part = sorted(i for i in pictures if self.pictures[i]["segment"] == segment)
            out = self.probe.read(part, mask(*names))
            for k, i in enumerate(part):
                rows[i] = {name: plane[k] for name, plane in out.items()}
        return rows

    def withheld(self) -> set[int]:
        """Decode numbers of the pictures for which libavcodec gave no frame so far."""
        return {k for k, v in self.probe.stats()["damage"].items() if v.startswith("picture lost")}


def ffmpeg(*arguments: str, data: bytes | None = None) -> bytes:
    """Runs ffmpeg; returns its standard output."""
    done = subprocess.run(
        ["ffmpeg", "-v", "error", "-y", *arguments], input=data, capture_output=True, check=False
    )
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout


def _smooth(noise: NDArray[np.float64], radius: int) -> NDArray[np.float64]:
    for axis in (0, 1):
        noise = sum(np.roll(noise, k, axis) for k in range(-radius, radius + 1))
    return (noise - noise.mean()) / noise.std()


def texture(width: int, height: int, seed: int = 1) -> NDArray[np.uint8]:
    """Coarse and fine noise: every place differs from every other, and a motion search that follows
    the slope finds its way from far."""
    noise = np.random.default_rng(seed).normal(size=(2, height, width))
    mixed = 26 * _smooth(_smooth(noise[0], 5), 5) + 8 * _smooth(noise[1], 1)
    return (mixed + 128).clip(16, 235).astype(np.uint8)


def panning(
    frames: int, step: tuple[int, int], size: tuple[int, int] = (176, 144)
) -> tuple[bytes, list[str]]:
    """yuv420p frames of a texture over which the camera moves by `step` luma samples a frame, and
    the ffmpeg options that read them."""
    (w, h), (dx, dy) = size, step
    margin = frames * max(abs(dx), abs(dy)) + 16
    big = texture(w + 2 * margin, h + 2 * margin)
    grey = bytes([128]) * (w * h // 2)
    raw = b"".join(
        big[margin + t * dy :, margin + t * dx :][:h, :w].tobytes() + grey for t in range(frames)
    )
    return raw, ["-f", "rawvideo", "-pix_fmt", "yuv420p", "-s", f"{w}x{h}", "-r", "25", "-i", "-"]
