"""The program process: compiles one submission and runs its tests, one after another.

From its first test on nothing here can be relied upon, since the submission shares the process: all
that leaves it is data, and whoever reads it believes no more than that the submission said so.

Descriptors: 0 input (a memory file that the keeper fills), 1 and 2 output, 3 control, 4 the link to
the other half of a split test. Control: the keeper sends the job, then a frame for each test; the
answer is a frame of status, whether the process may be used again, what was flattened, and text.
"""

from __future__ import annotations

import atexit
import builtins
import contextlib
import gc
import json
import os
import resource
import sys
import threading
import types
from collections.abc import Callable, Collection
from typing import Any, NoReturn, cast

from sandbox import frames
from sandbox.inside import split, state

CONTROL = 3
SPARE = 4
"""From here on: input and output of each slot, where there are several; or a split test's link."""
FINE, ERROR, MEMORY, OUTPUT, UNCOMPILED, GREETING = b"O", b"R", b"M", b"L", b"C", b"G"
NOT_SOURCE = (SyntaxError, ValueError, MemoryError, RecursionError, OverflowError)
SCALARS = frozenset({int, str, float, bool, type(None)})
PLAIN = b"stdin"
"""The frame of a test that reads its standard input."""
PLAIN_TEST = {"kind": "stdin"}
REHEARSALS = 40
REHEARSED = """
def total(values):
    return sum(each * each for each in values)

count = int(input())
found = {}
for _ in range(count):
    name, *rest = input().split()
    values = [int(each) for each in rest]
    found[name] = found.get(name, 0) + total(values)
for name, value in sorted(found.items(), key=lambda pair: pair[1]):
    print(name, value, f"{value:d}")
"""
"""A program like many: what it uses of the interpreter has been used before any fork."""
GIVEN = b"2\na 1 2\nb 3 4\n"
NOTHING = compile("", "<prefix>", "exec")
TOLD = 2000
"""Characters of an error that are sent."""


def rehearse() -> None:
    """Play a small program a few times, before any is there, on descriptors like those to come.

    The interpreter writes into code that it has not run often yet, and every program process would
    copy the pages that this touches. The last streams made are those of each program's first test.
    """
    silent = os.open(os.devnull, os.O_RDWR)
    given = os.memfd_create("input")
    read, write = os.pipe()
    for target, source in enumerate((given, write, write)):
        os.dup2(source, target)
    os.write(given, GIVEN)
    own = state.streams()
    for _ in range(REHEARSALS):
        os.lseek(given, 0, os.SEEK_SET)
        code = compile(REHEARSED, "<solution>", "exec", dont_inherit=True)
        state.refresh()
        _conduct(_stdin, NOTHING, code, PLAIN_TEST)
        state.reusable(own, state.doubts("", REHEARSED, code).meddling)
    state.refresh()
    for target in range(3):
        os.dup2(silent, target)
    for each in (silent, given, read, write):
        os.close(each)


def serve() -> NoReturn:
    """Greet, take the job, answer each test, until the keeper closes the line."""
    try:
        _serve()
    except BaseException as error:
        with contextlib.suppress(BaseException):
            os.write(2, f"the runner ended: {error!r}\n".encode("utf-8", "replace"))
    finally:
        os._exit(1)  # whatever the submission broke, its process ends here


