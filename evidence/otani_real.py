"""Fight or no fight over CRF: 300 real clips, trained on each quality and tested on each.

Networks of pictures from scratch know next to nothing on so few clips (evidence.real), so that
compression had nothing to take away. What is asked here are two linear classifiers of how much
moves where: by the change from picture to picture, and by each stream's own motion vectors.
"""

from __future__ import annotations

import itertools
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.nn.functional import adaptive_avg_pool2d

import cvdecode
from cvdecode.study.evaluate import ORIGINAL
from cvdecode.study.grid import Setting
from cvdecode.study.manifest import load_manifest
from cvdecode.study.motion import stream_motion
from cvdecode.study.transcode import transcode
from evidence import record
from evidence.hashing import difference_hash, folds, groups
from evidence.logistic import Logistic
from evidence.real import listed, over_seeds

FULL = {
    "clips": 300, "crf": [20, 30, 40, 50], "gop": 12, "short_side": 128, "folds": 5, "limit": 8,
    "decay": 0.1, "seeds": [0, 1, 2],
}  # fmt: skip
QUICK = {**FULL, "clips": 16, "crf": [20, 50], "folds": 2, "seeds": [0]}
KINDS = ("pixels", "vectors")
CELLS = 7
"""Places a side: the classifiers see a 7x7 map of motion."""
JOBS = 3
"""Clips at a time."""
SOME = 0.9
"""Beside the mean over time, this quantile: a blow is short."""
Array = Any


def levels(settings: dict[str, Any]) -> list[str]:
    """Qualities, as they are called in the rows."""
    return [ORIGINAL, *map(str, settings["crf"])]


def rows(settings: dict[str, Any]) -> list[str]:
    """Every row of a seed, but those of size."""
    pairs = list(itertools.product(levels(settings), repeat=2))
    return [f"{kind} {a} on {b}" for kind in KINDS for a, b in pairs]


def maps(planes: Array) -> Array:
    """(T, h, w) to (T, 49): means over 7x7 places."""
    planes = torch.from_numpy(np.ascontiguousarray(planes, np.float32))
    return adaptive_avg_pool2d(planes[None], CELLS)[0].flatten(1).numpy()


def summed_up(over_time: Array) -> Array:
    """(T, 49) to (98,): logarithms of mean and quantile over time."""
    return np.log1p(np.concatenate([over_time.mean(0), np.quantile(over_time, SOME, axis=0)]))


def change(path: str | Path) -> tuple[Array, Array]:
    """How much luma changes from picture to picture, (98,); and hashes of three pictures."""
    with cvdecode.VideoReader(path, planes=(), rgb="all") as video:
        # RGB mean in place of luma; 28x28 places keep noise out of the differences.
        small = [
            adaptive_avg_pool2d(torch.from_numpy(clip.rgb).float().mean(1)[None], 28)[0]
            for clip in video.batches(16)
        ]
    grey = torch.cat(small).numpy()
    picked = grey[np.linspace(0, len(grey) - 1, 3).round().astype(int)]
    return summed_up(maps(abs(np.diff(grey, axis=0)))), difference_hash(picked)


def vectors(path: str | Path) -> Array:
    """How far the stream's own vectors reach, in thousandths of the width, and where, (147,)."""
    motion, known = stream_motion(path)
    width = 4 * motion.shape[-1]
    length = 1000 / width * np.hypot(motion[:, 0], motion[:, 1])[1:]
    coded = maps(known[1:]).mean(0)  # the rest is intra
    return np.concatenate([summed_up(maps(length)), coded])


