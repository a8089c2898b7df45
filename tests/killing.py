"""Runs the real command line, kills it, and runs it again."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

HOUSE = Path(__file__).resolve().parent.parent


def harness(arguments: Sequence[str], folder: Path, *, timeout: float = 300) -> str:
    """The command's stdout; fails with all that it said where it exits otherwise than 0."""
    process = start(arguments, folder)
    out, err = process.communicate(timeout=timeout)
    assert process.returncode == 0, f"harness {' '.join(arguments)}\n{out}\n{err}"
    return out


def start(arguments: Sequence[str], folder: Path) -> subprocess.Popen[str]:
    """The command in `folder`, one thread, not waited for."""
    known = {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", "PYTHONPATH": str(HOUSE)}
    return subprocess.Popen(
        [sys.executable, "-m", "harness", *arguments],
        cwd=folder,
        env={**os.environ, **known},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def kill_at_random(
    arguments: Sequence[str], folder: Path, *, within: float, rng: random.Random
) -> bool:
    """Start the command and kill it, children included, after up to `within` seconds.

    False where it had ended by itself before.
    """
    process = start(arguments, folder)
    time.sleep(rng.uniform(0.0, within))
    ended = process.poll() is not None
    if not ended:
        os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    return not ended
