"""Enhancement of compressed video before recognition (Pourreza et al.): tensors in, tensors out.

Three architectures on luma, the losses that train them, and one that no pixel-only library can
build: recurrent, aligned by the motion vectors of the stream itself. See `docs/enhance.md`.
"""

from __future__ import annotations

from .checkpoints import checkpoint, from_checkpoint
from .discriminator import Discriminator, VGG19Features
from .gradcam import cam_picture, grad_cam, last_map
from .losses import (
    GanLosses,
    adversarial_loss,
    discriminator_loss,
    gan_loss,
    perceptual_loss,
    pixel_loss,
)
from .motion import flow_in_samples, stream_flow
from .networks import (
    ENet,
    Enhancer,
    FNet,
    FrameByFrame,
    FrameRecurrent,
    MultiFrame,
    small_enhancer,
    warp,
)
from .training import GanStep, gan_step, random_patches, train_step

__all__ = [
    "Discriminator",
    "ENet",
    "Enhancer",
    "FNet",
    "FrameByFrame",
    "FrameRecurrent",
    "GanLosses",
    "GanStep",
    "MultiFrame",
    "VGG19Features",
    "adversarial_loss",
    "cam_picture",
    "checkpoint",
    "discriminator_loss",
    "flow_in_samples",
    "from_checkpoint",
    "gan_loss",
    "gan_step",
    "grad_cam",
    "last_map",
    "perceptual_loss",
    "pixel_loss",
    "random_patches",
    "small_enhancer",
    "stream_flow",
    "train_step",
    "warp",
]
