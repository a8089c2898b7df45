"""Reading answers out of text."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness import reading


@pytest.mark.parametrize(
    ("text", "inside"),
    [
        (r"so \boxed{5}.", "5"),
        (r"\boxed{\frac{3}{4}}", r"\frac{3}{4}"),
        (r"\boxed{3} then \boxed{5}", "5"),
        (r"\fbox{7}", "7"),
        (r"\boxed 42 apples", "42"),
        (r"\boxed{\{1,2\}}", r"\{1,2\}"),
        (r"\boxed{a \boxed{b}}", "b"),
        (r"\boxed{3} but \boxed{5", "3"),
        (r"\boxed{3} but \boxed", "3"),
        (r"\boxed{}", ""),
        (r"\boxed{3", None),
        (r"\boxed", None),
        (r"\boxedx{3}", None),
        ("no box", None),
    ],
)
def test_the_last_complete_box_counts(text: str, inside: str | None):
    assert reading.boxed(text) == inside


@pytest.mark.parametrize(
    ("text", "rest"),
    [
        ("plain", "plain"),
        ("<think>a</think> b", " b"),
        ("a</think> b", " b"),
        ("<think>a</think> b <think>c</think> d", " d"),
        ("<think>a", None),
        ("<think>a</think> b <think> c", None),
    ],
)
def test_only_what_follows_the_thinking_is_said(text: str, rest: str | None):
    assert reading.after_thinking(text) == rest


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("3 apples and 1,200.50 dollars.", "1,200.50"),
        ("it is -5", "-5"),
        ("12-5", "5"),
        ("f(x)-5", "5"),
        ("so 7,", "7"),
        ("between\n4\nand no more", "4"),
        (".5", ".5"),
        ("none", None),
        ("", None),
    ],
)
def test_the_last_number_has_its_sign_but_no_subtraction(text: str, number: str | None):
    assert reading.last_number(text) == number


def test_the_last_hash_line_counts_and_other_headings_do_not():
    assert reading.hash_line("#### 18\nno: #### $20 \nend") == "$20"
    assert reading.hash_line("##### 18\n### 4") is None
    assert reading.hash_line("####\n") is None


def test_text_ends_where_the_model_speaks_for_others():
    assert reading.before_runaway("a\n\nHuman: b") == "a"
    assert reading.before_runaway("a<|im_end|>\nb") == "a"
    assert reading.before_runaway("a\nUser: b") == "a"
    assert reading.before_runaway("Human: a") == "Human: a"


def test_normal_form_keeps_superscripts_and_fractions():
    assert (
        reading.normalized("x\u00b2 \u2212 3\u00bd \u00d7 \uff12")
        == r"x^{2} - 3\frac{1}{2} \times  2"
    )
    assert reading.normalized("10\u207b\u00b9\u00b2") == "10^{-12}"


def test_the_last_complete_tag_counts():
    assert reading.tagged("<a>1</a><a> 2 </a><a>3", "a") == "2"
    assert reading.tagged("<a>1", "a") is None
    assert reading.tagged("1</a>", "a") is None


def test_the_last_complete_code_block_counts():
    text = "```python\na = 1\n```\nand\n```python\nb = 2\n```\nthen\n```python\nc ="
    assert reading.code_block(text) == "b = 2\n"
    assert reading.code_block("```c\nint a;\n```", "python") is None
    assert reading.code_block("```\nx\n```", "python") == "x\n"
    assert reading.code_block("````\n```\n````") == "```\n"
    assert reading.code_block("```\n```") == ""
    assert reading.code_block("none") is None


HOSTILE = [
    r"\boxed{" * 30_000,
    r"\boxed" * 30_000,
    "{" * 200_000,
    r"\boxed{5}" * 20_000,
    "<think>" * 30_000,
    "#### " * 40_000,
    "1," * 100_000,
    "```a`\n" * 30_000,
    "```" + "a" * 200_000 + "`",
    "`" * 200_000,
    "-" * 200_000,
    "\n" * 200_000,
    "\ud800",
]


@pytest.mark.parametrize("text", HOSTILE, ids=lambda text: ascii(text[:12]))
def test_hostile_text_costs_linear_time(text: str):
    start = time.perf_counter()
    for read in (reading.boxed, reading.hash_line, reading.last_number, reading.after_thinking):
        read(text)
    reading.code_block(text)
    reading.tagged(text, "answer")
    reading.before_runaway(text)
    assert time.perf_counter() - start < 2


@given(st.text(alphabet=st.sampled_from(r"\boxed{}<think>/#`12,.-" + "\n é")))
def test_reading_never_raises(text: str):
    for read in (reading.boxed, reading.hash_line, reading.last_number, reading.after_thinking):
        read(text)
    reading.code_block(reading.normalized(text))


@given(st.from_regex(r"[a-z0-9+\\frac]{0,20}", fullmatch=True).filter(lambda s: "\\" not in s))
def test_what_is_boxed_is_read(inside: str):
    assert reading.boxed(f"so \\boxed{{{inside}}} done") == inside
