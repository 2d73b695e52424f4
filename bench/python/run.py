"""Speed against the peers: ratios side by side in one run, CPU time of one thread, medians.

python bench/python/run.py [--quick] [--runs N]     -> bench/results/speed.json and a table

Candidates run in processes of their own, in turn, round after round, so that a slow minute of the
machine hits all of them alike. A peer that is not installed is named as not measured.
"""

from __future__ import annotations

import argparse
import json
import math
import platform
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))
from sources import ROOT, Source, gop_source, h264_sources

HERE = Path(__file__).parent
RESULTS = ROOT / "bench" / "results"
BASELINE = ROOT / "build" / "bench" / "bench" / "cpp" / "decode_baseline"

DECODE = "plain C decode"
STREAMING = (
    "cvdecode libav mv+qp",
    "cvdecode native mv+ref+qp+mb_type",
    "cvdecode native whole clip",
    "cvdecode native with residual",
    "cvdecode rgb",
    "PyAV vectors",
    "mv-extractor",
    "torchcodec rgb",
    "decord rgb",
)


class Candidate:
    """A worker process; `run` gives (CPU seconds, frames)."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.error = ""
        self.process = subprocess.Popen(
            [sys.executable, str(HERE / "worker.py"), name],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip

    def run(self, path: Path) -> tuple[float, int] | None:
        if self.error:
            return None
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        assert self.process.stderr is not None
        try:
            self.process.stdin.write(f"{path}\n")
            self.process.stdin.flush()
            answer = json.loads(self.process.stdout.readline())
        except (BrokenPipeError, json.JSONDecodeError):
            self.error = (self.process.stderr.read().strip().splitlines() or ["died"])[-1]
            return None
        return answer["seconds"], answer["frames"]

    def close(self) -> None:
        self.process.kill()
        self.process.wait()


class Baseline(Candidate):
    def __init__(self) -> None:
        self.name = DECODE
        self.error = "" if BASELINE.exists() else f"{BASELINE} is not built"

    def run(self, path: Path) -> tuple[float, int] | None:
        if self.error:
            return None
        out = subprocess.run([str(BASELINE), str(path), "1"], capture_output=True, text=True)
        answer = json.loads(out.stdout)
        return answer["seconds"], answer["frames"]

    def close(self) -> None:
        pass


def measure(candidates: list[Candidate], path: Path, runs: int) -> dict[str, dict[str, Any]]:
    times: dict[str, list[float]] = {c.name: [] for c in candidates}
    frames: dict[str, int] = {}
    for turn in range(runs + 1):  # the first round warms caches and is not counted
        for candidate in candidates:
            answer = candidate.run(path)
            if answer is not None and turn > 0:
                times[candidate.name].append(answer[0])
                frames[candidate.name] = answer[1]
    return {
        name: {"seconds": statistics.median(t), "frames": frames[name], "runs": t}
        for name, t in times.items()
        if t
    }


def geometric_mean(values: list[float]) -> float:
    return math.exp(sum(math.log(v) for v in values) / len(values))


def streaming(sources: list[Source], runs: int) -> dict[str, Any]:
    candidates: list[Candidate] = [Baseline(), *(Candidate(n) for n in STREAMING)]
    rows = []
    for source in sources:
        figures = measure(candidates, source.path, runs)
        base = figures.get(DECODE, {}).get("seconds")
        for figure in figures.values():
            figure["of_decode"] = figure["seconds"] / base if base else None
        bits = source.path.stat().st_size * 8
        rows.append({"source": source.name, "kind": source.kind, "size": source.size,
                     "crf": source.crf, "bits": bits, "figures": figures})  # fmt: skip
        print(f"  {source.name}", file=sys.stderr)
    missing = {c.name: c.error for c in candidates if c.error}
    for candidate in candidates:
        candidate.close()
    return {"rows": rows, "not_measured": missing}


def random_access(runs: int) -> dict[str, Any]:
    candidates = [Candidate("cvdecode three random frames"), Candidate("PyAV three random frames")]
    rows = {}
    for label, gop, bframes in (("GOP 250", 250, 3), ("GOP 12, B", 12, 2), ("GOP 12, P", 12, 0)):
        rows[label] = measure(candidates, gop_source(gop, bframes), runs)
    missing = {c.name: c.error for c in candidates if c.error}
    for candidate in candidates:
        candidate.close()
    return {"rows": rows, "not_measured": missing}


def table(result: dict[str, Any]) -> str:
    lines = ["| CPU time over a plain C decode (1.00) | " + " | ".join(
        ("340x256 CRF 23", "340x256 CRF 35", "native CRF 23", "native CRF 35", "geometric mean",
         "worst")) + " |", "|---|" + "---|" * 6]  # fmt: skip
    rows = result["streaming"]["rows"]
    for name in (DECODE, *STREAMING):
        cells = []
        every = []
        for size in ("340x256", "native"):
            for crf in (23, 35):
                ratios = [
                    r["figures"][name]["of_decode"]
                    for r in rows
                    if r["size"] == size and r["crf"] == crf and name in r["figures"]
                    and r["figures"][name]["of_decode"]
                ]  # fmt: skip
                every += ratios
                cells.append(f"{geometric_mean(ratios):.2f}" if ratios else "not measured")
        if every:
            cells += [f"{geometric_mean(every):.2f}", f"{max(every):.2f}"]
        else:
            cells += ["not measured"] * 2
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    lines += ["", "| three random frames, reader open | cvdecode ms | PyAV ms | ratio |",
              "|---|---|---|---|"]  # fmt: skip
    for label, figures in result["random_access"]["rows"].items():
        ours = figures.get("cvdecode three random frames", {}).get("seconds")
        theirs = figures.get("PyAV three random frames", {}).get("seconds")
        if ours and theirs:
            lines.append(
                f"| {label} | {ours * 1000:.2f} | {theirs * 1000:.2f} | {theirs / ours:.1f}x |"
            )
    for part in ("streaming", "random_access"):
        lines += [f"\nnot measured: {n}: {e}" for n, e in result[part]["not_measured"].items()]
    return "\n".join(lines)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--quick", action="store_true", help="one kind of footage, two runs")
    arguments = parser.parse_args()
    sources = h264_sources()
    if arguments.quick:
        sources, arguments.runs = sources[:2], 2
    if not sources:
        print("no clips: set CVDECODE_TEST_DATA to a folder of real videos", file=sys.stderr)
        return 1
    result = {
        "machine": platform.processor() or platform.machine(),
        "command": " ".join(["python", "bench/python/run.py", *sys.argv[1:]]),
        "runs": arguments.runs,
        "streaming": streaming(sources, arguments.runs),
        "random_access": random_access(3 * arguments.runs),
    }
    RESULTS.mkdir(parents=True, exist_ok=True)
    (RESULTS / "speed.json").write_text(json.dumps(result, indent=1) + "\n")
    text = table(result)
    (RESULTS / "speed.md").write_text(text + "\n")
    print(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
