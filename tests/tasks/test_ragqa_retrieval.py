"""Corpora, BM25, dense vectors and fusion: right by hand, the same from the cache, bad input."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from harness import caches
from harness.errors import DataError
from tasks.ragqa_retrieval import lexical
from tasks.ragqa_retrieval.corpus import Corpus, Passage, best, chunked, passages_digest
from tasks.ragqa_retrieval.dense import Dense
from tasks.ragqa_retrieval.fusion import Fused, fused
from tasks.ragqa_retrieval.lexical import BM25, Index, stems

pytest.importorskip("bm25s")

ANIMALS = Corpus.of(
    [
        Passage("p3", "Cats", "Cats sleep and hunt mice in the barn."),
        Passage("p1", "Dogs", "Dogs guard the house and hunt with people."),
        Passage("p2", "Mice", "Mice eat grain and fear cats."),
        Passage("p0", "Dogs", "Dogs guard the house and hunt with people."),
    ]
)


class Letters:
    """Texts to counts of letters."""

    name, width = "letters", 26

    def __init__(self) -> None:
        self.calls = 0

    def encode(self, texts: Sequence[str]) -> np.ndarray:
        self.calls += len(texts)
        counts = np.array([[t.lower().count(chr(97 + n)) + 1e-3 for n in range(26)] for t in texts])
        return (counts / np.linalg.norm(counts, axis=1, keepdims=True)).astype(np.float32)


# ---- ranking


def test_the_passage_that_holds_the_words_comes_first():
    found = BM25(ANIMALS).search(["who hunts mice?", "what do mice eat"], 2)
    assert [ids[0] for ids in found] == ["p3", "p2"]


def test_equal_scores_stand_in_the_order_of_ids():
    assert BM25(ANIMALS).search(["dogs"], 4) == [["p0", "p1", "p2", "p3"]]
    assert (
        BM25(ANIMALS).search(["nothing of this is here: xyzzy", ""], 3) == [["p0", "p1", "p2"]] * 2
    )


def test_best_is_a_stable_sort():
    rng = np.random.default_rng(0)
    for size in (1, 7, 60):
        scores = rng.integers(0, 4, size).astype(np.float32)
        rank = rng.permutation(size)
        whole = sorted(range(size), key=lambda row: (-scores[row], rank[row]))
        for k in (0, 1, 3, size, size + 5):
            assert best(scores, rank, k).tolist() == whole[:k]


def test_fewer_passages_than_asked_for_are_all_there_are():
    for retriever in (BM25(ANIMALS), BM25(ANIMALS, ties="library")):
        assert sorted(retriever.search(["cats"], 50)[0]) == ["p0", "p1", "p2", "p3"]


def test_scores_are_those_of_the_formula():
    """lucene: idf ln(1 + (N - n + 0.5) / (n + 0.5)), tf / (tf + k1 (1 - b + b l / mean l))."""
    index = Index.build(ANIMALS.passages)
    lengths = [len(stems(p.whole)) for p in ANIMALS.passages]
    words = [stems(p.whole) for p in ANIMALS.passages]
    holding = sum("cat" in each for each in words)
    idf = np.log(1 + (4 - holding + 0.5) / (holding + 0.5))
    expected = []
    for each, length in zip(words, lengths, strict=True):
        tf = each.count("cat")
        norm = 1.2 * (1 - 0.75 + 0.75 * length / np.mean(lengths))
        expected.append(idf * tf / (tf + norm))
    assert index.scores(index.known("cats")) == pytest.approx(expected, abs=1e-6)


def test_tokens_are_the_librarys():
    import bm25s
    import Stemmer

    texts = ["The Quick, brown foxes; isn't I a Zürich-based 2nd x y_z?", "", "of the"]
    theirs = bm25s.tokenize(
        texts,
        stopwords="en",
        stemmer=Stemmer.Stemmer("english"),
        return_ids=False,
        show_progress=False,
    )
    assert [stems(text) for text in texts] == theirs


def test_fusion_by_hand():
    # 1/61 + 1/62, 1/62 + 1/61: equal, so by id; c: 1/63 + 1/63; d: 1/64
    assert fused([["b", "a", "c"], ["a", "b", "c", "d"]]) == ["a", "b", "c", "d"]
    assert fused([["x"], ["y"]]) == ["x", "y"]
    both = Fused((BM25(ANIMALS), Dense(ANIMALS, Letters(), cache=None)), depth=4)
    assert both.name == "rrf(bm25, letters)"


@pytest.mark.parametrize("ties", ["id", "library"])
def test_hits_share_a_word_with_the_question_and_rank_as_the_search_does(ties: lexical.Ties):
    retriever = BM25(ANIMALS, ties)
    for question, count in (("cats", 2), ("dogs hunt", 3), ("zzz", 0), ("", 0)):
        [hits], [all_four] = retriever.hits([question], 4), retriever.search([question], 4)
        assert hits == all_four[:count]
        assert len(all_four) == 4
        assert retriever.hits([question], 1) == [hits[:1]]


def test_what_shares_no_word_with_the_question_gets_nothing_from_fusion(tmp_path: Path):
    """BM25 gives its first ids where nothing matches; the other ranking alone decides then."""
    dense = Dense(ANIMALS, Letters(), cache=tmp_path)
    both = Fused((BM25(ANIMALS), dense), depth=4)
    assert both.search(["zzz"], 4) == dense.search(["zzz"], 4)
    [grain] = both.search(["fjord grain"], 4)  # p2 alone holds it
    [other] = dense.search(["fjord grain"], 4)
    assert grain == ["p2", *(id for id in other if id != "p2")]
    assert Fused((BM25(ANIMALS),)).search(["zzz", "grain"], 4) == [[], ["p2"]]


# ---- the cache


def big(count: int = lexical.SMALL + 1) -> Corpus:
    return Corpus.of(
        Passage(f"p{n:06}", f"Title {n}", f"word{n} shared thing{n % 7}") for n in range(count)
    )


def test_a_large_corpus_is_mapped_from_the_cache_and_ranks_the_same(tmp_path: Path):
    corpus = big()
    questions = ["word17 thing3", "shared", "thing6 title"]
    first = BM25(corpus, cache=tmp_path).search(questions, 5)
    assert [path.name.partition("-")[0] for path in tmp_path.iterdir() if path.is_dir()] == ["bm25"]
    mapped = Index.cached(corpus.passages, corpus.digest, tmp_path)
    assert isinstance(mapped.inner.scores["data"], np.memmap)
    assert BM25(corpus, cache=tmp_path).search(questions, 5) == first
    built = Index.build(corpus.passages)
    for question in questions:
        assert np.array_equal(
            built.scores(built.known(question)), mapped.scores(mapped.known(question))
        )


def test_an_index_whose_files_changed_is_made_again(tmp_path: Path):
    corpus = big()
    BM25(corpus, cache=tmp_path).search(["x"], 1)
    [folder] = [path for path in tmp_path.iterdir() if path.is_dir()]
    words = folder / "words.json"
    whole = words.read_text("utf-8")
    words.write_text(whole[: len(whole) // 2], "utf-8")
    assert BM25(corpus, cache=tmp_path).search(["word5"], 1) == [["p000005"]]
    assert words.read_text("utf-8") == whole
    (folder / caches.RECEIPT).unlink()
    assert BM25(corpus, cache=tmp_path).search(["word5"], 1) == [["p000005"]]


def test_another_corpus_has_another_index(tmp_path: Path):
    one, other = big(), Corpus.of([*big().passages[:-1], Passage("new", "New", "new")])
    assert one.digest != other.digest
    for corpus in (one, other):
        BM25(corpus, cache=tmp_path).search(["new"], 1)
    assert len([path for path in tmp_path.iterdir() if path.is_dir()]) == 2


def test_digests_tell_fields_apart():
    a = passages_digest([Passage("a", "bc", "d")])
    assert a != passages_digest([Passage("ab", "c", "d")])
    assert a == passages_digest([Passage("a", "bc", "d")])


def test_vectors_are_encoded_once_and_a_killed_encoding_goes_on(tmp_path: Path):
    corpus = big(2500)
    encoder = Letters()

    class Killed(Letters):
        def encode(self, texts: Sequence[str]) -> np.ndarray:
            if self.calls >= 1024:
                raise KeyboardInterrupt
            return super().encode(texts)

    with pytest.raises(KeyboardInterrupt):
        _ = Dense(corpus, Killed(), tmp_path).vectors
    vectors = Dense(corpus, encoder, tmp_path).vectors
    assert encoder.calls == 2500 - 1024
    assert np.array_equal(vectors, Letters().encode([p.whole for p in corpus.passages]))
    assert isinstance(Dense(corpus, encoder, tmp_path).vectors, np.memmap)
    assert encoder.calls == 2500 - 1024
    assert not list(tmp_path.glob("parts-*"))


def test_dense_ranks_by_cosine(tmp_path: Path):
    dense = Dense(ANIMALS, Letters(), tmp_path)
    asked = Letters().encode(["cats"])[0]
    cosines = Letters().encode([p.whole for p in ANIMALS.passages]) @ asked
    ids = [p.id for p in ANIMALS.passages]
    order = sorted(range(4), key=lambda n: (-cosines[n], ids[n]))
    assert dense.search(["cats"], 3) == [[ids[n] for n in order[:3]]]


@pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="the superuser may write anywhere")
def test_a_cache_that_cannot_be_written_is_told(tmp_path: Path):
    tmp_path.chmod(0o500)
    with pytest.raises(DataError, match="cannot be written"):
        caches.made("x", {"a": 1}, lambda folder: None, tmp_path / "sub")


def test_a_maker_that_fails_leaves_nothing_behind(tmp_path: Path):
    def broken(folder: Path) -> None:
        (folder / "half").write_text("half", "utf-8")
        raise RuntimeError("no")

    with pytest.raises(RuntimeError):
        caches.made("x", {"a": 1}, broken, tmp_path)
    assert [path.suffix for path in tmp_path.iterdir()] == [".lock"]
    made = caches.made("x", {"a": 1}, lambda f: (f / "y").touch(), tmp_path)
    assert json.loads((made / caches.RECEIPT).read_text("utf-8"))["of"] == {"a": "1"}


# ---- bad input


def test_an_empty_corpus_is_refused():
    with pytest.raises(DataError, match="is empty"):
        Corpus.of([])


def test_ids_that_come_twice_are_refused():
    with pytest.raises(DataError, match=r"1 ids more than once, such as a"):
        Corpus.of([Passage("a", "", "x"), Passage("a", "", "y"), Passage("b", "", "z")])


def test_a_gold_passage_that_is_unknown_is_refused():
    with pytest.raises(DataError, match=r"names 1 passages .* such as nowhere"):
        ANIMALS.check_known(["p1", "nowhere"], "the questions")


def test_a_passage_of_5_megabytes_is_indexed_and_found():
    huge = Passage("huge", "Huge", "needle " + "straw " * 850_000)
    found = BM25(Corpus.of([*ANIMALS.passages, huge])).search(["a needle"], 1)
    assert found == [["huge"]]


@pytest.mark.parametrize("text", ["", "the of and", "\u0000", "?!", "\ud800"])
def test_passages_and_questions_without_words_are_no_error(text: str):
    corpus = Corpus.of([Passage("a", text, text), Passage("b", "", text)])
    for ties in ("id", "library"):
        assert len(BM25(corpus, ties).search([text, "cats"], 2)[0]) == 2
    assert BM25(corpus).search([text], 2) == [["a", "b"]]


def test_windows_overlap_and_cover_all_words():
    words = [f"w{n}" for n in range(250)]
    long, short = Passage("p", "T", " ".join(words)), Passage("q", "S", "a b")
    *windows, last = chunked([long, short], words=100, overlap=20)
    assert last is short
    assert [w.id for w in windows] == ["p#0", "p#1", "p#2"]
    assert windows[0].text.split()[-20:] == windows[1].text.split()[:20]
    assert {each for w in windows for each in w.text.split()} == set(words)
    with pytest.raises(DataError, match="cannot share"):
        list(chunked([long], words=10, overlap=10))
