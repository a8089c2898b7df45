"""Stages against numbers worked by hand."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import tensor
from torch.testing import assert_close

from harness.errors import UnknownName
from harness.types import Completion
from tests.trainer_builders import a_run, credited, digits, judged, tiny
from trainers.batch import Batch
from trainers.losses import Clipped, KLToReference
from trainers.policy import Live
from trainers.recipe import Policies, Run
from trainers.recipes.grpo import RECIPE as GRPO
from trainers.rewards import WeighScores, paid_scores, reward, totals
from trainers.rollouts import HintOnFailure
from trainers.samplers import Uniform
from trainers.weights import (
    DropFlatGroups,
    MaskTruncated,
    MeanOverGroups,
    MeanOverLength,
    MeanOverRollouts,
    MeanOverSteps,
)


@pytest.fixture(scope="module")
def run() -> Run:
    return a_run()


def live(logprobs: torch.Tensor, mask: torch.Tensor) -> Live:
    return Live(logprobs, torch.zeros_like(logprobs), mask)


# ---- rewards


def test_scores_are_weighed_by_the_task_unless_the_recipe_says_otherwise(run: Run):
    batch = judged(0.0, 1.0)
    task = replace(run.task, reward={"correct": 0.5})
    mine = replace(run, task=task)
    assert WeighScores()(batch, mine).rewards[:, 0].tolist() == [0.0, 0.5]
    assert WeighScores({"correct": 2.0})(batch, mine).rewards[:, 0].tolist() == [0.0, 2.0]


def test_a_score_that_the_task_lacks_is_named_with_what_there_is(run: Run):
    with pytest.raises(UnknownName, match=r"no 'corect'.*Did you mean correct"):
        WeighScores({"corect": 1.0})(judged(0.0, 1.0), run)


def test_stored_rewards_are_exact_sums_whatever_the_order(run: Run):
    from harness.types import Verdict

    scores = {"a": 0.1, "b": 0.2, "c": 0.3}
    forward = {"a": 1.0, "b": 1.0, "c": 1.0}
    backward = dict(reversed(forward.items()))
    assert reward(Verdict(scores), forward) == reward(Verdict(scores), backward)
    recipe = GRPO.but(rewards=(WeighScores({"correct": 0.1}),))
    assert paid_scores(recipe, run.task) == {"correct": 0.1}
    paid = recipe.rewards[0](judged(1 / 3, 1.0), run)
    assert totals(paid) == [float(np.float32(math.fsum([0.1 * (1 / 3)]))), float(np.float32(0.1))]
    dense = paid.but(rewards=tensor([[1.0, 2.0, 4.0], [0.0, 0.5, 0.0]]))
    assert totals(dense) == [7.0, 0.5]
    assert paid_scores(GRPO.but(rewards=(WeighScores(), WeighScores())), run.task) is None


# ---- weights


def test_mean_over_rollouts_counts_every_rollout_alike(run: Run):
    batch = MeanOverRollouts()(judged(0.0, 1.0, steps=[4, 1]), run)
    assert batch.weights.tolist() == [[0.125] * 4, [0.5, 0, 0, 0]]


def test_mean_over_steps_counts_every_step_alike(run: Run):
    batch = MeanOverSteps()(judged(0.0, 1.0, steps=[4, 1]), run)
    assert_close(batch.weights, tensor([[0.2] * 4, [0.2, 0, 0, 0]]))


def test_mean_over_length_divides_by_a_constant(run: Run):
    batch = MeanOverLength(10)(judged(0.0, 1.0, steps=[4, 1]), run)
    assert_close(batch.weights, tensor([[0.05] * 4, [0.05, 0, 0, 0]]))


@pytest.mark.parametrize("mean", [MeanOverRollouts(), MeanOverSteps()])
def test_means_add_up_to_one_or_to_nothing(run: Run, mean):
    batch = judged([0.0, 1.0], [0.5], steps=[4, 1, 2])
    assert mean(batch, run).weights.sum().item() == pytest.approx(1)
    none = mean(batch.but(weights=torch.zeros_like(batch.weights)), run).weights
    assert none.abs().sum().item() == 0


def test_truncated_rollouts_lose_their_weight_and_do_not_dilute_the_mean(run: Run):
    batch = judged(0.0, 1.0, 1.0)
    asked, said = batch.rollouts[0].turns[0]
    cut = replace(batch.rollouts[0], turns=((asked, replace(said, stopped="budget")),))
    batch = batch.but(rollouts=(cut, *batch.rollouts[1:]))
    for mean in (MeanOverRollouts(), MeanOverSteps()):
        weights = mean(MaskTruncated()(batch, run), run).weights
        assert_close(weights.sum(1), tensor([0.0, 0.5, 0.5]))


def test_an_empty_completion_has_no_weight(run: Run):
    batch = MeanOverRollouts()(judged(0.0, 1.0, steps=[0, 2]), run)
    assert batch.weights.tolist() == [[0, 0], [0.5, 0.5]]


# ---- losses


def test_clipped_loss_by_hand(run: Run):
    ratio = tensor([[1.5, 0.5, 1.1], [1.5, 0.5, 0.9]])
    batch = judged(1.0, 0.0).but(advantages=tensor([[2.0], [-1.0]]))
    cost = Clipped(0.2, 0.3)(live(ratio.log(), batch.mask), batch, run)
    # A > 0: min(r, 1.3) A; A < 0: max(r, 0.8) A
    expected = -tensor([[1.3 * 2, 0.5 * 2, 1.1 * 2], [-1.5, -0.8, -0.9]])
    assert_close(cost, expected)
    numbers = run.tally.numbers()
    assert numbers["clip_ratio/high_mean"] == pytest.approx(1 / 6)
    assert numbers["clip_ratio/low_mean"] == pytest.approx(1 / 6)
    assert numbers["clip_ratio/region_mean"] == pytest.approx(2 / 6)
    assert numbers["clip_ratio/high_max"] == pytest.approx(1 / 3)
    assert numbers["clip_ratio/low_min"] == 0


def test_at_ratio_one_the_gradient_is_that_of_reinforce(run: Run):
    batch = judged(1.0, 0.0).but(advantages=tensor([[0.7], [-0.3]]))
    logprobs = torch.full((2, 3), -1.0, requires_grad=True)
    batch = batch.but(old_logprobs=logprobs.detach())
    cost = Clipped()(live(logprobs, batch.mask), batch, run)
    (cost * batch.weights).sum().backward()
    assert_close(logprobs.grad, -batch.advantages.expand(2, 3))
    assert_close((cost * batch.weights).sum().item(), -3 * (0.7 - 0.3))


def test_no_advantage_means_no_gradient(run: Run):
    batch = credited(GRPO, judged([1.0, 1.0, 1.0], [0.0, 0.0]))
    assert bool((batch.advantages == 0).all())
    logprobs = torch.randn(5, 3, generator=torch.Generator().manual_seed(0)).requires_grad_()
    (Clipped()(live(logprobs, batch.mask), batch, run) * batch.weights).sum().backward()
    assert logprobs.grad is not None
    assert bool((logprobs.grad == 0).all())


def test_importance_is_a_factor_of_the_cost(run: Run):
    batch = judged(1.0, 0.0).but(advantages=tensor([[1.0], [1.0]]))
    plain = Clipped()(live(batch.old_logprobs, batch.mask), batch, run)
    halved = batch.but(importance=torch.full((2, 3), 0.5))
    assert_close(Clipped()(live(batch.old_logprobs, batch.mask), halved, run), plain / 2)


def test_steps_that_were_not_decided_cannot_spoil_the_cost(run: Run):
    batch = judged(1.0, 0.0, steps=[3, 1]).but(advantages=tensor([[1.0], [1.0]]))
    wild = torch.where(batch.mask, 0.0, 1e4)
    assert bool(Clipped()(live(wild, batch.mask), batch, run).isfinite().all())


@pytest.mark.parametrize(
    ("estimator", "value"),
    [("k1", 0.5), ("k2", 0.125), ("k3", math.exp(-0.5) + 0.5 - 1)],
)
def test_kl_estimators_by_hand(estimator, value: float):
    batch = judged(1.0, 0.0)
    reference = tiny()
    reference.review = lambda rollouts: live(torch.full((2, 3), -1.5), batch.mask)  # type: ignore
    run = a_run()
    run.policies = Policies({"solver": run.policies["solver"], "reference": reference})
    cost = KLToReference(0.1, estimator)(live(torch.full((2, 3), -1.0), batch.mask), batch, run)
    assert_close(cost, torch.full((2, 3), 0.1 * value))
    assert run.tally.numbers()["kl"] == pytest.approx(value)


def test_without_beta_no_reference_is_made():
    run = a_run()
    batch = judged(1.0, 0.0)
    cost = KLToReference(0.0)(live(torch.zeros(2, 3), batch.mask), batch, run)
    assert not cost.any()
    assert list(run.policies) == ["solver"]


def test_a_reference_cannot_be_made_after_the_first_step():
    policies = Policies({"solver": tiny()})
    policies.seal()
    with pytest.raises(UnknownName, match="reference"):
        policies["reference"]


# ---- samplers and wrappers


def test_uniform_asks_every_example_once_an_epoch():
    run = a_run()
    examples = digits().examples("train")[:10]
    sampler = Uniform(prompts=4, rollouts=2)
    seen = [p.example.id for _ in range(5) for p in sampler(examples, run)]
    assert sorted(seen[:10]) == sorted(seen[10:]) == sorted(e.id for e in examples)
    assert seen[:10] != seen[10:]
    assert run.tally.numbers()["epoch"] == 2


def test_an_example_that_comes_twice_in_a_step_is_drawn_anew():
    run = a_run()
    examples = digits().examples("train")[:2]
    prompts = Uniform(prompts=4, rollouts=3)(examples, run)
    drawn = [(p.example.id, p.attempt + n) for p in prompts for n in range(p.rollouts)]
    assert len(set(drawn)) == 12


def test_the_order_is_the_seeds_and_goes_on_from_memory():
    examples = digits().examples("train")
    one, other = a_run(), a_run()
    sampler = Uniform(prompts=5, rollouts=1)
    first = [p.example.id for _ in range(4) for p in sampler(examples, one)]
    other.memory = {"uniform": {"place": 10}}
    assert [p.example.id for _ in range(2) for p in sampler(examples, other)] == first[10:]


def test_hints_only_where_all_failed():
    run = a_run()
    hinted = [replace(e, tags={"hint": "it is small"}) for e in digits().examples("train")[:3]]
    prompts = [run.task.prompt(e).but(rollouts=2) for e in hinted]
    asked = []

    def play(wanted):
        asked.append([(p.example.id, p.attempt, p.hints) for p in wanted])
        ok = {prompts[1].example.id}
        return [
            replace(
                judged(1.0 if p.example.id in ok else 0.0).rollouts[0],
                turns=((p, Completion("x", steps=1)),),
                attempt=p.attempt + n,
            )
            for p in wanted
            for n in range(p.rollouts)
        ]

    found = HintOnFailure()(prompts, play, run)
    ids = [prompt.example.id for prompt in prompts]
    assert asked[1] == [(ids[0], 2, ("it is small",)), (ids[2], 2, ("it is small",))]
    assert len(found) == 6
    assert {r.example.id for r in found if r.prompt.hints} == {ids[0], ids[2]}


def test_groups_count_alike_whatever_their_sizes_and_lengths(run: Run):
    batch = judged([1.0, 0.0, 0.0], [1.0], [0.0], steps=[1, 2, 4, 3, 2])
    batch = batch.but(weights=batch.weights * tensor([[1.0], [1], [0], [1], [0]]))
    found = MeanOverGroups()(batch, run).weights
    assert_close(found.sum(1), tensor([0.25, 0.25, 0, 0.5, 0]))
    assert_close(found[1, :2], tensor([0.125, 0.125]))
    equal = judged([1.0, 0.0], [1.0, 0.5], steps=[1, 2, 3, 1])
    assert_close(MeanOverGroups()(equal, run).weights, MeanOverRollouts()(equal, run).weights)
    nothing = equal.but(weights=torch.zeros_like(equal.weights))
    assert MeanOverGroups()(nothing, run).weights.abs().max().item() == 0


@pytest.mark.parametrize(
    ("stage", "kept"),
    [
        (DropFlatGroups(), [False, False, True]),
        (DropFlatGroups(failed=False), [False, True, True]),
        (DropFlatGroups(solved=False), [True, False, True]),
    ],
)
def test_flat_groups_are_told_by_their_verdicts(run: Run, stage: DropFlatGroups, kept: list[bool]):
    batch = judged([1.0, 1.0], [0.3, 0.0], [1.0, 0.3])
    found = stage(batch, run).weights.sum(1) > 0
    assert found.tolist() == [keep for keep in kept for _ in range(2)]


def test_a_batch_before_any_stage_counts_every_decision():
    batch = judged(0.0, 1.0, steps=[1, 2])
    fresh = Batch.of(batch.rollouts, batch.mask)
    assert fresh.weights.tolist() == [[1, 0], [1, 1]]
    assert not fresh.advantages.any()
