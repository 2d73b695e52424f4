"""The native backend: vectors against libavcodec, laziness, threads, damage.

Exactness of every plane is proven elsewhere (test_oracle_native.py); here is what surrounds it:
which slices are parsed, by how many threads, and what damage takes.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import handmade
import streams
from cvdecode import _core

ALL = ["mv", "ref", "mb_type", "qp", "bits", "residual_y", "residual_uv", "ref_picture"]
MOTION = ["mv", "ref", "mb_type", "qp"]
P_SKIP, B_SKIP, B_DIRECT = 4, 5, 6

# name -> x264 parameters; small on purpose.
STREAMS: dict[str, dict[str, str]] = {
    "p-only": {"bframes": "0", "ref": "1"},
    "p-cavlc-slices": {
        "bframes": "0",
        "ref": "4",
        "cabac": "0",
        "slices": "4",
        "partitions": "all",
    },
    "b-one": {"bframes": "1", "b-adapt": "0", "b-pyramid": "none", "ref": "1", "weightb": "0"},
    "b-spatial": {"bframes": "3", "b-adapt": "0", "direct": "spatial", "partitions": "all"},
    "b-temporal": {"bframes": "3", "b-adapt": "0", "direct": "temporal", "partitions": "all"},
    "b-auto-16": {"bframes": "5", "b-pyramid": "normal", "direct": "auto", "ref": "16"},
    "b-weightp": {"bframes": "3", "direct": "temporal", "ref": "4", "weightp": "2", "slices": "4"},
}


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Small x264 streams of moving texture; "b-weightp" fades, so that references are doubled."""
    folder = tmp_path_factory.mktemp("native")
    paths = {}
    for i, (name, params) in enumerate(STREAMS.items()):
        content = "fade" if "weightp" in name else "pan"
        video = streams.noise_video(112, 96, 20, content, seed=40 + i)
        paths[name] = folder / f"{name}.264"
        common = {"qp": "30", "keyint": "12", "min-keyint": "12", "scenecut": "0", "threads": "1"}
        streams.encode_x264(video, paths[name], common | params)
    return paths


def read_all(path: Path, planes: list[str] = ALL, threads: int = 1) -> dict[str, np.ndarray]:
    debug = _core.H264Debug(str(path), threads)
    return debug.read(list(range(debug.size)), planes)


def same(a: dict[str, np.ndarray], b: dict[str, np.ndarray]) -> bool:
    return a.keys() == b.keys() and all(np.array_equal(a[k], b[k]) for k in a)


