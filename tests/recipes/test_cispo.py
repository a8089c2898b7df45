"""cispo by hand: a capped ratio without gradient."""

import pytest
import torch
from torch import tensor
from torch.testing import assert_close

from tests.trainer_builders import a_run, credited, judged
from trainers.losses import CappedReinforce, Clipped
from trainers.policy import Live
from trainers.recipe import Run
from trainers.recipes.cispo import RECIPE as CISPO
from trainers.recipes.grpo import RECIPE as GRPO


@pytest.fixture(scope="module")
def run() -> Run:
    return a_run(CISPO)


def test_worked_example(run: Run):
    logprobs = tensor([[-1.0, -2.0], [-0.5, -3.0]], requires_grad=True)
    ratio = tensor([[0.5, 8.0], [1.2, 1.0]])
    batch = judged([1.0, 0.0], steps=[2, 2]).but(advantages=tensor([[2.0], [-1.0]]))
    batch = batch.but(old_logprobs=(logprobs - ratio.log()).detach())
    cost = CISPO.losses[0](Live(logprobs, torch.zeros(2, 2), batch.mask), batch, run)
    assert_close(cost, tensor([[1.0, 20.0], [-0.6, -3.0]]), atol=1e-5, rtol=0)
    cost.sum().backward()
    # -min(r, 5) A: also where PPO's clip would leave nothing
    assert_close(logprobs.grad, tensor([[-1.0, -10.0], [1.2, 1.0]]), atol=1e-5, rtol=0)
    assert run.tally.numbers()["clip_ratio/high_mean"] == pytest.approx(1 / 4)


def test_a_floor_may_be_given(run: Run):
    logprobs = tensor([[-1.0]], requires_grad=True)
    batch = judged([1.0], steps=1).but(advantages=tensor([[1.0]]), old_logprobs=tensor([[1.0]]))
    live = Live(logprobs, torch.zeros(1, 1), batch.mask)
    CappedReinforce(floor=0.5)(live, batch, run).sum().backward()
    assert_close(logprobs.grad, tensor([[-0.5]]))


def test_on_policy_the_gradient_is_that_of_grpo_over_steps(run: Run):
    batch = credited(CISPO, judged([1.0, 0.0, 0.2], steps=[3, 1, 2]), run)
    found = []
    for loss in (CISPO.losses[0], Clipped()):
        logprobs = torch.full((3, 3), -1.0, requires_grad=True)
        at_one = batch.but(old_logprobs=logprobs.detach())
        live = Live(logprobs, torch.zeros(3, 3), batch.mask)
        (loss(live, at_one, run) * batch.weights).sum().backward()
        found.append(logprobs.grad)
    assert_close(found[0], found[1])


def test_every_step_counts_alike(run: Run):
    batch = credited(CISPO, judged([1.0, 0.0], steps=[3, 1]), run)
    assert_close(batch.weights, tensor([[0.25] * 3, [0.25, 0, 0]]))
    assert_close(batch.advantages, credited(GRPO, judged([1.0, 0.0], steps=[3, 1]), run).advantages)


@pytest.mark.parametrize("rewards", [[1.0] * 4, [0.0] * 4, [0.7]])
def test_groups_that_teach_nothing_are_zero(run: Run, rewards: list[float]):
    batch = credited(CISPO, judged(rewards, [0.0, 1.0]), run)
    assert batch.advantages[: len(rewards)].abs().max().item() == 0


def test_padding_cannot_spoil_the_cost(run: Run):
    batch = judged([1.0, 0.0], steps=[3, 1]).but(advantages=tensor([[1.0], [1.0]]))
    wild = torch.where(batch.mask, -1.0, float("-inf"))
    cost = CISPO.losses[0](Live(wild, torch.zeros(2, 3), batch.mask), batch, run)
    assert bool(cost.isfinite().all())
