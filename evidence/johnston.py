"""Johnston et al. in small: networks trained at one QP and tested at another.

Textures (evidence.textures) that compression harms, and scikit-learn's digits that it does not.
"""

from __future__ import annotations

import functools
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from cvdecode.study import stills
from evidence import record
from evidence.textures import textures

FULL = {
    "train": 2000, "test": 600, "steps": 250, "further": 125, "digits_steps": 200,
    "double_steps": 100, "digits": 1797, "batch": 64, "channels": 16, "hidden": [96, 48],
    "lr": 2e-3, "qps": [10, 25, 37, 41, 46, 50], "clutter": 26, "seeds": [0, 1, 2],
}  # fmt: skip
QUICK = {
    **FULL, "train": 40, "test": 20, "steps": 4, "further": 2, "digits_steps": 4,
    "double_steps": 2, "digits": 55, "batch": 8, "channels": 4, "hidden": [8, 8],
    "qps": [10, 50], "seeds": [0],
}  # fmt: skip
TUNING_SEED = 100
"""Of the one training that set `clutter`, on uncompressed pictures alone."""

RAW = "raw"
ALL = {"all": "none", "all+plane": "plane", "all+film": "film"}
COLOURS = ("yuv420", "leveluv", "interlaced")
FURTHER = ("raw then raw", "raw then 50", "50 then raw", "50 then 50")
DIGITS = (RAW, "37", "50", "all")
DOUBLE = {"64": False, "64 deeper": True}


def levels(settings: dict[str, Any]) -> list[str]:
    """Qualities in the order of the matrix."""
    return [RAW, *map(str, settings["qps"])]


def plan(settings: dict[str, Any]) -> Iterator[tuple[str, list[str]]]:
    """(trained on, tested on) of the textures of 32 samples: the matrix."""
    all_of = levels(settings)
    for q in all_of:
        frames = [f"{q}, frame {f}" for f in stills.FRAMES[1:]] if q != RAW else []
        grey = [f"{RAW} in grey"] if q in (RAW, "50") else []
        colours = list(COLOURS) if q == RAW else []
        yield q, [*all_of, *frames, *grey, *colours]
    for name, told in ALL.items():
        lies = [f"{q}, told 0" for q in ("46", "50") if q in all_of] if told != "none" else []
        yield name, [*all_of, *lies]


def further_plan() -> Iterator[tuple[str, list[str]]]:
    for name in FURTHER:
        yield name, [RAW, "50"]


def colour_plan() -> Iterator[tuple[str, list[str]]]:
    for name in COLOURS:
        yield name, [RAW, *COLOURS]


def digit_plan(settings: dict[str, Any]) -> Iterator[tuple[str, list[str]]]:
    for name in DIGITS:
        if name in (*levels(settings), "all"):
            yield name, levels(settings)


def double_plan(deeper: bool) -> Iterator[tuple[str, list[str]]]:
    for name in ("interlaced",) if deeper else (RAW, "interlaced"):
        yield name, [RAW, "interlaced"]


def rows(settings: dict[str, Any]) -> list[str]:
    """Names of every row: what the network was trained on, and tested on."""
    plans = [("", plan(settings)), ("digits: ", digit_plan(settings))]
    plans += [("", further_plan()), ("", colour_plan())]
    plans += [(f"{size}: ", double_plan(deeper)) for size, deeper in DOUBLE.items()]
    return [f"{p}{a} on {b}" for p, steps in plans for a, tested in steps for b in tested]


def schedule(settings: dict[str, Any], steps: int, **more: Any) -> Any:
    from cvdecode.recipes.stills import Schedule

    # No mirror images: they would turn one direction of stripes into another.
    return Schedule(
        steps, settings["batch"], settings["lr"], settings["channels"],
        tuple(settings["hidden"]), flip=False, **more,
    )  # fmt: skip


