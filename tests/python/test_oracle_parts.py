"""The oracles themselves: each is held against something simpler before it judges the parser."""

from __future__ import annotations

import itertools
import subprocess
from pathlib import Path

import numpy as np
import pytest

import handmade
import streams
from oracles import bits, exporter, reference
from oracles._native import oracle_module


def _block(kind: str, mode: int, **around: object) -> np.ndarray | None:
    base: dict[str, object] = {"top": [0] * 32, "left": [0] * 16, "corner": 0}
    base |= {f"has_{k}": True for k in ("top", "left", "corner", "top_right")}
    result: np.ndarray | None = oracle_module().intra_block(kind, mode, base | around)
    return result


@pytest.mark.parametrize(
    ("kind", "n", "mode"), [("4x4", 4, 0), ("8x8", 8, 0), ("16x16", 16, 0), ("chroma", 8, 2)]
)
def test_vertical_prediction_repeats_the_row_above(kind: str, n: int, mode: int) -> None:
    # A ramp is its own filtered reference inside Intra_8x8 but for its two ends.
    top = [10 + 4 * i for i in range(32)]
    out = _block(kind, mode, top=top, corner=6)
    assert out is not None
    assert (out == np.array(top[:n])).all()


@pytest.mark.parametrize(("kind", "n", "mode"), [("16x16", 16, 3), ("chroma", 8, 3)])
def test_plane_prediction_continues_a_plane(kind: str, n: int, mode: int) -> None:
    def plane(x: int, y: int) -> int:
        return 60 + 3 * x + 2 * y

    out = _block(
        kind,
        mode,
        top=[plane(x, -1) for x in range(32)],
        left=[plane(-1, y) for y in range(16)],
        corner=plane(-1, -1),
    )
    assert out is not None
    expected = [[plane(x, y) for x in range(n)] for y in range(n)]
    assert np.abs(out - np.array(expected)).max() <= 1


@pytest.mark.parametrize("kind", ["4x4", "8x8"])
@pytest.mark.parametrize("mode", range(9))
def test_directional_prediction_of_a_flat_surrounding_is_flat(kind: str, mode: int) -> None:
    out = _block(kind, mode, top=[77] * 32, left=[77] * 16, corner=77)
    assert out is not None
    assert (out == 77).all()


def test_diagonal_modes_move_a_step_along_their_direction() -> None:
    # Down-left: what stands at top[4] reaches (3, 0), (2, 1), (1, 2), (0, 3).
    out = _block("4x4", 3, top=[0] * 4 + [100] * 4 + [0] * 24)
    assert out is not None
    assert out[0, 3] == out[1, 2] == out[2, 1] == out[3, 0] == 75
    # Down-right: the diagonal holds the corner.
    out = _block("4x4", 4, corner=200)
    assert out is not None
    assert [int(out[i, i]) for i in range(4)] == [100] * 4
    assert out[0, 3] == 0


def test_prediction_without_its_neighbour_is_refused() -> None:
    assert _block("4x4", 0, has_top=False) is None
    assert _block("16x16", 3, has_corner=False) is None
    assert _block("chroma", 1, has_left=False) is None
    dc = _block("16x16", 2, has_left=False, has_top=False)
    assert dc is not None
    assert (dc == 128).all()


def test_luma_interpolation_is_the_six_tap_filter() -> None:
    rng = np.random.default_rng(3)
    ref = rng.integers(0, 256, (32, 40), np.uint8)
    taps = np.array([1, -5, 20, 20, -5, 1])
    wide = np.pad(ref.astype(np.int64), 8, mode="edge")

    def half(axis: int) -> np.ndarray:
        return sum(int(t) * np.roll(wide, 2 - i, axis) for i, t in enumerate(taps))

    b = np.clip((half(1) + 16) >> 5, 0, 255)
    h = np.clip((half(0) + 16) >> 5, 0, 255)
    both = sum(int(t) * np.roll(half(1), 2 - i, 0) for i, t in enumerate(taps))
    j = np.clip((both + 512) >> 10, 0, 255)
    g, b_below, h_right = wide, np.roll(b, -1, 0), np.roll(h, -1, 1)
    g_right, g_below = np.roll(g, -1, 1), np.roll(g, -1, 0)
    grid = {(0, 0): g, (2, 0): b, (0, 2): h, (2, 2): j}
    pairs = {(1, 0): (g, b), (3, 0): (b, g_right), (0, 1): (g, h), (0, 3): (h, g_below)}
    pairs |= {(2, 1): (b, j), (2, 3): (j, b_below), (1, 2): (h, j), (3, 2): (j, h_right)}
    pairs |= {
        (1, 1): (b, h),
        (3, 1): (b, h_right),
        (1, 3): (h, b_below),
        (3, 3): (h_right, b_below),
    }
    grid |= {k: (p + q + 1) >> 1 for k, (p, q) in pairs.items()}
    for fx, fy in itertools.product(range(4), range(4)):
        for x, y, dx, dy in [(8, 8, 0, 0), (0, 0, -1, -2), (36, 28, 1, 0), (16, 4, -3, 2)]:
            got = oracle_module().inter_block(ref, x, y, dx * 4 + fx, dy * 4 + fy, False)
            top, left = 8 + y + dy, 8 + x + dx
            assert (got == grid[fx, fy][top : top + 4, left : left + 4]).all(), (fx, fy, x, y)


