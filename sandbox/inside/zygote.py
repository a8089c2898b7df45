"""The zygote: a warm interpreter that forks program processes, and does nothing else.

It is asked by the keeper over a packet socket: limits, with the descriptors that the program is to
have. It sees neither source nor input nor output, so that no program's memory, a copy of its own,
can hold anything of another. It does as little as it can: after a fork, each page that it writes to
is copied.
"""

from __future__ import annotations

import atexit
import os
import signal
import socket
import struct
from typing import NamedTuple, NoReturn

from sandbox.inside import runner
from sandbox.layers import landlock, libc, namespaces, rlimits, seccomp

LOW = 32
"""No program process is given so many descriptors."""
ASKED = struct.Struct("=QQQ")
"""Bytes of address space, CPU seconds, bytes of stack; pids that are of no more interest follow."""
PID = struct.Struct("=q")
"""Which process was born; or, when the keeper asks, whose end it waits for."""
GONE = struct.Struct("=qddq")
"""Wait status, CPU seconds (user, system), peak resident KiB."""
MESSAGE = 4096
SPACE = socket.CMSG_SPACE(LOW * 4)
DIE_WITH_PARENT = libc.prepared_prctl(libc.PR_SET_PDEATHSIG, signal.SIGKILL)
WARM = 20


class Settings(NamedTuple):
    """What each program process puts up for itself."""

    rlimits: bool
    drop_capabilities: libc.Prepared | None
    abi: int
    seccomp: seccomp.Program | None


def serve(
    asked: socket.socket, settings: Settings, pids: namespaces.OwnPids | None, keeper: int
) -> NoReturn:
    """Fork on request, tell how a child has ended on request, until the keeper is gone."""
    for _ in range(WARM):  # the first calls of a function write to its code
        DIE_WITH_PARENT()
    if os.getppid() != keeper:
        os._exit(0)
    libc.prctl(libc.PR_SET_DUMPABLE, 0)
    _nothing_at_exit()
    _keep_low()
    left: list[int] = []
    while True:
        message, parts, _, _ = asked.recvmsg(MESSAGE, SPACE)
        if not message:
            os._exit(0)
        if not parts:
            (pid,) = PID.unpack(message)
            _, status, usage = os.wait4(pid, 0)
            asked.send(GONE.pack(status, usage.ru_utime, usage.ru_stime, usage.ru_maxrss))
            continue
        left += struct.unpack(f"={len(message) // 8 - 3}q", message[ASKED.size :])
        left = [pid for pid in left if os.waitpid(pid, os.WNOHANG)[0] == 0]
        descriptors = struct.unpack(f"={len(parts[0][2]) // 4}i", parts[0][2])
        if pids is not None:
            pids.before_fork()
        pid = os.fork()
        if pid == 0:
            _become_program(message[: ASKED.size], descriptors, settings)
        if pids is not None:
            pids.after_fork()
        _close(descriptors)
        asked.send(PID.pack(pid))


def _close(descriptors: tuple[int, ...]) -> None:
    """All of them, in one call where they lie side by side."""
    low, above = min(descriptors), max(descriptors) + 1
    if above - low == len(descriptors):
        os.closerange(low, above)
        return
    for each in descriptors:
        os.close(each)


def _become_program(message: bytes, descriptors: tuple[int, ...], settings: Settings) -> NoReturn:
    """In the child: its own descriptors, its own layers, then the submission."""
    try:
        DIE_WITH_PARENT()
        memory, cpu, stack = ASKED.unpack(message)
        for target, source in enumerate(descriptors):
            os.dup2(source, target)  # what is received lies above: see `_keep_low`
        os.closerange(len(descriptors), 256)
        if settings.rlimits:
            rlimits.apply(memory, cpu, stack)
        if settings.drop_capabilities is not None:
            settings.drop_capabilities()
        if settings.abi:
            landlock.isolate(settings.abi)
        if settings.seccomp is not None:
            settings.seccomp.install()
    except BaseException as error:
        # the keeper has no greeting yet, so this is a fault of the machinery
        os.write(2, f"the box could not be closed: {error!r}\n".encode())
        os._exit(1)
    runner.serve()


def _keep_low() -> None:
    """Occupy the descriptors that programs get, so that none is received there."""
    silent = os.open(os.devnull, os.O_RDWR)
    while silent < LOW:
        silent = os.dup(silent)
    os.close(silent)


def _nothing_at_exit() -> None:
    atexit._clear()  # pyright: ignore[reportPrivateUsage]
    signal.set_wakeup_fd(-1)
