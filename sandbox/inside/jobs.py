"""What the keeper does with a job: tests in order, each watched, each classified."""

from __future__ import annotations

import os
import signal
import socket
import time
from dataclasses import dataclass
from typing import Any, NoReturn

from sandbox import frames
from sandbox.inside import runner
from sandbox.inside.keeper import TICK, Child, Keeper, Lost

STATUS = {
    runner.FINE: "OK",
    runner.ERROR: "RE",
    runner.MEMORY: "MLE",
    runner.OUTPUT: "OLE",
    runner.UNCOMPILED: "CE",
}
TOLD = 2000


class Fault(Exception):
    """The machinery failed; nothing is known of the program."""


@dataclass
class Seen:
    """One test as it went; the fields are those of `sandbox.types.Run`."""

    status: str
    detail: str = ""
    value: str | None = None
    flattened: str = ""
    cpu: float = 0.0
    wall: float = 0.0
    memory: int = 0
    weak: bool = False
    stdout: bytes = b""
    stderr: bytes = b""
    again: bool = False
    """The process may be given the next test."""

    def frame(self, index: int) -> dict[str, Any]:
        """As the supervisor reads it; bytes travel as latin-1 text."""
        told = {**self.__dict__, "run": index, "stdout": self.stdout.decode("latin-1")}
        told["stderr"] = self.stderr.decode("utf-8", "replace")
        del told["again"]
        return told


def serve(inbound: int, outbound: int, zygote: socket.socket) -> NoReturn:
    """Jobs one after another, until the supervisor or the zygote is gone."""
    keeper = Keeper(inbound, outbound, zygote)
    silent = os.open(os.devnull, os.O_RDWR)
    os.dup2(silent, 2)
    while True:
        try:
            job = frames.receive(inbound)
            try:
                for index, seen in _tests(keeper, job):
                    frames.send(outbound, seen.frame(index))
                frames.send(outbound, {"end": True})
            except Fault as fault:
                frames.send(outbound, {"fault": str(fault)})
        except (EOFError, OSError, frames.BadFrame, Lost):
            os._exit(0)


def _tests(keeper: Keeper, job: dict[str, Any]) -> Any:
    """Each test's number with what was seen of it."""
    child: Child | None = None
    try:
        for index in range(job["first"], len(job["tests"])):
            test = job["tests"][index]
            used = child is not None
            child = child or Child(keeper, job)
            seen = _watch(keeper, child, job, test)
            if used and seen.status in ("RE", "MLE"):
                # so that what earlier tests left behind is never the reason
                keeper.leave(child)
                child = Child(keeper, job)
                seen = _watch(keeper, child, job, test)
            if not seen.again or seen.status != "OK" or job["isolation"] == "test":
                keeper.leave(child)
                child = None
            yield index, seen
            if seen.status != "OK" and job["stop"]:
                return
    finally:
        if child is not None:
            keeper.leave(child)


def _watch(keeper: Keeper, child: Child, job: dict[str, Any], test: dict[str, Any]) -> Seen:
    """One test in this process, from its start to its end or its limit."""
    limits = job["limits"]
    asked, text = _asked(test, limits)
    child.begin(asked, text)
    start = time.monotonic()
    seen: Seen | None = None
    while seen is None:
        wall, cpu = time.monotonic() - start, child.cpu() - child.cpu_before
        try:
            answer = child.listen()
        except frames.BadFrame as error:
            seen = Seen("RE", f"its answer was no frame: {error}")
            break
        if answer is not None:
            seen = _answered(answer, test)
        elif child.usage is not None:
            seen = _died(child, test, cpu)
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
    return _measured(seen, child, test, time.monotonic() - start)


def _asked(test: dict[str, Any], limits: dict[str, Any]) -> tuple[dict[str, Any], bytes]:
    """What is sent to the program process, and what it finds on its input."""
    if test["kind"] == "stdin":
        return {"kind": "stdin"}, test["text"].encode("utf-8", "surrogatepass")
    if test["kind"] == "call":
        asked = {"kind": "call", "name": test["name"], "most": limits["stdout"]}
        return asked, test["arguments"].encode()
    return {"kind": "weak", "code": test["code"]}, b""


def _measured(seen: Seen, child: Child, test: dict[str, Any], wall: float) -> Seen:
    child.read_all()
    limits = child.limits
    if seen.status == "OK" and len(child.stdout) > limits["stdout"]:
        seen.status, seen.detail = "OLE", f"more than {limits['stdout']} bytes of output"
    if test["kind"] == "stdin":
        seen.stdout = bytes(child.stdout[: limits["stdout"]])
    seen.stderr = bytes(child.stderr[-limits["stderr"] :]) if limits["stderr"] else b""
    seen.cpu, seen.wall = max(0.0, child.cpu() - child.cpu_before), wall
    seen.weak = test["kind"] == "weak"
    return seen


def _answered(answer: bytes, test: dict[str, Any]) -> Seen:
    """What the process says of itself; anything unknown is an error of the program."""
    head, _, body = answer.partition(b"\n")
    status = STATUS.get(head[:1], "RE")
    numbers, _, flattened = head[2:].partition(b" ")
    text = body.decode("utf-8", "replace")
    seen = Seen(status, again=head[1:2] == b"1")
    seen.memory = int(numbers) * 1024 if numbers.isdigit() and len(numbers) < 12 else 0
    if status == "OK" and test["kind"] == "call":
        seen.value, seen.flattened = text, flattened.decode("ascii", "replace")[:8]
    elif status != "OK":
        seen.detail = text[:TOLD]
    return seen


def _died(child: Child, test: dict[str, Any], cpu: float) -> Seen:
    """A process that ended without an answer."""
    usage = child.usage
    assert usage is not None
    if not child.greeted:
        child.read_all()
        raise Fault(f"a program process did not start: {child.stderr.decode('utf-8', 'replace')}")
    limits = child.limits
    if os.WIFEXITED(usage.status):
        code = os.WEXITSTATUS(usage.status)
        if test["kind"] != "stdin":
            return Seen("RE", f"the process ended with status {code} before the test was over")
        return Seen("RE", f"exit status {code}") if code else Seen("OK")
    number = os.WTERMSIG(usage.status)
    if number in (signal.SIGKILL, signal.SIGXCPU) and cpu >= limits["cpu"]:
        return Seen("TLE", f"more than {limits['cpu']:g} s of CPU")
    if number == signal.SIGKILL:
        if usage.memory * 2 >= limits["memory"]:
            return Seen("MLE", "killed while it held much memory")
        raise Fault("a program process was killed from outside")
    return Seen("RE", f"signal {number} ({signal.strsignal(number)})")
