"""Reciprocal rank fusion (Cormack et al. 2009): several rankings as one.

score(d) = sum over rankings of 1 / (60 + rank of d), ranks from 1; what is not among a ranking's
first `depth` hits gets nothing from it. What shares no word with the question is no hit of BM25,
though its search gives it where too little else is there. Equal scores stand in the order of ids.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from tasks.ragqa_retrieval.corpus import Retriever

CONSTANT = 60
"""As in the paper."""


class Source(Retriever, Protocol):
    """A retriever that can tell what it found from what merely comes next."""

    def hits(self, questions: Sequence[str], k: int) -> list[list[str]]:
        """Of the first k passages for each question, those that something speaks for."""
        ...


@dataclass(frozen=True)
class Fused:
    """Retrievers over one corpus, asked the same."""

    retrievers: tuple[Source, ...]
    depth: int = 100
    """Passages that each of them gives at most."""

    @property
    def name(self) -> str:
        """Of all its parts."""
        return f"rrf({', '.join(each.name for each in self.retrievers)})"

    def search(self, questions: Sequence[str], k: int) -> list[list[str]]:
        """Ids of the first k passages for each question; fewer where fewer are hits."""
        depth = max(k, self.depth)
        every = [retriever.hits(questions, depth) for retriever in self.retrievers]
        return [fused(rankings)[:k] for rankings in zip(*every, strict=True)]


def fused(rankings: Sequence[Sequence[str]]) -> list[str]:
    """All ids of the rankings, the best first."""
    scores: dict[str, float] = defaultdict(float)
    for ranking in rankings:
        for place, id in enumerate(ranking, 1):
            scores[id] += 1 / (CONSTANT + place)
    return sorted(scores, key=lambda id: (-scores[id], id))
