"""tempo by hand: a tree of four answers, and what makes two steps the same step."""

from dataclasses import replace
from functools import cache

import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, tensor
from torch.testing import assert_close

from harness.types import Message, Rollout
from tests.trainer_builders import a_run, credited, rollout, tiny
from trainers.advantages import CenterByMean, ScaleByStd
from trainers.batch import Batch
from trainers.prefixes import value_gains
from trainers.recipe import Run
from trainers.recipes.grpo import RECIPE as GRPO
from trainers.recipes.tempo import RECIPE as TEMPO
from trainers.recipes.tempo import CreditByPrefixTree

PLAIN = GRPO.but(advantages=(CenterByMean(), ScaleByStd(eps=0.0, ddof=1)))
SEQUENCES, REWARDS = ["abc", "abd", "aef", "ghi"], [1.0, 0.0, 1.0, 0.0]


@cache
def the_run() -> Run:
    return a_run(TEMPO)


def said(text: str, reward: float, *, group: str = "a", attempt: int = 0) -> Rollout:
    """A rollout whose tokens are these characters."""
    ids = [ord(letter) for letter in text]
    return rollout(reward, group=group, attempt=attempt, steps=len(ids), trace={"ids": ids})


def of(rollouts: list[Rollout]) -> Batch:
    steps = torch.tensor([[r.steps] for r in rollouts])
    batch = Batch.of(rollouts, torch.arange(int(steps.max())) < steps)
    return batch.but(rewards=batch.scores["correct"].unsqueeze(1))


def batch_of(texts: list[str], rewards: list[float]) -> Batch:
    pairs = enumerate(zip(texts, rewards, strict=True))
    return of([said(text, reward, attempt=n) for n, (text, reward) in pairs])


def gains(batch: Batch) -> Tensor:
    policy = the_run().policies["solver"]
    return value_gains(batch, policy.choices(batch.rollouts), batch.rewards)


def test_oracle_advantages():
    batch = credited(TEMPO, batch_of(SEQUENCES, REWARDS), the_run())
    expected = tensor(
        [
            [1.154701, 0.577350, 1.732051],
            [-0.577350, -1.154701, -1.732051],
            [1.154701, 1.443376, 0.866025],
            [-1.732051, -0.866025, -0.866025],
        ]
    )
    assert_close(batch.advantages, expected, atol=6e-7, rtol=0)
    plain = credited(PLAIN, batch_of(SEQUENCES, REWARDS)).advantages
    assert_close(plain[:, 0].abs(), torch.full((4,), 0.866025), atol=6e-7, rtol=0)


def test_oracle_with_the_population_std():
    batch = batch_of(SEQUENCES, REWARDS)
    scale = batch.peers().std(batch.rewards, 1) / batch.peers().std(batch.rewards)
    found = (CreditByPrefixTree()(batch, the_run()).advantages * scale)[0]
    assert_close(found, tensor([1.333333, 0.666667, 2.0]), atol=6e-7, rtol=0)


def test_oracle_values_of_the_nodes():
    third = 2 / 3
    expected = [[third - 0.5, 0.5 - third, 0.5], [third - 0.5, 0.5 - third, -0.5]]
    expected += [[third - 0.5, 1 - third, 0.0], [-0.5, 0.0, 0.0]]
    assert_close(gains(batch_of(SEQUENCES, REWARDS)), tensor(expected), atol=1e-6, rtol=0)


def test_limit_without_gain_is_grpo_with_the_sample_std():
    batch = batch_of(["abc", "ab", "xyz"], [1.0, 0.2, 0.0])
    found = CreditByPrefixTree(gain=0.0)(batch, the_run()).advantages
    plain = credited(PLAIN, batch).advantages.expand_as(found)
    assert_close(found, torch.where(batch.mask, plain, 0.0))


def test_limit_alone_on_a_branch_is_grpo_from_there_on():
    batch = batch_of(["abc", "xbc", "ybc"], [1.0, 0.2, 0.0])
    found = credited(TEMPO, batch, the_run()).advantages
    plain = credited(PLAIN, batch).advantages
    assert_close(found[:, 1:], plain.expand_as(found)[:, 1:])
    assert_close(found[:, :1], 2 * plain)
    assert the_run().tally.numbers()["tree/branching"] > 0


