"""rloo by hand: the baseline leaves the attempt itself out, an answer is one action."""

from dataclasses import replace

import pytest
import torch
from torch import tensor
from torch.testing import assert_close

from tests.trainer_builders import a_run, credited, judged, tiny
from trainers.losses import ClippedSequence
from trainers.policy import Live
from trainers.recipe import Policies, Run
from trainers.recipes.grpo import RECIPE as GRPO
from trainers.recipes.rloo import RECIPE as RLOO
from trainers.rewards import ChargeKL


@pytest.fixture(scope="module")
def run() -> Run:
    return a_run(RLOO)


def test_worked_example(run: Run):
    batch = credited(RLOO, judged([1.0, 0.0, 0.5, 0.2]), run)
    # others' means: 0.7 / 3, 1.7 / 3, 1.2 / 3, 1.5 / 3
    expected = tensor([1 - 0.7 / 3, -1.7 / 3, 0.5 - 0.4, 0.2 - 0.5])
    assert_close(batch.advantages[:, 0], expected, atol=1e-6, rtol=0)


def test_is_centered_grpo_stretched_by_g_over_g_minus_1(run: Run):
    batch = judged([1.0, 0.0, 0.5], [0.3, 0.9])
    centered = credited(GRPO.but(advantages=(GRPO.advantages[0],)), batch, run).advantages
    stretched = centered * tensor([[1.5], [1.5], [1.5], [2.0], [2.0]])
    assert_close(credited(RLOO, batch, run).advantages, stretched)


@pytest.mark.parametrize("rewards", [[1.0] * 4, [0.0] * 4, [0.7]])
def test_groups_that_teach_nothing_are_zero(run: Run, rewards: list[float]):
    batch = credited(RLOO, judged(rewards, [0.0, 1.0]), run)
    assert batch.advantages[: len(rewards)].abs().max().item() == 0
    assert bool(batch.advantages.isfinite().all())


def test_at_ratio_one_the_gradient_is_reinforce_of_whole_answers(run: Run):
    batch = credited(RLOO, judged([1.0, 0.0], steps=[3, 1]), run)
    logprobs = torch.full((2, 3), -1.0, requires_grad=True)
    batch = batch.but(old_logprobs=logprobs.detach())
    live = Live(logprobs, torch.zeros(2, 3), batch.mask)
    (RLOO.losses[0](live, batch, run) * batch.weights).sum().backward()
    # -1/2 sum_i A_i: every step of an answer gets its whole advantage, whatever the length
    assert_close(logprobs.grad, tensor([[-0.5, -0.5, -0.5], [0.5, 0.0, 0.0]]))


def test_the_ratio_is_a_product_and_is_clipped_as_one(run: Run):
    batch = judged([1.0, 1.0, 0.0], steps=[2, 2, 2]).but(advantages=tensor([[1.0], [1.0], [-1.0]]))
    ratio = tensor([[1.2, 1.1], [1.05, 1.1], [0.8, 0.9]])
    batch = batch.but(old_logprobs=torch.zeros(3, 2))
    cost = ClippedSequence(0.2, 0.2, "product")(
        Live(ratio.log(), torch.zeros(3, 2), batch.mask), batch, run
    )
    expected = tensor([[-1.2] * 2, [-1.155] * 2, [0.8] * 2])  # 1.32 and 0.72 are clipped
    assert_close(cost, expected, atol=1e-6, rtol=0)


def test_kl_is_charged_to_the_reward_as_it_was_drawn(monkeypatch: pytest.MonkeyPatch):
    reference = tiny()
    told = Live(torch.full((2, 3), -1.5), torch.zeros(2, 3), torch.ones(2, 3).bool())
    monkeypatch.setattr(reference, "review", lambda rollouts: told)
    run = replace(a_run(RLOO), policies=Policies({"solver": tiny(), "reference": reference}))
    batch = judged([1.0, 0.0], steps=[3, 1])  # drawn at -1 a step
    charged = ChargeKL(0.1)(batch, run)
    assert_close(charged.rewards, tensor([[1 - 0.15], [0 - 0.05]]), atol=1e-6, rtol=0)
    assert ChargeKL(0.0)(batch, run) is batch
    dense = batch.but(rewards=torch.ones(2, 3))
    spread = (ChargeKL(0.1)(dense, run).rewards * batch.mask).sum(1)
    assert_close(spread, tensor([3 - 0.15, 1 - 0.05]), atol=1e-6, rtol=0)
