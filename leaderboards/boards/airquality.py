"""airquality: forecasts of particulate matter, ranked by skill and not by F1 alone.

Rows     Models measured on a station, event and setting of the family airquality.
Columns  pss over all leads and at each, then pod, far_ratio and pofd, which belong together, f1,
         csi, bias and ets over all leads. F1 is beaten by an alarm on every day; pss is not.
"""

from leaderboards.board import Board
from results.record import Record


def _of_family(record: Record) -> bool:
    return record.family == "airquality"


BOARD = Board(
    name="airquality",
    title="Air quality",
    about="Daily particulate matter two to five days ahead, as events above a class edge. "
    "far_ratio is FP / (TP + FP), pofd is FP / (FP + TN); neither is ever called FAR.",
    rows=_of_family,
    columns=("pss", "pod", "far_ratio", "pofd", "f1", "csi", "bias", "ets", "pss@*"),
)
