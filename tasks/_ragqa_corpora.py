"""Corpora of ragqa by name, their passages whole or cut into windows, and retrievers over them."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial

from harness.data import FOLDER
from harness.errors import UsageError
from harness.registry import encoder
from tasks import _ragqa_sets as sets
from tasks.ragqa_retrieval.corpus import Corpus, Retriever, chunked
from tasks.ragqa_retrieval.dense import Dense
from tasks.ragqa_retrieval.fusion import Fused
from tasks.ragqa_retrieval.lexical import BM25

CORPORA: Mapping[str, Callable[[], Corpus]] = {
    "wikipedia": sets.wikipedia,
    "almanac": sets.encyclopedia,
    "miniature": sets.lines,
    **{name: partial(sets.contexts, name) for name in sets.SUPPORTED},
}
"""The last ones come from the hub with their questions."""
RETRIEVERS: Mapping[str, Callable[[Corpus], Retriever]] = {
    "bm25": BM25,
    "bm25-library": partial(BM25, ties="library"),
    "minilm": lambda corpus: Dense(corpus, encoder("minilm")),
    "hybrid": lambda corpus: Fused((BM25(corpus), Dense(corpus, encoder("minilm")))),
}
CHUNKS: Mapping[str, str] = {"chunk": "0", "overlap": "0"}
"""Settings that cut passages, with their defaults: whole ones."""
LONGEST = 10_000
"""Words of a window."""


@dataclass(frozen=True)
class Shelf:
    """A corpus as it is searched; a window `p#n` counts as its passage p."""

    name: str
    """Of CORPORA."""
    chunk: int = 0
    """Words of a window; 0: passages are whole."""
    overlap: int = 0
    """Words that neighbors share."""

    @property
    def label(self) -> str:
        """What a record calls the corpus."""
        return "wikipedia" if self.name in sets.SUPPORTED else self.name

    def whole(self) -> Corpus:
        """The passages that questions name."""
        return CORPORA[self._place]()

    def corpus(self) -> Corpus:
        """What is searched and shown."""
        whole = self.whole()
        return _windows(self, whole.digest) if self.chunk else whole

    def parents(self, ids: Sequence[str]) -> list[str]:
        """The passages of these windows, each once, in the order of its best one."""
        if not self.chunk:
            return list(ids)
        by_id = self.corpus().by_id
        return list(dict.fromkeys(by_id[id].parent or id for id in ids))

    def search(self, retriever: str, questions: Sequence[str], k: int) -> list[list[str]]:
        """Ids of the first k windows for each question."""
        return self.retriever(retriever).search(questions, k)

    def ranked(self, retriever: str, questions: Sequence[str], k: int) -> list[list[str]]:
        """Ids of the first k passages for each question."""
        deep = k * _most(self, self.corpus().digest) if self.chunk else k
        return [self.parents(ids)[:k] for ids in self.search(retriever, questions, deep)]

    def retriever(self, name: str) -> Retriever:
        """Ready to search; its index is built or mapped at its first question."""
        return _retriever(name, self, self._place, self.corpus().digest)

    @property
    def _place(self) -> str:
        """HARNESS_DATA has one corpus for all public questions, the hub has theirs with each."""
        return self.label if os.environ.get(FOLDER) else self.name


@lru_cache(maxsize=8)
def _retriever(name: str, shelf: Shelf, place: str, digest: str) -> Retriever:
    return RETRIEVERS[name](shelf.corpus())


@lru_cache(maxsize=4)
def _windows(shelf: Shelf, digest: str) -> Corpus:
    return Corpus.of(chunked(shelf.whole().passages, shelf.chunk, shelf.overlap), shelf.label)


@lru_cache(maxsize=4)
def _most(shelf: Shelf, digest: str) -> int:
    """Windows of the passage that has most: so many hold one passage at least."""
    counts: dict[str, int] = {}
    for window in shelf.corpus().passages:
        parent = window.parent or window.id
        counts[parent] = counts.get(parent, 0) + 1
    return max(counts.values())


def shelf(name: str, settings: Mapping[str, str]) -> Shelf:
    """The corpus of that name as the settings cut it; UsageError where they cannot."""
    chunk, overlap = (_words(settings, key) for key in CHUNKS)
    if overlap and overlap >= chunk:
        raise UsageError(
            f"windows of chunk={chunk} words cannot share overlap={overlap}: fewer than a window "
            "has will do"
        )
    return Shelf(name, chunk, overlap)


def _words(settings: Mapping[str, str], key: str) -> int:
    text = settings.get(key, CHUNKS[key])
    if not (text.isascii() and text.isdigit() and int(text) <= LONGEST):
        raise UsageError(f"{key}={text} is no number of words from 0 to {LONGEST}")
    return int(text)


def told(settings: Mapping[str, str]) -> dict[str, str]:
    """Settings as a record holds them: those that cut passages only where they do."""
    return {key: value for key, value in settings.items() if value != CHUNKS.get(key)}


def check_known(where: Shelf, asked: Iterable[sets.Asked], name: str) -> None:
    """DataError where a question rests on a passage that the corpus does not hold."""
    where.whole().check_known((id for each in asked for id in each.gold), name)
