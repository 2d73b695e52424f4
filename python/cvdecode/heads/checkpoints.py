"""Published checkpoints of CoViAR and MFNet: their names of weights, mapped onto ours."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from torch import Tensor

StateDict = dict[str, Tensor]


def unwrap(checkpoint: Mapping[str, Any]) -> StateDict:
    """The weights of a checkpoint: out of its "state_dict" if any, without "module." prefixes."""
    state = checkpoint.get("state_dict", checkpoint)
    return {name.removeprefix("module."): value for name, value in state.items()}


# torchvision's names of a ResNet (left) and those of transformers (right).
_RESNET = (
    (r"conv1\.(.*)", r"embedder.embedder.convolution.\1"),
    (r"bn1\.(.*)", r"embedder.embedder.normalization.\1"),
    (r"layer(\d)\.(\d+)\.conv(\d)\.(.*)", r"encoder.stages.{0}.layers.\2.layer.{2}.convolution.\4"),
    (r"layer(\d)\.(\d+)\.bn(\d)\.(.*)", r"encoder.stages.{0}.layers.\2.layer.{2}.normalization.\4"),
    (
        r"layer(\d)\.(\d+)\.downsample\.0\.(.*)",
        r"encoder.stages.{0}.layers.\2.shortcut.convolution.\3",
    ),
    (
        r"layer(\d)\.(\d+)\.downsample\.1\.(.*)",
        r"encoder.stages.{0}.layers.\2.shortcut.normalization.\3",
    ),
)


def resnet_name(name: str) -> str | None:
    """A weight of torchvision's ResNet, as `transformers` calls it; None for the classifier.

    Raises:
        KeyError: not a name of a ResNet.
    """
    if name.startswith("fc."):
        return None
    for pattern, target in _RESNET:
        if match := re.fullmatch(pattern, name):
            # torchvision counts stages and convolutions from 1, transformers from 0.
            counts = [str(int(g) - 1) if g.isdigit() else g for g in match.groups()]
            return match.expand(target).format(*counts)
    raise KeyError(f"{name!r} is no weight of torchvision's ResNet")


def coviar_state_dict(checkpoint: Mapping[str, Any]) -> StateDict:
    """A checkpoint of pytorch-coviar (one stream), for `Stream.load_state_dict` of a ResNet.

    Published names: `module.base_model.conv1.weight`, `module.base_model.layer1.0.conv1.weight`,
    `module.base_model.fc.weight`, `module.data_bn.weight`; TSN's name of the classifier
    `module.new_fc.weight` is taken too.

    Raises:
        KeyError: a name that no such checkpoint has.
    """
    found: StateDict = {}
    for name, value in unwrap(checkpoint).items():
        if name.startswith("data_bn."):
            found[name] = value
        elif match := re.fullmatch(r"(?:base_model\.fc|new_fc)\.(weight|bias)", name):
            found[f"fc.{match[1]}"] = value
        elif name.startswith("base_model."):
            found[f"backbone.body.{resnet_name(name.removeprefix('base_model.'))}"] = value
        else:
            raise KeyError(f"{name!r} is no weight of a CoViAR stream")
    return found


def imagenet_resnet_state_dict(checkpoint: Mapping[str, Any]) -> StateDict:
    """torchvision's ImageNet weights of a ResNet, for `Backbone.load_state_dict`.

    The classifier is left out. For two input channels leave out
    `body.embedder.embedder.convolution.weight` as well and load with `strict=False`.
    """
    named = ((resnet_name(name), value) for name, value in unwrap(checkpoint).items())
    return {f"body.{name}": value for name, value in named if name is not None}


def mfnet_state_dict(checkpoint: Mapping[str, Any], *, classifier: bool = True) -> StateDict:
    """A checkpoint of PyTorch-MFNet, for `MFNet3D.load_state_dict`.

    Our names are the published ones (`module.conv2.B01.conv_i1.conv.weight` less `module.`).

    Args:
        checkpoint: as loaded.
        classifier: False leaves it out, for another number of classes; load with `strict=False`.
    """
    state = unwrap(checkpoint)
    return {k: v for k, v in state.items() if classifier or not k.startswith("classifier.")}
