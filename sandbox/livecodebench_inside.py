"""Runs in the box: a submission as LiveCodeBench's evaluator (commit 28fef95) would run it.

Reads what is asked from standard input as JSON, and reports each test on a marked line. Written
anew from the evaluator's observed behavior. What it keeps of it: an `if __name__ == '__main__'` at
the end is unwrapped, imports are hoisted, the rest becomes the body of a function that is called
for each test under a mocked stdin; `Solution()` is made once; an alarm that a program can catch.
"""

from __future__ import annotations

import ast
import builtins
import contextlib
import io
import json
import os
import signal
import sys
from collections.abc import Callable
from types import FrameType, ModuleType
from typing import Any, NoReturn, cast


class TimeoutException(Exception):
    """What the alarm raises; its name is what the evaluator looks for."""


def _on_alarm(number: int, frame: FrameType | None) -> NoReturn:
    print("timeout occured: alarm went off")
    raise TimeoutException


class MockBuffer:
    """The mocked stdin's `buffer`."""

    def __init__(self, text: str) -> None:
        self.data = text.encode("utf-8")

    def read(self, *_: object) -> bytes:
        """All of it, whatever is asked."""
        return self.data

    def readline(self, *_: object) -> bytes:
        """The first line, every time."""
        return self.data.split(b"\n")[0] + b"\n"


class MockStdinWithBuffer:
    """The mocked stdin: `read` ignores its argument, and it cannot be iterated."""

    def __init__(self, text: str) -> None:
        self.inputs = text
        self.buffer = MockBuffer(text)
        self._text = io.StringIO(text)

    def read(self, *_: object) -> str:
        """All of it, whatever is asked."""
        return self.inputs

    def readline(self, *size: int) -> str:
        """The next line."""
        return self._text.readline(*size)

    def readlines(self, *_: object) -> list[str]:
        """All lines, from the first, without their ends."""
        return self.inputs.split("\n")

    def __getattr__(self, name: str) -> Any:
        return getattr(self._text, name)


def without_guard(source: str) -> str:
    """The body of a last `if __name__ == '__main__'` in its place, its else dropped."""
    try:
        tree = ast.parse(source)
        last = tree.body[-1]
        if isinstance(last, ast.If) and ast.unparse(last.test).strip() == "__name__ == '__main__'":
            return f"{_unparsed(tree.body[:-1])}\n{_unparsed(last.body)}"
    except Exception:
        pass
    return source


def as_function(source: str, imports: str) -> str:
    """Imports on top, everything else in `wrapped_function`."""
    try:
        tree = ast.parse(source)
        hoisted: list[ast.stmt] = []
        rest: list[ast.stmt] = []
        for each in tree.body:
            (hoisted if isinstance(each, ast.Import | ast.ImportFrom) else rest).append(each)
        nothing = ast.arguments(posonlyargs=[], args=[], kwonlyargs=[], kw_defaults=[], defaults=[])
        whole = ast.FunctionDef(
            name="wrapped_function", args=nothing, body=rest, decorator_list=[], lineno=-1
        )
        return f"{imports}\n{_unparsed(hoisted)}\n{ast.unparse(whole)}"
    except Exception:
        return source


def _unparsed(statements: list[ast.stmt]) -> str:
    return ast.unparse(cast("ast.AST", statements))  # it takes lists, though its type does not


def compiled(source: str, seconds: int) -> Any:
    """The submission's module, or its `Solution()` where that word stands anywhere."""
    signal.alarm(seconds)
    try:
        module = ModuleType("tmp_sol", "")
        builtins.exec(source, module.__dict__)
        return module.Solution() if "class Solution" in source else module
    finally:
        signal.alarm(0)


class Written(io.StringIO):
    """What stands for standard output; closing it takes an argument, so it fails."""

    def close(self, _: object) -> int:  # type: ignore[override]
        """Nothing."""
        return 1


def run_stdin(function: Callable[[], object], text: str) -> str:
    """One test under a mocked stdin; what it wrote."""
    real, opened, shown = cast("Any", sys.stdin), builtins.open, sys.stdout
    sys.stdout = written = Written()
    try:
        real.read = _Always(text)
        real.readlines = _Always(text.split("\n"))
        real.readline = _Next(text)
        sys.stdin = cast("Any", MockStdinWithBuffer(text))
        builtins.open = cast("Any", _Opener(text))
        with contextlib.suppress(SystemExit):
            function()
    finally:
        signal.alarm(0)
        sys.stdin, builtins.open, sys.stdout = real, opened, shown
        for name in ("read", "readlines", "readline"):
            real.__dict__.pop(name, None)
    return written.getvalue()


