"""coviar.load() against a literal version of the original, fed by PyAV's src and dst fields."""

from __future__ import annotations

import concurrent.futures
import os
import random
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cvdecode import SourceError, SourceNotFound, VideoReader, accumulate, coviar
from literal_coviar import LiteralGop, frames_with_vectors

MPEG4 = {  # clip: GOPs to compare, None = all
    "mpeg4/vid_mpeg4_part2.mp4": (17,),
    "mpeg4/example.avi": None,
    "mpeg4/MPEG4.mp4": None,
    "mpeg4/bear_mpeg4asp_mp3.avi": None,
}


@pytest.fixture(autouse=True)
def _closed() -> Iterator[None]:
    yield
    coviar.close()


def compare(path: Path, gops: tuple[int, ...] | None) -> int:
    """Accumulated and single maps of every frame with vectors; returns how many were compared."""
    with VideoReader(path, planes=()) as video:
        starts = [gop.start for gop in video.gops]
        lengths = [gop.stop - gop.start for gop in video.gops]
        wanted = [g for g in range(len(starts)) if gops is None or g in gops]
        frames = [f for g in wanted for f in range(starts[g], starts[g] + lengths[g])]
        got = accumulate(video, frames, mode="coviar")
        single = accumulate(video, frames, mode="coviar", hops=1)
    row_of = {frame: row for row, frame in enumerate(frames)}
    assert got.displacement.dtype == np.int16
    compared = 0
    literal: Any = None
    for n, (kind, frame, vectors) in enumerate(frames_with_vectors(path)):
        assert (kind == "I") == (n in starts), f"frame {n}"
        if n not in row_of:
            continue
        if kind == "I":
            literal = LiteralGop(frame.height, frame.width)
        else:
            if vectors is None:  # the frame that came out at the end of the stream: parsed alone
                assert (got.mask[row_of[n]] == 0).all()
                continue
            literal.step(vectors)
            compared += 1
        for name, mine, theirs in (
            ("accumulated", got, literal.accumulated()),
            ("single", single, literal.single),
        ):
            np.testing.assert_array_equal(
                mine.displacement[row_of[n]].transpose(1, 2, 0), theirs, f"{name}, frame {n}"
            )
        assert (got.anchor[row_of[n]] == max(s for s in starts if s <= n)).all()
    return compared


@pytest.mark.parametrize("clip", sorted(MPEG4))
def test_every_mpeg4_clip(data_dir: Path, clip: str) -> None:
    assert compare(data_dir / clip, MPEG4[clip]) >= 5


@pytest.mark.parametrize(
    ("name", "options"),
    [
        # The original's own recipe: a raw elementary stream under the name of an MP4 file.
        ("coviar_raw.mp4", ["-q:v", "1", "-c:v", "mpeg4", "-f", "rawvideo"]),
        ("coviar_qpel.avi", ["-c:v", "mpeg4", "-flags", "+qpel+mv4", "-q:v", "3"]),
        ("coviar_mv4.mp4", ["-c:v", "mpeg4", "-flags", "+mv4", "-q:v", "6"]),
    ],
)
def test_generated(encode: Any, name: str, options: list[str]) -> None:
    path = encode(name, *options, source="mandelbrot=size=170x120:rate=25", frames=30)
    assert compare(path, None) >= 25
    assert coviar.get_num_frames(path) == 30
    assert coviar.get_num_gops(str(path)) == 3


@pytest.fixture(scope="module")
def clip(encode: Any) -> Path:
    path: Path = encode("coviar_raw.mp4", "-q:v", "1", "-c:v", "mpeg4", "-f", "rawvideo",
                        source="mandelbrot=size=170x120:rate=25", frames=30)  # fmt: skip
    return path