def coded(yuv: Any, qp: int, frames: tuple[int, ...]) -> Any:
    """(N, frames, 3, H, W): all pictures through one encoder process."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "clips.264"
        stills.encode(yuv, path, qp=qp)
        return stills.decode(path, yuv.shape[2:], frames)


def quality(images: Any, qp: int) -> Any:
    from cvdecode.recipes.stills import Quality

    n, _, height, width = images.shape
    # encode() has read back that every macroblock has it.
    return Quality(images, np.broadcast_to(np.uint8(qp), (n, height, width)))


class Set:
    """The qualities of one seed and networks of them: each made once, when it is asked for."""

    def __init__(
        self, yuv: Any, labels: Any, train: int, settings: dict[str, Any], seed: int, how: Any
    ) -> None:
        self.train, self.labels, self.settings, self.seed = train, labels, settings, seed
        self.how = how
        self.yuv = yuv
        self.shown = functools.cache(lambda qp: coded(yuv, qp, stills.FRAMES))
        self.network = functools.cache(self._network)

    def quality(self, name: str) -> Any:
        """Of all pictures; those to train on come first."""
        if name.endswith(", told 0"):
            return quality(self.shown(int(name.removesuffix(", told 0")))[:, 0], 0)
        if name == f"{RAW} in grey":
            grey = self.yuv.copy()
            grey[:, 1:] = 128
            return quality(grey, 0)
        if name == RAW:
            return quality(self.yuv, 0)
        if name in COLOURS:
            return quality(stills.COLOURS[name](self.yuv), 0)
        qp, _, frame = name.partition(", frame ")
        return quality(self.shown(int(qp))[:, stills.FRAMES.index(int(frame or 0))], int(qp))

    def _network(self, name: str) -> Any:
        from cvdecode.recipes.stills import fit

        first, _, then = name.partition(" then ")
        start = self.network(first) if then else None
        pool = levels(self.settings) if name in ALL else [then or first]
        learn = np.arange(self.train)
        how = schedule(self.settings, self.settings["further"]) if then else self.how
        return fit(
            [self.quality(q)[learn] for q in pool], self.labels[learn], int(self.labels.max()) + 1,
            how, self.seed, qp=ALL.get(name, "none"), start=start,
        )  # fmt: skip

    def right(self, trained: str, tested: str) -> Any:
        """1 for every test picture whose class the network tells, (N,)."""
        held = np.arange(self.train, len(self.labels))
        logits = self.network(trained).logits(self.quality(tested)[held])
        return (logits.argmax(1) == self.labels[held]).astype(np.float64)


def texture_set(settings: dict[str, Any], seed: int) -> tuple[Any, Any]:
    """(train + test, 32, 32, 3) and labels."""
    parts = [
        textures(split, seed, settings[split], settings["clutter"]) for split in ("train", "test")
    ]
    return np.concatenate([p[0] for p in parts]), np.concatenate([p[1] for p in parts])


def digit_set(seed: int, limit: int) -> tuple[Any, Any]:
    """scikit-learn's 8x8 digits as luma of 32x32 in a random order, (N, 32, 32), and labels."""
    from PIL import Image
    from sklearn.datasets import load_digits

    data = load_digits()
    order = np.random.default_rng([seed, 3]).permutation(len(data.target))[:limit]
    small = np.rint(16 + data.images[order] / 16 * 219).astype(np.uint8)
    big = [np.asarray(Image.fromarray(i).resize((32, 32), Image.Resampling.BICUBIC)) for i in small]
    return np.stack(big), data.target[order]


