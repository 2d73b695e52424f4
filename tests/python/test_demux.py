"""Packets: equal to what ffprobe and PyAV read, from every kind of source, in every order."""

from __future__ import annotations

import io
import random
import zlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

import cvdecode
from conftest import Serve
from cvdecode import _core, coviar
from demux_reference import clips, md5, our_packets, presented, probed

Encode = Callable[..., Path]

RAW_SUFFIXES = {".264", ".h264", ".jsv", ".avc", ".265", ".h265"}
SOUND = "testsrc2=size=160x96:rate=25:duration=1.92[out0];sine=duration=1.9[out1]"
# (name, options): every container with another stream between the video's packets.
CONTAINERS = {
    "h264.mp4": ("-c:a", "aac", "-c:v", "libx264"),
    "h264.mov": ("-c:a", "aac", "-c:v", "libx264"),
    "fragmented.mp4": ("-c:a", "aac", "-c:v", "libx264", "-movflags", "frag_keyframe+empty_moov"),
    "h264.mkv": ("-c:a", "aac", "-c:v", "libx264"),
    "h264.flv": ("-c:a", "aac", "-c:v", "libx264"),
    "h264.ts": ("-c:a", "aac", "-c:v", "libx264"),
    "h264.avi": ("-c:a", "mp2", "-c:v", "libx264", "-bf", "0"),
    "h264.264": ("-c:v", "libx264"),
    "mpeg1.mpg": ("-c:a", "mp2", "-c:v", "mpeg1video", "-bf", "2"),
    "mpeg2.mpg": ("-c:a", "mp2", "-c:v", "mpeg2video", "-bf", "2"),
    "mpeg2.ts": ("-c:a", "mp2", "-c:v", "mpeg2video", "-bf", "2"),
    "mpeg2.m2v": ("-c:v", "mpeg2video", "-bf", "2"),
    "mpeg4.avi": ("-c:a", "mp2", "-c:v", "mpeg4", "-bf", "2"),
    "mpeg4.m4v": ("-c:v", "mpeg4", "-bf", "2"),
    "hevc.ts": ("-c:a", "aac", "-c:v", "libx265", "-x265-params", "log-level=none"),
    "hevc.265": ("-c:v", "libx265", "-x265-params", "log-level=none"),
}


def make(encode: Encode, name: str) -> Path:
    options = CONTAINERS[name]
    if "-c:a" in options:
        return encode("demux_" + name, *options, source=SOUND)
    return encode("demux_" + name, *options)


@pytest.fixture(scope="session", params=CONTAINERS)
def container(request: pytest.FixtureRequest, encode: Encode) -> Path:
    return make(encode, request.param)


def scanned(source: Any, **options: Any) -> Any:
    demuxer = _core._Demuxer(source, **options)
    demuxer.scan()
    return demuxer


def test_real_clips_equal_ffprobe(data_dir: Path) -> None:
    unlike = {}
    demuxers = {path: scanned(path) for path in clips(data_dir)}
    with ThreadPoolExecutor(2) as pool:
        probes = pool.map(lambda path: probed(path, demuxers[path].info["stream_index"]), demuxers)
    for (path, demuxer), probe in zip(demuxers.items(), probes, strict=True):
        ours, theirs = our_packets(demuxer), probe.packets
        if path.parent.name == "h264-parser-edge" and not theirs:
            assert ours  # ffprobe does not recognise these two; we do, by their parameter sets
            continue
        raw = demuxer.info["raw"]
        avi, mkv = path.suffix == ".avi", path.suffix == ".mkv"
        for name in ("md5", "key", "discard", "duration", "pts", "dts"):
            # What a container does not store, libavformat guesses: pts of AVI, dts of Matroska.
            guessed = {"pts": raw or avi, "dts": raw or mkv, "duration": raw}
            if guessed.get(name):
                continue
            if [getattr(p, name) for p in ours] != [getattr(p, name) for p in theirs]:
                unlike[str(path.relative_to(data_dir)), name] = (len(ours), len(theirs))
        if raw or avi:
            assert {p.pts for p in ours} == {None}
        if raw:
            assert {p.duration for p in ours} == {0}
        assert demuxer.counters["packets_unlocated"] == 0, path
        assert demuxer.counters["forward_reads"] == 0, path
    assert not unlike


