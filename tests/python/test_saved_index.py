"""An index kept in a file: the same answers without a scan, never those of another source."""

from __future__ import annotations

import ctypes
import ctypes.util
import os
import shutil
import struct
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import cvdecode
from conftest import Encode, Serve


@pytest.fixture(scope="module")
def path(encode: Encode) -> Path:
    return encode(
        "saved.mp4", "-c:v", "libx264", "-g", "12", "-bf", "3",
        "-x264-params", "weightp=2:slices=2", frames=30,
    )  # fmt: skip


def open_with(path: Path, index: Path | None) -> cvdecode.VideoReader:
    return cvdecode.VideoReader(path, planes=("mv", "ref", "qp"), index_file=index)


def assert_same(a: cvdecode.VideoReader, b: cvdecode.VideoReader) -> None:
    assert a.metadata == b.metadata
    assert a.gops == b.gops
    assert a.segments == b.segments
    np.testing.assert_array_equal(a.pts, b.pts)
    for segment in a.segments:
        one = a.get_frames_in_range(segment.start, segment.stop)
        two = b.get_frames_in_range(segment.start, segment.stop)
        for name in one.planes:
            np.testing.assert_array_equal(getattr(one, name), getattr(two, name))


def test_opens_without_a_scan(path: Path, tmp_path: Path) -> None:
    index = tmp_path / "saved.index"
    with open_with(path, index):
        pass
    written = index.read_bytes()
    assert written
    with open_with(path, index) as warm, open_with(path, None) as cold:
        assert_same(warm, cold)
        warm.get_frames_at([17, 3])
    assert index.read_bytes() == written, "a fitting index was written again"
    assert not list(tmp_path.glob("*.part*"))


def test_the_same_video_gives_the_same_bytes(path: Path, tmp_path: Path) -> None:
    """Two processes with other things in memory: the gaps between fields are written too."""
    program = "import sys, cvdecode; cvdecode.VideoReader(sys.argv[1], index_file=sys.argv[2])"
    written = []
    for perturb in ("11", "222"):
        index = tmp_path / f"{perturb}.index"
        subprocess.run(
            [sys.executable, "-c", program, str(path), str(index)],
            env=os.environ | {"MALLOC_PERTURB_": perturb},
            check=True,
        )
        written.append(index.read_bytes())
    assert written[0] == written[1]


def test_the_index_is_read(path: Path, tmp_path: Path) -> None:
    """A file whose middle was overwritten opens by its index, and the damage is found when read."""
    copy = tmp_path / "copy.mp4"
    shutil.copy(path, copy)
    index = tmp_path / "copy.index"
    stamp = copy.stat()
    big = copy.read_bytes()
    big = big + b"\0" * (1 << 18)  # so that the middle lies outside the hashed ends
    copy.write_bytes(big)
    os.utime(copy, ns=(stamp.st_atime_ns, stamp.st_mtime_ns))
    with open_with(copy, index) as video:
        frames = len(video)
    copy.write_bytes(big[: 1 << 16] + b"\xff" * (len(big) - (2 << 16)) + big[-(1 << 16) :])
    os.utime(copy, ns=(stamp.st_atime_ns, stamp.st_mtime_ns))
    with open_with(copy, index) as video:
        assert len(video) == frames, "the index was not used"


def test_the_container_is_not_looked_at(encode: Encode, tmp_path: Path) -> None:
    """Its tables are gone, where no hash looks: the index knows all that they said."""
    path = encode("tables.mp4", "-c:v", "libx264", "-qp", "1", frames=30)
    copy = tmp_path / "copy.mp4"
    data = path.read_bytes()
    free = b"\0\2\0\0free" + bytes((1 << 17) - 8)
    copy.write_bytes(data + free)  # the last 64 KiB hold no table
    head = bytearray(copy.read_bytes())
    stamp = copy.stat()
    index = tmp_path / "index"
    with open_with(copy, index):
        pass
    table = head.index(b"moov")
    assert table > 1 << 16, "the first 64 KiB hold no table either"
    head[table : len(data)] = bytes(len(data) - table)
    copy.write_bytes(head)
    os.utime(copy, ns=(stamp.st_atime_ns, stamp.st_mtime_ns))
    with pytest.raises(cvdecode.Error):
        open_with(copy, None)
    with open_with(copy, index) as warm, open_with(path, None) as whole:
        assert warm.metadata.time_base == whole.metadata.time_base
        np.testing.assert_array_equal(warm.pts, whole.pts)
        for name in ("mv", "ref", "qp"):
            np.testing.assert_array_equal(
                getattr(warm.get_frames_at([29, 4]), name),
                getattr(whole.get_frames_at([29, 4]), name),
            )


