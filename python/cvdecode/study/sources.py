"""The clips that a study starts from."""

from __future__ import annotations

import dataclasses
import hashlib
import os
from fractions import Fraction

import cvdecode

from .errors import EncodeFailed


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
