import json
import math
import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.codec import clean, plain
from harness.errors import BusyError, DataError
from harness.journal import Journal
from results import record as module
from results.record import Record, append, load, record_of
from tests.records import HOSTILE, a_record

HOUSE = Path(__file__).resolve().parents[2]


def write(folder: Path, *lines: str | bytes, end: bytes = b"\n") -> Path:
    """Lines as they stand into the file of mathqa."""
    path = folder / "mathqa.jsonl"
    raw = [line if isinstance(line, bytes) else line.encode() for line in lines]
    path.write_bytes(b"\n".join(raw) + end)
    return path


def as_line(**changes: object) -> str:
    return json.dumps({**plain(a_record("m", [1, 0])), **changes})


def test_what_was_appended_is_loaded_equal(tmp_path: Path):
    records = [
        a_record("a", [1, 0, math.nan], seeds=[3, 4], cluster_of=[0, 0, 1], clusters=2),
        a_record(
            "b", [0.25, 0.5], task="puzzles/chain_sum", sampling={"stop": ["x"], "top_p": 0.9}
        ),
        Record(
            task="mathqa/arith1",
            version=1,
            split="test",
            metric="pass@1",
            value=0.9,
            model="Paper",
            examples=10,
            origin="reported",
            source="https://example.org/paper",
        ),
    ]
    assert append(records, tmp_path) == 3
    assert sorted(p.name for p in tmp_path.glob("*.jsonl")) == ["mathqa.jsonl", "puzzles.jsonl"]
    assert sorted(load(tmp_path), key=lambda r: r.model) == sorted(records, key=lambda r: r.model)


@settings(max_examples=60, deadline=None)
@given(
    model=st.text(min_size=1, max_size=50).map(lambda t: t.encode("utf-8", "replace").decode()),
    values=st.lists(st.floats(allow_infinity=False, width=64), min_size=1, max_size=5),
)
def test_any_name_and_any_values_come_back_to_the_bit(
    tmp_path_factory: pytest.TempPathFactory, model: str, values: list[float]
):
    folder = tmp_path_factory.mktemp("records")
    made = a_record("m", [0.0] * len(values)).but(model=model, values=values)
    append([made], folder)
    assert load(folder) == [made]


def test_the_same_again_is_not_written_again_whatever_its_time(tmp_path: Path):
    first = a_record("m", [1, 0])
    assert append([first], tmp_path) == 1
    assert append([first.but(when="2026-02-01T00:00:00+00:00", seconds=9.0)], tmp_path) == 0


def test_the_latest_of_a_run_and_metric_counts(tmp_path: Path):
    first = a_record("m", [1, 0])
    second = first.but(value=0.25, values=[0.5, 0.0])
    append([first], tmp_path)
    append([second], tmp_path)
    assert load(tmp_path) == [second]
    assert len((tmp_path / "mathqa.jsonl").read_text().splitlines()) == 2


def test_a_record_that_is_replaced_keeps_its_place(tmp_path: Path):
    first, second = a_record("m", [1, 0]), a_record("m", [1, 1], metric="lenient")
    append([first, second], tmp_path)
    append([first.but(value=0.25, values=[0.5, 0.0])], tmp_path)
    assert [record.metric for record in load(tmp_path)] == ["pass@1", "lenient"]


def test_before_and_after_training_in_one_run_are_two_records(tmp_path: Path):
    before = a_record("m", [0, 0], run="one")
    append([before, before.but(recipe="grpo", value=0.5, values=[1.0, 0.0])], tmp_path)
    assert len(load(tmp_path)) == 2


def test_a_folder_that_is_not_there_holds_no_records(tmp_path: Path):
    assert load(tmp_path / "none") == []


@pytest.mark.parametrize("cut", [1, 20, 200])
def test_a_half_written_last_line_is_left_out_counted_and_mended(tmp_path: Path, cut: int):
    good, bad = as_line(run="a"), as_line(run="b")
    write(tmp_path, good, bad[:-cut], end=b"")
    told: list[str] = []
    assert [r.run for r in load(tmp_path, told.append)] == ["a"]
    assert len(told) == 1
    assert "1 half-written record" in told[0]
    append([a_record("m", [1, 0], run="c")], tmp_path)
    assert [r.run for r in load(tmp_path)] == ["a", "c"]


