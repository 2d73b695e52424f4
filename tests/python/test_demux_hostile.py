"""What is no video, damaged or hostile: a typed error that names the source, or what is there."""

from __future__ import annotations

import itertools
import os
import random
import struct
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from cvdecode import _core
from demux_reference import clips, our_packets
from handmade import Bits

Encode = Callable[..., Path]

SOUND = "testsrc2=size=64x48:rate=25:duration=0.96[out0];sine=duration=0.9[out1]"
FILES = {
    "small.mp4": ("-c:v", "libx264", "-bf", "2", "-g", "12", "-c:a", "aac"),
    "fragments.mp4": ("-c:v", "libx264", "-c:a", "aac", "-movflags", "frag_keyframe+empty_moov"),
    "small.mkv": ("-c:v", "mpeg4", "-bf", "2", "-c:a", "mp2"),
    "small.avi": ("-c:v", "mpeg4", "-bf", "2", "-c:a", "mp2"),
    "small.ts": ("-c:v", "libx264", "-c:a", "mp2"),
    "small.mpg": ("-c:v", "mpeg2video", "-bf", "2", "-c:a", "mp2"),
    "small.flv": ("-c:v", "flv", "-c:a", "mp3", "-ar", "44100"),
    "small.264": ("-map", "0:v", "-c:v", "libx264"),
    "small.m2v": ("-map", "0:v", "-c:v", "mpeg2video"),
    "small.m4v": ("-map", "0:v", "-c:v", "mpeg4", "-bf", "1"),
    "small.265": ("-map", "0:v", "-c:v", "libx265", "-x265-params", "log-level=none"),
}


@pytest.fixture(scope="session", params=FILES)
def victim(request: pytest.FixtureRequest, encode: Encode) -> bytes:
    path = encode("hostile_" + request.param, *FILES[request.param], source=SOUND, frames=24)
    return path.read_bytes()


def everything(data: bytes) -> int | None:
    """Opens, indexes and reads all packets; None where there is a typed error."""
    begin = time.monotonic()
    try:
        demuxer = _core._Demuxer(data)
        index = demuxer.index()
        for i in random.Random(0).sample(range(len(demuxer)), len(demuxer)):
            demuxer.read_packet(i)
        return len(index["presentation"])
    except (_core.Error, MemoryError):
        return None
    finally:
        assert time.monotonic() - begin < 20


