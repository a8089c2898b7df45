"""drills: what training teaches within minutes, before and after, seed by seed.

Rows     Models measured on the family drills: untrained, and trained by each recipe and seed.
Columns  The headline of each drill: pass@1, or close where a model knows nothing.
"""

from leaderboards.board import Board
from results.record import Record


def _headline(record: Record) -> bool:
    wanted = "close" if record.task == "drills/digit" else "pass@1"
    return record.family == "drills" and record.metric == wanted


BOARD = Board(
    name="drills",
    title="Drills",
    about="Generated tasks with short answers, on which a small model improves within minutes; "
    "trained models were trained on the same drill's train split.",
    rows=_headline,
    columns=("pass@1", "close"),
)
