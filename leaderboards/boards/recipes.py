"""recipes: training algorithms at equal cost on their home tasks, each compared with grpo.

Rows     Recipes of `harness train --sweep`, grpo first. The unit of all numbers is the seed.
Columns  The home tasks: final held-out score, score at equal tokens, time to target, spread over
         seeds, further metrics, flat groups, length.
"""

from leaderboards.board import Board
from results.record import Record


def _of_a_sweep(record: Record) -> bool:
    return record.settings.get("unit") == "seed"


BOARD = Board(
    name="recipes",
    title="Recipes",
    about="Each recipe on tasks made to need it, with the same budget, start and learning rate for "
    "all. Ties are shown as ties, and no rank over all tasks is claimed.",
    rows=_of_a_sweep,
    columns=("*",),
    layout="recipes",
)
