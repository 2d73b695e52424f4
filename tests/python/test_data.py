"""The minimal dataset, run by a DataLoader with workers."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch.utils.data import DataLoader

import cvdecode
from conftest import Encode
from cvdecode.data import ClipDataset


@pytest.fixture(scope="module")
def folder(encode: Encode) -> Path:
    first = encode("data_a.mp4", "-c:v", "libx264", "-g", "12", frames=26)
    encode("data_b.avi", "-c:v", "mpeg4", "-g", "12", frames=12)
    return first.parent


@pytest.fixture(scope="module")
def videos(folder: Path) -> list[Path]:
    return [folder / "data_a.mp4", folder / "data_b.avi"]


def test_items_are_the_clips_of_the_videos(videos: list[Path]) -> None:
    dataset = ClipDataset(videos, length=12, planes=("mv", "ref", "qp"))
    assert [(p.name, s) for p, s in dataset.clips] == [
        ("data_a.mp4", 0), ("data_a.mp4", 12), ("data_b.avi", 0),
    ]  # fmt: skip
    item = dataset[1]
    with cvdecode.VideoReader(videos[0], planes=("mv", "ref", "qp")) as video:
        clip = video[12:24]
    for plane in ("mv", "ref", "qp"):
        assert torch.equal(item[plane], torch.from_numpy(getattr(clip, plane)))
    assert item["start"] == 12
    assert not item["lost"].any()


def test_stride_overlaps(videos: list[Path]) -> None:
    dataset = ClipDataset(videos[:1], length=12, stride=5, planes=("qp",))
    assert [start for _, start in dataset.clips] == [0, 5, 10]


def test_workers_give_the_same_batches(videos: list[Path]) -> None:
    dataset = ClipDataset(videos, length=6, planes=("mv", "qp"))
    plain = list(DataLoader(dataset, batch_size=2))
    for workers in (1, 2):
        found = list(DataLoader(dataset, batch_size=2, num_workers=workers))
        assert len(found) == len(plain)
        for a, b in zip(plain, found, strict=True):
            assert a["path"] == b["path"]
            assert torch.equal(a["mv"], b["mv"])
            assert torch.equal(a["qp"], b["qp"])


def test_bad_arguments(folder: Path, videos: list[Path], tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="nowhere"):
        ClipDataset(tmp_path / "nowhere")
    with pytest.raises(ValueError, match="no clip of 500 frames"):
        ClipDataset(videos, length=500)
    with pytest.raises(ValueError, match="at least 1"):
        ClipDataset(videos, length=0)
    (tmp_path / "x.mp4").write_text("no video")
    with pytest.raises(cvdecode.Error, match=r"x\.mp4"):
        ClipDataset(tmp_path)
