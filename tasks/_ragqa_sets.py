"""The questions of ragqa in their sets, and the corpora that answer them."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

from harness import Example, Split
from harness.data import Cells, Source, load
from harness.errors import DataError
from tasks._ragqa_hops import SUPPORTED
from tasks.ragqa_facts import miniature, world
from tasks.ragqa_facts.templates import MINIATURE, TEMPLATES, phrasings, trained
from tasks.ragqa_retrieval.corpus import Corpus, Passage


def as_text(value: object) -> str | None:
    """A text, or an integer as one; None for what is neither."""
    told = isinstance(value, str) or (isinstance(value, int) and not isinstance(value, bool))
    return str(value) if told else None


def texts(*columns: str) -> Callable[[Cells], Iterator[str]]:
    """For `Source.check`: these columns hold texts or integers."""

    def faults(cells: Cells) -> Iterator[str]:
        for column in columns:
            if as_text(cells[column]) is None:
                kind = type(cells[column]).__name__
                yield f"'{column}' is of type {kind}, where a text or an integer would do"

    return faults


WIKI = Source(
    file="rag/corpus.jsonl", columns=("title", "text"), check=texts("id", "title", "text")
)
GROUPS = Source(file="rag/paraphrase_groups.jsonl", columns=("paraphrases", "answers", "passage"))


@dataclass(frozen=True)
class Asked:
    """One phrasing of a question."""

    set: str
    """Of the question."""
    number: int
    """Of the phrasing, from 0."""
    question: str
    answers: tuple[str, ...]
    gold: tuple[str, ...]
    """Ids of the passages that hold the answer."""
    phrasing: str
    """How it came about: template, model, noise, given."""
    wording: str = ""
    """`trained` where the almanac's training asks in the same words, `new` elsewhere; empty: not
    looked at."""

    def example(self, inputs: Mapping[str, object]) -> Example:
        """As tasks hold it."""
        target = {"answers": list(self.answers), "gold": list(self.gold)}
        told = {"question": self.question, "phrasing": self.phrasing, **inputs}
        tags = {"set": self.set, **({"wording": self.wording} if self.wording else {})}
        return Example(f"{self.set}/{self.number}", told, target, tags)


def set_of(example: Example) -> str:
    """The question of which an example is a phrasing."""
    return str(example.tags["set"])


Questions = Callable[[Split], Sequence[Asked]]


@lru_cache(maxsize=4)
def almanac(split: Split) -> tuple[Asked, ...]:
    """All facts of a split's subjects, six phrasings each."""
    return tuple(_almanac(split))


def _almanac(split: Split) -> Iterator[Asked]:
    facts = [
        (subject, relation)
        for subject in world.subjects()
        if subject.split == split
        for relation in subject.facts
    ]
    random.Random(f"almanac/{split}").shuffle(facts)  # the first few are a sample of all
    for subject, relation in facts:
        for number, template in enumerate(phrasings(TEMPLATES[relation], split)):
            asked = template.format(s=subject.name)
            name = f"almanac/{split}/{subject.id}/{relation}"
            answer = subject.facts[relation]
            yield Asked(name, number, asked, (answer,), (subject.id,), "template")


@lru_cache(maxsize=4)
def small(split: Split) -> tuple[Asked, ...]:
    """The miniature's counts of a split's names, six phrasings each."""
    return tuple(_small(split))


def _small(split: Split) -> Iterator[Asked]:
    counts = miniature.counts()
    facts = [fact for fact in counts if miniature.split_of(fact[0]) == split]
    random.Random(f"miniature/{split}").shuffle(facts)
    for name, animal in facts:
        for number, template in enumerate(phrasings(MINIATURE, split)):
            asked = template.format(s=name, a=animal)
            group, gold = f"miniature/{split}/{name}/{animal}", f"{name}/{animal}"
            yield Asked(group, number, asked, (str(counts[name, animal]),), (gold,), "template")


def groups(split: Split) -> tuple[Asked, ...]:
    """The paraphrase groups over Wikipedia; test only."""
    return grouped(load(GROUPS).rows) if split == "test" else ()


def grouped(rows: Sequence[Mapping[str, object]]) -> tuple[Asked, ...]:
    """Rows of paraphrases as sets; DataError for a set of one, or a phrasing that comes twice."""
    found: list[Asked] = []
    for row in rows:
        phrased = [str(each) for each in listed(row["paraphrases"])]
        if len(set(phrased)) < max(len(phrased), 2):
            raise DataError(
                f"{row['id']} has {len(phrased)} phrasings, {len(set(phrased))} of them different: "
                "a set needs two different ones at least, and none twice"
            )
        answers = tuple(str(each) for each in listed(row["answers"]))
        for number, question in enumerate(phrased):
            gold, wording = (str(row["passage"]),), "trained" if trained(question) else "new"
            one = Asked(str(row["id"]), number, question, answers, gold, "template", wording)
            found.append(one)
    return tuple(found)


def supported(name: str, split: Split) -> tuple[Asked, ...]:
    """Questions of a public set whose supporting passages are known; test only."""
    if split != "test":
        return ()
    return tuple(
        Asked(
            str(row["id"]),
            0,
            str(row["question"]),
            tuple(map(str, listed(row["answers"]))),
            tuple(map(str, listed(row["supporting"]))),
            "given",
        )
        for row in load(SUPPORTED[name]).rows
    )


def listed(value: object) -> list[object]:
    """The value as a list; a single one as a list of one."""
    return list(value) if isinstance(value, list | tuple) else [value]


# -- corpora


@lru_cache(maxsize=1)
def encyclopedia() -> Corpus:
    """Of the almanac."""
    return Corpus.of(Passage(*each) for each in world.articles())


@lru_cache(maxsize=1)
def lines() -> Corpus:
    """Of the miniature."""
    return Corpus.of(Passage(*each) for each in miniature.articles())


def wikipedia() -> Corpus:
    """The passages of the public sets; DataError where they cannot be read."""
    return _wikipedia(load(WIKI).digest)


def contexts(name: str) -> Corpus:
    """The passages that came with a public set's questions from the hub."""
    return _contexts(name, load(SUPPORTED[name]).digest)


@lru_cache(maxsize=3)
def _contexts(name: str, digest: str) -> Corpus:
    source = SUPPORTED[name]
    passages = {
        id: Passage(id, *told) for row in load(source).rows for id, *told in row["passages"]
    }
    return Corpus.of(passages.values(), source.place)


@lru_cache(maxsize=1)
def _wikipedia(digest: str) -> Corpus:
    rows = load(WIKI).rows
    passages = (Passage(*(str(row[each]) for each in ("id", "title", "text"))) for row in rows)
    return Corpus.of(passages, WIKI.place)