def run(book: record.Book, settings: dict[str, Any], progress: Any = print) -> None:
    import torch

    torch.set_num_threads(1)

    def fill(prefix: str, seed: int, todo: Any, make: Any) -> None:
        """Networks and sets are made only where a row is missing."""
        data = None
        for trained, tested in todo:
            for name in tested:
                row = f"{prefix}{trained} on {name}"
                if book.has(row, seed):
                    continue
                data = data or make()
                scores = data.right(trained, name)
                book.add(row, seed, scores)
                progress(f"seed {seed}  {row:36s} {100 * scores.mean():5.1f} %")

    def of_textures(seed: int, steps: int, size: str = "") -> Set:
        images, labels = texture_set(settings, seed)
        how = schedule(settings, steps, deeper=DOUBLE.get(size, False))
        if size:
            yuv = stills.to_yuv(stills.double(images))
            return Set(yuv, labels, settings["train"], settings, seed, how)
        return Set(stills.to_yuv(images), labels, settings["train"], settings, seed, how)

    def of_digits(seed: int) -> Set:
        images, labels = digit_set(seed, settings["digits"])
        how = schedule(settings, settings["digits_steps"], crop=False)
        learn = len(labels) * 8 // 11
        return Set(stills.to_yuv(images), labels, learn, settings, seed, how)

    # What matters most comes first, so that a run that is broken off has three seeds of it.
    plain = functools.cache(functools.partial(of_textures, steps=settings["steps"]))
    for seed in settings["seeds"]:
        fill("", seed, plan(settings), functools.partial(plain, seed))
    for seed in settings["seeds"]:
        fill("digits: ", seed, digit_plan(settings), functools.partial(of_digits, seed))
    for more in (further_plan, colour_plan):
        for seed in settings["seeds"]:
            fill("", seed, more(), functools.partial(plain, seed))
    for seed in settings["seeds"]:
        for size, deeper in DOUBLE.items():
            make = functools.partial(of_textures, seed, settings["double_steps"], size)
            fill(f"{size}: ", seed, double_plan(deeper), make)


def tuning(clutter: float) -> float:
    """Accuracy on uncompressed pictures, of one seed that no row has: what `clutter` was set by."""
    settings = {**FULL, "clutter": clutter}
    images, labels = texture_set(settings, TUNING_SEED)
    how = schedule(settings, settings["steps"])
    data = Set(stills.to_yuv(images), labels, settings["train"], settings, TUNING_SEED, how)
    return float(data.right(RAW, RAW).mean())


def derived(scores: dict[str, Any], settings: dict[str, Any]) -> dict[str, Any]:
    """Rows that orders compare and that are made of others, as far as those were run."""
    found: dict[str, Any] = {}
    all_of = levels(settings)

    def mean(parts: list[str]) -> Any:
        return np.mean([scores[p] for p in parts], axis=0)

    def put(name: str, parts: list[str], plus: float = 0, minus: list[str] | None = None) -> None:
        if all(p in scores for p in [*parts, *(minus or [])]):
            found[name] = mean(parts) + plus - (mean(minus) if minus else 0)

    if all(f"{a} on {b}" in scores for a in all_of for b in all_of):
        # Every test quality weighs the same, whatever the number of its near and far trainers.
        for name, close in (("trained within one step", True), ("trained farther", False)):
            groups = [
                [f"{a} on {b}" for m, a in enumerate(all_of) if (abs(n - m) <= 1) == close]
                for n, b in enumerate(all_of)
            ]
            found[name] = np.mean([mean(group) for group in groups if group], axis=0)
    for n, q in enumerate(all_of[2:], 2):
        put(f"{q} on lower, +2 points", [f"{q} on {b}" for b in all_of[:n]], plus=0.02)
    for f in stills.FRAMES:
        frame = f", frame {f}" if f else ""
        put(f"frame {f}", [f"{q} on {q}{frame}" for q in all_of[1:]])
    put("specialists, mean", [f"{q} on {q}" for q in all_of])
    for name in ALL:
        put(f"{name}, mean", [f"{name} on {q}" for q in all_of])
        if f"{name} on 50, told 0" in scores:
            put(f"{name}, lied to", [f"{name} on {q}, told 0" for q in ("46", "50") if q in all_of])
            put(f"{name}, told", [f"{name} on {q}" for q in ("46", "50") if q in all_of])
    for size, prefix in (("32", ""), ("64", "64: ")):
        put(f"{size}: lost on interlaced", [f"{prefix}{RAW} on {RAW}"],
            minus=[f"{prefix}{RAW} on interlaced"])  # fmt: skip
    for q in (RAW, "50"):
        put(f"colour's share, trained on {q}", [f"{q} on {RAW}"], minus=[f"{q} on {RAW} in grey"])
    return {**scores, **found}


