"""Optical flow of picture pairs, for teachers alone: TV-L1 in torch, no further dependency."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

GREY = (0.299, 0.587, 0.114)


@torch.no_grad()
def tv_l1(
    now: Tensor, before: Tensor, *, levels: int = 4, warps: int = 3, steps: int = 12,
    tau: float = 0.25, smooth: float = 0.15, theta: float = 0.3,
) -> Tensor:  # fmt: skip
    """Displacement of every sample since the picture before: here minus there, samples.

    TV-L1 with dual variables (Zach, Pock and Bischof, DAGM 2007), coarse to fine.

    Args:
        now: uint8 or float (B, 3, H, W), RGB in 0..255.
        before: the same of the picture before.
        levels: sizes, each half of the one below, down to 8 samples.
        warps: linearisations a size.
        steps: iterations a linearisation.
        tau: step of the dual variables; at most 1/4.
        smooth: weight of the data term, with grey levels in 0..255.
        theta: coupling of the two halves.

    Returns:
        float32 (B, 2 (x, y), H, W).
    """
    weights = torch.tensor(GREY, device=now.device).view(1, 3, 1, 1)
    pair = [(x.float() * weights).sum(1, keepdim=True) for x in (now, before)]
    pyramid = [pair]
    while len(pyramid) < levels and min(pyramid[-1][0].shape[-2:]) >= 16:
        pyramid.append([F.avg_pool2d(x, 2) for x in pyramid[-1]])
    height, width = pyramid[-1][0].shape[-2:]
    flow = now.new_zeros((len(now), 2, height, width), dtype=torch.float32)
    for first, second in reversed(pyramid):
        if flow.shape[-2:] != first.shape[-2:]:
            size = first.shape[-2:]
            flow = F.interpolate(flow, size=size, mode="bilinear", align_corners=False) * 2
        flow = _level(first, second, flow, warps, steps, tau, smooth, theta)
    return -flow  # from here to there, so far


def _level(
    first: Tensor, second: Tensor, flow: Tensor,
    warps: int, steps: int, tau: float, smooth: float, theta: float,
) -> Tensor:  # fmt: skip
    dual = flow.new_zeros((len(flow), 4, *flow.shape[-2:]))
    gradient = _central(second)
    for _ in range(warps):
        warped = _warp(torch.cat([second, gradient], 1), flow)
        at, slope = warped[:, :1], warped[:, 1:]
        square = slope.square().sum(1, keepdim=True) + 1e-9
        constant = at - first - (slope * flow).sum(1, keepdim=True)
        limit = smooth * theta
        for _ in range(steps):
            rho = constant + (slope * flow).sum(1, keepdim=True)
            # The data term's minimiser: a step along the slope, no longer than the limit.
            near = flow - (rho / square).clamp(-limit, limit) * slope
            flow = near + theta * _divergence(dual)
            steep = _forward(flow)
            ratio = tau / theta
            length = torch.cat(
                [
                    steep[:, k : k + 2].square().sum(1, keepdim=True).sqrt().expand(-1, 2, -1, -1)
                    for k in (0, 2)
                ],
                1,
            )
            dual = (dual + ratio * steep) / (1 + ratio * length)
    return flow


def _central(x: Tensor) -> Tensor:
    """(B, 1, H, W) to its slopes (B, 2 (x, y), H, W)."""
    wide = F.pad(x, (1, 1, 1, 1), mode="replicate")
    across = (wide[:, :, 1:-1, 2:] - wide[:, :, 1:-1, :-2]) / 2
    down = (wide[:, :, 2:, 1:-1] - wide[:, :, :-2, 1:-1]) / 2
    return torch.cat([across, down], 1)


def _forward(flow: Tensor) -> Tensor:
    """Forward differences (B, 4, H, W) of both components: (ux, uy, vx, vy)."""
    across = F.pad(flow[:, :, :, 1:] - flow[:, :, :, :-1], (0, 1))
    down = F.pad(flow[:, :, 1:] - flow[:, :, :-1], (0, 0, 0, 1))
    return torch.stack([across, down], 2).flatten(1, 2)


def _divergence(dual: Tensor) -> Tensor:
    """The adjoint of _forward, with the sign that makes it a divergence: (B, 2, H, W)."""
    across, down = dual[:, 0::2], dual[:, 1::2]
    x = F.pad(across[..., :-1], (0, 1)) - F.pad(across[..., :-1], (1, 0))
    y = F.pad(down[..., :-1, :], (0, 0, 0, 1)) - F.pad(down[..., :-1, :], (0, 0, 1, 0))
    return x + y


def _warp(x: Tensor, flow: Tensor) -> Tensor:
    """x at here + flow, bilinear, clamped to the picture."""
    height, width = x.shape[-2:]
    down, across = torch.meshgrid(
        torch.arange(height, device=x.device), torch.arange(width, device=x.device), indexing="ij"
    )
    u = (across + flow[:, 0]) * 2 / max(width - 1, 1) - 1
    v = (down + flow[:, 1]) * 2 / max(height - 1, 1) - 1
    return F.grid_sample(
        x, torch.stack([u, v], -1), mode="bilinear", padding_mode="border", align_corners=True
    )
