"""_air_grid_report: a run of forecast fields taken apart by lead and month.

Made of a run's stored lines alone: verdicts hold the contingency counts of every lead's cells.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from harness.errors import UsageError
from harness.verification import Counts
from tasks._air_grid_judging import COUNTS
from tasks._air_report import grouped

COUNTED = re.compile(rf"{COUNTS[0]}@(\d+)h")


@dataclass
class FieldCases:
    """Every pair of a forecast field and an observed one, as columns."""

    lead: list[int] = field(default_factory=list[int])
    """Hours."""
    target: list[np.datetime64] = field(default_factory=list[np.datetime64])
    """The time that a field is about."""
    counts: list[list[float]] = field(default_factory=list[list[float]])
    """Cells: hits, false alarms, misses, correct negatives."""

    @staticmethod
    def told(line: Mapping[str, Any]) -> bool:
        """Whether a run's line is of this kind."""
        return any(map(COUNTED.fullmatch, line["verdict"]["scores"]))

    @classmethod
    def of(cls, lines: Iterable[Mapping[str, Any]]) -> FieldCases:
        """From a run's lines; UsageError where one is of another kind, or none has a cell."""
        found = cls()
        for line in lines:
            scores = line["verdict"]["scores"]
            leads = [int(each[1]) for each in map(COUNTED.fullmatch, scores) if each]
            if not leads:
                raise UsageError("this run is of several kinds: some verdicts count no cells")
            issued = np.datetime64(str(line["example"]).rpartition("/")[2])
            for lead in leads:
                found.lead.append(lead)
                found.target.append(issued + np.timedelta64(lead, "h"))
                found.counts.append([float(scores[f"{each}@{lead}h"]) for each in COUNTS])
        if not np.sum(found.counts):
            raise UsageError("this run holds no cell with a forecast and an observation")
        return found

    def table(self, rows: Sequence[int]) -> Counts:
        """The contingency table of the cells of some pairs."""
        return Counts.stacked(np.sum([self.counts[n] for n in rows], axis=0))

    def groups(self) -> dict[str, dict[Any, list[int]]]:
        """Pairs by lead in hours, and by the calendar month of the target time."""
        months = [str(each)[5:7] for each in self.target]
        return {"lead": grouped(self.lead), "month": grouped(months)}
