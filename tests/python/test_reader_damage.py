"""More broken input: holes in every container, absurd sizes, one lost slice, a shrinking file."""

from __future__ import annotations

import os
import random
import subprocess
from pathlib import Path

import numpy as np
import pytest

import cvdecode
from conftest import Encode, run_ffmpeg

LONG = bool(os.environ.get("CVDECODE_LONG"))
H264 = ("-c:v", "libx264", "-pix_fmt", "yuv420p", "-g", "8", "-bf", "2")
SMALL = "testsrc2=size=64x48:rate=25"
KINDS = {
    "small.mp4": H264,
    "small.mkv": H264,
    "small.ts": H264,
    "small.h264": H264,
    "cavlc.mp4": (*H264, "-coder", "0", "-x264-params", "slices=3"),
    "small.avi": ("-c:v", "mpeg4", "-g", "8", "-bf", "2"),
    "small.mpg": ("-c:v", "mpeg2video", "-g", "8", "-bf", "2"),
}


def survives(data: bytes, backend: str) -> int:
    """Reads what can be read; the number of frames delivered as good."""
    try:
        with cvdecode.VideoReader(data, ("mv", "qp"), backend=backend) as video:
            assert len(video) > 0
            good = 0
            for clip in video.batches(16):
                assert clip.mv.shape[0] == clip.qp.shape[0] == len(clip) == len(clip.lost)
                good += int((~clip.lost).sum())
            rows = [len(video) - 1, video.segments[-1].start]
            assert video.get_frames_at(rows).index.tolist() == rows
            assert all(isinstance(why, str) and why for why in video.stats.damage.values())
            return good
    except cvdecode.Error:
        return 0


@pytest.mark.parametrize("backend", ["auto", "libav"])
@pytest.mark.parametrize("kind", KINDS)
def test_holes(kind: str, backend: str, encode: Encode) -> None:
    """Whole stretches of the file are zero, or hold what stands at its beginning."""
    whole = encode(kind, *KINDS[kind], source=SMALL, frames=24).read_bytes()
    assert survives(whole, backend) >= 23
    for seed in range(400 if LONG else 40):
        rng = random.Random(seed)
        data = bytearray(whole)
        at, size = rng.randrange(len(data)), rng.randrange(1, 600)
        piece = bytes(size) if seed % 2 else whole[: rng.randrange(1, size + 1)]
        data[at : at + len(piece)] = piece
        survives(bytes(data), backend)


def test_absurd_sizes(encode: Encode) -> None:
    """A header that claims a huge picture is refused before memory is taken."""
    avi = encode("size.avi", "-c:v", "mpeg4", source=SMALL, frames=8)
    data = bytearray(avi.read_bytes())
    at = data.index(b"\x00\x00\x01\x20")  # video_object_layer_start_code: sizes follow
    for bit in range(8 * 40):
        broken = bytearray(data)
        broken[at + bit // 8] ^= 128 >> bit % 8
        survives(bytes(broken), "auto")


def test_a_damaged_frame_is_lost_and_named(encode: Encode, tmp_path: Path) -> None:
    path = encode("lost.h264", *H264[:-2], "-bf", "0", frames=24)
    data = bytearray(path.read_bytes())
    slices = [
        i for i in range(len(data) - 4) if data[i : i + 3] == b"\0\0\1" and data[i + 3] & 31 == 1
    ]
    victim = slices[10]
    assert slices[11] - victim > 60
    for i in range(victim + 12, victim + 40):
        data[i] = 0xFF
    broken = tmp_path / "lost.h264"
    broken.write_bytes(data)
    clean = cvdecode.read(path, ("mv", "mb_type", "qp"))
    with cvdecode.VideoReader(broken, ("mv", "mb_type", "qp")) as video:
        clip = video[:]
        frame = next(iter(video.stats.damage))
        assert clip.lost[frame]
        assert clip.frame_type[frame] == "P"
        assert (clip.mb_type[frame] == cvdecode.MbType.LOST).any()
        assert (clip.qp[frame][clip.mb_type[frame] == cvdecode.MbType.LOST] == -128).all()
        others = np.arange(len(clip)) != frame
        assert np.array_equal(clip.mv[others], clean.mv[others])
        assert np.array_equal(clip.qp[others], clean.qp[others])


def test_the_end_of_a_growing_file(encode: Encode, tmp_path: Path) -> None:
    """A file that shrinks while it is read gives a typed error or lost frames, not a crash."""
    base = encode("small.ts", *KINDS["small.ts"], source=SMALL, frames=24)
    path = tmp_path / "shrinks.mp4"
    run_ffmpeg("-i", str(base), "-c", "copy", str(path))
    video = cvdecode.VideoReader(path, ("mv",))
    os.truncate(path, 2000)
    try:
        clip = video[:]
        assert len(clip) == len(video)
    except (cvdecode.Error, OSError):
        pass
    video.close()


def test_a_first_picture_without_references(encode: Encode, tmp_path: Path) -> None:
    """libavcodec drops slices that have nothing to look at, and its frame does not say so."""
    path = encode("no_idr.264", "-c:v", "libx264", "-bf", "0", "-refs", "1", frames=4)
    units = path.read_bytes().split(b"\0\0\1")[1:]
    idr = next(i for i, unit in enumerate(units) if unit[0] & 31 == 5)
    # first_mb_in_slice 0 and slice_type 7 fill a byte; then pic_parameter_set_id 0 becomes 1.
    assert units[idr][1] == 0x88
    assert units[idr][2] & 0x80
    units[idr] = units[idr][:2] + bytes([units[idr][2] & 0x1F | 0x40]) + units[idr][3:]
    cut = tmp_path / "cut.264"
    cut.write_bytes(b"".join(b"\0\0\1" + unit for unit in units))
    logged = subprocess.run(
        ["ffprobe", "-v", "error", "-f", "h264", "-show_frames", cut],
        capture_output=True,
        text=True,
    )
    assert "Missing reference picture" in logged.stderr
    video = cvdecode.VideoReader(cut, planes=("mv", "mb_type"), backend="libav")
    assert video[:].lost[0]
    assert "refers to pictures before the start of the stream" in video.stats.damage[0]
