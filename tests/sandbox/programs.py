"""Programs whose every outcome is known, for all backends."""

from __future__ import annotations

from dataclasses import dataclass, replace

from sandbox.types import Assertions, Call, Limits, Program, Status, Stdin, Test

SHORT = Limits(cpu=1.0, wall=6.0, memory=256 << 20, stdout=1 << 16)


GIVEN = Stdin("21\n")


@dataclass(frozen=True)
class Known:
    """A program and what has to come of its only test."""

    name: str
    source: str
    status: Status
    output: str | None = None
    """Standard output, or the value as JSON."""
    test: Test = GIVEN

    @property
    def program(self) -> Program:
        endless = replace(SHORT, wall=1.5)  # services of others have no other limit of time
        return Program(self.source, (self.test,), endless if self.status == "TLE" else SHORT)


PAIR = Call("f", (20, [1, 2]))
KNOWN = [
    Known("double", "print(int(input()) * 2)", "OK", "42\n"),
    Known("buffer", "import sys\nsys.stdout.buffer.write(sys.stdin.buffer.read())", "OK", "21\n"),
    Known("unicode", "print('\u00e9\u4e2d\U0001f600')", "OK", "\u00e9\u4e2d\U0001f600\n"),
    Known("quiet", "pass", "OK", ""),
    Known("good exit", "print(1)\nexit()", "OK", "1\n"),
    Known("hard exit", "import os\nprint(1, flush=True)\nos._exit(0)", "OK", "1\n"),
    Known("exit status", "print(42)\nimport sys\nsys.exit(1)", "RE"),
    Known("exception", "1 / 0", "RE"),
    Known("endless", "while True: pass", "TLE"),
    Known("greedy", "x = bytearray(1 << 40)", "MLE"),
    Known("talkative", "while True: print('x' * 4096)", "OLE"),
    Known("no source", "def f(:", "CE"),
    Known("call", "def f(a, b):\n    return [a + 1, *b]", "OK", "[21, 1, 2]", PAIR),
    Known(
        "method",
        "class Solution:\n    def f(self, a, b):\n        return {'a': a}",
        "OK",
        '{"a": 20}',
        PAIR,
    ),
    Known("prints too", "def f(a, b):\n    print('noise')\n    return None", "OK", "null", PAIR),
    Known("raises", "def f(a, b):\n    raise ValueError('no')", "RE", None, PAIR),
    Known("leaves", "def f(a, b):\n    raise SystemExit(0)", "RE", None, PAIR),
    Known("no function", "g = 1", "RE", None, PAIR),
    Known("a set", "def f(a, b):\n    return {1}", "RE", None, PAIR),
    Known(
        "asserts", "def f(a):\n    return a", "OK", None, Assertions("assert f(1) == 1", "f", False)
    ),
    Known(
        "fails", "def f(a):\n    return 2", "RE", None, Assertions("assert f(1) == 1", "f", False)
    ),
]
