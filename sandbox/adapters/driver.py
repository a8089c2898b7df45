"""driver: runs one test inside somebody else's service. Sent there as text, with the runner.

On the error output it says `NONCE begun INTERPRETER` before anything of the submission runs, and
`NONCE ended REPORT` at the end. A submission could write the second line itself: then it has said
something about its own output, which is compared outside with what it does not know.
"""

# pyright: reportPrivateUsage=false

from __future__ import annotations

import contextlib
import json
import os
import platform
import resource
import sys
from typing import Any

from sandbox.inside import customs, runner, state


def main(job: dict[str, Any]) -> None:
    """Run the test of a job, report, and end the process."""
    nonce: str = job["nonce"]
    interpreter = f"{sys.implementation.name}-{platform.python_version()}-{sys.platform}"
    _tell(f"{nonce} begun {interpreter}-{platform.machine()}")
    for kind, most in (("AS", job["memory"]), ("STACK", job["stack"]), ("CORE", 0)):
        _limit(getattr(resource, f"RLIMIT_{kind}"), most)
    _limit(resource.RLIMIT_CPU, job["cpu"])
    said = _conduct(job)
    used = resource.getrusage(resource.RUSAGE_SELF)
    report = {
        "status": said[0].decode(),
        "text": said[1],
        "flattened": said[2],
        "cpu": used.ru_utime + used.ru_stime,
        "memory": used.ru_maxrss * 1024,
    }
    _tell(f"\n{nonce} ended {json.dumps(report)}")
    os._exit(0 if said[0] == runner.FINE else 1)


def _conduct(job: dict[str, Any]) -> tuple[bytes, str, str]:
    """What a program process of ours does with its first test."""
    state.remember()
    source = job["source"].removeprefix("\ufeff")
    doubts = state.doubts(job["prefix"], source)
    try:
        prefix = compile(job["prefix"], "<prefix>", "exec", dont_inherit=True)
        code = compile(source, "<solution>", "exec", dont_inherit=True)
    except runner.NOT_SOURCE as error:
        return runner.UNCOMPILED, f"{type(error).__name__}: {error}"[: runner.TOLD], ""
    state.refresh()
    if doubts & state.CUSTOMS:
        customs.keep()
    bodies = {"stdin": runner._stdin, "call": runner._call, "weak": runner._weak}
    return runner._conduct(bodies[job["test"]["kind"]], prefix, code, job["test"], doubts)


def _limit(kind: int, most: int) -> None:
    hard = resource.getrlimit(kind)[1]
    least = most if hard < 0 else min(most, hard)
    with contextlib.suppress(OSError, ValueError):  # a service may forbid it, and holds its own
        resource.setrlimit(kind, (least, least))


def _tell(text: str) -> None:
    rest = memoryview((text + "\n").encode())
    while rest:
        rest = rest[os.write(2, rest) :]
