"""All that a site shows, gathered once: records, their rankings and places, and run folders."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import NamedTuple

from leaderboards.board import Drawing, admissible
from leaderboards.diagrams import Reliable
from leaderboards.rank import Place, Ranking
from leaderboards.sheets import row_names
from leaderboards.site.addresses import Row, row_of
from leaderboards.site.folders import Folder
from leaderboards.site.ranks import Ranks
from results.record import Record


class Placed(NamedTuple):
    """Where a record stands."""

    ranking: Ranking
    key: str
    """Of the ranking."""
    row: int
    """Its row in the ranking's file."""
    place: Place | None

    @property
    def rank(self) -> str:
        """As a board shows it; empty where neither high nor low is better."""
        return self.place.rank if self.place else ""

    @property
    def rows(self) -> int:
        """Of its ranking."""
        return len(self.ranking.places) or len(self.ranking.unranked)


@dataclass(frozen=True)
class World:
    """What there is to show."""

    records: Sequence[Record]
    drawings: Sequence[Drawing]
    folders: Mapping[str, Folder]
    ranks: Ranks
    reliable: Mapping[str, Reliable] = field(default_factory=dict[str, Reliable])
    """What the rollouts of forecasts tell of probabilities, by run."""

    @cached_property
    def shown(self) -> list[Record]:
        """Records that may stand on a board."""
        return [record for record in self.records if admissible(record)]

    @cached_property
    def rankings(self) -> dict[str, Ranking]:
        """Every ranking of every metric, by its key."""
        return {self.ranks.key_of(found.record): found for found in self.ranks.of(self.shown)}

    @cached_property
    def members(self) -> dict[str, list[Record]]:
        """The records of each ranking, those that were measured again among them."""
        return self.ranks.groups(self.shown)

    @cached_property
    def placed(self) -> dict[int, Placed]:
        """Where each record stands that is the latest of its row, by its id."""
        return {
            id(record): Placed(found, key, n, found.places[n] if found.places else None)
            for key, found in self.rankings.items()
            for n, record in enumerate(rows_of(found))
        }

    @cached_property
    def by_row(self) -> dict[Row, list[Record]]:
        """The records of each row of boards, reported ones too."""
        found: dict[Row, list[Record]] = {}
        for record in self.shown:
            found.setdefault(row_of(record), []).append(record)
        return found

    @cached_property
    def names(self) -> dict[Row, str]:
        """What each row is called; weights of one name are told apart."""
        firsts = [records[0] for records in self.by_row.values()]
        return dict(zip(self.by_row, row_names(firsts), strict=True))

    @cached_property
    def by_task(self) -> dict[str, list[str]]:
        """Keys of the rankings of each task."""
        found: dict[str, list[str]] = {}
        for key, each in self.rankings.items():
            found.setdefault(each.record.task, []).append(key)
        return found

    @cached_property
    def by_run(self) -> dict[str, list[Record]]:
        """The records of each run, and an empty list for a training run that has none."""
        found: dict[str, list[Record]] = {}
        for record in self.shown:
            if record.run:
                found.setdefault(record.run, []).append(record)
        for name, folder in self.folders.items():
            if folder.recipe:
                found.setdefault(name, [])
        return found

    @cached_property
    def recipes(self) -> dict[str, list[Record]]:
        """The records of what each recipe trained; empty for a recipe of unscored runs."""
        found: dict[str, list[Record]] = {}
        for record in self.shown:
            if record.recipe:
                found.setdefault(record.recipe, []).append(record)
        for folder in self.folders.values():
            if folder.recipe:
                found.setdefault(folder.recipe, [])
        return dict(sorted(found.items()))


def rows_of(found: Ranking) -> list[Record]:
    """The records of a ranking's rows, ranked or not."""
    return [place.record for place in found.places] or list(found.unranked)
