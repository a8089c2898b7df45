"""What the keeper does with a job: tests in order, each watched, each classified."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Iterator
from typing import Any, NoReturn

from sandbox import frames
from sandbox.inside import halves, runner
from sandbox.inside.keeper import TICK, Child, Keeper, Lost
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
    while True:
        try:
            job = frames.receive(inbound)
            told: list[dict[str, Any]] = []
            size, since = 0, time.monotonic()
            try:
                for index, seen in _tests(keeper, job):
                    told.append(seen.told(index))
                    size += seen.size
                    if size > LARGE or time.monotonic() - since > HELD_BACK:
                        frames.send(outbound, {"runs": told})
                        told, size, since = [], 0, time.monotonic()
                end = {"runs": told, "end": True}
            except Fault as fault:
                end = {"runs": told, "fault": str(fault)}
            frames.send(outbound, end)
        except (EOFError, OSError, frames.BadFrame, Lost):
            os._exit(0)


def _tests(keeper: Keeper, job: dict[str, Any]) -> Iterator[tuple[int, Seen]]:
    """Each test's number with what was seen of it."""
    tests, index = job["tests"], job["first"]
    while index < len(tests):
        split = tests[index]["kind"] == "split"
        row = _split(keeper, job, index) if split else _row(keeper, job, index)
        for number, seen in row:
            yield number, seen
            if seen.status != "OK" and job["stop"]:
                return
            index = number + 1


def _split(keeper: Keeper, job: dict[str, Any], index: int) -> Iterator[tuple[int, Seen]]:
    yield index, halves.watch(keeper, job, job["tests"][index])


def _row(keeper: Keeper, job: dict[str, Any], first: int) -> Iterator[tuple[int, Seen]]:
    """Tests in one process, up to the first that it should not be used after.

    It is handed a few tests ahead, each with an input and an output of its own, so that it does not
    wait for us. One that fails in a used process is left to a new one: so what earlier tests left
    behind is never the reason.
    """
    tests = job["tests"]
    end = first + 1
    while job["isolation"] != "test" and end < len(tests) and tests[end]["kind"] != "split":
        end += 1
    slots = min(SLOTS, end - first)
    child = keeper.child(job, slots)
    sent = first
    try:
        for index in range(first, end):
            while sent < min(end, index + slots):
                child.submit(*_asked(tests[sent], job["limits"]), (sent - first) % slots)
                sent += 1
            child.send()
            if index == first:
                keeper.expect(child)
            child.turn((index - first) % slots)
            seen = _watch(keeper, child, job, tests[index], last=index + 1 == end)
            if index > first and seen.status in ("RE", "MLE"):
                return
            yield index, seen
            if not seen.again or seen.status != "OK":
                return
    finally:
        keeper.leave(child)


def _watch(
    keeper: Keeper, child: Child, job: dict[str, Any], test: dict[str, Any], *, last: bool
) -> Seen:
    """One test in this process, from its turn to its end or its limit."""
    limits = job["limits"]
    start = time.monotonic()
    seen: Seen | None = None
    quick = True
    while seen is None:
        try:
            answer = child.heard_already() if quick else child.listen()
        except frames.BadFrame as error:
            seen = Seen("RE", f"its answer was no frame: {error}")
            break
        if answer is not None:
            seen = answered(answer, test)
            break
        if quick:
            keeper.wait([child], min(QUICK, limits["wall"], limits["cpu"]), quick=True)
            quick = False
            continue
        wall, cpu = time.monotonic() - start, child.cpu() - child.assigned
        if child.usage is not None:
            seen = died(child, test, cpu)
        elif len(child.stdout) > limits["stdout"]:
            seen = Seen("OLE", f"more than {limits['stdout']} bytes of output")
        elif cpu >= limits["cpu"]:
            seen = Seen("TLE", f"more than {limits['cpu']:g} s of CPU")
        elif wall >= limits["wall"]:
            seen = Seen("TLE", f"more than {limits['wall']:g} s on the clock")
        else:
            left = min(TICK, limits["wall"] - wall, limits["cpu"] - cpu)
            keeper.wait([child], left)
    if not seen.again:
        seen.memory = keeper.end(child).memory
    return measured(seen, child, test, time.monotonic() - start, last=last)


def _asked(test: dict[str, Any], limits: dict[str, Any]) -> tuple[bytes, bytes]:
    """What is sent to the program process, and what it finds on its input."""
    if test["kind"] == "stdin":
        return runner.PLAIN, test["text"].encode("utf-8", "surrogatepass")
    if test["kind"] == "call":
        asked = {"kind": "call", "name": test["name"], "most": limits["stdout"]}
        return frames.packed(asked), test["arguments"].encode()
    return frames.packed({"kind": "weak"}), test["code"].encode("utf-8", "surrogatepass")
