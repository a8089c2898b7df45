"""Runs in the box: a submission as LiveCodeBench's evaluator (commit 28fef95) would run it.

Reads what is asked from standard input as JSON, and reports each test on a marked line. Written
anew from the evaluator's observed behavior. What it keeps of it: an `if __name__ == '__main__'` at
the end is unwrapped, imports are hoisted, the rest becomes the body of a function that is called
for each test under a mocked stdin; `Solution()` is made once; an alarm that a program can catch.
"""

import ast
import builtins
import io
import json
import os
import signal
import sys
from types import ModuleType


class TimeoutException(Exception):
    """What the alarm raises; its name is what the evaluator looks for."""


def _on_alarm(number, frame):
    print("timeout occured: alarm went off")
    raise TimeoutException


class MockBuffer:
    """The mocked stdin's `buffer`."""

    def __init__(self, text):
        self.data = text.encode("utf-8")

    def read(self, *_):
        return self.data

    def readline(self, *_):
        return self.data.split(b"\n")[0] + b"\n"


class MockStdinWithBuffer:
    """The mocked stdin: `read` ignores its argument, and it cannot be iterated."""

    def __init__(self, text):
        self.inputs = text
        self.buffer = MockBuffer(text)
        self._text = io.StringIO(text)

    def read(self, *_):
        return self.inputs

    def readline(self, *words):
        return self._text.readline(*words)

    def readlines(self, *_):
        return self.inputs.split("\n")

    def __getattr__(self, name):
        return getattr(self._text, name)


def without_guard(source):
    """The body of a last `if __name__ == '__main__'` in its place, its else dropped."""
    try:
        tree = ast.parse(source)
        last = tree.body[-1]
        if isinstance(last, ast.If) and ast.unparse(last.test).strip() == "__name__ == '__main__'":
            return ast.unparse(tree.body[:-1]) + "\n" + ast.unparse(last.body)
    except Exception:
        pass
    return source


def as_function(source, imports):
    """Imports on top, everything else in `wrapped_function`."""
    try:
        tree = ast.parse(source)
        hoisted = [s for s in tree.body if isinstance(s, ast.Import | ast.ImportFrom)]
        rest = [s for s in tree.body if not isinstance(s, ast.Import | ast.ImportFrom)]
        nothing = ast.arguments(
            posonlyargs=[], args=[], kwonlyargs=[], kw_defaults=[], defaults=[]
        )
        whole = ast.FunctionDef(
            name="wrapped_function", args=nothing, body=rest, decorator_list=[], lineno=-1
        )
        return f"{imports}\n{ast.unparse(hoisted)}\n{ast.unparse(whole)}"
    except Exception:
        return source


def compiled(source, seconds):
    """The submission's module, or its `Solution()` where that word stands anywhere."""
    signal.alarm(seconds)
    try:
        module = ModuleType("tmp_sol", "")
        builtins.exec(source, module.__dict__)
        return module.Solution() if "class Solution" in source else module
    finally:
        signal.alarm(0)


def run_stdin(function, text):
    """One test under a mocked stdin; what it wrote."""
    lines = iter(text.split("\n"))
    real, opened, shown = sys.stdin, builtins.open, sys.stdout
    sys.stdout = written = io.StringIO()
    written.close = lambda: None
    try:
        real.read = lambda *_: text
        real.readlines = lambda *_: text.split("\n")
        real.readline = lambda *_: next(lines)
        sys.stdin = MockStdinWithBuffer(text)
        builtins.open = lambda *_, **__: io.StringIO(text)
        try:
            function()
        except SystemExit:
            pass
    finally:
        signal.alarm(0)
        sys.stdin, builtins.open, sys.stdout = real, opened, shown
        for name in ("read", "readlines", "readline"):
            real.__dict__.pop(name, None)
    return written.getvalue()


class _Nobody:
    """Equal to nothing but what is equal to everything."""


PLAIN = (type(None), bool, int, float, str, list, tuple, dict, set, frozenset)
OWN = {kind.__eq__ for kind in PLAIN} | {object.__eq__}


def written(value):
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
        return ["list", [written(each) for each in value]]
    if isinstance(value, dict):
        return ["dict", [[written(key), written(each)] for key, each in value.items()]]
    return ["tuple" if isinstance(value, tuple) else "other"]


def main():
    asked = json.loads(sys.stdin.read())
    channel, seconds = os.dup(1), asked["seconds"]

    def report(**found):
        try:
            line = json.dumps(found)
        except (RecursionError, ValueError):
            line = json.dumps({"value": ["other"]})
        data = f"\n{asked['mark']} {line}\n".encode()
        while data:
            data = data[os.write(channel, data) :]

    sys.set_int_max_str_digits(50_000)
    signal.signal(signal.SIGALRM, _on_alarm)
    guard()
    try:
        if asked["name"] is None:
            source = as_function(without_guard(asked["source"]), asked["imports"])
            name = "wrapped_function"
        else:
            source, name = asked["imports"] + "\n\n" + asked["source"], asked["name"]
        function = getattr(compiled(source, seconds), name, None)
        if function is None:
            raise TypeError("cannot unpack non-iterable NoneType object")
    except Exception as error:
        report(setup=str(error)[:300])
        return
    for given in asked["inputs"]:
        signal.alarm(seconds)
        try:
            if asked["name"] is None:
                report(text=run_stdin(function, given))
            else:
                value = function(*given)
                signal.alarm(0)
                report(value=written(list(value) if isinstance(value, tuple) else value))
        except Exception as error:
            signal.alarm(0)
            if "timeoutexception" in repr(error).lower():
                report(time=True)
            else:
                report(error=repr(error)[:300])
            return
        finally:
            signal.alarm(0)


def guard():
    """The names that the evaluator takes away."""
    import shutil
    import subprocess

    builtins.quit = None
    for name in (
        "kill system putenv remove removedirs rmdir fchdir setuid fork forkpty killpg rename "
        "renames truncate replace unlink fchmod fchown chmod chown chroot lchflags lchmod lchown "
        "getcwd chdir"
    ).split():
        setattr(os, name, None)
    for name in ("rmtree", "move", "chown"):
        setattr(shutil, name, None)
    subprocess.Popen = None
    for name in ("ipdb", "joblib", "resource", "psutil", "tkinter"):
        sys.modules[name] = None


if __name__ == "__main__":
    main()
