"""Ranks that claim no more than the examples can bear.

Only records that agree in every key setting are ranked together. Two of them are told apart by a
paired test over their examples (by their intervals where a metric has no value per example), Holm's
correction over all pairs. The rank of a model is the range from 1 + the number of models that are
better beyond doubt to the last one that is not worse beyond doubt.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from harness.comparing import holm
from harness.digests import digest
from leaderboards.pairs import LEVEL, all_pairs, goodness
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
    alike: dict[str, list[Record]] = {}
    for record in records:
        if record.ranked:
            alike.setdefault(digest(setting(record)), []).append(record)
    made = [_ranking(members) for members in alike.values()]
    return sorted(made, key=lambda r: (r.record.task, r.record.version, r.record.split))


def _ranking(records: Sequence[Record]) -> Ranking:
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
    corrected = dict(zip(pairs, holm([pair.p for pair in pairs.values()]), strict=True))
    ahead, behind = [0] * len(order), [0] * len(order)
    for (i, j), p in corrected.items():
        if p < LEVEL:
            better, worse = (i, j) if pairs[i, j].difference > 0 else (j, i)
            ahead[worse] += 1
            behind[better] += 1
    places = []
    for i, record in enumerate(order):
        above = pairs.get((i - 1, i))
        tied = above is not None and corrected[i - 1, i] >= LEVEL
        places.append(
            Place(
                record,
                first=1 + ahead[i],
                last=len(order) - behind[i],
                needed=above.needed if above is not None and tied else None,
                runs=runs[id(record)],
            )
        )
    return Ranking(tuple(places))


def mixed(found: Iterable[Ranking]) -> Mapping[tuple[str, int, str, str], int]:
    """Number of rankings of each (task, version, split, metric): several if settings differ."""
    counts: dict[tuple[str, int, str, str], int] = {}
    for ranking in found:
        r = ranking.record
        key = (r.task, r.version, r.split, r.metric)
        counts[key] = counts.get(key, 0) + 1
    return counts
