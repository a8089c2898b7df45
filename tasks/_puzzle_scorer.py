"""Asks the child process of `puzzles`, and ends it when it takes too long."""

from __future__ import annotations

import atexit
import json
import os
import select
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

from harness.errors import DataError

CHILD = Path(__file__).with_name("_puzzle_child.py")
START_SECONDS = 120.0
MAKE_SECONDS = 600.0
SCORE_SECONDS = 2.0


class Child:
    """One process, started when it is first asked, started anew after it was ended."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.process: subprocess.Popen[bytes] | None = None
        self.owner = 0
        self.unread = b""

    def ask(self, request: tuple[Any, ...], seconds: float) -> tuple[str, Any]:
        """`("ok", value)`, `("raised", what)`, `("timeout", "")` or `("crash", "")`."""
        with self.lock:
            process = self._running()
            assert process.stdin is not None
            try:
                process.stdin.write(f"{request!r}\n".encode())
                process.stdin.flush()
            except OSError:
                self.end()
                return "crash", "the process was gone"
            return self._reply(process, seconds)

    def end(self) -> None:
        """Kill the process, if there is one."""
        if self.process is not None and self.owner == os.getpid():
            self.process.kill()
            self.process.wait()
            for pipe in (self.process.stdin, self.process.stdout):
                if pipe is not None:
                    try:
                        pipe.close()
                    except OSError:  # what was buffered has no reader any more
                        continue
        self.process = None
        self.unread = b""

    def _running(self) -> subprocess.Popen[bytes]:
        if self.process is not None and self.owner == os.getpid() and self.process.poll() is None:
            return self.process
        self.end()
        process = subprocess.Popen(
            [sys.executable, "-P", str(CHILD)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={**os.environ, "PYTHONHASHSEED": "0", "OMP_NUM_THREADS": "1"},
        )
        self.process, self.owner = process, os.getpid()
        state, told = self._reply(process, START_SECONDS)
        if state != "ready":
            raise DataError(f"the process that makes puzzles did not start ({state} {told})")
        return process

    def _reply(self, process: subprocess.Popen[bytes], seconds: float) -> tuple[str, Any]:
        assert process.stdout is not None
        until = time.monotonic() + seconds
        while b"\n" not in self.unread:
            left = until - time.monotonic()
            if left <= 0 or not select.select([process.stdout], [], [], left)[0]:
                self.end()
                return "timeout", ""
            piece = os.read(process.stdout.fileno(), 1 << 16)
            if not piece:
                self.end()
                return "crash", "the process ended"
            self.unread += piece
        line, _, self.unread = self.unread.partition(b"\n")
        state, *told = json.loads(line)
        return state, told[0] if told else ""


CHILD_PROCESS = Child()
atexit.register(CHILD_PROCESS.end)
