"""Metrics of coding: of all examples, of a difficulty, and the gap of shown and hidden tests."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial

from harness import Metric, Row
from harness.metrics import avg_at, mean, pass_at, share

SHARES = tuple(share(reason) for reason in ("truncated", "no_answer", "CE", "RE", "TLE", "WA"))
MORE = tuple(metric for k in (2, 4, 5, 8, 10) for metric in (pass_at(k), avg_at(k)))
METRICS = (pass_at(1), mean("tests"), mean("compiles"), *SHARES, *MORE)
WEAK = replace(mean("weak", better="lower"), name="weak_share")
"""Share of rollouts whose tests share the program's process: there a program can pay itself."""
ASSERTED = (METRICS[0], WEAK, *METRICS[1:])


def where(metric: Metric, label: str, score: str, wanted: Callable[[float], bool]) -> Metric:
    """The metric over the examples whose `score` is wanted; the others have no value."""
    assert metric.each is not None, "a metric of single examples"
    each = metric.each

    def part(row: Row) -> float:
        return each(row) if wanted(row[0].scores[score]) else math.nan

    return replace(metric, name=f"{metric.name}{label}", each=part)


def _gap(row: Row) -> float:
    gaps = [verdict.scores["seen"] - verdict.scores["held_out"] for verdict in row]
    return math.fsum(gaps) / len(gaps)


GAP = Metric("seen_gap", each=_gap, better="lower", low=-1.0, high=1.0)
"""Share of shown tests passed less that of held-out tests: it grows where tests are learned."""


def of_levels(names: Mapping[str, int]) -> tuple[Metric, ...]:
    """pass@1 and pass@5 of each level or difficulty."""
    return tuple(
        where(pass_at(k), f"|{name}", "level", partial(same, number))
        for k in (1, 5)
        for name, number in names.items()
    )


def same(number: int, value: float) -> bool:
    """For `where`: the score is this number."""
    return value == number
