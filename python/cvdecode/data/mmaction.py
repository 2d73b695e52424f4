"""A loading step for mmaction2's pipelines, which are callables over a dict of results.

mmaction2 need not be installed. To use it by name in a configuration, register it there:
``TRANSFORMS.register_module(module=CompressedDecode)``.
"""

from __future__ import annotations

from typing import Any, Literal

import numpy as np

import cvdecode


class CompressedDecode:
    """Motion vectors (and pixels) of the frames that a sampling step chose.

    It stands where ``PyAVInit`` and ``PyAVDecodeMotionVector`` do, with the same keys. Unlike the
    latter it reads only the frames asked for and what they refer to, keeps vectors beyond +-127,
    blocks at the right and lower border, and both directions of B-frames apart.

    Args:
        motion: "step": displacement to the frame's true reference, here minus source, as the
            original has it; "accumulated": to the GOP's intra picture.
        imgs: also give the pixels of the same frames as ``imgs``.

    Keys needed:
        filename: path of the video.
        frame_inds: integers, any shape; flattened. Not needed by the first call of a pipeline whose
            sampling step still has to learn ``total_frames``: then only that is added.

    Keys added or changed:
        total_frames, start_index (0), modality stays.
        frame_inds: int64 (T,).
        motion_vectors: list of T float32 (H, W, 2) (x, y), samples.
        imgs: with imgs=True, list of T uint8 (H, W, 3) RGB.
        original_shape, img_shape: (H, W).

    Raises IndexError for frames outside the video, cvdecode.Error for videos that cannot be read.
    """

    def __init__(self, motion: Literal["step", "accumulated"] = "step", imgs: bool = False) -> None:
        if motion not in ("step", "accumulated"):
            raise ValueError(f'motion is "step" or "accumulated", not {motion!r}')
        self.motion = motion
        self.imgs = imgs

    def __call__(self, results: dict[str, Any]) -> dict[str, Any]:
        """The same dict, with keys added; see the class."""
        with cvdecode.VideoReader(results["filename"], planes=()) as video:
            results["total_frames"] = len(video)
            results.setdefault("start_index", 0)
            if "frame_inds" not in results:
                return results
            frames = np.asarray(results["frame_inds"], np.int64).reshape(-1)
            hops = 1 if self.motion == "step" else None
            acc = cvdecode.accumulate(video, frames, hops=hops)
            vectors = acc.displacement.transpose(0, 2, 3, 1).astype(np.float32) / 4
            results["frame_inds"] = frames
            results["motion_vectors"] = list(vectors)
            if self.imgs:
                results["imgs"] = list(video.get_rgb_at(frames).transpose(0, 2, 3, 1))
            shape = (acc.segment.height, acc.segment.width)
            results["original_shape"] = results["img_shape"] = shape
        return results

    transform = __call__

    def __repr__(self) -> str:
        return f"{type(self).__name__}(motion={self.motion!r}, imgs={self.imgs})"
