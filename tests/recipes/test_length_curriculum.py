"""length_curriculum by hand: budgets that fall, the triangle and the band."""

from collections.abc import Sequence
from dataclasses import replace

import pytest
import torch
from torch import tensor
from torch.testing import assert_close

from harness.errors import UsageError
from harness.types import Prompt, Rollout, Verdict
from tests.trainer_builders import a_run, credited, digits, judged, rollout, still
from trainers.batch import Batch
from trainers.recipe import Run
from trainers.recipes.grpo import RECIPE as GRPO
from trainers.recipes.length_curriculum import RECIPE as CURRICULUM
from trainers.recipes.length_curriculum import Budget, PayLength, TellBudget
from trainers.rewards import WeighScores
from trainers.written import change, known, read

PAPER = CURRICULUM.but(steps=600, max_tokens=256)
HUNDRED = CURRICULUM.but(max_tokens=100)


def at_step(step: int, recipe=PAPER) -> Run:
    return replace(a_run(recipe, policy=still()), step=step)


def exact(budget: Budget, steps: list[int]) -> list[float]:
    return [budget.exact(at_step(step)) for step in steps]


def paid(batch: Batch, recipe=HUNDRED, step: int = 0) -> Batch:
    run = at_step(step, recipe)
    for stage in recipe.rewards:
        batch = stage(batch, run)
    return batch


def long(*lengths: int, rewards: list[float] | None = None) -> Batch:
    return judged(rewards or [0.0] * len(lengths), steps=list(lengths))


def only(shape: str) -> PayLength:
    return PayLength(weight=1.0, shape=shape)  # type: ignore[arg-type]


# ---- budgets


