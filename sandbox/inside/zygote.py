"""The zygote: a warm interpreter that forks program processes, and does nothing else.

It is asked by the keeper over a packet socket: limits, with the descriptors that the program is to
have. It sees neither source nor input nor output, so that no program's memory, a copy of its own,
can hold anything of another.
"""

from __future__ import annotations

import atexit
import os
import select
import signal
import socket
import struct
from typing import NamedTuple, NoReturn

from sandbox.inside import runner
from sandbox.layers import landlock, libc, namespaces, rlimits, seccomp

LOW = 32
"""No program process is given so many descriptors."""
ASKED = struct.Struct("=QQQ")
"""Bytes of address space, CPU seconds, bytes of stack."""
BORN = struct.Struct("=cq")
GONE = struct.Struct("=cqqddq")
"""b"X", pid, wait status, CPU seconds (user, system), peak resident KiB."""
DIE_WITH_PARENT = libc.prepared_prctl(libc.PR_SET_PDEATHSIG, signal.SIGKILL)
DROP_CAPABILITIES = libc.drop_capabilities()
WARM = 20


class Settings(NamedTuple):
    """What each program process puts up for itself."""

    rlimits: bool
    capabilities: bool
    abi: int
    seccomp: seccomp.Program | None


def serve(
    asked: socket.socket, settings: Settings, pids: namespaces.OwnPids | None, keeper: int
) -> NoReturn:
    """Fork on request, tell of each child's end, until the keeper is gone."""
    for _ in range(WARM):  # the first calls of a function write to its code
        DIE_WITH_PARENT()
    if os.getppid() != keeper:
        os._exit(0)
    libc.prctl(libc.PR_SET_DUMPABLE, 0)
    _nothing_at_exit()
    _keep_low()
    children: dict[int, int] = {}
    poll = select.poll()
    poll.register(asked, select.POLLIN)
    while True:
        for ready, _ in poll.poll():
            if ready != asked.fileno():
                pid = children.pop(ready)
                poll.unregister(ready)
                os.close(ready)
                _, status, usage = os.wait4(pid, 0)
                times = (usage.ru_utime, usage.ru_stime, usage.ru_maxrss)
                asked.send(GONE.pack(b"X", pid, status, *times))
                continue
            message, descriptors, _, _ = socket.recv_fds(asked, 4096, LOW)
            if not message:
                os._exit(0)
            if pids is not None:
                pids.before_fork()
            pid = os.fork()
            if pid == 0:
                _become_program(message, descriptors, settings)
            if pids is not None:
                pids.after_fork()
            for each in descriptors:
                os.close(each)
            ended = os.pidfd_open(pid)
            children[ended] = pid
            poll.register(ended, select.POLLIN)
            asked.send(BORN.pack(b"B", pid))


def _become_program(message: bytes, descriptors: list[int], settings: Settings) -> NoReturn:
    """In the child: its own descriptors, its own layers, then the submission."""
    try:
        DIE_WITH_PARENT()
        memory, cpu, stack = ASKED.unpack(message)
        for target, source in enumerate(descriptors):
            os.dup2(source, target)  # what is received lies above: see `_keep_low`
        os.closerange(len(descriptors), 256)
        if settings.rlimits:
            rlimits.apply(memory, cpu, stack)
        if settings.capabilities:
            DROP_CAPABILITIES()
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
