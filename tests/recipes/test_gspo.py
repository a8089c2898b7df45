"""gspo by hand: one ratio an answer, its geometric mean."""

import pytest
import torch
from torch import tensor
from torch.testing import assert_close

from tests.trainer_builders import a_run, credited, judged
from trainers.losses import Clipped
from trainers.policy import Live
from trainers.recipe import Run
from trainers.recipes.grpo import RECIPE as GRPO
from trainers.recipes.gspo import RECIPE as GSPO


@pytest.fixture(scope="module")
def run() -> Run:
    return a_run(GSPO)


def costs(ratio: torch.Tensor, credit: torch.Tensor, mask: torch.Tensor, run: Run):
    batch = judged([0.0] * len(ratio), steps=mask.sum(1).tolist()).but(advantages=credit)
    batch = batch.but(old_logprobs=torch.zeros_like(ratio))
    logprobs = ratio.log().requires_grad_()
    cost = GSPO.losses[0](Live(logprobs, torch.zeros_like(ratio), batch.mask), batch, run)
    return cost, logprobs


def test_worked_example(run: Run):
    ratio = tensor([[1.0002, 1.0004], [1.001, 1.0], [0.9999, 9.0]])
    mask = tensor([[True, True], [True, True], [True, False]])
    cost, _ = costs(ratio, tensor([[2.0], [2.0], [-1.0]]), mask, run)
    inner = (1.0002 * 1.0004) ** 0.5  # within the range; the second is clipped at 1.0004
    expected = tensor([-2 * inner, -2 * 1.0004, 0.9999])
    assert_close(cost[:, 0], expected, atol=1e-6, rtol=0)
    numbers = run.tally.numbers()
    assert numbers["clip_ratio/high_mean"] == pytest.approx(2 / 5)
    assert numbers["clip_ratio/low_mean"] == 0


def test_low_end_is_clipped_for_bad_answers_only(run: Run):
    ratio = tensor([[0.99, 0.99], [0.99, 0.99]])
    cost, logprobs = costs(ratio, tensor([[-1.0], [1.0]]), ratio > 0, run)
    assert_close(cost[:, 0], tensor([1 - 3e-4, -0.99]), atol=1e-6, rtol=0)
    cost.mean(1).sum().backward()
    # clipped: no gradient. else s A / T a step, with s = 0.99
    assert_close(logprobs.grad, tensor([[0.0, 0.0], [-0.495, -0.495]]), atol=1e-6, rtol=0)


def test_at_ratio_one_the_gradient_is_that_of_grpo(run: Run):
    batch = credited(GSPO, judged([1.0, 0.0, 0.2], steps=[3, 1, 2]), run)
    found = []
    for loss in (GSPO.losses[0], Clipped()):
        logprobs = torch.full((3, 3), -1.0, requires_grad=True)
        at_one = batch.but(old_logprobs=logprobs.detach())
        live = Live(logprobs, torch.zeros(3, 3), batch.mask)
        (loss(live, at_one, run) * batch.weights).sum().backward()
        found.append(logprobs.grad)
    assert_close(found[0], found[1])


def test_answers_of_one_token_are_those_of_grpo_with_the_same_range(run: Run):
    ratio = tensor([[1.5], [0.7]])
    credit = tensor([[1.0], [-1.0]])
    cost, logprobs = costs(ratio, credit, ratio > 0, run)
    batch = judged([0.0, 0.0], steps=1).but(advantages=credit, old_logprobs=torch.zeros(2, 1))
    assert_close(cost, Clipped(3e-4, 4e-4)(Live(logprobs, ratio, batch.mask), batch, run))


def test_advantages_and_weights_are_those_of_grpo(run: Run):
    batch = judged([1.0, 0.0, 0.0], [0.5, 0.5], [0.3], steps=[1, 2, 3, 1, 2, 3])
    one, other = credited(GSPO, batch, run), credited(GRPO, batch, run)
    assert_close(one.advantages, other.advantages)
    assert_close(one.weights, other.weights)
    assert one.advantages[3:].abs().max().item() == 0


def test_an_empty_answer_costs_nothing(run: Run):
    mask = tensor([[False, False], [True, True]])
    cost, _ = costs(tensor([[5.0, 5.0], [1.0, 1.0]]), tensor([[1.0], [1.0]]), mask, run)
    assert bool(cost.isfinite().all())
