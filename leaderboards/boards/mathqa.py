"""mathqa: grade-school to olympiad mathematics, a ranking for each set, metric and setting.

Rows     Models measured on a set of the family mathqa.
Columns  pass@1, maj@8 and pass@8, with the share of each verdict beside them.
"""

from leaderboards.board import Board
from results.record import Record


def _of_family(record: Record) -> bool:
    return record.family == "mathqa"


BOARD = Board(
    name="mathqa",
    title="Mathematics",
    about="Answers are read and judged by rules, without a judge model.",
    rows=_of_family,
    columns=("pass@1", "maj@8", "pass@8"),
)