def test_real_clips_equal_pyav(data_dir: Path) -> None:
    av = pytest.importorskip("av")
    unlike = []
    for path in clips(data_dir):
        try:
            with av.open(str(path)) as other:
                theirs = [bytes(p) for p in other.demux(other.streams.video[0]) if p.size]
        except av.error.InvalidDataError:
            continue
        demuxer = scanned(path)
        ours = [demuxer.read_packet(i)["data"] for i in range(len(demuxer))]
        if demuxer.info["codec"] == "hevc":  # PyAV's FFmpeg 8 cuts elsewhere than 5.1 does
            ours, theirs = [b"".join(ours)], [b"".join(theirs)]
        if ours != theirs:
            unlike.append(str(path.relative_to(data_dir)))
    assert not unlike


def test_raw_streams_lose_no_byte(data_dir: Path) -> None:
    count = 0
    for path in clips(data_dir):
        if path.suffix not in RAW_SUFFIXES and path.name != "launch.mpg":
            continue
        demuxer = scanned(path)
        assert demuxer.info["raw"]
        data = b"".join(demuxer.read_packet(i)["data"] for i in range(len(demuxer)))
        assert data == path.read_bytes(), path
        count += 1
    assert count > 50


def test_containers_equal_ffprobe(container: Path) -> None:
    demuxer = scanned(container)
    ours, theirs = our_packets(demuxer), probed(container, demuxer.info["stream_index"]).packets
    assert len(ours) == 48
    if demuxer.info["raw"]:
        assert [p.md5 for p in ours] == [p.md5 for p in theirs]
    elif container.suffix == ".mkv":
        assert [p._replace(dts=None) for p in ours] == [p._replace(dts=None) for p in theirs]
    elif container.suffix == ".avi":
        assert ours == [p._replace(pts=None) for p in theirs]
    else:
        assert ours == theirs
    counters = demuxer.counters
    assert counters["packets_unlocated"] == 0
    cut_up = container.suffix in (".ts", ".mpg")
    assert counters["packets_in_pieces" if cut_up else "packets_in_one_piece"] > 20


def test_random_order_equals_sequential(container: Path) -> None:
    demuxer = scanned(container)
    expected = [demuxer.read_packet(i) for i in range(len(demuxer))]
    order = list(range(len(demuxer))) * 3
    random.Random(1).shuffle(order)
    for i in order:
        assert demuxer.read_packet(i) == expected[i]
    assert demuxer.counters["direct_reads"] == 4 * len(demuxer)
    assert demuxer.counters["restarts"] == demuxer.counters["forward_reads"] == 0


class Plain:
    """A file object with the least that is needed: no readinto, short reads."""

    def __init__(self, data: bytes) -> None:
        self.inner = io.BytesIO(data)

    def read(self, size: int) -> bytes:
        return self.inner.read(min(size, 1000))

    def seek(self, position: int, whence: int = 0) -> int:
        return self.inner.seek(position, whence)

    def tell(self) -> int:
        return self.inner.tell()


def test_every_source_gives_the_same(container: Path) -> None:
    data = container.read_bytes()
    expected = our_packets(scanned(container))
    with container.open("rb") as buffered, container.open("rb", buffering=0) as unbuffered:
        for source in (
            str(container),
            data,
            bytearray(data),
            memoryview(data),
            io.BytesIO(data),
            Plain(data),
            buffered,
            unbuffered,
        ):
            assert our_packets(scanned(source)) == expected


@pytest.fixture
def server(container: Path, serve: Serve) -> str:
    """The address of the file; those beside it are there too."""
    return f"{serve(container.parent)}/{container.name}"


@pytest.mark.parametrize("container", ["h264.mp4", "mpeg2.ts"], indirect=True)
def test_url_gives_the_same(container: Path, server: str) -> None:
    assert our_packets(scanned(server)) == our_packets(scanned(container))


@pytest.mark.parametrize("container", ["mpeg2.ts"], indirect=True)
def test_playlist_at_an_address(container: Path, server: str) -> None:
    """libavformat itself fetches what a playlist names, if that is where the playlist came from."""
    text = f"#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\n{container.name}\n#EXT-X-ENDLIST\n"
    (container.parent / "playlist.m3u8").write_text(text)
    demuxer = scanned(server.replace(container.name, "playlist.m3u8"))
    expected = our_packets(scanned(container))
    assert [p.md5 for p in our_packets(demuxer)] == [p.md5 for p in expected]


