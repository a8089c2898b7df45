"""Texts packed into one row: no padding between them, and what they share stands there once.

A span is a text, or the part of it that follows what it shares with others: its parent, which may
have a parent itself (see `branches.py`). Attention goes from a span to all that is above it and to
what stands before in the span itself, in blocks of spans that have one parent and nearly one
length. The row's last place is always empty; what pads a block is read from there, and its gradient
is 0 because nobody reads what becomes of it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from jaxtyping import Int
from torch import Tensor

from trainers.text.branches import branches
from trainers.text.layout import Places, Text

ROUND = 64
"""Rows are filled up to a multiple of this, so that few kernels are made for all of training."""
WIDE = 1.34
"""The widest span of a block is at most this much longer than its narrowest, and `STEP`."""
STEP = 8
SCORES = 1 << 22
"""Queries x keys of a block; with 9 heads in float32 144 MB. Longer texts are read in parts."""


@dataclass(frozen=True)
class Span:
    """Places of the row that follow each other."""

    start: int
    length: int
    parent: int | None = None
    """The number of the span that stands before this one, if any."""


@dataclass(frozen=True)
class Block:
    """Queries of B spans with one parent, and the keys that they see."""

    above: Int[Tensor, " A"] | None
    """Places of their parent, and of all that is above it."""
    queries: Int[Tensor, "B Q"]
    keys: Int[Tensor, "B L"]
    """Query q sees what is above and the keys up to number `offset` + q."""
    offset: int


@dataclass(frozen=True)
class Tree:
    """What attention has to know of a packed row."""

    blocks: tuple[Block, ...]
    asked: list[int] = field(default_factory=lambda: [0])
    """How often attention was asked, which tells whether a model hands its attention the tree."""


@dataclass(frozen=True)
class Packed:
    """Texts as one row of P places."""

    ids: Int[Tensor, "1 P"]
    positions: Int[Tensor, "*A 1 P"]
    """Of each token in its own text; along A axes for models that count along several."""
    steps: Int[Tensor, " S"]
    """The place before each step, in the order of texts and steps."""
    tree: Tree


def pack(
    texts: Sequence[Text],
    device: torch.device,
    *,
    sharing: bool = True,
    places: Places | None = None,
) -> Packed:
    """One row of all texts; with `sharing` what their heads begin with alike stands there once."""
    ids: list[int] = []
    positions: list[Any] = []
    spans: list[Span] = []

    def put(text: Sequence[int], first: int, last: int, parent: int | None) -> int:
        stand = range(len(text)) if places is None else places(text).T.tolist()
        spans.append(Span(len(ids), last - first, parent))
        ids.extend(text[first:last])
        positions.extend(stand[first:last])
        return len(spans) - 1

    if sharing:
        grown, ends = branches(text.head for text in texts)
        for branch in grown:
            put(branch.text, branch.first, branch.last, branch.parent)
        heads = [ends[text.head] for text in texts]
    else:
        heads = [put(text.head, 0, text.prompt, None) for text in texts]
    steps: list[int] = []
    for text, head in zip(texts, heads, strict=True):
        before = spans[head]
        tail = spans[put(text.ids, text.prompt, len(text.ids) - 1, head)]
        for place in text.places:
            inside = place - 1 - text.prompt
            last = before.start + before.length - 1
            steps.append(last if inside < 0 else tail.start + inside)
    room = -(-(len(ids) + 1) // ROUND) * ROUND - len(ids)
    stands = torch.tensor(positions + positions[:1] * room, device=device)
    return Packed(
        ids=torch.tensor([ids + [0] * room], device=device),
        positions=stands.movedim(0, -1).unsqueeze(-2),
        steps=torch.tensor(steps, device=device),
        tree=Tree(tuple(blocks(spans, len(ids) + room, device))),
    )


def blocks(spans: Sequence[Span], places: int, device: torch.device) -> Iterable[Block]:
    """Every query of every span once."""
    families: dict[int | None, list[Span]] = {}
    for span in spans:
        if span.length:
            families.setdefault(span.parent, []).append(span)
    for parent, members in families.items():
        above = _above(parent, spans, device)
        for alike in _alike(members, 0 if above is None else len(above)):
            yield from _parts(alike, above, places, device)


def _above(
    parent: int | None, spans: Sequence[Span], device: torch.device
) -> Int[Tensor, " A"] | None:
    """The places of a span and of all above it, in the order in which they are read."""
    found: list[Tensor] = []
    while parent is not None:
        span = spans[parent]
        found.append(torch.arange(span.start, span.start + span.length, device=device))
        parent = span.parent
    return torch.cat(found[::-1]) if found else None


def _alike(members: Sequence[Span], above: int) -> Iterable[list[Span]]:
    """Spans of nearly one length, not too many at once."""
    together: list[Span] = []
    for span in sorted(members, key=lambda each: each.length):
        if together:
            widens = span.length > together[0].length * WIDE + STEP
            scores = (len(together) + 1) * span.length * (above + span.length)
            if widens or scores > SCORES:
                yield together
                together = []
        together.append(span)
    yield together


def _parts(
    spans: Sequence[Span], above: Int[Tensor, " A"] | None, places: int, device: torch.device
) -> Iterable[Block]:
    """One block, or several of some queries each where a single text is long."""
    width = -(-max(span.length for span in spans) // STEP) * STEP
    seen = width + (0 if above is None else len(above))
    part = max(STEP, SCORES // (len(spans) * seen) // STEP * STEP)
    starts = torch.tensor([[span.start] for span in spans])
    lengths = torch.tensor([[span.length] for span in spans])
    column = torch.arange(width)[None]
    index = torch.where(column < lengths, starts + column, places - 1).to(device)
    for first in range(0, width, part):
        last = min(first + part, width)
        yield Block(above, index[:, first:last], index[:, :last], first)
