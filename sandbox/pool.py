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
from sandbox.worker import Broken, Worker

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

    def enter(self) -> None:
        """Be inside with others; waits while somebody is alone or wants to be."""
        with self._changed:
            self._changed.wait_for(lambda: self._inside >= 0 and not self._waiting)
            self._inside += 1

    def enter_again(self) -> bool:
        """Be inside once more, from within; not where somebody wants to be alone."""
        with self._changed:
            free = not self._waiting
            self._inside += free
        return free

    def leave(self) -> None:
        """Undo one `enter`."""
        with self._changed:
            self._inside -= 1
            if self._waiting and not self._inside:
                self._changed.notify_all()

    @contextlib.contextmanager
    def alone(self) -> Generator[None]:
        """With nobody else inside. Not from within."""
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


@dataclass(frozen=True, eq=False)
class Job:
    """A program, whether anybody still waits for it, and where its result goes."""

    program: Program
    pool: Kind
    wanted: Callable[[], bool]
    give: Callable[[Result], None]


class Desk:
    """What a thread has: its boxes, and the job that it took before the last was read."""

    def __init__(self) -> None:
        self.boxes: dict[Kind, Worker] = {}
        self.ahead: list[Job | None] = []
        self.begun: tuple[Worker, Job] | None = None
        """The box that works on the job ahead already: it is inside the gate."""


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
            pool = self._choose(program)
            self._jobs.put(Job(program, pool, lambda: not abandoned.is_set(), give))
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
        desk = Desk()
        try:
            while (job := desk.ahead.pop() if desk.ahead else self._jobs.get()) is not None:
                if desk.begun or job.wanted():
                    job.give(self._result(job, desk))
                with self._lock:
                    self._due -= 1
        finally:
            for pool in list(desk.boxes):
                self._end(pool, desk)

    def _result(self, job: Job, desk: Desk) -> Result:
        """The program's runs; a fault is tried once more on a new box, then it is SE."""
        program = job.program
        runs: list[Run] = []
        notes: list[str] = []
        if _too_long(program):
            too_long = Run("CE", detail=f"more than {program.limits.source} bytes of source")
            count = 1 if program.stop_at_fault else len(program.tests)
            return Result((too_long,) * count, self._backend, (), "")
        for _ in range(TRIES):
            try:
                box = self._box(job, desk)
                self._complete(job, box, desk, runs, notes)
                return Result(tuple(runs), self._backend, box.active, box.interpreter, tuple(notes))
            except Exception as error:
                # whatever failed, it was not the program: it is no verdict on it
                notes.append(f"fault: {type(error).__name__}: {error}"[:500])
                self._end(job.pool, desk)
        runs.append(Run("SE", detail=notes[-1]))
        return Result(tuple(runs), self._backend, (), "", tuple(notes))

    def _box(self, job: Job, desk: Desk) -> Worker:
        box = desk.boxes.get(job.pool)
        if box is not None and box.jobs >= LIFE and desk.begun is None:
            self._end(job.pool, desk)
            box = None
        if box is None:
            box = desk.boxes[job.pool] = self._start(job.pool)
        return box

    def _end(self, pool: Kind, desk: Desk) -> None:
        """Have no such box; what it had begun is still to be done."""
        box = desk.boxes.pop(pool, None)
        if box is not None:
            box.close()
        if desk.begun is not None and desk.begun[0] is box:
            desk.begun = None
            self._gate.leave()

    def _complete(
        self, job: Job, box: Worker, desk: Desk, runs: list[Run], notes: list[str]
    ) -> None:
        """Append the runs that are still missing."""
        program = job.program
        while len(runs) < len(program.tests) and not _stopped(program, runs):
            first = len(runs)
            runs.extend(self._run(job, box, desk, first))
            for index in range(first, len(runs)):
                if _starved(program, runs[index]):
                    if desk.begun is not None:
                        raise Broken("a test ran out of time, and its frame hid it")
                    alone = replace(program, tests=(program.tests[index],))
                    with self._gate.alone():
                        (runs[index],) = box.run(alone, job.pool)
                    notes.append(f"test {index} was run again alone")

    def _run(self, job: Job, box: Worker, desk: Desk, first: int) -> Iterator[Run]:
        """The runs from test `first` on; the box is given its next job before they are read."""
        begun = desk.begun == (box, job)
        if begun:
            desk.begun = None
        else:
            self._gate.enter()
        try:
            if not begun:
                box.begin(job.program, job.pool, first)
            yield from box.results(job.program, first, lambda: self._begin_next(job, box, desk))
        finally:
            self._gate.leave()

    def _begin_next(self, job: Job, box: Worker, desk: Desk) -> None:
        """Take the next job, if there is one, and let the box work on it, if it can."""
        if desk.ahead or box.jobs >= LIFE:
            return
        try:
            ahead = self._jobs.get_nowait()
        except queue.Empty:
            return
        desk.ahead.append(ahead)
        fits = ahead is not None and ahead.pool == job.pool and not _too_long(ahead.program)
        if ahead is not None and fits and ahead.wanted() and self._gate.enter_again():
            desk.begun = (box, ahead)
            box.begin(ahead.program, ahead.pool)


def _too_long(program: Program) -> bool:
    return len(program.source.encode("utf-8", "surrogatepass")) > program.limits.source


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
