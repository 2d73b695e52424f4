"""The forms for other frameworks: mmaction2's dicts, and a Lightning data module."""

from __future__ import annotations

import importlib
import sys
import types
from typing import Any

import numpy as np
import pytest
import torch

import cvdecode
from conftest import Encode
from cvdecode.data import TSN, CompressedVideoDataset, FullFrame
from cvdecode.data.mmaction import CompressedDecode


def test_mmaction_keys(encode: Encode) -> None:
    path = str(encode("data_mm.mp4", "-c:v", "libx264", "-g", "12", "-bf", "2", frames=30))
    # The pipeline's contract: start from the file name, sample, decode, go on with the dict.
    results: dict[str, Any] = {"filename": path, "label": 3, "modality": "RGB"}
    results = CompressedDecode()(results)
    assert results["total_frames"] == 30
    assert "motion_vectors" not in results
    results["frame_inds"] = np.array([[4], [17]], np.int32)
    results = CompressedDecode(imgs=True)(results)
    with cvdecode.VideoReader(path, rgb="all") as video:
        acc = cvdecode.accumulate(video, [4, 17], hops=1)
        rgb = video.get_frames_at([4, 17]).rgb
    assert results["frame_inds"].tolist() == [4, 17]
    assert results["label"] == 3
    assert results["img_shape"] == results["original_shape"] == (96, 160)
    for row in range(2):
        vectors = results["motion_vectors"][row]
        assert vectors.shape == (96, 160, 2)
        assert vectors.dtype == np.float32
        assert np.array_equal(vectors[..., 0] * 4, acc.displacement[row, 0])
        assert np.array_equal(vectors[..., 1] * 4, acc.displacement[row, 1])
        assert np.array_equal(results["imgs"][row], rgb[row].transpose(1, 2, 0))
    assert results["motion_vectors"][0].any()
    whole = CompressedDecode("accumulated").transform({"filename": path, "frame_inds": [17]})
    with cvdecode.VideoReader(path) as video:
        expected = cvdecode.accumulate(video, [17]).displacement[0].transpose(1, 2, 0)
    assert np.array_equal(whole["motion_vectors"][0] * 4, expected)
    with pytest.raises(IndexError):
        CompressedDecode()({"filename": path, "frame_inds": [30]})
    with pytest.raises(ValueError, match="motion is"):
        CompressedDecode("flow")  # type: ignore[arg-type]


@pytest.fixture
def lightning_module(monkeypatch: pytest.MonkeyPatch) -> Any:
    """cvdecode.data.lightning over lightning, or over a stand-in for the one class it takes."""
    try:
        importlib.import_module("lightning")
    except ImportError:
        stub = types.ModuleType("lightning")
        stub.LightningDataModule = type("LightningDataModule", (), {})  # type: ignore[attr-defined]
        monkeypatch.setitem(sys.modules, "lightning", stub)
    monkeypatch.delitem(sys.modules, "cvdecode.data.lightning", raising=False)
    yield importlib.import_module("cvdecode.data.lightning")
    sys.modules.pop("cvdecode.data.lightning", None)


def test_lightning_data_module(encode: Encode, lightning_module: Any) -> None:
    path = encode("data_mm.mp4", "-c:v", "libx264", "-g", "12", "-bf", "2", frames=30)
    train = CompressedVideoDataset([path] * 3, TSN(2), ("mv",), FullFrame(32))
    module = lightning_module.CompressedVideoDataModule(train, train, batch_size=2)
    assert next(iter(module.val_dataloader()))["mv"].shape == (2, 2, 2, 32, 32)
    seen = torch.cat([batch["index"] for batch in module.train_dataloader()])
    assert sorted(seen.tolist()) == [0, 1, 2]
    with pytest.raises(AttributeError, match="no test set"):
        module.test_dataloader()


def test_without_lightning_the_error_names_the_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "lightning", None)
    monkeypatch.delitem(sys.modules, "cvdecode.data.lightning", raising=False)
    with pytest.raises(ImportError, match="pip install lightning"):
        importlib.import_module("cvdecode.data.lightning")
