"""Bad files in a set: what is raised, left out or zeroed, reported from workers, and indexed."""

from __future__ import annotations

import json
import os
import pickle
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.utils.data import DataLoader

import cvdecode
from conftest import Encode
from cvdecode.data import (
    TSN,
    Clip,
    CompressedVideoDataset,
    CompressedVideoStream,
    FullFrame,
    MultiScaleCrop,
    collate,
)

BAD = ("noise.mp4", "cut.mp4", "gone.mp4")


@pytest.fixture(scope="module")
def folder(encode: Encode, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Five good clips (the same one), one of noise, one cut before its index; one is not there."""
    root = tmp_path_factory.mktemp("errors")
    good = encode("data_errors.mp4", "-c:v", "libx264", "-g", "12", "-bf", "2", frames=30)
    for k in range(5):
        shutil.copy(good, root / f"good{k}.mp4")
    (root / "noise.mp4").write_bytes(bytes(range(256)) * 40)
    (root / "cut.mp4").write_bytes(good.read_bytes()[:400])
    return root


def listed(folder: Path) -> list[tuple[str, int]]:
    names = ["good0.mp4", "noise.mp4", "good1.mp4", "cut.mp4", "gone.mp4", "good2.mp4", "good3.mp4"]
    return [(name, k) for k, name in enumerate(names)]


def make(folder: Path, on_error: str, **options: Any) -> CompressedVideoDataset:
    return CompressedVideoDataset(
        listed(folder), Clip(3), ("mv", "qp"), FullFrame(32), root=folder,
        on_error=on_error, **options,
    )  # fmt: skip


def test_raise_names_the_file(folder: Path) -> None:
    dataset = make(folder, "raise")
    for item, name in ((1, "noise"), (3, "cut"), (4, "gone")):
        with pytest.raises(cvdecode.Error, match=name):
            dataset[item]
    assert dataset[0]["valid"]


@pytest.mark.parametrize("workers", [0, 2])
def test_skip_ends_the_epoch_and_reports(folder: Path, workers: int) -> None:
    dataset = make(folder, "skip")
    assert str(dataset.report()) == "no failures"
    batches = list(DataLoader(dataset, 2, num_workers=workers, collate_fn=collate))
    assert [batch["label"].tolist() for batch in batches] == [[0], [2], [5], [6]]
    report = dataset.report()
    assert [(f.item, Path(f.path).name, f.epoch) for f in report] == [
        (1, "noise.mp4", 0), (3, "cut.mp4", 0), (4, "gone.mp4", 0),
    ]  # fmt: skip
    assert all(f.message and issubclass(getattr(cvdecode, f.error), Exception) for f in report)
    assert report[2].error == "SourceNotFound"
    assert [Path(path).name for path in report.paths] == ["cut.mp4", "gone.mp4", "noise.mp4"]
    assert str(folder / "gone.mp4") in str(report)
    assert all(isinstance(batch["mv"], torch.Tensor) for batch in batches)


def test_a_batch_of_bad_files_alone_is_empty_but_whole(folder: Path) -> None:
    dataset = make(folder, "skip")
    batch = collate([dataset[3], dataset[4]])
    assert batch["label"].shape == (0,)
    assert batch["meta"] == []


def test_zeros_keep_the_batch_and_say_so(folder: Path) -> None:
    every = ("iframe", "mv", "residual", "qp", "mb_type", "bits", "mask", "rgb")
    dataset = CompressedVideoDataset(
        listed(folder), TSN(3), every, MultiScaleCrop(40), root=folder, on_error="zeros"
    )
    loader = DataLoader(dataset, 7, num_workers=1, collate_fn=collate)
    (batch,) = list(loader)
    assert batch["valid"].tolist() == [True, False, True, False, False, True, True]
    assert batch["label"].tolist() == list(range(7))
    good, bad = dataset[0], dataset[1]
    for name, value in good.items():
        if torch.is_tensor(value):
            assert (bad[name].shape, bad[name].dtype) == (value.shape, value.dtype), name
    assert not bad["mv"].any()
    assert bad["lost"].all()
    assert len(dataset.report()) == 3
    for options in ({"motion": "coded"}, {"motion": "step", "mv_grid": 4}):
        dataset = make(folder, "zeros", **options)
        good, bad = dataset[0], dataset[1]
        assert {n: v.shape for n, v in good.items() if torch.is_tensor(v)} == {
            n: v.shape for n, v in bad.items() if torch.is_tensor(v)
        }


def test_the_stream_leaves_bad_files_out_of_full_batches(folder: Path) -> None:
    dataset = make(folder, "skip")
    stream = CompressedVideoStream(dataset, shuffle=False)
    batches = list(DataLoader(stream, 2, num_workers=1, collate_fn=collate))
    assert [batch["label"].tolist() for batch in batches] == [[0, 2], [5, 6]]
    assert len(dataset.report()) == 3


def test_mistakes_of_the_program_are_never_skipped(folder: Path) -> None:
    def broken(gops: Any, rng: Any) -> Any:
        raise RuntimeError("a mistake in the sampler")

    dataset = CompressedVideoDataset(listed(folder), broken, ("mv",), root=folder, on_error="skip")
    with pytest.raises(RuntimeError, match="a mistake"):
        dataset[0]


def test_damaged_frames_are_marked_and_reported(encode: Encode, tmp_path: Path) -> None:
    path = encode("data_dam.264", "-c:v", "libx264", "-g", "250", "-bf", "0", frames=12)
    data = bytearray(path.read_bytes())
    starts = [i for i in range(len(data) - 4) if data[i : i + 4] == b"\0\0\0\1"]
    slices = [i for i in starts if data[i + 4] & 31 == 1]
    place = slices[4]  # the slice of frame 5
    data[place + 12 : place + 60] = bytes(48)
    (tmp_path / "bad.264").write_bytes(data)
    dataset = CompressedVideoDataset([str(tmp_path / "bad.264")], Clip(12), ("qp",))
    item = dataset[0]
    lost = item["lost"].tolist()
    assert lost[5]
    assert not lost[0]
    assert {f.error for f in dataset.report()} == {"damage"}


def test_the_report_outlives_a_pickled_copy(folder: Path) -> None:
    dataset = make(folder, "skip")
    copy = pickle.loads(pickle.dumps(dataset))
    copy[1]
    file = copy._report.path
    del copy
    assert len(dataset.report()) == 1
    assert os.path.exists(file)
    del dataset
    assert not os.path.exists(file)


def test_the_index_is_kept_completed_and_used(folder: Path, tmp_path: Path) -> None:
    file = tmp_path / "set.index.json"
    first = make(folder, "skip", index_file=file)
    assert json.loads(file.read_text())["videos"]["good0.mp4"][2:6] == [
        30, 160, 96, [0, 0, 12, 12, 24, 24],
    ]  # fmt: skip
    assert [Path(f.path).name for f in first.report()] == ["noise.mp4", "cut.mp4", "gone.mp4"]
    assert first.gops(0) == make(folder, "skip").gops(0)
    with pytest.raises(cvdecode.CorruptStream, match="noise"):
        first.gops(1)
    for failure in first.report()[:2]:  # told as without the index: type, message, no name twice
        with pytest.raises(cvdecode.Error) as kept:
            first.gops(failure.item)
        with pytest.raises(cvdecode.Error) as plain:
            make(folder, "skip").gops(failure.item)
        assert (kept.type, str(kept.value)) == (plain.type, str(plain.value))

    # Nothing is scanned again: what the file says is believed while size and time stay.
    content = json.loads(file.read_text())
    content["videos"]["good0.mp4"][2] = 31
    file.write_text(json.dumps(content))
    assert make(folder, "skip", index_file=file).gops(0).num_frames == 31
    stat = os.stat(folder / "good0.mp4")
    os.utime(folder / "good0.mp4", ns=(stat.st_atime_ns, stat.st_mtime_ns + 10**9))
    assert make(folder, "skip", index_file=file).gops(0).num_frames == 30

    # A damaged index is made anew; new videos are added.
    file.write_text("{")
    again = make(folder, "skip", index_file=file)
    assert again.gops(2).num_frames == 30
    more = CompressedVideoDataset(
        ["good4.mp4"], Clip(2), ("qp",), root=folder, index_file=file, virtual_gop=7
    )
    assert more.gops(0).keys.tolist() == [0, 7, 14, 21, 28]
    assert set(json.loads(file.read_text())["videos"]) >= {"good0.mp4", "good4.mp4"}


def test_videos_open_by_their_own_index(folder: Path, tmp_path: Path) -> None:
    file = tmp_path / "set.json"
    dataset = make(folder, "skip", index_file=file)
    kept = sorted((tmp_path / "set.json.d").iterdir())
    assert len(kept) == 5 - 1  # good0 to good3
    stamps = [path.stat().st_mtime_ns for path in kept]
    plain = make(folder, "skip")
    assert torch.equal(dataset[0]["mv"], plain[0]["mv"])
    assert [path.stat().st_mtime_ns for path in kept] == stamps
    # The readers' indexes are used: one that is not what was written is made anew.
    kept[0].write_bytes(kept[0].read_bytes()[:-1])
    for item in range(5):
        dataset[item]
    assert kept[0].stat().st_mtime_ns != stamps[0]
    # Without them (here the folder is gone) videos are scanned, and nothing is written.
    shutil.rmtree(tmp_path / "set.json.d")
    assert torch.equal(dataset[0]["mv"], plain[0]["mv"])
    assert not (tmp_path / "set.json.d").exists()
