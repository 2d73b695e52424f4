"""The sections of a study's page, each as HTML; "" where the records have nothing for it."""

from __future__ import annotations

import html
from collections.abc import Sequence
from typing import Any

import numpy as np

from cvdecode.report import study_figures as figures
from cvdecode.study.grid import natural, short_names
from cvdecode.study.scores import most_and_least_lost

Records = list[dict[str, Any]]

COLUMNS = 7
"""A heat map with more gets the width of the page."""
WIDE = 640
"""Samples: a picture that is wider gets the width of the page."""


def _figure(
    title: str, picture: str | None, note: str = "", *, wide: bool = False, tall: bool = False
) -> str:
    if picture is None:
        return ""
    small = f"<small>{html.escape(note)}</small>" if note else ""
    across = ' class="wide"' if wide else ' class="tall"' if tall else ""
    return f"<figure{across}><figcaption>{html.escape(title)}{small}</figcaption>{picture}</figure>"


def _section(title: str, parts: Sequence[str]) -> str:
    shown = "".join(p for p in parts if p)
    return f'<h2>{html.escape(title)}</h2><div class="figures">{shown}</div>' if shown else ""


def curves(records: Records) -> str:
    """Accuracy, log loss, size, loading time and QP over the settings."""
    cells = figures.cells_of(records)
    originals = figures.originals_of(records)
    seconds = {
        (figures.model_of(r), r["setting"]): r["seconds_per_clip"]
        for r in records
        if r["kind"] == "loading"
    }

    def value(cell: dict[str, Any]) -> float:
        return float(cell["value"])

    def kbps(cell: dict[str, Any]) -> float | None:
        return cell.get("kbps") or None

    def top1(cell: dict[str, Any]) -> float:
        return 100 * float(cell["top1"])

    def loss(cell: dict[str, Any]) -> float:
        return float(cell["log_loss"])

    def loading(cell: dict[str, Any]) -> float | None:
        spent = seconds.get((figures.model_of(cell), cell["setting"]))
        return None if spent is None else 1e3 * spent

    top, nats, rate = "top-1, %", "log loss, nats", "kbit/s"
    by_rate: dict[str, Records] = {}
    for cell in cells:
        by_rate.setdefault(figures.RATE_NAMES.get(cell["rate"], cell["rate"]), []).append(cell)
    parts = [
        _figure(
            f"Accuracy against {name}",
            figures.curves(mine, value, top1, (name, top), originals=originals, bars=True),
            "upright: 95 % bootstrap intervals over clips",
        )
        for name, mine in by_rate.items()
    ]
    parts += [
        _figure(
            "Accuracy against bitrate",
            figures.curves(cells, kbps, top1, (rate, top), log_x=True, originals=originals),
            "coded pictures only, without the container",
        ),
        _figure(
            "Log loss against bitrate",
            figures.curves(cells, kbps, loss, (rate, nats), log_x=True, originals=originals),
        ),
    ]
    for name, mine in by_rate.items():
        # What is the same for every model, and the compressed clips' where they were enhanced.
        model = figures.model_of(mine[0])
        one = [c for c in mine if figures.model_of(c) == model and not c.get("enhanced")]
        parts += [
            _figure(
                f"Storage against {name}",
                figures.curves(
                    one, value, lambda c: c["bytes"] / 1e6, (name, "MB in all"), log_y=True
                ),
            ),
            _figure(
                f"Loading time against {name}",
                figures.curves(mine, value, loading, (name, "ms a clip")),
                "decoding and resizing, wall clock of this run",
            ),
            _figure(
                f"Coded QP against {name}",
                figures.curves(
                    one, value, lambda c: c.get("mean_qp"), (name, "mean QP of macroblocks")
                ),
                "as parsed from the streams, not as asked for",
            ),
        ]
    return _section("Accuracy and size", parts)


def measures(records: Records) -> str:
    """Accuracy over MAE, RMSE, PSNR and SSIM."""
    parts = []
    for measure, label, unit, per in (
        ("ssim", "SSIM", "points per 0.01 SSIM", 0.01),
        ("mae", "MAE, range [0, 1]", "points per 1/256 MAE", 1 / 256),
        ("rmse", "RMSE, range [0, 1]", "points per 1/256 RMSE", 1 / 256),
        ("psnr", "PSNR, dB", "points per dB", 1.0),
    ):
        found = figures.against_measure(records, measure, label)
        if found is not None:
            slopes = found[1]
            told = (f"{m if len(slopes) > 1 else ''} {r * per:+.2f}" for m, r in slopes.items())
            note = f"fitted slope: {', '.join(map(str.strip, told))} {unit}"
            parts.append(_figure(f"Accuracy against {label.split(',')[0]}", found[0], note))
    return _section("Accuracy against the damage to the pictures", parts)


