"""Reading an answer out of a completion, and the verdict about it."""

import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tasks.mathqa_verifier import equal, extract, forget, judge


@pytest.mark.parametrize(
    ("text", "answer", "rule"),
    [
        (r"so \boxed{5}", "5", "box"),
        (r"\boxed{5} #### 6", "5", "box"),
        ("a\n#### 6 ", "6", "hash"),
        (r"\boxed{5}<|im_end|>\boxed{6}", "5", "box"),
        ("#### 5\n\nHuman: and now?\n#### 6", "5", "hash"),
        (r"<think>\boxed{3}</think>#### 4", "4", "hash"),
    ],
)
def test_strict_reading_takes_boxes_then_hash_lines(text: str, answer: str, rule: str):
    found = extract(text, strict=True)
    assert (found.answer, found.rule, found.reason) == (answer, rule, "ok")


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("The answer is 12.", "12"),
        ("**Answer:** 12", "12"),
        ("The final answer is: $\\frac{1}{2}$, as said", r"\frac{1}{2}"),
        ("The answer is 3. No: the answer is 4.\nBye", "4"),
        ("Answer: 1,200 dollars", "1,200 dollars"),
        ("The answer is 3.5", "3.5"),
    ],
)
def test_lenient_reading_takes_the_last_clause(text: str, answer: str):
    assert extract(text, strict=True).answer is None
    assert extract(text, strict=False).answer == answer
    assert extract(text, strict=False).rule == "clause"


def test_the_last_number_counts_only_where_the_task_says_so():
    assert extract("so 5 and then 7 left", strict=False).answer is None
    found = extract("so 5 and then 7 left", strict=False, last_number=True)
    assert (found.answer, found.rule) == ("7", "last_number")
    assert extract("7", strict=True, last_number=True).answer is None


@pytest.mark.parametrize(
    ("text", "letter"),
    [
        ("The correct option is (B).", "(B)"),
        ("so the choice is B", "B"),
        ("The answer is **C**", "C"),
        ("the answer is a number", None),
        ("A, B, C and D are all plausible.", None),
    ],
)
def test_a_choice_is_read_from_its_clause(text: str, letter: str | None):
    assert extract(text, strict=False, choice=True).answer == letter


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (r"\boxed{}", "no_answer"),
        (r"\boxed{5", "no_answer"),
        (r"<think>\boxed{5}", "no_answer"),
        ("\\boxed{" + "9" * 2001 + "}", "no_answer"),
        ("\\boxed{" + "{" * 101 + "1" + "}" * 101 + "}", "no_answer"),
        ("\\boxed{" + "1+" * 501 + "1}", "no_answer"),
        ("\\boxed{\u0663}", "bad_format"),
        ("", "no_answer"),
    ],
)
def test_what_is_no_answer_is_not_compared(text: str, reason: str):
    verdict = judge("5", text)
    assert extract(text, strict=True).reason == reason
    assert set(verdict.scores.values()) == {0.0}
    assert verdict.reason == reason


def test_a_verdict_has_three_scores():
    right = judge("18", "9 * 2\n#### 18")
    assert right.scores == {"correct": 1.0, "lenient": 1.0, "earned": 1.0}
    assert (right.answer, right.reason) == ("18", "ok")
    loose = judge("18", "The answer is 18.")
    assert loose.scores == {"correct": 0.0, "lenient": 1.0, "earned": 0.0}
    assert (loose.answer, loose.reason) == ("18", "bad_format")
    hack = judge("(1,2)", r"\boxed{1<x<2}")
    assert hack.scores == {"correct": 1.0, "lenient": 1.0, "earned": 0.0}
    wrong = judge("18", r"\boxed{17}")
    assert (wrong.scores["correct"], wrong.reason, wrong.answer) == (0.0, "wrong", "17")
    assert "17" in wrong.note
    assert "18" in wrong.note
    assert "\n" not in wrong.note


def test_a_truncated_completion_says_so_unless_it_answered():
    assert judge("5", "well, let us", truncated=True).reason == "truncated"
    assert judge("5", r"\boxed{5} and", truncated=True).reason == "ok"
    assert judge("5", r"\boxed{6} and", truncated=True).reason == "wrong"