@pytest.mark.parametrize("change", ["touched", "longer", "other"])
def test_an_index_of_something_else_is_not_used(path: Path, tmp_path: Path, change: str) -> None:
    copy = tmp_path / "copy.mp4"
    shutil.copy(path, copy)
    index = tmp_path / "copy.index"
    with open_with(copy, index):
        pass
    before = index.read_bytes()
    if change == "touched":
        os.utime(copy, ns=(1, 1))
    elif change == "longer":
        copy.write_bytes(copy.read_bytes() + b"\0" * 8)
    else:
        data = bytearray(copy.read_bytes())
        data[-1] ^= 1
        stamp = copy.stat()
        copy.write_bytes(data)
        os.utime(copy, ns=(stamp.st_atime_ns, stamp.st_mtime_ns))
    with open_with(copy, index) as video, open_with(copy, None) as fresh:
        assert_same(video, fresh)
    assert index.read_bytes() != before


def test_a_damaged_index_is_made_anew(path: Path, tmp_path: Path) -> None:
    index = tmp_path / "saved.index"
    with open_with(path, index):
        pass
    good = index.read_bytes()
    for at in range(0, len(good), max(1, len(good) // 60)):
        damaged = good[:at] + bytes([good[at] ^ 0x5A]) + good[at + 1 :]
        index.write_bytes(damaged)
        with open_with(path, index) as video:
            assert len(video) == 30
        assert index.read_bytes() != damaged, "a damaged index was taken"
    for size in (0, 3, 8, len(good) // 2):
        index.write_bytes(good[:size])
        with open_with(path, index) as video:
            assert len(video) == 30


def hash_of(data: bytes) -> int:
    """The checksum that stands in the first eight bytes: multiplied and shifted, word by word."""
    mask = (1 << 64) - 1
    words = len(data) // 8
    value = 0x9E3779B97F4A7C15 ^ len(data)
    for word in struct.unpack_from(f"<{words}Q", data):
        value = (value ^ word) * 0xFF51AFD7ED558CCD & mask
        value ^= value >> 32
    return (value ^ int.from_bytes(data[8 * words :], "little")) * 0xC4CEB9FE1A85EC53 & mask


FORGED = """
import sys, struct, random, numpy, cvdecode
from test_saved_index import hash_of
source, index, planes = sys.argv[1], sys.argv[2], sys.argv[3].split(",")
good = open(index, "rb").read()
start = 8 + 8 + struct.unpack_from("<Q", good, 8)[0]  # behind the checksum and the key
rng = random.Random(int(sys.argv[4]))
outcomes = {"read": 0, "refused": 0}
for turn in range(int(sys.argv[5])):
    forged = bytearray(good)
    for _ in range(rng.choice((1, 1, 3))):
        size = rng.choice((1, 2, 4, 8))
        at = rng.randrange(start, len(good) - size)
        if rng.random() < 0.7:
            at -= (at - start) % size  # fields are aligned, mostly
        edges = (0, 1, 2, 0x7F, 0xFF, 1 << 31, (1 << 31) - 1, 1 << 62)
        value = rng.choice((*edges, rng.getrandbits(63)))
        forged[at : at + size] = (value & (1 << 8 * size) - 1).to_bytes(size, "little")
    struct.pack_into("<Q", forged, 0, hash_of(forged[8:]))
    open(index, "wb").write(forged)
    try:
        with cvdecode.VideoReader(source, planes=planes, index_file=index, max_bytes=1 << 26) as v:
            for segment in v.segments:
                v.get_frames_in_range(segment.start, min(segment.stop, segment.start + 64))
        outcomes["read"] += 1
    except (cvdecode.Error, MemoryError, IndexError, ValueError) as error:
        outcomes["refused"] += 1
print(outcomes)
"""


@pytest.mark.parametrize(
    ("name", "options", "planes"),
    [
        ("forged.mp4", ("-c:v", "libx264", "-g", "6", "-bf", "2", "-x264-params", "weightp=2"),
         "mv,ref,qp,bits"),
        ("forged.ts", ("-c:v", "libx264", "-g", "6", "-bf", "2"), "mv,ref"),
        ("forged.avi", ("-c:v", "mpeg4", "-g", "6"), "mv,ref,qp"),
    ],
)  # fmt: skip
def test_a_forged_index_does_no_harm(
    encode: Encode, tmp_path: Path, name: str, options: tuple[str, ...], planes: str
) -> None:
    """Fields rewritten and the checksum made to fit: made anew, a typed error, or wrong frames as
    of a wrong file; never a crash. Each run is a process of its own, which would die of one."""
    source = encode(name, *options, source="testsrc2=size=64x48:rate=25", frames=14)
    index = tmp_path / "index"
    with cvdecode.VideoReader(source, planes=planes.split(","), index_file=index):
        pass
    turns = 3000 if os.environ.get("CVDECODE_LONG") else 60
    run = subprocess.run(
        [sys.executable, "-c", FORGED, source, index, planes, "1", str(turns)],
        capture_output=True, text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(Path(__file__).parent), *sys.path])},
    )  # fmt: skip
    assert run.returncode == 0, run.stderr
    assert "read" in run.stdout


