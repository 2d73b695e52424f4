"""The networks of a recipe with their losses: one interface for the training loop.

A System's forward gives the loss of a batch (so that DistributedDataParallel sees it), scores()
the logits of a batch of clips, optimisers() what trains what.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cvdecode import heads
from cvdecode.recipes.config import Model, Recipe, Train

Inputs = dict[str, Tensor]
SMALL_DIM = 256


class System(nn.Module):
    """Base: one network, one optimiser, cross-entropy of scores()."""

    def scores(self, x: Inputs) -> Tensor:
        """Logits (N, C)."""
        raise NotImplementedError

    def forward(self, x: Inputs, label: Tensor, epoch: int, step: int) -> Tensor:
        """The loss to be minimised in this step."""
        return F.cross_entropy(self.scores(x), label)

    def optimisers(self, train: Train) -> dict[str, torch.optim.Optimizer]:
        """By name."""
        return {"net": optimiser(train, plain_groups(self, train))}

    def turn(self, epoch: int, step: int) -> tuple[str, ...]:
        """Names of the optimisers that step after this loss."""
        return ("net",)


class StreamSystem(System):
    """One stream: I, motion, residual or flow (CoViAR's three, the teacher of ATTP)."""

    def __init__(self, model: Model, classes: int) -> None:
        super().__init__()
        self.input = model.input
        channels = 2 if model.input in ("mv", "flow") else 3
        self.net = heads.Stream(
            backbone(model, channels), classes, data_bn=model.input in ("mv", "residual")
        )

    def scores(self, x: Inputs) -> Tensor:
        found: Tensor = self.net(x[self.input])
        return found

    def optimisers(self, train: Train) -> dict[str, torch.optim.Optimizer]:
        groups = plain_groups(self, train)
        if train.pretrained_rates:
            groups = heads.parameter_groups(
                self.net, train.lr, train.weight_decay, image=self.input == "iframe"
            )
        return {"net": optimiser(train, groups)}


class ThreeStreamSystem(System):
    """I, motion and residual, fused by a head of Huo et al.'s table."""

    def __init__(self, model: Model, classes: int) -> None:
        super().__init__()
        self.temporal = model.temporal
        parts = {name: backbone(model, 2 if name == "mv" else 3) for name in STREAMS}
        channels = parts["iframe"].channels
        if model.head not in HEADS:
            raise ValueError(f"model.head is one of {', '.join(HEADS)}, not {model.head!r}")
        if model.temporal and model.head != "trilinear":
            raise ValueError('model.temporal goes with head = "trilinear"')
        self.net = heads.ThreeStreamNet(HEADS[model.head](channels, classes, model.dim), **parts)

    def scores(self, x: Inputs) -> Tensor:
        adjacent = x["adjacent"] if self.temporal else None
        found: Tensor = self.net(x["iframe"], x["mv"], x["residual"], adjacent)
        return found


class AttpSystem(System):
    """TTP with motion aligned to a frozen net that was trained on flow."""

    def __init__(self, model: Model, classes: int, teacher: heads.Stream | None) -> None:
        super().__init__()
        self.alignment: Any = model.alignment
        parts: Any = {name: backbone(model, 2 if name == "mv" else 3) for name in STREAMS}
        self.net = heads.ATTP(classes, dim=model.dim, **parts)
        self.teacher = heads.FlowTeacher(teacher) if teacher is not None else None

    def scores(self, x: Inputs) -> Tensor:
        found: Tensor = self.net(x["iframe"], x["mv"], x["residual"], x["adjacent"])
        return found

    def forward(self, x: Inputs, label: Tensor, epoch: int, step: int) -> Tensor:
        out = self.net.run(x["iframe"], x["mv"], x["residual"], x["adjacent"])
        if self.alignment == "none":
            return F.cross_entropy(out.logits, label)
        if self.teacher is None:
            raise ValueError(
                "attp aligns its motion with a net trained on flow: train the recipe flow (or "
                "small_flow) first and pass its checkpoint with --teacher; or set "
                "model.alignment=none"
            )
        return heads.attp_loss(out, label, self.teacher(x["flow"]), kind=self.alignment)


class DmcSystem(System):
    """DMC-Net, stage 1: the generator learns flow, the classifier learns from what it makes."""

    def __init__(self, model: Model, classes: int) -> None:
        super().__init__()
        classifier = heads.Stream(backbone(model, 2), classes)
        self.net = heads.DMCNet(classes, classifier)

    def scores(self, x: Inputs) -> Tensor:
        found: Tensor = self.net(x["mv"], x["residual"])
        return found

    def forward(self, x: Inputs, label: Tensor, epoch: int, step: int) -> Tensor:
        losses = heads.stage1_loss(
            self.net, x["mv"], x["residual"], x["flow"], label, generator_only=epoch == 0
        )
        # The classifier takes part with weight 0, or DistributedDataParallel would wait for it.
        return losses.total + 0 * losses.classification

    def optimisers(self, train: Train) -> dict[str, torch.optim.Optimizer]:
        return {
            "generator": optimiser(train, heads.decay_groups(self.net.generator, train.lr)),
            "classifier": optimiser(
                train, heads.decay_groups(self.net.classifier, self.rate(train))
            ),
        }

    @staticmethod
    def rate(train: Train) -> float:
        """The classifier is trained already in the paper, and moves at a hundredth."""
        return train.lr * (0.01 if train.pretrained_rates else 1)

    def turn(self, epoch: int, step: int) -> tuple[str, ...]:
        return ("generator",) if epoch == 0 else ("generator", "classifier")


class DmcGanSystem(DmcSystem):
    """DMC-Net, stage 2: a discriminator between generated and estimated flow, by turns."""

    def __init__(self, model: Model, classes: int, size: int) -> None:
        super().__init__(model, classes)
        widths = (4, 8, 16, 32) if model.backbone == "small" else (16, 32, 64, 128)
        self.discriminator = heads.Discriminator(size, widths)

    def forward(self, x: Inputs, label: Tensor, epoch: int, step: int) -> Tensor:
        loss = heads.stage2_generator_loss if step % 2 else heads.stage2_classifier_loss
        found = loss(self.net, self.discriminator, x["mv"], x["residual"], x["flow"], label)
        return found.total

    def optimisers(self, train: Train) -> dict[str, torch.optim.Optimizer]:
        groups = heads.decay_groups(self.discriminator, train.lr)
        return {**super().optimisers(train), "discriminator": optimiser(train, groups)}

    def turn(self, epoch: int, step: int) -> tuple[str, ...]:
        return ("generator",) if step % 2 else ("classifier", "discriminator")


class ClipSystem(System):
    """MFNet-3D on frames (MFCD-Net's teacher) or on a compressed clip, without a teacher."""

    def __init__(self, model: Model, classes: int) -> None:
        super().__init__()
        self.input = model.input
        self.net = (
            heads.small_mfnet(classes) if model.backbone == "small" else heads.MFNet3D(classes)
        )

    def clip(self, x: Inputs) -> Tensor:
        if self.input == "rgb":
            return heads.normalise_clip(x["rgb"].transpose(1, 2))
        kind: Any = self.input
        return heads.compressed_clip(x["iframe"], x["residual"][:, 1:], kind)

    def scores(self, x: Inputs) -> Tensor:
        found: Tensor = self.net(self.clip(x))
        return found


class MfcdSystem(System):
    """MFCD-Net: augmented residuals, mimicking a frozen net that sees the frames."""

    def __init__(self, model: Model, classes: int, teacher: heads.MFNet3D | None) -> None:
        super().__init__()
        self.net = (
            heads.small_mfnet(classes) if model.backbone == "small" else heads.MFNet3D(classes)
        )
        self.teacher = None
        if teacher is not None:
            # The paper starts the student from the same weights as the teacher.
            self.net.load_state_dict(teacher.state_dict())
            self.teacher = heads.RgbTeacher(teacher)

    def clip(self, x: Inputs) -> Tensor:
        return heads.compressed_clip(x["iframe"], x["residual"][:, 1:])

    def scores(self, x: Inputs) -> Tensor:
        found: Tensor = self.net(self.clip(x))
        return found

    def forward(self, x: Inputs, label: Tensor, epoch: int, step: int) -> Tensor:
        if self.teacher is None:
            raise ValueError(
                "mfcd mimics a net trained on frames: train the recipe mfcd_teacher (or "
                "small_mfcd_teacher) first and pass its checkpoint with --teacher"
            )
        seen = self.teacher(heads.normalise_clip(x["rgb"].transpose(1, 2)))
        return heads.mimic_loss(self.net.run(self.clip(x)), seen, label).total


STREAMS = ("iframe", "mv", "residual")
HEADS: dict[str, Any] = {
    "late": lambda c, n, d: heads.LateFusion(c, n),
    # As many weights as the trilinear head has.
    "concat": lambda c, n, d: heads.ConcatMLP(c, n, 3 * c * d + (d + 1) * n),
    "bilinear": lambda c, n, d: heads.BilinearHead(c, n, d),
    "trilinear": lambda c, n, d: heads.TrilinearHead(c, n, d),
}


def backbone(model: Model, channels: int) -> heads.Backbone:
    """The named backbone for this number of input channels, with random weights."""
    makers: dict[str, Any] = {
        "small": heads.small_cnn,
        "resnet18": heads.resnet18,
        "resnet152": heads.resnet152,
        "efficientnet_b1": heads.efficientnet_b1,
        "mobilenet_v2": heads.mobilenet_v2,
    }
    if model.backbone not in makers:
        raise ValueError(
            f"model.backbone of {model.system!r} is one of {', '.join(makers)}, "
            f"not {model.backbone!r}"
        )
    found: heads.Backbone = makers[model.backbone](channels)
    return found


def system(recipe: Recipe, classes: int, teacher: System | None = None) -> System:
    """The networks of a recipe, with random weights.

    Args:
        recipe: which.
        classes: C.
        teacher: "attp": a trained StreamSystem of input "flow"; "mfcd": a trained ClipSystem of
            input "rgb". Needed for training alone.
    """
    model = recipe.model
    if model.system == "stream":
        return StreamSystem(model, classes)
    if model.system == "three_stream":
        return ThreeStreamSystem(model, classes)
    if model.system == "attp":
        if teacher is not None and not (
            isinstance(teacher, StreamSystem) and teacher.input == "flow"
        ):
            raise ValueError("the teacher of attp is a trained flow stream (recipe flow)")
        return AttpSystem(model, classes, teacher.net if teacher is not None else None)
    if model.system == "dmc":
        return DmcSystem(model, classes)
    if model.system == "dmc_gan":
        return DmcGanSystem(model, classes, recipe.data.size)
    if model.system == "clip":
        return ClipSystem(model, classes)
    if model.system == "mfcd":
        if teacher is not None and not (isinstance(teacher, ClipSystem) and teacher.input == "rgb"):
            raise ValueError("the teacher of mfcd is a trained clip net (recipe mfcd_teacher)")
        return MfcdSystem(model, classes, teacher.net if teacher is not None else None)
    raise ValueError(f"there is no system {model.system!r}")


def plain_groups(module: nn.Module, train: Train) -> list[dict[str, Any]]:
    """All that learns, at one rate; no weight decay on biases and norms."""
    chosen = [p for p in module.parameters() if p.requires_grad]
    return [
        {
            "params": [p for p in chosen if (p.dim() > 1) is decays],
            "lr": train.lr,
            "weight_decay": train.weight_decay if decays else 0.0,
        }
        for decays in (True, False)
    ]


def optimiser(train: Train, groups: list[dict[str, Any]]) -> torch.optim.Optimizer:
    """The recipe's optimiser over these groups."""
    if train.optimiser == "adam":
        return torch.optim.Adam(groups, lr=train.lr, eps=1e-3)
    if train.optimiser == "adamw":
        return torch.optim.AdamW(groups, lr=train.lr)
    if train.optimiser == "sgd":
        return torch.optim.SGD(groups, lr=train.lr, momentum=0.9)
    raise ValueError(f'train.optimiser is "adam", "adamw" or "sgd", not {train.optimiser!r}')
