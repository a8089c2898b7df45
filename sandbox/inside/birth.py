"""The first steps of a program process, between the fork and its greeting.

Its descriptors go to their places, all others are closed, its layers go up. It is one function that
calls little else: each object that is used lies on a page that is copied for this process.
"""

from __future__ import annotations

import ctypes
import os
import signal
import struct
from collections.abc import Callable
from typing import NamedTuple

from sandbox.layers import libc, rlimits

LOW, HIGH = 32, 128
"""What a program is given is received from the first number on; nothing lies beyond the second."""
SEATS = 4
"""Input, output, errors and control have numbers from 0 on; the slots stay where they came."""
ASKED = struct.Struct("=QQQ")
"""Bytes of address space, CPU seconds, bytes of stack; pids that are of no more interest follow."""
DIE_WITH_PARENT = libc.prepared_prctl(libc.PR_SET_PDEATHSIG, signal.SIGKILL)


class Settings(NamedTuple):
    """What each program process puts up for itself."""

    rlimits: bool
    calls: tuple[Callable[[], object], ...]
    """The layers, in order; a call that answers -1 has failed."""
    shared: tuple[Callable[[], object], ...] = ()
    """What the zygote puts up before, for itself and for all program processes."""


def enter(message: bytes, count: int, settings: Settings) -> None:
    """Become a program process with `count` descriptors; OSError where a layer does not go up."""
    dup2, close = os.dup2, os.closerange
    rlimited, calls, _ = settings
    seats = count if count == SEATS + 1 else SEATS  # a split test's link has a number, too
    for target in range(seats):
        dup2(LOW + target, target)
    close(seats, LOW + seats)
    close(LOW + count, HIGH)
    if rlimited:
        memory, cpu, stack = ASKED.unpack(message)
        rlimits.apply(memory, cpu, stack)
    for call in calls:
        if call() == -1:
            raise OSError(ctypes.get_errno(), f"refused: {call}")
