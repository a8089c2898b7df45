"""gdpo by hand: each score normalized in its group, the sum over the batch."""

from collections.abc import Sequence
from dataclasses import replace

import pytest
import torch
from torch import Tensor, tensor
from torch.testing import assert_close

from harness.errors import UnknownName
from harness.types import Verdict
from tests.trainer_builders import a_run, credited, rollout, still
from trainers.advantages import CenterByMean, ScaleByStd
from trainers.batch import Batch
from trainers.recipe import Recipe
from trainers.recipes.gdpo import RECIPE as GDPO
from trainers.recipes.gdpo import NormalizeEachScore
from trainers.recipes.grpo import RECIPE as GRPO
from trainers.rewards import PenalizeOverlong, WeighScores

Pairs = Sequence[Sequence[float]]
G0: Pairs = [(1, 1), (1, 0), (0, 1), (0, 0)]
G1: Pairs = [(1, 1), (0, 1), (0, 1), (0, 1)]


def two(weights: Sequence[float] = (1.0, 1.0), stage: NormalizeEachScore | None = None) -> Recipe:
    names = dict(zip(("one", "two"), weights, strict=True))
    return GDPO.but(
        rewards=(WeighScores(names),), advantages=(stage or NormalizeEachScore(),), max_tokens=10
    )


def scored(*groups: Pairs, steps: Sequence[int] | None = None) -> Batch:
    """Rollouts with two scores."""
    lengths = iter(steps or [3] * 100)
    rollouts = [
        replace(
            rollout(group=f"g{g}", attempt=n, steps=next(lengths)),
            verdict=Verdict({"one": float(pair[0]), "two": float(pair[1])}, reason="wrong"),
        )
        for g, pairs in enumerate(groups)
        for n, pair in enumerate(pairs)
    ]
    longest = max(r.steps for r in rollouts)
    return Batch.of(rollouts, torch.arange(longest) < tensor([[r.steps] for r in rollouts]))


def advantages(recipe: Recipe, batch: Batch) -> Tensor:
    run = a_run(recipe, policy=still())
    for stage in recipe.rewards:
        batch = stage(batch, run)
    return credited(recipe, batch, run).advantages[:, 0]


def sums(eps: float) -> Recipe:
    return two().but(advantages=(CenterByMean(), ScaleByStd(eps=eps, ddof=1)))


def test_oracle_sums_collapse_and_scores_apart_do_not():
    batch = scored([(0, 0), (0, 1)], [(0, 0), (1, 1)])
    expected = tensor([-0.707106, 0.707106] * 2)
    assert_close(advantages(sums(1e-6), batch), expected, atol=1.1e-6, rtol=0)
    found = advantages(two(stage=NormalizeEachScore(eps=1e-6)), batch)
    before = tensor([-0.707106, 0.707106, -1.414212, 1.414212])
    assert_close(found, before / before.std(), atol=1e-5, rtol=0)
    assert len({round(x, 4) for x in found.tolist()}) == 4


def test_oracle_worked_example():
    batch = scored(G0, G1)
    expected = [1.224595, 0, 0, -1.224595, 1.499700, -0.499900, -0.499900, -0.499900]
    assert_close(advantages(sums(1e-4), batch), tensor(expected), atol=6e-7, rtol=0)
    stage = NormalizeEachScore()
    first = [0.865875, 0.865875, -0.865875, -0.865875, 1.499700, -0.4999, -0.4999, -0.4999]
    assert_close(
        stage._normalized(batch.scores["one"][:, None], batch)[:, 0], tensor(first), **NEAR
    )
    second = [0.865875, -0.865875, 0.865875, -0.865875, 0, 0, 0, 0]
    assert_close(
        stage._normalized(batch.scores["two"][:, None], batch)[:, 0], tensor(second), **NEAR
    )
    third = [1.527404, 0, 0, -1.527404, 1.322735, -0.440912, -0.440912, -0.440912]
    assert_close(advantages(two(), batch), tensor(third), **NEAR)


NEAR = {"atol": 6e-7, "rtol": 0}


def test_oracle_with_weights():
    expected = [1.322757, 0.440919, -0.440919, -1.322757, 1.527347, *[-0.509116] * 3]
    assert_close(advantages(two((1.0, 0.5)), scored(G0, G1)), tensor(expected), **NEAR)


