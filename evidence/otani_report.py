"""The pages of evidence.otani: tables, straight lines, verdicts, figure."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import numpy as np

from cvdecode.study.scores import slope
from evidence import record
from evidence.actions import SIZE
from evidence.otani import SPECS, name_of, rows, trained_names


def facts(book: record.Book) -> dict[str, dict[str, float]]:
    """Cell -> means over seeds of what its "size" rows tell."""
    found: dict[str, list[dict[str, Any]]] = {}
    for row in book.rows:
        if row["row"].startswith("size "):
            found.setdefault(row["row"].removeprefix("size "), []).append(row)
    wanted = ("bytes", "ssim", "mae", "mean_qp", "bits_per_frame")
    return {
        cell: {k: float(np.mean([r[k] for r in rs])) for k in wanted if k in rs[0]}
        for cell, rs in found.items()
    }


def grid_table(book: record.Book) -> str:
    """Both nets' accuracy, size, true QP and damage of every cell."""
    told = facts(book)
    accuracy = {row: 100 * scores.mean() for row, scores in book.scores().items()}
    raw = book.settings["frames"] * SIZE * SIZE * 3 // 2 / 1e3
    lines = [
        "| cell | temporal, % | spatial, % | kB a clip | mean QP | bits a picture | SSIM | MAE |",
        "|---|---|---|---|---|---|---|---|",
        f"| original | {accuracy['temporal original']:.1f} | {accuracy['spatial original']:.1f} | "
        f"{raw:.1f} (raw) | | | 1 | 0 |",
    ]
    for cell, fact in told.items():
        qp = f"{fact['mean_qp']:.1f}" if "mean_qp" in fact else ""
        bits = f"{fact['bits_per_frame']:,.0f}" if "bits_per_frame" in fact else ""
        lines.append(
            f"| {cell} | {accuracy[f'temporal {cell}']:.1f} | {accuracy[f'spatial {cell}']:.1f} | "
            f"{fact['bytes'] / book.settings['test'] / 1e3:.2f} | {qp} | {bits} | "
            f"{fact['ssim']:.3f} | {fact['mae']:.4f} |"
        )
    return "\n".join(lines)


def lines_through(book: record.Book) -> str:
    """The straight lines of accuracy over SSIM and MAE, as the paper fits them, and how good."""
    told = facts(book)
    scores = book.scores()
    said = []
    for kind in SPECS:
        for measure, unit, per in (("ssim", "0.01 SSIM", 0.01), ("mae", "1/256 MAE", 1 / 256)):
            x = [fact[measure] for fact in told.values()]
            y = [100 * scores[f"{kind} {cell}"].mean() for cell in told]
            rise, _ = slope(x, y)
            r = float(np.corrcoef(x, y)[0, 1]) if np.std(y) else float("nan")
            said.append(f"{kind} {per * rise:+.2f} points per {unit} (r {r:.2f})")
    return "; ".join(said)


def coarser(book: record.Book) -> str:
    """What the encoder makes of the same CRF when every picture is an I picture; "" without any."""
    told = facts(book)
    pairs = [
        f"{told[f'CRF {crf} GOP 1']['mean_qp']:.1f} against "
        f"{told[f'CRF {crf} GOP 12']['mean_qp']:.1f} at CRF {crf}"
        for crf, gop in book.settings["h264"]
        if gop == 1 and f"CRF {crf} GOP 12" in told
    ]
    if not pairs:
        return ""
    return (
        "A part of why GOP 1 is the worst, and smaller than GOP 2, is read off the coded QP: at "
        f"the same CRF the encoder quantises I-only streams coarser, mean QP {', '.join(pairs)}. "
        "It is not all: where QP is at its limit, GOP 1 is still the worst."
    )


def crf_of(cell: str) -> int:
    """Of "CRF 20 GOP 12" or "HEVC CRF 20"."""
    return int(cell.split("CRF ")[1].split()[0])


