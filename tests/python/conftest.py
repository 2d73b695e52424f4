"""Fixtures that several test files share."""

from __future__ import annotations

import os
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

Encode = Callable[..., Path]
Serve = Callable[[Path], str]


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


class FileRequest(BaseHTTPRequestHandler):
    """Answers with a file of a folder, or the bytes of it that are asked for."""

    protocol_version = "HTTP/1.1"

    def __init__(self, folder: Path, *arguments: Any) -> None:
        self.folder = folder
        super().__init__(*arguments)

    def do_GET(self) -> None:
        data = (self.folder / self.path[1:]).read_bytes()
        start, stop = 0, len(data)
        if wanted := self.headers.get("Range"):
            first, last = wanted.removeprefix("bytes=").split("-")
            start, stop = int(first), int(last) + 1 if last else stop
            self.send_response(206)
            self.send_header("Content-Range", f"bytes {start}-{stop - 1}/{len(data)}")
        else:
            self.send_response(200)
        self.send_header("Accept-Ranges", "bytes")
        self.send_header("Content-Length", str(stop - start))
        self.end_headers()
        try:
            self.wfile.write(data[start:stop])
        except ConnectionError:
            self.close_connection = True

    def log_message(self, *arguments: Any) -> None:
        pass


@pytest.fixture
def serve() -> Iterator[Serve]:
    """serve(folder) -> address of that folder over HTTP, with byte ranges, until the test ends."""
    with ExitStack() as stack:

        def start(folder: Path) -> str:
            http = ThreadingHTTPServer(("127.0.0.1", 0), partial(FileRequest, folder))
            thread = threading.Thread(target=http.serve_forever)
            thread.start()
            stack.callback(thread.join)
            stack.callback(http.server_close)
            stack.callback(http.shutdown)
            return f"http://127.0.0.1:{http.server_address[1]}"

        yield start
