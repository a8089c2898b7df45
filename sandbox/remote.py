"""remote: boxes on other machines, asked over HTTP. Ours (`harness sandbox serve`), or others'.

What differs between services is a dialect: how a program becomes requests, and answers runs. All
else is here: an event loop in a thread of its own, so that one client keeps many programs under
way; deadlines; and the rule that what is not a whole, well-formed answer is SE.
"""

from __future__ import annotations

import asyncio
import queue
import secrets
import threading
from collections.abc import Callable, Coroutine, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol, TypeVar

from sandbox import protocol
from sandbox.errors import SandboxUnavailable
from sandbox.fleet import LARGEST, Ask, Failed, Fleet, Patience, Refused
from sandbox.types import UNSAFE, Capabilities, Program, Result, Run
from sandbox.wire import BadReply, check

T = TypeVar("T")


class Dialect(Protocol):
    """How one kind of service is spoken to."""

    name: str

    def headers(self) -> Mapping[str, str]:
        """Sent with every request; SandboxUnavailable where they cannot be made."""
        ...

    async def able(self, fleet: Fleet) -> Capabilities:
        """What the service says of itself, or what must be said of it."""
        ...

    async def result(self, program: Program, fleet: Fleet) -> Result:
        """The program's runs; Failed, Refused or BadReply where there are none."""
        ...


class Ours:
    """The protocol of `sandbox.protocol`."""

    name = "remote"

    def __init__(self, token: str | None = None, token_file: Path | None = None) -> None:
        self._token, self._file = token, token_file

    def headers(self) -> Mapping[str, str]:
        """The token: as given, from its file, or from the environment."""
        token = self._token or protocol.token_of(self._file)
        return {"Authorization": f"Bearer {protocol.worthy(token, 'what was given')}"}

    async def able(self, fleet: Fleet) -> Capabilities:
        """What the services say; an address that says nothing is told of, and does not count.

        One that runs programs without isolation may be sent none, so with it nothing is usable.
        """
        found: list[Capabilities] = []
        silent: dict[str, str] = {}
        missing: list[str] = []
        open_ones: list[str] = []
        for each in fleet.addresses:
            try:
                told = protocol.able_of(await each.ask(Ask(protocol.ABLE, b"", 30, {}), "GET"))
            except (Failed, Refused, BadReply) as error:
                silent[each.url] = _advice(each.url, error)
                continue
            reasons = [f"{each.url}: {part}" for part in protocol.unfit(told)]
            missing += reasons
            open_ones += reasons if told.usable else []
            found += [told] * told.usable
        if not found or open_ones:
            return Capabilities(self.name, False, {}, (*silent.values(), *missing))
        layers = dict(found[0].layers)
        for told in found:  # what every one of them has
            layers |= {name: state for name, state in told.layers.items() if state != "on"}
        return Capabilities(
            self.name,
            True,
            {**layers, **silent},
            (),
            " ".join(sorted({told.interpreter for told in found})),
            workers=sum(min(told.workers, fleet.patience.at_once) for told in found),
            build=" ".join(sorted({told.build for told in found})),
        )

    async def result(self, program: Program, fleet: Fleet) -> Result:
        """Asked under one id, however often."""
        request = secrets.token_hex(16)
        seconds = worst(program) + fleet.patience.margin
        turn = fleet.patience.turn
        headers = {
            protocol.REQUEST: request,
            protocol.DEADLINE: f"{turn:.3f}",
            "Content-Type": "application/json",
        }
        body = protocol.request_to(program)
        most = max(LARGEST, protocol.longest_reply(program))
        said = await fleet.post(Ask(protocol.RUN, body, turn + seconds, headers, most))
        result = protocol.reply_of(said, request, program)
        if result.backend == UNSAFE:
            raise BadReply(f"it was run by {UNSAFE}")
        notes = (*result.notes, f"run by {result.backend}")
        return replace(result, backend=self.name, notes=notes)


def _advice(url: str, error: Exception) -> str:
    if isinstance(error, Refused) and error.code == 401:
        return f"{url} does not know the token: give {protocol.TOKEN} the service's own"
    return f"no sandbox answers at {url} ({error}): start one with harness sandbox serve"


def worst(program: Program) -> float:
    """Seconds of the slowest end: each test to its wall limit, and once again alone."""
    tests = 2 if program.stop_at_fault else 2 * len(program.tests)
    return (tests + len(program.tests)) * program.limits.clock


