"""System calls through ctypes: the few that Python's own modules lack.

A call that each program process makes is a `Prepared` one: its arguments are converted before the
fork, since what `ctypes` writes to while it converts them would be copied for every program.
"""

from __future__ import annotations

import ctypes
import functools
import os
from collections.abc import Callable

from sandbox.layers.syscalls import NUMBERS

LIBC = ctypes.CDLL(None, use_errno=True)
LIBC.syscall.restype = ctypes.c_long

MACHINE = os.uname().machine

PR_SET_PDEATHSIG = 1
PR_GET_DUMPABLE = 3
PR_SET_DUMPABLE = 4
PR_SET_SECCOMP = 22
PR_SET_NO_NEW_PRIVS = 38

_NUMBERS = (ctypes.c_int, ctypes.c_long, ctypes.c_ulong)
Argument = int | bytes | None | ctypes.Array[ctypes.c_char] | ctypes.c_void_p


def checked(result: int, what: str) -> int:
    """The result of a C call; OSError with the call's name where it is -1."""
    if result == -1:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")
    return result


class Prepared:
    """A C call with its arguments as C values, to be made later, often, or in another process."""

    def __init__(self, what: str, function: Callable[..., int], *words: object) -> None:
        self._what = what
        self.call = functools.partial(function, *words)
        """The call alone, for a process that looks itself whether it is -1."""

    def __call__(self) -> None:
        """OSError with the call's name where it fails."""
        checked(self.call(), self._what)


def anew(call: Callable[[], object]) -> Callable[[], object]:
    """The same call, with numbers of its own: they lie where memory is taken from now."""
    if not isinstance(call, functools.partial):
        return call
    words: list[object] = [
        type(each)(each.value) if isinstance(each, _NUMBERS) else each for each in call.args
    ]
    made: functools.partial[object] = functools.partial(call.func, *words)
    return made


def prctl(option: int, value: Argument = 0, more: Argument = 0) -> None:
    """prctl(2); integers travel as unsigned long."""
    prepared_prctl(option, value, more)()


def prepared_prctl(option: int, value: Argument = 0, more: Argument = 0) -> Prepared:
    """The same, to be made later."""
    words = (value, more, 0, 0)
    converted = [ctypes.c_ulong(each) if isinstance(each, int) else each for each in words]
    return Prepared(f"prctl {option}", LIBC.prctl, ctypes.c_int(option), *converted)


def syscall(number: int, *arguments: Argument) -> int:
    """A system call by its number; integers travel as long."""
    words = [ctypes.c_long(each) if isinstance(each, int) else each for each in arguments]
    return checked(LIBC.syscall(ctypes.c_long(number), *words), f"system call {number}")


def unshare(flags: int) -> None:
    """unshare(2)."""
    checked(LIBC.unshare(flags), "unshare")


def mount(source: str, target: str, kind: str | None, flags: int, data: str = "") -> None:
    """mount(2)."""
    words = [each.encode() if each is not None else None for each in (source, target, kind)]
    result = LIBC.mount(*words, ctypes.c_ulong(flags), data.encode() or None)
    checked(result, f"mount {target}")


def drop_capabilities() -> Prepared:
    """capset(2), to be made later: none in any set, and none to get back, as nothing is executed.

    KeyError on a machine whose number of the call is not known.
    """
    number = ctypes.c_long(NUMBERS[MACHINE]["capset"])
    version, nothing = (ctypes.c_uint32 * 2)(0x20080522, 0), (ctypes.c_uint32 * 6)()
    return Prepared("capset", LIBC.syscall, number, version, nothing)
