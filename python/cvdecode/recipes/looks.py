"""Where a recogniser looked: Grad-CAM over the pictures of the frames that it saw."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

import cvdecode
from cvdecode.data import Entry, GopTable, collate
from cvdecode.enhance import grad_cam, last_map
from cvdecode.recipes import inputs
from cvdecode.recipes.checkpoint import Trained
from cvdecode.recipes.config import Recipe
from cvdecode.recipes.predict import OneGop
from cvdecode.recipes.systems import Inputs
from cvdecode.study import clips
from cvdecode.study.models import Model

GOPS = 8
"""That a network of single frames is asked about, at the most."""


@dataclasses.dataclass(frozen=True)
class Looks:
    """What a network made of a video."""

    pictures: Tensor
    """(T, 3, H, W) in [0, 1]: the central crops that went in, or of the frames whose motion and
    residual did."""
    maps: Tensor
    """(T, H, W) in [0, 1]."""
    scores: Tensor
    """(C,) logits; of several GOPs their mean."""
    chosen: int
    """The class that is explained."""
    layer: str


Choose = Callable[[Tensor], int]
"""From scores (C,) to the class to explain."""


class _Call(nn.Module):
    """A network as a module from one tensor to plain scores, for grad_cam()."""

    def __init__(self, net: nn.Module, run: Callable[[Tensor], Any]) -> None:
        super().__init__()
        self.net, self.run = net, run
        self.eval()  # grad_cam() leaves it as it finds it

    def forward(self, x: Tensor) -> Tensor:
        out = self.run(x)
        scores: Tensor = getattr(out, "logits", out)
        return scores


def _module(net: nn.Module, name: str) -> nn.Module:
    modules: dict[str, nn.Module] = dict(net.named_modules())
    if name not in modules:
        some = ", ".join(filter(None, modules))[:500]
        raise ValueError(f"the network has no module {name!r}; some: {some}")
    return modules[name]


def looks_of_model(
    model: Model,
    source: str | os.PathLike[str],
    choose: Choose,
    *,
    layer: str | None = None,
    device: str = "cpu",
) -> Looks:
    """Grad-CAM over the clip that a model is given of a video.

    Args:
        model: whose call is a torch module.
        layer: name of a module; None: the last that gives a map.

    Raises:
        ValueError: it is no torch module of one clip at a time; no such module, or none with a map.
    """
    spec, net = model.spec, model.call
    if not isinstance(net, nn.Module) or spec.layout == "slowfast":
        raise ValueError(f"{model.name}: Grad-CAM wants a torch module of one clip at a time")
    net = net.to(device).eval()
    packed = clips.pack([clips.preprocess(clips.load(source, spec), spec)], spec)
    x = torch.from_numpy(packed).to(device)
    call = _Call(net, net)
    layer = layer or last_map(net, lambda: net(x))
    with torch.no_grad():
        scores = call(x)[0]
    chosen = choose(scores)
    cam = grad_cam(call, _module(net, layer), x, torch.tensor([chosen], device=x.device)).cpu()
    clip = (x[0] if spec.layout == "btchw" else x[0].transpose(0, 1)).cpu()  # (T, 3, H, W)
    mean, std = (torch.tensor(v).view(3, 1, 1) for v in (spec.mean, spec.std))
    maps = cam.reshape(-1, *cam.shape[-2:]).expand(len(clip), -1, -1)  # one may serve all
    return Looks((clip * std + mean).clamp(0, 1), maps, scores.cpu(), chosen, layer)


def looks_of_system(
    trained: Trained,
    source: str | os.PathLike[str],
    choose: Choose,
    *,
    layer: str | None = None,
    device: str = "cpu",
) -> Looks:
    """Grad-CAM over a video by a network of `cvdecode train`, one crop at the centre.

    Of a network that sees a frame a GOP: GOPS of them, evenly spread. Of one that sees a whole GOP
    as a clip: the GOP in the middle.

    Args:
        layer: name of a module of `trained.system`. None: the last that gives a map; in a network
            of several streams that is one of the stream that runs last.

    Raises:
        ValueError: no such module, or none that gives a map once.
        cvdecode.Error: the video cannot be read, or lacks what the network takes.
    """
    one_crop = dataclasses.replace(trained.recipe.data, test_crops=1)
    recipe = dataclasses.replace(trained.recipe, data=one_crop)
    where = torch.device(device)
    net = trained.system.to(where).eval()
    seen = _inputs(recipe, os.fspath(source), trained.classes, where)
    layer = layer or last_map(net, lambda: net.scores(seen[0][1]))
    module = _module(net, layer)
    with torch.no_grad():
        scores = torch.cat([net.scores(x) for _, x in seen]).mean(0)
    chosen = choose(scores)
    of_keys = recipe.model.system == "stream" and recipe.model.input == "iframe"
    pictures, maps = [], []
    for batch, x in seen:
        shown = _pictures(batch, keys=of_keys or "iframe" in layer.split("."))
        call = _Call(net, lambda given, x=x: net.scores(x))  # type: ignore[misc]
        # What is given tells the size alone: (3, T, H, W), for a layer with time a map a frame.
        cam = grad_cam(call, module, shown.transpose(0, 1), torch.tensor([chosen], device=where))
        cam = cam.cpu().reshape(-1, *cam.shape[-2:])[: len(shown)]  # a neighbour's is behind (TTP)
        maps.append(cam.expand(len(shown), -1, -1))
        pictures.append(shown)
    return Looks(torch.cat(pictures), torch.cat(maps), scores.cpu(), chosen, layer)


def _inputs(
    recipe: Recipe, path: str, classes: list[str], device: torch.device
) -> list[tuple[dict[str, Any], Inputs]]:
    """A batch of one for each GOP that is looked at, pixels of its frames among it, and what the
    system takes of it."""
    clip = recipe.model.system in ("clip", "mfcd")
    data = inputs.dataset(recipe, inputs.Videos([Entry(path, -1)], "", classes), "test")
    wanted = dict.fromkeys((*data.what.modalities, "rgb"))
    data.what = dataclasses.replace(data.what, modalities=tuple(wanted))
    found = []
    with cvdecode.VideoReader(path, planes=data.what.planes) as video:
        size = recipe.data.virtual_gop
        gops = GopTable.virtual(size, len(video)) if size else GopTable.of(video.gops, len(video))
        spread = np.linspace(0, len(gops) - 1, min(GOPS, len(gops))).round().astype(int).tolist()
        for number in [len(gops) // 2] if clip else spread:
            draw = OneGop(
                number,
                recipe.data.length if clip else 0,
                inputs.uses_adjacent(recipe),
                inputs.uses_flow(recipe, "test"),
            )
            batch = collate([data.sample_of(video, draw)])
            found.append((batch, inputs.prepare(recipe, batch, "test", device)))
    return found


def _pictures(batch: dict[str, Any], *, keys: bool) -> Tensor:
    """(T, 3, H, W) in [0, 1]: the key pictures, or those of the frames drawn."""
    found: Tensor = batch["iframe" if keys else "rgb"][0]
    if keys and found.dim() == 5:  # (S, key and others, 3, H, W)
        found = found[:, 0]
    return found.reshape(-1, *found.shape[-3:]).float() / 255
