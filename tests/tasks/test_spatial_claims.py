"""Claims: what is read, what is true, what follows, and that nothing hostile gets through."""

from __future__ import annotations

import json
import os
import random
import time
from itertools import permutations
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness import Completion, Example, Verdict
from harness.contracts import measure
from tasks._spatial_metrics import SCENES
from tasks.spatial_claims.entailment import answer_of, entailed, restated
from tasks.spatial_claims.grammar import Claim, Ref, parse, sentences
from tasks.spatial_claims.truth import checked
from tasks.spatial_claims.verdict import LONGEST, parts, verify
from tasks.spatial_scenes import questions as asking
from tasks.spatial_scenes import world

DATA = os.environ.get("HARNESS_DATA")
needs_data = pytest.mark.skipif(not DATA, reason="HARNESS_DATA is not set")
QUICK = settings(max_examples=60, deadline=None)
CUBE, CONE = Ref("large", "red", "cube"), Ref("", "", "cone")


def thought(*said: str, answer: str = "yes") -> str:
    return "<think>\n" + "\n".join(said) + f"\n</think>\n<answer>{answer}</answer>"


def asked(seed: int, place: int = 0) -> Example:
    scene = world.drawn(seed)
    question = asking.questions(world.things(scene), seed)[place]
    return Example(f"{seed}/{place}", {"scene": scene, "question": question}, question["answer"])


# -- the published verdicts


def judged_traces() -> list[tuple[dict[str, Any], Verdict]]:
    folder = Path(DATA or "") / "spatial"
    scenes = {
        scene["id"]: scene
        for scene in map(json.loads, (folder / "scenes_40.jsonl").read_text("utf-8").splitlines())
    }
    rows = map(json.loads, (folder / "traces_14.jsonl").read_text("utf-8").splitlines())
    found: list[tuple[dict[str, Any], Verdict]] = []
    for row in rows:
        inputs = {"scene": scenes[row["scene"]], "question": row["question"]}
        example = Example(row["id"], inputs, row["question"]["answer"])
        found.append((row, verify(example, Completion(row["completion"]))))
    return found


@needs_data
def test_published_traces_are_judged_as_published() -> None:
    traces = judged_traces()
    assert len(traces) == 14
    for row, verdict in traces:
        scores = verdict.scores
        kinds = ("consistent", "contradictory", "undetermined")
        told = {
            "format": bool(scores["format"]),
            "correct": bool(scores["correct"]),
            "consistency": next((kind for kind in kinds if scores[kind]), "no-format"),
            **{name: scores[name] for name in ("true_claims", "claims", "box_hits", "boxes")},
        }
        assert told == row["expected"], row["id"]


@needs_data
def test_metrics_of_the_published_traces_by_hand() -> None:
    table = [[verdict] for _, verdict in judged_traces()]
    told = {metric.name: measure(metric, table) for metric in SCENES}
    expected = {
        "pass@1": 10 / 14,
        "consistent": 9 / 14,
        "contradictory": 3 / 14,
        "undetermined": 1 / 14,
        "inconsistent|format": 4 / 13,
        "accurate_consistent": 8 / 14,
        "grounding_micro": 0.8333,
        "grounding": 0.6964,
        "box_hit_rate": 3 / 4,
    }
    assert {name: told[name] for name in expected} == pytest.approx(expected, abs=5e-5)


# -- the grammar


@pytest.mark.parametrize(
    ("sentence", "claim"),
    [
        ("There is a large red cube", Claim("exist", CUBE)),
        ("there is a LARGE **red** cube at [1, 2, 3.5, 4]", Claim("exist", CUBE, (1, 2, 3.5, 4))),
        ("There is an object", Claim("exist", Ref("", "", ""))),
        ("There are exactly three cones", Claim("count", CONE, number=3)),
        ("There is exactly one cone", Claim("count", CONE, number=1)),
        ("There are no cones", Claim("count", CONE, number=0)),
        ("There are 2 red objects", Claim("count", Ref("", "red", ""), number=2)),
        ("The cone is left of the large red cube", Claim("rel", CONE, None, "left of", CUBE)),
        (
            "The cone [0,0,1,1] is not closer than the large red cube [2,2,3,3]",
            Claim("rel", CONE, (0, 0, 1, 1), "closer than", CUBE, (2, 2, 3, 3), negated=True),
        ),
        ("The cone is above the large red cube", Claim("rel", CONE, None, "above", CUBE)),
        ("The cone is red", Claim("attr", CONE, word="red")),
        ("The large red cube is large", Claim("attr", CUBE, word="large")),
        ("The cone is the closest object", Claim("extreme", CONE, word="closest")),
        ("So, the answer is yes", Claim("conclusion", word="yes")),
        ("Hence the answer is: (B)", Claim("conclusion", word="(b)")),
        ("The answer is yes", None),
        ("There is a dog", None),
        ("There is a large small cube", None),
        ("There is a cube and a cone", None),
        ("There is a", None),
        ("There are some cubes", None),
        ("The cone is not red", None),
        ("The cone is left of a cube", None),
        ("The cone is left of the cube, I think", None),
        ("The cone is the leftmost", None),
        ("The scene looks lovely", None),
        ("So the answer is", None),
        ("", None),
        ("[", None),
    ],
)
def test_sentences_are_read_by_the_grammar_and_by_nothing_else(
    sentence: str, claim: Claim | None
) -> None:
    assert parse(sentence) == claim


