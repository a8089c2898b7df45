"""Tables of pages as plain data: columns, and rows of cells that a page's script draws as text.

A cell is a text or a number as it stands, `[text, address]` where it leads somewhere, or, in a
column of values, `[value, shown, interval, rank, place]`; `place` is its row in the ranking's file,
-1 where it has none.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from leaderboards.rank import Place
from leaderboards.sheets import interval, shown
from leaderboards.text import visible
from results.record import Record

Kind = Literal["text", "number", "link", "value"]
Cell = str | float | list[Any] | None


@dataclass(frozen=True, kw_only=True)
class Column:
    """One column of a grid."""

    title: str
    kind: Kind = "text"
    group: str = ""
    """Neighbors of one group share a header."""
    ranking: str = ""
    """Of a column of values: the key of its ranking."""
    better: str = ""
    about: str = ""
    wide: bool = False
    pinned: bool = False

    @property
    def told(self) -> dict[str, Any]:
        """What a page needs to know; what is empty is left out."""
        told = {
            "title": visible(self.title),
            "kind": self.kind,
            "group": visible(self.group),
            "ranking": self.ranking,
            "better": self.better,
            "about": visible(self.about, 400),
            "wide": self.wide,
            "pinned": self.pinned,
        }
        return {name: each for name, each in told.items() if each}


@dataclass(frozen=True, kw_only=True)
class Grid:
    """A table that can be sorted, filtered and searched."""

    name: str
    """Of its state in the page's address."""
    label: str
    """What a screen reader says it is."""
    columns: Sequence[Column]
    rows: list[list[Cell]] = field(default_factory=list[list[Cell]])

    @property
    def told(self) -> dict[str, Any]:
        """What a page needs to know."""
        return {
            "name": self.name,
            "label": visible(self.label),
            "columns": [column.told for column in self.columns],
            "rows": self.rows,
        }


def text(value: str, longest: int = 160) -> str:
    """A text of a cell: every mark of it shows."""
    return visible(value, longest)


def link(value: str, address: str) -> list[Any]:
    """A text that leads somewhere."""
    return [text(value), address]


def value_cell(record: Record, place: Place | None = None, row: int = -1) -> list[Any]:
    """A number with its interval and its range of ranks."""
    return [
        float(f"{record.value:.6g}"),
        shown(record),
        interval(record),
        place.rank if place else "",
        row,
    ]


def counted(number: int, thing: str) -> str:
    """`1 model`, `1,200 models`."""
    return f"{number:,} {thing}{'' if number == 1 else 's'}"
