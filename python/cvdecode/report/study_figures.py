"""The papers' figures from a study's records, each as one SVG; None where the records lack it."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np

from cvdecode.study.cross import matrix_of
from cvdecode.study.grid import short_names
from cvdecode.study.scores import relative_accuracy, slope

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Records = Sequence[dict[str, Any]]
COLOURS = ("#0b6e99", "#c8553d", "#4c8c4a", "#8a5fb0", "#d49a1f", "#5b6770", "#b03a78", "#2a9d8f")
MARKS = "osD^vP*X"
INSIDE = 5
"""Names of lines that find room in a figure."""
LONG = 34
"""Letters: more than two names as long as that would cover the lines."""
RATE_NAMES = {
    "crf": "CRF",
    "qp": "QP",
    "bitrate": "kbit/s asked for",
    "strength": "JPEG strength",
    "quality": "JPEG quality",
}


def svg(draw: Callable[[Axes], None], size: tuple[float, float] = (5.6, 3.6)) -> str:
    """One figure as SVG text; the same drawing gives the same bytes."""
    import matplotlib
    from matplotlib.figure import Figure

    style: Any = {
        "svg.fonttype": "none",
        "svg.hashsalt": "cvdecode",
        "font.family": "sans-serif",
        "font.size": 10,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.grid": True,
        "grid.color": "#e3e7eb",
        "axes.axisbelow": True,
        "legend.frameon": False,
        "legend.fontsize": 9,
    }
    with matplotlib.rc_context(style):
        figure = Figure(figsize=size, layout="constrained")
        draw(figure.add_subplot())
        buffer = io.StringIO()
        figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None})
    text = buffer.getvalue()
    return text[text.index("<svg") :]


def cells_of(records: Records) -> list[dict[str, Any]]:
    """The cells with results that a codec made (not the originals)."""
    return [r for r in records if r["kind"] == "cell" and r.get("codec") and "top1" in r]


def originals_of(records: Records) -> dict[str, dict[str, Any]]:
    """The cell of the untouched clips, by model."""
    found = (r for r in records if r["kind"] == "cell" and r["setting"] == "original")
    return {model_of(r): r for r in found if "top1" in r}


def model_of(record: dict[str, Any]) -> str:
    """Whose result it is; "" where it was not said."""
    return str(record.get("model") or "")


def models_of(records: Records, *kinds: str) -> list[str]:
    """The models that records of these kinds are of."""
    return list(dict.fromkeys(model_of(r) for r in records if r["kind"] in kinds))


def series(cells: Records) -> dict[str, list[dict[str, Any]]]:
    """Cells that differ in the rate's value only, in its order; the name says the rest."""
    lines: dict[str, list[dict[str, Any]]] = {}
    several = len({(c["codec"], c["rate"]) for c in cells}) > 1
    models = len({model_of(c) for c in cells}) > 1
    presets = len({c.get("preset") for c in cells if c["codec"] != "jpeg"}) > 1
    for cell in sorted(cells, key=_order):
        name = [model_of(cell)] if models else []
        rate = RATE_NAMES[cell["rate"]]
        if several:
            name.append(rate if cell["codec"] == "jpeg" else f"{cell['codec']} {rate}")
        if cell.get("gop"):
            name.append(f"GOP {cell['gop']}")
        if presets and cell.get("preset"):
            name.append(cell["preset"])
        if cell.get("bframes") is not None:
            name.append(f"{cell['bframes']} B")
        if cell.get("enhanced"):
            name.append(cell["enhanced"])
        lines.setdefault(", ".join(name) or cell["codec"], []).append(cell)
    return lines


def _order(cell: dict[str, Any]) -> tuple[Any, ...]:
    return (
        *(model_of(cell), cell["codec"], cell["rate"], cell.get("gop") or 0),
        *(str(cell.get("preset")), cell.get("bframes") or 0, cell.get("enhanced") or ""),
        cell["value"],
    )


