"""Sheets: rankings as titles, columns and rows of text, before any format is chosen."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from leaderboards.rank import Place, Ranking, mixed
from leaderboards.text import number, span
from results.record import Record

WORDS = frozenset({"model", "recipe", "task and metric", "verdicts", "engine", "source", "note"})
ARROWS = {"higher": " ↑", "lower": " ↓", "neither": ""}


@dataclass(frozen=True)
class Sheet:
    """One table of text; nothing in it is escaped yet."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    above: tuple[str, ...] = ()
    """Lines between title and table."""
    notes: tuple[str, ...] = ()
    """Lines below the table."""

    @property
    def text(self) -> tuple[bool, ...]:
        """Which columns are words; the others are numbers, aligned right."""
        return tuple(column in WORDS for column in self.columns)


def ranking_sheets(found: Sequence[Ranking], reported: Sequence[Record]) -> list[Sheet]:
    """A table for each ranking, then the reported numbers."""
    several = mixed(found)
    sheets = [_ranking_sheet(ranking, several) for ranking in found]
    return [*sheets, *_reported_sheet(reported)]


def matrix_sheets(found: Sequence[Ranking], reported: Sequence[Record]) -> list[Sheet]:
    """Models down, rankings across; then the reported numbers."""
    sheets = [_matrix(found)] if found else []
    return [*sheets, *_reported_sheet(reported)]


def row_name(record: Record) -> str:
    """Model; or what was trained, and by what."""
    return f"{record.base or record.model} + {record.recipe}" if record.recipe else record.model


def row_names(records: Sequence[Record]) -> list[str]:
    """Names of rows; different weights under one name show their digests."""
    names = [row_name(record) for record in records]
    digests: dict[str, set[str]] = {}
    for name, record in zip(names, records, strict=True):
        digests.setdefault(name, set()).add(record.model_digest)
    return [
        f"{name} ({record.model_digest[:8] or 'no digest'})" if len(digests[name]) > 1 else name
        for name, record in zip(names, records, strict=True)
    ]


def interval(record: Record) -> str:
    """The 95 % interval as [low, high], or nothing."""
    return span(record.low, record.high)


def size(record: Record) -> str:
    """Examples, and in how many sets or clusters they lie."""
    return str(record.examples) + (f" in {record.clusters}" if record.clusters else "")


def shown(record: Record) -> str:
    """The value with as many digits as its interval bears."""
    return (
        f"{number(record.value, (record.high - record.low) / 2)}{record.unit and ' '}{record.unit}"
    )


def settings_line(ranking: Ranking) -> str:
    """How the answers of a ranking were drawn and judged."""
    setting: dict[str, Any] = ranking.setting
    parts = [f"{name} {_plain(v)}" for name, v in sorted(setting["sampling"].items()) if v != []]
    parts += [f"{name} {_plain(v)}" for name, v in sorted(setting["settings"].items())]
    return ", ".join((f"examples {setting['examples']}", *parts))


