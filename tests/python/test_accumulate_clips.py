"""accumulate() of clips that lack pictures, or whose references do not tell the decode order."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cvdecode import VideoReader, accumulate

X264 = ["-c:v", "libx264", "-pix_fmt", "yuv420p"]
PLANES = ("mv", "ref", "mb_type")


def test_intra_blocks_look_at_the_picture_before(encode: Any) -> None:
    """The nearest reference picture of the stream, or none: not the nearest one of the clip."""
    path = encode("clips_p.mp4", *X264, "-x264-params", "bframes=0:keyint=8:intra-refresh=1",
                  source="testsrc2=size=96x80,noise=alls=40:allf=t", frames=8)  # fmt: skip
    with VideoReader(path, planes=PLANES) as video:
        intra = (video[:].ref == 0).all(1).repeat(4, 1).repeat(4, 2)[:, :80, :96]
        n = 2 + int(np.flatnonzero(intra[2:].any((1, 2)))[0])
        before = list(range(n - 1))
        clip = video.get_frames_at([*before, n])
        got = accumulate(clip, [*before, n], intra="coviar")
        want = accumulate(video, [*before, n], intra="coviar")
    np.testing.assert_array_equal(got.displacement[:-1], want.displacement[:-1])
    np.testing.assert_array_equal(got.mask[:-1], want.mask[:-1])
    assert (want.mask == 0).all()
    assert (got.mask[-1][intra[n]] == 2).all()
    assert (got.anchor[-1][intra[n]] == -1).all()


def test_pictures_shown_before_what_is_decoded_first(data_dir: Path) -> None:
    """P pictures ahead of the first I picture: references alone leave their order open."""
    path = data_dir / "h264-conformance" / "CVWP3_TOSHIBA_E.264"
    with VideoReader(path, planes=PLANES) as video:
        clip = video[0:20]
        assert "".join(clip.frame_type[:3].tolist()) == "PPI"
        want = accumulate(video, range(12), intra="coviar", return_hops=True)
        backwards = video.get_frames_at(range(19, -1, -1))
        for one in (clip, clip[::-1], backwards, copy.deepcopy(clip)):
            got = accumulate(one, range(12), intra="coviar", return_hops=True)
            for name, array in want.numpy().items():
                np.testing.assert_array_equal(got.numpy()[name], array, name)


def test_cut_at_an_intra_picture_that_is_not_here(encode: Any) -> None:
    path = encode("clips_open.mp4", *X264, "-x264-params",
                  "keyint=8:min-keyint=8:bframes=2:b-adapt=0:open-gop=1:ref=2:scenecut=0",
                  frames=20)  # fmt: skip
    with VideoReader(path, planes=PLANES) as video:
        kinds = "".join(video.frame_types.tolist())
        leading = kinds.index("BI", 1)
        want = accumulate(video, [leading], cross="mask").mask[0]
        there = [i for i in range(len(video)) if kinds[i] != "I" or i == 0]
        got = accumulate(video.get_frames_at(there), [leading], cross="mask").mask[0]
    assert (want == 3).any()
    assert (got[want == 3] == 3).all()


@pytest.mark.parametrize("hops", [None, 1])
def test_pytorch_coviar_needs_the_picture_before(encode: Any, hops: int | None) -> None:
    """Its vectors lead to the picture before: without that one there is no map."""
    path = encode("clips_coviar.avi", "-c:v", "mpeg4", "-g", "12", frames=8)
    with VideoReader(path, planes=("mv", "ref")) as video:
        clip = video.get_frames_at([0, 1, 3, 4])
        got = accumulate(clip, [4, 1, 3], mode="coviar", hops=hops)
        want = accumulate(video, [4, 1], mode="coviar", hops=hops)
    np.testing.assert_array_equal(got.displacement[1], want.displacement[1])
    assert (got.mask[1] == 0).all()
    assert (got.mask[2] == 2).all()
    assert not got.displacement[2].any()
    assert (got.mask[0] == (0 if hops else 2)).all()
    if hops:
        np.testing.assert_array_equal(got.displacement[0], want.displacement[0])


@pytest.mark.parametrize("grid", ["pixel", 4])
def test_the_nearest_reference_may_lie_outside(encode: Any, grid: Any) -> None:
    """Then the trace is broken; the other reference, which is here, does not stand in for it."""
    path = encode("clips_bi.mp4", *X264, "-x264-params",
                  "keyint=30:bframes=2:b-adapt=0:b-pyramid=none:ref=2:weightb=1:scenecut=0",
                  source="mandelbrot=size=96x80:rate=25", frames=14)  # fmt: skip
    with VideoReader(path, planes=PLANES) as video:
        b = "".join(video.frame_types.tolist()).index("PB", 3) + 1
        there = np.array([i for i in range(len(video)) if i != b - 1])
        clip = video.get_frames_at(there)
        got = accumulate(clip, [b], hops=1, grid=grid)
        want = accumulate(video, [b], hops=1, grid=grid)
    ref = clip.ref[int(np.flatnonzero(there == b)[0])].astype(int)
    far = np.where(ref == 0, 99999, abs(ref))
    nearest = np.where(far[1] < far[0], ref[1], ref[0])
    if grid == "pixel":
        ref, nearest = (a.repeat(4, -1).repeat(4, -2) for a in (ref, nearest))
    height, width = got.mask.shape[1:]
    outside = (nearest == -1)[:height, :width]
    assert (outside & (ref != 0).all(0)[:height, :width]).any()
    assert (got.mask[0][outside] == 2).all()
    assert not got.displacement[0][:, outside].any()
    np.testing.assert_array_equal(got.mask[0][~outside], want.mask[0][~outside])
    np.testing.assert_array_equal(
        got.displacement[0][:, ~outside], want.displacement[0][:, ~outside]
    )


def test_an_anchor_that_is_not_here_still_has_a_time(data_dir: Path) -> None:
    """What passes below it ends there, as in the video; what would have met it is broken."""
    path = data_dir / "h264-conformance" / "MR1_BT_A.h264"
    with VideoReader(path, planes=PLANES) as video:
        want = accumulate(video, [14], anchors=[10])
        clip = video.get_frames_at([i for i in range(20) if i != 10])
        got = accumulate(clip, [14], anchors=[10])
    met = want.anchor == 10
    assert met.any()
    assert (~met).any()
    assert (got.mask[met] == 2).all()
    for name in ("anchor", "mask"):
        np.testing.assert_array_equal(getattr(got, name)[~met], getattr(want, name)[~met])
    np.testing.assert_array_equal(
        got.displacement.transpose(0, 2, 3, 1)[~met], want.displacement.transpose(0, 2, 3, 1)[~met]
    )
