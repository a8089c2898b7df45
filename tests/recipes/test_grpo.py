"""grpo by hand: DeepSeekMath's formula on a few rewards."""

import pytest
from torch import tensor
from torch.testing import assert_close

from tests.trainer_builders import a_run, credited, judged
from trainers.advantages import ScaleByStd
from trainers.recipe import Run
from trainers.recipes.grpo import RECIPE as GRPO


@pytest.fixture(scope="module")
def run() -> Run:
    return a_run()


def test_worked_example(run: Run):
    # mean 0.25, population variance 3/16
    batch = credited(GRPO, judged([1.0, 0.0, 0.0, 0.0], steps=[2, 1, 4, 4]), run)
    std = (3 / 16) ** 0.5
    expected = tensor([0.75, -0.25, -0.25, -0.25]) / (std + 1e-4)
    assert_close(batch.advantages[:, 0], expected)
    assert_close(batch.weights.sum(1), tensor([0.25] * 4))
    assert_close(batch.weights[0, :2], tensor([1 / 8] * 2))


def test_with_the_sample_std_it_is_trl(run: Run):
    trl = GRPO.but(advantages=(GRPO.advantages[0], ScaleByStd(eps=1e-4, ddof=1)))
    batch = credited(trl, judged([1.0, 0.0, 0.0, 0.0]), run)
    assert_close(batch.advantages[:, 0], tensor([0.75, -0.25, -0.25, -0.25]) / (0.5 + 1e-4))


@pytest.mark.parametrize("rewards", [[1.0] * 5, [0.0] * 5, [0.3] * 5, [0.7]])
def test_groups_that_teach_nothing_are_zero_and_finite(run: Run, rewards: list[float]):
    batch = credited(GRPO, judged(rewards, [0.0, 1.0]), run)
    assert batch.advantages[: len(rewards)].abs().max().item() == 0
    assert bool(batch.advantages.isfinite().all())
    assert batch.weights.sum().item() == pytest.approx(1)


def test_groups_do_not_see_each_other(run: Run):
    alone = credited(GRPO, judged([0.0, 1.0]), run).advantages
    beside = credited(GRPO, judged([0.0, 1.0], [5.0, 9.0, 2.0]), run).advantages
    assert_close(beside[:2], alone)
