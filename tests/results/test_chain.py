"""Whatever is changed, taken out or put between in a file of records shows in its chain."""

import itertools
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from harness.codec import plain
from results import chain
from results.record import append, load, seal
from tests.records import a_record

Lines = list[bytes]


def written(folder: Path, names: str = "abcd") -> Path:
    for name in names:
        append([a_record(name, [1, 0], run=name)], folder)
    return folder / "mathqa.jsonl"


def breaks(path: Path) -> list[int]:
    return [found.line for found in chain.check(path).breaks]


def test_what_was_appended_is_one_chain_with_one_end(tmp_path: Path):
    found = chain.check(written(tmp_path))
    assert (found.lines, found.linked, found.breaks, found.sealed) == (4, 4, [], True)
    assert found.ends == [found.last]


def test_each_line_names_the_line_before(tmp_path: Path):
    tables = [json.loads(line) for line in written(tmp_path).read_text().splitlines()]
    assert tables[0]["before"] == ""
    assert all(b["before"] == a["link"] for a, b in itertools.pairwise(tables))


def swapped(lines: Lines) -> Lines:
    return [lines[1], lines[0], *lines[2:]]


@pytest.mark.parametrize(
    ("change", "where"),
    [
        (lambda lines: [lines[0].replace(b'"value":0.5', b'"value":0.6'), *lines[1:]], [1]),
        (lambda lines: [*lines[:3], lines[3].replace(b'"value":0.5', b'"value":0.6')], [4]),
        (lambda lines: [lines[0], *lines[2:]], [2]),
        (lambda lines: lines[1:], [1]),
        (swapped, [1, 2]),
        (lambda lines: [*lines, json.dumps(plain(a_record("e", [1, 0]))).encode()], [5]),
        (lambda lines: [lines[0], lines[1].replace(b'"link":"', b'"link":"0'), *lines[2:]], [2, 3]),
        (lambda lines: [lines[0].replace(b'"before":"",', b""), *lines[1:]], [1, 1]),
    ],
    ids=["first", "last", "gone", "head", "order", "added", "link", "before"],
)
def test_a_change_by_hand_breaks_the_chain(
    tmp_path: Path, change: Callable[[Lines], Lines], where: list[int]
):
    path = written(tmp_path)
    path.write_bytes(b"\n".join(change(path.read_bytes().splitlines())) + b"\n")
    assert breaks(path) == where


def test_a_break_stays_whatever_is_added_later(tmp_path: Path):
    path = written(tmp_path)
    path.write_text(path.read_text().replace('"value":0.5', '"value":0.75', 1))
    append([a_record("later", [1, 0], run="later")], tmp_path)
    assert breaks(path) == [1]


def test_reformatting_changes_nothing_that_is_said(tmp_path: Path):
    path = written(tmp_path)
    lines = [json.dumps(json.loads(line), indent=None) for line in path.read_text().splitlines()]
    path.write_bytes("\r\n".join([*lines, ""]).encode())
    assert breaks(path) == []


def test_branches_of_one_file_may_be_merged(tmp_path: Path):
    path = written(tmp_path, "ab")
    common = path.read_text()
    append([a_record("ours", [1, 0], run="ours")], tmp_path)
    ours = path.read_text()
    path.write_text(common)
    append([a_record("theirs", [1, 0], run="theirs")], tmp_path)
    path.write_text(ours + path.read_text().removeprefix(common))
    found = chain.check(path)
    assert found.breaks == []
    assert len(found.ends) == 2
    append([a_record("later", [1, 0], run="later")], tmp_path)
    assert breaks(path) == []


def old(folder: Path) -> Path:
    """A file from before there was a chain."""
    path = folder / "mathqa.jsonl"
    lines = [json.dumps(plain(a_record(name, [1, 0], run=name))) for name in "ab"]
    path.write_text("".join(f"{line}\n" for line in lines))
    return path


@pytest.mark.parametrize("how", ["append", "seal"])
def test_an_old_file_is_sealed_once_and_still_read(tmp_path: Path, how: str):
    path = old(tmp_path)
    assert not chain.check(path).sealed
    if how == "seal":
        assert seal(tmp_path) == [path]
        assert seal(tmp_path) == []
    append([a_record("c", [1, 0], run="c")], tmp_path)
    found = chain.check(path)
    assert (found.covered, found.linked, found.breaks) == (2, 1, [])
    assert [record.run for record in load(tmp_path)] == ["a", "b", "c"]
    path.write_text(path.read_text().replace('"model": "a"', '"model": "z"'))
    assert breaks(path) == [3]


def test_an_old_file_sealed_on_two_branches_is_one_chain(tmp_path: Path):
    path = old(tmp_path)
    before = path.read_text()
    append([a_record("c", [1, 0], run="c")], tmp_path)
    one = path.read_text()
    path.write_text(before)
    append([a_record("d", [1, 0], run="d")], tmp_path)
    path.write_text(one + path.read_text().removeprefix(before))
    assert breaks(path) == []


def test_a_genesis_line_that_covers_less_than_there_is_is_a_break(tmp_path: Path):
    path = old(tmp_path)
    first, second = path.read_text().splitlines()
    seal(tmp_path)
    genesis = path.read_text().splitlines()[-1]
    path.write_text(f"{first}\n{genesis}\n{second}\n")
    assert breaks(path) == [2, 3]


def test_a_file_that_is_not_there_is_an_empty_chain(tmp_path: Path):
    found = chain.check(tmp_path / "none.jsonl")
    assert (found.lines, found.ends, found.breaks) == (0, [], [])
