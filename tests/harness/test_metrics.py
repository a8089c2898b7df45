"""Metrics against worked numbers, exact fractions and brute force over subsets."""

import itertools
import json
import math
import os
import subprocess
import sys
from fractions import Fraction
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness import metrics as m
from harness import voting
from harness.errors import UsageError
from harness.intervals import estimate, per_example
from harness.types import Verdict

DATA = os.environ.get("HARNESS_DATA")


def row(correct, answers=None, reason="ok", **scores):
    answers = answers or [None] * len(correct)
    return [
        Verdict({"correct": float(c), **scores}, answer=a, reason=reason)
        for c, a in zip(correct, answers, strict=True)
    ]


@pytest.mark.parametrize(
    ("n", "c", "k", "value"),
    [(10, 3, 1, 0.3), (10, 3, 5, 0.916667), (16, 1, 8, 0.5), (64, 5, 16, 0.775421), (8, 7, 2, 1)],
)
def test_pass_at_k_by_hand(n, c, k, value):
    assert m.pass_at_k(n, c, k) == pytest.approx(value, abs=1e-6)


@given(st.integers(1, 200), st.data())
def test_pass_at_k_is_the_exact_fraction(n, data):
    c, k = data.draw(st.integers(0, n)), data.draw(st.integers(1, n))
    exact = 1 - Fraction(math.comb(n - c, k), math.comb(n, k))
    assert m.pass_at_k(n, c, k) == pytest.approx(float(exact), abs=1e-12)
    assert m.g_pass_at_k(n, c, k, 0.0) == pytest.approx(float(exact), abs=1e-12)
    assert m.g_pass_at_k(n, c, k, 1.0) == pytest.approx(m.pass_all_at_k(n, c, k), abs=1e-12)


def test_g_pass_by_hand():
    found = [m.g_pass_at_k(16, 12, 4, tau) for tau in (0.25, 0.5, 0.75, 1.0)]
    assert found == pytest.approx([0.999451, 0.973077, 0.755495, 0.271978], abs=1e-6)
    assert m.mg_pass_at_k(16, 12, 4) == pytest.approx(0.513736, abs=1e-6)
    assert m.mg_pass_at_k(16, 16, 4) == 1


def test_thresholds_of_g_pass_are_not_raised_by_rounding():
    assert math.ceil((0.1 + 0.2) * 10) == 4
    exact = sum(math.comb(12, j) * math.comb(8, 10 - j) for j in range(3, 11)) / math.comb(20, 10)
    assert m.g_pass_at_k(20, 12, 10, 0.1 + 0.2) == pytest.approx(exact)


@pytest.mark.parametrize(
    "ask",
    [
        lambda: m.pass_at_k(4, 2, 8),
        lambda: m.pass_all_at_k(4, 2, 8),
        lambda: m.g_pass_at_k(4, 2, 8, 0.5),
        lambda: m.mg_pass_at_k(4, 2, 8),
        lambda: m.maj_at_k([2], [1.0], 4, 8),
        lambda: estimate(m.pass_at(8), [row([1, 0, 1, 1])]),
        lambda: estimate(m.maj_at(8), [row([1] * 8), row([1])]),
    ],
)
def test_fewer_rollouts_than_k_are_refused_with_what_to_pass(ask):
    with pytest.raises(UsageError, match="--rollouts 8"):
        ask()


def test_mg_pass_needs_two():
    for ask in (lambda: m.mg_pass_at(1), lambda: m.mg_pass_at_k(4, 2, 1)):
        with pytest.raises(UsageError, match="at least 2"):
            ask()


def test_mean_of_pass_at_k_over_examples():
    rows = [row([1] * c + [0] * (10 - c)) for c in (3, 0, 10, 1)]
    assert estimate(m.pass_at(5), rows).value == pytest.approx(0.604167, abs=1e-6)


@pytest.mark.parametrize(
    ("answers", "gold", "k", "value"),
    [
        ("AABC", "A", 4, 1.0),
        ("AABC", "A", 3, 2 / 3),
        ("5775", "5", 4, 0.5),
        ([None, None, "5"], "5", 3, 1.0),
        ([None, None, None], "5", 3, 0.0),
        ([None, "5", "7", "7"], "5", 1, 0.25),
    ],
)
def test_majority_by_hand(answers, gold, k, value):
    verdicts = row([a == gold for a in answers], answers)
    assert m.maj_at(k).each(verdicts) == pytest.approx(value)


