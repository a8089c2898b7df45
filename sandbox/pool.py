"""Workers that run programs side by side: threads that each own a box, a queue, one gate.

A test that ran out of clock with little CPU used may have been starved by its neighbors. It is run
again while nothing else runs here, before it is called TLE.
"""

from __future__ import annotations

import contextlib
import os
import queue
import threading
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from sandbox.types import Program, Result, Run
from sandbox.wire import Kind, pool_of
from sandbox.worker import Worker

LIFE = 5000
"""Programs after which a box is made anew, which takes as long as some eighty of them."""
ASLEEP = 0.01
"""A share of the clock: whoever used less CPU was not starved, but slept."""
START = 0.02
"""CPU seconds that a process takes before its submission begins, at most."""
TRIES = 2
"""Boxes that a program is given before it counts as SE."""


class Gate:
    """Shared by programs that run side by side; held alone by one that must not be disturbed."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._inside = 0
        self._waiting = 0

    @contextlib.contextmanager
    def shared(self) -> Generator[None]:
        """With others; waits while somebody is alone or wants to be."""
        with self._changed:
            self._changed.wait_for(lambda: self._inside >= 0 and not self._waiting)
            self._inside += 1
        try:
            yield
        finally:
            with self._changed:
                self._inside -= 1
                if self._waiting and not self._inside:
                    self._changed.notify_all()

    @contextlib.contextmanager
    def alone(self) -> Generator[None]:
        """With nobody else inside. Not from within `shared`."""
        with self._changed:
            self._waiting += 1
            self._changed.wait_for(lambda: self._inside == 0)
            self._waiting -= 1
            self._inside = -1
        try:
            yield
        finally:
            with self._changed:
                self._inside = 0
                self._changed.notify_all()


@dataclass(frozen=True)
class Job:
    """A program, whether anybody still waits for it, and where its result goes."""

    program: Program
    wanted: Callable[[], bool]
    give: Callable[[Result], None]


class Workers:
    """`count` threads, each with at most one box of each kind, started when first needed.

    `start` makes a box that holds, or raises; `choose` says which kind a program needs.
    """

    def __init__(
        self,
        backend: str,
        count: int,
        start: Callable[[Any], Worker],
        choose: Callable[[Program], Kind] = pool_of,
    ) -> None:
        if count < 1:
            raise ValueError(f"workers={count}; at least one is needed")
        self._backend, self._count = backend, count
        self._start, self._choose = start, choose
        self._fresh()

    def _fresh(self) -> None:
        self._process = os.getpid()
        self._lock = threading.Lock()
        self._gate = Gate()
        self._jobs: queue.SimpleQueue[Job | None] = queue.SimpleQueue()
        self._threads: list[threading.Thread] = []
        self._due = 0
        """Jobs that are not finished, of all callers: each of them may bring just one."""

    def run(self, programs: Sequence[Program]) -> Iterator[tuple[int, Result]]:
        """Each program's index with its result, as soon as it is there. Begins at once."""
        self._staff(len(programs))
        done: queue.SimpleQueue[tuple[int, Result]] = queue.SimpleQueue()
        abandoned = threading.Event()
        for index, program in enumerate(programs):
            give = partial(_put, done, index)
            self._jobs.put(Job(program, lambda: not abandoned.is_set(), give))
        return _taken(done, len(programs), abandoned)

    def close(self) -> None:
        """Finish what runs, end all boxes."""
        with self._lock:
            threads, self._threads = self._threads, []
        for _ in threads:
            self._jobs.put(None)
        if os.getpid() == self._process:
            for thread in threads:
                thread.join()

    def _staff(self, jobs: int) -> None:
        if os.getpid() != self._process:
            self._fresh()  # a fork has neither our threads nor our locks
        with self._lock:
            self._due += jobs
            while len(self._threads) < min(self._count, self._due):
                name = f"sandbox-{self._backend}-{len(self._threads)}"
                thread = threading.Thread(target=self._work, name=name, daemon=True)
                self._threads.append(thread)
                thread.start()

    def _work(self) -> None:
        """A thread's life. Boxes die with the thread that started them, so it is never shared."""
        boxes: dict[Kind, Worker] = {}
        try:
            while (job := self._jobs.get()) is not None:
                if job.wanted():
                    job.give(self._result(job.program, boxes))
                with self._lock:
                    self._due -= 1
        finally:
            for box in boxes.values():
                box.close()

    def _result(self, program: Program, boxes: dict[Kind, Worker]) -> Result:
        """The program's runs; a fault is tried once more on a new box, then it is SE."""
        pool = self._choose(program)
        runs: list[Run] = []
        notes: list[str] = []
        if len(program.source.encode("utf-8", "surrogatepass")) > program.limits.source:
            too_long = Run("CE", detail=f"more than {program.limits.source} bytes of source")
            count = 1 if program.stop_at_fault else len(program.tests)
            return Result((too_long,) * count, self._backend, (), "")
        for _ in range(TRIES):
            try:
                box = self._box(pool, boxes)
                self._complete(program, box, runs, notes)
                return Result(tuple(runs), self._backend, box.active, box.interpreter, tuple(notes))
            except Exception as error:
                # whatever failed, it was not the program: it is no verdict on it
                notes.append(f"fault: {type(error).__name__}: {error}"[:500])
                broken = boxes.pop(pool, None)
                if broken is not None:
                    broken.close()
        runs.append(Run("SE", detail=notes[-1]))
        return Result(tuple(runs), self._backend, (), "", tuple(notes))

    def _box(self, pool: Kind, boxes: dict[Kind, Worker]) -> Worker:
        box = boxes.get(pool)
        if box is not None and box.jobs >= LIFE:
            boxes.pop(pool).close()
            box = None
        if box is None:
            box = boxes[pool] = self._start(pool)
        return box

    def _complete(self, program: Program, box: Worker, runs: list[Run], notes: list[str]) -> None:
        """Append the runs that are still missing."""
        pool = self._choose(program)
        while len(runs) < len(program.tests) and not _stopped(program, runs):
            first = len(runs)
            with self._gate.shared():
                runs.extend(box.run(program, pool, first))
            for index in range(first, len(runs)):
                if _starved(program, runs[index]):
                    alone = replace(program, tests=(program.tests[index],))
                    with self._gate.alone():
                        (runs[index],) = box.run(alone, pool)
                    notes.append(f"test {index} was run again alone")


def _stopped(program: Program, runs: list[Run]) -> bool:
    return bool(runs) and program.stop_at_fault and runs[-1].status != "OK"


def _starved(program: Program, run: Run) -> bool:
    """Out of clock, with less than half of its CPU limit used, but not plainly asleep."""
    limits = program.limits
    late = run.status == "TLE" and run.wall >= limits.clock
    return late and ASLEEP * limits.clock + START < run.cpu < limits.cpu / 2


def _put(done: queue.SimpleQueue[tuple[int, Result]], index: int, result: Result) -> None:
    done.put((index, result))


def _taken(
    done: queue.SimpleQueue[tuple[int, Result]], count: int, abandoned: threading.Event
) -> Iterator[tuple[int, Result]]:
    try:
        for _ in range(count):
            yield done.get()
    finally:
        abandoned.set()
