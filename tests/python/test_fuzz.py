"""The libFuzzer targets in their short form; CVDECODE_LONG=1 gives each ten minutes."""

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
# The pair needs the whole core once more; two minutes of compiling are not for the short form.
SHORT_TARGETS = {"nal": 4, "parser": 25, "alloc": 12}
pytestmark = pytest.mark.skipif(
    fuzzing.compiler() is None, reason="no clang++ with libFuzzer (clang and libclang-rt-14-dev)"
)


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The targets are built, and their seeds written."""
    fuzzing.build(*(fuzzing.TARGETS if LONG else SHORT_TARGETS))
    folder = tmp_path_factory.mktemp("corpus")
    assert make_corpus.main(folder) > 40
    return folder


@pytest.mark.parametrize("target", fuzzing.TARGETS if LONG else list(SHORT_TARGETS))
def test_no_input_breaks_the_parser(corpus: Path, target: str) -> None:
    log = fuzzing.run(target, corpus, seconds=600 if LONG else SHORT_TARGETS[target])
    assert "Done" in log
    if target == "pair":
        assert "0 pictures compared" not in log
