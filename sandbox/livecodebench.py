"""The judge mode livecodebench-28fef95: LiveCodeBench's evaluator, with its quirks.

So that scores which it gave can be matched. A program that it would run (`livecodebench_inside`)
goes into the box with the submission and all inputs on its standard input; what it reports is
compared here by the evaluator's rules. One thing is not reproduced: expected outputs do not enter
the box, so a program that looks for them there finds nothing. Scores in this mode can be forged by
a program that speaks the reports itself, as LiveCodeBench's can in other ways: not for training.
"""

from __future__ import annotations

import json
import re
import secrets
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any, Literal, cast

from sandbox.comparators.match import RIGHT, Match, shown
from sandbox.comparators.text import livecodebench as same_text
from sandbox.comparators.values import Unreadable, read_value
from sandbox.errors import BadProgram
from sandbox.prefix import LIVECODEBENCH
from sandbox.types import Call, Limits, Outcome, Program, Run, Stdin, Test
from sandbox.wire import STDOUT

Code = Literal["true", "wrong", "time", "error", "exception", "output"]
"""Its results True, -2 or False, -3, -4, and an exception of its harness; and too much output, of
which it knows nothing, as it caps none."""
OUTCOMES: dict[Code, Outcome] = {
    "true": "AC",
    "wrong": "WA",
    "time": "TLE",
    "error": "RE",
    "exception": "RE",
    "output": "OLE",
}
ENDS: dict[str, Code] = {"TLE": "time", "OLE": "output"}
"""What the end of the process says of the test that has no report; else it is an exception."""
SCIENTIFIC = re.compile(r"\b(numpy|sympy|pandas|scipy)\b")
MEMORY = 4 << 30
MARK = "lcb-report "


@cache
def _inside() -> str:
    return Path(__file__).with_name("livecodebench_inside.py").read_text("utf-8")


def program(source: str, tests: Sequence[Test], limits: Limits) -> Program:
    """What runs a submission on all inputs, in one process, as the evaluator does.

    `limits.cpu` is its time limit a test, in whole seconds of the clock.
    """
    inputs: list[Any] = []
    name: str | None = None
    for test in tests:
        if isinstance(test, Stdin):
            inputs.append(test.text)
        elif isinstance(test, Call):
            name = test.name
            inputs.append(list(test.arguments))
        else:
            raise BadProgram("LiveCodeBench's evaluator has no assertion tests")
    seconds = max(1, round(limits.cpu))
    asked = {
        "mark": MARK + secrets.token_hex(16),
        "source": source,
        "inputs": inputs,
        "name": name,
        "seconds": seconds,
        "imports": LIVECODEBENCH,
    }
    total = (seconds + 1) * len(inputs) + 5
    return Program(
        source=_inside(),
        tests=(Stdin(json.dumps(asked)),),
        limits=Limits(
            cpu=total,
            wall=total + 5,
            memory=max(MEMORY, limits.memory),
            stack=limits.stack,
            stdout=min(limits.stdout * min(len(inputs) + 1, 64), STDOUT),
        ),
        pool="scientific" if SCIENTIFIC.search(source) else "lean",
    )


def codes(run: Run, tests: Sequence[Test], expected: Sequence[str]) -> list[tuple[Code, Match]]:
    """The evaluator's results, up to and with the first that is not True."""
    found: list[tuple[Code, Match]] = []
    reports = _reports(run)
    if reports and "setup" in reports[0]:
        return [("error", Match(False, f"Error during testing: {reports[0]['setup']}"[:300]))]
    for number, wanted in enumerate(expected):
        if number >= len(reports):
            why = ENDS.get(run.status, "exception")
            note = run.detail or "the evaluator's process ended"
            return [*found, (why, Match(False, note))]
        found.append(_code(reports[number], wanted, isinstance(tests[number], Call)))
        if found[-1][0] != "true":
            break
    return found


def outcome(code: tuple[Code, Match]) -> tuple[Outcome, Match]:
    """A result in our words."""
    return OUTCOMES[code[0]], code[1]


def _reports(run: Run) -> list[dict[str, Any]]:
    """What stands behind the mark; lines that are no report end it."""
    reports: list[dict[str, Any]] = []
    mark = ""
    for line in run.stdout.split(b"\n"):
        start = line.find(MARK.encode())
        if start < 0:
            continue
        text = line[start:].decode("utf-8", "replace")
        head, _, body = text[len(MARK) :].partition(" ")
        mark = mark or head
        try:
            report = json.loads(body)
        except (ValueError, RecursionError):
            return reports
        if head != mark or not isinstance(report, dict):
            return reports
        reports.append(cast("dict[str, Any]", report))
    return reports


def _code(report: dict[str, Any], expected: str, call: bool) -> tuple[Code, Match]:
    if "time" in report:
        return "time", Match(False, "Time Limit Exceeded")
    if "error" in report:
        return "error", Match(False, f"Runtime Error: {report['error']}"[:300])
    if not call:
        match = same_text(expected, str(report.get("text", "")))
        return ("true" if match.right else "wrong"), match
    value = report.get("value")
    if isinstance(value, list) and value[:1] == ["raises"]:
        return "error", Match(False, "comparing the result raised an exception")
    try:
        right = _equals(value, read_value(expected))
    except (Unreadable, RecursionError, ValueError, TypeError, LookupError):
        right = False
    return (
        ("true", RIGHT)
        if right
        else (
            "wrong",
            Match(False, f"expected {shown(expected)}, got {shown(cast(object, value))}"),
        )
    )


def _equals(value: Any, expected: Any) -> bool:
    """`==` of a value in the box's writing and a JSON value."""
    kind, *rest = value
    if kind == "any":
        return True
    if kind == "list":
        return isinstance(expected, list) and _all_equal(rest[0], cast("list[Any]", expected))
    if kind == "dict":
        if not isinstance(expected, dict):
            return False
        table = cast("dict[str, Any]", expected)
        keys = [key[1] for key, _ in rest[0] if key[0] == "str"]
        if len(keys) != len(rest[0]) or set(keys) != set(table):
            return False
        return all(_equals(each, table[key[1]]) for key, each in rest[0])
    if kind not in ("none", "bool", "int", "float", "str"):
        return False  # tuples below the top, sets, and whatever else is no JSON value
    plain = {"none": lambda: None, "bool": lambda: bool(rest[0]), "str": lambda: rest[0]}
    plain |= {"int": lambda: int(rest[0], 16), "float": lambda: float.fromhex(rest[0])}
    return bool(plain[kind]() == expected)


def _all_equal(values: Any, expected: list[Any]) -> bool:
    return len(values) == len(expected) and all(map(_equals, values, expected))
