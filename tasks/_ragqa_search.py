"""The members of ragqa that measure retrievers, and models that answer with a ranking."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from harness import Completion, Example, Message, Metric, Prompt, Rollout, Split, Task, Verdict
from harness.errors import UsageError, need
from harness.metrics import mean
from harness.models import Sampling
from tasks import _ragqa_sets as sets
from tasks._ragqa_answers import by_example, retrieved_alike
from tasks._ragqa_corpora import CHUNKS, Shelf, check_known, shelf, told
from tasks._settings import choice, parted

VERSION = 1
DEPTHS = (1, 2, 3, 5, 10)
"""k of recall and Jaccard; a ranking is read no further than the last."""


@dataclass(frozen=True)
class Searcher:
    """A model that answers a question with the ids of the passages that it finds."""

    name: str
    task: Task
    search: str
    """Its retriever."""
    independent = True

    def answer(self, prompts: Sequence[Prompt]) -> Iterator[tuple[int, Completion]]:
        """A ranking for each prompt's question."""
        questions = [str(prompt.example.inputs["question"]) for prompt in prompts]
        found = self._shelf.ranked(self.search, questions, DEPTHS[-1])
        for number, ids in enumerate(found):
            yield number, Completion(ids, steps=1)

    def describe(self) -> Mapping[str, Any]:
        """Its settings and the corpus."""
        engine = self._shelf.retriever(self.search).name
        return {"engine": engine, "corpus": self._shelf.corpus().digest}

    @property
    def _shelf(self) -> Shelf:
        given = parted(self.task.name)[1]
        return shelf(given.get("questions") or str(self.task.settings["corpus"]), given)


SEARCHERS: Mapping[str, str] = {
    "bm25": "bm25-library",
    "bm25-fixed": "bm25",
    "minilm": "minilm",
    "hybrid": "hybrid",
}
"""Models of these names, and their retrievers."""
ADVISED: Mapping[str, str] = {"bm25-library": "bm25"}
"""What to take instead where nothing was published: its ties are the same on every processor."""


def searcher(name: str, task: Task, split: Split, sampling: Sampling) -> Searcher:
    """The model of that name; UsageError for a task that asks for answers in words."""
    if task.settings.get("answers") != "rankings":
        engine = ADVISED.get(SEARCHERS[name], SEARCHERS[name])
        instead = f"{task.name.partition('+')[0]}+retriever={engine}"
        raise UsageError(
            f"{name} ranks passages and {task.name} asks for answers in words: choose the "
            f"retriever with {instead}, or measure it on ragqa/retrieval"
        )
    return Searcher(name, task, SEARCHERS[name])


# -- judging


def ranking(output: Any) -> list[str]:
    """The distinct ids of a ranking, the best first; none of what is no list of texts."""
    if not isinstance(output, list | tuple):
        return []
    ids = [each for each in output[:1000] if isinstance(each, str)]
    return list(dict.fromkeys(ids))[: DEPTHS[-1]]


def verify(example: Example, completion: Completion) -> Verdict:
    """Recall at each depth, nDCG at 10 and reciprocal rank, by ir-measures."""
    ir = need("ir_measures", "rag", "measuring a ranking")
    found, gold = ranking(completion.output), example.target["gold"]
    measures = {f"recall@{k}": ir.R @ k for k in DEPTHS}
    measures |= {"ndcg@10": ir.nDCG @ 10, "reciprocal_rank": ir.RR}
    scores = dict.fromkeys(measures, 0.0)
    if found:
        run = {id: float(len(found) - place) for place, id in enumerate(found)}
        told = ir.calc_aggregate(list(measures.values()), {"q": dict.fromkeys(gold, 1)}, {"q": run})
        scores = {name: float(told[measure]) for name, measure in measures.items()}
    if not found:
        return Verdict(scores, None, "no_answer", "no list of passage ids")
    right = scores["recall@1"] == 1 or scores["recall@5"] == 1
    return Verdict(scores, found, "ok" if right else "wrong", f"holds it: {', '.join(gold[:3])}")


def compare(rollouts: Sequence[Rollout]) -> list[dict[str, float]]:
    """Jaccard of the first k with those of the other phrasings; whether all found the passage."""
    rows = list(by_example(rollouts).values())
    found = [ranking(row[0].verdict.answer) for row in rows]
    alike = {f"jaccard@{k}": retrieved_alike([ids[:k] for ids in found]) for k in DEPTHS}
    every = {
        f"all_found@{k}": min(row[0].verdict.scores[f"recall@{k}"] for row in rows) for k in (5, 10)
    }
    return [
        {**{name: values[i] for name, values in alike.items()}, **every}
        for i, row in enumerate(rows)
        for _ in row
    ]


# -- members

PHRASED: tuple[Metric, ...] = (
    mean("all_found@5"),
    *(mean(f"{what}@{k}") for what in ("recall", "jaccard") for k in DEPTHS),
    mean("all_found@10"),
    mean("ndcg@10"),
    mean("reciprocal_rank"),
)
SINGLE: tuple[Metric, ...] = (
    mean("ndcg@10"),
    *(mean(f"recall@{k}") for k in DEPTHS),
    mean("reciprocal_rank"),
)
RETRIEVAL = {"questions": "paraphrases", **CHUNKS}
LOOKUP: Mapping[str, str] = {}


def _task(name: str, where: Shelf, questions: sets.Questions, **more: Any) -> Task:
    cut = {key: getattr(where, key) for key in CHUNKS}

    def examples(split: Split) -> list[Example]:
        asked = questions(split)
        if asked:
            check_known(where, asked, name)
        return [each.example({}) for each in asked]

    return Task(
        **{
            "name": name,
            "version": VERSION,
            "examples": examples,
            "prompt": lambda e: Prompt(e, (Message("user", e.inputs["question"]),)),
            "verify": verify,
            "gold": lambda e: list(e.target["gold"]),
            "metrics": PHRASED,
            "reward": {"reciprocal_rank": 1.0},
            "compare": compare,
            "set": sets.set_of,
            "settings": {
                "corpus": where.label,
                "answers": "rankings",
                **told({key: str(value) for key, value in cut.items()}),
            },
            **more,
        }
    )


def retrieval(name: str, settings: Mapping[str, str]) -> Task:
    """Rank the passages of Wikipedia for paraphrases, or for questions with several hops."""
    chosen = choice(settings, "questions", ("paraphrases", *sets.SUPPORTED))
    if chosen == "paraphrases":
        where = shelf("wikipedia", settings)
        return _task(name, where, sets.groups, source=sets.GROUPS.place)
    return _task(
        name,
        shelf(chosen, settings),
        partial(sets.supported, chosen),
        source=sets.SUPPORTED[chosen].place,
        metrics=SINGLE,
        compare=None,
    )


def lookup(name: str, settings: Mapping[str, str]) -> Task:
    """Rank the passages of the almanac."""
    return _task(name, Shelf("almanac"), sets.almanac, source="generated")
