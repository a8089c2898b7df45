"""What a new process has of the interpreter, made anew for each test; whether a used one has it.

A process may be used again only if nothing is changed that a test could notice and that `refresh`
does not restore.
"""

from __future__ import annotations

import _thread
import bisect
import builtins
import collections
import ctypes
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
import signal
import string
import sys
import threading
import types
import warnings
from collections.abc import Callable
from typing import Any, NoReturn

SEED = 20_230_501
_getsignal: Callable[[int], Any] = sys.modules["_signal"].getsignal
"""The one of `signal` makes an enumeration's member of each answer."""
_setitimer = signal.setitimer
SIGNALS = (1, 2, 3, 10, 12, 14, 15, 24)
WATCHED = (math, random, string, itertools, functools, operator, collections, heapq, bisect, json)
"""Modules that a program may have changed so that it would meet its own change."""
MEDDLING, REWIRING, REDIRECTING, CHANCE, LIMITS, THREADS = 1, 2, 4, 8, 16, 32
FINALIZERS, OF_C, CUSTOMS = 64, 128, 256
"""Doubts about a submission: it may change a module or a built-in name, how a stream works, which
files the descriptors are; use the shared random numbers; change the interpreter's limits or the
context of decimals; start or end threads. Then: what of it may run when its names are gone; whether
it may write by the C library; whether it needs what `customs` keeps."""
WORDS = {
    doubt: words.split()
    for doubt, words in {
        MEDDLING: "setattr __dict__ vars( globals( exec eval __import__ import_module builtins "
        "modules ctypes gc.",
        REWIRING: "reconfigure detach buffer getattr _CHUNK tell seek",
        REDIRECTING: "close dup open fd tty IO socket Connection detach buffer raw getattr ctypes",
        CHANCE: "random statistics sympy uuid email",
        LIMITS: "setrecursion set_int setswitch stack_size umask gc settrace setprofile argv "
        "ecimal profile trace pdb timeit sympy getattr getter caller",
        THREADS: "thread concurrent asyncio multiprocessing getattr getter caller",
        FINALIZERS: "__del__ yield await weakref IO",
        OF_C: "ctypes",
        CUSTOMS: "/dev/std /dev/fd /proc/self/fd RLIMIT_STACK",
    }.items()
}
"""One of these is in every source that gives reason for the doubt."""
ALL = MEDDLING | REWIRING | REDIRECTING | CHANCE | LIMITS | THREADS
"""All that is doubted of a submission that may change anything."""
FROM_PREFIX = REWIRING | CHANCE | LIMITS | THREADS
"""Where the names that give reason for it may be the prefix's."""
STORE, DELETE = opcode.opmap["STORE_ATTR"], opcode.opmap["DELETE_ATTR"]
YOUNG = 1 if sys.version_info < (3, 14) else 0
"""The oldest of the generations that what was made lately is in."""
RECURSION, DIGITS = 1000, 4300

_names: dict[str, Any] = builtins.__dict__
_built_in = dict(_names)
_thresholds = gc.get_threshold()
_streams: list[Any] = [None, None, None]
"""Input, output and errors as `refresh` made them last."""
_path: list[str] = []
_finders: list[Any] = []
_waiting: list[Any] = []
_filters: list[Any] = []
_handlers: tuple[Any, ...] = ()
_modules: list[tuple[types.ModuleType, dict[str, Any]]] = []
_collections = 0
"""Of what had been looked at before, when this was last counted."""
_ended = False
"""Threads have been waited for: this interpreter starts no more of them."""


def remember() -> None:
    """Note how a new process finds the interpreter; the zygote does, once."""
    global _handlers
    _path[:], _finders[:] = sys.path, sys.meta_path
    _waiting[:] = threading._threading_atexits  # type: ignore[attr-defined]
    _filters[:] = warnings.filters
    _handlers = tuple(map(_getsignal, SIGNALS))
    _modules[:] = [(each, dict(vars(each))) for each in WATCHED]
    _names.update(_built_in)
    sys.orig_argv[:] = [sys.executable, "solution.py"]  # that of a box names our folders


def freeze() -> None:
    """Leave all that is there now alone: the collector would touch, and so copy, all of it."""
    global _collections
    gc.collect()
    gc.freeze()
    _collections = _older()


def collect() -> None:
    """Collect what a test has left behind, as the interpreter does at its end.

    To look at the oldest generation empties the lists of free objects, too, which takes longer than
    a small program. It holds nothing new if nothing young was looked at since the last time.
    """
    global _collections
    if _older() == _collections:
        gc.collect(YOUNG)
        _collections += 1
    else:
        gc.collect()
        _collections = _older()


def _older() -> int:
    """How often objects have been moved to where `collect(YOUNG)` does not look."""
    stats = gc.get_stats()
    moved = stats[1]["collections"] + stats[2]["collections"]
    return moved if YOUNG else moved + stats[0]["collections"]


