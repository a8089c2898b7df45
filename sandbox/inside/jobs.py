"""What the keeper does with a job: tests in order, each watched, each classified."""

from __future__ import annotations

import contextlib
import os
import socket
import time
from collections.abc import Iterator
from typing import Any, NoReturn

from sandbox import frames
from sandbox.inside import halves, runner
from sandbox.inside.keeper import TICK, Keeper, Lost
from sandbox.inside.seen import Fault, Seen, answered, died, measured

SLOTS = 10
"""Tests that a program process is handed ahead; a digit names one."""
HELD_BACK = 0.1
"""Seconds for which results of quick tests wait for one another."""
LARGE = 1 << 20
QUICK = 0.004
"""Seconds for which a test may go unobserved: less than any limit is measured by."""


def serve(inbound: int, outbound: int, zygote: socket.socket) -> NoReturn:
    """Jobs one after another, until the supervisor or the zygote is gone."""
    keeper = Keeper(inbound, outbound, zygote)
    silent = os.open(os.devnull, os.O_RDWR)
    os.dup2(silent, 2)
    with contextlib.suppress(OSError):  # what programs do comes first: we wake to more at once
        os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))
    try:
        for body in frames.bodies(inbound):
            _serve(keeper, frames.unpack(body), outbound)
    except (OSError, frames.BadFrame, Lost):
        pass
    os._exit(0)


def _serve(keeper: Keeper, job: dict[str, Any], outbound: int) -> None:
    rows: list[list[Any]] = []
    size, waited = 0, 0.0
    try:
        for index, seen in _tests(keeper, job):
            rows.append(seen.row(index))
            size += seen.size
            waited += seen.wall
            if size > LARGE or waited > HELD_BACK:
                frames.send(outbound, {"runs": rows})
                rows, size, waited = [], 0, 0.0
        end = {"runs": rows, "end": True}
    except Fault as fault:
        end = {"runs": rows, "fault": str(fault)}
    frames.send(outbound, end)
    keeper.tidy()


def _tests(keeper: Keeper, job: dict[str, Any]) -> Iterator[tuple[int, Seen]]:
    """Each test's number with what was seen of it."""
    tests, index, alone = job["tests"], job["first"], job["isolation"] == "test"
    while index < len(tests):
        row = None if tests[index]["kind"] == "split" else _Row(keeper, job, index, alone=alone)
        for number, seen in row.play() if row else _split(keeper, job, index):
            yield number, seen
            if seen.status != "OK" and job["stop"]:
                return
            index = number + 1
        alone = alone or (row is not None and row.overdrawn)


def _split(keeper: Keeper, job: dict[str, Any], index: int) -> Iterator[tuple[int, Seen]]:
    yield index, halves.watch(keeper, job, job["tests"][index])


