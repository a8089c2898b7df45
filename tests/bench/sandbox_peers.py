"""The usual ways to run programs with tests, for the bench of the sandbox: LiveCodeBench's, and a
fresh interpreter for each program. Beside them the program and the tests that all ways are given.
"""

from __future__ import annotations

import ast
import contextlib
import io
import json
import multiprocessing
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from types import ModuleType
from typing import Any
from unittest import mock

WORKERS = 2
SOURCE = """
n = int(input())
best = {}
for _ in range(n):
    name, points = input().split()
    best[name] = max(best.get(name, 0), int(points))
for name in sorted(best, key=lambda each: (-best[each], each)):
    print(name, best[name])
"""
NUMPY = "import numpy as np\n" + SOURCE.replace("int(points)", "int(np.int64(points))")
PREFIX = (
    "from string import *\nfrom re import *\nfrom datetime import *\nfrom collections import *\n"
    "from heapq import *\nfrom bisect import *\nfrom copy import *\nfrom math import *\n"
    "from random import *\nfrom statistics import *\nfrom itertools import *\n"
    "from functools import *\nfrom operator import *\nfrom io import *\nfrom sys import *\n"
    "from json import *\nfrom builtins import *\nfrom typing import *\nimport string\nimport re\n"
    "import datetime\nimport collections\nimport heapq\nimport bisect\nimport copy\nimport math\n"
    "import random\nimport statistics\nimport itertools\nimport functools\nimport operator\n"
    "import io\nimport sys\nimport json\nsys.setrecursionlimit(50000)\n"
)


def cases() -> list[tuple[str, str]]:
    """Ten inputs with their answers."""
    found = []
    for seed in range(10):
        rows = [(f"p{(7 * k + seed) % 9}", (31 * k * k + seed) % 101) for k in range(12)]
        best: dict[str, int] = {}
        for name, points in rows:
            best[name] = max(best.get(name, 0), points)
        ranked = sorted(best, key=lambda each: (-best[each], each))
        text = f"{len(rows)}\n" + "".join(f"{name} {points}\n" for name, points in rows)
        found.append((text, "".join(f"{name} {best[name]}\n" for name in ranked)))
    return found


CASES = cases()


# -- as LiveCodeBench does


def _late(*_: Any) -> None:
    raise TimeoutError


class _MockedStdin(io.StringIO):
    """Its stand-in for standard input, with a buffer that always has the first line."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.buffer = mock.Mock(read=lambda *_: text.encode(), readline=lambda *_: text.encode())


def _as_function(source: str) -> str:
    """Imports to the front, all else into the body of one function."""
    tree = ast.parse(source)
    imports = [each for each in tree.body if isinstance(each, ast.Import | ast.ImportFrom)]
    body = [each for each in tree.body if each not in imports]
    function = ast.parse("def wrapped_function(): pass").body[0]
    assert isinstance(function, ast.FunctionDef)
    function.body = body
    parts = [PREFIX, *map(ast.unparse, imports), ast.unparse(function)]
    return "\n".join(parts)


def _called(function: Callable[[], Any], text: str) -> None:
    lines = iter(text.split("\n"))
    with (
        mock.patch("builtins.open", mock.mock_open(read_data=text)),
        mock.patch("sys.stdin", _MockedStdin(text)),
        mock.patch("sys.stdin.readline", lambda *_: next(lines)),  # noqa: PT008
        mock.patch("sys.stdin.readlines", lambda *_: text.split("\n")),  # noqa: PT008
        mock.patch("sys.stdin.read", lambda *_: text),  # noqa: PT008
        contextlib.suppress(SystemExit),
    ):
        function()


def _same(got: str, right: str) -> bool:
    """Lines alike as stripped text, or as lists of decimals."""
    pairs = [each.strip().split("\n") for each in (got, right)]
    if len(pairs[0]) != len(pairs[1]):
        return False
    for one, other in zip(*pairs, strict=True):
        if one.strip() == other.strip():
            continue
        try:
            if [*map(Decimal, one.split())] != [*map(Decimal, other.split())]:
                return False
        except ArithmeticError:
            return False
    return True


def _graded(source: str, tests: Sequence[tuple[str, str]], timeout: int) -> list[Any]:
    """Its worker: the body made one function, run for each test under a mocked stdin and alarm."""
    code = _as_function(source)
    signal.signal(signal.SIGALRM, _late)
    signal.alarm(timeout)
    names = ModuleType("tmp_sol", "")
    exec(code, names.__dict__)
    signal.alarm(0)
    results: list[Any] = []
    for text, right in tests:
        signal.alarm(timeout)
        out = io.StringIO()
        with contextlib.redirect_stdout(out):
            _called(names.wrapped_function, text)
        signal.alarm(0)
        if not _same(out.getvalue(), right):
            return [*results, -2]
        results.append(True)
    return results


def _temp_run(source: str, tests: Any, timeout: int, result: Any) -> None:
    result.append(_graded(source, tests, timeout))


def _sample(source: str) -> bool:
    """A manager and a process for each sample, with its global time limit."""
    manager = multiprocessing.Manager()
    result = manager.list()
    process = multiprocessing.Process(target=_temp_run, args=(source, CASES, 6, result))
    process.start()
    process.join(timeout=(6 + 1) * len(CASES) + 5)
    if process.is_alive():
        process.kill()
    fine = bool(result) and all(each is True for each in result[0])
    manager.shutdown()
    return fine


def lcb(sources: Sequence[str]) -> int:
    """Its runner is a pool of processes, each of which evaluates samples one after another."""
    context = multiprocessing.get_context("fork")
    done = context.SimpleQueue()

    def work(mine: Sequence[str]) -> None:
        done.put(sum(map(_sample, mine)))

    parts = [sources[k::WORKERS] for k in range(WORKERS)]
    runners = [context.Process(target=work, args=(part,)) for part in parts]
    for runner in runners:
        runner.start()
    right = sum(done.get() for _ in runners)
    for runner in runners:
        runner.join()
    return right


# -- a fresh interpreter

DRIVER = """
import contextlib, io, json, sys
source, texts = json.loads(sys.stdin.read())
code = compile(source, "<solution>", "exec")
told = []
for text in texts:
    out = io.StringIO()
    sys.stdin = io.StringIO(text)
    with contextlib.redirect_stdout(out):
        exec(code, {"__name__": "__main__"})
    told.append(out.getvalue())
sys.stdout.write(json.dumps(told))
"""


def _interpreter(source: str, words: Sequence[str]) -> bool:
    asked = json.dumps([source, [text for text, _ in CASES]])
    command = [sys.executable, *words, "-c", DRIVER]
    done = subprocess.run(command, input=asked, capture_output=True, text=True, check=True)
    return json.loads(done.stdout) == [right for _, right in CASES]


def fresh(sources: Sequence[str]) -> int:
    """An interpreter for each program."""
    words = ["-I"] if "numpy" in sources[0] else ["-I", "-S"]
    with ThreadPoolExecutor(WORKERS) as pool:
        return sum(pool.map(lambda source: _interpreter(source, words), sources))
