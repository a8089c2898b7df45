"""Filters: which proposals of a model are phrasings of the same question.

A proposal stays if it is one question, no copy, names what the original names and nothing else,
does not hold the answer, and if a reader that is given the right passage answers both alike.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from harness.similarity import jaccard, normalized, token_f1

COPY = 0.9
"""Token Jaccard from which a proposal is a copy."""
LONGEST = 400
"""Characters of a proposal."""
OPENERS = frozenset(
    "who whom whose what which when where why how name tell give in on at by for from to of is was "
    "are were did does do under i the a an could can please".split()
)
"""First words of questions: their capital letters name nothing."""


def entities(text: str) -> frozenset[str]:
    """Capitalized words and numbers; a first word that begins questions is none."""
    words = re.findall(r"[^\W_]+(?:['’.-][^\W_]+)*", text)  # noqa: RUF001
    named = [
        word
        for number, word in enumerate(words)
        if any(c.isdigit() for c in word)
        or (word[0].isupper() and not (number == 0 and word.lower() in OPENERS))
    ]
    return frozenset(word.removesuffix("'s").removesuffix("’s").lower() for word in named)  # noqa: RUF001


def refusal(original: str, proposal: str, answers: Sequence[str]) -> str:
    """Why a proposal is no phrasing of the original; empty where the text gives no reason."""
    text = proposal.strip()
    if not text or "\n" in text or len(text) > LONGEST:
        return "is not one line of text"
    if not (text.endswith("?") or text.split()[0].lower().strip(",") in OPENERS):
        return "is not in the form of a question"
    words = [normalized(each).split() for each in (original, text)]
    if jaccard(*words) >= COPY:
        return "is a copy"
    if entities(original) != entities(text):
        return "names something else, or not all that the original names"
    asked = f" {normalized(original)} "
    said = f" {normalized(text)} "
    told = (f" {normalized(answer)} " for answer in answers if normalized(answer))
    if any(answer in said and answer not in asked for answer in told):
        return "holds the answer"
    return ""


def same_answer(one: str | None, other: str | None) -> bool:
    """Whether a reader's answers to both are one; no answer is none."""
    return one is not None and other is not None and token_f1(one, other) >= 0.5
