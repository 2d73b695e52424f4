"""A loader's process keeps the memory of a sample for the next one."""

from __future__ import annotations

import os
import platform
import subprocess
import sys

import pytest

from conftest import Encode

SCRIPT = """
import resource, sys
from cvdecode.data import CompressedVideoDataset, MultiScaleCrop
dataset = CompressedVideoDataset([sys.argv[1]], view=MultiScaleCrop(224))
faults = []
for _ in range(12):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    dataset[0]
    faults.append(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
print(sorted(faults[4:])[4])
"""


def page_faults(path: object, **settings: str) -> int:
    """Pages that a sample takes anew from the system, the median once all is warm."""
    found = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(path)],
        env={**os.environ, **settings},
        check=True,
        capture_output=True,
        text=True,
    )
    return int(found.stdout)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="a setting of glibc")
def test_a_sample_takes_its_memory_from_the_one_before(encode: Encode) -> None:
    path = encode("memory.mp4", "-c:v", "libx264", "-g", "12", "-bf", "0", frames=40)
    kept = page_faults(path)
    # The environment has the say: here it has free memory given back at once.
    given_back = page_faults(path, MALLOC_TRIM_THRESHOLD_="131072")
    assert kept < 100
    assert given_back > 5 * kept
