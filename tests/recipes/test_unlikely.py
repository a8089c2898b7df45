"""unlikely by hand: right answers lose by their rank in likelihood."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import tensor
from torch.testing import assert_close

from harness.errors import UsageError
from harness.play import play
from harness.types import Rollout, Verdict
from tests.trainer_builders import a_run, credited, digits, judged, tiny
from trainers.advantages import CenterByMean, ScaleByStd
from trainers.batch import Batch
from trainers.learner import Learner
from trainers.losses import Clipped, KLToReference
from trainers.recipe import Run
from trainers.recipes.grpo import RECIPE as GRPO
from trainers.recipes.unlikely import RECIPE as UNLIKELY
from trainers.recipes.unlikely import RewardUnlikely
from trainers.weights import MeanOverRollouts

LIKELY = [-0.10, -0.40, -0.25, -0.80]
OPEN = UNLIKELY.but(weights=(MeanOverRollouts(),))
"""Without the filter of flat groups."""


@pytest.fixture(scope="module")
def run() -> Run:
    return a_run(UNLIKELY)


def drawn(batch: Batch, likely: list[float]) -> Batch:
    """The batch as if each step had been drawn with that log-probability."""
    each = tensor(likely)[:, None].expand_as(batch.mask)
    return batch.but(sampled_logprobs=torch.where(batch.mask, each, torch.nan))


def paid(batch: Batch, run: Run, beta: float = 0.25) -> Batch:
    return RewardUnlikely(beta)(batch, run)


def test_oracle_rewards_and_advantages(run: Run):
    batch = paid(drawn(judged([1.0, 1.0, 0.0, 1.0]), LIKELY), run)
    assert_close(batch.rewards[:, 0], tensor([0.8125, 0.9375, 0, 1.0]), atol=5e-7, rtol=0)
    found = credited(UNLIKELY, batch, run)
    expected = tensor([0.268866, 0.537732, -1.478762, 0.672165])
    assert_close(found.advantages[:, 0], expected, atol=6e-7, rtol=0)
    plain = credited(UNLIKELY, judged([1.0, 1.0, 0.0, 1.0]), run).advantages[:, 0]
    assert_close(plain, tensor([0.499999, 0.499999, -1.499997, 0.499999]), atol=6e-7, rtol=0)


def test_oracle_all_right_pushes_likely_ones_down_but_for_the_filter(run: Run):
    batch = paid(drawn(judged([1.0] * 4), LIKELY), run)
    assert_close(batch.rewards[:, 0], tensor([0.8125, 0.9375, 0.875, 1.0]), atol=5e-7, rtol=0)
    expected = tensor([-1.161881, 0.387294, -0.387294, 1.161881])
    off = credited(OPEN, batch, run)
    assert_close(off.advantages[:, 0], expected, atol=6e-7, rtol=0)
    assert off.weights.sum().item() == pytest.approx(1)
    assert credited(UNLIKELY, batch, run).weights.sum().item() == 0


def test_limit_beta_0_is_grpo_with_the_sample_std(run: Run):
    batch = drawn(judged([1.0, 1.0, 0.0, 1.0], [1.0, 0.0, 0.0]), [*LIKELY, -0.1, -0.2, -0.3])
    plain = GRPO.but(advantages=(CenterByMean(), ScaleByStd(eps=1e-6, ddof=1)))
    one, other = credited(UNLIKELY, paid(batch, run, 0.0), run), credited(plain, batch)
    assert_close(one.advantages, other.advantages)
    assert_close(one.weights, other.weights)


def test_likelihood_is_a_mean_over_steps_so_short_answers_are_not_likely_for_that(run: Run):
    batch = drawn(judged([1.0, 1.0], steps=[2, 9]), [-0.5, -0.2])
    assert paid(batch, run).rewards[:, 0].tolist() == [1.0, 0.875]


def test_the_whole_group_is_ranked_and_only_right_answers_lose(run: Run):
    batch = drawn(judged([1.0, 0.0, 0.0, -1.0]), [-0.1, -0.2, -0.3, -0.05])
    assert paid(batch, run).rewards[:, 0].tolist() == [0.875, 0.0, 0.0, -1.0]


def test_equal_answers_are_paid_alike_whatever_their_order(run: Run):
    likely = [-0.4, -0.1, -0.4 + 3e-6, -0.8]
    batch = drawn(judged([1.0] * 4), likely)
    assert_close(paid(batch, run).rewards[:, 0], tensor([0.90625, 0.8125, 0.90625, 1.0]))


def test_ranks_are_those_of_the_definition():
    draw = np.random.default_rng(0)
    group = torch.from_numpy(draw.integers(0, 9, 200))
    x = torch.from_numpy(draw.integers(0, 12, (200, 1)) / 4).float()
    batch = judged([0.0] * 200).but(group=group)
    found = batch.peers().rank(x)
    for row in range(200):
        own = x[group == group[row]]
        below, same = int((own < x[row]).sum()), int((own == x[row]).sum())
        assert found[row].item() == pytest.approx(below + (same - 1) / 2)


def test_reviewed_and_sampled_agree_where_sampler_and_reviewer_do():
    policy, task = tiny(), digits("correct")
    run = a_run(UNLIKELY, task=task, policy=policy)
    asked = [task.prompt(e).but(rollouts=6) for e in task.examples("train")[:3]]
    rollouts = [r for r in play(task, asked, policy) if isinstance(r, Rollout)]
    batch = Batch.of(rollouts, policy.decided(rollouts))
    batch = batch.but(rewards=torch.ones(len(rollouts), 1))
    one = RewardUnlikely(ties=1e-4)(batch, run)
    other = RewardUnlikely(ties=1e-4, logprobs="reviewed")(batch, run)
    assert_close(one.rewards, other.rewards)
    assert len(one.rewards.unique()) > 4


def test_an_answer_that_nobody_drew_needs_a_review(run: Run):
    batch = judged([1.0, 0.0])
    batch = batch.but(sampled_logprobs=torch.full_like(batch.sampled_logprobs, torch.nan))
    with pytest.raises(UsageError, match="reviewed"):
        RewardUnlikely()(batch, run)


def test_the_update_is_repeated_and_held_by_the_reference():
    assert UNLIKELY.epochs == 2
    assert UNLIKELY.losses == (Clipped(), KLToReference(beta=0.1))


def test_degenerate_flat_groups_and_single_rollouts_have_no_weight(run: Run):
    batch = drawn(judged([1.0, 1.0], [0.0, 0.0], [1.0], [1.0, 0.0]), [-0.1] * 7)
    found = credited(UNLIKELY, paid(batch, run), run)
    assert found.weights.sum(1).tolist() == pytest.approx([0] * 5 + [0.5] * 2)
    assert bool(found.advantages.isfinite().all())


def test_degenerate_a_step_without_any_mixed_group_learns_nothing():
    policy = tiny()
    run = a_run(UNLIKELY, policy=policy)
    learner = Learner("solver", UNLIKELY, policy)
    task = digits()
    asked = [task.prompt(task.examples("train")[0]).but(rollouts=2)]
    wrong = Verdict({"correct": 0.0, "close": 0.0}, reason="wrong")
    found = [r for r in play(task, asked, policy) if isinstance(r, Rollout)]
    scored = [replace(r, verdict=wrong) for r in found]
    before = [p.detach().clone() for p in policy.parameters()]
    run.policies["reference"]  # the copy that KL is taken against
    learner.learn(learner.batch(scored, run), run)
    assert all(torch.equal(a, b) for a, b in zip(before, policy.parameters(), strict=True))
