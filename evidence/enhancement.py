"""Enhancement before recognition (Pourreza et al.) in small: rates, architectures, losses.

Luma of synthetic actions; small networks from scratch. Rows hold a score for each test clip: PSNR
and temporal consistency in dB, right or wrong and log p of the true class by recognisers that were
trained on the originals alone.
"""

from __future__ import annotations

import functools
import itertools
import json
from pathlib import Path
from typing import Any

import numpy as np
import torch

from cvdecode.recipes import statistics
from cvdecode.study.clips import preprocess
from cvdecode.study.motion import dense, temporal_consistency
from evidence import enhancers, otani, record
from evidence.actions import APPEARANCES, SIZE, Scene
from evidence.actions import flow as true_flow

FULL = {
    "train": 96, "test": 48, "frames": 9, "width": 16, "blocks": 4, "steps": 150, "further": 50,
    "batch": 4, "unroll": 4, "patch": 32, "rate": 2e-3, "further_rate": 5e-4,
    "phi_images": 2000, "phi_steps": 120, "seeds": [0, 1, 2],
    "recogniser": {k: otani.FULL[k] for k in ("train", "test", "textures", "frames", "epochs")},
}  # fmt: skip
QUICK = {
    **FULL, "train": 8, "test": 8, "width": 4, "blocks": 2, "steps": 1, "further": 1,
    "phi_images": 40, "phi_steps": 1, "seeds": [0],
    "recogniser": {k: otani.QUICK[k] for k in FULL["recogniser"]},  # type: ignore[attr-defined]
}  # fmt: skip
PIXEL, PERCEPTUAL, GAN = "pixel", "perceptual", "GAN"
# Stream, row, network and loss; the most wanted first, streams together.
ROWS = (
    ("x265 CRF 45", "recurrent", "recurrent", PIXEL),
    ("x265 CRF 45", "perceptual", "recurrent", PERCEPTUAL),
    ("x265 CRF 45", "GAN", "recurrent", GAN),
    ("x265 CRF 35", "recurrent", "recurrent", PIXEL),
    ("x265 CRF 35", "perceptual", "recurrent", PERCEPTUAL),
    ("x265 CRF 35", "GAN", "recurrent", GAN),
    ("x265 CRF 35", "window", "window", PIXEL),
    ("x265 CRF 35", "frame", "frame", PIXEL),
    ("x265 CRF 25", "recurrent", "recurrent", PIXEL),
    ("x264 CRF 35", "vectors", "vectors", PIXEL),
    ("x264 CRF 35", "recurrent", "recurrent", PIXEL),
    ("x264 CRF 35", "unaligned", "unaligned", PIXEL),
)
# Five times as dear as the others: when every seed has those.
LATER = (("x265 CRF 35", "frame, 30 blocks", "frame, 30 blocks", PIXEL),)
KINDS = tuple(otani.SPECS)
SECTIONS = {
    "psnr": ("PSNR", "dB", 1),
    "tc": ("Temporal consistency", "dB", 1),
    "spatial": ("Recognition after enhancement: a net of single pictures", "points", 100),
    "spatial_log": ("Its log loss (log p of the true class: higher is better)", "nats", 1),
    "temporal": ("Recognition after enhancement: a net that needs motion", "points", 100),
    "temporal_log": ("Its log loss", "nats", 1),
    "lost": ("Which of the two loses more", "points", 100),
}
DATA = "synthetic, small nets from scratch"


def stream_of(row: str) -> str:
    """ "x265 CRF 35 frame, 30 blocks" -> "x265 CRF 35"."""
    return " ".join(row.split()[:3])


# --- scores ---------------------------------------------------------------------------------------


def psnr(shown: Any, original: Any) -> Any:
    """dB of each clip; 99 where nothing differs."""
    error = (shown - original).square().mean((1, 2, 3, 4)).numpy()
    return -10 * np.log10(np.maximum(error, 10**-9.9))


