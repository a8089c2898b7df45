from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from harness.data import FOLDER, Source, load, origins, read_rows
from harness.errors import DataError

Write = Callable[..., Source]
ROWS = [{"id": f"r{n}", "question": f"What is {n} + 1?", "answer": str(n + 1)} for n in range(5)]


@pytest.fixture
def written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Write:
    """Writes rows below HARNESS_DATA and gives the source that names them."""
    monkeypatch.setenv(FOLDER, str(tmp_path))

    def write(*rows: Any, raw: bytes | None = None, file: str = "math/set.jsonl") -> Source:
        path = tmp_path / file
        path.parent.mkdir(exist_ok=True)
        text = raw if raw is not None else b"".join(json.dumps(r).encode() + b"\n" for r in rows)
        path.write_bytes(gzip.compress(text) if raw is None and path.suffix == ".gz" else text)
        return Source(file=file, hub="some/set")

    return write


def refusal(source: Source) -> str:
    with pytest.raises(DataError) as caught:
        load(source)
    return str(caught.value)


def test_rows_come_with_origin_and_digest(written: Write) -> None:
    source = written(*ROWS)
    table = load(source)
    assert [dict(row) for row in table.rows] == ROWS
    assert table.origin.startswith("folder:math/set.jsonl sha256:")
    assert table.digest in origins()["some/set/test"]
    assert load(source) is table


def test_another_row_is_another_digest(written: Write) -> None:
    before = load(written(*ROWS))
    after = load(written(*ROWS[:4], {**ROWS[4], "answer": "7"}))
    assert before.digest != after.digest
    assert before.origin != after.origin


def test_a_packed_file_answers_to_its_plain_name(written: Write) -> None:
    packed = load(written(*ROWS, file="math/other.jsonl.gz"))
    assert load(Source(file="math/other.jsonl")).digest == packed.digest


def test_a_line_ends_with_a_newline_only(written: Write, tmp_path: Path) -> None:
    written(raw='\ufeff{"id": 1, "question": "a\u2028b"}\r\n\n{"id": 2}\n'.encode())
    found = list(read_rows(tmp_path / "math/set.jsonl"))
    assert [(number, row["id"]) for number, row in found] == [(1, 1), (3, 2)]


def test_missing_columns_are_named_with_those_that_are_there(written: Write) -> None:
    told = refusal(written({"id": 1, "problem": "?", "solution": "!"}))
    assert "no column 'question' (there are: id, problem, solution): line 1" in told


def test_duplicate_ids_are_named_with_their_lines(written: Write) -> None:
    assert "the same id twice: lines 2 and 4 (r1)" in refusal(written(*ROWS[:3], ROWS[1]))


@pytest.mark.parametrize("empty", ["", "  \n", None, [], [""], [None]])
def test_empty_answers_are_refused_with_their_lines(written: Write, empty: Any) -> None:
    assert "'answer' is empty: line 6" in refusal(
        written(*ROWS, {**ROWS[0], "id": 9, "answer": empty})
    )


def test_empty_answers_are_left_out_and_counted_where_the_source_says_so(written: Write) -> None:
    source = written(*ROWS, {**ROWS[0], "id": 9, "answer": None})
    table = load(replace(source, skip_empty=True))
    assert len(table.rows) == 5
    assert table.left_out == {"'answer' is empty": 1}
    assert "1 left out ('answer' is empty)" in origins()["some/set/test"]


def test_a_number_that_is_none_is_refused(written: Write) -> None:
    line = b'{"id": 1, "question": "?", "answer": NaN}\n'
    assert "'answer' is nan: line 1" in refusal(written(raw=line))


def test_an_integer_of_5000_digits_is_read_as_text(written: Write) -> None:
    digits = "7" * 5000
    table = load(written(raw=f'{{"id": 1, "question": "?", "answer": {digits}}}\n'.encode()))
    assert table.rows[0]["answer"] == digits


