"""BM25 by bm25s: lucene's variant, English stop words, Snowball stems, mapped from the cache.

Tokens are those of `bm25s.tokenize` (two word characters at least, lower case), read in one pass
into flat arrays: a million passages are indexed in a part of the memory that lists would take.
"""

from __future__ import annotations

import json
import re
import sys
from array import array
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from harness.caches import made
from harness.errors import need
from tasks.ragqa_retrieval.corpus import Corpus, Passage, best

K1, B, VARIANT = 1.2, 0.75, "lucene"
LAYOUT = 1
"""Raised by a change of what an index in the cache holds."""
SMALL = 5_000
"""Passages up to which an index is made in memory: faster than to read it."""
WORD = re.compile(r"(?u)\b\w\w+\b")

Ties = Literal["id", "library"]


@dataclass(frozen=True)
class BM25:
    """A corpus under BM25 (Robertson and Zaragoza 2009), k1 = 1.2, b = 0.75."""

    corpus: Corpus
    ties: Ties = "id"
    """`id`: equal scores in the order of ids, the same everywhere. `library`: as bm25s selects
    them, which depends on NumPy's partition and so on the processor."""
    cache: Path | None = None
    """None: the user's."""

    @property
    def name(self) -> str:
        """With its settings."""
        return "bm25" if self.ties == "id" else "bm25+ties=library"

    def search(self, questions: Sequence[str], k: int) -> list[list[str]]:
        """Ids of the first k passages for each question; at the end, those that share no word."""
        return [self._ids(rows) for _, rows in self._ranked(questions, k)]

    def hits(self, questions: Sequence[str], k: int) -> list[list[str]]:
        """Of the first k passages for each question, those that share a word with it."""
        ranked = self._ranked(questions, k)
        return [self._ids(row for row in rows if scores[row] > 0) for scores, rows in ranked]

    def _ids(self, rows: Iterable[int]) -> list[str]:
        return [self.corpus.passages[row].id for row in rows]

    def _ranked(
        self, questions: Sequence[str], k: int
    ) -> Iterator[tuple[NDArray[np.float32], Sequence[int] | NDArray[np.int64]]]:
        """The score of every passage and the rows of the first k, for each question."""
        index = self._index
        for question in questions:
            scores = index.scores(index.known(question))
            if self.ties == "library":
                yield scores, index.selected(scores, k)
            else:
                yield scores, best(scores, self.corpus.rank, k)

    @cached_property
    def _index(self) -> Index:
        if len(self.corpus.passages) <= SMALL:
            return Index.build(self.corpus.passages)
        return Index.cached(self.corpus.passages, self.corpus.digest, self.cache)


@dataclass(frozen=True)
class Index:
    """Token scores of passages: bm25s's sparse matrix, in memory or mapped from files."""

    inner: Any
    vocabulary: Mapping[str, int]

    @staticmethod
    def build(passages: Iterable[Passage]) -> Index:
        """Index passages in the order in which they come."""
        bm25s = need("bm25s", "rag", "retrieval by BM25")
        ids, vocabulary = _tokenized(passages)
        inner = bm25s.BM25(method=VARIANT, k1=K1, b=B)
        shown = sys.stderr.isatty()
        inner.scores = inner.build_index_from_ids([*vocabulary.values()], ids, show_progress=shown)
        inner.vocab_dict = vocabulary
        inner.unique_token_ids_set = {*vocabulary.values()}
        return Index(inner, vocabulary)

    @staticmethod
    def cached(passages: Iterable[Passage], digest: str, cache: Path | None = None) -> Index:
        """The index of the passages of that digest, mapped from the cache; built at first."""
        bm25s = need("bm25s", "rag", "retrieval by BM25")
        key = {"corpus": digest, "bm25s": bm25s.__version__, "layout": LAYOUT, "k1": K1, "b": B}

        def make(folder: Path) -> None:
            built = Index.build(passages)
            built.inner.save(folder, show_progress=False)
            (folder / "words.json").write_text(json.dumps(built.vocabulary), "utf-8")

        folder = made("bm25", key, make, cache)
        inner = bm25s.BM25.load(folder, mmap=True, load_vocab=False, show_progress=False)
        return Index(inner, json.loads((folder / "words.json").read_text("utf-8")))

    def known(self, text: str) -> list[int]:
        """Numbers of the words that some passage holds."""
        return [self.vocabulary[word] for word in stems(text) if word in self.vocabulary]

    def scores(self, words: Sequence[int]) -> NDArray[np.float32]:
        """(N,) the score of every passage; 0 for no words."""
        if not words:
            return np.zeros(self.inner.scores["num_docs"], np.float32)
        return self.inner.get_scores_from_ids(list(words))

    @staticmethod
    def selected(scores: NDArray[np.float32], k: int) -> list[int]:
        """Rows of the k best scores, as the library selects them."""
        from bm25s.selection import topk

        _, rows = topk(scores, k=min(k, len(scores)), backend="numpy", sorted=True)
        return [int(row) for row in rows]


@dataclass(frozen=True)
class _Ids:
    """Token numbers of passages, flat; bm25s reads them as a sequence of lists."""

    flat: NDArray[np.int32]
    ends: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.ends)

    def __iter__(self) -> Iterator[list[int]]:
        start = 0
        for end in self.ends.tolist():
            yield self.flat[start:end].tolist()
            start = end


def _tokenized(passages: Iterable[Passage]) -> tuple[_Ids, dict[str, int]]:
    """Numbers of all stems, in the order of the stems' first appearance."""
    vocabulary: dict[str, int] = {}
    numbers: dict[str, int] = {}
    flat, ends = array("i"), array("q")
    for passage in passages:
        for word in WORD.findall(passage.whole.lower()):
            number = numbers.get(word)
            if number is None:
                stem = _stem(word)
                number = -1 if stem is None else vocabulary.setdefault(stem, len(vocabulary))
                numbers[word] = number
            if number >= 0:
                flat.append(number)
        ends.append(len(flat))
    if not vocabulary:  # nothing but stop words: lengths of 0 cannot be divided by
        vocabulary[""] = 0
        flat, ends = array("i", [0] * len(ends)), array("q", range(1, len(ends) + 1))
    return _Ids(np.frombuffer(flat, np.int32), np.frombuffer(ends, np.int64)), vocabulary


def stems(text: str) -> list[str]:
    """Stems of a text's words, stop words left out."""
    return [stem for word in WORD.findall(text.lower()) if (stem := _stem(word)) is not None]


@lru_cache(maxsize=200_000)
def _stem(word: str) -> str | None:
    return None if word in _stop_words() else _stemmer().stemWord(word)


@lru_cache(maxsize=1)
def _stop_words() -> frozenset[str]:
    return frozenset(need("bm25s.stopwords", "rag", "retrieval by BM25").STOPWORDS_EN)


@lru_cache(maxsize=1)
def _stemmer() -> Any:
    return need("Stemmer", "rag", "retrieval by BM25").Stemmer("english")
