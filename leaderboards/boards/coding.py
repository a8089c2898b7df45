"""coding: programs judged by their tests, a ranking for each set, metric and setting.

Rows     Models measured on a set of the family coding.
Columns  pass@1, pass@1|all, pass@5 and each difficulty, with the share of each verdict beside them.
         Window, release, judge, comparator, exclusion list and extraction rule are settings: rows
         that differ in one never meet.
"""

from leaderboards.board import Board
from results.record import Record


def _of_family(record: Record) -> bool:
    return record.family == "coding"


BOARD = Board(
    name="coding",
    title="Programming",
    about="Programs run in a sandbox and are judged outside of it, by their tests.",
    rows=_of_family,
    columns=("pass@1", "pass@1|*", "pass@5", "seen_gap"),
)
