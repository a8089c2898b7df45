"""The decode loop for any model of transformers, through its own forward and any kind of cache.

What `fused.py` knows goes through `stream.py` instead, which is faster. Here prompts are answered
in batches of fixed composition (`plan`), so one list of prompts always gives one result, bit for
bit, on one machine. Equal prompts are prefilled once and their memory is
repeated. Finished rows leave the batch. Every row draws from uniform numbers of its own.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from transformers.cache_utils import Cache

from harness.models import Sampling
from trainers.engine import Drawn, Job
from trainers.text.cache import is_plain, prefill_cache, spread
from trainers.text.draw import draw
from trainers.text.graphs import Frame, Frames, bucket
from trainers.text.layout import Places

if TYPE_CHECKING:
    from transformers import PreTrainedModel

PREFILL = 8192
"""Positions that are prefilled at once: bounds the memory of long prompts."""
LEAVE = 0.85
"""Finished rows leave when fewer than this share is alive: leaving costs a copy of the cache."""


def plan(lengths: Sequence[int], rows: int) -> list[list[int]]:
    """Which prompts share a batch: in order of length, so that little is padded; longest first."""
    order = sorted(range(len(lengths)), key=lambda number: (-lengths[number], number))
    return [order[start : start + rows] for start in range(0, len(order), rows)]


def decode(
    model: PreTrainedModel,
    jobs: Sequence[Job],
    sampling: Sampling,
    *,
    rows: int,
    ends: frozenset[int],
    frames: Frames | None = None,
    places: Places | None = None,
) -> Iterator[tuple[Job, Drawn]]:
    """Each job with what was drawn for it, as soon as it is finished.

    With `frames`, steps of a plain model are read in shapes that do not change. `places` tells
    where tokens stand, if not one after the other.
    """
    plain = is_plain(model)
    for batch in plan([len(job.ids) for job in jobs], rows):
        decoding = _Decoding(model, [jobs[number] for number in batch], sampling, ends, plain)
        decoding.frames = frames if plain and places is None else None
        decoding.places = places
        yield from decoding.run()


class _Decoding:
    """One batch on its way."""

    def __init__(
        self,
        model: PreTrainedModel,
        jobs: list[Job],
        sampling: Sampling,
        ends: frozenset[int],
        plain: bool,
    ) -> None:
        self.model = model
        self.jobs = jobs
        self.sampling = sampling
        self.ends = ends
        self.plain = plain
        self.drawn = [Drawn() for _ in jobs]
        self.rows = list(range(len(jobs)))
        """Which job each row of the cache belongs to; finished ones until they leave."""
        self.alive = set(self.rows)
        table = np.zeros((max(job.budget for job in jobs), len(jobs)))
        for number, job in enumerate(jobs):
            table[: job.budget, number] = np.random.default_rng(job.entropy).random(job.budget)
        self.uniforms: Float[Tensor, "S B"] = torch.from_numpy(table).to(model.device)
        self.frames: Frames | None = None
        self.frame: Frame | None = None
        self.places: Places | None = None

    def run(self) -> Iterator[tuple[Job, Drawn]]:
        with torch.inference_mode():
            logits, cache = self._prefill()
        for step in range(len(self.uniforms)):
            with torch.inference_mode():  # never across a yield: it would leak to the caller
                ids = self._draw(logits, step)
            for number in self._note():
                self.alive.discard(number)
                yield self.jobs[number], self.drawn[number]
            if not self.alive:
                return
            with torch.inference_mode():
                if self.frames is not None:
                    logits = self._replay(ids, cache, self.frames)
                    continue
                ids = self._leave(ids, cache)
                logits = self._forward(ids, cache)

    def _prefill(self) -> tuple[Float[Tensor, "B V"], Cache]:
        prompts = list(dict.fromkeys(job.ids for job in self.jobs))
        width = max(map(len, prompts))
        part = max(1, PREFILL // width) if self.plain else len(prompts)
        device = self.model.device
        parts, lasts, masks, lengths = [], [], [], []
        for start in range(0, len(prompts), part):
            some = prompts[start : start + part]
            ids, mask = left_padded(some, width, device)
            stand = placed(some, mask, self.places)
            cache = prefill_cache(self.model, plain=self.plain)
            lasts.append(
                self.model(
                    input_ids=ids,
                    attention_mask=None if bool(mask.all()) else mask,
                    position_ids=stand,
                    past_key_values=cache,
                    use_cache=True,
                    logits_to_keep=1,
                ).logits[:, -1]
            )
            parts.append(cache)
            masks.append(mask)
            lengths.append(stand.view(-1, *mask.shape).amax((0, 2)) + 1)
        places = {prompt: place for place, prompt in enumerate(prompts)}
        owner = torch.tensor([places[job.ids] for job in self.jobs], device=device)
        cache = spread(parts, owner, len(self.uniforms))
        mask = torch.cat(masks).index_select(0, owner)
        room = mask.new_ones((len(owner), len(self.uniforms)))
        self.mask: Bool[Tensor, "B L"] = torch.cat([mask, room], dim=1)
        self.padded = not bool(mask.all())
        self.seen = width
        self.lengths: Int[Tensor, " B"] = torch.cat(lengths).index_select(0, owner)
        """Where the next token of each row stands."""
        return torch.cat(lasts).index_select(0, owner), cache

    def _draw(self, logits: Float[Tensor, "B V"], step: int) -> Int[Tensor, " B"]:
        ids, logprobs = draw(logits, self.uniforms[step, self.rows], self.sampling)
        for number, token, logprob in zip(self.rows, ids.tolist(), logprobs.tolist(), strict=True):
            if number in self.alive:
                self.drawn[number].add(token, logprob)
        return ids

    def _note(self) -> list[int]:
        """The jobs that this token finished."""
        return [
            number
            for number in self.rows
            if number in self.alive and self.drawn[number].over(self.jobs[number], self.ends)
        ]

    def _leave(self, ids: Int[Tensor, " B"], cache: Cache) -> Int[Tensor, " A"]:
        if len(self.alive) > LEAVE * len(self.rows):
            return ids
        kept = [place for place, number in enumerate(self.rows) if number in self.alive]
        self.rows = [self.rows[place] for place in kept]
        index = torch.tensor(kept, device=ids.device)
        cache.reorder_cache(index)  # type: ignore[arg-type]
        self.mask = self.mask.index_select(0, index)
        self.lengths = self.lengths.index_select(0, index)
        return ids.index_select(0, index)

    def _replay(self, ids: Int[Tensor, " B"], cache: Cache, frames: Frames) -> Float[Tensor, "A V"]:
        """A step in a frame; finished rows leave once a smaller frame holds the others."""
        if self.frame is None:
            self.frame = frames.of(cache, len(self.rows), self.mask.shape[1])
            self.frame.fill(cache, self.mask, self.seen)
            cache.layers.clear()
        elif bucket(len(self.alive)) <= bucket(len(self.rows)) // 2:
            kept = [place for place, number in enumerate(self.rows) if number in self.alive]
            index = torch.tensor(kept, device=ids.device)
            self.rows = [self.rows[place] for place in kept]
            ids = ids.index_select(0, index)
            self.frame = frames.smaller(self.frame, index)
        return self.frame.step(ids)

    def _forward(self, ids: Int[Tensor, " B"], cache: Cache) -> Float[Tensor, "B V"]:
        self.seen += 1
        answer = self.model(
            input_ids=ids.unsqueeze(1),
            attention_mask=self.mask[:, : self.seen] if self.padded else None,
            position_ids=self.lengths.unsqueeze(1),
            past_key_values=cache,
            use_cache=True,
            logits_to_keep=1,
        )
        self.lengths = self.lengths + 1
        return answer.logits[:, -1]


def left_padded(
    texts: Sequence[Sequence[int]], width: int, device: torch.device
) -> tuple[Int[Tensor, "B L"], Bool[Tensor, "B L"]]:
    """Token ids, aligned at their end, and where they are."""
    ids = torch.zeros((len(texts), width), dtype=torch.long)
    mask = torch.zeros((len(texts), width), dtype=torch.bool)
    for row, text in enumerate(texts):
        ids[row, width - len(text) :] = torch.tensor(text)
        mask[row, width - len(text) :] = True
    return ids.to(device), mask.to(device)


def right_padded(
    texts: Sequence[Sequence[int]], device: torch.device
) -> tuple[Int[Tensor, "B L"], Bool[Tensor, "B L"]]:
    """Token ids, aligned at their start, and where they are."""
    width = max(map(len, texts))
    ids = torch.zeros((len(texts), width), dtype=torch.long)
    mask = torch.zeros((len(texts), width), dtype=torch.bool)
    for row, text in enumerate(texts):
        ids[row, : len(text)] = torch.tensor(text, dtype=torch.long)
        mask[row, : len(text)] = True
    return ids.to(device), mask.to(device)


def placed(
    texts: Sequence[Sequence[int]], mask: Bool[Tensor, "B L"], places: Places | None
) -> Int[Tensor, "*A B L"]:
    """Where each token of padded texts stands; along A axes if `places` tells so."""
    if places is None:
        return positions(mask)
    rows = [torch.from_numpy(places(text)).to(mask.device) for text in texts]
    found = torch.zeros((len(rows[0]), *mask.shape), dtype=torch.long, device=mask.device)
    for row, stand in enumerate(rows):
        found[:, row, mask[row]] = stand
    return found


def positions(mask: Bool[Tensor, "B L"]) -> Int[Tensor, "B L"]:
    """The place of each token in its own text; 0 on padding."""
    return (mask.long().cumsum(-1) - 1).clamp_(min=0)