def test_sentences_end_at_newlines_and_full_stops_but_not_within_numbers() -> None:
    text = "A cube at [1.5, 2.0, 3, 4]. It is red.\n\nSo it is. "
    told = sentences(text, 10)
    assert told is not None
    assert [each.strip() for each in told] == [
        "A cube at [1.5, 2.0, 3, 4]",
        "It is red",
        "So it is",
    ]
    assert sentences("a.\n" * 11, 10) is None


@pytest.mark.parametrize(
    "output",
    [
        "<answer>yes</answer>",
        "<think>a</think>",
        "<think>a</think><answer>yes</answer>.",
        "well <think>a</think><answer>yes</answer>",
        "<think>a</think> and <answer>yes</answer>",
        "<think>a<think></think><answer>yes</answer>",
        "<think>a</think><answer>yes</answer><answer>yes</answer>",
        "<answer>yes</answer><think>a</think>",
        "<THINK>a</THINK><answer>yes</answer>",
        "<think>" + "a" * LONGEST + "</think><answer>yes</answer>",
        None,
        7,
    ],
)
def test_the_form_is_strict(output: Any) -> None:
    assert parts(output) is None
    verdict = verify(asked(1), Completion(output))
    assert set(verdict.scores.values()) == {0.0}
    assert verdict.answer is None


# -- truth


@pytest.mark.parametrize("place", range(4))
def test_a_claim_of_an_unknown_or_ambiguous_object_is_false(place: int) -> None:
    scene = world.things(
        {
            "objects": [
                {"size": "small", "color": c, "shape": "cube", "box": b, "x": x, "z": 5.0}
                for c, b, x in (("red", [0, 0, 9, 9], -1.0), ("blue", [50, 0, 59, 9], 1.0))
            ]
        }
    )
    said, true = [
        ("The red cube is left of the blue cube", True),
        ("The cube is left of the blue cube", False),
        ("The red cube is left of the cone", False),
        ("The red cube [0, 0, 9, 9] is left of the blue cube [0, 0, 9, 9]", False),
    ][place]
    claim = parse(said)
    assert claim is not None
    found = checked(claim, scene)
    assert found.true is true
    assert found.unknown == (place == 2)
    assert [box.hit for box in found.boxes] == ([True, False] if place == 3 else [])


def test_boxes_are_read_in_the_pixels_of_the_image_that_was_seen() -> None:
    example = asked(4)
    (thing, *_) = world.things(example.inputs["scene"])
    twice = ", ".join(f"{2 * edge:.0f}" for edge in thing.box)
    said = thought(f"There is a {thing.name} at [{twice}].")
    trace = {"images": [{"given": [224, 224], "seen": [448, 448]}]}
    assert verify(example, Completion(said)).scores["box_hits"] == 0
    assert verify(example, Completion(said, trace=trace)).scores["box_hits"] == 1


# -- what follows

NAMES = ("red cube", "blue cone", "gray sphere", "cyan cube")
STEPS = st.lists(
    st.tuples(
        st.sampled_from(NAMES),
        st.booleans(),
        st.sampled_from(asking.SIDEWAYS),
        st.sampled_from(NAMES),
    ),
    max_size=5,
)


@QUICK
@given(STEPS)
def test_entailment_of_orders_is_what_holds_in_every_order(
    steps: list[tuple[str, bool, str, str]],
) -> None:
    """All orders of four things are tried; where none is left, everything follows."""
    claims = [parse(f"The {a} is {'not ' if no else ''}{rel} the {b}") for a, no, rel, b in steps]

    def allows(order: tuple[str, ...]) -> bool:
        return all(
            a != b and (order.index(a) < order.index(b)) == ((rel == "left of") != no)
            for a, no, rel, b in steps
        )

    left = [order for order in permutations(NAMES) if allows(order)]
    told = {"yes" if order.index("red cube") < order.index("blue cone") else "no" for order in left}
    expected = {"yes", "no"} if not left else told if len(told) == 1 else set()
    question = {"type": "relation", "rel": "left of", "a": "red cube", "b": "blue cone"}
    assert entailed([claim for claim in claims if claim is not None], question) == expected


