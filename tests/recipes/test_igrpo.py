"""igrpo by hand: which draft is shown, what is learned from, and under which prompt."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import tensor
from torch.testing import assert_close

from harness.play import play
from harness.types import Completion, Prompt, Rollout
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
from trainers.recipes.igrpo import RECIPE, DraftThenRefine

FOUR = DraftThenRefine(drafts=4)


@pytest.fixture
def run() -> Run:
    return a_run(RECIPE.but(rewards=CORRECT), policy=still())


def test_worked_example(run: Run):
    paid = Paid(lambda prompt: [0, 1, 0, 1][prompt.attempt] if not prompt.hints else 0.0)
    found = FOUR(asked("q", rollouts=4), paid, run)
    (hint,) = found[0].prompt.hints
    assert "answer 1" in hint
    batch = credited(RECIPE, judged([1.0, 1.0, 0.0, 1.0]), run)
    expected = tensor([0.5, 0.5, -1.5, 0.5])
    assert_close(batch.advantages[:, 0], expected, atol=1e-6, rtol=0)


def test_drafts_are_not_learned_from_and_no_draw_is_made_twice(run: Run):
    paid = Paid(lambda prompt: 1.0)
    found = FOUR(asked("a", "b", rollouts=3), paid, run)
    assert [len(call) for call in paid.asked] == [8, 6]
    assert [(r.example.id, r.attempt) for r in found] == [(i, n) for i in "ab" for n in (4, 5, 6)]
    drawn = [(p.example.id, p.attempt) for call in paid.asked for p in call]
    assert len(drawn) == len(set(drawn))


def test_where_all_drafts_fail_the_first_is_shown_and_nothing_is_learned(run: Run):
    found = FOUR(asked("q", rollouts=4), Paid(lambda prompt: 0.0), run)
    assert "answer 0" in found[0].prompt.hints[0]
    assert run.tally.numbers()["drafts/best"] == 0
    assert credited(RECIPE, judged([0.0] * 4), run).advantages.abs().max() == 0


@pytest.mark.parametrize("chance", [0.05, 0.1, 0.3])
def test_the_best_of_n_drafts_is_right_as_often_as_binomial_says(run: Run, chance: float):
    """1 - (1 - p)^8: 0.336580, 0.569533, 0.942352."""
    rng = np.random.default_rng(0)
    prompts = asked(*(f"q{n}" for n in range(1000)))
    DraftThenRefine(drafts=8)(prompts, Paid(lambda p: float(rng.random() < chance)), run)
    exact = {0.05: 0.336580, 0.1: 0.569533, 0.3: 0.942352}[chance]
    assert 1 - (1 - chance) ** 8 == pytest.approx(exact, abs=1e-6)
    error = (exact * (1 - exact) / 1000) ** 0.5
    assert run.tally.numbers()["drafts/best"] == pytest.approx(exact, abs=4 * error)


def test_long_drafts_are_cut_in_the_same_place_every_time(run: Run):
    class Long(Paid):
        def judged(self, prompt: Prompt) -> Rollout:
            made = super().judged(prompt)
            return replace(made, turns=((prompt, Completion("ab" * 5000, steps=1)),))

    found = FOUR(asked("q", rollouts=2), Long(lambda prompt: 0.0), run)
    assert "ab" * 1000 in found[0].prompt.hints[0]
    assert len(found[0].prompt.hints[0]) < 2100
    assert run.tally.numbers()["rollouts/copied"] == 1


def test_an_answer_of_nothing_can_be_a_draft(run: Run):
    class Silent(Paid):
        def judged(self, prompt: Prompt) -> Rollout:
            return replace(super().judged(prompt), turns=((prompt, Completion(None)),))

    assert len(FOUR(asked("q"), Silent(lambda prompt: 0.0), run)) == 1


def test_a_question_whose_drafts_were_not_made_is_asked_as_it_is(run: Run):
    calls = iter([lambda prompts: [], Paid(lambda prompt: 1.0)])
    found = FOUR(asked("q", rollouts=2), lambda prompts: next(calls)(prompts), run)
    assert [r.prompt.hints for r in found] == [(), ()]


def test_an_example_that_comes_twice_has_its_drafts_once(run: Run):
    paid = Paid(lambda prompt: 0.0)
    assert len(FOUR([*asked("q", rollouts=2), *asked("q", rollouts=2)], paid, run)) == 4
    assert [len(call) for call in paid.asked] == [4, 4]


def test_ratios_are_taken_under_the_prompt_with_the_draft():
    policy, task = tiny(), digits()
    run = a_run(RECIPE, policy=policy)
    prompts = [task.prompt(example).but(rollouts=4) for example in task.examples("train")[:2]]
    found = FOUR(
        prompts, lambda p: [r for r in play(task, p, policy) if isinstance(r, Rollout)], run
    )
    learner = Learner("solver", RECIPE, policy)
    batch = learner.gradient(learner.batch(found, run), run, first=True)
    with torch.no_grad():
        bare = [
            replace(r, turns=tuple((asked.plain(), said) for asked, said in r.turns)) for r in found
        ]
        with_draft, without = policy.review(found).logprobs, policy.review(bare).logprobs
    assert_close(batch.old_logprobs, with_draft, atol=1e-5, rtol=0)
    assert (batch.old_logprobs - without).abs().max() > 1e-3


def test_without_drafts_it_is_grpo_with_the_samples_std(run: Run):
    paid = Paid(lambda prompt: float(prompt.attempt % 2))
    found = DraftThenRefine(drafts=0)(asked("q", rollouts=4), paid, run)
    assert [len(call) for call in paid.asked] == [4]
    assert not any(r.prompt.hints for r in found)
    batch = judged([1.0, 0.0, 0.5, 0.0], [0.0, 1.0])
    likened = GRPO.but(advantages=RECIPE.advantages)
    assert_close(credited(RECIPE, batch, run).advantages, credited(likened, batch, run).advantages)


def test_a_step_costs_as_many_attempts_as_one_of_grpo():
    (stage,) = RECIPE.rollouts
    assert stage.drafts + RECIPE.samplers.rollouts == GRPO.samplers.rollouts  # type: ignore[attr-defined]
