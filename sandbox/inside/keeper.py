"""The keeper: takes jobs from the supervisor, gives them to program processes, holds the clocks.

It is in the box, but runs no model code. What a program process says it takes for data: lengths are
capped before anything is kept, and an answer that is no answer is an error of that program. CPU
seconds are read from the kernel's clock of the process, not from what it says.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import socket
import time
from typing import Any, NamedTuple

from sandbox import frames
from sandbox.inside import runner
from sandbox.inside.birth import ASKED
from sandbox.inside.zygote import GONE, PID

TICK = 0.25
"""Seconds between looks at the clocks, at most."""
HELD = 1 << 20
"""Bytes of a program's answer beyond its output cap."""
CHUNK = 1 << 16


class Lost(Exception):
    """Zygote or supervisor are gone: there is nothing left to do."""


class Kind(NamedTuple):
    """What a process is made for: its kernel limits, and the tests that it can be handed ahead."""

    limits: bytes
    slots: int


class Child:
    """One program process, its pipes, and what is known of its end."""

    def __init__(self, keeper: Keeper, kind: Kind, link: int | None = None) -> None:
        self.kind, slots = kind, kind.slots
        self.limits: dict[str, Any] = {}
        self.inputs = [os.memfd_create("input", os.MFD_CLOEXEC) for _ in range(slots)]
        pipes = [os.pipe() for _ in range(slots + 1)]
        *self.outs, self.err = (read for read, _ in pipes)
        *outs, err = (write for _, write in pipes)
        self.control, control = socket.socketpair()
        self.slot = -1
        self._used: set[int] = set()
        """Slots whose input has been filled before."""
        self._unsent = bytearray()
        self.polls = {each: [keeper.poll] for each in (*self.outs, self.err)}
        self.polls[self.control.fileno()] = [keeper.poll, keeper.quick]
        self.open: set[int] = set()
        self._watched: set[int] = set()
        for each in (*self.outs, self.err):
            os.set_blocking(each, False)
        self.stdout, self.stderr, self.heard = bytearray(), bytearray(), bytearray()
        self.waited_for = True
        """Something may have come on the error output since it was read."""
        self.greeted = False
        self.usage: Usage | None = None
        self.assigned = 0.0
        """CPU seconds before the first test, and those that tests have been charged with."""
        given = [self.inputs[0], outs[0], err, control.fileno()]
        if link is not None:
            given.append(link)
        elif slots > 1:
            given += [each for pair in zip(self.inputs, outs, strict=True) for each in pair]
        self.pid = keeper.bear(kind.limits, given)
        self.ended = os.pidfd_open(self.pid)
        self.polls[self.ended] = [keeper.poll, keeper.quick]
        for each in (*outs, err):
            os.close(each)
        control.close()

    def take(self, job: dict[str, Any]) -> None:
        """From now on it is the one of this job: watch it, and let it have the texts."""
        self.limits = job["limits"]
        self.open = set(self.polls)
        for each in (self.err, self.control.fileno(), self.ended):
            self._observe(each)
        self._unsent += runner.texts(job["prefix"], job["source"], self.kind.slots)

    def submit(self, test: bytes, text: bytes, slot: int = 0) -> None:
        """Fill a slot's input, and let it have the test, which is run when its turn comes."""
        held = self.inputs[slot]
        if slot in self._used:
            os.ftruncate(held, 0)
            os.lseek(held, 0, os.SEEK_SET)
        self._used.add(slot)
        at = 0
        while at < len(text):
            at += os.pwrite(held, text[at:] if at else text, at)
        self._unsent += frames.HEAD.pack(len(test) + 1) + b"%d" % slot + test

    def send(self) -> None:
        """Send what it is to have; one that does not listen shows by its silence."""
        if not self._unsent:
            return
        if not self.greeted:
            self.control.settimeout(30)
        with contextlib.suppress(OSError):  # it may be gone; the zygote tells of its end
            self.control.sendall(self._unsent)
        self._unsent.clear()
        self.control.setblocking(False)

    def turn(self, slot: int = 0) -> None:
        """From now on the test of this slot is watched."""
        self.slot = slot
        self.stdout, self.stderr = bytearray(), bytearray()

    def observe_output(self) -> None:
        """Be woken by what the test of this slot prints."""
        output = self.outs[self.slot]
        if output not in self._watched:
            for each in self.outs:
                self._ignore(each)
            self._observe(output)

    def _observe(self, descriptor: int) -> None:
        if descriptor in self.open:
            self._watched.add(descriptor)
            for poll in self.polls[descriptor]:
                poll.register(descriptor, select.POLLIN)

    def _ignore(self, descriptor: int) -> None:
        if descriptor in self._watched:
            self._watched.discard(descriptor)
            for poll in self.polls[descriptor]:
                poll.unregister(descriptor)

    def cpu(self) -> float:
        """CPU seconds so far, by the kernel's clock of the process."""
        if self.usage is not None:
            return self.usage.cpu
        try:
            return time.clock_gettime((~self.pid << 3) | 2)
        except OSError:
            return self.assigned

    def read_all(self) -> None:
        """What lies in the pipes now."""
        self.read_output()
        self.read_errors()

    def read_output(self) -> None:
        """What the test of this slot has printed."""
        while len(self.stdout) <= self.limits["stdout"]:
            part = self._read(self.outs[self.slot])
            self.stdout += part
            if len(part) < CHUNK:  # the pipe is empty
                break

    def read_errors(self) -> None:
        """What has come on the error output, of which the tail is kept."""
        self.waited_for = False
        kept = self.limits["stderr"]
        for _ in range(64):  # an endless writer must not hold us here
            part = self._read(self.err)
            self.stderr += part
            if len(self.stderr) > 2 * kept + CHUNK:
                del self.stderr[: len(self.stderr) - kept]
            if len(part) < CHUNK:
                break

    def _read(self, descriptor: int) -> bytes:
        if descriptor not in self.open:
            return b""
        try:
            part = os.read(descriptor, CHUNK)
        except BlockingIOError:
            return b""
        if not part:
            self._ended(descriptor)
        return part

    def _ended(self, descriptor: int) -> None:
        """Nothing more comes from there."""
        self.open.discard(descriptor)
        self._ignore(descriptor)

    def listen(self) -> bytes | None:
        """The next whole answer, if it is there; BadFrame if what came is none."""
        answer = self.heard_already()
        if answer is not None:
            return answer
        line = self.control.fileno()
        most = self.limits["stdout"] + HELD
        try:
            while line in self.open and len(self.heard) <= most:
                part = self.control.recv(CHUNK)
                self.heard += part
                if not part:
                    self._ended(line)
                if len(part) < CHUNK:
                    break
        except BlockingIOError:
            pass
        except OSError:
            self._ended(line)
        return self.heard_already()

    def heard_already(self) -> bytes | None:
        """The same of what was read before."""
        most = self.limits["stdout"] + HELD
        while len(self.heard) >= 4:
            size = frames.length(bytes(self.heard[:4]), most)
            if len(self.heard) < 4 + size:
                break
            body = bytes(self.heard[4 : 4 + size])
            del self.heard[: 4 + size]
            if self.greeted:
                return body
            # before it has read the submission it is believed
            self.greeted = body[:1] == runner.GREETING
            self.assigned = int(body[1:] or 0) / 1e6
        return None

    def kill(self) -> None:
        """End it, if it has not ended."""
        if self.usage is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGKILL)

    def close(self) -> None:
        """Give the pipes back; twice does no harm."""
        if self.inputs:
            for each in list(self._watched):
                self._ignore(each)
            for each in (*self.inputs, *self.outs, self.err, self.ended):
                os.close(each)
            self.inputs.clear()
            self.open.clear()
            self.control.close()


