"""Scores of several answers together: of a scene and its mirror image, of What'sUp's sets."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence
from typing import Any

from harness import Rollout
from tasks.spatial_scenes.questions import turns

PARTNER = {
    one: other
    for pair in (("left_of", "right_of"), ("on", "under"), ("in-front_of", "behind"))
    for one, other in (pair, pair[::-1])
}


def mirrored_scores(mates: Sequence[Rollout]) -> list[dict[str, float]]:
    """pair_consistent: share of the answers to the other scene of the pair that agree with this
    one, after turning yes and no where the mirror turns them. pair_correct: chance that one answer
    to each is right."""
    sides: dict[bool, list[Rollout]] = {True: [], False: []}
    for mate in mates:
        sides[_is_mirrored(mate)].append(mate)
    right = math.prod(map(_right, sides.values()))
    found: list[dict[str, float]] = []
    for mate in mates:
        expected = _through_the_mirror(mate)
        others = sides[not _is_mirrored(mate)]
        agree = [expected is not None and expected == other.verdict.answer for other in others]
        share = sum(agree) / len(agree) if agree else 0.0
        found.append({"pair_consistent": share, "pair_correct": right})
    return found


def whatsup_scores(mates: Sequence[Rollout]) -> list[dict[str, float]]:
    """pair_correct: chance that one answer each to a relation and its opposite is right.
    set_correct: the same of all relations of two things."""
    by_kind: dict[str, list[Rollout]] = defaultdict(list)
    for mate in mates:
        by_kind[str(mate.example.tags["type"])].append(mate)
    right = {kind: _right(members) for kind, members in by_kind.items()}
    whole = math.prod(right.values())
    kinds = [str(mate.example.tags["type"]) for mate in mates]
    pairs = [right[kind] * right.get(PARTNER[kind], 0.0) for kind in kinds]
    return [{"pair_correct": pair, "set_correct": whole} for pair in pairs]


def _right(members: Sequence[Rollout]) -> float:
    return sum(each.verdict.scores["correct"] for each in members) / max(len(members), 1)


def _is_mirrored(mate: Rollout) -> bool:
    return mate.example.id.endswith("/mirrored")


def _through_the_mirror(mate: Rollout) -> Any:
    """What this answer says of the other scene of its pair."""
    answer = mate.verdict.answer
    if turns(mate.example.inputs["question"]):
        return {"yes": "no", "no": "yes"}.get(str(answer))
    return answer
