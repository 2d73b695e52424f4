"""What can be opened, and what is said of the rest; pickling, forks and threads."""

from __future__ import annotations

import contextlib
import copy
import http.server
import io
import mmap
import multiprocessing
import os
import pickle
import re
import shutil
import threading
import time
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import cvdecode
from conftest import Encode, run_ffmpeg


@pytest.fixture(scope="module")
def path(encode: Encode) -> Path:
    return encode("sources.mp4", "-c:v", "libx264", "-pix_fmt", "yuv420p", "-g", "12")


@pytest.fixture(scope="module")
def whole(path: Path) -> cvdecode.Clip:
    return cvdecode.read(path)


def check(source: Any, whole: cvdecode.Clip) -> None:
    with cvdecode.VideoReader(source) as video:
        clip = video.get_frames_at([40, 3])
        assert np.array_equal(clip.mv, whole.mv[[40, 3]])
        assert np.array_equal(clip.pts, whole.pts[[40, 3]])


class ReadOnly:
    """The least that a file object must have."""

    def __init__(self, data: bytes) -> None:
        self._file = io.BytesIO(data)
        self.read = self._file.read

    def seek(self, position: int, whence: int = 0) -> int:
        return self._file.seek(position, whence)


def test_every_kind_of_source(path: Path, whole: cvdecode.Clip) -> None:
    data = path.read_bytes()
    check(str(path), whole)
    check(path, whole)
    check(f"file://{path}", whole)
    check(data, whole)
    check(bytearray(data), whole)
    check(memoryview(data), whole)
    check(np.frombuffer(data, np.uint8), whole)
    check(io.BytesIO(data), whole)
    check(ReadOnly(data), whole)
    with path.open("rb") as file:
        check(file, whole)
        assert not file.closed
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped:
        check(mapped, whole)
    fsspec = pytest.importorskip("fsspec")
    filesystem = fsspec.filesystem("memory")
    filesystem.pipe("/clip.mp4", data)
    with filesystem.open("/clip.mp4") as file:
        check(file, whole)


def test_bytes_are_not_copied_and_not_resized(path: Path) -> None:
    data = bytearray(path.read_bytes())
    video = cvdecode.VideoReader(data)
    with pytest.raises(BufferError):
        data.append(0)
    video.close()
    del video
    data.append(0)


def test_odd_names(path: Path, whole: cvdecode.Clip, tmp_path: Path) -> None:
    for name in ("with space.mp4", "näme ✓.mp4", "a:b%20?.mp4", os.fsdecode(b"\xff\xfe.mp4")):
        odd = tmp_path / name
        shutil.copy(path, odd)
        check(odd, whole)
    broken = tmp_path / os.fsdecode(b"\xff.mp4")
    broken.write_bytes(b"nothing")
    with pytest.raises(cvdecode.CorruptStream):
        cvdecode.VideoReader(broken)


@pytest.mark.parametrize(
    ("source", "says"),
    [
        (None, "not NoneType"),
        (7, "not int"),
        (["a.mp4"], "one reader reads one source"),
        (io.StringIO("text"), "mode 'rb'"),
        (np.zeros(4), "contiguous bytes"),
        (memoryview(b"abcdefgh")[::2], "contiguous"),
    ],
)
def test_no_source(source: Any, says: str) -> None:
    with pytest.raises(TypeError, match=says):
        cvdecode.VideoReader(source)


def test_no_seeking() -> None:
    reading, writing = os.pipe()
    os.close(writing)
    with open(reading, "rb") as pipe, pytest.raises(TypeError, match="cannot seek"):
        cvdecode.VideoReader(pipe)


