"""Every get-method gives the frames that a decode from the start gives."""

from __future__ import annotations

import random
from pathlib import Path

import av
import numpy as np
import pytest
from av.video.frame import PictureType

import cvdecode
from conftest import Encode, run_ffmpeg

H264 = ("-c:v", "libx264", "-pix_fmt", "yuv420p", "-preset", "veryfast")
KINDS = {
    "bframes.mp4": (*H264, "-g", "16", "-x264-params", "bframes=3:b-pyramid=normal:b-adapt=0"),
    "opengop.mkv": (*H264, "-g", "12", "-x264-params", "open-gop=1:bframes=3:scenecut=0"),
    "refresh.mp4": (*H264, "-g", "12", "-x264-params", "intra-refresh=1:bframes=0"),
    "ponly.h264": (*H264, "-g", "20", "-x264-params", "bframes=0"),
    "mpeg4b.avi": ("-c:v", "mpeg4", "-bf", "2", "-g", "12"),
    "mpeg4.mp4": ("-c:v", "mpeg4", "-g", "12"),
    "mpeg2.ts": ("-c:v", "mpeg2video", "-bf", "2", "-g", "12"),
    "mpeg1.mpg": ("-c:v", "mpeg1video", "-bf", "2", "-g", "12"),
}
DERIVED = ("editlist.mp4", "rotated.mp4", "fragmented.mp4")


def make(kind: str, encode: Encode) -> Path:
    """A clip of this kind; those derived from another are stream copies."""
    if kind in KINDS:
        return encode(kind, *KINDS[kind])
    base = encode("bframes.mp4", *KINDS["bframes.mp4"])
    path = base.with_name(kind)
    if not path.exists():
        before = ("-ss", "0.9") if kind == "editlist.mp4" else ()
        after = {
            "rotated.mp4": ("-metadata:s:v", "rotate=90"),
            "fragmented.mp4": ("-movflags", "frag_keyframe+empty_moov"),
        }.get(kind, ())
        run_ffmpeg(*before, "-i", str(base), "-c", "copy", *after, str(path))
    return path


@pytest.fixture(params=[*KINDS, *DERIVED])
def clip_path(request: pytest.FixtureRequest, encode: Encode) -> Path:
    return make(request.param, encode)


def same(a: cvdecode.Clip, b: cvdecode.Clip, rows: list[int]) -> None:
    """Clip ``a`` is these rows of clip ``b``, in everything."""
    assert a.planes == b.planes
    left, right = a.numpy(), b.numpy()
    for name in left:
        if name == "rgb_index" or (name == "rgb" and len(b.rgb) != len(b)):
            continue
        assert np.array_equal(
            left[name], right[name][rows], equal_nan=left[name].dtype.kind == "f"
        ), name


PLANES = ("mv", "ref", "mb_type", "qp", "rgb")


def test_any_order_equals_decoding_from_the_start(clip_path: Path) -> None:
    whole = cvdecode.read(clip_path, PLANES)
    count = len(whole)
    assert whole.index.tolist() == list(range(count))
    rng = random.Random(7)
    with cvdecode.VideoReader(clip_path, PLANES) as video:
        assert len(video) == count
        same(video[:], whole, list(range(count)))
        for _ in range(6):
            rows = [rng.randrange(count) for _ in range(5)]
            same(video.get_frames_at(rows), whole, rows)
        same(video.get_frames_at([-1, 0, -1, 3, 0]), whole, [count - 1, 0, count - 1, 3, 0])
        same(video[::-7], whole, list(range(count))[::-7])
        same(video[3:40:5], whole, list(range(count))[3:40:5])
        same(video.get_frames_in_range(-5, 1000, 2), whole, list(range(count))[-5::2])
        row = count // 2
        for frame in (video[row], video.get_frame_at(row - count), whole[row]):
            assert frame.index == row
            assert frame.pts == whole.pts[row]
            assert np.array_equal(frame.mv, whole.mv[row])
            assert np.array_equal(frame.rgb, whole.rgb[row])
            assert frame.frame_type == whole.frame_type[row]


