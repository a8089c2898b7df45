"""A model behind an address: any OpenAI-compatible endpoint.

Requests run on an event loop of their own, many at once, each with an end in time whatever the
server does. What failed, how often it was asked again and what that cost stands in `costs`.
"""

from __future__ import annotations

import asyncio
import queue
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, cast

import numpy as np

from harness.calling import Caller, Lost, Refused
from harness.digests import prompt_digest
from harness.endpoint import Endpoint
from harness.models import Sampling, row_seed
from harness.types import Completion, Prompt
from harness.wire import Ask

LONG = 8
"""Steps from which chance hardly says the same twice."""

Finished = tuple[int, Completion]


class Served:
    """Answers through an endpoint."""

    independent = True
    """No server promises its bits, and what was paid for is not asked again."""

    def __init__(self, endpoint: Endpoint, sampling: Sampling) -> None:
        _ = endpoint.key  # a variable without a key is said before anything is asked
        self.name = f"served:{endpoint.model}"
        self.endpoint = endpoint
        self.sampling = sampling
        self.caller = Caller(endpoint, sampling)
        self.probed = False

    def answer(self, prompts: Sequence[Prompt]) -> Iterator[Finished]:
        """Completions as they arrive; one that could not be had is `failed`, its note says why.

        ModelError where the endpoint is down, bars the request, or goes away.
        """
        call = _Call(self, prompts)
        thread = threading.Thread(target=call.run, name="served", daemon=True)
        thread.start()
        try:
            while (item := call.inbox.get()) is not None:
                if isinstance(item, BaseException):
                    raise item
                yield item
        finally:
            call.stop()
            thread.join(timeout=10)

    def describe(self) -> Mapping[str, Any]:
        """Address, form of the request, sampling: the same before and after a run."""
        return {
            "engine": "served",
            **self.endpoint.describe(),
            "batch": {"order": "server"},
            "sampling": asdict(self.sampling),
        }

    @property
    def costs(self) -> dict[str, Any]:
        """What was asked, what failed and what that took, so far; with what the server is."""
        caller = self.caller
        seen = {kind: sorted(values) for kind, values in caller.seen.items()}
        retries = dict(caller.costs.retries)
        return {**vars(caller.costs), "retries": retries, "seen": seen, **_given_up(caller)}


@dataclass
class _Call:
    """One `answer`: the prompts asked on a loop of their own, what comes of them in the inbox."""

    served: Served
    prompts: Sequence[Prompt]
    inbox: queue.SimpleQueue[Finished | BaseException | None] = field(
        default_factory=queue.SimpleQueue[Finished | BaseException | None]
    )
    said: set[tuple[str, str, str]] = field(default_factory=set[tuple[str, str, str]])
    halted: threading.Event = field(default_factory=threading.Event)
    loop: asyncio.AbstractEventLoop | None = None
    main: asyncio.Task[Any] | None = None

    def run(self) -> None:
        """On the thread: ask everything, and put an end to the inbox whatever happens."""
        try:
            asyncio.run(self._all())
        except BaseException as error:  # carried over to whoever reads the inbox
            self.inbox.put(_first(error))
        finally:
            self.inbox.put(None)

    def stop(self) -> None:
        """From the reader's thread: end all requests."""
        self.halted.set()
        if self.loop is not None and self.main is not None and not self.loop.is_closed():
            self.loop.call_soon_threadsafe(self.main.cancel)

    async def _all(self) -> None:
        self.main = asyncio.current_task()
        self.loop = asyncio.get_running_loop()
        if self.halted.is_set():
            return
        slots = asyncio.Semaphore(self.served.endpoint.concurrency)
        async with self.served.endpoint.client() as client:
            if not self.served.probed:
                await self.served.caller.probe(client)
                self.served.probed = True
            async with asyncio.TaskGroup() as tasks:
                for members in self._groups():
                    tasks.create_task(self._settle(client, slots, members))

    def _groups(self) -> list[list[int]]:
        """Numbers of the prompts that one request can ask."""
        groups: dict[Any, list[int]] = {}
        for number, prompt in enumerate(self.prompts):
            alone = () if self.served.endpoint.group else (number,)
            key = (prompt.example.id, prompt.role, prompt_digest(prompt), *alone)
            groups.setdefault(key, []).append(number)
        return list(groups.values())

    async def _settle(self, client: Any, slots: asyncio.Semaphore, members: list[int]) -> None:
        """Every member gets a completion: together if the server can, else one by one."""
        caller = self.served.caller
        missing = members
        if len(members) > 1:
            try:
                missing = await self._ask(client, slots, members)
                caller.costs.short += 0 < len(missing) < len(members)
            except Refused:
                caller.costs.refused_groups += 1
            if max(caller.costs.short, caller.costs.refused_groups) > 1:
                caller.allowed.grouped = False
        async with asyncio.TaskGroup() as tasks:
            for number in missing:
                tasks.create_task(self._ask(client, slots, [number]))

    async def _ask(self, client: Any, slots: asyncio.Semaphore, members: list[int]) -> list[int]:
        """One request for all members; gives those that got no answer and may still get one."""
        caller, first = self.served.caller, self.prompts[members[0]]
        ask = Ask(first, len(members), folded(self.served.sampling.seed, first))
        try:
            async with slots:
                if ask.n > 1 and not caller.allowed.grouped:
                    return members
                found, _ = await caller.ask(client, ask)
        except Lost as error:
            caller.costs.lost += len(members)
            for number in members:
                self.inbox.put((number, Completion(None, "failed", note=str(error))))
            return []
        for number, completion in zip(members, found, strict=False):
            self._note_repeat(first, completion)
            self.inbox.put((number, completion))
        return members[len(found) :]

    def _note_repeat(self, prompt: Prompt, completion: Completion) -> None:
        if completion.steps < LONG or self.served.sampling.temperature == 0:
            return
        said = (prompt.example.id, prompt.role, str(completion.output))
        self.served.caller.costs.repeats += said in self.said
        self.said.add(said)


def folded(seed: int, prompt: Prompt) -> int:
    """The prompt's own seed as servers take it: 31 bits."""
    state = np.random.SeedSequence(row_seed(seed, prompt)).generate_state(1)
    return int(state[0]) & 0x7FFFFFFF


def _first(error: Any) -> BaseException:
    while isinstance(error, BaseExceptionGroup):
        error = cast(Any, error).exceptions[0]  # the first one ended the others
    return error


def _given_up(caller: Caller) -> dict[str, Any]:
    """What the endpoint was asked for and would not give."""
    allowed, endpoint = caller.allowed, caller.endpoint
    given_up = {
        "logprobs": endpoint.logprobs and not allowed.logprobs,
        "seed": not allowed.seed,
        "n": endpoint.group and not allowed.grouped,
        "max_tokens": allowed.limit != "max_tokens",
    }
    return {
        "given_up": [name for name, gone in given_up.items() if gone],
        "sent_besides": dict(allowed.neutral),
    }