class Loop:
    """An event loop in a thread of its own."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._turn, name="sandbox-remote", daemon=True)
        self._thread.start()

    def _turn(self) -> None:
        try:
            self._loop.run_forever()
        finally:
            self._loop.close()

    def begin(self, task: Coroutine[Any, Any, T]) -> Any:
        """A future of the task, for threads."""
        return asyncio.run_coroutine_threadsafe(task, self._loop)

    def close(self) -> None:
        """Stop, and wait for the thread."""
        if self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join(30)


async def _end(fleet: Fleet) -> None:
    """Cancel all that is under way, then close the connections."""
    others = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
    for task in others:
        task.cancel()
    await asyncio.gather(*others, return_exceptions=True)
    await fleet.close()


class Client:
    """A backend of one dialect. Thread-safe; usable as a context manager."""

    def __init__(self, dialect: Dialect, urls: str, patience: Patience | None = None) -> None:
        self.name = dialect.name
        self._dialect, self._patience = dialect, patience or Patience()
        self._urls = [url for url in urls.replace(",", " ").split() if url]
        self._lock = threading.Lock()
        self._loop: Loop | None = None
        self._fleet: Fleet | None = None
        self._known: Capabilities | None = None

    def capabilities(self) -> Capabilities:
        """What the service says, asked once where it was usable, else each time."""
        with self._lock:
            if self._known is None or not self._known.usable:
                try:
                    loop, fleet = self._opened()
                except SandboxUnavailable as error:
                    return Capabilities(self.name, False, {}, (str(error),))
                self._known = loop.begin(self._dialect.able(fleet)).result()
            assert self._known is not None
            return self._known

    def run(self, programs: Sequence[Program]) -> Iterator[tuple[int, Result]]:
        """See `sandbox.types.Backend.run`."""
        programs = list(programs)
        for program in programs:
            check(program)
        known = self.capabilities()
        if not known.usable:
            raise SandboxUnavailable(
                f"no program is sent to {self.name}:\n  " + "\n  ".join(known.missing)
            )
        with self._lock:
            loop, fleet = self._opened()
        done: queue.SimpleQueue[tuple[int, Result]] = queue.SimpleQueue()
        task = loop.begin(self._all(programs, fleet, done.put))
        return _taken(done, len(programs), task)

    def close(self) -> None:
        """Cancel what is under way; let all connections go."""
        with self._lock:
            loop, fleet = self._loop, self._fleet
            self._loop = self._fleet = self._known = None
        if loop is not None and fleet is not None:
            loop.begin(_end(fleet)).result(30)
            loop.close()

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _opened(self) -> tuple[Loop, Fleet]:
        """With the lock held."""
        if self._loop is None or self._fleet is None:
            headers = self._dialect.headers()
            loop = Loop()
            try:
                fleet: Fleet = loop.begin(_fleet(self._urls, headers, self._patience)).result(30)
            except BaseException:
                loop.close()
                raise
            self._loop, self._fleet = loop, fleet
        return self._loop, self._fleet

    async def _all(
        self,
        programs: Sequence[Program],
        fleet: Fleet,
        give: Callable[[tuple[int, Result]], None],
    ) -> None:
        """As many under way as there is room for, and a few that are made ready."""
        waiting = iter(enumerate(programs))

        async def carry_out() -> None:
            for index, program in waiting:
                give((index, await self._one(program, fleet)))

        count = min(len(programs), fleet.room + 2)
        await asyncio.gather(*(carry_out() for _ in range(count)))

    async def _one(self, program: Program, fleet: Fleet) -> Result:
        try:
            return await self._dialect.result(program, fleet)
        except asyncio.CancelledError:
            raise
        except Exception as error:
            # whatever failed, it was not the program: it is no verdict on it
            detail = f"{type(error).__name__}: {error}"[:500]
            return Result((Run("SE", detail=detail),), self.name, (), "", (f"fault: {detail}",))


async def _fleet(urls: Sequence[str], headers: Mapping[str, str], patience: Patience) -> Fleet:
    return Fleet(urls, headers, patience)


def _taken(
    done: queue.SimpleQueue[tuple[int, Result]], count: int, task: Any
) -> Iterator[tuple[int, Result]]:
    try:
        for _ in range(count):
            while True:
                try:
                    yield done.get(timeout=1)
                    break
                except queue.Empty:
                    if task.done() and done.empty():
                        raise SandboxUnavailable("the backend was closed while it ran") from None
    finally:
        task.cancel()


def open_remote(
    urls: str,
    *,
    token: str | None = None,
    token_file: Path | None = None,
    patience: Patience | None = None,
    workers: int | None = None,
) -> Client:
    """Our own service at one or several addresses, separated by commas.

    `workers` programs are sent to each address at a time.
    """
    return Client(Ours(token, token_file), urls, bounded(patience, workers))


def bounded(patience: Patience | None, workers: int | None) -> Patience:
    """With so many requests at an address at a time."""
    patience = patience or Patience()
    return patience if workers is None else replace(patience, at_once=max(1, workers))
