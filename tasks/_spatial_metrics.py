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


def _by_part(row: Row) -> tuple[float, ...]:
    """(6,) right answers and answers of each of three parts."""
    part = int(row[0].scores["part"])
    told = [0.0] * 6
    if part < 3:
        told[2 * part : 2 * part + 2] = [math.fsum(scored(v, "correct") for v in row), len(row)]
    return tuple(told)


def _cv_bench(sums: Any) -> Any:
    import numpy as np

    right, asked = sums[..., 0::2], sums[..., 1::2]
    each = np.divide(right, asked, out=np.full(right.shape, np.nan), where=asked > 0)
    return ((each[..., 0] + each[..., 1]) / 2 + each[..., 2]) / 2


CV_BENCH = of_sums("cv_bench", Sums(_by_part, _cv_bench))
"""The mean of 2D and 3D, where 2D is the mean of its two sources of images."""
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
CAPTIONS: tuple[Metric, ...] = (pass_at(1), *CONSISTENCY, YES, *REASONS)
"""Without grounding: what is true of a photo is not known."""
SAYS: tuple[Metric, ...] = tuple(
    rate(f"says_{letter}", f"says_{letter}", "format", "neither") for letter in "ABCD"
)
"""Biases: shares of the options' letters among the answers."""
CHOICES: tuple[Metric, ...] = (pass_at(1), *CONSISTENCY, *SAYS, *REASONS)
WHATSUP: tuple[Metric, ...] = (
    pass_at(1),
    mean("pair_correct"),
    mean("set_correct"),
    *CHOICES[1:],
)
CVBENCH: tuple[Metric, ...] = (CV_BENCH, *CHOICES)
MIRRORED: tuple[Metric, ...] = (mean("pair_correct"), mean("pair_consistent"), *SCENES)
