"""Accuracy against quality (Otani et al.): CRF x GOP, JPEG strength, training on what is tested.

The grid, its measures and its evaluation are made by the functions behind `cvdecode study`. Clips
are synthetic actions, their original is uncompressed; two small nets from scratch stand for the
paper's video models: one that needs motion and one that sees single pictures.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn.functional import cross_entropy

from cvdecode import heads
from cvdecode.study.clips import ClipSpec
from cvdecode.study.cross import on_grid
from cvdecode.study.evaluate import ORIGINAL, evaluate
from cvdecode.study.grid import Setting
from cvdecode.study.manifest import load_manifest
from cvdecode.study.models import Model, torch_call
from cvdecode.study.records import read_lines
from cvdecode.study.survey import measure_grid
from cvdecode.study.transcode import transcode
from evidence import record
from evidence.actions import APPEARANCES, MOTIONS, SIZE, actions, draw

FULL = {
    "train": 288, "test": 96, "textures": 6, "frames": 24, "epochs": 24, "measured": 4,
    # CRF and GOP: what the declared orders need.
    "h264": [
        [0, 12], [10, 12], *([20, g] for g in (1, 2, 5, 12)), *([30, g] for g in (1, 2, 12)),
        *([40, g] for g in (1, 2, 5, 12)), [50, 1], [50, 12],
    ],
    "jpeg": [0, 70, 90, 100], "trained": [30, 40], "seeds": [0, 1, 2],
}  # fmt: skip
QUICK = {
    **FULL, "train": 16, "test": 8, "textures": 1, "frames": 12, "epochs": 1, "measured": 1,
    "h264": [[20, 12], [50, 12]], "jpeg": [90], "trained": [50], "seeds": [0],
}  # fmt: skip
# The variant otani_hevc: x265 beside x264, and nets trained on CRF 20; in a cache of its own.
HEVC = {
    "name": "otani_hevc", "hevc": [20, 30, 40, 50], "jpeg": [], "trained": [20],
    "h264": [[20, 12], [30, 12], [40, 12], [50, 12]],
}  # fmt: skip
SPECS = {
    # A 2-D net whose first layer sees eight successive pictures at once.
    "temporal": ClipSpec(56, 56, 8, 1, "btchw", (0.46,) * 3, (0.12,) * 3),
    "spatial": ClipSpec(SIZE, SIZE, 3, 4, "btchw", (0.46,) * 3, (0.12,) * 3),
}
CLASSES = {"temporal": MOTIONS, "spatial": APPEARANCES}
# Mirroring left to right and top to bottom makes another motion of a clip.
MIRRORED = (
    {"left": "right", "right": "left", "clockwise": "counter-clockwise"},
    {"up": "down", "down": "up", "clockwise": "counter-clockwise"},
)


class Grey(nn.Module):
    """A net of the luma of clips (B, T, 3, S, S): pictures as channels, or one by one."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        self.together = kind == "temporal"
        body = heads.small_cnn(SPECS[kind].frames if self.together else 1)
        self.net = heads.Stream(body, len(CLASSES[kind]), dropout=0.2)

    def forward(self, clips: torch.Tensor) -> torch.Tensor:
        """Scores (B, K)."""
        luma = clips[:, :, 1]
        scores: torch.Tensor = self.net(luma[:, None] if self.together else luma[:, :, None])
        return scores


@dataclasses.dataclass(frozen=True)
class Trained(Model):
    """A model that can be kept."""

    net: nn.Module


def mirror_table(axis: int) -> torch.Tensor:
    """The motion that each motion becomes; axis 0: left to right, 1: top to bottom."""
    turns = MIRRORED[axis]
    back = {new: old for old, new in turns.items()}
    return torch.tensor([MOTIONS.index(turns.get(m, back.get(m, m))) for m in MOTIONS])