@pytest.mark.parametrize(
    ("said", "question", "expected"),
    [
        (["there are 2 cones"], {"type": "count", "desc": "cone"}, {"2"}),
        (["there are 2 red cones"], {"type": "count", "desc": "cone"}, set()),
        (["there is a red cone", "there is a blue cone"], {"type": "count", "desc": "cone"}, set()),
        (
            ["there is a red cone", "there is a blue cone", "so the answer is one"],
            {"type": "count", "desc": "cone"},
            {"1", "2"},
        ),
        (
            ["there is a red cone", "there is a red cone", "there is exactly one cone"],
            {"type": "count", "desc": "cone"},
            {"1"},
        ),
        (
            ["the red cone is the leftmost object"],
            {"type": "extreme", "which": "leftmost", "ask": "color"},
            {"red"},
        ),
        (
            ["the red cone is the leftmost object", "so the answer is the cone"],
            {"type": "extreme", "which": "leftmost", "ask": "ref"},
            {"red cone", "cone"},
        ),
        (
            ["the cone is the closest object"],
            {"type": "extreme", "which": "closest", "ask": "color"},
            set(),
        ),
        (
            ["so the answer is (B)", "thus the answer is b. a cat"],
            {"type": "choice", "options": ["a dog", "a cat"]},
            {"B"},
        ),
        (
            ["so the answer is a cat", "hence the answer is A"],
            {"type": "choice", "options": ["a dog", "a cat"]},
            {"A", "B"},
        ),
    ],
)
def test_what_follows_by_hand(
    said: list[str], question: dict[str, Any], expected: set[str]
) -> None:
    claims = [claim for each in said if (claim := parse(each)) is not None]
    assert len(claims) == len(said)
    assert entailed(claims, question) == expected


def test_a_cycle_on_the_axis_of_an_extreme_contradicts_every_answer() -> None:
    question = {"type": "extreme", "which": "leftmost", "ask": "color"}
    said = ("The red cone is the leftmost object", "The cone is left of the cone")
    claims = [claim for each in said if (claim := parse(each)) is not None]
    assert len(entailed(claims, question)) == 2
    deep = {**question, "which": "closest"}
    assert entailed(claims, deep) == set()


def test_a_caption_that_is_said_again_follows_and_its_denial_is_no() -> None:
    caption = "The cat is under the table."
    assert restated(["the cat is under the table"], caption) == {"yes"}
    assert restated(["The cat is not under the table."], caption) == {"no"}
    assert restated(["The cat is on the table"], caption) == set()


@pytest.mark.parametrize(
    ("text", "question", "answer"),
    [
        (" Yes. ", {"type": "relation"}, "yes"),
        ("Three", {"type": "count"}, "3"),
        ("007", {"type": "count"}, "7"),
        ("the red large cube.", {"type": "extreme"}, "large red cube"),
        ("red", {"type": "extreme"}, "red"),
    ],
)
def test_answers_are_compared_by_what_they_say(
    text: str, question: dict[str, Any], answer: str
) -> None:
    assert answer_of(text, question) == answer


# -- laws of the whole verdict


def claims_about(example: Example, rng: random.Random, count: int) -> list[str]:
    """Sentences of every kind, true and false, about a scene and about nothing."""
    seen = world.things(example.inputs["scene"])
    names = [each.name for each in seen] + ["small gray cone", "object", "cube"]
    box = ", ".join(f"{edge:.0f}" for edge in rng.choice(seen).box)
    made = [
        lambda: f"There is a {rng.choice(names)}",
        lambda: f"There is a {rng.choice(names)} at [{box}]",
        lambda: f"There are {rng.randint(0, 4)} {rng.choice(['cubes', 'red objects', 'cones'])}",
        lambda: (
            f"The {rng.choice(names)} is {rng.choice(['', 'not '])}{rng.choice([*asking.SIGN])} "
            f"the {rng.choice(names)}"
        ),
        lambda: f"The {rng.choice(names)} is {rng.choice(['red', 'small'])}",
        lambda: f"The {rng.choice(names)} is the {rng.choice([*asking.ENDS])} object",
        lambda: f"So the answer is {rng.choice(['yes', 'no', '2', 'red'])}",
        lambda: "It is hard to tell",
    ]
    return [rng.choice(made)() for _ in range(count)]


