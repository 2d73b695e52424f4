"""Samplers against the published formulas: by hand, and literally written out again here."""

from __future__ import annotations

import numpy as np
import pytest

from cvdecode.data import (
    TSN,
    AllGOPs,
    Clip,
    Dense25Test,
    Draw,
    GOPIndex,
    GopTable,
    SampleFrames,
    WithAdjacent,
)

# A table that no constant describes: GOPs of 1, 4, 12, 2 and 6 frames, one open (key 7 in [5, 17)).
UNEVEN = GopTable.of([(0, 1, 0), (1, 5, 1), (5, 17, 7), (17, 19, 17), (19, 25, 19)], 25)


def twelve(num_frames: int) -> GopTable:
    return GopTable.virtual(12, num_frames)


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


# pytorch-coviar's arithmetic, one frame at a time, with GOPs of 12 (dataset.py).


def coviar_range(n: int, segments: int, seg: int, predicted: bool) -> tuple[int, int]:
    n = n - 1 if predicted else n
    size = float(n - 1) / segments
    begin, end = int(np.round(size * seg)), int(np.round(size * (seg + 1)))
    if end == begin:
        end = begin + 1
    return (begin + 1, end + 1) if predicted else (begin, end)


def coviar_place(frame: int, predicted: bool) -> int:
    gop, pos = frame // 12, frame % 12
    if not predicted:
        pos = 0
    elif pos == 0:
        gop, pos = gop - 1, 11
    return gop * 12 + pos


def coviar_test(n: int, segments: int, seg: int, predicted: bool) -> int:
    size = float((n - 1 if predicted else n) - 1) / segments
    frame = int(np.round(size * (seg + 0.5))) + (1 if predicted else 0)
    return coviar_place(frame, predicted)


@pytest.mark.parametrize("n", [5, 12, 13, 25, 60, 99, 300, 301])
@pytest.mark.parametrize("segments", [1, 3, 25])
def test_coviar_test_mode_is_the_formula(n: int, segments: int) -> None:
    draw = TSN(segments, "test")(twelve(n), rng())
    assert draw.frames.tolist() == [coviar_test(n, segments, s, True) for s in range(segments)]
    assert draw.iframes.tolist() == [coviar_test(n, segments, s, False) for s in range(segments)]


def test_coviar_rounds_half_to_even() -> None:
    # n = 14 predicted: (13 - 1) / 3 = 4: middles 2, 6, 10, so frames 3, 7, 11.
    assert TSN(3, "test")(twelve(14), rng()).frames.tolist() == [3, 7, 11]
    # n = 11, 4 segments of 10 / 4 = 2.5 (I-frames): middles 1.25, 3.75, 6.25, 8.75. Predicted:
    # 9 / 4 = 2.25: 1.125, 3.375, 5.625, 7.875 -> 1, 3, 6, 8, plus one.
    assert TSN(4, "test")(twelve(11), rng()).frames.tolist() == [2, 4, 7, 9]
    # n = 7, 3 segments of width 5 / 3; n = 5, 1 segment of 3: middle 1.5 -> 2; of 5: 2.5 -> 2.
    assert TSN(1, "test")(twelve(5), rng()).frames.tolist() == [3]
    assert TSN(1, "test")(twelve(7), rng()).frames.tolist() == [3]


