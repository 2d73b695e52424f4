"""Planes are the core's own memory: shared with torch, freed when dropped, never written again."""

from __future__ import annotations

import gc
import os
import pickle
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

import cvdecode
import cvdecode.coviar
from conftest import Encode

PLANES = ("mv", "ref", "mb_type", "qp")


@pytest.fixture(scope="module")
def path(encode: Encode) -> Path:
    source = "testsrc2=size=88x50:rate=25"
    return encode("zero.mp4", "-c:v", "libx264", "-pix_fmt", "yuv420p", "-g", "12", source=source)


@pytest.fixture(autouse=True)
def alive_before() -> Iterator[int]:
    """Planes that others hold: every test here must leave as many.

    Tests of coviar's loader in the same process may have left its last files open on purpose.
    """
    cvdecode.coviar.close()
    gc.collect()
    before = cvdecode.live_buffers()
    yield before
    gc.collect()
    assert cvdecode.live_buffers() == before


def root_of(array: np.ndarray) -> object:
    while isinstance(array, np.ndarray):
        array = array.base
    return array


def test_arrays_are_ordinary_and_own_their_memory(path: Path, alive_before: int) -> None:
    clip = cvdecode.read(path, PLANES, rgb="all")
    roots = [root_of(getattr(clip, name)) for name in clip.planes]
    assert len({id(root) for root in roots}) == len(roots)
    for name in clip.planes:
        array = getattr(clip, name)
        assert type(array) is np.ndarray
        assert array.flags.writeable
        assert array.flags.c_contiguous
        assert not array.flags.owndata
        assert array is getattr(clip, name)
    kept = clip.mv[5:7, 0]
    expected = kept.copy()
    del clip, array, roots
    gc.collect()
    assert cvdecode.live_buffers() == alive_before + 1  # the view keeps its plane and nothing else
    assert np.array_equal(kept, expected)


def test_torch_shares_memory(path: Path, alive_before: int) -> None:
    torch = pytest.importorskip("torch")
    clip = cvdecode.read(path, PLANES, rgb="key", stop=20)
    tensors = clip.torch()
    for name in (*clip.planes, "index", "pts", "lost"):
        assert tensors[name].data_ptr() == getattr(clip, name).ctypes.data, name
        assert tensors[name].shape == getattr(clip, name).shape
    assert "frame_type" not in tensors
    tensors.mv[3, 0, 1] = 77
    assert (clip.mv[3, 0, 1] == 77).all()
    expected = tensors.qp.clone()
    qp = tensors.qp
    del clip, tensors
    gc.collect()
    assert cvdecode.live_buffers() == alive_before + 1
    assert torch.equal(qp, expected)
    # DLPack is NumPy's own.
    again = torch.from_dlpack(cvdecode.read(path, ("qp",), stop=20).qp)
    assert torch.equal(again, expected)


def test_import_does_not_import_torch() -> None:
    import subprocess

    code = "import sys, cvdecode; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_frames_are_views(path: Path) -> None:
    clip = cvdecode.read(path, PLANES, stop=6)
    frame = clip[4]
    assert np.shares_memory(frame.mv, clip.mv)
    frame.mv[...] = 9
    assert (clip.mv[4] == 9).all()
    assert frame.mv.shape == clip.mv.shape[1:]
    assert np.shares_memory(clip[1:3].qp, clip.qp)


def test_batches_reuse_only_what_nobody_holds(path: Path) -> None:
    whole = cvdecode.read(path, PLANES)
    with cvdecode.VideoReader(path, PLANES) as video:
        held = list(video.batches(5))
        places = {clip.mv.ctypes.data for clip in held}
        assert len(places) == len(held)
        for clip in held:
            assert np.array_equal(clip.mv, whole.mv[clip.index])
        del held, clip
        seen = set()
        kept: list[tuple[np.ndarray, np.ndarray]] = []
        for clip in video.batches(4):
            seen.add(clip.mv.ctypes.data)
            if len(kept) < 2:
                kept.append((clip[1:3].mv, clip.index[1:3]))
        # Two are kept, one is being filled, one is still bound to the loop's name.
        assert len(seen) == 4
        for mv, index in kept:
            assert np.array_equal(mv, whole.mv[index])


