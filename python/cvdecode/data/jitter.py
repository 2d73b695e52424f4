"""Colour jitter of pictures in hue, lightness and saturation, one draw for a whole sample."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

Floats = npt.NDArray[np.float32]


@dataclasses.dataclass(frozen=True)
class HlsJitter:
    """Random shifts of hue, lightness and saturation, as CoViAR's loader makes of I-frames.

    Each is drawn evenly from -x to x, once a sample: its "iframe" and "rgb" are shifted alike, so
    that what a network sees of one clip stays one clip. Shifted values are clipped to their range,
    the hue too, as in the original. Vectors and residuals are left as they are: CoViAR's residual
    is a difference of pictures before the jitter.

    The original does so in tests as well, and rounds the three values to bytes on the way; here
    only the result is rounded.
    """

    hue: float = 36
    """In units of 2 degrees (OpenCV's bytes), of 180 of which the circle is made up."""
    lightness: float = 50
    """In units of 1/255."""
    saturation: float = 50
    """In units of 1/255."""

    def __post_init__(self) -> None:
        if min(self.hue, self.lightness, self.saturation) < 0:
            raise ValueError(f"{self}: each is the largest shift, 0 or more")

    def draw(self, rng: np.random.Generator) -> tuple[float, float, float]:
        """Shifts of hue, lightness and saturation, as fractions of their ranges."""
        most = (self.hue / 180, self.lightness / 255, self.saturation / 255)
        hue, lightness, saturation = (float(x * rng.uniform(-1, 1)) for x in most)
        return hue, lightness, saturation


def shift_hls(pictures: torch.Tensor, shifts: tuple[float, float, float]) -> torch.Tensor:
    """Pictures (..., 3, H, W), uint8 R, G, B, with hue, lightness and saturation shifted.

    Args:
        pictures: what is shifted; not changed.
        shifts: to be added to each, on scales of 0 to 1, at whose ends the sum is clipped.
    """
    rgb: Floats = np.moveaxis(pictures.numpy(), -3, 0).astype(np.float32) / np.float32(255)
    most, least = rgb.max(axis=0), rgb.min(axis=0)
    spread, total = most - least, most + least
    light: Floats = total / 2
    grey = spread == 0
    room = np.where(light <= 0.5, total, 2 - total)
    strength: Floats = spread / np.where(grey, 1, room)
    red, green, blue = rgb
    first, second = red == most, green == most
    apart = np.where(first, green - blue, np.where(second, blue - red, red - green))
    sixth = np.where(first, 0, np.where(second, 2, 4)).astype(np.float32)
    hue: Floats = (apart / np.where(grey, 1, spread) + np.where(grey, 0, sixth)) / 6 % 1
    hue, light, strength = (
        np.clip(value + np.float32(shift), 0, 1)
        for value, shift in zip((hue, light, strength), shifts, strict=True)
    )
    # Each channel falls from the upper to the lower value over a sixth of the circle.
    reach = strength * np.minimum(light, 1 - light)
    shifted = np.empty(rgb.shape, np.float32)
    for channel, turn in enumerate((0, 8, 4)):
        place = (hue * 12 + turn) % 12
        slope = np.clip(np.minimum(place - 3, 9 - place), -1, 1)
        shifted[channel] = light - reach * slope
    shifted = np.moveaxis(np.rint(shifted * 255), 0, -3)
    bytes_: Any = np.ascontiguousarray(shifted.clip(0, 255)).astype(np.uint8)
    return torch.from_numpy(bytes_)