def _serve() -> None:
    _greet()
    control = frames.Reader(CONTROL)
    texts = control.body()
    slots, middle = texts[0] - ord("0"), 5 + int.from_bytes(texts[1:5], "big")
    before, source = (
        part.decode("utf-8", "surrogatepass") for part in (texts[5:middle], texts[middle:])
    )
    spare = range(SPARE, SPARE + 2 * slots, 2) if slots > 1 else ()
    try:
        prefix = compile(before, "<prefix>", "exec", dont_inherit=True) if before else NOTHING
        code = compile(source, "<solution>", "exec", dont_inherit=True)
    except NOT_SOURCE as error:
        _answer(UNCOMPILED, f"{type(error).__name__}: {error}"[:TOLD])
        return
    doubts = state.doubts(before, source, code)
    own: list[tuple[int, int]] | list[None] = [None] * slots
    if doubts.redirecting:
        own = [state.streams(each) for each in spare] or [state.streams()]
    first = True
    play = {"stdin": _stdin, "call": _call, "weak": _weak, "hold": _hold, "judge": _judge}
    while True:
        try:
            asked = control.body()
        except EOFError:
            return
        slot, asked = asked[0] - ord("0"), asked[1:]
        test = frames.unpack(asked) if asked != PLAIN else PLAIN_TEST
        if not first:  # the zygote has made the first test's
            os.dup2(spare[slot], 0)
            os.dup2(spare[slot] + 1, 1)
            state.refresh(streams=doubts.rewiring, chance=doubts.chance)
        first = False
        status, text, flattened = _conduct(play[test["kind"]], prefix, code, test)
        again = state.reusable(own[slot], doubts.meddling)
        _answer(status, text, again=again, flattened=flattened)
        if not again or status != FINE:
            return  # the tests that lie ready are for a new process


def _greet() -> None:
    """Say that the layers are up, and the microseconds of CPU that this took."""
    body = GREETING + b"%d" % _spent()[1]
    os.write(CONTROL, frames.HEAD.pack(len(body)) + body)


def _spent() -> tuple[int, int]:
    """Peak resident KiB, and microseconds of CPU since the last time this was asked."""
    global _told_cpu
    used = resource.getrusage(resource.RUSAGE_SELF)
    cpu = round(1e6 * (used.ru_utime + used.ru_stime))
    before, _told_cpu = _told_cpu, cpu
    return used.ru_maxrss, cpu - before


def _answer(status: bytes, text: str, *, again: bool = False, flattened: str = "") -> None:
    head = b"%c%d%d %d %b\n" % (status, again, *_spent(), flattened.encode())
    body = head + text.encode("utf-8", "backslashreplace")
    rest = memoryview(frames.HEAD.pack(len(body)) + body)
    while rest:
        rest = rest[os.write(CONTROL, rest) :]


_told_cpu = 0
Body = Callable[[Any, Any, dict[str, Any]], tuple[str, str]]


def _conduct(
    body: Body, prefix: types.CodeType, code: types.CodeType, test: dict[str, Any]
) -> tuple[bytes, str, str]:
    """One test from start to what the interpreter does at its end: status, text, flattened."""
    status, text, flattened = FINE, "", ""
    try:
        text, flattened = body(prefix, code, test)
    except split.TooLong as error:
        status, text = OUTPUT, str(error)
    except MemoryError:
        status, text = MEMORY, "MemoryError"
    except SystemExit as error:
        status, text = _exit_of(error, test)
    except BaseException as error:
        status, text = ERROR, _told(error)
        _show(error)
    try:
        _end()
    except MemoryError:
        return MEMORY, "MemoryError at exit", ""
    except BaseException as error:
        if status == FINE:
            status, text = ERROR, f"at exit: {_told(error)}"
    return status, text, flattened


def _exit_of(error: SystemExit, test: dict[str, Any]) -> tuple[bytes, str]:
    """Leaving early is the good end of a script, and of nothing else."""
    code = error.code
    if test["kind"] != "stdin":
        return ERROR, "SystemExit before the test was over"
    if code is None or (isinstance(code, int) and code & 0xFF == 0):
        return FINE, ""
    if isinstance(code, int):
        return ERROR, f"exit status {code & 0xFF}"
    with contextlib.suppress(Exception):
        print(code, file=sys.stderr)
    return ERROR, "exit status 1"


def _told(error: BaseException) -> str:
    try:
        text = str(error)
    except BaseException as another:
        text = f"(no text: {type(another).__name__})"
    return f"{type(error).__name__}: {text}"[:TOLD]


def _show(error: BaseException) -> None:
    """The traceback, without our own frames, as the interpreter shows it."""
    trace = error.__traceback__
    while trace is not None and trace.tb_frame.f_code.co_filename == __file__:
        trace = trace.tb_next
    try:
        sys.excepthook(type(error), error.with_traceback(trace), trace)
        sys.stderr.flush()
    except BaseException:
        pass
    error.__traceback__ = None


# -- what a test does


