"""The B-frame table: eight motions told from one sampled picture, references right and wrong."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import numpy as np

import cvdecode
from evidence import record
from evidence.actions import MOTIONS, actions, draw
from evidence.encode import X264_GOP12, encode
from evidence.features import grid_means, motion, sign_only_trace
from evidence.logistic import fit

FULL = {"train": 240, "val": 48, "test": 240, "frames": 36, "seeds": [0, 1, 2]}
QUICK = {"train": 48, "val": 48, "test": 48, "frames": 12, "seeds": [0]}
ROWS = (
    "one B, naive", "one B, forward only", "one B, sign only", "one B, exact",
    "B dropped (the P before)",
    "one B, accumulated, sign only", "one B, accumulated, exact",
    "clip mean, naive", "clip mean, forward only", "clip mean, exact",
)  # fmt: skip
GOP = 12


def features(path: Path, clips: int, frames: int, seed: int) -> dict[str, Any]:
    """Row of the table -> (clips, samples, 98): one sampled B picture a GOP, or one clip mean."""
    rng = np.random.default_rng([seed, 77])
    out: dict[str, list[Any]] = {row: [] for row in ROWS}
    with cvdecode.VideoReader(path, planes=("mv", "ref")) as video:
        if len(video) != clips * frames:
            raise ValueError(f"{path}: {len(video)} frames, not {clips} x {frames}")
        kinds = np.asarray(video.frame_types)
        for number in range(clips):
            start = number * frames
            clip = video.get_frames_in_range(start, start + frames)
            kind = kinds[start : start + frames]
            ways = {
                name: grid_means(motion(clip, name))
                for name in ("naive", "forward only", "sign only", "exact")
            }
            samples: dict[str, list[Any]] = {row: [] for row in ROWS}
            for gop in range(0, frames, GOP):
                b = int(rng.choice(gop + np.flatnonzero(kind[gop : gop + GOP] == "B")))
                # Of the two B pictures before the first P there is no P yet: take that first P.
                before = [t for t in range(gop, b) if kind[t] == "P"]
                p = before[-1] if before else gop + int(np.argmax(kind[gop : gop + GOP] == "P"))
                for name, field in ways.items():
                    samples[f"one B, {name}"].append(field[b])
                samples["B dropped (the P before)"].append(ways["exact"][p])
                exact = cvdecode.accumulate(video, [start + b], grid=4).displacement / 4
                samples["one B, accumulated, exact"].append(
                    grid_means(exact.astype(np.float32) / (b - gop))[0]
                )
                traced = sign_only_trace(clip[gop : gop + GOP])
                samples["one B, accumulated, sign only"].append(
                    grid_means(traced)[b - gop] / (b - gop)
                )
            for name in ("naive", "forward only", "exact"):
                samples[f"clip mean, {name}"].append(ways[name].mean(0))
            for row, values in samples.items():
                out[row].append(values)
    return {row: np.asarray(values, np.float64) for row, values in out.items()}


def run(book: record.Book, settings: dict[str, Any], progress: Any = print) -> None:
    for seed in settings["seeds"]:
        if all(book.has(row, seed) for row in ROWS):
            continue
        sets: dict[str, tuple[dict[str, Any], Any]] = {}
        with tempfile.TemporaryDirectory() as folder:
            for split in ("train", "val", "test"):
                todo = actions(split, settings[split], len(MOTIONS), 6)
                path = Path(folder) / f"{split}.mp4"
                clips = (draw(a, settings["frames"], seed, centred=True) for a in todo)
                encode(clips, path, settings["frames"], X264_GOP12)
                found = features(path, len(todo), settings["frames"], seed)
                sets[split] = (found, np.array([a.motion for a in todo]))
        for row in ROWS:
            flat = {}
            for split, (found, label) in sets.items():
                x = found[row]
                flat[split] = (x.reshape(-1, x.shape[-1]), np.repeat(label, x.shape[1]))
            model = fit(*flat["train"], *flat["val"], len(MOTIONS))
            right = model.right(*flat["test"]).reshape(len(sets["test"][1]), -1).mean(1)
            book.add(row, seed, right)
            progress(f"seed {seed}  {row:32s} {100 * right.mean():5.1f} %")


def figure(book: record.Book) -> tuple[dict[str, record.Book], dict[str, float], str]:
    return {"Motion from B pictures": book}, {"Motion from B pictures": 12.5}, "% right"


def report(book: record.Book) -> str:
    s = book.settings
    section = record.expected("bframes")
    return "\n\n".join(
        [
            "## B pictures: what exact references are worth",
            f"{section['why']} Synthetic clips (8 motions x 6 textures, {s['frames']} pictures of "
            f"112x112, x264 CRF 23, GOP 12, IBBPBBPBBPBP), multinomial logistic regression on a "
            f"7x7 grid of mean vectors; {s['train']} train, {s['val']} validation, {s['test']} "
            f"test clips a seed, seeds {book.seeds}; one B picture a GOP is sampled and judged "
            "alone. Chance 12.5 %.",
            record.table(book, list(ROWS)),
            record.verdicts(section, book.scores()),
        ]
    )
