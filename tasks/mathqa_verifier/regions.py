"""Intervals, unions and inequalities as regions of the real line (E6, E8, E9)."""

from __future__ import annotations

from fractions import Fraction

from tasks.mathqa_verifier.agreement import Undecided, equal_values, infinite, places
from tasks.mathqa_verifier.answers import (
    Answer,
    Collection,
    Labelled,
    Piece,
    Relation,
    pieces,
)
from tasks.mathqa_verifier.exact import Unbounded, Undefined
from tasks.mathqa_verifier.numeric import Evaluator
from tasks.mathqa_verifier.parsing import Node, Unparsed, symbols

_INFINITY: Node = ("inf",)
_BELOW: Node = ("neg", _INFINITY)
_FLIPPED = {"<": ">", ">": "<", "\\le": "\\ge", "\\ge": "\\le", "=": "=", "\\ne": "\\ne"}


def same(gold: Answer, answer: Answer) -> bool:
    """Whether two answers are the same region; False where one of them is none."""
    try:
        left, right = _pieces(gold), _pieces(answer)
    except Unparsed:
        return False
    if any(symbols(end) for piece in (*left, *right) for end in (piece.low, piece.high)):
        return len(left) == len(right) and all(map(_same_piece, left, right))
    try:
        left, right = merged(left), merged(right)
    except (Undefined, Unbounded):
        return False
    return len(left) == len(right) and all(map(_same_piece, left, right))


def _same_piece(gold: Piece, answer: Piece) -> bool:
    return (
        (gold.low_in, gold.high_in) == (answer.low_in, answer.high_in)
        and equal_values(gold.low, answer.low)
        and equal_values(gold.high, answer.high)
    )


def _pieces(answer: Answer) -> list[Piece]:
    if isinstance(answer, Labelled):
        return _pieces(answer.answer)
    if isinstance(answer, Relation):
        return relation_pieces(answer)
    if isinstance(answer, Collection) and answer.kind == "list":
        if not all(isinstance(item, Relation | Labelled) for item in answer.items):
            raise Unparsed
        if len({variable(item) for item in answer.items}) != 1:
            raise Unparsed
        parts = [_pieces(item) for item in answer.items]
        if answer.conjunction != "and":
            return [piece for part in parts for piece in part]
        common = parts[0]
        for part in parts[1:]:
            common = [both for one in common for other in part for both in _common(one, other)]
        return common
    return list(pieces(answer))


def _common(one: Piece, other: Piece) -> list[Piece]:
    low = max((one, other), key=lambda piece: (_size(piece.low), not piece.low_in))
    high = min((one, other), key=lambda piece: (_size(piece.high), piece.high_in))
    both = Piece(low.low, high.high, low.low_in, high.high_in)
    return [both] if _size(both.low) <= _size(both.high) else []


def _size(end: Node) -> float:
    sign = infinite(end)
    if sign:
        return sign * float("inf")
    value = Evaluator(real=True).value(end, {})
    if isinstance(value, complex):
        raise Undefined
    return float(value)


def merged(found: list[Piece]) -> list[Piece]:
    """The same region as intervals in order that neither touch nor overlap."""
    result: list[Piece] = []
    kept = [piece for piece in found if not _empty(piece)]
    for piece in sorted(kept, key=lambda piece: (_size(piece.low), not piece.low_in)):
        if result and _touches(result[-1], piece):
            last = result[-1]
            further = max((last, piece), key=lambda each: (_size(each.high), each.high_in))
            result[-1] = Piece(last.low, further.high, last.low_in, further.high_in)
        else:
            result.append(piece)
    return result


def _empty(piece: Piece) -> bool:
    low, high = _size(piece.low), _size(piece.high)
    return low > high or (low == high and not (piece.low_in and piece.high_in))


def _touches(left: Piece, right: Piece) -> bool:
    end, start = _size(left.high), _size(right.low)
    return start < end or (start == end and (left.high_in or right.low_in))


def variable(relation: Answer) -> str:
    """The one variable of a relation; empty if it has none or several."""
    if isinstance(relation, Labelled):
        return relation.label
    if not isinstance(relation, Relation):
        return ""
    names = frozenset[str]().union(*map(symbols, relation.sides))
    return next(iter(names)) if len(names) == 1 else ""


def relation_pieces(relation: Relation) -> list[Piece]:
    """`x < 3`, `3 > x`, `1 < x <= 2`, `x != 2` as intervals; raises Unparsed for others."""
    sides, signs = relation.sides, relation.signs
    name = variable(relation)
    if not name:
        raise Unparsed
    alone: Node = ("s", name)
    if len(sides) == 2 and sides[0] == alone:
        return _ray(signs[0], sides[1])
    if len(sides) == 2 and sides[1] == alone:
        return _ray(_FLIPPED[signs[0]], sides[0])
    if len(sides) == 3 and sides[1] == alone:
        if signs[0] in (">", "\\ge"):
            sides, signs = sides[::-1], tuple(_FLIPPED[sign] for sign in signs[::-1])
        if all(sign in ("<", "\\le") for sign in signs):
            return [Piece(sides[0], sides[2], signs[0] == "\\le", signs[1] == "\\le")]
    raise Unparsed


def _ray(sign: str, end: Node) -> list[Piece]:
    if symbols(end):
        raise Unparsed
    if sign == "\\ne":
        return [Piece(_BELOW, end, False, False), Piece(end, _INFINITY, False, False)]
    if sign in ("<", "\\le"):
        return [Piece(_BELOW, end, False, sign == "\\le")]
    if sign in (">", "\\ge"):
        return [Piece(end, _INFINITY, sign == "\\ge", False)]
    raise Unparsed


def proportional(gold: Relation, answer: Relation) -> bool:
    """Whether one relation is a constant multiple of the other; of a positive one, or flipped."""
    left, right = _difference(gold), _difference(answer)
    if symbols(left) != symbols(right) and not symbols(left) & symbols(right):
        return False
    ratio = _ratio(left, right)
    if ratio is None:
        return False
    signs = gold.signs[0], answer.signs[0]
    wanted = signs[1] if ratio > 0 else _FLIPPED[signs[1]]
    return signs[0] == wanted and _scaled(left, right, ratio)


def _difference(relation: Relation) -> Node:
    return ("+", relation.sides[0], ("neg", relation.sides[1]))


def _ratio(left: Node, right: Node) -> float | None:
    """The quotient of both at the first place where both have a value other than zero."""
    for place in places(sorted(symbols(left) | symbols(right))):
        quick = Evaluator(real=True)
        try:
            over, under = quick.value(left, place), quick.value(right, place)
            if isinstance(over, complex) or isinstance(under, complex):
                raise Undefined
            if abs(under) > 1e-9 and abs(over) > 1e-9:
                return float(over / under)
        except Undefined:
            continue
        except Unbounded:
            return None
    return None


def _scaled(left: Node, right: Node, ratio: float) -> bool:
    """Whether left = ratio * right everywhere, the ratio read as left/right at one place."""
    near = Fraction(ratio).limit_denominator(10**6)
    factor: Node = ("q", near, False)
    if abs(float(near) - ratio) > 1e-9 * abs(ratio):
        factor = ("q", Fraction(ratio), True)
    try:
        return equal_values(left, ("*", factor, right))
    except Undecided:
        return False
