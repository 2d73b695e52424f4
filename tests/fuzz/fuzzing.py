"""Builds the libFuzzer targets, writes their corpus and runs them.

    python tests/fuzz/fuzzing.py [--runs 1000000] [nal parser alloc vop pair]

Some 20 minutes of processor time a target, a minute for nal and vop. The corpus that grows lies in
build/fuzz/grown, findings in build/fuzz/findings; a finding ends the program with an error.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

import make_corpus

ROOT = Path(__file__).resolve().parents[2]
BUILD = ROOT / "build" / "fuzz"
TARGETS = ("nal", "parser", "alloc", "vop", "pair")


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


def run(target: str, corpus: Path, folder: Path, runs: int) -> str:
    """Run one target `runs` times and return its log; RuntimeError with the log on a finding.

    The whole corpus comes first, then mutations of it. What is met depends on nothing but the
    arguments and what `folder`/grown holds: fixed seed, seeds in fixed order, one process. What
    the target finds and keeps goes to `folder`.
    """
    grown, findings = folder / "grown" / target, folder / "findings"
    for path in (grown, findings):
        path.mkdir(parents=True, exist_ok=True)
    seeds = sorted(path for path in (corpus / target).iterdir())
    seeds += sorted((ROOT / "tests" / "fuzz" / "regressions" / target).glob("*"))
    names = folder / f"{target}.seeds"
    names.write_text(",".join(map(str, seeds)))
    # The scheduler "entropic" would take three quarters of the time for itself; reloading follows
    # the clock.
    command = [str(BUILD / "tests" / "fuzz" / f"fuzz_{target}"), "-seed=1", f"-runs={runs}"]
    command += [
        "-entropic=0",
        "-reload=0",
        f"-max_len={make_corpus.MAX_LEN}",
        f"-seed_inputs=@{names}",
    ]
    command += ["-timeout=300", "-rss_limit_mb=3000", f"-artifact_prefix={findings}/{target}-"]
    environment = os.environ | {"ASAN_OPTIONS": "malloc_context_size=4"}
    done = subprocess.run(
        [*command, str(grown)], capture_output=True, text=True, errors="replace", env=environment
    )
    if done.returncode:
        raise RuntimeError(f"fuzz_{target} found something:\n{done.stderr[-6000:]}")
    return done.stderr


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=1_000_000)
    parser.add_argument("targets", nargs="*", default=list(TARGETS))
    args = parser.parse_args()
    build(*args.targets)
    make_corpus.main(BUILD / "corpus")
    for target in args.targets:
        log = run(target, BUILD / "corpus", BUILD, args.runs)
        last = [line for line in log.splitlines() if line.startswith(("Done", "pair:"))]
        print(f"fuzz_{target}: {'; '.join(last)}, no finding", flush=True)


if __name__ == "__main__":
    main()