def matrix(scores: dict[str, Any], columns: list[str], lines: list[str], prefix: str = "") -> Any:
    """[tested][trained] mean accuracy in %, NaN where not run."""
    cells = [[scores.get(f"{prefix}{a} on {b}") for a in columns] for b in lines]
    return np.array([[np.nan if c is None else 100 * c.mean() for c in line] for line in cells])


def table(scores: dict[str, Any], columns: list[str], lines: list[str], corner: str,
          prefix: str = "") -> str:  # fmt: skip
    """Markdown; the best of each line in bold."""
    text = [f"| {corner} | {' | '.join(columns)} |", "|---" * (len(columns) + 1) + "|"]
    for name, line in zip(lines, matrix(scores, columns, lines, prefix), strict=True):
        best = np.nanmax(line) if np.isfinite(line).any() else np.nan
        cells = [
            "not run" if np.isnan(v) else f"**{v:.1f}**" if v == best else f"{v:.1f}" for v in line
        ]
        text.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(text)


def near(scores: dict[str, Any], settings: dict[str, Any]) -> str:
    """For how many test qualities the best specialist is within one step, and which it is."""
    all_of = levels(settings)
    grid = matrix(scores, all_of, all_of)
    if np.isnan(grid).any():
        return "Not every network was run."
    best = grid.argmax(axis=1)
    close = sum(abs(int(b) - n) <= 1 for n, b in enumerate(best))
    listed = ", ".join(f"{q}: {all_of[b]}" for q, b in zip(all_of, best, strict=True))
    return (
        f"Best of the specialists for each test quality ({listed}): within one step for "
        f"{close} of {len(all_of)}."
    )


