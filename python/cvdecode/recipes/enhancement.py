"""Training an enhancer on one's own videos: compressed here, one network a rate (Pourreza et al.).

The originals are transcoded with one setting, the first frames of both are kept as luma, and every
step draws its patches from (seed, step) alone: a training that was killed and taken up again gives
the network of one that was not.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable, Sequence
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

import cvdecode
from cvdecode import enhance
from cvdecode.enhance.networks import Kind
from cvdecode.recipes.records import save, versions
from cvdecode.study.ffmpeg import version as ffmpeg_version
from cvdecode.study.grid import Setting, input_filters
from cvdecode.study.measures import luma_frames, psnr
from cvdecode.study.pictures import beside, picture
from cvdecode.study.records import append, save_array
from cvdecode.study.sources import load_sources
from cvdecode.study.transcode import transcode

Tick = Callable[[str, int, int], None]
"""Called with (what, done, in all)."""
LOG_STEPS = 50


@dataclasses.dataclass(frozen=True)
class Plan:
    """What decides the network that comes out. Defaults are the paper's."""

    architecture: Kind = "recurrent"
    small: bool = False
    """A quarter of the width, four blocks."""
    codec: str = "hevc"
    crf: int = 35
    loss: str = "pixel"
    """"pixel", "perceptual" or "gan"."""
    steps: int = 10_000
    batch: int = 16
    frames: int = 10
    """Length of the sequences: the first of each clip."""
    patch: int = 96
    rate: float = 1e-4
    seed: int = 0

    def __post_init__(self) -> None:
        if self.loss not in ("pixel", "perceptual", "gan"):
            raise ValueError(f'the loss is "pixel", "perceptual" or "gan", not {self.loss!r}')
        if self.architecture == "vectors" and self.codec != "h264":
            raise ValueError(
                "alignment by vectors needs a stream whose vectors are known: --codec h264"
            )
        if min(self.steps, self.batch, self.frames) < 1:
            raise ValueError("steps, batch and frames are at least 1")

    def network(self) -> enhance.Enhancer:
        """A new one."""
        if self.small:
            return enhance.small_enhancer(self.architecture, self.patch)
        if self.architecture == "frame":
            return enhance.FrameByFrame()
        if self.architecture == "window":
            return enhance.MultiFrame(patch=self.patch)
        flow = 32 if self.architecture == "recurrent" else None
        return enhance.FrameRecurrent(flow_width=flow, patch=self.patch)


@dataclasses.dataclass
class Pair:
    """The first frames of a clip, memory-mapped."""

    luma: npt.NDArray[np.uint8]
    """(2 (original, compressed), T, H, W)"""
    flow: npt.NDArray[np.float16] | None
    """(T, 2, H, W), as `enhance.stream_flow` gives it."""


def prepare(
    inputs: Sequence[tuple[str, str]], plan: Plan, work: Path, *, jobs: int = 1,
    tick: Tick = lambda what, done, total: None,
) -> tuple[list[Pair], list[str]]:  # fmt: skip
    """Compresses the originals and keeps luma of both; goes on where it stopped.

    Args:
        inputs: (path, name) of each original.
        plan: whose codec, CRF, frames and patch matter here.
        work: folder of the compressed clips and of the luma, about 2 T H W bytes a clip.

    Returns:
        The pairs in the order of their names, and why clips were left out.

    Raises:
        cvdecode.CorruptStream: no clip is left.
        DiskFull: there is no room; what is finished is kept.
    """
    setting = Setting(plan.codec, "crf", plan.crf, 250, short_side=None)  # type: ignore[arg-type]
    made = transcode(
        inputs, [setting], work, jobs=jobs,
        on_progress=lambda done, total: tick("compressing", done, total),
    )  # fmt: skip
    left_out = [f"{r['source']}: {r['error']}" for r in made.failed]
    sources = {s.name: s for s in load_sources(inputs, jobs)[0]}
    pairs = []
    for done, record in enumerate(sorted(made.records, key=lambda r: str(r["source"])), 1):
        source = sources.get(record["source"])
        if source is None or record["setting"] != setting.name:
            continue  # of an earlier run with other clips
        if record["frames"] < plan.frames or min(record["width"], record["height"]) < plan.patch:
            left_out.append(
                f"{source.name}: {record['frames']} frames of {record['width']}x"
                f"{record['height']}; {plan.frames} of {plan.patch} are wanted"
            )
            continue
        pairs.append(_pair(source, work / record["path"], record, plan, work / "luma"))
        tick("reading", done, len(made.records))
    if not pairs:
        raise cvdecode.CorruptStream("no clip can be trained on: " + "; ".join(left_out[:3]))
    return pairs, left_out