def test_a_fresh_reader_gives_the_same_frame(clip_path: Path) -> None:
    whole = cvdecode.read(clip_path, PLANES)
    for row in (len(whole) - 1, len(whole) // 2, 7):
        with cvdecode.VideoReader(clip_path, PLANES) as video:
            same(video.get_frames_at([row]), whole, [row])


def test_batches_and_iteration_give_every_frame_once(clip_path: Path) -> None:
    whole = cvdecode.read(clip_path, PLANES)
    with cvdecode.VideoReader(clip_path, PLANES) as video:
        seen = 0
        for clip in video.batches(7):
            assert len(clip) == min(7, len(whole) - seen)
            same(clip, whole, list(range(seen, seen + len(clip))))
            seen += len(clip)
        assert seen == len(whole)
        assert [frame.index for frame in video] == list(range(len(whole)))
        steps = [int(i) for clip in video.batches(4, start=5, stop=30, step=6) for i in clip.index]
        assert steps == list(range(len(whole)))[5:30:6]


def test_key_pixels_are_the_pixels_of_key_frames(clip_path: Path) -> None:
    whole = cvdecode.read(clip_path, PLANES)
    with cvdecode.VideoReader(clip_path, ("mv", "qp"), rgb="key") as video:
        rows = [len(whole) - 1, *range(0, len(whole), 2), 0]
        clip = video.get_frames_at(rows)
        keys = [row for row in rows if whole.is_key[row]]
        assert clip.rgb.shape == (len(keys), *whole.rgb.shape[1:])
        assert clip.rgb_index.tolist() == keys
        assert np.array_equal(clip.rgb, whole.rgb[keys])
        assert np.array_equal(clip.mv, whole.mv[rows])
        # Views keep rows and pixels together.
        part = clip[3:9]
        assert part.rgb_index.tolist() == [r for r in rows[3:9] if whole.is_key[r]]
        assert np.array_equal(part.rgb, whole.rgb[part.rgb_index])
        back = clip[::-1]
        assert back.rgb_index.tolist() == keys[::-1]
        assert np.array_equal(back.rgb, whole.rgb[keys[::-1]])


def test_frames_pts_and_types_are_pyavs(clip_path: Path) -> None:
    with av.open(str(clip_path)) as container:
        stream = container.streams.video[0]
        stream.thread_type = "SLICE"
        decoded = list(container.decode(stream))
        time_base = stream.time_base
    clip = cvdecode.read(clip_path, ("mv",), backend="libav")
    assert clip.metadata.time_base == time_base
    assert len(clip) == len(decoded)
    assert "".join(clip.frame_type) == "".join(PictureType(f.pict_type).name for f in decoded)
    # A raw stream has no timestamps, and AVI none of presentation: libavformat guesses some.
    if clip_path.suffix not in {".h264", ".avi"}:
        theirs = [frame.pts for frame in decoded]
        if clip_path.suffix in {
            ".ts",
            ".mpg",
        }:  # libavcodec loses the time of what comes at the end
            theirs = [
                pts if pts is not None else ours for ours, pts in zip(clip.pts, theirs, strict=True)
            ]
        assert clip.pts.tolist() == theirs


def test_arguments(encode: Encode) -> None:
    path = make("bframes.mp4", encode)
    with cvdecode.VideoReader(path) as video:
        count = len(video)
        for index in (count, -count - 1, 10**30):
            with pytest.raises(IndexError, match="out of range"):
                video.get_frames_at([0, index])
            with pytest.raises(IndexError, match="out of range"):
                video[index]
        for wrong in ([0.5], [[0, 1]], ["a"], np.ones(3, bool), 3, None, [None]):
            with pytest.raises(TypeError):
                video.get_frames_at(wrong)
        for key in ("a", None, [1, 2], 1.5, (1, 2)):
            with pytest.raises(TypeError, match="get_frames_at"):
                video[key]
        for n in (0, -3):
            with pytest.raises(ValueError, match="at least 1"):
                video.batches(n)
        with pytest.raises(TypeError, match="integer"):
            video.batches(2.5)  # type: ignore[arg-type]
        assert len(video.get_frames_at([])) == 0
        assert video[5:5].mv.shape == (0, 2, 2, 24, 40)
        assert video.get_frames_at(np.array([2, 1], np.uint8)).index.tolist() == [2, 1]
        assert video.get_frames_at(range(2, 8, 3)).index.tolist() == [2, 5]
        with pytest.raises(IndexError):
            video.get_frames_at(np.array([2**63], np.uint64))
    with pytest.raises(ValueError, match="no plane 'motion'"):
        cvdecode.VideoReader(path, planes=("motion",))
    with pytest.raises(ValueError, match="'key'"):
        cvdecode.VideoReader(path, rgb="keys")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="'native'"):
        cvdecode.VideoReader(path, backend="ffmpeg")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="at least 1"):
        cvdecode.VideoReader(path, num_threads=0)
    with pytest.raises(ValueError, match="stream"):
        cvdecode.VideoReader(path, stream_index=7)


def test_two_segments(encode: Encode, tmp_path: Path) -> None:
    small = encode("small.h264", *KINDS["ponly.h264"], source="testsrc2=size=96x64:rate=25")
    large = make("ponly.h264", encode)
    path = tmp_path / "both.h264"
    path.write_bytes(large.read_bytes() + small.read_bytes())
    with cvdecode.VideoReader(path, ("mv", "qp")) as video:
        assert [(s.start, s.stop, s.coded_size) for s in video.segments] == [
            (0, 48, (160, 96)),
            (48, 96, (96, 64)),
        ]
        with pytest.raises(ValueError, match=r"frames 40 and 48.*at frame 48.*160x96 to 96x64"):
            video[40:60]
        assert video[48:60].mv.shape == (12, 2, 2, 16, 24)
        assert [(c.index[0], len(c)) for c in video.batches(40)] == [
            (0, 40), (40, 8), (48, 40), (88, 8),
        ]  # fmt: skip
        parts = cvdecode.read(small, ("mv", "qp"))
        assert np.array_equal(video[48:].mv, parts.mv)
    with pytest.raises(ValueError, match="two segments"):
        cvdecode.read(path)


def test_pixels_alone(clip_path: Path) -> None:
    whole = cvdecode.read(clip_path, (), rgb="all").rgb
    last = len(whole) - 1
    with cvdecode.VideoReader(clip_path, planes=()) as video:
        rgb = video.get_rgb_at([last, 0, 2, 0, -1])
        assert np.array_equal(rgb, whole[[last, 0, 2, 0, last]])
        assert video.get_rgb_at([]).shape == (0, *whole.shape[1:])
        with pytest.raises(IndexError):
            video.get_rgb_at([last + 1])


def test_frames_of_a_raw_stream_last_as_long_as_the_rate_says(encode: Encode) -> None:
    """Its packets tell no duration; libavformat may make up 0.8 microseconds (FFmpeg 8)."""
    with cvdecode.VideoReader(encode("access_raw.264", "-c:v", "libx264"), ("qp",)) as video:
        assert np.isnan(video.pts_seconds).all()
        assert (video[:].duration_seconds == 1 / 25).all()
