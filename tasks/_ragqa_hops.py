"""Public questions of several hops with the passages that support them: from a folder or their hub.

A row of the hub brings its own passages, the right ones and distractors; together they are the
corpus. A passage's id is made of its title and text, so it is the same from folder and hub.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from harness.data import Cells, Source


def passage_id(title: str, text: str) -> str:
    """Of a passage: 12 hex digits of SHA-1 over title and text."""
    told = f"{title}\n{text}".encode("utf-8", "replace")
    return hashlib.sha1(told, usedforsecurity=False).hexdigest()[:12]


def _passage(title: str, text: str) -> tuple[str, str, str]:
    """Id, title and text, with single spaces."""
    title, text = " ".join(title.split()), " ".join(text.split())
    return passage_id(title, text), title, text


def hotpotqa(cells: Cells, name: str) -> Cells | None:
    """A row as HotpotQA and 2Wiki have it: sentences by title, and the titles that support.

    None for a row whose supporting passages are not all among its own.
    """
    context: Mapping[str, Any] = cells["context"]
    passages = [
        _passage(title, " ".join(sentences))
        for title, sentences in zip(context["title"], context["sentences"], strict=True)
        if any(sentence.strip() for sentence in sentences)
    ]
    by_title = {title: id for id, title, _ in passages}
    needed = dict.fromkeys(" ".join(title.split()) for title in cells["supporting_facts"]["title"])
    if not needed or not by_title.keys() >= needed.keys():
        return None
    return _row(cells, name, [cells["answer"]], [by_title[title] for title in needed], passages)


def musique(cells: Cells, name: str) -> Cells | None:
    """A row of MuSiQue: paragraphs, of which some support; None for one that has no answer."""
    if not cells.get("answerable", True):
        return None
    paragraphs = cells["paragraphs"]
    passages = [_passage(each["title"], each["paragraph_text"]) for each in paragraphs]
    gold = [
        id for (id, *_), each in zip(passages, paragraphs, strict=True) if each["is_supporting"]
    ]
    answers = [cells["answer"], *(cells["answer_aliases"] or ())]
    return _row(cells, name, answers, gold, passages)


def _row(
    cells: Cells, name: str, answers: list[Any], gold: list[str], passages: list[Any]
) -> Cells:
    return {
        "id": f"{name}/{cells['id']}",
        "question": cells["question"],
        "answers": list(dict.fromkeys(answers)),
        "supporting": list(dict.fromkeys(gold)),
        "passages": passages,
    }


def _source(name: str, size: int, hub: str, shape: Callable[..., Any], config: str = "") -> Source:
    return Source(
        file=f"rag/{name}_{size}.jsonl",
        hub=hub,
        config=config or None,
        split="validation",
        shape=partial(shape, name=name),
        columns=("question", "answers", "supporting"),
    )


SUPPORTED: dict[str, Source] = {
    "hotpotqa": _source("hotpotqa", 200, "hotpotqa/hotpot_qa", hotpotqa, "distractor"),
    # xanhho/2WikiMultihopQA is read by a script of its own, and `datasets` runs none any more
    "2wiki": _source("2wiki", 164, "framolfese/2WikiMultihopQA", hotpotqa),
    "musique": _source("musique", 200, "dgslibisey/MuSiQue", musique),
}
"""Questions with the passages that support their answers; one phrasing each."""