def report(book: record.Book) -> str:
    s = book.settings
    scores = derived(book.scores(), s)
    all_of = levels(s)
    size = (
        f"synthetic, small, from scratch: {s['channels']}-{s['channels']}-{s['hidden'][0]}-"
        f"{s['hidden'][1]}, {len(book.seeds)} seed{'s' * (len(book.seeds) != 1)}"
    )
    corner = f"tested \\ trained, %; {size}"
    coded_frames = [", ".join(("", f"frame {f}")) if f else "" for f in stills.FRAMES]
    frames = [
        f"| {q} | "
        + " | ".join(f"{100 * scores[n].mean():.1f}" if (n := f"{q} on {q}{f}") in scores else ""
                     for f in coded_frames)
        + " |"
        for q in all_of[1:]
    ]  # fmt: skip
    digits = [name for name in DIGITS if name in (*all_of, "all")]
    few = [q for q in (RAW, "50") if q in all_of]
    doubles = {
        f"{prefix}{a}": [scores.get(f"{prefix}{a} on {b}") for b in (RAW, "interlaced")]
        for prefix, a in (("", RAW), ("", "interlaced"), ("64: ", RAW), ("64: ", "interlaced"),
                          ("64 deeper: ", "interlaced"))
    }  # fmt: skip
    return "\n\n".join(
        [
            "## Trained at one QP, tested at another (Johnston et al.)",
            f"Seven-frame clips IBBPBBP of still pictures, constant QP, x264; the QP of every "
            f"macroblock read back. **Textures**: ten classes of {s['train']} training and "
            f"{s['test']} test pictures of 32x32 (five directions, two periods, in clutter, with a "
            f"hue that tells a little), new ones each seed; the clutter was set once, by the "
            f"accuracy on uncompressed pictures of a seed that is not among these. Johnston's "
            f"network at a quarter of its width and of its fully connected layers "
            f"({s['channels']}-{s['channels']}-{s['hidden'][0]}-{s['hidden'][1]}), {s['steps']} "
            f"steps of {s['batch']} for every network whatever it is trained on, Adam, crops of "
            f"28x28, no mirror images; seeds {book.seeds}. CIFAR-10 and STL-10: not run.",
            f"### Textures\n\n{table(scores, [*all_of, *ALL], all_of, corner)}",
            f"{near(scores, s)} all+plane and all+film are ours: told the coded QP.",
            f"### Frame type (specialists on their own QP)\n\n"
            f"| QP; accuracy, %; {size} | I (0) | B (2) | P (3) | P (6) |\n|---|---|---|---|---|\n"
            + "\n".join(frames),
            "### Colour and interlacing\n\n"
            + table(scores, [RAW, *COLOURS], [RAW, *COLOURS], corner)
            + "\n\nAt twice the size ("
            + f"{s['double_steps']} steps instead of {s['steps']}); deeper: one more conv5:\n\n"
            + f"| trained on; accuracy, %; {size} | on raw | on interlaced |\n|---|---|---|\n"
            + "\n".join(
                f"| {n} | "
                + " | ".join("not run" if v is None else f"{100 * v.mean():.1f}" for v in each)
                + " |"
                for n, each in doubles.items()
            ),
            f"### Trained further ({s['further']} more steps)\n\n"
            + table(scores, [*few, *FURTHER], few, corner),
            "### Digits, the control\n\nscikit-learn's 8x8 digits at 32x32, luma alone, "
            f"{s['digits_steps']} steps, no crops; the paper's MNIST: 97.0 to 99.2 %.\n\n"
            + table(scores, digits, all_of, corner.replace("synthetic", "small set"), "digits: "),
            "### Textures: what was expected\n\n"
            f"Each line: {size}.\n\n"
            + record.verdicts(record.expected("johnston", "textures"), scores),
            "### Digits: what was expected\n\n"
            + record.verdicts(record.expected("johnston", "digits"), scores),
        ]
    )


def plot(book: record.Book, path: Path) -> None:
    """The two matrices as heat maps."""
    import matplotlib

    matplotlib.use("agg")
    from matplotlib import pyplot

    scores, all_of = book.scores(), levels(book.settings)
    shown = [
        ("textures, accuracy, %", [*all_of, *ALL], ""),
        ("digits (control), accuracy, %", [n for n in DIGITS if n in (*all_of, "all")], "digits: "),
    ]
    widths = [len(columns) for _, columns, _ in shown]
    figure, axes = pyplot.subplots(
        1, 2, figsize=(0.72 * sum(widths) + 2.4, 0.45 * len(all_of) + 1.6), width_ratios=widths
    )
    for axis, (title, columns, prefix) in zip(axes, shown, strict=True):
        grid = matrix(scores, columns, all_of, prefix)
        axis.imshow(grid, cmap="YlGnBu_r", vmin=0, vmax=100, aspect="auto")
        for y, x in np.ndindex(*grid.shape):
            if np.isfinite(grid[y, x]):
                ink = "white" if grid[y, x] < 55 else "black"
                axis.text(x, y, f"{grid[y, x]:.1f}", ha="center", va="center", color=ink, size=8)
        axis.set_xticks(range(len(columns)), [c.replace("+", "\n+") for c in columns], size=8)
        axis.set_yticks(range(len(all_of)), all_of, size=8)
        axis.set_xlabel("trained on QP", size=9)
        axis.set_ylabel("tested on QP", size=9)
        axis.set_title(f"{title}\nsmall nets from scratch, {len(book.seeds)} seeds", size=9)
    figure.tight_layout()
    figure.savefig(path, dpi=100)
    pyplot.close(figure)
