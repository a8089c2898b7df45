"""Which answers a reasoning entails, by its text alone: the scene is never looked at.

Orders are strict: a negated relation is its opposite, relations on one axis are transitive, and a
cycle among them is a contradiction, from which every answer follows.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from tasks.spatial_claims.grammar import Claim, Ref, number_of, ref_of
from tasks.spatial_scenes.questions import ENDS, SIGN

CONTRADICTION = "\0contradiction"
"""Stands in the entailed set for reasoning that cannot be true, and equals no answer."""
Edges = Mapping[Ref, Sequence[Ref]]


def entailed(claims: Iterable[Claim], question: Mapping[str, Any]) -> set[str]:
    """The answers that follow, normalized as `answer_of` does."""
    claims = list(claims)
    found = {answer_of(claim.word, question) for claim in claims if claim.kind == "conclusion"}
    kind = question["type"]
    if kind == "relation":
        found |= _by_relations(claims, question)
    elif kind == "count":
        found |= _by_counts(claims, question, found)
    elif kind == "extreme":
        found |= _by_ends(claims, question)
    return found


def answer_of(text: str, question: Mapping[str, Any]) -> str:
    """An answer as it is compared: lower case, without full stop and articles; numbers in digits,
    references in the order size, color, shape."""
    words = text.lower().replace(",", " ").strip().rstrip(".!").split()
    if question["type"] == "choice":
        return _option(" ".join(words), question["options"])
    if words and words[0] in ("the", "a", "an"):
        words = words[1:]
    if question["type"] == "count" and len(words) == 1:
        number = number_of(words[0])
        return str(number) if number is not None else words[0]
    if question["type"] == "extreme" and len(words) > 1:
        ref = ref_of(" ".join(words))
        if ref is not None:
            return " ".join(filter(None, ref))
    return " ".join(words)


def _option(text: str, options: Sequence[str]) -> str:
    """The letter of the option that `b`, `(B)`, `B. a cat` or its own words name."""
    first = text.partition(" ")[0]
    letter = first.strip("().:").upper()
    known = len(letter) == 1 and "A" <= letter < chr(ord("A") + len(options))
    if known and (text == first or not first.isalpha()):  # `a cat` does not name the option A
        return letter
    plain = [" ".join(option.lower().replace(",", " ").rstrip(".").split()) for option in options]
    return chr(ord("A") + plain.index(text)) if plain.count(text) == 1 else text


def restated(sentences: Iterable[str], caption: str) -> set[str]:
    """yes where a sentence says what a caption says, no where it says so with `is not`."""
    said = _words(caption)
    denied = {
        (*said[: at + 1], "not", *said[at + 1 :])
        for at, word in enumerate(said)
        if word in ("is", "are", "has")
    }
    found: set[str] = set()
    for sentence in sentences:
        words = _words(sentence)
        if words == said:
            found.add("yes")
        elif words in denied:
            found.add("no")
    return found


def _words(text: str) -> tuple[str, ...]:
    return tuple(text.lower().strip().rstrip(".").split())


def _by_relations(claims: Sequence[Claim], question: Mapping[str, Any]) -> set[str]:
    axis, sign = SIGN[question["rel"]]
    edges = _edges(claims, axis)
    if not edges:
        return set()
    if has_cycle(edges):
        return {"yes", "no"}
    a, b = ref_of(question["a"]), ref_of(question["b"])
    assert a is not None, question
    assert b is not None, question
    if sign < 0:
        a, b = b, a
    found: set[str] = set()
    if reaches(edges, a, b):
        found.add("yes")
    if reaches(edges, b, a):
        found.add("no")
    return found


def _by_counts(
    claims: Sequence[Claim], question: Mapping[str, Any], concluded: set[str]
) -> set[str]:
    """Counts that are stated; and how many are listed, where that is more than is stated."""
    wanted = ref_of(question["desc"])
    assert wanted is not None, question
    found = {str(claim.number) for claim in claims if claim.kind == "count" and claim.ref == wanted}
    stated = [int(each) for each in (*found, *concluded) if each.isascii() and each.isdigit()]
    listed = {
        (claim.ref, claim.box)
        for claim in claims
        if claim.kind == "exist" and claim.ref is not None and wanted.covers(claim.ref)
    }
    if stated and len(listed) > max(stated):
        found.add(str(len(listed)))
    return found


def _by_ends(claims: Sequence[Claim], question: Mapping[str, Any]) -> set[str]:
    found: set[str] = set()
    for claim in claims:
        if claim.kind == "extreme" and claim.word == question["which"] and claim.ref is not None:
            told = (
                claim.ref.color if question["ask"] == "color" else " ".join(filter(None, claim.ref))
            )
            if told:
                found.add(told)
    if has_cycle(_edges(claims, ENDS[question["which"]][0])):
        found.add(CONTRADICTION)
    return found


def _edges(claims: Sequence[Claim], axis: str) -> dict[Ref, list[Ref]]:
    """From what lies before to what lies behind on an axis, as the claims say."""
    edges: dict[Ref, list[Ref]] = defaultdict(list)
    for claim in claims:
        if claim.kind == "rel" and claim.ref is not None and claim.other is not None:
            along, sign = SIGN[claim.word]
            if along == axis:
                forward = (sign > 0) != claim.negated
                first, then = (claim.ref, claim.other) if forward else (claim.other, claim.ref)
                edges[first].append(then)
    return edges


def reaches(edges: Edges, start: Ref, goal: Ref) -> bool:
    """Whether a path of edges leads from one to the other."""
    seen, waiting = {start}, [start]
    while waiting:
        for then in edges.get(waiting.pop(), ()):
            if then == goal:
                return True
            if then not in seen:
                seen.add(then)
                waiting.append(then)
    return False


def has_cycle(edges: Edges) -> bool:
    """Whether some path leads back to where it began."""
    before: dict[Ref, int] = defaultdict(int)
    for following in edges.values():
        for then in following:
            before[then] += 1
    free = [ref for ref in edges if not before[ref]]
    left = sum(map(len, edges.values()))
    while free:
        for then in edges.get(free.pop(), ()):
            left -= 1
            before[then] -= 1
            if not before[then]:
                free.append(then)
    return left > 0
