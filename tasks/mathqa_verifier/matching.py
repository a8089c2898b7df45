"""Comparing two answers kind by kind; the gold decides how the other one is read (E4-E9)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

from tasks.mathqa_verifier import regions
from tasks.mathqa_verifier.agreement import equal_values
from tasks.mathqa_verifier.answers import (
    Answer,
    Collection,
    Labelled,
    Matrix,
    Ordered,
    Region,
    Relation,
    Value,
    Words,
)
from tasks.mathqa_verifier.parsing import Node, Unparsed, number, symbols
from tasks.mathqa_verifier.units import unit_name

_HUNDRED: Node = number("100")
_MOST_ITEMS = 100


@dataclass(frozen=True)
class Mode:
    """How strictly to compare."""

    training: bool = False
    """E9's stricter form: an inequality is not the interval that a gold is."""
    tolerance: Fraction | None = None
    """An absolute tolerance allowed besides the usual one."""


def matches(gold: Answer, answer: Answer, mode: Mode) -> bool:
    """Whether an answer is the gold; raises Undecided or Unparsed where only algebra can tell."""
    if isinstance(answer, Collection) and answer.kind == "chain":
        return all(matches(gold, each, mode) for each in answer.items)
    if isinstance(gold, Collection) and gold.kind == "chain":
        return matches(gold.items[-1], answer, mode)
    if isinstance(gold, Labelled) or isinstance(answer, Labelled):
        return _labelled(gold, answer, mode)
    if isinstance(gold, Relation) or isinstance(answer, Relation):
        return _related(gold, answer, mode)
    if isinstance(gold, Region) or isinstance(answer, Region):
        hack = mode.training and isinstance(gold, Region) and isinstance(answer, Collection)
        return not hack and regions.same(gold, answer)
    match gold, answer:
        case Value(), Value():
            return _values(gold, answer, mode)
        case Words(), Words():
            return gold.key == answer.key
        case Matrix(), Matrix():
            return len(gold.rows) == len(answer.rows) and all(
                _in_order(left, right, mode)
                for left, right in zip(gold.rows, answer.rows, strict=True)
            )
        case Ordered(), Ordered():
            return _in_order(gold.items, answer.items, mode)
        case Ordered(), Collection(kind="list"):
            return len(gold.items) > 1 and _in_order(gold.items, answer.items, mode)
        case Collection(kind="list"), Ordered():
            return _in_order([_bare(item) for item in gold.items], answer.items, mode)
        case Collection(), Collection():
            return _collected(gold, answer, mode)
        case _:
            return False


def _values(gold: Value, answer: Value, mode: Mode) -> bool:
    if gold.unit and answer.unit and gold.unit != answer.unit:
        return False
    if gold.unit and not answer.unit and symbols(answer.tree):
        answer = _with_written_unit(answer, gold.unit)
    if equal_values(gold.tree, answer.tree, mode.tolerance):
        return True
    if gold.percent == answer.percent:
        return False
    if gold.percent:
        return equal_values(("/", gold.tree, _HUNDRED), answer.tree)
    return equal_values(gold.tree, ("/", answer.tree, _HUNDRED))


def _with_written_unit(answer: Value, unit: str) -> Value:
    """`5m` as five meters, where the gold is in meters."""
    tree, letters = answer.tree, ""
    while tree[0] == "*" and tree[2][0] in "sc":
        tree, letters = tree[1], tree[2][1] + letters
        if unit_name(letters) == unit:
            return Value(tree, unit, answer.percent)
    return answer


def _in_order(gold: Sequence[Answer], answer: Sequence[Answer], mode: Mode) -> bool:
    return len(gold) == len(answer) and all(
        matches(left, right, mode) for left, right in zip(gold, answer, strict=True)
    )