def test_representations(clip: Path) -> None:
    """Types and shapes of the original, residual = picture minus traced-back picture, in BGR."""
    import av

    first = coviar.load(str(clip), 1, 0, 0, True)
    here = coviar.load(str(clip), 1, 7, 0, False)
    before = coviar.load(str(clip), 1, 6, 0, False)
    assert first.dtype == here.dtype == np.uint8
    assert here.shape == (120, 170, 3)
    with av.open(str(clip)) as container:
        frame = list(container.decode(video=0))[12 + 7]
    # The original's conversion. In the last columns of an incomplete block of 32 FFmpeg 5.1 errs.
    bgr = frame.to_ndarray(format="bgr24", interpolation="BICUBIC")
    np.testing.assert_array_equal(here[:, :160], bgr[:, :160])
    ys, xs = np.mgrid[:120, :170]
    for accumulated, reference in ((True, first), (False, before)):
        mv = coviar.load(str(clip), 1, 7, 1, accumulated)
        residual = coviar.load(str(clip), 1, 7, 2, accumulated)
        assert mv.dtype == residual.dtype == np.int32
        assert mv.flags.c_contiguous
        assert residual.shape == (120, 170, 3)
        want = here.astype(int) - reference[ys - mv[..., 1], xs - mv[..., 0]]
        np.testing.assert_array_equal(residual, want)
    for representation in (1, 2):
        assert not coviar.load(clip, 1, 0, representation, True).any()
        assert not coviar.load(clip, 1, 0, representation, False).any()


@pytest.mark.parametrize(
    ("name", "options", "all_exported"),
    [
        ("coviar_whole.m4v", ["-q:v", "4", "-flags", "+mv4", "-threads", "1"], True),
        # Video packets that begin with a row overwrite nothing.
        ("coviar_slices.avi", ["-q:v", "4", "-flags", "+mv4", "-threads", "3"], True),
        # Here libavcodec overwrites vectors before it exports them: those must not be used.
        ("coviar_packets.m4v", ["-q:v", "4", "-flags", "+mv4", "-ps", "300", "-threads", "1"],
         False),
        ("coviar_packets_qpel.avi", ["-q:v", "3", "-flags", "+mv4+qpel", "-ps", "200", "-threads",
                                     "1"], False),
    ],
)  # fmt: skip
def test_a_residual_asked_for_first(
    encode: Any, name: str, options: list[str], all_exported: bool
) -> None:
    """With nothing at hand pixels and vectors come from one pass. They give the picture minus the
    pixels that the parser's vectors lead to, up to the last frame of the file."""
    path = encode(
        name, "-c:v", "mpeg4", "-g", "8", *options,
        source="mandelbrot=size=180x150:rate=25:start_scale=0.3:end_scale=0.1:end_pts=100",
        frames=16,
    )  # fmt: skip
    ys, xs = np.mgrid[:150, :180]
    parsed = 0
    for position in (5, 6, 7):
        for accumulated, there in ((True, 0), (False, position - 1)):
            coviar.close()
            residual = coviar.load(path, 1, position, 2, accumulated)
            parsed += coviar._video(path).reader.stats.pictures_parsed
            kept = coviar.load(path, 1, position, 1, accumulated)
            coviar.close()
            mv = coviar.load(path, 1, position, 1, accumulated)
            np.testing.assert_array_equal(kept, mv)
            assert mv.any()
            here = coviar.load(path, 1, position, 0, True)
            reference = coviar.load(path, 1, there, 0, True)
            want = here.astype(int) - reference[ys - mv[..., 1], xs - mv[..., 0]]
            np.testing.assert_array_equal(residual, want)
    # Few frames are worth another pass: those with such packets.
    assert (parsed == 0) == all_exported


def test_order_of_requests_does_not_matter(clip: Path) -> None:
    alone = {}
    for accumulated in (True, False):
        for pos in (9, 3):
            coviar.close()
            alone[pos, accumulated] = coviar.load(clip, 0, pos, 1, accumulated)
    coviar.close()
    for pos, accumulated in [(3, True), (9, True), (3, False), (9, False), (3, True)]:
        got = coviar.load(clip, 0, pos, 1, accumulated)
        np.testing.assert_array_equal(got, alone[pos, accumulated])
        got[:] = 77  # what is handed out is the caller's


def test_a_kept_gop_gives_what_a_fresh_one_does(clip: Path) -> None:
    """Every representation of positions in a shuffled order, each against a loader of its own."""
    asked = [(g, p, r, a) for g in (0, 1) for p in (0, 11, 4, 5) for r in (0, 1, 2)
             for a in (True, False)]  # fmt: skip
    random.Random(3).shuffle(asked)
    kept = [coviar.load(clip, *one) for one in asked]
    for one, got in zip(asked, kept, strict=True):
        coviar.close()
        np.testing.assert_array_equal(coviar.load(clip, *one), got, str(one))


