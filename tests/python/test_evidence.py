"""The experiments' own parts: clips that hide what they should, and a short run from end to end."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

pytest.importorskip("torch")
import torch
from evidence import (
    ablation,
    actions,
    bframes,
    encode,
    estimate,
    features,
    hashing,
    mfcd,
    motion_error,
    otani,
    otani_real,
    otani_report,
    real,
    record,
    rows,
    tensors,
    training,
)
from evidence.variants import alignment, frames

import cvdecode
from cvdecode import heads
from cvdecode.study.records import read_lines


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CVDECODE_EVIDENCE_CACHE", str(tmp_path / "cache"))


def test_labels_hide_what_they_should() -> None:
    todo = actions.actions("train", 72, 6, 6)
    motion = np.array([a.motion for a in todo])
    appearance = np.array([a.appearance for a in todo])
    assert actions.mutual_information(motion, appearance) == 0
    xor, classes = actions.labels("xor", motion, appearance)
    assert classes == 6
    assert actions.mutual_information(xor, motion) == 0
    assert actions.mutual_information(xor, appearance) == 0
    add, classes = actions.labels("add", motion, appearance)
    assert len(np.unique(add)) == classes == 36
    assert actions.mutual_information(add, motion) == pytest.approx(np.log2(6))
    # A class that leaks: the parity of m + 2a is that of m.
    leaky = (motion + 2 * appearance) % 6
    assert actions.mutual_information(leaky, motion) == pytest.approx(1)
    with pytest.raises(ValueError, match="equally often"):
        actions.actions("train", 70, 6, 6)


def test_clips_repeat_and_splits_differ() -> None:
    train, test = (actions.Action(0, 0, split, 0) for split in ("train", "test"))
    assert np.array_equal(actions.draw(train, 3, 0), actions.draw(train, 3, 0))
    assert not np.array_equal(actions.draw(train, 3, 0), actions.draw(test, 3, 0))
    assert not np.array_equal(actions.draw(train, 3, 0), actions.draw(train, 3, 1))


def test_vectors_follow_the_true_flow(tmp_path: Path) -> None:
    """Generator and decoder know nothing of each other: signs, units and chains must agree."""
    todo = [actions.Action(m, 4, "train", m) for m in range(len(actions.MOTIONS))]
    for name, codec, virtual in (
        ("gop12.mp4", encode.X264_GOP12, False),
        ("default.mp4", encode.X264_DEFAULT, True),
    ):
        path = tmp_path / name
        encode.encode((actions.draw(a, 24, 3) for a in todo), path, 24, codec)
        with cvdecode.VideoReader(path) as video:
            kinds = "".join(video.frame_types)
            assert len(kinds) == 24 * len(todo)
            assert set(kinds[::24]) == {"I"}
            if virtual:
                assert kinds[12::24].count("I") < len(todo)
            else:
                assert kinds == "IBBPBBPBBPBP" * 2 * len(todo)
            anchors = range(0, len(video), 12) if virtual else None
            for number, action in enumerate(todo):
                for t in (14, 18, 23):
                    acc = cvdecode.accumulate(video, [24 * number + t], grid=4, anchors=anchors)
                    truth = actions.flow(action, 24, 3, 12, t)
                    found = acc.displacement[0] / 4
                    apart = np.median(np.hypot(*(found - truth)))
                    assert apart < 0.6, (name, action, t)
                    # Where vectors were found on what moves far, they point the right way.
                    far = (np.hypot(*truth) > 3) & (acc.mask[0] == 0)
                    agree = (found * truth).sum(0)[far] > 0
                    assert agree.size < 20 or agree.mean() > 0.75, (name, action, t)


def clip_of(vectors: Any, refs: Any) -> Any:
    """Enough of a Clip: mv (T, 2, 2, H, W) in quarter samples and ref (T, 2, H, W)."""

    class Fake:
        mv = np.asarray(vectors, np.int16)
        ref = np.asarray(refs, np.int16)
        ref_known = (ref != 0) & (ref > cvdecode.REF_OTHER_FIELD)

    return Fake()


def test_readings_of_one_block_by_hand() -> None:
    # List 0: (8, -4) quarters to two pictures before; list 1: (-6, 2) to the next picture.
    mv = np.zeros((1, 2, 2, 1, 3))
    mv[0, 0, :, 0, 0], mv[0, 1, :, 0, 0] = (8, -4), (-6, 2)
    mv[0, 1, :, 0, 1] = (4, 4)  # backward alone; the third block is intra
    ref = np.zeros((1, 2, 1, 3))
    ref[0, :, 0, 0], ref[0, 1, 0, 1] = (-2, 1), 1
    clip = clip_of(mv, ref)
    expected = {
        "exact": ([(-1 - 1.5) / 2, (0.5 + 0.5) / 2], [1, 1]),
        "forward only": ([-1, 0.5], [0, 0]),
        "sign only": ([(-2 - 1.5) / 2, (1 + 0.5) / 2], [1, 1]),
        "naive": ([(-2 + 1.5) / 2, (1 - 0.5) / 2], [-1, -1]),
    }
    for reading, (both, backward) in expected.items():
        found = features.motion(clip, reading)
        assert found[0, :, 0, 0].tolist() == both, reading
        assert found[0, :, 0, 1].tolist() == backward, reading
        assert found[0, :, 0, 2].tolist() == [0, 0], reading


def test_sign_only_trace_by_hand() -> None:
    # Three pictures of 1 x 3 blocks; each moves 4 samples right a picture: block 2 was block 1.
    mv = np.zeros((3, 2, 2, 1, 3))
    mv[1:, 0, 0] = -16
    ref = np.zeros((3, 2, 1, 3))
    ref[1:, 0] = -1
    found = features.sign_only_trace(clip_of(mv, ref))
    assert found[1, 0, 0].tolist() == [4, 4, 4]
    assert found[2, 0, 0].tolist() == [8, 8, 8]
    assert found[:, 1].any() == False  # noqa: E712


def test_grid_means() -> None:
    field = np.arange(2 * 4 * 4, dtype=np.float64).reshape(1, 2, 4, 4)
    assert features.grid_means(field, 2)[0].tolist() == [
        2.5, 4.5, 10.5, 12.5, 18.5, 20.5, 26.5, 28.5
    ]  # fmt: skip
    with pytest.raises(ValueError, match="equal cells"):
        features.grid_means(field, 3)


def test_orders_are_judged_alike() -> None:
    rng = np.random.default_rng(0)
    base = (rng.random((3, 300)) < 0.5).astype(float)
    up = np.maximum(base, rng.random((3, 300)) < 0.3)
    scores = {"a": up, "b": base, "c": base}
    section = {
        "orders": [["a", "b", ""], ["b", "a", ""], ["b", "c", ""], ["a", "gone", ""]],
        "equivalent": [["b", "c", 0.01, ""], ["a", "b", 0.01, ""]],
    }
    lines = record.judge(section, scores)
    assert [line["verdict"] for line in lines] == [
        "reproduces", "opposite", "not resolved", "not run", "reproduces", "not resolved",
    ]  # fmt: skip
    # Holm over the three that ran: 2 / 10001 times 3, and the one that is nothing.
    assert lines[0]["adjusted_p"] == pytest.approx(3 * 2 / 10_001)
    assert lines[2]["adjusted_p"] == 1


def test_every_expected_order_names_rows_that_exist() -> None:
    known = {
        ("bframes",): bframes.ROWS,
        ("motion_error",): motion_error.ROWS,
        ("ablation", "add"): ablation.ROWS,
        ("ablation", "xor"): ablation.ROWS,
        ("real",): real.ROWS,
        ("frames",): frames.ROWS,
        ("alignment",): alignment.ROWS,
        ("mfcd",): mfcd.ROWS,
    }
    for kind in ("temporal", "spatial", "size"):
        found = [r.removeprefix(f"{kind} ") for r in otani.rows(otani.FULL) if r.startswith(kind)]
        known["otani", kind] = found
        more = otani.rows({**otani.FULL, **otani.HEVC})
        known["otani_hevc", kind] = [r.removeprefix(f"{kind} ") for r in more if r.startswith(kind)]
    known["otani_hevc", "lost"] = otani.rows({**otani.FULL, **otani.HEVC})
    for kind in otani_real.KINDS:
        pairs = [r for r in otani_real.rows(otani_real.FULL) if r.startswith(kind)]
        known["otani_real", kind] = [r.removeprefix(f"{kind} ") for r in pairs]
    known["otani_real", "both"] = [f"{k}: lost from 20 to 50" for k in otani_real.KINDS]
    for keys, names in known.items():
        section = record.expected(*keys)
        for better, worse, why in section["orders"]:
            assert {better, worse} <= set(names), keys
            assert why
        for one, other, margin, _ in section.get("equivalent", []):
            assert {one, other} <= set(names), keys
            assert 0 < margin < 0.2


def test_a_broken_run_goes_on(tmp_path: Path) -> None:
    path = tmp_path / "x.jsonl"
    book = record.Book(path, "x", {"n": 1, "seeds": [0]})
    book.add("a", 0, [1, 0])
    again = record.Book(path, "x", {"n": 1, "seeds": [0, 1]})
    assert again.has("a", 0)
    assert not again.has("a", 1)
    assert not record.Book(path, "x", {"n": 2, "seeds": [0]}).has("a", 0)
    row = json.loads(path.read_text())
    assert row["accuracy"] == 0.5
    assert {"cvdecode", "torch", "ffmpeg"} <= set(row["versions"])


def test_encoder_failure_is_loud(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="ffmpeg failed"):
        encode.encode(
            [np.zeros((3, 112, 112), np.uint8)], tmp_path / "x.mp4", 3, ("-c:v", "nonsense")
        )
    with pytest.raises(ValueError, match="shape"):
        encode.encode(
            [np.zeros((2, 112, 112), np.uint8)], tmp_path / "y.mp4", 3, encode.X264_P_ONLY
        )


def test_b_frame_table_in_short(tmp_path: Path) -> None:
    """One seed of the real thing: wrong references are seen at once, even at this size."""
    book = record.Book(tmp_path / "bframes.jsonl", "bframes", bframes.QUICK)
    bframes.run(book, bframes.QUICK, progress=lambda _: None)
    accuracy = {row: scores.mean() for row, scores in book.scores().items()}
    assert set(accuracy) == set(bframes.ROWS)
    assert accuracy["one B, exact"] > accuracy["one B, naive"] + 0.3
    assert accuracy["one B, exact"] > 0.6
    text = bframes.report(book)
    assert "**reproduces**" in text
    assert "not run" not in text


def test_difference_hash_and_groups() -> None:
    rng = np.random.default_rng(0)
    pictures = rng.integers(0, 256, (6, 80, 99)).astype(np.float64)
    for axis in (1, 2):  # soft enough to survive a new encoding
        pictures = sum(np.roll(pictures, k, axis) for k in range(20)) / 20
    hashes = hashing.difference_hash(pictures)
    # A ramp to the right is brighter than its left neighbour everywhere.
    ramp = np.tile(np.arange(99.0), (1, 80, 1))
    assert hashing.difference_hash(ramp).all()
    assert not hashing.difference_hash(-ramp).any()
    again = hashing.difference_hash(pictures[:1] * 0.9 + 4 + rng.normal(0, 0.5, (1, 80, 99)))
    # Clip 0 = pictures 0, 1; clip 2 = a copy of 1 and 2; clip 3 = a noisy copy of 0.
    clips = [hashes[:2], hashes[3:4], hashes[1:3], again, hashes[4:5]]
    found = hashing.groups(clips, 8)
    assert found[0] == found[2] == found[3]
    assert len({found[0], found[1], found[4]}) == 3
    # The limit itself still joins, one bit more does not.
    other = hashes[:1].copy()
    other[0, :8] ^= True
    assert hashing.groups([hashes[:1], other], 8).tolist() == [0, 0]
    assert hashing.groups([hashes[:1], other], 7).tolist() == [0, 1]


def test_folds_keep_groups_and_balance() -> None:
    group = np.array([0, 0, 0, 0, 1, 1, *range(2, 36)])
    label = np.array([1, 1, 1, 0, 0, 0, *[k % 2 for k in range(34)]])
    fold = hashing.folds(group, label, 4, 0)
    for number in range(36):
        assert len(set(fold[group == number])) == 1
    for k in (0, 1):
        counts = np.bincount(fold[label == k], minlength=4)
        assert counts.max() - counts.min() <= 1
    assert not np.array_equal(fold, hashing.folds(group, label, 4, 1))


def test_ablation_in_short(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every row trains on the same draws; the report is complete."""
    monkeypatch.setattr(ablation, "SETS", ("xor",))
    monkeypatch.setattr(tensors, "FRAMES", 24)
    book = record.Book(tmp_path / "ablation.jsonl", "ablation", ablation.QUICK)
    ablation.run(book, ablation.QUICK, progress=lambda _: None)
    text = ablation.report(book)
    assert "not run" not in text
    for row in ablation.ROWS:
        assert f"| {row} |" in text

    # What the ablation has at this size is taken from there, the rest is trained.
    settings = {**ablation.QUICK, "sets": ["add"]}
    twin = record.Book(tmp_path / "ablation_half.jsonl", "ablation_half", settings)
    for row in ("add I", "add TP", "add TTP", "add ATTP"):
        twin.add(row, 0, np.full(36, 0.25))
    still = np.zeros((36, 2, 11, 2, 28, 28), np.float16)
    monkeypatch.setattr(estimate, "flows", lambda *_: still)
    for variant in (frames, alignment):
        book = record.Book(tmp_path / f"{variant.name}.jsonl", variant.name, settings)
        variant.run(book, settings, progress=lambda _: None)
        assert set(book.scores()) == set(variant.ROWS)
        taken = {row["row"] for row in book.rows if row.get("same_as")}
        assert taken == set(variant.same)
        assert all(row["accuracy"] == 0.25 for row in book.rows if row["row"] in taken)
        assert "not run" not in variant.report(book)

    data, held = ablation.clips(0, ablation.QUICK)
    assert data.iframe.shape == (36, 2, 56, 56)
    assert data.mv.shape == (36, 2, 11, 2, 28, 28)
    assert data.residual.shape == (36, 2, 11, 56, 56)
    assert "".join(data.kind[0, 0]) == "BBPBBPBBPBP"
    assert not np.array_equal(data.iframe, held.iframe)
    label = np.arange(36)
    drawn = training.Drawn(data, label, "B", 0)
    assert (np.take_along_axis(data.kind, drawn._positions(np.random.default_rng(1))[..., None], 2)
            == "B").all()  # fmt: skip
    one, two = (next(iter(drawn.test(4))) for _ in range(2))
    assert one.mv.equal(two.mv)
    # The first GOP sees the second's I picture, the others that before.
    assert one.adjacent[0].equal(one.iframe[0][[1, 0]])
    seen = [batch.label.tolist() for batch in drawn.train(0, 12)]
    assert sorted(sum(seen, [])) == list(range(36))  # noqa: RUF017
    assert tensors.halved(np.arange(16).reshape(4, 4)).tolist() == [[2.5, 4.5], [10.5, 12.5]]


