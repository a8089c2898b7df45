"""Scenarios that are answered with a literal: test-output prediction and code execution.

LiveCodeBench evaluates the model's text, or runs `assert output == text`. Here both sides are
parsed as literals and compared, so nothing of a reply is ever run.
"""

from __future__ import annotations

import ast
import json
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from harness import Completion, Example, Verdict
from harness.reading import after_thinking, tagged

LONGEST = 20_000
"""Characters of an answer that is parsed."""


@dataclass(frozen=True)
class Literal:
    """A value that was read."""

    value: Any


def literal(text: object) -> Literal | None:
    """The literal that a text is; None where it is none."""
    if not isinstance(text, str) or not text.strip() or len(text) > LONGEST:
        return None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return Literal(ast.literal_eval(text.strip()))
    except (ValueError, SyntaxError, MemoryError, RecursionError, TypeError):
        return None


def json_literal(text: object) -> Literal | None:
    """The JSON value that a stored answer is, or else its literal."""
    try:
        return Literal(json.loads(str(text)))
    except (ValueError, RecursionError):
        return literal(text)


def plain(text: object) -> str:
    """A stored answer as a Python literal; the text itself where it is none."""
    found = json_literal(text)
    return str(text) if found is None else repr(found.value)


def same(one: Literal, other: Literal) -> bool:
    """Python's `==`; a tuple where a list is stored is as good, at the top."""
    try:
        value = list(other.value) if isinstance(one.value, list) else other.value
        return bool(one.value == value)
    except (TypeError, ValueError, RecursionError):
        return False


def predicted(output: str) -> str | None:
    """What the last `assert f(...) == ` of a reply is held equal to; without one, its last line."""
    lines = [line.strip().strip("`") for line in output.splitlines()]
    asserts = [line for line in lines if line.startswith("assert") and "==" in line]
    if asserts:
        return _equal_to(asserts[-1].removeprefix("assert").strip())
    rest = [line for line in lines if line and line.lower() != "python"]
    return rest[-1].rpartition("==")[2].strip() if rest else None


def executed(output: str) -> str | None:
    """What stands between the last [ANSWER] and [/ANSWER], behind `==` where there is one."""
    inside = tagged(
        output.replace("[ANSWER]", "<ANSWER>").replace("[/ANSWER]", "</ANSWER>"), "ANSWER"
    )
    if inside is None:
        return predicted(output)
    return _equal_to(inside.strip().removeprefix("assert").strip())


def _equal_to(text: str) -> str:
    """The right side of an equation, found by the parser; the text itself where it is none."""
    if len(text) > LONGEST:
        return text
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            tree = ast.parse(text, mode="eval").body
    except (SyntaxError, ValueError, MemoryError, RecursionError):
        return text.rpartition("==")[2].strip() or text
    if isinstance(tree, ast.Compare) and len(tree.ops) == 1 and isinstance(tree.ops[0], ast.Eq):
        return ast.get_source_segment(text, tree.comparators[0]) or text
    return text


def verify(
    example: Example,
    completion: Completion,
    read: Callable[[str], str | None],
    tags: Callable[[Example], dict[str, float]],
) -> Verdict:
    """The verdict on a reply that holds a literal."""
    told = tags(example)
    said = after_thinking(completion.output) if isinstance(completion.output, str) else None
    text = read(said[-LONGEST:]) if said is not None else None
    if text is None or not text.strip():
        reason = "truncated" if completion.stopped == "budget" else "no_answer"
        return Verdict({"correct": 0.0, **told}, None, reason, "no answer was found")
    found, wanted = literal(text), json_literal(example.target)
    if found is None or wanted is None:
        note = "the answer is no literal"
        return Verdict({"correct": 0.0, **told}, text[:1000], "bad_format", note)
    right = same(wanted, found)
    note = "" if right else f"expected {str(example.target)[:200]}"
    return Verdict({"correct": float(right), **told}, text[:1000], "ok" if right else "wrong", note)
