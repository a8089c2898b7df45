"""_air_report: a run of airquality taken apart by lead, station and month, with skill.

Made of a run's stored lines alone: verdicts hold forecast and observed classes, prompts hold what
the reference forecasts need. Skill is (S - S_ref) / (1 - S_ref) of the Heidke score and of PSS.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from harness.codec import revive
from harness.errors import UsageError
from harness.verification import EVENT_SCORES, Counts, Reliability, classes_of, reliability
from tasks._air_cases import EDGES, LEADS
from tasks._air_judging import alarmed
from tasks._air_models import RULES

Floats = NDArray[np.float64]
Key = TypeVar("Key", int, str)
SHOWN = ("pss", "pod", "far_ratio", "pofd", "csi", "f1", "bias", "ets", "hss", "sedi", "base_rate")


@dataclass
class Cases:
    """Every pair of a forecast and an observation of a run, as columns."""

    event: int
    pollutant: str
    lead: list[int] = field(default_factory=list[int])
    station: list[str] = field(default_factory=list[str])
    issued: list[str] = field(default_factory=list[str])
    said: list[int] = field(default_factory=list[int])
    seen: list[int] = field(default_factory=list[int])
    forecast: list[float] = field(default_factory=list[float])
    observed: list[float] = field(default_factory=list[float])
    references: dict[str, list[int]] = field(default_factory=lambda: defaultdict(list[int]))
    """Classes that the reference forecasts give; -1 where they give none."""

    @classmethod
    def of(cls, lines: Iterable[Mapping[str, Any]], settings: Mapping[str, Any]) -> Cases:
        """From a run's lines; UsageError where they are not of this family."""
        found = cls(int(settings.get("event_class", 2)), str(settings.get("pollutant", "PM2.5")))
        for line in lines:
            scores = line["verdict"]["scores"]
            if f"class@{LEADS[0]}h" not in scores:
                raise UsageError("this run is none of airquality: its verdicts name no classes")
            found._add(line, scores)
        if not found.lead:
            raise UsageError("this run holds no pair of a forecast and an observation")
        return found

    def _add(self, line: Mapping[str, Any], scores: Mapping[str, float]) -> None:
        _, _, station, issued = str(line["example"]).split("/")
        content = revive(line["turns"][0]["messages"][0][1])
        told = _references(content, self.pollutant) if isinstance(content, Mapping) else {}
        for place, lead in enumerate(LEADS):
            if scores[f"observed_class@{lead}h"] < 0:
                continue
            self.lead.append(lead)
            self.station.append(station)
            self.issued.append(issued)
            self.said.append(int(scores[f"class@{lead}h"]))
            self.seen.append(int(scores[f"observed_class@{lead}h"]))
            self.forecast.append(float(scores.get(f"forecast@{lead}h", -1)))
            self.observed.append(float(scores.get(f"observed@{lead}h", -1)))
            for name, classes in told.items():
                self.references[name].append(classes[place])

    def table(self, rows: Sequence[int] | NDArray[np.intp], of: str = "") -> Counts:
        """The contingency table of some pairs; of a reference's forecasts if `of` names one."""
        said = self.references[of] if of else self.said
        kept = [n for n in rows if not (of and said[n] < 0)]  # pairs only where both exist
        alarms = [alarmed(said[n], self.seen[n], self.event) for n in kept]
        return Counts.of(alarms, [self.seen[n] >= self.event for n in kept])

    def by_lead(self) -> dict[int, list[int]]:
        """Pairs by lead in hours."""
        return grouped(self.lead)

    def by_station(self) -> dict[str, list[int]]:
        """Pairs by station."""
        return grouped(self.station)

    def groups(self) -> dict[str, dict[Any, list[int]]]:
        """Pairs by lead, by station, and by the calendar month of the target day."""
        months = [str(self.target(n))[5:7] for n in range(len(self.lead))]
        return {"lead": self.by_lead(), "station": self.by_station(), "month": grouped(months)}

    def target(self, n: int) -> np.datetime64:
        """The day that a pair is about."""
        return np.datetime64(self.issued[n], "D") + self.lead[n] // 24

    def skill(self, rows: Sequence[int], score: str = "hss") -> dict[str, float]:
        """(S - S_ref) / (1 - S_ref) against every reference forecast; NaN where that is perfect."""
        of = EVENT_SCORES[score].of
        own = float(of(self.table(rows)))
        found: dict[str, float] = {}
        for name in self.references:
            against = float(of(self.table(rows, name)))
            found[name] = (own - against) / (1 - against) if against != 1 else float("nan")
        return found

    def reliability(self, rows: Sequence[int]) -> Reliability:
        """Of the share of rollouts that forecast the event, case by case."""
        cases: dict[tuple[str, str, int], list[int]] = defaultdict(list)
        for n in rows:
            cases[self.station[n], self.issued[n], self.lead[n]].append(n)
        chance = [
            np.mean([alarmed(self.said[n], self.seen[n], self.event) for n in members])
            for members in cases.values()
        ]
        return reliability(chance, [self.seen[m[0]] >= self.event for m in cases.values()])


def grouped(keys: Sequence[Key]) -> dict[Key, list[int]]:
    """The places of each key, smallest key first."""
    found: dict[Key, list[int]] = defaultdict(list[int])
    for place, key in enumerate(keys):
        found[key].append(place)
    return dict(sorted(found.items()))


def _references(content: Mapping[str, Any], pollutant: str) -> dict[str, list[int]]:
    return {
        name: classes_of(rule(content), EDGES[pollutant]).tolist() for name, rule in RULES.items()
    }
