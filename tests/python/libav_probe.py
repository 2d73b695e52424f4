"""The independent reader of the libav tests: PyAV, one slice thread, side data read field by field.

`load` keeps a clip's packets and, for each frame that PyAV gives, the number of the packet in which
the frame began, its vectors, its QPs and its type. `Stream.probe` hands the same packets to the
backend under test, with an index made from PyAV's answers: neither the package's demuxer nor its
indexers take part.
"""

from __future__ import annotations

import dataclasses
import pathlib
from typing import Any

import av
import numpy as np
from av.codec.context import ThreadType
from av.video.frame import PictureType
from av.sidedata.sidedata import Type as SideData
from numpy.typing import NDArray

from cvdecode import _core

PLANES = {"mv": 0, "ref": 1, "mb_type": 2, "qp": 3, "rgb": 7, "ref_picture": 8}
KINDS = {"I": 1, "P": 2, "S": 2, "SP": 2, "SI": 1, "B": 3}
CODEC_IDS = {
    "mpeg1video": 1, "mpeg2video": 2, "h263": 4, "mpeg4": 12, "msmpeg4v1": 14, "msmpeg4v2": 15,
    "msmpeg4v3": 16, "msmpeg4": 16, "wmv1": 17, "wmv2": 18, "h263p": 19, "flv1": 21, "flv": 21,
    "h264": 27, "hevc": 173,
}  # fmt: skip
LOST, INTRA, INTER = 255, 253, 252


def mask(*names: str) -> int:
    """The bit mask of these planes."""
    return sum(1 << PLANES[n] for n in names)


@dataclasses.dataclass
class Frame:
    """A frame of PyAV, in output order. `packet` began it; `vectors` is PyAV's structured array."""

    packet: int
    kind: str
    vectors: NDArray[Any] | None
    qp: NDArray[np.int64] | None
    corrupt: bool
    rgb: NDArray[np.uint8] | None
    flushed: bool


@dataclasses.dataclass
class Stream:
    """Packets of a clip, PyAV's frames, and the index that follows from them (decode order)."""

    info: dict[str, Any]
    packets: list[bytes]
    frames: list[Frame]
    pictures: list[dict[str, Any]]
    geometry: dict[str, int]

    def probe(self, num_threads: int = 1) -> Any:
        """The backend under test over these packets."""
        return _core.LibavProbe(self.info, self.packets, self.pictures, self.geometry, num_threads)

    @property
    def grid(self) -> tuple[int, int]:
        """Rows and columns of macroblocks."""
        return self.geometry["coded_height"] // 16, self.geometry["coded_width"] // 16

    def picture_of(self, frame: Frame) -> int:
        """The decode number of a frame."""
        return next(i for i, p in enumerate(self.pictures) if p["frame"] is frame)


def _qp(frame: av.VideoFrame, grid: tuple[int, int]) -> NDArray[np.int64] | None:
    data = frame.side_data.get(SideData.VIDEO_ENC_PARAMS)
    if data is None:
        return None
    count, size = data.nb_blocks, data.block_size
    fields = np.ndarray((count, 5), np.int32, bytes(data), data.blocks_offset, (size, 4))
    out = np.full(grid, -128, np.int64)
    x, y = fields[:, 0] // 16, fields[:, 1] // 16
    inside = (x < grid[1]) & (y < grid[0])
    out[y[inside], x[inside]] = data.qp + fields[inside, 4]
    return out


