"""Frame i and the frame played at s seconds are torchcodec's (exact mode)."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import cvdecode
from conftest import Encode
from test_reader_access import DERIVED, KINDS, make

decoders = pytest.importorskip("torchcodec.decoders")


def torchcodec_of(path: Path) -> object:
    return decoders.VideoDecoder(str(path), seek_mode="exact")


# torchcodec cannot reach the last frames of AVI, TS and PS files ("Requested next frame while there
# are no more frames left to decode"), and a raw stream has no timestamps.
SEEKABLE = [k for k in (*KINDS, *DERIVED) if k.endswith((".mp4", ".mkv"))]
OTHERS = [k for k in KINDS if k.endswith((".ts", ".mpg", ".avi"))]


@pytest.fixture(params=SEEKABLE)
def clip_path(request: pytest.FixtureRequest, encode: Encode) -> Path:
    return make(request.param, encode)


def close_pixels(ours: np.ndarray, theirs: np.ndarray) -> bool:
    """The same picture, whatever scaler made RGB of it."""
    return float(np.abs(ours.astype(int) - theirs.astype(int)).mean()) < 4


def test_frame_i_is_torchcodecs(clip_path: Path) -> None:
    theirs = torchcodec_of(clip_path)
    with cvdecode.VideoReader(clip_path, (), rgb="all") as video:
        assert len(video) == len(theirs)
        every = theirs.get_frames_in_range(0, len(theirs))
        ours = video[:]
        assert np.allclose(ours.pts_seconds, every.pts_seconds.numpy(), atol=1e-9)
        assert np.allclose(ours.duration_seconds, every.duration_seconds.numpy(), atol=1e-9)
        if clip_path.name != "rotated.mp4":  # torchcodec turns the picture, we report the angle
            for row in range(len(video)):
                assert close_pixels(ours.rgb[row], every.data[row].numpy()), row


def test_frame_played_at_is_torchcodecs(clip_path: Path) -> None:
    theirs = torchcodec_of(clip_path)
    begin, end = theirs.metadata.begin_stream_seconds, theirs.metadata.end_stream_seconds
    with cvdecode.VideoReader(clip_path, ("qp",)) as video:
        assert video.metadata.begin_stream_seconds == begin
        assert video.metadata.end_stream_seconds == pytest.approx(end, abs=1e-12)
        starts = video.pts_seconds
        times = np.concatenate(
            [
                starts,
                np.nextafter(starts[1:], 0),
                np.linspace(begin, end, 57, endpoint=False),
            ]
        )
        expected = theirs.get_frames_played_at(times.tolist()).pts_seconds.numpy()
        assert np.allclose(video.get_frames_played_at(times).pts_seconds, expected, atol=1e-12)
        # Of intra-refresh streams torchcodec's single form skips to the next packet flagged as key.
        for seconds in times[::29] if clip_path.name != "refresh.mp4" else ():
            one = video.get_frame_played_at(float(seconds))
            assert one.pts_seconds == theirs.get_frame_played_at(float(seconds)).pts_seconds
        for outside in (begin - 1e-3, end, end + 5, float("nan")):
            with pytest.raises(IndexError, match="no frame is played"):
                video.get_frame_played_at(outside)


def test_frames_played_in_range_are_torchcodecs(clip_path: Path) -> None:
    theirs = torchcodec_of(clip_path)
    begin, end = theirs.metadata.begin_stream_seconds, theirs.metadata.end_stream_seconds
    step = (end - begin) / 48
    with cvdecode.VideoReader(clip_path, ("qp",)) as video:
        last = video.metadata.end_stream_seconds
        for a, b in [(0, 48), (3, 3), (3, 3.5), (2.5, 9), (47.2, 48), (10, 11)]:
            start, stop = begin + a * step, min(begin + b * step, end, last)
            expected = theirs.get_frames_played_in_range(start, stop).pts_seconds.numpy()
            ours = video.get_frames_played_in_range(start, stop).pts_seconds
            assert np.allclose(ours, expected, atol=1e-12), (a, b)
        for start, stop in [(begin - 1, end), (begin, end + 1), (begin + 1, begin), (end, end)]:
            with pytest.raises(ValueError, match=r"within the video|later than"):
                video.get_frames_played_in_range(start, stop)


@pytest.mark.parametrize("kind", OTHERS)
def test_length_and_span_are_torchcodecs(kind: str, encode: Encode) -> None:
    path = make(kind, encode)
    theirs = torchcodec_of(path).metadata
    with cvdecode.VideoReader(path, ()) as video:
        assert len(video) == theirs.num_frames
        assert video.metadata.begin_stream_seconds == theirs.begin_stream_seconds
        if kind != "mpeg1.mpg":  # where its last frame has no pts, torchcodec takes its dts
            assert video.metadata.end_stream_seconds == pytest.approx(theirs.end_stream_seconds)


def test_without_timestamps_time_is_refused(encode: Encode) -> None:
    with cvdecode.VideoReader(make("ponly.h264", encode), ("qp",)) as video:
        if np.isnan(video.pts_seconds).all():
            with pytest.raises(ValueError, match="by index"):
                video.get_frame_played_at(0.5)


# Clips on which we differ from torchcodec on purpose, and why.
DIFFERENT = {
    "damaged/small_movie.mp4": "its last packet holds no picture; torchcodec counts packets",
    "mpeg4/test.avi": "packed B-VOPs: torchcodec counts packets, placeholders included",
    "mpeg12/launch.mpg": "a raw stream has no timestamps; libavformat makes some up",
}
# torchcodec cannot decode the last frames of these, so only count and span are compared.
UNREACHABLE = (".avi", ".ts", ".ps", ".mpg")


def agrees(path: Path, theirs: object) -> bool:
    with cvdecode.VideoReader(path, (), rgb="all") as video:
        meta, count = video.metadata, len(video)
        if count != len(theirs) or meta.begin_stream_seconds is None:
            return False
        span = (meta.begin_stream_seconds, meta.end_stream_seconds)
        told = (theirs.metadata.begin_stream_seconds, theirs.metadata.end_stream_seconds)
        if not np.allclose(span, told, atol=1e-9):
            return False
        if path.suffix in UNREACHABLE:
            return True
        rows = sorted({0, 1, count // 2, count - 1})
        ours, expected = video.get_frames_at(rows), theirs.get_frames_at(rows)
        same_time = np.allclose(ours.pts_seconds, expected.pts_seconds.numpy(), atol=1e-9)
        turned = meta.rotation % 360 != 0  # torchcodec turns the picture, we report the angle
        return same_time and (
            turned
            or all(close_pixels(a, b.numpy()) for a, b in zip(ours.rgb, expected.data, strict=True))
        )


def test_real_clips(data_dir: Path) -> None:
    """Count, span, timestamps and pixels on every shared clip that torchcodec opens."""
    compared, different = 0, []
    for path in sorted(p for p in data_dir.glob("*/*") if p.is_file()):
        try:
            theirs = torchcodec_of(path)
        except RuntimeError:  # among them every raw stream of H.264 and HEVC
            continue
        compared += 1
        if not agrees(path, theirs):
            different.append(f"{path.parent.name}/{path.name}")
    assert compared >= 30
    assert set(different) == set(DIFFERENT)
