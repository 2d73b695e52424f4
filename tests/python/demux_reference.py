"""What other programs say of a container: the system's ffprobe (same FFmpeg) and PyAV (its own)."""

from __future__ import annotations

import functools
import hashlib
import json
import shutil
import subprocess
from pathlib import Path
from typing import Any, NamedTuple

import pytest


class PacketRecord(NamedTuple):
    """One packet: hash of its bytes, times in the stream's time base, flags."""

    md5: str
    pts: int | None
    dts: int | None
    duration: int
    key: bool
    discard: bool


def md5(data: bytes) -> str:
    return hashlib.md5(data).hexdigest()


def ffprobe(path: Path, *options: str) -> dict[str, Any]:
    """ffprobe's JSON; empty where it cannot open the file."""
    if shutil.which("ffprobe") is None:
        pytest.skip("needs ffprobe")
    command = ["ffprobe", "-v", "quiet", "-of", "json", *options, str(path)]
    result: dict[str, Any] = json.loads(subprocess.run(command, capture_output=True).stdout or "{}")
    return result


class Probed(NamedTuple):
    """All that ffprobe says of one stream."""

    packets: list[PacketRecord]
    frames: list[tuple[str, int | None]]  # (type, pts) of what libavcodec gives, in its order
    stream: dict[str, Any]


@functools.cache
def probed(path: Path, stream: int, *options: str) -> Probed:
    """Packets with bytes, frames and description by one run of ffprobe; empty where it fails."""
    out = ffprobe(
        path, *options, "-select_streams", str(stream), "-show_packets", "-show_frames",
        "-show_streams", "-show_data_hash", "md5",
    )  # fmt: skip
    both = out.get("packets_and_frames", [])
    packets = [
        PacketRecord(
            p["data_hash"].removeprefix("MD5:").lower(),
            p.get("pts"),
            p.get("dts"),
            p.get("duration", 0),
            "K" in p["flags"],
            "D" in p["flags"],
        )
        for p in both
        if p["type"] == "packet" and int(p["size"]) > 0
    ]
    frames = [(f["pict_type"], f.get("pts")) for f in both if f["type"] == "frame"]
    return Probed(packets, frames, next(iter(out.get("streams", [])), {}))


def our_packets(demuxer: Any) -> list[PacketRecord]:
    """All packets of a scanned _Demuxer, read in order."""
    packets = (demuxer.read_packet(i) for i in range(len(demuxer)))
    return [
        PacketRecord(md5(p["data"]), p["pts"], p["dts"], p["duration"], p["key"], p["discard"])
        for p in packets
    ]


def presented(index: dict[str, Any]) -> list[tuple[str, int | None]]:
    """(type, pts) of every frame of our index, in presentation order."""
    pictures = index["pictures"]
    return [(pictures[i]["type"], pictures[i]["pts"]) for i in index["presentation"]]


def clips(data_dir: Path) -> list[Path]:
    """Every real clip, damaged ones included."""
    return sorted(
        p for p in data_dir.glob("*/*") if p.is_file() and p.suffix not in (".csv", ".md")
    )