def test_out_reuses_memory(path: Path) -> None:
    whole = cvdecode.read(path, PLANES, rgb="key")
    with cvdecode.VideoReader(path, PLANES, rgb="key") as video:
        clip = video.get_frames_at(range(10))
        place, view = clip.mv.ctypes.data, clip.mv
        alive = cvdecode.live_buffers()
        for rows in ([40, 3], list(range(20, 30)), [], [7]):
            assert video.get_frames_at(rows, out=clip) is clip
            assert clip.index.tolist() == rows
            assert clip.mv.ctypes.data == place
            assert np.array_equal(clip.mv, whole.mv[rows])
            assert np.array_equal(clip.qp, whole.qp[rows])
            keys = [r for r in rows if whole.is_key[r]]
            assert clip.rgb_index.tolist() == keys
            assert np.array_equal(clip.rgb, whole.rgb[np.isin(whole.rgb_index, keys)])
        assert cvdecode.live_buffers() <= alive + 1
        assert np.array_equal(view[0], whole.mv[7])  # old arrays see the new content
        video.get_frames_at(range(30), out=clip)  # too small: new memory, the old view stays
        assert clip.mv.ctypes.data != place
        assert np.array_equal(view[0], whole.mv[7])
        with pytest.raises(ValueError, match="view"):
            video.get_frames_at([0], out=clip[0:3])
        with pytest.raises(TypeError, match="Clip"):
            video.get_frames_at([0], out=clip.mv)


def test_clips_pickle_and_compare(path: Path) -> None:
    clip = cvdecode.read(path, PLANES, rgb="key", stop=20)
    for original in (clip, clip[2:14:3], clip[12]):
        copy = pickle.loads(pickle.dumps(original))
        assert type(copy) is type(original)
        assert copy.metadata == original.metadata
        assert copy.planes == original.planes
        for name in original.numpy():
            assert np.array_equal(getattr(copy, name), getattr(original, name)), name
    assert repr(clip).splitlines()[0].startswith("Clip(T=20, frames 0 to 19, h264, 88x50)")
    assert "mv: int16[20, 2, 2, 16, 24]" in repr(clip)
    assert repr(clip[3]).startswith("Frame(index=3, ")


def test_a_plane_that_was_not_read_says_so(path: Path) -> None:
    clip = cvdecode.read(path, ("mv",), stop=2)
    assert not hasattr(clip, "qp")
    with pytest.raises(cvdecode.PlaneUnavailable, match=r"planes=\(\.\.\., \"qp\"\)"):
        clip.qp  # noqa: B018
    with pytest.raises(cvdecode.PlaneUnavailable, match='rgb="all"'):
        clip[0].rgb  # noqa: B018


def test_max_bytes(path: Path) -> None:
    with cvdecode.VideoReader(path, PLANES, max_bytes=100_000) as video:
        alive = cvdecode.live_buffers()
        with pytest.raises(MemoryError, match=r"48 frames of 96x64 .* max_bytes.*batches\(\)"):
            video[:]
        assert cvdecode.live_buffers() == alive
        assert sum(len(clip) for clip in video.batches(4)) == 48
    with cvdecode.VideoReader(path, PLANES) as video:
        memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
        many = np.zeros(memory // video[0].mv.nbytes, np.int8)  # their vectors alone fill it
        with pytest.raises(MemoryError, match=r"[GT]B, above max_bytes = .* \(half of the free"):
            video.get_frames_at(many)


def resident() -> int:
    """Bytes of this process in memory now."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGESIZE")


def test_no_growth(path: Path) -> None:
    """Opening, reading and closing again and again takes no more memory than a few times.

    A leak grows with every cycle, what allocators keep does not: the slope of a line through
    samples of the resident size is what is judged. 10,000 cycles under CVDECODE_LONG=1.
    """
    if not Path("/proc/self/statm").exists():
        pytest.skip("the resident size is read from /proc")
    cycles = 10_000 if os.environ.get("CVDECODE_LONG") else 400
    data = path.read_bytes()
    before = cvdecode.live_buffers()

    def once(turn: int) -> None:
        backend = ("native", "libav")[turn % 2]
        with cvdecode.VideoReader(data, ("mv", "qp"), backend=backend) as video:
            video.get_frames_at([3, 1])

    for turn in range(cycles // 4):
        once(turn)
    samples = []
    for turn in range(cycles):
        once(turn)
        if turn % (cycles // 40) == 0:
            samples.append(resident())
        assert cvdecode.live_buffers() == before
    slope = np.polyfit(np.arange(len(samples)), samples, 1)[0] * len(samples) / cycles
    print(f"{cycles} cycles: {slope:.1f} bytes a cycle, {samples[0]} to {samples[-1]} resident")
    # A leaked codec context or index takes some kilobytes; a leaked small object, a hundred bytes.
    assert slope < (100 if cycles >= 10_000 else 2500)
