"""Dense retrieval: passages and questions as unit vectors, ranked by cosine; vectors are cached.

Every product is taken where passages are few; of a large corpus a graph proposes which.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from harness.caches import made, user_cache
from tasks.ragqa_retrieval.corpus import Corpus, best
from tasks.ragqa_retrieval.meters import meter
from tasks.ragqa_retrieval.nearest import Graph, nearest

if TYPE_CHECKING:
    from harness.models import Encoder

VECTORS = "vectors.npy"
EXACT = 100_000
"""Products with so many passages of 384 numbers take a core 1 to 2 ms a question, in a batch."""
GRAPH = Graph()
PART = 1024
"""Passages that are encoded and kept at once: what a kill may cost."""
QUESTIONS = 64
"""Questions whose products with all passages are held at once."""


@dataclass(frozen=True)
class Dense:
    """A corpus under an encoder."""

    corpus: Corpus
    encoder: Encoder
    cache: Path | None = None
    """None: the user's."""
    exact: int = EXACT
    """Passages up to which every product is taken."""
    graph: Graph = GRAPH
    """What a larger corpus is searched with."""

    @property
    def name(self) -> str:
        """The encoder's, and the graph's where one is searched."""
        return f"{self.encoder.name}+{self.graph.name}" if self._large else self.encoder.name

    def search(self, questions: Sequence[str], k: int) -> list[list[str]]:
        """Ids of the first k passages for each question."""
        passages, vectors, rank = self.corpus.passages, self.vectors, self.corpus.rank
        found: list[NDArray[np.int64]] = []
        for start in range(0, len(questions), QUESTIONS):
            asked = self.encoder.encode(questions[start : start + QUESTIONS])
            if self._large:
                near = self.graph.candidates(self._index, asked, k)
                pairs = zip(asked, near, strict=True)
                found += [nearest(vectors, one, rows, rank, k) for one, rows in pairs]
            else:
                found += [best(scores, rank, k) for scores in asked @ vectors.T]
        return [[passages[row].id for row in rows] for rows in found]

    def hits(self, questions: Sequence[str], k: int) -> list[list[str]]:
        """The same: every passage has a cosine."""
        return self.search(questions, k)

    @property
    def _large(self) -> bool:
        return len(self.corpus.passages) > self.exact

    @cached_property
    def _index(self) -> Any:
        return self.graph.opened(self._folder / VECTORS, self.cache)

    @cached_property
    def vectors(self) -> NDArray[np.float32]:
        """(N, width) of the passages, mapped from the cache; encoded if they are not there."""
        return np.load(self._folder / VECTORS, mmap_mode="r")

    @cached_property
    def _folder(self) -> Path:
        key = {"corpus": self.corpus.digest, "encoder": self.encoder.name}
        return made("vectors", key, self._make, self.cache)

    def _make(self, folder: Path) -> None:
        """Passages in the order of their lengths, so that a batch has little padding."""
        root = user_cache() if self.cache is None else self.cache
        parts = root / f"parts-{self.corpus.digest}-{self.encoder.name}"
        parts.mkdir(parents=True, exist_ok=True)
        texts = [passage.whole for passage in self.corpus.passages]
        order = sorted(range(len(texts)), key=lambda number: len(texts[number]))
        vectors = np.zeros((len(texts), self.encoder.width), np.float32)
        with meter(f"encoding with {self.encoder.name}", len(texts)) as advance:
            for start in range(0, len(order), PART):
                rows, kept = order[start : start + PART], parts / f"{start}.npy"
                if not kept.exists():
                    fresh = kept.with_suffix(".making.npy")
                    np.save(fresh, self.encoder.encode([texts[row] for row in rows]))
                    fresh.replace(kept)
                vectors[rows] = np.load(kept)
                advance(len(rows))
        np.save(folder / VECTORS, vectors)
        for kept in parts.iterdir():
            kept.unlink()
        parts.rmdir()
