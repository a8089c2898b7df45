"""Dense retrieval: passages and questions as unit vectors, ranked by cosine; vectors are cached."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from harness.caches import made, user_cache
from tasks.ragqa_retrieval.corpus import Corpus, best

if TYPE_CHECKING:
    from harness.models import Encoder

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

    @property
    def name(self) -> str:
        """The encoder's."""
        return self.encoder.name

    def search(self, questions: Sequence[str], k: int) -> list[list[str]]:
        """Ids of the first k passages for each question."""
        passages, vectors = self.corpus.passages, self.vectors
        found: list[list[str]] = []
        for start in range(0, len(questions), QUESTIONS):
            asked = self.encoder.encode(questions[start : start + QUESTIONS])
            for scores in asked @ vectors.T:
                found.append([passages[row].id for row in best(scores, self.corpus.rank, k)])
        return found

    def hits(self, questions: Sequence[str], k: int) -> list[list[str]]:
        """The same: every passage has a cosine."""
        return self.search(questions, k)

    @cached_property
    def vectors(self) -> NDArray[np.float32]:
        """(N, width) of the passages, mapped from the cache; encoded if they are not there."""
        key = {"corpus": self.corpus.digest, "encoder": self.encoder.name}
        folder = made("vectors", key, self._make, self.cache)
        return np.load(folder / "vectors.npy", mmap_mode="r")

    def _make(self, folder: Path) -> None:
        """Passages in the order of their lengths, so that a batch has little padding."""
        root = user_cache() if self.cache is None else self.cache
        parts = root / f"parts-{self.corpus.digest}-{self.encoder.name}"
        parts.mkdir(parents=True, exist_ok=True)
        texts = [passage.whole for passage in self.corpus.passages]
        order = sorted(range(len(texts)), key=lambda number: len(texts[number]))
        vectors = np.zeros((len(texts), self.encoder.width), np.float32)
        with _meter(f"encoding with {self.encoder.name}", len(texts)) as advance:
            for start in range(0, len(order), PART):
                rows, kept = order[start : start + PART], parts / f"{start}.npy"
                if not kept.exists():
                    fresh = kept.with_suffix(".making.npy")
                    np.save(fresh, self.encoder.encode([texts[row] for row in rows]))
                    fresh.replace(kept)
                vectors[rows] = np.load(kept)
                advance(len(rows))
        np.save(folder / "vectors.npy", vectors)
        for kept in parts.iterdir():
            kept.unlink()
        parts.rmdir()


@contextmanager
def _meter(what: str, total: int) -> Generator[Callable[[int], None]]:
    """A bar with ETA on stderr."""
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True)) as bar:
        job = bar.add_task(what, total=total)
        yield lambda count: bar.advance(job, count)
