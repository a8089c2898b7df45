"""Assertions run split: the test cannot be bribed, and honest functions do not notice."""

# ruff: noqa: E501 - programs are easier to read on long lines
from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from sandbox.local import LocalBackend
from sandbox.types import Assertions, Backend, Limits, Program
from tests.sandbox.boxes import one, results, runs

linux = pytest.mark.skipif(sys.platform != "linux", reason="boxes need Linux")


@pytest.fixture(scope="module")
def box() -> Iterator[Backend]:
    with LocalBackend(workers=2) as backend:
        yield backend


def asserting(source: str, code: str, entry: str = "", **settings: Any) -> Program:
    return Program(source, (Assertions(code, entry),), **settings)


HONEST = {
    "plain": ("def f(x): return x + 1", "assert f(1) == 2"),
    "types": (
        "def f(x): return x",
        "for x in (None, True, 2 ** 70, -0.0, 1e-300, 2j, 'ü\\ud800', b'\\0', [1, (2,)], {3: {4}},\n"
        "          frozenset({5}), {(1, 2): [None]}):\n"
        "    y = f(x)\n"
        "    assert type(y) is type(x) and repr(y) == repr(x), (x, y)",
    ),
    "in place": (
        "def f(a, d, s):\n    a.sort()\n    d['k'] = [1]\n    s.clear()",
        "a, d, s = [3, 1], {}, {1}\nassert f(a, d, s=s) is None\n"
        "assert (a, d, s) == ([1, 3], {'k': [1]}, set())",
    ),
    "in place, deep": (
        "def f(a, pair, error=None):\n    a[0].append(a)\n    pair[0].clear()\n    a.append(pair[1])\n"
        "    if error: raise error\n    return a",
        "inner, table, last = [1], {1: 2}, {3}\na = [inner]\n"
        "assert f(a, (table, last)) is a and a[1] is last and inner == [1, a] and table == {}\n"
        "a, table = [inner], {1: 2}\n"
        "try: f(a, (table, last), 'no exception')\nexcept TypeError: assert a == [inner, last] and not table",
    ),
    "left alone": (
        "def f(a): return len(a)",
        "from collections import namedtuple\nPoint = namedtuple('Point', 'x')\n"
        "a = [Point(3)]\nassert f(a) == 1 and a[0].x == 3",
    ),
    "one object": (
        "def f(a):\n    a[0].append(1)\n    return [a[0]] * 2",
        "a = [[]] * 2\nb = f(a)\nassert a == [[1], [1]] and b[0] is b[1] is a[0]",
    ),
    "iterators": (
        "def f(x): yield from x\ndef g(x): return (map(str, x), filter(None, x), zip(x, x), reversed(x))\n"
        "def h(x):\n    yield 1\n    raise KeyError(x)",
        "x = f([1, 2])\nassert next(x) == 1 and list(x) == [2] and list(x) == []\n"
        "assert [list(each) for each in g([0, 1])] == [['0', '1'], [1], [(0, 0), (1, 1)], [1, 0]]\n"
        "x = h(5)\nassert next(x) == 1\ntry: next(x)\nexcept KeyError as error: assert error.args == (5,)",
    ),
    "exits": (
        "import sys\ndef f(x): sys.exit(x)\ndef g(): raise KeyboardInterrupt",
        "try: f(3)\nexcept SystemExit as error: assert error.code == 3\n"
        "try: g()\nexcept KeyboardInterrupt: pass\nelse: assert False",
    ),
    "arguments of exceptions": (
        "def f(*x): raise ValueError(*x)\ndef g(x): return {}[x]",
        "def args(f, *x):\n    try: f(*x)\n    except Exception as error: return error.args\n"
        "assert args(g, 'a') == ('a',) and args(f) == () and args(f, 1, None, 'x', 0.5) == (1, None, 'x', 0.5)",
    ),
    "exceptions": (
        "class Own(KeyError): pass\ndef f(x): raise Own('why') if x else ZeroDivisionError('no')",
        "try:\n    f(1)\nexcept KeyError as error:\n    assert 'why' in str(error)\nelse:\n    assert False\n"
        "try:\n    f(0)\nexcept ZeroDivisionError:\n    pass\nelse:\n    assert False",
    ),
    "several names": (
        "import math\nLIMIT = [3]\ndef g(x): return x * 2\ndef f(x): return x + 1",
        "assert f(g(LIMIT[0])) == 7 and math.isclose(g(0.5), 1.0)",
    ),
    "check": ("def f(x): return x", "def check(candidate):\n    assert candidate(4) == 4\ncheck(f)"),
    "state": ("n = 0\ndef f():\n    global n\n    n += 1\n    return n", "assert [f(), f()] == [1, 2]"),
    "print": ("def f(x):\n    print('x' * 999)\n    return x", "assert f(1) == 1"),
    "subclass": (
        "from collections import Counter, OrderedDict\ndef f(x): return Counter(x)",
        "assert f('aab') == {'a': 2, 'b': 1}",
    ),
}  # fmt: skip


