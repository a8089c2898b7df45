"""The program process: compiles one submission and runs its tests, one after another.

From its first test on nothing here can be relied upon, since the submission shares the process: all
that leaves it is data, and whoever reads it believes no more than that the submission said so.

Descriptors: 0 input (a memory file that the keeper fills), 1 and 2 output, 3 control, 4 the link to
the other half of a split test. Control: the keeper sends the job, then a frame for each test; the
answer is a frame of status, whether the process may be used again, what was flattened, and text.
"""

from __future__ import annotations

import _thread
import atexit
import bisect
import builtins
import collections
import contextlib
import decimal
import functools
import gc
import heapq
import itertools
import json
import math
import opcode
import operator
import os
import random
import resource
import signal
import string
import sys
import threading
import types
import warnings
from collections.abc import Callable, Collection
from typing import Any, NoReturn, cast

from sandbox import frames
from sandbox.inside import split

CONTROL = 3
FINE, ERROR, MEMORY, OUTPUT, UNCOMPILED, GREETING = b"O", b"R", b"M", b"L", b"C", b"G"
NOT_SOURCE = (SyntaxError, ValueError, MemoryError, RecursionError, OverflowError)
SCALARS = frozenset({int, str, float, bool, type(None)})
REHEARSALS = 40
SEED = 20_230_501
_getsignal: Callable[[int], Any] = sys.modules["_signal"].getsignal
"""The one of `signal` makes an enumeration's member of each answer."""
SIGNALS = (1, 2, 3, 10, 12, 14, 15, 24)
WATCHED = (math, random, string, itertools, functools, operator, collections, heapq, bisect, json)
"""Modules that a program may have changed so that it would meet its own change."""
MEDDLING = (
    "setattr __dict__ vars( globals( exec eval __import__ import_module builtins modules ctypes gc."
).split()
"""One of these, or an attribute that is set, is in every source that changes a module."""
STORES = (opcode.opmap["STORE_ATTR"], opcode.opmap["DELETE_ATTR"])
RECURSION, DIGITS = 1000, 4300
TOLD = 2000
"""Characters of an error that are sent."""

_names: dict[str, Any] = builtins.__dict__
_built_in = dict(_names)
_thresholds = gc.get_threshold()
_path: list[str] = []
_finders: list[Any] = []
_waiting: list[Any] = []
_filters: list[Any] = []
_handlers: tuple[Any, ...] = ()
_modules: list[tuple[types.ModuleType, dict[str, Any]]] = []


def remember() -> None:
    """Note how a new process finds the interpreter; the zygote does, once."""
    global _handlers
    _path[:], _finders[:] = sys.path, sys.meta_path
    _waiting[:] = threading._threading_atexits  # type: ignore[attr-defined]
    _filters[:] = warnings.filters
    _handlers = tuple(map(_getsignal, SIGNALS))
    _modules[:] = [(each, dict(vars(each))) for each in WATCHED]