def test_oracle_the_budget_is_a_function_of_the_step():
    steps = [0, 149, 150, 300, 310, 450, 599, 10_000]
    expected = [256, 256, 179.2, 125.44, 125.44, 87.808, 87.808, 87.808]
    assert exact(Budget(), steps) == pytest.approx(expected, abs=5e-7)
    by_powers = [max(1.0, 256 * 0.7 ** (step // 150)) for step in steps[:-1]]
    assert exact(Budget(), steps[:-1]) == pytest.approx(by_powers)


def test_oracle_general_form_from_256_to_87():
    budget = Budget(end=87 / 256)
    expected = [256, 178.648645, 124.669291, 87]
    assert exact(budget, [0, 150, 300, 450]) == pytest.approx(expected, abs=5e-7)
    factor = exact(budget, [150])[0] / 256
    assert factor == pytest.approx(0.697846, abs=5e-7)


def test_drops_may_be_equal_amounts_or_none():
    linear = Budget(start=1.0, end=0.25, drops=3, fall="linear")
    assert exact(linear, [0, 150, 300, 599]) == pytest.approx([256, 192, 128, 64])
    assert exact(Budget(start=0.5, end=0.1, drops=0), [0, 599]) == [128, 128]
    assert exact(Budget(end=1e-6), [599]) == [1.0]


def test_budgets_that_are_none_are_refused():
    for wrong in ({"start": 0.0}, {"end": -1.0}, {"drops": -1}):
        with pytest.raises(UsageError, match="above 0"):
            Budget(**wrong)  # type: ignore[arg-type]


def test_prompt_and_reward_count_with_the_same_rounded_budget():
    told: list[str] = []

    def listen(prompts: Sequence[Prompt]) -> list[Rollout]:
        told.extend(hint for prompt in prompts for hint in prompt.hints)
        return []

    run = at_step(300)
    TellBudget()([digits().prompt(digits().examples("train")[0])], listen, run)
    assert told == ["Use exactly 125 tokens."]
    batch = PayLength(weight=1.0)(long(125, 125), run)
    assert batch.rewards[:, 0].tolist() == [1.0, 1.0]
    with pytest.raises(UsageError, match="PayLength"):
        TellBudget()([], listen, at_step(0, GRPO))


# ---- what length is paid


def test_oracle_triangle_and_band():
    lengths = long(50, 100, 150, 230)
    for shape, expected in (("triangle", [0.5, 1, 0.5, 0]), ("band", [1, 1, 0.5, 0])):
        batch = only(shape)(lengths, at_step(0, HUNDRED))
        assert_close(batch.rewards[:, 0], tensor(expected), atol=5e-7, rtol=0)


@pytest.mark.parametrize("shape", ["triangle", "band"])
def test_the_ramp_is_continuous_at_the_budget_and_0_at_its_double(shape: str):
    found = only(shape)(long(99, 100, 101, 199, 200, 201), at_step(0, HUNDRED)).rewards[:, 0]
    assert found[:3].tolist() == pytest.approx([0.99 if shape == "triangle" else 1, 1, 0.99])
    assert found[3:].tolist() == pytest.approx([0.01, 0, 0])


def test_oracle_worked_example():
    mix = HUNDRED.but(rewards=(WeighScores({"correct": 0.6, "format": 0.1}), PayLength(weight=0.3)))
    batch = long(50, 100, 150, 230)
    scores = zip([1, 1, 0, 1], [1, 1, 1, 0], strict=True)
    rollouts = [
        replace(r, verdict=Verdict({"correct": float(right), "format": float(form)}))
        for r, (right, form) in zip(batch.rollouts, scores, strict=True)
    ]
    batch = paid(batch.but(rollouts=tuple(rollouts)), mix)
    assert_close(batch.rewards[:, 0], tensor([0.85, 1.0, 0.25, 0.6]), atol=5e-7, rtol=0)
    expected = tensor([0.616316, 1.144586, -1.496766, -0.264135])
    assert_close(credited(mix, batch).advantages[:, 0], expected, atol=1e-6, rtol=0)


def test_wrong_answers_of_the_right_length_are_paid_too():
    recipe = HUNDRED.but(rewards=(WeighScores({"correct": 1.0}), PayLength(2.0)))
    batch = credited(recipe, paid(long(50, 100), recipe), at_step(0, recipe))
    assert batch.advantages[1].item() > 0 > batch.advantages[0].item()
    assert batch.weights.sum().item() == pytest.approx(1)


def test_only_the_thought_may_be_counted():
    pieces = ("<think>", "so", "</th", "ink>", " 4", "2")
    closed = rollout(steps=6, pieces=pieces)
    never = rollout(steps=6, attempt=1, pieces=("so",) * 6)
    batch = Batch.of([closed, never], torch.ones(2, 6, dtype=torch.bool))
    run = at_step(0, CURRICULUM.but(max_tokens=6))
    stage = PayLength(weight=1.0, count="think")
    assert_close(stage(batch, run).rewards[:, 0], tensor([4 / 6, 1.0]))


def test_rewards_of_steps_bear_their_part():
    batch = long(50, 100).but(rewards=torch.zeros(2, 100))
    found = only("triangle")(batch, at_step(0, HUNDRED)).rewards
    assert_close((found * batch.mask).sum(1), tensor([0.5, 1.0]), atol=1e-5, rtol=0)


def test_limit_weight_0_is_grpo():
    free = HUNDRED.but(rewards=(WeighScores({"correct": 1.0}), PayLength(0.0)))
    batch = long(5, 50, 90, rewards=[1.0, 0.0, 1.0])
    one, other = credited(free, paid(batch, free)), credited(GRPO, batch)
    assert_close(one.advantages, other.advantages, atol=5e-4, rtol=0)  # but for eps
    assert_close(one.weights, other.weights)


def test_stages_that_the_recipe_does_not_use_can_be_named():
    told = change(CURRICULUM, ["rollouts=(TellBudget(),)", "rewards.PayLength.budget.drops=5"])
    assert told.rollouts == (TellBudget(),)
    assert told.rewards[1].budget.drops == 5  # type: ignore[attr-defined]
    assert read(repr(told), known(told)) == told


def test_degenerate_equal_rewards_and_lengths_are_zero():
    recipe = HUNDRED.but(rewards=(WeighScores({"correct": 1.0}), PayLength()))
    for rewards in ([1.0] * 3, [0.0] * 3, [1.0]):
        batch = credited(recipe, paid(long(*[77] * len(rewards), rewards=rewards), recipe))
        assert batch.advantages.abs().max().item() == 0
