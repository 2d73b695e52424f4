"""What a result was made with, and files of networks."""

from __future__ import annotations

import io
import os
import platform
from importlib import metadata
from typing import Any

import torch

import cvdecode
from cvdecode.study.records import write_atomic

PACKAGES = ("torch", "torchmetrics", "transformers", "numpy")


def versions() -> dict[str, str]:
    """Versions of what takes part in training, by name."""
    found = {
        "cvdecode": cvdecode.__version__,
        "plane_version": str(cvdecode.PLANE_VERSION),
        "python": platform.python_version(),
    }
    for name in PACKAGES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def save(path: str | os.PathLike[str], content: Any) -> None:
    """torch.save in one piece, by way of memory: torch itself says of a full disk what it is not.

    Raises:
        DiskFull: there is no room; the old file stays.
    """
    buffer = io.BytesIO()
    torch.save(content, buffer)
    write_atomic(path, buffer.getbuffer())
