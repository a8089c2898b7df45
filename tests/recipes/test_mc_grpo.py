"""mc_grpo by hand: a worked example, binary groups, the pivot, and who sees which sign."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor, tensor
from torch.testing import assert_close

from harness.play import play
from harness.types import Rollout
from tests.trainer_builders import a_run, credited, digits, judged, still, tiny
from trainers.advantages import CenterByMean, ScaleByStd
from trainers.learner import Learner
from trainers.losses import Clipped, KLToReference
from trainers.recipe import Policies, Run
from trainers.recipes.grpo import RECIPE as GRPO
from trainers.recipes.mc_grpo import RECIPE, CenterByMedian, DropPivot, ScaleByDeviation
from trainers.samplers import Uniform

FIVE = [0.1, 0.9, 0.4, 0.5, 1.0]


@pytest.fixture(scope="module")
def run() -> Run:
    return a_run(RECIPE, policy=still())


def advantages(*groups: list[float], run: Run) -> Tensor:
    return credited(RECIPE, judged(*groups), run).advantages[:, 0]


def test_worked_example(run: Run):
    expected = tensor([-1.246883, 1.246883, -0.311721, 0.0, 1.558603])
    assert_close(advantages(FIVE, run=run), expected, atol=1e-6, rtol=0)
    batch = credited(RECIPE, judged(FIVE), run)
    assert_close(batch.weights.sum(1), tensor([0.25, 0.25, 0.25, 0, 0.25]))


def test_the_mean_gives_the_fourth_answer_the_other_sign(run: Run):
    mean = RECIPE.but(advantages=(CenterByMean(), ScaleByStd(eps=1e-4, ddof=1)))
    expected = tensor([-1.296473, 0.864316, -0.486178, -0.216079, 1.134414])
    found = credited(mean, judged(FIVE), run).advantages[:, 0]
    assert_close(found, expected, atol=1e-6, rtol=0)


@pytest.mark.parametrize(
    ("rewards", "expected"),
    [
        ([1.0, 1.0, 0.0], [0.0, 0.0, -3000.0]),
        ([0.0, 0.0, 0.0, 0.0, 1.0], [0.0, 0.0, 0.0, 0.0, 5000.0]),
        ([0.0, 1.0, 1.0, 0.0, 1.0], [-2500.0, 0.0, 0.0, -2500.0, 0.0]),
    ],
)
def test_of_binary_rewards_the_minority_is_pushed_alone(
    run: Run, rewards: list[float], expected: list[float]
):
    assert_close(advantages(rewards, run=run), tensor(expected), rtol=1e-6, atol=1e-6)


def test_a_floor_or_std_tames_binary_groups(run: Run):
    for scale in (ScaleByDeviation(floor=0.5), ScaleByDeviation(scale="std")):
        tame = RECIPE.but(advantages=(CenterByMedian(), scale))
        assert credited(tame, judged([1.0, 1.0, 0.0]), run).advantages.abs().max() < 2.2


@pytest.mark.parametrize("rewards", [[1.0] * 5, [0.0] * 5, [0.7] * 3])
def test_a_flat_group_teaches_nothing_and_still_drops_one(run: Run, rewards: list[float]):
    batch = credited(RECIPE, judged(rewards, FIVE), run)
    assert batch.advantages[: len(rewards)].abs().max().item() == 0
    assert int((batch.weights.sum(1) == 0).sum()) == 2
    assert batch.weights.sum().item() == pytest.approx(1)


def test_a_single_rollout_is_its_own_pivot(run: Run):
    batch = credited(RECIPE, judged([0.7]), run)
    assert batch.advantages.item() == 0
    assert batch.weights.sum().item() == 0


def test_an_even_group_has_an_unbiased_median(run: Run):
    batch = CenterByMedian()(judged([0.0, 0.2, 0.6, 1.0]), run)
    assert_close(batch.advantages[:, 0], tensor([-0.4, -0.2, 0.2, 0.6]))


def test_groups_of_different_sizes_do_not_see_each_other(run: Run):
    together = advantages(FIVE, [1.0, 1.0, 0.0], run=run)
    assert_close(together[:5], advantages(FIVE, run=run))
    assert_close(together[5:], advantages([1.0, 1.0, 0.0], run=run))


def test_which_of_equals_is_dropped_does_not_depend_on_their_order(run: Run):
    batch = judged([1.0, 0.0, 1.0, 1.0, 0.0])
    order = tensor([3, 1, 4, 0, 2])
    kept = credited(RECIPE, batch, run).weights.sum(1)
    assert_close(credited(RECIPE, batch.take(order), run).weights.sum(1), kept[order])


def test_nothing_is_learned_from_the_pivot_not_even_its_kl_penalty():
    policy, task = tiny(), digits()
    recipe = RECIPE.but(losses=(Clipped(), KLToReference(0.1)))
    policies = Policies({"solver": policy, "reference": tiny(seed=1)})
    run = replace(a_run(recipe, policy=policy), policies=policies)
    prompt = task.prompt(task.examples("train")[0]).but(rollouts=5)
    found = [r for r in play(task, [prompt], policy) if isinstance(r, Rollout)]
    learner = Learner("solver", recipe, policy, 4096)
    batch = learner.batch(found, run)
    kept = (batch.weights.sum(1) > 0).nonzero().flatten()
    assert len(kept) == 4
    gradients = []
    for part in (batch, batch.take(kept)):
        learner.gradient(part, run, first=True)
        slopes = [p.grad.flatten() for p in policy.parameters() if p.grad is not None]
        gradients.append(torch.cat(slopes))
    assert_close(gradients[0], gradients[1], atol=1e-6, rtol=1e-4)
    assert gradients[0].norm() > 0


def test_is_grpo_where_the_mean_is_the_median(run: Run):
    likened = RECIPE.but(advantages=(CenterByMedian(), ScaleByDeviation("std", eps=1e-4)))
    batch = judged([0.0, 0.5, 1.0], [0.2, 0.4, 0.6])
    assert_close(credited(likened, batch, run).advantages, credited(GRPO, batch, run).advantages)


def test_one_rollout_more_than_grpo_and_as_many_that_count(run: Run):
    assert isinstance(RECIPE.samplers, Uniform)
    assert RECIPE.samplers.rollouts == 9
    batch = DropPivot()(credited(RECIPE, judged([0.1 * n for n in range(9)]), run), run)
    assert int((batch.weights.sum(1) > 0).sum()) == 8


def test_claim_fewer_signs_flip_than_with_the_mean():
    """Rewards N(0.3, 0.1) with 10 % outliers at 1: the sheet's .279 .234 .173, .126 .109 .091."""
    draw = torch.Generator().manual_seed(0)

    def rewards(size: int) -> Tensor:
        plain = 0.3 + 0.1 * torch.randn(20_000, size, generator=draw)
        return torch.where(torch.rand(plain.shape, generator=draw) < 0.1, 1.0, plain)

    pool = rewards(50).flatten()
    for size, of_mean, of_median in ((2, 0.279, 0.126), (4, 0.234, 0.109), (8, 0.173, 0.091)):
        few, odd = rewards(size), rewards(size + 1)
        flipped = [
            ((x - center) * (x - truth) < 0)[x != center].float().mean().item()  # no pivot
            for x, center, truth in (
                (few, few.mean(1, keepdim=True), pool.mean()),
                (odd, odd.median(1, keepdim=True).values, pool.median()),
            )
        ]
        assert flipped == pytest.approx([of_mean, of_median], abs=0.006)
