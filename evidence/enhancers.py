"""Clips, networks and their training for the experiment on enhancement."""

from __future__ import annotations

import functools
import hashlib
import json
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

import cvdecode
from cvdecode import enhance
from cvdecode.study import ffmpeg
from evidence import record
from evidence.actions import MOTIONS, SIZE, actions, draw
from evidence.encode import encode
from evidence.textures import CLASSES, textures

CODECS = {
    "x265": ("-c:v", "libx265", "-x265-params", "log-level=error:pools=none:frame-threads=1"),
    "x264": ("-c:v", "libx264"),
}
CLUTTER = 26
"""Of the textures that phi is trained on: what evidence.johnston uses."""


class Clips(NamedTuple):
    """Clips of one split in one stream; float32."""

    original: Tensor
    """(N, T, 1, 112, 112) in [0, 1]."""
    compressed: Tensor
    flow: Tensor
    """(N, T, 2, 112, 112) to the frame before, for `enhance.warp`; of x264 alone, else 0."""
    vectors_ms: float
    """CPU milliseconds a frame that reading and accumulating the vectors took."""


def todo(split: str, settings: dict[str, Any]) -> Any:
    return actions(split, settings[split], len(MOTIONS), settings["recogniser"]["textures"])


def key(settings: dict[str, Any]) -> str:
    """Settings as what a cache can be asked by."""
    return json.dumps(settings, sort_keys=True)


@functools.lru_cache(2)
def drawn(split: str, told: str, seed: int) -> Any:
    """The originals of a split, uint8 (N, T, 112, 112)."""
    settings = json.loads(told)
    return np.stack([draw(a, settings["frames"], seed) for a in todo(split, settings)])