def _main(name: str) -> dict[str, Any]:
    """The name space of a new module, known under its name."""
    module = types.ModuleType(name)
    sys.modules[name] = module
    space = module.__dict__
    space.update(__builtins__=builtins, __file__="solution.py", __annotations__={})
    return space


def _stdin(prefix: types.CodeType, code: types.CodeType, test: dict[str, Any]) -> tuple[str, str]:
    space = _main("__main__")
    exec(prefix, space)
    exec(code, space)
    return "", ""


def _given() -> str:
    """What lies on the input for us, so that it may be of any length."""
    with open(0, encoding="utf-8", errors="surrogatepass", closefd=False) as given:
        return given.read()


def _call(prefix: types.CodeType, code: types.CodeType, test: dict[str, Any]) -> tuple[str, str]:
    """The returned value as JSON; numpy's scalars count as numbers, other strangers are errors."""
    space = _main("solution")
    text = _given()
    exec(prefix, space)
    exec(code, space)
    digits = sys.get_int_max_str_digits()
    sys.set_int_max_str_digits(0)
    arguments = json.loads(text)
    sys.set_int_max_str_digits(digits)
    owner = space.get("Solution")
    call = getattr(owner(), test["name"]) if isinstance(owner, type) else space[test["name"]]
    value = call(*arguments)
    sys.set_int_max_str_digits(0)
    flattened = "".join(sorted(_flattened(value, set(), top=True)))
    told = _encode(value)
    if len(told) > test["most"]:
        raise split.TooLong(f"a value of {len(told)} characters")
    return told, flattened


def _weak(prefix: types.CodeType, code: types.CodeType, test: dict[str, Any]) -> tuple[str, str]:
    """Submission and test in one process: what the test sees may have been tampered with."""
    space = _main("__main__")
    checks = compile(_given(), "<test>", "exec", dont_inherit=True)
    exec(prefix, space)
    exec(code, space)
    exec(checks, space)
    return "", ""


def _hold(prefix: types.CodeType, code: types.CodeType, test: dict[str, Any]) -> tuple[str, str]:
    """The half of a split test that holds the submission: it serves calls until the line ends."""
    space = _main("__main__")
    exec(prefix, space)
    exec(code, space)
    split.hold(space)
    return "", ""


def _judge(prefix: types.CodeType, code: types.CodeType, test: dict[str, Any]) -> tuple[str, str]:
    """The half that runs the test: `code` is the test's, the submission is on the line."""
    space = _main("__main__")
    exec(prefix, space)
    space.update(split.stand_ins(code, space, test["entry"]))
    exec(code, space)
    split.still_there()  # a test that swallowed its end has not passed
    return "", ""


def _number(value: Any) -> Any:
    if type(value).__module__ == "numpy" and getattr(value, "shape", None) == ():
        return value.item()
    raise TypeError(f"a value of type {type(value).__name__} cannot be returned")


_encode = json.JSONEncoder(default=_number).encode


def _flattened(value: Any, found: set[str], *, top: bool = False) -> set[str]:
    """What the JSON text will not show: "t" a tuple inside, "k" a key that is no string."""
    if isinstance(value, tuple) and not top:
        found.add("t")
    inside: Collection[Any]
    if isinstance(value, dict):
        pairs = cast("dict[Any, Any]", value)
        if not set(map(type, pairs)) <= {str}:
            found.add("k")
        inside = pairs.values()
    elif isinstance(value, list | tuple):
        inside = cast("list[Any]", value)
    else:
        return found
    if not set(map(type, inside)) <= SCALARS:
        for each in inside:
            _flattened(each, found)
    return found


def _end() -> None:
    """What the interpreter does at its end: threads, exit handlers, finalizers, flush."""
    if state.threads():
        threading._shutdown()  # type: ignore[attr-defined]
    if atexit._ncallbacks():  # pyright: ignore[reportPrivateUsage]
        atexit._run_exitfuncs()  # pyright: ignore[reportPrivateUsage]
    for name in ("__main__", "solution"):
        module = sys.modules.pop(name, None)
        if module is not None:
            vars(module).clear()
    gc.collect()
    for stream in (sys.stdout, sys.stderr):
        if stream is not None and not getattr(stream, "closed", False):
            stream.flush()
    state.flush()
