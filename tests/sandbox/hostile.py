"""The hostile suite: every program, its verdict, a control after it, and what is left at the end.

A script of the standard library and `sandbox` alone, so that it also runs as an ordinary user under
another interpreter:

    python tests/sandbox/hostile.py [--off LAYER ...] [--stored FILE] [--only NAME ...]

prints a line of JSON for each program: kind, name, verdict, allowed; then {"layers": [...]}.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from sandbox.local import LocalBackend
from sandbox.types import Assertions, Call, Limits, Program, Result, Stdin, Test
from tests.sandbox.own_programs import ASSERTIONS, CALLS, STDIN, TEST

LIMITS = Limits(cpu=0.6, wall=1.2, memory=512 << 20)
CONTROL = Program("print(sum(map(int, input().split())))", (Stdin("1 2\n"),))


@dataclass(frozen=True)
class Row:
    """A hostile program and what may come of it."""

    kind: str
    name: str
    program: Program
    right: str | None
    """What it should print, or return as JSON; None where assertions tell."""
    allowed: tuple[str, ...]


def own() -> Iterator[Row]:
    """Ours."""
    tests: list[tuple[str, dict[str, tuple[str, str]], Test, str | None]] = [
        ("stdin", STDIN, Stdin("1 2\n"), "3"),
        ("call", CALLS, Call("f", (1, 2)), "3"),
        ("assertions", ASSERTIONS, Assertions(TEST, "f"), None),
    ]
    for kind, rows, test, right in tests:
        for name, (allowed, source) in rows.items():
            program = Program(source, (test,), LIMITS)
            yield Row(kind, name, program, right, tuple(allowed.split()))


def stored(path: Path) -> Iterator[Row]:
    """The rows of `hostile_programs.jsonl`."""
    for line in path.read_text("utf-8").splitlines():
        row: dict[str, Any] = json.loads(line)
        code = row.get("code")
        if code is None:
            code = "".join(text * count for text, count in row.get("code_parts") or [])
        if row["mode"] == "stdin":
            test: Test = Stdin(row["input"])
        else:
            test = Call(row["fn_name"], tuple(map(json.loads, row["input"].split("\n"))))
        program = Program(code, (test,), LIMITS)
        yield Row(row["mode"], row["id"], program, row["expected"], tuple(row["allowed"]))


def verdict(row: Row, result: Result) -> str:
    """Strict text equality, or equality of JSON values."""
    (run,) = result.runs
    if run.status != "OK":
        failed = row.right is None and run.detail.startswith("AssertionError")
        return "WA" if failed else run.status
    if row.right is None:
        return "AC"
    if isinstance(row.program.tests[0], Stdin):
        return "AC" if _lines(run.stdout) == _lines(row.right.encode()) else "WA"
    value = json.loads(run.value or "null", parse_int=str, parse_float=str)
    right = json.loads(row.right, parse_int=str, parse_float=str)
    return "AC" if value == right else "WA"


def _lines(text: bytes) -> list[str]:
    return [line.rstrip() for line in text.decode("utf-8", "replace").rstrip().split("\n")]


def judged(backend: Any, rows: Sequence[Row]) -> Iterator[dict[str, Any]]:
    """What became of each; a control, from the same workers, follows each program."""
    programs = [program for row in rows for program in (row.program, CONTROL)]
    layers: set[str] = set()
    for index, result in backend.run(programs):
        row = rows[index // 2]
        layers |= set(result.layers)
        if index % 2:
            fine = [run.stdout for run in result.runs] == [b"3\n"] and not result.notes
            said = {"kind": "control", "name": f"after {row.name}", "allowed": ["AC"]}
            yield {**said, "verdict": "AC" if fine else f"{result.runs[-1]} {result.notes}"}
        else:
            told = verdict(row, result)
            said = {"kind": row.kind, "name": row.name, "allowed": list(row.allowed)}
            yield {**said, "verdict": told, "detail": result.runs[-1].detail}
    yield {"layers": sorted(layers)}


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--off", action="append", default=[])
    parser.add_argument("--stored", type=Path)
    parser.add_argument("--only", action="append", default=[])
    asked = parser.parse_args()
    rows = [*own(), *(stored(asked.stored) if asked.stored else ())]
    if asked.only:
        rows = [row for row in rows if row.name in asked.only]
    with LocalBackend(workers=4, off=asked.off) as backend:
        for said in judged(backend, rows):
            print(json.dumps(said), flush=True)


if __name__ == "__main__":
    main()