def test_url_that_does_not_exist() -> None:
    with pytest.raises((_core.SourceError, _core.SourceNotFound), match=r"127\.0\.0\.1"):
        _core._Demuxer("http://127.0.0.1:9/clip.mp4")
    with pytest.raises(_core.UnsupportedStream, match="protocol"):
        _core._Demuxer("nosuchprotocol://host/clip.mp4")


def test_no_copy_of_memory_and_no_leak(encode: Encode) -> None:
    data = bytearray(make(encode, "h264.mp4").read_bytes())
    demuxer = scanned(data)
    packet = demuxer.read_packet(3)["data"]
    at = data.find(packet)
    data[at] ^= 0xFF  # seen by the demuxer: it looks at this memory itself
    with pytest.raises(_core.SourceError, match="packet 3"):
        demuxer.read_packet(3)
    with pytest.raises(BufferError):
        data.append(0)  # held while the demuxer lives
    del demuxer
    data.append(0)


def test_exception_of_a_file_object_passes_through(encode: Encode) -> None:
    data = make(encode, "h264.mp4").read_bytes()

    class Failing(io.BytesIO):
        budget = 10_000_000

        def readinto(self, buffer: Any) -> int:
            self.budget -= len(buffer)
            if self.budget < 0:
                raise ZeroDivisionError("from the file object")
            return super().readinto(buffer)

    file = Failing(data)
    demuxer = scanned(file)
    file.budget = 0
    for budget in (0, 1000):
        file.budget = budget
        with pytest.raises(ZeroDivisionError, match="from the file object"):
            scanned(file)
    del demuxer


def test_file_objects_that_will_not_do(encode: Encode, tmp_path: Path) -> None:
    path = make(encode, "h264.mp4")
    with path.open(encoding="latin-1") as text, pytest.raises(TypeError, match="binary mode"):
        _core._Demuxer(text)

    class Pipe(io.BytesIO):
        def seekable(self) -> bool:
            return False

    with pytest.raises(TypeError, match="seekable"):
        _core._Demuxer(Pipe(path.read_bytes()))
    with pytest.raises(TypeError, match="a source is"):
        _core._Demuxer(17)


def test_edit_list_of_a_stream_copy(encode: Encode, tmp_path: Path) -> None:
    """Packets before the cut are references still: discarded from the presentation, not lost."""
    from conftest import run_ffmpeg

    path = encode("demux_long.mp4", "-c:v", "libx264", "-g", "30", "-bf", "2", frames=100)
    cut = tmp_path / "cut.mp4"
    run_ffmpeg("-ss", "1.8", "-i", str(path), "-c", "copy", str(cut))
    demuxer = _core._Demuxer(cut)
    index = demuxer.index()
    ours, theirs = our_packets(demuxer), probed(cut, 0).packets
    assert ours == theirs
    discarded = sum(p.discard for p in theirs)
    assert discarded > 5
    assert presented(index) == probed(cut, 0).frames
    assert len(index["presentation"]) == len(ours) - discarded
    plain = scanned(cut, ignore_editlist=True)
    assert our_packets(plain) == probed(cut, 0, "-ignore_editlist", "1").packets
    assert not any(p.discard for p in our_packets(plain))


