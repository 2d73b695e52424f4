"""MFCD-Net's ablation (Battash et al., Table 3): residuals that stand for frames, with a teacher.

A clip is one GOP of 12 pictures, an I picture and eleven P pictures. As in the paper every row
starts from one net that was trained on pixels before (there on Kinetics, here on the training
clips) and is then trained on its own input for as long as all others; the row on pixels is the
teacher.
"""

from __future__ import annotations

import copy
import dataclasses
import pickle
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

import cvdecode
from cvdecode import heads
from evidence import record
from evidence.actions import actions, draw
from evidence.encode import X264_P_ONLY, encode
from evidence.tensors import GOP, Array, halved
from evidence.training import right

FULL = {"train": 480, "test": 240, "first_epochs": 6, "epochs": 2, "seeds": [0, 1, 2]}
QUICK = {"train": 24, "test": 12, "first_epochs": 1, "epochs": 1, "seeds": [0]}
ROWS = ("RGB teacher", "I+Rhat+KD", "I+Rhat", "I+Rbar", "Rbar only")
INPUTS: dict[str, Any] = {
    "I+Rhat+KD": "augmented", "I+Rhat": "augmented", "I+Rbar": "residual",
    "Rbar only": "residual_only",
}  # fmt: skip
MOTIONS, APPEARANCES = 4, 3
BATCH = 16
LR = 3e-3


@dataclasses.dataclass
class Clips:
    """N clips of one GOP."""

    frames: Array
    """uint8 (N, 12, 28, 28): luma as decoded, 4x4 means."""
    residual: Array
    """int16 (N, 11, 28, 28): difference of decoded pictures along the vectors, 4x4 means."""
    label: Array
    """(motion, texture), int64 (N,)."""


def quartered(plane: Array) -> Array:
    """4x4 means, (..., H, W) to (..., H / 4, W / 4), float32."""
    return halved(halved(plane))


def make(split: str, count: int, seed: int) -> Clips:
    """Clips of a split, made once and kept in the cache."""
    path = record.cache() / f"mfcd-{split}-{count}-{seed}.pickle"
    if not path.exists():
        todo = actions(split, count, MOTIONS, APPEARANCES)
        out = Clips(
            np.empty((count, GOP, 28, 28), np.uint8),
            np.empty((count, GOP - 1, 28, 28), np.int16),
            np.array([a.motion * APPEARANCES + a.appearance for a in todo]),
        )
        with tempfile.TemporaryDirectory() as folder:
            video = Path(folder) / "clips.mp4"
            encode((draw(a, GOP, seed) for a in todo), video, GOP, X264_P_ONLY)
            with cvdecode.VideoReader(video, planes=("rgb", "mv", "ref")) as reader:
                if "".join(reader.frame_types) != ("I" + "P" * (GOP - 1)) * count:
                    raise ValueError(f"{video}: not GOPs of one I and eleven P pictures")
                for n in range(count):
                    span = list(range(n * GOP, (n + 1) * GOP))
                    grey = reader.get_frames_at(span).rgb[:, 1]
                    out.frames[n] = np.rint(quartered(grey))
                    found = cvdecode.accumulate(reader, span[1:], residual="recon_diff")
                    out.residual[n] = np.rint(quartered(found.residual[:, 1]))
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_suffix(".part")
        part.write_bytes(pickle.dumps(out))
        part.replace(path)
    kept: Clips = pickle.loads(path.read_bytes())
    return kept


def inputs(clips: Clips, chosen: Array, row: str) -> Tensor:
    """What a row's net sees: (B, 3, 12, 28, 28), grey in all three channels, normalised."""
    frames = torch.from_numpy(clips.frames[chosen])[:, :, None].expand(-1, -1, 3, -1, -1)
    if row in INPUTS:
        residual = torch.from_numpy(clips.residual[chosen])[:, :, None].expand(-1, -1, 3, -1, -1)
        seen = heads.compressed_clip(frames[:, 0], residual, INPUTS[row])
    else:
        seen = heads.normalise_clip(frames.transpose(1, 2))
    return seen.contiguous(memory_format=torch.channels_last_3d)


def batches(clips: Clips, seed: int, epochs: int) -> Iterator[Array]:
    """Numbers of clips, every clip once an epoch; the same for every row."""
    for epoch in range(epochs):
        order = np.random.default_rng([seed, 3, epoch]).permutation(len(clips.label))
        for first in range(0, len(order) - BATCH + 1, BATCH):
            yield order[first : first + BATCH]


