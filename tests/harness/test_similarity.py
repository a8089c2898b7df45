"""Similarities against worked numbers and other implementations; agreement of sets by hand."""

from __future__ import annotations

import math
import random
from itertools import combinations

import pytest

from harness.similarity import (
    SIMILARITIES,
    agreement,
    bleu,
    certainty,
    entropy,
    exact,
    jaccard,
    like,
    matrix,
    mean_pairwise,
    normalized,
    rouge_l,
    token_f1,
)

SETS = ([1, 2, 3, 4, 5], [1, 2, 3, 6, 7], [1, 2, 8, 9, 10])
ROWS = [
    ["the capital is paris", "paris france"],
    ["the capital is paris", "it is lyon"],
    ["capital is paris", "the capital is lyon"],
]
FILMS = ["shawn levy", "Shawn Levy directed it", "Ryan Reynolds"]
WORDS = "the a capital of france is paris lyon city in big not".split()


def texts(count: int, seed: int = 0) -> list[str]:
    draw = random.Random(seed)
    return [" ".join(draw.choices(WORDS, k=draw.randint(1, 9))) for _ in range(count)]


# ---- worked numbers


def test_normalization_is_that_of_squad():
    assert normalized("The  Cat's pyjamas, an A-team!") == "cats pyjamas ateam"
    assert token_f1("the 44th President Barack Obama", "Barack Obama") == pytest.approx(2 / 3)
    assert token_f1("yes", "yes it is") == 0
    assert token_f1("Yes.", "yes") == 1


def test_the_three_answers_of_the_films():
    pairs = [token_f1(a, b) for a, b in combinations(FILMS, 2)]
    assert pairs == pytest.approx([0.666667, 0, 0], abs=1e-6)
    assert mean_pairwise(FILMS, token_f1) == pytest.approx(0.222222, abs=1e-6)
    rewards = agreement([[text] for text in FILMS], token_f1)
    assert [row[0] for row in rewards] == pytest.approx([0.333333, 0.333333, 0], abs=1e-6)
    assert mean_pairwise(FILMS, exact) == 0
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
    assert mean_pairwise(answers, SIMILARITIES["bleu2"]) == pytest.approx(0.609965, abs=1e-6)


def test_jaccard_of_retrieved_sets():
    found = [jaccard(a, b) for a, b in combinations(SETS, 2)]
    assert found == pytest.approx([0.428571, 0.25, 0.25], abs=1e-6)
    assert math.fsum(found) / 3 == pytest.approx(0.309524, abs=1e-6)


def test_entropy_of_answer_classes():
    assert entropy("AAAB") == pytest.approx(0.562335, abs=1e-6)
    assert 1 - certainty("AAAB") == pytest.approx(0.405639, abs=1e-6)
    assert certainty("A") == certainty("AAAA") == 1
    assert certainty("ABCD") == pytest.approx(0)


# ---- independent implementations


def test_bleu_is_sacrebleus():
    sacrebleu = pytest.importorskip("sacrebleu")
    words = texts(60)
    for a, b in combinations(words[:25], 2):
        theirs = sacrebleu.sentence_bleu(a, [b], lowercase=True, smooth_method="exp").score
        assert 100 * bleu(a, b, 4, "exp") == pytest.approx(theirs, abs=1e-6)


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
    assert matrix([None, "b", "B"], exact) == [[0, 0, 0], [0, 1, 1], [0, 1, 1]]


def test_answers_to_the_same_prompt_do_not_count():
    alone = agreement([["a", "a"], ["b", "c"]], exact)
    assert alone == [[0, 0], [0, 0]]


def test_a_set_of_one_agrees_with_nobody():
    assert agreement([["a", "a"]], exact) == [[0, 0]]
    assert agreement([], exact) == []
    assert mean_pairwise(["a"], exact) == 0


def test_agreement_follows_its_answers_when_rows_are_permuted():
    rows = [texts(3, seed) for seed in range(5)]
    found = agreement(rows, token_f1)
    turned = agreement(rows[::-1], token_f1)[::-1]
    for one, other in zip(found, turned, strict=True):
        assert one == pytest.approx(other)
