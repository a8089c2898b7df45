"""foreign: one test as a text that any service can run, and its run out of what came back."""

from __future__ import annotations

import base64
import json
import re
import secrets
import zlib
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, cast

from sandbox.fleet import Ask, Failed, Fleet, Patience, Refused
from sandbox.protocol import decode, table
from sandbox.types import (
    Assertions,
    Call,
    Capabilities,
    Limits,
    Program,
    Result,
    Run,
    Status,
    Stdin,
)
from sandbox.wire import BadReply, job_of, pool_of

ROOM = Path(__file__).resolve().parent.parent
PARTS = (
    ("sandbox.frames", "frames.py"),
    ("sandbox.inside.decoding", "inside/decoding.py"),
    ("sandbox.inside.encoding", "inside/encoding.py"),
    ("sandbox.inside.split", "inside/split.py"),
    ("sandbox.inside.state", "inside/state.py"),
    ("sandbox.inside.customs", "inside/customs.py"),
    ("sandbox.inside.runner", "inside/runner.py"),
    ("sandbox.adapters.driver", "adapters/driver.py"),
)
"""Modules that are sent along, in the order of their imports."""
START = """\
import base64, json, sys, types, zlib
def start():
    parts, job = json.loads(zlib.decompress(base64.b64decode({packed!r})))
    for name, text in parts:
        for end in [i for i, c in enumerate(name) if c == "."] + [len(name)]:
            if name[:end] not in sys.modules:
                module = sys.modules[name[:end]] = types.ModuleType(name[:end])
                module.__path__ = []
                above, _, last = name[:end].rpartition(".")
                if above:
                    setattr(sys.modules[above], last, module)
        sys.modules[name].__file__ = name
        exec(compile(text, name, "exec"), sys.modules[name].__dict__)
    sys.modules["sandbox.adapters.driver"].main(job)
start()
"""
OVERLOAD = "Resource temporarily unavailable"
"""What a shell or an interpreter says that was refused a process: the service is overloaded."""
STATUS: dict[str, Status] = {"O": "OK", "R": "RE", "M": "MLE", "L": "OLE", "C": "CE"}
KILLED = {9: "MLE", 24: "TLE", 25: "RE"}
"""Signals of limits: no memory (or a kill that the service does not explain), CPU, file size."""


@dataclass(frozen=True)
class Parcel:
    """One test, as it is sent."""

    nonce: str
    code: str
    stdin: str
    limits: Limits


@dataclass(frozen=True)
class Reply:
    """What a service told of one process."""

    stdout: str
    stderr: str
    code: int | None
    """Exit status; negative, or above 128, for a signal."""
    stopped: Status | None = None
    """Why the service itself ended it."""
    wall: float = 0.0


Send = Callable[[Parcel, Fleet], Awaitable[Reply]]


async def result(name: str, program: Program, fleet: Fleet, send: Send) -> Result:
    """The program's runs, each test a request of its own; BadReply, Failed, Refused."""
    runs: list[Run] = []
    interpreter = ""
    if len(program.source.encode("utf-8", "surrogatepass")) > program.limits.source:
        detail = f"more than {program.limits.source} bytes of source"
        return Result((Run("CE", detail=detail),), name, (), "", ())
    for index in range(len(program.tests)):
        parcel = pack(program, index)
        reply = await send(parcel, fleet)
        interpreter = begun(parcel, reply.stderr)
        runs.append(run_of(program, index, parcel, reply))
        if program.stop_at_fault and runs[-1].status != "OK":
            break
    note = f"isolation is the word of {name}; nothing of it was verified"
    return Result(tuple(runs), name, (f"unverified.{name}",), interpreter, (note,))


async def able(name: str, fleet: Fleet, send: Send) -> Capabilities:
    """Found by running a program; what it cannot tell is told as unknown."""
    program = Program("print(6 * 7)", (Stdin(""),))
    try:
        seen = await result(name, program, fleet, send)
    except (Failed, Refused, BadReply) as error:
        return Capabilities(name, False, {}, (f"{name} runs no program: {error}",))
    if seen.runs[0].stdout.strip() != b"42":
        return Capabilities(name, False, {}, (f"{name} cannot multiply: {seen.runs[0]}",))
    unknown = "not known: only the service itself could tell"
    layers = dict.fromkeys(("seccomp", "landlock", "namespaces", "container"), unknown)
    told = {f"unverified.{name}": "on", **layers}
    return Capabilities(name, True, told, (), seen.interpreter, workers=fleet.room)


