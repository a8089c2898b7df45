"""scaf_grpo by hand: who is helped, by which level, and what a rescued group learns."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from torch import tensor
from torch.testing import assert_close

from harness.types import Prompt, Rollout
from tests.trainer_builders import (
    CORRECT,
    Paid,
    a_run,
    asked,
    credited,
    digits,
    judged,
    still,
    tiny,
)
from trainers.learner import Learner
from trainers.recipe import Run
from trainers.recipes.grpo import RECIPE as GRPO
from trainers.recipes.scaf_grpo import RECIPE, ScaffoldHints

HINTS = {tier: [f"{tier} {n}" for n in (1, 2, 3, 4)] for tier in ScaffoldHints().tiers}
RELEASED = ScaffoldHints(exempt=0, tiers=("knowledge", "solution"))


@pytest.fixture
def run() -> Run:
    return a_run(RECIPE.but(rewards=CORRECT), policy=still())


def hinted(*levels: int) -> Callable[[Prompt], float]:
    """Fails without a hint; of the released eight levels, succeeds at these."""
    tiers = RELEASED.tiers

    def reward(prompt: Prompt) -> float:
        if not prompt.hints:
            return 0.0
        last = prompt.hints[-1].split()
        return float(last[0] in tiers and 4 * tiers.index(last[0]) + int(last[1]) in levels)

    return reward


def test_worked_example(run: Run):
    paid = Paid(hinted(4, 6, 7, 8))
    found = RELEASED(asked("q", rollouts=8, hints=HINTS), paid, run)
    assert [r.verdict.scores["correct"] for r in found] == [1, 0, 0, 0, 0, 0, 0, 0]
    assert found[0].prompt.hints == tuple(HINTS["knowledge"])
    batch = credited(RECIPE, judged([1.0] + [0.0] * 7), run)
    expected = tensor([2.474867] + [-0.353552] * 7)
    assert_close(batch.advantages[:, 0], expected, atol=1e-6, rtol=0)
    numbers = run.tally.numbers()
    assert numbers["scaffold/level"] == 4
    assert numbers["scaffold/knowledge"] == numbers["scaffold/rescued"] == 1


def test_a_level_shows_pieces_of_its_own_tier_alone(run: Run):
    paid = Paid(hinted())
    ScaffoldHints(exempt=0)(asked("q", rollouts=2, hints=HINTS), paid, run)
    shown = [list(prompt.hints) for prompt in paid.asked[1]]
    assert shown == [HINTS[tier][:count] for tier in HINTS for count in (1, 2, 3, 4)]


@pytest.mark.parametrize(("stage", "more"), [(RELEASED, 24), (ScaffoldHints(exempt=0), 36)])
def test_three_failed_questions_cost_one_attempt_a_level(run: Run, stage: ScaffoldHints, more: int):
    paid = Paid(hinted())
    found = stage(asked("a", "b", "c", rollouts=8, hints=HINTS), paid, run)
    assert [len(call) for call in paid.asked] == [24, more]
    assert len(found) == 24
    assert run.tally.numbers()["scaffold/rescued"] == 0
    drawn = [(p.example.id, p.attempt) for call in paid.asked for p in call]
    assert len(drawn) == len(set(drawn))


def test_a_group_with_any_success_is_left_alone(run: Run):
    paid = Paid(lambda prompt: float(prompt.attempt == 0 or bool(prompt.hints)))
    found = RELEASED(asked("q", rollouts=8, hints=HINTS), paid, run)
    assert len(paid.asked) == 1
    assert not any(r.prompt.hints for r in found)


@pytest.mark.parametrize(
    ("exempt", "steps", "first"), [(None, 200, 30), (None, 100, 15), (50, 200, 50), (0, 9, 0)]
)
def test_first_steps_are_without_hints(exempt: int | None, steps: int, first: int):
    run = a_run(RECIPE.but(rewards=CORRECT, steps=steps), policy=still())
    for step, calls in ((first - 1, 1), (first, 2)):
        paid = Paid(hinted())
        if step >= 0:
            stage = ScaffoldHints(exempt=exempt)
            stage(asked("q", hints=HINTS), paid, replace(run, step=step))
            assert len(paid.asked) == calls


def test_examples_without_hints_and_with_one_hint(run: Run):
    paid = Paid(lambda prompt: 0.0)
    RELEASED([*asked("none", rollouts=2), *asked("one", rollouts=2, hints="look")], paid, run)
    assert [prompt.hints for prompt in paid.asked[1]] == [("look",)]


@pytest.mark.parametrize("odd", [None, 7, {}, {"knowledge": None}, [], "", {"elsewhere": ["x"]}])
def test_hints_of_odd_kinds_are_text_or_nothing(run: Run, odd: object):
    paid = Paid(lambda prompt: 0.0)
    RELEASED(asked("q", rollouts=2, hints=odd), paid, run)
    assert [p.hints for call in paid.asked[1:] for p in call] == ([("7",)] if odd == 7 else [])


def test_only_the_row_that_was_rescued_changes(run: Run):
    prompts = [*asked("a", rollouts=3, hints=HINTS), *asked("b", rollouts=2, hints=HINTS)]
    paid = Paid(hinted(1, 2))
    found = RELEASED(prompts, paid, run)
    assert [(r.example.id, bool(r.prompt.hints)) for r in found] == [
        ("a", True), ("a", False), ("a", False), ("b", True), ("b", False),
    ]  # fmt: skip


def test_hints_that_tell_the_answer_are_counted():
    run = a_run(RECIPE.but(rewards=CORRECT), policy=still())
    leaking = {"knowledge": ["think"], "solution": ["it is 1"]}
    for level, leaked in ((1, 0), (2, 1)):
        paid = Paid(lambda p, level=level: float(bool(p.hints) and p.attempt == 1 + level))
        prompts = asked("q", rollouts=2, hints=leaking)
        RELEASED(prompts, paid, run)
        assert run.tally.numbers()["scaffold/leaked"] == leaked


@pytest.mark.parametrize("row", ["hinted", "bare"])
def test_a_success_is_reviewed_under_the_prompt_of_its_row(row: str):
    policy, task = tiny(), digits()
    run = a_run(RECIPE, policy=policy)
    prompt = task.prompt(task.examples("train")[0])
    prompt = prompt.but(example=replace(prompt.example, tags={"hints": HINTS}), rollouts=2)

    def attempt(prompts: list[Prompt]) -> list[Rollout]:
        """What the policy says; right with any hint."""
        made = Paid(lambda p: float(bool(p.hints)))(prompts)
        said = dict(policy.answer([r.prompt for r in made]))
        return [
            replace(r, turns=((r.prompt, said[n]),),
                    verdict=replace(r.verdict, scores={**r.verdict.scores, "close": 0.0}))
            for n, r in enumerate(made)
        ]  # fmt: skip

    first, second = replace(RELEASED, row=row)([prompt], attempt, run)  # type: ignore[arg-type]
    with torch.no_grad():
        live = policy.review([first, second])
    told = first.prompt if row == "hinted" else first.prompt.with_hint("knowledge 1")
    seen = Rollout(((told, first.completion),), first.verdict, "q")
    with torch.no_grad():
        under_hint = policy.review([seen]).logprobs[0]
    same = torch.allclose(live.logprobs[0, : len(under_hint)], under_hint, atol=1e-5)
    assert same == (row == "hinted")
    assert (first.completion.logprobs is None) == (row == "bare")
    learner = Learner("solver", RECIPE, policy)
    batch = learner.gradient(learner.batch([first, second], run), run, first=True)
    assert_close(batch.old_logprobs, live.logprobs, atol=1e-5, rtol=0)


def test_no_prompt_of_the_task_itself_has_hints():
    task = digits()
    assert not any(task.prompt(e).hints for split in ("dev", "test") for e in task.examples(split))


@pytest.mark.parametrize("rewards", [[1.0] * 4, [0.0] * 4, [0.0]])
def test_groups_that_teach_nothing_are_zero(run: Run, rewards: list[float]):
    assert credited(RECIPE, judged(rewards), run).advantages.abs().max() == 0


def test_is_grpo_with_the_samples_std_where_no_group_fails(run: Run):
    paid = Paid(lambda prompt: float(prompt.attempt % 2))
    prompts = asked("a", "b", rollouts=4, hints=HINTS)
    assert RELEASED(prompts, paid, run) == Paid(paid.reward)(prompts)
    batch = judged([1.0, 0.0, 0.0], [0.0, 1.0])
    likened = GRPO.but(advantages=RECIPE.advantages)
    assert_close(credited(RECIPE, batch, run).advantages, credited(likened, batch, run).advantages)
