"""info_consistent by hand: its sheet's entropies, gaps, rewards and advantages."""

from __future__ import annotations

import math
from functools import cache

import numpy as np
import pytest
import torch
from torch import tensor
from torch.testing import assert_close

from harness.similarity import entropy, tokens
from tests.trainer_builders import a_run, credited, judged, set_batch
from trainers.batch import Batch
from trainers.recipe import Run
from trainers.recipes.info_consistent import RECIPE, PayInformation, set_gaps

SEVEN = "buy index fund hold bonds low fees"
FIVE = "buy bonds buy bonds hold"
PAIRS = [  # entropies of sides i and j
    (SEVEN, SEVEN),  # ln 7, ln 7
    ("buy index fund hold", "buy index fund"),  # ln 4, ln 3
    (FIVE, "buy index fund hold bonds"),  # 1.054920, ln 5
]


@cache
def the_run() -> Run:
    return a_run(RECIPE)


def three_sets() -> Batch:
    rollouts = [
        rollout
        for number, pair in enumerate(PAIRS)
        for rollout in set_batch([[text] for text in pair], set=f"q{number}").rollouts
    ]
    return Batch.of(rollouts, torch.ones((6, 3), dtype=torch.bool))


def rewards(stage: PayInformation, batch: Batch) -> torch.Tensor:
    return stage(batch, the_run()).rewards[:, 0]


def test_entropies_of_the_worked_example():
    assert entropy(tokens(SEVEN)) == pytest.approx(1.945910, abs=1e-6)
    assert entropy(tokens(FIVE)) == pytest.approx(1.054920, abs=1e-6)


def test_gaps_and_stability_of_the_worked_example():
    batch = three_sets()
    said = np.array([entropy(tokens(r.completion.output)) for r in batch.rollouts])
    gaps = set_gaps(batch.rollouts, said)
    assert gaps[::2] == pytest.approx([0, 0.287682, 0.554518], abs=1e-6)
    assert gaps[1::2] == pytest.approx(gaps[::2])
    assert 1 - (gaps[::2] / gaps.max()).mean() == pytest.approx(0.493734, abs=1e-6)
    assert 1 - (gaps[::2] / math.log(8)).mean() == pytest.approx(0.864996, abs=1e-6)


def test_normalized_entropies_of_the_worked_example():
    found = rewards(PayInformation(helpfulness=1.0, stability=0.0), three_sets())
    expected = tensor([1, 1, 0.371917, 0.049038, 0, 0.622362])
    assert_close(found, expected, atol=1e-6, rtol=0)


def test_rewards_and_advantages_of_the_worked_example():
    found = rewards(PayInformation(), three_sets())
    assert_close(found[::2], tensor([1.0, 0.426560, 0.0]), atol=1e-6, rtol=0)
    batch = judged(found[::2].tolist())
    expected = tensor([1.045206, -0.097570, -0.947637])
    assert_close(credited(RECIPE, batch, the_run()).advantages[:, 0], expected, atol=1e-6, rtol=0)


def test_a_fixed_widest_gap_saturates():
    found = rewards(
        PayInformation(helpfulness=0.0, stability=1.0, max_gap=math.log(8)), three_sets()
    )
    assert_close(found[4], tensor(1 - 0.554518 / math.log(8)), atol=1e-6, rtol=0)
    narrow = rewards(PayInformation(helpfulness=0.0, stability=1.0, max_gap=0.1), three_sets())
    assert narrow.min().item() == 0


def test_more_than_two_phrasings_take_the_mean_gap_to_the_others():
    batch = set_batch([["a b"], ["a b c d"], ["a"]])
    said = np.array([entropy(tokens(r.completion.output)) for r in batch.rollouts])
    gaps = set_gaps(batch.rollouts, said)
    two, four = math.log(2), math.log(4)
    expected = [(four - two + two) / 2, (four - two + four) / 2, (two + four) / 2]
    assert gaps == pytest.approx(expected)


@pytest.mark.parametrize("answers", [[["a b"]] * 4, [[""]] * 4, [[None]] * 4, [["a"]]])
def test_equal_rewards_are_zero_advantages_and_no_nan(answers):
    batch = RECIPE.rewards[0](set_batch(answers), the_run())
    found = credited(RECIPE, batch, the_run())
    assert bool(found.rewards.isfinite().all())
    assert found.advantages.abs().max().item() == 0


def test_attempts_at_the_same_prompt_have_no_gap():
    batch = set_batch([["a b c", "a"]])
    said = np.array([entropy(tokens(r.completion.output)) for r in batch.rollouts])
    assert set_gaps(batch.rollouts, said).tolist() == [0, 0]


def test_permuted_rollouts_have_permuted_rewards():
    batch = three_sets()
    order = tensor([3, 0, 5, 1, 4, 2])
    found = rewards(PayInformation(), batch)
    assert_close(rewards(PayInformation(), batch.take(order)), found[order])
