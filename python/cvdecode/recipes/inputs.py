"""From videos to what the networks of a recipe see."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any, Literal, cast

import numpy as np
import torch
from torch import Tensor

from cvdecode.data import (
    TSN,
    CompressedVideoDataset,
    Crops,
    Draw,
    Entry,
    GOPIndex,
    GopTable,
    HlsJitter,
    MultiScaleCrop,
    RandomCrop,
    Sampler,
    View,
    WithAdjacent,
    lists,
    normalise,
)
from cvdecode.recipes.config import Recipe
from cvdecode.recipes.flow import tv_l1

Mode = Literal["train", "test"]
TEST_POSITION = 6
"""Testing of nets that see one predicted frame a GOP: which one (as Huo et al.'s loader)."""


@dataclasses.dataclass(frozen=True)
class WithPair:
    """Another sampler's draw, with each drawn frame and the one before it among the pictures.

    ``iframes`` gets a last axis (key, ..., frame, frame before), so that pixels of these alone are
    decoded: what optical flow is estimated from.
    """

    sampler: Sampler

    def __call__(self, gops: GopTable, rng: np.random.Generator) -> Draw:
        """Draw from a video."""
        frames, keys = self.sampler(gops, rng)
        keys = keys.reshape(*frames.shape, -1)
        pair = np.stack([frames, np.maximum(frames - 1, 0)], -1)
        return Draw(frames, np.concatenate([keys, pair], -1))


@dataclasses.dataclass(frozen=True)
class Videos:
    """A labelled list of videos."""

    entries: list[Entry]
    root: str
    classes: list[str]


def videos(source: str, classes: list[str] | None = None) -> Videos:
    """A folder with a folder per class, or a list file of ``path label`` lines beside its videos.

    Args:
        source: the folder or list.
        classes: names by number, of an earlier training. A folder must then have the same ones; in
            a list labels are numbers.

    Raises:
        ListError: no such list, or a line that cannot be read.
        ValueError: a label is missing, or the classes are others than those of the training.
    """
    path = Path(source)
    if path.is_dir():
        entries = lists.folder_per_class(path)
        names = sorted({Path(entry.path).parts[0] for entry in entries})
        if any(entry.label == -1 for entry in entries):
            raise ValueError(f"{source}: videos lie in folders named after their classes")
        root = str(path)
    else:
        entries = lists.mmaction2(path)
        root = str(path.parent)
        most = max(cast(int, entry.label) for entry in entries)
        names = [str(k) for k in range(most + 1)]
        if classes is not None and most < len(classes):
            names = classes
    if classes is not None and names != classes:
        raise ValueError(f"{source} has the classes {names}; the network knows {classes}")
    return Videos(entries, root, names)


def needs(recipe: Recipe) -> tuple[str, ...]:
    """Modalities of the dataset that a recipe's system reads."""
    model = recipe.model
    if model.system == "stream":
        return ("iframe",) if model.input == "flow" else (model.input,)
    if model.system == "clip":
        return ("rgb",) if model.input == "rgb" else ("iframe", "residual")
    if model.system == "mfcd":
        return ("iframe", "residual", "rgb")
    if model.system in ("dmc", "dmc_gan"):
        return ("mv", "residual", "iframe")
    return ("iframe", "mv", "residual")


def uses_flow(recipe: Recipe, mode: Mode) -> bool:
    """Whether flow is estimated: by teachers and losses in training, by a flow stream always."""
    model = recipe.model
    if model.system == "stream":
        return model.input == "flow"
    if model.system == "attp":
        return mode == "train" and model.alignment != "none"
    return mode == "train" and model.system in ("dmc", "dmc_gan")


def uses_adjacent(recipe: Recipe) -> bool:
    return recipe.model.system == "attp" or recipe.model.temporal


def sampler(recipe: Recipe, mode: Mode) -> Sampler:
    """The frames that a recipe trains on, or is tested with."""
    model, data = recipe.model, recipe.data
    count = data.segments if mode == "train" else data.test_segments
    found: Sampler
    if model.system in ("clip", "mfcd"):
        return GOPIndex(count, "all", data.length, "train" if data.test_random else mode)
    if model.system in ("stream", "dmc", "dmc_gan"):
        found = TSN(count, mode, "coviar" if data.motion == "accumulated" else "dmc_i3d")
    else:
        found = GOPIndex(count, "random" if mode == "train" else TEST_POSITION, mode=mode)
        if uses_adjacent(recipe):
            found = WithAdjacent(found, mode)
    return WithPair(found) if uses_flow(recipe, mode) else found


def view(recipe: Recipe, mode: Mode) -> View:
    data = recipe.data
    square = (data.resize, data.resize)
    if mode == "train":
        if data.crop == "random":
            return RandomCrop(data.size, square, data.flip)
        if data.crop != "multiscale":
            raise ValueError(f'data.crop is "multiscale" or "random", not {data.crop!r}')
        return MultiScaleCrop(data.size, data.scales, flip=data.flip)
    if data.test_random:
        return RandomCrop(data.size, square, flip=0)
    return Crops(data.test_crops, data.size, square)


def dataset(
    recipe: Recipe, listed: Videos, mode: Mode, *, seed: int = 0, on_error: Any = "raise"
) -> CompressedVideoDataset:
    """The videos as the recipe wants them."""
    data = recipe.data
    modalities = needs(recipe)
    if recipe.model.system in ("dmc", "dmc_gan", "mfcd") and mode == "test":
        # Flow and frames teach; they are not there when it is used.
        extra = "rgb" if recipe.model.system == "mfcd" else "iframe"
        modalities = tuple(name for name in modalities if name != extra)
    whole = recipe.model.system in ("clip", "mfcd")  # their residuals are centred at 0
    return CompressedVideoDataset(
        listed.entries,
        sampler(recipe, mode),
        modalities,
        view(recipe, mode),
        {"mv": "coviar_u8", "residual": "int16" if whole else "coviar_u8"},
        root=listed.root,
        virtual_gop=data.virtual_gop or None,
        motion=cast(Any, data.motion),
        residual=cast(Any, data.residual),
        scale_values=data.scale_values,
        jitter=HlsJitter() if data.jitter and mode == "train" else None,
        on_error=on_error,
        seed=seed,
    )


def prepare(
    recipe: Recipe, batch: dict[str, Any], mode: Mode, device: torch.device
) -> dict[str, Tensor]:
    """Normalised float32 tensors of a collated batch; crops become further videos.

    Keys, with N videos (times crops), S segments:
        iframe (N, S, 3, h, w), adjacent (N, S, 3, h, w), mv and flow (N, S, 2, h, w),
        residual (N, S, 3, h, w); of "clip" and "mfcd" iframe (N * S, 3, h, w) RGB in 0..255,
        residual (N * S, T, 3, h, w) centred at 0 and rgb (N * S, T, 3, h, w) in 0..255.
    """
    crops = view(recipe, mode).num_crops
    found: dict[str, Tensor] = {}
    for name in ("iframe", "mv", "residual", "rgb"):
        if name in batch:
            x = batch[name].to(device, non_blocking=True)
            found[name] = x.flatten(0, 1) if crops > 1 else x
    if recipe.model.system in ("clip", "mfcd"):
        return {name: x.flatten(0, 1).float() for name, x in found.items()}
    if uses_flow(recipe, mode):
        pictures = found["iframe"]
        now, before = pictures[:, :, -2], pictures[:, :, -1]
        found["flow"] = (
            tv_l1(now.flatten(0, 1), before.flatten(0, 1))
            .view(*now.shape[:2], 2, *now.shape[-2:])
            .clamp(-20, 20)
            / 40
        )
        found["iframe"] = pictures[:, :, :-2]
    if "iframe" in found:
        pictures = normalise(found["iframe"], "imagenet")
        if uses_adjacent(recipe):
            found["adjacent"] = pictures[:, :, 1]
        if pictures.dim() == 6:
            pictures = pictures[:, :, 0]
        found["iframe"] = pictures
    plain = recipe.model.system not in ("dmc", "dmc_gan")
    if "mv" in found:
        found["mv"] = normalise(found["mv"], "centre" if plain else "dmc")
    if "flow" in found and not plain:
        found["flow"] = found["flow"] / 0.226
    if "residual" in found:
        found["residual"] = normalise(found["residual"], "coviar_residual")
    return found
