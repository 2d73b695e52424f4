"""What the tests of the header parser share: packets, ffmpeg's reading of headers, x264 clips."""

from __future__ import annotations

import functools
import os
import re
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import av
import pytest

from cvdecode import _core

CLIPS = Path(
    os.environ.get(
        "CVDECODE_TEST_DATA", str(Path(__file__).resolve().parents[2] / ".." / "shared" / "clips")
    )
)

Element = tuple[str, int, int]  # name, value, bit position behind it (NAL header included)


@dataclass
class Stream:
    """The packets of one file: (data, pts, discard, new extradata), its extradata, framing."""

    packets: list[tuple[bytes, int | None, bool, bytes]]
    positions: list[int | None]
    extradata: bytes
    nal_length_size: int

    def index(self, details: bool = True) -> dict[str, Any]:
        return dict(_core.h264_index(self.packets, self.extradata, self.nal_length_size, details))


def shared(*groups: str) -> list[Path]:
    """Clips of the shared set."""
    paths = sorted(p for group in groups for p in (CLIPS / group).glob("*") if p.is_file())
    return paths


def clip_params(*groups: str) -> list[Any]:
    """Clips of the shared set as parameters, or one that is skipped with its reason."""
    paths = shared(*groups)
    if not paths:
        reason = f"no shared clips under {CLIPS}: set CVDECODE_TEST_DATA"
        return [pytest.param(None, marks=pytest.mark.skip(reason=reason))]
    return [pytest.param(path, id=path.name) for path in paths]


def open_stream(path: Path) -> Stream:
    packets = []
    positions = []
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        extradata = stream.codec_context.extradata or b""
        for packet in container.demux(stream):
            if packet.size:
                packets.append((bytes(packet), packet.pts, packet.is_discard, b""))
                positions.append(packet.pos)
    length = (extradata[4] & 3) + 1 if extradata[:1] == b"\x01" else 0
    return Stream(packets, positions, extradata, length)


_LINE = re.compile(r"^\[trace_headers @ \w+\] (\d+) +(\S+) +([01]*) = (-?\d+)$")


@functools.cache
def trace_headers(path: Path) -> list[tuple[str, list[Element]]]:
    """What ffmpeg's trace_headers says of every parameter set and slice, packets only, in order."""
    text = subprocess.run(
        ["ffmpeg", "-hide_banner", "-nostdin", "-i", str(path), "-map", "0:v:0", "-c", "copy",
         "-bsf:v", "trace_headers", "-f", "null", "-"],
        capture_output=True, check=True, text=True, errors="replace",
    ).stderr  # fmt: skip
    units: list[tuple[str, list[Element]]] = []
    in_packets = False
    for line in text.splitlines():
        if not line.startswith("[trace_headers"):
            continue
        match = _LINE.match(line)
        if match:
            position, name, bits, value = match.groups()
            if in_packets and units:
                units[-1][1].append((name, int(value), int(position) + len(bits)))
            continue
        title = line.split("] ", 1)[1]
        if title.startswith("Packet:"):
            in_packets = True
        elif in_packets:
            units.append((title, []))
    return units


def x264(path: Path, options: str, source: str = "testsrc2=size=176x144:rate=25", frames: int = 24,
         filters: str = "noise=alls=40:allf=t", extra: tuple[str, ...] = ()) -> Path:  # fmt: skip
    """Encodes a moving noisy picture; libx264's parameters in its own notation."""
    subprocess.run(
        ["ffmpeg", "-hide_banner", "-nostdin", "-v", "error", "-y", "-f", "lavfi", "-i", source,
         "-vf", filters, "-frames:v", str(frames), "-pix_fmt", "yuv420p", "-c:v", "libx264",
         "-threads", "1", "-x264-params", options, *extra, str(path)],
        check=True,
    )  # fmt: skip
    return path


# What the generated clips vary: everything of x264 that shows in headers.
X264_MATRIX = {
    "cavlc-ref1": "cabac=0:bframes=0:ref=1:weightp=0:8x8dct=0",
    "weightp2-ref4": "bframes=0:ref=4:weightp=2:keyint=12",
    "pyramid": "bframes=5:b-pyramid=normal:ref=6:weightb=1:keyint=20",
    "pyramid-strict": "bframes=3:b-pyramid=strict:ref=3:direct=temporal",
    "open-gop": "bframes=3:b-adapt=0:b-pyramid=normal:open-gop=1:keyint=8:min-keyint=8:"
    "scenecut=0:ref=4",
    "intra-refresh": "intra-refresh=1:bframes=0:keyint=10:ref=2",
    "slices4": "slices=4:bframes=2:ref=3",
    "fake-interlaced": "fake-interlaced=1:bframes=2:ref=2",
    "ref16": "ref=16:bframes=7:b-pyramid=normal:keyint=40",
    "cqm-jvt": "cqm=jvt:8x8dct=1:bframes=1",
    "lossless": "qp=0:bframes=2",
    "deblock": "deblock=3,-2:constrained-intra=1:aud=1",
    "nal-hrd": "nal-hrd=cbr:bitrate=300:vbv-maxrate=300:vbv-bufsize=300:pic-struct=1",
    "vui": "sar=4,3:overscan=crop:videoformat=pal:fullrange=on:colorprim=bt709:transfer=bt709:"
    "colormatrix=bt709:chromaloc=2",
    "chroma-qp": "chroma-qp-offset=-5:qp=40",
}