def test_bad_sources(tmp_path: Path, path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"nowhere\.mp4"):
        cvdecode.VideoReader(tmp_path / "nowhere.mp4")
    with pytest.raises(OSError, match="folder"):
        cvdecode.VideoReader(tmp_path)
    for name, data in {"empty.mp4": b"", "text.mp4": b"This is no video.\n" * 99}.items():
        (tmp_path / name).write_bytes(data)
        for source in (tmp_path / name, data):
            with pytest.raises(cvdecode.Error):
                cvdecode.VideoReader(source)
    sound = tmp_path / "sound.wav"
    run_ffmpeg("-f", "lavfi", "-i", "sine", "-t", "0.2", str(sound))
    with pytest.raises(cvdecode.Error, match="video"):
        cvdecode.VideoReader(sound)
    with pytest.raises(cvdecode.Error):
        cvdecode.probe(sound)
    data = path.read_bytes()
    for cut in (1, 7, 40, len(data) // 2):
        try:
            clip = cvdecode.read(data[:cut])
            assert len(clip) == len(clip.mv)
        except cvdecode.Error:
            pass


class Failing(io.BytesIO):
    """Breaks when it is read."""

    def readinto(self, buffer: Any) -> int:
        raise ZeroDivisionError("of the file object's own making")


def test_errors_of_a_file_object_come_through(path: Path) -> None:
    with pytest.raises(ZeroDivisionError, match="own making"):
        cvdecode.read(Failing(path.read_bytes()))


def test_use_after_close(path: Path) -> None:
    video = cvdecode.VideoReader(path)
    clip = video[2:5]
    expected = clip.mv.copy()
    video.close()
    video.close()
    assert np.array_equal(clip.mv, expected)
    for use in (lambda: video[0], lambda: next(iter(video)), lambda: video.backend):
        with pytest.raises(cvdecode.ReaderState, match="closed"):
            use()
    assert len(video) == 48
    assert video.metadata.num_frames == 48
    assert video.stats.packets_read > 0
    assert "closed" in repr(video)
    assert issubclass(cvdecode.ReaderState, RuntimeError)


def test_pickling(path: Path, whole: cvdecode.Clip, tmp_path: Path) -> None:
    moved = tmp_path / "moved.mp4"
    shutil.copy2(path, moved)
    with cvdecode.VideoReader(moved, ("mv",), rgb="key", num_threads=2) as video:
        blob = pickle.dumps(video)
        again = pickle.loads(blob)
        assert again.planes == video.planes
        assert np.array_equal(again[40].mv, whole.mv[40])
        again.close()
        assert copy.copy(video)[3].index == 3
    os.utime(moved, ns=(1, 1))
    with pytest.raises(OSError, match="changed"):
        pickle.loads(blob)
    moved.unlink()
    with pytest.raises(cvdecode.SourceNotFound, match=r"moved\.mp4"):
        pickle.loads(blob)
    with cvdecode.VideoReader(path.read_bytes()) as video:
        check_same = pickle.loads(pickle.dumps(video))
        assert np.array_equal(check_same[40].mv, whole.mv[40])
        check_same.close()
    with (
        cvdecode.VideoReader(io.BytesIO(path.read_bytes())) as video,
        pytest.raises(TypeError, match="file object"),
    ):
        pickle.dumps(video)


def in_child(video: cvdecode.VideoReader, queue: Any) -> None:
    try:
        queue.put(video.get_frames_at([40, 3]).mv.tobytes())
    except RuntimeError as error:
        queue.put(str(error))


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
@pytest.mark.parametrize("kind", ["path", "bytes", "memory file", "file"])
def test_fork(kind: str, path: Path, whole: cvdecode.Clip) -> None:
    context = multiprocessing.get_context("fork")
    with path.open("rb") as file:
        sources = {
            "path": path,
            "bytes": path.read_bytes(),
            "memory file": io.BytesIO(path.read_bytes()),
            "file": file,
        }
        with cvdecode.VideoReader(sources[kind], num_threads=2) as video:
            video.get_frames_at([20])
            queue = context.Queue()
            children = [context.Process(target=in_child, args=(video, queue)) for _ in range(2)]
            for child in children:
                child.start()
            answers = [queue.get(timeout=60) for _ in children]
            for child in children:
                child.join(60)
                assert child.exitcode == 0
            expected = whole.mv[[40, 3]].tobytes()
            if kind == "file":
                assert all("shared with the parent" in str(answer) for answer in answers)
            else:
                assert answers == [expected, expected]
            assert video.get_frames_at([40, 3]).mv.tobytes() == expected


class Blocking(io.BytesIO):
    """Stands still in the middle of a read, once told to, until it is let go."""

    def __init__(self, data: bytes) -> None:
        super().__init__(data)
        self.armed = False
        self.inside = threading.Event()
        self.go_on = threading.Event()

    def readinto(self, buffer: Any) -> int:
        if self.armed:
            self.inside.set()
            assert self.go_on.wait(60)
        return super().readinto(buffer)


def test_a_second_thread_is_refused(encode: Encode) -> None:
    # Larger than the 4 MiB that are kept of a file object: the read must come back to the file.
    noise = "nullsrc=size=320x240:rate=25,geq=lum='random(1)*255':cb=128:cr=128"
    big = encode(
        "noise.mkv", "-c:v", "libx264", "-preset", "ultrafast", "-qp", "0", "-pix_fmt", "yuv420p",
        source=noise, frames=80,
    )  # fmt: skip
    assert big.stat().st_size > 5 << 20
    whole = cvdecode.read(big)
    file = Blocking(big.read_bytes())
    with cvdecode.VideoReader(file) as video:
        file.armed = True
        done: list[np.ndarray] = []
        thread = threading.Thread(target=lambda: done.append(video.get_frames_at([4]).mv))
        thread.start()
        try:
            assert file.inside.wait(60), "the read never reached the file"
            uses = (
                lambda: video[0],
                lambda: video.stats,  # which the other thread is counting up
                lambda: video.backend_reason,
                video.close,
            )
            for use in uses:
                with pytest.raises(RuntimeError, match="one thread at a time"):
                    use()
        finally:
            file.armed = False
            file.go_on.set()
            thread.join()
        assert np.array_equal(done[0], whole.mv[[4]])
        assert np.array_equal(video[3].mv, whole.mv[3])


class Handler(http.server.BaseHTTPRequestHandler):
    """Serves one file, in parts where it is asked for a part and told to."""

    data = b""
    ranges = True

    def do_GET(self) -> None:
        start = 0
        asked = re.match(r"bytes=(\d+)-", self.headers.get("Range", ""))
        if asked and self.ranges:
            start = int(asked[1])
            self.send_response(206)
            self.send_header(
                "Content-Range", f"bytes {start}-{len(self.data) - 1}/{len(self.data)}"
            )
        else:
            self.send_response(200)
        self.send_header("Accept-Ranges", "bytes" if self.ranges else "none")
        self.send_header("Content-Length", str(len(self.data) - start))
        self.end_headers()
        with contextlib.suppress(ConnectionError):  # the client stops where it has enough
            self.wfile.write(self.data[start:])

    def log_message(self, *_: Any) -> None:
        pass


@pytest.mark.parametrize("ranges", [True, False])
def test_a_url(path: Path, whole: cvdecode.Clip, ranges: bool) -> None:
    handler = type("Serving", (Handler,), {"data": path.read_bytes(), "ranges": ranges})
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            url = f"http://127.0.0.1:{server.server_address[1]}/clip.mp4"
            check(url, whole)
            with cvdecode.VideoReader(url) as video, pickle.loads(pickle.dumps(video)) as other:
                assert other.metadata.source == url
                assert np.array_equal(other[3].mv, whole.mv[3])
            with pytest.raises(cvdecode.PlaneUnavailable):
                cvdecode.VideoReader(url, planes=("residual_y",), backend="libav")
        finally:
            server.shutdown()
            thread.join()
    with pytest.raises(cvdecode.SourceError):
        cvdecode.VideoReader(url)


def test_many_readers_in_many_threads(path: Path, whole: cvdecode.Clip) -> None:
    wrong: list[int] = []

    def work(seed: int) -> None:
        with cvdecode.VideoReader(path) as video:
            for row in np.random.default_rng(seed).integers(0, 48, 6):
                if not np.array_equal(video[int(row)].mv, whole.mv[row]):
                    wrong.append(int(row))

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_the_gil_is_released(encode: Encode) -> None:
    """Another thread counts on while a clip is read."""
    source = "testsrc2=size=640x480:rate=25"
    path = encode("larger.mp4", "-c:v", "libx264", "-pix_fmt", "yuv420p", source=source, frames=100)
    ticks = 0
    stop = threading.Event()

    def count() -> None:
        nonlocal ticks
        while not stop.wait(0.001):
            ticks += 1

    with cvdecode.VideoReader(path, (), rgb="all") as video:
        thread = threading.Thread(target=count)
        thread.start()
        ticks = 0
        started = time.perf_counter()
        video[:]
        elapsed, counted = time.perf_counter() - started, ticks
        stop.set()
        thread.join()
    assert counted > elapsed * 1000 / 20


def test_probe(path: Path, whole: cvdecode.Clip) -> None:
    meta = cvdecode.probe(path)
    assert (meta.codec, meta.width, meta.height, meta.num_frames) == ("h264", 160, 96, 48)
    assert meta.frame_types == "".join(whole.frame_type)
    assert meta.key_frames == (0, 12, 24, 36)
    assert [gop.key_frame for gop in meta.gops] == [0, 12, 24, 36]
    assert all(gop.closed for gop in meta.gops)
    assert meta.segments == (
        cvdecode.Segment(0, 48, (160, 96), cvdecode.Crop(0, 0, 0, 0), "4:2:0", 8),
    )
    assert "mv" in meta.backends["libav"].planes
    assert "bits" in meta.backends["libav"].why_not
    assert meta.duration_seconds == pytest.approx(48 / 25)
    assert meta.average_fps == pytest.approx(25)


@pytest.mark.parametrize("name", ["sar.mp4", "sar.h264", "sar.ts"])
def test_sample_aspect_ratio(name: str, encode: Encode) -> None:
    """From the container, or from the bitstream where the container has no word for it."""
    source = "testsrc2=size=64x48:rate=25,setsar=4/3"
    path = encode(name, "-c:v", "libx264", "-pix_fmt", "yuv420p", source=source, frames=4)
    assert cvdecode.probe(path).sar == Fraction(4, 3)


def test_a_plane_that_nobody_has(encode: Encode) -> None:
    path = encode("hevc.mp4", "-c:v", "libx265", "-x265-params", "log-level=none", frames=8)
    with pytest.raises(cvdecode.PlaneUnavailable, match="'mv' cannot be had from hevc"):
        cvdecode.VideoReader(path)
    with cvdecode.VideoReader(path, (), rgb="all") as video:
        assert video[3].rgb.shape == (3, 96, 160)
    assert cvdecode.probe(path).planes == ("rgb",)


def test_libav_lacks_bits_and_says_who_has_them(path: Path) -> None:
    with pytest.raises(cvdecode.PlaneUnavailable, match=r"backend=.libav.*native: "):
        cvdecode.VideoReader(path, ("bits",), backend="libav")
