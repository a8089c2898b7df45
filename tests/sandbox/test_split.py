"""Assertions run split: the test cannot be bribed, and honest functions do not notice."""

# ruff: noqa: E501 - programs are easier to read on long lines
from __future__ import annotations

import json
import math
import os
import sys
from collections import OrderedDict, defaultdict, deque
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sandbox.inside import typed
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
    run = one(box, asserting(*HONEST[name]))
    assert (run.status, run.detail, run.weak) == ("OK", "", False)


FAILING = {
    "wrong": ("def f(x): return 2", "assert f(1) == 1, 'here'", "RE", "AssertionError: here"),
    "raises": ("def f(x): return {}[x]", "f(1)", "RE", "KeyError: '1'"),
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


@linux
@pytest.mark.slow
def test_reference_solutions_of_public_sets_pass_but_for_those_that_hand_over_classes(
    box: Backend,
):
    folder = os.environ.get("HARNESS_DATA")
    if not folder:
        pytest.skip("HARNESS_DATA names no folder: HumanEval and MBPP are not there")
    rows = {
        name: [
            json.loads(line)
            for line in (Path(folder) / "code" / f"{name}.jsonl").read_text("utf-8").splitlines()
        ]
        for name in ("humaneval", "mbpp")
    }
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


# -- values on the line


scalars = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.complex_numbers()
    | st.text()
    | st.binary()
)
keys = st.integers() | st.text() | st.tuples(st.booleans(), st.text())
values = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner)
        | st.tuples(inner, inner)
        | st.dictionaries(keys, inner)
        | st.frozensets(keys)
        | st.sets(keys)
        | st.lists(inner).map(deque)
    ),
    max_leaves=20,
)


def same(one: Any, other: Any) -> bool:
    """Equal, NaN to NaN, with equal types all the way down (sets hold nothing that has a NaN)."""
    if type(one) is not type(other):
        return False
    match one:
        case list() | tuple() | deque():
            return len(one) == len(other) and all(map(same, one, other))
        case dict():
            return list(one) == list(other) and all(same(one[key], other[key]) for key in one)
        case set() | frozenset():
            return one == other
        case _:
            return repr(one) == repr(other)


@given(values)
def test_a_value_comes_back_as_it_was(value: Any):
    plain = json.loads(json.dumps(typed.encode(value)))
    assert same(typed.decode(plain), value)


@pytest.mark.parametrize(
    ("value", "plain"),
    [
        (type("A", (int,), {"__eq__": lambda s, o: True})(7), 7),
        (type("A", (str,), {"__str__": lambda s: "forged"})("x"), "x"),
        (OrderedDict(a=1), {"a": 1}),
        (defaultdict(list, a=1), {"a": 1}),
        (type("A", (list,), {"__iter__": lambda s: iter([9])})([1]), [1]),
    ],
)
def test_a_subclass_arrives_as_the_plain_type(value: Any, plain: Any):
    again = typed.decode(typed.encode(value))
    assert type(again) is type(plain)
    assert again == plain


def test_numbers_cross_exactly():
    for value in (0.1, -0.0, math.inf, 5e-324, 2**53, -(2**99)):
        assert repr(typed.decode(typed.encode(value))) == repr(value)
    assert math.isnan(typed.decode(typed.encode(math.nan)))


@pytest.mark.parametrize(
    "plain",
    [
        ["eval", "1"],
        ["list", ["int"]],
        {"a": 1},
        ["int", 3],
        ["int", "x"],
        [],
        [[]],
        ["dict", 1],
        1.5,
    ],
)
def test_what_stands_for_no_value_is_an_error(plain: Any):
    with pytest.raises((ValueError, TypeError, KeyError, AttributeError)):
        typed.decode(plain)


def test_an_exception_arrives_as_the_nearest_built_in_type_and_never_as_an_exit():
    class Own(LookupError):
        pass

    assert type(typed.decode_error(typed.encode_error(Own("x")))) is LookupError
    assert type(typed.decode_error(typed.encode_error(SystemExit(0)))) is RuntimeError
    assert type(typed.decode_error(typed.encode_error(KeyboardInterrupt()))) is RuntimeError
    with pytest.raises(UnicodeDecodeError) as raised:
        b"\xff".decode()
    assert type(typed.decode_error(typed.encode_error(raised.value))) is UnicodeError
    assert str(typed.decode_error([["eval", "ValueError"], "x"])) == "x"
