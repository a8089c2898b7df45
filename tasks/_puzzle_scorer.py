"""Asks the child process of `puzzles`, and ends it when it takes too long."""

from __future__ import annotations

import atexit
import contextlib
import json
import os
import select
import signal
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
FORK_SECONDS = 30.0


class Child:
    """One process and its fork that works: started when first asked, anew after it was ended."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.process: subprocess.Popen[bytes] | None = None
        self.owner = 0
        self.worker = 0
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
                return "crash", ""
            state, told = self._reply(process, seconds)
            if state == "timeout":
                self._replace_worker(process)
            elif state == "ready":  # another worker took the place of one that died
                self.worker = told
                return "crash", ""
            elif state == "crash":
                self.end()
            return state, told

    def end(self) -> None:
        """Kill the process and its worker, if there are any."""
        process, self.process = self.process, None
        self.unread = b""
        if process is None or self.owner != os.getpid():
            return
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        for pipe in (process.stdin, process.stdout):
            with contextlib.suppress(OSError):  # what was buffered has no reader any more
                assert pipe is not None
                pipe.close()

    def _replace_worker(self, process: subprocess.Popen[bytes]) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.worker, signal.SIGKILL)
        self._await_worker(process, FORK_SECONDS)

    def _await_worker(self, process: subprocess.Popen[bytes], seconds: float) -> bool:
        """Wait for a worker; what a former one left half written is passed over."""
        state = "ok"
        while state not in ("ready", "timeout", "crash"):
            state, self.worker = self._reply(process, seconds)
        if state != "ready":
            self.end()
        return state == "ready"

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
            start_new_session=True,
        )
        self.process, self.owner = process, os.getpid()
        if not self._await_worker(process, START_SECONDS):
            raise DataError(f"{CHILD.name}, the process that makes puzzles, did not start")
        return process

    def _reply(self, process: subprocess.Popen[bytes], seconds: float) -> tuple[str, Any]:
        """The next line; `timeout` or `crash` where none comes."""
        assert process.stdout is not None
        until = time.monotonic() + seconds
        while True:
            line, ended, rest = self.unread.partition(b"\n")
            if ended:
                self.unread = rest
                if line:
                    return _read(line)
                continue
            left = until - time.monotonic()
            if left <= 0 or not select.select([process.stdout], [], [], left)[0]:
                return "timeout", ""
            piece = os.read(process.stdout.fileno(), 1 << 16)
            if not piece:
                return "crash", ""
            self.unread += piece


def _read(line: bytes) -> tuple[str, Any]:
    try:
        state, told = json.loads(line)
    except ValueError:  # half a reply of a worker that was killed
        return "cut", ""
    return state, told


CHILD_PROCESS = Child()
atexit.register(CHILD_PROCESS.end)
