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
import sys
from collections.abc import Callable
from typing import NoReturn

from sandbox.inside import pages, runner, warm
from sandbox.inside.birth import ASKED, LOW, SEATS, Settings, enter
from sandbox.layers import libc, namespaces

PID = struct.Struct("=q")
"""Which process was born; or, when the keeper asks, whose end it waits for."""
GONE = struct.Struct("=qddq")
"""Wait status, CPU seconds (user, system), peak resident KiB."""
MORE = 50
"""Pids that one message tells of, at most: so few that the C library is not asked for room."""
MESSAGE = ASKED.size + MORE * PID.size
SPACE = socket.CMSG_SPACE(LOW * 4)


def serve(
    asked: socket.socket,
    settings: Settings,
    pids: namespaces.OwnPids | None,
    keeper: int,
    stretches: list[pages.Stretch],
) -> NoReturn:
    """Fork on request, tell how a child has ended on request, until the keeper is gone."""
    libc.prctl(libc.PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != keeper:
        os._exit(0)
    libc.prctl(libc.PR_SET_DUMPABLE, 0)
    _nothing_at_exit()
    kept = [asked.fileno()] + ([pids.home] if pids else [])
    settings = warm.up(kept, settings, stretches)
    _keep_low()
    if -1 in [call() for call in settings.shared]:
        os._exit(1)
    before, after = (pids.before_fork.call, pids.after_fork.call) if pids else (_nothing, _nothing)
    _births(asked, settings, libc.anew(before), libc.anew(after))


def _births(
    asked: socket.socket,
    settings: Settings,
    before: Callable[[], object],
    after: Callable[[], object],
) -> NoReturn:
    """The zygote's work: what it needs for it lies together, and it makes little else."""
    receive, send, pack = asked.recvmsg, asked.send, PID.pack
    fork, wait, close, number = os.fork, os.waitpid, os.closerange, int.from_bytes
    order, words, size = sys.byteorder, ASKED.size, PID.size
    left: list[int] = []
    while True:
        message, parts, _, _ = receive(MESSAGE, SPACE)
        if not message:
            os._exit(0)
        if not parts:
            _, status, usage = os.wait4(number(message, order), 0)
            send(GONE.pack(status, usage[0], usage[1], usage[2]))
            continue
        for at in range(words, len(message), size):
            left.append(number(message[at : at + size], order))
        still = 0
        for pid in left:
            if wait(pid, os.WNOHANG)[0] == 0:
                left[still] = pid
                still += 1
        del left[still:]
        handed = parts[0][2]
        count = len(handed) // 4
        if number(handed[-4:], order) != LOW + count - 1:
            os._exit(1)  # they lie side by side, above those that are kept: see `_keep_low`
        if before() == -1:
            os._exit(1)  # without a namespace of its own no program is born
        pid = fork()
        if pid == 0:
            _become_program(message[:words], count, settings)
        if after() == -1:
            os._exit(1)
        close(LOW, LOW + count)
        send(pack(pid))


def _nothing() -> int:
    """Where there is no namespace to enter or to leave."""
    return 0


def _become_program(message: bytes, count: int, settings: Settings) -> NoReturn:
    """In the child: its own descriptors, its own layers, then the submission."""
    try:
        enter(message, count, settings)
    except BaseException as error:
        # the keeper has no greeting yet, so this is a fault of the machinery
        os.write(2, f"the box could not be closed: {error!r}\n".encode())
        os._exit(1)
    runner.serve(LOW + SEATS)


def _keep_low() -> None:
    """Occupy the descriptors that programs get, so that none is received there."""
    silent = os.open(os.devnull, os.O_RDWR)
    while silent < LOW:
        silent = os.dup(silent)
    os.close(silent)


def _nothing_at_exit() -> None:
    atexit._clear()  # pyright: ignore[reportPrivateUsage]
    signal.set_wakeup_fd(-1)
