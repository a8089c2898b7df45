"""Customs that programs rely upon and a box has no place for; kept where a source names them.

`/dev/stdin` and its kin are names of descriptors, and a box has neither these devices nor `/proc`.
The stack's limit is often raised for deep recursion; here it is as high as it may be.
"""

from __future__ import annotations

import builtins
import errno
import io
import os
import re
import resource
from collections.abc import Callable
from typing import IO, Any

NAMES = re.compile(r"/dev/std(in|out|err)|(?:/dev/fd|/proc/self/fd)/([0-9]{1,4})")
STREAMS = {"in": 0, "out": 1, "err": 2}
_open: Callable[..., IO[Any]] = builtins.open
_os_open, _setrlimit = os.open, resource.setrlimit


def keep() -> None:
    """From now on, for this process: a new one begins without."""
    builtins.open = io.open = open_file  # type: ignore[assignment]
    os.open = open_descriptor  # type: ignore[assignment]
    resource.setrlimit = set_limit  # type: ignore[assignment]


def open_file(file: Any, *words: Any, **named: Any) -> IO[Any]:
    """`open`; a name of a descriptor opens a duplicate of it, which is closed with the file."""
    number = _named(file)
    if number is None:
        return _open(file, *words, **named)

    def opener(path: str, flags: int) -> int:
        return _duplicate(path, number)

    return _open(file, *words, **{**named, "opener": opener})


def open_descriptor(path: Any, flags: int, *words: Any, **named: Any) -> int:
    """`os.open`; the same."""
    number = _named(path)
    if number is None:
        return _os_open(path, flags, *words, **named)
    return _duplicate(path, number)


def set_limit(kind: int, limits: Any) -> None:
    """`resource.setrlimit`; that of the stack is without effect."""
    if kind != resource.RLIMIT_STACK:
        _setrlimit(kind, limits)


def _duplicate(path: Any, number: int) -> int:
    try:
        return os.dup(number)
    except OSError:
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), path) from None


def _named(path: Any) -> int | None:
    """The descriptor of that name; None where it is another."""
    if isinstance(path, int):
        return None
    try:
        found = NAMES.fullmatch(os.fsdecode(path))
    except (TypeError, ValueError):
        return None  # `open` says what is wrong with it
    if found is None:
        return None
    return STREAMS[found[1]] if found[1] else int(found[2])
