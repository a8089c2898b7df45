"""overall: every model on the headline metric of every task.

Rows     All measured models, in alphabetical order: no rank over all tasks is claimed. Drills are
         left to their own board, since they measure trainers and not models.
Columns  The first metric of each task; the rank of a cell is that within its column.
"""

from leaderboards.board import Board
from results.record import Record


def _of_models(record: Record) -> bool:
    return record.family != "drills"


BOARD = Board(
    name="overall",
    title="All tasks",
    about="The headline metric of each task. Ranks hold within a column; none is claimed over all.",
    rows=_of_models,
    layout="matrix",
)