def read(settings: dict[str, Any], progress: Any) -> dict[str, Any]:
    """Features of every clip at every quality, from the cache where they are there."""
    todo = listed(settings["clips"])
    inputs = [(str(path), f"{path.parent.name}/{path.stem}") for path, _ in todo]
    folder = record.cache() / f"otani-real-{settings['clips']}-{settings['short_side']}"
    made = {
        str(crf): Setting("h264", "crf", crf, settings["gop"], short_side=settings["short_side"])
        for crf in settings["crf"]
    }
    summary = transcode(inputs, list(made.values()), folder, jobs=JOBS, command=record.command())
    if summary.failed:
        raise ValueError(f"{summary.failed[0]}")
    stands = {(r["setting"], r["source"]): r for r in load_manifest(folder)}
    files = {ORIGINAL: [path for path, _ in inputs]} | {
        level: [stands[setting.name, name]["file"] for _, name in inputs]
        for level, setting in made.items()
    }
    data: dict[str, Any] = {"label": np.array([label for _, label in todo]), "size": {}}
    for level, paths in files.items():
        path = folder / f"features-{level}.npz"
        if not path.exists():
            with ThreadPoolExecutor(JOBS) as pool:
                pixels, hashes = zip(*pool.map(change, paths), strict=True)
                motion = list(pool.map(vectors, paths))
            part = path.with_suffix(".part.npz")
            np.savez(part, pixels=pixels, vectors=motion, hashes=hashes)
            part.replace(path)
            progress(f"read {level}")
        with np.load(path) as file:
            data[level] = {kind: file[kind] for kind in KINDS}
            if level == ORIGINAL:
                data["hashes"] = list(file["hashes"])
    for level, setting in made.items():
        mine = [stands[setting.name, name] for _, name in inputs]
        data["size"][level] = {
            "bytes": np.array([r["video_bytes"] for r in mine]),
            "mean_qp": float(np.mean([r["mean_qp"] for r in mine])),
        }
    return data


def run(book: record.Book, settings: dict[str, Any], progress: Any = print) -> None:
    torch.set_num_threads(1)
    wanted = [
        seed for seed in settings["seeds"] if not all(book.has(r, seed) for r in rows(settings))
    ]
    if not wanted:
        return
    data = read(settings, progress)
    label = data["label"]
    group = groups(data["hashes"], settings["limit"])
    together = int((np.bincount(group)[group] > 1).sum())
    for level, size in data["size"].items():
        if not book.has(f"size {level}", 0):
            book.add(f"size {level}", 0, np.log2(size["bytes"]), mean_qp=size["mean_qp"])
    for seed in wanted:
        fold = folds(group, label, settings["folds"], seed)
        for kind, trained in itertools.product(KINDS, levels(settings)):
            found = {tested: np.zeros(len(label)) for tested in levels(settings)}
            for number in range(settings["folds"]):
                held, rest = np.flatnonzero(fold == number), np.flatnonzero(fold != number)
                model = Logistic(data[trained][kind][rest], label[rest], 2, settings["decay"])
                for tested, right in found.items():
                    right[held] = model.right(data[tested][kind][held], label[held])
            for tested, right in found.items():
                if not book.has(f"{kind} {trained} on {tested}", seed):
                    book.add(f"{kind} {trained} on {tested}", seed, right, in_groups=together)
            own = 100 * found[trained].mean()
            progress(f"seed {seed}  {kind} trained and tested on {trained}: {own:.1f} %")


def rated(book: record.Book) -> record.Book:
    """The rows of accuracy."""
    found = record.Book(book.path, "", {})
    found.rows = [r for r in book.rows if not r["row"].startswith("size ")]
    return found


def lost(scores: dict[str, Any], kind: str, before: str, after: str) -> Array:
    """What each clip lost between two qualities, trained on the first."""
    return scores[f"{kind} {before} on {before}"] - scores[f"{kind} {before} on {after}"]


