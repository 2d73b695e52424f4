"""DMC-Net (Shou et al., CVPR 2019): a light generator makes motion vectors look like optical flow.

Inputs (224 x 224 in the paper; segments as in CoViAR; motion, residual and flow are cropped and
flipped as one stack):

- Motion of one step (`hops=1`, not accumulated), clipped at +-20 samples, * 127.5 / 20 + 128,
  / 255, less 0.5, over 0.226: about [-2.2, 2.2].
- Residual of one step, + 128 clipped to 0..255, / 255, less 0.5, over (.229, .224, .225).
- Flow (TV-L1 in the paper), in training only, coded and normalised like motion.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .backbones import resnet18, small_cnn
from .streams import Stream, consensus, fold_segments

FUSION = (2.0, 1.0, 1.0, 1.0)
"""Weights of the scores of I, motion, residual and DMC-Net (`fuse_scores`)."""


class Generator(nn.Module):
    """The authors' "DenseNetTiny": five 3x3 convolutions with LeakyReLU(0.1), densely connected.

    Each sees the input and all that came before; they add 8, 8, 6, 4 and 2 channels, and a last 3x3
    convolution makes two of all 33: 4,584 parameters. It predicts the difference to the motion.
    """

    WIDTHS = (8, 8, 6, 4, 2)

    def __init__(self) -> None:
        super().__init__()
        channels = 5
        layers = []
        for width in self.WIDTHS:
            layers.append(nn.Conv2d(channels, width, 3, padding=1))
            channels += width
        self.layers = nn.ModuleList(layers)
        self.predict = nn.Conv2d(channels, 2, 3, padding=1)

    def forward(self, mv: Tensor, residual: Tensor) -> Tensor:
        """Motion (B, 2, H, W) and residual (B, 3, H, W) to motion cues (B, 2, H, W)."""
        x = torch.cat([mv, residual], 1)
        for layer in self.layers:
            x = torch.cat([F.leaky_relu(layer(x), 0.1), x], 1)
        delta: Tensor = self.predict(x)
        return mv + delta


class Discriminator(nn.Module):
    """Real flow or generated? Four stages of a stride-2 and two stride-1 3x3 convolutions.

    Widths 16, 32, 64, 128; each convolution is followed by LeakyReLU(0.2), Dropout2d(0.25) and,
    except the very first, BatchNorm2d with eps 0.8 (the authors' value: `BatchNorm2d(c, 0.8)`);
    then a linear layer to two scores (fake, real).

    Args:
        image_size: height and width of the input, a multiple of 16.
        widths: channels of the stages.
    """

    def __init__(self, image_size: int = 224, widths: Sequence[int] = (16, 32, 64, 128)) -> None:
        super().__init__()
        step = 2 ** len(widths)
        if image_size % step:
            raise ValueError(f"image_size {image_size} is not a multiple of {step}")
        layers: list[nn.Module] = []
        channels = 2
        for width in widths:
            for stride in (2, 1, 1):
                layers += [nn.Conv2d(channels, width, 3, stride, 1), nn.LeakyReLU(0.2)]
                layers.append(nn.Dropout2d(0.25))
                if len(layers) > 3:
                    layers.append(nn.BatchNorm2d(width, eps=0.8))
                channels = width
        self.layers = nn.Sequential(*layers)
        self.fc = nn.Linear(channels * (image_size // step) ** 2, 2)

    def forward(self, flow: Tensor) -> Tensor:
        """(B, 2, `image_size`, `image_size`) to scores (B, 2): column 0 fake, 1 real."""
        scores: Tensor = self.fc(self.layers(flow).flatten(1))
        return scores


class DMCOutput(NamedTuple):
    """What DMC-Net gives in training."""

    logits: Tensor
    """(N, C), the mean over segments."""
    flow: Tensor
    """Generated motion cues, (N * S, 2, H, W)."""


class DMCNet(nn.Module):
    """Generator and classifier; the discriminator of the second stage is a module of its own.

    Args:
        num_classes: C.
        classifier: default ResNet-18 with a 2-channel conv1 and no normalisation of its input
            (the paper starts it from a network trained on flow).
    """

    def __init__(self, num_classes: int, classifier: Stream | None = None) -> None:
        super().__init__()
        self.generator = Generator()
        self.classifier = classifier or Stream(resnet18(2), num_classes)

    def run(
        self,
        mv: Tensor,
        residual: Tensor,
        *,
        detach_classifier: bool = False,
        train_generator: bool = True,
    ) -> DMCOutput:
        """Both outputs.

        Args:
            mv: (N, S, 2, H, W), normalised as the module says.
            residual: (N, S, 3, H, W).
            detach_classifier: the classifier's loss does not reach the generator (stage 1).
            train_generator: False: no gradient reaches the generator at all.
        """
        with torch.set_grad_enabled(train_generator and torch.is_grad_enabled()):
            flow = self.generator(fold_segments(mv), fold_segments(residual))
        logits = self.classifier.frame_outputs(flow.detach() if detach_classifier else flow)[1]
        return DMCOutput(consensus(logits, mv.shape[1]), flow)

    def forward(self, mv: Tensor, residual: Tensor) -> Tensor:
        """Scores (N, C) of (N, S, 2, H, W) and (N, S, 3, H, W)."""
        return self.run(mv, residual).logits


def block_mean(flow: Tensor, factor: int = 16) -> Tensor:
    """Each `factor` x `factor` block replaced by its mean: same shape.

    Makes flow as coarse as motion vectors are. Args: flow: (B, C, H, W), H and W multiples of
    `factor`.

    Raises:
        ValueError: they are not.
    """
    height, width = flow.shape[-2:]
    if height % factor or width % factor:
        raise ValueError(f"flow of {width} x {height} does not fall into blocks of {factor}")
    means = F.avg_pool2d(flow, factor)
    return means.repeat_interleave(factor, -2).repeat_interleave(factor, -1)


class Losses(NamedTuple):
    """A loss and its parts; a part that does not take part is 0."""

    total: Tensor
    classification: Tensor
    flow: Tensor
    adversarial: Tensor


def stage1_loss(
    model: DMCNet, mv: Tensor, residual: Tensor, flow: Tensor, labels: Tensor,
    *, generator_only: bool = False,
) -> Losses:  # fmt: skip
    """Stage 1: cross-entropy + 10 MSE(generated, flow of 16x16 block means).

    The classifier sees a detached flow: its cross-entropy does not reach the generator.

    Args:
        model: in training mode.
        mv, residual: as in `DMCNet.run`.
        flow: (N, S, 2, H, W), H and W multiples of 16.
        labels: (N,) int64.
        generator_only: the first epoch: the MSE alone trains.

    Optimisers of the paper: two Adam(lr 0.01, eps 1e-3, weight decay 1e-4 but on biases), that of
    the classifier at 0.01 of the rate; batch 45, 50 epochs, decay 0.1 at 20, 35, 45.
    """
    out = model.run(mv, residual, detach_classifier=True)
    mse = F.mse_loss(out.flow, block_mean(fold_segments(flow)))
    classification = F.cross_entropy(out.logits, labels)
    total = 10 * mse if generator_only else classification + 10 * mse
    return Losses(total, classification, mse, mse.new_zeros(()))


def stage2_classifier_loss(
    model: DMCNet, discriminator: Discriminator,
    mv: Tensor, residual: Tensor, flow: Tensor, labels: Tensor,
) -> Losses:  # fmt: skip
    """Stage 2, even iterations: cross-entropy + 0.01 (fake as fake, flow as real).

    Trains classifier and discriminator; the generator stands still. Arguments as in `stage1_loss`.
    """
    out = model.run(mv, residual, train_generator=False)
    real = fold_segments(flow)
    seen = discriminator(torch.cat([out.flow, real]))
    truth = torch.cat([labels.new_zeros(len(out.flow)), labels.new_ones(len(real))])
    adversarial = F.cross_entropy(seen, truth)
    classification = F.cross_entropy(out.logits, labels)
    total = classification + 0.01 * adversarial
    return Losses(total, classification, total.new_zeros(()), adversarial)


def stage2_generator_loss(
    model: DMCNet, discriminator: Discriminator,
    mv: Tensor, residual: Tensor, flow: Tensor, labels: Tensor,
) -> Losses:  # fmt: skip
    """Stage 2, odd iterations: cross-entropy + (fake taken for real) + 10 MSE(generated, flow).

    For the generator's optimiser alone: gradients reach the classifier and the discriminator too,
    so set theirs to zero before their next step. Here the flow is not coarsened, and the
    cross-entropy does reach the generator.
    """
    out = model.run(mv, residual)
    adversarial = F.cross_entropy(discriminator(out.flow), labels.new_ones(len(out.flow)))
    mse = F.mse_loss(out.flow, fold_segments(flow))
    classification = F.cross_entropy(out.logits, labels)
    return Losses(classification + adversarial + 10 * mse, classification, mse, adversarial)


def decay_groups(module: nn.Module, lr: float, weight_decay: float = 1e-4) -> list[dict[str, Any]]:
    """Two groups for an optimiser: biases without weight decay.

    One optimiser each for generator, classifier (at 0.01 `lr`) and discriminator.
    """
    named = list(module.named_parameters())
    return [
        {
            "params": [p for name, p in named if name.endswith("bias") is bias],
            "lr": lr,
            "weight_decay": 0.0 if bias else weight_decay,
        }
        for bias in (False, True)
    ]


def small_dmcnet(num_classes: int, image_size: int = 64) -> tuple[DMCNet, Discriminator]:
    """DMC-Net with a small classifier, and a discriminator of a quarter of the width."""
    model = DMCNet(num_classes, Stream(small_cnn(2), num_classes))
    return model, Discriminator(image_size, (4, 8, 16, 32))
