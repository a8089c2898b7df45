"""Public questions in several phrasings, by noise or as a model wrote them. Test only.

The first three have their passages in the Wikipedia corpus of HARNESS_DATA; the others are asked
without passages, from the folder or from their hub.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

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
        file="rag/triviaqa_1000.jsonl",
        hub="mandarjoshi/trivia_qa",
        config="rc.nocontext",
        split="validation",
        shape=_triviaqa,
        columns=("question", "answers"),
    ),
    "popqa": Source(
        file="rag/popqa_1000.jsonl",
        hub="akariasai/PopQA",
        shape=_popqa,
        columns=("question", "answers"),
    ),
    "nq_open": Source(
        file="rag/nq_open_500.jsonl",
        hub="google-research-datasets/nq_open",
        split="validation",
        shape=_nq_open,
        columns=("question", "answers"),
    ),
}
"""Questions that are asked without passages."""
NAMES = (*SUPPORTED, *CLOSED)
VERSION = 2
"""2: noise keeps names and numbers."""


def source(name: str) -> Source:
    """Where the questions of that name are from."""
    return SUPPORTED.get(name) or CLOSED[name]


def questions(name: str, phrasings: str, split: Split) -> tuple[Asked, ...]:
    """The questions of a public set in several phrasings; one that has a single one is left out."""
    if split != "test":
        return ()
    found: list[Asked] = []
    written = _written(name) if phrasings == "model" else {}
    for row in load(source(name)).rows:
        id, question = str(row["id"]), str(row["question"])
        texts, way = written.get(id, ((), "model")) if written else (noisy(question), "noise")
        answers = tuple(map(str, listed(row["answers"])))
        gold = tuple(map(str, listed(row.get("supporting") or ())))
        for number, text in enumerate(texts if len(texts) > 1 else ()):
            told = way if text != question else "given"
            found.append(Asked(f"{phrasings}/{id}", number, text, answers, gold, told))
    return tuple(found)


def written_file(name: str) -> str:
    """Below HARNESS_DATA: where the phrasings are that a model made of a set's questions."""
    return f"rag/phrasings_{name}.jsonl"


def _written(name: str) -> dict[str, tuple[Sequence[str], str]]:
    """Phrasings that a model made, and which model, by question."""
    rows = load(Source(file=written_file(name), columns=("paraphrases", "phrasing"))).rows
    texts = {str(row["id"]): list(map(str, listed(row["paraphrases"]))) for row in rows}
    return {str(row["id"]): (texts[str(row["id"])], str(row["phrasing"])) for row in rows}
