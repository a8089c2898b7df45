"""Passages and corpora: what can be retrieved, checked once, and named by a digest."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from harness.errors import DataError


@dataclass(frozen=True)
class Passage:
    """A piece of text that is found, or not, as a whole."""

    id: str
    title: str
    text: str
    parent: str = ""
    """Id of the passage of which this is a window; empty: of none."""

    @property
    def whole(self) -> str:
        """What is indexed."""
        return f"{self.title}. {self.text}"


class Retriever(Protocol):
    """Questions to ranked passages."""

    @property
    def name(self) -> str:
        """How it searches, with every setting that moves its ranking."""
        ...

    def search(self, questions: Sequence[str], k: int) -> list[list[str]]:
        """Ids of the k best passages for each question, best first; fewer in a small corpus."""
        ...


@dataclass(frozen=True)
class Corpus:
    """Passages with unique ids."""

    passages: tuple[Passage, ...]

    @staticmethod
    def of(passages: Iterable[Passage], where: str = "the corpus") -> Corpus:
        """The corpus of these passages; DataError where it is empty or an id stands twice."""
        kept = tuple(passages)
        if not kept:
            raise DataError(f"{where} is empty: nothing can be retrieved from it")
        counts = Counter(passage.id for passage in kept)
        twice = [id for id, count in counts.items() if count > 1]
        if twice:
            raise DataError(
                f"{where} has {len(twice)} ids more than once, such as {', '.join(twice[:3])}: "
                "give every passage its own"
            )
        return Corpus(kept)

    @cached_property
    def by_id(self) -> Mapping[str, Passage]:
        """Passages by id."""
        return {passage.id: passage for passage in self.passages}

    @cached_property
    def digest(self) -> str:
        """Of all ids, titles and texts in their order."""
        return passages_digest(self.passages)

    @cached_property
    def rank(self) -> NDArray[np.int64]:
        """(N,) the place of each passage in the order of ids: decides between equal scores."""
        return ranks([passage.id for passage in self.passages])

    def check_known(self, ids: Iterable[str], where: str) -> None:
        """DataError where one of the ids is of no passage."""
        unknown = sorted({id for id in ids if id not in self.by_id})
        if unknown:
            raise DataError(
                f"{where} names {len(unknown)} passages that the corpus of {len(self.passages)} "
                f"does not hold, such as {', '.join(unknown[:3])}: its corpus is another one"
            )


def passages_digest(passages: Iterable[Passage]) -> str:
    """SHA-256 over all fields, as 16 hex digits; lengths keep neighbors apart."""
    seen = hashlib.sha256()
    for passage in passages:
        for field in (passage.id, passage.title, passage.text):
            told = field.encode("utf-8", "replace")
            seen.update(len(told).to_bytes(8, "little"))
            seen.update(told)
    return seen.hexdigest()[:16]


def ranks(ids: Sequence[str]) -> NDArray[np.int64]:
    """(N,) place of each id in the sorted order."""
    order = sorted(range(len(ids)), key=ids.__getitem__)
    found = np.empty(len(ids), np.int64)
    found[order] = np.arange(len(ids))
    return found


def chunked(passages: Iterable[Passage], words: int = 100, overlap: int = 20) -> Iterator[Passage]:
    """Passages cut into windows of `words` words that share `overlap`; short ones stay as they are.

    Window n of passage p is `p#n`, under p's title.
    """
    if not 0 <= overlap < words:
        raise DataError(f"windows of {words} words cannot share {overlap}: 0 <= overlap < words")
    for passage in passages:
        found = passage.text.split()
        if len(found) <= words:
            yield passage
            continue
        starts = range(0, len(found) - overlap, words - overlap)
        for number, start in enumerate(starts):
            window = " ".join(found[start : start + words])
            yield Passage(f"{passage.id}#{number}", passage.title, window, passage.id)


def best(scores: NDArray[np.float32], rank: NDArray[np.int64], k: int) -> NDArray[np.int64]:
    """Rows of the k largest scores, the largest first; equal ones in the order of `rank`."""
    k = min(k, len(scores))
    if k == 0:
        return np.empty(0, np.int64)
    least = np.partition(scores, len(scores) - k)[len(scores) - k]
    rows = np.flatnonzero(scores >= least)
    return rows[np.lexsort((rank[rows], -scores[rows]))][:k]
