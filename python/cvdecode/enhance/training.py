"""Steps of training: pixel, perceptual and adversarial.

The paper: Adam at 1e-4, 16 sequences of ten 96 x 96 patches a batch, one network per bitrate;
150 epochs with the pixel loss, then fine-tuning with each of the three losses.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor, nn

from .losses import Features, discriminator_loss, frames_of, gan_loss

Objective = Callable[[Tensor, Tensor], Tensor]
"""(enhanced, original) to a loss: `pixel_loss`, or `partial(perceptual_loss, phi)`."""


def random_patches(
    size: int,
    original: Tensor,
    compressed: Tensor,
    flow: Tensor | None = None,
    *,
    generator: torch.Generator | None = None,
) -> tuple[Tensor, ...]:
    """One random window of a sequence, the same in all its frames, for the steps below.

    Args:
        size: height and width of the patch.
        original, compressed: (..., 1, H, W).
        flow: (..., 2, H, W), in units of the picture.

    Returns:
        The patches in the order of the arguments; flow in units of the patch.

    Raises:
        ValueError: the sizes differ, or are smaller than the patch.
    """
    height, width = original.shape[-2:]
    given = [original, compressed] if flow is None else [original, compressed, flow]
    if any(tensor.shape[-2:] != (height, width) for tensor in given):
        raise ValueError(f"sizes differ: {[tuple(t.shape[-2:]) for t in given]}")
    if min(height, width) < size:
        raise ValueError(f"there is no patch of {size} in a picture of {width} x {height}")
    top, left = (
        int(torch.randint(extent - size + 1, (), generator=generator)) for extent in (height, width)
    )
    patches = [tensor[..., top : top + size, left : left + size] for tensor in given]
    if flow is not None:
        scale = torch.tensor([width / size, height / size], dtype=flow.dtype, device=flow.device)
        patches[2] = patches[2] * scale.view(2, 1, 1)
    return tuple(patches)


def train_step(
    model: nn.Module,
    optimiser: torch.optim.Optimizer,
    objective: Objective,
    original: Tensor,
    *inputs: Tensor,
) -> Tensor:
    """One step with the pixel or the perceptual loss, over all frames of the sequences.

    Args:
        model: an enhancer.
        optimiser: of the model's parameters.
        objective: compares (B, T, 1, H, W), enhanced and original.
        original: (B, T, 1, H, W).
        inputs: what the model takes: compressed frames, and flow where it is given it.

    Returns:
        The loss before the step, a scalar without gradient.
    """
    loss = objective(model(*inputs), original)
    optimiser.zero_grad(set_to_none=True)
    loss.backward()  # type: ignore[no-untyped-call]
    optimiser.step()
    return loss.detach()


class GanStep(NamedTuple):
    """Losses of one adversarial step, before it; scalars without gradient."""

    total: Tensor
    perceptual: Tensor
    pixel: Tensor
    adversarial: Tensor
    discriminator: Tensor


def gan_step(
    model: nn.Module,
    discriminator: nn.Module,
    phi: Features,
    optimiser: torch.optim.Optimizer,
    discriminator_optimiser: torch.optim.Optimizer,
    original: Tensor,
    *inputs: Tensor,
) -> GanStep:
    """One step of the enhancer with l_GAN (Eq. 5), then one of the discriminator (Eq. 4).

    Args:
        model, optimiser: the enhancer, and what steps its parameters.
        discriminator, discriminator_optimiser: likewise; both networks in training mode.
        phi: of the perceptual loss.
        original, inputs: as in `train_step`.
    """
    enhanced = model(*inputs)
    discriminator.requires_grad_(False)
    try:
        losses = gan_loss(phi, discriminator, enhanced, original)
        optimiser.zero_grad(set_to_none=True)
        losses.total.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
    finally:
        discriminator.requires_grad_(True)
    real = discriminator(frames_of(original))
    fake = discriminator(frames_of(enhanced.detach()))
    judged = discriminator_loss(real, fake)
    discriminator_optimiser.zero_grad(set_to_none=True)
    judged.backward()  # type: ignore[no-untyped-call]
    discriminator_optimiser.step()
    return GanStep(*(loss.detach() for loss in (*losses, judged)))
