"""Fixtures that several test files share."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

Encode = Callable[..., Path]


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """The folder of real test clips; skips where there is none."""
    root = Path(__file__).resolve().parents[2]
    folder = Path(os.environ.get("CVDECODE_TEST_DATA", root.parent / "shared" / "clips"))
    if not folder.is_dir():
        pytest.skip(f"no test clips at {folder}; set CVDECODE_TEST_DATA")
    return folder


def run_ffmpeg(*arguments: str) -> None:
    subprocess.run(["ffmpeg", "-v", "error", "-y", *arguments], check=True)


@pytest.fixture(scope="session")
def encode(tmp_path_factory: pytest.TempPathFactory) -> Encode:
    """encode(name, *ffmpeg_options, source=..., frames=...) -> path, made once a session."""
    folder = tmp_path_factory.mktemp("encoded")

    def make(
        name: str,
        *options: str,
        source: str = "testsrc2=size=160x96:rate=25",
        frames: int = 48,
    ) -> Path:
        path = folder / name
        if not path.exists():
            run_ffmpeg(
                "-f", "lavfi", "-i", source, "-frames:v", str(frames), *options, str(path)
            )  # fmt: skip
        return path

    return make


@pytest.fixture(scope="session")
def x264_matrix(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Small x264 streams, one for each thing that shows in headers."""
    from h264_headers import X264_MATRIX, x264

    folder = tmp_path_factory.mktemp("headers_x264")
    return {name: x264(folder / f"{name}.264", text) for name, text in X264_MATRIX.items()}