def pack(program: Program, index: int) -> Parcel:
    """The text that runs one test of a program."""
    job = job_of(program, pool_of(program))
    test = dict(job["tests"][index])
    kind, stdin = test["kind"], ""
    if kind == "stdin":
        stdin = test.pop("text")
    elif kind == "call":
        stdin = test.pop("arguments")
        test["most"] = program.limits.stdout
    else:  # one process has all that there is
        test["kind"], stdin = "weak", test.pop("code")
    limits = job["limits"]
    nonce = secrets.token_hex(8)
    sent = {
        "nonce": nonce,
        "test": test,
        "source": program.source,
        "prefix": program.prefix,
        "memory": limits["memory"],
        "stack": limits["stack"],
        "cpu": int(limits["cpu"]) + 1,
    }
    packed = base64.b64encode(zlib.compress(json.dumps([_parts(), sent]).encode(), 9)).decode()
    return Parcel(nonce, START.format(packed=packed), stdin, program.limits)


@cache
def _parts() -> list[tuple[str, str]]:
    return [(name, (ROOM / path).read_text("utf-8")) for name, path in PARTS]


def begun(parcel: Parcel, stderr: str) -> str:
    """The interpreter that ran it; BadReply if none did."""
    found = re.search(rf"^{parcel.nonce} begun ([\w.+-]{{1,80}})$", stderr, re.M)
    if not found:
        raise BadReply(f"the program was not begun: {stderr[-300:]!r}")
    return found[1]


def overload(parcel: Parcel, stderr: str) -> str:
    """A fault, where the service had no process to give. What a program says is none."""
    if f"{parcel.nonce} begun" in stderr or OVERLOAD not in stderr:
        return ""
    return f"overloaded: {OVERLOAD}"


def run_of(program: Program, index: int, parcel: Parcel, reply: Reply) -> Run:
    """What one process showed."""
    limits, test = parcel.limits, program.tests[index]
    report, stderr = _report(parcel, reply.stderr)
    stdout = reply.stdout.encode("utf-8", "surrogateescape")
    status, detail = _status(reply, report, isinstance(test, Stdin))
    if len(stdout) > limits.stdout:
        status, detail, stdout = "OLE", f"more than {limits.stdout} bytes of output", b""
    called = isinstance(test, Call)
    value = str(report.get("text", "")) if status == "OK" and called else None
    return Run(
        status,
        stdout=stdout if isinstance(test, Stdin) else b"",
        value=value,
        flattened=str(report.get("flattened", "")) if value is not None else "",
        stderr=stderr[-limits.stderr :],
        detail=detail,
        cpu=number(report.get("cpu")),
        wall=max(0.0, reply.wall),
        memory=int(number(report.get("memory"))),
        weak=isinstance(test, Assertions),
    )


def _status(reply: Reply, report: Mapping[str, Any], script: bool) -> tuple[Status, str]:
    if reply.stopped is not None:
        return reply.stopped, "ended by the service"
    told = STATUS.get(str(report.get("status")))
    if told is not None and (told != "OK" or reply.code == 0):
        return told, "" if told == "OK" else str(report.get("text", ""))[:2000]
    if reply.code == 0:  # it left without a word, as a script may
        return ("OK", "") if script else ("RE", "it ended before the test was over")
    code = reply.code if reply.code is not None else -9
    signal = -code if code < 0 else code - 128 if code > 128 else 0
    if signal:
        return cast("Status", KILLED.get(signal, "RE")), f"signal {signal}"
    return "RE", f"exit status {code}"


def _report(parcel: Parcel, stderr: str) -> tuple[Mapping[str, Any], str]:
    """The report, and what else was said."""
    lines = stderr.splitlines(keepends=True)
    ours = [line for line in lines if line.startswith(parcel.nonce)]
    rest = "".join(line for line in lines if not line.startswith(parcel.nonce))
    word = f"{parcel.nonce} ended "
    told = [line[len(word) :] for line in ours if line.startswith(word)]
    try:
        return (table(decode(told[-1].encode())) if told else {}), rest.rstrip("\n")
    except BadReply:
        return {}, rest.rstrip("\n")


def number(value: Any) -> float:
    fine = isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < 1e15
    return float(value) if fine else 0.0


def ask_of(path: str, body: Mapping[str, Any], limits: Limits, patience: Patience) -> Ask:
    """A request of JSON, with time for the service's queue and the program's own limit."""
    text = json.dumps(body, separators=(",", ":")).encode()
    seconds = patience.turn + limits.clock + patience.margin
    return Ask(path, text, seconds, {"Content-Type": "application/json"})
