"""A world of one costs nothing; shares are whole and fair; what several counted adds up."""

import subprocess
import sys

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from harness.errors import UsageError
from tests.trainer_builders import judged, tiny
from trainers.shared import blank
from trainers.tally import Tally
from trainers.world import ALONE, World, _buckets, deal, joined

ROWS = st.lists(st.tuples(st.integers(0, 4), st.integers(1, 50)), max_size=40)


@given(ROWS, st.integers(1, 5), st.booleans())
def test_every_row_is_dealt_once_and_in_order(rows: list[tuple[int, int]], hands: int, whole: bool):
    groups, sizes = [g for g, _ in rows], [s for _, s in rows]
    held = deal(groups, sizes, hands, whole=whole)
    assert len(held) == hands
    assert sorted(row for hand in held for row in hand) == list(range(len(rows)))
    assert all(hand == sorted(hand) for hand in held)
    if whole:
        owners = [{groups[row] for row in hand} for hand in held]
        assert sum(map(len, owners)) == len(set(groups))


@given(ROWS, st.integers(1, 5))
def test_no_hand_has_more_than_two_fair_shares(rows: list[tuple[int, int]], hands: int):
    sizes = [s for _, s in rows]
    held = deal([g for g, _ in rows], sizes, hands, whole=False)
    fair = -(-sum(sizes) // hands)
    assert max(sum(sizes[row] for row in hand) for hand in held) <= 2 * max([fair, *sizes])


def test_groups_of_one_size_are_dealt_whole():
    held = deal([0] * 8 + [1] * 8, [10] * 16, 2, whole=False)
    assert held == [list(range(8)), list(range(8, 16))]


def test_a_world_of_one_says_what_it_is_told_and_needs_no_torch():
    assert ALONE.first
    assert ALONE.gather({"a": 1}) == [{"a": 1}]
    assert ALONE.tell("x") == "x"
    assert ALONE.any(True)
    assert not ALONE.any(False)
    program = (
        "import sys; from trainers.world import joined\n"
        "with joined() as world: assert world.size == 1\n"
        "assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", program], check=True, timeout=120)


def test_a_rank_outside_its_world_is_refused(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("RANK", "2")
    with pytest.raises(UsageError, match="RANK = 2 in a world of 2"), joined():
        pass


def test_messages_hold_tensors_of_one_kind_in_order():
    x, y = torch.zeros(3), torch.zeros(2, dtype=torch.float64)
    buckets = list(_buckets([x, y, x]))
    assert [[id(t) for t in bucket] for bucket in buckets] == [[id(x), id(x)], [id(y)]]


def test_what_several_processes_counted_is_brought_together_by_kind():
    one, other = Tally(), Tally()
    for tally, value in ((one, 1.0), (other, 3.0)):
        tally.add("loss", value)
        tally.add("time/review", value)
        tally.least("low", value)
        tally.most("high", value)
        tally.put("rate", 0.5)
    told = torch.tensor([[1.0, 2.0]])
    one.mean("entropy", told, torch.tensor([[True, True]]))
    other.mean("entropy", 2 * told, torch.tensor([[True, False]]))
    whole = Tally.together([one, other])
    assert whole.numbers() == {
        "entropy": 5 / 3,
        "loss": 4.0,
        "time/review": 3.0,
        "low": 1.0,
        "high": 3.0,
        "rate": 0.5,
    }


def test_times_of_epochs_add_up_though_those_of_processes_do_not():
    tally, epoch = Tally(), Tally()
    epoch.add("time/review", 2.0)
    for _ in range(2):
        tally.merge(Tally.together([epoch, epoch]))
    assert tally.numbers() == {"time/review": 4.0}


def test_of_a_blank_share_nothing_counts():
    part = blank(judged(0.0, 1.0))
    assert len(part.rollouts) == 1
    assert not part.mask.any()
    assert not part.weights.any()


def test_sharding_in_a_world_of_one_is_refused():
    with pytest.raises(UsageError, match="there is one: start more"):
        tiny(sharding="fsdp")
    with pytest.raises(UsageError, match="no sharding 'zero3'"):
        tiny(sharding="zero3")


def test_the_default_world_is_the_world_of_one():
    assert World() == ALONE
