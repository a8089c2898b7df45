"""pages: memory that a step of training frees is kept for the next step.

A large tensor comes from the C library, which gives it back to the kernel when it is freed
and gets it again page by page, each cleared first. Steps ask for the same sizes again and
again: where huge pages are rare that was a fifth of a step's time, and the peak is what it was.
"""

from __future__ import annotations

import ctypes
import os

TRIM_THRESHOLD, MMAP_MAX, ARENA_MAX = -1, -4, -8
"""Numbers that glibc's malloc.h gives to its settings."""
KEPT = (1 << 31) - 1
"""Bytes at the end of the heap that may lie free."""


def keep_pages() -> bool:
    """Let this process keep what it frees; whether the C library can (glibc alone).

    What the environment says of malloc stays: where it says anything, nothing is done.
    """
    if any(name.startswith("MALLOC_") for name in os.environ):
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, TypeError, AttributeError):  # no library of that kind, or none that can
        return False
    settings = {TRIM_THRESHOLD: KEPT, MMAP_MAX: 0, ARENA_MAX: 1}
    return all(mallopt(each, value) == 1 for each, value in settings.items())
