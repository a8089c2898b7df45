"""_air_judging: forecasts read, judged lead by lead, and the metrics made of it.

A verdict says for each lead which class was forecast and which was observed; -1 is none. A lead
without observation counts nowhere. A lead without forecast is a wrong class: a miss if the event
was observed, a false alarm if not. Only where the station told nothing of the issue day may a
forecaster abstain: then the pair does not exist, and is counted in `abstained`.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness import Completion, Example, Metric, Verdict
from harness.metrics import of_sums, share
from harness.types import Row, Sums
from harness.verification import (
    EVENT_SCORES,
    Counts,
    EventScore,
    class_accuracy,
    classes_of,
    crps,
    expected_cost,
    macro_f1,
)
from tasks._air_cases import CLASSES, EDGES, LEADS

MOST = 5000.0
"""ug/m3; a forecast above it, or below 0, is no concentration."""
LONGEST = 2000
"""Characters of a text that is read."""
FALSE_ALARM = 0.1
"""What the class reward takes for a false alarm (gamma); a right class pays 1 (beta)."""
KINDS = len(CLASSES)
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Read:
    """A forecast as it was read: an entry a lead."""

    classes: Sequence[int]
    values: Sequence[float | None]
    """ug/m3; empty where classes are named in words."""
    reason: str = ""
    """Why nothing was read; empty where something was."""


def verify(
    example: Example, completion: Completion, *, pollutant: str, event: int, numeric: bool
) -> Verdict:
    """Judge concentrations (L,) in ug/m3, or where not `numeric` JSON with a class a lead.

    `event` is the first class that counts as an event.
    """
    output = completion.output
    read = read_array(output, EDGES[pollutant]) if numeric else read_text(output)
    if read.reason == "bad_format" and completion.stopped == "budget":
        read = Read(read.classes, read.values, "truncated")
    observed = [math.nan if y is None else float(y) for y in example.target]
    truth = classes_of(observed, EDGES[pollutant]).tolist()
    scores: dict[str, float] = {}
    paid: list[float] = []
    abstained = 0
    for place, lead in enumerate(LEADS):
        said, seen = read.classes[place], truth[place]
        if said < 0 <= seen and not example.inputs["known"]:
            seen, abstained = -1, abstained + 1
        counted = seen >= 0
        scores |= {f"class@{lead}h": float(said), f"observed_class@{lead}h": float(seen)}
        if read.values:
            scores[f"forecast@{lead}h"] = _number(read.values[place])
            scores[f"observed@{lead}h"] = _number(observed[place] if counted else None)
        if counted:
            false_alarm = seen < event and alarmed(said, seen, event)
            paid.append(float(said == seen) - FALSE_ALARM * false_alarm)
    scores["class_reward"] = math.fsum(paid) / len(paid) if paid else 0.0
    scores["abstained"] = float(abstained)
    right = bool(paid) and min(paid) == 1.0
    reason = read.reason or ("ok" if right else "wrong")
    answer = None if read.reason else [CLASSES[c] if c >= 0 else None for c in read.classes]
    return Verdict(scores, answer, reason, _note(truth))


def _number(value: float | None) -> float:
    """-1 stands for none: a concentration is never negative, and scores are numbers."""
    return -1.0 if value is None or math.isnan(value) else float(value)


def alarmed(said: int, seen: int, event: int) -> bool:
    """Whether the event counts as forecast; no forecast is wrong whatever was observed."""
    return said >= event if said >= 0 else seen < event


def _note(truth: Sequence[int]) -> str:
    told = [f"{lead} h {CLASSES[c]}" for lead, c in zip(LEADS, truth, strict=True) if c >= 0]
    return "observed: " + ", ".join(told)


def read_array(output: Any, edges: Sequence[float]) -> Read:
    """(L,) or fewer numbers in ug/m3, the shorter leads first; NaN is no forecast."""
    none: list[float | None] = [None] * len(LEADS)
    nothing = Read([-1] * len(LEADS), none, "no_answer")
    wrong = Read([-1] * len(LEADS), none, "bad_format")
    if output is None:
        return nothing
    try:
        found = np.asarray(output)
        if found.dtype.kind not in "fiu" or found.ndim != 1 or not 0 < len(found) <= len(LEADS):
            return wrong
        values = found.astype(np.float64)
    except (TypeError, ValueError, OverflowError):
        return wrong
    values = np.where(np.isfinite(values) & (values >= 0) & (values <= MOST), values, np.nan)
    values = np.concatenate([values, np.full(len(LEADS) - len(values), np.nan)])
    if np.isnan(values).all():
        return nothing
    told = [None if math.isnan(x) else float(x) for x in values]
    return Read(classes_of(values, edges).tolist(), told)


def read_text(output: Any) -> Read:
    """`{"48": "bad", ...}`, one JSON object and nothing else; unknown words are no forecast."""
    if not isinstance(output, str):
        return Read([-1] * len(LEADS), (), "no_answer" if output is None else "bad_format")
    text = output.strip()
    if not text:
        return Read([-1] * len(LEADS), (), "no_answer")
    pairs: list[tuple[str, Any]] = []
    try:
        if len(text) > LONGEST:
            raise ValueError("too long")
        table = json.loads(text, object_pairs_hook=lambda found: pairs.extend(found) or dict(found))
        if not isinstance(table, dict) or len(table) != len(pairs):
            raise ValueError("no plain object, or a lead twice")
    except (ValueError, RecursionError):
        return Read([-1] * len(LEADS), (), "bad_format")
    words = [table.get(str(lead)) for lead in LEADS]
    found = [CLASSES.index(w) if isinstance(w, str) and w in CLASSES else -1 for w in words]
    odd = set(table) - {str(lead) for lead in LEADS}
    return Read(found, (), "bad_format" if odd or max(found) < 0 else "")


# -- metrics


Each = Callable[[Row], list[float]]
"""What an example adds to a table."""


def metrics(event: int, *, numeric: bool) -> tuple[Metric, ...]:
    """All that is told of a task: pooled over leads first, then lead by lead."""
    found = table_metrics(
        LEADS,
        lambda leads: partial(event_counts, event=event, leads=leads),
        lambda leads: partial(_confusion, leads=leads),
    )
    if numeric:
        found += [_error(lead) for lead in LEADS]
        found += [_crps(lead) for lead in LEADS] + [_brier(event, lead) for lead in LEADS]
    found += [share(reason) for reason in ("truncated", "no_answer", "bad_format")]
    return tuple(found)


def table_metrics(
    leads: Sequence[int],
    events: Callable[[Sequence[int]], Each],
    classes: Callable[[Sequence[int]], Each],
) -> list[Metric]:
    """Scores of tables of events and of classes, pooled over leads first, then lead by lead.

    For some leads `events` gives hits, false alarms, misses and correct negatives of an example,
    `classes` its (K, K + 1) observed by forecast classes, row by row.
    """
    found = _event_metrics(events(leads), "")
    found += [of_sums(f"cost_1_{ratio:g}", _cost(events(leads), ratio), better="lower", high=ratio)
              for ratio in (1.0, 3.0, 10.0)]  # fmt: skip
    found += _class_metrics(classes(leads), "")
    for lead in leads:
        found += _event_metrics(events([lead]), f"@{lead}h")
        found += _class_metrics(classes([lead]), f"@{lead}h")
    return found


def _event_metrics(each: Each, mark: str) -> list[Metric]:
    return [
        of_sums(
            name + mark,
            Sums(each, partial(_scored, score)),
            better=score.better,
            low=score.low,
            high=score.high,
        )
        for name, score in EVENT_SCORES.items()
    ]


def _scored(score: EventScore, sums: Floats) -> Floats:
    return score.of(Counts.stacked(sums))


def _cost(each: Each, ratio: float) -> Sums:
    return Sums(each, lambda sums: expected_cost(Counts.stacked(sums), ratio))


def _class_metrics(each: Each, mark: str) -> list[Metric]:
    def value(score: Callable[[Floats], Floats], sums: Floats) -> Floats:
        return score(sums.reshape(*sums.shape[:-1], KINDS, KINDS + 1))

    named = {"macro_f1": macro_f1, "accuracy": class_accuracy}
    return [of_sums(name + mark, Sums(each, partial(value, of))) for name, of in named.items()]


def event_counts(row: Row, event: int, leads: Sequence[int]) -> list[float]:
    """Hits, false alarms, misses and correct negatives of an example, over leads and rollouts."""
    counts = [0.0, 0.0, 0.0, 0.0]
    for said, seen in _pairs(row, leads):
        alarm = alarmed(said, seen, event)
        counts[(0 if alarm else 2) if seen >= event else (1 if alarm else 3)] += 1
    return counts


def _pairs(row: Row, leads: Sequence[int]) -> list[tuple[int, int]]:
    """Forecast and observed class of every lead and rollout that has both."""
    return [
        (int(v.scores[f"class@{lead}h"]), int(v.scores[f"observed_class@{lead}h"]))
        for v in row
        for lead in leads
        if v.scores[f"observed_class@{lead}h"] >= 0
    ]


def _confusion(row: Row, leads: Sequence[int]) -> list[float]:
    table = np.zeros((KINDS, KINDS + 1))
    for said, seen in _pairs(row, leads):
        table[seen, said] += 1  # -1 is the last column
    return table.ravel().tolist()


def _values(row: Row, lead: int) -> tuple[list[float], float]:
    """Forecasts of all rollouts, and the observation."""
    told = [v.scores for v in row if v.scores.get(f"forecast@{lead}h", -1) >= 0]
    seen = told[0][f"observed@{lead}h"] if told else -1
    return ([s[f"forecast@{lead}h"] for s in told], seen) if seen >= 0 else ([], math.nan)


def _error(lead: int) -> Metric:
    def each(row: Row) -> float:
        said, seen = _values(row, lead)
        return math.fsum(abs(x - seen) for x in said) / len(said) if said else math.nan

    return Metric(f"mae@{lead}h", each=each, better="lower", unit="ug/m3", high=math.inf)


def _crps(lead: int) -> Metric:
    """Of the rollouts as an ensemble."""

    def each(row: Row) -> float:
        said, seen = _values(row, lead)
        return float(crps(np.array(said), np.array(seen))) if len(said) > 1 else math.nan

    return Metric(f"crps@{lead}h", each=each, better="lower", unit="ug/m3", low=-math.inf,
                  high=math.inf, needs=2)  # fmt: skip


def _brier(event: int, lead: int) -> Metric:
    """Of the share of rollouts that forecast the event, as a probability."""

    def each(row: Row) -> float:
        pairs = _pairs(row, (lead,))
        if not pairs:
            return math.nan
        chance = sum(alarmed(said, seen, event) for said, seen in pairs) / len(pairs)
        return (chance - (pairs[0][1] >= event)) ** 2

    return Metric(f"brier@{lead}h", each=each, better="lower", needs=2)


def scores_of(rows: Sequence[Row], event: int, leads: Sequence[int]) -> Mapping[str, float]:
    """Every event score of some rows."""
    table = Counts.stacked(np.sum([event_counts(row, event, leads) for row in rows], axis=0))
    return {name: float(score.of(table)) for name, score in EVENT_SCORES.items()}
