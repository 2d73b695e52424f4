"""One self-contained HTML page of a study, from its JSON lines."""

from __future__ import annotations

import html
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from cvdecode.report import study_figures as figures
from cvdecode.study.errors import StudyError
from cvdecode.study.grid import short_names
from cvdecode.study.records import dump, read_lines, write_atomic
from cvdecode.study.scores import most_and_least_lost

HERE = Path(__file__).parent
Records = list[dict[str, Any]]
KINDS = ("study", "cell", "measures", "cross", "fine_tuned", "still", "picture", "loading", "note")
"""Kinds of records that a page shows; the lines of single clips are read for nothing but counts."""


COLUMNS = 7
"""A heat map with more gets the width of the page."""
WIDE = 640
"""Samples: a picture that is wider gets the width of the page."""


def write_study_page(
    inputs: Sequence[str | os.PathLike[str]], out: str | os.PathLike[str], *, title: str = ""
) -> Path:
    """Writes the page of a study.

    Args:
        inputs: files of JSON lines: evaluations, measures, stills, cross matrices, pictures. A
            file ``x.timing.jsonl`` beside ``x.jsonl`` is found by itself.

    Raises:
        StudyError: the files hold nothing that a page could show.
    """
    records: Records = []
    clips = 0
    for path in map(Path, inputs):
        lines = read_lines(path)
        clips += sum(r.get("kind") == "clip" for r in lines)
        records += [r for r in lines if r.get("kind") in KINDS]
        timing = path.with_suffix(".timing.jsonl")
        if timing.exists():
            records += _loading(read_lines(timing))
    if not any(r["kind"] not in ("study", "loading") for r in records):
        raise StudyError(f"{', '.join(map(str, inputs))}: no results of a study in there")
    return write_page(records, out, title=title or _title(records), clips=clips)


def write_page(
    records: Records, out: str | os.PathLike[str], *, title: str, clips: int = 0
) -> Path:
    """Writes the page of these records; `clips` scored ones were left out of them."""
    body = "\n".join(
        part
        for part in (
            _head(records, clips),
            _curves(records),
            _measures(records),
            _classes(records),
            _cross(records),
            _stills(records),
            _pictures(records),
            _table(records),
        )
        if part
    )
    page = (HERE / "study.html").read_text(encoding="utf-8")
    kept = "".join(dump(r) + "\n" for r in records if r["kind"] != "picture")
    page = page.replace("__TITLE__", html.escape(title)).replace("__BODY__", body)
    page = page.replace("__RECORDS__", kept.replace("</", "<\\/"))
    write_atomic(out, page)
    return Path(out)


def _title(records: Records) -> str:
    models = [str(r["model"]) for r in records if r["kind"] == "study" and r.get("model")]
    return f"Compression and recognition: {', '.join(models)}" if models else "A compression study"


def _loading(lines: Records) -> Records:
    """Mean seconds a clip of each cell; a batch is shared out evenly."""
    spent: dict[str, list[float]] = {}
    for line in lines:
        for setting, _ in line["clips"]:
            spent.setdefault(setting, []).append(line["seconds"] / len(line["clips"]))
    return [
        {"kind": "loading", "setting": s, "seconds_per_clip": float(np.mean(v))}
        for s, v in sorted(spent.items())
    ]


def _figure(title: str, picture: str | None, note: str = "", *, wide: bool = False) -> str:
    if picture is None:
        return ""
    small = f"<small>{html.escape(note)}</small>" if note else ""
    across = ' class="wide"' if wide else ""
    return f"<figure{across}><figcaption>{html.escape(title)}{small}</figcaption>{picture}</figure>"


def _section(title: str, parts: Sequence[str]) -> str:
    shown = "".join(p for p in parts if p)
    return f'<h2>{html.escape(title)}</h2><div class="figures">{shown}</div>' if shown else ""


def _head(records: Records, clips: int) -> str:
    lines = []
    for r in (r for r in records if r["kind"] == "study"):
        versions = ", ".join(f"{k} {v}" for k, v in sorted(r.get("versions", {}).items()))
        seed = "" if r.get("seed") is None else f"; seed {r['seed']}"
        plan = r.get("plan", r)
        if "schedule" in plan:
            how = ", ".join(f"{k} {v}" for k, v in plan["schedule"].items())
            seed += f"; {plan['train']} to learn from, {plan['test']} to test on; {how}"
        lines.append(
            f'<p class="soft"><code>{html.escape(str(r.get("command") or "no command noted"))}'
            f"</code><br>{html.escape((versions + seed).removeprefix('; '))}</p>"
        )
    cells = [r for r in records if r["kind"] == "cell"]
    counts = []
    if cells:
        most = max(int(c["clips"]) for c in cells)
        failed = sum(int(c["failed"]) for c in cells)
        counts.append(f"{len(cells)} cells, {most} clips each")
        if clips:
            counts.append(f"{clips} scored clips")
        counts.append(f"{failed} could not be loaded" if failed else "none failed")
    notes = [str(r["text"]) for r in records if r["kind"] == "note"]
    warnings = "".join(f'<p class="warn">{html.escape(n)}</p>' for n in notes)
    text = f"<p>{html.escape('; '.join(counts))}.</p>" if counts else ""
    return (
        text
        + "".join(dict.fromkeys(lines))
        + warnings
        + ('<p><a id="save" href="#" download="study.jsonl">All numbers as JSON lines</a></p>')
    )


