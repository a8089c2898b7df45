"""Metrics of spatial reasoning, from the scores of `tasks.spatial_claims.verdict`."""

from __future__ import annotations

import math
from functools import partial
from typing import Any

from harness import Metric, Row
from harness.metrics import mean, of_sums, pass_at, scored, share
from harness.types import Better, Sums


def rate(name: str, above: str, below: str, better: Better = "higher") -> Metric:
    """Sum of one score over the sum of another, over all answers; undefined where that is 0."""
    return of_sums(name, Sums(partial(_sums, names=(above, below)), _share), better=better)


def _sums(row: Row, names: tuple[str, str]) -> tuple[float, ...]:
    return tuple(math.fsum(scored(verdict, name) for verdict in row) for name in names)


def _share(sums: Any) -> Any:
    import numpy as np

    below = sums[..., 1]
    return np.divide(sums[..., 0], below, out=np.full(below.shape, np.nan), where=below > 0)


CONSISTENCY: tuple[Metric, ...] = (
    mean("format"),
    mean("consistent"),
    rate("inconsistent|format", "inconsistent", "format", "lower"),
    mean("contradictory", better="lower"),
    mean("undetermined", better="lower"),
    mean("accurate_consistent"),
    mean("claims", high=math.inf, better="neither"),
    mean("coverage"),
)
GROUNDING: tuple[Metric, ...] = (
    rate("grounding_micro", "true_claims", "claims"),
    mean("grounding"),
    rate("box_hit_rate", "box_hits", "boxes"),
    mean("needed"),
    rate("hallucinated_refs", "hallucinated", "refs", "lower"),
)
YES = rate("yes_rate", "says_yes", "yes_or_no", "neither")
REASONS: tuple[Metric, ...] = tuple(
    share(reason)
    for reason in ("contradiction", "ungrounded", "truncated", "no_answer", "bad_format")
)
SCENES: tuple[Metric, ...] = (pass_at(1), *CONSISTENCY, *GROUNDING, YES, *REASONS)
MIRRORED: tuple[Metric, ...] = (mean("pair_correct"), mean("pair_consistent"), *SCENES)
