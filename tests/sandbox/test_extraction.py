from __future__ import annotations

import time

import pytest

from sandbox.errors import BadProgram
from sandbox.extraction import RULES, extract

TWO = "First:\n```python\na = 1\n```\nthen the output\n```\n42\n```\n"


@pytest.mark.parametrize(
    ("rule", "reply", "program"),
    [
        ("last_closed_fence", TWO, "a = 1\n"),
        ("last_closed_fence", "```py\nb\n```", "b\n"),
        ("last_closed_fence", "```\nc\n```", "c\n"),
        ("last_closed_fence", "```python\na\n```\n```python\nb\n", "a\n"),
        ("last_closed_fence", "```python\nhalf\n```python\nwhole\n```", "whole\n"),
        ("last_closed_fence", "~~~python\na\n~~~", "a\n"),
        ("last_closed_fence", "```python\n```", None),
        ("last_closed_fence", "print(1)", None),
        ("fence_or_all", "print(1)", "print(1)"),
        ("fence_or_all", TWO, "a = 1\n"),
        ("whole_reply", TWO, TWO),
        ("livecodebench", TWO, "42"),
        ("livecodebench", "```python\na\n```\nprose\n```", "prose"),
        ("livecodebench", "```python\na", None),
        ("open_r1", TWO, "a = 1\n"),
        ("open_r1", "```python\na\n```\n```python\nb", "a\n"),
        ("open_r1", "```\na\n```", None),
        ("verl", "x ```python\na\n``` y", "\na\n"),
        ("verl", "```python\na", "\na"),
        ("verl", "a", None),
        ("evalplus", "Sure, here it is:\nx = 1\ny = 2\nI hope this helps you!", "x = 1\ny = 2"),
        ("evalplus", "no program to be found, sorry!", None),
    ],
)
def test_each_rule(rule: str, reply: str, program: str | None) -> None:
    assert extract(reply, rule) == program


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("reply", [None, 3, b"x", "", "```", "\n" * 9, float("nan")], ids=repr)
def test_no_reply_makes_a_rule_raise(rule: str, reply: object) -> None:
    assert extract(reply, rule) is None or rule in ("whole_reply", "fence_or_all")


@pytest.mark.parametrize("rule", [rule for rule in RULES if rule != "evalplus"])
@pytest.mark.parametrize("piece", ["```python\n", "```", "`" * 9 + "\n", "~~~\n", "```py x\n```\n"])
def test_rules_take_time_linear_in_the_reply(rule: str, piece: str) -> None:
    begin = time.process_time()
    extract(piece * (400_000 // len(piece)), rule)
    assert time.process_time() - begin < 20  # quadratic rules take many minutes


def test_an_unknown_rule_is_an_error_that_names_the_known_ones() -> None:
    with pytest.raises(BadProgram, match="last_closed_fence"):
        extract("", "best")