def test_stream_info_equals_ffprobe(data_dir: Path) -> None:
    unlike = {}
    for path in clips(data_dir):
        info = _core._Demuxer(path).info
        theirs = probed(path, info["stream_index"]).stream
        if not theirs:
            continue
        rotation = [s["rotation"] for s in theirs.get("side_data_list", []) if "rotation" in s]
        pairs = {
            "codec": (info["codec"], theirs["codec_name"]),
            "profile": (info["profile"], theirs.get("profile", "")),
            "time_base": (info["time_base"], tuple(map(int, theirs["time_base"].split("/")))),
            "rotation": (info["rotation"], float(rotation[0]) if rotation else 0.0),
            "frames": (info["container_frames"], int(theirs.get("nb_frames", 0))),
        }
        if not info["raw"]:
            pairs["size"] = (info["width"], info["height"]), (theirs["width"], theirs["height"])
            rate = tuple(map(int, theirs["avg_frame_rate"].split("/")))
            pairs["frame_rate"] = (info["frame_rate"], rate)
            pairs["duration"] = (info["duration"], theirs.get("duration_ts", info["duration"]))
        ratio = theirs.get("sample_aspect_ratio", "0:1").split(":")
        index = _core._Demuxer(path).index()
        sar = info["sar"] if info["sar"][0] else index["sar"]
        if index["pictures"]:
            pairs["sar"] = (sar if sar[0] else (0, 1), (int(ratio[0]), int(ratio[1])))
        for name, (a, b) in pairs.items():
            if a != b:
                unlike[str(path.relative_to(data_dir)), name] = (a, b)
    assert not unlike


def vint(value: int, size: int = 8) -> bytes:
    """An EBML size (RFC 8794, 4)."""
    return ((1 << (7 * size)) | value).to_bytes(size, "big")


