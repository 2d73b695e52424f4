"""Speed against the peers: ratios side by side in one run, CPU time of one thread, medians.

python bench/python/run.py [--quick] [--runs N]     -> bench/results/speed.json and a table

Candidates run in processes of their own, in turn, round after round, so that a slow minute of the
machine hits all of them alike. A peer that is not installed is named as not measured.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))
import data_candidates
import sources
import tables
from candidates import COVIAR_STANDIN, CVP, DECODE, PROGRAMS, Program, finish, make, measure
from sources import ROOT, Source

RESULTS = ROOT / "bench" / "results"
NATIVE = "cvdecode native mv+ref+qp+mb_type"
STREAMING = (
    DECODE,
    "cvdecode libav mv+qp",
    NATIVE,
    "cvdecode native whole clip",
    "cvdecode native with residual",
    "PyAV vectors",
    "mv-extractor",
    CVP,
)
PIXELS = (DECODE, "cvdecode rgb", "torchcodec rgb", "decord rgb")
WARM = ("cvdecode three random frames", "PyAV three random frames")
COLD = tuple(f"{name}, opening included" for name in WARM)

Save = Callable[[dict[str, Any]], None]


def streaming(names: Sequence[str], clips: list[Source], runs: int, save: Save) -> None:
    """Whole clips, front to back, each part beside a plain decode of its own."""
    candidates = [make(name) for name in names]
    rows: list[dict[str, Any]] = []
    for source in clips:
        figures = measure(candidates, source.path, runs)
        base = figures.get(DECODE, {}).get("seconds")
        for figure in figures.values():
            figure["of_decode"] = figure["seconds"] / base if base else None
        bits = source.path.stat().st_size * 8
        rows.append({"source": source.name, "kind": source.kind, "size": source.size,
                     "crf": source.crf, "bits": bits, "figures": figures})  # fmt: skip
        save({"rows": rows, "not_measured": {c.name: c.error for c in candidates if c.error}})
        print(f"  {source.name} ({len(rows)} of {len(clips)})", file=sys.stderr)
    finish(candidates)


def random_access(clips: list[tuple[str, Path]], runs: int, save: Save) -> None:
    """Opening excluded and included: three random frames of 500."""
    candidates = [make(name) for name in (*WARM, *COLD)]
    rows = {label: measure(candidates, path, runs) for label, path in clips}
    save({"rows": rows, "not_measured": finish(candidates)})


def threads(paths: list[Path], runs: int, save: Save) -> None:
    """Wall-clock time, the least of the runs: CPU time does not show what threads are for."""
    candidates = [make(name) for pair in tables.THREADS.values() for name in pair]
    rows = {path.name: measure(candidates, path, runs) for path in paths}
    save({"rows": rows, "not_measured": finish(candidates)})


def coviar(path: Path, gops: int, runs: int, save: Save) -> None:
    """One load() at gop_pos 11 in each of four GOPs, and all positions of four GOPs."""
    wanted = [str(gops * k // 8) for k in (1, 3, 5, 7)]
    rows = {}
    missing = {}
    for label, representation in (("vectors", "1"), ("residual", "2")):
        candidates = [
            make(f"cvdecode.coviar.load {label}"),
            Program(COVIAR_STANDIN, "coviar_standin", "11", representation, *wanted),
        ]
        rows[label] = measure(candidates, path, runs)
        missing.update(finish(candidates))
        print(f"  {label}", file=sys.stderr)
    ours = [make("cvdecode.coviar.load all positions")]
    figures = measure(ours, path, runs)
    missing.update(finish(ours))
    seconds = 0.0  # the stand-in has no memory: position by position
    for position in range(12):
        one = Program(COVIAR_STANDIN, "coviar_standin", str(position), "1", *wanted)
        got = measure([one], path, max(1, runs // 2))
        seconds += got.get(COVIAR_STANDIN, {}).get("seconds", 0.0)
    if seconds > 0:
        figures[COVIAR_STANDIN] = {"seconds": seconds, "frames": 48, "runs": [seconds]}
    rows["all positions"] = figures
    save({"rows": rows, "not_measured": missing})


def memory(small: Path, path: Path, save: Save) -> None:
    """Peak of a fresh process beyond what it held after reading a small clip, which loads modules
    and leaves little behind."""
    peaks = {}
    missing = {}
    for name in STREAMING[1:] + PIXELS[1:]:
        candidate = make(name)
        candidate.run(small)
        answer = candidate.run(path)
        missing.update(finish([candidate]))
        if answer is not None:
            peaks[name] = answer["peak_bytes"]
    save({"source": path.name, "peak_bytes": peaks, "not_measured": missing})


def data(folders: list[tuple[str, Path]], runs: int, save: Save) -> None:
    """Samples of a training loader, opening included, and the memory that reading them takes."""
    names = [*data_candidates.COVIAR, *data_candidates.MOTION]
    rows = {}
    missing: dict[str, str] = {}
    for label, folder in folders:
        candidates = [make(name) for name in names]
        figures = measure(candidates, folder, runs)
        for candidate in candidates:
            answer = candidate.run(folder)
            if answer is not None:
                figures[candidate.name]["peak_bytes"] = answer["peak_bytes"]
                figures[candidate.name]["process_bytes"] = answer["process_bytes"]
        rows[label] = figures
        missing.update(finish(candidates))
        save({"rows": rows, "not_measured": missing})
    first = make(data_candidates.FIRST_BATCH)
    folder = sources.CACHE / "index-of-10000"
    try:
        answer = first.run(folder)
        missing.update(finish([first]))
    finally:
        shutil.rmtree(folder, ignore_errors=True)  # 10,000 indexes: 430 MB
    save({"rows": rows, "first_batch": answer, "not_measured": missing})


def micro(save: Save, folder: Path) -> None:
    """The google-benchmark programs; each leaves its own JSON in the folder too."""
    found = sorted(PROGRAMS.glob("*_bench"))
    missing = {} if found else {"microbenchmarks": "not built: make bench builds them"}
    if found:
        sources.cavlc_source()
    rows = []
    for program in found:
        print(f"  {program.name}", file=sys.stderr)
        out = folder / f"{program.name}.json"
        done = subprocess.run(
            [str(program), f"--benchmark_out={out}", "--benchmark_min_time=0.2"],
            capture_output=True, text=True,
            env={**os.environ, "CVDECODE_BENCH_CLIPS": str(sources.CACHE)},
        )  # fmt: skip
        if done.returncode != 0 or not out.exists():
            missing[program.name] = (done.stderr.strip().splitlines() or ["died"])[-1]
            continue
        for row in json.loads(out.read_text())["benchmarks"]:
            if row.get("error_occurred"):
                missing[f"{program.name} {row['name']}"] = row["error_message"]
            else:
                rows.append({"program": program.name, **row})
    save({"rows": rows, "not_measured": missing})


def machine() -> dict[str, Any]:
    name = platform.processor() or platform.machine()
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        name = next(x.split(":")[1].strip() for x in lines if x.startswith("model name"))
    except (OSError, StopIteration):
        pass
    return {"cpu": name, "cores": os.cpu_count(), "python": platform.python_version()}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=3, help="counted rounds; one more warms caches")
    parser.add_argument("--quick", action="store_true", help="one clip, one round")
    parser.add_argument("--clip", type=Path, help="time this video alone")
    parser.add_argument("--only", help="parts, comma-separated; others stay as they were measured")
    parser.add_argument("--out", type=Path, default=RESULTS, help="folder of the results")
    parser.add_argument(
        "--docs", action="store_true", help="put what was measured into docs/speed.md and README.md"
    )
    parser.add_argument("--table", action="store_true", help="measure nothing, print what there is")
    arguments = parser.parse_args()
    runs = 0 if arguments.quick else arguments.runs
    arguments.out.mkdir(parents=True, exist_ok=True)
    if arguments.clip:
        sources.use_clip(arguments.clip, arguments.out / "clips")
    clips = [] if arguments.table else sources.h264_sources()
    if arguments.quick:
        clips = clips[:1]
    if not clips and not arguments.table:
        print("no clips: set CVDECODE_TEST_DATA to a folder of real videos", file=sys.stderr)
        return 1

    file = arguments.out / "speed.json"
    result: dict[str, Any] = json.loads(file.read_text()) if file.exists() else {}

    def saver(part: str, rounds: int) -> Save:
        load_before = os.getloadavg()[0]

        def save(content: dict[str, Any]) -> None:
            load = [round(load_before, 1), round(os.getloadavg()[0], 1)]
            result[part] = {"runs": rounds, "load": load, **content}
            result["machine"] = machine()
            file.write_text(json.dumps(result, indent=1) + "\n")

        return save

    big = sources.largest(clips)
    gops = sources.COVIAR_FRAMES // 12
    parts: dict[str, Callable[[], None]] = {
        "streaming": lambda: streaming(STREAMING, clips, runs, saver("streaming", runs)),
        "pixels": lambda: streaming(PIXELS, clips, runs, saver("pixels", runs)),
        "random_access": lambda: random_access(
            sources.gop_sources(arguments.quick), 3 * runs, saver("random_access", 3 * runs)
        ),
        "threads": lambda: threads(sources.threads_sources(), 4 * runs, saver("threads", 4 * runs)),
        "coviar": lambda: coviar(sources.coviar_source(), gops, runs, saver("coviar", runs)),
        "memory": lambda: memory(sources.gop_source(12, 0), big, saver("memory", 1)),
        "data": lambda: data(
            sources.sample_folders()[: 1 if arguments.quick else None], runs, saver("data", runs)
        ),
        "micro": lambda: micro(saver("micro", 1), arguments.out),
    }
    wanted = arguments.only.split(",") if arguments.only else list(parts)
    if unknown := set(wanted) - set(parts):
        parser.error(f"no such part: {', '.join(sorted(unknown))}; there are {', '.join(parts)}")
    begin = time.monotonic()
    for number, part in enumerate([] if arguments.table else wanted, 1):
        spent = time.monotonic() - begin
        print(f"{part} ({number} of {len(wanted)}, {spent:.0f} s so far)", file=sys.stderr)
        parts[part]()
    text = tables.markdown(result)
    (arguments.out / "speed.md").write_text(text + "\n")
    print(text)
    if arguments.docs:
        tables.put_into_docs(ROOT, result, result.keys() & parts if arguments.table else wanted)
    return 0


if __name__ == "__main__":
    sys.exit(main())
