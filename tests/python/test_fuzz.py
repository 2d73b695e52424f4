"""The libFuzzer targets in their short form, the same inputs every time; CVDECODE_LONG=1 gives each
target 200,000 inputs, `make fuzz` a million."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

FUZZ = Path(__file__).resolve().parents[1] / "fuzz"
sys.path.insert(0, str(FUZZ))

import fuzzing  # noqa: E402
import make_corpus  # noqa: E402

LONG = os.environ.get("CVDECODE_LONG") == "1"
# Inputs of each: the corpus once, then mutations.
SHORT_RUNS = {"nal": 50_000, "parser": 12_000, "alloc": 8_000, "vop": 15_000, "pair": 3_000}
LONG_RUNS = dict.fromkeys(fuzzing.TARGETS, 200_000)
RUNS = LONG_RUNS if LONG else SHORT_RUNS
pytestmark = pytest.mark.skipif(
    fuzzing.compiler() is None, reason="no clang++ with libFuzzer (clang and libclang-rt-14-dev)"
)


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The targets are built, and their seeds written."""
    fuzzing.build(*RUNS)
    folder = tmp_path_factory.mktemp("corpus")
    assert make_corpus.main(folder) > 40
    return folder


@pytest.mark.parametrize("target", RUNS)
def test_no_input_breaks_the_parser(corpus: Path, target: str, tmp_path: Path) -> None:
    log = fuzzing.run(target, corpus, tmp_path, RUNS[target])
    assert f"Done {RUNS[target]} runs" in log
    if target == "pair":
        assert " 0 pictures compared" not in log
