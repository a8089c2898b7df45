"""Rankings of a site, remembered from the last time: pairs are tested only where rows changed."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import msgspec

from harness.digests import digest
from leaderboards.rank import Place, Ranking, groups, ranking, setting
from results.record import Record

Remembered = list[tuple[int, int, int, int | None, int]]
"""Of each place: the number of its record in the group, first, last, needed, runs."""


def record_digest(record: Record) -> str:
    """Of all that a record says."""
    return hashlib.sha256(msgspec.json.encode(record)).hexdigest()[:24]


@dataclass
class Ranks:
    """Ranks records as `leaderboards.rank` does; what it knows already costs nothing."""

    known: dict[str, Remembered] = field(default_factory=dict[str, Remembered])
    """Places by the digest of a group's records: what the last build left."""
    used: dict[str, Remembered] = field(default_factory=dict[str, Remembered])
    """Those that this build asked for: what the next one is given."""
    _whole: dict[str, Ranking] = field(default_factory=dict[str, Ranking])
    _digests: dict[int, str] = field(default_factory=dict[int, str])
    _keys: dict[int, str] = field(default_factory=dict[int, str])
    _settings: dict[str, str] = field(default_factory=dict[str, str])

    def digest_of(self, record: Record) -> str:
        """`record_digest`, made once for each record."""
        found = self._digests.get(id(record))
        if found is None:
            found = self._digests[id(record)] = record_digest(record)
        return found

    def key_of(self, record: Record) -> str:
        """`leaderboards.rank.key_of`, made once for each setting."""
        found = self._keys.get(id(record))
        if found is None:
            told = setting(record)
            name = repr(told)  # a dozen times quicker than the digest, and as particular
            found = self._settings.get(name) or digest(told)
            self._settings[name] = self._keys[id(record)] = found
        return found

    def of(self, records: Iterable[Record]) -> list[Ranking]:
        """The rankings of records, as `leaderboards.rank.rankings`; those remembered lack pairs."""
        made = [self._ranking(members) for members in self.groups(records).values()]
        return sorted(made, key=lambda r: (r.record.task, r.record.version, r.record.split))

    def groups(self, records: Iterable[Record]) -> dict[str, list[Record]]:
        """`leaderboards.rank.groups`."""
        return groups(records, self.key_of)

    def whole(self, members: Sequence[Record]) -> Ranking:
        """The ranking of one group with all of its pairs."""
        name = self.group_digest(members)
        if name not in self._whole:
            self._whole[name] = ranking(members)
        return self._whole[name]

    def group_digest(self, members: Sequence[Record]) -> str:
        """Of the records of a group, in their order."""
        told = " ".join(map(self.digest_of, members))
        return hashlib.sha256(told.encode()).hexdigest()[:24]

    def _ranking(self, members: Sequence[Record]) -> Ranking:
        name = self.group_digest(members)
        if name in self.known:
            self.used[name] = self.known[name]
            return _recalled(members, self.known[name])
        found = self.whole(members)
        numbers = {id(record): number for number, record in enumerate(members)}
        if found.places:
            self.used[name] = self.known[name] = [
                (numbers[id(p.record)], p.first, p.last, p.needed, p.runs) for p in found.places
            ]
        return found


def _recalled(members: Sequence[Record], places: Remembered) -> Ranking:
    return Ranking(
        tuple(
            Place(members[number], first, last, needed, runs)
            for number, first, last, needed, runs in places
        )
    )
