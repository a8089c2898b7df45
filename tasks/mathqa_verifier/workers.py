"""Algebra in processes that can be killed: a small pool, started when first needed.

A pair that takes too long costs its worker, never the caller: the limit is enforced from outside.
Workers start from a fresh interpreter and do not run the caller's main script again, so a script
needs no `if __name__ == "__main__"` for our sake.
"""

from __future__ import annotations

import os
import re
import sys
import threading
from concurrent.futures import CancelledError, TimeoutError
from multiprocessing.context import SpawnContext, SpawnProcess
from multiprocessing.util import Finalize
from typing import Any, Literal

from tasks.mathqa_verifier import symbolic

LIMIT = 2.0
"""Seconds for one pair."""
INTEGRAL_LIMIT = 1.0
"""Seconds in which an integral must show its closed form (E21)."""
WORKERS = 2
TASKS = 200
"""Pairs after which a worker is replaced: the memory of sympy's caches only grows."""
_WARM_UP = 60.0
_LONGEST = 400

Failure = Literal["timeout", "crash"]

_ADMISSIBLE = re.compile(r"[0-9A-Za-z\\{}()\[\]|^_+\-*/=.,!&<>'\s]+", re.ASCII)
_COMMAND = re.compile(
    r"\\(?:begin|end)\s*\{[a-z]+\}|\\(?:mathbb|mathrm|operatorname)\{\w+\}|\\[a-zA-Z]+"
)
_WORD = re.compile(r"[A-Za-z]{4,}")
_ALGEBRA = re.compile(
    r"\\(?:i?int|lim|sum|prod|gcd|lcm|max|min|det|setminus|cap|partial|begin|mathbb)(?![A-Za-z])"
    r"|\\operatorname|\\frac\s*\{\s*d\s*\}"
)
_HUGE = re.compile(r"\d{6,}|(?<![\d.])[2-9]\d{4}(?!\d)|10\s*\^\s*\{?\s*(?:\d{2,}|[5-9])")
_GROWING = re.compile(r"!|\\sum|\\prod|\^")
_NOT_ELEMENTARY = re.compile(r"\\int.*([a-z])\s*\^\s*\{?\s*-?\1")
"""An integral over `x^x`: it has no closed form, so there is nothing to wait for."""


def admissible(cleaned: str) -> bool:
    """Whether sympy's parser may see an answer: short, shallow, no words, no huge growth."""
    if len(cleaned) > _LONGEST or not _ADMISSIBLE.fullmatch(cleaned):
        return False
    depth = deepest = 0
    for letter in cleaned:
        depth += (letter in "{([") - (letter in "})]")
        deepest = max(deepest, depth)
    if cleaned.count("{") != cleaned.count("}") or deepest > 25:
        return False
    if _WORD.search(_COMMAND.sub(" ", cleaned)):
        return False
    if _NOT_ELEMENTARY.search(cleaned):
        return False
    return not (_GROWING.search(cleaned) and _HUGE.search(cleaned))


def algebraic(cleaned: str) -> bool:
    """Whether an answer holds something that only algebra knows: an integral, a limit, ..."""
    return _ALGEBRA.search(cleaned) is not None


class _Process(SpawnProcess):
    """A fresh interpreter that does not import the caller's main script."""

    def start(self) -> None:
        main = sys.modules["__main__"]
        spec, file = getattr(main, "__spec__", None), getattr(main, "__file__", None)
        with _main_lock:
            try:
                main.__spec__ = None
                if file is not None:
                    del main.__file__
                super().start()
            finally:
                main.__spec__ = spec
                if file is not None:
                    main.__file__ = file


class _Context(SpawnContext):
    Process = _Process


class _Pool:
    """The pool of this process; a forked child makes its own."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.slots = threading.BoundedSemaphore(WORKERS)
        self.pool: Any = None

    def started(self) -> Any:
        from pebble import ProcessPool

        with self.lock:
            if self.pool is None or not self.pool.active:
                self.pool = ProcessPool(
                    max_workers=WORKERS,
                    max_tasks=TASKS,
                    initializer=symbolic.warm,
                    context=_Context(),
                )
                # Runs before a process waits for its children: at the exit of a script, and of a
                # child of multiprocessing, which runs no atexit handlers.
                Finalize(None, stop, exitpriority=100)
            return self.pool

    def stop(self) -> None:
        with self.lock:
            pool, self.pool = self.pool, None
        if pool is not None:
            pool.stop()
            pool.join()


_main_lock = threading.Lock()
_pool = _Pool()


def _forget_parent() -> None:
    global _pool, _main_lock
    _pool, _main_lock = _Pool(), threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_parent)


def stop() -> None:
    """End all workers; the next pair starts new ones."""
    _pool.stop()


def decide(gold: str, answer: str) -> bool | Failure:
    """Whether two cleaned answers are equal by algebra, or why that was not found out."""
    integral = "int" in gold or "int" in answer
    verdict = _ask(gold, answer, INTEGRAL_LIMIT if integral else LIMIT)
    return False if integral and verdict == "timeout" else verdict


def _ask(gold: str, answer: str, limit: float) -> bool | Failure:
    try:
        with _pool.slots:
            pool = _pool.started()
            future = pool.schedule(symbolic.decide, args=(gold, answer), timeout=limit)
            return bool(future.result(timeout=_WARM_UP + limit))
    except TimeoutError:
        return "timeout"
    except (CancelledError, Exception):
        return "crash"  # a dead worker, or a process that may have no children
