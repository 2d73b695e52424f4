"""What accumulate() and accumulate_batch() take, and how they refuse the rest."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from conftest import Encode
from cvdecode import Clip, VideoReader, accumulate, accumulate_batch

LENGTH = 6


@pytest.fixture(scope="module")
def path(encode: Encode) -> Path:
    return encode(
        "arguments.mp4", "-c:v", "libx264", "-pix_fmt", "yuv420p", "-bf", "0", "-g", "12",
        source="testsrc2=size=64x48:rate=25", frames=LENGTH,
    )  # fmt: skip


@pytest.fixture
def video(path: Path) -> Iterator[VideoReader]:
    with VideoReader(path) as opened:
        yield opened


@pytest.fixture(params=["video", "clip"])
def source(request: pytest.FixtureRequest, video: VideoReader) -> VideoReader | Clip:
    clip: Clip = video[:]
    return video if request.param == "video" else clip


def test_frames_are_any_integers_in_a_row(source: Any) -> None:
    """Lists, arrays, ranges, iterators, and sets, which have no order and come ascending."""
    torch = pytest.importorskip("torch")
    for frames in ([4, 1], (4, 1), np.array([4, 1], np.uint8), iter([4, 1]), (i for i in (4, 1)),
                   {4: 0, 1: 0}.keys(), range(4, 0, -3), torch.tensor([4, 1])):  # fmt: skip
        assert accumulate(source, frames).frames.tolist() == [4, 1]
    for some in ({4, 1}, frozenset((4, 1))):
        assert accumulate(source, some).frames.tolist() == [1, 4]
        want = accumulate(source, [5], anchors=[1, 4])
        for anchors in (some, iter([4, 1, 4])):
            got = accumulate(source, [5], anchors=anchors)
            np.testing.assert_array_equal(got.anchor, want.anchor)
    for nothing in ([], (), set(), iter(())):
        assert len(accumulate(source, nothing)) == 0


def test_refusals_name_the_argument(source: Any) -> None:
    for name in ("frames", "anchors"):
        for wrong in (3, np.int64(3), "12", "3", [[1, 2]], [1.0], [True], None, {1: 2}, [1, "a"]):
            if wrong is None:
                continue
            with pytest.raises(TypeError, match=f"^{name} "):
                accumulate(source, **{"frames": [3], name: wrong})


def test_flags_are_true_or_false(source: Any) -> None:
    for name in ("per_frame", "return_hops", "ends"):
        for wrong in ("no", 1, 0, None, [], np.array([True])):
            with pytest.raises(ValueError, match=f"^{name} is True or False, not "):
                accumulate(source, [3], **{"hops": 1, name: wrong})
    assert "hops" in accumulate(source, [3], return_hops=np.True_).planes  # type: ignore[arg-type]
    for hops in (True, 1.0, False, "1", 0, np.array([1])):
        with pytest.raises(ValueError, match=r"^hops is None .* or 1 "):
            accumulate(source, [3], hops=hops)
    assert len(accumulate(source, [3], hops=np.int64(1)))  # type: ignore[arg-type]
    for grid in (4.0, "4", True):
        with pytest.raises(ValueError, match=r"^grid is "):
            accumulate(source, [3], grid=grid)


def test_lists_of_a_batch(video: VideoReader) -> None:
    clip = video[:]
    want = accumulate_batch([video, clip], [[3], [4, 5]], anchors=[[1], [2]])
    got = accumulate_batch(
        iter([video, clip]),  # type: ignore[arg-type]
        (list(f) for f in ([3], [4, 5])),  # type: ignore[arg-type]
        anchors=iter([[1], [2]]),  # type: ignore[arg-type]
    )
    for name in want.planes:
        np.testing.assert_array_equal(getattr(got, name), getattr(want, name))
    for name in ("frames", "anchors"):
        with pytest.raises(TypeError, match=f"^{name} is a list with "):
            accumulate_batch([video], **{name: 3})
        with pytest.raises(ValueError, match=f"^1 sources and 2 lists of {name}"):
            accumulate_batch([video], **{name: ([i] for i in (1, 2))})
        with pytest.raises(TypeError, match=f"^{name} "):
            accumulate_batch([video], **{name: [3]})
    for one in (video, clip, 5):
        with pytest.raises(TypeError, match=r"^sources is a list "):
            accumulate_batch(one)  # type: ignore[arg-type]


def test_a_batch_is_indexed_by_clip(video: VideoReader) -> None:
    batch = accumulate_batch([video, video], [[3], [4, 5]])
    for last in (-1, np.int64(1)):
        assert batch[last].frames.tolist() == [4, 5]
    for part in (slice(0, 1), [0], 1.0, "0"):
        with pytest.raises(TypeError, match=r"indexed by an int.*batch\.displacement"):
            batch[part]  # type: ignore[index]
    for outside in (2, -3):
        with pytest.raises(IndexError, match="the batch has 2"):
            batch[outside]
    assert [len(acc) for acc in batch] == [1, 2]


def test_planes_of_out_lie_apart(video: VideoReader) -> None:
    cells = 2 * 48 * 64
    memory = np.empty(cells * 9 + 1, np.uint8)
    apart = {
        "anchor": memory[: cells * 4].view(np.int32),
        "displacement": memory[cells * 4 : cells * 8].view(np.int16),
        "mask": memory[cells * 8 : cells * 9],
    }
    shapes = {"anchor": (1, 2, 48, 64), "displacement": (1, 2, 2, 48, 64), "mask": (1, 2, 48, 64)}
    out = {name: plane.reshape(shapes[name]) for name, plane in apart.items()}
    want = accumulate_batch([video], [[3, 5]])
    got = accumulate_batch([video], [[3, 5]], out=out)
    np.testing.assert_array_equal(got.displacement, want.displacement)
    late = memory[cells * 8 - 1 : cells * 9 - 1].reshape(shapes["mask"])  # by one byte
    with pytest.raises(
        ValueError, match=re.escape("out['displacement'] and out['mask'] share memory")
    ):
        accumulate_batch([video], [[3, 5]], out={**out, "mask": late})
