"""Public questions in several phrasings, by noise or as a model wrote them. Test only.

The first three have their passages in the Wikipedia corpus of HARNESS_DATA, or from the hub with
them; the others are asked without passages.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache, partial

from harness import Split
from harness.data import Cells, Source, Table, load
from tasks._ragqa_sets import SUPPORTED, Asked, as_text, listed
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
"""2: `found` is of all that is needed, every gold is right, noise keeps names and numbers."""


def source(name: str) -> Source:
    """Where the questions of that name are from."""
    return SUPPORTED.get(name) or CLOSED[name]


def questions(name: str, phrasings: str, split: Split) -> tuple[Asked, ...]:
    """The questions of a public set in several phrasings; one that has a single one is left out."""
    if split != "test":
        return ()
    rows = load(source(name)).rows
    if phrasings == "model":
        asked = _as_written(name)
    else:
        asked = {str(row["id"]): (noisy(str(row["question"])), "noise") for row in rows}
    found: list[Asked] = []
    for row in rows:
        id, question = str(row["id"]), str(row["question"])
        texts, way = asked.get(id, ((), ""))
        answers = tuple(map(str, listed(row["answers"])))
        gold = tuple(map(str, listed(row.get("supporting") or ())))
        for number, text in enumerate(texts if len(texts) > 1 else ()):
            told = way if text != question else "given"
            found.append(Asked(f"{phrasings}/{id}", number, text, answers, gold, told))
    return tuple(found)


def written_file(name: str) -> str:
    """Below HARNESS_DATA: where the phrasings are that a model made of a set's questions."""
    return f"rag/phrasings_{name}.jsonl"


def written(name: str) -> Table:
    """The phrasings that a model made of a set's questions.

    DataError names the lines of what is no list of different texts, of a text that is alone, and
    of a question that the set does not have.
    """
    return load(_written(name, load(source(name)).digest))


def makers(table: Table) -> str:
    """Who made the phrasings of a file."""
    return ", ".join(sorted({str(row["phrasing"]) for row in table.rows}))


@lru_cache(maxsize=8)
def _written(name: str, digest: str) -> Source:
    known = frozenset(str(row["id"]) for row in load(source(name)).rows)
    return Source(
        file=written_file(name),
        columns=("paraphrases", "phrasing"),
        check=partial(_faults, name=name, known=known),
    )


def _faults(cells: Cells, name: str, known: frozenset[str]) -> Iterator[str]:
    if as_text(cells["phrasing"]) is None:
        yield "'phrasing' does not say in a text who made it, as `model NAME`"
    if str(cells["id"]) not in known:
        yield f"an id that no question of {name} has"
    texts = cells["paraphrases"]
    if not isinstance(texts, list) or not all(isinstance(text, str) for text in texts):
        yield "'paraphrases' is no list of texts"
    elif len(texts) < 2:
        yield "'paraphrases' has a single text, and a set needs two different ones"
    elif len({" ".join(text.split()) for text in texts}) < len(texts):
        yield "'paraphrases' has the same text twice"


def _as_written(name: str) -> dict[str, tuple[Sequence[str], str]]:
    """Phrasings that a model made, and which model, by question."""
    return {
        str(row["id"]): (list(map(str, row["paraphrases"])), str(row["phrasing"]))
        for row in written(name).rows
    }
