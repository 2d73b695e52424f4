"""The matrix experiment's own parts, and a short run of it from end to end."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

pytest.importorskip("torch")
pytest.importorskip("sklearn")
from evidence import johnston, record
from evidence.textures import stripes, textures


def test_textures_repeat_and_splits_differ() -> None:
    images, labels = textures("train", 3, 40, 20)
    assert images.shape == (40, 32, 32, 3)
    assert np.bincount(labels).tolist() == [4] * 10
    assert np.array_equal(images, textures("train", 3, 40, 20)[0])
    for split, seed in (("test", 3), ("train", 4)):
        assert not np.array_equal(images, textures(split, seed, 40, 20)[0])
    one = stripes(np.array([0.0]), np.array([4.0]), np.array([0.0]))[0]
    assert one[5, :5] == pytest.approx([0, 1, 0, -1, 0], abs=1e-9)  # along x, period 4
    down = stripes(np.array([np.pi / 2]), np.array([4.0]), np.array([0.0]))[0]
    assert down == pytest.approx(one.T, abs=1e-9)


def test_digits_are_spread_over_seeds() -> None:
    images, labels = johnston.digit_set(0, 1797)
    assert images.shape == (1797, 32, 32)
    assert np.bincount(labels).tolist() == [178, 182, 177, 183, 181, 182, 181, 179, 174, 180]
    assert not np.array_equal(labels, johnston.digit_set(1, 1797)[1])


def test_every_expected_order_names_rows_that_exist() -> None:
    names = johnston.rows(johnston.FULL)
    assert len(names) == len(set(names))
    known = set(johnston.derived(dict.fromkeys(names, np.zeros((1, 2))), johnston.FULL))
    for part in ("textures", "digits"):
        section = record.expected("johnston", part)
        for one, other, why in section.get("orders", []):
            assert {one, other} <= known, (one, other)
            assert why
        for one, other, margin, _ in section["equivalent"]:
            assert {one, other} <= known, (one, other)
            assert 0 < margin <= 0.02


def test_derived_rows_by_hand() -> None:
    settings = {"qps": [10, 50]}
    # Trained on a (column), tested on b (row), one clip.
    grid = {"raw": [0.8, 0.6, 0.1], "10": [0.7, 0.9, 0.2], "50": [0.3, 0.4, 0.5]}
    scores = {
        f"{a} on {b}": np.array([[v]])
        for a, line in grid.items()
        for b, v in zip(("raw", "10", "50"), line, strict=True)
    }
    scores |= {"raw on raw in grey": np.array([[0.75]]), "50 on raw in grey": np.array([[0.1]])}
    found = {k: v.item() for k, v in johnston.derived(scores, settings).items()}
    # raw: near raw, 10; far 50. 10: near all. 50: near 10, 50; far raw.
    near = np.mean([(0.8 + 0.7) / 2, (0.6 + 0.9 + 0.4) / 3, (0.2 + 0.5) / 2])
    assert found["trained within one step"] == pytest.approx(near)
    assert found["trained farther"] == pytest.approx((0.3 + 0.1) / 2)
    assert found["50 on lower, +2 points"] == pytest.approx((0.3 + 0.4) / 2 + 0.02)
    assert found["specialists, mean"] == pytest.approx((0.8 + 0.9 + 0.5) / 3)
    assert found["frame 0"] == pytest.approx((0.9 + 0.5) / 2)
    assert found["colour's share, trained on 50"] == pytest.approx(0.2)
    assert found["colour's share, trained on raw"] == pytest.approx(0.05)
    assert "frame 2" not in found, "its rows were not run"
    text = johnston.near({k: np.array([[v]]) for k, v in found.items()}, settings)
    assert "(raw: raw, 10: 10, 50: 50): within one step for 3 of 3" in text


def test_matrix_in_short(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    encoded: list[int] = []
    real = johnston.stills.encode

    def counted(yuv: Any, path: Path, qp: int) -> Any:
        encoded.append(qp)
        return real(yuv, path, qp=qp)

    monkeypatch.setattr(johnston.stills, "encode", counted)
    path = tmp_path / "johnston.jsonl"
    book = record.Book(path, "johnston", johnston.QUICK)
    johnston.run(book, johnston.QUICK, progress=lambda _: None)
    assert encoded == [10, 50, 10, 50], "one process a QP, for textures and for digits"
    assert [r["row"] for r in book.rows] != []
    assert {r["row"] for r in book.rows} == set(johnston.rows(johnston.QUICK))
    text = johnston.report(book)
    assert "| raw on raw > raw on interlaced | " in text
    assert "4-4-8-8, 1 seed |" in text
    johnston.plot(book, tmp_path / "johnston.png")
    assert (tmp_path / "johnston.png").stat().st_size > 5000
    # Right or wrong is one digit a clip in the file, and numbers again when it is read.
    line = json.loads(path.read_text().splitlines()[0])
    assert set(line["scores"]) <= {"0", "1"}
    assert len(line["scores"]) == 20
    again = record.Book(path, "johnston", johnston.QUICK)
    assert again.rows == book.rows
    encoded.clear()
    johnston.run(again, johnston.QUICK, progress=lambda _: None)
    assert not encoded, "nothing was missing"


def test_qualities_are_what_they_say() -> None:
    images, labels = textures("train", 0, 10, 20)
    yuv = johnston.stills.to_yuv(images)
    settings = {**johnston.QUICK, "qps": [50]}
    data = johnston.Set(yuv, labels, 5, settings, 0, None)
    true, told = data.quality("50"), data.quality("50, told 0")
    assert np.array_equal(true.images, told.images)
    assert np.unique(true.qp).tolist() == [50]
    assert np.unique(told.qp).tolist() == [0]
    assert not np.array_equal(true.images, data.quality("50, frame 3").images)
    grey = data.quality("raw in grey").images
    assert np.array_equal(grey[:, 0], yuv[:, 0])
    assert np.unique(grey[:, 1:]).tolist() == [128]
    assert np.array_equal(data.quality("interlaced").images[:, :, ::2], yuv[:, :, ::2])
