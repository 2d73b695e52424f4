"""MPEG-4 that is parsed, not decoded: every vector, type and quantiser as PyAV exports it."""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import pytest

import cvdecode
import libav_probe as lp
from mpeg4_streams import MOVING, STREAMS, make


def forgotten(kind: np.ndarray, mv: np.ndarray) -> np.ndarray:
    """Where libavcodec exports 0 for a vector that it knew: the lower right one of a macroblock of
    four, when the next macroblock has four as well and begins a video packet. To predict that one
    (h263_pred_motion), it overwrites what is to its left."""
    cells = np.zeros(mv.shape[-2:], bool)
    for y, x in np.argwhere((kind[:, :-1] == 8 + 2) & (kind[:, 1:] == 8 + 2)):
        cells[4 * y + 2 : 4 * y + 4, 4 * x + 2 : 4 * x + 4] = True
    return cells & (mv == 0).all(axis=(0, 1))


def assert_as_pyav(
    clip: cvdecode.Clip, n: int, frame: lp.Frame, what: str, packets: bool = False
) -> None:
    mv, used, kind = frame.motion(clip.qp[n].shape)
    if packets:
        cells = forgotten(kind, mv)
        mv[:, :, cells] = clip.mv[n][:, :, cells]
    np.testing.assert_array_equal(clip.mv[n], mv, what)
    np.testing.assert_array_equal(clip.ref[n] != 0, used, what)
    np.testing.assert_array_equal(clip.mb_type[n], kind, what)
    np.testing.assert_array_equal(clip.qp[n], frame.qp_plane(clip.qp[n].shape) // 2, what)


@pytest.mark.parametrize("name", STREAMS)
def test_as_pyav(name: str, tmp_path: Path) -> None:
    path = make(tmp_path / f"{name}.m4v", *STREAMS[name])
    frames = lp.pyav_frames(path)
    with cvdecode.VideoReader(path, ("mv", "ref", "mb_type", "qp")) as video:
        clip = video[:]
        stats = video.stats
        again = video.get_frames_at([13, 2])  # from anywhere
    assert stats.pictures_decoded == 0, "libavcodec was asked"
    assert stats.pictures_parsed == len(clip) == len(frames) == 16
    for n, frame in enumerate(frames):
        assert_as_pyav(clip, n, frame, f"frame {n}", name == "video_packets")
    np.testing.assert_array_equal(again.mv, clip.mv[[13, 2]])
    assert clip.mv.any()


def test_pixels_are_libavcodecs_all_the_same(tmp_path: Path) -> None:
    path = make(tmp_path / "rgb.avi", *STREAMS["four_vectors"])
    with cvdecode.VideoReader(path, ("mv", "qp"), rgb="all") as video:
        both = video[:]
    with cvdecode.VideoReader(path, (), rgb="all") as video:
        np.testing.assert_array_equal(both.rgb, video[:].rgb)
    with cvdecode.VideoReader(path, ("mv", "qp")) as video:
        np.testing.assert_array_equal(both.mv, video[:].mv)


@pytest.mark.parametrize("option", ["+ilme+ildct", "+data_partitioning"])
def test_what_is_not_plain_is_decoded(option: str, tmp_path: Path) -> None:
    flags = ["-data_partitioning", "1"] if "data" in option else ["-flags", option]
    path = make(tmp_path / "other.avi", MOVING, ["-q:v", "5", *flags])
    with cvdecode.VideoReader(path, ("mv", "qp")) as video:
        clip = video[:]
        assert video.stats.pictures_parsed == 0
        assert video.stats.pictures_decoded >= 15
    for n, frame in enumerate(lp.pyav_frames(path)):
        if not clip.lost[n]:
            np.testing.assert_array_equal(clip.mv[n], frame.motion(clip.qp[n].shape)[0])


def test_damage_is_never_taken_for_motion(tmp_path: Path) -> None:
    """A byte is overwritten in the middle of a VOP. Where the parser still reads the picture, PyAV
    must find it whole too, and the same vectors in it: else it is libavcodec's, or lost."""
    path = make(tmp_path / "whole.avi", *STREAMS["four_vectors"])
    data = path.read_bytes()
    begin, end = data.index(b"movi"), data.index(b"idx1")
    lost = parsed = 0
    for seed in range(20):
        rng = random.Random(seed)
        damaged = bytearray(data)
        at = rng.randrange(begin + 600, end)
        if b"00dc" in damaged[at - 16 : at + 16]:
            continue
        damaged[at] ^= 1 << rng.randrange(8)
        broken = tmp_path / "broken.avi"
        broken.write_bytes(damaged)
        frames = lp.pyav_frames(broken)
        with cvdecode.VideoReader(broken, ("mv", "ref", "mb_type", "qp")) as video:
            clip = video[:]
            parsed += video.stats.pictures_parsed
        lost += int(clip.lost.sum())
        assert len(frames) == len(clip), f"seed {seed}"
        for n, frame in enumerate(frames):
            if clip.lost[n] or (frame.vectors is None and frame.qp is None):
                continue
            assert not frame.corrupt, f"seed {seed}, frame {n}"
            assert_as_pyav(clip, n, frame, f"seed {seed}, frame {n}")
    assert lost > 0
    assert parsed > 150
