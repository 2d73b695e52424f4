"""Algorithm 1 of Otani et al.: every frame as a JPEG of its own, before any resize.

The frames of a clip are kept as one stream of JPEG images, one after the other (``.mjpeg``), which
the reader and ffmpeg open like any video; its size is the sum of the images' sizes.
"""

from __future__ import annotations

import io
import os

import numpy as np
import numpy.typing as npt

from .errors import ToolMissing
from .ffmpeg import frames


def version() -> str:
    """Version of Pillow, which writes the images; "none" where it is missing."""
    try:
        import PIL
    except ImportError:
        return "none"
    return str(PIL.__version__)


def encode_image(pixels: npt.NDArray[np.uint8], quality: int) -> bytes:
    """One (H, W, 3) RGB image as JPEG, 4:2:0 as Pillow does by default.

    Raises:
        ToolMissing: Pillow is not installed.
    """
    try:
        from PIL import Image
    except ImportError:
        raise ToolMissing(
            "JPEG images are written by Pillow: pip install 'cvdecode[study]'"
        ) from None
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "JPEG", quality=quality)
    return buffer.getvalue()


def encode_clip(
    source: str, width: int, height: int, quality: int, out: str | os.PathLike[str]
) -> None:
    """Decodes `source` (of this size as shown) and writes its frames as JPEG images."""
    with open(out, "wb") as file:
        for frame in frames(source, (height, width, 3), "rgb24"):
            file.write(encode_image(frame, quality))
        file.flush()
        os.fsync(file.fileno())
