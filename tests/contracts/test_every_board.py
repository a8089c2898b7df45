"""What every board keeps to, present and future; and that the committed tables are up to date."""

from pathlib import Path

import pytest

from harness import registry
from harness.commands.publish import KINDS, complete, news, tables
from leaderboards.board import Board, draw
from leaderboards.cards import card_files
from leaderboards.render import FORMATS
from results.record import load
from tests.records import HOSTILE, a_record

NAMES = [card.name for card in registry.cards("boards")]
TABLES = registry.HOUSE / "leaderboards" / "tables"
RESULTS = registry.HOUSE / "results"
boards = pytest.mark.parametrize("name", NAMES)


@boards
def test_its_card_is_complete(name: str):
    card = registry.read_card(registry.HOUSE / "leaderboards" / "boards" / f"{name}.py")
    assert card.title
    assert {"Rows", "Columns"} <= set(card.sections)


@boards
def test_it_is_named_after_its_file(name: str):
    board = registry.board(name)
    assert isinstance(board, Board)
    assert board.name == name
    assert board.title


@boards
@pytest.mark.parametrize("kind", FORMATS)
def test_it_draws_whatever_the_records_hold(name: str, kind: str):
    records = [
        a_record(text, [1.0, 0.0, float(n % 2)], run=f"r{n}", task=task, metric=metric)
        for n, text in enumerate(HOSTILE)
        for task in ("mathqa/arith1", "puzzles/maze")
        for metric in ("pass@1", "maj@8")
    ]
    board = registry.board(name)
    assert FORMATS[kind](draw(board, records))
    assert FORMATS[kind](draw(board, []))


def expected() -> dict[Path, str]:
    records = complete(load(RESULTS / "records"), RESULTS)
    drawings = [draw(registry.board(name), records) for name in NAMES]
    cards = {TABLES / "cards" / path: text for path, text in card_files(records).items()}
    beside = {TABLES / path: text for path, text in news(records, RESULTS).items()}
    return tables(drawings, KINDS.split(","), TABLES) | cards | beside


def test_tables_are_up_to_date():
    stale = [
        str(path.relative_to(TABLES))
        for path, text in expected().items()
        if not path.exists() or path.read_text("utf-8") != text
    ]
    assert not stale, "run `harness publish`"


def test_no_table_is_left_of_what_is_gone():
    there = {p for p in TABLES.rglob("*") if p.is_file() and "pictures" not in p.parts}
    assert there <= set(expected()), "remove them and run `harness publish`"
