"""Board: which records stand in a table, and how; `draw` gives its sheets from records alone."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import cached_property
from typing import Any, Literal

from leaderboards.facts import long_rows
from leaderboards.rank import Ranking, rankings
from leaderboards.recipe_sheets import recipe_sheets
from leaderboards.sheets import Sheet, matrix_sheets, ranking_sheets
from results.record import Record, by_run

Layout = Literal["rankings", "matrix", "recipes"]
Rank = Callable[[Iterable[Record]], list[Ranking]]
LAYOUTS = {"rankings": ranking_sheets, "matrix": matrix_sheets, "recipes": recipe_sheets}


def everything(record: Record) -> bool:
    """Every record."""
    return True


def admissible(record: Record) -> bool:
    """Whether a record may stand on a board: programs must have been judged in isolation."""
    return record.settings.get("sandbox") != "unsafe-process"


@dataclass(frozen=True, kw_only=True)
class Board:
    """One file of tables."""

    name: str
    """Of its module."""
    title: str
    about: str = ""
    """A sentence below the title."""
    rows: Callable[[Record], bool] = everything
    """Which records it is made of."""
    columns: tuple[str, ...] = ()
    """Patterns of metrics, such as `pass@*`; empty for the headline of each task."""
    against: tuple[tuple[str, str], ...] = ()
    """Pairs of metrics that are drawn against each other, the first one along x."""
    layout: Layout = "rankings"
    """`rankings`: a table for each setting. `matrix`: models down, tasks across. `recipes`: recipes
    down, tasks across, a table for each measure of a sweep."""


@dataclass(frozen=True)
class Drawing:
    """A board drawn from records."""

    board: Board
    rankings: tuple[Ranking, ...]
    reported: tuple[Record, ...]

    @cached_property
    def rows(self) -> list[dict[str, Any]]:
        """One row a number with all that is known of it, measured first."""
        return long_rows(self.rankings, self.reported)

    @cached_property
    def sheets(self) -> tuple[Sheet, ...]:
        """Its tables of text: written the first time that somebody reads them."""
        return tuple(LAYOUTS[self.board.layout](self.rankings, self.reported))


def draw(board: Board, records: Sequence[Record], rank: Rank = rankings) -> Drawing:
    """The sheets of a board. Reported numbers are never ranked and stand below, apart."""
    chosen = [record for record in records if admissible(record) and board.rows(record)]
    wanted = _wanted(board, chosen)
    found = rank(wanted)
    reported = tuple(r for r in chosen if not r.ranked and _matches(board, r))
    return Drawing(board, tuple(found), reported)


def _wanted(board: Board, records: Sequence[Record]) -> list[Record]:
    if board.columns:
        order = {id(record): _column(board, record) for record in records}
        measured = [r for r in records if r.ranked and _matches(board, r)]
        return sorted(measured, key=lambda record: order[id(record)])
    return headlines(records)


def headlines(records: Sequence[Record]) -> list[Record]:
    """The first metric of each task, split and recipe in each run: a task's headline is first.

    Records of sweeps, whose unit is the seed, speak of recipes and of no one model: they are none.
    """
    found: dict[tuple[str, ...], Record] = {}
    for run, members in by_run(records).items():
        for record in members:
            if record.settings.get("unit") == "seed":
                continue
            found.setdefault((run, record.task, record.split, record.recipe), record)
    return list(found.values())


def _matches(board: Board, record: Record) -> bool:
    return not board.columns or any(fnmatchcase(record.metric, p) for p in board.columns)


def _column(board: Board, record: Record) -> int:
    hits = (n for n, p in enumerate(board.columns) if fnmatchcase(record.metric, p))
    return next(hits, len(board.columns))