def halving(book: record.Book, codec: str = "CRF") -> str:
    """How much CRF halves the size, from step to step, GOP 12; `codec`: "CRF" or "HEVC CRF"."""
    pairs = [(c, f) for c, f in facts(book).items() if c.startswith(f"{codec} ")]
    told = {crf_of(c): f for c, f in pairs if codec != "CRF" or c.endswith("GOP 12")}
    steps = []
    for (low, one), (high, other) in itertools.pairwise(told.items()):
        octaves = np.log2(one["bytes"] / other["bytes"])
        steps.append(f"{(high - low) / octaves:.1f} (CRF {low} to {high})")
    return ", ".join(steps)


def won_back(book: record.Book) -> str:
    """Share of the loss that training on what is tested gives back."""
    scores = {row: float(s.mean()) for row, s in book.scores().items()}
    said = []
    for kind in SPECS:
        for cell in trained_names(book.settings):
            lost = scores[f"{kind} original"] - scores[f"{kind} {cell}"]
            own = scores[f"{kind} {cell}, trained on it"]
            back = own - scores[f"{kind} {cell}"]
            share = f", {100 * back / lost:.0f} % of what was lost" if lost > 0.05 else ""
            said.append(
                f"{kind} {cell.split(' GOP')[0]}: {100 * own:.1f} % ({100 * back:+.1f}{share})"
            )
    return "; ".join(said)


def lost(book: record.Book) -> dict[str, Any]:
    """What each clip lost to a cell: right on the original less right there."""
    scores = book.scores()
    return {
        row: scores[f"{row.split()[0]} original"] - values
        for row, values in scores.items()
        if row.split()[0] in SPECS and not row.endswith("trained on it")
    }


def report(book: record.Book) -> str:
    s = book.settings
    hevc = "hevc" in s
    title = "HEVC beside H.264, and training on CRF 20" if hevc else "CRF, GOP, JPEG"
    text = [
        f"## Accuracy against quality: {title}",
        "The experiment of Otani et al. in small, made by the functions behind `cvdecode study` "
        "(transcode, measure, evaluate, training on a cell): the originals are uncompressed "
        f"synthetic clips (8 motions x 6 textures, {s['frames']} pictures of {SIZE}x{SIZE}, grey), "
        f"{s['train']} to train on and {s['test']} to test, other ones each seed; seeds "
        f"{book.seeds}. x264 preset medium through one process a setting, so its rate control "
        "carries over from clip to clip. *Temporal*: class = motion (chance 12.5 %), a 2-D net "
        "whose first layer sees eight successive pictures at 56x56; *spatial*: class = texture "
        "(chance 16.7 %), single pictures at 112x112, scores of three added. Both are small "
        f"residual nets from scratch, {s['epochs']} epochs, no pre-training; the paper's "
        "are X3D, SlowFast, TimeSformer and Video Swin on Kinetics. At 112 samples a macroblock "
        "covers more than ten times the share of a picture that it does at 360 lines: the shape of "
        "the curves can be compared, not the CRF at which they bend. MFNet-3D was tried and left "
        "out: 9 epochs of 192 clips took it to 26 % on motion, at ten times the cost.",
    ]
    if hevc:
        text.append(
            "x265 preset medium at its own defaults but GOP 12, a process a clip; QP, bits and "
            "vectors are not parsed of HEVC. CRF numbers of the two encoders are two scales. "
            "Pourreza et al., whose numbers the orders cite, trained on Kinetics and tested on "
            "UCF101 at 320 lines and more."
        )
    sized = " with their headers (Annex B), no container"
    if hevc:
        sized = " without container (H.264 with its headers; HEVC's lie in the container)"
    if set(rows(s)) <= set(book.scores()):
        text += [
            grid_table(book),
            f"Size: coded pictures{sized}; mean QP and bits as parsed from the streams. SSIM and "
            f"MAE: means over {s['measured']} clips a seed, RGB, range [0, 1].",
            *([coarser(book)] if coarser(book) else []),
            f"Straight lines over all compressed cells: {lines_through(book)}. The paper calls "
            "the relation linear: -1.32 points per 1/256 MAE, -2.21 per 0.01 SSIM (X3D-M).",
            f"CRF steps that halve the size, GOP 12: {halving(book)}"
            + (f"; HEVC: {halving(book, 'HEVC CRF')}." if hevc else "."),
            "Trained and tested at the same CRF, GOP 12, against trained on the originals: "
            f"{won_back(book)}.",
        ]
    for part, title in (
        ("temporal", "### The net that needs motion"),
        ("spatial", "### The net that sees single pictures"),
    ):
        mine = record.part(book, f"{part} ")
        section = record.expected(name_of(s), part)
        text += [title, record.verdicts(section, mine.scores())]
    if hevc:
        told = record.verdicts(record.expected(name_of(s), "lost"), lost(book))
        text += ["### What is lost, net against net", told]
    sizes = record.part(book, "size ").scores()
    text += [
        "### Size",
        "Differences are log2 of a clip's bytes: 1 is a factor of 2.",
        record.verdicts(record.expected(name_of(s), "size"), sizes, scale=1),
    ]
    return "\n\n".join(text)


