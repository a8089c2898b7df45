"""dr_grpo by hand: no std, a constant length."""

import pytest
from torch import tensor
from torch.testing import assert_close

from tests.trainer_builders import a_run, credited, judged
from trainers.advantages import ScaleByStd
from trainers.recipe import Run
from trainers.recipes.dr_grpo import RECIPE as DR_GRPO
from trainers.recipes.grpo import RECIPE as GRPO
from trainers.weights import MeanOverLength

TEN = DR_GRPO.but(max_tokens=10)


@pytest.fixture(scope="module")
def run() -> Run:
    return a_run(TEN)


def test_worked_example(run: Run):
    batch = credited(TEN, judged([1.0, 0.0, 0.0, 0.5], steps=[2, 1, 4, 4]), run)
    assert_close(batch.advantages[:, 0], tensor([0.625, -0.375, -0.375, 0.125]), atol=1e-6, rtol=0)
    assert_close(batch.weights[0], tensor([0.025, 0.025, 0.0, 0.0]), atol=1e-6, rtol=0)
    assert_close(batch.weights.sum().item(), 11 / 40, atol=1e-6, rtol=0)


def test_the_length_is_the_recipes_own_unless_it_is_given(run: Run):
    batch = judged([1.0, 0.0], steps=[4, 4])
    given = credited(TEN.but(weights=(MeanOverLength(20),)), batch, run)
    assert_close(credited(TEN, batch, run).weights, 2 * given.weights)


def test_is_grpo_when_all_lengths_are_the_constant_and_std_is_put_back(run: Run):
    batch = judged([1.0, 0.0, 0.2], [0.3, 0.9], steps=10)
    scaled = TEN.but(advantages=(*TEN.advantages, ScaleByStd()))
    one, other = credited(scaled, batch, run), credited(GRPO, batch, run)
    assert_close(one.advantages, other.advantages)
    assert_close(one.weights, other.weights)


@pytest.mark.parametrize("rewards", [[1.0] * 4, [0.0] * 4, [0.7]])
def test_groups_that_teach_nothing_are_zero(run: Run, rewards: list[float]):
    batch = credited(TEN, judged(rewards, [0.0, 1.0]), run)
    assert batch.advantages[: len(rewards)].abs().max().item() == 0
