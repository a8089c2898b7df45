import itertools
import math
import random
from typing import Any

import pytest

from harness.comparing import holm
from leaderboards.board import Board, draw, headlines
from leaderboards.pairs import all_pairs, tell_apart
from leaderboards.rank import Ranking, rankings
from leaderboards.sheets import row_names
from results.record import Record
from tests.bench.ranks import (
    SCENES,
    World,
    apart_worlds,
    board_factor,
    cost,
    equal_worlds,
)
from tests.records import a_record

N = 60


def ranks(records: list[Record]) -> dict[str, str]:
    (ranking,) = rankings(records)
    return {place.record.model: place.rank for place in ranking.places}


def constant(model: str, right: int, **changes: Any) -> Record:
    """The first `right` of N examples solved."""
    return a_record(model, [1.0] * right + [0.0] * (N - right), **changes)


def test_a_clear_gap_is_two_ranks():
    assert ranks([constant("low", 10), constant("high", 50)]) == {"high": "1", "low": "2"}


def test_equal_models_share_a_rank():
    assert ranks([constant("a", 30), constant("b", 30)]) == {"a": "1-2", "b": "1-2"}


def test_a_small_gap_is_a_tie_and_says_what_would_end_it():
    rng = random.Random(1)
    values = [[float(rng.random() < p) for _ in range(N)] for p in (0.5, 0.6)]
    (ranking,) = rankings([a_record("a", values[0]), a_record("b", values[1])])
    assert [place.rank for place in ranking.places] == ["1-2", "1-2"]
    assert ranking.places[0].needed is None
    assert ranking.places[1].needed is not None
    assert ranking.places[1].needed > 0


def test_pairing_separates_what_overlapping_intervals_do_not():
    low, high = constant("low", 30), constant("high", 42)
    assert low.high > high.low
    assert ranks([low, high]) == {"high": "1", "low": "2"}


def test_one_of_three_may_be_tied_with_both_of_two_that_differ():
    rows = [constant("top", 39), constant("middle", 33), constant("bottom", 27)]
    assert ranks(rows) == {"top": "1-2", "middle": "1-3", "bottom": "2-3"}


def test_many_pairs_ask_for_more_than_one_pair_does():
    pair = [constant("a", 30), constant("b", 36)]
    assert set(ranks(pair).values()) == {"1", "2"}
    crowd = [constant(f"c{n}", 30) for n in range(6)]
    assert ranks([*pair, *crowd])["b"] == "1-8"


def test_lower_is_better_where_the_metric_says_so():
    rows = [constant("few", 10, better="lower"), constant("many", 50, better="lower")]
    assert ranks(rows) == {"few": "1", "many": "2"}


def test_a_metric_without_a_direction_is_shown_and_not_ranked():
    (ranking,) = rankings([constant("a", 10, better="neither")])
    assert ranking.places == ()
    assert [record.model for record in ranking.unranked] == ["a"]


@pytest.mark.parametrize(
    "change",
    [
        {"version": 2},
        {"split": "dev"},
        {"task": "mathqa/arith2"},
        {"metric": "pass@2"},
        {"example_ids_digest": "other"},
        {"sampling": {"temperature": 0.0, "max_tokens": 16, "seed": 0}},
        {"sampling": {"temperature": 1.0, "max_tokens": 17, "seed": 0}},
        {"settings": {"limit": None, "prompts": "other"}},
        {"settings": {"limit": None, "prompts": "abcd", "judge": "strict"}},
    ],
    ids=lambda change: next(iter(change)),
)
def test_rows_that_differ_in_a_key_setting_never_share_a_ranking(change: dict[str, Any]):
    assert len(rankings([constant("a", 10), constant("b", 50, **change)])) == 2


@pytest.mark.parametrize(
    "change",
    [
        {"sampling": {"temperature": 1.0, "max_tokens": 16, "seed": 7}},
        {"settings": {"limit": N, "prompts": "abcd"}},
        {"dtype": "bfloat16", "machine": "other", "seeds": [5], "rollouts": 4},
    ],
    ids=["seed", "limit", "machine"],
)
def test_rows_that_differ_in_nothing_asked_share_one(change: dict[str, Any]):
    assert len(rankings([constant("a", 10), constant("b", 50, **change)])) == 1


