"""Broken streams: what libavcodec and the parser both call clean is still equal.

QP, macroblock types and whole vector lists are compared on every picture that libavcodec gives
without an error flag, in which the parser lost nothing and whose references it is sure of.
"""

from __future__ import annotations

import os
import random
import re
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

import handmade
import streams
from oracles.compare import compare

LONG = os.environ.get("CVDECODE_LONG") == "1"
TRIES = 12 if LONG else 2


def split(data: bytes) -> list[bytes]:
    """Annex B units with their start codes."""
    starts = [m.start() for m in re.finditer(rb"\x00?\x00\x00\x01", data)]
    return [data[a:b] for a, b in zip(starts, [*starts[1:], len(data)], strict=True)]


def flip(units: list[bytes], rng: random.Random) -> list[bytes]:
    """One bit of one slice."""
    at = rng.choice([i for i, u in enumerate(units) if _is_slice(u)])
    broken = bytearray(units[at])
    broken[rng.randrange(8, len(broken))] ^= 1 << rng.randrange(8)
    return [*units[:at], bytes(broken), *units[at + 1 :]]


def drop(units: list[bytes], rng: random.Random) -> list[bytes]:
    """One slice is missing, but for those of the first picture."""
    slices = [i for i, u in enumerate(units) if _is_slice(u)]
    at = rng.choice(slices[len(slices) // 8 + 1 :] or slices[-1:])
    return units[:at] + units[at + 1 :]


def cut(units: list[bytes], rng: random.Random) -> list[bytes]:
    """One slice ends early."""
    at = rng.choice([i for i, u in enumerate(units) if _is_slice(u)])
    return [*units[:at], units[at][: rng.randrange(9, len(units[at]))], *units[at + 1 :]]


def _is_slice(unit: bytes) -> bool:
    header = unit.index(b"\x01") + 1
    return len(unit) > header + 12 and unit[header] & 31 in (1, 5)


@pytest.mark.parametrize("breakage", [flip, drop, cut])
def test_pictures_that_both_call_clean_are_equal(
    tmp_path: Path, breakage: Callable[[list[bytes], random.Random], list[bytes]]
) -> None:
    rng = random.Random(6)
    whole = streams.matrix(tmp_path, frames=10)
    for seed in range(8):
        path = tmp_path / f"hand{seed}.264"
        handmade.write(path, handmade.Recipe(seed, weighted_bipred_idc=seed % 3))
        whole.append(streams.Stream(path.stem, {}, path))
    counts: Counter[str] = Counter()
    wrong = []
    for stream in whole:
        units = split(stream.path.read_bytes())
        for number in range(TRIES):
            broken = tmp_path / f"{stream.name}-{breakage.__name__}-{number}.264"
            broken.write_bytes(b"".join(breakage(units, rng)))
            report = compare(broken, damaged=True)
            counts.update(report.counts)
            wrong += [f"{broken.name}: {finding}" for finding in report.findings]
    assert not wrong, f"{len(wrong)} differences:\n" + "\n".join(wrong[:8])
    assert counts["pictures"] > 400
    assert counts["vectors"] > 5000
    if breakage is not drop:
        assert counts["excluded: lost by our account"] > 20
