"""What a zygote does before it forks, so that little is left to do after, and little to copy.

It plays the life of a program process, from its descriptors to the end of the line, in its own
process: the interpreter writes into code that it has not run often, and into its caches, and every
program process would copy the pages that this touches.
"""

from __future__ import annotations

import gc
import os
import socket
from collections.abc import Callable

from sandbox import frames
from sandbox.inside import birth, pages, runner, state
from sandbox.layers import libc, rlimits

REHEARSALS = 40
REHEARSED = """
def total(values):
    return sum(each * each for each in values)

count = int(input())
found = {}
for _ in range(count):
    name, *rest = input().split()
    values = [int(each) for each in rest]
    found[name] = found.get(name, 0) + total(values)
for name, value in sorted(found.items(), key=lambda pair: pair[1]):
    print(name, value, f"{value:d}")
"""
"""A program like many: what it uses of the interpreter has been used before any fork."""
GIVEN = b"2\na 1 2\nb 3 4\n"


def up(kept: list[int], settings: birth.Settings, stretches: list[pages.Stretch]) -> birth.Settings:
    """Leave the interpreter as each program process is to find it; the descriptors `kept` stay.

    What each process writes to, as the streams of its first test and the numbers of its calls (so
    the settings are returned), is made last: there it lies with what the process makes itself.
    """
    if max(kept) >= birth.LOW:
        raise RuntimeError(f"descriptors {kept} lie where those of programs are received")
    state.remember()
    saved = [os.dup2(each, birth.HIGH + place) for place, each in enumerate(kept)]
    seats, silent = _rehearse(birth.HIGH + len(kept))
    state.forget()
    gc.collect()
    pages.fresh()
    settings = settings._replace(calls=tuple(map(libc.anew, settings.calls)))
    _first_streams(seats)
    for target in range(birth.SEATS):
        os.dup2(silent, target)
    for each, high in zip(kept, saved, strict=True):
        os.dup2(high, each)
    os.closerange(birth.LOW, 2 * birth.HIGH)
    state.freeze()
    pages.enlarge(stretches)
    return settings


def _rehearse(free: int) -> tuple[list[int], int]:
    """Play on descriptors like those to come, kept from `free` on, where nobody closes them.

    Input, output and errors as a first test has them are returned, and a silent one.
    """
    numbers = iter(range(free, 2 * birth.HIGH))

    def put(descriptor: int) -> int:
        high = os.dup2(descriptor, next(numbers))
        os.close(descriptor)
        return high

    silent = put(os.open(os.devnull, os.O_RDWR))
    inputs = [put(os.memfd_create("input")) for _ in range(2)]
    for each in inputs:
        os.pwrite(each, GIVEN, 0)
    pipes = [[put(end) for end in os.pipe()] for _ in range(3)]
    outs = [write for _, write in pipes]
    seats = [inputs[0], outs[0], outs[2]]
    lines = [_line(put) for _ in range(REHEARSALS)]
    most = birth.ASKED.pack(*rlimits.MOST)
    harmless = libc.prepared_prctl(libc.PR_GET_DUMPABLE).call
    layers = birth.Settings(True, (birth.DIE_WITH_PARENT.call, harmless, harmless))
    for theirs in lines:
        handed = [*seats, theirs, inputs[0], outs[0], inputs[1], outs[1]]
        for place, each in enumerate(handed):
            os.dup2(each, birth.LOW + place)
        _first_streams(seats)
        birth.enter(most, len(handed), layers)
        runner.live(birth.LOW + birth.SEATS)
        for each in inputs:
            os.lseek(each, 0, os.SEEK_SET)
        for read, _ in pipes[:2]:
            os.read(read, 1 << 16)
    return seats, silent


def _first_streams(seats: list[int]) -> None:
    for target, each in enumerate(seats):
        os.dup2(each, target)
    state.refresh()


def _line(put: Callable[[int], int]) -> int:
    """A control line on which all lies that a program process is told, up to its end."""
    ours, theirs = socket.socketpair()
    tests = [frames.HEAD.pack(6) + slot + runner.PLAIN for slot in (b"0", b"1")]
    ours.sendall(runner.texts("", REHEARSED, 2) + b"".join(tests))
    ours.shutdown(socket.SHUT_WR)
    put(ours.detach())
    return put(theirs.detach())
