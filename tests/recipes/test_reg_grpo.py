"""reg_grpo by hand: a group's regression, its slopes, its floor, and what it does not see."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor, tensor
from torch.testing import assert_close

from harness.errors import UsageError
from tests.trainer_builders import a_run, credited, judged, rollout, still
from trainers.batch import Batch
from trainers.losses import Clipped
from trainers.policy import Live
from trainers.recipe import Run
from trainers.recipes.reg_grpo import RECIPE, RegressAdvantages

REWARDS = [1.0, 0.0, 0.5, 0.0]
CREDIT = [1.507557, -0.904534, 0.301511, -0.904534]
MOVED = [0.10, -0.05, 0.02, -0.03]
ALMOST_NO_FLOOR = RegressAdvantages(floor=1e-6)


@pytest.fixture(scope="module")
def run() -> Run:
    return a_run(RECIPE, policy=still())


def regressed(
    loss: RegressAdvantages, batch: Batch, run: Run, moved: list[float]
) -> tuple[float, Tensor]:
    """The loss, and its slopes (N, T), where each rollout moved so far, evenly over its steps."""
    each = tensor(moved)[:, None] / batch.mask.sum(1, keepdim=True).clamp(min=1)
    logprobs = (batch.old_logprobs + each * batch.mask).requires_grad_()
    live = Live(logprobs, torch.zeros_like(logprobs), batch.mask)
    cost = (loss(live, batch, run) * batch.weights).sum()
    cost.backward()
    assert logprobs.grad is not None
    return float(cost.detach()), logprobs.grad


def test_worked_advantages_have_no_eps_to_speak_of(run: Run):
    batch = credited(RECIPE, judged(REWARDS), run)
    assert_close(batch.advantages[:, 0], tensor(CREDIT), atol=1e-6, rtol=0)


def test_worked_example_value_and_slopes(run: Run):
    batch = credited(RECIPE, judged(REWARDS, steps=[1, 2, 3, 2]), run)
    loss, slopes = regressed(ALMOST_NO_FLOOR, batch, run, MOVED)
    expected = tensor([0.272129, -1.049639, -1.127390, 1.904901])
    assert loss == pytest.approx(0.020457, abs=1e-6)
    assert_close(slopes, expected[:, None] * batch.mask, atol=2e-5, rtol=0)
    assert float(slopes[:, 0] @ tensor(MOVED)) == pytest.approx(0, abs=1e-5)


@pytest.mark.parametrize(("factor", "offset"), [(10.0, 0.0), (1.0, 3.0)])
def test_invariance_to_the_size_and_origin_of_log_ratios(run: Run, factor: float, offset: float):
    batch = credited(RECIPE, judged(REWARDS, steps=1), run)
    loss, _ = regressed(ALMOST_NO_FLOOR, batch, run, [factor * x + offset for x in MOVED])
    assert loss == pytest.approx(0.020457, abs=2e-6)


def test_worked_first_update_is_held_by_the_floor(run: Run):
    batch = credited(RECIPE, judged(REWARDS, steps=1), run)
    loss, slopes = regressed(RegressAdvantages(), batch, run, [0.0] * 4)
    assert loss == pytest.approx(1.0, abs=1e-6)
    assert_close(
        slopes[:, 0], tensor([-15.075567, 9.045340, -3.015113, 9.045340]), rtol=1e-5, atol=0
    )


def test_the_limit_of_no_move_is_grpo_times_length_and_two_by_floor(run: Run):
    steps = [1, 2, 3, 2]
    batch = credited(RECIPE, judged(REWARDS, steps=steps), run)
    _, slopes = regressed(RegressAdvantages(floor=0.2), batch, run, [0.0] * 4)
    logprobs = torch.zeros_like(batch.old_logprobs, requires_grad=True)
    live = Live(logprobs, torch.zeros_like(logprobs), batch.mask)
    (Clipped()(live, batch, run) * batch.weights).sum().backward()
    assert logprobs.grad is not None
    assert_close(slopes, logprobs.grad * tensor(steps)[:, None] * 2 / 0.2)


def test_nothing_is_lost_where_grpo_clips(run: Run):
    """A good answer that is already three times as likely still has a slope."""
    batch = credited(RECIPE, judged(REWARDS, steps=1), run)
    _, slopes = regressed(RegressAdvantages(), batch, run, [1.2, 0.0, 0.9, 0.0])
    assert (slopes.abs() > 1e-3).all()


def test_degenerate_groups_are_skipped_however_far_they_moved(run: Run):
    batch = credited(RECIPE, judged([1.0] * 3, [0.0] * 3, [0.5], REWARDS, steps=1), run)
    loss, slopes = regressed(ALMOST_NO_FLOOR, batch, run, [0.4, -0.2, 0.1] * 2 + [0.3, *MOVED])
    assert loss == pytest.approx(0.020457 * 4 / 11, abs=1e-6)
    assert (slopes[:7] == 0).all()


def test_degenerate_an_empty_answer_is_nobodys_peer(run: Run):
    rollouts = [rollout(r, attempt=n, steps=2) for n, r in enumerate(REWARDS)]
    batch = Batch.of(
        [*rollouts, rollout(0.0, attempt=4, steps=0)], tensor([[True] * 2] * 4 + [[False] * 2])
    )
    batch = batch.but(advantages=tensor([*CREDIT, -9.0])[:, None])
    for stage in RECIPE.weights:
        batch = stage(batch, run)
    loss, slopes = regressed(ALMOST_NO_FLOOR, batch, run, [*MOVED, 5.0])
    assert loss == pytest.approx(0.020457, abs=1e-6)
    assert (slopes[4] == 0).all()


def test_importance_weighs_the_gradient_and_not_the_value(run: Run):
    batch = credited(RECIPE, judged(REWARDS, steps=1), run)
    loss, slopes = regressed(RegressAdvantages(), batch, run, MOVED)
    halved = batch.but(importance=batch.importance * 0.5)
    again, less = regressed(RegressAdvantages(), halved, run, MOVED)
    assert again == loss
    assert_close(less, slopes * 0.5)


def test_a_recipe_that_cuts_groups_and_a_floor_of_0_are_refused(run: Run):
    batch = credited(RECIPE, judged(REWARDS, steps=1), run)
    torn = replace(run, recipe=RECIPE.but(whole_groups=False))
    with pytest.raises(UsageError, match="whole_groups"):
        regressed(RegressAdvantages(), batch, torn, MOVED)
    with pytest.raises(UsageError, match="floor above 0"):
        regressed(RegressAdvantages(floor=0.0), batch, run, MOVED)