class Exit:
    """What `exit` and `quit` are where `site` is not loaded."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __repr__(self) -> str:
        return f"Use {self._name}() or Ctrl-D (i.e. EOF) to exit"

    def __call__(self, code: Any = None) -> NoReturn:
        raise SystemExit(code)


_built_in.update(exit=Exit("exit"), quit=Exit("quit"))


def rehearse() -> None:
    """Play an empty program a few times, before any is there.

    The interpreter writes into code that it has not run often yet, and every program process would
    copy the pages that this touches.
    """
    streams = (os.fstat(0).st_ino, os.fstat(1).st_ino)
    job = {"prefix": "", "source": "pass"}
    for _ in range(REHEARSALS):
        frames.unpack(frames.pack(job)[frames.HEAD.size :])
        code = compile(job["source"], "<solution>", "exec", dont_inherit=True)
        _stores(code)
        _refresh()
        _conduct(_stdin, code, code, {"kind": "stdin"})
        _reusable(streams, False)


def serve() -> NoReturn:
    """Greet, take the job, answer each test, until the keeper closes the line."""
    try:
        _serve()
    finally:
        os._exit(1)  # whatever the submission broke, its process ends here


def _serve() -> None:
    _answer(GREETING, "")
    job = frames.receive(CONTROL)
    _names.update(_built_in)
    streams = (os.fstat(0).st_ino, os.fstat(1).st_ino)
    try:
        prefix = compile(job["prefix"], "<prefix>", "exec", dont_inherit=True)
        code = compile(job["source"], "<solution>", "exec", dont_inherit=True)
    except NOT_SOURCE as error:
        _answer(UNCOMPILED, f"{type(error).__name__}: {error}"[:TOLD])
        return
    meddling = any(word in job["source"] for word in MEDDLING) or _stores(code)
    play = {"stdin": _stdin, "call": _call, "weak": _weak, "hold": _hold, "judge": _judge}
    while True:
        try:
            test = frames.receive(CONTROL)
        except EOFError:
            return
        _refresh()
        body = play[test["kind"]]
        status, text, flattened = _conduct(body, prefix, code, test)
        _answer(status, text, again=_reusable(streams, meddling), flattened=flattened)


def _answer(status: bytes, text: str, *, again: bool = False, flattened: str = "") -> None:
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    head = b"%c%d%d %b\n" % (status, again, peak, flattened.encode())
    body = head + text.encode("utf-8", "backslashreplace")
    rest = memoryview(frames.HEAD.pack(len(body)) + body)
    while rest:
        rest = rest[os.write(CONTROL, rest) :]


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


# -- the end of a test, and the start of the next


def _end() -> None:
    """What the interpreter does at its end: threads, exit handlers, finalizers, flush."""
    if _threads():
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


def _threads() -> bool:
    """Whether there are threads, or what waits for them at exit."""
    return bool(_thread._count() or len(threading._threading_atexits) > len(_waiting))  # type: ignore


def _stores(code: types.CodeType) -> bool:
    """Whether an attribute is set on anything but the first argument of a method."""
    operations = code.co_code[::2]
    own = code.co_varnames[:1] == ("self",)
    return (not own and any(each in operations for each in STORES)) or any(
        _stores(each) for each in code.co_consts if isinstance(each, types.CodeType)
    )


def _meddled() -> bool:
    """Whether built-in names or a watched module differ from what they were.

    To compare them is to touch, and so to copy, a hundred pages that were shared until then.
    """
    return _names != _built_in or any(vars(module) != names for module, names in _modules)


def _reusable(streams: tuple[int, int], meddling: bool) -> bool:
    """Whether the next test finds nothing changed that a new process would have."""
    try:
        return (
            not _threads()
            and threading.main_thread() is threading.current_thread()
            and threading.main_thread().is_alive()
            and streams == (os.fstat(0).st_ino, os.fstat(1).st_ino)
            and not os.environ
            and sys.path == _path
            and warnings.filters == _filters
            and sys.meta_path == _finders
            and not (meddling and _meddled())
            and tuple(map(_getsignal, SIGNALS)) == _handlers
        )
    except Exception:
        return False
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)


def _stream(descriptor: int, mode: str, buffering: int, errors: str) -> Any:
    return open(descriptor, mode, buffering, "utf-8", errors, closefd=False)


def _refresh() -> None:
    """Streams, random numbers and the interpreter's limits, as a new process has them."""
    sys.stdin = _stream(0, "r", -1, "strict")
    sys.stdout = _stream(1, "w", -1, "strict")
    sys.stderr = _stream(2, "w", 1, "backslashreplace")
    sys.__stdin__, sys.__stdout__, sys.__stderr__ = sys.stdin, sys.stdout, sys.stderr  # type: ignore
    sys.setrecursionlimit(RECURSION)
    sys.set_int_max_str_digits(DIGITS)
    sys.setswitchinterval(0.005)
    threading.stack_size(0)
    random.seed(SEED)
    decimal.setcontext(decimal.DefaultContext.copy())
    os.umask(0o22)
    gc.enable()
    gc.set_threshold(*_thresholds)
    sys.settrace(None)
    sys.setprofile(None)
    sys.argv = ["solution.py"]