def _limits(job: dict[str, Any]) -> bytes:
    """What the zygote needs to know; the kernel's CPU limit is the last resort, for all tests."""
    limits = job["limits"]
    cpu = int(limits["cpu"] * len(job["tests"])) + 2
    return ASKED.pack(limits["memory"], cpu, limits["stack"])


class Usage(NamedTuple):
    """A process that has ended: wait status, CPU seconds, peak resident bytes."""

    status: int
    cpu: float
    memory: int


class Keeper:
    """The pipes to the supervisor and the zygote."""

    def __init__(self, inbound: int, outbound: int, zygote: socket.socket) -> None:
        self.inbound, self.outbound, self.zygote = inbound, outbound, zygote
        self._left: list[int] = []
        self._spare: Child | None = None
        self._latest: Kind | None = None
        self.poll, self.quick = select.poll(), select.poll()
        for poll in (self.poll, self.quick):
            poll.register(inbound, select.POLLIN)
            poll.register(zygote, select.POLLIN)

    def child(self, job: dict[str, Any], slots: int = 1, link: int | None = None) -> Child:
        """A new program process that has been given the job's texts."""
        kind = Kind(_limits(job), slots)
        child, self._spare = self._spare, None
        if child is not None and (link is not None or child.kind != kind):
            self.leave(child)
            child = None
        if child is None:
            child = Child(self, kind, link)
        child.take(job)
        return child

    def expect(self, child: Child) -> None:
        """Have the next one start while this one works, if the last two were of one kind.

        It has seen nothing when it is taken: no job was sent to it, nor to the zygote.
        """
        if self._spare is None and child.kind == self._latest:
            self._spare = Child(self, child.kind)
        self._latest = child.kind

    def bear(self, asked: bytes, descriptors: list[int]) -> int:
        """A new program process with these descriptors."""
        try:
            message = b"".join((asked, *map(PID.pack, self._left)))
            socket.send_fds(self.zygote, [message], descriptors)
        except OSError as error:
            raise Lost(f"the zygote is gone: {error}") from None
        self._left.clear()
        return PID.unpack(self._told())[0]

    def wait(self, children: list[Child], seconds: float, *, quick: bool = False) -> None:
        """Until something happens; reads what there is to read.

        `quick`: output alone does not count. A test of a few milliseconds then wakes us once, and
        what it printed waits in the pipe.
        """
        poll = self.quick if quick else self.poll
        for child in children:
            child.waited_for = True
            if not quick:
                child.observe_output()
        found = {ready for ready, _ in poll.poll(max(1, round(seconds * 1000)))}
        if self.inbound in found:
            raise Lost("the supervisor is gone")  # it says nothing while a job runs
        if self.zygote.fileno() in found:
            self._told()  # it says nothing that it was not asked
        for child in children:
            if child.ended in found:
                self._bury(child)
            if child.err in found or child.outs[child.slot] in found:
                child.read_all()

    def end(self, child: Child) -> Usage:
        """Kill it and wait until the zygote has told of it."""
        child.kill()
        usage = self._bury(child)
        child.read_all()
        child.close()
        return usage

    def leave(self, child: Child) -> None:
        """Kill it; nobody asks how it ended."""
        child.kill()
        if child.usage is None:
            self._left.append(child.pid)
        child.close()

    def _told(self) -> bytes:
        message = self.zygote.recv(256)
        if not message:
            raise Lost("the zygote is gone")
        return message

    def _bury(self, child: Child) -> Usage:
        """How it ended; waits until it has."""
        if child.usage is None:
            try:
                self.zygote.send(PID.pack(child.pid))
            except OSError as error:
                raise Lost(f"the zygote is gone: {error}") from None
            status, user, system, peak = GONE.unpack(self._told())
            child.usage = Usage(status, user + system, peak * 1024)
        return child.usage
