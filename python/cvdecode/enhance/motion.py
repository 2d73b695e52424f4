"""The motion that a stream carries, as dense flow to the frame before."""

from __future__ import annotations

import torch
from torch import Tensor


def stream_flow(displacement: Tensor, anchor: Tensor, index: Tensor) -> tuple[Tensor, Tensor]:
    """Flow to the frame shown before, from motion accumulated back to it.

    For frame t it takes what `cvdecode.accumulate(video, [t], anchors=[t - 1])` gives: the trace of
    each sample through P- and B-frames to frame t - 1. Where the trace meets another frame (a
    P-frame whose references skip the B-frames before it, a B-frame between two references), motion
    is taken as uniform and divided by the distance, whose sign counts. Where there is none (intra
    pictures and blocks, damage) the flow is 0. Traces to the true reference alone (`hops=1`) are
    turned into flow by the same rule.

    Args:
        displacement: int16 (T, 2 (x, y), H, W), here minus source, quarter samples.
        anchor: int32 (T, H, W), presentation index of the frame in which the trace ended.
        index: int64 (T,), presentation index of each frame.

    Returns:
        flow, float32 (T, 2 (x, y), H, W), for `warp`: in units of `grid_sample`, source minus
        here, so that source = here + flow; known, bool (T, H, W): where the stream says anything.
    """
    height, width = displacement.shape[-2:]
    distance = index.to(anchor.device, torch.int64)[:, None, None] - anchor
    known = (anchor >= 0) & (distance != 0)
    rate = torch.where(known, -0.25 / distance, 0.0).to(torch.float32)
    size = torch.tensor([width, height], dtype=torch.float32, device=displacement.device)
    flow = displacement.to(torch.float32) * rate[:, None] * (2 / size).view(2, 1, 1)
    return flow, known


def flow_in_samples(flow: Tensor) -> Tensor:
    """Flow (..., 2 (x, y), H, W) in units of `grid_sample`, in samples."""
    height, width = flow.shape[-2:]
    size = torch.tensor([width, height], dtype=flow.dtype, device=flow.device)
    return flow * (size / 2).view(2, 1, 1)
