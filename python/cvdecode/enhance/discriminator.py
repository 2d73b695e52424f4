"""The networks that judge: ESRGAN's discriminator, and VGG-19's features."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn


class Discriminator(nn.Module):
    """ESRGAN's (Wang et al. 2018): original or enhanced? One score C a frame, no sigmoid.

    Five levels of a 3x3 convolution and a 4x4 one of stride 2, to 64, 128, 256, 512 and 512
    channels, without bias and with batch normalisation but for the very first, which has a bias and
    no normalisation; LeakyReLU(0.2); linear layers to 100 and to 1.

    Args:
        size: height and width of the patches, a multiple of 32: 128 in ESRGAN, 96 in Pourreza et
            al.
        width: channels of the first level.
        channels: of the input, 1 for luma.
    """

    def __init__(self, size: int = 96, width: int = 64, channels: int = 1) -> None:
        super().__init__()
        if size % 32 or size < 32:
            raise ValueError(f"size {size} is not a multiple of 32")
        self.size = size
        layers: list[nn.Module] = []
        for level in (width, 2 * width, 4 * width, 8 * width, 8 * width):
            first = not layers
            layers.append(nn.Conv2d(channels, level, 3, padding=1, bias=first))
            if not first:
                layers.append(nn.BatchNorm2d(level))
            layers.append(nn.LeakyReLU(0.2))
            layers.append(nn.Conv2d(level, level, 4, stride=2, padding=1, bias=False))
            layers += [nn.BatchNorm2d(level), nn.LeakyReLU(0.2)]
            channels = level
        self.layers = nn.Sequential(*layers)
        self.hidden = nn.Linear(channels * (size // 32) ** 2, 100)
        self.score = nn.Linear(100, 1)

    def forward(self, frames: Tensor) -> Tensor:
        """(N, 1, `size`, `size`) to (N, 1)."""
        if frames.shape[-2:] != (self.size, self.size):
            raise ValueError(
                f"this discriminator is for patches of {self.size} x {self.size}, not "
                f"{frames.shape[-1]} x {frames.shape[-2]}"
            )
        x = torch.nn.functional.leaky_relu(self.hidden(self.layers(frames).flatten(1)), 0.2)
        scores: Tensor = self.score(x)
        return scores


class VGG19Features(nn.Module):
    """VGG-19 (Simonyan and Zisserman) to its last convolution, conv5_4, before activation.

    Random weights: load the published ones with `load`. Luma is repeated to three channels and
    normalised as ImageNet's images are. It stands in evaluation mode, without gradients of its own.
    """

    mean: Tensor
    std: Tensor
    WIDTHS = ((64, 64), (128, 128), (256,) * 4, (512,) * 4, (512,) * 4)

    def __init__(self) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        channels = 3
        for level in self.WIDTHS:
            if layers:
                layers.append(nn.MaxPool2d(2))
            for width in level:
                layers += [nn.Conv2d(channels, width, 3, padding=1), nn.ReLU()]
                channels = width
        self.features = nn.Sequential(*layers[:-1])
        self.register_buffer("mean", torch.tensor([0.485, 0.456, 0.406]).view(3, 1, 1))
        self.register_buffer("std", torch.tensor([0.229, 0.224, 0.225]).view(3, 1, 1))
        self.eval().requires_grad_(False)

    def load(self, state: Mapping[str, Tensor]) -> None:
        """Takes the weights of torchvision's `vgg19` (`features.0.weight`, ...).

        Raises:
            RuntimeError: one of them is missing or has another shape.
        """
        ours = {name for name, _ in self.named_parameters()}
        found = {name: value for name, value in state.items() if name in ours}
        self.load_state_dict(dict(found, mean=self.mean, std=self.std))

    def forward(self, luma: Tensor) -> Tensor:
        """(N, 1, H, W) in [0, 1] to (N, 512, H // 16, W // 16)."""
        found: Tensor = self.features((luma - self.mean) / self.std)
        return found