def test_a_column_without_end_is_refused(written: Write) -> None:
    assert "'question' has more than 100000 characters" in refusal(
        written({"id": 1, "question": "a" * 100_001, "answer": "1"})
    )


@pytest.mark.parametrize(
    ("line", "told"),
    [
        (b'{"id": 1, "question"', "line 2 is not JSON"),
        (b"\xff\xfe\x00", "line 2 is not JSON"),
        (b"[1, 2]", "line 2 holds list"),
        (b"[" * 100_000, "line 2 is not JSON"),
    ],
)
def test_a_damaged_line_is_named(written: Write, line: bytes, told: str) -> None:
    assert told in refusal(written(raw=json.dumps(ROWS[0]).encode() + b"\n" + line + b"\n"))


def test_a_cut_archive_says_after_which_line(written: Write) -> None:
    rows = "".join(json.dumps({**ROWS[0], "id": n}) + "\n" for n in range(20_000)).encode()
    whole = gzip.compress(rows)
    told = refusal(written(raw=whole[: len(whole) // 2], file="math/cut.jsonl.gz"))
    assert "cannot be read after line" in told
    assert "get it again" in told


def test_an_archive_with_flipped_bytes_is_refused(written: Write) -> None:
    whole = bytearray(gzip.compress(b"".join(json.dumps(r).encode() + b"\n" for r in ROWS)))
    whole[len(whole) // 2] ^= 0xFF
    assert "flipped" in refusal(written(raw=bytes(whole), file="math/flipped.jsonl.gz"))


def test_no_archive_at_all_is_refused(written: Write) -> None:
    assert "cannot be read" in refusal(written(raw=b"plain text", file="math/plain.jsonl.gz"))


def test_an_empty_file_is_refused(written: Write) -> None:
    assert "holds no rows" in refusal(written(raw=b"\n\n"))


def test_a_missing_file_says_what_is_there_and_what_would_do(written: Write) -> None:
    written(*ROWS)
    told = refusal(Source(file="math/sett.jsonl", hub="some/set"))
    assert "no file math/sett.jsonl or math/sett.jsonl.gz" in told
    assert "math holds: set.jsonl" in told
    assert f"unset {FOLDER} to read some/set/test from the hub" in told


@pytest.fixture
def no_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(FOLDER, raising=False)


@pytest.mark.usefixtures("no_folder")
def test_a_hub_that_is_not_reached_says_what_would_do(monkeypatch: pytest.MonkeyPatch) -> None:
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "ENDPOINT", "https://nowhere.invalid")
    told = refusal(Source(file="math/set.jsonl", hub="no-such-people/no-such-set"))
    assert "no-such-people/no-such-set/test did not come from the hub" in told
    assert f"Set {FOLDER} to a folder with math/set.jsonl, or connect to the hub" in told


@pytest.mark.usefixtures("no_folder")
def test_a_set_without_a_hub_says_that_a_folder_is_needed() -> None:
    assert f"set {FOLDER} to a folder that holds math/set.jsonl" in refusal(
        Source(file="math/set.jsonl")
    )


@pytest.mark.usefixtures("no_folder")
def test_rows_of_a_hub_are_shaped_numbered_and_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import datasets

    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    rows = [{"problem": f"What is {n}?", "final": str(n)} for n in range(4)]
    set_ = tmp_path / "set"
    set_.mkdir()
    (set_ / "test.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))

    def shape(cells: Any) -> Any:
        if cells["final"] == "3":
            return None
        return {"question": cells["problem"], "answer": cells["final"]}

    source = Source(file="math/set.jsonl", hub=str(set_), shape=shape, prefix="set/test")
    table = load(source)
    assert [row["id"] for row in table.rows] == ["set/test/0", "set/test/1", "set/test/2"]
    assert table.left_out == {"not of this set": 1}
    assert table.origin.startswith(f"hub:{set_}/test")

    told = refusal(replace(source, shape=lambda cells: {"question": cells["question"]}))
    assert "KeyError: 'question'" in told
    assert "there are: problem, final" in told