def test_several_golds_must_all_be_given_in_any_order():
    gold = ["$(1,1), (3,2)$"]
    assert judge(gold, r"\boxed{(3,2), (1,1)}").scores["correct"] == 1
    assert judge(gold, r"\boxed{(3,2)}").scores["correct"] == 0
    assert judge(["$69$", "$84$"], r"\boxed{84, 69}").scores["correct"] == 1
    assert judge(["$69$,$84$"], r"\boxed{69}").scores["correct"] == 0
    assert judge(["$69$,$84$"], r"\boxed{69,84,1}").scores["correct"] == 0


def test_a_tolerance_is_absolute():
    assert judge(["4.2"], r"\boxed{4.29}", tolerance=0.1).scores["correct"] == 1
    assert judge(["4.2"], r"\boxed{4.31}", tolerance=0.1).scores["correct"] == 0
    assert judge(["4.2", "7"], r"\boxed{7.05, 4.1}", tolerance=0.1).scores["correct"] == 1
    assert judge(["4.2"], r"\boxed{4.29}").scores["correct"] == 0
    assert judge([r"\sqrt{2}"], r"\boxed{1.5}", tolerance=0.1).scores["correct"] == 1


@pytest.mark.parametrize(
    "output",
    [None, b"\\boxed{5}", 5, float("nan"), float("inf"), [], {}, np.zeros(3), object(), "\ud800"],
    ids=lambda output: type(output).__name__,
)
def test_what_is_no_text_is_judged(output: object):
    assert judge("5", output).reason == "no_answer"


def test_a_remembered_verdict_depends_on_gold_and_mode():
    assert equal("(1,2)", "1<x<2")
    assert not equal("(1,2)", "1<x<2", training=True)
    assert not equal("(1,3)", "1<x<2")
    assert equal("(1,2)", "1<x<2")
    forget()
    assert not equal("(1,2)", "1<x<2", training=True)


FRAGMENTS = re.split(
    " ",
    r"\frac \sqrt \pm \text{ \{ \} \boxed{ \left( \right] \infty \cup \in \pi \sin \log \binom "
    r"\overline{ \begin{pmatrix} \end{pmatrix} \\ ^\circ \% \$ or and cm \sum_{k=1}^{ \lfloor "
    r"\rfloor",
)
TEX = st.lists(
    st.sampled_from([*"0123456789xyie+-*/^_=<>()[]{}|!,.;:%$&' \n\u0663", *FRAGMENTS]), max_size=24
).map("".join)


@given(gold=TEX, answer=TEX)
@settings(max_examples=300, deadline=None)
def test_nothing_raises_and_votes_have_no_order(gold: str, answer: str):
    assert equal(gold, answer) in (True, False)
    assert judge(gold, f"\\boxed{{{answer}}}", last_number=True, tolerance=0.1).reason != "crash"
    judge([gold, answer], answer, truncated=True)


@given(st.text(max_size=60))
@settings(max_examples=200, deadline=None)
def test_arbitrary_text_is_judged(text: str):
    assert judge("5", text, last_number=True).reason
    assert judge(text, text).scores.keys() == {"correct", "lenient", "earned"}
    equal(text, text)


NUMBERS = st.one_of(
    st.integers(-(10**30), 10**30).map(str),
    st.decimals(allow_nan=False, allow_infinity=False, places=4).map(lambda value: f"{value:f}"),
    st.tuples(st.integers(-999, 999), st.integers(1, 999)).map(
        lambda p: f"\\frac{{{p[0]}}}{{{p[1]}}}"
    ),
)


@given(NUMBERS)
def test_numbers_equal_themselves_however_they_are_written(number: str):
    for written in (number, f"${number}$", f" {number} .", f"x = {number}", f"\\text{{{number}}}"):
        assert equal(number, written), written
        assert judge(number, f"\\boxed{{{written}}}").scores["earned"] == 1


@given(st.integers(-(10**12), 10**12), st.integers(1, 1000))
def test_whole_numbers_equal_no_other(number: int, gap: int):
    assert not equal(str(number), str(number + gap))
    assert equal(str(number), f"{number:,}")
    assert equal(str(number), f"{number}.00")
