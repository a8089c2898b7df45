"""Public questions in noisy forms: casing, slips of the pen, politeness. Test only.

The first three have their passages in the Wikipedia corpus of HARNESS_DATA; the others are asked
without passages, from the folder or from their hub.
"""

from __future__ import annotations

import json
from collections.abc import Mapping

from harness import Split
from harness.data import Cells, Source, load
from tasks._ragqa_sets import SUPPORTED, Asked, listed
from tasks.ragqa_phrasing.noise import noisy


def _triviaqa(cells: Cells) -> Cells:
    answer = cells["answer"]
    aliases = list(dict.fromkeys([answer["value"], *answer["aliases"]]))
    return {"id": cells["question_id"], "question": cells["question"], "answers": aliases}


def _popqa(cells: Cells) -> Cells:
    answers = json.loads(cells["possible_answers"])
    return {"id": str(cells["id"]), "question": cells["question"], "answers": answers}


def _nq_open(cells: Cells) -> Cells:
    return {"question": cells["question"], "answers": cells["answer"]}


CLOSED: Mapping[str, Source] = {
    "triviaqa": Source(
        file="rag/triviaqa_1000.jsonl.gz",
        hub="mandarjoshi/trivia_qa",
        config="rc.nocontext",
        split="validation",
        shape=_triviaqa,
        columns=("question", "answers"),
    ),
    "popqa": Source(
        file="rag/popqa_1000.jsonl.gz",
        hub="akariasai/PopQA",
        shape=_popqa,
        columns=("question", "answers"),
    ),
    "nq_open": Source(
        file="rag/nq_open_500.jsonl.gz",
        hub="google-research-datasets/nq_open",
        split="validation",
        shape=_nq_open,
        columns=("question", "answers"),
    ),
}
"""Questions that are asked without passages."""
NAMES = (*SUPPORTED, *CLOSED)


def source(name: str) -> Source:
    """Where the questions of that name are from."""
    return SUPPORTED.get(name) or CLOSED[name]


def questions(name: str, split: Split) -> tuple[Asked, ...]:
    """All questions of a public set, each with its noisy forms."""
    if split != "test":
        return ()
    found: list[Asked] = []
    for row in load(source(name)).rows:
        answers = tuple(map(str, listed(row["answers"])))
        gold = tuple(map(str, listed(row.get("supporting") or ())))
        for number, text in enumerate(noisy(str(row["question"]))):
            way = "noise" if number else "given"
            found.append(Asked(f"noise/{row['id']}", number, text, answers, gold, way))
    return tuple(found)
