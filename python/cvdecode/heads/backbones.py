"""Convolutional backbones: images in, a feature map out.

The named ones are built by `transformers` from a configuration, with random weights and without
any download; any `nn.Module` that gives a 4-D feature map serves as well.
"""

from __future__ import annotations

import importlib
import itertools
import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn


class Backbone(nn.Module):
    """A module that maps images to a feature map, and the number of channels of that map.

    Args:
        body: maps (B, `in_channels`, H, W) float to a (B, `channels`, h, w) tensor, or to an output
            of `transformers` that has it as `last_hidden_state`. A pre-trained one is welcome.
        in_channels: channels of the input (I-frame and residual 3, motion vectors 2).
        channels: channels of the feature map.
        stem: the modules next to the input, by name inside `body`. CoViAR trains them faster than
            the rest where the input is not an image.
    """

    def __init__(
        self, body: nn.Module, in_channels: int, channels: int, stem: Sequence[str] = ()
    ) -> None:
        super().__init__()
        self.body = body
        self.in_channels = in_channels
        self.channels = channels
        self.stem = tuple(stem)

    def forward(self, x: Tensor) -> Tensor:
        """(B, `in_channels`, H, W) float to (B, `channels`, h, w) float.

        Raises:
            ValueError: not 4-D, or another number of channels.
        """
        if x.dim() != 4 or x.shape[1] != self.in_channels:
            raise ValueError(f"expected images (B, {self.in_channels}, H, W), got {tuple(x.shape)}")
        found = self.body(x)
        features: Tensor = found if isinstance(found, Tensor) else found.last_hidden_state
        return features


def resnet18(in_channels: int = 3) -> Backbone:
    """ResNet-18 without its classifier: 512 channels, 1/32 of the size.

    With `in_channels=2` conv1 is 2 -> 64, 7x7, stride 2 (CoViAR's motion stream).
    """
    return _resnet(in_channels, "basic", [2, 2, 2, 2], [64, 128, 256, 512])


def resnet152(in_channels: int = 3) -> Backbone:
    """ResNet-152 without its classifier: 2048 channels, 1/32 of the size.

    The stride of a stage lies in its 3x3 convolution, as in torchvision and in the weights that
    CoViAR starts from; He et al. (2016) put it into the 1x1 before (same parameters, 11.3 instead
    of 11.5 billion multiply-adds at 224 x 224).
    """
    return _resnet(in_channels, "bottleneck", [3, 8, 36, 3], [256, 512, 1024, 2048])


def _resnet(
    in_channels: int, kind: str, depths: list[int], widths: list[int], **options: Any
) -> Backbone:
    transformers = _transformers()
    config = transformers.ResNetConfig(
        num_channels=in_channels, layer_type=kind, depths=depths, hidden_sizes=widths, **options
    )
    return Backbone(transformers.ResNetModel(config), in_channels, widths[-1], ("embedder",))


def efficientnet_b1(in_channels: int = 3, image_size: int = 224) -> Backbone:
    """EfficientNet-B1 without its classifier: 1280 channels, 1/32 of the size (rounded up).

    Args:
        in_channels: 3, or 2 for motion vectors.
        image_size: height and width that it will see; an odd map before a stride is padded on all
            sides, an even one at the right and the bottom (TensorFlow's "same" padding).

    """
    transformers = _transformers()
    repeats, strides = (2, 3, 3, 4, 4, 5, 2), (1, 2, 2, 2, 1, 2, 1)
    size, block = (image_size + 1) // 2, 0
    odd = []
    for repeat, stride in zip(repeats, strides, strict=True):
        if stride == 2:
            if size % 2:
                odd.append(block)
            size = (size + 1) // 2
        block += repeat
    config = transformers.EfficientNetConfig(
        num_channels=in_channels,
        image_size=image_size,
        width_coefficient=1.0,
        depth_coefficient=1.1,
        hidden_dim=1280,
        depthwise_padding=odd,
    )
    body = transformers.EfficientNetModel(config)
    _prepare_for_training(body)
    return Backbone(_Unpooled(body), in_channels, 1280, ("embeddings",))


