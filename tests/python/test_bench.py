"""bench/python/run.py runs end to end on a small clip; what it says about speed is not tested."""

from __future__ import annotations

import importlib
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from conftest import Encode

ROOT = Path(__file__).resolve().parents[2]
RUN = ROOT / "bench" / "python" / "run.py"
PARTS = {
    "streaming": {
        "plain C decode",
        "cvdecode libav mv+qp",
        "cvdecode native mv+ref+qp+mb_type",
        "cvdecode native whole clip",
        "cvdecode native with residual",
        "PyAV vectors",
        "mv-extractor",
        "codec-video-prep",
    },
    "pixels": {"plain C decode", "cvdecode rgb", "torchcodec rgb", "decord rgb"},
    "random_access": {
        "cvdecode three random frames",
        "PyAV three random frames",
        "cvdecode three random frames, opening included",
        "PyAV three random frames, opening included",
    },
}


@pytest.mark.skipif(not RUN.exists(), reason="bench/ is not here")
def test_every_candidate_has_a_time_or_a_reason(encode: Encode, tmp_path: Path) -> None:
    clip = encode("bench.mp4", "-c:v", "libx264", "-bf", "2", frames=24)
    done = subprocess.run(
        [sys.executable, str(RUN), "--quick", "--clip", str(clip), "--out", str(tmp_path),
         "--only", ",".join(PARTS)],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    result = json.loads((tmp_path / "speed.json").read_text())
    for part, candidates in PARTS.items():
        missing = result[part]["not_measured"]
        rows = result[part]["rows"]
        figures = (
            [row["figures"] for row in rows] if isinstance(rows, list) else list(rows.values())
        )
        assert figures
        for of_clip in figures:
            assert set(of_clip) | set(missing) == candidates
            assert all(figure["seconds"] > 0 for figure in of_clip.values())
        assert all(reason for reason in missing.values())
        # Nothing but the peers may be absent.
        assert not [name for name in missing if name.startswith("cvdecode")], missing
    frames = {figures["frames"] for figures in result["streaming"]["rows"][0]["figures"].values()}
    assert frames == {24}
    # Ratios need the yardstick, which `make bench` builds; without it the table says so.
    baseline = "plain C decode" not in result["streaming"]["not_measured"]
    row = "cvdecode native mv+ref+qp+mb_type" if baseline else "Not measured: "
    assert row in done.stdout


@pytest.mark.skipif(not RUN.exists(), reason="bench/ is not here")
def test_the_index_of_10000_files_does_not_stay(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.syspath_prepend(str(RUN.parent))
    run = importlib.import_module("run")

    class First:
        def run(self, folder: Path) -> dict[str, float]:
            folder.mkdir()
            (folder / "index.json").write_text("large")
            return {"seconds": 1.5}

    monkeypatch.setattr(run, "make", lambda name: First())
    monkeypatch.setattr(run, "finish", lambda candidates: {})
    monkeypatch.setattr(run.sources, "CACHE", tmp_path)
    saved: list[dict[str, object]] = []
    run.data([], 1, saved.append)
    assert saved[-1]["first_batch"] == {"seconds": 1.5}
    assert not list(tmp_path.iterdir())
