"""One box as the supervisor sees it: something that was started and speaks frames over two pipes.

A backend differs in how a box is started: a process here, a container elsewhere. All that
comes out of it is checked; a box that says nothing for too long, or nonsense, is ended.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Protocol, cast

from sandbox import frames
from sandbox.cgroup import Group
from sandbox.types import Program, Run
from sandbox.wire import BadReply, Kind, job_of, run_in

READY = 120.0
"""Seconds until a box has to be ready."""
GRACE = 60.0
"""Seconds beyond a test's own wall limit after which its keeper counts as stuck."""
OWN = 1 << 30
"""Bytes that keeper and zygote may hold."""
CHUNK = 1 << 16
"""Bytes that are read at once: a pipe holds no more."""
END, LATE = b'"end":true}', b'"TLE"'
"""How the last frame of a job ends; and what is in a frame that tells of a limit of time."""
HOUSE = Path(__file__).resolve().parent.parent


class Broken(Exception):
    """The box is gone, stuck or talks nonsense: nothing is known of the program."""


class Wire(Protocol):
    """Two byte streams to a box."""

    def write(self, data: bytes) -> None:
        """All of it; OSError where the box is gone."""
        ...

    def read(self, most: int, seconds: float) -> bytes:
        """Some bytes; none at the end of the stream; TimeoutError."""
        ...

    def close(self) -> str:
        """End the box, and all that runs in it; what it said on its error output."""
        ...


class PipeWire:
    """A box that is a child process, with all that it starts in a cgroup if one is given."""

    def __init__(
        self, argv: list[str], environment: Mapping[str, str], group: Group | None = None
    ) -> None:
        self._group = group
        self._process = subprocess.Popen(
            argv,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=dict(environment),
            cwd="/",
            start_new_session=True,
        )
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._in, self._out = self._process.stdin.fileno(), self._process.stdout.fileno()
        self._poll = select.poll()
        self._poll.register(self._out, select.POLLIN)
        self.pid = self._process.pid
        if group is not None:
            group.add(self.pid)  # it waits for its plan, and has started nothing yet

    def write(self, data: bytes) -> None:
        """To the keeper's input, which always reads."""
        rest = memoryview(data)
        while rest:
            rest = rest[os.write(self._in, rest) :]

    def read(self, most: int, seconds: float) -> bytes:
        """From the keeper's output."""
        if not self._poll.poll(max(0, round(seconds * 1000))):
            raise TimeoutError
        return os.read(self._out, most)

    def close(self) -> str:
        """Kill it and wait for its end."""
        process = self._process
        if process.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdin.close()
        process.wait()
        os.set_blocking(process.stderr.fileno(), False)
        said = process.stderr.read() or b""
        process.stdout.close()
        process.stderr.close()
        if self._group is not None:
            self._group.remove()
        return said.decode("utf-8", "replace")