def gop_of(cell: str) -> int:
    """Of "CRF 20 GOP 12"; 0 for HEVC."""
    return int(cell.split("GOP ")[1]) if "GOP" in cell else 0


def draw_figure(book: record.Book, path: Path) -> None:
    """Accuracy against CRF for each GOP, against SSIM, and size against CRF."""
    import matplotlib

    matplotlib.use("agg")
    from matplotlib import pyplot

    told = facts(book)
    scores = {row: 100 * s.mean() for row, s in book.scores().items()}
    lines: dict[str, list[tuple[int, str]]] = {}
    for cell in sorted((c for c in told if "CRF" in c), key=gop_of):
        name = f"GOP {gop_of(cell)}" if gop_of(cell) else "HEVC, GOP 12"
        lines.setdefault(name, []).append((crf_of(cell), cell))
    figure, axes = pyplot.subplots(1, 4, figsize=(17, 3.9))
    for axis, kind in zip(axes, SPECS, strict=False):
        for name, cells in lines.items():
            mine = sorted((crf, scores[f"{kind} {c}"]) for crf, c in cells)
            axis.plot(*zip(*mine, strict=True), marker="o", markersize=4, label=name)
        own = [
            (int(c.split()[1]), scores[f"{kind} {c}, trained on it"])
            for c in trained_names(book.settings)
        ]
        axis.plot(*zip(*own, strict=True), "k^", label="trained at this CRF, GOP 12")
        axis.axhline(scores[f"{kind} original"], color="#888", linestyle="--", linewidth=1)
        axis.set_title(f"{kind} (dashed: original)", fontsize=10)
        axis.set_xlabel("CRF")
        axis.set_ylabel("% right")
        axis.legend(fontsize=8)
    for kind, mark in zip(SPECS, "os", strict=True):
        points = [(fact["ssim"], scores[f"{kind} {cell}"]) for cell, fact in told.items()]
        axes[2].plot(*zip(*points, strict=True), mark, markersize=5, label=kind)
    axes[2].set_xlabel("SSIM")
    axes[2].set_ylabel("% right")
    axes[2].set_title("every compressed cell", fontsize=10)
    axes[2].legend(fontsize=8)
    for name, cells in lines.items():
        mine = sorted((crf, told[c]["bytes"] / book.settings["test"] / 1e3) for crf, c in cells)
        axes[3].plot(*zip(*mine, strict=True), marker="o", markersize=4, label=name)
    axes[3].set_yscale("log")
    axes[3].set_xlabel("CRF")
    axes[3].set_ylabel("kB a clip")
    axes[3].set_title("size", fontsize=10)
    axes[3].legend(fontsize=8)
    for axis in axes:
        axis.grid(alpha=0.3)
        axis.spines[["top", "right"]].set_visible(False)
    figure.tight_layout()
    figure.savefig(path, dpi=90)
    pyplot.close(figure)
