"""Split tests as the keeper sees them: two processes and the line between them.

The test passes only if the judging half reached its end while the holding half was still there.
"""

from __future__ import annotations

import socket
import time
from typing import Any

from sandbox import frames
from sandbox.inside.keeper import TICK, Child, Keeper
from sandbox.inside.seen import Seen, answered, died, measured

LAST_WORDS = 2.0
"""Seconds that the holding half has to show how it ended."""


def watch(keeper: Keeper, job: dict[str, Any], test: dict[str, Any]) -> Seen:
    """One split test, in two new processes."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        holder = keeper.child(job, link=ours.fileno())
        judge = keeper.child({**job, "source": test["code"]}, link=theirs.fileno())
    holder.submit(frames.packed({"kind": "hold"}), b"")
    judge.submit(frames.packed({"kind": "judge", "entry": test["entry"]}), b"")
    for each in (holder, judge):
        each.send()
        each.turn()
    start = time.monotonic()
    seen: Seen | None = None
    while seen is None:
        seen = _look(keeper, (holder, judge), test, time.monotonic() - start)
    seen.wall = time.monotonic() - start
    memory = keeper.end(holder).memory
    spent = judge.cpu()
    keeper.leave(judge)
    holder.read_errors()
    measured(seen, holder, test, last=True)
    seen.cpu, seen.memory, seen.again = seen.cpu + spent, memory, False
    seen.stderr = bytes(judge.stderr[-job["limits"]["stderr"] :]) or seen.stderr
    return seen


def _look(
    keeper: Keeper, both: tuple[Child, Child], test: dict[str, Any], wall: float
) -> Seen | None:
    """What can be said now; waits a little where that is nothing."""
    holder, judge = both
    limits = holder.limits
    try:
        said, verdict = _said(holder), _said(judge)
    except frames.BadFrame as error:
        return Seen("RE", f"its answer was no frame: {error}")
    cpu = holder.cpu()
    if verdict is not None:
        return _judged(keeper, holder, (verdict, said), test)
    if said is not None:
        return _held(said, test)
    if holder.usage is not None:
        return died(holder, test, cpu)
    if judge.usage is not None:
        return died(judge, test, judge.cpu())
    if max(len(each.stdout) for each in both) > limits["stdout"]:
        return Seen("OLE", f"more than {limits['stdout']} bytes of output")
    if max(cpu, judge.cpu()) >= limits["cpu"]:
        return Seen("TLE", f"more than {limits['cpu']:g} s of CPU")
    if wall >= limits["wall"]:
        return Seen("TLE", f"more than {limits['wall']:g} s on the clock")
    keeper.wait(list(both), min(TICK, limits["wall"] - wall, limits["cpu"] - cpu))
    return None


def _said(child: Child) -> bytes | None:
    answers = child.listen()
    return answers[0] if answers else None


def _held(said: bytes, test: dict[str, Any]) -> Seen:
    """The holding half never ends well by itself: its submission failed before the test did."""
    seen = answered(said, test)
    return Seen("RE", "it hung up before the test was over") if seen.status == "OK" else seen


def _judged(
    keeper: Keeper, holder: Child, answers: tuple[bytes, bytes | None], test: dict[str, Any]
) -> Seen:
    """The test's own end; where the line broke, the reason is with the holding half."""
    verdict, said = answers
    seen = answered(verdict, test)
    if not seen.detail.startswith("Ended: "):
        return seen
    if said is not None:
        return _held(said, test)
    until = time.monotonic() + LAST_WORDS
    while holder.usage is None and time.monotonic() < until:
        try:
            said = _said(holder)
        except frames.BadFrame:
            break
        if said is not None:
            return _held(said, test)
        keeper.wait([holder], TICK)
    return died(holder, test, holder.cpu()) if holder.usage is not None else seen