@functools.lru_cache(2)
def _clips(split: str, stream: str, told: str, seed: int) -> Clips:
    codec, _, crf = stream.split()
    original = drawn(split, told, seed)
    count, frames = original.shape[:2]
    flow, cost = torch.zeros(1, 2, 1, 1).expand(count * frames, 2, SIZE, SIZE), 0.0
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "clips.mp4"
        encode(original, path, frames, (*CODECS[codec], "-crf", crf))
        decoded = np.stack(list(ffmpeg.frames(path, (SIZE * 3 // 2, SIZE), "yuv420p")))[:, :SIZE]
        if codec == "x264":
            flow = torch.zeros(count * frames, 2, SIZE, SIZE)
            with cvdecode.VideoReader(path, planes=("mv", "ref")) as video:
                begin = time.process_time()
                for t in range(len(video)):
                    acc = cvdecode.accumulate(video, [t], anchors=[max(0, t - 1)])
                    arrays = torch.from_numpy(acc.displacement), torch.from_numpy(acc.anchor)
                    flow[t] = enhance.stream_flow(*arrays, torch.tensor([t]))[0][0]
                cost = 1000 * (time.process_time() - begin) / len(video)
    shape = (count, frames, 1, SIZE, SIZE)
    pair = [torch.from_numpy(x.reshape(shape)).float() / 255 for x in (original, decoded)]
    return Clips(*pair, flow.view(count, frames, 2, SIZE, SIZE), cost)


def clips(split: str, stream: str, settings: dict[str, Any], seed: int) -> Clips:
    """The clips of a split ("train", "test") through one encoder process ("x265 CRF 35")."""
    return _clips(split, stream, key(settings), seed)


# --- phi -----------------------------------------------------------------------------------------


def _level(channels: int, width: int) -> list[nn.Module]:
    return [nn.Conv2d(channels, width, 3, padding=1), nn.BatchNorm2d(width), nn.ReLU()]


def phi(settings: dict[str, Any], seed: int) -> tuple[nn.Module, float]:
    """Features for the perceptual loss, and how often the net that they are of is right.

    VGG-19 has no place here: there are no weights of it. A small net in its manner, to its last
    convolution, before activation: other data and other labels than the recognisers', the textures
    of evidence.textures in grey. Divided by their standard deviation, so that the weights of l_GAN
    mean the same whatever the net.
    """
    torch.manual_seed(seed)
    body = nn.Sequential(
        *_level(1, 16), *_level(16, 16), nn.MaxPool2d(2),
        *_level(16, 32), *_level(32, 32), nn.MaxPool2d(2), nn.Conv2d(32, 32, 3, padding=1),
    )  # fmt: skip
    head = nn.Sequential(
        nn.BatchNorm2d(32), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(32, CLASSES)
    )
    whole = nn.Sequential(body, head).to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def grey(split: str, count: int) -> tuple[Tensor, Tensor]:
        rgb, labels = textures(split, seed + 200, count, CLUTTER)
        luma = torch.from_numpy(rgb @ np.array([0.299, 0.587, 0.114])).float() / 255
        return luma[:, None], torch.from_numpy(labels)

    luma, label = grey("train", settings["phi_images"])
    steps, rng = settings["phi_steps"], np.random.default_rng([seed, 11])
    optimiser = torch.optim.Adam(whole.parameters(), 4e-3)
    rate = torch.optim.lr_scheduler.OneCycleLR(optimiser, 4e-3, total_steps=steps)
    for _ in range(steps):
        rows = torch.from_numpy(rng.integers(0, len(luma), 64))
        loss = cross_entropy(whole(luma[rows]), label[rows])
        optimiser.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        rate.step()
    whole.eval().requires_grad_(False)
    held, label = grey("test", settings["phi_images"] // 4)
    right = float((whole(held).argmax(1) == label).float().mean())
    last: Any = body[-1]
    spread = body(held).std()
    last.weight /= spread
    last.bias /= spread
    return body, right


# --- networks ------------------------------------------------------------------------------------


def network(kind: str, settings: dict[str, Any]) -> Any:
    """A network that starts as the identity: the last convolution of ENet begins at 0.

    "recurrent", "window" and "frame, 30 blocks" have the same number of parameters, "recurrent" and
    "frame" of multiply-adds (28.7 k a sample; window 38.6 k); "vectors" and "unaligned" are
    "recurrent" without FNet.
    """
    width, blocks, patch = settings["width"], settings["blocks"], settings["patch"]
    made: Any
    if kind == "frame, 30 blocks":
        made = enhance.FrameByFrame(width, 15 * blocks // 2)
    elif kind == "frame":
        made = enhance.FrameByFrame(width, 3 * blocks // 2)
    elif kind == "window":
        made = enhance.MultiFrame(1, width, blocks, width // 2, patch)
    else:
        flow_width = width // 2 if kind == "recurrent" else None
        made = enhance.FrameRecurrent(width, blocks, flow_width, patch)
    nn.init.zeros_(made.enet.last.weight)
    nn.init.zeros_(made.enet.last.bias)
    return made.to(memory_format=torch.channels_last)  # a quarter faster


def seen(kind: str, data: Clips) -> tuple[Tensor, ...]:
    """What a network takes."""
    if kind == "vectors":
        return data.compressed, data.flow
    if kind == "unaligned":
        return data.compressed, torch.zeros_like(data.flow)
    return (data.compressed,)


def patches(
    kind: str, data: Clips, settings: dict[str, Any], seed: int, part: int, steps: int
) -> Iterator[list[Tensor]]:
    """(original, *what the network takes) of each step: the same draws for every network."""
    rng = np.random.default_rng([seed, part])
    generator = torch.Generator().manual_seed(1000 * seed + part)
    given = (data.original, *seen(kind, data))
    unroll = settings["unroll"]
    for _ in range(steps):
        found = []
        for _ in range(settings["batch"]):
            clip = int(rng.integers(len(data.original)))
            start = int(rng.integers(settings["frames"] - unroll + 1))
            cut = (tensor[clip, start : start + unroll] for tensor in given)
            found.append(enhance.random_patches(settings["patch"], *cut, generator=generator))
        yield [torch.stack(x) for x in zip(*found, strict=True)]


def started(kind: str, stream: str, settings: dict[str, Any], seed: int) -> Any:
    """A network after `steps` steps with the pixel loss, kept in the cache: losses share it."""
    chosen = {k: v for k, v in settings.items() if k not in ("test", "further", "recogniser")}
    digest = hashlib.sha256(json.dumps([kind, stream, seed, chosen]).encode()).hexdigest()[:16]
    path = record.cache() / f"enhancer-{digest}.pt"
    torch.manual_seed(seed)
    model = network(kind, settings)
    if path.exists():
        model.load_state_dict(torch.load(path, weights_only=True))
        return model
    optimiser = torch.optim.Adam(model.parameters(), settings["rate"])
    rate = torch.optim.lr_scheduler.OneCycleLR(
        optimiser, settings["rate"], total_steps=settings["steps"]
    )
    data = clips("train", stream, settings, seed)
    for original, *inputs in patches(kind, data, settings, seed, 5, settings["steps"]):
        enhance.train_step(model, optimiser, enhance.pixel_loss, original, *inputs)
        rate.step()
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(".part")
    torch.save(model.state_dict(), part)
    part.replace(path)
    return model


def trained(
    kind: str, loss: str, stream: str, settings: dict[str, Any], seed: int,
    features: Callable[[], nn.Module],
) -> Any:  # fmt: skip
    """`started`, then `further` steps with a loss: "pixel", "perceptual" or "GAN"."""
    model = started(kind, stream, settings, seed)
    torch.manual_seed(seed)
    optimiser = torch.optim.Adam(model.parameters(), settings["further_rate"])
    judge = enhance.Discriminator(settings["patch"], 8)
    judging = torch.optim.Adam(judge.parameters(), settings["further_rate"])
    objective: Any = enhance.pixel_loss
    if loss != "pixel":
        objective = functools.partial(enhance.perceptual_loss, features())
    data = clips("train", stream, settings, seed)
    for original, *inputs in patches(kind, data, settings, seed, 6, settings["further"]):
        if loss == "GAN":
            enhance.gan_step(model, judge, features(), optimiser, judging, original, *inputs)
        else:
            enhance.train_step(model, optimiser, objective, original, *inputs)
    return model


@torch.no_grad()
def enhanced(kind: str, model: Any, data: Clips) -> tuple[Tensor, float]:
    """The clips in 8 bits / 255, and CPU milliseconds a frame, the median over clips."""
    shown, times = [], []
    for clip in zip(*seen(kind, data), strict=True):
        begin = time.process_time()
        shown.append((model(*(x[None] for x in clip)) * 255).round().clamp(0, 255) / 255)
        times.append((time.process_time() - begin) / data.original.shape[1])
    return torch.cat(shown), 1000 * float(np.median(times))
