r"""Where the answer stands in a completion: box, `####` line, clause, last number."""

from __future__ import annotations

import re
from dataclasses import dataclass

from harness import reading

LONGEST = 2000
"""Characters of a cleaned answer; more is no answer."""
DEEPEST = 100
"""Levels of braces; more is no answer."""
MOST_OPERATORS = 500
"""Operators in an answer; more is no answer."""

_CLAUSE = re.compile(r"\banswer(?:\*\*)?\s*+(?:is\b\s*+:?|:|=)(?:\*\*)?\s*+(?=\S)", re.IGNORECASE)
_CHOICE_CLAUSE = re.compile(
    r"\b(?i:option|choice|answer)(?:\*\*)?\s*+(?i:is\b\s*+:?|:)[\s*$]*+"
    r"(\((?:\\text\w*\{)?[A-Ja-j]\}?\)|\\text\w*\{\(?[A-Ja-j]\)?\}|[A-J](?![\w']))"
)
_SENTENCE_END = re.compile(r"[.!?;](?=\s|$)|,\s+(?=[a-z]{2,}\b)|\*\*")
_DELIMITED = re.compile(r"\s*(?:\$\$?([^$]+)\$\$?|\\\((.+?)\\\)|\\\[(.+?)\\\])")
_OPERATOR = re.compile(r"[-+*/^_=<>!|]|\\(?:frac|[dt]frac|sqrt|cdot|times|div|pm|mp|le|ge|binom)\b")


@dataclass(frozen=True)
class Extraction:
    """An answer read out of a completion, or why there is none."""

    answer: str | None
    rule: str = ""
    """Which rule found it: `box`, `hash`, `clause`, `last_number`; empty if none did."""
    reason: str = "ok"
    """`ok`, `no_answer` or `bad_format`."""


NOTHING = Extraction(None, "", "no_answer")


def extract(
    text: object, *, strict: bool, last_number: bool = False, choice: bool = False
) -> Extraction:
    """The answer in a completion.

    Strict reads boxes and `####` lines only; lenient also reads "the answer is ..." clauses (for
    `choice` golds "the option is (B)") and, where `last_number` says so, the last number.
    """
    told = spoken(text)
    return NOTHING if told is None else found_in(told, strict, last_number, choice)


def spoken(text: object) -> str | None:
    """What the model said itself, after its thinking; None if that never came, or is no text."""
    if not isinstance(text, str):
        return None
    return reading.after_thinking(reading.before_runaway(reading.normalized(text)))


def found_in(told: str, strict: bool, last_number: bool, choice: bool) -> Extraction:
    """The answer in what a model said: `extract` after `spoken`."""
    answer, rule = reading.boxed(told), "box"
    if answer is None:
        answer, rule = reading.hash_line(told), "hash"
    if answer is None and not strict:
        answer, rule = _clause(told, choice), "clause"
        if answer is None and last_number:
            answer, rule = reading.last_number(told), "last_number"
    return NOTHING if answer is None else admitted(answer, rule)


def _clause(told: str, choice: bool) -> str | None:
    if choice:
        letter: str | None = None
        for found in _CHOICE_CLAUSE.finditer(told):
            letter = found[1]
        return letter
    start = -1
    for found in _CLAUSE.finditer(told):
        start = found.end()
    if start < 0:
        return None
    clause = told[start : start + 4 * LONGEST].partition("\n")[0]
    math = _DELIMITED.match(clause)
    if math is not None:
        return next(part for part in math.groups() if part is not None)
    end = _SENTENCE_END.search(clause)
    return clause[: end.start()] if end else clause


def admitted(answer: str, rule: str) -> Extraction:
    """The answer if it may be looked at at all: not empty, not huge, digits of ASCII only."""
    answer = answer.strip()
    if not answer or len(answer) > 2 * LONGEST:
        return Extraction(None, rule, "no_answer")
    if not answer.isascii() and any(letter.isdecimal() and letter > "9" for letter in answer):
        return Extraction(None, rule, "bad_format")
    if len(answer) > DEEPEST and unreasonable(answer):
        return Extraction(None, rule, "no_answer")
    return Extraction(answer, rule)


def unreasonable(answer: str) -> bool:
    """Whether an answer is longer, deeper or more involved than any answer is."""
    if len(answer) > LONGEST:
        return True
    depth = deepest = 0
    for letter in answer:
        if letter == "{":
            depth += 1
            deepest = max(deepest, depth)
        elif letter == "}":
            depth -= 1
    return deepest > DEEPEST or len(_OPERATOR.findall(answer)) > MOST_OPERATORS