def _pair(source: Any, path: Path, record: dict[str, Any], plan: Plan, folder: Path) -> Pair:
    width, height = record["width"], record["height"]
    folder.mkdir(exist_ok=True)
    kept = folder / f"{record['key'][:32]}-{plan.frames}.npy"
    if not kept.exists():
        chain = input_filters(source.width, source.height, None)
        both = (
            luma_frames(source.path, width, height, chain),
            luma_frames(path, width, height),
        )
        save_array(kept, np.stack([np.stack(list(islice(frames, plan.frames))) for frames in both]))
    flow = None
    if plan.architecture == "vectors":
        moved = kept.with_suffix(".flow.npy")
        if not moved.exists():
            save_array(moved, _flow(path, plan.frames))
        flow = np.load(moved, mmap_mode="r")
    return Pair(np.load(kept, mmap_mode="r"), flow)


def _flow(path: Path, frames: int) -> npt.NDArray[np.float16]:
    found = []
    with cvdecode.VideoReader(path, planes=("mv", "ref")) as video:
        for t in range(frames):
            acc = cvdecode.accumulate(video, [t], anchors=[max(0, t - 1)])
            arrays = torch.from_numpy(acc.displacement), torch.from_numpy(acc.anchor)
            found.append(enhance.stream_flow(*arrays, torch.tensor([t]))[0][0].numpy())
    return np.stack(found).astype(np.float16)


def _unit(luma: npt.NDArray[Any]) -> Tensor:
    """(..., H, W) uint8 to (..., 1, H, W) in [0, 1]."""
    return torch.from_numpy(np.array(luma)).float()[..., None, :, :] / 255


def draw(pairs: Sequence[Pair], plan: Plan, step: int) -> tuple[Tensor, ...]:
    """The patches of a step: original, compressed, and flow where the network is given it."""
    generator = torch.Generator().manual_seed(plan.seed * 1_000_003 + step)
    found = []
    for row in torch.randint(len(pairs), (plan.batch,), generator=generator).tolist():
        pair = pairs[row]
        flow = None if pair.flow is None else torch.from_numpy(np.array(pair.flow)).float()
        original, compressed = _unit(pair.luma[0]), _unit(pair.luma[1])
        found.append(
            enhance.random_patches(plan.patch, original, compressed, flow, generator=generator)
        )
    return tuple(torch.stack(part) for part in zip(*found, strict=True))


def train(
    pairs: Sequence[Pair],
    plan: Plan,
    out: Path,
    *,
    start: Path | None = None,
    vgg: Path | None = None,
    device: str = "cpu",
    max_steps: int | None = None,
    checkpoint_steps: int = 200,
    command: str = "",
    tick: Tick = lambda what, done, total: None,
) -> enhance.Enhancer:
    """Trains an enhancer, or goes on where `out` stopped.

    Args:
        pairs: of prepare().
        out: the checkpoint, for `enhance.from_checkpoint`; it also holds what going on needs.
            Losses go to the file beside it with the suffix .jsonl.
        start: checkpoint to start from: the paper fine-tunes a network of the pixel loss.
        vgg: torchvision's file of VGG-19 weights, for the other two losses.
        max_steps: stop after so many steps of this run.

    Raises:
        ValueError: `out` is of another plan, or the loss needs `vgg`, or is not finite.
    """
    torch.manual_seed(plan.seed)
    model = plan.network()
    if start is not None:
        begun = enhance.from_checkpoint(torch.load(start, weights_only=True))
        if type(begun) is not type(model) or begun.arguments != model.arguments:
            raise ValueError(
                f"{start}: {begun.arguments} is another network than the one asked for"
            )
        model = begun
    model = model.to(device).train()
    phi = judge = None
    if plan.loss != "pixel":
        if vgg is None:
            raise ValueError(f"the {plan.loss} loss needs VGG-19's weights: --vgg vgg19.pth")
        phi = enhance.VGG19Features()
        phi.load(torch.load(vgg, map_location="cpu", weights_only=True))
        phi = phi.to(device)
    optimisers = [torch.optim.Adam(model.parameters(), plan.rate)]
    parts: list[torch.nn.Module] = [model]
    if plan.loss == "gan":
        judge = enhance.Discriminator(plan.patch).to(device)
        parts.append(judge)
        optimisers.append(torch.optim.Adam(judge.parameters(), plan.rate))
    log = out.with_suffix(".jsonl")
    about = {**dataclasses.asdict(plan), "clips": len(pairs), "start": str(start or "")}
    step, size = _resume(out, about, parts, optimisers)
    if log.exists():
        os.truncate(log, min(size, log.stat().st_size))
    if step == 0:
        head = {"command": command, "versions": {**versions(), "ffmpeg": ffmpeg_version()}}
        append(log, [{"event": "start", **about, **head}])
    done = 0
    while step < plan.steps and done != max_steps:
        original, *given = (part.to(device) for part in draw(pairs, plan, step))
        loss = _step(plan, model, judge, phi, optimisers, original, given)
        if not np.isfinite(loss["loss"]):
            raise ValueError(f"loss {loss['loss']} at step {step}: lower --rate")
        step, done = step + 1, done + 1
        tick("training", step, plan.steps)
        if step % LOG_STEPS == 0 or step == plan.steps:
            append(log, [{"event": "step", "step": step, **loss}])
        if step % checkpoint_steps == 0 or step == plan.steps or done == max_steps:
            _checkpoint(out, about, parts, optimisers, step, log.stat().st_size)
    return model.eval()