def _collected(gold: Collection, answer: Collection, mode: Mode) -> bool:
    left, right = gold.items, answer.items
    if max(len(left), len(right)) > _MOST_ITEMS:
        return left == right
    if _labels(gold) and not _labels(answer):  # `x = 1, y = 2` answered by `1, 2`
        return _in_order([_bare(item) for item in left], right, mode)
    if "set" in (gold.kind, answer.kind):
        left, right = _distinct(left, mode), _distinct(right, mode)
        if gold.kind == "list" and len(left) != len(gold.items):
            return False
    return _as_multisets(left, right, mode)


def _as_multisets(gold: Sequence[Answer], answer: Sequence[Answer], mode: Mode) -> bool:
    if len(gold) != len(answer):
        return False
    rest = list(answer)
    for item in gold:
        for place, other in enumerate(rest):
            if matches(item, other, mode):
                del rest[place]
                break
        else:
            return False
    return True


def _distinct(items: Sequence[Answer], mode: Mode) -> tuple[Answer, ...]:
    kept: list[Answer] = []
    for item in items:
        if not any(matches(other, item, mode) for other in kept):
            kept.append(item)
    return tuple(kept)


def _labels(answer: Answer) -> bool:
    return isinstance(answer, Collection) and all(isinstance(i, Labelled) for i in answer.items)


def _bare(answer: Answer) -> Answer:
    return answer.answer if isinstance(answer, Labelled) else answer


def _labelled(gold: Answer, answer: Answer, mode: Mode) -> bool:
    if isinstance(gold, Labelled) and isinstance(answer, Labelled):
        if gold.label == answer.label:
            return matches(gold.answer, answer.answer, mode)
        if gold.relation and answer.relation:
            return _relations(gold.relation, answer.relation)
        return False
    if isinstance(gold, Labelled):
        if isinstance(answer, Relation):
            if set(answer.signs) == {"="}:
                return gold.relation is not None and _relations(gold.relation, answer)
            return regions.variable(answer) == gold.label and _region(gold.answer, answer, mode)
        return matches(gold.answer, answer, mode)
    assert isinstance(answer, Labelled)
    if isinstance(gold, Relation):
        if set(gold.signs) == {"="}:
            return answer.relation is not None and _relations(gold, answer.relation)
        return regions.variable(gold) == answer.label and matches(gold, answer.answer, mode)
    return matches(gold, answer.answer, mode)


def _related(gold: Answer, answer: Answer, mode: Mode) -> bool:
    if isinstance(gold, Relation) and isinstance(answer, Relation):
        return _relations(gold, answer)
    if isinstance(gold, Relation):
        return _inequality_by_region(gold, answer, mode)
    if isinstance(gold, Collection) and gold.kind == "list":
        return regions.same(gold, answer)
    return isinstance(answer, Relation) and _region(gold, answer, mode)


def _inequality_by_region(gold: Relation, answer: Answer, mode: Mode) -> bool:
    """A gold inequality answered by an interval: accepted always."""
    if isinstance(answer, Collection):
        return answer.kind == "list" and regions.same(gold, answer)
    return isinstance(answer, Region | Ordered) and regions.same(gold, answer)


def _region(gold: Answer, answer: Answer, mode: Mode) -> bool:
    """A gold interval answered by an inequality: a known hack in training, so not paid there."""
    return (
        not mode.training
        and isinstance(gold, Region | Ordered)
        and "=" not in getattr(answer, "signs", ())
        and regions.same(gold, answer)
    )


def _relations(gold: Relation, answer: Relation) -> bool:
    """Equal up to a constant factor after all is moved to one side; see E8 and E9."""
    if set(gold.signs) == {"="} == set(answer.signs):
        return len(gold.sides) == len(answer.sides) == 2 and regions.proportional(gold, answer)
    if "=" in gold.signs or "=" in answer.signs:
        return False
    if len(gold.sides) == len(answer.sides) == 2 and regions.proportional(gold, answer):
        return True
    if regions.variable(gold) != regions.variable(answer):
        return False
    try:
        return regions.same(gold, answer)
    except Unparsed:
        return False