@functools.lru_cache(1)
def true_motion(told: str, seed: int) -> Any:
    """(N, T, 2, 112, 112), samples to the frame before: the generator's own, blocks of 4x4."""
    settings = json.loads(told)
    times = range(settings["frames"])
    found = [
        [-true_flow(action, len(times), seed, max(0, t - 1), t) for t in times]
        for action in enhancers.todo("test", settings)
    ]
    return dense(np.array(found), SIZE, SIZE)


def consistency(frames: Any, settings: dict[str, Any], seed: int) -> Any:
    """Temporal consistency of each clip, dB, along the true motion."""
    motion = true_motion(enhancers.key(settings), seed)
    pairs = zip(frames[:, :, 0].numpy(), motion, strict=True)
    return np.array([temporal_consistency(clip, way) for clip, way in pairs])


def log_p(net: Any, kind: str, frames: Any, label: Any) -> tuple[Any, Any]:
    """Right or wrong, and log p of the true class, of each clip.

    Luma goes in as the reader would give it in RGB.
    """
    spec = otani.SPECS[kind]
    where = [k * spec.stride for k in range(spec.frames)]
    levels = (frames[:, where] * 255).numpy().astype(np.float64)
    rgb = np.rint(np.clip((levels - 16) * 255 / 219, 0, 255)).astype(np.uint8).repeat(3, 2)
    batch = np.stack([preprocess(clip, spec).transpose(1, 0, 2, 3) for clip in rgb])
    scores = net.scores(batch).astype(np.float64)
    highest = scores.max(1, keepdims=True)
    logs = scores - highest - np.log(np.exp(scores - highest).sum(1, keepdims=True))
    right = (scores.argmax(1) == label).astype(np.float64)
    return right, logs[np.arange(len(label)), label]


# --- run ------------------------------------------------------------------------------------------


def pictures(seed: int) -> Path:
    """Where the last picture of every test clip is kept, for the crops."""
    return record.cache() / f"enhancement-shown-{seed}"


def run(book: record.Book, settings: dict[str, Any], progress: Any = print) -> None:
    torch.set_num_threads(1)
    for group, seed in itertools.product((ROWS, LATER), settings["seeds"]):
        rows = [row for row in group if not book.has(f"temporal_log {row[0]} {row[1]}", seed)]
        if not rows:
            continue
        made = otani.originals(seed, settings["recogniser"])
        nets = {kind: otani.recogniser(kind, made, settings["recogniser"], seed) for kind in KINDS}
        todo = enhancers.todo("test", settings)
        labels = {
            "temporal": np.array([a.motion for a in todo]),
            "spatial": np.array([a.appearance for a in todo]),
        }
        features = functools.cache(lambda seed=seed: enhancers.phi(settings, seed))
        folder = pictures(seed)
        folder.mkdir(parents=True, exist_ok=True)

        def judge(
            row: str, shown: Any, original: Any, seed: int = seed, nets: Any = nets,
            labels: Any = labels, folder: Path = folder, **more: Any,
        ) -> None:  # fmt: skip
            found = {"psnr": psnr(shown, original), "tc": consistency(shown, settings, seed)}
            for kind, net in nets.items():
                found[kind], found[f"{kind}_log"] = log_p(net, kind, shown, labels[kind])
            np.save(folder / f"{row}.npy", (shown[:, -1, 0] * 255).round().byte().numpy())
            for section, scores in found.items():  # the last one says that all are there
                if not book.has(f"{section} {row}", seed):
                    book.add(
                        f"{section} {row}", seed, scores, **(more if section == "psnr" else {})
                    )
            told = ", ".join(f"{k} {v.mean():.3f}" for k, v in found.items())
            progress(f"seed {seed}  {row}: {told}", flush=True)

        for stream, name, kind, loss in rows:
            test = enhancers.clips("test", stream, settings, seed)
            for other, shown in (("original", test.original),
                                 (f"{stream} compressed", test.compressed)):  # fmt: skip
                if not book.has(f"temporal_log {other}", seed):
                    judge(other, shown, test.original)
            model = enhancers.trained(
                kind, loss, stream, settings, seed, lambda features=features: features()[0]
            )
            shown, took = enhancers.enhanced(kind, model, test)
            more = {"ms": round(took, 2)}
            if kind == "vectors":
                more["vectors_ms"] = round(test.vectors_ms, 2)
            if loss != PIXEL:
                more["phi_accuracy"] = round(features()[1], 4)
            judge(f"{stream} {name}", shown, test.original, **more)


