"""What an enhanced frame is compared by (Pourreza et al., section 2.2): pixels, features, a judge.

Frames are (..., 1, H, W); all frames of a clip count alike, those of every step of the unroll.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch.nn.functional as F
from torch import Tensor

PIXEL_WEIGHT = 0.01
"""beta of Eq. 5."""
ADVERSARIAL_WEIGHT = 0.005
"""gamma of Eq. 5."""

Features = Callable[[Tensor], Tensor]
"""phi: luma (N, 1, H, W) in [0, 1] to features of any shape."""


def frames_of(clip: Tensor) -> Tensor:
    """(..., 1, H, W) as (N, 1, H, W)."""
    return clip.flatten(0, -4)


def pixel_loss(enhanced: Tensor, original: Tensor) -> Tensor:
    """Eq. 2: the mean square error.

    AMBIGUOUS: the norm of a frame, or its mean over samples. RESOLUTION: the mean; they differ by a
    factor.
    """
    return F.mse_loss(enhanced, original)


def perceptual_loss(phi: Features, enhanced: Tensor, original: Tensor) -> Tensor:
    """Eq. 3: mean absolute difference of features.

    Args:
        phi: any network in evaluation mode, its parameters without gradients (`VGG19Features` in
            the paper). Gradients reach `enhanced` alone.
        enhanced, original: (..., 1, H, W).
    """
    wanted = phi(frames_of(original)).detach()
    return F.l1_loss(phi(frames_of(enhanced)), wanted)


def discriminator_loss(real: Tensor, fake: Tensor) -> Tensor:
    """The relativistic average discriminator's loss (Jolicoeur-Martineau 2018), which ESRGAN uses.

    D(a, b) = sigmoid(C(a) - mean C(b)); the loss is
    -E log D(real, fake) - E log(1 - D(fake, real)).
    The paper's Eq. 4 prints it with real and fake exchanged, which would train the discriminator
    to be wrong; this is ESRGAN's, whose discriminator it borrows.

    Args:
        real, fake: C of original and of enhanced frames, (N, 1).
    """
    right = F.softplus(-(real - fake.mean())).mean()
    return right + F.softplus(fake - real.mean()).mean()


def adversarial_loss(real: Tensor, fake: Tensor) -> Tensor:
    """The enhancer's side: -E log(1 - D(real, fake)) - E log D(fake, real), `real` detached.

    A sum, as Eq. 4 prints it; implementations of ESRGAN halve both sides.
    """
    real = real.detach()
    return F.softplus(real - fake.mean()).mean() + F.softplus(-(fake - real.mean())).mean()


class GanLosses(NamedTuple):
    """l_GAN and its parts, unweighted."""

    total: Tensor
    perceptual: Tensor
    pixel: Tensor
    adversarial: Tensor


def gan_loss(phi: Features, judge: Features, enhanced: Tensor, original: Tensor) -> GanLosses:
    """Eq. 5: perceptual + 0.01 mean absolute error + 0.005 adversarial, for the enhancer.

    Args:
        phi: as in `perceptual_loss`.
        judge: the discriminator, C.
        enhanced, original: (..., 1, H, W).
    """
    perceptual = perceptual_loss(phi, enhanced, original)
    pixel = F.l1_loss(enhanced, original)
    adversarial = adversarial_loss(judge(frames_of(original)), judge(frames_of(enhanced)))
    total = perceptual + PIXEL_WEIGHT * pixel + ADVERSARIAL_WEIGHT * adversarial
    return GanLosses(total, perceptual, pixel, adversarial)
