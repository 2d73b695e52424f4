"""Residual planes in memory that is used again: only what was coded last time is cleared."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import cvdecode
import streams

PLANES = ("residual_y", "residual_uv")


@pytest.fixture(scope="module")
def clip_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Coded blocks that come and go, so that stale residual would show."""
    path = tmp_path_factory.mktemp("reuse") / "reuse.264"
    video = streams.noise_video(112, 96, 24, "cuts", 81)
    streams.encode_x264(video, path, {"qp": "36", "bframes": "2", "keyint": "12", "threads": "1"})
    return path


def read(path: Path, planes: tuple[str, ...], frames: list[int]) -> dict[str, np.ndarray]:
    """A fresh read into fresh memory."""
    with cvdecode.VideoReader(path, planes=planes, backend="native") as video:
        clip = video.get_frames_at(frames)
        return {p: getattr(clip, p).copy() for p in planes}


@pytest.mark.parametrize("planes", [("residual_y",), ("residual_uv",), PLANES])
@pytest.mark.parametrize("size", [1, 5, 7])
def test_batches_reuse_memory_exactly(clip_path: Path, planes: tuple[str, ...], size: int) -> None:
    whole = read(clip_path, planes, list(range(24)))
    assert all(whole[p].any() for p in planes)
    with cvdecode.VideoReader(clip_path, planes=planes, backend="native") as video:
        for _ in range(2):
            at = 0
            for clip in video.batches(size):
                for p in planes:
                    got = getattr(clip, p)
                    assert np.array_equal(got, whole[p][at : at + len(got)]), (p, at)
                    n = len(got)
                at += n
                del clip, got
            assert at == 24


def test_out_clips_may_have_been_written_to(clip_path: Path) -> None:
    whole = read(clip_path, PLANES, list(range(24)))
    with cvdecode.VideoReader(clip_path, planes=PLANES, backend="native") as video:
        clip = video.get_frames_at([3, 4, 5, 9])
        for frames in ([1, 1, 2, 20], [7, 8, 9, 10], [23, 3, 3, 0]):
            for p in PLANES:
                getattr(clip, p)[...] = 77
            clip = video.get_frames_at(frames, out=clip)
            for p in PLANES:
                assert np.array_equal(getattr(clip, p), whole[p][frames]), (p, frames)