@pytest.mark.parametrize("n", [2, 4, 13, 40])
def test_coviar_training_covers_exactly_the_published_ranges(n: int) -> None:
    seen: list[set[int]] = [set(), set(), set()]
    pictures: list[set[int]] = [set(), set(), set()]
    generator = rng(1)
    for _ in range(40 * (n // 3 + 1)):
        draw = TSN(3, "train")(twelve(n), generator)
        for s in range(3):
            seen[s].add(int(draw.frames[s]))
            pictures[s].add(int(draw.iframes[s]))
    for s in range(3):
        frames = range(*coviar_range(n, 3, s, True))
        assert seen[s] == {coviar_place(f, True) for f in frames}
        frames = range(*coviar_range(n, 3, s, False))
        assert pictures[s] == {coviar_place(f, False) for f in frames}


def test_coviar_uses_the_true_gops() -> None:
    # 25 frames, 6 segments of 23 / 6 predicted: 1.917, 5.75, 9.583, 13.417, 17.25, 21.083
    # -> 2, 6, 10, 13, 17, 21, plus one: 3, 7, 11, 14, 18, 22; none starts a GOP.
    draw = TSN(6, "test")(UNEVEN, rng())
    assert draw.frames.tolist() == [3, 7, 11, 14, 18, 22]
    # I: 24 / 6 = 4: 2, 6, 10, 14, 18, 22, in GOPs with keys 1, 7, 7, 7, 17, 19.
    assert draw.iframes.tolist() == [1, 7, 7, 7, 17, 19]
    # One segment of 13 frames: 11 / 1 * 0.5 = 5.5 -> 6, plus one = 7 = start of GOP 1 -> 6.
    table = GopTable.of([(0, 7, 0), (7, 13, 7)], 13)
    assert TSN(1, "test")(table, rng()).frames.tolist() == [6]
    assert TSN(1, "test", "dmc_i3d")(table, rng()).frames.tolist() == [8]


def test_dmc_i3d_stays_inside_the_gop() -> None:
    table = GopTable.of([(0, 7, 0), (7, 8, 7), (8, 13, 8)], 13)
    assert TSN(1, "test", "dmc_i3d")(table, rng()).frames.tolist() == [7]  # a GOP of one frame


def test_team_net_takes_both_from_one_gop() -> None:
    draw = TSN(8, "test", "team_net")(twelve(240), rng())
    # I: 239 / 8 = 29.875; middles 14.9375, 44.8, 74.7, 104.6, 134.4, 164.3, 194.2, 224.1
    assert draw.iframes.tolist() == [12, 36, 72, 96, 132, 156, 192, 216]
    assert (draw.frames - draw.iframes).tolist() == [5] * 8  # (12 - 1) // 2
    steps = set()
    generator = rng(2)
    for _ in range(60):
        draw = TSN(8, "train", "team_net")(twelve(240), generator)
        steps |= set((draw.frames - draw.iframes).tolist())
    assert steps == set(range(1, 12))


def test_huo_takes_position_6_of_every_gop() -> None:
    draw = TSN(dialect="huo")(UNEVEN, rng())
    assert draw.frames.tolist() == [0, 4, 11, 18, 24]
    assert draw.iframes.tolist() == [0, 1, 7, 17, 19]


def test_mmaction2_uniform() -> None:
    def bounds(n: int, s: int) -> tuple[int, int]:
        size = float(n - 1) / 5
        return int(np.round(size * s)), int(np.round(size * (s + 1)))

    for n in (6, 24, 29, 101):
        draw = TSN(5, "test", "mmaction2")(twelve(n), rng())
        half = int(float(n - 1) / 5 / 2)  # duration of the original, for one clip
        assert draw.frames.tolist() == [bounds(n, s)[0] + half for s in range(5)]
        assert draw.iframes.tolist() == [f // 12 * 12 for f in draw.frames.tolist()]
    generator, seen = rng(3), [set() for _ in range(5)]
    for _ in range(400):
        for s, frame in enumerate(TSN(5, "train", "mmaction2")(twelve(24), generator).frames):
            seen[s].add(int(frame))
    for s in range(5):
        low, high = bounds(24, s)
        assert seen[s] == set(range(low, high + 1))  # both ends


def test_mmaction2_uniform_is_not_the_mean_of_its_bounds() -> None:
    # (56 - 1) / 10 = 5.5: the first segment is [0, 6], whose middle is 3; mmaction2 takes 0 + 2.
    draw = TSN(10, "test", "mmaction2")(twelve(56), rng())
    assert draw.frames.tolist() == [2, 8, 13, 18, 24, 30, 35, 40, 46, 52]


def test_onevision() -> None:
    # 30 frames in 4 parts of 7.5: middles 3.75, 11.25, 18.75, 26.25.
    test = TSN(4, "test", "onevision")(twelve(30), rng())
    assert test.frames.tolist() == [3, 11, 18, 26]
    assert test.iframes.tolist() == [0, 0, 12, 24]
    short = TSN(6, "train", "onevision")(twelve(4), rng())
    assert short.frames.tolist() == [0, 1, 2, 3, 3, 3]
    generator, seen = rng(7), [set() for _ in range(4)]
    for _ in range(500):
        for s, frame in enumerate(TSN(4, "train", "onevision")(twelve(30), generator).frames):
            seen[s].add(int(frame))
    # int() of [0, 7.5), [7.5, 15), [15, 22.5), [22.5, 30): frames 7 and 22 are of both sides.
    assert seen == [set(range(8)), set(range(7, 15)), set(range(15, 23)), set(range(22, 30))]


def test_sample_frames_by_hand() -> None:
    # Clips of 4 frames 2 apart span 7 of 20: the last start is 13.
    test = SampleFrames(4, 2, 3, "test")(twelve(20), rng())
    assert test.frames.tolist() == [[0, 2, 4, 6], [6, 8, 10, 12], [13, 15, 17, 19]]  # 6.5 to even
    assert test.iframes.tolist() == [0, 0, 12]
    assert SampleFrames(4, 2, 1, "test")(twelve(20), rng()).frames[0, 0] == 6
    assert SampleFrames(1, 1, 3, "test")(twelve(20), rng()).frames.tolist() == [[3], [10], [16]]
    looped = SampleFrames(4, 3, 2, "test")(twelve(5), rng())
    assert looped.frames.tolist() == [[0, 3, 1, 4]] * 2
    # In training a clip counts 4 * 2 frames: 13 starts, 4 for each of 3 clips, the last unused.
    generator, seen = rng(8), [set() for _ in range(3)]
    for _ in range(200):
        for k, clip in enumerate(SampleFrames(4, 2, 3)(twelve(20), generator).frames):
            seen[k].add(int(clip[0]))
    assert seen == [{0, 1, 2, 3}, {4, 5, 6, 7}, {8, 9, 10, 11}]
    # 9 frames: 2 starts for 3 clips.
    few = SampleFrames(4, 2, 3)
    drawn = [few(twelve(9), generator).frames[:, 0].tolist() for _ in range(60)]
    assert all(starts == sorted(starts) for starts in drawn)
    assert {start for starts in drawn for start in starts} == {0, 1}
    # 8 frames: 1 start, np.around of 0, 1/3, 2/3. 7 frames: none.
    assert few(twelve(8), generator).frames[:, 0].tolist() == [0, 0, 1]
    assert few(twelve(7), generator).frames.tolist() == [[0, 2, 4, 6]] * 3


def test_dense_test_is_the_test_rule_at_25_places() -> None:
    found, expected = Dense25Test()(twelve(99), rng()), TSN(25, "test")(twelve(99), rng())
    assert found.frames.tolist() == expected.frames.tolist()
    assert len(found.frames) == 25


def test_gop_index() -> None:
    draw = GOPIndex(3, pos=3, mode="test")(UNEVEN, rng())
    # 5 GOPs in 3 parts: [0, 1), [1, 3), [3, 5): middles 0, 1, 3; position 3 or the last.
    assert draw.iframes.tolist() == [0, 1, 17]
    assert draw.frames.tolist() == [0, 4, 18]
    whole = GOPIndex(1, pos="all", length=12, mode="test")(UNEVEN, rng())
    assert whole.frames.tolist() == [list(range(5, 17))]  # the middle GOP
    short = GOPIndex(5, pos="all", length=4, mode="test")(UNEVEN, rng())
    assert short.frames.tolist() == [
        [0, 0, 0, 0], [1, 2, 3, 4], [5, 6, 7, 8], [17, 18, 18, 18], [19, 20, 21, 22],
    ]  # fmt: skip
    ragged = GOPIndex(5, pos="all", mode="test")(UNEVEN, rng())
    assert ragged.frames.shape == (5, 12)
    assert ragged.frames[3].tolist() == [17, 18, *[-1] * 10]
    generator, seen = rng(4), set()
    for _ in range(200):
        draw = GOPIndex(2, pos="random")(UNEVEN, generator)
        seen.add(int(draw.iframes[1]))
        assert UNEVEN.gop_of(draw.frames).tolist() == UNEVEN.gop_of(draw.iframes).tolist()
        assert not set(draw.frames.tolist()) & {1, 5, 17, 19}  # never the first, but of length 1
    assert seen == {7, 17, 19}


def test_all_gops_and_adjacent() -> None:
    draw = AllGOPs(pos="middle")(UNEVEN, rng())
    assert draw.frames.tolist() == [0, 3, 11, 18, 22]
    test = WithAdjacent(AllGOPs(pos=0), "test")(UNEVEN, rng())
    assert test.iframes.tolist() == [[0, 1], [1, 0], [7, 1], [17, 7], [19, 17]]
    beside: list[set[int]] = [set() for _ in range(5)]
    generator = rng(5)
    for _ in range(60):
        pairs = WithAdjacent(AllGOPs(pos=0))(UNEVEN, generator).iframes
        for g in range(5):
            beside[g].add(int(pairs[g, 1]))
    assert beside == [{0, 1}, {0, 7}, {1, 17}, {7, 19}, {17, 19}]


def test_clip() -> None:
    assert Clip(4, 2, "test")(twelve(20), rng()).frames.tolist() == [6, 8, 10, 12]
    draw = Clip(4, 3, "test")(twelve(5), rng())
    assert draw.frames.tolist() == [0, 3, 4, 4]
    generator = rng(6)
    starts = {int(Clip(4, 2)(twelve(20), generator).frames[0]) for _ in range(300)}
    assert starts == set(range(14))
    assert Clip(2, 1, "test")(twelve(40), rng()).iframes.tolist() == [12]


def test_a_table_without_intra_pictures_and_with_hidden_ones() -> None:
    assert GopTable.of([], 9).keys.tolist() == [0]
    hidden = GopTable.of([(0, 3, -1), (3, 9, 3)], 9)
    assert hidden.starts.tolist() == [0, 3]
    assert hidden.keys.tolist() == [0, 3]
    assert GopTable.of([(0, 3, 0), (3, 6, -1), (6, 9, 6)], 9).stops.tolist() == [6, 9]


@pytest.mark.parametrize(
    "sampler",
    [
        *(TSN(3, mode, dialect) for mode in ("train", "test")
          for dialect in ("coviar", "team_net", "dmc_i3d", "huo", "mmaction2", "onevision")),
        SampleFrames(4, 2, 3), SampleFrames(4, 2, 3, "test"), SampleFrames(1, 1, 25, "test"),
        GOPIndex(2), GOPIndex(2, pos="all"), AllGOPs(), Clip(5), WithAdjacent(TSN(3)),
    ],
    ids=str,
)  # fmt: skip
def test_pure_and_inside_the_video(sampler: object) -> None:
    for n in (1, 2, 3, 11, 12, 13, 25):
        for table in (twelve(n), GopTable.of([(0, n, 0)], n)):
            first: Draw = sampler(table, rng(n))  # type: ignore[operator]
            again: Draw = sampler(table, rng(n))  # type: ignore[operator]
            for a, b in zip(first, again, strict=True):
                assert a.dtype == np.int64
                assert np.array_equal(a, b)
                assert (a < n).all()
                assert (a >= (-1 if getattr(sampler, "pos", 0) == "all" else 0)).all()
    assert hash(sampler) == hash(sampler)
    with pytest.raises(AttributeError):
        sampler.mode = "test"  # type: ignore[attr-defined]


def test_bad_arguments() -> None:
    with pytest.raises(ValueError, match="mode"):
        TSN(3, "validate")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="num_segments"):
        TSN(0)
    with pytest.raises(ValueError, match="dialect"):
        TSN(3, "train", "tsm")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="pos"):
        AllGOPs(pos=-1)
    with pytest.raises(ValueError, match="length goes"):
        GOPIndex(1, pos=3, length=12)
