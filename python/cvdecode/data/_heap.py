"""The memory of one sample, kept for the next.

A sample takes and frees some 10 MB. glibc gives what is free at the end of its heap back to the
system, and the next sample pays for every page of it again: a fifth of its CPU time.
"""

from __future__ import annotations

import ctypes
import functools
import os
import sys

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # <malloc.h>
KEPT = 64 << 20
"""Bytes that may lie free."""
MOST = 32 << 20
"""The largest piece that glibc takes from its heap."""
SETTINGS = ("MALLOC_TRIM_THRESHOLD_", "MALLOC_MMAP_THRESHOLD_", "GLIBC_TUNABLES")
"""Whoever sets one of these in the environment has the say."""


@functools.cache
def keep_heap() -> bool:
    """Have this process keep up to KEPT free bytes; once, and not where the environment speaks.

    Returns whether glibc took it: False with other C libraries, which are left as they are.
    """
    if not sys.platform.startswith("linux") or any(name in os.environ for name in SETTINGS):
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):
        return False
    return bool(mallopt(_M_MMAP_THRESHOLD, MOST) and mallopt(_M_TRIM_THRESHOLD, KEPT))