class _Row:
    """Tests in one process, up to the first that it should not be used after.

    It is handed a few tests ahead, each with an input and an output of its own, so that it does not
    wait for us, and we need not wake for each. One that fails in a used process is left to a new
    one: so what earlier tests left behind is never the reason. And none passes in a process that
    has had more CPU seconds in all than one test may use: it could owe its pass to work that was
    done in the time of others. Then each test that is left gets a process of its own.
    """

    def __init__(self, keeper: Keeper, job: dict[str, Any], first: int, *, alone: bool) -> None:
        self.keeper, self.limits, self.tests = keeper, job["limits"], job["tests"]
        self.first = self.index = self.sent = first
        self.end = first + 1
        self.overdrawn = False
        """More CPU seconds than one test may use, by the kernel's count, and more than one test."""
        while not alone and self.end < len(self.tests):
            if self.tests[self.end]["kind"] == "split":
                break
            self.end += 1
        self.slots = min(SLOTS, self.end - first)
        self.child = keeper.child(job, self.slots)

    def play(self) -> Iterator[tuple[int, Seen]]:
        """Each test's number with what was seen of it."""
        child, since = self.child, time.monotonic()
        try:
            while self.index < self.end:
                self._hand_out()
                child.turn(self._slot(self.index))
                found = self._found(since)
                now = time.monotonic()
                settled = self._settled(found, now - since)
                if self.end > self.first + 1:
                    self.overdrawn = child.counted > self.limits["cpu"]
                for seen in settled:
                    seen.used = self.index > self.first
                    if self.overdrawn if seen.status == "OK" else seen.used:
                        return
                    yield self.index, seen
                    if not seen.again or seen.status != "OK":
                        return
                    self.index += 1
                since = now
        finally:
            self.keeper.leave(child)

    def _slot(self, index: int) -> int:
        return (index - self.first) % self.slots

    def _hand_out(self) -> None:
        """Let it have the tests for which there are slots."""
        begins = self.sent == self.first
        while self.sent < min(self.end, self.index + self.slots):
            test = self.tests[self.sent]
            self.child.submit(*_asked(test, self.limits), self._slot(self.sent))
            self.sent += 1
        self.child.send()
        if begins:
            self.keeper.expect(self.child)

    def _found(self, since: float) -> list[bytes] | Seen:
        """Answers that are there, one at least; or how a test ended without."""
        child, limits = self.child, self.limits
        self._doze()
        while True:
            try:
                answers = child.listen(self.sent - self.index)
            except frames.BadFrame as error:
                return Seen("RE", f"its answer was no frame: {error}")
            if answers:
                return answers
            wall, cpu = time.monotonic() - since, child.cpu() - child.assigned
            if child.usage is not None:
                return died(child, self.tests[self.index], cpu)
            if len(child.stdout) > limits["stdout"]:
                return Seen("OLE", f"more than {limits['stdout']} bytes of output")
            if cpu >= limits["cpu"]:
                return Seen("TLE", f"more than {limits['cpu']:g} s of CPU")
            if wall >= limits["wall"]:
                return Seen("TLE", f"more than {limits['wall']:g} s on the clock")
            self.keeper.wait([child], min(TICK, limits["wall"] - wall, limits["cpu"] - cpu))

    def _doze(self) -> None:
        """Until the last test prints; or one that leaves it enough to go on with until we wake."""
        last = self.sent - 1 if self.sent == self.end else self.index + self.slots // 2
        prints = self.tests[last]["kind"] == "stdin" and last > self.index
        bell = self.child.bell(self._slot(last), prints=prints)
        self.keeper.doze(self.child, min(QUICK, self.limits["wall"], self.limits["cpu"]), bell)

    def _settled(self, found: list[bytes] | Seen, wall: float) -> list[Seen]:
        """The tests that were answered, up to one that is not OK; each with its share of the time.

        They woke us once, so the seconds on the clock are shared by the CPU seconds that each took.
        """
        child, index, settled = self.child, self.index, list[Seen]()
        answers = found if isinstance(found, list) else [b""]
        child.count()
        for answer in answers:
            test, last = self.tests[index], index + 1 == self.end
            if settled:
                child.turn(self._slot(index))
            seen = answered(answer, test) if isinstance(found, list) else found
            settled.append(seen)
            if not seen.again:
                seen.memory = self.keeper.end(child).memory
            over = not seen.again or seen.status != "OK"
            if over or len(settled) == len(answers):
                child.read_errors()
            measured(seen, child, test, last=last)
            if over or seen.status != "OK":
                break
            index += 1
        spent = sum(seen.cpu for seen in settled)
        for seen in settled:
            seen.wall = wall * (seen.cpu / spent if spent else 1 / len(settled))
        return settled


def _asked(test: dict[str, Any], limits: dict[str, Any]) -> tuple[bytes, bytes]:
    """What is sent to the program process, and what it finds on its input."""
    if test["kind"] == "stdin":
        return runner.PLAIN, test["text"].encode("utf-8", "surrogatepass")
    if test["kind"] == "call":
        asked = {"kind": "call", "name": test["name"], "most": limits["stdout"]}
        return frames.packed(asked), test["arguments"].encode()
    return frames.packed({"kind": "weak"}), test["code"].encode("utf-8", "surrogatepass")
