"""Accumulated displacement against motion that a formula gives: bench/python/known_motion.py on one
clip, and bench/python/accumulation.py, whose NumPy maps have to be ours."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

BENCH = Path(__file__).resolve().parents[2] / "bench" / "python"
pytestmark = pytest.mark.skipif(not BENCH.exists(), reason="bench/ is not here")


@pytest.mark.parametrize("name", ["rotate"])
def test_exact_references_beat_guessed_ones(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(BENCH))
    import known_motion

    (path,) = known_motion.encode(known_motion.MOTIONS[name], 0, 14, [23], tmp_path)
    result = known_motion.measure(path, known_motion.MOTIONS[name])
    assert result["B frames"] >= 6
    assert result["counted"] > 0.95
    mean = {method: values["mean"] for method, values in result["methods"].items()}
    assert mean["exact"] < 0.6
    assert 2 * mean["exact"] < mean["B dropped"]
    assert 5 * mean["exact"] < mean["previous"]
    assert known_motion.order_holds(result)


def test_numpy_gives_the_same_maps(encode: Any, tmp_path: Path) -> None:
    clip = encode(
        "gop12.mp4", "-c:v", "libx264", "-g", "12", "-keyint_min", "12", "-sc_threshold", "0",
        "-bf", "2", "-pix_fmt", "yuv420p", source="mandelbrot=size=90x70:rate=25", frames=36,
    )  # fmt: skip
    done = subprocess.run(
        [sys.executable, str(BENCH / "accumulation.py"), "--rounds", "2", "--clip", str(clip),
         "--out", str(tmp_path)],
        capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "| given |" in done.stdout
    assert (tmp_path / "accumulation.json").exists()
