"""Enhancement of compressed video (Pourreza et al., section 2.1): three architectures on luma.

Frames are luma, float32 in [0, 1] (the coded 8-bit sample / 255; chroma stays as it was). A clip is
(B, T, 1, H, W). Outputs are not clamped: whoever makes 8-bit samples of them clamps.

The layers are in a figure of the paper that its text does not give. AMBIGUOUS, resolved from the
line of work that it builds on (frame-recurrent super-resolution, Sajjadi et al. 2018; TecoGAN, Chu
et al. 2020), with the skip connections that section 4.3 names:

- FNet: three levels of two 3x3 convolutions with LeakyReLU(0.2), 32, 64, 128 channels, each
  followed by 2x2 max pooling; three of 256, 128, 64 channels, each followed by bilinear upsampling
  and joined with the encoder's output of that size; convolutions to 32 and 2 channels, tanh.
- ENet: a 3x3 convolution to 64 channels with ReLU, ten residual blocks (convolution, ReLU,
  convolution), a convolution to one channel, added to the compressed frame.
- First step: the "previous enhanced frame" is the first compressed frame itself, with no motion.
- Warping reads border samples where it points outside the picture.
- Complexity "about the same" is taken as parameters: 2.68 M in FNet and ENet together, so the
  frame-by-frame ENet has 36 blocks (2.66 M).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

Kind = Literal["frame", "window", "recurrent", "vectors"]


def warp(image: Tensor, flow: Tensor) -> Tensor:
    """Samples `image` at here + `flow`, bilinear, border samples outside.

    Args:
        image: (B, C, H, W).
        flow: (B, 2 (x, y), H, W) in units of `grid_sample` with align_corners=False: 2 is the
            width, or the height, of the picture.
    """
    height, width = image.shape[-2:]
    x = (2 * torch.arange(width, device=flow.device, dtype=flow.dtype) + 1) / width - 1
    y = (2 * torch.arange(height, device=flow.device, dtype=flow.dtype) + 1) / height - 1
    grid = torch.stack([flow[:, 0] + x, flow[:, 1] + y[:, None]], -1)
    return F.grid_sample(image, grid, padding_mode="border", align_corners=False)


def _pair(channels: int, width: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(channels, width, 3, padding=1),
        nn.LeakyReLU(0.2),
        nn.Conv2d(width, width, 3, padding=1),
        nn.LeakyReLU(0.2),
    )


class FNet(nn.Module):
    """Optical flow between two frames: a U-Net of three levels.

    AMBIGUOUS: the paper's flow is in [-1, 1] of the picture. A network trained on patches would
    then give other displacements on pictures of another size, for the same content. RESOLUTION:
    tanh = 1 is half a training patch, in samples, at every size; on such patches it is the paper's.

    Args:
        width: channels of the first level (32, 64, 128 down; 256, 128, 64 up).
        patch: height and width of the training patches, samples.
    """

    def __init__(self, width: int = 32, patch: int = 96) -> None:
        super().__init__()
        self.patch = patch
        self.down = nn.ModuleList(
            [_pair(2, width), _pair(width, 2 * width), _pair(2 * width, 4 * width)]
        )
        self.up = nn.ModuleList(
            [
                _pair(4 * width, 8 * width),
                _pair(8 * width + 4 * width, 4 * width),
                _pair(4 * width + 2 * width, 2 * width),
            ]
        )
        self.flow = nn.Sequential(
            nn.Conv2d(2 * width + width, width, 3, padding=1),
            nn.LeakyReLU(0.2),
            nn.Conv2d(width, 2, 3, padding=1),
            nn.Tanh(),
        )

    def forward(self, now: Tensor, before: Tensor) -> Tensor:
        """Flow (B, 2 (x, y), H, W) for `warp`: from `now`, (B, 1, H, W), to where it was `before`.

        Any size: it is padded to multiples of 8 inside.
        """
        height, width = now.shape[-2:]
        x = F.pad(torch.cat([now, before], 1), (0, -width % 8, 0, -height % 8), mode="replicate")
        skips = []
        for level in self.down:
            x = level(x)
            skips.append(x)
            x = F.max_pool2d(x, 2)
        for level in self.up:
            x = F.interpolate(level(x), scale_factor=2.0, mode="bilinear", align_corners=False)
            x = torch.cat([x, skips.pop()], 1)
        flow = self.flow(x)[..., :height, :width] * self.patch
        return torch.stack([flow[:, 0] / width, flow[:, 1] / height], 1)


class ENet(nn.Module):
    """The compressed frame and its aligned companions to an enhanced frame.

    Args:
        inputs: pictures that go in; the first is the compressed frame, which is added at the end.
        width: channels.
        blocks: residual blocks.
    """

    def __init__(self, inputs: int, width: int = 64, blocks: int = 10) -> None:
        super().__init__()
        self.first = nn.Conv2d(inputs, width, 3, padding=1)
        self.blocks = nn.ModuleList(
            nn.Sequential(
                nn.Conv2d(width, width, 3, padding=1),
                nn.ReLU(),
                nn.Conv2d(width, width, 3, padding=1),
            )
            for _ in range(blocks)
        )
        self.last = nn.Conv2d(width, 1, 3, padding=1)

    def forward(self, frame: Tensor, *companions: Tensor) -> Tensor:
        """(B, 1, H, W) each to (B, 1, H, W)."""
        x = F.relu(self.first(torch.cat([frame, *companions], 1)))
        for block in self.blocks:
            x = x + block(x)
        enhanced: Tensor = frame + self.last(x)
        return enhanced


class FrameByFrame(nn.Module):
    """Each frame by itself, through an ENet."""

    def __init__(self, width: int = 64, blocks: int = 36) -> None:
        super().__init__()
        self.arguments = {"width": width, "blocks": blocks}
        self.enet = ENet(1, width, blocks)

    def forward(self, frames: Tensor) -> Tensor:
        """(B, T, 1, H, W) to the same."""
        enhanced: Tensor = self.enet(frames.flatten(0, 1))
        return enhanced.view(frames.shape)

    def stream(self, frames: Iterable[Tensor]) -> Iterator[Tensor]:
        """Frames (B, 1, H, W) one by one, enhanced, without gradients."""
        for frame in frames:
            with torch.no_grad():
                enhanced = self.enet(frame)
            yield enhanced


class MultiFrame(nn.Module):
    """Each frame from a window around it, whose frames are aligned to it and go into one ENet.

    All neighbours share one FNet. Beyond the ends of a clip its first or last frame is repeated.

    Args:
        radius: frames on each side.
        width, blocks: of ENet.
        flow_width, patch: of FNet.
    """

    def __init__(
        self,
        radius: int = 1,
        width: int = 64,
        blocks: int = 10,
        flow_width: int = 32,
        patch: int = 96,
    ) -> None:
        super().__init__()
        self.arguments = {
            "radius": radius,
            "width": width,
            "blocks": blocks,
            "flow_width": flow_width,
            "patch": patch,
        }
        self.radius = radius
        self.fnet = FNet(flow_width, patch)
        self.enet = ENet(2 * radius + 1, width, blocks)

    def window(self, frames: Tensor) -> Tensor:
        """The middle frame of (B, 2 radius + 1, 1, H, W), enhanced: (B, 1, H, W)."""
        middle = frames[:, self.radius]
        others = [frames[:, k] for k in range(frames.shape[1]) if k != self.radius]
        aligned = [warp(other, self.fnet(middle, other)) for other in others]
        enhanced: Tensor = self.enet(middle, *aligned)
        return enhanced

    def forward(self, frames: Tensor) -> Tensor:
        """(B, T, 1, H, W) to the same."""
        count = frames.shape[1]
        offsets = torch.arange(-self.radius, self.radius + 1, device=frames.device)
        places = torch.arange(count, device=frames.device)[:, None] + offsets
        windows = frames[:, places.clamp(0, count - 1)].flatten(0, 1)
        return self.window(windows).view(frames.shape)

    def stream(self, frames: Iterable[Tensor]) -> Iterator[Tensor]:
        """Frames (B, 1, H, W) one by one, enhanced, `radius` frames late, without gradients."""
        kept: deque[Tensor] = deque(maxlen=2 * self.radius + 1)
        for frame in frames:
            kept.extend([frame] * (1 if kept else self.radius + 1))
            if len(kept) == kept.maxlen:
                yield self._middle(kept)
        for _ in range(self.radius if kept else 0):
            kept.append(kept[-1])
            if len(kept) == kept.maxlen:
                yield self._middle(kept)

    @torch.no_grad()
    def _middle(self, kept: Iterable[Tensor]) -> Tensor:
        return self.window(torch.stack(list(kept), 1))


class FrameRecurrent(nn.Module):
    """Each frame from itself and the last enhanced frame, warped to it (the paper's Eq. 1).

    Args:
        width, blocks: of ENet.
        flow_width: of FNet. None: there is no FNet, the flow is given: the motion that the stream
            itself carries (`stream_flow`).
        patch: of FNet.
    """

    def __init__(
        self,
        width: int = 64,
        blocks: int = 10,
        flow_width: int | None = 32,
        patch: int = 96,
    ) -> None:
        super().__init__()
        self.arguments = {
            "width": width,
            "blocks": blocks,
            "flow_width": flow_width,
            "patch": patch,
        }
        self.fnet = None if flow_width is None else FNet(flow_width, patch)
        self.enet = ENet(2, width, blocks)

    def step(
        self, now: Tensor, before: Tensor, enhanced: Tensor, flow: Tensor | None = None
    ) -> Tensor:
        """One frame.

        Args:
            now, before: compressed frames t and t - 1, (B, 1, H, W).
            enhanced: enhanced frame t - 1.
            flow: (B, 2, H, W) as in `warp`; for a network without FNet, and for no other.

        Raises:
            ValueError: flow is missing, or given to a network that estimates its own.
        """
        if (flow is None) != (self.fnet is not None):
            raise ValueError(
                "this network has no FNet: give it the stream's own flow (stream_flow)"
                if flow is None
                else "this network estimates its flow itself; flow_width=None makes one that is "
                "given it"
            )
        if self.fnet is not None:
            flow = self.fnet(now, before)
        assert flow is not None
        result: Tensor = self.enet(now, warp(enhanced, flow))
        return result

    def first(self, now: Tensor) -> Tensor:
        """The first frame, which has none before it: (B, 1, H, W)."""
        result: Tensor = self.enet(now, now)
        return result

    def forward(self, frames: Tensor, flow: Tensor | None = None) -> Tensor:
        """(B, T, 1, H, W) to the same: unrolled over all T (10 in the paper's training).

        Args:
            frames: compressed frames.
            flow: (B, T, 2, H, W), each frame's to the frame before it; the first is not looked at.
        """
        enhanced = [self.first(frames[:, 0])]
        for t in range(1, frames.shape[1]):
            given = None if flow is None else flow[:, t]
            enhanced.append(self.step(frames[:, t], frames[:, t - 1], enhanced[-1], given))
        return torch.stack(enhanced, 1)

    def stream(
        self, frames: Iterable[Tensor], flows: Iterable[Tensor] | None = None
    ) -> Iterator[Tensor]:
        """Frames (B, 1, H, W) one by one, enhanced, without gradients.

        Args:
            frames: compressed frames.
            flows: one (B, 2, H, W) for each frame, the first included.

        Raises:
            ValueError: there are more or fewer flows than frames.
        """
        given = None if flows is None else iter(flows)
        before = enhanced = None
        for now in frames:
            flow = None if given is None else next(given, None)
            if given is not None and flow is None:
                raise ValueError("there are fewer flows than frames")
            with torch.no_grad():
                if before is None or enhanced is None:
                    enhanced = self.first(now)
                else:
                    enhanced = self.step(now, before, enhanced, flow)
            before = now
            yield enhanced
        if given is not None and next(given, None) is not None:
            raise ValueError("there are more flows than frames")


Enhancer = FrameByFrame | MultiFrame | FrameRecurrent


def small_enhancer(kind: Kind, patch: int = 48) -> Enhancer:
    """A form of a quarter of the width, with four blocks: 141 k parameters in FNet and ENet.

    Args:
        kind: "frame" (30 blocks: 140 k), "window" (one frame on each side), "recurrent", or
            "vectors": recurrent, with the stream's motion in the place of FNet (19 k).
        patch: of FNet.
    """
    if kind == "frame":
        return FrameByFrame(16, 30)
    if kind == "window":
        return MultiFrame(1, 16, 4, 8, patch)
    if kind == "recurrent":
        return FrameRecurrent(16, 4, 8, patch)
    if kind == "vectors":
        return FrameRecurrent(16, 4, None, patch)
    raise ValueError(f"kind is frame, window, recurrent or vectors, not {kind!r}")
