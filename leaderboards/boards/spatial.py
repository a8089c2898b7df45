"""spatial: is the answer right, does the reasoning entail it, and is the reasoning true?

Rows     Models measured on a member of the family spatial, and what was trained from them.
Columns  Accuracy first; then the share of well-formed replies whose reasoning does not entail their
         answer, both together, and how much of what is claimed is true of the scene. Reasoning
         without claims entails nothing and grounds nothing, so that saying nothing is no way up.
"""

from leaderboards.board import Board
from results.record import Record


def _of_family(record: Record) -> bool:
    return record.family == "spatial"


BOARD = Board(
    name="spatial",
    title="Spatial reasoning",
    about="Consistency and grounding are checked on scenes of known truth, by a grammar of claims "
    "and no judge model; intervals are over scenes, or over questions where scenes ask the same.",
    rows=_of_family,
    columns=(
        *("pass@1", "pair_correct", "inconsistent|format", "accurate_consistent", "consistent"),
        *("grounding", "grounding_micro", "box_hit_rate", "coverage", "yes_rate", "format"),
    ),
    against=(("pass@1", "consistent"), ("pass@1", "grounding")),
)
