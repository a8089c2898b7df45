"""What was seen of one test: an answer of the program process, or its end without one."""

from __future__ import annotations

import os
import signal
from typing import Any

from sandbox.inside import runner
from sandbox.inside.keeper import Child

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


class Seen:
    """One test as it went; the fields are those of `sandbox.types.Run`."""

    __slots__ = (
        "again", "cpu", "detail", "flattened", "memory", "status", "stderr", "stdout", "used",
        "value", "wall", "weak",
    )  # fmt: skip

    def __init__(self, status: str, detail: str = "", *, again: bool = False) -> None:
        self.status, self.detail = status, detail
        self.value: str | None = None
        self.flattened = ""
        self.cpu = self.wall = 0.0
        self.memory = 0
        self.weak = self.used = False
        self.stdout = self.stderr = b""
        self.again = again
        """The process may be given the next test."""

    @property
    def size(self) -> int:
        """Bytes that its row takes, about."""
        return len(self.stdout) + len(self.stderr) + len(self.value or "")

    def row(self, index: int) -> list[Any]:
        """As the supervisor reads it (`wire.ROW`); output travels as latin-1 text.

        Times are whole microseconds, that on the clock rounded up: who was late remains so.
        """
        return [
            index,
            self.status,
            self.stdout.decode("latin-1"),
            self.value,
            self.flattened,
            self.stderr.decode("utf-8", "replace"),
            self.detail,
            round(self.cpu * 1e6),
            int(self.wall * 1e6) + 1,
            self.memory,
            self.weak,
            self.used,
        ]


def answered(answer: bytes, test: dict[str, Any]) -> Seen:
    """What the process says of itself; anything unknown is an error of the program."""
    head, _, body = answer.partition(b"\n")
    status = STATUS.get(head[:1], "RE")
    peak, spent, flattened = (*head[2:].split(b" "), b"", b"")[:3]
    text = body.decode("utf-8", "replace")
    seen = Seen(status, again=head[1:2] == b"1")
    seen.memory, seen.cpu = _number(peak) * 1024, _number(spent) / 1e6
    if status == "OK" and test["kind"] == "call":
        seen.value, seen.flattened = text, flattened.decode("ascii", "replace")[:8]
    elif status != "OK":
        seen.detail = text[:TOLD]
    return seen


def _number(text: bytes) -> int:
    return int(text) if text.isdigit() and len(text) < 12 else 0


def died(child: Child, test: dict[str, Any], cpu: float) -> Seen:
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


def measured(seen: Seen, child: Child, test: dict[str, Any], *, last: bool) -> None:
    """Add output and CPU seconds; output beyond the cap is OLE whatever came after it.

    A process may be ahead of what was watched. So a test is charged with the CPU seconds that the
    process says it took, up to those that the kernel counted; the last with all that are left. What
    came on the error output is what the keeper has read of it.
    """
    child.read_output()
    limits = child.limits
    if seen.status == "OK" and len(child.stdout) > limits["stdout"]:
        seen.status, seen.detail = "OLE", f"more than {limits['stdout']} bytes of output"
    if test["kind"] == "stdin":
        seen.stdout = bytes(child.stdout[: limits["stdout"]])
    seen.stderr = bytes(child.stderr[-limits["stderr"] :]) if limits["stderr"] else b""
    if last or not seen.again:
        child.count()
    counted = max(0.0, child.counted - child.assigned)
    seen.cpu = min(seen.cpu, counted) if seen.again and not last else counted
    child.assigned += seen.cpu
    seen.weak = test["kind"] == "weak"