def check_against_libavcodec(path: Path) -> int:
    """Every vector that libavcodec exports is ours at its block; returns how many there were.

    It exports one vector per partition down to 8x8 (the first of each quadrant), and (0, 0) in the
    quadrants of a macroblock that do not use a list which another quadrant uses.
    """
    av = pytest.importorskip("av")
    debug = _core.H264Debug(str(path))
    planes = debug.read(list(range(debug.size)), MOTION)
    order = debug.presentation
    seen = 0
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        stream.thread_count = 1
        stream.codec_context.options = {"flags2": "+export_mvs"}
        frames = list(container.decode(stream))
    assert len(frames) == len(order)
    for i, frame in enumerate(frames):
        mv, ref = planes["mv"][order[i]], planes["ref"][order[i]]
        covered = np.zeros(ref.shape, bool)
        side = frame.side_data.get("MOTION_VECTORS")
        vectors = np.empty(0) if side is None else side.to_ndarray()
        for v in vectors:
            assert v["motion_scale"] == 4
            lst = 0 if v["source"] < 0 else 1
            x, y = (int(v["dst_x"]) - v["w"] // 2) // 4, (int(v["dst_y"]) - v["h"] // 2) // 4
            area = np.s_[lst, y : y + v["h"] // 4, x : x + v["w"] // 4]
            # Exported "from the reference to here": the sign is the other way round.
            assert (v["motion_x"], v["motion_y"]) == (mv[lst, 0, y, x], mv[lst, 1, y, x]), (i, v)
            if not ref[lst, y, x]:
                assert v["motion_x"] == v["motion_y"] == 0
            covered[area] = True
        seen += len(vectors)
        assert covered[ref != 0].all(), f"frame {i}: vectors that libavcodec does not have"
    return seen


@pytest.mark.parametrize("name", STREAMS)
def test_vectors_are_libavcodecs(clips: dict[str, Path], name: str) -> None:
    assert check_against_libavcodec(clips[name]) > 400


def expand_motion(rows: np.ndarray, width: int, height: int) -> tuple[np.ndarray, np.ndarray, Any]:
    """The rows of the internal plane "motion" (frame/motion_row.h) as mv (T, 2, 2, h4, w4),
    references (T, 2, h4, w4) and MotionShape (T, h16, w16)."""
    mbs = width * height
    block = np.dtype([("mv", "<i2", (2, 2)), ("picture", "<i4", (2,))])
    first = rows[:, : 16 * mbs].copy().view(block).reshape(-1, mbs, 1)
    blocks = rows[:, 16 * mbs : 272 * mbs].copy().view(block).reshape(-1, mbs, 16)
    shapes = rows[:, 272 * mbs : 273 * mbs]
    four = np.arange(16) // 8 * 2 + np.arange(16) % 4 // 2
    each = np.where(
        (shapes == 1)[..., None],
        first,
        np.where((shapes == 2)[..., None], blocks[..., four], blocks),
    )
    assert (each[..., 0] == first[..., 0]).all()

    def raster(values: np.ndarray) -> np.ndarray:  # (T, mb, 16, ...) -> (T, ..., h4, w4)
        grid = values.reshape(len(rows), height, width, 4, 4, *values.shape[3:])
        grid = grid.swapaxes(2, 3).reshape(len(rows), 4 * height, 4 * width, *values.shape[3:])
        return np.moveaxis(grid, (1, 2), (-2, -1))

    return raster(each["mv"]), raster(each["picture"]), shapes.reshape(-1, height, width)


@pytest.mark.parametrize("name", STREAMS)
def test_shared_motion_is_the_motion(clips: dict[str, Path], name: str, tmp_path: Path) -> None:
    """What accumulation reads says the same as the proven planes; and it tells a macroblock
    of one motion as such. Read twice (the second time pictures come from the cache), and with
    slices lost: what is lost there refers to a missing picture (-3)."""
    whole = clips[name].read_bytes()
    cut = tmp_path / "cut.264"
    cut.write_bytes(bytes(b ^ (i % 997 == 900 and 0x55) for i, b in enumerate(whole)))
    seen = set()
    for path in (clips[name], cut):
        debug = _core.H264Debug(str(path))
        numbers = list(range(debug.size))
        for _ in range(2):
            read = debug.read(numbers, ["mv", "ref_picture", "mb_type", "motion"])
            alone = debug.read(numbers, ["motion"])
            types = read["mb_type"]
            height, width = types.shape[1:]
            mv, picture, shapes = expand_motion(alone["motion"], width, height)
            again = expand_motion(read["motion"], width, height)
            assert all(
                np.array_equal(a, b) for a, b in zip((mv, picture, shapes), again, strict=True)
            )
            lost = (types == 255).repeat(4, 1).repeat(4, 2)[:, None]
            want = np.where(lost, np.array([-3, -1])[:, None, None], read["ref_picture"])
            np.testing.assert_array_equal(picture, want)
            np.testing.assert_array_equal(mv, read["mv"])
            planes = np.concatenate([mv.reshape(len(mv), 4, *mv.shape[3:]), picture], 1)
            tiles = planes.reshape(len(mv), 6, height, 4, width, 4).swapaxes(3, 4)
            one = (tiles == tiles[..., :1, :1]).all((1, -2, -1))
            corners = tiles[..., [0, 0, 2, 2], :][..., [0, 0, 2, 2]]
            four = (tiles == corners).all((1, -2, -1))
            # Halves may move alike, and two indices may name one picture: then it says less.
            assert ((shapes == 1) <= one).all()
            assert ((shapes == 2) <= four).all()
            assert ((shapes == 1) == one)[
                np.isin(types, [0, 1, 2, 3, P_SKIP, B_SKIP, B_DIRECT, 7])
            ].all()
            assert ((shapes != 0) == four).all()
            seen |= set(shapes.ravel().tolist())
    assert {1, 2} <= seen
    assert 0 in seen or "partitions" not in STREAMS[name]


def test_reference_distances_of_known_structures(clips: dict[str, Path]) -> None:
    p = read_all(clips["p-only"], MOTION)
    assert set(np.unique(p["ref"][1:12])) <= {-1, 0}
    assert (p["ref"][1, 0] == -1).any()
    # I B P B P ...: an anchor refers two back, a B picture one back and one ahead.
    debug = _core.H264Debug(str(clips["b-one"]))
    order = debug.presentation
    b = debug.read(list(range(debug.size)), MOTION)
    assert set(np.unique(b["ref"][order[1]][0])) <= {-1, 0}
    assert set(np.unique(b["ref"][order[1]][1])) == {0, 1}
    assert set(np.unique(b["ref"][order[2]][0])) == {-2, 0}
    assert not b["ref"][order[2]][1].any()


@pytest.mark.parametrize("name", ["p-cavlc-slices", "b-spatial", "b-temporal", "b-weightp"])
def test_threads_subsets_and_order_give_the_same_bytes(clips: dict[str, Path], name: str) -> None:
    one = read_all(clips[name])
    for threads in (2, 3):
        assert same(one, read_all(clips[name], threads=threads))
    debug = _core.H264Debug(str(clips[name]), 2)
    rng = np.random.default_rng(5)
    for _ in range(12):
        numbers = np.sort(rng.choice(debug.size, int(rng.integers(1, 5)), replace=False))
        planes = [p for p in ALL if rng.random() < 0.6] or ["ref"]
        part = debug.read([int(n) for n in numbers], planes)
        for plane in planes:
            assert np.array_equal(part[plane], one[plane][numbers]), plane


def test_a_p_picture_costs_itself(clips: dict[str, Path]) -> None:
    debug = _core.H264Debug(str(clips["p-cavlc-slices"]))
    debug.read([7], MOTION)
    assert debug.stats["pictures_parsed"] == 1
    assert debug.stats["slices_parsed"] == 4


@pytest.mark.parametrize("name", ["b-spatial", "b-temporal", "b-auto-16"])
def test_a_b_picture_costs_its_chain(clips: dict[str, Path], name: str) -> None:
    whole = _core.H264Debug(str(clips[name]))
    whole.read(list(range(whole.size)), MOTION)
    assert whole.stats["pictures_parsed"] == whole.size  # streaming parses everything once
    for number in range(whole.size):
        debug = _core.H264Debug(str(clips[name]))
        debug.read([number], MOTION)
        # The chain by the headers: list1[0] of B slices until a picture without one.
        chain, at = 1, number
        while True:
            s = debug.picture(at)["slices"][0]
            if s["slice_type"] != 1:
                break
            at = s["ref_lists"][1][0][0]
            if all(t["slice_type"] == 2 for t in debug.picture(at)["slices"]):
                break  # nothing to look at in an I picture
            chain += 1
        assert debug.stats["pictures_parsed"] <= chain
        if chain > 1:
            types = debug.picture(number)["mb_type"]
            if name == "b-temporal" and np.isin(types, (B_SKIP, B_DIRECT)).any():
                assert debug.stats["pictures_parsed"] >= 2
    qp_only = _core.H264Debug(str(clips[name]))
    qp_only.read([whole.size - 2], ["qp", "mb_type", "bits"])
    assert qp_only.stats["pictures_parsed"] == 1  # vectors were not asked for


@pytest.mark.parametrize("steps", [0, 1, 5])
def test_pictures_alone_are_as_in_the_stream(
    clips: dict[str, Path], tmp_path: Path, steps: int
) -> None:
    """However much of the chain is looked for by decoding and how much comes from the headers."""
    hand = tmp_path / "hand.264"
    handmade.write(hand, handmade.Recipe(5, pictures=12, max_refs=2))
    for path in (hand, clips["b-temporal"], clips["b-weightp"]):
        whole = read_all(path)
        for number in range(len(whole["mv"])):
            alone = _core.H264Debug(str(path), 2, steps).picture(number)
            for plane in ("mv", "ref", "ref_picture", "mb_type", "qp", "bits", "residual_y"):
                assert np.array_equal(alone[plane], whole[plane][number]), (path, number, plane)


@pytest.mark.parametrize("name", ["b-temporal", "b-auto-16", "b-weightp"])
def test_threads_parse_the_same_slices(clips: dict[str, Path], name: str) -> None:
    """Which pictures the chain of a B picture brings does not depend on who finishes first."""
    size = _core.H264Debug(str(clips[name])).size
    rng = np.random.default_rng(6)
    wanted = [sorted(rng.choice(size, k, replace=False).tolist()) for k in (1, 2, 5, 5, 9)]
    whole = read_all(clips[name], MOTION)
    for steps in (0, 1, 5):
        for numbers in wanted:
            parsed = set()
            for threads in (1, 2, 3, 8):
                debug = _core.H264Debug(str(clips[name]), threads, steps)
                part = debug.read(numbers, MOTION)
                parsed.add((debug.stats["pictures_parsed"], debug.stats["slices_parsed"]))
                assert all(np.array_equal(part[p], whole[p][numbers]) for p in MOTION), numbers
            assert len(parsed) == 1, (steps, numbers, parsed)


def test_batches_in_presentation_order_parse_once(clips: dict[str, Path]) -> None:
    debug = _core.H264Debug(str(clips["b-auto-16"]))
    for at in range(0, debug.size, 4):
        numbers = sorted(debug.presentation[at : at + 4])
        debug.read(numbers, [*MOTION, "bits"])
    assert debug.stats["pictures_parsed"] == debug.size


def test_threads_survive_a_fork(clips: dict[str, Path]) -> None:
    debug = _core.H264Debug(str(clips["b-spatial"]), 2)
    before = debug.read(list(range(debug.size)), ALL)
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            code = 0 if same(before, debug.read(list(range(debug.size)), ALL)) else 2
        finally:
            os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0


def nal_units(data: bytes) -> list[tuple[int, int]]:
    """(start of the NAL header, end) of every NAL unit of an Annex B stream."""
    starts = []
    at = data.find(b"\0\0\1")
    while at >= 0:
        starts.append(at + 3)
        at = data.find(b"\0\0\1", at + 3)
    ends = [s - 3 for s in starts[1:]] + [len(data)]
    return [(s, e) for s, e in zip(starts, ends, strict=True)]


def damage_slice(source: Path, target: Path, slice_number: int, *, remove: bool = False) -> None:
    """Overwrites the middle of one slice NAL with ones (an invalid CAVLC run), or drops it."""
    data = bytearray(source.read_bytes())
    slices = [(s, e) for s, e in nal_units(bytes(data)) if data[s] & 31 in (1, 5)]
    start, end = slices[slice_number]
    if remove:
        del data[start - 3 : end]
    else:
        middle = (start + end) // 2
        data[middle : middle + 24] = b"\xff" * min(24, end - middle)
    target.write_bytes(data)


def damaged(debug: Any, good: dict[str, np.ndarray]) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """All planes of a damaged stream, and which macroblocks are lost; what is not lost is good."""
    planes = debug.read(list(range(debug.size)), ALL)
    lost = planes["mb_type"] == 255
    four = lost.repeat(4, 1).repeat(4, 2)
    assert (planes["qp"][lost] == -128).all()
    assert (planes["bits"][lost] == 0).all()
    assert (planes["mv"].transpose(0, 3, 4, 1, 2)[four] == 0).all()
    assert (planes["ref"].transpose(0, 2, 3, 1)[four] == 0).all()
    assert (planes["residual_y"][four.repeat(4, 1).repeat(4, 2)] == 0).all()
    for plane in ("mb_type", "qp", "bits"):
        assert np.array_equal(planes[plane][~lost], good[plane][~lost]), plane
    keep = ~four
    for plane, axes in (("mv", (0, 3, 4, 1, 2)), ("ref", (0, 2, 3, 1))):
        a, b = planes[plane].transpose(axes), good[plane].transpose(axes)
        assert np.array_equal(a[keep], b[keep]), plane
    return planes, lost


def test_damage_takes_one_slice(clips: dict[str, Path], tmp_path: Path) -> None:
    path = clips["p-cavlc-slices"]
    good = read_all(path)
    bad = tmp_path / "bad.264"
    damage_slice(path, bad, 4 * 5 + 2)
    debug = _core.H264Debug(str(bad))
    planes, lost = damaged(debug, good)
    rows = np.unique(np.argwhere(lost)[:, 0])
    assert rows.tolist() == [5]
    slices = _core.H264Debug(str(path)).picture(5)["slice"]
    assert np.array_equal(lost[5], slices == 2)
    assert list(debug.stats["damage"]) == [5]
    assert debug.stats["slices_lost"] == 1
    assert np.flatnonzero(planes["lost"]).tolist() == [5]  # also where part of it is good


def test_a_missing_slice_is_lost(clips: dict[str, Path], tmp_path: Path) -> None:
    path = clips["p-cavlc-slices"]
    bad = tmp_path / "bad.264"
    damage_slice(path, bad, 4 * 5 + 1, remove=True)
    debug = _core.H264Debug(str(bad))
    _, lost = damaged(debug, read_all(path))
    slices = _core.H264Debug(str(path)).picture(5)["slice"]
    assert np.array_equal(lost[5], slices == 1)
    assert not lost[np.arange(len(lost)) != 5].any()


def test_direct_blocks_that_look_at_a_lost_slice_are_lost(
    clips: dict[str, Path], tmp_path: Path
) -> None:
    path = clips["b-weightp"]
    good = read_all(path)
    clean = _core.H264Debug(str(path))
    # The first P picture: B pictures look at it.
    number = next(n for n in range(clean.size) if clean.picture(n)["slices"][0]["slice_type"] == 0)
    bad = tmp_path / "bad.264"
    damage_slice(path, bad, 4 * number + 1, remove=True)
    debug = _core.H264Debug(str(bad))
    _, lost = damaged(debug, good)
    assert lost[number].any()
    other = lost.copy()
    other[number] = False
    assert other.any(), "no direct block needed the lost slice: choose another stream"
    for n in np.unique(np.argwhere(other)[:, 0]):
        picture = clean.picture(int(n))
        assert picture["slices"][0]["slice_type"] == 1
    for threads in (1, 2):
        again = _core.H264Debug(str(bad), threads)
        assert same(
            again.read(list(range(again.size)), ALL), debug.read(list(range(debug.size)), ALL)
        )


def test_a_lost_picture_leaves_references_unsure(clips: dict[str, Path], tmp_path: Path) -> None:
    path = clips["p-only"]
    good = read_all(path)
    bad = tmp_path / "bad.264"
    damage_slice(path, bad, 4, remove=True)
    debug = _core.H264Debug(str(bad))
    order = debug.presentation
    planes = debug.read(list(range(debug.size)), ALL)
    assert debug.size == len(order) == len(good["mv"]) - 1
    # The picture after the gap cannot know what it refers to; from the IDR on all is as before.
    assert set(np.unique(planes["ref"][4]).tolist()) == {0, -32766}
    assert set(np.unique(planes["ref_picture"][4]).tolist()) == {-1, -3}
    sure = np.array([debug.picture(n)["references_sure"] for n in range(debug.size)])
    assert not sure[4]
    assert sure[11:].all()
    for plane in ("mv", "mb_type", "qp", "bits"):
        assert np.array_equal(planes[plane][4:], good[plane][5:]), plane
    late = np.flatnonzero(sure[4:]) + 4
    assert np.array_equal(planes["ref"][late], good["ref"][late + 1])
