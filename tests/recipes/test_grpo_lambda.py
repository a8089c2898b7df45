"""grpo_lambda by hand: the sheet's five groups, who is penalized, and who must not be."""

from __future__ import annotations

from dataclasses import replace

import pytest
from torch import Tensor, tensor
from torch.testing import assert_close

from tests.trainer_builders import CORRECT, a_run, credited, judged, still
from trainers.batch import Batch
from trainers.recipe import Recipe, Run
from trainers.recipes.grpo import RECIPE as GRPO
from trainers.recipes.grpo_lambda import RECIPE, SwitchLengthPenalty

RIGHT = ([1, 1, 1, 1], [1, 1, 0, 1], [1, 0, 0, 0], [0, 0, 0, 0], [1, 1, 0, 0])
LENGTHS = [100, 200, 300, 400, 150, 250, 500, 350, 300, 600, 700, 800]
LENGTHS += [900] * 4 + [200, 400, 600, 800]


@pytest.fixture(scope="module")
def run() -> Run:
    return a_run(RECIPE, policy=still())


def five() -> Batch:
    return judged(*[[float(y) for y in group] for group in RIGHT], steps=LENGTHS)


def penalized(run: Run, batch: Batch | None = None, **settings: float | str) -> Batch:
    return SwitchLengthPenalty(**settings)(five() if batch is None else batch, run)  # type: ignore[arg-type]


def advantages(batch: Batch, run: Run, recipe: Recipe = RECIPE) -> Tensor:
    return credited(recipe, batch, run).advantages[:, 0]


def test_worked_example(run: Run):
    batch = penalized(run, alpha=0.2)
    paid = tensor([0.958552, 0.921995, 0.878005, 0.841448])
    assert_close(batch.rewards[:4, 0], paid, atol=1e-6, rtol=0)
    assert_close(batch.rewards[4:], five().rewards[4:])
    expected = [1.146495, 0.430686, -0.430686, -1.146495, 0.499999, 0.499999, -1.499997]
    expected += [0.499999, 1.499997, -0.499999, -0.499999, -0.499999, 0, 0, 0, 0]
    expected += [0.866024, 0.866024, -0.866024, -0.866024]
    assert_close(advantages(batch, run), tensor(expected), atol=1.5e-6, rtol=0)


def test_alpha_cancels_where_all_are_right(run: Run):
    batch = penalized(run, alpha=0.6)
    paid = tensor([0.875656, 0.765986, 0.634014, 0.524344])
    assert_close(batch.rewards[:4, 0], paid, atol=1e-6, rtol=0)
    expected = tensor([1.146510, 0.430692, -0.430692, -1.146510])
    assert_close(advantages(batch, run)[:4], expected, atol=1e-6, rtol=0)


def test_the_penalty_everywhere_is_the_share_1(run: Run):
    batch = penalized(run, alpha=0.2, share=1.0)
    assert_close(batch.rewards[4:8, 0], tensor([0.954579, 0.9, 0, 0.845421]), atol=1e-6, rtol=0)
    expected = tensor([0.618262, 0.497565, -1.492695, 0.376868])
    assert_close(advantages(batch, run)[4:8], expected, atol=1.5e-6, rtol=0)


def test_wrong_answers_in_a_penalized_group_stay_at_0_and_a_hopeless_group_is_finite(run: Run):
    batch = penalized(run, share=1.0)
    wrong = five().rewards[:, 0] == 0
    assert batch.rewards[wrong].abs().max().item() == 0
    assert bool(batch.rewards.isfinite().all())


def test_a_threshold_takes_all_groups_that_reach_it(run: Run):
    batch = penalized(run, mode="threshold", threshold=0.75, alpha=0.2)
    changed = (batch.rewards != five().rewards)[:, 0]
    assert changed.view(5, 4).any(1).tolist() == [True, True, False, False, False]


def test_lengths_of_wrong_answers_do_not_count(run: Run):
    short = judged([1.0, 1.0, 0.0], steps=[2, 4, 6])
    long = judged([1.0, 1.0, 0.0], steps=[2, 4, 600])
    assert_close(penalized(run, short).rewards, penalized(run, long).rewards)


@pytest.mark.parametrize("rewards", [[1.0], [1.0, 1.0], [1.0, 0.0, 0.0]])
def test_one_right_answer_or_one_length_has_a_z_of_0(run: Run, rewards: list[float]):
    batch = penalized(run, judged(rewards, steps=7), alpha=0.6)
    assert_close(batch.rewards[0, 0].item(), 0.7)


def test_of_equally_good_groups_others_are_penalized_at_another_step(run: Run):
    flat = judged(*[[1.0, 1.0]] * 10, steps=[1, 2] * 10)
    chosen = set()
    for step in range(12):
        batch = penalized(replace(run, step=step), flat, alpha=0.5)
        hit = (batch.rewards < 1)[:, 0].nonzero().flatten() // 2
        assert len(set(hit.tolist())) == 2
        chosen |= set(hit.tolist())
    assert len(chosen) > 4


def test_the_share_of_many_groups_is_exact_and_of_few_is_rounded_up(run: Run):
    for groups, most in ((5, 1), (6, 2), (10, 2), (100, 20)):
        batch = penalized(run, judged(*[[1.0, 1.0]] * groups, steps=[1, 2] * groups), alpha=0.5)
        assert int((batch.rewards < 1).sum()) == 2 * most


def test_without_a_penalty_it_is_grpo(run: Run):
    plain = GRPO.but(rewards=CORRECT, advantages=RECIPE.advantages)
    assert_close(advantages(penalized(run, alpha=0.0), run), advantages(five(), run, plain))
