"""Fight or no fight: 300 real clips, grouped 5-fold, beside headers-only and pixel baselines."""

from __future__ import annotations

import csv
import os
import pickle
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import adaptive_avg_pool2d, cross_entropy

import cvdecode
from cvdecode import heads
from evidence import record
from evidence.hashing import difference_hash, folds, groups
from evidence.logistic import Logistic

FULL = {"clips": 300, "gops": 3, "epochs": 15, "folds": 5, "seeds": [0, 1, 2], "limit": 8}
QUICK = {"clips": 20, "gops": 2, "epochs": 1, "folds": 2, "seeds": [0], "limit": 8}
ROWS = ("headers", "I", "MV", "R", "I+MV+R", "RGB")
POSITIONS = (4, 8)
"""Predicted pictures that are read of each GOP."""
SIDE = 56
CHANNELS = {"iframe": 3, "mv": 2, "residual": 2, "rgb": 3}


def folder() -> Path:
    root = Path(__file__).resolve().parents[1]
    clips = Path(os.environ.get("CVDECODE_TEST_DATA", root.parent / "shared" / "clips"))
    return clips.parent / "actions"


def listed(count: int) -> list[tuple[Path, int]]:
    """(path, label) of the first ``count`` clips, half of each class."""
    base = folder()
    with (base / "manifest.csv").open() as file:
        rows = [(base / r["path"], int(r["label"] == "fight")) for r in csv.DictReader(file)]
    parts = [[r for r in rows if r[1] == k][: count // 2] for k in (0, 1)]
    return parts[0] + parts[1]


def small(array: Any) -> Tensor:
    """Area means on 56x56."""
    return adaptive_avg_pool2d(torch.from_numpy(np.ascontiguousarray(array)).float(), SIDE)


def read(path: Path, gops: int, seconds: dict[str, float]) -> dict[str, Any]:
    """Tensors of ``gops`` GOPs of a clip, its hashes and what its headers tell."""

    def timed(name: str, start: float) -> None:
        seconds[name] = seconds.get(name, 0) + time.process_time() - start

    start = time.process_time()
    video = cvdecode.VideoReader(path, planes=())
    kinds = np.asarray(video.frame_types)
    size = path.stat().st_size
    headers = [size, size / len(video), len(video), *[(kinds == k).mean() for k in "IPB"]]
    timed("headers", start)
    keys = [g.key_frame for g in video.gops if g.stop - g.start > max(POSITIONS)]
    keys = [keys[int(k)] for k in np.linspace(0, len(keys) - 1, gops).round()]
    frames = [k + p for k in keys for p in POSITIONS]
    start = time.process_time()
    pictures = video.get_rgb_at(keys)
    timed("I", start)
    start = time.process_time()
    motion = cvdecode.accumulate(video, frames, grid=4).displacement
    timed("MV", start)
    start = time.process_time()
    coded = cvdecode.accumulate(video, frames, residual="coded").residual_y
    timed("R", start)
    start = time.process_time()
    pixels = video.get_rgb_at(frames)
    timed("RGB", start)
    video.close()
    shape = (gops, len(POSITIONS))
    signed = small(coded[:, None])
    rough = small(abs(coded.astype(np.float32))[:, None])
    return {
        "iframe": ((small(pictures) - 110) / 60).half(),
        "mv": (small(motion).view(*shape, 2, SIDE, SIDE) / 32).clamp(-8, 8).half(),
        "residual": torch.cat([signed / 4, rough / 4 - 1], 1).view(*shape, 2, SIDE, SIDE).half(),
        "rgb": ((small(pixels) - 110) / 60).view(*shape, 3, SIDE, SIDE).half(),
        "hashes": difference_hash(pictures.mean(1)),
        "headers": np.array(headers, np.float64),
    }


def clips(settings: dict[str, Any]) -> dict[str, Any]:
    path = record.cache() / f"real-{settings['clips']}-{settings['gops']}.pickle"
    if not path.exists():
        seconds: dict[str, float] = {}
        todo = listed(settings["clips"])
        found = [read(p, settings["gops"], seconds) for p, _ in todo]
        data: dict[str, Any] = {name: torch.stack([f[name] for f in found]) for name in CHANNELS}
        data["hashes"] = [f["hashes"] for f in found]
        data["headers"] = np.stack([f["headers"] for f in found])
        data["label"] = np.array([label for _, label in todo])
        data["cost"] = {k: round(1000 * v / len(todo), 2) for k, v in seconds.items()}
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_suffix(".part")
        part.write_bytes(pickle.dumps(data))
        part.replace(path)
    loaded: dict[str, Any] = pickle.loads(path.read_bytes())
    return loaded


def train(kind: str, data: dict[str, Any], chosen: Any, epochs: int, seed: int) -> nn.Module:
    """A small net of one stream; each epoch sees one picture of each clip, mirrored or not."""
    torch.manual_seed(seed)
    rng = np.random.default_rng([seed, 5])
    net = heads.Stream(heads.small_cnn(CHANNELS[kind], 2, (12, 24, 48)), 2, dropout=0.3)
    optimiser = torch.optim.AdamW(net.parameters(), lr=3e-3, weight_decay=1e-2)
    batch = min(16, len(chosen))
    steps = epochs * (len(chosen) // batch)
    rate = torch.optim.lr_scheduler.OneCycleLR(optimiser, 3e-3, total_steps=steps)
    everything = data[kind]
    label = torch.from_numpy(data["label"])
    for _ in range(epochs):
        order = rng.permutation(chosen)
        for first in range(0, len(order) - batch + 1, batch):
            rows = order[first : first + batch]
            gop = rng.integers(0, everything.shape[1], len(rows))
            if kind == "iframe":
                x = everything[rows, gop]
            else:
                x = everything[rows, gop, rng.integers(0, len(POSITIONS), len(rows))]
            x = x.float()
            mirrored = torch.from_numpy(rng.random(len(rows)) < 0.5)
            x[mirrored] = x[mirrored].flip(-1)
            if kind == "mv":
                x[mirrored, 0] *= -1
            loss = cross_entropy(net(x[:, None]), label[rows])
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            rate.step()
    return net.eval()


@torch.no_grad()
def scores(net: nn.Module, kind: str, data: dict[str, Any], chosen: Any) -> Any:
    x = data[kind][chosen].float()
    x = x if kind == "iframe" else x.flatten(1, 2)
    return net(x).log_softmax(1).numpy()


def run(book: record.Book, settings: dict[str, Any], progress: Any = print) -> None:
    torch.set_num_threads(1)
    data = clips(settings)
    label = data["label"]
    group = groups(data["hashes"], settings["limit"])
    streams = {"I": "iframe", "MV": "mv", "R": "residual", "RGB": "rgb"}
    for seed in settings["seeds"]:
        if all(book.has(row, seed) for row in ROWS):
            continue
        fold = folds(group, label, settings["folds"], seed)
        found = {row: np.zeros((len(label), 2)) for row in ROWS}
        for number in range(settings["folds"]):
            held, rest = np.flatnonzero(fold == number), np.flatnonzero(fold != number)
            model = Logistic(data["headers"][rest], label[rest], 2, 0.01)
            found["headers"][held] = model.scores(data["headers"][held])
            for row, kind in streams.items():
                net = train(kind, data, rest, settings["epochs"], seed)
                found[row][held] = scores(net, kind, data, held)
        found["I+MV+R"] = found["I"] + found["MV"] + found["R"]
        for row in ROWS:
            right = (found[row].argmax(1) == label).astype(float)
            extra = {
                "groups": int(group.max()) + 1,
                "in_groups": int((np.bincount(group)[group] > 1).sum()),
            }
            book.add(row, seed, right, cost=data["cost"], **extra)
            progress(f"seed {seed}  {row:8s} {100 * right.mean():5.1f} %")


def over_seeds(book: record.Book) -> record.Book:
    """Rows whose scores are each clip's mean over the seeds."""
    mean = record.Book(book.path, "", {})
    mean.rows = [
        {"row": row, "seed": 0, "scores": each.mean(0)} for row, each in book.scores().items()
    ]
    return mean


def figure(book: record.Book) -> tuple[dict[str, record.Book], dict[str, float], str]:
    return {"Fight or no fight": over_seeds(book)}, {"Fight or no fight": 50.0}, "% right"


def report(book: record.Book) -> str:
    s = book.settings
    text = [
        "## Real clips: fight or no fight",
        f"{s['clips']} clips of about two seconds (340x256, H.264, GOP 12, 2 B pictures, all "
        f"re-encoded alike), grouped {s['folds']}-fold, seeds of folds and nets {book.seeds}. "
        f"Small nets from scratch ({s['epochs']} epochs), {s['gops']} GOPs a clip: the I picture "
        f"(RGB), motion and coded luma residual accumulated to it at positions {POSITIONS}, all "
        "averaged down to 56x56; RGB: pixels of those predicted pictures, decoded. I+MV+R adds "
        "log-probabilities. Headers: logistic regression on file size, bytes a frame, frames and "
        "shares of frame types. Chance 50 %. With 300 clips the standard error of one accuracy is "
        "about 2.5 points; differences below about 5 are not resolved.",
    ]
    if book.rows:
        first = book.rows[0]
        text.append(
            f"Near-duplicates: {first['in_groups']} clips lie in a group with another (a pair of "
            f"I pictures within {s['limit']} of 64 bits of difference hash); {first['groups']} "
            "groups, never split between folds."
        )
        cost = ", ".join(f"{k} {v:.1f}" for k, v in first["cost"].items())
        text.append(f"Reading, CPU milliseconds a clip ({s['gops']} GOPs): {cost}.")
    section = record.expected("real")
    # All seeds meet the same clips: scores are averaged over seeds, and clips alone are drawn.
    mean = over_seeds(book)
    scores = mean.scores()
    by_seed = "; ".join(
        f"{row} " + ", ".join(f"{100 * each.mean():.1f}" for each in values)
        for row, values in book.scores().items()
    )
    text += [
        record.table(mean, list(ROWS)).replace("by seed", "mean"),
        f"By seed: {by_seed}. Intervals are over clips (as if independent; near-duplicates make "
        "them somewhat too narrow), each clip's score averaged over the seeds.",
        record.verdicts(section, scores, seeds=len(book.seeds)),
    ]
    return "\n\n".join(text)
