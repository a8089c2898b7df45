"""The members of ragqa that are answered in words, from passages that a retriever found."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import Any

from harness import Dialogue, Example, Message, Metric, Prompt, Split, Task
from harness.errors import UsageError
from harness.metrics import mean, share
from tasks import _ragqa_answers as answers
from tasks import _ragqa_open as public
from tasks import _ragqa_sets as sets
from tasks._ragqa_search import CORPORA, RETRIEVERS, retriever
from tasks._settings import choice
from tasks.ragqa_retrieval.corpus import Passage

VERSION = 1
LEVELS = ("end_to_end", "generator", "attribution")
TEXT = 2_000
"""Characters of a passage that a prompt shows."""
MOST = 50
"""Passages in a prompt."""
DEFAULTS = {
    "level": "end_to_end",
    "retriever": "bm25",
    "k": "3",
    "shots": "0",
    "cosine": "none",
    "judge": "none",
}
ALMANAC = {**DEFAULTS, "shots": "2"}
SMALL = {**DEFAULTS, "k": "2"}
OPEN = {**DEFAULTS, "questions": "hotpotqa", "phrasings": "noise"}
SETS: Mapping[str, tuple[str, sets.Questions]] = {
    "paraphrase": ("almanac", sets.almanac),
    "miniature": ("miniature", sets.small),
    "wiki": ("wikipedia", sets.groups),
    **{
        f"{name} {phrasings}": (
            "wikipedia" if name in sets.SUPPORTED else "",
            partial(public.questions, name, phrasings),
        )
        for name in public.NAMES
        for phrasings in ("noise", "model")
    },
}
"""Corpus and questions by name; no corpus: asked without passages."""

Shot = tuple[tuple[Passage, ...], str, str]
SHOTS: tuple[Shot, ...] = (
    (
        (
            Passage(
                "", "Osk Mill", "Osk Mill is a bakery in Perth Falls. It was opened by Ida Lund."
            ),
            Passage("", "Perth Falls", "Perth Falls is a village with 900 inhabitants."),
        ),
        "Who opened Osk Mill?",
        "Ida Lund",
    ),
    (
        (
            Passage("", "Tavo in the news", "A story about the height of the tower of Tavo."),
            Passage("", "Tavo", "Tavo is a castle of stone. Its tower is 40 meters high."),
        ),
        "What is Tavo built of?",
        "stone",
    ),
)
"""Worked answers, shown as turns before the question: passages, question, answer."""

METRICS: tuple[Metric, ...] = (
    mean("all_correct"),
    mean("correct"),
    mean("f1"),
    mean("agreement"),
    mean("same_class"),
    mean("agreement_bleu1"),
    mean("agreement_rouge_l"),
    mean("retrieved_alike"),
    mean("found"),
    mean("refused", better="neither"),
    mean("tagged"),
    share("truncated"),
    share("no_answer"),
    share("bad_format"),
)
ATTRIBUTION: tuple[Metric, ...] = tuple(
    metric
    for name in ("agreement", "same_class", "all_correct")
    for metric in (
        mean(f"generator_{name}"),
        mean(f"lost_{name}", low=-1.0, better="lower"),
    )
)


@dataclass(frozen=True)
class Member:
    """What fixes a member's questions and prompts."""

    questions: str
    """A name of SETS."""
    level: str
    retriever: str
    k: int
    shots: int

    def examples(self, split: Split) -> tuple[Example, ...]:
        """The phrasings of a split, each with the passages that it is given."""
        return _examples(self, split)

    def corpus(self) -> str:
        """Its name."""
        return SETS[self.questions][0]


