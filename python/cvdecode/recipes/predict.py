"""A video in, labels out: GOP by GOP, each as soon as it is read."""

from __future__ import annotations

import dataclasses
import os
import time
from collections.abc import Iterator

import numpy as np
import torch

import cvdecode
from cvdecode.data import Draw, Entry, GopTable, collate
from cvdecode.recipes import inputs
from cvdecode.recipes.checkpoint import Trained


@dataclasses.dataclass(frozen=True)
class OneGop:
    """Draws from one GOP what a recipe is tested with: its key, and a predicted frame or all."""

    number: int
    length: int
    """0: one frame, position 6 or the last; else so many from the key on, the last repeated."""
    adjacent: bool
    pair: bool

    def __call__(self, gops: GopTable, rng: np.random.Generator) -> Draw:
        """Draw; uses no randomness."""
        start, stop = int(gops.starts[self.number]), int(gops.stops[self.number])
        key = int(gops.keys[self.number])
        if self.length:
            frames = np.minimum(start + np.arange(self.length), stop - 1)[None]
            return Draw(frames, np.array([key]))
        frame = min(start + inputs.TEST_POSITION, stop - 1)
        pictures = [key]
        if self.adjacent:
            beside = self.number + (1 if self.number == 0 else -1)
            pictures.append(int(gops.keys[min(max(beside, 0), len(gops) - 1)]))
        if self.pair:
            pictures += [frame, max(frame - 1, 0)]
        shape = (1, len(pictures)) if len(pictures) > 1 else (1,)
        return Draw(np.array([frame]), np.array(pictures).reshape(shape))


@dataclasses.dataclass
class Prediction:
    """What the networks say of one GOP."""

    gop: int
    start: int
    """First presentation index of the GOP."""
    frames: list[int]
    """Presentation indices that were looked at."""
    scores: torch.Tensor
    """Logits (C,), averaged over crops."""
    seconds: dict[str, float]
    """"read" (parsing, and decoding where pixels are needed), "accumulate", "prepare" (crops,
    encoding, normalising) and "network"."""


@torch.no_grad()
def predict(
    trained: Trained, source: str | os.PathLike[str], *, device: str = "cpu"
) -> Iterator[Prediction]:
    """Scores of each GOP of a video, in order, with bounded memory.

    Args:
        trained: of checkpoint.load().
        source: the video.
        device: of the network.

    Raises:
        cvdecode.Error: the video cannot be read.
    """
    # Each GOP is looked at once: at its middle, whatever an evaluation draws.
    shown = dataclasses.replace(trained.recipe.data, test_random=False)
    recipe, where = dataclasses.replace(trained.recipe, data=shown), torch.device(device)
    net = trained.system.to(where).eval()
    path = os.fspath(source)
    listed = inputs.Videos([Entry(path, -1)], "", trained.classes)
    data = inputs.dataset(recipe, listed, "test")
    clips = recipe.model.system in ("clip", "mfcd")
    with cvdecode.VideoReader(path, planes=data.what.planes) as video:
        if recipe.data.virtual_gop:
            gops = GopTable.virtual(recipe.data.virtual_gop, len(video))
        else:
            gops = GopTable.of(video.gops, len(video))
        for number in range(len(gops)):
            seconds: dict[str, float] = {"read": 0.0, "accumulate": 0.0}
            start = time.perf_counter()
            draw = OneGop(
                number,
                recipe.data.length if clips else 0,
                inputs.uses_adjacent(recipe),
                inputs.uses_flow(recipe, "test"),
            )
            sample = data.sample_of(video, draw, seconds)
            batch = collate([sample])
            x = inputs.prepare(recipe, batch, "test", where)
            ready = time.perf_counter()
            scores = net.scores(x).cpu().view(-1, len(trained.classes)).mean(0)
            seconds["network"] = time.perf_counter() - ready
            seconds["prepare"] = ready - start - seconds["read"] - seconds["accumulate"]
            looked = sorted(set(sample["frames"].flatten().tolist()))
            yield Prediction(number, int(gops.starts[number]), looked, scores, seconds)
