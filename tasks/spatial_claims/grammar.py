"""The grammar of claims: which sentences say something of a scene that can be checked.

    exist       there is a REF [at BOX]
    count       there is/are [exactly] N DESC(s); N in digits or words, `no` is 0
    rel         the REF [BOX] is [not] RELATION the REF [BOX]
    attr        the REF [BOX] is COLOR or SIZE
    extreme     the REF [BOX] is the leftmost, rightmost, closest or farthest object
    conclusion  so/therefore/thus/hence the answer is ANSWER

REF is any of a size, a color and a shape or `object`; BOX is `[x1, y1, x2, y2]` in pixels. Case,
commas, quotes and emphasis do not count. Every other sentence is no claim.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from tasks.spatial_claims.boxes import read_box
from tasks.spatial_scenes.questions import ENDS, SIGN
from tasks.spatial_scenes.world import COLORS, SHAPES, SIZES, Box, Thing

LONGEST = 400
"""Characters of a sentence that may be a claim."""
NUMBERS = "no one two three four five six seven eight nine ten eleven twelve".split()
THEREFORE = frozenset("so therefore thus hence".split())
KINDS: Mapping[str, str] = {
    **dict.fromkeys(SIZES, "size"),
    **dict.fromkeys(COLORS, "color"),
    **dict.fromkeys((*SHAPES, "object"), "shape"),
}
RELATIONS: Mapping[tuple[str, ...], str] = {tuple(rel.split()): rel for rel in SIGN}
_END = re.compile(r"\n|\.(?=\s|$)")
_TOKEN = re.compile(r"\[[^\[\]]{0,120}\]|[a-z0-9]+|\S", re.ASCII)
_DECORATION = str.maketrans("", "", "*_`\"'\u201c\u201d\u2018\u2019")
_COMMA = re.compile(r",(?![^\[\]]{0,120}\])")


class Ref(NamedTuple):
    """Which objects are meant: those that have every attribute that is given."""

    size: str
    color: str
    shape: str
    """Empty for `object`, or where only size and color are said."""

    def fits(self, thing: Thing) -> bool:
        """Whether an object is described."""
        return (
            (not self.size or self.size == thing.size)
            and (not self.color or self.color == thing.color)
            and (not self.shape or self.shape == thing.shape)
        )

    def covers(self, other: Ref) -> bool:
        """Whether what `other` describes is, by its words alone, described by this too."""
        return all(mine in ("", theirs) for mine, theirs in zip(self, other, strict=True))


class Claim(NamedTuple):
    """What one sentence says."""

    kind: str
    """exist, count, rel, attr, extreme, conclusion."""
    ref: Ref | None = None
    box: Box | None = None
    word: str = ""
    """The relation, the attribute, the end, or the answer."""
    other: Ref | None = None
    other_box: Box | None = None
    number: int = 0
    negated: bool = False


def sentences(text: str, most: int) -> list[str] | None:
    """The text cut at newlines and at full stops that end a sentence; None for more than `most`."""
    found = [part for part in _END.split(text) if part and not part.isspace()]
    return found if len(found) <= most else None


def parse(sentence: str) -> Claim | None:
    """What a sentence claims; None where it is no claim."""
    if len(sentence) > LONGEST:
        return None
    plain = sentence.lower().translate(_DECORATION)
    if "," in plain:
        plain = _COMMA.sub(" ", plain)
    tokens: list[str] = _TOKEN.findall(plain)
    if not tokens:
        return None
    if tokens[0] == "the":
        return _about(tokens)
    if tokens[0] == "there":
        return _existing(tokens)
    if tokens[0] in THEREFORE and tokens[1:4] == ["the", "answer", "is"] and tokens[4:]:
        return Claim("conclusion", word=plain.partition("is")[2].lstrip(": ").rstrip())
    return None


def ref_of(text: str) -> Ref | None:
    """The reference that a text is, such as `large red cube`; None where it is none."""
    tokens = text.lower().split()
    ref, end = _ref(tokens, 0)
    return ref if ref is not None and end == len(tokens) else None


def number_of(word: str) -> int | None:
    """`3` and `three` as a number, `no` and `zero` as 0."""
    if word.isascii() and word.isdigit():
        return int(word) if len(word) <= 6 else None
    if word == "zero":
        return 0
    return NUMBERS.index(word) if word in NUMBERS else None


def _ref(tokens: Sequence[str], at: int, plural: bool = False) -> tuple[Ref | None, int]:
    """The reference from a token on, and where it ends; a shape or `object` is its last word."""
    found: dict[str, str] = {}
    while at < len(tokens):
        word = tokens[at]
        if plural and word.endswith("s") and word[:-1] in KINDS:
            word = word[:-1]
        kind = KINDS.get(word)
        if kind is None:
            break
        if kind in found:
            return None, at
        found[kind] = word
        at += 1
        if kind == "shape":
            break
    if not found:
        return None, at
    shape = found.get("shape", "")
    named = "" if shape == "object" else shape
    return Ref(found.get("size", ""), found.get("color", ""), named), at


def _box(tokens: Sequence[str], at: int) -> tuple[Box | None, int]:
    """The box from a token on, if one is there, and where it ends; `at` may stand before it."""
    start = at + 1 if tokens[at : at + 1] == ["at"] else at
    if start < len(tokens) and tokens[start].startswith("[") and len(tokens[start]) > 1:
        box = read_box(tokens[start][1:-1])
        if box is not None:
            return box, start + 1
    return None, at


def _existing(tokens: Sequence[str]) -> Claim | None:
    """`there is a ...` and `there are three ...`."""
    if len(tokens) < 4 or tokens[1] not in ("is", "are"):
        return None
    at = 2
    if tokens[1] == "is" and tokens[at] in ("a", "an"):
        ref, at = _ref(tokens, at + 1)
        box, at = _box(tokens, at)
        return Claim("exist", ref, box) if ref is not None and at == len(tokens) else None
    at += tokens[at] == "exactly"
    count = number_of(tokens[at])
    ref, end = _ref(tokens, at + 1, plural=True)
    if count is None or ref is None or end != len(tokens):
        return None
    return Claim("count", ref, number=count)


def _about(tokens: Sequence[str]) -> Claim | None:
    """`the ... is ...`: a relation, an attribute or an end."""
    ref, at = _ref(tokens, 1)
    box, at = _box(tokens, at)
    if ref is None or tokens[at : at + 1] != ["is"]:
        return None
    at += 1
    negated = tokens[at : at + 1] == ["not"]
    at += negated
    rel = RELATIONS.get(tuple(tokens[at : at + 2])) or RELATIONS.get(tuple(tokens[at : at + 1]))
    if rel is not None:
        at += len(rel.split())
        other, end = _ref(tokens, at + 1)
        other_box, end = _box(tokens, end)
        if tokens[at : at + 1] != ["the"] or other is None or end != len(tokens):
            return None
        return Claim("rel", ref, box, rel, other, other_box, negated=negated)
    rest = tokens[at:]
    if negated or not rest:
        return None
    if len(rest) == 3 and rest[0] == "the" and rest[1] in ENDS and rest[2] == "object":
        return Claim("extreme", ref, box, rest[1])
    if len(rest) == 1 and KINDS.get(rest[0]) in ("size", "color"):
        return Claim("attr", ref, box, rest[0])
    return None
