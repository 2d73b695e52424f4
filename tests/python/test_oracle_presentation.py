"""Presentation order and reference distance, seen in the pictures themselves.

Every frame carries its number as a drawn binary code, so frame i of the presentation must show i.
Every frame is fresh noise but for one tile, a copy of the same tile of a frame chosen beforehand;
no other picture holds that noise, so an encoder that looks for it must refer to that very frame.
"""

from __future__ import annotations

import random
import re
import subprocess
from pathlib import Path

import numpy as np
import pytest

import cvdecode
from handmade import Bits, baseline_sets
from oracles import reference

TILE, TILES, BITS, CELL = 32, 5, 8, 16
WIDTH, HEIGHT = TILE * TILES, TILE + CELL
CODE_WIDTH = BITS * CELL


def numbered_video(frames: int, sources: list[int | None], seed: int) -> np.ndarray:
    """(frames, H * 3 // 2, W) I420; sources[t] is the frame that tile t % 5 of frame t copies."""
    rng = np.random.default_rng(seed)
    tiles = rng.integers(20, 236, (frames, TILES, TILE // 4, TILE // 4), np.uint8)
    for t, s in enumerate(sources):
        if s is not None:
            tiles[t, t % TILES] = tiles[s, t % TILES]
    video = np.full((frames, HEIGHT * 3 // 2, WIDTH), 128, np.uint8)
    for t in range(frames):
        for b in range(BITS):
            video[t, :CELL, b * CELL : (b + 1) * CELL] = 235 if t >> b & 1 else 16
        big = np.kron(tiles[t], np.ones((1, 4, 4), np.uint8))
        video[t, CELL:HEIGHT] = np.concatenate(list(big), axis=1)
    return video


def read_number(luma: np.ndarray) -> int:
    """The number drawn into a decoded frame."""
    cells = luma[:CELL, :CODE_WIDTH].astype(int).reshape(CELL, BITS, CELL).mean(axis=(0, 2))
    return sum(1 << b for b, level in enumerate(cells) if level > 125)


def encode(video: np.ndarray, path: Path, params: str) -> None:
    """Through libx264, bytes or container as the name says."""
    command = ["ffmpeg", "-nostdin", "-v", "error", "-y", "-f", "rawvideo", "-pix_fmt", "yuv420p"]
    command += ["-s", f"{WIDTH}x{HEIGHT}", "-r", "25", "-i", "-", "-c:v", "libx264"]
    command += ["-preset", "medium", "-x264-params", f"{params}:threads=1", str(path)]
    subprocess.run(command, input=video.tobytes(), check=True)


def plan(frames: int, choices: dict[int, list[int]], period: int) -> list[int | None]:
    """A source for every frame: a distance out of those that the GOP's pattern allows."""
    rng = random.Random(4)
    out: list[int | None] = []
    for t in range(frames):
        source = t + rng.choice(choices[t % period])
        legal = t > 0 and 0 <= source < frames and (source - t) % TILES
        out.append(source if legal else None)
    return out


# Which distances stand in a frame's lists, by its place in the pattern of coded types.
PATTERNS = {
    "p": ("bframes=0:ref=4:weightp=0", {0: [-1, -2, -3, -4]}, 1),
    "b": ("bframes=1:b-adapt=0:b-pyramid=none:ref=4:weightb=0", {0: [-2, -4], 1: [-1, 1, -3]}, 2),
    "pyramid": (
        "bframes=3:b-adapt=0:b-pyramid=normal:ref=4:weightb=0:weightp=0",
        {0: [-4], 1: [-1, 1, 3], 2: [-2, 2], 3: [-1, 1, -3]},
        4,
    ),
    "open-gop": (
        "bframes=3:b-adapt=0:b-pyramid=strict:ref=4:keyint=12:min-keyint=12:open-gop=1:weightb=0",
        {0: [-4], 1: [-1, 1, 3], 2: [-2, 2], 3: [-1, 1]},
        4,
    ),
}


@pytest.mark.parametrize("suffix", ["264", "mp4", "mkv"])
@pytest.mark.parametrize("pattern", PATTERNS)
def test_references_point_at_the_frame_that_holds_the_content(
    tmp_path: Path, pattern: str, suffix: str
) -> None:
    params, choices, period = PATTERNS[pattern]
    frames = 33
    sources = plan(frames, choices, period)
    path = tmp_path / f"{pattern}.{suffix}"
    extra = "" if "keyint" in params else ":keyint=250"
    encode(numbered_video(frames, sources, 11), path, f"{params}{extra}:qp=14:scenecut=0:no-psy=1")

    shown = [read_number(f.planes[0]) for f in reference.frames(path)]
    assert shown == list(range(frames))
    with cvdecode.VideoReader(path, planes=("mv", "ref"), backend="native") as video:
        assert len(video) == frames
        clip = video[:]
    hits = tried = 0
    for t, source in enumerate(sources):
        if source is None:
            continue
        x = t % TILES * TILE // 4
        rows, columns = np.s_[CELL // 4 : HEIGHT // 4], np.s_[x : x + TILE // 4]
        distances = clip.ref[t][:, rows, columns]
        still = (clip.mv[t][:, :, rows, columns] == 0).all(axis=1)
        tried += 1
        hits += bool(((distances == source - t) & still).any(axis=0).mean() > 0.8)

    assert tried > 12
    assert hits >= 0.9 * tried, f"{hits} of {tried} tiles refer to the frame they were copied from"


def test_a_clip_cut_by_stream_copy_counts_its_presented_frames(tmp_path: Path) -> None:
    frames = 40
    whole, cut = tmp_path / "whole.mp4", tmp_path / "cut.mp4"
    params = "bframes=2:b-adapt=0:keyint=16:min-keyint=16:scenecut=0:qp=14"
    encode(numbered_video(frames, [None] * frames, 12), whole, params)
    subprocess.run(
        ["ffmpeg", "-v", "error", "-ss", "0.86", "-i", str(whole), "-c", "copy", str(cut)],
        check=True,
    )
    raw = subprocess.run(
        ["ffmpeg", "-v", "error", "-i", str(cut), "-f", "rawvideo", "-vsync", "0", "-"],
        check=True,
        capture_output=True,
    ).stdout
    size = WIDTH * HEIGHT * 3 // 2
    shown = [
        read_number(np.frombuffer(raw[i : i + size], np.uint8).reshape(-1, WIDTH))
        for i in range(0, len(raw), size)
    ]
    assert shown[0] > 16, "the cut begins in the middle of a GOP"
    with cvdecode.VideoReader(cut, planes=("ref",), rgb="all") as video:
        assert len(video) == len(shown)
        clip = video[:]
    assert clip.rgb is not None
    before = cvdecode.read(whole, planes=("ref",)).ref.astype(int)
    hidden = 0
    for i, number in enumerate(shown):
        luma = clip.rgb[i].mean(axis=0)
        assert read_number(luma) == number
        # The bits are those of the whole clip; what the edit list discards has no index to name.
        gone = (before[number] != 0) & (number + before[number] < shown[0])
        hidden += int(gone.sum())
        assert np.array_equal(clip.ref[i], np.where(gone, -32767, before[number]))
    assert hidden > 0


def test_a_reference_too_far_back_is_not_named(tmp_path: Path) -> None:
    """One picture that 32766 others look at: the last distances would read as special values."""
    frames = 32767
    idr = Bits()
    for value in (0, 7, 0):  # first_mb_in_slice, I, PPS 0
        idr.ue(value)
    idr.u(4, 0)  # frame_num
    idr.ue(0)  # idr_pic_id
    idr.u(18, 0)  # pic_order_cnt_lsb, marking
    idr.se(0)
    idr.ue(25)  # I_PCM
    idr.u(-len(idr.bits) % 8, 0)
    idr.u(8 * 384, int.from_bytes(bytes([90] * 384), "big"))
    stream = bytearray(baseline_sets(1, 1, poc_lsb_bits=16) + idr.nal(3, 5))
    for order in range(1, frames):
        # P slice, frame_num 1, order, no override, no modification, QP, one macroblock skipped
        bits = f"10011010001{order:016b}001010" + "1"
        data = int(bits.ljust(40, "0"), 2).to_bytes(5, "big")
        stream += b"\0\0\1\x01" + re.sub(rb"\0\0(?=[\0-\3])", b"\0\0\3", data)
    path = tmp_path / "far.264"
    path.write_bytes(stream)
    with cvdecode.VideoReader(path, planes=("mv", "ref"), backend="native") as video:
        assert len(video) == frames
        ref = video.get_frames_at([1, 32764, 32765, 32766]).ref
    assert (ref[:, 1] == 0).all()
    for row, expected in zip(ref[:, 0], (-1, -32764, -32767, -32767), strict=True):
        assert (row == expected).all()
