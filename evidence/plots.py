"""One figure an experiment: rows as bars with their 95 % interval."""

from __future__ import annotations

from pathlib import Path

from cvdecode.recipes import statistics
from evidence import record


def bars(parts: dict[str, record.Book], chance: dict[str, float], path: Path, *, unit: str) -> None:
    """A panel for each part.

    Args:
        parts: title -> rows, drawn in their order.
        chance: title -> a dashed line, in the unit; none where absent.
        path: PNG to write.
        unit: of the axis; "%" multiplies scores by 100.
    """
    import matplotlib

    matplotlib.use("agg")
    from matplotlib import pyplot

    scale = 100 if unit.startswith("%") else 1
    shown = {title: book.scores() for title, book in parts.items()}
    tallest = max(len(scores) for scores in shown.values())
    figure, axes = pyplot.subplots(
        1, len(parts), figsize=(5.2 * len(parts), 0.8 + 0.36 * tallest), squeeze=False
    )
    for axis, (title, scores) in zip(axes[0], shown.items(), strict=True):
        names = list(scores)
        means = [scale * scores[name].mean() for name in names]
        ends = [statistics.interval(scores[name]) for name in names]
        low = [max(m - scale * e[0], 0) for m, e in zip(means, ends, strict=True)]
        high = [max(scale * e[1] - m, 0) for m, e in zip(means, ends, strict=True)]
        axis.barh(names, means, xerr=[low, high], color="#4878a8", ecolor="#333", capsize=3)
        axis.invert_yaxis()
        axis.set_xlabel(unit)
        axis.set_title(title, fontsize=10)
        axis.grid(axis="x", alpha=0.3)
        axis.set_axisbelow(True)
        if title in chance:
            axis.axvline(chance[title], color="#b04030", linestyle="--", linewidth=1)
        for side in ("top", "right"):
            axis.spines[side].set_visible(False)
    figure.tight_layout()
    figure.savefig(path, dpi=100)
    pyplot.close(figure)
