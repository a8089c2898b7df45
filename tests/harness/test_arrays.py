"""Large arrays lie beside a journal's lines: exact, once each, and safe to read."""

from __future__ import annotations

from pathlib import Path

import msgspec
import numpy as np
import pytest

from harness.codec import plain, revive
from harness.errors import DataError
from harness.journal import Journal
from harness.viewing import plots
from tests.harness.test_journal import at_most

FIELD = np.random.default_rng(0).normal(size=(168, 13)).astype(np.float32)
FIELD[3, 4] = np.nan


def line(number: int, array: np.ndarray = FIELD) -> dict[str, object]:
    return {"n": number, "turn": [["user", plain({"history": array, "leads": np.arange(4)})]]}


def history(of: dict[str, object]) -> np.ndarray:
    return revive(of)["turn"][0][1]["history"]


@pytest.mark.parametrize("close", [False, True])
def test_arrays_come_back_to_the_bit_and_are_stored_once(tmp_path: Path, close: bool):
    journal = Journal(tmp_path / "rollouts.jsonl").open()
    for number in range(5):
        journal.append(line(number))
    journal.append(line(5, FIELD.astype(np.float64) + 1))
    lines = journal.path.read_bytes()
    journal.close(compress=close)
    assert len(lines) < 2500  # neither JSON lists nor base64
    assert journal.arrays_path.stat().st_size < 1.1 * (FIELD.nbytes + 2 * FIELD.nbytes)
    back = list(Journal(journal.path).read())
    np.testing.assert_array_equal(history(back[4]), FIELD)
    np.testing.assert_array_equal(history(back[5]), FIELD.astype(np.float64) + 1)
    np.testing.assert_array_equal(revive(back[0])["turn"][0][1]["leads"], np.arange(4))


def test_going_on_and_pruning_keep_them(tmp_path: Path):
    with Journal(tmp_path / "rollouts.jsonl") as journal:
        journal.append(line(0))
    with Journal(tmp_path / "rollouts.jsonl") as journal:
        journal.append(line(1))
        assert journal.prune(lambda row: row["n"] == 1) == 1
    (kept,) = Journal(tmp_path / "rollouts.jsonl").read()
    np.testing.assert_array_equal(history(kept), FIELD)
    assert (tmp_path / "rollouts.jsonl").stat().st_size < 500


def test_an_array_that_has_no_room_leaves_nothing_of_it(tmp_path: Path):
    with Journal(tmp_path / "rollouts.jsonl") as journal:
        journal.append(line(0))
        before = journal.arrays_path.stat().st_size
        with at_most(before + 1000), pytest.raises(DataError, match="run the same command again"):
            journal.append(line(1, FIELD + 1))
        assert journal.arrays_path.stat().st_size == before
        journal.append(line(2, FIELD + 2))
    first, second = journal.read()
    np.testing.assert_array_equal(history(first), FIELD)
    np.testing.assert_array_equal(history(second), FIELD + 2)


@pytest.mark.parametrize("at", [[0, 10], [10**9, 50], [-1, 50], [0, 10**12], [0]])
def test_places_that_hold_no_array_damage_their_line_alone(tmp_path: Path, at: list[int]):
    with Journal(tmp_path / "rollouts.jsonl") as journal:
        journal.append(line(0))
        journal.append(line(1))
    rows = [msgspec.json.decode(raw) for raw in journal.path.read_bytes().splitlines()]
    rows[0]["turn"][0][1]["history"]["at"] = at
    journal.path.write_bytes(b"".join(msgspec.json.encode(row) + b"\n" for row in rows))
    read = Journal(journal.path)
    assert [row["n"] for row in read.read()] == [1]
    assert read.damaged == 1


def test_lines_without_large_arrays_are_written_as_ever(tmp_path: Path):
    with Journal(tmp_path / "rollouts.jsonl") as journal:
        journal.append({"ids": list(range(5000)), "logprobs": plain(np.zeros(8, np.float32))})
    assert not journal.arrays_path.exists()


def test_plots_thin_long_series_and_leave_out_what_is_no_series():
    drawn = plots({"history": FIELD, "columns": [f"c{n}" for n in range(13)], "unit": "ug/m3"})
    assert [each["title"] for each in drawn] == ["history"]
    assert [each["name"] for each in drawn[0]["lines"]] == ["c0", "c1", "c2", "c3"]
    (long,) = plots({"x": np.arange(1000.0)})[0]["lines"]
    assert len(long["y"]) == 200
    assert long["y"][0] == 2.0
    assert plots({"x": np.array(3.0), "y": np.array(["a", "b"]), "z": "text"}) == []
    assert len(plots({"grid": np.ones((5, 4, 4))})[0]["lines"]) == 1