@given(
    texts=st.lists(st.text("ab", min_size=1, max_size=6), min_size=2, max_size=12),
    draw=st.data(),
)
@settings(max_examples=60, deadline=None)
def test_gains_of_a_rollout_add_up_to_its_node_s_value_less_the_mean(texts, draw):
    rewards = draw.draw(st.lists(st.sampled_from([0.0, 0.5, 1.0]), min_size=12, max_size=12))
    batch = batch_of(texts, rewards[: len(texts)])
    paid = batch.rewards[:, 0].tolist()
    through = [[r for t, r in zip(texts, paid, strict=True) if t.startswith(me)] for me in texts]
    ends = tensor([sum(values) / len(values) for values in through])
    assert_close(gains(batch).sum(1), ends - sum(paid) / len(paid), atol=1e-6, rtol=0)


def test_equal_answers_share_a_leaf_and_ends_count_as_steps():
    found = gains(batch_of(["ab.", "ab.", "abc."], [1.0, 1.0, 0.0]))
    assert found[0].tolist() == found[1].tolist()
    assert_close(found[0, :3], tensor([0.0, 0.0, 1 / 3]))
    assert_close(found[2, :3], tensor([0.0, 0.0, -2 / 3]))


def test_steps_are_told_apart_by_token_not_by_text():
    """Two tokens that are written alike are two steps; padding is none."""
    one = said("ab", 1.0)
    other = said("ab", 0.0, attempt=1)
    ((asked, answer),) = other.turns
    other = replace(other, turns=((asked, replace(answer, trace={"ids": [97, 1098]})),))
    found = gains(of([one, other]))
    assert_close(found, tensor([[0.0, 0.5], [0.0, -0.5]]))
    assert the_run().policies["solver"].choices([one, said("a", 0.0)]).tolist() == [
        [97, 98],
        [97, -1],
    ]


def test_the_end_token_is_a_choice_and_inserted_tokens_are_there():
    policy = tiny(max_tokens=6)
    prompt = rollout().prompt
    spelled = policy.spell(prompt, "12")
    taken = policy.choices([replace(rollout(), turns=((prompt, spelled),))])
    assert taken[0].tolist() == spelled.trace["ids"]
    assert int(taken[0, -1]) == policy.chat.tokenizer.eos_token_id
    assert taken.shape[1] == spelled.steps


def test_rollouts_that_were_told_different_things_are_in_different_places():
    """Equal first turns, then another reply: what is said next is no longer the same step."""
    rollouts = []
    for attempt, (reply, reward) in enumerate([("yes", 1.0), ("no", 0.0), ("yes", 1.0)]):
        ((asked, answer),) = said("ab", reward, attempt=attempt).turns
        later = asked.but(messages=(*asked.messages, Message("user", reply)))
        rollouts.append(replace(rollout(reward, attempt=attempt), turns=((asked, answer),) * 1))
        rollouts[-1] = replace(rollouts[-1], turns=((asked, answer), (later, answer)))
    assert gains(of(rollouts)).abs().max().item() == 0  # the reply parted them, not a step


def test_groups_do_not_share_a_tree():
    alone = gains(batch_of(SEQUENCES, REWARDS))
    rollouts = [*batch_of(SEQUENCES, REWARDS).rollouts]
    beside = [said("abc", 0.0, group="b"), said("abd", 1.0, group="b", attempt=1)]
    assert_close(gains(of([*beside, *rollouts]))[2:], alone)


def test_the_gains_own_std_is_another_method():
    batch = batch_of(SEQUENCES, REWARDS)
    found = CreditByPrefixTree(scale="gains")(batch, the_run()).advantages
    td = gains(batch)
    plain = credited(PLAIN, batch).advantages
    assert_close(found, plain + td / td.std(), atol=1e-5, rtol=0)


def test_degenerate_groups_are_zero():
    rollouts = [said("ab", 1.0), said("ac", 1.0, attempt=1), said("ab", 0.0, group="b")]
    found = credited(TEMPO, of([*rollouts, said("x", 0.3, group="c")]), the_run())
    assert found.advantages.abs().max().item() == 0


def test_rewards_of_steps_are_added_up():
    batch = batch_of(SEQUENCES, REWARDS)
    dense = batch.but(rewards=torch.zeros(4, 3).index_fill(1, tensor(2), 1.0) * batch.rewards)
    run = the_run()
    assert_close(
        CreditByPrefixTree()(dense, run).advantages, CreditByPrefixTree()(batch, run).advantages
    )