def test_limit_one_reward_is_grpo_with_the_sample_std():
    one = GDPO.but(rewards=(WeighScores({"one": 1.0}),))
    plain = GRPO.but(rewards=one.rewards, advantages=(CenterByMean(), ScaleByStd(ddof=1)))
    batch = scored(G0, G1, [(0.3, 0)])
    assert_close(advantages(one, batch), advantages(plain, batch))


def test_a_small_reward_is_as_loud_as_a_large_one():
    batch = scored([(10, 0), (0, 1), (5, 0), (5, 1)])
    large, small = ({"one": 1.0, "two": 1.0}, {"one": 1e-3, "two": 1.0})
    scaled = batch.but(scores={"one": batch.scores["one"] * 1e-3, "two": batch.scores["two"]})
    scaled = scaled.but(
        rollouts=tuple(
            replace(r, verdict=Verdict({"one": s / 1000, "two": r.verdict.scores["two"]}))
            for r, s in zip(batch.rollouts, batch.scores["one"].tolist(), strict=True)
        )
    )
    exact = NormalizeEachScore(eps=0.0)
    assert_close(advantages(two(stage=exact), batch), advantages(two(stage=exact), scaled))
    assert large != small


def test_the_whole_batch_is_normalized_flat_groups_as_zeros():
    found = advantages(two(stage=NormalizeEachScore(eps=0.0)), scored(G0, [(1, 1)] * 4))
    assert found[4:].abs().max().item() == 0
    assert found.std().item() == pytest.approx(1.0, rel=1e-5)


def test_over_steps_long_answers_weigh_more():
    steps = [1, 1, 1, 9, 1, 1, 1, 1]
    batch = scored(G0, G1, steps=steps)
    found = advantages(two(stage=NormalizeEachScore(eps=0.0, over="steps")), batch)
    spread = found.repeat_interleave(tensor(steps))
    assert spread.mean().item() == pytest.approx(0, abs=1e-6)
    assert spread.std().item() == pytest.approx(1, rel=1e-5)
    assert found.mean().item() > 0.1


def test_an_easy_reward_may_be_given_only_with_the_hard_one():
    stage = NormalizeEachScore(given={"two": "one"})
    free, bound = scored([(1, 1), (0, 1), (0, 0)]), scored([(1, 1), (0, 0), (0, 0)])
    assert_close(advantages(two(stage=stage), free), advantages(two(), bound))
    with pytest.raises(UnknownName, match="three"):
        advantages(two(stage=NormalizeEachScore(given={"two": "three"})), free)


def test_a_floor_keeps_a_nearly_constant_score_small():
    batch = scored([(0, 0.5), (0, 0.5001), (1, 0.5), (1, 0.5001)])
    score = batch.scores["two"][:, None]
    free, held = NormalizeEachScore(), NormalizeEachScore(floor=0.5)
    assert free._normalized(score, batch).abs().max().item() > 0.3
    assert held._normalized(score, batch).abs().max().item() < 2e-4
    ours = advantages(two(stage=held), batch)
    assert ours[2:].min().item() > 0.8 > -0.8 > ours[:2].max().item()


def test_unscaled_scores_are_normalized_over_the_batch_all_the_same():
    found = advantages(two(stage=NormalizeEachScore(scaled=False, eps=0.0)), scored(G0, G1))
    assert found.std().item() == pytest.approx(1.0, rel=1e-5)


def test_what_other_stages_take_is_a_reward_of_its_own():
    charged = two().but(rewards=(*two().rewards, PenalizeOverlong(0.5, 1.0)))
    batch = scored([(1, 1), (0, 0), (1, 1), (0, 0)], steps=[10, 1, 1, 1])
    with_it, without = advantages(charged, batch), advantages(two(), batch)
    assert with_it[0].item() < with_it[2].item()
    assert without[0].item() == without[2].item()


def test_a_missing_score_is_named():
    run = a_run(GDPO.but(rewards=(WeighScores({"absent": 1.0}),)), policy=still())
    with pytest.raises(UnknownName, match="absent"):
        NormalizeEachScore()(scored(G0), run)


def test_degenerate_groups_are_zero_and_finite():
    found = advantages(two(), scored([(1, 1)] * 3, [(0, 0)] * 2, [(1, 0)]))
    assert found.abs().max().item() == 0
