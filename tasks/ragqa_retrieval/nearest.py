"""Nearest neighbors in a large corpus: an HNSW graph (Malkov and Yashunin 2016) by FAISS.

The graph proposes candidates, their exact cosines decide: so equal ones stand in the order of ids
here too. It is built by one thread from a fixed seed, the same every time, and kept in the cache.
"""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.caches import made
from harness.digests import file_digest
from harness.errors import need
from tasks.ragqa_retrieval.corpus import best
from tasks.ragqa_retrieval.meters import meter

FILE = "graph.faiss"
PART = 1024
"""Vectors that are added at once: how often progress is shown."""


@dataclass(frozen=True)
class Graph:
    """What an HNSW graph is built and searched with."""

    links: int = 32
    """M: of a vector, in a layer; twice as many in the lowest."""
    beam: int = 100
    """efConstruction: candidates that are held while a vector is linked."""
    search: int = 200
    """efSearch: candidates that are held while a question is answered."""

    @property
    def name(self) -> str:
        """With every setting that moves a ranking."""
        return f"hnsw({self.links},{self.beam},{self.search})"

    def opened(self, vectors: Path, cache: Path | None = None) -> Any:
        """FAISS's index of the vectors in a file, mapped from the cache; built at first."""
        faiss = _faiss()
        key = {
            "vectors": file_digest(vectors),
            "faiss": faiss.__version__,
            "links": self.links,
            "beam": self.beam,
        }
        folder = made("hnsw", key, lambda folder: self._make(vectors, folder), cache)
        return faiss.read_index(str(folder / FILE), faiss.IO_FLAG_MMAP_IFC)

    def _make(self, vectors: Path, folder: Path) -> None:
        faiss = _faiss()
        given = np.load(vectors, mmap_mode="r")
        index = faiss.IndexHNSWFlat(given.shape[1], self.links, faiss.METRIC_INNER_PRODUCT)
        index.hnsw.efConstruction = self.beam
        with one_thread(faiss), meter(f"linking {self.name}", len(given)) as advance:
            for start in range(0, len(given), PART):
                part = np.ascontiguousarray(given[start : start + PART], np.float32)
                index.add(part)
                advance(len(part))
        faiss.write_index(index, str(folder / FILE))

    def candidates(self, index: Any, asked: NDArray[np.float32], k: int) -> NDArray[np.int64]:
        """(Q, max(k, search)) rows near each of (Q, width) questions, in no order; -1 is no row."""
        faiss = _faiss()
        wide = max(k, self.search)
        with one_thread(faiss):
            _, rows = index.search(
                np.ascontiguousarray(asked, np.float32),
                min(wide, index.ntotal),
                params=faiss.SearchParametersHNSW(efSearch=wide),
            )
        return rows


def nearest(
    vectors: NDArray[np.float32],
    asked: NDArray[np.float32],
    rows: NDArray[np.int64],
    rank: NDArray[np.int64],
    k: int,
) -> NDArray[np.int64]:
    """The k of a question's candidate rows with the largest products, as `best` orders them."""
    rows = np.sort(rows[rows >= 0])  # the vectors are mapped: read in their order
    return rows[best(vectors[rows] @ asked, rank[rows], k)]


@contextmanager
def one_thread(faiss: Any) -> Generator[None]:
    """Several threads would link vectors in an order of their own."""
    before = faiss.omp_get_max_threads()
    faiss.omp_set_num_threads(1)
    try:
        yield
    finally:
        faiss.omp_set_num_threads(before)


def _faiss() -> Any:
    return need("faiss", "retrieval", "dense retrieval from a large corpus")
