"""ps_grpo by hand: its sheet, the mean of its estimate, and the limits that its card states."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import numpy as np
import pytest
import torch
from torch import tensor
from torch.testing import assert_close

from harness.errors import UsageError
from harness.similarity import SIMILARITIES, agreement
from tests.trainer_builders import a_run, credited, judged, set_batch
from trainers.batch import Batch
from trainers.recipe import Run
from trainers.recipes.grpo import RECIPE as GRPO
from trainers.recipes.ps_grpo import RECIPE, PayAgreement
from trainers.rewards import WeighScores
from trainers.tally import Tally

FILMS = [["shawn levy"], ["Shawn Levy directed it"], ["Ryan Reynolds"]]
CAPITAL = [
    ["the capital is paris", "paris france"],
    ["the capital is paris", "it is lyon"],
    ["capital is paris", "the capital is lyon"],
]
EXACT = PayAgreement(similarity="token_f1", phrasings=None, rollouts=None)


@cache
def the_run() -> Run:
    return a_run(RECIPE)


def paid(stage: PayAgreement, batch: Batch, step: int = 0, seed: int = 0) -> torch.Tensor:
    run = replace(the_run(), step=step, seed=seed)
    return stage(batch, run).rewards[:, 0]


def test_exact_rewards_of_the_films():
    found = paid(EXACT, set_batch(FILMS))
    assert_close(found, tensor([1 / 3, 1 / 3, 0.0]), atol=1e-6, rtol=0)


SHEET = {
    "bleu1_one_way": [0.687500, 0.121801, 0.687500, 0.262466, 0.524932, 0.500000],
    "bleu2_one_way": [0.603553, 0.000000, 0.603553, 0.103422, 0.358266, 0.455615],
}
SIGNS = {"bleu1": [1, -1, 1, -1, 1, -1], "bleu2": [1, -1, 1, -1, -1, 1]}


@pytest.mark.parametrize("name", SHEET)
def test_rewards_of_the_capital(name):
    run = replace(the_run(), tally=Tally())
    batch = PayAgreement(similarity=name, phrasings=None, rollouts=None)(set_batch(CAPITAL), run)
    assert_close(batch.rewards[:, 0], tensor(SHEET[name]), atol=1e-6, rtol=0)
    assert run.tally.numbers()["agreement/comparisons"] == 3 * 2 * 4


@pytest.mark.parametrize("name", [*SHEET, *SIGNS])
def test_credit_is_given_within_each_phrasing(name):
    """The choice of the order turns the sign of the last row."""
    recipe = RECIPE.but(rewards=(PayAgreement(similarity=name, phrasings=None, rollouts=None),))
    batch = recipe.rewards[0](set_batch(CAPITAL), the_run())
    found = credited(recipe, batch, the_run()).advantages[:, 0]
    signs = tensor(SIGNS[name.removesuffix("_one_way")], dtype=torch.float32)
    assert_close(found, signs, atol=1e-2, rtol=0)


def test_alpha_and_gamma_weigh_agreement_and_accuracy():
    batch = set_batch(FILMS).but(rewards=tensor([[1.0], [0.5], [0.0]]))
    found = paid(replace(EXACT, weight=2.0), batch)
    assert_close(found, tensor([1 + 2 / 3, 0.5 + 2 / 3, 0.0]), atol=1e-6, rtol=0)


def test_the_drawn_reward_is_an_unbiased_estimate_of_the_exact_one():
    words = "paris lyon nice metz".split()
    rng = np.random.default_rng(0)
    answers = [[" ".join(rng.choice(words, 3)) for _ in range(4)] for _ in range(6)]
    batch = set_batch(answers)
    exact = paid(EXACT, batch)
    stage = replace(EXACT, phrasings=3, rollouts=1)
    drawn = torch.stack([paid(stage, batch, step) for step in range(300)])
    error = drawn.std(0) / 300**0.5
    assert bool((drawn.std(0) > 0).all()), "an estimate varies"
    assert bool(((drawn.mean(0) - exact).abs() < 4.5 * error).all())
    assert np.corrcoef(drawn.mean(0), exact)[0, 1] > 0.95


@pytest.mark.parametrize(("phrasings", "rollouts"), [(5, 4), (99, 99), (5, None), (None, 4)])
def test_drawing_all_is_exact(phrasings, rollouts):
    batch = set_batch([["a b", "b c", "c"], ["a", "b", None], ["c a", "b c", "b"]])
    stage = replace(EXACT, phrasings=phrasings, rollouts=rollouts)
    assert_close(paid(stage, batch), paid(EXACT, batch))


def test_comparisons_fall_from_all_to_kappa_times_s():
    batch = set_batch([["a", "b", "c", "d", "e", "f"]] * 5)
    counts = []
    for stage in (EXACT, replace(EXACT, phrasings=3, rollouts=1)):
        run = replace(the_run(), tally=Tally())
        stage(batch, run)
        counts.append(run.tally.numbers()["agreement/comparisons"])
    assert counts == [5 * 4 * 6 * 6, 5 * 6 * 3 * 1]  # 720, as the sheet counts them


def test_what_is_drawn_hangs_on_seed_and_step_and_on_nothing_else():
    rng = np.random.default_rng(1)
    batch = set_batch(
        [[" ".join(rng.choice(list("abcdef"), 4)) for _ in range(4)] for _ in range(6)]
    )
    stage = replace(EXACT, phrasings=2, rollouts=1)
    first = paid(stage, batch, step=3, seed=5)
    order = torch.from_numpy(rng.permutation(len(first)))
    assert_close(paid(stage, batch.take(order), step=3, seed=5), first[order])
    assert not torch.equal(paid(stage, batch, step=4, seed=5), first)
    assert not torch.equal(paid(stage, batch, step=3, seed=6), first)


def test_sets_do_not_see_each_other():
    one, other = set_batch(FILMS), set_batch([["shawn levy"]] * 3, set="t")
    both = Batch.of((*one.rollouts, *other.rollouts), torch.ones((6, 3), dtype=torch.bool))
    assert_close(paid(EXACT, both), torch.cat([paid(EXACT, one), paid(EXACT, other)]))


def test_a_mode_that_agrees_with_itself_alone_is_not_paid():
    found = paid(EXACT, set_batch([["x", "x"], ["y", "y"], ["z", "z"]]))
    assert found.tolist() == [0.0] * 6


@pytest.mark.parametrize(
    "answers", [[[None, None]] * 3, [["a", "b"]], [["a"]] * 3, [["same"] * 4] * 6]
)
def test_sets_that_teach_nothing_are_finite_and_zero(answers):
    batch = RECIPE.rewards[1](set_batch(answers), the_run())
    found = credited(RECIPE, batch, the_run())
    assert bool(found.rewards.isfinite().all())
    assert found.advantages.abs().max().item() == 0


def test_without_sets_it_is_grpo():
    run = the_run()
    batch = WeighScores({"correct": 1.0})(judged([1.0, 0.0, 0.0], [0.0, 1.0]), run)
    one = credited(RECIPE, RECIPE.rewards[1](batch, run), run)
    other = credited(GRPO, batch, run)
    assert_close(one.advantages, other.advantages)
    assert_close(one.weights, other.weights)


def test_the_stage_is_what_the_task_reports():
    rows = [["a b", "b"], ["a b", "c"], ["b a", "c"]]
    exact = agreement(rows, SIMILARITIES["token_f1"])
    assert_close(paid(EXACT, set_batch(rows)), tensor([x for row in exact for x in row]).float())


def test_comparing_with_nobody_is_refused():
    with pytest.raises(UsageError, match="1 other at least"):
        PayAgreement(phrasings=0)