@given(st.lists(st.sampled_from([None, "a", "b", "c", "d"]), min_size=1, max_size=8), st.data())
def test_majority_is_the_mean_over_all_subsets(answers, data):
    k = data.draw(st.integers(1, len(answers)))

    def credit(subset):
        votes = {a: subset.count(a) for a in subset if a is not None}
        best = [a for a in votes if votes[a] == max(votes.values())]
        return Fraction(int("a" in best), len(best)) if best else Fraction(0)

    subsets = list(itertools.combinations(answers, k))
    exact = sum(map(credit, subsets)) / len(subsets)
    verdicts = row([a == "a" for a in answers], answers)
    assert m.maj_at(k).each(verdicts) == pytest.approx(float(exact))


def test_drawn_subsets_agree_with_the_exact_vote():
    exact = voting._credit(20, (5, 18, 30), 100, 33)
    assert voting._drawn(20, (5, 18, 30), 100, 33) == pytest.approx(exact, abs=0.04)
    assert 0 < m.maj_at_k([120, 90, 40], [1, 0, 0], 300, 20) < 1


def test_answers_are_the_same_by_chain_and_without_the_target():
    asked = []

    def same(a, b):
        asked.append((a, b))
        return abs(a - b) <= 1

    assert voting.clusters([1, 5, 3, 2], same) == [[0, 2, 3], [1]]
    assert all(isinstance(a, int) and isinstance(b, int) for a, b in asked)


def test_answers_that_cannot_be_compared_stand_alone():
    class Hostile:
        def __eq__(self, other):
            raise RuntimeError

    import numpy as np

    assert len(voting.clusters([Hostile(), Hostile(), np.ones(3), np.ones(3), "1", 1])) == 6


def test_plain_means_shares_and_ratios():
    rows = [row([1, 0], reason="truncated", tokens=4.0), row([0, 0], tokens=8.0)]
    assert estimate(m.mean("correct"), rows).value == 0.25
    assert estimate(m.avg_at(2), rows).value == 0.25
    assert estimate(m.share("truncated"), rows).value == 0.5
    assert estimate(m.mean_steps("tokens"), rows).value == 6
    assert estimate(m.mean_steps("tokens", where="correct"), rows).value == 4
    found = estimate(m.ratio("correct", "tokens"), rows)
    assert found.value == pytest.approx(1 / 24)
    assert found.low < found.value < found.high
    assert math.isnan(estimate(m.ratio("correct", "correct"), [row([0])]).value)


def test_rows_may_be_ragged():
    found = per_example(m.pass_at(2), [row([1, 0]), row([1, 0, 0, 0])])
    assert found.tolist() == pytest.approx([1.0, 0.5])


def test_scores_that_are_missing_or_no_numbers_are_named():
    with pytest.raises(UsageError, match=r"'close'.*correct"):
        m.mean("close").each(row([1]))
    with pytest.raises(UsageError, match="NaN"):
        m.mean("correct").each(row([math.nan]))


def test_names_are_the_fields():
    made = [m.pass_at(4), m.pass_all_at(4), m.avg_at(4), m.maj_at(4), m.mg_pass_at(4)]
    made += [m.g_pass_at(4, 0.5), m.share("no_answer")]
    names = [metric.name for metric in made]
    assert names[:5] == ["pass@4", "pass^4", "avg@4", "maj@4", "mg-pass@4"]
    assert names[5:] == ["g-pass@4_0.5", "no_answer_share"]


def test_listing_does_not_pay_for_scipy():
    code = "import sys, harness.metrics, harness.intervals; assert 'scipy' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.skipif(not DATA, reason="HARNESS_DATA is not set")
def test_worked_examples_of_the_public_file():
    checked = 0
    for case in json.loads((Path(DATA or "") / "metric_examples.json").read_text()):
        name, given_, wanted = case["metric"], case["input"], case["expected"]
        if name in ("pass_at_k", "g_pass_at_k", "mg_pass_at_k"):
            if wanted is None:
                with pytest.raises(UsageError):
                    getattr(m, name)(**given_)
            else:
                assert getattr(m, name)(**given_) == pytest.approx(wanted, abs=1e-5)
        elif name == "pass_at_k_mean":
            rows = [row([1] * c + [0] * (given_["n"] - c)) for c in given_["c"]]
            assert estimate(m.pass_at(given_["k"]), rows).value == pytest.approx(wanted, abs=1e-5)
        elif name == "maj_at_k":
            answers = given_["answers"]
            verdicts = row([a == given_["gold"] for a in answers], answers)
            assert m.maj_at(given_["k"]).each(verdicts) == pytest.approx(wanted, abs=1e-5)
        elif name == "clustered_se":
            found = estimate(m.mean("correct"), [row([x]) for x in given_["problem_means"]])
            assert (found.value, found.se) == pytest.approx(tuple(wanted.values()), abs=1e-5)
        else:
            continue
        checked += 1
    assert checked == 20
