"""Questions about a scene as small programs, their wording, and what is right.

A question is a plain table: `type` relation (rel, a, b), count (desc) or extreme (which, ask),
with its `question` in words and its `answer`. References are full: size, color, shape.
"""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import Any

from tasks.spatial_scenes.world import COLORS, HELD_OUT, SHAPES, Thing

Question = dict[str, Any]
SIGN: Mapping[str, tuple[str, int]] = {
    "left of": ("u", 1),
    "right of": ("u", -1),
    "above": ("v", 1),
    "below": ("v", -1),
    "closer than": ("z", 1),
    "farther than": ("z", -1),
}
"""Axis of a relation, and 1 where it holds of the smaller value."""
ENDS: Mapping[str, tuple[str, int]] = {
    "leftmost": ("u", 1),
    "rightmost": ("u", -1),
    "closest": ("z", 1),
    "farthest": ("z", -1),
}
WORDED: Mapping[str, str] = {
    "closer than": "closer to the camera than",
    "farther than": "farther from the camera than",
    "closest": "closest to the camera",
    "farthest": "farthest from the camera",
}
MIRRORED: Mapping[str, str] = {"leftmost": "rightmost", "rightmost": "leftmost"}
RARE: Mapping[int, float] = {0: 1.0, 1: 1.0, 2: 2.0, 3: 4.0, 4: 8.0}
"""How gladly a count is asked for where a scene has it: few scenes have many of a kind. No question
has a count above four."""
OPPOSITE: Mapping[str, str] = {
    one: other
    for pair in (("left of", "right of"), ("above", "below"), ("closer than", "farther than"))
    for one, other in (pair, pair[::-1])
}
SIDEWAYS, IN_DEPTH = ("left of", "right of"), ("closer than", "farther than")


def holds(rel: str, a: Thing, b: Thing) -> bool:
    """Whether the relation is true of two objects."""
    axis, sign = SIGN[rel]
    return sign * (getattr(b, axis) - getattr(a, axis)) > 0


def at_end(which: str, scene: Sequence[Thing]) -> Thing:
    """The leftmost, rightmost, closest or farthest object."""
    axis, sign = ENDS[which]
    return min(scene, key=lambda each: sign * getattr(each, axis))


def needed(question: Mapping[str, Any], scene: Sequence[Thing]) -> list[Thing]:
    """The objects of which the question's program needs facts."""
    if question["type"] == "relation":
        return [each for name in "ab" for each in scene if each.fits(question[name])]
    if question["type"] == "count":
        return [each for each in scene if each.fits(question["desc"])]
    return [at_end(question["which"], scene)]


def answer_to(question: Mapping[str, Any], scene: Sequence[Thing]) -> str:
    """What is right."""
    if question["type"] == "relation":
        a, b = needed(question, scene)
        return "yes" if holds(question["rel"], a, b) else "no"
    if question["type"] == "count":
        return str(len(needed(question, scene)))
    (found,) = needed(question, scene)
    return found.color if question["ask"] == "color" else found.name


def wording(question: Mapping[str, Any]) -> str:
    """The question in words."""
    if question["type"] == "relation":
        rel = WORDED.get(question["rel"], question["rel"])
        return f"Is the {question['a']} {rel} the {question['b']}?"
    if question["type"] == "count":
        return f"How many {question['desc']}s are there?"
    which = WORDED.get(question["which"], question["which"])
    if question["ask"] == "color":
        return f"What color is the object that is {which}?"
    return f"Which object is {which}?"


def questions(scene: Sequence[Thing], number: int, *, held_out: bool = False) -> list[Question]:
    """Four questions about the scene of that number: two relations, a count and an extreme.

    Of the relations one is to be answered yes and one no, and which of them alternates, so that
    yes and no are equally frequent on either axis. `held_out` asks relations of held-out objects.
    """
    rng = random.Random(f"spatial/questions/{number}/{[each.name for each in scene]}")
    first_is_true = number % 2 == 0
    asked = [
        relation(scene, rng.choice(SIDEWAYS), rng, true=first_is_true, held_out=held_out),
        relation(scene, rng.choice(IN_DEPTH), rng, true=not first_is_true, held_out=held_out),
        _count(scene, rng),
        {"type": "extreme", "which": rng.choice([*ENDS]), "ask": rng.choice(("ref", "color"))},
    ]
    return [settled(each, scene) for each in asked]


def settled(question: Mapping[str, Any], scene: Sequence[Thing]) -> Question:
    """The question with its wording and its answer."""
    return {**question, "question": wording(question), "answer": answer_to(question, scene)}


def relation(
    scene: Sequence[Thing], rel: str, rng: random.Random, *, true: bool, held_out: bool = False
) -> Question:
    """A relation of two objects that is true or is not, as wanted."""
    pairs = list(combinations(scene, 2))
    if held_out:
        pairs = [p for p in pairs if any((t.color, t.shape) in HELD_OUT for t in p)]
    a, b = rng.choice(pairs)
    if holds(rel, a, b) != true:
        a, b = b, a
    return {"type": "relation", "rel": rel, "a": a.name, "b": b.name}


def short_questions(scene: Sequence[Thing], number: int) -> list[Question]:
    """Sideways relations of objects that their shape alone names, half of them true."""
    rng = random.Random(f"spatial/short/{number}")
    asked: list[Question] = []
    for place, (a, b) in enumerate(combinations(scene, 2)):
        rel = rng.choice(SIDEWAYS)
        if holds(rel, a, b) != ((number + place) % 2 == 0):
            a, b = b, a
        asked.append({"type": "relation", "rel": rel, "a": a.shape, "b": b.shape})
    return [settled(each, scene) for each in asked]


def pair_question(scene: Sequence[Thing]) -> Question:
    """Whether the first of two objects is left of the second."""
    a, b = scene
    return settled({"type": "relation", "rel": "left of", "a": a.shape, "b": b.shape}, scene)


def mirrored_question(question: Mapping[str, Any], scene: Sequence[Thing]) -> Question:
    """What is asked of the mirrored scene: left and right of relations stay, so that the answer
    turns; leftmost becomes rightmost, so that the answer stays."""
    turned = dict(question)
    if turned["type"] == "extreme":
        turned["which"] = MIRRORED.get(turned["which"], turned["which"])
    return settled(turned, scene)


def turns(question: Mapping[str, Any]) -> bool:
    """Whether the answer turns from yes to no when the scene is mirrored."""
    return question["type"] == "relation" and question["rel"] in SIDEWAYS


def _count(scene: Sequence[Thing], rng: random.Random) -> Question:
    by_count: dict[int, list[str]] = defaultdict(list)
    for desc in (*SHAPES, *(f"{color} object" for color in COLORS)):
        by_count[sum(each.fits(desc) for each in scene)].append(desc)
    counts = sorted(by_count.keys() & RARE.keys())
    (wanted,) = rng.choices(counts, [RARE[count] for count in counts])
    return {"type": "count", "desc": rng.choice(by_count[wanted])}
