"""One self-contained HTML page of a study, from its JSON lines."""

from __future__ import annotations

import html
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from cvdecode.report import study_sections as sections
from cvdecode.study.errors import StudyError
from cvdecode.study.records import dump, read_lines, write_atomic

HERE = Path(__file__).parent
Records = list[dict[str, Any]]
KINDS = (
    *("study", "cell", "measures", "network", "cross", "fine_tuned"),
    *("still", "picture", "loading", "note"),
)
"""Kinds of records that a page shows; the lines of single clips are read for nothing but counts."""
OF_A_MODEL = ("cell", "loading", "network", "cross", "fine_tuned")


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
    named: set[tuple[str, str]] = set()
    for path in map(Path, inputs):
        lines = read_lines(path)
        clips += sum(r.get("kind") == "clip" for r in lines)
        timing = path.with_suffix(".timing.jsonl")
        mine = [r for r in lines if r.get("kind") in KINDS]
        mine += _loading(read_lines(timing)) if timing.exists() else []
        model = _model(mine, path, named)
        records += [r | {"model": model} if model and r["kind"] in OF_A_MODEL else r for r in mine]
    if not any(r["kind"] not in ("study", "loading", "network") for r in records):
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
            sections.curves(records),
            sections.measures(records),
            sections.classes(records),
            sections.cross(records),
            sections.stills(records),
            sections.pictures(records),
            sections.table(records),
            sections.damage(records),
        )
        if part
    )
    page = (HERE / "study.html").read_text(encoding="utf-8")
    kept = "".join(dump(r) + "\n" for r in records if r["kind"] != "picture")
    page = page.replace("__TITLE__", html.escape(title)).replace("__BODY__", body)
    page = page.replace("__RECORDS__", kept.replace("</", "<\\/"))
    write_atomic(out, page)
    return Path(out)


def _model(records: Records, path: Path, named: set[tuple[str, str]]) -> str:
    """What the model of a file is called: its name, and the file's where two files have the same.

    `named`: what other files' cells and matrices are called; filled.
    """
    model = next((str(r["model"]) for r in records if r["kind"] == "study" and r.get("model")), "")
    kinds = {r["kind"] for r in records} & {"cell", "cross", "fine_tuned"}
    if any((kind, model) in named for kind in kinds):
        model = f"{model} ({path.parent.name}/{path.stem})".replace("(/", "(")
    named.update((kind, model) for kind in kinds)
    return model


def _title(records: Records) -> str:
    models = dict.fromkeys(str(r["model"]) for r in records if r.get("model"))
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
