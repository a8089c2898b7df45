"""System calls through ctypes: the few that Python's own modules lack."""

from __future__ import annotations

import ctypes
import os

LIBC = ctypes.CDLL(None, use_errno=True)
LIBC.syscall.restype = ctypes.c_long

MACHINE = os.uname().machine

PR_SET_PDEATHSIG = 1
PR_SET_DUMPABLE = 4
PR_SET_SECCOMP = 22
PR_SET_NO_NEW_PRIVS = 38

Argument = int | bytes | None | ctypes.Array[ctypes.c_char]


def checked(result: int, what: str) -> int:
    """The result of a C call; OSError with the call's name where it is -1."""
    if result == -1:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")
    return result


def prctl(option: int, value: Argument = 0, more: Argument = 0) -> None:
    """prctl(2); integers travel as unsigned long."""
    words = [ctypes.c_ulong(each) if isinstance(each, int) else each for each in (value, more)]
    checked(LIBC.prctl(option, *words, ctypes.c_ulong(0), ctypes.c_ulong(0)), f"prctl {option}")


def syscall(number: int, *arguments: Argument) -> int:
    """A system call by its number; integers travel as long."""
    words = [ctypes.c_long(each) if isinstance(each, int) else each for each in arguments]
    return checked(LIBC.syscall(ctypes.c_long(number), *words), f"system call {number}")


def unshare(flags: int) -> None:
    """unshare(2)."""
    checked(LIBC.unshare(flags), "unshare")


def setns(descriptor: int, kind: int) -> None:
    """setns(2)."""
    checked(LIBC.setns(descriptor, kind), "setns")


def mount(source: str, target: str, kind: str | None, flags: int, data: str = "") -> None:
    """mount(2)."""
    words = [each.encode() if each is not None else None for each in (source, target, kind)]
    result = LIBC.mount(*words, ctypes.c_ulong(flags), data.encode() or None)
    checked(result, f"mount {target}")


_VERSION = (ctypes.c_uint32 * 2)(0x20080522, 0)
_NOTHING = (ctypes.c_uint32 * 6)()


def drop_capabilities() -> None:
    """No capability in any set; there is none to get back, as nothing is ever executed."""
    number = ctypes.c_long({"x86_64": 126, "aarch64": 91}[MACHINE])
    checked(LIBC.syscall(number, _VERSION, _NOTHING), "capset")
