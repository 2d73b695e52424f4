"""Builds the libFuzzer targets, writes their corpus and runs them.

    python tests/fuzz/fuzzing.py [--runs 1000000] [--seconds 0] [nal parser alloc pair]

What a target finds is written to build/fuzz/findings; a finding ends the program with an error.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
BUILD = ROOT / "build" / "fuzz"
TARGETS = ("nal", "parser", "alloc", "pair")


def compiler() -> str | None:
    """A clang++ with libFuzzer's runtime beside it."""
    for name in ("clang++-14", "clang++"):
        path = shutil.which(name)
        if path is None:
            continue
        runtime = subprocess.run(
            [path, "-print-runtime-dir"], capture_output=True, text=True
        ).stdout.strip()
        for folder in (runtime, f"{Path(runtime).parent}/linux"):
            if list(Path(folder).glob("libclang_rt.fuzzer*.a")):
                return path
    return None


def build(*targets: str) -> None:
    """Configure and build; the first time takes about a minute and a half of processor time."""
    pybind = subprocess.run(
        [sys.executable, "-m", "pybind11", "--cmakedir"], capture_output=True, text=True, check=True
    ).stdout.strip()
    configure = ["cmake", "--preset", "fuzz", f"-DCMAKE_CXX_COMPILER={compiler()}"]
    configure += [f"-DCMAKE_PREFIX_PATH={pybind}", f"-DPython_EXECUTABLE={sys.executable}"]
    jobs = str(os.cpu_count() or 1)
    names = [f"fuzz_{t}" for t in targets]
    for command in (
        configure,
        ["cmake", "--build", "--preset", "fuzz", "-j", jobs, "--target", *names],
    ):
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
        if done.returncode:
            raise RuntimeError(f"{' '.join(command)}:\n{done.stdout[-4000:]}{done.stderr[-4000:]}")


def run(target: str, corpus: Path, *, runs: int = -1, seconds: int = 0) -> str:
    """Run one target over a copy of its corpus; raises RuntimeError with the log on a finding."""
    findings = BUILD / "findings"
    grown = BUILD / "grown" / target
    for folder in (findings, grown):
        folder.mkdir(parents=True, exist_ok=True)
    known = ROOT / "tests" / "fuzz" / "regressions" / target
    command = [str(BUILD / "tests" / "fuzz" / f"fuzz_{target}"), f"-runs={runs}"]
    command += [f"-max_total_time={seconds}", "-max_len=8000", "-timeout=60"]
    command += ["-rss_limit_mb=3000", f"-artifact_prefix={findings}/{target}-", str(grown)]
    command += [str(corpus / target), *([str(known)] if known.is_dir() else [])]
    done = subprocess.run(command, capture_output=True, text=True, errors="replace")
    if done.returncode:
        raise RuntimeError(f"fuzz_{target} found something:\n{done.stderr[-6000:]}")
    return done.stderr


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=1_000_000)
    parser.add_argument("--seconds", type=int, default=0, help="per target; 0 = no limit")
    parser.add_argument("targets", nargs="*", default=list(TARGETS))
    args = parser.parse_args()
    sys.path.insert(0, str(Path(__file__).parent))
    import make_corpus

    build(*args.targets)
    make_corpus.main(BUILD / "corpus")
    for target in args.targets:
        log = run(target, BUILD / "corpus", runs=args.runs, seconds=args.seconds)
        last = [line for line in log.splitlines() if line.startswith(("Done", "pair:"))]
        print(f"fuzz_{target}: {'; '.join(last)}, no finding", flush=True)


if __name__ == "__main__":
    main()
