"""Similarities against worked numbers and other implementations; agreement of sets by hand."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from itertools import combinations

import pytest

from harness.similarity import (
    SIMILARITIES,
    agreement,
    bleu,
    entropy,
    exact,
    jaccard,
    like,
    normalized,
    rouge_l,
    token_f1,
    tokens_13a,
)

SETS = ([1, 2, 3, 4, 5], [1, 2, 3, 6, 7], [1, 2, 8, 9, 10])
ROWS = [
    ["the capital is paris", "paris france"],
    ["the capital is paris", "it is lyon"],
    ["capital is paris", "the capital is lyon"],
]
FILMS = ["shawn levy", "Shawn Levy directed it", "Ryan Reynolds"]
WORDS = "the a capital of france is paris lyon city in big not".split()


ODD = """
    1,000 1000 people 3.14 3, U.S. it's its O'Brien's don't 1990-95 well-known mid- (sic) [a] 50% $5
    a/b & &amp; &lt;b&gt; "quoted" 'said' one,two 7.Eleven what? Yes! é.g. Zürich,5
""".split()
"""Digits, apostrophes, marks within words."""
PAIR = ("1,000 people", "1000 people")


def texts(count: int, seed: int = 0, words: Sequence[str] = WORDS) -> list[str]:
    draw = random.Random(seed)
    return [" ".join(draw.choices(words, k=draw.randint(1, 9))) for _ in range(count)]


def pairwise(answers: list[str], similarity) -> float:
    """Mean over all pairs of one answer each: the mean of their agreements."""
    return math.fsum(value for [value] in agreement([[a] for a in answers], similarity)) / len(
        answers
    )


# ---- worked numbers


def test_normalization_is_that_of_squad():
    assert normalized("The  Cat's pyjamas, an A-team!") == "cats pyjamas ateam"
    assert token_f1("the 44th President Barack Obama", "Barack Obama") == pytest.approx(2 / 3)
    assert token_f1("yes", "yes it is") == 0
    assert token_f1("Yes.", "yes") == 1


def test_the_three_answers_of_the_films():
    pairs = [token_f1(a, b) for a, b in combinations(FILMS, 2)]
    assert pairs == pytest.approx([0.666667, 0, 0], abs=1e-6)
    assert pairwise(FILMS, token_f1) == pytest.approx(0.222222, abs=1e-6)
    rewards = agreement([[text] for text in FILMS], token_f1)
    assert [row[0] for row in rewards] == pytest.approx([0.333333, 0.333333, 0], abs=1e-6)
    assert pairwise(FILMS, exact) == 0
    assert rouge_l(FILMS[0], FILMS[1]) == pytest.approx(0.6667, abs=1e-4)


def test_bleu_is_not_symmetric_and_both_ways_are_averaged():
    a, b = FILMS[:2]
    assert 100 * bleu(a, b, 4, "exp") == pytest.approx(36.79, abs=0.005)
    assert 100 * bleu(b, a, 4, "exp") == pytest.approx(31.95, abs=0.005)
    assert SIMILARITIES["bleu4"](a, b) == pytest.approx((0.36788 + 0.31947) / 2, abs=1e-5)


def one_way(order: int):
    return lambda hypothesis, reference: bleu(hypothesis, reference, order)


@pytest.mark.parametrize(
    ("order", "expected"),
    [
        (1, [[0.687500, 0.121801], [0.687500, 0.262466], [0.524932, 0.500000]]),
        (2, [[0.603553, 0.000000], [0.603553, 0.103422], [0.358266, 0.455615]]),
    ],
)
def test_rewards_of_the_capital_with_the_first_text_as_hypothesis(order: int, expected):
    similarity = one_way(order)
    found = [
        [
            sum(similarity(one, other) for u in range(3) if u != i for other in ROWS[u]) / 4
            for one in ROWS[i]
        ]
        for i in range(3)
    ]
    for row, wanted in zip(found, expected, strict=True):
        assert row == pytest.approx(wanted, abs=1e-6)
    ours = agreement(ROWS, lambda a, b: (similarity(a, b) + similarity(b, a)) / 2)
    total = sum(map(sum, expected))
    assert sum(map(sum, ours)) == pytest.approx(total, abs=1e-5), "symmetrized: the same mean"


def test_end_to_end_consistency_of_the_capital():
    answers = ["the capital is paris", "capital is paris", "the capital is lyon"]
    assert pairwise(answers, SIMILARITIES["bleu2"]) == pytest.approx(0.609965, abs=1e-6)


def test_jaccard_of_retrieved_sets():
    found = [jaccard(a, b) for a, b in combinations(SETS, 2)]
    assert found == pytest.approx([0.428571, 0.25, 0.25], abs=1e-6)
    assert math.fsum(found) / 3 == pytest.approx(0.309524, abs=1e-6)


def test_entropy_of_answer_classes():
    assert entropy("AAAB") == pytest.approx(0.562335, abs=1e-6)
    assert entropy("AAAB") / math.log(4) == pytest.approx(0.405639, abs=1e-6)
    assert entropy("A") == entropy("AAAA") == entropy("") == 0
    assert entropy("ABCD") == pytest.approx(math.log(4))


# ---- independent implementations


def test_bleu_is_sacrebleus():
    sacrebleu = pytest.importorskip("sacrebleu")

    def theirs(a: str, b: str) -> float:
        return sacrebleu.sentence_bleu(a, [b], lowercase=True, smooth_method="exp").score / 100

    drawn = [*texts(8), *texts(12, seed=2, words=ODD), *PAIR]
    for a, b in combinations(drawn, 2):
        ours = SIMILARITIES["bleu4"](a, b)
        assert ours == pytest.approx((theirs(a, b) + theirs(b, a)) / 2, abs=1e-8)
    assert SIMILARITIES["bleu4"](*PAIR) == pytest.approx(0.5, abs=1e-3)


def test_tokens_are_those_of_mteval():
    tokenizer = pytest.importorskip("sacrebleu.tokenizers.tokenizer_13a").Tokenizer13a()
    strange = ["", " ", "-\n", "a-\nb\nc", "3-4", "x\u0000y", "&amp;quot;", "é,5.5.", "<Skipped> a"]
    for text in (*texts(200, seed=3, words=ODD), *strange):
        assert tokens_13a(text) == tokenizer(text.lower().rstrip()).split()


def test_rouge_l_is_googles():
    scorer = pytest.importorskip("rouge_score.rouge_scorer").RougeScorer(["rougeL"])
    for a, b in combinations(texts(25, seed=1), 2):
        assert rouge_l(a, b) == pytest.approx(scorer.score(a, b)["rougeL"].fmeasure, abs=1e-9)


# ---- laws


@pytest.mark.parametrize("name", SIMILARITIES)
def test_similarities_are_symmetric_bounded_and_defined(name: str):
    similarity = SIMILARITIES[name]
    odd = ["", " ", ".", "yes", "\u0000", "é" * 5, "x" * 100_000, *texts(10)]
    for a in odd:
        for b in odd:
            assert 0 <= similarity(a, b) <= 1 + 1e-12
            assert similarity(a, b) == similarity(b, a)
    for text in ("the big city of paris", *(t for t in texts(9) if len(t.split()) > 3)):
        assert similarity(text, text) == pytest.approx(1)


def test_what_was_not_said_is_like_nothing():
    assert like(None, None, exact) == 0
    rows = [[None, None], [None, "a"], ["a", None]]
    assert agreement(rows, exact) == [[0, 0], [0, 0.25], [0.25, 0]]
    assert agreement([[], ["a"], ["a"]], exact) == [[], [1], [1]]


def test_answers_to_the_same_prompt_do_not_count():
    alone = agreement([["a", "a"], ["b", "c"]], exact)
    assert alone == [[0, 0], [0, 0]]


def test_a_set_of_one_agrees_with_nobody():
    assert agreement([["a", "a"]], exact) == [[0, 0]]
    assert agreement([], exact) == []
    assert pairwise(["a"], exact) == 0


def test_agreement_follows_its_answers_when_rows_are_permuted():
    rows = [texts(3, seed) for seed in range(5)]
    found = agreement(rows, token_f1)
    turned = agreement(rows[::-1], token_f1)[::-1]
    for one, other in zip(found, turned, strict=True):
        assert one == pytest.approx(other)