def seal(forged: bytes | bytearray) -> bytes:
    return hash_of(bytes(forged[8:])).to_bytes(8, "little") + bytes(forged[8:])


def test_an_index_cut_short_leaves_nothing_behind(path: Path, tmp_path: Path) -> None:
    """The last field is missing, and the checksum fits: the scan begins with an empty table."""
    index = tmp_path / "index"
    with open_with(path, index):
        pass
    good = index.read_bytes()
    index.write_bytes(seal(good[:-4]))
    with open_with(path, index) as video, open_with(path, None) as fresh:
        assert_same(video, fresh)
    assert len(index.read_bytes()) == len(good)


def test_sizes_that_are_no_macroblocks_are_not_taken(encode: Encode, tmp_path: Path) -> None:
    """Cells are counted by 4 and by 16 samples: both must cover the same picture."""
    source = encode("sizes.avi", "-c:v", "mpeg4", source="testsrc2=size=64x48:rate=25", frames=4)
    index = tmp_path / "index"
    with cvdecode.VideoReader(source, planes=("mv",), index_file=index):
        pass
    good = index.read_bytes()
    size = struct.pack("<2i", 64, 48)
    assert good.count(size) == 2, "the coded size, then what the container says"
    index.write_bytes(seal(good.replace(size, struct.pack("<2i", 68, 52), 1)))
    with cvdecode.VideoReader(source, planes=("mv",), index_file=index) as video:
        assert video.segments[0].coded_size == (64, 48)
    assert len(index.read_bytes()) == len(good)


def forged_description(encode: Encode, index: Path, change: Callable[[bytes], bytes]) -> str:
    """The codec that a reader names after what its saved index says of the stream was changed."""
    source = encode("says.avi", "-c:v", "mpeg4", source="testsrc2=size=64x48:rate=25", frames=4)
    with cvdecode.VideoReader(source, planes=("mv",), index_file=index):
        pass
    good = index.read_bytes()
    forged = seal(change(good))
    assert forged != good
    index.write_bytes(forged)
    with cvdecode.VideoReader(source, planes=("mv",), index_file=index) as video:
        codec = video.metadata.codec
    taken = index.read_bytes() == forged
    assert taken != (index.read_bytes() == good), "either the forged one stays or it is made anew"
    return f"taken: {codec}" if taken else codec


@pytest.mark.parametrize(
    ("number", "name"),  # of libavcodec/codec_id.h: the first of their kind, and a video codec
    [(0x17000, "dvd_subtitle"), (0x10000, "pcm_s16le"), (0x18000, "ttf"), (2, "mpeg2video")],
)
def test_codecs_that_are_no_video_are_not_taken(
    encode: Encode, tmp_path: Path, number: int, name: str
) -> None:
    def change(good: bytes) -> bytes:
        says = struct.pack("<Q5si", 5, b"mpeg4", 12)
        assert good.count(says) == 1
        other = struct.pack(f"<Q{len(name)}si", len(name), name.encode(), number)
        return good.replace(says, other)

    codec = forged_description(encode, tmp_path / "index", change)
    assert codec == ("taken: mpeg2video" if number == 2 else "mpeg4")


