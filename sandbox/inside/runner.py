"""The program process: compiles one submission and runs its tests, one after another.

From its first test on nothing here can be relied upon, since the submission shares the process: all
that leaves it is data, and whoever reads it believes no more than that the submission said so.

Descriptors: 0 input (a memory file that the keeper fills), 1 and 2 output, 3 control, 4 the link to
the other half of a split test; where there are several slots, input and output of each. Control:
the keeper sends the job, then a frame for each test; the answer is a frame of status, whether the
process may be used again, what was flattened, and text.
"""

from __future__ import annotations

import atexit
import builtins
import contextlib
import json
import os
import resource
import sys
import time
import types
from collections.abc import Callable, Collection
from typing import Any, NoReturn, cast

from sandbox import frames
from sandbox.inside import customs, split, state

CONTROL = 3
FINE, ERROR, MEMORY, OUTPUT, UNCOMPILED, GREETING = b"O", b"R", b"M", b"L", b"C", b"G"
NOT_SOURCE = (SyntaxError, ValueError, MemoryError, RecursionError, OverflowError)
SCALARS = frozenset({int, str, float, bool, type(None)})
PLAIN = b"stdin"
"""The frame of a test that reads its standard input."""
PLAIN_TEST = {"kind": "stdin"}
NOTHING = compile("", "<prefix>", "exec")
TOLD = 2000
"""Characters of an error that are sent."""


def texts(prefix: str, source: str, slots: int) -> bytes:
    """The frame of a job: slots, doubts, prefix and source.

    Not JSON, whose parser a program would load. What can be told of the texts is told here, by the
    keeper: to read the words that are looked for is to copy pages, in each program process.
    """
    source = source.removeprefix("\ufeff")  # a file may begin with it, a text may not
    before, after = (each.encode("utf-8", "surrogatepass") for each in (prefix, source))
    first = b"%c" % slots + state.doubts(prefix, source).to_bytes(2, "big")
    body = b"".join((first, frames.HEAD.pack(len(before)), before, after))
    return frames.HEAD.pack(len(body)) + body


def serve(slots_at: int) -> NoReturn:
    """Live as a program process, to its end. From `slots_at` on lie the files of the slots."""
    try:
        live(slots_at)
    except BaseException as error:
        with contextlib.suppress(BaseException):
            os.write(2, f"the runner ended: {error!r}\n".encode("utf-8", "replace"))
    finally:
        os._exit(1)  # whatever the submission broke, its process ends here


def live(slots_at: int) -> None:
    """Greet, take the job, answer each test, until the keeper closes the line.

    It is one function, and few others are called before a submission begins: each object that is
    used lies on a page that is copied for this process.
    """
    global _told_cpu
    _told_cpu = time.process_time_ns() // 1000
    body = GREETING + b"%d" % _told_cpu
    os.write(CONTROL, b"\0\0\0%c%b" % (len(body), body))
    asked = frames.bodies(CONTROL)
    job = next(asked, b"")
    if not job:
        return
    slots, doubts = job[0], int.from_bytes(job[1:3], "big")
    middle = 7 + int.from_bytes(job[3:7], "big")
    before = job[7:middle].decode("utf-8", "surrogatepass")
    source = job[middle:].decode("utf-8", "surrogatepass")
    try:
        prefix = compile(before, "<prefix>", "exec", dont_inherit=True) if before else NOTHING
        code = compile(source, "<solution>", "exec", dont_inherit=True)
    except NOT_SOURCE as error:
        _answer(UNCOMPILED, f"{type(error).__name__}: {error}"[:TOLD])
        return
    if doubts & state.MEDDLING or state.stores(code):
        doubts |= state.ALL
    if doubts & state.CUSTOMS:
        customs.keep()
    own = _own(slots_at, slots) if doubts & state.REDIRECTING else None
    first = True
    for body in asked:
        slot, kind, test = body[0] - ord("0"), "stdin", PLAIN_TEST
        if body[1:] != PLAIN:
            test = frames.unpack(body[1:])
            kind = test["kind"]
        if not first:  # the zygote has made the first test's
            os.dup2(slots_at + 2 * slot, 0)
            os.dup2(slots_at + 2 * slot + 1, 1)
            state.refresh(doubts)
        first = False
        status, text, flattened = _conduct(PLAY[kind], prefix, code, test, doubts)
        again = state.reusable(own[slot] if own else None, doubts)
        _answer(status, text, again=again, flattened=flattened)
        if not again or status != FINE:
            return  # the tests that lie ready are for a new process


def _own(slots_at: int, slots: int) -> list[tuple[int, int]]:
    """Which files each slot has."""
    if slots == 1:
        return [state.streams()]
    return [state.streams(slots_at + 2 * slot) for slot in range(slots)]


def _answer(status: bytes, text: str, *, again: bool = False, flattened: str = "") -> None:
    """What became of a test, the peak resident KiB, and microseconds of CPU since the last one."""
    global _told_cpu
    used = resource.getrusage(resource.RUSAGE_SELF)
    cpu = round(1e6 * (used[0] + used[1]))
    spent, _told_cpu = max(0, cpu - _told_cpu), cpu
    head = b"%c%d%d %d %b\n" % (status, again, used[2], spent, flattened.encode())
    body = head + text.encode("utf-8", "backslashreplace") if text else head
    told = frames.HEAD.pack(len(body)) + body
    sent = os.write(CONTROL, told)
    while sent < len(told):
        sent += os.write(CONTROL, told[sent:])


_told_cpu = 0
Body = Callable[[Any, Any, dict[str, Any]], tuple[str, str]]


def _conduct(
    body: Body,
    prefix: types.CodeType,
    code: types.CodeType,
    test: dict[str, Any],
    doubts: int,
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
        _end(doubts)
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


def _end(doubts: int) -> None:
    """What the interpreter does at its end, in its order.

    Flush, threads, exit handlers, flush; then the module is let go of, so that finalizers run, and
    find their names, and the streams of the start; then what they wrote is flushed. To clear the
    names at once is quicker, and all the same where there are no finalizers.
    """
    if state.threads() or atexit._ncallbacks():  # pyright: ignore[reportPrivateUsage]
        with contextlib.suppress(BaseException):  # if it fails, it does so again below
            _flush()
        if state.threads():
            state.join()
        atexit._run_exitfuncs()  # pyright: ignore[reportPrivateUsage]
    try:
        _flush()
    finally:
        state.restore()
        for name in ("__main__", "solution"):
            module = sys.modules.pop(name, None)
            if module is not None and not doubts & (state.FINALIZERS | state.MEDDLING):
                vars(module).clear()
            del module
        state.collect()
        state.flush()
        if doubts & state.OF_C:
            state.flush_c()


def _flush() -> None:
    """A frame of its own, which holds no stream when finalizers run."""
    for stream in (getattr(sys, "stdout", None), getattr(sys, "stderr", None)):
        if stream is not None and not getattr(stream, "closed", False):
            stream.flush()


PLAY: dict[str, Body] = {
    "stdin": _stdin,
    "call": _call,
    "weak": _weak,
    "hold": _hold,
    "judge": _judge,
}
"""What each kind of test does."""
