"""What a result was made with."""

from __future__ import annotations

import platform
from importlib import metadata

import cvdecode

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
