"""What a new process has of the interpreter, made anew for each test; whether a used one has it.

A process may be used again only if nothing is changed that a test could notice and that `refresh`
does not restore.
"""

from __future__ import annotations

import _thread
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
import signal
import string
import sys
import threading
import types
import warnings
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, NoReturn

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
REWIRING = ("reconfigure", "detach", "buffer", "getattr", "_CHUNK")
REDIRECTING = (
    "close dup open fd tty IO socket Connection detach buffer raw getattr ctypes"
).split()
"""One of these is in every source that changes which file a descriptor is."""
CHANCE = ("random", "statistics", "sympy", "uuid", "email")
"""Modules that draw from the shared random numbers."""
STORES = (opcode.opmap["STORE_ATTR"], opcode.opmap["DELETE_ATTR"])
RECURSION, DIGITS = 1000, 4300

_names: dict[str, Any] = builtins.__dict__
_built_in = dict(_names)
_thresholds = gc.get_threshold()
_output: list[Any] = [None, None]
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
    _names.update(_built_in)


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


def _stores(code: types.CodeType) -> bool:
    """Whether an attribute is set on anything but the first argument of a method."""
    operations = code.co_code[::2]
    own = code.co_varnames[:1] == ("self",)
    return (not own and any(each in operations for each in STORES)) or any(
        _stores(each) for each in code.co_consts if isinstance(each, types.CodeType)
    )


class Doubts(NamedTuple):
    """What a submission could change or use, by its text; True in doubt."""

    meddling: bool
    """A module or a built-in name."""
    rewiring: bool
    """How a stream of output works."""
    redirecting: bool
    """Which files the descriptors are."""
    chance: bool
    """The shared random numbers."""


def doubts(prefix: str, source: str, code: types.CodeType) -> Doubts:
    """The doubts about a submission; names that it uses may come from the prefix."""
    meddling = _any(MEDDLING, source) or _stores(code)
    return Doubts(
        meddling,
        meddling or _any(REWIRING, source),
        meddling or _any(REDIRECTING, source),
        meddling or _any(CHANCE, source) or _any(CHANCE, prefix),
    )


def _any(words: Sequence[str], text: str) -> bool:
    for word in words:  # noqa: SIM110 - a generator's frame would touch memory that is shared
        if word in text:
            return True
    return False


def streams(first: int = 0) -> tuple[int, int]:
    """Which files two descriptors are: standard input and output, or those of a slot."""
    return os.fstat(first).st_ino, os.fstat(first + 1).st_ino


def _meddled() -> bool:
    """Whether built-in names or a watched module differ from what they were.

    To compare them is to touch, and so to copy, a hundred pages that were shared until then.
    """
    return _names != _built_in or any(vars(module) != names for module, names in _modules)


def reusable(own: tuple[int, int] | None, meddling: bool) -> bool:
    """Whether the next test finds nothing changed that a new process would have.

    `own`: the files that input and output are; None where they cannot have become others.
    """
    try:
        return (
            not threads()
            and threading.main_thread() is threading.current_thread()
            and threading.main_thread().is_alive()
            and (own is None or own == streams())
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


def _closed() -> bool:
    return any(each.closed for each in _output)


def flush() -> None:
    """What was written before a program put streams of its own in the place of these."""
    for stream in _output:
        with contextlib.suppress(OSError, ValueError):
            stream.flush()


def _stream(descriptor: int, mode: str, buffering: int, errors: str) -> Any:
    return open(descriptor, mode, buffering, "utf-8", errors, closefd=False)


def refresh(*, streams: bool = True, chance: bool = True) -> None:
    """Streams, random numbers and the interpreter's limits, as a new process has them.

    Without `streams` the ones for output stay, if they are still those of an earlier call; without
    `chance` the random numbers go on.
    """
    sys.stdin = _stream(0, "r", -1, "strict")
    if streams or sys.stdout is not _output[0] or sys.stderr is not _output[1] or _closed():
        sys.stdout = _stream(1, "w", -1, "strict")
        sys.stderr = _stream(2, "w", 1, "backslashreplace")
        _output[:] = sys.stdout, sys.stderr
    sys.__stdin__, sys.__stdout__, sys.__stderr__ = sys.stdin, sys.stdout, sys.stderr  # type: ignore
    sys.setrecursionlimit(RECURSION)
    sys.set_int_max_str_digits(DIGITS)
    sys.setswitchinterval(0.005)
    threading.stack_size(0)
    if chance:
        random.seed(SEED)
    decimal.setcontext(decimal.DefaultContext.copy())
    os.umask(0o22)
    gc.enable()
    gc.set_threshold(*_thresholds)
    sys.settrace(None)
    sys.setprofile(None)
    sys.argv = ["solution.py"]