def answered(name: str, settings: Mapping[str, str]) -> Task:
    """A member with its settings; UsageError or UnknownName for one that makes no sense."""
    asked = name.partition("/")[2].partition("+")[0]
    if "questions" in settings:
        phrasings = choice(settings, "phrasings", ("noise", "model"))
        asked = f"{choice(settings, 'questions', public.NAMES)} {phrasings}"
    choice(settings, "level", LEVELS)
    choice(settings, "cosine", ("none", "minilm"))
    if settings["level"] == "attribution" and settings["cosine"] != "none":
        raise UsageError(f"{name}: attribution is told by token F1 and classes, not by cosine")
    which = Member(
        asked,
        settings["level"],
        choice(settings, "retriever", tuple(RETRIEVERS)),
        depth(settings["k"]),
        int(choice(settings, "shots", tuple(map(str, range(len(SHOTS) + 1))))),
    )
    more: tuple[Metric, ...] = ()
    if settings["cosine"] != "none":
        more = (mean(f"agreement_{settings['cosine']}"),)
    both = which.level == "attribution"
    return Task(
        name=name,
        version=VERSION,
        examples=which.examples,
        prompt=partial(prompt, which=which),
        verify=answers.verify,
        gold=lambda example: _gold(which, example),
        metrics=(*METRICS, *(ATTRIBUTION if both else more)),
        reward={"f1": 1.0},
        dialogue=partial(dialogue, which=which) if both else None,
        compare=answers.comparison(settings),
        set=sets.set_of,
        reasons=answers.REASON_WORDS,
        source=_source(which),
        settings={**settings, "corpus": which.corpus() or "none"},
    )


def _source(which: Member) -> str:
    if which.corpus() in ("almanac", "miniature"):
        return "generated"
    name = which.questions.partition(" ")[0]
    return (sets.GROUPS if name == "wiki" else public.source(name)).place


def depth(text: str) -> int:
    """The number of passages in a prompt; UsageError where it is none."""
    if not (text.isascii() and text.isdigit() and 1 <= int(text) <= MOST):
        raise UsageError(f"k={text} passages cannot be shown: a number from 1 to {MOST} will do")
    return int(text)


@lru_cache(maxsize=32)
def _examples(which: Member, split: Split) -> tuple[Example, ...]:
    corpus, questions = SETS[which.questions]
    asked = questions(split)
    found: list[list[str]] = [[]] * len(asked)
    if asked and corpus:
        CORPORA[corpus]().check_known((id for each in asked for id in each.gold), which.questions)
        searched = [each.question for each in asked]
        found = retriever(which.retriever, corpus).search(searched, which.k)
    first: dict[str, list[str]] = {}
    for each, passages in zip(asked, found, strict=True):
        first.setdefault(each.set, passages)
    made: list[Example] = []
    for each, own in zip(asked, found, strict=True):
        fixed = first[each.set]
        inputs: dict[str, Any] = {"passages": fixed if which.level == "generator" else own}
        if which.level == "attribution":
            inputs["fixed"] = fixed
        made.append(each.example(inputs))
    return tuple(made)


# -- asking


def prompt(example: Example, which: Member) -> Prompt:
    """The passages that the question found, the question, and the form of the answer."""
    return _prompt(example, which, example.inputs["passages"])


def dialogue(opening: Prompt, which: Member) -> Dialogue:
    """The question with its own passages, and anew with those of the set's first phrasing."""
    first = yield opening
    again = _prompt(opening.example, which, opening.example.inputs["fixed"])
    yield again.but(attempt=opening.attempt)
    return answers.verify(opening.example, first)


def _prompt(example: Example, which: Member, ids: Sequence[str]) -> Prompt:
    question = example.inputs["question"]
    shown = [CORPORA[which.corpus()]().by_id[id] for id in ids]
    if which.questions == "miniature":
        ordered = sorted(shown, key=lambda passage: passage.id)  # the place tells nothing
        lines = "; ".join(f"{passage.title} {passage.text}" for passage in ordered)
        return Prompt(example, (Message("user", f"{lines}; {question}"),))
    turns = [
        message
        for passages, asked, answer in SHOTS[: which.shots]
        for message in (
            Message("user", _asked(passages, asked)),
            Message("assistant", f"<answer>{answer}</answer>"),
        )
    ]
    return Prompt(example, (*turns, Message("user", _asked(shown, question))))


def _asked(passages: Sequence[Passage], question: str) -> str:
    listed = "\n".join(
        f"[{number}] {passage.title}: {_cut(passage.text)}"
        for number, passage in enumerate(passages, 1)
    )
    form = "Answer with a short phrase inside <answer></answer>."
    return "\n\n".join(filter(None, (listed, f"Question: {question}\n{form}")))


def _cut(text: str) -> str:
    return text if len(text) <= TEXT else f"{text[:TEXT]}…"


def _gold(which: Member, example: Example) -> str:
    answer = str(example.target["answers"][0])
    return answer if which.questions == "miniature" else f"<answer>{answer}</answer>"
