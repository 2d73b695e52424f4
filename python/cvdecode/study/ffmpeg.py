"""The system's ffmpeg command: running it, what its failures mean, raw frames out of it."""

from __future__ import annotations

import contextlib
import errno
import functools
import os
import re
import subprocess
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from .errors import DiskFull, EncodeFailed, ToolMissing

_FULL = ("no space left on device", "disk quota exceeded")


def full_disk(error: OSError) -> bool:
    """Whether an OSError says that there is no room left."""
    return error.errno in (errno.ENOSPC, errno.EDQUOT)


@functools.cache
def version() -> str:
    """Version of the ffmpeg on the PATH, as it says it.

    Raises:
        ToolMissing: there is none.
    """
    done = start(["-version"], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    out, _ = done.communicate()
    match = re.match(r"ffmpeg version (\S+)", out.decode(errors="replace"))
    return match.group(1) if match else "unknown"


def start(arguments: Sequence[str], **pipes: Any) -> subprocess.Popen[bytes]:
    """Starts `ffmpeg ARGUMENTS` with Popen's options; ToolMissing where there is none."""
    try:
        return subprocess.Popen(["ffmpeg", *arguments], **pipes)
    except FileNotFoundError:
        raise ToolMissing(
            "there is no ffmpeg on the PATH; studies transcode with the system's ffmpeg: "
            "sudo apt-get install ffmpeg"
        ) from None


def local(path: str | os.PathLike[str]) -> str:
    """A file's name as ffmpeg takes it whatever it contains: "a:b.mp4" is no protocol."""
    return f"file:{os.fspath(path)}"


def failure(what: str, text: str) -> EncodeFailed | DiskFull:
    """The error that ffmpeg's messages mean."""
    lines = [line for line in text.strip().splitlines() if line.strip()]
    said = "; ".join(dict.fromkeys(lines[-3:])) or "it said nothing"
    if any(word in text.lower() for word in _FULL):
        return DiskFull(errno.ENOSPC, f"no space left while writing {what}")
    return EncodeFailed(f"{what}: ffmpeg failed: {said}")


def run(arguments: Sequence[str], what: str, data: bytes | None = None) -> None:
    """Runs `ffmpeg ARGUMENTS`, feeding `data`; `what` names the work in errors.

    Raises:
        EncodeFailed, DiskFull: with ffmpeg's own last words.
    """
    process = start(
        ["-nostdin", "-hide_banner", "-v", "error", "-y", *arguments],
        stdin=subprocess.PIPE if data is not None else subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )
    try:
        _, said = process.communicate(data)
    except BaseException:
        process.kill()
        process.wait()
        raise
    text = said.decode(errors="replace")
    # ffmpeg may lose the end of a file on a full disk and still return 0.
    if process.returncode or any(word in text.lower() for word in _FULL):
        raise failure(what, text)


def feed(process: subprocess.Popen[bytes], data: Iterable[bytes], what: str) -> None:
    """Feeds a started ffmpeg its input piece by piece and waits for its end.

    Raises:
        EncodeFailed, DiskFull: with ffmpeg's own last words.
    """
    assert process.stdin is not None
    try:
        with contextlib.suppress(BrokenPipeError):  # it ended early and says why
            for piece in data:
                process.stdin.write(piece)
        _, said = process.communicate()
    except BaseException:
        process.kill()
        process.wait()
        raise
    if process.returncode or any(word in said.decode(errors="replace").lower() for word in _FULL):
        raise failure(what, said.decode(errors="replace"))


def keep_every_frame() -> list[str]:
    """The output option that neither drops nor repeats frames, in the words of this version."""
    number = re.match(r"n?(\d+)\.(\d+)", version())
    old = number is not None and (int(number[1]), int(number[2])) < (5, 1)
    return ["-vsync", "0"] if old else ["-fps_mode", "passthrough"]


def frames(
    source: str | os.PathLike[str],
    shape: tuple[int, ...],
    pix_fmt: str,
    filters: str = "",
) -> Iterator[npt.NDArray[np.uint8]]:
    """Decoded frames one by one, each a new uint8 array of `shape` (its bytes as they come).

    Args:
        source: a file.
        shape: of one frame in `pix_fmt`, e.g. (H, W, 3) for rgb24, (H * 3 // 2, W) for yuv420p.
        pix_fmt: ffmpeg's name. Beware: "gray" of a yuv420p video is *not* its luma plane, it is
            expanded from limited to full range (which caps the PSNR of a QP 10 encode below
            30 dB); take yuv420p and its first H rows.
        filters: an ffmpeg filter chain, e.g. "scale=480:360".

    Raises:
        EncodeFailed: ffmpeg cannot decode it.
    """
    chain = ["-vf", filters] if filters else []
    # Errors go to a file: a pipe that nobody empties would stop ffmpeg after 64 KiB of warnings.
    with tempfile.TemporaryFile() as errors:
        process = start(
            [
                *["-nostdin", "-hide_banner", "-v", "error", "-threads", "1"],
                *["-i", local(source), "-map", "0:v:0", *chain, *keep_every_frame()],
                *["-f", "rawvideo", "-pix_fmt", pix_fmt, "-"],
            ],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=errors,
        )
        pipe = process.stdout
        assert pipe is not None
        size = int(np.prod(shape))
        try:
            while len(block := pipe.read(size)) == size:
                yield np.frombuffer(block, np.uint8).reshape(shape)
            if process.wait() or block:
                errors.seek(0)
                raise failure(os.fspath(source), errors.read().decode(errors="replace"))
        finally:
            pipe.close()
            process.kill()
            process.wait()