CASES = st.tuples(st.integers(0, 300), st.integers(0, 3), st.integers(0, 8), st.integers(0, 999))


def said_of(case: tuple[int, int, int, int]) -> tuple[Example, list[str], random.Random]:
    seed, place, count, draw = case
    example, rng = asked(seed, place), random.Random(draw)
    return example, claims_about(example, rng, count), rng


@QUICK
@given(CASES)
def test_the_order_of_claims_never_changes_the_verdict(case: tuple[int, int, int, int]) -> None:
    example, said, rng = said_of(case)
    before = verify(example, Completion(thought(*said)))
    after = verify(example, Completion(thought(*rng.sample(said, len(said)))))
    assert before.scores == pytest.approx(after.scores)
    assert before == Verdict(before.scores, after.answer, after.reason, after.note)


@QUICK
@given(CASES)
def test_a_false_claim_never_raises_grounding(case: tuple[int, int, int, int]) -> None:
    example, said, _ = said_of(case)
    before = verify(example, Completion(thought(*said))).scores
    after = verify(example, Completion(thought(*said, "There are 12 cubes"))).scores
    assert after["claims"] == before["claims"] + 1
    assert after["true_claims"] == before["true_claims"]
    assert after["grounding"] <= before["grounding"]


@QUICK
@given(CASES, st.integers(301, 600))
def test_consistency_is_of_the_text_alone(case: tuple[int, int, int, int], other: int) -> None:
    example, said, _ = said_of(case)
    elsewhere = Example("x", {**example.inputs, "scene": world.drawn(other)}, example.target)
    names = ("correct", "consistent", "contradictory", "undetermined", "claims", "coverage")
    here = verify(example, Completion(thought(*said))).scores
    there = verify(elsewhere, Completion(thought(*said))).scores
    assert {name: here[name] for name in names} == {name: there[name] for name in names}


@QUICK
@given(CASES)
def test_scores_are_shares_or_counts_that_add_up(case: tuple[int, int, int, int]) -> None:
    example, said, _ = said_of(case)
    scores = verify(example, Completion(thought(*said))).scores
    assert scores["consistent"] + scores["contradictory"] + scores["undetermined"] == 1
    assert scores["true_claims"] <= scores["claims"] <= scores["sentences"] == len(said)
    assert scores["box_hits"] <= scores["boxes"]
    assert scores["hallucinated"] <= scores["refs"]
    for name in ("grounding", "coverage", "needed", "box_hit"):
        assert 0 <= scores[name] <= 1
    assert not scores["claims"] <= 0 or scores["grounding"] == 0


HOSTILE = {
    "200 kB of letters": "a" * 200_000,
    "open tags": "<think>" * 30_000,
    "tags within": "<think><answer></think>" * 9_000,
    "10,000 claims with boxes": thought(*["There is a red cube at [1, 2, 3, 4]."] * 10_000),
    "10,000 boxes in a line": thought("[1,2,3,4]" * 10_000),
    "as many boxes as are read": thought("[1,2,3,4]" * 3_500),
    "as many claims as are read": thought(*["the cube is left of the cone"] * 999),
    "a long cycle": thought(
        *(
            f"The {a} {b} is left of the {c}"
            for a in world.COLORS
            for b in world.SHAPES
            for c in world.SHAPES
        )
    ),
    "open brackets": thought("[" * 31_000),
    "commas": thought(", " * 15_000),
    "commas in a bracket": thought("[" + "1," * 15_000),
    "full stops": thought(". " * 15_000),
    "beginnings of claims": thought(*["the large red cube [1,1,1,1] is"] * 900),
    "numbers": thought("There are " + "9" * 380 + " cubes", "So the answer is " + "9" * 380),
    "no numbers": thought(
        "There is a cube at [nan, inf, -inf, 1e999].", "There is a cube at [,,,]."
    ),
    "inverted": thought("There is a cube at [90, 90, 1, 1]."),
    "marks": thought("\u202e\x00 The cube \ud83d is red", answer="\u0663"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_output_is_judged_in_no_time(name: str) -> None:
    seconds: list[float] = []
    for place in range(4):
        begin = time.thread_time()  # what else the machine does is not counted
        verdict = verify(asked(7, place), Completion(HOSTILE[name]))
        seconds.append(time.thread_time() - begin)
        assert all(0 <= score < 1e5 for score in verdict.scores.values())
        assert verdict.scores["correct"] == 0 or verdict.scores["format"] == 1
    assert min(seconds) < 0.05
