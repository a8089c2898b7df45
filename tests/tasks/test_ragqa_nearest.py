"""Dense retrieval from a large corpus: near what exact search finds, the same every time, kept."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from harness.errors import MissingExtra
from tasks.ragqa_retrieval.corpus import Corpus, Passage
from tasks.ragqa_retrieval.dense import EXACT, Dense
from tasks.ragqa_retrieval.nearest import Graph

WIDTH = 16


class Clustered:
    """Numbers to unit vectors round 200 centers; `near N` to one beside that of N."""

    name, width = "clustered", WIDTH

    def __init__(self, count: int) -> None:
        rng = np.random.default_rng(0)
        centers = rng.normal(size=(200, WIDTH))
        vectors = centers[rng.integers(0, 200, count)] + 0.5 * rng.normal(size=(count, WIDTH))
        self.vectors = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype("f4")
        self.nudges = 0.1 * rng.normal(size=(count, WIDTH)).astype("f4")

    def encode(self, texts: Sequence[str]) -> np.ndarray:
        rows = [int(text.split()[-1]) for text in texts]
        asked = np.array([text.startswith("near") for text in texts])[:, None]
        found = self.vectors[rows] + asked * self.nudges[rows]
        return found / np.linalg.norm(found, axis=1, keepdims=True)


def numbers(count: int) -> Corpus:
    return Corpus.of(Passage(f"p{n:05}", "number", str(n)) for n in range(count))


def test_of_20000_clustered_passages_nearly_all_of_the_ten_nearest_are_found(tmp_path: Path):
    pytest.importorskip("faiss")
    corpus, encoder = numbers(20_000), Clustered(20_000)
    exact = Dense(corpus, encoder, tmp_path)
    graph = Dense(corpus, encoder, tmp_path, exact=19_999, graph=Graph(beam=40))
    questions = [f"near {n}" for n in range(0, 20_000, 100)]
    wanted, found = exact.search(questions, 10), graph.search(questions, 10)
    shared = [len({*one} & {*other}) / 10 for one, other in zip(wanted, found, strict=True)]
    assert np.mean(shared) > 0.99
    assert np.mean([one == other for one, other in zip(wanted, found, strict=True)]) > 0.95
    assert exact.name == "clustered"
    assert graph.name == "clustered+hnsw(32,40,200)"


def test_a_graph_is_the_same_every_time_and_is_mapped_from_the_cache(tmp_path: Path):
    pytest.importorskip("faiss")
    corpus, encoder = numbers(1500), Clustered(1500)
    one, again = (Dense(corpus, encoder, tmp_path / n, exact=1000) for n in ("one", "again"))
    questions = ["near 7", "near 1499"]
    found = one.search(questions, 5)
    assert again.search(questions, 5) == found
    [kept], [other] = ((tmp_path / n).glob("hnsw-*/graph.faiss") for n in ("one", "again"))
    assert kept.read_bytes() == other.read_bytes()
    made = kept.stat().st_mtime_ns
    assert replace(one).search(questions, 5) == found
    assert kept.stat().st_mtime_ns == made, "opened, not built again"
    wide = replace(one, graph=Graph(links=16)).search(questions, 5)
    assert len(list((tmp_path / "one").glob("hnsw-*/graph.faiss"))) == 2
    assert wide == found


def test_equal_passages_of_a_large_corpus_stand_in_the_order_of_ids(tmp_path: Path):
    pytest.importorskip("faiss")
    encoder = Clustered(40)
    corpus = Corpus.of(Passage(f"p{n:03}", "number", str(n % 40)) for n in range(199, -1, -1))
    large = Dense(corpus, encoder, tmp_path, exact=10)
    assert large.search(["number 3"], 5) == [["p003", "p043", "p083", "p123", "p163"]]
    assert len(large.search(["number 3"], 500)[0]) > 190, "no more than there are, and each once"


def test_a_small_corpus_needs_no_graph_and_a_large_one_says_what_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setitem(sys.modules, "faiss", None)
    corpus, encoder = numbers(50), Clustered(50)
    assert Dense(corpus, encoder, tmp_path).search(["number 3"], 1) == [["p00003"]]
    assert Dense(corpus, encoder, tmp_path, exact=50).name == "clustered"
    assert EXACT == 100_000
    with pytest.raises(MissingExtra, match=r"grpo-harness\[retrieval\]"):
        Dense(corpus, encoder, tmp_path, exact=49).search(["number 3"], 1)
