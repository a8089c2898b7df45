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
from sandbox.inside.zygote import GONE, MORE, PID

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
        self.line, line = socket.socketpair()
        self.slot = -1
        self._used: set[int] = set()
        """Slots whose input has been filled before."""
        self._unsent = bytearray()
        self.open: set[int] = set()
        """Descriptors from which something may still come."""
        for each in (*self.outs, self.err):
            os.set_blocking(each, False)
        self.stdout, self.stderr, self._heard = bytearray(), bytearray(), bytearray()
        self.greeted = False
        self.usage: Usage | None = None
        self.counted = self.assigned = 0.0
        """CPU seconds when it was last listened to; and those before the first test, with those
        that tests have been charged with."""
        given = [self.inputs[0], outs[0], err, line.fileno()]
        if link is not None:
            given.append(link)
        elif slots > 1:
            given += [each for pair in zip(self.inputs, outs, strict=True) for each in pair]
        keeper.ask(self, given)
        for each in (*outs, err):
            os.close(each)
        line.close()

    def born(self, pid: int) -> None:
        """It is there, under this number."""
        self.pid = pid
        self.ended = os.pidfd_open(pid)

    def take(self, job: dict[str, Any]) -> None:
        """From now on it is the one of this job: let it have the texts."""
        self.limits = job["limits"]
        self.open = {*self.outs, self.err, self.line.fileno(), self.ended}
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
        unsent, self._unsent = self._unsent, bytearray()
        if not unsent:
            return
        with contextlib.suppress(OSError):  # it may be gone; the zygote tells of its end
            sent = self.line.send(unsent, socket.MSG_DONTWAIT)
            if sent < len(unsent) and not self.greeted:
                self._send_all(memoryview(unsent)[sent:])

    def _send_all(self, rest: memoryview) -> None:
        self.line.settimeout(30)
        try:
            self.line.sendall(rest)
        finally:
            self.line.setblocking(False)  # with a timeout, to look for an answer is to wait for it

    def turn(self, slot: int = 0) -> None:
        """From now on the test of this slot is watched."""
        self.slot = slot
        self.stdout, self.stderr = bytearray(), bytearray()

    def bell(self, slot: int, *, prints: bool) -> int:
        """What can be read once the test of a slot is about to end, if it prints; or has ended."""
        output = self.outs[slot]
        return output if prints and output in self.open else self.line.fileno()

    def signs(self) -> set[int]:
        """All that may tell of the test whose turn it is."""
        return self.open & {self.outs[self.slot], self.err, self.line.fileno(), self.ended}

    def count(self) -> None:
        """See how many CPU seconds it has had by now."""
        self.counted = self.cpu()

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
            self.open.discard(descriptor)
        return part

    def listen(self, count: int = 1) -> list[bytes]:
        """Up to so many whole answers, if they are there; BadFrame if what comes first is none."""
        heard, most = self._heard, self.limits["stdout"] + HELD
        self._hear(most)
        answers: list[bytes] = []
        at, there = 0, len(heard)
        while there - at >= 4 and len(answers) < count:
            size = int.from_bytes(heard[at : at + 4], "big")
            if size > most and not answers:
                raise frames.BadFrame(f"{size} bytes; at most {most} are read")
            if size > most or there < at + 4 + size:
                break
            body = bytes(heard[at + 4 : at + 4 + size])
            at += 4 + size
            if self.greeted:
                answers.append(body)
            else:  # before it has read the submission it is believed
                self.greeted = body[:1] == runner.GREETING
                self.assigned = int(body[1:] or 0) / 1e6
        del heard[:at]
        return answers

    def _hear(self, most: int) -> None:
        """Take what it has said by now."""
        line = self.line.fileno()
        try:
            while line in self.open and len(self._heard) <= most:
                part = self.line.recv(CHUNK, socket.MSG_DONTWAIT)
                self._heard += part
                if not part:
                    self.open.discard(line)
                if len(part) < CHUNK:
                    break
        except BlockingIOError:
            pass
        except OSError:
            self.open.discard(line)

    def kill(self) -> None:
        """End it, if it has not ended."""
        if self.usage is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGKILL)

    def close(self) -> None:
        """Give the pipes back; twice does no harm."""
        if self.inputs:
            for each in (*self.inputs, *self.outs, self.err, self.ended):
                os.close(each)
            self.inputs.clear()
            self.open.clear()
            self.line.close()


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
        self._closing: list[Child] = []
        self._spare: Child | None = None
        self._unborn: Child | None = None
        """Whose number the zygote has not been heard to tell."""
        self._latest: Kind | None = None

    def child(self, job: dict[str, Any], slots: int = 1, link: int | None = None) -> Child:
        """A new program process that has been given the job's texts."""
        kind = Kind(_limits(job), slots)
        self.tidy()
        self._deliver()
        child, self._spare = self._spare, None
        if child is not None and (link is not None or child.kind != kind):
            self.leave(child)
            child = None
        if child is None:
            child = Child(self, kind, link)
            self._deliver()
        child.take(job)
        return child

    def expect(self, child: Child) -> None:
        """Have the next one start while this one works, if the last two were of one kind.

        It has seen nothing when it is taken: no job was sent to it, nor to the zygote.
        """
        if self._spare is None and child.kind == self._latest:
            self._spare = Child(self, child.kind)
        self._latest = child.kind

    def ask(self, child: Child, descriptors: list[int]) -> None:
        """Have a new program process made, with these descriptors; `_deliver` waits for it."""
        try:
            message = b"".join((child.kind.limits, *map(PID.pack, self._left[:MORE])))
            socket.send_fds(self.zygote, [message], descriptors)
        except OSError as error:
            raise Lost(f"the zygote is gone: {error}") from None
        del self._left[:MORE]
        self._unborn = child

    def _deliver(self) -> None:
        """Wait for the process that the zygote was asked for, if it was."""
        child, self._unborn = self._unborn, None
        if child is not None:
            child.born(PID.unpack(self._told())[0])

    def doze(self, child: Child, seconds: float, bell: int) -> None:
        """Until this can be read, or the process ends.

        All that it says and prints before waits on the line and in the pipes. So tests of a few
        milliseconds wake us once.
        """
        if child.ended in self._ready({bell, child.ended}, seconds):
            self._bury(child)

    def wait(self, children: list[Child], seconds: float) -> None:
        """Until something happens; reads what there is to read."""
        ready = self._ready(set[int]().union(*(child.signs() for child in children)), seconds)
        for child in children:
            if child.ended in ready:
                self._bury(child)
            if child.err in ready or child.outs[child.slot] in ready:
                child.read_all()

    def _ready(self, descriptors: set[int], seconds: float) -> set[int]:
        """Those from which something can be read, once there are any."""
        poll = select.poll()
        for each in descriptors:
            poll.register(each, select.POLLIN)
        poll.register(self.inbound, select.POLLIN)
        poll.register(self.zygote, 0)  # its end alone: a number that it was asked for may wait
        ready = {each for each, _ in poll.poll(max(1, round(seconds * 1000)))}
        if self.inbound in ready:
            raise Lost("the supervisor is gone")  # it says nothing while a job runs
        if self.zygote.fileno() in ready:
            raise Lost("the zygote is gone")
        return ready

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
        self._closing.append(child)

    def tidy(self) -> None:
        """Give back the pipes of those that were left: best while nobody waits for us."""
        for child in self._closing:
            child.close()
        self._closing.clear()

    def _told(self) -> bytes:
        message = self.zygote.recv(256)
        if not message:
            raise Lost("the zygote is gone")
        return message

    def _bury(self, child: Child) -> Usage:
        """How it ended; waits until it has."""
        if child.usage is None:
            self._deliver()  # it answers in order
            try:
                self.zygote.send(PID.pack(child.pid))
            except OSError as error:
                raise Lost(f"the zygote is gone: {error}") from None
            status, user, system, peak = GONE.unpack(self._told())
            child.usage = Usage(status, user + system, peak * 1024)
        return child.usage