def fit(
    net: heads.MFNet3D, clips: Clips, row: str, seed: int, epochs: int, teacher: Any = None
) -> heads.MFNet3D:
    """Train in place on a row's input; with ``teacher`` by its hints and soft labels too."""
    optimiser = torch.optim.AdamW(net.parameters(), lr=LR, weight_decay=1e-3, fused=True)
    steps = epochs * (len(clips.label) // BATCH)
    rate = torch.optim.lr_scheduler.OneCycleLR(optimiser, LR, total_steps=steps)
    net.train()
    for chosen in batches(clips, seed, epochs):
        label = torch.from_numpy(clips.label[chosen])
        out = net.run(inputs(clips, chosen, row))
        if teacher is None:
            loss = cross_entropy(out[0], label)
        else:
            loss = heads.mimic_loss(out, teacher(inputs(clips, chosen, "RGB")), label).total
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(net.parameters(), 5.0)
        optimiser.step()
        rate.step()
    return net.eval()


@torch.no_grad()
def scores(net: heads.MFNet3D, clips: Clips, row: str) -> Array:
    """(N, C)"""
    parts = np.array_split(np.arange(len(clips.label)), max(1, len(clips.label) // 30))
    return torch.cat([net(inputs(clips, part, row)) for part in parts]).numpy()


def first_net(clips: Clips, seed: int, epochs: int) -> heads.MFNet3D:
    """The net on pixels that every row starts from."""
    torch.manual_seed(seed)
    net = heads.small_mfnet(MOTIONS * APPEARANCES)
    net.to(memory_format=torch.channels_last_3d)  # type: ignore[call-overload]
    return fit(net, clips, "RGB", seed, epochs)


def run(
    book: record.Book, settings: dict[str, Any], progress: Callable[[str], Any] = print
) -> None:
    torch.set_num_threads(1)
    for seed in settings["seeds"]:
        if all(book.has(row, seed) for row in ROWS):
            continue
        data, held = (make(split, settings[split], seed) for split in ("train", "test"))
        start = first_net(data, seed, settings["first_epochs"])
        teacher: Any = None
        for row in ROWS:
            if book.has(row, seed) and not (row == ROWS[0] and not book.has(ROWS[1], seed)):
                continue
            began = time.process_time()
            net = copy.deepcopy(start)
            taught = teacher if row.endswith("KD") else None
            fit(net, data, row, seed, settings["epochs"], taught)
            hit = right(scores(net, held, row), held.label)
            if row == ROWS[0]:
                teacher = heads.RgbTeacher(net)
            if not book.has(row, seed):
                seconds = round(time.process_time() - began, 1)
                book.add(row, seed, hit, cpu_seconds=seconds)
                progress(f"seed {seed}  {row:11s} {100 * hit.mean():5.1f} %  {seconds} s")


def figure(book: record.Book) -> tuple[dict[str, record.Book], dict[str, float], str]:
    title = "MFCD-Net: what stands for the frames"
    return {title: book}, {title: 100 / (MOTIONS * APPEARANCES)}, "% right"


def report(book: record.Book) -> str:
    s = book.settings
    section = record.expected("mfcd")
    return "\n\n".join(
        [
            "## MFCD-Net: what stands for the frames",
            f"{section['why']} Synthetic clips of one GOP (12 pictures of 112x112, x264 CRF 23, "
            f"no B pictures), class = (motion, texture) of {MOTIONS} motions and {APPEARANCES} "
            f"textures (chance {100 / (MOTIONS * APPEARANCES):.1f} %). MFNet-3D of a quarter of "
            f"the width and 4 groups at 12x28x28 (4x4 means), grey, from scratch: "
            f"{s['first_epochs']} epochs on pixels, from where every row is trained for "
            f"{s['epochs']} epochs more on its own input; {s['train']} train and {s['test']} "
            f"test clips a seed, seeds {book.seeds}. "
            "Rbar: difference of decoded pictures along accumulated vectors; Rhat: (Rbar + I) / 2; "
            "KD: hints and soft labels of the RGB teacher, weights of 1. This is far less training "
            "than the paper's.",
            record.table(book, list(ROWS)),
            record.verdicts(section, book.scores()),
        ]
    )