# --- report ---------------------------------------------------------------------------------------


def all_scores(book: record.Book) -> dict[str, dict[str, Any]]:
    """Section -> row -> (seeds, clips), with the rows that are differences of others."""
    found = {s: record.part(book, f"{s} ").scores() for s in SECTIONS if s != "lost"}
    whole = found["psnr"]
    gains = {
        row.replace("recurrent", "gain"): whole[row] - whole[f"{stream_of(row)} compressed"]
        for row in whole
        if row.endswith("recurrent")
    }
    found["psnr"] = {**whole, **gains}
    found["lost"] = {}
    low = "x265 CRF 45"
    for kind in KINDS:
        for name, better, worse in (
            (f"original to {low}", "original", f"{low} compressed"),
            (f"{low} to recurrent", f"{low} compressed", f"{low} recurrent"),
        ):
            if {better, worse} <= set(found[kind]):
                found["lost"][f"{kind}: {name}"] = found[kind][better] - found[kind][worse]
    return found


def judged(section: str, scores: dict[str, Any]) -> str:
    """Every expected order of a section and what came of it; nulls tell their margin in `why`."""
    _, unit, scale = SECTIONS[section]
    lines = [
        f"| expected before the run | difference, {unit} (95 %) | adjusted p | verdict | why "
        "| data and nets |",
        "|---|---|---|---|---|---|",
    ]
    digits = 1 if unit == "points" else 3
    for line in record.judge(record.expected("enhancement", section), scores):
        found, apart, few = line.get("comparison"), "", ""
        if found:
            apart = (
                f"{scale * found.difference:+.{digits}f} "
                f"({scale * found.low:+.{digits}f} to {scale * found.high:+.{digits}f})"
            )
            few = f" ({found.seeds} of 3 seeds)" if found.seeds < 3 else ""
        p = f"{line['adjusted_p']:.4f}" if "adjusted_p" in line else ""
        order = line["order"].split(" within")[0]
        lines.append(
            f"| {order} | {apart} | {p} | **{line['verdict']}**{few} | {line['why']} | {DATA} |"
        )
    return "\n".join(lines)


def spread(scores: Any, scale: float, digits: int, sign: str = "") -> str:
    low, high = statistics.interval(scores)
    mean, low, high = (f"{scale * x:{sign}.{digits}f}" for x in (float(np.mean(scores)), low, high))
    return f"{mean} ({low} to {high})"


