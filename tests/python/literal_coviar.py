"""pytorch-coviar's maps, literally: from libavcodec's own src and dst fields, read with PyAV.

The loader's behaviour as published: vectors in whole
samples are dst - src; a block writes a pixel only where both the pixel and its source lie inside
the frame; everything else keeps its trace.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import av
import numpy as np


def frames_with_vectors(path: Path) -> Iterator[tuple[str, Any, np.ndarray | None]]:
    """(picture type, av frame, vectors or None) of every frame, in output order."""
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        stream.codec_context.options = {"flags2": "+export_mvs"}
        stream.thread_type = "SLICE"
        for frame in container.decode(stream):
            vectors = frame.side_data.get("MOTION_VECTORS")
            kind = str(av.video.frame.PictureType(frame.pict_type).name)
            yield kind, frame, None if vectors is None else vectors.to_ndarray()


class LiteralGop:
    """The maps of one GOP, advanced frame by frame."""

    def __init__(self, height: int, width: int) -> None:
        self.height, self.width = height, width
        ys, xs = np.mgrid[:height, :width]
        self.accu_old = np.stack([xs, ys], -1)  # [y, x] -> (x, y) in the intra picture
        self.accu = self.accu_old.copy()
        self.single = np.zeros((height, width, 2), np.int64)

    def step(self, vectors: np.ndarray | None) -> None:
        self.single[:] = 0
        for v in () if vectors is None else vectors:
            assert v["source"] == -1
            dst_x, dst_y = int(v["dst_x"]), int(v["dst_y"])
            src_x, src_y = int(v["src_x"]), int(v["src_y"])
            val = (dst_x - src_x, dst_y - src_y)
            if val == (0, 0):
                continue
            w, h = int(v["w"]), int(v["h"])
            for oy in range(-h // 2, h // 2):
                y, sy = dst_y + oy, src_y + oy
                if not (0 <= y < self.height and 0 <= sy < self.height):
                    continue
                xs = [
                    ox
                    for ox in range(-w // 2, w // 2)
                    if 0 <= dst_x + ox < self.width and 0 <= src_x + ox < self.width
                ]
                if not xs:
                    continue
                a, b = dst_x + xs[0], dst_x + xs[-1] + 1
                self.accu[y, a:b] = self.accu_old[sy, a - val[0] : b - val[0]]
                self.single[y, a:b] = val
        self.accu_old = self.accu.copy()

    def accumulated(self) -> np.ndarray:
        ys, xs = np.mgrid[: self.height, : self.width]
        return np.stack([xs, ys], -1) - self.accu