@linux
@pytest.mark.parametrize("name", HONEST)
def test_honest_functions_do_not_notice_the_split(box: Backend, name: str):
    source, code = HONEST[name]
    ways = tuple(Assertions(code, split=way) for way in (True, False))
    found = runs(box, Program(source, ways, stop_at_fault=False))
    assert [(run.status, run.detail, run.weak) for run in found] == [
        ("OK", "", False),
        ("OK", "", True),
    ]


FAILING = {
    "wrong": ("def f(x): return 2", "assert f(1) == 1, 'here'", "RE", "AssertionError: here"),
    "raises": ("def f(x): return {}[x]", "f(1)", "RE", "KeyError: 1"),
    "missing": ("def g(x): return 2", "assert f(1) == 1", "RE", "NameError"),
    "source raises": (
        "raise ValueError('at once')",
        "assert f(1) == 1",
        "RE",
        "ValueError: at once",
    ),
    "no source": ("def f(:", "assert f(1) == 1", "CE", "SyntaxError"),
    "stranger": ("def f(x): return f", "assert f(1)", "RE", "does not cross a split test"),
    "memory": ("def f(x): return [0] * (1 << 40)", "f(1)", "MLE", "MemoryError"),
    "time": ("def f(x):\n    while True: pass", "f(1)", "TLE", "CPU"),
    "test without end": ("def f(x): return 1", "while f(1): pass", "TLE", "more than"),
    "exit": (
        "import os\ndef f(x): os._exit(0)",
        "f(1)",
        "RE",
        "ended with status 0 before the test",
    ),
    "swallowed exit": (
        "import os\ndef f(x): os._exit(0)",
        "try: f(1)\nexcept: pass",
        "RE",
        "ended with status 0 before the test",
    ),
    "exit taken for an error": (
        "import sys\ndef f(x): sys.exit(0)",
        "try: f(1)\nexcept Exception: pass\nelse: assert False",
        "RE",
        "SystemExit before",
    ),
    "interrupt taken for an error": (
        "def f(x): raise KeyboardInterrupt",
        "try: f(1)\nexcept Exception: pass\nelse: assert False",
        "RE",
        "KeyboardInterrupt",
    ),
    "stranger taken for an error": (
        "class A: pass\ndef f(x): return A()",
        "try: f(1)\nexcept: pass\nelse: assert False",
        "RE",
        "a value of type A does not cross",
    ),
    "end of an iteration": (
        "def f(x): raise StopIteration",
        "assert all(map(f, [1, 2]))",
        "RE",
        "RuntimeError: the function raised StopIteration",
    ),
    "endless": (
        "def f(x):\n    while True: yield x",
        "try: assert next(f(1)) == 1\nexcept Exception: pass",
        "RE",
        "an iterator that has more than 1000000 items does not cross",
    ),
    "too long": (
        "def f(x): return [str(x) * 1000] * 200_000",
        "f(1)",
        "RE",
        "bytes does not cross",
    ),
    "exit of the test": ("def f(x): return 1", "raise SystemExit(0)", "RE", "SystemExit before"),
}


