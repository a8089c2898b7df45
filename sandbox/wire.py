"""Programs and results as JSON, for every border that they cross; what comes back is checked.

A result is believed only as far as it is well-formed: a missing, repeated, unknown or misshapen
part is a `BadReply`, and never a pass.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from dataclasses import fields
from typing import Any, Literal, cast, get_args

from sandbox.errors import BadProgram
from sandbox.types import SCIENTIFIC, Assertions, Call, Limits, Pool, Program, Run, Status, Stdin

PACKAGES = ("numpy", "sympy", "pandas", "scipy")
"""What the scientific pool loads, where it is installed."""
SCIENCE = re.compile(rf"\b({'|'.join(PACKAGES)})\b")
Kind = Literal["lean", "numpy", "scientific"]
"""What a box has loaded. `scientific` has all that `numpy` has."""
GROWTH = 6
"""Bytes of JSON that one byte of output may become, as in \\u00ff."""
HELD = 1 << 20
"""Bytes of an answer, and of the results before it in a frame, besides output (see `inside`)."""
STDOUT, STDERR = 32 << 20, 4 << 20
"""Bytes that a program's limits may admit: GROWTH times as many fit into a frame, so that no output
whatever is a fault of the machinery."""
STATUSES = frozenset(get_args(Status))
ROW = ("run", *(each.name for each in fields(Run)))
"""The number of the test, then its run: what a box tells, in this order."""


class BadReply(Exception):
    """What the box said is no result."""


def pool_of(program: Program) -> Pool:
    """Where it runs: scientific where asked for, or where its text names such a package."""
    if program.pool != "auto":
        return program.pool
    return "scientific" if _named(program) else "lean"


def kind_of(program: Program) -> Kind:
    """The same, but `numpy` where no other package is named: what has less in it forks faster."""
    pool = pool_of(program)
    return "numpy" if pool == "scientific" and _named(program) == {"numpy"} else pool


def _named(program: Program) -> set[str]:
    texts = [program.source, program.prefix]
    texts += [test.code for test in program.tests if isinstance(test, Assertions)]
    texts = [text for text in texts if any(name in text for name in PACKAGES)]  # it is far quicker
    return {name for text in texts for name in SCIENCE.findall(text)}


def check(program: Program) -> None:
    """BadProgram where it cannot be run as asked."""
    limits = program.limits
    if not program.tests:
        raise BadProgram("a program without tests has no verdict; give at least one")
    for name in ("cpu", "clock"):
        value = getattr(limits, name)
        if not (isinstance(value, int | float) and math.isfinite(value) and value > 0):
            needs = "it has to be a finite number of seconds, more than 0"
            raise BadProgram(f"limits.{name} is {value!r}; {needs}")
    for name in ("memory", "stack", "stdout", "stderr", "source"):
        value = getattr(limits, name)
        if not isinstance(value, int) or not 0 <= value < 1 << 50:
            raise BadProgram(f"limits.{name} is {value!r}; it has to be a number of bytes")
    for name, most in (("stdout", STDOUT), ("stderr", STDERR)):
        if getattr(limits, name) > most:
            raise BadProgram(f"limits.{name} is at most {most >> 20} MiB")
    for test in program.tests:
        _test(test)


def job_of(program: Program, pool: Kind, first: int = 0) -> dict[str, Any]:
    """What the keeper is sent; `first` is the test to begin with."""
    limits = program.limits
    memory = limits.memory + (0 if pool == "lean" else SCIENTIFIC)
    names = ("cpu", "stack", "stdout", "stderr")
    bounds = {name: getattr(limits, name) for name in names}
    return {
        "source": program.source,
        "prefix": program.prefix,
        "limits": {**bounds, "wall": limits.clock, "memory": memory},
        "tests": [_test(test) for test in program.tests],
        "isolation": program.isolation,
        "stop": program.stop_at_fault,
        "first": first,
    }


def _test(test: Stdin | Call | Assertions) -> dict[str, Any]:
    if isinstance(test, Stdin):
        return {"kind": "stdin", "text": test.text}
    if isinstance(test, Call):
        try:
            arguments = json.dumps(list(test.arguments))
        except (TypeError, ValueError, RecursionError) as error:
            raise BadProgram(f"the arguments of {test.name} are no JSON values: {error}") from None
        return {"kind": "call", "name": test.name, "arguments": arguments}
    kind = "split" if test.split else "weak"
    return {"kind": kind, "code": test.code, "entry": test.entry}


def run_of(said: Any, index: int) -> Run:
    """The run of test `index`; BadReply where it is not one."""
    if not isinstance(said, dict):
        raise BadReply(f"a run is no object: {type(said).__name__}")
    told = {"used": True, **cast("Mapping[str, Any]", said)}  # the worse, where it is not told
    try:
        return run_in([told[name] for name in ROW], index, second=1.0)
    except KeyError as error:
        raise BadReply(f"test {index}: {error!r}") from None


def run_in(row: Any, index: int, *, second: float = 1e6) -> Run:
    """The same of values in the order of `ROW`, as a box tells them: times in microseconds."""
    if type(row) is not list or len(cast("list[Any]", row)) != len(ROW):
        raise BadReply(f"test {index}: no row of {len(ROW)} values")
    values = cast("list[Any]", row)
    number, status, stdout, value, flattened, stderr, detail, cpu, wall, memory, *flags = values
    if type(number) is not int or number != index:
        raise BadReply(f"test {index}: run {number!r:.40}")
    texts = type(status) is type(stdout) is type(flattened) is type(stderr) is type(detail) is str
    if not texts or status not in STATUSES or not (value is None or type(value) is str):
        raise BadReply(f"test {index}: status {status!r:.40}, or a text that is none")
    for figure in (cpu, wall, memory):
        if not (type(figure) in (float, int) and 0 <= figure < 1e18):
            raise BadReply(f"test {index}: a number is {figure!r:.40}")
    if not set(map(type, flags)) <= {bool}:
        raise BadReply(f"test {index}: weak or used is {flags!r:.40}")
    try:
        output = stdout.encode("latin-1")
    except UnicodeEncodeError as error:
        raise BadReply(f"test {index}: {error!r:.200}") from None
    times = (cpu / second, wall / second)
    return Run(status, output, value, flattened, stderr, detail, *times, int(memory), *flags)


def run_to(run: Run, index: int) -> dict[str, Any]:
    """The JSON of a run, as `run_of` reads it."""
    return {**run.__dict__, "run": index, "stdout": run.stdout.decode("latin-1")}


def program_to(program: Program) -> dict[str, Any]:
    """The JSON of a whole program, as `program_of` reads it."""
    tests = [_test(test) for test in program.tests]
    plain = {
        key: value for key, value in program.__dict__.items() if key not in ("tests", "limits")
    }
    return {**plain, "tests": tests, "limits": dict(program.limits.__dict__)}


def program_of(said: Any) -> Program:
    """The program of a JSON object; BadProgram where it is none."""
    try:
        told: dict[str, Any] = dict(said)
        limits = Limits(**told.pop("limits", {}))
        tests = tuple(_test_of(dict(test)) for test in told.pop("tests"))
        program = Program(tests=tests, limits=limits, **told)
        texts: tuple[Any, ...] = (program.source, program.prefix)
        stop: Any = program.stop_at_fault
        fine = (
            program.pool in ("auto", *get_args(Pool))
            and program.isolation in ("program", "test")
            and isinstance(stop, bool)
            and all(isinstance(text, str) for text in texts)
        )
    except (TypeError, ValueError, KeyError, AttributeError, BadReply) as error:
        raise BadProgram(f"not a program: {error!r}") from None
    if not fine:
        raise BadProgram("not a program: pool, isolation, source or prefix are of the wrong kind")
    check(program)
    return program


def _test_of(told: dict[str, Any]) -> Stdin | Call | Assertions:
    kind = told["kind"]
    if kind == "stdin":
        return Stdin(_text(told["text"]))
    if kind == "call":
        return Call(_text(told["name"]), tuple(json.loads(told["arguments"])))
    if kind in ("split", "weak"):
        return Assertions(_text(told["code"]), _text(told["entry"]), kind == "split")
    raise ValueError(f"a test of kind {kind!r}")


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise BadReply(f"text is {type(value).__name__}")
    return value
