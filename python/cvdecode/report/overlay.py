"""Still pictures of one frame's planes."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

# Hue by direction, strength by length: red is right, green-yellow down, cyan left, violet up.


def flow_image(
    displacement: npt.NDArray[np.int16], largest: float | None = None
) -> npt.NDArray[np.uint8]:
    """Colours a displacement field (2, H, W) in quarter samples as (H, W, 3) uint8.

    `largest` is the length (in samples) drawn at full strength; default: the largest present.
    """
    from matplotlib.colors import hsv_to_rgb

    x, y = displacement.astype(np.float32) / 4
    length = np.hypot(x, y)
    scale = largest if largest is not None else max(1.0, float(length.max(initial=0.0)))
    hue = (np.arctan2(y, x) / (2 * np.pi)) % 1.0
    strength = np.clip(length / scale, 0, 1)
    hsv = np.stack([hue, strength, np.ones_like(hue)], axis=-1)
    return np.asarray(hsv_to_rgb(hsv) * 255 + 0.5).astype(np.uint8)


def overlay_image(clip: Any, t: int, *, step: int = 1) -> npt.NDArray[np.uint8]:
    """Row t of a clip with `rgb`, `mv` and `ref` as a picture with motion arrows, (H, W, 3) uint8.

    An arrow points from a block to where its prediction was taken from; warm colours refer to the
    past, cold ones to the future. `step` thins the arrows: one per `step` macroblocks.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    picture = clip.rgb[t].transpose(1, 2, 0)
    height, width = picture.shape[:2]
    zoom = max(1, min(4, round(960 / width)))
    figure = Figure(figsize=(width * zoom / 100, height * zoom / 100), dpi=100)
    canvas = FigureCanvasAgg(figure)
    axes = figure.add_axes((0, 0, 1, 1))
    axes.imshow(picture, extent=(0, width, height, 0))
    axes.set_xlim(0, width)
    axes.set_ylim(height, 0)
    axes.set_axis_off()
    left, top = clip.crop[:2]
    stride = 4 * step
    for which, mark in ((0, 1.0), (1, 0.7)):
        ref = clip.ref[t, which, 1::stride, 1::stride]
        vx, vy = (clip.mv[t, which, c, 1::stride, 1::stride] / 4 for c in (0, 1))
        rows, cols = np.nonzero(ref)
        past = ref[rows, cols] < 0
        colours = np.where(past[:, None], (0.98, 0.55, 0.14, mark), (0.28, 0.75, 0.89, mark))
        axes.quiver(
            (cols * stride + 1.5) * 4 - left,
            (rows * stride + 1.5) * 4 - top,
            vx[rows, cols],
            vy[rows, cols],
            color=colours,
            angles="xy",
            scale_units="xy",
            scale=1,
            width=0.0015,
            minlength=0.1,
        )
    canvas.draw()  # type: ignore[no-untyped-call]
    return np.asarray(canvas.buffer_rgba())[..., :3].copy()  # type: ignore[no-untyped-call]