@pytest.mark.parametrize("name", ["vaapi", "cuda", "vdpau", "drm_prime", "yuv422p"])
def test_samples_in_a_device_are_not_taken(encode: Encode, tmp_path: Path, name: str) -> None:
    """No container says so, and what a decoder would do with it nobody has tried."""
    libavutil = ctypes.CDLL(ctypes.util.find_library("avutil"))
    pixel_format = libavutil.av_get_pix_fmt(name.encode())
    assert pixel_format > 0

    def change(good: bytes) -> bytes:
        at = good.rindex(b"FMP4") + 12  # codec_tag, profile, level, pixel format
        assert good[at : at + 4] == bytes(4)  # AV_PIX_FMT_YUV420P
        return good[:at] + struct.pack("<i", pixel_format) + good[at + 4 :]

    codec = forged_description(encode, tmp_path / "index", change)
    assert codec == ("taken: mpeg4" if name == "yuv422p" else "mpeg4")


@pytest.mark.skipif("ASAN_OPTIONS" in os.environ, reason="a sanitizer needs terabytes of addresses")
@pytest.mark.parametrize("lists", ["pictures", "slices"])
def test_counts_ask_for_no_more_than_their_bytes(path: Path, tmp_path: Path, lists: str) -> None:
    """16 million slices in as many bytes, each of which takes hundreds once it is there."""
    index = tmp_path / "index"
    with open_with(path, index):
        pass
    good = index.read_bytes()
    counts = struct.pack("<?QQ", True, 30, 2)  # there is a native index; pictures, slices
    assert good.count(counts) == 1
    most = (1 << 24) - 64
    forged = (most, 0) if lists == "pictures" else (30, most)
    at = good.index(counts)
    index.write_bytes(seal(good[:at] + struct.pack("<?QQ", True, *forged) + bytes(1 << 24)))
    program = (
        "import resource, sys, cvdecode\n"
        "used = resource.getpagesize() * int(open('/proc/self/statm').read().split()[0])\n"
        "resource.setrlimit(resource.RLIMIT_AS, (used + (400 << 20),) * 2)\n"
        "print(len(cvdecode.VideoReader(sys.argv[1], index_file=sys.argv[2])))\n"
    )
    run = subprocess.run(
        [sys.executable, "-c", program, str(path), str(index)], capture_output=True, text=True
    )
    assert run.stdout == "30\n", run.stderr


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("list.m3u8", "#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\n{}\n#EXT-X-ENDLIST\n"),
        ("list.ffconcat", "ffconcat version 1.0\nfile {}\n"),
    ],
)
def test_none_is_kept_of_a_playlist(
    encode: Encode, serve: Serve, tmp_path: Path, name: str, text: str
) -> None:
    """Its own bytes are the same whatever becomes of what it names."""
    segment = encode("segment.ts", "-c:v", "mpeg4", frames=6)
    (tmp_path / "segment.ts").write_bytes(segment.read_bytes())
    (tmp_path / name).write_text(text.format("segment.ts"))
    address, index = serve(tmp_path), tmp_path / "index"
    with cvdecode.VideoReader(f"{address}/{name}", planes=("mv",), index_file=index) as video:
        assert len(video) == 6
    assert not index.exists()
    with cvdecode.VideoReader(f"{address}/segment.ts", planes=("mv",), index_file=index) as video:
        assert len(video) == 6
    assert index.exists()


def test_a_folder_that_cannot_be_written(path: Path, tmp_path: Path) -> None:
    with pytest.raises(cvdecode.SourceError, match="index_file"):
        open_with(path, tmp_path / "nowhere" / "saved.index")


@pytest.mark.parametrize("name", ["h264/walk.mkv", "mpeg4/test.avi", "hevc/sample_h265.ts"])
def test_on_real_clips(data_dir: Path, tmp_path: Path, name: str) -> None:
    index = tmp_path / "index"
    source = data_dir / name
    planes = () if name.startswith("hevc") else ("mv", "qp")
    with cvdecode.VideoReader(source, planes=planes, index_file=index) as video:
        cold = video.pts
    with cvdecode.VideoReader(source, planes=planes, index_file=index) as video:
        np.testing.assert_array_equal(video.pts, cold)
        if planes:
            with cvdecode.VideoReader(source, planes=planes) as other:
                assert_same(video, other)