def test_reported_numbers_are_never_ranked_and_stand_apart():
    measured = constant("ours", 30)
    said = measured.but(
        model="theirs", origin="reported", source="https://example.org", value=1.0, run=""
    )
    board = Board(name="b", title="B", columns=("pass@1",))
    drawing = draw(board, [said, measured])
    assert [p.record.model for r in drawing.rankings for p in r.places] == ["ours"]
    assert [sheet.title.split()[0] for sheet in drawing.sheets] == ["mathqa/arith1", "Reported"]
    assert drawing.sheets[-1].rows[0][0] == "theirs"


def test_examples_of_one_cluster_count_once():
    grouped = {"cluster_of": [n // 30 for n in range(N)], "clusters": 2}
    alone = [constant("a", 30), constant("b", 45)]
    assert set(ranks(alone).values()) == {"1", "2"}
    assert set(ranks([record.but(**grouped) for record in alone]).values()) == {"1-2"}


def corpus(model: str, value: float, low: float, high: float) -> Record:
    return constant(model, 30).but(value=value, low=low, high=high, values=[])


def test_metrics_of_the_whole_are_told_apart_by_their_intervals():
    a, b = corpus("a", 0.8, 0.75, 0.85), corpus("b", 0.5, 0.45, 0.55)
    assert ranks([a, b]) == {"a": "1", "b": "2"}
    near = corpus("b", 0.77, 0.7, 0.84)
    assert ranks([a, near]) == {"a": "1-2", "b": "1-2"}
    assert tell_apart(a, b).p == pytest.approx(1.0e-16, abs=1e-12)
    assert tell_apart(a, near).p == pytest.approx(math.erfc(1.96 * 0.03 / 0.0860233 / 2**0.5), 1e-4)


def test_without_intervals_nothing_is_told_apart():
    rows = [corpus("a", 0.9, math.nan, math.nan), corpus("b", 0.1, math.nan, math.nan)]
    assert set(ranks(rows).values()) == {"1-2"}
    sure = [corpus("a", 0.9, 0.9, 0.9), corpus("b", 0.1, 0.1, 0.1)]
    assert set(ranks(sure).values()) == {"1-2"}


def test_examples_without_a_value_are_left_out_of_the_pair():
    a = constant("a", 50).but(values=[1.0] * 50 + [math.nan] * 10)
    b = constant("b", 50).but(values=[math.nan] * 10 + [0.0] * 50)
    assert ranks([a, b]) == {"a": "1", "b": "2"}
    nothing = constant("c", 50).but(values=[math.nan] * N, low=0.0, high=1.0)
    assert set(ranks([a, nothing]).values()) == {"1-2"}


def test_ties_are_the_largest_groups_of_which_no_two_are_told_apart():
    rows = [constant("top", 39), constant("middle", 33), constant("bottom", 27)]
    (ranking,) = rankings(rows)
    assert ranking.ties == [(0, 1), (1, 2)]
    (alone,) = rankings([constant("low", 10), constant("high", 50)])
    assert alone.ties == []
    (equal,) = rankings([constant(name, 30) for name in "abcd"])
    assert equal.ties == [(0, 3)]


def test_win_rates_count_examples_and_ties_half():
    a, b = a_record("a", [1, 1, 1, 0, math.nan]), a_record("b", [1, 0, 0, 1, 1])
    (ranking,) = rankings([a, b])
    assert ranking.pairs is not None
    win = ranking.pairs.win
    assert win[0, 1] == pytest.approx((2 + 0.5) / 4)
    assert win[1, 0] == pytest.approx(1 - win[0, 1])
    (fewer,) = rankings([a.but(better="lower"), b.but(better="lower")])
    assert fewer.pairs is not None
    assert fewer.pairs.win[0, 1] + fewer.pairs.win[1, 0] == pytest.approx(1)


def test_more_rows_ask_for_more_examples_to_tell_the_same_two_apart():
    pair = [constant("a", 30), constant("b", 33)]
    (alone,) = rankings(pair)
    (crowd,) = rankings([*pair, *(constant(f"c{n}", 30) for n in range(6))])
    told = [place.needed for r in (alone, crowd) for place in r.places if place.needed]
    assert told[0] < told[-1]


def test_the_latest_of_several_measurements_is_shown_and_counted():
    old = constant("a", 10, run="old", when="2026-01-01T00:00:00+00:00")
    new = constant("a", 20, run="new", when="2026-01-02T00:00:00+00:00")
    (ranking,) = rankings([new, old])
    (place,) = ranking.places
    assert place.record == new
    assert place.runs == 2


def test_different_weights_under_one_name_are_rows_that_show_their_digests():
    one, two = constant("a", 10), constant("a", 50, model_digest="feedfacecafe", run="two")
    (ranking,) = rankings([one, two])
    names = row_names([place.record for place in ranking.places])
    assert names == ["a (feedface)", f"a ({one.model_digest[:8]})"]


def test_the_headline_of_a_run_is_its_first_metric():
    first = constant("a", 10)
    second = first.but(metric="truncated")
    other = first.but(task="mathqa/arith2")
    assert headlines([first, second, other]) == [first, other]


def test_order_of_records_does_not_move_a_rank():
    rng = random.Random(3)
    records = [constant(f"m{n}", rng.randrange(N)) for n in range(8)]
    expected = ranks(records)
    rng.shuffle(records)
    assert ranks(records) == expected


def drawn(rng: random.Random, chance: float, steps: int) -> float:
    """The share right of so many rollouts; a continuous score for 0."""
    return sum(rng.random() < chance for _ in range(steps)) / steps if steps else rng.gauss(chance)


@pytest.mark.parametrize("grouped", [False, True], ids=["alone", "in clusters"])
@pytest.mark.parametrize("steps", [1, 4, 0], ids=["right or wrong", "shares", "continuous"])
def test_all_pairs_at_once_are_told_apart_as_one_by_one(grouped: bool, steps: int):
    rng = random.Random(7)
    more = {"cluster_of": [n // 2 for n in range(N)], "clusters": N // 2} if grouped else {}
    chances = [rng.random() for _ in range(14)]
    rows = [a_record(f"m{c}", [drawn(rng, c, steps) for _ in range(N)], **more) for c in chances]
    rows.sort(key=lambda record: -record.value)
    found = all_pairs(rows)
    exact = {(i, j): tell_apart(rows[i], rows[j]) for i, j in itertools.combinations(range(14), 2)}
    corrected = dict(zip(exact, holm([pair.p for pair in exact.values()]), strict=True))
    for (i, j), pair in exact.items():
        assert found.difference[i, j] == pytest.approx(pair.difference)
        assert found.difference[j, i] == -found.difference[i, j]
        assert found.separated[i, j] == found.separated[j, i] == (corrected[i, j] < 0.05)
        close = found.p[i, j] == pytest.approx(pair.p, rel=1e-6 if steps else 0.25)
        assert close or found.p[i, j] * len(exact) < 0.05 or pair.p >= found.p[i, j] >= 0.1


def winner(ranking: Ranking) -> bool:
    return ranking.places[0].rank == "1"


@pytest.mark.slow
@pytest.mark.parametrize("world", SCENES, ids=lambda world: world.name)
def test_forty_equal_models_have_no_unique_winner_and_a_gap_that_shows_is_shown(world: World):
    assert equal_worlds(world, 300) <= 0.05
    if not world.clusters:
        assert apart_worlds(world, 150, 2) >= 0.9
        assert apart_worlds(world, 150, gap=2 * board_factor(40)) >= 0.9


@pytest.mark.slow
def test_ranking_hundreds_of_models_is_quick_and_small():
    seconds, added = cost(300, 8, 200)
    assert seconds < 60 / 5  # 40 tasks in a minute of one core
    assert added < 1  # GiB


def test_among_equal_models_a_unique_winner_is_rare():
    rng = random.Random(0)
    worlds, wins = 150, 0
    for _ in range(worlds):
        hard = [rng.random() for _ in range(N)]
        records = [a_record(f"m{n}", [float(rng.random() < p) for p in hard]) for n in range(5)]
        wins += winner(rankings(records)[0])
    assert wins <= 0.05 * worlds + 2 * math.sqrt(0.05 * 0.95 * worlds)