class _Always:
    """A function that gives the same, whatever it is given."""

    def __init__(self, value: object) -> None:
        self.value = value

    def __call__(self, *_: object) -> object:
        return self.value


class _Next:
    """A function that gives one line after another."""

    def __init__(self, text: str) -> None:
        self.lines = iter(text.split("\n"))

    def __call__(self, *_: object) -> str:
        return next(self.lines)


class _Opener:
    """The mocked `open`: the input, whatever is opened."""

    def __init__(self, text: str) -> None:
        self.text = text

    def __call__(self, *_: object, **__: object) -> io.StringIO:
        return io.StringIO(self.text)


class _Nobody:
    """Equal to nothing but what is equal to everything."""


PLAIN: tuple[type, ...] = (type(None), bool, int, float, str, list, tuple, dict, set, frozenset)
OWN: set[Any] = {cast("Any", kind).__eq__ for kind in (*PLAIN, object)}


def written(value: Any) -> list[Any]:
    """A value as JSON that keeps its type; what cannot equal a JSON value is `other`."""
    if type(value) not in PLAIN and type(value).__eq__ not in OWN:
        try:
            if value == _Nobody():
                return ["any"]
        except Exception:
            return ["raises"]
    if value is None:
        return ["none"]
    if isinstance(value, bool):
        return ["bool", int(value)]
    if isinstance(value, int):
        return ["int", hex(value)]
    if isinstance(value, float):
        return ["float", float.hex(value)]
    if isinstance(value, str):
        return ["str", str.__str__(value)]
    if isinstance(value, list):
        return ["list", [written(each) for each in cast("list[Any]", value)]]
    if isinstance(value, dict):
        table = cast("dict[Any, Any]", value)
        return ["dict", [[written(key), written(each)] for key, each in table.items()]]
    return ["tuple" if isinstance(value, tuple) else "other"]


def main() -> None:
    """Prepare as the evaluator does, then run the tests up to the first that raises."""
    asked: dict[str, Any] = json.loads(sys.stdin.read())
    report = Reports(asked["mark"])
    sys.set_int_max_str_digits(50_000)
    signal.signal(signal.SIGALRM, _on_alarm)
    guard()
    try:
        function = prepared(asked)
    except Exception as error:
        report.tell(setup=str(error)[:300])
        return
    for given in asked["inputs"]:
        if not ran(asked, function, given, report):
            return


class Reports:
    """Marked lines on the real standard output."""

    def __init__(self, mark: str) -> None:
        self.mark = mark
        self.channel = os.dup(1)

    def tell(self, **found: object) -> None:
        """One report."""
        try:
            line = json.dumps(found)
        except (RecursionError, ValueError):
            line = json.dumps({"value": ["other"]})
        data = f"\n{self.mark} {line}\n".encode()
        while data:
            data = data[os.write(self.channel, data) :]


def prepared(asked: dict[str, Any]) -> Callable[..., Any]:
    """The function that is called for each test."""
    if asked["name"] is None:
        source = as_function(without_guard(asked["source"]), asked["imports"])
        name = "wrapped_function"
    else:
        source, name = asked["imports"] + "\n\n" + asked["source"], asked["name"]
    function = getattr(compiled(source, asked["seconds"]), name, None)
    if function is None:
        raise TypeError("cannot unpack non-iterable NoneType object")
    return function


def ran(asked: dict[str, Any], function: Callable[..., Any], given: Any, report: Reports) -> bool:
    """One test; whether the next one is tried."""
    signal.alarm(asked["seconds"])
    try:
        if asked["name"] is None:
            report.tell(text=run_stdin(function, given))
        else:
            value = function(*given)
            signal.alarm(0)
            plain = list(cast("tuple[Any, ...]", value)) if isinstance(value, tuple) else value
            report.tell(value=written(plain))
    except Exception as error:
        signal.alarm(0)
        if "timeoutexception" in repr(error).lower():
            report.tell(time=True)
        else:
            report.tell(error=repr(error)[:300])
        return False
    finally:
        signal.alarm(0)
    return True


def guard() -> None:
    """The names that the evaluator takes away."""
    import shutil
    import subprocess

    taken: dict[Any, str] = {
        builtins: "quit",
        os: (
            "kill system putenv remove removedirs rmdir fchdir setuid fork forkpty killpg rename "
            "renames truncate replace unlink fchmod fchown chmod chown chroot lchflags lchmod "
            "lchown getcwd chdir"
        ),
        shutil: "rmtree move chown",
        subprocess: "Popen",
    }
    for module, names in taken.items():
        for name in names.split():
            setattr(module, name, None)
    for name in ("ipdb", "joblib", "resource", "psutil", "tkinter"):
        cast("dict[str, Any]", sys.modules)[name] = None


if __name__ == "__main__":
    main()
