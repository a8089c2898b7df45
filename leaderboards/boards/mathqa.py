"""mathqa: grade-school to olympiad mathematics, a ranking for each set, metric and setting.

Rows     Models measured on a set of the family mathqa.
Columns  avg@k, pass@k, maj@k and G-Pass@k, with the share of each verdict beside them.
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
    columns=("avg@*", "pass@*", "maj@*", "[gG]*[pP]ass@*"),
)