def curves(
    cells: Records,
    x: Callable[[dict[str, Any]], float | None],
    y: Callable[[dict[str, Any]], float | None],
    labels: tuple[str, str],
    *,
    log_x: bool = False,
    log_y: bool = False,
    originals: Mapping[str, dict[str, Any]] = MappingProxyType({}),
    bars: bool = False,
) -> str | None:
    """One line a series.

    Args:
        originals: the cell of the untouched clips by model: a broken line each.
        bars: draw the bootstrap intervals of top-1.
    """
    lines = {
        name: [(x(c), y(c), c) for c in those if x(c) is not None and y(c) is not None]
        for name, those in series(cells).items()
    }
    lines = {name: points for name, points in lines.items() if points}
    if not lines:
        return None

    def draw(axes: Axes) -> None:
        colours: dict[str, str] = {}
        for n, (name, points) in enumerate(lines.items()):
            points = sorted(points, key=lambda p: float(p[0] or 0)) if log_x else points
            xs, ys = [float(p[0] or 0) for p in points], [float(p[1] or 0) for p in points]
            colour = COLOURS[n % len(COLOURS)]
            colours.setdefault(model_of(points[0][2]), colour)
            axes.plot(xs, ys, marker=MARKS[n % len(MARKS)], ms=5, color=colour, label=name)
            if bars:
                ends = np.array([[100 * v for v in p[2]["top1_interval"]] for p in points]).T
                axes.vlines(xs, *ends, color=colour, linewidth=1, alpha=0.5)
        for model in (m for m in originals if m in colours):
            ink = colours[model] if len(originals) > 1 else "#1d2329"
            level = y(originals[model])
            if level is not None:
                told = ", ".join(filter(None, [model if len(originals) > 1 else "", "original"]))
                axes.axhline(level, color=ink, linestyle="--", linewidth=1, label=told)
        axes.set_xlabel(labels[0])
        axes.set_ylabel(labels[1])
        if log_x:
            axes.set_xscale("log")
            _plain_ticks(axes.xaxis)
        else:
            axes.locator_params("x", integer=True)  # rates are whole numbers
        if log_y:
            axes.set_yscale("log")
            _plain_ticks(axes.yaxis)
        _legend(axes)

    return svg(draw)


