"""disco by hand: gaps of scores without sqrt(p (1 - p)), hard negatives, the KL barrier."""

import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor, tensor
from torch.testing import assert_close

from harness.errors import UsageError
from tests.trainer_builders import a_run, credited, judged, rollout
from trainers.advantages import CenterByMean, LabelSuccess, ScaleByStd
from trainers.batch import Batch
from trainers.losses import Clipped, Discriminate, KLBarrier
from trainers.policy import Live
from trainers.recipe import Recipe, Run
from trainers.recipes.disco import RECIPE as DISCO
from trainers.recipes.grpo import RECIPE as GRPO

SCORES = [-0.2, -0.5, -0.3, -0.9]
RIGHT = [1.0, 0.0, 0.0, 1.0]


@pytest.fixture(scope="module")
def run() -> Run:
    return a_run(DISCO)


def told(logprobs: Tensor, batch: Batch) -> Live:
    return Live(logprobs, torch.zeros_like(logprobs), batch.mask)


def objective(loss: Discriminate, batch: Batch, run: Run, scores: Tensor) -> tuple[Tensor, Tensor]:
    """mean J, and its slopes by score, for rollouts of one step."""
    logprobs = scores[:, None].clone().requires_grad_()
    cost = (loss(told(logprobs, batch), batch, run) * batch.weights).sum()
    (-cost).backward()
    assert logprobs.grad is not None
    return -cost.detach(), logprobs.grad[:, 0]


@pytest.mark.parametrize(
    ("tau", "value", "slopes"),
    [
        (None, -0.15, [0.5, -0.5, -0.5, 0.5]),
        (1.0, -0.154992, [0.5, -0.450166, -0.549834, 0.5]),
        (10.0, -0.1505, [0.5, -0.495, -0.505, 0.5]),
    ],
)
def test_oracle_objective_and_slopes(
    run: Run, tau: float | None, value: float, slopes: list[float]
):
    batch = credited(DISCO, judged(RIGHT, steps=1), run)
    found, slope = objective(Discriminate(tau), batch, run, tensor(SCORES))
    assert_close(found, tensor(value), atol=5e-7, rtol=0)
    assert_close(slope, tensor(slopes), atol=5e-7, rtol=0)


def test_oracle_kl_barrier(run: Run):
    barrier = KLBarrier()
    assert barrier.slope(3e-4, run) == pytest.approx(0.2, abs=1e-9)
    assert barrier.penalty(3e-4, run) == pytest.approx(2.0e-5, abs=1e-12)
    assert barrier.slope(3e-4, run) * 3e-4 == pytest.approx(6.0e-5, abs=1e-12)
    assert barrier.penalty(1e-4, run) == barrier.slope(1e-4, run) == 0


@pytest.mark.parametrize(("share", "weight"), [(0.125, 0.330719), (0.5, 0.5), (0.875, 0.330719)])
def test_oracle_and_limit_grpo_is_the_same_gap_times_sqrt_p_q(
    run: Run, share: float, weight: float
):
    rewards = [1.0] * round(8 * share) + [0.0] * round(8 * (1 - share))
    scores = torch.linspace(-1.0, -0.1, 8)
    one = credited(DISCO, judged(rewards, steps=1), run)
    _, ours = objective(Discriminate(None), one, run, scores)
    exact = GRPO.but(advantages=(CenterByMean(), ScaleByStd(eps=0.0)))
    other = credited(exact, judged(rewards, steps=1)).but(old_logprobs=scores[:, None])
    logprobs = scores[:, None].clone().requires_grad_()
    (Clipped()(told(logprobs, other), other, run) * other.weights).sum().backward()
    assert logprobs.grad is not None
    assert math.sqrt(share * (1 - share)) == pytest.approx(weight, abs=5e-7)
    assert_close(-logprobs.grad[:, 0], weight * ours, atol=1e-6, rtol=0)


def test_oracle_a_group_without_both_kinds_is_counted_in_the_mean(run: Run):
    batch = credited(DISCO, judged(RIGHT, [0.0] * 4, steps=1), run)
    found, slope = objective(Discriminate(None), batch, run, tensor(SCORES * 2))
    assert_close(found, tensor(-0.075), atol=5e-7, rtol=0)
    assert slope[4:].abs().max().item() == 0


def test_the_score_is_a_mean_over_steps_so_long_answers_do_not_dominate(run: Run):
    batch = credited(DISCO, judged(RIGHT, steps=[1, 2, 3, 2]), run)
    logprobs = tensor(SCORES)[:, None].expand(4, 3).clone().requires_grad_()
    cost = (Discriminate(None)(told(logprobs, batch), batch, run) * batch.weights).sum()
    cost.backward()
    assert_close(cost.detach(), tensor(0.15), atol=1e-6, rtol=0)
    assert logprobs.grad is not None
    assert_close(-logprobs.grad.sum(1), tensor([0.5, -0.5, -0.5, 0.5]))
    assert (logprobs.grad[~batch.mask] == 0).all()


def test_groups_of_any_size_count_alike(run: Run):
    batch = credited(DISCO, judged(RIGHT, [1.0, 0.0], steps=1), run)
    found, _ = objective(Discriminate(None), batch, run, tensor([*SCORES, -0.1, -0.4]))
    assert_close(found, tensor((-0.15 + 0.3) / 2), atol=1e-6, rtol=0)