@linux
@pytest.mark.parametrize("name", FAILING)
def test_every_failure_has_its_status_and_reason(box: Backend, name: str):
    source, code, status, detail = FAILING[name]
    run = one(box, asserting(source, code, limits=Limits(cpu=0.5, wall=60)))
    assert run.status == status
    assert detail in run.detail


@linux
def test_the_submission_never_sees_the_test(box: Backend):
    source = (
        "import gc, sys\n"
        "def f(x):\n"
        "    word = 'need' + 'le'\n"
        "    held = [o for o in gc.get_objects() if isinstance(o, (str, bytes, list, dict, tuple))]\n"
        "    return sum(word in repr(o) for o in held if o is not held)\n"
    )
    run = one(box, asserting(source, "found = f(1)\nassert found <= 1, found  # needle"))
    assert run.status == "OK", run


@linux
def test_what_cannot_cross_runs_together_and_says_so(box: Backend):
    source = "class Node:\n    def __init__(self, x): self.x = x\ndef f(node): return node.x"
    code = "assert f(Node(3)) == 3"
    split, together = runs(
        box,
        Program(source, (Assertions(code), Assertions(code, split=False)), stop_at_fault=False),
    )
    assert split.status == "RE"
    assert (together.status, together.weak) == ("OK", True)


def public(name: str) -> list[dict[str, Any]]:
    folder = os.environ.get("HARNESS_DATA")
    if not folder:
        pytest.skip("HARNESS_DATA names no folder: HumanEval and MBPP are not there")
    text = (Path(folder) / "code" / f"{name}.jsonl").read_text("utf-8")
    return [json.loads(line) for line in text.splitlines()]


OTHER_TYPES = {
    31: "    return np.bool_(n > 1 and all(n % i for i in range(2, n)))",
    33: "    l[::3] = sorted(l[::3])\n    return iter(l)",
    35: "    return np.max(l)",
    42: "    return list(np.array(l, dtype=int) + 1)",
    53: "    return np.add(x, y)",
    60: "    return np.arange(1, n + 1).sum()",
}
"""Answers to problems of HumanEval that are right, and of no type that the reference returns."""


@linux
@pytest.mark.slow
def test_right_answers_of_other_types_pass_as_they_do_in_one_process(box: Backend):
    rows = public("humaneval")
    for number, answer in OTHER_TYPES.items():
        row = rows[number]
        source = f"import numpy as np\n{row['prompt']}{answer}\n"
        code = f"{row['test']}\ncheck({row['entry_point']})"
        tests = tuple(Assertions(code, row["entry_point"], split=way) for way in (True, False))
        found = runs(box, Program(source, tests, stop_at_fault=False))
        assert [(run.status, run.detail) for run in found] == [("OK", "")] * 2, number


@linux
@pytest.mark.slow
def test_reference_solutions_of_public_sets_pass_but_for_those_that_hand_over_classes(
    box: Backend,
):
    rows = {name: public(name) for name in ("humaneval", "mbpp")}
    programs = [
        asserting(
            row["prompt"] + row["canonical_solution"],
            f"{row['test']}\ncheck({row['entry_point']})",
            row["entry_point"],
        )
        for row in rows["humaneval"]
    ]
    programs += [
        asserting(row["code"], "\n".join([row["test_setup_code"], *row["test_list"]]))
        for row in rows["mbpp"]
    ]
    weak = [125, 366, 532, 600, 926]
    seen = [result.runs[0] for result in results(box, programs)]
    failed = [number for number, run in enumerate(seen) if run.status != "OK"]
    assert failed == [164 + number for number in weak]
    together = [
        Program(program.source, (Assertions(program.tests[0].code, split=False),))  # type: ignore[union-attr]
        for program in (programs[number] for number in failed)
    ]
    assert [(r.runs[0].status, r.runs[0].weak) for r in results(box, together)] == [
        ("OK", True)
    ] * 5
