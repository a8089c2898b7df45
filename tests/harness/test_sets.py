"""Sets of examples: kept whole by limits, samplers and blocks, stored, shown, and resampled."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from harness import Completion, Example, Message, Prompt, Rollout, Task, Verdict, viewing
from harness.codec import decode, encode
from harness.play import blocks, first, set_of, whole_sets
from harness.viewing_sets import sets
from results.run import line
from trainers.recipe import Policies, Run
from trainers.recipes.grpo import RECIPE as GRPO
from trainers.samplers import Uniform

SIZES = (3, 1, 4, 2, 3)
EXAMPLES = [
    Example(f"q{name}/{n}", {"q": f"{name} {n}"}, "", {"set": f"q{name}"})
    for name, size in enumerate(SIZES)
    for n in range(size)
]


def set_name(example: Example) -> str:
    return str(example.tags["set"])


def a_task(**more: Any) -> Task:
    given: dict[str, Any] = {
        "name": "sets/phrased",
        "version": 1,
        "examples": lambda split: EXAMPLES,
        "prompt": lambda e: Prompt(e, (Message("user", f"What of {e.inputs['q']}?"),)),
        "verify": lambda e, c: Verdict({"correct": 1.0}, c.output),
        "gold": lambda e: "",
        "metrics": (),
        "reward": {"correct": 1.0},
        "set": set_name,
        "compare": lambda rollouts: [{} for _ in rollouts],
        **more,
    }
    return Task(**given)


def sizes(examples: list[Example]) -> list[int]:
    names = [set_name(example) for example in examples]
    return [names.count(name) for name in dict.fromkeys(names)]


@pytest.mark.parametrize(
    ("limit", "kept"),
    [(None, SIZES), (1, (3,)), (3, (3,)), (7, (3, 1)), (8, (3, 1, 4)), (99, SIZES)],
)
def test_a_limit_never_cuts_a_set(limit: int | None, kept: tuple[int, ...]):
    assert sizes(first(a_task(), EXAMPLES, limit)) == list(kept)


def test_without_sets_a_limit_is_a_slice():
    task = a_task(set=lambda e: e.id)
    for limit in (1, 5, 13, 99, None):
        assert first(task, EXAMPLES, limit) == EXAMPLES[:limit]


def test_sets_that_are_scattered_are_gathered_and_examples_keep_their_order():
    mixed = sorted(EXAMPLES, key=lambda e: e.id[::-1])
    kept = first(a_task(), mixed, 8)
    assert kept == [e for e in mixed if e in kept]
    assert sorted(sizes(kept)) == sorted(len(s) for s in whole_sets(a_task(), mixed, 8))


def test_the_set_is_the_unit_of_resampling_unless_a_cluster_is_given():
    assert a_task().cluster(EXAMPLES[0]) == "q0"
    assert a_task(cluster=lambda e: "day").cluster(EXAMPLES[0]) == "day"
    assert a_task(set=lambda e: e.id).cluster(EXAMPLES[0]) == EXAMPLES[0].id
    assert a_task().but(version=2).cluster(EXAMPLES[0]) == "q0"


def test_blocks_hold_whole_sets():
    prompts = [a_task().prompt(e).but(rollouts=2) for e in EXAMPLES]
    for block in blocks(a_task(), prompts, 5):
        names = {set_name(p.example) for p in block}
        for name in names:
            assert sum(set_name(p.example) == name for p in block) == 2 * SIZES[int(name[1:])]


def run_of(task: Task) -> Run:
    return Run(task=task, recipe=GRPO, policies=Policies({}), examples=EXAMPLES)


@pytest.mark.parametrize("prompts", [1, 4, 6, 13, 30])
def test_the_sampler_asks_whole_sets_and_all_of_them_once_an_epoch(prompts: int):
    run = run_of(a_task())
    asked: list[str] = []
    for _ in range(6):
        now = Uniform(prompts=prompts, rollouts=2)(EXAMPLES, run)
        names = [set_name(p.example) for p in now]
        assert all(names.count(n) % SIZES[int(n[1:])] == 0 for n in names)
        assert len(now) <= max(prompts, max(SIZES))
        keys = [(p.example.id, p.attempt) for p in now]
        assert len(set(keys)) == len(keys)
        asked += list(dict.fromkeys(names)) if prompts < 13 else names
    if prompts < 13:
        assert len(set(asked[: len(SIZES)])) == len(SIZES)


def test_the_sampler_goes_on_where_it_was():
    whole, parts = run_of(a_task()), run_of(a_task())
    sampler = Uniform(prompts=5, rollouts=2)
    one = [p.example.id for _ in range(7) for p in sampler(EXAMPLES, whole)]
    two = [p.example.id for _ in range(3) for p in sampler(EXAMPLES, parts)]
    again = replace(run_of(a_task()), memory=dict(parts.memory))
    two += [p.example.id for _ in range(4) for p in sampler(EXAMPLES, again)]
    assert one == two


def rollout(number: int, answer: Any, *, name: str = "q0") -> Rollout:
    example = Example(f"{name}/{number}", {}, "", {"set": name})
    prompt = Prompt(example, (Message("user", f"Passage <b>one</b>\nQuestion {number}?"),))
    said = Completion(str(answer), steps=1)
    return Rollout(((prompt, said),), Verdict({"correct": 1.0}, answer), example.id, set=name)


def test_a_rollouts_set_is_stored():
    one = rollout(0, "a")
    assert decode(encode(one), one.example) == one
    assert "set" not in encode(replace(one, set=""))
    assert set_of(a_task(), EXAMPLES[0]) == "q0"
    assert set_of(a_task(set=lambda e: e.id), EXAMPLES[0]) == ""


def test_a_set_is_shown_with_what_each_was_asked_and_how_alike_the_answers_are():
    lines = [line(rollout(n, text)) for n, text in enumerate(["paris", "Paris france", None])]
    [shown] = sets([*lines, line(rollout(0, "alone", name="q9"))])
    assert shown["shared"] == ["Passage <b>one</b>"]
    assert [m["own"] for m in shown["members"]] == [[f"Question {n}?"] for n in range(3)]
    assert [m["answer"] for m in shown["members"]] == ["paris", "Paris france", "none"]
    assert [c["told"] for c in shown["members"][0]["alike"]] == ["1.00", "0.67", "0.00"]
    assert shown["agreement"] == "0.22"
    made = viewing.rows(lines, 10)
    page = viewing.page("run", {}, {}, made)
    assert "Passage &lt;b&gt;one&lt;/b&gt;" in page
    assert "<b>one</b>" not in page.partition('type="application/json"')[0]
    assert 'class="heat7"' in page


@pytest.mark.parametrize("damage", [{"verdict": None}, {"turns": []}, {"turns": 3}, {"example": 0}])
def test_lines_that_are_damaged_show_no_set(damage: dict[str, Any]):
    lines = [{**line(rollout(n, "a")), **damage} for n in range(2)]
    assert sets(lines) == []


def test_rankings_are_alike_by_what_they_share():
    lines = [line(rollout(n, ids)) for n, ids in enumerate([["a", "b"], ["b", "c"]])]
    assert sets(lines)[0]["agreement"] == "0.33"
