"""Verdicts on `<think> ... </think> <answer> ... </answer>`: right, consistent, grounded.

The form is strict: each tag once, nothing outside, at most LONGEST characters and MOST sentences.
What has another form has no answer and no claims.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from harness import Completion, Example, Verdict
from tasks.spatial_claims.boxes import scale_of
from tasks.spatial_claims.entailment import answer_of, entailed, restated
from tasks.spatial_claims.grammar import Claim, parse, sentences
from tasks.spatial_claims.truth import Checked, checked
from tasks.spatial_scenes.questions import needed
from tasks.spatial_scenes.world import Thing, things

LONGEST = 32_000
MOST = 1_000
TAGS = ("<think>", "</think>", "<answer>", "</answer>")
CONSISTENCIES = ("consistent", "contradictory", "undetermined")
GROUNDED = (
    "grounding",
    "true_claims",
    "boxes",
    "box_hits",
    "box_hit",
    "needed",
    "refs",
    "hallucinated",
)
"""Scores that need a scene with known truth; without one they are left out."""


class Parts(NamedTuple):
    """A completion of the right form."""

    think: str
    answer: str


class Sentence(NamedTuple):
    """A sentence of the reasoning, and what came of it."""

    text: str
    claim: Claim | None
    checked: Checked | None
    """None for conclusions, for what is no claim, and where no scene is known."""


@dataclass(frozen=True)
class Judgment:
    """All that is found in a completion of the right form."""

    answer: str
    """Normalized."""
    entailed: frozenset[str]
    sentences: tuple[Sentence, ...]

    @property
    def consistency(self) -> str:
        """consistent, contradictory or undetermined."""
        if not self.entailed:
            return "undetermined"
        return "consistent" if self.entailed == {self.answer} else "contradictory"


def parts(output: Any) -> Parts | None:
    """The reasoning and the answer; None where the form is another one."""
    if not isinstance(output, str) or len(output) > LONGEST:
        return None
    text = output.strip()
    if not (text.startswith(TAGS[0]) and text.endswith(TAGS[3])):
        return None
    if any(text.count(tag) != 1 for tag in TAGS):
        return None
    think, _, rest = text[len(TAGS[0]) : -len(TAGS[3])].partition(TAGS[1])
    between, opened, answer = rest.partition(TAGS[2])
    return Parts(think, answer.strip()) if opened and not between.strip() else None


def judgment(
    example: Example, completion: Completion, scene: Sequence[Thing] | None
) -> Judgment | None:
    """What a completion says and whether it is true; None where its form is another one."""
    read = parts(completion.output)
    told = sentences(read.think, MOST) if read is not None else None
    if read is None or told is None:
        return None
    question = example.inputs["question"]
    claims = [parse(each) for each in told]
    scale = scale_of(completion.trace) if scene is not None else (1.0, 1.0)
    looked = [
        checked(claim, scene, scale)
        if scene is not None and claim is not None and claim.kind != "conclusion"
        else None
        for claim in claims
    ]
    follows = entailed(filter(None, claims), question)
    if question["type"] == "caption":
        follows |= restated(told, question["question"])
    return Judgment(
        answer_of(read.answer, question),
        frozenset(follows),
        tuple(map(Sentence, told, claims, looked)),
    )


def verify(example: Example, completion: Completion) -> Verdict:
    """Scores of correctness, consistency and, where the scene is known, grounding."""
    table = example.inputs.get("scene")
    scene = things(table) if table is not None else None
    found = judgment(example, completion, scene)
    if found is None:
        return _unread(completion, grounded=scene is not None)
    question = example.inputs["question"]
    correct = float(found.answer == answer_of(str(example.target), question))
    consistency = found.consistency
    scores: dict[str, float] = {
        "correct": correct,
        "format": 1.0,
        **{name: float(name == consistency) for name in CONSISTENCIES},
        "inconsistent": float(consistency != "consistent"),
        "accurate_consistent": correct * (consistency == "consistent"),
        **_counted(found),
        "yes_or_no": float(example.target in ("yes", "no")),
        "says_yes": float(found.answer == "yes"),
    }
    if scene is not None:
        about = frozenset(each.name for each in needed(question, scene))
        scores |= _grounding(found, about)
    reason, note = "ok", ""
    if not correct:
        reason, note = "wrong", f"right would be {example.target}"
    elif consistency == "contradictory":
        reason, note = "contradiction", f"the reasoning entails {_listed(found.entailed)}"
    elif scores.get("grounding") == 0:
        reason, note = "ungrounded", "nothing that is true of the scene is claimed"
    return Verdict(scores, found.answer, reason, note)


def _unread(completion: Completion, *, grounded: bool) -> Verdict:
    names = ("correct", "format", *CONSISTENCIES, "inconsistent", "accurate_consistent")
    more = GROUNDED if grounded else ()
    counts = ("claims", "sentences", "coverage", "yes_or_no", "says_yes")
    scores = {name: 0.0 for name in (*names, *counts, *more)}
    if completion.stopped == "budget":
        return Verdict(scores, None, "truncated", "cut by the length limit")
    if not isinstance(completion.output, str) or not completion.output.strip():
        return Verdict(scores, None, "no_answer", "nothing was said")
    form = "".join(TAGS).replace("><", ">...<", 1).replace("<answer><", "<answer>...<")
    return Verdict(scores, None, "bad_format", f"asked for is {form}, each tag once")


def _counted(found: Judgment) -> dict[str, float]:
    """How much is said, and which share of it is understood."""
    parsed = [each.claim for each in found.sentences if each.claim is not None]
    said = len(found.sentences)
    return {
        "claims": float(sum(claim.kind != "conclusion" for claim in parsed)),
        "sentences": float(said),
        "coverage": len(parsed) / said if said else 0.0,
    }


def _grounding(found: Judgment, about: frozenset[str]) -> dict[str, float]:
    looked = [each.checked for each in found.sentences if each.checked is not None]
    true = [each for each in looked if each.true]
    boxes = [box for each in looked for box in each.boxes]
    hits = sum(box.hit for box in boxes)
    refs, unknown = sum(each.refs for each in looked), sum(each.unknown for each in looked)
    spoken_of = about & frozenset().union(*(each.about for each in true))
    return {
        "grounding": len(true) / len(looked) if looked else 0.0,
        "true_claims": float(len(true)),
        "boxes": float(len(boxes)),
        "box_hits": float(hits),
        "box_hit": hits / len(boxes) if boxes else 0.0,
        "needed": len(spoken_of) / len(about) if about else float(bool(true)),
        "refs": float(refs),
        "hallucinated": float(unknown),
    }


def _listed(answers: frozenset[str]) -> str:
    return " and ".join(sorted(each.lstrip("\0") for each in answers))
