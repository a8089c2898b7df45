"""Groups of any size, and micro-batches that lose nothing."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.testing import assert_close

from tests.trainer_builders import judged
from trainers.batch import Peers
from trainers.policy import Extent


def test_peers_compare_within_groups_of_any_size():
    batch = judged([0.0, 1.0, 1.0], [0.5], [2.0, 4.0])
    peers = batch.peers()
    assert_close(peers.mean(batch.rewards)[:, 0], torch.tensor([2 / 3] * 3 + [0.5] + [3.0] * 2))
    assert_close(peers.std(batch.rewards)[3:, 0], torch.tensor([0.0, 1.0, 1.0]))
    assert_close(peers.std(batch.rewards, 1)[:4, 0], torch.tensor([3**-0.5] * 3 + [0.0]))
    assert peers.median(batch.rewards)[:, 0].tolist() == [1, 1, 1, 0.5, 3, 3]
    assert peers.count(batch.rewards)[:, 0].tolist() == [3, 3, 3, 1, 2, 2]


def test_peers_within_strata_cross_groups():
    batch = judged([0.0, 1.0], [2.0, 3.0])
    strata = torch.tensor([0, 1, 0, 1])
    assert batch.peers(within=strata).mean(batch.rewards)[:, 0].tolist() == [1, 2, 1, 2]


def test_dense_rewards_are_compared_step_by_step():
    peers = Peers(torch.tensor([7, 7]))
    x = torch.tensor([[0.0, 2.0], [1.0, 4.0]])
    assert peers.mean(x).tolist() == [[0.5, 3.0], [0.5, 3.0]]


@given(reward=st.floats(-1e6, 1e6, width=32), count=st.integers(1, 64))
@settings(max_examples=50, deadline=None)
def test_equal_rewards_have_exactly_no_spread(reward: float, count: int):
    batch = judged([reward] * count)
    assert bool((batch.rewards == batch.peers().mean(batch.rewards)).all())
    assert bool((batch.peers().std(batch.rewards) < 1e-6).all())


@given(
    groups=st.lists(st.integers(1, 5), min_size=1, max_size=6),
    budget=st.integers(1, 60),
    whole=st.booleans(),
)
@settings(max_examples=60, deadline=None)
def test_parts_hold_every_rollout_once_and_keep_the_budget(
    groups: list[int], budget: int, whole: bool
):
    batch = judged(*[[0.0] * size for size in groups])
    sizes = [3 + row % 5 for row in range(len(batch.rollouts))]
    parts = batch.parts([Extent(size) for size in sizes], budget, whole_groups=whole)
    assert sorted(torch.cat(parts).tolist()) == list(range(len(sizes)))
    for part in parts:
        cost = sum(sizes[row] for row in part.tolist())
        alone = len(batch.group[part].unique()) == 1 if whole else len(part) == 1
        assert cost <= budget or alone
    if whole:
        for number in batch.group.unique():
            assert sum(bool((batch.group[part] == number).any()) for part in parts) == 1


def test_a_taken_part_has_no_more_steps_than_it_needs():
    batch = judged([0.0, 1.0], [0.5], steps=[5, 2, 3])
    part = batch.take(torch.tensor([2, 1]))
    assert part.mask.tolist() == [[True] * 3, [True, True, False]]
    assert part.rewards[:, 0].tolist() == [0.5, 1.0]
    assert [r.group for r in part.rollouts] == ["g1", "g0"]


def test_the_samplers_numbers_stand_in_their_columns():
    batch = judged([0.0, 1.0], steps=[1, 3])
    assert batch.sampled_logprobs[1].tolist() == [-1.0] * 3
    assert batch.sampled_logprobs[0, 1:].isnan().all()


def test_equal_groups_of_other_roles_are_other_groups():
    batch = judged([0.0, 1.0])
    from dataclasses import replace

    from trainers.batch import Batch

    two = [batch.rollouts[0], replace(batch.rollouts[1], role="judge")]
    assert Batch.of(two, batch.mask).group.tolist() == [0, 1]


@pytest.mark.parametrize("missing", ["close"])
def test_a_score_that_some_verdicts_lack_is_nan_there(missing: str):
    from dataclasses import replace

    from harness.types import Verdict
    from trainers.batch import Batch

    batch = judged([0.0, 1.0])
    more = replace(batch.rollouts[0], verdict=Verdict({"correct": 0.0, missing: 0.3}))
    scores = Batch.of([more, batch.rollouts[1]], batch.mask).scores
    assert scores[missing][0] == pytest.approx(0.3)
    assert scores[missing][1].isnan()


def test_a_group_s_log_sum_of_exps_leaves_out_what_is_nothing():
    x = torch.tensor([[800.0], [801.0], [-torch.inf], [-torch.inf], [0.5]], requires_grad=True)
    peers = Peers(torch.tensor([4, 4, 4, 1, 2]))
    found = peers.logsumexp(x)
    large = 801 + math.log1p(math.exp(-1))
    assert found[:, 0].tolist() == pytest.approx([large] * 3 + [0.0, 0.5])
    found[torch.tensor([0, 3, 4])].sum().backward()
    assert x.grad is not None
    share = 1 / (1 + math.e)
    assert x.grad[:, 0].tolist() == pytest.approx([share, 1 - share, 0, 0, 1])


def test_ties_share_their_places():
    peers = Peers(torch.tensor([7, 7, 7, 3, 7]))
    x = torch.tensor([[0.5], [0.1], [0.5], [9.0], [0.2]])
    assert peers.rank(x)[:, 0].tolist() == [2.5, 0, 2.5, 0, 1]
    assert peers.rank(x, ties=0.15)[:, 0].tolist() == [2.5, 0.5, 2.5, 0, 0.5]
