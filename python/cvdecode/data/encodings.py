"""Values that a network takes: encodings of vectors and residuals, and normalisers, by name."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import torch

Array = npt.NDArray[Any]

MV_ENCODINGS = ("coviar_u8", "dmc_u8", "float_px", "norm_wh", "int16")
"""Of a displacement d in samples (here minus source), component by component:

- "coviar_u8": uint8, trunc(d * 127.5 / 20) + 128, clipped to 0..255 (pytorch-coviar).
- "dmc_u8": uint8, floor(d * 127.5 / 20 + 128), clipped to 0..255: made whole only after the offset
  (DMC-Net with I3D; its ResNet-18 form is "coviar_u8").
- "float_px": float32, d.
- "norm_wh": float32, d / (width or height of the picture) / (0.0993703 or 0.1130276) / 10
  (Video-LaVIT's normalised vectors).
- "int16": quarter samples, as the accumulation gives them.
"""

RESIDUAL_ENCODINGS = ("coviar_u8", "int16", "float32")
"""Of a residual r:

- "coviar_u8": uint8, r + 128 clipped to 0..255. Of "recon_diff" the channels are B, G, R, as in
  pytorch-coviar, on whose order the published weights are; of "coded" Y, Cb, Cr.
- "int16", "float32": r itself; R, G, B of "recon_diff", Y, Cb, Cr of "coded".
"""

_LAVIT_STD = (0.0993703, 0.1130276)


def encode_mv(
    quarters: Array,
    encoding: str,
    *,
    scale: tuple[float, float] = (1.0, 1.0),
    size: tuple[int, int] = (1, 1),
) -> Array:
    """Vectors encoded.

    Args:
        quarters: (..., 2 (x, y), H, W), int16 or float32 quarter samples, here minus source.
        encoding: one of MV_ENCODINGS.
        scale: factors on x and y, as the ratios of a resize.
        size: "norm_wh": (width, height) of the picture, in samples.
    """
    if encoding == "int16" and scale == (1.0, 1.0) and quarters.dtype == np.int16:
        return quarters
    if encoding == "coviar_u8" and scale == (1.0, 1.0) and quarters.dtype == np.int16:
        return _coviar_u8(quarters)
    factors = np.array(scale, np.float32).reshape(2, 1, 1)
    if encoding == "int16":
        whole: Array = np.clip(np.rint(quarters * factors), -32768, 32767).astype(np.int16)
        return whole
    samples: Array = quarters.astype(np.float32)
    samples *= factors / 4
    if encoding == "coviar_u8":
        samples = np.trunc(samples * np.float32(127.5 / 20)) + 128
        return np.clip(samples, 0, 255).astype(np.uint8)
    if encoding == "dmc_u8":
        samples = samples * np.float32(127.5 / 20) + 128
        return np.clip(samples, 0, 255).astype(np.uint8)
    if encoding == "float_px":
        return samples
    if encoding == "norm_wh":
        samples /= (np.array(size) * np.array(_LAVIT_STD) * 10).astype(np.float32).reshape(2, 1, 1)
        return samples
    raise ValueError(f"mv has the encodings {', '.join(MV_ENCODINGS)}; not {encoding!r}")


def _coviar_u8(quarters: Array) -> Array:
    """trunc(q / 4 * 127.5 / 20) + 128 = trunc(q * 51 / 32) + 128 in whole numbers of 16 bits."""
    work = np.clip(quarters, -81, 81)
    work *= 51
    work += (work >> 15) & 31  # the shift rounds down, trunc rounds to 0
    work >>= 5
    work += 128
    return np.clip(work, 0, 255, out=work).astype(np.uint8)


def encode_residual(residual: Array, encoding: str) -> Array:
    """A residual, int16 of any shape, encoded; see RESIDUAL_ENCODINGS. Channels stay in place."""
    if encoding == "coviar_u8":
        signed: Array = np.clip(residual, -128, 127).astype(np.int8).view(np.uint8)
        return signed ^ np.uint8(128)
    if encoding == "int16":
        return residual
    if encoding == "float32":
        return residual.astype(np.float32)
    names = ", ".join(RESIDUAL_ENCODINGS)
    raise ValueError(f"residual has the encodings {names}; not {encoding!r}")


NORMALISERS: dict[str, tuple[tuple[float, ...], tuple[float, ...]]] = {
    "imagenet": ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
    "clip": ((0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)),
    # (x - (124, 117, 104)) * 0.0167 of values 0..255
    "mfnet": ((124 / 255, 117 / 255, 104 / 255), (1 / (0.0167 * 255),) * 3),
    "centre": ((0.5,), (1.0,)),
    "coviar_residual": ((0.5, 0.5, 0.5), (0.229, 0.224, 0.225)),
    "dmc": ((0.5,), (0.226,)),
}
"""Name -> (mean, deviation) of channels on a scale of 0 to 1; one value stands for all channels.

"imagenet", "clip" and "mfnet" are for R, G, B pictures; "centre" for vectors as in CoViAR;
"coviar_residual" for residuals in their order B, G, R; "dmc" for vectors as in DMC-Net.
"""


def normalise(x: torch.Tensor, name: str) -> torch.Tensor:
    """(x / 255 - mean) / deviation, float32, on the device of ``x``: float values stay so.

    Args:
        x: (..., C, H, W), uint8, or float on the same scale of 0 to 255.
        name: one of NORMALISERS.
    """
    if name not in NORMALISERS:
        raise ValueError(f"normalisers are {', '.join(NORMALISERS)}; not {name!r}")
    mean, std = (
        torch.tensor(values, dtype=torch.float32, device=x.device).reshape(-1, 1, 1)
        for values in NORMALISERS[name]
    )
    return (x.to(torch.float32) / 255 - mean) / std