def table(book: record.Book) -> str:
    """Means and their 95 % intervals over seeds and clips."""
    scores = all_scores(book)
    last = {r["row"]: r for r in record.part(book, "psnr ").rows}
    lines = [
        "| row | PSNR, dB | gain, dB | TC, dB | spatial, % | log loss | temporal, % | log loss "
        "| ms a frame | data and nets |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    streams = list(dict.fromkeys(row[0] for row in ROWS))
    names = [
        f"{stream} {row}"
        for stream in streams
        for row in ("compressed", *(r[1] for r in ROWS + LATER if r[0] == stream))
    ]
    for name in ("original", *names):
        if name not in scores["temporal_log"]:
            had = sorted(r["seed"] for r in record.part(book, "temporal_log ").rows
                         if r["row"] == name)  # fmt: skip
            what = f"seeds {had} only, not judged" if had else "not run"
            lines.append(f"| {name} | {what} | | | | | | | | {DATA} |")
            continue
        level, gain = "", ""
        if name != "original":
            mine = scores["psnr"][name]
            level = f"{mine.mean():.2f}"
            if not name.endswith("compressed"):
                gain = spread(mine - scores["psnr"][f"{stream_of(name)} compressed"], 1, 3, "+")
        seen = []
        for kind in KINDS[::-1]:
            seen += [spread(scores[kind][name], 100, 1), spread(-scores[f"{kind}_log"][name], 1, 2)]
        took = last[name].get("ms")
        lines.append(
            f"| {name} | {level} | {gain} | {scores['tc'][name].mean():.2f} | "
            f"{' | '.join(seen)} | {'' if took is None else f'{took:.1f}'} | {DATA} |"
        )
    return "\n".join(lines)


def report(book: record.Book) -> str:
    s = book.settings
    scores = all_scores(book)
    rows = record.part(book, "psnr ").rows
    cost = [r["vectors_ms"] for r in rows if "vectors_ms" in r]
    sure = [r["phi_accuracy"] for r in rows if "phi_accuracy" in r]
    vectors = f", which took {np.mean(cost):.1f} ms a frame beside it" if cost else ""
    text = [
        "## Enhancement: rates, architectures, losses, and what alignment costs",
        f"Synthetic clips (8 motions x {len(APPEARANCES)} textures) of {s['frames']} pictures of "
        f"{SIZE}x{SIZE}, encoders at their defaults; small networks (ENet {s['width']} channels, "
        f"{s['blocks']} blocks) from scratch. {s['train']} training and {s['test']} test clips, "
        f"other ones each seed; seeds {book.seeds}. Intervals: bootstrap over seeds and clips.",
        f"Training, equal for every row: {s['steps']} steps with the pixel loss and "
        f"{s['further']} more with the row's own (pixel unless it says perceptual or GAN; the "
        f"three go on from one network), {s['batch']} sequences of {s['unroll']} patches of "
        f"{s['patch']}, the same draws: hundreds of steps where the paper has 150 epochs of 28,000 "
        "clips. Networks start as the identity. *recurrent*, *window* (one frame on each side) and "
        "*frame, 30 blocks* have 141 k parameters; *frame* (6 blocks, 28 k) has as many "
        "multiply-adds as *recurrent*; *vectors* is recurrent and aligned by the stream's own "
        "vectors, *unaligned* not at all (19 k both).",
        "No pre-trained weights can be had, so phi of the perceptual loss is not VGG-19: it is the "
        "last convolution, before activation, of a small net trained on other data and other "
        "labels than the recognisers (10 classes of stripes, textures.py, in grey"
        + (f"; right on {100 * np.mean(sure):.0f} % of held-out ones" if sure else "")
        + "). The discriminator is ESRGAN's at an eighth of its width. Recognisers: those of "
        f"otani.md, trained on {s['recogniser']['train']} originals and never on compressed or "
        "enhanced clips; spatial tells the texture from single pictures (chance 16.7 %, log loss "
        "1.79), temporal the motion from eight (12.5 %, 2.08). An earlier run with longer training "
        "at one rate is [enhancement_first](enhancement_first.md).",
        table(book),
        "TC: PSNR of each frame against the one before it, moved along the generator's true "
        "motion: the same for every row; noise, which the original has most of, lowers it. Time: "
        "CPU, one thread, a busy machine, the network alone; "
        f"*vectors* reads and accumulates the stream's vectors{vectors}.",
    ]
    for section, (title, _, _) in SECTIONS.items():
        text += [f"### {title}", judged(section, scores[section])]
    if has_crops(book):
        text.append(
            f"![crops](enhancement_crops.png)\n\n64x64 around the disk, last picture of three test "
            f"clips (seed {book.seeds[0]}), enlarged; synthetic, small nets from scratch."
        )
    return "\n\n".join(text)


CROPS = ("compressed", "recurrent", "perceptual", "GAN")


def has_crops(book: record.Book) -> bool:
    wanted = [f"x265 CRF {crf} {row}.npy" for crf in (35, 45) for row in CROPS]
    return bool(book.seeds) and all((pictures(book.seeds[0]) / n).exists() for n in wanted)


def draw_crops(book: record.Book, path: Path) -> None:
    """Compressed, enhanced by each loss, original, side by side, around the disk."""
    from matplotlib import pyplot

    seed, frames = book.seeds[0], book.settings["frames"]
    todo = enhancers.todo("test", book.settings)
    columns = [*CROPS, "original"]
    chosen = [(crf, clip % len(todo)) for crf in (35, 45) for clip in (0, 17, 43)]
    figure, axes = pyplot.subplots(6, len(columns), figsize=(9, 11))
    for line, (crf, clip) in zip(axes, chosen, strict=True):
        x, y, *_ = Scene.of(todo[clip], frames, seed, False).disk(frames - 1, frames)
        left, top = (int(np.clip(abs(at).argmin() - 32, 0, SIZE - 64)) for at in (x, y))
        for axis, column in zip(line, columns, strict=True):
            name = column if column == "original" else f"x265 CRF {crf} {column}"
            picture = np.load(pictures(seed) / f"{name}.npy")[clip]
            axis.imshow(
                picture[top : top + 64, left : left + 64],
                cmap="gray", vmin=40, vmax=216, interpolation="nearest",
            )  # fmt: skip
            axis.set_xticks([])
            axis.set_yticks([])
            axis.set_title({"recurrent": "pixel loss"}.get(column, column), fontsize=9)
        line[0].set_ylabel(f"CRF {crf}: {APPEARANCES[todo[clip].appearance]}", fontsize=8)
    figure.tight_layout()
    figure.savefig(path, dpi=80)
    pyplot.close(figure)


def draw_figure(book: record.Book, path: Path) -> None:
    """Gain, temporal consistency, accuracy and log loss of x265 over CRF, by loss."""
    import matplotlib

    matplotlib.use("agg")
    from matplotlib import pyplot

    scores = all_scores(book)
    figure, axes = pyplot.subplots(2, 3, figsize=(13, 7.2))
    panels = (
        ("psnr", 1, "PSNR gained, dB"), ("spatial", 100, "spatial, % right"),
        ("spatial_log", -1, "spatial, log loss"), ("tc", 1, "TC, dB"),
        ("temporal", 100, "temporal, % right"), ("temporal_log", -1, "temporal, log loss"),
    )  # fmt: skip
    styles = {"compressed": "ko--", "recurrent": "s-", "perceptual": "^-", "GAN": "v-"}
    for axis, (section, scale, title) in zip(axes.flat, panels, strict=True):
        mine = scores[section]
        for place, (row, style) in enumerate(styles.items()):
            rates = [c for c in (25, 35, 45) if f"x265 CRF {c} {row}" in mine]
            found = [mine[f"x265 CRF {c} {row}"] for c in rates]
            if section == "psnr":
                base = [mine[f"x265 CRF {c} compressed"] for c in rates]
                found = [a - b for a, b in zip(found, base, strict=True)]
            means = np.array([scale * f.mean() for f in found])
            ends = np.array([np.sort(scale * np.array(statistics.interval(f))) for f in found])
            if len(rates):
                label = "pixel loss" if row == "recurrent" else row
                errors = np.abs(ends.T - means)
                apart = np.array(rates) + 0.5 * (place - 1.5)  # so that bars can be told
                axis.errorbar(apart, means, errors, fmt=style, capsize=3, label=label)
        if section != "psnr":
            axis.axhline(
                scale * mine["original"].mean(), color="#888", linestyle=":", label="original"
            )
        axis.set_title(title, fontsize=10)
        axis.set_xlabel("CRF of x265")
        axis.set_xticks([25, 35, 45])
        axis.grid(alpha=0.3)
        axis.spines[["top", "right"]].set_visible(False)
        axis.legend(fontsize=8)
    figure.suptitle("synthetic clips, small networks from scratch; bars: 95 %", fontsize=10)
    figure.tight_layout()
    figure.savefig(path, dpi=90)
    pyplot.close(figure)
    if has_crops(book):
        draw_crops(book, path.with_name(f"{path.stem}_crops.png"))
