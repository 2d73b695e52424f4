"""The efficiency table: what it counts, worked by hand, and one recipe measured for real."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

pytest.importorskip("torch")
pytest.importorskip("torchmetrics")
from evidence import efficiency, record

from conftest import Encode
from cvdecode.recipes import config, systems

MV = "small_coviar_mv"


def told(seconds: list[tuple[float, ...]], frames: int) -> Any:
    """A predict() that says of each GOP that its parts took so long."""

    def predict(trained: object, path: str) -> Iterator[SimpleNamespace]:
        for each in seconds:
            parts = dict(zip(efficiency.PARTS, each, strict=True))
            yield SimpleNamespace(seconds=parts, frames=[0] * frames)
        raise AssertionError("more GOPs were asked for than the settings name")

    return predict


def test_times_are_of_a_frame_without_the_first_gop(monkeypatch: pytest.MonkeyPatch) -> None:
    gops = [(9.0, 9.0, 9.0, 9.0), (0.004, 0.002, 0.001, 0.01), (0.008, 0.002, 0.003, 0.02)]
    monkeypatch.setattr("cvdecode.recipes.predict.predict", told(gops, 2))
    found = efficiency.measure(MV, {**efficiency.QUICK, "gops": 2})
    for part, expected in zip(efficiency.PARTS, ([2, 4], [1, 1], [0.5, 1.5], [5, 10]), strict=True):
        assert found[part] == pytest.approx(expected), part
    assert found["frames"] == 2


def test_streams_of_a_system_add_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    figures = {
        "small_coviar_i": ([5, 1, 4], 30),
        "small_coviar_mv": ([1, 2, 3], 70),
        "small_coviar_r": ([0, 0, 8], 50),
    }

    def measured(recipe: str, settings: dict[str, Any]) -> dict[str, Any]:
        times, peak = figures[recipe]
        more = {"frames": 1, "size": 56, "parameters": 1_000_000, "peak_bytes": peak * 10**6}
        return {part: times for part in efficiency.PARTS} | more

    monkeypatch.setattr(efficiency, "measured", measured)
    book = record.Book(tmp_path / "e.jsonl", "efficiency", efficiency.QUICK)
    efficiency.run(book, efficiency.QUICK, progress=lambda _: None)
    (row,) = book.rows
    # Three nets one after the other: times and parameters add up; memory is that of the largest.
    assert row["scores"] == [24, 12, 60]
    assert [row[part] for part in efficiency.PARTS] == [6] * 4
    assert row["parameters"] == 3_000_000
    text = efficiency.report(book)
    assert "| small CoViAR | 6.0 | 6.0 | 6.0 | 6.0 | 24.0 | 41.7 | 70 | 3.0 |" in text
    assert text.count("not run") == len(efficiency.SYSTEMS)
    efficiency.run(book, efficiency.QUICK, progress=lambda _: None)
    assert len(book.rows) == 1, "what is there was measured again"


def test_one_recipe_for_real(
    encode: Encode, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clip = encode("efficiency.mp4", "-c:v", "libx264", "-g", "250", "-bf", "2", frames=30)
    monkeypatch.setattr(efficiency, "SMALL", {"vectors": (MV,)})
    settings = {**efficiency.QUICK, "clip": str(clip)}
    book = record.Book(tmp_path / "e.jsonl", "efficiency", settings)
    efficiency.run(book, settings, progress=lambda _: None)
    (row,) = book.rows
    assert len(row["scores"]) == settings["gops"]
    assert row["scores"][0] == pytest.approx(sum(row[p] for p in efficiency.PARTS), abs=0.01)
    assert all(row[part] > 0 for part in efficiency.PARTS)
    net = systems.system(config.load(MV), 51).net
    assert row["parameters"] == sum(p.numel() for p in net.parameters())
    assert row["peak_bytes"] > 50e6