class Worker:
    """A box that is ready, and what it told of itself."""

    def __init__(
        self, wire: Wire, plan: Mapping[str, Any], hold: Callable[[int], None] | None = None
    ) -> None:
        """`hold` bounds the bytes of the whole box before each program."""
        self._wire, self._hold = wire, hold
        self._held = b""
        self.jobs = 0
        try:
            wire.write(frames.pack(plan))
            told = _unpacked(self._body(READY))
            ready = told["ready"]
            self.layers: dict[str, str] = dict(ready["layers"])
            self.interpreter = str(ready["interpreter"])
            self.modules: tuple[str, ...] = tuple(ready["modules"])
        except (OSError, Broken, KeyError, TypeError, ValueError) as error:
            said = wire.close().strip()[-1000:]
            raise Broken(f"the box did not start: {error!r} {said}") from None

    @property
    def active(self) -> tuple[str, ...]:
        """The layers that are on, sorted."""
        return tuple(sorted(name for name, state in self.layers.items() if state == "on"))

    def run(self, program: Program, pool: Kind, first: int = 0) -> Iterator[Run]:
        """The runs from test `first` on, as they end. Broken ends the worker's life."""
        self.begin(program, pool, first)
        return self.results(program, first)

    def begin(self, program: Program, pool: Kind, first: int = 0) -> None:
        """Give the box a program to run. It takes one at a time."""
        self.jobs += 1
        job = job_of(program, pool, first)
        try:
            if self._hold is not None:
                # the two halves of a split test, and what the box itself holds
                self._hold(2 * job["limits"]["memory"] + OWN)
            self._wire.write(frames.pack(job))
        except OSError as error:
            raise Broken(f"the box is gone: {error}") from None

    def results(
        self, program: Program, first: int = 0, free: Callable[[], None] = lambda: None
    ) -> Iterator[Run]:
        """The runs of the program that it was given, as they end.

        `free` is called once the box has no more to do for it, before what it said is read: unless
        a test ran out of time, which may have to be run again.
        """
        index, over = first, False
        seconds = 2 * program.limits.clock + GRACE  # a test may be run twice
        for row in self._rows(seconds, free):
            if over:
                raise Broken("more results than tests")
            try:
                run = run_in(row, index)
            except BadReply as error:
                raise Broken(str(error)) from None
            yield run
            index += 1
            over = index == len(program.tests) or (run.status != "OK" and program.stop_at_fault)
        if not over:
            raise Broken("fewer results than tests")

    def _rows(self, seconds: float, free: Callable[[], None]) -> Iterator[Any]:
        """The results of a job as the box tells them, several in a frame, up to its end."""
        late = False
        while True:
            body = self._body(seconds)
            late = late or LATE in body
            if body.endswith(END) and not late:
                free()
            said = _unpacked(body)
            told: Any = said.get("runs")
            if not isinstance(told, list):
                raise Broken("a frame without results")
            yield from cast("list[Any]", told)
            if "fault" in said:
                raise Broken(str(said["fault"])[:1000])
            if said.get("end") is True:
                return

    def close(self) -> None:
        """End the box."""
        self._wire.close()

    def _body(self, seconds: float) -> bytes:
        until = time.monotonic() + seconds
        try:
            self._fill(4, until)
            end = 4 + frames.length(self._held[:4])
            self._fill(end, until)
        except (frames.BadFrame, OSError) as error:
            raise Broken(f"no frame came: {error!r}") from None
        body, self._held = self._held[4:end], self._held[end:]
        return body

    def _fill(self, size: int, until: float) -> None:
        """Hold so many bytes, at least."""
        if len(self._held) >= size:
            return
        parts, there = [self._held], len(self._held)
        while there < size:
            part = self._wire.read(CHUNK, until - time.monotonic())
            if not part:
                raise frames.BadFrame("the stream ended")
            parts.append(part)
            there += len(part)
        self._held = b"".join(parts)


def _unpacked(body: bytes) -> dict[str, Any]:
    try:
        said = frames.unpack(body)
    except frames.BadFrame as error:
        raise Broken(f"no frame came: {error!r}") from None
    if not isinstance(said, dict):
        raise Broken("a frame is no object")
    return cast("dict[str, Any]", said)


def zygote_argv(python: str = sys.executable, house: str = str(HOUSE)) -> list[str]:
    """The command line of a box: no site, no user folder, no current folder on the path.

    `house` is the folder that holds the package `sandbox`; it leaves the path once all is imported.
    What `threading` and `random` would do in each fork is for forks of many threads, and left out:
    it takes a third of a millisecond, and a program's start seeds the random numbers. Room for the
    interpreter's objects is made first, so that all lie side by side, with no library between.
    """
    start = (
        "room = [bytes(479) for _ in range(12_000)][::500]; "
        f"import os, sys; sys.path.insert(0, {house!r}); register = os.register_at_fork; "
        "os.register_at_fork = lambda **_: None; from sandbox.inside import boot; "
        "os.register_at_fork = register; boot.room = room; del sys.path[0], register, room; "
        "boot.main()"
    )
    return [python, "-S", "-s", "-P", "-B", "-c", start]


ENVIRONMENT = {
    "PYTHONHASHSEED": "0",
    "LC_ALL": "C.UTF-8",
    "LD_BIND_NOW": "1",
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "NUMEXPR_NUM_THREADS": "1",
}
"""All that a box finds in its environment, until it has imported what it imports."""
