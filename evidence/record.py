"""Results as JSON lines: what was run, with what, and what came out."""

from __future__ import annotations

import functools
import json
import os
import platform
import shlex
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import tomllib

from cvdecode.recipes import statistics

HERE = Path(__file__).resolve().parent
EXPECTED = HERE / "expected.toml"
DOCS = HERE.parent / "docs" / "evidence"


@functools.cache
def versions() -> dict[str, str]:
    import torch

    import cvdecode

    ffmpeg = subprocess.run(["ffmpeg", "-version"], capture_output=True, text=True, check=True)
    return {
        "cvdecode": cvdecode.__version__,
        "plane_version": str(cvdecode.PLANE_VERSION),
        "python": platform.python_version(),
        "numpy": np.__version__,
        "torch": torch.__version__,
        "ffmpeg": ffmpeg.stdout.split()[2],
        "machine": platform.machine(),
    }


def command() -> str:
    """What was typed, for the records beside the rows."""
    return shlex.join(["python", "-m", "evidence", *sys.argv[1:]])


def cache() -> Path:
    """Where clips that were read are kept between runs; CVDECODE_EVIDENCE_CACHE names another."""
    default = Path(tempfile.gettempdir()) / "cvdecode-evidence"
    return Path(os.environ.get("CVDECODE_EVIDENCE_CACHE", default))


class Book:
    """A JSON-lines file of rows {experiment, row, seed, scores...}, appended to as runs end.

    Running again skips what is there, so that an interrupted run goes on.
    """

    def __init__(self, path: Path, experiment: str, settings: dict[str, Any]) -> None:
        self.path = path
        self.experiment = experiment
        self.settings = {k: v for k, v in settings.items() if k != "seeds"}
        self.rows: list[dict[str, Any]] = []
        if path.exists():
            for line in path.read_text().splitlines():
                row = json.loads(line)
                if row["experiment"] == experiment and row["settings"] == self.settings:
                    row["scores"] = [float(s) for s in row["scores"]]
                    self.rows.append(row)

    def has(self, row: str, seed: int) -> bool:
        return any(r["row"] == row and r["seed"] == seed for r in self.rows)

    def add(self, row: str, seed: int, scores: Any, **more: Any) -> None:
        entry = {
            "experiment": self.experiment,
            "row": row,
            "seed": seed,
            "accuracy": round(float(np.mean(scores)), 5),
            "scores": [round(float(s), 4) for s in np.asarray(scores)],
            **more,
            "settings": self.settings,
            "versions": versions(),
            "command": command(),
        }
        self.rows.append(entry)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        # A digit a clip where each was right or wrong: one string of 0 and 1.
        if set(entry["scores"]) <= {0, 1}:
            entry = {**entry, "scores": "".join(str(int(s)) for s in entry["scores"])}
        with self.path.open("a") as file:
            file.write(json.dumps(entry) + "\n")

    @property
    def seeds(self) -> list[int]:
        return sorted({r["seed"] for r in self.rows})

    def scores(self) -> dict[str, np.ndarray[Any, Any]]:
        """Row -> (seeds, clips), for rows that have every seed that any row has."""
        names = list(dict.fromkeys(r["row"] for r in self.rows))
        seeds = self.seeds
        found = {(r["row"], r["seed"]): r["scores"] for r in self.rows}
        return {
            name: np.array([found[name, s] for s in seeds])
            for name in names
            if all((name, s) in found for s in seeds)
        }


def part(book: Book, prefix: str) -> Book:
    """The rows whose names start with ``prefix``, without it."""
    mine = Book(book.path, book.experiment, book.settings)
    mine.rows = [
        {**row, "row": row["row"].removeprefix(prefix)}
        for row in book.rows
        if row["row"].startswith(prefix)
    ]
    return mine


def judge(section: dict[str, Any], scores: dict[str, Any]) -> list[dict[str, Any]]:
    """Every declared order and equivalence, judged; those with a row that was not run too."""
    lines: list[dict[str, Any]] = []
    for better, worse, why in section.get("orders", []):
        line: dict[str, Any] = {"order": f"{better} > {worse}", "why": why, "verdict": "not run"}
        if better in scores and worse in scores:
            line["comparison"] = statistics.compare(scores[better], scores[worse])
        lines.append(line)
    ran = [line for line in lines if "comparison" in line]
    adjusted = statistics.holm([line["comparison"].p for line in ran])
    for line, p in zip(ran, adjusted, strict=True):
        line["adjusted_p"] = p
        line["verdict"] = statistics.verdict(line["comparison"], p)
    for one, other, margin, why in section.get("equivalent", []):
        line = {"order": f"{one} = {other} within {100 * margin:g}", "why": why}
        line["verdict"] = "not run"
        if one in scores and other in scores:
            same, found = statistics.equivalent(scores[one], scores[other], margin)
            line["comparison"] = found
            line["verdict"] = "reproduces" if same else "not resolved"
        lines.append(line)
    return lines


def expected(*keys: str) -> dict[str, Any]:
    section: dict[str, Any] = tomllib.loads(EXPECTED.read_text())
    for key in keys:
        section = section[key]
    return section


def table(book: Book, order: list[str] | None = None, scale: float = 100) -> str:
    """Markdown: mean score (accuracy in %) of each row, with its 95 % interval."""
    scores = book.scores()
    lines = [
        f"| row | {'accuracy' if scale == 100 else 'score'} | 95 % interval | by seed |",
        "|---|---|---|---|",
    ]
    for name in order or scores:
        if name not in scores:
            had = [scale * r["accuracy"] for r in book.rows if r["row"] == name]
            some = f"{len(had)} of {len(book.seeds)} seeds, not judged" if had else "not run"
            lines.append(f"| {name} | {some} | | {', '.join(f'{x:.1f}' for x in had)} |")
            continue
        low, high = statistics.interval(scores[name])
        digits = 1 if scale == 100 else 3
        mean, low, high, *each = (
            f"{scale * x:.{digits}f}"
            for x in (scores[name].mean(), low, high, *scores[name].mean(1))
        )
        lines.append(f"| {name} | {mean} | {low} to {high} | {', '.join(each)} |")
    return "\n".join(lines)


def verdicts(
    section: dict[str, Any], scores: dict[str, Any], scale: float = 100, seeds: int | None = None
) -> str:
    """Markdown: what was expected, and what came."""
    lines = [
        "| expected before the run | difference, points (95 %) | adjusted p | verdict | why |",
        "|---|---|---|---|---|",
    ]
    digits, unit = (1, "points ") if scale == 100 else (3, "")
    lines[0] = lines[0].replace("points ", unit)
    for line in judge(section, scores):
        found = line.get("comparison")
        apart = (
            f"{scale * found.difference:+.{digits}f} "
            f"({scale * found.low:+.{digits}f} to {scale * found.high:+.{digits}f})"
            if found
            else ""
        )
        # One or two seeds tell of their clips, not of other trainings; the rule asks for three.
        ran = (seeds or found.seeds) if found else 3
        few = f" ({ran} of 3 seeds)" if ran < 3 else ""
        p = f"{line['adjusted_p']:.4f}" if "adjusted_p" in line else ""
        lines.append(
            f"| {line['order']} | {apart} | {p} | **{line['verdict']}**{few} | {line['why']} |"
        )
    return "\n".join(lines)