def fit(kind: str, settings: dict[str, Any]) -> Any:
    """A `fit` for cvdecode.study.cross.on_grid: a net from scratch, on random parts of clips."""
    spec = SPECS[kind]
    whole = dataclasses.replace(spec, frames=settings["frames"] // spec.stride, stride=spec.stride)

    def train(samples: Sequence[tuple[str, int]], seed: int, start: Any = None) -> Any:
        reader = Model(kind, whole, len)
        # (N, T, S, S): the clips are grey, one channel tells all.
        seen = torch.stack([torch.from_numpy(reader.load(path)[1]).half() for path, _ in samples])
        label = torch.tensor([label for _, label in samples])
        torch.manual_seed(seed)
        rng = np.random.default_rng([seed, 7])
        net = Grey(kind)
        optimiser = torch.optim.AdamW(net.parameters(), lr=4e-3, weight_decay=1e-2)
        batch = 16
        steps = settings["epochs"] * (len(samples) // batch)
        rate = torch.optim.lr_scheduler.OneCycleLR(optimiser, 4e-3, total_steps=steps)
        for _ in range(settings["epochs"]):
            order = torch.from_numpy(rng.permutation(len(samples)))
            for rows in order[: len(order) // batch * batch].split(batch):
                part = 1 if kind == "spatial" else spec.frames
                begin = int(rng.integers(seen.shape[1] - part + 1))
                x, y = seen[rows, begin : begin + part].float(), label[rows].clone()
                for axis in (0, 1):
                    some = torch.from_numpy(rng.random(batch) < 0.5)
                    x[some] = x[some].flip(3 - axis)
                    if kind == "temporal":
                        y[some] = mirror_table(axis)[y[some]]
                loss = cross_entropy(net(x[:, :, None].expand(-1, -1, 3, -1, -1)), y)
                optimiser.zero_grad(set_to_none=True)
                loss.backward()
                optimiser.step()
                rate.step()
        return Trained(kind, spec, torch_call(net), net)

    return train


def recogniser(kind: str, made: dict[str, Any], settings: dict[str, Any], seed: int) -> Model:
    """The net of a seed that was trained on the originals; trained where the cache has none."""
    path = made["folder"] / f"{kind}.pt"
    if not path.exists():
        labels = made["train_labels"][kind]
        model = fit(kind, settings)([(p, labels[name]) for p, name in made["train"]], seed)
        part = path.with_suffix(".part")
        torch.save(model.net.state_dict(), part)
        part.replace(path)
    net = Grey(kind)
    net.load_state_dict(torch.load(path, weights_only=True))
    return Model(kind, SPECS[kind], torch_call(net))


def written(split: str, settings: dict[str, Any], seed: int, folder: Path) -> Any:
    """([(path, name)], {kind: {name: class}}) of the clips of a split, as uncompressed y4m."""
    todo = actions(split, settings[split], len(MOTIONS), settings["textures"])
    inputs, labels = [], {kind: {} for kind in SPECS}  # type: ignore[var-annotated]
    for action in todo:
        name = f"{split}/{action.number:04d}"
        path = folder / "originals" / f"{name}.y4m"
        path.parent.mkdir(parents=True, exist_ok=True)
        if not path.exists():
            grey = bytes([128]) * (SIZE * SIZE // 2)
            pictures = draw(action, settings["frames"], seed)
            head = f"YUV4MPEG2 W{SIZE} H{SIZE} F25:1 Ip A1:1 C420jpeg\n".encode()
            part = path.with_suffix(".part")
            part.write_bytes(head + b"".join(b"FRAME\n" + p.tobytes() + grey for p in pictures))
            part.replace(path)
        inputs.append((str(path), name))
        labels["temporal"][name] = action.motion
        labels["spatial"][name] = action.appearance
    return inputs, labels


def cells(settings: dict[str, Any]) -> dict[str, Setting]:
    """What a cell is called in the tables, and what it is."""
    h264 = {f"CRF {c} GOP {g}": Setting("h264", "crf", c, g) for c, g in settings["h264"]}
    hevc = {f"HEVC CRF {c}": Setting("hevc", "crf", c) for c in settings.get("hevc", ())}
    jpeg = {f"JPEG {s}": Setting("jpeg", "strength", s) for s in settings["jpeg"]}
    return {**h264, **hevc, **jpeg}


def name_of(settings: dict[str, Any]) -> str:
    """Of the experiment or its variant."""
    return str(settings.get("name", "otani"))


def trained_names(settings: dict[str, Any]) -> list[str]:
    return [f"CRF {crf} GOP 12" for crf in settings["trained"]]


def rows(settings: dict[str, Any]) -> list[str]:
    """Every row of a seed."""
    names = list(cells(settings))
    found = [f"{kind} {cell}" for kind in SPECS for cell in (ORIGINAL, *names)]
    found += [f"{kind} {name}, trained on it" for kind in SPECS for name in trained_names(settings)]
    return [*found, *(f"size {name}" for name in names)]


def originals(seed: int, settings: dict[str, Any]) -> dict[str, Any]:
    """The clips of a seed, in the cache."""
    folder = record.cache() / f"{name_of(settings)}-{settings['train']}-{settings['frames']}-{seed}"
    train, train_labels = written("train", settings, seed, folder)
    test, test_labels = written("test", settings, seed, folder)
    return {
        "folder": folder, "train": train, "test": test,
        "train_labels": train_labels, "test_labels": test_labels,
    }  # fmt: skip


def grid_of(seed: int, settings: dict[str, Any], progress: Any) -> dict[str, Any]:
    """The transcoded clips of a seed with their measures; goes on where it stopped."""
    made = originals(seed, settings)
    folder, train, test = made["folder"], made["train"], made["test"]
    chosen = cells(settings)
    grid = folder / "grid"
    learned = [chosen[name] for name in trained_names(settings)]
    for inputs, wanted in ((train, learned), (test, list(chosen.values()))):
        begin = time.process_time()
        summary = transcode(inputs, wanted, grid, jobs=2, join=True, command=record.command())
        if summary.failed:
            raise ValueError(f"{summary.failed[0]}")
        progress(f"seed {seed}: {len(inputs)} clips, {len(wanted)} settings transcoded, "
                 f"{time.process_time() - begin:.0f} s of Python beside ffmpeg's own")  # fmt: skip
    some = np.random.default_rng(0).permutation(len(test))[: settings["measured"]]
    measured, failed = measure_grid(
        [test[k] for k in some], grid, folder / "measures.jsonl", command=record.command()
    )
    if failed:
        raise ValueError(f"{failed[0]}")
    return {**made, "grid": grid, "measures": measured}


def run(book: record.Book, settings: dict[str, Any], progress: Any = print) -> None:
    torch.set_num_threads(1)
    chosen = cells(settings)
    for seed in settings["seeds"]:
        if all(book.has(row, seed) for row in rows(settings)):
            continue
        made = grid_of(seed, settings, progress)
        names = [name for _, name in made["test"]]
        manifest = [r for r in load_manifest(made["grid"]) if r["source"] in set(names)]
        for cell, setting in chosen.items():
            stands = {r["source"]: r for r in manifest if r["setting"] == setting.name}
            mine = [stands[name] for name in names]
            told = [r for r in made["measures"] if r["setting"] == setting.name]
            more = {
                measure: float(np.mean([r[measure] for r in told]))
                for measure in ("ssim", "mae")
            }  # fmt: skip
            if setting.codec == "h264":
                more["mean_qp"] = float(np.mean([r["mean_qp"] for r in mine]))
                bits = [r["macroblock_bits"] / r["frames"] for r in mine]
                more["bits_per_frame"] = float(np.mean(bits))
            # Without container: HEVC clips are MP4 files, the others have none.
            sizes = [r["video_bytes"] for r in mine]
            more["bytes"] = sum(sizes)
            if not book.has(f"size {cell}", seed):
                book.add(f"size {cell}", seed, np.log2(sizes), **more)
        for kind in SPECS:
            judged(book, kind, made, settings, seed, progress)


def judged(
    book: record.Book, kind: str, made: dict[str, Any], settings: dict[str, Any], seed: int,
    progress: Any,
) -> None:  # fmt: skip
    """Train on the original and on some qualities, test on all and on these."""
    chosen = cells(settings)
    names = [name for _, name in made["test"]]
    labels = made["test_labels"][kind]
    train, _ = on_grid(
        made["grid"], fit(kind, settings), made["train_labels"][kind], labels,
        originals=[*made["train"], *made["test"]],
    )  # fmt: skip
    for quality in (ORIGINAL, *trained_names(settings)):
        tested = {quality: chosen[quality].name} if quality != ORIGINAL else {ORIGINAL: ORIGINAL}
        note = ", trained on it"
        if quality == ORIGINAL:
            tested |= {cell: setting.name for cell, setting in chosen.items()}
            note = ""
        if all(book.has(f"{kind} {cell}{note}", seed) for cell in tested):
            continue
        begin = time.process_time()
        if quality == ORIGINAL:
            model = recogniser(kind, made, settings, seed)
        else:
            model = train(tested[quality], seed)
        learned = time.process_time() - begin
        out = made["folder"] / f"{kind}-{tested[quality]}.jsonl"
        out.unlink(missing_ok=True)  # of another net
        evaluate(
            model, made["grid"], labels, out, name=f"{kind}, trained on {quality}",
            originals=made["test"], settings=list(tested.values()), classes=CLASSES[kind],
            batch=24, seed=seed, command=record.command(),
        )  # fmt: skip
        lines = [r for r in read_lines(out) if r["kind"] == "clip"]
        for cell, name in tested.items():
            found = {r["source"]: r["rank"] == 0 for r in lines if r["setting"] == name}
            right = np.array([found[n] for n in names], np.float64)
            if not book.has(f"{kind} {cell}{note}", seed):
                book.add(f"{kind} {cell}{note}", seed, right, train_seconds=round(learned, 1))
            progress(f"seed {seed}  {kind} {cell}{note}: {100 * right.mean():.1f} %")


def report(book: record.Book) -> str:
    """The page, in evidence.otani_report."""
    from evidence import otani_report

    return otani_report.report(book)


def draw_figure(book: record.Book, path: Path) -> None:
    """The page's figure."""
    from evidence import otani_report

    otani_report.draw_figure(book, path)
