"""Nursery: a process that has imported what training needs, and forks a child for every command.

A training run of some seconds then costs no seconds of imports.
`python -m harness.commands.nursery` reads a line a command, answers with its exit code, and ends
its child when nobody is left to answer.
"""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
import time
import traceback
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

GRACE = 60.0
"""Seconds that a child has to finish its step and save, once it was asked to stop."""
POLL = 0.05
STOP = "stop"


class Nursery:
    """One child at a time: `begin` a command, wait until `reader` is readable, take its `code`."""

    def __init__(self, threads: int) -> None:
        self.threads = threads
        known = {"OMP_NUM_THREADS": str(threads), "TOKENIZERS_PARALLELISM": "false"}
        self._process = subprocess.Popen(
            [sys.executable, "-m", "harness.commands.nursery"],
            env={**os.environ, **known},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            bufsize=0,
            start_new_session=True,  # a terminal's Ctrl-C is for the parent, which hands it on
        )

    def begin(self, words: Sequence[str], out: Path, said: Path) -> None:
        """Run `harness WORDS`; stdout goes to a new file, stderr to the end of another."""
        self._tell(json.dumps([list(words), str(out), str(said)]))

    @property
    def reader(self) -> Any:
        """What becomes readable when the child has ended, or the nursery itself."""
        return self._process.stdout

    def code(self) -> int | None:
        """The child's exit code, or minus the signal that ended it; None: the nursery is gone."""
        told = self.reader.readline()
        return int(told) if told.endswith(b"\n") else None

    def stop(self) -> None:
        """Ask the child to finish its step, save, and end."""
        self._tell(STOP)

    def close(self, *, patience: float = GRACE + 10) -> None:
        """End the nursery; a child that still runs is asked to stop."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        try:
            self._process.wait(patience)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self.reader.close()

    def _tell(self, line: str) -> None:
        assert self._process.stdin is not None
        with suppress(BrokenPipeError):  # it is gone, and `code` says so
            self._process.stdin.write(line.encode() + b"\n")


def serve() -> None:
    """Fork for every line, and tell how the child ended."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    while line := _line():
        words, out, said = json.loads(line)
        pid = os.fork()
        if pid == 0:
            _carry_out(words, out, said)
        code = _wait(pid)
        answers.write(f"{code}\n")


def _line() -> bytes:
    """The next line of stdin, read byte by byte so that none stays behind in a buffer."""
    found = b""
    while not found.endswith(b"\n"):
        one = os.read(0, 1)
        if not one:
            return b""
        found += one
    return b"" if found.strip() == STOP.encode() else found


def _wait(pid: int) -> int:
    """The child's code; it is stopped when a line comes, and when nobody is left to write one."""
    end = float("inf")
    reading = [0]
    while True:
        done, status = os.waitpid(pid, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status)
        if time.monotonic() > end:
            os.kill(pid, signal.SIGKILL)
        if select.select(reading, [], [], POLL)[0]:
            reading = [0] if _line_or_end() else []
            os.kill(pid, signal.SIGINT)
            end = min(end, time.monotonic() + GRACE)


def _line_or_end() -> bool:
    """Whether there was a line to read, and not the end of all."""
    return bool(os.read(0, len(STOP) + 1))


def _carry_out(words: Sequence[str], out: str, said: str) -> Any:
    """The command; never returns."""
    code = 1
    try:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        nothing = os.open(os.devnull, os.O_RDONLY)
        answer = os.open(out, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
        log = os.open(said, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        for old, new in ((nothing, 0), (answer, 1), (log, 2)):
            os.dup2(old, new)
        from harness.commands import main

        main(list(words))
        code = 0
    except SystemExit as stop:
        code = stop.code if isinstance(stop.code, int) else int(stop.code is not None)
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def _preload() -> None:
    """Import what a training run imports; nothing that begins a thread."""
    from importlib import import_module

    for name in ("harness.commands.training", "harness.commands.evaluation", "scipy.stats"):
        try:
            import_module(name)
        except ImportError:
            continue  # an extra that a run may do without; the run itself says what it lacks


if __name__ == "__main__":
    _preload()
    serve()
