"""recommend/phrasing: what is named is read, judged, and compared over the phrasings of a wish."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from harness import Completion, Prompt, Rollout, registry
from harness.play import first, play
from harness.types import SPLITS
from tasks import recommend

TASK = registry.task("recommend/phrasing")
EXAMPLE = TASK.examples("test")[0]


def judged(text: Any) -> Any:
    return TASK.verify(EXAMPLE, Completion(text))


def compared(*texts: str) -> list[Mapping[str, float]]:
    """Scores of one wish whose phrasings got these replies."""
    some = first(TASK, TASK.examples("test"), 6)[: len(texts)]
    told = {e.id: text for e, text in zip(some, texts, strict=True)}

    class Says:
        name, independent = "says", True

        def answer(self, prompts: Sequence[Prompt]):
            for number, prompt in enumerate(prompts):
                yield number, Completion(told[prompt.example.id], steps=1)

        def describe(self) -> Mapping[str, Any]:
            return {}

    found = [
        r for r in play(TASK, [TASK.prompt(e) for e in some], Says()) if isinstance(r, Rollout)
    ]
    return [r.verdict.scores for r in sorted(found, key=lambda r: r.example.id)]


def test_lines_are_read_in_any_case_and_with_numbers():
    one, two, three = EXAMPLE.target
    found = judged(f"1. {one.upper()}\n- {two}.\nI also like {three}\n{one}")
    assert found.answer == [one, two]
    assert found.scores["fitting"] == 1
    assert found.scores["complete"] == pytest.approx(2 / 3)
    assert found.reason == "wrong"


def test_what_the_prompt_does_not_list_is_ungrounded():
    other = next(a for a in recommend.articles() if a not in EXAMPLE.inputs["shelf"])
    found = judged(f"{EXAMPLE.target[0]}\n{other}")
    assert found.reason == "ungrounded"
    assert found.scores["grounded"] == 0.5


@pytest.mark.parametrize(
    ("text", "reason"), [("", "no_answer"), (None, "no_answer"), ("anything else", "bad_format")]
)
def test_replies_without_articles(text: Any, reason: str):
    found = judged(text)
    assert found.reason == reason
    assert found.scores["fitting"] == 0


def test_consistency_by_hand():
    a, b, c = EXAMPLE.target
    found = compared(f"{a}\n{b}\n{c}", f"{a}\n{b}", "nothing")
    assert [s["same_first"] for s in found] == [0.5, 0.5, 0]
    assert [s["alike"] for s in found] == pytest.approx([1 / 3, 1 / 3, 0])


def test_a_constant_list_is_steady_and_need_not_fit():
    other = next(a for a in EXAMPLE.inputs["shelf"] if a not in EXAMPLE.target)
    for scores in compared(*[other] * 6):
        assert scores["same_first"] == scores["alike"] == scores["steady"] == 1
        assert scores["fitting"] == 0


def test_a_wish_is_a_set_and_the_group_of_training():
    some = TASK.examples("train")[:12]
    assert [TASK.set(e) for e in some] == [TASK.group(e) for e in some]
    assert len({TASK.set(e) for e in some}) == 2


def test_templates_of_training_and_test_are_disjoint():
    train, test = recommend.TEMPLATES[:6], recommend.TEMPLATES[6:]
    assert len(test) == recommend.SIZE
    assert not set(train) & set(test)


def test_a_wish_is_in_one_split_with_all_its_shelves():
    wanted = {
        split: {recommend.articles()[e.target[0]] for e in TASK.examples(split)} for split in SPLITS
    }
    assert sum(map(len, wanted.values())) == len(recommend.KINDS) * len(recommend.PURPOSES)
    assert len(set.union(*wanted.values())) == sum(map(len, wanted.values()))
    assert all(wanted.values())