def test_truncated_at_every_percent(victim: bytes) -> None:
    counts = [everything(victim[: len(victim) * percent // 100]) for percent in range(1, 101)]
    assert counts[-1] == 24
    known = [c for c in counts if c is not None]
    assert max(known) <= 24
    # A cut inside a header may cost one picture that an earlier cut did not.
    assert all(b >= a - 1 for a, b in itertools.pairwise(known))


def test_flipped_bytes(victim: bytes) -> None:
    generator = random.Random(7)
    for _ in range(60):
        data = bytearray(victim)
        for _ in range(generator.choice((1, 1, 1, 8))):
            # Headers stand at the front and, for MP4, at the end.
            where = generator.choice((512, len(data), len(data)))
            data[generator.randrange(min(where, len(data)))] ^= generator.randrange(1, 256)
        everything(bytes(data))


def test_pieces_shuffled(victim: bytes) -> None:
    generator = random.Random(9)
    for _ in range(20):
        cuts = sorted(generator.sample(range(len(victim)), 4))
        parts = [victim[a:b] for a, b in zip([0, *cuts], [*cuts, None], strict=True)]
        middle = parts[1:]
        generator.shuffle(middle)
        everything(b"".join([parts[0], *middle]))


def test_damaged_clips(data_dir: Path) -> None:
    for path in clips(data_dir):
        if path.parent.name in ("damaged", "h264-parser-edge"):
            demuxer = _core._Demuxer(path)
            demuxer.scan()
            assert our_packets(demuxer)


def test_missing_folder_empty(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"nothing\.mp4: no such file"):
        _core._Demuxer(tmp_path / "nothing.mp4")
    with pytest.raises(_core.SourceError, match="is a folder; expected a video file"):
        _core._Demuxer(tmp_path)
    (tmp_path / "empty.mp4").touch()
    with pytest.raises(_core.CorruptStream, match=r"empty\.mp4: is empty"):
        _core._Demuxer(tmp_path / "empty.mp4")
    with pytest.raises(_core.CorruptStream, match="<bytes>: is empty"):
        _core._Demuxer(b"")
    os.mkfifo(tmp_path / "pipe.mp4")
    with pytest.raises(_core.SourceError, match="no regular file"):
        _core._Demuxer(tmp_path / "pipe.mp4")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_no_permission(tmp_path: Path) -> None:
    path = tmp_path / "secret.mp4"
    path.write_bytes(b"x")
    path.chmod(0)
    with pytest.raises(_core.SourceError, match="cannot open"):
        _core._Demuxer(path)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("notes.txt", b"These are notes, and no video at all.\n" * 40),
        ("notes.mp4", b"These are notes, and no video at all.\n" * 40),
        ("table.csv", b"a,b,c\n1,2,3\n" * 100),
        ("script.py", b"import os\nprint(os.getcwd())\n" * 30),
        ("zeros.mp4", bytes(100_000)),
        ("noise.avi", random.Random(3).randbytes(100_000)),
        ("zip.mkv", b"PK\x03\x04" + bytes(1000)),
    ],
)
def test_no_video_at_all(tmp_path: Path, name: str, content: bytes) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    for source in (path, content):
        with pytest.raises(_core.Error, match=r"expected|no video|cannot open") as caught:
            _core._Demuxer(source).index()
        assert (name if source is path else "<bytes>") in str(caught.value)


def test_audio_file(encode: Encode, tmp_path: Path) -> None:
    wav = encode("hostile_tone.wav", source="sine=duration=1")
    with pytest.raises(_core.UnsupportedStream, match=r"no video stream.*0: audio \(pcm_s16le\)"):
        _core._Demuxer(wav)


def test_cover_picture_is_no_video(encode: Encode, tmp_path: Path) -> None:
    from conftest import run_ffmpeg

    cover, tone = (
        encode("hostile_cover.png", frames=1),
        encode("hostile_tone.mp3", source="sine=duration=1"),
    )
    path = tmp_path / "song.mp3"
    run_ffmpeg("-i", str(tone), "-i", str(cover), "-map", "0:a", "-map", "1:v", "-c", "copy",
               "-disposition:v", "attached_pic", str(path))  # fmt: skip
    with pytest.raises(_core.UnsupportedStream, match="no video stream"):
        _core._Demuxer(path)
    assert _core._Demuxer(path, stream_index=1).info["codec"] == "png"


def test_playlist_may_not_open_other_files(encode: Encode, tmp_path: Path) -> None:
    segment = encode("hostile_small.ts", *FILES["small.ts"], source=SOUND, frames=24)
    text = f"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\n{segment}\n#EXT-X-ENDLIST\n"
    path = tmp_path / "list.mp4"
    path.write_text(text)
    for source in (path, text.encode()):
        with pytest.raises(_core.UnsupportedStream, match="names other files"):
            _core._Demuxer(source).scan()


@pytest.mark.skipif("ASAN_OPTIONS" in os.environ, reason="a sanitizer needs terabytes of addresses")
def test_table_of_a_billion_samples(encode: Encode) -> None:
    """A sample table that claims more than the file can hold is refused, in bounded memory."""
    data = bytearray(
        encode("hostile_small.mp4", *FILES["small.mp4"], source=SOUND, frames=24).read_bytes()
    )
    at = data.index(b"stsz")
    # stsz: version and flags, sample_size, sample_count
    data[at + 8 : at + 16] = struct.pack(">II", 1, 200_000_000)
    script = (
        "import resource, sys\n"
        "resource.setrlimit(resource.RLIMIT_AS, (3 << 30, 3 << 30))\n"
        "from cvdecode import _core\n"
        "try:\n"
        "    print(_core._Demuxer(sys.stdin.buffer.read()).scan())\n"
        "except (_core.Error, MemoryError) as error:\n"
        "    print(type(error).__name__, error)\n"
    )
    result = subprocess.run(
        [sys.executable, "-c", script], input=bytes(data), capture_output=True, timeout=60
    )  # fmt: skip
    assert result.returncode == 0, result.stderr[-500:]
    assert result.stdout


def test_file_that_changes_meanwhile(encode: Encode, tmp_path: Path) -> None:
    path = tmp_path / "changes.mp4"
    data = encode("hostile_small.mp4", *FILES["small.mp4"], source=SOUND, frames=24).read_bytes()
    path.write_bytes(data)
    demuxer = _core._Demuxer(path)
    demuxer.scan()
    packet = demuxer.read_packet(5)
    with path.open("r+b") as file:
        file.seek(packet["pos"] + 8)
        file.write(b"changed!")
    with pytest.raises(_core.SourceError, match="packet 5 is not what it was"):
        demuxer.read_packet(5)
    path.write_bytes(data[: packet["pos"]])  # the same inode, shorter
    with pytest.raises(_core.SourceError, match=r"ends at byte|is not what it was"):
        demuxer.read_packet(5)


def test_movie_that_was_never_finished(encode: Encode) -> None:
    data = encode(
        "hostile_fragments.mp4", *FILES["fragments.mp4"], source=SOUND, frames=24
    ).read_bytes()
    with pytest.raises(_core.CorruptStream, match=r"holds no packet.*truncated"):
        _core._Demuxer(data[: data.index(b"moof") - 4]).scan()


def test_wrong_use() -> None:
    demuxer = _core._Demuxer(b"\0\0\0\1\x67\x42\0\x0a\xf6\xe2\0\0\0\1\x65\xb8\x40\xff")
    with pytest.raises(RuntimeError, match="before it was scanned"):
        demuxer.read_packet(0)
    demuxer.scan()
    for number in (-1, len(demuxer)):
        with pytest.raises(IndexError, match="no packet"):
            demuxer.read_packet(number)
    with pytest.raises(RuntimeError, match="scanned twice"):
        demuxer.scan()


def test_no_growth_over_many_openings(encode: Encode) -> None:
    path = encode("hostile_small.mp4", *FILES["small.mp4"], source=SOUND, frames=24)

    def resident() -> int:
        return int(Path("/proc/self/statm").read_text().split()[1]) * 4096

    def cycle(count: int) -> None:
        for _ in range(count):
            demuxer: Any = _core._Demuxer(path)
            demuxer.index()
            demuxer.read_packet(0)

    cycle(200)
    before = resident()
    cycle(1000)
    assert resident() - before < 4 << 20
    assert len(os.listdir("/proc/self/fd")) < 200


def greedy_slices(count: int) -> bytes:
    """B slices of 26 bytes, each of which names 32 references with a weight for each."""
    sps, pps, key = Bits(), Bits(), Bits()
    sps.u(24, 77 << 16 | 40)
    for value in (0, 0, 0, 0, 1):  # id, frame_num and POC of 4 bits, one reference
        sps.ue(value)
    sps.u(1, 0)
    sps.ue(0), sps.ue(0)
    sps.u(4, 0b1100)
    pps.ue(0), pps.ue(0)
    pps.u(2, 0)
    pps.ue(0), pps.ue(0), pps.ue(0)
    pps.u(3, 0b001)  # weighted_bipred_idc 1
    pps.se(0), pps.se(0), pps.se(0)
    pps.u(3, 0)
    key.ue(0), key.ue(7), key.ue(0)
    key.u(4, 0), key.ue(0), key.u(4, 0)
    pictures = []
    for lsb in (2, 4):
        b = Bits()
        b.ue(0), b.ue(6), b.ue(0)
        b.u(4, 1), b.u(4, lsb)
        b.u(2, 0b11)  # direct_spatial_mv_pred_flag, num_ref_idx_active_override_flag
        b.ue(15), b.ue(15)
        b.u(2, 0)  # no modification of either list
        b.ue(0), b.ue(0)
        b.u(64, 0)  # no weight is sent
        b.se(0)
        pictures.append(b.nal(0, 1))
    head = sps.nal(3, 7) + pps.nal(3, 8) + key.nal(3, 5)
    return head + b"".join(pictures) * (count // 2)


def test_slices_that_take_far_more_memory_than_bytes() -> None:
    """The parser's index is bounded by what it was made of; libavcodec reads the rest."""
    for pictures in (20_000, 120_000):  # 29 and 173 MB
        packet = (greedy_slices(pictures), None, False, b"")
        index = _core.h264_index([packet], b"", 0, False)
        assert index["size"] == pictures
        many = index["unsupported"].startswith("number of slices = ")
        assert many if pictures > 100_000 else not index["unsupported"]
