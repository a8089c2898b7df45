"""Split hygiene: nobody trains on what is scored, and near-duplicates between splits are shown."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

from harness import registry
from harness.digests import prompt_digest
from harness.errors import DataError, HarnessError, SplitError
from harness.types import SPLITS, Example, Split, Task

SCORED: tuple[Split, ...] = ("dev", "test")
COMMON = 200
"""A run of words that more training texts than this share is boilerplate, not a copy."""


@dataclass(frozen=True)
class Leak:
    """A training prompt that is also asked in a scored split."""

    train: str
    split: Split
    scored: str


@dataclass(frozen=True)
class Overlap:
    """Two examples of two splits that share much of their wording."""

    test: str
    train: str
    share: float
    """Of the test text's runs of n words, how many stand in the training text: 0 to 1."""


def check_trainable(task: Task) -> None:
    """SplitError unless the task has training examples and none of them is also scored."""
    if not task.examples("train"):
        raise SplitError(f"{task.name} is scored only: it has no train split. {_instead(task)}")
    found = leaks(task)
    if found:
        shown = ", ".join(f"{leak.train} = {leak.split} {leak.scored}" for leak in found[:3])
        raise SplitError(
            f"{task.name}: {len(found)} training prompts are also scored ({shown}"
            f"{', ...' if len(found) > 3 else ''}). Take them out of the train split"
        )


def leaks(task: Task) -> list[Leak]:
    """Training prompts that read exactly like a prompt of dev or test."""
    asked: dict[str, tuple[Split, str]] = {}
    for split in SCORED:
        for example in task.examples(split):
            asked.setdefault(prompt_digest(task.prompt(example)), (split, example.id))
    found: list[Leak] = []
    for example in task.examples("train"):
        scored = asked.get(prompt_digest(task.prompt(example)))
        if scored is not None:
            found.append(Leak(example.id, *scored))
    return found


def repeated(task: Task) -> dict[Split, list[str]]:
    """Ids that occur twice, by split; within one split an id names one example."""
    found: dict[Split, list[str]] = {}
    for split in SPLITS:
        counts = Counter(example.id for example in task.examples(split))
        twice = [name for name, count in counts.items() if count > 1]
        if twice:
            found[split] = twice
    return found


def near_duplicates(
    train: Sequence[Example],
    test: Sequence[Example],
    *,
    n: int = 8,
    threshold: float = 0.5,
) -> list[Overlap]:
    """Pairs whose training text holds `threshold` or more of the test text's runs of n words.

    The nearest training example of each test example, nearest first. Texts shorter than n words
    count as one run. Runs that are boilerplate (in more than 200 training texts) are left out,
    unless the test text has no others.
    """
    index: dict[str, list[int]] = defaultdict(list)
    for number, example in enumerate(train):
        for run in _runs(example, n):
            index[run].append(number)
    found: list[Overlap] = []
    for example in test:
        runs = _runs(example, n)
        telling = [run for run in runs if len(index.get(run, ())) <= COMMON] or list(runs)
        shared = Counter(number for run in telling for number in index.get(run, ())[:COMMON])
        if shared:
            nearest, count = min(shared.items(), key=lambda pair: (-pair[1], pair[0]))
            if count >= threshold * len(telling):
                found.append(Overlap(example.id, train[nearest].id, count / len(telling)))
    return sorted(found, key=lambda pair: (-pair.share, pair.test))


def _runs(example: Example, n: int) -> set[str]:
    """Runs of n words; operators and brackets count, so that (3 + 4) * 2 is not 3 + (4 * 2)."""
    text = " ".join(_texts(dict(example.inputs)))
    words: list[str] = re.findall(r"\w+|[-+*/=^<>()]", text.lower())
    if not words:
        return set()
    n = min(n, len(words))
    return {" ".join(words[start : start + n]) for start in range(len(words) - n + 1)}


def _texts(value: Any) -> list[str]:
    if isinstance(value, dict):
        return [t for each in cast("dict[str, Any]", value).values() for t in _texts(each)]
    if isinstance(value, list | tuple):
        return [text for each in cast("list[Any]", value) for text in _texts(each)]
    return [str(value)] if isinstance(value, str | int | float) else []


def _instead(task: Task) -> str:
    """Which members of the family can be trained on; those whose data are not here do not count."""
    able: list[str] = []
    names = [m for c in registry.cards("tasks") if c.name == task.family for m in c.members]
    for name in names:
        if name == task.name:
            continue
        try:
            if registry.task(name).examples("train"):
                able.append(name)
        except (DataError, HarnessError):
            continue
    if not able:
        return "No task of this family has one"
    return f"Tasks of this family with a train split: {', '.join(able)}"
