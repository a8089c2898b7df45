"""Continuous batching: rows that finish leave their places to jobs that wait.

Which jobs stand together follows from the list of jobs and from what they drew, so one list gives
one result, bit for bit, on one machine with one number of threads.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor

from harness.models import Sampling
from trainers.engine import Drawn, Job
from trainers.text.draw import Scratch, draw
from trainers.text.fused import Fused
from trainers.text.prefill import common_prefix, read
from trainers.text.rolling import Rolling
from trainers.text.trunks import LEAST, Read, Trunks, stacked

ENTER = 0.25
"""Jobs enter when this share of the places is free: reading few prompts wastes a pass."""
LEAVE = 0.75
"""With no job waiting, free places are given up when at most this share is alive."""

Ids = tuple[int, ...]
Shared = Literal["prompts", "beginning", "nothing"]


@dataclass(frozen=True)
class Limits:
    """How much is answered at once."""

    rows: int
    positions: int
    """Rows times the longest that a row may become; one row is always let in."""


@dataclass
class _Seat:
    """A row that is being answered."""

    job: Job
    drawn: Drawn
    chances: NDArray[np.float64]
    """Its own uniform numbers, one a token."""
    trunk: int
    """Number of what it stands on."""

    @property
    def longest(self) -> int:
        return len(self.job.ids) + self.job.budget


def order(jobs: Sequence[Job]) -> list[Job]:
    """What may take longest first, equal prompts side by side."""
    first: dict[Ids, int] = {}
    for place, job in enumerate(jobs):
        first.setdefault(job.ids, place)
    return sorted(jobs, key=lambda job: (-len(job.ids) - job.budget, first[job.ids]))


def what_is_shared(wanted: Mapping[Ids, int], beginning: int) -> Shared:
    """What many rows are to stand on: whatever saves most positions, if it is worth it."""
    rows = sum(wanted.values())
    prompts = sum(len(ids) * (count - 1) for ids, count in wanted.items())
    saved, best = max((prompts, "prompts"), (beginning * (rows - 1), "beginning"))
    return best if saved >= LEAST else "nothing"  # type: ignore[return-value]


class Stream:
    """All jobs of one call on their way."""

    def __init__(
        self, model: Fused, jobs: Sequence[Job], sampling: Sampling, ends: frozenset[int]
    ) -> None:
        self.model = model
        self.sampling = sampling
        self.ends = ends
        self.waiting = order(jobs)[::-1]
        """The next one last."""
        self.wanted = Counter(job.ids for job in jobs)
        """How many of those that wait ask each prompt."""
        self.seats: list[_Seat | None] = []
        """Whom each row of the memory belongs to."""
        self.memory = Rolling(model.shape)
        self.scratch = Scratch()
        self.beginning = common_prefix(list(self.wanted))
        self.shared = what_is_shared(self.wanted, len(self.beginning))
        self.prefix: Read | None = None
        """The beginning, read."""
        self.trunks: Read | None = None
        """What rows stand on; each seat has a number of it."""
        self.known: dict[Ids, tuple[Read, Float[Tensor, "1 V"]]] = {}
        """Prompts that were read and are still wanted, and their logits."""

    def run(self, limits: Limits) -> Iterator[tuple[Job, Drawn]]:
        """Each job as it finishes."""
        while self.waiting or self._alive():
            with torch.inference_mode():  # never across a yield: it would leak to the caller
                jobs = self._next(limits)
                places, logits = self._enter(jobs) if jobs else self._step()
                finished = self._note(places, logits)
            for place in finished:
                seat, self.seats[place] = self.seats[place], None
                assert seat is not None
                yield seat.job, seat.drawn

    def _alive(self) -> list[int]:
        return [place for place, seat in enumerate(self.seats) if seat is not None]

    def _next(self, limits: Limits) -> list[Job]:
        """Those that enter now: none as long as too few places are free."""
        if not self.waiting:
            return []
        longest = [seat.longest for seat in self.seats if seat is not None]
        longest.append(len(self.waiting[-1].ids) + self.waiting[-1].budget)
        most = max(1, min(limits.rows, limits.positions // max(longest)))
        alive = most - len(longest) + 1
        free = min(alive, len(self.waiting))
        if free < 1 or (len(longest) > 1 and free < min(ENTER * most, len(self.waiting))):
            return []
        return [self.waiting.pop() for _ in range(free)]

    def _enter(self, jobs: list[Job]) -> tuple[list[int], Float[Tensor, "B V"]]:
        """Places and first logits of those who enter."""
        asked: dict[Ids, list[Job]] = {}
        for job in jobs:
            asked.setdefault(job.ids, []).append(job)
        unread = [ids for ids in asked if ids not in self.known]
        parts = [(*self.known.pop(ids), [ids]) for ids in asked if ids in self.known]
        if unread:
            parts.append((*self._read(unread), unread))
        width = {
            "prompts": 0,
            "beginning": max(found.width for found, _, _ in parts),
            "nothing": max(found.width for found, _, _ in parts) + len(self.beginning),
        }
        self._fit(max(len(self.seats), len(self._alive()) + len(jobs)), width[self.shared])
        free = iter([place for place, seat in enumerate(self.seats) if seat is None])
        places, logits = [], []
        for found, scores, prompts in parts:
            owner = [row for row, ids in enumerate(prompts) for _ in asked[ids]]
            own = [next(free) for _ in owner]
            trunks = self._remember(own, found, owner)
            self._seat(own, [job for ids in prompts for job in asked[ids]], trunks)
            places += own
            logits.append(scores[owner])
            for row, ids in enumerate(prompts):
                self.wanted[ids] -= len(asked[ids])
                if self.wanted[ids]:
                    self.known[ids] = (found.pick([row]), scores[row : row + 1])
        self._stand()
        return places, torch.cat(logits)

    def _read(self, prompts: Sequence[Ids]) -> tuple[Read, Float[Tensor, "P V"]]:
        begun = len(self.beginning)
        if begun and self.prefix is None:
            self.prefix, _ = read(self.model, [self.beginning], None)
            if self.shared == "beginning":
                self.trunks = self.prefix
        found, hidden = read(self.model, [ids[begun:] for ids in prompts], self.prefix)
        return found, self.model.head(hidden)

    def _remember(self, places: Sequence[int], found: Read, owner: Sequence[int]) -> list[int]:
        """Let rows see the texts that were read; the numbers of the trunks they stand on."""
        if self.shared == "prompts":
            self.memory.forget(places)
            held = [] if self.trunks is None else [self.trunks]
            first = sum(len(each.lengths) for each in held)
            self.trunks = stacked([*held, found.after(self.prefix)])
            return [first + row for row in owner]
        prefix = self.prefix if self.shared == "nothing" else None
        self.memory.enter(places, prefix, found, owner)
        return [0] * len(owner)

    def _seat(self, places: Sequence[int], jobs: Sequence[Job], trunks: Sequence[int]) -> None:
        for place, job, trunk in zip(places, jobs, trunks, strict=True):
            chances = np.random.default_rng(job.entropy).random(job.budget)
            self.seats[place] = _Seat(job, Drawn(), chances, trunk)

    def _stand(self) -> None:
        """Tell the memory who stands where, and forget trunks that nobody stands on."""
        if self.trunks is None:
            return
        used = sorted({seat.trunk for seat in self.seats if seat is not None})
        if self.shared == "prompts" and 0 < len(used) < len(self.trunks.lengths):
            self.trunks = self.trunks.pick(used)
            for seat in self.seats:
                if seat is not None:
                    seat.trunk = used.index(seat.trunk)
        owner = [-1 if seat is None else seat.trunk for seat in self.seats]
        self.memory.trunks = Trunks(self.trunks, owner)

    def _fit(self, rows: int, width: int) -> None:
        alive = self._alive()
        if self.memory.fit(alive, rows, width=width):
            kept = [self.seats[place] for place in alive]
            self.seats = [*kept, *[None] * (rows - len(kept))]
            self._stand()

    def _step(self) -> tuple[list[int], Float[Tensor, "B V"]]:
        """All places, and the logits after each one's last token; those of free places are void."""
        alive, rows = self._alive(), len(self.seats)
        if not self.waiting and len(alive) <= LEAVE * rows:
            rows = len(alive)
        self._fit(rows, 0)
        self.memory.step(self._alive())
        ids, taken = np.zeros((2, rows), np.int64)
        for place, seat in enumerate(self.seats):
            if seat is not None:
                ids[place] = seat.drawn.ids[-1]
                taken[place] = len(seat.job.ids) + len(seat.drawn.ids) - 1
        device = self.model.shape.device
        both = torch.from_numpy(np.stack([ids, taken])).to(device)
        hidden = self.model.forward(both[0], both[1], self.memory.attend)
        return list(range(rows)), self.model.head(hidden)

    def _note(self, places: Sequence[int], logits: Float[Tensor, "B V"]) -> list[int]:
        """Draw a token for each of these places; the places that it finished."""
        seats = [self.seats[place] for place in places]
        chances = [0.0 if seat is None else seat.chances[len(seat.drawn.ids)] for seat in seats]
        uniforms = torch.tensor(chances, dtype=torch.float64, device=logits.device)
        ids, logprobs = draw(logits, uniforms, self.sampling, self.scratch)
        told = zip(places, seats, ids.tolist(), logprobs.tolist(), strict=True)
        finished: list[int] = []
        for place, seat, token, logprob in told:
            if seat is None:
                continue
            seat.drawn.add(token, logprob)
            if seat.drawn.over(seat.job, self.ends):
                finished.append(place)
        return finished
