"""drpo by hand: length shares out the credit of right answers, and never makes one wrong."""

from functools import cache

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import tensor
from torch.testing import assert_close

from tests.trainer_builders import a_run, credited, judged, still
from trainers.advantages import CenterByMean, ScaleByStd
from trainers.policy import Live
from trainers.recipe import Run
from trainers.recipes.disco import RECIPE as DISCO
from trainers.recipes.drpo import RECIPE as DRPO
from trainers.recipes.drpo import PreferShort
from trainers.recipes.grpo import RECIPE as GRPO

HUNDRED = DRPO.but(max_tokens=100)
LENGTHS = [20, 60, 90, 50]


@cache
def the_run() -> Run:
    return a_run(HUNDRED, policy=still())


@pytest.fixture
def run() -> Run:
    return the_run()


def but(lam: float):
    return HUNDRED.but(advantages=(*DISCO.advantages, PreferShort(lam)))


def slopes(recipe, run: Run, rewards: list[float], lengths: list[int], scores: list[float]):
    """mean J and its slope by each rollout's score."""
    batch = credited(recipe, judged(rewards, steps=lengths), run)
    logprobs = torch.where(batch.mask, tensor(scores)[:, None], 0.0).requires_grad_()
    live = Live(logprobs, torch.zeros_like(logprobs), batch.mask)
    cost = (recipe.losses[0](live, batch, run) * batch.weights).sum()
    cost.backward()
    assert logprobs.grad is not None
    return -cost.detach(), -logprobs.grad.sum(1)


def test_oracle_weights_value_and_slopes(run: Run):
    batch = credited(HUNDRED, judged([1.0, 1.0, 0.0, 0.0], steps=LENGTHS), run)
    expected = tensor([1.964028, 0.035972, -1.0, -1.0])
    assert_close(batch.advantages[:, 0], expected, atol=5e-7, rtol=0)
    scores = [-0.5, -0.4, -0.6, -0.9]
    value, slope = slopes(HUNDRED, run, [1.0, 1.0, 0.0, 0.0], LENGTHS, scores)
    assert_close(value, tensor(0.250674), atol=6e-7, rtol=0)
    expected = tensor([0.982014, 0.017986, -0.507499, -0.492501])
    assert_close(slope, expected, atol=6e-7, rtol=0)
    hard = 10 * (tensor([-0.06, -0.09], dtype=torch.float64).exp().mean()).log()
    assert float(hard) == pytest.approx(-0.748875, abs=5e-7)


@pytest.mark.parametrize(("lam", "shares"), [(1.0, [0.598688, 0.401312]), (1e9, [0.5, 0.5])])
def test_oracle_shares(run: Run, lam: float, shares: list[float]):
    batch = credited(but(lam), judged([1.0, 1.0, 0.0, 0.0], steps=LENGTHS), run)
    assert_close(batch.advantages[:2, 0] / 2, tensor(shares), atol=5e-7, rtol=0)


def test_oracle_the_defect_of_a_length_penalty_in_the_reward(run: Run):
    rewards = [0.91, 0.55, 0.145, 0.0, 0.0, 0.0]
    exact = GRPO.but(advantages=(CenterByMean(), ScaleByStd(eps=0.0)))
    found = credited(exact, judged(rewards)).advantages[:, 0]
    expected = tensor([1.851798, 0.814215, -0.353067, *[-0.770982] * 3])
    assert_close(found, expected, atol=1e-6, rtol=0)
    batch = credited(HUNDRED, judged([1.0] * 3 + [0.0] * 3, steps=[9, 45, 85, 9, 9, 9]), run)
    assert (batch.advantages[:3] > 0).all()


@given(
    lam=st.floats(0.02, 10.0),
    lengths=st.lists(st.integers(1, 100), min_size=4, max_size=8),
    right=st.integers(1, 3),
)
@settings(max_examples=40, deadline=None)
def test_no_right_answer_is_ever_pushed_down(lam: float, lengths: list[int], right: int):
    run = the_run()
    rewards = [1.0] * right + [0.0] * (len(lengths) - right)
    batch = credited(but(lam), judged(rewards, steps=lengths), run)
    assert (batch.advantages[:right] >= 0).all()
    assert (batch.advantages[right:] == -1).all()
    assert batch.advantages[:right].sum().item() == pytest.approx(right, rel=1e-5)


def test_limit_of_large_lam_is_disco(run: Run):
    batch = judged([1.0, 1.0, 0.0], [0.0, 1.0], steps=[5, 90, 3, 2, 70])
    one, other = credited(but(1e9), batch, run), credited(DISCO, batch, run)
    assert_close(one.advantages, other.advantages)
    assert_close(one.weights, other.weights)
    assert DRPO.losses == DISCO.losses


def test_the_longest_is_what_the_recipe_allows_not_what_was_padded(run: Run):
    batch = judged([1.0, 1.0, 0.0], steps=[1, 2, 2])
    given = credited(HUNDRED.but(advantages=(*DISCO.advantages, PreferShort(0.1, 2))), batch, run)
    assert credited(HUNDRED, batch, run).advantages[1].item() > 0.9
    assert given.advantages[1].item() < 0.1


def test_long_answers_beyond_the_exponent_s_range_stay_finite(run: Run):
    batch = credited(but(1e-3), judged([1.0, 1.0, 0.0], steps=[1, 100, 5]), run)
    assert batch.advantages[:, 0].tolist() == [2.0, 0.0, -1.0]


def test_degenerate_groups_teach_nothing(run: Run):
    rewards = [1.0, 1.0], [0.0, 0.0], [1.0], [0.0]
    batch = credited(HUNDRED, judged(*rewards, steps=[3, 99, 4, 5, 6, 7]), run)
    assert batch.advantages.abs().max().item() == 0


def test_degenerate_ragged_groups_are_shared_out_one_by_one(run: Run):
    batch = judged([1.0, 0.0], [1.0, 1.0, 1.0, 0.0], steps=[30, 5, 10, 50, 90, 7])
    found = credited(HUNDRED, batch, run).advantages
    assert found.shape == (6, 1)
    assert found[0].item() == 1
    assert found[2:5].sum().item() == pytest.approx(3)