def test_small_sketch_is_the_sketch() -> None:
    """Outer product and count sketch against convolution by Fourier transforms."""
    pools = [
        kind(48, 512, torch.Generator().manual_seed(3))
        for kind in (heads.CompactBilinearPooling, rows.SmallSketch)
    ]
    x, y = torch.randn(2, 2, 48, 7, 7, generator=torch.Generator().manual_seed(0))
    one, other = (pool.products(x, y) for pool in pools)
    torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-3)


def test_frozen_backbones_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither weights nor the statistics of batch normalisation move; the head learns."""
    maps = {"iframe": (1, 56), "mv": (2, 28), "residual": (1, 56)}
    streams = tuple(heads.Stream(rows.backbone(kind), 3) for kind in maps)
    before = [{k: v.clone() for k, v in s.backbone.state_dict().items()} for s in streams]
    batch = training.Batch(
        **{k: torch.randn(4, 1, c, n, n) for k, (c, n) in maps.items()},
        adjacent=torch.empty(0), flow=torch.empty(0), label=torch.tensor([0, 1, 2, 0]),
    )  # fmt: skip

    class Few:
        data = range(64)

        def train(self, epoch: int, size: int) -> Any:
            return [batch, batch]

    net = rows.frozen(Few(), 3, training.Schedule(epochs=2), streams)  # type: ignore[arg-type]
    for stream, kept in zip(streams, before, strict=True):
        for name, value in stream.backbone.state_dict().items():
            assert value.equal(kept[name]), name
    assert net.head.fc.bias.abs().max() > 0  # type: ignore[union-attr, operator]


def test_trace_of_estimated_flow_by_hand() -> None:
    """Everything moves 1 to the right, then 2, then rests: 1, 3, 3 since the first picture."""
    steps = torch.zeros(3, 2, 8, 8)
    steps[0, 0], steps[1, 0] = 1, 2
    found = estimate.traced(steps)
    assert [found[t, 0].unique().tolist() for t in range(3)] == [[1], [3], [3]]
    # Only what was in the left half at first moved: seen at its new place, x - flow is its old.
    steps = torch.zeros(2, 2, 8, 8)
    steps[0, 0, :, :4], steps[1, 0] = 1, 2
    assert estimate.traced(steps)[1, 0, 0].tolist() == [3, 3, 3, 3, 3, 3, 2, 2]


def test_estimated_flow_is_near_the_true_one() -> None:
    action = actions.Action(1, 2, "train", 8)
    found = estimate.displacement(actions.draw(action, 12, 3))
    assert found.shape == (1, 11, 2, 28, 28)
    for t in (1, 6, 11):
        truth = actions.flow(action, 12, 3, 0, t)
        apart = np.median(np.hypot(*(found[0, t - 1] - truth)))
        assert apart < 0.4 * np.median(np.hypot(*truth)), t


def test_mfcd_in_short(tmp_path: Path) -> None:
    book = record.Book(tmp_path / "mfcd.jsonl", "mfcd", mfcd.QUICK)
    mfcd.run(book, mfcd.QUICK, progress=lambda _: None)
    assert tuple(book.scores()) == mfcd.ROWS
    assert "not run" not in mfcd.report(book)

    clips = mfcd.make("train", mfcd.QUICK["train"], 0)
    assert np.bincount(clips.label).tolist() == [2] * 12
    # A difference along the motion is smaller than the pictures' own: the vectors fit.
    still = clips.frames[:, 1:].astype(int) - clips.frames[:, :1]
    assert abs(clips.residual).mean() < 0.8 * abs(still).mean()
    first, last = clips.frames[3, 0].astype(float), clips.residual[3, 10].astype(float)
    scaled = {
        row: (mfcd.inputs(clips, np.array([3]), row)[0, 1] / 0.0167 + 117).numpy()
        for row in mfcd.ROWS
    }
    near = {"rtol": 0, "atol": 1e-2}
    np.testing.assert_allclose(scaled["RGB teacher"], clips.frames[3], **near)
    np.testing.assert_allclose(scaled["I+Rhat"][0], first, **near)
    np.testing.assert_allclose(scaled["I+Rhat"][11], (last + first) / 2, **near)
    np.testing.assert_allclose(scaled["I+Rbar"][11], last, **near)
    np.testing.assert_allclose(scaled["Rbar only"][0], clips.residual[3, 0], **near)
    # Every row draws the same clips.
    drawn = [np.concatenate(list(mfcd.batches(clips, 0, epochs))) for epochs in (1, 2)]
    assert len(set(drawn[0])) == mfcd.BATCH
    assert drawn[0].tolist() == drawn[1][: mfcd.BATCH].tolist() != drawn[1][mfcd.BATCH :].tolist()


def test_motion_error_in_short(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(motion_error, "CODECS", {"GOP 12": motion_error.CODECS["GOP 12"]})
    book = record.Book(tmp_path / "m.jsonl", "motion_error", motion_error.QUICK)
    motion_error.run(book, motion_error.QUICK, progress=lambda _: None)
    error = {row: -scores.mean() for row, scores in book.scores().items()}
    assert error["GOP 12, exact"] < error["GOP 12, sign only"]


def test_real_clips_in_short(tmp_path: Path) -> None:
    if not real.folder().is_dir():
        pytest.skip(f"no action clips at {real.folder()}")
    book = record.Book(tmp_path / "real.jsonl", "real", real.QUICK)
    real.run(book, real.QUICK, progress=lambda _: None)
    assert "not run" not in real.report(book)
    assert {row["row"] for row in book.rows} == set(real.ROWS)


def test_real_clips_over_crf_in_short(tmp_path: Path) -> None:
    if not real.folder().is_dir():
        pytest.skip(f"no action clips at {real.folder()}")
    settings = {**otani_real.QUICK, "clips": 8}
    book = record.Book(tmp_path / "r.jsonl", "otani_real", settings)
    otani_real.run(book, settings, progress=lambda _: None)
    assert {r["row"] for r in book.rows} - set(otani_real.rows(settings)) == {"size 20", "size 50"}
    text = otani_real.report(book)
    assert "| tested on | original | 20 | 50 |" in text
    before = len(book.rows)
    otani_real.run(book, settings, progress=lambda _: None)
    assert len(book.rows) == before


def test_mirrored_motions() -> None:
    """Left to right turns left into right and clockwise into counter-clockwise, and back."""
    name = actions.MOTIONS
    sides = [name[k] for k in otani.mirror_table(0)]
    assert sides == [
        "right", "left", "up", "down", "counter-clockwise", "clockwise", "in", "out",
    ]  # fmt: skip
    ends = [name[k] for k in otani.mirror_table(1)]
    assert ends == [
        "left", "right", "down", "up", "counter-clockwise", "clockwise", "in", "out",
    ]  # fmt: skip


def test_quality_in_short(tmp_path: Path) -> None:
    """Transcoded, measured, trained, evaluated by the study's functions."""
    book = record.Book(tmp_path / "otani.jsonl", "otani", otani.QUICK)
    otani.run(book, otani.QUICK, progress=lambda _: None)
    assert set(book.scores()) == set(otani.rows(otani.QUICK))
    typed = [r["command"] for r in read_lines(next(record.cache().rglob("temporal-*.jsonl")))[:1]]
    assert typed[0].startswith("python -m evidence"), "what a study's page shows"
    told = otani_report.facts(book)
    assert told["CRF 50 GOP 12"]["bytes"] < told["CRF 20 GOP 12"]["bytes"] / 4
    assert told["CRF 50 GOP 12"]["mean_qp"] > 45
    assert told["CRF 50 GOP 12"]["ssim"] < told["CRF 20 GOP 12"]["ssim"]
    assert "| CRF 50 GOP 12 |" in otani.report(book)
    otani.draw_figure(book, tmp_path / "otani.png")
