"""The data set, run by DataLoaders with workers, against plain reads of the same frames."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader, DistributedSampler

import cvdecode
from conftest import Encode
from cvdecode.data import (
    TSN,
    AllGOPs,
    Clip,
    CompressedVideoDataset,
    CompressedVideoStream,
    Crops,
    FullFrame,
    GOPIndex,
    MultiScaleCrop,
    collate,
)


@pytest.fixture(scope="module")
def videos(encode: Encode) -> list[tuple[str, int]]:
    """H.264 with B-frames, H.264 without, and MPEG-4, of different lengths."""
    made = [
        encode("data_b.mp4", "-c:v", "libx264", "-g", "12", "-bf", "2", frames=40),
        encode("data_p.mp4", "-c:v", "libx264", "-g", "12", "-bf", "0", frames=30),
        encode("data_m.avi", "-c:v", "mpeg4", "-g", "12", frames=26),
    ]
    return [(str(path), label) for label, path in enumerate(made)]


class Fixed:
    """Draws what it was told."""

    def __init__(self, frames: list[int], iframes: list[int]) -> None:
        self.draw = (np.array(frames, np.int64), np.array(iframes, np.int64))

    def __call__(self, gops: Any, rng: Any) -> Any:
        from cvdecode.data import Draw

        return Draw(*self.draw)


def same(a: Any, b: Any) -> None:
    assert type(a) is type(b)
    if isinstance(a, dict):
        assert list(a) == list(b)
        for name in a:
            same(a[name], b[name])
    elif isinstance(a, list):
        assert len(a) == len(b)
        for x, y in zip(a, b, strict=True):
            same(x, y)
    elif torch.is_tensor(a):
        assert a.dtype == b.dtype
        assert torch.equal(a, b)
    else:
        assert a == b


def test_a_sample_is_what_plain_calls_read(videos: list[tuple[str, int]]) -> None:
    frames, iframes = [5, 17, 38], [0, 12, 36]
    dataset = CompressedVideoDataset(
        videos,
        Fixed(frames, iframes),
        ("iframe", "mv", "residual", "qp", "mb_type", "bits", "mask", "rgb"),
        encoding="int16",
    )
    item = dataset[0]
    with cvdecode.VideoReader(videos[0][0], ("qp", "mb_type", "bits"), rgb="all") as video:
        clip = video.get_frames_at(frames)
        acc = cvdecode.accumulate(video, frames, residual="coded")
        pictures = video.get_frames_at(iframes).rgb
    for name in ("qp", "mb_type", "bits", "rgb"):
        assert np.array_equal(item[name].numpy(), getattr(clip, name)), name
    assert np.array_equal(item["iframe"].numpy(), pictures)
    assert np.array_equal(item["mv"].numpy(), acc.displacement)
    assert np.array_equal(item["mask"].numpy(), acc.mask)
    assert np.array_equal(item["residual"][:, 0].numpy(), acc.residual_y)
    chroma = acc.residual_uv.repeat(2, axis=2).repeat(2, axis=3)
    assert np.array_equal(item["residual"][:, 1:].numpy(), chroma)
    assert item["mv"].abs().max() > 0
    assert item["residual"][:, 0].abs().max() > 0
    assert item["frames"].tolist() == frames
    assert item["label"].item() == 0
    assert not item["lost"].any()
    assert item["valid"]


def test_recon_diff_and_coviar_mode(videos: list[tuple[str, int]]) -> None:
    dataset = CompressedVideoDataset(
        videos, Fixed([5, 20], [0, 12]), ("mv", "residual"), residual="recon_diff", mode="coviar"
    )
    item = dataset[1]
    # The encodings of the original on the values of its loader.
    for row, (gop, pos) in enumerate([(0, 5), (1, 8)]):
        mv = cvdecode.coviar.load(videos[1][0], gop, pos, 1, True)
        mv = np.clip((mv * (127.5 / 20)).astype(np.int32) + 128, 0, 255)
        assert np.array_equal(item["mv"][row].numpy(), mv.transpose(2, 0, 1))
        residual = np.clip(cvdecode.coviar.load(videos[1][0], gop, pos, 2, True) + 128, 0, 255)
        assert np.array_equal(item["residual"][row].numpy(), residual.transpose(2, 0, 1))
    assert (item["mv"] != 128).any()
    assert (item["residual"] != 128).any()


def test_one_step_and_coded_vectors(videos: list[tuple[str, int]]) -> None:
    frames = [4, 7]
    plain = CompressedVideoDataset(videos, Fixed(frames, [0]), ("mv",), motion="coded")[0]
    with cvdecode.VideoReader(videos[0][0]) as video:
        clip = video.get_frames_at(frames)
        step = cvdecode.accumulate(video, frames, hops=1, per_frame=True)
    assert np.array_equal(plain["mv"].numpy(), clip.mv)
    assert np.array_equal(plain["ref"].numpy(), clip.ref)
    item = CompressedVideoDataset(
        videos, Fixed(frames, [0]), ("mv",), motion="step", per_frame=True, encoding="float_px"
    )[0]
    assert np.array_equal(item["mv"].numpy(), step.displacement / np.float32(4))


def test_virtual_gops_stand_on_their_first_frames(encode: Encode) -> None:
    path = encode("data_v.mp4", "-c:v", "libx264", "-g", "250", "-bf", "2", frames=40)
    dataset = CompressedVideoDataset(
        [path], AllGOPs(pos=5), ("mv", "iframe"), encoding="int16", virtual_gop=10
    )
    item = dataset[0]
    assert item["frames"].tolist() == [5, 15, 25, 35]
    assert item["iframes"].tolist() == [0, 10, 20, 30]
    with cvdecode.VideoReader(path, rgb="all") as video:
        acc = cvdecode.accumulate(video, [5, 15, 25, 35], virtual_gop=10)
        assert np.array_equal(item["iframe"].numpy(), video[0:40:10].rgb)
    assert np.array_equal(item["mv"].numpy(), acc.displacement)
    assert dataset.gops(0).starts.tolist() == [0, 10, 20, 30]
    # One step leads to the true reference, wherever virtual GOPs begin.
    step: dict[str, Any] = {"modalities": ("mv",), "motion": "step", "encoding": "int16"}
    frames = Fixed([15, 23], [0])
    virtual = CompressedVideoDataset([path], frames, virtual_gop=10, **step)[0]
    same(virtual["mv"], CompressedVideoDataset([path], frames, **step)[0]["mv"])


def test_only_what_was_drawn_is_parsed(encode: Encode) -> None:
    path = encode("data_long.mp4", "-c:v", "libx264", "-g", "12", "-bf", "0", frames=120)
    item = CompressedVideoDataset([path], Fixed([5, 100], [0, 96]), ("mv",))[0]
    # P-frames 1 to 5 and 97 to 100; intra pictures end the traces and are not parsed.
    assert item["meta"]["slices_parsed"] in (9, 11)
    assert item["meta"]["pictures_decoded"] == 0
    item = CompressedVideoDataset([path], Fixed([5, 100], [0, 96]), ("qp",))[0]
    assert item["meta"]["slices_parsed"] == 2
    item = CompressedVideoDataset([path], Fixed([5, 100], [0, 96]), ("iframe",))[0]
    assert item["meta"]["slices_parsed"] == 0
    assert item["meta"]["pictures_decoded"] <= 4


def test_items_depend_on_seed_epoch_and_index_alone(videos: list[tuple[str, int]]) -> None:
    def make(seed: int = 0) -> CompressedVideoDataset:
        return CompressedVideoDataset(
            videos, TSN(3), ("mv", "iframe"), MultiScaleCrop(48), seed=seed
        )

    first, second = make(), make()
    same(first[1], second[1])
    second[0]
    same(first[1], second[1])
    second.set_epoch(1)
    assert not torch.equal(first[1]["mv"], second[1]["mv"])
    assert not torch.equal(first[1]["mv"], make(seed=1)[1]["mv"])
    with pytest.raises(IndexError):
        first[3]
    same(first[-1], first[2])


def batches(dataset: Any, workers: int, **options: Any) -> list[dict[str, Any]]:
    loader = DataLoader(dataset, batch_size=2, num_workers=workers, collate_fn=collate, **options)
    return list(loader)


@pytest.mark.filterwarnings("ignore:This DataLoader will create")  # fewer cores than workers
def test_any_number_of_workers_gives_the_same_batches(videos: list[tuple[str, int]]) -> None:
    dataset = CompressedVideoDataset(
        videos * 2, TSN(3), view=MultiScaleCrop(64), residual="recon_diff"
    )
    plain = batches(dataset, 0)
    assert [batch["mv"].shape for batch in plain] == [(2, 3, 2, 64, 64)] * 3
    assert plain[0]["label"].tolist() == [0, 1]
    same(plain, batches(dataset, 1, multiprocessing_context="fork"))
    same(plain, batches(dataset, 4, multiprocessing_context="fork"))


@pytest.mark.parametrize("start", ["fork", "spawn"])
def test_workers_that_stay_see_new_epochs(videos: list[tuple[str, int]], start: str) -> None:
    dataset = CompressedVideoDataset(videos, TSN(2), ("mv",), MultiScaleCrop(32))
    loader = DataLoader(
        dataset,
        batch_size=2,
        num_workers=1,
        collate_fn=collate,
        multiprocessing_context=start,
        persistent_workers=True,
    )
    for epoch in (0, 1, 0):
        dataset.set_epoch(epoch)
        found = list(loader)
        same(found, batches(dataset, 0))
        assert found[0]["meta"][0]["epoch"] == epoch


def test_ragged_gops_are_padded_and_masked(videos: list[tuple[str, int]]) -> None:
    dataset = CompressedVideoDataset(videos, AllGOPs(pos=2), ("mv", "iframe"), FullFrame(32))
    batch = collate([dataset[0], dataset[1]])  # 40 and 30 frames: 4 and 3 GOPs
    assert batch["mv"].shape == (2, 4, 2, 32, 32)
    assert batch["frames"].tolist() == [[2, 14, 26, 38], [2, 14, 26, -1]]
    assert batch["frame_mask"].tolist() == [[True] * 4, [True] * 3 + [False]]
    assert batch["iframe_mask"].tolist() == batch["frame_mask"].tolist()
    assert not batch["mv"][1, 3].any()
    same(batch["mv"][1, :3], dataset[1]["mv"])
    # GOPs of unequal length within one sample: 30 frames are 12 + 12 + 6.
    ragged = CompressedVideoDataset(videos, GOPIndex(3, pos="all", mode="test"), ("qp",))[1]
    assert ragged["frames"].shape == (3, 12)
    assert ragged["frames"][2].tolist() == [*range(24, 30), *[-1] * 6]
    assert not ragged["qp"][2, 6:].any()
    assert ragged["qp"][2, :6].all()


def test_distributed_sampler_and_pinned_batches(videos: list[tuple[str, int]]) -> None:
    dataset = CompressedVideoDataset(videos * 2, Clip(4), ("mv", "qp"), FullFrame(32))
    seen = []
    for rank in range(2):
        sampler = DistributedSampler(dataset, num_replicas=2, rank=rank, shuffle=True, seed=3)
        for batch in DataLoader(dataset, 2, sampler=sampler, collate_fn=collate):
            seen += batch["index"].tolist()
    assert sorted(seen) == [0, 1, 2, 3, 4, 5]
    pinnable = collate([dataset[0], dataset[1]])
    if torch.cuda.is_available():
        loader = DataLoader(dataset, 2, collate_fn=collate, pin_memory=True)
        assert next(iter(loader))["mv"].is_pinned()
    assert all(isinstance(v, (torch.Tensor, list)) for v in pinnable.values())


def test_the_stream_gives_every_sample_once(videos: list[tuple[str, int]]) -> None:
    dataset = CompressedVideoDataset(videos * 2, Clip(3), ("qp",), FullFrame(32))
    plain = {i: dataset[i] for i in range(6)}
    for workers in (0, 2):
        found = []
        for rank in range(2):
            stream = CompressedVideoStream(dataset, rank=rank, world_size=2)
            loader = DataLoader(stream, batch_size=None, num_workers=workers)
            for sample in loader:
                same(sample, plain[int(sample["index"])])
                found.append(int(sample["index"]))
        assert sorted(found) == list(range(6))
    first = [int(s["index"]) for s in CompressedVideoStream(dataset)]
    dataset.set_epoch(1)
    assert [int(s["index"]) for s in CompressedVideoStream(dataset)] != first


def test_crops_are_a_first_axis(videos: list[tuple[str, int]]) -> None:
    dataset = CompressedVideoDataset(videos, TSN(2, "test"), view=Crops(10, 48, (64, 64)))
    item = dataset[0]
    assert item["mv"].shape == (10, 2, 2, 48, 48)
    assert item["iframe"].shape == (10, 2, 3, 48, 48)
    # The first five and their mirror images; x changes its sign about 128, y does not.
    assert torch.equal(item["iframe"][5:], item["iframe"][:5].flip(-1))
    assert torch.equal(item["mv"][5:, :, 1], item["mv"][:5, :, 1].flip(-1))


def test_bad_arguments(videos: list[tuple[str, int]], tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="modalities are some of"):
        CompressedVideoDataset(videos, modalities=("flow",))
    with pytest.raises(ValueError, match="on_error"):
        CompressedVideoDataset(videos, on_error="ignore")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="fixed size"):
        CompressedVideoDataset(videos, on_error="zeros")
    with pytest.raises(ValueError, match="encoding of mv"):
        CompressedVideoDataset(videos, encoding="jpeg")
    for motion in ("accumulated", "step", "coded"):
        with pytest.raises(ValueError, match="goes with mv_grid=1"):
            CompressedVideoDataset(videos, modalities=("mv", "residual"), motion=motion, mv_grid=4)
    with pytest.raises(ValueError, match="empty"):
        CompressedVideoDataset([])
    with pytest.raises(cvdecode.Error, match="no such folder"):
        CompressedVideoDataset(tmp_path / "nowhere")
    with pytest.raises(cvdecode.Error, match="no video"):
        CompressedVideoDataset(tmp_path)
    with pytest.raises(IndexError, match="outside the 40 frames"):
        CompressedVideoDataset(videos, Fixed([99], [0]), ("qp",))[0]


@pytest.mark.parametrize("residual", ["coded", "recon_diff"])
def test_an_item_keeps_its_values_while_others_are_read(
    videos: list[tuple[str, int]], residual: Any
) -> None:
    # The memory of one accumulation serves the next; no item may be a view of it.
    dataset = CompressedVideoDataset(
        videos[:2], TSN(3), ("mv", "residual", "mask"), encoding="int16", residual=residual
    )
    item = dataset[1]
    kept = {name: value.clone() for name, value in item.items() if torch.is_tensor(value)}
    assert not torch.equal(dataset[0]["mv"], item["mv"])
    for name, value in kept.items():
        assert torch.equal(item[name], value), name


def test_real_clips_through_a_loader(data_dir: Path) -> None:
    root = data_dir.parent / "actions"
    if not root.is_dir():
        pytest.skip(f"no labelled clips at {root}")
    dataset = CompressedVideoDataset(root, TSN(3), view=MultiScaleCrop(224))
    assert len(dataset) == 300
    assert sorted(set(dataset.labels)) == [0, 1]  # fight, nofight
    chosen = torch.utils.data.Subset(dataset, [0, 100, 200, 299])
    loader = DataLoader(chosen, 2, num_workers=1, collate_fn=collate)
    first, second = loader
    assert first["iframe"].shape == (2, 3, 3, 224, 224)
    assert [*first["label"].tolist(), *second["label"].tolist()] == [
        dataset.labels[i] for i in (0, 100, 200, 299)
    ]
    for batch in (first, second):
        # Footage of people: something moves, something is left over, nothing is damaged.
        assert (batch["mv"] != 128).any(dim=(2, 3, 4)).any()
        assert (batch["residual"] != 128).any()
        assert not batch["lost"].any()
        assert all(meta["slices_parsed"] < meta["num_frames"] for meta in batch["meta"])