def test_the_ratio_score_starts_at_one_with_the_same_slopes(run: Run):
    batch = credited(DISCO, judged(RIGHT, steps=1), run)
    batch = batch.but(old_logprobs=tensor(SCORES)[:, None])
    found, slope = objective(Discriminate(1.0, score="ratio"), batch, run, tensor(SCORES))
    assert_close(found, tensor(0.0), atol=1e-6, rtol=0)  # all scores are 1
    assert_close(slope, tensor([0.5, -0.5, -0.5, 0.5]), atol=1e-6, rtol=0)


def test_labels_come_from_verdicts_or_from_rewards_of_exactly_0_and_1(run: Run):
    batch = judged([1.0, 0.5, 0.0])
    assert LabelSuccess()(batch, run).advantages[:, 0].tolist() == [1, -1, -1]
    assert LabelSuccess(by="reward")(batch, run).advantages[:, 0].tolist() == [1, 0, -1]
    assert run.tally.values["labels/neither"] == pytest.approx(1 / 3)
    shaped = batch.but(rewards=batch.rewards * 0.7 + 0.1)
    assert LabelSuccess()(shaped, run).advantages[:, 0].tolist() == [1, -1, -1]


def measured(barrier: KLBarrier, batch: Batch, now: Tensor, run: Run) -> tuple[float, Tensor]:
    """The barrier's part of the loss, and its gradient."""
    batch = barrier.look(now, batch, run)
    logprobs = now.clone().requires_grad_()
    cost = (barrier(told(logprobs, batch), batch, run) * batch.weights).sum()
    if cost.requires_grad:
        cost.backward()
    grad = torch.zeros_like(now) if logprobs.grad is None else logprobs.grad
    return float(cost.detach()), grad


@pytest.mark.parametrize("estimator", ["k1", "k3"])
def test_the_barrier_has_its_value_and_its_gradient(run: Run, estimator: str):
    batch = credited(DISCO, judged(RIGHT, steps=[1, 2, 3, 2]), run)
    barrier = KLBarrier(delta=1e-3, beta=50.0, estimator=estimator)  # type: ignore[arg-type]
    now = torch.where(batch.mask, tensor([[-0.1, -0.3, 0.05]] * 4), 0.0)
    loss, grad = measured(barrier, batch, now, run)
    again = now.clone().requires_grad_()
    gap = again[batch.mask]
    kl = (-gap if estimator == "k1" else gap.exp() - 1 - gap).mean()
    whole = 25.0 * (kl - 1e-3).clamp(min=0) ** 2
    whole.backward()
    assert loss == pytest.approx(float(whole.detach()), rel=1e-4)
    assert again.grad is not None
    assert_close(grad, again.grad, atol=1e-6, rtol=1e-4)


def test_the_barrier_is_off_where_kl_is_small_or_comes_out_negative(run: Run):
    batch = credited(DISCO, judged(RIGHT, steps=1), run)
    for now in (torch.full((4, 1), -1e-5), torch.full((4, 1), 0.5)):
        loss, grad = measured(KLBarrier(), batch, now, run)
        assert loss == 0
        assert (grad == 0).all()


def test_the_first_update_of_a_step_feels_no_barrier(run: Run):
    batch = credited(DISCO, judged(RIGHT, steps=1), run)
    cost = KLBarrier()(told(torch.full((4, 1), -1.0), batch), batch, run)
    assert (cost == 0).all()


def test_a_recipe_that_cuts_groups_is_refused(run: Run):
    batch = credited(DISCO, judged(RIGHT, steps=1), run)
    torn = replace(run, recipe=DISCO.but(whole_groups=False))
    with pytest.raises(UsageError, match="whole_groups"):
        Discriminate()(told(torch.zeros(4, 1), batch), batch, torn)


def test_degenerate_groups_cost_nothing(run: Run):
    batch = credited(DISCO, judged([1.0] * 3, [0.0] * 3, [1.0], [0.0], steps=1), run)
    found, slope = objective(Discriminate(), batch, run, torch.linspace(-1, 0, 8))
    assert float(found) == 0
    assert (slope == 0).all()


def test_degenerate_an_empty_answer_is_no_answer(run: Run):
    rollouts = [rollout(1.0, steps=2), rollout(0.0, steps=2, attempt=1), rollout(0.0, steps=0)]
    mask = tensor([[True, True], [True, True], [False, False]])
    batch = Batch.of(rollouts, mask)
    batch = credited(DISCO, batch.but(rewards=batch.scores["correct"].unsqueeze(1)), run)
    wild = torch.where(mask, tensor(-1.0), tensor(-torch.inf)).requires_grad_()
    cost = Discriminate()(told(wild, batch), batch, run)
    (cost * batch.weights).sum().backward()
    assert wild.grad is not None
    assert_close(wild.grad.sum(1), tensor([-1.0, 1.0, 0.0]))
    assert bool(cost.isfinite().all())


def test_the_recipe_prints_its_defaults():
    recipe: Recipe = DISCO
    assert recipe.losses == (Discriminate(10.0, "logprob"), KLBarrier(1e-4, 1e3, "k1"))
