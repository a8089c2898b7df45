"""desk: the queue of the service, and the programs that run.

What is asked for waits in a bounded queue; beyond it the answer is 429 with Retry-After, at once. A
request whose sender has gone, or whose deadline has passed, is not begun. A request that comes
twice, under one id, is run once. The end of the service finishes what it has begun.
"""

from __future__ import annotations

import asyncio
import hashlib
import math
import time
from collections import OrderedDict
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Protocol

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from sandbox import protocol
from sandbox.errors import BadProgram, SandboxUnavailable
from sandbox.types import Backend, Program, Result

KEPT = 256
"""Finished requests whose answers are kept, for those who did not receive them."""
KEPT_BYTES = 64 << 20
"""And how long those answers are together, at most."""


@dataclass(frozen=True)
class Settings:
    """How much is taken on."""

    workers: int = 2
    """Programs that run side by side."""
    queue: int = 64
    """Programs that wait; more are sent away."""
    body: int = 32 << 20
    """Bytes of one request."""
    reading: float = 30.0
    """Seconds in which a request's body has to arrive."""
    farewell: float = 30.0
    """Seconds that running programs have when the service is ended."""


class Refusal(Exception):
    """An answer other than a result."""

    def __init__(self, code: int, detail: str, wait: int = 0) -> None:
        super().__init__(detail)
        self.code, self.wait = code, wait


class Sender(Protocol):
    """Whoever asked, as far as we care."""

    async def is_disconnected(self) -> bool:
        """Whether nobody listens there any more."""
        ...


@dataclass
class Job:
    """One request id: its program, who waits for it, and what came of it."""

    digest: bytes
    task: asyncio.Task[bytes]
    senders: list[Sender] = field(default_factory=list[Sender])


class Desk:
    """Takes requests, lets them wait, has them run. Lives in one event loop."""

    def __init__(self, backend: Backend, settings: Settings) -> None:
        self.backend, self.settings = backend, settings
        self.waiting = self.running = 0
        self.seconds = 0.5
        """Mean time of a program, for Retry-After."""
        self._slots = asyncio.Semaphore(settings.workers)
        self._threads = ThreadPoolExecutor(settings.workers, thread_name_prefix="sandbox-serve")
        self._jobs: OrderedDict[str, Job] = OrderedDict()
        self.registry = registry = CollectorRegistry()
        self.answers = Counter("sandbox_answers", "Answers", ["code"], registry=registry)
        self._runs = Counter("sandbox_runs", "Runs of tests", ["status"], registry=registry)
        self._took = Histogram("sandbox_program_seconds", "Time of programs", registry=registry)
        waits = Gauge("sandbox_waiting", "Programs that wait", registry=registry)
        waits.set_function(lambda: self.waiting)
        runs = Gauge("sandbox_running", "Programs that run", registry=registry)
        runs.set_function(lambda: self.running)
        most = Gauge("sandbox_workers", "Programs that can run", registry=registry)
        most.set(settings.workers)

    async def answer(self, name: str, body: bytes, sender: Sender, seconds: float) -> bytes:
        """The reply to a request, once it is there; Refusal."""
        digest = hashlib.sha256(body).digest()
        job = self._jobs.get(name)
        if job is not None and job.digest != digest:
            raise Refusal(409, "another program came under this request id")
        if job is None:
            if self.waiting + self.running >= self.settings.queue + self.settings.workers:
                raise Refusal(429, "the queue is full", self._wait())
            program = _program(body)
            self.waiting += 1
            job = Job(digest, asyncio.create_task(self._work(name, program, seconds)))
            job.task.add_done_callback(_seen)
            self._jobs[name] = job
        job.senders.append(sender)
        try:
            return await asyncio.shield(job.task)
        finally:
            job.senders.remove(sender)
            self._tidy()

    async def _work(self, name: str, program: Program, seconds: float) -> bytes:
        try:
            async with asyncio.timeout(seconds):
                await self._slots.acquire()
        except TimeoutError:
            raise Refusal(504, "its deadline passed in the queue") from None
        finally:
            self.waiting -= 1
        self.running += 1
        try:
            senders = self._jobs[name].senders
            if all([await each.is_disconnected() for each in list(senders)]):
                raise Refusal(499, "nobody waits for it any more")
            begun = time.monotonic()
            loop = asyncio.get_running_loop()
            result = await loop.run_in_executor(self._threads, self._run, program)
            self._note(result, time.monotonic() - begun)
            return protocol.reply_to(name, result)
        finally:
            self.running -= 1
            self._slots.release()

    def _run(self, program: Program) -> Result:
        try:
            ((_, result),) = self.backend.run([program])
        except BadProgram as error:
            raise Refusal(400, str(error)) from None
        except SandboxUnavailable as error:
            raise Refusal(503, str(error), self._wait()) from None
        return result

    def _note(self, result: Result, seconds: float) -> None:
        self.seconds += 0.1 * (seconds - self.seconds)
        self._took.observe(seconds)
        for run in result.runs:
            self._runs.labels(run.status).inc()

    def _wait(self) -> int:
        """Seconds until the queue may have room again."""
        ahead = (self.waiting + 1) * self.seconds / self.settings.workers
        return max(1, min(30, math.ceil(ahead)))

    def _tidy(self) -> None:
        """Forget the oldest answers, and all refusals: what was refused may be asked for again."""
        kept = size = 0
        for name, job in reversed(list(self._jobs.items())):
            if not job.task.done() or job.senders:
                continue
            if job.task.cancelled() or job.task.exception() is not None:
                del self._jobs[name]
                continue
            kept, size = kept + 1, size + len(job.task.result())
            if kept > KEPT or size > KEPT_BYTES:
                del self._jobs[name]

    async def close(self) -> None:
        """Nothing new; what waits is let go, what runs is finished."""
        tasks = [job.task for job in self._jobs.values() if not job.task.done()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await asyncio.to_thread(self._threads.shutdown, cancel_futures=True)
        await asyncio.to_thread(self.backend.close)


def _seen(task: asyncio.Task[bytes]) -> None:
    """An error that nobody waits for is no news to the event loop."""
    if not task.cancelled():
        task.exception()


def _program(body: bytes) -> Program:
    try:
        return protocol.request_of(body)
    except BadProgram as error:
        raise Refusal(400, str(error)) from None