def load(path: pathlib.Path, limit: int | None = None, rgb: bool = False) -> Stream:
    """Demuxes and decodes `path` with PyAV; at most `limit` packets."""
    packets: list[bytes] = []
    frames: list[Frame] = []
    options = {"ignore_editlist": "1"} if path.suffix in {".mp4", ".mov", ".3gp"} else {}
    with av.open(str(path), options=options) as container:
        stream = container.streams.video[0]
        ctx = stream.codec_context
        ctx.thread_type = ThreadType.SLICE
        ctx.thread_count = 1
        ctx.options = {
            "flags": "+output_corrupt+unaligned",
            "flags2": "+export_mvs",
            "export_side_data": "venc_params",
        }
        name = ctx.name
        width, height = ctx.width, ctx.height
        info = {
            "codec": name, "codec_id": CODEC_IDS.get(name, 0), "width": width, "height": height,
            "extradata": ctx.extradata or b"", "codec_tag": _tag(ctx.codec_tag),
        }  # fmt: skip
        if name == "h264" and info["extradata"][:1] == b"\x01":
            info["nal_length_size"] = (info["extradata"][4] & 3) + 1
        keys: list[bool] = []
        raw: list[tuple[av.VideoFrame, bool]] = []
        for packet in container.demux(stream):
            flushed = packet.size == 0 or (limit is not None and len(packets) >= limit)
            if not flushed:
                packet.pts = packet.dts = len(packets)
                packets.append(bytes(packet))
                keys.append(packet.is_keyframe)
            raw += [(f, flushed) for f in (ctx.decode(None) if flushed else ctx.decode(packet))]
            if flushed:
                break
        coded = {"coded_width": -(-width // 16) * 16, "coded_height": -(-height // 16) * 16}
        coded["crop_right"] = coded["coded_width"] - width
        coded["crop_bottom"] = coded["coded_height"] - height
        grid = coded["coded_height"] // 16, coded["coded_width"] // 16
        for f, flushed in raw:
            vectors = f.side_data.get(SideData.MOTION_VECTORS)
            frames.append(
                Frame(
                    packet=int(f.pts),
                    kind=PictureType(f.pict_type).name,
                    vectors=None if vectors is None else vectors.to_ndarray().copy(),
                    qp=_qp(f, grid),
                    corrupt=f.is_corrupt,
                    rgb=f.to_ndarray(format="rgb24") if rgb else None,
                    flushed=flushed,
                )
            )
    result = Stream(info, packets, frames, [], coded)
    for rank, f in enumerate(frames):
        result.pictures.append(
            {
                "first_packet": f.packet, "order": rank, "presentation": rank, "frame": f,
                "type": KINDS[f.kind], "is_reference": f.kind != "B", "all_intra": f.kind == "I",
            }
        )  # fmt: skip
    result.pictures.sort(key=lambda p: p["first_packet"])
    for p, q in zip(result.pictures, result.pictures[1:], strict=False):
        p["last_packet"] = q["first_packet"] - 1
    if result.pictures:
        result.pictures[-1]["last_packet"] = len(packets) - 1
    return result


def _tag(tag: str) -> int:
    return int.from_bytes(tag.encode("latin1")[:4], "little") if len(tag) == 4 else 0


def planes_of(
    frame: Frame, grid: tuple[int, int]
) -> tuple[NDArray[np.int16], NDArray[np.bool_], NDArray[np.uint8]]:
    """PyAV's vectors, block by block: mv (2, 2, H4, W4) in quarter samples, used (2, H4, W4) and
    the type (H16, W16) that the block sizes tell (253 where there is no vector)."""
    mv = np.zeros((2, 2, grid[0] * 4, grid[1] * 4), np.int16)
    used = np.zeros((2, grid[0] * 4, grid[1] * 4), bool)
    kind = np.full(grid, INTRA, np.uint8)
    sizes = {(16, 16): 7, (16, 8): 8, (8, 16): 9, (8, 8): 10}
    for v in frame.vectors if frame.vectors is not None else ():
        list_ = 0 if v["source"] < 0 else 1
        y, x = (int(v["dst_y"]) - int(v["h"]) // 2), (int(v["dst_x"]) - int(v["w"]) // 2)
        where = (slice(y // 4, (y + int(v["h"])) // 4), slice(x // 4, (x + int(v["w"])) // 4))
        scale = int(v["motion_scale"])
        mv[(list_, 0, *where)] = int(v["motion_x"]) * 4 / scale
        mv[(list_, 1, *where)] = int(v["motion_y"]) * 4 / scale
        used[(list_, *where)] = True
        if y // 16 < grid[0] and x // 16 < grid[1]:
            kind[y // 16, x // 16] = sizes[int(v["w"]), int(v["h"])]
    return mv, used, kind
