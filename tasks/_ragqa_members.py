"""The members of ragqa that are answered in words, from passages that a retriever found."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from statistics import fmean
from typing import Any

from harness import Dialogue, Example, Message, Metric, Prompt, Split, Task, Verdict
from harness.data import Source, load
from harness.errors import UsageError
from harness.metrics import mean, mean_where, share
from tasks import _ragqa_answers as answers
from tasks import _ragqa_open as public
from tasks import _ragqa_sets as sets
from tasks._ragqa_corpora import CHUNKS, RETRIEVERS, Shelf, check_known, shelf, told
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
WIKI = {**DEFAULTS, **CHUNKS}
OPEN = {**WIKI, "questions": "hotpotqa", "phrasings": "noise"}
OF_RETRIEVAL = ("level", "retriever", "k", *CHUNKS)
"""Settings that questions without passages have no use for."""
GENERATED = ("paraphrase", "miniature")
SETS_OF_ONE = (*GENERATED, "wiki")
"""Questions that one passage answers."""
SETS: Mapping[str, tuple[str, sets.Questions]] = {
    "paraphrase": ("almanac", sets.almanac),
    "miniature": ("miniature", sets.small),
    "wiki": ("wikipedia", sets.groups),
    **{
        f"{name} {phrasings}": (
            name if name in sets.SUPPORTED else "",
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
FOUND_SHARE = Metric("found_share", each=lambda row: fmean(map(_found_share, row)))
"""Context recall, where questions need several passages."""
OF_PASSAGES = ("retrieved_alike", "found")
"""Metrics that questions without passages do not have."""
BY_WORDING: tuple[Metric, ...] = tuple(
    mean_where(score, where)
    for where in ("trained_wording", "new_wording")
    for score in ("correct", "agreement")
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
    shelf: Shelf | None
    """None: asked without passages."""
    written: str = ""
    """Digest of the phrasings that a model wrote."""

    def examples(self, split: Split) -> tuple[Example, ...]:
        """The phrasings of a split, each with the passages that it is given."""
        if self.level == "attribution" and split == "train":
            return ()  # its second answer would be paid for what the first one said
        return _examples(self, split, self._digests(split))

    def _digests(self, split: Split) -> tuple[str, ...]:
        """Of the public data that a split is made of: a file may change, or be another one."""
        if split != "test" or self.questions in GENERATED:
            return ()
        asked = load(_questions(self)).digest
        return (asked, self.shelf.corpus().digest) if self.shelf else (asked,)


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
    corpus, makers = SETS[asked][0], _makers(settings)
    which = Member(
        asked,
        settings["level"],
        choice(settings, "retriever", tuple(RETRIEVERS)),
        depth(settings["k"]),
        int(choice(settings, "shots", tuple(map(str, range(len(SHOTS) + 1))))),
        shelf(corpus, settings) if corpus else None,
        makers.get("phrasings_digest", ""),
    )
    more: tuple[Metric, ...] = ()
    if settings["cosine"] != "none":
        more = (mean(f"agreement_{settings['cosine']}"),)
    both = which.level == "attribution"
    _check_effects(name, which, settings)
    return Task(
        name=name,
        version=public.VERSION if "questions" in settings else VERSION,
        examples=which.examples,
        prompt=partial(prompt, which=which),
        verify=answers.verify,
        gold=lambda example: _gold(which, example),
        metrics=(*_metrics(which), *(ATTRIBUTION if both else more)),
        reward={"f1": 1.0},
        dialogue=partial(dialogue, which=which) if both else None,
        compare=answers.comparison(settings),
        set=sets.set_of,
        reasons=answers.REASON_WORDS,
        source=_source(which),
        settings={
            **told(settings),
            "corpus": which.shelf.label if which.shelf else "none",
            **makers,
        },
    )


def _makers(settings: Mapping[str, str]) -> dict[str, str]:
    """Who wrote the phrasings, and the digest of what was written; DataError for an odd file."""
    if settings.get("phrasings") != "model":
        return {}
    table = public.written(settings["questions"])
    return {"phrasings_by": public.makers(table), "phrasings_digest": table.digest}


def _check_effects(name: str, which: Member, settings: Mapping[str, str]) -> None:
    """UsageError for a setting that would change no prompt: two names of one question never meet
    on a board."""
    if which.questions == "miniature" and which.shots:
        raise UsageError(f"{name}: miniature asks in one line, worked answers have no place there")
    for key in () if which.shelf else OF_RETRIEVAL:
        if settings[key] != OPEN[key]:
            raise UsageError(
                f"{name}: {settings['questions']} is asked without passages, so {key}="
                f"{settings[key]} would change nothing; leave it out, or take one of "
                f"{', '.join(sets.SUPPORTED)}"
            )


def _metrics(which: Member) -> tuple[Metric, ...]:
    """The scores that such questions have."""
    if which.shelf is None:
        return tuple(metric for metric in METRICS if metric.name not in OF_PASSAGES)
    if which.questions == "wiki":
        return (*METRICS, *BY_WORDING)
    return METRICS if which.questions in SETS_OF_ONE else (*METRICS, FOUND_SHARE)


def _found_share(verdict: Verdict) -> float:
    return verdict.scores.get("found_share", verdict.scores["found"])


def _source(which: Member) -> str:
    return "generated" if which.questions in GENERATED else _questions(which).place


def _questions(which: Member) -> Source:
    name = which.questions.partition(" ")[0]
    return sets.GROUPS if name == "wiki" else public.source(name)


def depth(text: str) -> int:
    """The number of passages in a prompt; UsageError where it is none."""
    if not (text.isascii() and text.isdigit() and 1 <= int(text) <= MOST):
        raise UsageError(f"k={text} passages cannot be shown: a number from 1 to {MOST} will do")
    return int(text)


@lru_cache(maxsize=32)
def _examples(which: Member, split: Split, digests: tuple[str, ...]) -> tuple[Example, ...]:
    asked = SETS[which.questions][1](split)
    found: list[list[str]] = [[]] * len(asked)
    if asked and which.shelf:
        check_known(which.shelf, asked, which.questions)
        searched = [each.question for each in asked]
        found = which.shelf.search(which.retriever, searched, which.k)
    first: dict[str, list[str]] = {}
    for each, passages in zip(asked, found, strict=True):
        first.setdefault(each.set, passages)
    made: list[Example] = []
    for each, own in zip(asked, found, strict=True):
        fixed = first[each.set]
        shown = fixed if which.level == "generator" else own
        inputs: dict[str, Any] = {"passages": shown}
        if which.shelf and which.shelf.chunk:
            inputs["parents"] = which.shelf.parents(shown)
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
    shown = [which.shelf.corpus().by_id[id] for id in ids] if which.shelf else []
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