def _step(
    plan: Plan, model: Any, judge: Any, phi: Any, optimisers: list[Any], original: Tensor,
    given: list[Tensor],
) -> dict[str, float]:  # fmt: skip
    if plan.loss == "gan":
        losses = enhance.gan_step(model, judge, phi, *optimisers, original, *given)
        told = losses._asdict()
        return {"loss": float(told.pop("total")), **{k: float(v) for k, v in told.items()}}
    objective = enhance.pixel_loss
    if plan.loss == "perceptual":
        objective = partial(enhance.perceptual_loss, phi)
    return {"loss": float(enhance.train_step(model, optimisers[0], objective, original, *given))}


def _checkpoint(
    out: Path, about: dict[str, Any], parts: list[Any], optimisers: list[Any], step: int, size: int
) -> None:
    content = enhance.checkpoint(parts[0]) | {
        "training": {
            "about": about,
            "step": step,
            "log_bytes": size,
            "judge": [part.state_dict() for part in parts[1:]],
            "optimisers": [each.state_dict() for each in optimisers],
        }
    }
    save(out, content)


def _resume(
    out: Path, about: dict[str, Any], parts: list[Any], optimisers: list[Any]
) -> tuple[int, int]:
    """(steps done, length of the log then); fills networks and optimisers."""
    if not out.exists():
        return 0, 0
    saved = torch.load(out, map_location="cpu", weights_only=True)
    training = saved.get("training") if isinstance(saved, dict) else None
    if training is None:
        raise ValueError(f"{out} is no training to go on with: choose another --out")
    # More steps than at first is going on; anything else is another training.
    other = [k for k, v in about.items() if k != "steps" and training["about"].get(k) != v]
    if other:
        raise ValueError(
            f"{out} is of another {other[0]} ({training['about'].get(other[0])}, not "
            f"{about[other[0]]}): choose another --out, or the settings it was started with"
        )
    parts[0].load_state_dict(saved["state"])
    for part, state in zip(parts[1:], training["judge"], strict=True):
        part.load_state_dict(state)
    for each, state in zip(optimisers, training["optimisers"], strict=True):
        each.load_state_dict(state)
    return int(training["step"]), int(training["log_bytes"])


def shown(pair: Pair, model: enhance.Enhancer, device: str = "cpu") -> npt.NDArray[np.uint8]:
    """The enhanced frames of a clip, uint8 (T, H, W)."""
    given: list[Any] = [_unit(pair.luma[1])[:, None].to(device)]
    if pair.flow is not None:
        given.append(torch.from_numpy(np.array(pair.flow)).float()[:, None].to(device))
    frames = torch.cat(list(model.stream(*given)))[:, 0]
    levels: npt.NDArray[np.uint8] = (frames * 255).round().clamp(0, 255).byte().cpu().numpy()
    return levels


def crops(pair: Pair, enhanced: npt.NDArray[np.uint8], size: int = 128) -> npt.NDArray[np.uint8]:
    """The middle of the last frame: compressed, enhanced, original; (H, W, 3)."""
    height, width = enhanced.shape[1:]
    top, left = max(0, height - size) // 2, max(0, width - size) // 2
    last = (pair.luma[1][-1], enhanced[-1], pair.luma[0][-1])
    return beside([frame[top : top + size, left : left + size] for frame in last])


def judged(
    pairs: Sequence[Pair], model: enhance.Enhancer, device: str = "cpu"
) -> tuple[dict[str, float], dict[str, Any]]:
    """PSNR of luma, dB, before and after: means over clips; the output is rounded to 8 bits.

    Also a picture for the page of `cvdecode study report`: crops of the first clip.
    """
    before, after = [], []
    for pair in pairs:
        levels = shown(pair, model, device)
        before.append(psnr(pair.luma[0], pair.luma[1]))
        after.append(psnr(pair.luma[0], levels))
    image = picture(
        "Enhancement",
        np.repeat(np.repeat(crops(pairs[0], shown(pairs[0], model, device)), 2, 0), 2, 1),
        "compressed, enhanced, original: luma of the last frame, 2x",
    )
    told = {"compressed_psnr": float(np.mean(before)), "enhanced_psnr": float(np.mean(after))}
    return told, image
