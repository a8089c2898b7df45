"""launch: several processes of one command on this machine, without torchrun's frame around them.

The parent keeps the store in which the processes meet, hands Ctrl-C and SIGTERM on, and ends all
of them once one has failed; it exits with that one's code.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Generator, Sequence
from contextlib import contextmanager

from harness.errors import UsageError

GRACE = 20.0
"""Seconds that the others have to end by themselves once one has failed."""


def launch(processes: int, arguments: Sequence[str], module: str = "harness") -> int:
    """Run `python -m MODULE ARGUMENTS` in so many processes; the first failure's code, or 0."""
    import torch
    from torch.distributed import TCPStore  # type: ignore[reportPrivateImportUsage]

    cards = torch.cuda.device_count()
    if 0 < cards < processes:
        raise UsageError(f"{processes} processes need as many cards, and there are {cards}")
    store = TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)
    known = {
        "WORLD_SIZE": str(processes),
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(store.port),
        "TORCHELASTIC_USE_AGENT_STORE": "True",
    }
    if "OMP_NUM_THREADS" not in os.environ:  # else every process takes all cores
        known["OMP_NUM_THREADS"] = str(max(1, (os.cpu_count() or 1) // processes))
    with _signals_go_to([]) as children:
        for rank in range(processes):
            mine = {"RANK": str(rank), "LOCAL_RANK": str(rank)}
            command = [sys.executable, "-m", module, *arguments]
            children.append(subprocess.Popen(command, env={**os.environ, **known, **mine}))
        try:
            return _wait(children)
        finally:
            for child in children:
                child.kill()
                child.wait()


def _wait(children: Sequence[subprocess.Popen[bytes]]) -> int:
    code, end = 0, float("inf")
    while time.monotonic() < end:
        codes = [child.poll() for child in children]
        failed = [found for found in codes if found]
        if failed and not code:
            # a signal's -9 is a shell's 137
            code = failed[0] if failed[0] > 0 else 128 - failed[0]
            end = time.monotonic() + GRACE
        if None not in codes:
            break
        time.sleep(0.1)
    return code


@contextmanager
def _signals_go_to(
    children: list[subprocess.Popen[bytes]],
) -> Generator[list[subprocess.Popen[bytes]]]:
    """A terminal's Ctrl-C reaches the children by itself; SIGTERM is handed on."""

    def hand_on(number: int, frame: object) -> None:
        for child in children:
            if child.poll() is None:
                child.send_signal(number)

    def wait_for_them(number: int, frame: object) -> None:
        if os.getpgrp() != _foreground():  # sent to this process alone
            hand_on(number, frame)

    before = {
        signal.SIGINT: signal.signal(signal.SIGINT, wait_for_them),
        signal.SIGTERM: signal.signal(signal.SIGTERM, hand_on),
    }
    try:
        yield children
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _foreground() -> int:
    """The process group that the terminal talks to; 0 without a terminal."""
    try:
        return os.tcgetpgrp(sys.stdin.fileno())
    except (OSError, ValueError):
        return 0