def _curves(records: Records) -> str:
    original = figures.original_of(records)
    level = None if original is None else 100 * original["top1"]
    loss = None if original is None else original["log_loss"]
    rate = figures.rate_name(records)
    seconds = {r["setting"]: r["seconds_per_clip"] for r in records if r["kind"] == "loading"}

    def value(cell: dict[str, Any]) -> float:
        return float(cell["value"])

    def kbps(cell: dict[str, Any]) -> float | None:
        return cell.get("kbps") or None

    def top1(cell: dict[str, Any]) -> float:
        return 100 * float(cell["top1"])

    accuracy = "top-1, %"
    bands = "shaded: 95 % bootstrap intervals over clips"
    return _section(
        "Accuracy and size",
        [
            _figure(
                f"Accuracy against {rate}",
                figures.curves(records, value, top1, (rate, accuracy), reference=level, bars=True),
                bands,
            ),
            _figure(
                "Accuracy against bitrate",
                figures.curves(
                    records, kbps, top1, ("kbit/s", accuracy), log_x=True, reference=level
                ),
                "coded pictures only, without the container",
            ),
            _figure(
                "Log loss against bitrate",
                figures.curves(
                    records,
                    kbps,
                    lambda c: c["log_loss"],
                    ("kbit/s", "log loss, nats"),
                    log_x=True,
                    reference=loss,
                ),
            ),
            _figure(
                f"Storage against {rate}",
                figures.curves(
                    records, value, lambda c: c["bytes"] / 1e6, (rate, "MB in all"), log_y=True
                ),
            ),
            _figure(
                f"Loading time against {rate}",
                figures.curves(
                    records,
                    value,
                    lambda c: 1e3 * seconds[c["setting"]] if c["setting"] in seconds else None,
                    (rate, "ms a clip"),
                ),
                "decoding and resizing, wall clock of this run",
            ),
            _figure(
                f"Coded QP against {rate}",
                figures.curves(
                    records, value, lambda c: c.get("mean_qp"), (rate, "mean QP of macroblocks")
                ),
                "as parsed from the streams, not as asked for",
            ),
        ],
    )


def _measures(records: Records) -> str:
    parts = []
    for measure, label, unit, per in (
        ("ssim", "SSIM", "points per 0.01 SSIM", 0.01),
        ("mae", "MAE, range [0, 1]", "points per 1/256 MAE", 1 / 256),
        ("rmse", "RMSE, range [0, 1]", "points per 1/256 RMSE", 1 / 256),
        ("psnr", "PSNR, dB", "points per dB", 1.0),
    ):
        found = figures.against_measure(records, measure, label)
        if found is not None:
            note = f"fitted slope: {found[1] * per:+.2f} {unit}"
            parts.append(_figure(f"Accuracy against {label.split(',')[0]}", found[0], note))
    return _section("Accuracy against the damage to the pictures", parts)


def _classes(records: Records) -> str:
    original = figures.original_of(records)
    cells = figures.cells_of(records)
    if original is None or not cells:
        return ""
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

    relative = figures.class_relative(records)
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
    return _section("Classes", parts)


def _number(value: Any, form: str) -> str:
    return "" if value is None else format(value, form)


def _cross(records: Records) -> str:
    _, of = short_names(figures.tested_names(records))
    crossed = [r for r in records if r["kind"] in ("cross", "fine_tuned")]
    seeds = ", ".join(map(str, sorted({r["seed"] for r in crossed})))
    note = f"top-1, %, mean over seeds {seeds}{'; cells ' + of if of else ''}"
    then = f"{note}; a > b: first on a, then on b"
    parts = [
        _figure(
            "Trained on one, tested on another",
            figures.heat_map(records),
            note,
            wide=len({r["trained_on"] for r in crossed if r["kind"] == "cross"}) > COLUMNS,
        ),
        _figure("Fine-tuned", figures.heat_map(records, "fine_tuned"), then),
    ]
    return _section("Cross-evaluation", parts)


def _stills(records: Records) -> str:
    return _section(
        "Still images as clips",
        [
            _figure("PSNR", figures.stills_curves(records, "psnr", "PSNR of luma, dB")),
            _figure("SSIM", figures.stills_curves(records, "ssim", "SSIM of luma")),
            _figure(
                "Coded QP",
                figures.coded_qps(records),
                "as parsed from the streams, not as asked for; _f2: frame 2 of the clips",
            ),
        ],
    )


def _pictures(records: Records) -> str:
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


def _table(records: Records) -> str:
    cells = [r for r in records if r["kind"] == "cell"]
    if not cells:
        return ""
    head = ("setting", "clips", "top-1, %", "95 %", "top-5, %", "log loss", "MB", "kbit/s", "QP")
    rows = []
    for c in cells:
        done = "top1" in c
        low, high = c["top1_interval"] if done else (0, 0)
        cols = [
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
    top = "".join(f"<th>{h}</th>" for h in head)
    return (
        f'<h2>Every cell</h2><div class="scroll"><table><tr>{top}</tr>{"".join(rows)}</table></div>'
    )