def element(number: int, *parts: bytes | int | str) -> bytes:
    """An EBML element; integers as 8 bytes."""
    data = b"".join(
        p.to_bytes(8, "big") if isinstance(p, int) else p.encode() if isinstance(p, str) else p
        for p in parts
    )
    return number.to_bytes((number.bit_length() + 7) // 8, "big") + vint(len(data)) + data


def matroska(frames: list[bytes], extradata: bytes, encoding: bytes) -> bytes:
    """A Matroska file (RFC 9559) of MPEG-4 video whose frames are stored as they are given."""
    track = element(
        0xAE,
        element(0xD7, 1), element(0x73C5, 1), element(0x83, 1), element(0x86, "V_MPEG4/ISO/ASP"),
        element(0x63A2, extradata), element(0xE0, element(0xB0, 160), element(0xBA, 96)), encoding,
    )  # fmt: skip
    blocks = b"".join(
        element(0xA3, vint(1, 1), (40 * i).to_bytes(2, "big"), b"\0", frame)
        for i, frame in enumerate(frames)
    )
    return element(
        0x1A45DFA3, element(0x4286, 1), element(0x4282, "matroska"), element(0x4287, 4)
    ) + element(
        0x18538067,
        element(0x1549A966, element(0x2AD7B1, 1_000_000)),
        element(0x1654AE6B, track),
        element(0x1F43B675, element(0xE7, 0), blocks),
    )


def compression(*settings: bytes) -> bytes:
    """The ContentEncodings of a Matroska track."""
    return element(0x6D80, element(0x6240, element(0x5034, *settings)))


def test_matroska_compressed_frames(encode: Encode, tmp_path: Path) -> None:
    """Header stripping and zlib: the bytes are not in the file as they are."""
    plain = scanned(encode("demux_plain.avi", "-c:v", "mpeg4", "-g", "12", frames=30))
    extradata = plain.info["extradata"]
    frames = [plain.read_packet(i)["data"] for i in range(30)]
    stripped = b"\0\0\1"
    assert all(f.startswith(stripped) for f in frames)

    for name, stored, encoding in (
        ("plain", frames, b""),
        ("stripped", [f[3:] for f in frames],
         compression(element(0x4254, 3), element(0x4255, stripped))),
        ("zlib", [zlib.compress(f) for f in frames], compression(element(0x4254, 0))),
    ):  # fmt: skip
        data = matroska(stored, extradata, encoding)
        demuxer = scanned(data)
        assert len(demuxer) == 30
        order = [*range(30), *random.Random(2).sample(range(30), 30), 29, 0]
        for i in order:
            assert demuxer.read_packet(i)["data"] == frames[i], (name, i)
            assert demuxer.read_packet(i)["pts"] == 40 * i
        counters = demuxer.counters
        assert (counters["packets_unlocated"] > 0) == (name == "zlib")
        assert (counters["forward_reads"] > 0) == (name == "zlib")
        # With a saved index the file is opened by libavformat only where that must unpack.
        index = tmp_path / name
        reads = []
        for _ in range(2):
            with cvdecode.VideoReader(data, planes=("mv", "qp"), index_file=index) as video:
                reads.append((video.metadata, video.get_frames_at([20, 3]).mv.tolist()))
        assert reads[0] == reads[1], name


def test_unpacked_frames_are_remembered(encode: Encode, tmp_path: Path) -> None:
    """Going back means to open the file again: not for a frame that was there a moment ago."""
    source = "mandelbrot=size=160x96:rate=25"
    plain = scanned(encode("demux_four.avi", "-c:v", "mpeg4", "-g", "24", "-q:v", "2", "-flags",
                           "+mv4", "-threads", "1", source=source))  # fmt: skip
    frames = [plain.read_packet(i)["data"] for i in range(48)]
    path = tmp_path / "packed.mkv"
    path.write_bytes(
        matroska(
            [zlib.compress(f) for f in frames], plain.info["extradata"],
            compression(element(0x4254, 0)),
        )
    )  # fmt: skip
    demuxer = scanned(path)
    for i in range(1, 48):
        for j in (i, i - 1, i):
            assert demuxer.read_packet(j)["data"] == frames[j]
    assert demuxer.counters["restarts"] <= 1
    assert demuxer.counters["forward_reads"] == 48

    # Pixels and vectors of MPEG-4 at once: a vector that is 0 may be none, which its packet tells.
    def bytes_read() -> int:
        return int(Path("/proc/self/io").read_text().split()[1])

    assert coviar.get_num_gops(path) == 2
    before = bytes_read()
    assert coviar.load(path, 1, 23, coviar.RESIDUAL, True).any()
    coviar.close()
    assert bytes_read() - before < 3 * path.stat().st_size  # once for each such frame: 17 times


def test_stream_index_chooses(encode: Encode) -> None:
    path = encode(
        "demux_two.mkv", "-map", "0:a", "-map", "0:v", "-map", "0:v", "-c:a", "mp2",
        "-c:v", "mpeg4", "-s:v:1", "80x48", source=SOUND,
    )  # fmt: skip
    assert scanned(path).info["width"] == 160
    second = scanned(path, stream_index=2)
    assert second.info["width"] == 80
    assert our_packets(second) == probed(path, 2).packets
    with pytest.raises(ValueError, match=r"stream_index 0 is no video stream.*0: audio"):
        _core._Demuxer(path, stream_index=0)


def test_images_that_no_probe_knows(encode: Encode, tmp_path: Path) -> None:
    """libavformat's probe knows some JPEG streams of 24 real pictures not, even by their name."""
    images = encode("demux_images.mjpeg", "-c:v", "mjpeg", frames=3).read_bytes()
    unknown = b"\xff\xd9" * 300 + images
    nameless, named = tmp_path / "images.bin", tmp_path / "images.mjpeg"
    nameless.write_bytes(unknown)
    named.write_bytes(unknown)
    with pytest.raises(_core.CorruptStream, match="no video file that FFmpeg knows"):
        _core._Demuxer(nameless)
    assert len(our_packets(scanned(named))) == 3


def test_new_extradata_is_kept_with_its_packet(encode: Encode, tmp_path: Path) -> None:
    """FLV sends a second avcC when the encoder changes; both kinds of reading must know."""
    from conftest import run_ffmpeg

    small = encode(
        "demux_small.flv", "-c:v", "libx264", "-s", "80x48", "-flvflags", "no_sequence_end"
    )
    large = encode("demux_large.flv", "-c:v", "libx264", "-flvflags", "no_sequence_end")
    run_ffmpeg("-i", str(small), "-c", "copy", str(tmp_path / "a.flv"))
    # FLV: 9 bytes of header and a zero PreviousTagSize, then tags that may simply follow.
    joined = tmp_path / "joined.flv"
    joined.write_bytes(large.read_bytes() + (tmp_path / "a.flv").read_bytes()[13:])
    demuxer = scanned(joined)
    changes = [i for i in range(len(demuxer)) if demuxer.read_packet(i)["new_extradata"]]
    assert changes[-1] == 48
    extradata = demuxer.read_packet(48)["new_extradata"]
    assert extradata == scanned(small).info["extradata"]
    assert demuxer.extradata_in_force(47) != extradata
    assert demuxer.extradata_in_force(60) == extradata
    assert md5(demuxer.read_packet(60)["data"]) == md5(scanned(small).read_packet(12)["data"])
