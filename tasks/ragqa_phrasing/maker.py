"""The maker: asks a model for phrasings of questions, and keeps those that pass the filters."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from harness import Completion, Example, Message, Prompt
from harness.models import Model
from tasks._ragqa_answers import read
from tasks.ragqa_phrasing.filters import refusal, same_answer


@dataclass(frozen=True)
class Question:
    """What is to be put otherwise; `passage` is what its answer stands in, for the reader."""

    id: str
    text: str
    answers: tuple[str, ...]
    passage: str = ""


@dataclass(frozen=True)
class Made:
    """The phrasings of a question that stay, the original first, and why others went."""

    question: Question
    phrasings: tuple[str, ...]
    refused: tuple[tuple[str, str], ...]

    def row(self, model: str, reader: str = "none") -> dict[str, object]:
        """As it is stored: with the model that made it, and the one that read its passage."""
        return {
            "id": self.question.id,
            "paraphrases": list(self.phrasings),
            "answers": list(self.question.answers),
            "phrasing": f"model {model}",
            "reader": reader if self.question.passage else "none",
        }


def made(
    questions: Sequence[Question], maker: Model, reader: Model | None = None, wanted: int = 5
) -> list[Made]:
    """Up to `wanted` phrasings more of each question; the maker never sees an answer.

    A reader is asked where a question has its passage: each phrasing, and the original.
    """
    proposed = _asked(maker, [(q.id, _request(q.text, wanted)) for q in questions])
    found: list[Made] = []
    for question, text in zip(questions, proposed, strict=True):
        kept = [question.text]
        gone: list[tuple[str, str]] = []
        for proposal in proposals(text):
            why = refusal(question.text, proposal, question.answers)
            if not why and any(proposal.lower() == each.lower() for each in kept):
                why = "comes twice"
            if why:
                gone.append((proposal, why))
            else:
                kept.append(proposal)
        found.append(Made(question, tuple(kept), tuple(gone)))
    if reader is not None:
        found = _read(found, reader)
    return [Made(m.question, m.phrasings[: wanted + 1], m.refused) for m in found]


def proposals(text: str) -> list[str]:
    """Lines of a reply, without numbers and dashes before them; at most 50."""
    lines = (re.sub(r"^\s*(?:\d+[.):]|[-*•])\s*", "", line).strip() for line in text.splitlines())
    return [line.strip('"') for line in lines if line][:50]


def reasons(found: Sequence[Made]) -> Counter[str]:
    """How many proposals went, by reason."""
    return Counter(why for each in found for _, why in each.refused)


def _read(found: Sequence[Made], reader: Model) -> list[Made]:
    asked = [
        (f"{each.question.id}/{number}", _reading(each.question.passage, text))
        for each in found
        if each.question.passage
        for number, text in enumerate(each.phrasings)
    ]
    told = dict(zip([id for id, _ in asked], _asked(reader, asked), strict=True))
    checked: list[Made] = []
    for each in found:
        if not each.question.passage:
            checked.append(each)
            continue
        answers = [_answer(told[f"{each.question.id}/{n}"]) for n in range(len(each.phrasings))]
        same = [n == 0 or same_answer(answers[0], answer) for n, answer in enumerate(answers)]
        kept = tuple(text for text, ok in zip(each.phrasings, same, strict=True) if ok)
        gone = [
            (text, "is read otherwise")
            for text, ok in zip(each.phrasings, same, strict=True)
            if not ok
        ]
        checked.append(Made(each.question, kept, (*each.refused, *gone)))
    return checked


def _answer(text: str) -> str | None:
    return read(Completion(text))[0]


def _request(question: str, wanted: int) -> str:
    return (
        f"Write {wanted + 2} other ways to ask this question. Keep all names and numbers, change "
        f"the wording, keep the meaning. One question a line.\n\n{question}"
    )


def _reading(passage: str, question: str) -> str:
    return (
        f"{passage}\n\nQuestion: {question}\nAnswer with a short phrase inside <answer></answer>."
    )


def _asked(model: Model, texts: Sequence[tuple[str, str]]) -> list[str]:
    prompts = [Prompt(Example(id, {}, None), (Message("user", text),)) for id, text in texts]
    found = [""] * len(prompts)
    for number, completion in model.answer(prompts):
        found[number] = completion.output if isinstance(completion.output, str) else ""
    return found