def test_threads_have_loaders_of_their_own(clip: Path) -> None:
    want = [coviar.load(clip, 1, p, 2, True) for p in range(12)]

    def work(order: list[int]) -> bool:
        same = all((coviar.load(clip, 1, p, 2, True) == want[p]).all() for p in order)
        coviar.close()
        return same

    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        assert all(pool.map(work, [list(range(12)), list(range(11, -1, -1))] * 4))


def test_a_changed_file_is_read_anew(clip: Path, encode: Any, tmp_path: Path) -> None:
    other = encode("coviar_short.avi", "-c:v", "mpeg4", frames=5)
    path = tmp_path / "clip.bin"
    path.write_bytes(clip.read_bytes())
    assert coviar.get_num_frames(path) == 30
    path.write_bytes(other.read_bytes())
    assert coviar.get_num_frames(path) == 5


def test_what_is_refused(clip: Path, encode: Any, data_dir: Path) -> None:
    with pytest.raises(IndexError, match="gop_index"):
        coviar.load(clip, 3, 0, 1, True)
    with pytest.raises(IndexError, match="gop_pos"):
        coviar.load(clip, 0, 12, 1, True)
    with pytest.raises(IndexError, match="gop_pos"):
        coviar.load(clip, 0, -1, 1, True)
    with pytest.raises(ValueError, match="representation"):
        coviar.load(clip, 0, 1, 3, True)
    with pytest.raises(SourceNotFound, match="nowhere"):
        coviar.load("/nowhere/at.all", 0, 0, 0, True)
    with pytest.raises(SourceError, match="folder"):
        coviar.load(data_dir, 0, 0, 0, True)
    with_b = encode("coviar_b.avi", "-c:v", "mpeg4", "-bf", "2")
    with pytest.raises(ValueError, match="B picture"):
        coviar.load(with_b, 0, 3, 1, True)
    with pytest.raises(ValueError, match="B picture"):
        coviar.load(data_dir / "mpeg4" / "test.avi", 0, 3, 1, True)


def write_still_gop(path: Path, size: int, frames: int) -> None:
    """MPEG-4 by hand: one grey I-VOP, and P-VOPs in which no macroblock is coded."""
    macroblocks = (size // 16) ** 2
    marked = f"1{size:013b}1"
    vol = "0" + "00000001" + "0" + "0001" + "0" + "00" + "1" + f"{25:016b}" + "1" + "0"
    vol += marked + marked[1:] + "0" + "1" + "0" + "0" + "0" + "1" + "1" + "0" + "0"
    chunks = [(0x20, vol)]
    for n in range(frames):
        time = "1" * (n > 0 and n % 25 == 0) + "01" + f"{n % 25:05b}" + "11"
        if n == 0:  # each macroblock: no AC, six DC differences of 0
            grey = "1" + "0" + "0011" + "011" * 4 + "11" * 2
            chunks.append((0xB6, "00" + time + "000" + "00100" + grey * macroblocks))
        else:
            chunks.append((0xB6, "01" + time + "0" + "000" + "00100" + "001" + "1" * macroblocks))
    out = bytearray(b"\0\0\1\0")  # video_object_start_code
    for code, bits in chunks:
        bits += "0"
        bits += "1" * (-len(bits) % 8)
        out += b"\0\0\1" + bytes([code]) + int(bits, 2).to_bytes(len(bits) // 8, "big")
    path.write_bytes(out)


LONG_GOP = """
import resource, sys
from cvdecode import coviar
peaks = []
for position in (64, 200):
    assert not coviar.load(sys.argv[1], 0, position, coviar.MV, True).any()
    peaks.append(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024)
print(peaks[1] - peaks[0])
"""


@pytest.mark.skipif("ASAN_OPTIONS" in os.environ, reason="a sanitizer holds freed memory back")
def test_a_long_gop_takes_no_more_memory(tmp_path: Path) -> None:
    """Vectors of 64 MiB are kept, here those of 64 frames (1 MiB each), however long the GOP."""
    path = tmp_path / "still.m4v"
    write_still_gop(path, 2048, 201)
    assert coviar.get_num_frames(path) == 201
    run = subprocess.run(
        [sys.executable, "-c", LONG_GOP, path], capture_output=True, text=True, check=True
    )
    assert int(run.stdout) < 60, f"{run.stdout} MiB more for 136 frames more"