class Exit:
    """What `exit` and `quit` are where `site` is not loaded."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __repr__(self) -> str:
        return f"Use {self._name}() or Ctrl-D (i.e. EOF) to exit"

    def __call__(self, code: Any = None) -> NoReturn:
        raise SystemExit(code)


_built_in.update(exit=Exit("exit"), quit=Exit("quit"))


def threads() -> bool:
    """Whether there are threads, or what waits for them at exit."""
    return bool(_thread._count() or len(threading._threading_atexits) > len(_waiting))  # type: ignore


def join() -> None:
    """Wait for the threads, as the interpreter does at its end; from then on it counts as ended."""
    global _ended
    _ended = True
    threading._shutdown()  # type: ignore[attr-defined]


def stores(code: types.CodeType) -> bool:
    """Whether an attribute is set on anything but the first argument of a method."""
    operations = code.co_code[::2]
    if code.co_varnames[:1] != ("self",) and (STORE in operations or DELETE in operations):
        return True
    for each in code.co_consts:  # noqa: SIM110 - a generator's frame would touch more memory
        if type(each) is types.CodeType and stores(each):
            return True
    return False


def doubts(prefix: str, source: str) -> int:
    """The doubts about a submission, by its text; some names that it uses may be the prefix's."""
    found = 0
    for doubt, words in WORDS.items():
        if any(word in source or (doubt & FROM_PREFIX and word in prefix) for word in words):
            found |= doubt
    return found


def streams(first: int = 0) -> tuple[int, int]:
    """Which files two descriptors are: standard input and output, or those of a slot."""
    return os.fstat(first).st_ino, os.fstat(first + 1).st_ino


def _meddled() -> bool:
    """Whether built-in names or a watched module differ from what they were.

    To compare them is to touch, and so to copy, a hundred pages that were shared until then.
    """
    return _names != _built_in or any(vars(module) != names for module, names in _modules)


def reusable(own: tuple[int, int] | None, doubts: int) -> bool:
    """Whether the next test finds nothing changed that a new process would have.

    `own`: the files that input and output are; None where they cannot have become others.
    """
    try:
        return (
            not threads()
            and not _ended
            and not (doubts & THREADS and _replaced())
            and (own is None or own == streams())
            and not os.environ
            and sys.path == _path
            and warnings.filters == _filters
            and sys.meta_path == _finders
            and not (doubts & MEDDLING and _meddled())
            and tuple(map(_getsignal, SIGNALS)) == _handlers
        )
    except Exception:
        return False
    finally:
        _setitimer(signal.ITIMER_REAL, 0)


def _replaced() -> bool:
    """Whether this is no longer the main thread."""
    main = threading.main_thread()
    return main is not threading.current_thread() or not main.is_alive()


def restore() -> None:
    """Put our streams back where a program has put others, which so can end."""
    given, out, err = _streams
    now = sys.__dict__.get  # one that is gone counts as another
    if now("stdin") is not given or now("stdout") is not out or now("stderr") is not err:
        sys.stdin, sys.stdout, sys.stderr = given, out, err


def flush() -> None:
    """What was written before a program put streams of its own in the place of these, or after."""
    for stream in _streams[1:]:
        try:  # noqa: SIM105 - a context manager would touch more memory
            stream.flush()
        except (OSError, ValueError):
            pass


def flush_c() -> None:
    """What lies in the C library's own streams, as its exit does."""
    ctypes.CDLL(None).fflush(None)


def refresh(doubts: int = ALL) -> None:
    """Streams, random numbers and the interpreter's limits, as a new process has them.

    Without the doubts REWIRING, CHANCE and LIMITS, the streams stay if they are still those of an
    earlier call, the random numbers go on, and the limits are as they were.
    """
    given, out, err = _streams
    if doubts & REWIRING or sys.stdin is not given or not _rewound(given):
        sys.stdin = open(0, encoding="utf-8", errors="strict", closefd=False)  # noqa: SIM115
    if doubts & REWIRING or sys.stdout is not out or sys.stderr is not err or _closed(out, err):
        sys.stdout = open(1, "w", -1, "utf-8", "strict", closefd=False)  # noqa: SIM115
        sys.stderr = open(2, "w", 1, "utf-8", "backslashreplace", closefd=False)  # noqa: SIM115
    _streams[:] = sys.stdin, sys.stdout, sys.stderr
    sys.__stdin__, sys.__stdout__, sys.__stderr__ = sys.stdin, sys.stdout, sys.stderr  # type: ignore
    if doubts & CHANCE:
        random.seed(SEED)
    if doubts & LIMITS:
        _limits()


def forget() -> None:
    """Let go of the streams, so that `refresh` makes new ones where memory is taken from then."""
    _streams[:] = None, None, None
    sys.stdin = sys.stdout = sys.stderr = None  # type: ignore[assignment]
    sys.__stdin__ = sys.__stdout__ = sys.__stderr__ = None  # type: ignore[misc]


def _rewound(given: Any) -> bool:
    """Whether it reads the input from its start now, and holds nothing of what it read before."""
    try:
        given.buffer.seek(0, os.SEEK_END)  # nearer places it would find in what it holds
        given.seek(0)
    except (OSError, ValueError):
        return False
    return True


def _closed(out: Any, err: Any) -> bool:
    return out.closed or err.closed


def _limits() -> None:
    sys.setrecursionlimit(RECURSION)
    sys.set_int_max_str_digits(DIGITS)
    sys.setswitchinterval(0.005)
    threading.stack_size(0)
    decimal.setcontext(decimal.DefaultContext.copy())
    os.umask(0o22)
    gc.enable()
    gc.set_threshold(*_thresholds)
    sys.settrace(None)
    sys.setprofile(None)
    sys.argv = ["solution.py"]