def classes(records: Records) -> str:
    """Which classes lose, model by model."""
    originals = figures.originals_of(records)
    shown = []
    for model, original in originals.items():
        mine = [r for r in records if r["kind"] == "study" or figures.model_of(r) == model]
        cells = figures.cells_of(mine)
        if cells:
            title = f"Classes: {model}" if len(originals) > 1 else "Classes"
            shown.append(_section(title, _classes_of(mine, original, cells)))
    return "\n".join(shown)


def _classes_of(records: Records, original: dict[str, Any], cells: Records) -> list[str]:
    """What happens to the classes of one model."""
    names: list[str] = next(
        (r["classes"] for r in records if r["kind"] == "study" and r.get("classes")), []
    )
    worst = min(cells, key=lambda c: (c["top1"], c["setting"]))
    middle = sorted(cells, key=lambda c: (c["top1"], c["setting"]))[len(cells) // 2]
    shown = [worst] if worst is middle else [middle, worst]
    parts = [
        _figure(
            f"Class by class: {c['setting']}", figures.class_scatter(original, c), "a dot a class"
        )
        for c in shown
    ]

    relative = figures.class_relative(original, cells)
    if relative is not None:
        note = f"{relative[1]}; a circle a class, 100 on the originals"
        parts.append(_figure("Classes relative to the originals", relative[0], note))

    def name(number: Any) -> str:
        return str(names[int(number)]) if int(number) < len(names) else str(number)

    before = {int(k): v for k, v in original["class_top1"].items()}
    after = {int(k): v for k, v in worst["class_top1"].items() if int(k) in before}
    before = {k: before[k] for k in after}
    lost, kept = most_and_least_lost(after, before, min(15, max(1, len(after) // 2)))
    qps, bits = worst.get("class_mean_qp", {}), worst.get("class_bits_per_frame", {})
    for title, rows in (("lose most", lost), ("lose least", kept)):
        body = "".join(
            f"<tr><td>{html.escape(name(c))}</td><td>{100 * before[c]:.1f}</td>"
            f"<td>{100 * d:+.1f}</td><td>{_number(qps.get(str(c)), '.1f')}</td>"
            f"<td>{_number(bits.get(str(c)), ',.0f')}</td></tr>"
            for c, d in rows
        )
        head = (
            "<th>class</th><th>original, %</th><th>change</th><th>mean QP</th><th>bits a frame</th>"
        )
        table = f'<div class="scroll"><table><tr>{head}</tr>{body}</table></div>'
        parts.append(_figure(f"Classes that {title}: {worst['setting']}", table))
    return parts


def _number(value: Any, form: str) -> str:
    return "" if value is None else format(value, form)


def cross(records: Records) -> str:
    """Trained on one quality, tested on another."""
    crossed = [r for r in records if r["kind"] in ("cross", "fine_tuned")]
    models = figures.models_of(records, "cross", "fine_tuned")
    parts = []
    for model in models:
        mine = [r for r in crossed if figures.model_of(r) == model]
        _, of = short_names(figures.tested_names(mine))
        seeds = ", ".join(map(str, sorted({r["seed"] for r in mine})))
        note = f"{model}: " if model and len(models) > 1 else ""
        note += f"top-1, %, mean over seeds {seeds}{'; cells ' + of if of else ''}"
        note += _left_out([r for r in records if r["kind"] == "network"] + mine, model)
        parts += [
            _figure(
                "Trained on one, tested on another",
                figures.heat_map(mine),
                note,
                wide=len({r["trained_on"] for r in mine if r["kind"] == "cross"}) > COLUMNS,
                tall=len({r["tested_on"] for r in mine if r["kind"] == "cross"}) > COLUMNS,
            ),
            _figure(
                "Fine-tuned",
                figures.heat_map(mine, "fine_tuned"),
                f"{note}; a > b: first on a, then on b",
            ),
        ]
    return _section("Cross-evaluation", parts)


def _left_out(records: Records, model: str) -> str:
    """Clips that cells lack; the numbers of those are of the rest."""
    mine = [r for r in records if figures.model_of(r) == model]
    names = list(dict.fromkeys(name for r in mine for name in r.get("left_out", ())))
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return f"; in some cells clips are left out: {', '.join(names[:3])}{more}" if names else ""


def stills(records: Records) -> str:
    """What coding did to still images."""
    return _section(
        "Still images as clips",
        [
            *(
                _figure(
                    f"{metric.upper()} against {name}",
                    figures.stills_curves(records, metric, label, rate, name),
                )
                for rate, name in (("qp", "QP"), ("kbps", "bitrate"))
                for metric, label in (("psnr", "PSNR of luma, dB"), ("ssim", "SSIM of luma"))
            ),
            _figure(
                "Coded QP",
                figures.coded_qps(records),
                "as parsed from the streams, not as asked for; _f2: frame 2 of the clips",
            ),
        ],
    )


def pictures(records: Records) -> str:
    """Records of kind "picture"."""
    return _section(
        "Pictures",
        [
            _figure(
                r["title"],
                f'<img alt="{html.escape(r["title"], quote=True)}" '
                f'src="data:image/png;base64,{html.escape(r["png"], quote=True)}">',
                r.get("caption", ""),
                wide=r.get("width", 0) > WIDE,
            )
            for r in records
            if r["kind"] == "picture"
        ],
    )


def table(records: Records) -> str:
    """Every cell as a row."""
    cells = [r for r in records if r["kind"] == "cell"]
    if not cells:
        return ""
    head = ["setting", "clips", "top-1, %", "95 %", "top-5, %", "log loss", "MB", "kbit/s", "QP"]
    several = len(figures.models_of(cells, "cell")) > 1
    head = ["model", *head] if several else head
    rows = []
    for c in sorted(cells, key=lambda c: (figures.model_of(c), natural(c["setting"]))):
        done = "top1" in c
        low, high = c["top1_interval"] if done else (0, 0)
        cols = [
            *([html.escape(figures.model_of(c))] if several else []),
            html.escape(c["setting"]),
            f"{c['clips']}" + (f" (+{c['failed']} failed)" if c["failed"] else ""),
            *(
                [f"{100 * c['top1']:.2f}", f"{100 * low:.1f} to {100 * high:.1f}"]
                if done
                else ["", ""]
            ),
            _number(100 * c["top5"] if done else None, ".2f"),
            _number(c.get("log_loss"), ".4f"),
            _number(c["bytes"] / 1e6 if done else None, ".3f"),
            _number(c.get("kbps"), ",.1f"),
            _number(c.get("mean_qp"), ".2f"),
        ]
        rows.append("<tr>" + "".join(f"<td>{col}</td>" for col in cols) + "</tr>")
    return _wide_table("Every cell", head, rows, texts=2 if several else 1)


def damage(records: Records) -> str:
    """The measures of every cell as a row."""
    cells: dict[str, Records] = {}
    for r in records:
        if r["kind"] == "measures":
            cells.setdefault(r["setting"], []).append(r)
    columns = [c for c in MEASURED if any(c[0] in r for those in cells.values() for r in those)]
    rows = []
    for setting in sorted(cells, key=natural):
        cols = [html.escape(setting), str(len(cells[setting]))]
        for name, _, form in columns:
            values = [r[name] for r in cells[setting] if r.get(name) is not None]
            equal = not values and any(name in r for r in cells[setting])
            cols.append(format(float(np.mean(values)), form) if values else "equal" * equal)
        rows.append("<tr>" + "".join(f"<td>{col}</td>" for col in cols) + "</tr>")
    flows = dict.fromkeys(str(r["flow"]) for r in records if r["kind"] == "study" and r.get("flow"))
    told = {"tc_flow": f"TC by {html.escape(', '.join(flows) or 'a flow')}, dB"}
    head = ["setting", "clips", *(told.get(name, label) for name, label, _ in columns)]
    return _wide_table("Damage to the pictures, means over clips", head, rows) if rows else ""


MEASURED = (
    ("mae", "MAE", ".4f"),
    ("rmse", "RMSE", ".4f"),
    ("psnr", "PSNR, dB", ".2f"),
    ("ssim", "SSIM", ".4f"),
    ("psnr_y", "PSNR of luma, dB", ".2f"),
    ("tc", "TC by the stream's vectors, dB", ".2f"),
    ("tc_known", "of samples", ".0%"),
    ("tc_flow", "", ".2f"),  # the records say which flow
    ("lpips", "LPIPS", ".4f"),
)
"""Measures: their column and how they are written. TC: temporal consistency."""


def _wide_table(title: str, head: Sequence[str], rows: Sequence[str], texts: int = 1) -> str:
    """`texts`: columns that hold text, at the left."""
    top = "".join(f"<th>{h}</th>" for h in head)
    kind = ' class="texts"' if texts == 2 else ""
    body = f"<table{kind}><tr>{top}</tr>{''.join(rows)}</table>"
    return f'<h2>{title}</h2><div class="scroll">{body}</div>'
