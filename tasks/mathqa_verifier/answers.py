r"""What an answer is: a value, words, a tuple, a list, a set, a region, a matrix, a relation."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from tasks.mathqa_verifier.cleaning import tokens
from tasks.mathqa_verifier.parsing import Node, Unparsed, expression, holds, symbols
from tasks.mathqa_verifier.units import unit_name

_OPEN = frozenset(("(", "[", "{", "\\{", "\\langle", "\\lfloor", "\\lceil", "\\begin"))
_CLOSE = frozenset((")", "]", "}", "\\}", "\\rangle", "\\rfloor", "\\rceil", "\\end"))
_RELATIONS = frozenset(("=", "<", ">", "\\le", "\\ge", "\\ne"))
_AND = frozenset(('"and', '"or', ",", ";", '",', '"and '))
_NEGATED = re.compile(
    r"\b(?:not|no|none|never|cannot|undefined|or|and|if|is|than)\b", re.IGNORECASE
)
_INFINITY: Node = ("inf",)


@dataclass(frozen=True)
class Value:
    """A number or expression, with the unit and percent sign that stood behind it."""

    tree: Node
    unit: str = ""
    percent: bool = False


@dataclass(frozen=True)
class Words:
    """Text; case and spaces do not count."""

    key: str


@dataclass(frozen=True)
class Ordered:
    """A tuple, and the brackets it was written in."""

    items: tuple[Answer, ...]
    left: str = "("
    right: str = ")"


@dataclass(frozen=True)
class Collection:
    """A bare list (a multiset), a set, or a chain of equal things."""

    items: tuple[Answer, ...]
    kind: str
    """`list`, `set` or `chain`."""
    conjunction: str = ""
    """`and` or `or` where it was written with one."""


@dataclass(frozen=True)
class Piece:
    """An interval of a region."""

    low: Node
    high: Node
    low_in: bool
    high_in: bool


@dataclass(frozen=True)
class Region:
    """A union of intervals."""

    pieces: tuple[Piece, ...]


@dataclass(frozen=True)
class Matrix:
    """Rows of values."""

    rows: tuple[tuple[Answer, ...], ...]


@dataclass(frozen=True)
class Relation:
    """Sides with `=`, `<`, `>`, `\\le`, `\\ge` or `\\ne` between them."""

    sides: tuple[Node, ...]
    signs: tuple[str, ...]


@dataclass(frozen=True)
class Labelled:
    """`x = 5`, `f(x) = 2x`, `x \\in [0, 1]`: a name for an answer."""

    label: str
    answer: Answer
    relation: Relation | None = None
    """The same as an equation, where both sides are expressions."""


Answer = Value | Words | Ordered | Collection | Region | Matrix | Relation | Labelled


def read(cleaned: str) -> Answer:
    """The answer that a cleaned string is; raises Unparsed."""
    return structured(tokens(cleaned))


def structured(found: Sequence[str]) -> Answer:
    """A list where commas or conjunctions stand outside of brackets, else one answer."""
    parts, conjunctions = _split(found, _AND)
    if len(parts) == 1:
        return _one(found)
    parts = [part for part in parts if part]
    words = [each for each in conjunctions if "and" in each or "or" in each]
    items = _flat(_one(part) for part in parts)
    if any(isinstance(item, Words) for item in items) and not all(
        isinstance(item, Words) for item in items
    ):
        return Words(_key(found))  # `5, which is prime`
    collection = Collection(tuple(items), "list", words[0].strip('" ') if words else "")
    return _with_common_label(collection)


def _flat(items: Iterator[Answer]) -> list[Answer]:
    """The items, with `2 \\pm 1` as two of them."""
    flat: list[Answer] = []
    for item in items:
        if isinstance(item, Collection) and item.kind == "list":
            flat.extend(item.items)
        elif (
            isinstance(item, Labelled)
            and isinstance(item.answer, Collection)
            and item.answer.kind == "list"
        ):
            flat.extend(Labelled(item.label, each) for each in item.answer.items)
        else:
            flat.append(item)
    return flat


def _with_common_label(collection: Collection) -> Answer:
    """`x = 1, x = 2` and `x = 1, 2` as x being one of a list."""
    labels = [item.label if isinstance(item, Labelled) else "" for item in collection.items]
    named = {label for label in labels if label}
    if (
        len(named) != 1
        or not labels[0]
        or (len(labels) == 2 and not isinstance(collection.items[1], Labelled | Value))
    ):
        return collection
    bare = tuple(item.answer if isinstance(item, Labelled) else item for item in collection.items)
    if not all(isinstance(item, Value | Ordered) for item in bare):
        return collection
    return Labelled(labels[0], replace(collection, items=bare))


def _split(found: Sequence[str], at: frozenset[str]) -> tuple[list[Sequence[str]], list[str]]:
    parts: list[Sequence[str]] = []
    separators: list[str] = []
    depth = start = 0
    for place, token in enumerate(found):
        depth += (token in _OPEN) - (token in _CLOSE)
        if depth == 0 and token in at:
            parts.append(found[start:place])
            separators.append(token)
            start = place + 1
    parts.append(found[start:])
    return parts, separators


def _key(found: Sequence[str]) -> str:
    return re.sub(r"[\s.]+|\\text", "", "".join(found).replace('"', "")).casefold()


def _one(found: Sequence[str]) -> Answer:
    """An answer without commas outside of brackets."""
    if not found:
        raise Unparsed
    if all(token[0] == '"' or token in ("'", "-", ".", "!") for token in found):
        return Words(_key(found))
    sides, signs = _split(found, _RELATIONS)
    if signs:
        return _related(sides, signs)
    sides, signs = _split(found, frozenset(("\\in",)))
    if len(sides) == 2:
        return Labelled(_key(sides[0]), structured(sides[1]))
    parts, joins = _split(found, frozenset(("\\cup",)))
    if joins:
        return Region(tuple(piece for part in parts for piece in pieces(_one(part))))
    if _encloses(found):
        return _bracketed(found)
    return _value(found)


def _encloses(found: Sequence[str]) -> bool:
    """Whether the first bracket is closed by the last token."""
    if len(found) < 2 or found[0] not in _OPEN or found[-1] not in _CLOSE:
        return found in (["\\emptyset"], ["\\varnothing"], ["\\mathbbR"])
    depth = 0
    for token in found[:-1]:
        depth += (token in _OPEN) - (token in _CLOSE)
        if depth == 0:
            return False
    return True


def _bracketed(found: Sequence[str]) -> Answer:
    left, right, inside = found[0], found[-1], found[1:-1]
    if left in ("\\emptyset", "\\varnothing"):
        return Collection((), "set")
    if left == "\\mathbbR":
        return Region((Piece(("neg", _INFINITY), _INFINITY, False, False),))
    if left == "\\begin":
        rows, _ = _split(inside, frozenset(("\\\\",)))
        cells = [_split(row, frozenset("&"))[0] for row in rows if row]
        return Matrix(tuple(tuple(_one(cell) for cell in row) for row in cells))
    if left == "\\{":
        return _set(inside)
    parts, commas = _split(inside, frozenset((",", ";")))
    if left == "{":
        return structured(inside)
    if not commas:
        return _value(found)
    items = tuple(_one(part) for part in parts)
    if any(_expanded(item) for item in items):
        spread = [Ordered(tuple(choice), left, right) for choice in _choices(items)]
        return Collection(tuple(spread), "list")
    ordered = Ordered(items, left, right)
    if len(items) == 2 and (left == "[" or right == "]" or any(map(_endless, items))):
        return Region(pieces(ordered))
    return ordered


def _expanded(item: Answer) -> bool:
    return isinstance(item, Collection) and item.kind == "list"


def _choices(items: Sequence[Answer]) -> list[list[Answer]]:
    choices: list[list[Answer]] = [[]]
    for item in items:
        options = item.items if isinstance(item, Collection) else (item,)
        choices = [[*before, option] for before in choices for option in options]
        if len(choices) > 64:
            raise Unparsed
    return choices


def _endless(item: Answer) -> bool:
    return isinstance(item, Value) and holds(item.tree, "inf")


def _set(inside: Sequence[str]) -> Answer:
    if not inside:
        return Collection((), "set")
    bar, _ = _split(inside, frozenset(("|", ":")))
    if len(bar) == 2 and any(token in _RELATIONS for token in bar[1]):
        condition = structured(bar[1])
        if isinstance(condition, Collection):  # `x > 1, x < 2`: all of them hold
            return replace(condition, conjunction="and")
        return condition
    parts, _ = _split(inside, frozenset((",", ";", '"and')))
    return Collection(tuple(_flat(_one(part) for part in parts)), "set")


def pieces(answer: Answer) -> tuple[Piece, ...]:
    """The intervals of a region, a pair of ends, or a set of points; raises Unparsed."""
    if isinstance(answer, Region):
        return answer.pieces
    if isinstance(answer, Collection) and answer.kind == "set":
        trees = [item.tree for item in answer.items if isinstance(item, Value)]
        if len(trees) == len(answer.items):
            return tuple(Piece(tree, tree, True, True) for tree in trees)
    if isinstance(answer, Ordered) and len(answer.items) == 2:
        low, high = answer.items
        if isinstance(low, Value) and isinstance(high, Value):
            return (Piece(low.tree, high.tree, answer.left == "[", answer.right == "]"),)
    raise Unparsed


def _related(sides: list[Sequence[str]], signs: list[str]) -> Answer:
    if set(signs) == {"="} and sides[-1]:
        label, body = _label(sides[0]), sides[1:]
        if not label and len(sides) == 2 and _label(sides[1]):
            label, body = _label(sides[1]), sides[:1]
        if label:
            return _labelled(label, body, sides)
        trees = [_plain(side) for side in sides]
        if len(sides) > 2 or not any(map(symbols, trees)):
            return Collection(tuple(Value(tree) for tree in trees), "chain")
        return Relation(tuple(trees), tuple(signs))
    return Relation(tuple(_plain(side) for side in sides), tuple(signs))


def _labelled(label: str, body: list[Sequence[str]], sides: list[Sequence[str]]) -> Answer:
    relation: Relation | None = None
    if len(sides) == 2:
        try:
            relation = Relation((_plain(sides[0]), _plain(sides[1])), ("=",))
        except Unparsed:
            relation = None
    answers = [structured(side) for side in body]
    if len(answers) > 1:
        return Labelled(label, Collection(tuple(answers), "chain"))
    answer = answers[0]
    if relation and isinstance(answer, Value) and label in symbols(answer.tree):
        return relation  # `x = 2x + 1` names nothing
    return Labelled(label, answer, relation)


def _label(side: Sequence[str]) -> str:
    """The name that stands alone on one side of an equation: `x`, `a_1`, `f(x)`, `(x, y)`."""
    if not side or len(side) > 12:
        return ""
    first = side[0]
    name = first[0] == '"' or (first.isalpha() and len(first) == 1) or first[0] == "\\"
    if len(side) == 1:
        return first if name and first not in ("\\pi", "\\infty", "e", "i") else ""
    letters = all(len(token) == 1 and (token.isalpha() or token in "(,)") for token in side)
    if letters and side[-1] == ")" and (first == "(" or side[1] == "("):
        return "".join(side)
    if name and side[1] == "_":
        rest = side[2:]
        whole = len(rest) == 1 or (rest[0] == "{" and rest[-1] == "}" and _encloses(rest))
        return f"{first}_{''.join(token for token in rest if token not in '{}')}" if whole else ""
    return "".join(side) if first in ("\\angle", "\\triangle", "\\overline") else ""


def _plain(side: Sequence[str]) -> Node:
    answer = _value(side)
    if not isinstance(answer, Value):
        raise Unparsed
    return answer.tree


def _value(found: Sequence[str]) -> Answer:
    """An expression with its unit; two of them where it holds a plus-minus sign."""
    tail = len(found)
    for place, token in enumerate(found):
        if token[0] == '"' or token in ("\\%", "%"):
            tail = place
            break
    head, unit_tokens = list(found[:tail]), list(found[tail:])
    if head and head[0] == "\\$":
        head, unit_tokens = head[1:], [*unit_tokens, '"dollar']
    elif len(head) > 1 and head[-1] == "\\$":
        head, unit_tokens = head[:-1], [*unit_tokens, '"dollar']
    elif head[:2] == ["-", "\\$"]:
        head, unit_tokens = ["-", *head[2:]], [*unit_tokens, '"dollar']
    percent = bool(unit_tokens) and unit_tokens[0] in ("\\%", "%", '"percent', '"per cent')
    written = "".join(unit_tokens[percent:]).replace('"', " ")
    if not head or _NEGATED.search(written) or len(written.split()) > 5:
        return Words(_key(found))
    tree = expression(head)
    unit = unit_name(written)
    if holds(tree, "deg") and not holds(tree, "f"):
        unit = unit or "degree"
    values = [Value(each, unit, percent) for each in signed(tree)]
    return values[0] if len(values) == 1 else Collection(tuple(values), "list")


def signed(tree: Node) -> list[Node]:
    r"""The tree for each choice of its `\pm` signs; with a `\mp` all signs go together."""
    count = _signs(tree)
    if count == 0:
        return [tree]
    if count > 4:
        raise Unparsed
    together = holds(tree, "mp")
    patterns = [0, (1 << count) - 1] if together else range(1 << count)
    return [
        _choose(tree, iter([pattern >> bit & 1 for bit in range(count)])) for pattern in patterns
    ]


def _signs(tree: Node) -> int:
    return (tree[0] in ("pm", "mp")) + sum(_signs(part) for part in tree[1:] if type(part) is tuple)


def _choose(tree: Node, flips: Iterator[int]) -> Node:
    if tree[0] in ("pm", "mp"):
        minus = next(flips) ^ (tree[0] == "mp")
        left = None if tree[1] is None else _choose(tree[1], flips)
        right = _choose(tree[2], flips)
        right = ("neg", right) if minus else right
        return right if left is None else ("+", left, right)
    return tuple(_choose(part, flips) if type(part) is tuple else part for part in tree)