def _plain(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def _title(record: Record) -> str:
    return f"{record.task} v{record.version}, {record.split}: {record.metric}"


def _ranking_sheet(ranking: Ranking, several: Any) -> Sheet:
    r = ranking.record
    records = [place.record for place in ranking.places] or list(ranking.unranked)
    names = row_names(records)
    places: Sequence[Place | None] = ranking.places or [None] * len(records)
    rows = [
        (
            names[n],
            place.rank if place else "",
            shown(record),
            interval(record),
            size(record),
            str(record.rollouts),
            ", ".join(map(str, record.seeds)),
            _reasons(record),
            " ".join(part for part in (record.engine, record.dtype) if part),
            record.when[:10],
        )
        for n, (place, record) in enumerate(zip(places, records, strict=True))
    ]
    if several[(r.task, r.version, r.split, r.metric)] > 1:
        above = (
            "This metric was measured under different settings, which are not ranked together.",
        )
    else:
        above = ()
    return Sheet(
        title=_title(r),
        columns=(
            "model",
            "rank",
            f"{r.metric}{ARROWS[r.better]}",
            "95 % interval",
            "n",
            "k",
            "seeds",
            "verdicts",
            "engine",
            "measured",
        ),
        rows=tuple(rows),
        above=(*above, settings_line(ranking)),
        notes=tuple(_notes(ranking, names)),
    )


def _notes(ranking: Ranking, names: Sequence[str]) -> list[str]:
    notes = []
    for n, place in enumerate(ranking.places):
        if place.needed is not None:
            notes.append(
                f"{names[n]} and {names[n - 1]} are not told apart; about {place.needed:,} more "
                "examples would do it."
            )
        if place.runs > 1:
            notes.append(f"{names[n]} was measured {place.runs} times; the latest is shown.")
        if place.record.origin == "rescored":
            notes.append(
                f"{names[n]} was submitted by {place.record.source}; its rollouts were judged "
                "again here."
            )
        if place.record.note:
            notes.append(f"{names[n]}: {place.record.note}")
    return notes


def _reasons(record: Record) -> str:
    shares = sorted(record.reasons.items(), key=lambda pair: -pair[1])
    return ", ".join(f"{name} {100 * share:.0f} %" for name, share in shares if share > 0)


def _matrix(found: Sequence[Ranking]) -> Sheet:
    everyone = list({_row_key(r): r for ranking in found for r in _members(ranking)}.values())
    names = dict(zip(map(_row_key, everyone), row_names(everyone), strict=True))
    several, seen = mixed(found), dict[tuple[Any, ...], int]()
    columns, notes = [], []
    cells: dict[tuple[str, ...], list[str]] = {
        key: [] for key in sorted(names, key=names.__getitem__)
    }
    for ranking in found:
        r = ranking.record
        key = (r.task, r.version, r.split, r.metric)
        mark = ""
        if several[key] > 1:
            seen[key] = seen.get(key, 0) + 1
            mark = f" ({seen[key]})"
            notes.append(f"{r.task} {r.metric}{mark}: {settings_line(ranking)}")
        columns.append(f"{r.task} v{r.version} {r.split} {r.metric}{ARROWS[r.better]}{mark}")
        drawn = {_row_key(p.record): _cell(p) for p in ranking.places}
        drawn |= {_row_key(record): shown(record) for record in ranking.unranked}
        for key_, row in cells.items():
            row.append(drawn.get(key_, ""))
    return Sheet(
        title="Measured",
        columns=("model", *columns),
        rows=tuple((names[key], *row) for key, row in cells.items()),
        above=("value [95 % interval] #rank within the column",),
        notes=tuple(notes),
    )


def _members(ranking: Ranking) -> list[Record]:
    return [place.record for place in ranking.places] + list(ranking.unranked)


def _row_key(record: Record) -> tuple[str, ...]:
    return (record.model, record.model_digest, record.recipe, record.base)


def _cell(place: Place) -> str:
    parts = (shown(place.record), interval(place.record), f"#{place.rank}")
    return " ".join(part for part in parts if part)


def _reported_sheet(reported: Sequence[Record]) -> list[Sheet]:
    if not reported:
        return []
    order = sorted(reported, key=lambda r: (r.task, r.metric, r.model))
    parts = [
        ("Claimed by others, without rollouts to check, and not ranked", "claimed"),
        ("Reported by others, not measured here and not ranked", "reported"),
    ]
    return [
        _apart(title, members)
        for title, origin in parts
        if (members := [record for record in order if record.origin == origin])
    ]


def _apart(title: str, order: Sequence[Record]) -> Sheet:
    rows = [
        (
            row_name(record),
            _title(record),
            number(record.value) if math.isnan(record.low) else shown(record),
            interval(record),
            record.source,
            record.note,
        )
        for record in order
    ]
    return Sheet(
        title=title,
        columns=("model", "task and metric", "value", "95 % interval", "source", "note"),
        rows=tuple(rows),
    )