def test_samples_outside_the_picture_are_those_of_its_edge() -> None:
    ref = np.arange(16 * 16, dtype=np.uint8).reshape(16, 16)
    assert (oracle_module().inter_block(ref, 0, 0, -400, -400, False) == ref[0, 0]).all()
    assert (oracle_module().inter_block(ref, 0, 0, 403, 402, False) == ref[15, 15]).all()
    assert (oracle_module().inter_block(ref, 0, 0, -403, 405, True) == ref[15, 0]).all()


def test_reference_frames_are_those_of_the_ffmpeg_command(tmp_path: Path) -> None:
    stream = streams.special(tmp_path)[0]
    done = subprocess.run(
        [
            "ffmpeg",
            "-v",
            "error",
            "-threads",
            "1",
            "-skip_loop_filter",
            "all",
            "-i",
            str(stream.path),
            "-f",
            "rawvideo",
            "-pix_fmt",
            "yuv420p",
            "-",
        ],
        capture_output=True,
        check=True,
    )
    frames = list(reference.frames(stream.path))
    assert b"".join(p.tobytes() for f in frames for p in f.planes) == done.stdout
    assert {f.packet for f in frames} == set(range(len(frames)))
    assert all(f.clean and f.qp is not None for f in frames)


def test_the_matrix_covers_every_pair_of_options() -> None:
    rows = streams.pairwise(streams.OPTIONS)
    for a, b in itertools.combinations(streams.OPTIONS, 2):
        met = {(row[a], row[b]) for row in rows}
        assert met == set(itertools.product(streams.OPTIONS[a], streams.OPTIONS[b])), (a, b)


def test_every_frame_of_the_matrix_differs_everywhere() -> None:
    video = streams.noise_video(80, 64, 8, "pan", 5)
    for a, b in itertools.combinations(video, 2):
        blocks = (a[:64] != b[:64]).reshape(8, 8, 10, 8).any(axis=(1, 3))
        assert blocks.all()


@pytest.mark.parametrize("seed", range(4))
def test_libavcodec_reads_the_handmade_streams_without_complaint(tmp_path: Path, seed: int) -> None:
    path = tmp_path / "hand.264"
    written = handmade.write(path, handmade.Recipe(seed, weighted_bipred_idc=seed % 3))
    frames = list(reference.frames(path))
    assert len(frames) == len(written)
    assert all(f.clean for f in frames)
    first = frames[0]
    samples = written[0].mbs[0].pcm
    assert samples is not None
    assert first.planes[0][:16, :16].reshape(-1).tolist() == samples[:256]
    assert first.planes[2][:8, :8].reshape(-1).tolist() == samples[320:]


def test_the_end_of_a_slice_is_found_behind_emulation_prevention_and_zero_words() -> None:
    assert bits.rbsp(bytes.fromhex("65 00 00 03 01 00 00 03 00 80")) == bytes.fromhex(
        "00 00 01 00 00 00 80"
    )
    assert bits.end_of_slice(bytes.fromhex("ff 80")) == 9
    assert bits.end_of_slice(bytes.fromhex("ff 81 00 00")) == 16
    assert bits.end_of_slice(bytes.fromhex("54")) == 6


def test_macroblock_types_are_read_from_the_log() -> None:
    text = "[h264 @ 0x1] New frame, type: B\n[h264 @ 0x1] d- X+ \n[h264 @ 0x1] i  <| \n"
    assert exporter.parse_letters(text, 2, 2) == [["d-", "X+"], ["i ", "<|"]]
    assert exporter.parse_letters(text, 3, 2) is None
    assert exporter.parse_letters("", 2, 2) is None
