"""_air_grid_judging: forecast fields judged cell by cell, and the metrics made of it.

The rules are those of stations: a cell without observation counts nowhere, a cell without forecast
is a wrong class, a miss if the event was observed there and a false alarm if not. A verdict holds a
lead's table of observed by forecast class as its answer, and what follows from it as scores.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness import Completion, Metric, Verdict
from harness.metrics import share
from harness.types import Row
from harness.verification import classes_of
from tasks._air_judging import FALSE_ALARM, KINDS, MOST, table_metrics

Floats = NDArray[np.float64]
COUNTS = ("hits", "false_alarms", "misses", "correct_negatives")


def verify_fields(
    observed: NDArray[np.floating[Any]],
    completion: Completion,
    *,
    leads: Sequence[int],
    edges: Sequence[float],
    event: int,
) -> Verdict:
    """Judge concentrations (L, Y, X) in ug/m3, or fewer leads, the shorter first.

    `event` is the first class that counts as an event.
    """
    said, reason = read_fields(completion.output, observed.shape)
    if reason == "bad_format" and completion.stopped == "budget":
        reason = "truncated"
    truth, told = classes_of(observed, edges), classes_of(said, edges)
    tables: list[Floats] = []
    scores: dict[str, float] = {}
    paid: list[float] = []
    for place, lead in enumerate(leads):
        table = confusion(told[place], truth[place])
        counts = dict(zip(COUNTS, contingency(table, event), strict=True))
        cells, right = float(table.sum()), float(np.trace(table))
        scores |= {f"{name}@{lead}h": count for name, count in counts.items()}
        scores |= {f"right@{lead}h": right, f"error@{lead}h": _error(said[place], observed[place])}
        tables.append(table)
        if cells:
            paid.append((right - FALSE_ALARM * counts["false_alarms"]) / cells)
    scores["class_reward"] = math.fsum(paid) / len(paid) if paid else 0.0
    right = bool(paid) and min(paid) == 1.0
    answer = [table.astype(int).tolist() for table in tables]
    return Verdict(scores, answer, reason or ("ok" if right else "wrong"), _note(tables, leads))


def read_fields(output: Any, shape: tuple[int, ...]) -> tuple[Floats, str]:
    """(L, Y, X) with NaN where nothing was forecast, and why nothing was read; empty if it was."""
    nothing = np.full(shape, np.nan)
    if output is None:
        return nothing, "no_answer"
    try:
        found = np.asarray(output)
        fits = found.ndim == len(shape) and found.shape[1:] == shape[1:]
        if found.dtype.kind not in "fiu" or not fits or not 0 < len(found) <= shape[0]:
            return nothing, "bad_format"
        values = found.astype(np.float64)
    except (TypeError, ValueError, OverflowError):
        return nothing, "bad_format"
    valid = np.isfinite(values) & (values >= 0) & (values <= MOST)
    nothing[: len(values)] = np.where(valid, values, np.nan)
    return nothing, "" if valid.any() else "no_answer"


def confusion(said: NDArray[np.intp], seen: NDArray[np.intp]) -> Floats:
    """(K, K + 1) cells by observed and forecast class; the last column has no forecast."""
    kept = seen >= 0
    column = np.where(said[kept] < 0, KINDS, said[kept])
    flat = np.bincount(seen[kept] * (KINDS + 1) + column, minlength=KINDS * (KINDS + 1))
    return flat.reshape(KINDS, KINDS + 1).astype(np.float64)


def contingency(table: Floats, event: int) -> list[float]:
    """Hits, false alarms, misses and correct negatives; no forecast is wrong either way."""
    alarm, silence, missing = table[:, event:KINDS], table[:, :event], table[:, KINDS]
    return [
        float(alarm[event:].sum()),
        float(alarm[:event].sum() + missing[:event].sum()),
        float(silence[event:].sum() + missing[event:].sum()),
        float(silence[:event].sum()),
    ]


def _error(said: Floats, observed: NDArray[np.floating[Any]]) -> float:
    """Mean absolute error of the cells that have both, in ug/m3; -1 stands for none."""
    gap = np.abs(said - observed)
    known = ~np.isnan(gap)
    return float(gap[known].mean()) if known.any() else -1.0


def _note(tables: Sequence[Floats], leads: Sequence[int]) -> str:
    """How much of the field each class was."""
    told: list[str] = []
    for lead, table in zip(leads, tables, strict=True):
        each = table.sum(axis=1) / max(table.sum(), 1)
        told.append(f"{lead} h " + "/".join(f"{part:.0%}" for part in each))
    return "observed, from good to very bad: " + ", ".join(told)


def metrics(leads: Sequence[int]) -> tuple[Metric, ...]:
    """All that is told of a task: pooled over leads first, then lead by lead."""
    places = {lead: place for place, lead in enumerate(leads)}
    found = table_metrics(
        leads,
        lambda some: partial(cell_counts, leads=some),
        lambda some: partial(_classes, places=[places[lead] for lead in some]),
    )
    found += [_mean_error(lead) for lead in leads]
    found += [share(reason) for reason in ("truncated", "no_answer", "bad_format")]
    return tuple(found)


def cell_counts(row: Row, leads: Sequence[int]) -> list[float]:
    """Hits, false alarms, misses and correct negatives of an example: cells, leads and rollouts."""
    return [
        math.fsum(v.scores[f"{name}@{lead}h"] for v in row for lead in leads) for name in COUNTS
    ]


def _classes(row: Row, places: Sequence[int]) -> list[float]:
    tables = np.array([v.answer for v in row], np.float64)
    return tables[:, places].sum(axis=(0, 1)).ravel().tolist()


def _mean_error(lead: int) -> Metric:
    def each(row: Row) -> float:
        known = [v.scores[f"error@{lead}h"] for v in row if v.scores[f"error@{lead}h"] >= 0]
        return math.fsum(known) / len(known) if known else math.nan

    return Metric(f"mae@{lead}h", each=each, better="lower", unit="ug/m3", high=math.inf)