@pytest.mark.parametrize(
    "line",
    [
        "not json",
        "[1, 2]",
        "null",
        '{"task": "mathqa/x"}',
        b"\xff\xfe\x00",
        "<<<<<<< HEAD",
        '{"a":' * 5_000 + "1" + "}" * 5_000,
        "{" + "9" * 10_000_000,
        as_line(value="0.5"),
        as_line(value=None),
        as_line(value=True),
        as_line(value={"$float": "nan"}),
        as_line(value={"$float": "inf"}),
        as_line(low=0.9, high=0.1),
        as_line(low=0.1, high={"$float": "nan"}),
        as_line(split="validation"),
        as_line(origin="guessed"),
        as_line(origin="reported", source=""),
        as_line(origin="reported", source="javascript:alert(1)"),
        as_line(run=""),
        as_line(seeds=["a"]),
        as_line(values=[1.0]),
        as_line(values=[{"$float": "inf"}, 1.0]),
        as_line(example_ids_digest=""),
        as_line(cluster_of=[0]),
        as_line(reasons={"ok": 1.5}),
        as_line(examples=-1),
        as_line(rollouts=0),
        as_line(seconds={"$float": "nan"}),
        as_line(when="yesterday"),
        as_line(task="../../etc/passwd"),
        as_line(task="coding/x"),
        as_line(model=""),
        as_line(model="m" * 10_000_000),
        as_line(surprise=1),
        as_line(sampling=[1]),
        as_line(version=1.5),
        as_line(values={"$array": "|O", "shape": [2], "data": ""}),
        as_line(values={"$array": "<f8", "shape": [99], "data": "AAAA"}),
    ],
    ids=lambda line: str(line[:24]),
)
def test_damage_is_an_error_that_names_file_and_line(tmp_path: Path, line: str | bytes):
    path = write(tmp_path, as_line(run="a"), line, as_line(run="b"))
    with pytest.raises(DataError) as caught:
        load(tmp_path)
    message = str(caught.value)
    assert str(path) in message
    assert "line 2" in message or "not its family" in message
    assert len(message) < 2_000


def test_an_absurd_record_is_refused_as_it_is_made():
    with pytest.raises(DataError, match="ends before it begins"):
        a_record("m", [1, 0], low=0.7, high=0.6)
    with pytest.raises(DataError, match="gives no record"):
        a_record("m", [1, 0], value=math.nan)


def test_a_record_of_wrong_types_is_not_written(tmp_path: Path):
    wrong = a_record("m", [1, 0], seeds=["first"])
    with pytest.raises(DataError, match="seeds"):
        append([wrong], tmp_path)
    assert load(tmp_path) == []


def test_hostile_names_come_back_as_they_were_but_for_what_no_file_can_hold(tmp_path: Path):
    records = [a_record(name, [1, 0], run=f"r{n}") for n, name in enumerate(HOSTILE)]
    append(records, tmp_path)
    back = [record.model for record in load(tmp_path)]
    assert back == [clean(name) for name in HOSTILE]


def test_an_entry_of_a_report_is_read_like_a_line():
    made = a_record("m", [1, math.nan])
    assert record_of(plain(made)) == made
    with pytest.raises(DataError, match="newer"):
        record_of({**plain(made), "color": "red"})


WRITER = """
import sys
from pathlib import Path
from results.record import append
from tests.records import a_record
for n in range(int(sys.argv[2])):
    append([a_record("m", [1, 0], run=f"{sys.argv[1]}-{n}")], Path(sys.argv[3]))
"""


def test_writers_at_once_lose_nothing(tmp_path: Path):
    count = 15
    writers = [
        subprocess.Popen(
            [sys.executable, "-c", WRITER, name, str(count), str(tmp_path)],
            env={**os.environ, "PYTHONPATH": str(HOUSE)},
        )
        for name in "abc"
    ]
    assert [writer.wait(120) for writer in writers] == [0, 0, 0]
    runs = {record.run for record in load(tmp_path)}
    assert runs == {f"{name}-{n}" for name in "abc" for n in range(count)}


def test_a_writer_that_stays_is_an_error_after_a_while(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(module, "PATIENCE", 0.2)
    with Journal(tmp_path / "mathqa.jsonl"), pytest.raises(BusyError):
        append([a_record("m", [1, 0])], tmp_path)
