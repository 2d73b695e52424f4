"""The clips that a study starts from."""

from __future__ import annotations

import dataclasses
import hashlib
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from fractions import Fraction
from pathlib import Path

import cvdecode

from .errors import EncodeFailed
from .records import Record


@dataclasses.dataclass(frozen=True)
class Source:
    """One clip, as it will come out of ffmpeg's decoder."""

    path: str
    name: str
    """Where its outputs lie below a cell's folder, without suffix."""
    sha256: str
    """Of the file's content."""
    width: int
    """As shown: after the rotation that the container asks for."""
    height: int
    frames: int
    frame_rate: Fraction


def sha256_of(path: str | os.PathLike[str]) -> str:
    """Hex digest of a file's content."""
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def digest_of(path: str | os.PathLike[str]) -> str:
    """SHA-256 of a file's content, or of all files below a folder."""
    if os.path.isfile(path):
        return sha256_of(path)
    files = sorted(file for file in Path(path).rglob("*") if file.is_file())
    told = "".join(f"{file.relative_to(path)} {sha256_of(file)}\n" for file in files)
    return hashlib.sha256(told.encode()).hexdigest()


def inspect(path: str, name: str) -> Source:
    """What must be known of a clip before it is transcoded.

    Raises:
        EncodeFailed: the clip has no frame.
        cvdecode.Error, OSError: it cannot be read.
    """
    with cvdecode.VideoReader(path, planes=()) as video:
        meta, frames = video.metadata, len(video)
    if not frames:
        raise EncodeFailed(f"{path}: no frame can be shown")
    width, height = meta.width, meta.height
    if round(meta.rotation) % 180 == 90:
        width, height = height, width
    rate = meta.frame_rate or Fraction(25)
    return Source(path, name, sha256_of(path), width, height, frames, rate)


def load_sources(
    inputs: Sequence[tuple[str, str]], jobs: int = 1
) -> tuple[list[Source], list[Record]]:
    """Inspects (path, name) pairs: the clips that can be read, and a record of each that cannot."""
    sources: list[Source] = []
    failed: list[Record] = []

    def look(pair: tuple[str, str]) -> Source | Record:
        try:
            return inspect(*pair)
        except (cvdecode.Error, OSError, ValueError) as error:
            return {"source": pair[1], "setting": None, "error": one_line(error)}

    with ThreadPoolExecutor(max(1, jobs)) as pool:
        for found in pool.map(look, inputs):
            if isinstance(found, Source):
                sources.append(found)
            else:
                failed.append(found)
    return sources, failed


def one_line(error: BaseException) -> str:
    """What an error says, for a record."""
    return " ".join(str(error).split()) or type(error).__name__