def _plain_ticks(axis: Any) -> None:
    """Plain numbers at 1, 2, 5, 10, ... instead of powers of ten."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    axis.set_major_locator(LogLocator(10, (1, 2, 5)))
    axis.set_major_formatter(FuncFormatter(lambda value, place: f"{value:,g}"))
    axis.set_minor_formatter(NullFormatter())


def _legend(axes: Axes) -> None:
    """Inside, where there is room; many names stand below."""
    names = axes.get_legend_handles_labels()[1]
    short = max(map(len, names), default=0) < LONG
    if len(names) <= (INSIDE if short else 2):
        axes.legend()
        return
    columns = 2 if short else 1
    figure: Any = axes.figure
    figure.legend(loc="outside lower center", ncols=columns)
    width, height = figure.get_size_inches()
    figure.set_size_inches(width, height + 0.19 * -(-len(names) // columns))


def against_measure(
    records: Records, measure: str, label: str
) -> tuple[str, dict[str, float]] | None:
    """Accuracy of each cell over the mean of a measure, with the least-squares line of each model.

    Returns:
        The SVG, and by model the slope in points of top-1 per unit of the measure.
    """
    means: dict[str, list[float]] = {}
    for r in records:
        if r["kind"] == "measures" and r.get(measure) is not None:
            means.setdefault(r["setting"], []).append(r[measure])
    points = [
        (float(np.mean(means[c["setting"]])), 100 * c["top1"], c)
        for c in cells_of(records)
        if c["setting"] in means
    ]
    fits = {}
    for model in dict.fromkeys(model_of(p[2]) for p in points):
        mine = [p for p in points if model_of(p[2]) == model]
        rise, level = slope([p[0] for p in mine], [p[1] for p in mine])
        if len(mine) > 1 and np.isfinite(rise):
            fits[model] = (
                rise,
                level,
                np.array([min(p[0] for p in mine), max(p[0] for p in mine)]),
            )
    if not fits:
        return None

    def draw(axes: Axes) -> None:
        colours: dict[str, str] = {}
        for n, (name, cells) in enumerate(series([p[2] for p in points]).items()):
            mine = [p for p in points if any(p[2] is c for c in cells)]
            colours.setdefault(model_of(cells[0]), COLOURS[n % len(COLOURS)])
            axes.plot(
                [p[0] for p in mine],
                [p[1] for p in mine],
                MARKS[n % len(MARKS)],
                color=COLOURS[n % len(COLOURS)],
                label=name,
            )
        for model, (rise, level, ends) in fits.items():
            ink = colours[model] if len(fits) > 1 else "#1d2329"
            axes.plot(ends, level + rise * ends, color=ink, linewidth=1, linestyle="--")
        axes.set_xlabel(label)
        axes.set_ylabel("top-1, %")
        _legend(axes)

    return svg(draw), {model: fit[0] for model, fit in fits.items()}


def class_scatter(original: dict[str, Any], cell: dict[str, Any]) -> str:
    """Accuracy of each class on the originals and in one cell."""
    classes = [c for c in original["class_top1"] if c in cell["class_top1"]]

    def draw(axes: Axes) -> None:
        axes.plot([0, 100], [0, 100], color="#5b6770", linewidth=1, linestyle="--")
        axes.scatter(
            [100 * original["class_top1"][c] for c in classes],
            [100 * cell["class_top1"][c] for c in classes],
            s=26,
            alpha=0.7,
            color=COLOURS[0],
            edgecolors="none",
        )
        axes.set_xlim(-3, 103)
        axes.set_ylim(-3, 103)
        axes.set_aspect("equal")
        axes.set_xlabel("on the originals, % of the class")
        axes.set_ylabel(f"{cell['setting']}, %")

    return svg(draw, (4.2, 4))


def class_relative(original: dict[str, Any], cells: Records) -> tuple[str, str] | None:
    """Accuracy of each class over its accuracy on the originals, from cell to cell (Otani et al.,
    Fig. 8), of the settings with the longest GOP; and what they are called."""
    lines = series([c for c in cells if "class_top1" in c])
    if not lines:
        return None
    name, cells = max(lines.items(), key=lambda line: (len(line[1]), line[1][0].get("gop") or 0))
    if len(cells) < 2:
        return None
    before = {int(k): float(v) for k, v in original["class_top1"].items()}
    points = []
    for cell in cells:
        after = {int(k): float(v) for k, v in cell["class_top1"].items()}
        known = {c: v for c, v in before.items() if c in after}
        found = relative_accuracy(after, known).values()
        points.append((cell["value"], [100 * v for v in found if v is not None]))

    def draw(axes: Axes) -> None:
        axes.axhline(100, color="#1d2329", linestyle="--", linewidth=1)
        for value, shares in points:
            axes.plot([value] * len(shares), shares, "o", ms=6, mfc="none", color=COLOURS[0])
        ends = [p for p in points if p[1]]
        axes.plot(
            [p[0] for p in ends], [np.mean(p[1]) for p in ends], color=COLOURS[1], label="mean"
        )
        axes.set_xlabel(RATE_NAMES.get(cells[0]["rate"], cells[0]["rate"]))
        axes.set_ylabel("of the class on the originals, %")
        axes.legend()

    return svg(draw), name


def tested_names(records: Records) -> list[str]:
    """Every quality that a network was tested on."""
    found = (r["tested_on"] for r in records if r["kind"] in ("cross", "fine_tuned"))
    return list(dict.fromkeys(found))


def heat_map(records: Records, kind: str = "cross", metric: str = "top1") -> str | None:
    """Trained on (columns) x tested on (rows), means over seeds, in percent.

    `kind`: of the records, "cross" or "fine_tuned".
    """
    cross = [r for r in records if r["kind"] == kind and metric in r]
    if not cross:
        return None
    columns = list(dict.fromkeys(r["trained_on"] for r in cross))
    rows = list(dict.fromkeys(r["tested_on"] for r in cross))
    values = matrix_of(cross, metric, rows, columns)
    grid = np.array([[np.nan if v is None else 100 * v for v in row] for row in values])
    short, _ = short_names(tested_names(records))
    rows = [short.get(r, r) for r in rows]
    columns = [" > ".join(short.get(part, part) for part in c.split(" > ")) for c in columns]
    long = max(len(part) for c in columns for part in c.split(" > ")) > 12

    def draw(axes: Axes) -> None:
        axes.grid(False)
        low = np.nanmin(grid)
        high = max(np.nanmax(grid), low + 1)  # all alike: the dark end, light figures
        axes.imshow(grid, cmap="YlGnBu_r", aspect="auto", vmin=low, vmax=high)
        middle = (low + high) / 2
        for y, x in np.ndindex(*grid.shape):
            if np.isfinite(grid[y, x]):
                ink = "#fff" if grid[y, x] < middle else "#1d2329"
                axes.text(x, y, f"{grid[y, x]:.1f}", ha="center", va="center", color=ink)
        aslant: Any = {"rotation": 30, "ha": "right", "rotation_mode": "anchor"} if long else {}
        axes.set_xticks(range(len(columns)), [c.replace(" > ", "\n> ") for c in columns], **aslant)
        axes.set_yticks(range(len(rows)), rows)
        axes.set_xlabel("trained on")
        axes.set_ylabel("tested on")

    wide = (2.4 if long else 1.8) + 0.72 * len(columns)
    return svg(draw, (wide, (2.4 if long else 1.4) + 0.4 * len(rows)))


def stills_curves(records: Records, metric: str, label: str, rate: str, name: str) -> str | None:
    """PSNR or SSIM of coded still images over "qp" or "kbps", one line a frame of the clip."""
    coded = [r for r in records if r["kind"] == "still" and rate in r and r.get(metric) is not None]
    if not coded:
        return None

    def draw(axes: Axes) -> None:
        for n, frame in enumerate(sorted({r["frame"] for r in coded})):
            mine = sorted((r[rate], r[metric]) for r in coded if r["frame"] == frame)
            axes.plot(
                [p[0] for p in mine],
                [p[1] for p in mine],
                marker=MARKS[n % len(MARKS)],
                ms=5,
                color=COLOURS[n % len(COLOURS)],
                label=f"frame {frame} ({'IBBPBBP'[frame]})",
            )
        axes.set_xlabel("kbit/s asked for" if rate == "kbps" else name)
        axes.set_ylabel(label)
        axes.legend()

    return svg(draw)


def coded_qps(records: Records) -> str | None:
    """Share of macroblocks with each QP, a row a variant of still images."""
    coded = [r for r in records if r["kind"] == "still" and r.get("qp_histogram")]
    if not coded:
        return None
    counts = np.array([r["qp_histogram"] for r in coded], np.float64)
    shares = 100 * counts / counts.sum(axis=1, keepdims=True)

    def draw(axes: Axes) -> None:
        axes.grid(False)
        image = axes.imshow(np.where(shares > 0, shares, np.nan), cmap="YlGnBu", aspect="auto",
                            vmin=0, vmax=100, interpolation="nearest")  # fmt: skip
        axes.figure.colorbar(image, label="% of macroblocks")
        axes.set_yticks(range(len(coded)), [r["variant"] for r in coded])
        axes.set_xlabel("QP")

    return svg(draw, (5.6, 1.2 + 0.19 * len(coded)))
