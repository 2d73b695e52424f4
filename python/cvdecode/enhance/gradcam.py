"""Grad-CAM (Selvaraju et al. 2017): where a recogniser looked for its answer."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def grad_cam(
    model: nn.Module, layer: nn.Module, images: Tensor, classes: Tensor | None = None
) -> Tensor:
    """How much each place of a layer's output spoke for a class.

    The channels of the layer's output A are weighted by the mean, over places, of the gradient of
    the class's score with respect to them; the sum's positive part is scaled to a maximum of 1 for
    each input (where nothing is positive: 0) and interpolated linearly to the input's size.

    Args:
        model: images to scores (B, C), before softmax; it is put into evaluation mode for the call.
        layer: a module of it whose output is (B, K, h, w) or (B, K, t, h, w): the last
            convolution, as a rule.
        images: (B, ..., H, W), or (B, ..., T, H, W) for a layer with time.
        classes: (B,) int64; None: the class of the highest score.

    Returns:
        (B, H, W), or (B, T, H, W) for a layer with time; float32 in [0, 1].

    Raises:
        ValueError: the layer gave no output of that form, or the scores do not depend on it.
    """
    seen: list[Tensor] = []

    def keep(module: nn.Module, arguments: Any, output: Any) -> Any:
        if isinstance(output, Tensor):
            if not output.requires_grad:  # a frozen model
                output = output.detach().requires_grad_()
            seen.append(output)
            return output.clone()  # what follows may work in place
        return output

    hook = layer.register_forward_hook(keep)
    training = model.training
    model.eval()
    try:
        with torch.enable_grad():
            scores = model(images)
            if len(seen) != 1 or seen[0].ndim not in (4, 5):
                shapes = [tuple(output.shape) for output in seen]
                raise ValueError(
                    f"{type(layer).__name__} gave outputs {shapes}; Grad-CAM wants a layer that "
                    "runs once and gives (B, K, h, w) or (B, K, t, h, w)"
                )
            if classes is None:
                classes = scores.argmax(1)
            chosen = scores.gather(1, classes[:, None]).sum()
            (gradient,) = torch.autograd.grad(chosen, seen[0], allow_unused=True)
    finally:
        hook.remove()
        model.train(training)
    if gradient is None:
        raise ValueError(f"the scores do not depend on {type(layer).__name__}")
    places = tuple(range(2, gradient.ndim))
    weights = gradient.mean(places, keepdim=True)
    cam = F.relu((weights * seen[0].detach()).sum(1, keepdim=True)).float()
    highest = cam.amax(tuple(range(1, cam.ndim)), keepdim=True)
    cam = torch.where(highest > 0, cam / highest, 0.0)
    size = images.shape[-len(places) :]
    mode = "bilinear" if len(places) == 2 else "trilinear"
    return F.interpolate(cam, size=size, mode=mode, align_corners=False)[:, 0]


def last_map(net: nn.Module, run: Callable[[], Any]) -> str:
    """Name of the module that is the last to give a map: (B, K, h, w) or (B, K, t, h, w).

    Args:
        net: whose modules are looked at while
        run: is called, which runs it.

    Raises:
        ValueError: there is none, as in a transformer.
    """
    found: list[str] = []

    def look(name: str) -> Any:
        def hook(module: Any, inputs: Any, output: Any) -> None:
            shape = getattr(output, "shape", ())
            if len(shape) in (4, 5) and min(shape[-2:]) > 1:
                found.append(name)

        return hook

    hooks = [m.register_forward_hook(look(name)) for name, m in net.named_modules() if name]
    try:
        with torch.no_grad():
            run()
    finally:
        for hook in hooks:
            hook.remove()
    once = [name for name in found if found.count(name) == 1]
    if not once:
        raise ValueError(
            "no module of this network gives a map of features, (B, K, h, w) or (B, K, t, h, w), "
            "once: Grad-CAM is for convolutional networks; name a module with --layer"
        )
    return once[-1]


def cam_picture(images: Tensor, cam: Tensor) -> Tensor:
    """A Grad-CAM map over its image, half and half: blue 0, green 0.5, red 1.

    Args:
        images: (..., 3, H, W) in [0, 1].
        cam: (..., H, W) in [0, 1].

    Returns:
        (..., 3, H, W) in [0, 1].
    """
    red, blue = (2 * cam - 1).clamp(min=0), (1 - 2 * cam).clamp(min=0)
    return (images + torch.stack([red, 1 - red - blue, blue], -3)) / 2