def _prepare_for_training(body: nn.Module) -> None:
    """Initial weights and momenta with which a net can be trained from scratch.

    `transformers` draws the scales of EfficientNet's batch normalisation from N(0, 0.02), and takes
    TensorFlow's momenta (0.99; MobileNetV2 0.997) for PyTorch's, which are their complements. Here
    scales start at 1, and the momentum is PyTorch's 0.1. Convolutions start by Kaiming's rule, the
    fan of a depthwise one being that of its one channel. (kaiming_normal_ counts all channels: the
    maps of an untrained net shrink to 1e-13 where no statistics make up for it, and the products
    of three of them fall below what float32 holds.)
    """
    for module in body.modules():
        if isinstance(module, nn.Conv2d):
            fan_out = module.weight[:, 0].numel() / module.groups
            nn.init.normal_(module.weight, std=math.sqrt(2 / fan_out))
            if module.bias is not None:
                nn.init.zeros_(module.bias)
        elif isinstance(module, nn.BatchNorm2d):
            nn.init.ones_(module.weight)
            module.momentum = 0.1


class _Unpooled(nn.Module):
    """Embeddings and encoder of an EfficientNet, without the pooling that its forward does."""

    def __init__(self, body: Any) -> None:
        super().__init__()
        self.embeddings = body.embeddings
        self.encoder = body.encoder

    def forward(self, x: Tensor) -> Tensor:
        features: Tensor = self.encoder(self.embeddings(x)).last_hidden_state
        return features


def mobilenet_v2(in_channels: int = 3) -> Backbone:
    """MobileNetV2 (width 1) without its classifier: 1280 channels, 1/32 of the size.

    The backbone of TTP's first version (arXiv 1908.10155).
    """
    transformers = _transformers()
    config = transformers.MobileNetV2Config(num_channels=in_channels)
    body = transformers.MobileNetV2Model(config, add_pooling_layer=False)
    _prepare_for_training(body)
    return Backbone(body, in_channels, 1280, ("conv_stem.first_conv",))


class ResidualBlock(nn.Module):
    """conv3x3-BN-ReLU-conv3x3-BN beside a 1x1 convolution where the shape changes, then ReLU."""

    def __init__(self, in_channels: int, channels: int, stride: int) -> None:
        super().__init__()
        self.main = nn.Sequential(
            nn.Conv2d(in_channels, channels, 3, stride, 1, bias=False),
            nn.BatchNorm2d(channels),
            nn.ReLU(),
            nn.Conv2d(channels, channels, 3, 1, 1, bias=False),
            nn.BatchNorm2d(channels),
        )
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or in_channels != channels:
            self.shortcut = nn.Sequential(
                nn.Conv2d(in_channels, channels, 1, stride, bias=False), nn.BatchNorm2d(channels)
            )

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) to (B, `channels`, H / stride, W / stride)."""
        return torch.relu(self.main(x) + self.shortcut(x))


def small_cnn(
    in_channels: int = 3, stem_stride: int = 2, widths: Sequence[int] = (16, 32, 64)
) -> Backbone:
    """A small residual net for two CPU cores: stem of 16, then a residual block each of 32 and 64.

    About 6 million multiply-adds at 56 x 56 with `stem_stride=2`, or at 28 x 28 (a 4x4 motion grid
    of 112 x 112) with `stem_stride=1`; the map is 7 x 7 in both cases.
    """
    layers: list[nn.Module] = [
        nn.Conv2d(in_channels, widths[0], 3, stem_stride, 1, bias=False),
        nn.BatchNorm2d(widths[0]),
        nn.ReLU(),
    ]
    for before, after in itertools.pairwise(widths):
        layers.append(ResidualBlock(before, after, 2))
    return Backbone(nn.Sequential(*layers), in_channels, widths[-1], ("0", "1"))


def _transformers() -> Any:
    """The module `transformers`, imported late: it is an optional extra and slow to import."""
    try:
        return importlib.import_module("transformers")
    except ImportError as error:
        raise ImportError(
            "this backbone is built by transformers: pip install 'cvdecode[heads]', or give any "
            "module of your own to cvdecode.heads.Backbone"
        ) from error