def matrix(scores: dict[str, Any], kind: str, settings: dict[str, Any]) -> str:
    """Trained on (columns) by tested on (rows)."""
    names = levels(settings)
    lines = ["| tested on | " + " | ".join(names) + " |", "|---" * (len(names) + 1) + "|"]
    for b in names:
        cells = (f"{100 * scores[f'{kind} {a} on {b}'].mean():.1f}" for a in names)
        lines.append(f"| {b} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def report(book: record.Book) -> str:
    s = book.settings
    sized = {r["row"].split()[1]: r for r in book.rows if r["row"].startswith("size ")}
    mine = rated(book)
    scores = over_seeds(mine).scores()
    text = [
        "## Real clips over CRF: fight or no fight",
        f"{s['clips']} clips of about two seconds, downloaded as H.264 at 340x256 (*original*: as "
        f"they are, so everything else is compressed twice), made again by x264 medium at "
        f"{s['short_side']} lines with GOP {s['gop']} and CRF {', '.join(map(str, s['crf']))}. "
        f"Grouped {s['folds']}-fold, near-duplicates never apart; seeds of folds {mine.seeds}. "
        "Logistic regression from scratch on a 7x7 map of how much moves where (mean and 0.9 "
        "quantile over time): *pixels*, the change of brightness from picture to picture; "
        "*vectors*, the length of each stream's own motion vectors and the share of blocks that "
        "have one, no picture decoded. Linear classifiers, because small nets of pictures know "
        "next to nothing on these clips ([real](real.md)): there would be nothing to lose. "
        "Chance 50 %. With 300 clips the standard error of an accuracy is about 2.7 points, of a "
        "paired difference 1 to 3: what is smaller cannot be resolved.",
    ]
    if not mine.rows:
        return "\n\n".join(text)
    facts = "; ".join(
        f"CRF {level}: {np.mean(np.exp2(r['scores'])) / 1e3:.1f} kB a clip, mean QP "
        f"{r['mean_qp']:.1f}"
        for level, r in sized.items()
    )
    text += [
        f"{mine.rows[0]['in_groups']} clips lie in a group with another. As coded: {facts}.",
        *(
            f"### {kind.capitalize()}: % right, trained on (columns), tested on (rows)\n\n"
            + matrix(scores, kind, s)
            for kind in KINDS
        ),
        "### What was expected\n\nEach clip's score is averaged over the seeds, and clips alone "
        "are drawn (as if independent; near-duplicates make the intervals somewhat too narrow).",
    ]
    for kind in KINDS:
        part = {r.removeprefix(f"{kind} "): v for r, v in scores.items() if r.startswith(kind)}
        told = record.verdicts(record.expected("otani_real", kind), part, seeds=len(mine.seeds))
        text += [f"{kind.capitalize()}:", told]
    last = str(max(s["crf"]))
    both = {f"{kind}: lost from 20 to {last}": lost(scores, kind, "20", last) for kind in KINDS}
    told = record.verdicts(record.expected("otani_real", "both"), both, seeds=len(mine.seeds))
    return "\n\n".join([*text, "Both:", told])


def draw_figure(book: record.Book, path: Path) -> None:
    """Both matrices, and accuracy against CRF."""
    import matplotlib

    matplotlib.use("agg")
    from matplotlib import pyplot

    s = book.settings
    names = levels(s)
    scores = over_seeds(rated(book)).scores()
    figure, axes = pyplot.subplots(1, 3, figsize=(14, 4))
    for axis, kind in zip(axes, KINDS, strict=False):
        grid = [[100 * scores[f"{kind} {a} on {b}"].mean() for a in names] for b in names]
        axis.imshow(grid, cmap="YlGnBu_r", vmin=45, vmax=75)
        for (y, x), value in np.ndenumerate(np.array(grid)):
            axis.text(x, y, f"{value:.0f}", ha="center", va="center",
                      color="#fff" if value < 60 else "#1d2329")  # fmt: skip
        axis.set_xticks(range(len(names)), names)
        axis.set_yticks(range(len(names)), names)
        axis.set_xlabel("trained on CRF")
        axis.set_ylabel("tested on CRF")
        axis.set_title(f"{kind}, % right", fontsize=10)
    for kind, colour in zip(KINDS, ("#0b6e99", "#c8553d"), strict=True):
        for told, style, row in (
            ("trained on the original", "-o", lambda b: f"original on {b}"),
            ("trained on what is tested", "--^", lambda b: f"{b} on {b}"),
        ):
            values = [100 * scores[f"{kind} {row(b)}"].mean() for b in names]
            axes[2].plot(range(len(names)), values, style, color=colour, label=f"{kind}, {told}")
    axes[2].set_xticks(range(len(names)), names)
    axes[2].set_xlabel("tested on CRF")
    axes[2].set_ylabel("% right (chance 50)")
    axes[2].legend(fontsize=8)
    axes[2].grid(alpha=0.3)
    figure.tight_layout()
    figure.savefig(path, dpi=90)
    pyplot.close(figure)
