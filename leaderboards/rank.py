"""Ranks that claim no more than the examples can bear.

Only records that agree in every key setting are ranked together. Two of them are told apart by a
paired test over their examples (by their intervals where a metric has no value per example), Holm's
correction over all pairs. The rank of a model is the range from 1 + the number of models that are
better beyond doubt to the last one that is not worse beyond doubt.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from harness.digests import digest
from leaderboards.pairs import Pairs, all_pairs, goodness, needed
from results.record import Record

FREE_SETTINGS = frozenset({"limit"})
"""Settings that the digest of the examples tells already."""
FREE_SAMPLING = frozenset({"seed"})


@dataclass(frozen=True)
class Place:
    """A record's place in its ranking."""

    record: Record
    first: int
    """The best rank that the data cannot rule out."""
    last: int
    needed: int | None = None
    """About so many examples more would separate it from the row above."""
    runs: int = 1
    """How often it was measured so; the latest is shown."""

    @property
    def rank(self) -> str:
        """`2`, or `1-3` where more is not known."""
        return f"{self.first}" if self.first == self.last else f"{self.first}-{self.last}"


@dataclass(frozen=True)
class Ranking:
    """Records that agree in every key setting, best value first."""

    places: tuple[Place, ...]
    unranked: tuple[Record, ...] = ()
    """Measured, but of a metric that is neither better high nor low."""

    pairs: Pairs | None = None
    """How each two of the places differ, in their order; None where nothing is ranked."""

    @property
    def ties(self) -> list[tuple[int, int]]:
        """Groups of which no two are told apart: first and last place, from 0; the largest ones.

        A place may be in several groups, as the middle of three of which only the ends differ.
        """
        if self.pairs is None:
            return []
        apart = self.pairs.separated
        found: list[tuple[int, int]] = []
        start = 0
        for end in range(1, len(self.places) + 1):
            if end < len(self.places) and not apart[start:end, end].any():
                continue
            if end - start > 1:
                found.append((start, end - 1))
            if end < len(self.places):
                start += 1 + int(np.flatnonzero(apart[start:end, end])[-1])
        return found

    @property
    def record(self) -> Record:
        """Any of its records: they agree in task, metric and settings."""
        return self.places[0].record if self.places else self.unranked[0]

    @property
    def setting(self) -> dict[str, Any]:
        """What all of its records have in common."""
        return setting(self.record)


def setting(record: Record) -> dict[str, Any]:
    """What two records must share to be ranked together."""
    return {
        "task": record.task,
        "version": record.version,
        "split": record.split,
        "metric": record.metric,
        "better": record.better,
        "unit": record.unit,
        "examples": record.example_ids_digest or f"{record.examples} examples",
        "sampling": {k: v for k, v in record.sampling.items() if k not in FREE_SAMPLING},
        "settings": {k: v for k, v in record.settings.items() if k not in FREE_SETTINGS},
    }


def rankings(records: Iterable[Record]) -> list[Ranking]:
    """Measured records, ranked among their likes; in the order of task, metric and first record."""
    made = [ranking(members) for members in groups(records).values()]
    return sorted(made, key=lambda r: (r.record.task, r.record.version, r.record.split))


def key_of(record: Record) -> str:
    """The name of the ranking that a record belongs in, by all that its records share."""
    return digest(setting(record))


def groups(
    records: Iterable[Record], key: Callable[[Record], str] = key_of
) -> dict[str, list[Record]]:
    """Measured records that agree in every key setting, by its name, in the order of their first.

    `key` may be a `key_of` that remembers.
    """
    alike: dict[str, list[Record]] = {}
    for record in records:
        if record.ranked:
            alike.setdefault(key(record), []).append(record)
    return alike


def ranking(records: Sequence[Record]) -> Ranking:
    """The ranking of one group: records that agree in every key setting."""
    latest: dict[tuple[str, ...], list[Record]] = {}
    for record in records:
        row = (record.model, record.model_digest, record.recipe, record.base)
        latest.setdefault(row, []).append(record)
    rows = {row: max(same, key=lambda r: r.when) for row, same in latest.items()}
    order = sorted(rows.values(), key=lambda r: (-goodness(r, r.value), r.model, r.recipe))
    runs = {id(rows[row]): len(same) for row, same in latest.items()}
    if order[0].better == "neither":
        return Ranking((), tuple(order))
    pairs = all_pairs(order)
    level = pairs.level
    beaten = pairs.separated & (pairs.difference > 0)
    ahead, behind = beaten.sum(axis=0), beaten.sum(axis=1)
    places = [
        Place(
            record,
            first=1 + int(ahead[i]),
            last=len(order) - int(behind[i]),
            needed=_needed(order, pairs, i, level),
            runs=runs[id(record)],
        )
        for i, record in enumerate(order)
    ]
    return Ranking(tuple(places), pairs=pairs)


def _needed(order: Sequence[Record], pairs: Pairs, row: int, level: float) -> int | None:
    """Examples that would separate a row from the one above; None where they are separated."""
    if row == 0 or pairs.separated[row - 1, row]:
        return None
    return needed(order[row - 1], order[row], level)


def mixed(found: Iterable[Ranking]) -> Mapping[tuple[str, int, str, str], int]:
    """Number of rankings of each (task, version, split, metric): several if settings differ."""
    counts: dict[tuple[str, int, str, str], int] = {}
    for ranking in found:
        r = ranking.record
        key = (r.task, r.version, r.split, r.metric)
        counts[key] = counts.get(key, 0) + 1
    return counts
