"""Candidates: each a process of its own that is given a file and says its CPU time."""

from __future__ import annotations

import json
import math
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Any

from sources import ROOT

HERE = Path(__file__).parent
PROGRAMS = ROOT / "build" / "bench" / "bench" / "cpp"
CVP_PYTHON = ROOT / "build" / "venv-cvp" / "bin" / "python"

DECODE = "plain C decode"
CVP = "codec-video-prep"
COVIAR_STANDIN = "pytorch-coviar stand-in"


class Candidate:
    """A worker process; `run` gives its answer: CPU seconds, wall seconds, frames, peak memory."""

    def __init__(self, name: str, python: str = sys.executable) -> None:
        self.name = name
        self.error = ""
        self.process: subprocess.Popen[str] | None = None
        if not Path(python).exists():
            self.error = f"{python} is not there: make bench installs it"
            return
        self.process = subprocess.Popen(
            [python, str(HERE / "worker.py"), name],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip

    def run(self, path: Path) -> dict[str, Any] | None:
        process = self.process
        if self.error or process is None:
            return None
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stderr is not None
        try:
            process.stdin.write(f"{path}\n")
            process.stdin.flush()
            answer: dict[str, Any] = json.loads(process.stdout.readline())
        except (BrokenPipeError, json.JSONDecodeError):
            lines = process.stderr.read().strip().splitlines()
            self.error = (lines or ["died without a word"])[-1]
            return None
        return answer

    def close(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.communicate()


class Program(Candidate):
    """A C program of bench/cpp, started anew for each run; it times itself."""

    def __init__(self, name: str, program: str, *options: str) -> None:
        self.name = name
        self.process = None
        self.program = PROGRAMS / program
        self.options = options
        self.error = "" if self.program.exists() else f"{program} is not built: make bench does it"

    def run(self, path: Path) -> dict[str, Any] | None:
        if self.error:
            return None
        out = subprocess.run(
            [str(self.program), str(path), *self.options], capture_output=True, text=True
        )
        try:
            answer: dict[str, Any] = json.loads(out.stdout)
        except json.JSONDecodeError:
            self.error = (out.stderr.strip().splitlines() or [f"exit code {out.returncode}"])[-1]
            return None
        return answer


def make(name: str) -> Candidate:
    if name == DECODE:
        return Program(name, "decode_baseline", "1")
    if name == CVP:
        return Candidate(name, str(CVP_PYTHON))
    return Candidate(name)


def measure(candidates: list[Candidate], path: Path, runs: int) -> dict[str, dict[str, Any]]:
    """Rounds of all candidates in turn, so that a slow minute of the machine hits all alike. The
    first round warms caches and is not counted; runs = 0 counts it and stops there."""
    answers: dict[str, list[dict[str, Any]]] = {c.name: [] for c in candidates}
    for turn in range(runs + 1):
        for candidate in candidates:
            answer = candidate.run(path)
            if answer is not None and (turn > 0 or runs == 0):
                answers[candidate.name].append(answer)
    return {
        name: {
            "seconds": statistics.median(a["seconds"] for a in all_of_it),
            "wall_seconds": min(a.get("wall_seconds", 0.0) for a in all_of_it),
            "frames": all_of_it[-1]["frames"],
            "runs": [a["seconds"] for a in all_of_it],
        }
        for name, all_of_it in answers.items()
        if all_of_it
    }


def finish(candidates: list[Candidate]) -> dict[str, str]:
    """Closes them; the reason of each that could not be measured."""
    for candidate in candidates:
        candidate.close()
    return {c.name: c.error for c in candidates if c.error}


def geometric_mean(values: list[float]) -> float:
    return math.exp(sum(math.log(v) for v in values) / len(values))
