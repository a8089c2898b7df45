"""ragqa: does the answer stay the same in other words, and is it right? Both, always side by side.

Rows     Models measured on a member of the family ragqa, and what was trained from them. Retriever,
         number of passages, level and corpus are settings: rows that differ in one never meet.
Columns  Accuracy and the share of sets that are right in all phrasings come before agreement, since
         a constant answer agrees with itself. Intervals and ranks are over sets.
"""

from leaderboards.board import Board
from results.record import Record


def _of_family(record: Record) -> bool:
    return record.family == "ragqa"


BOARD = Board(
    name="ragqa",
    title="Answers from retrieved passages, in other words",
    about="A set is one question in six phrasings; intervals are over sets. Agreement says nothing "
    "without accuracy: look at both.",
    rows=_of_family,
    columns=(
        *("all_correct", "correct", "agreement", "same_class", "retrieved_alike"),
        *("lost_agreement", "all_found@5", "recall@5", "jaccard@5", "ndcg@10"),
    ),
    against=(("correct", "agreement"),),
)
