"""What every task promises, as laws that can be checked: by `harness check` and by the tests.

A law is a function that yields what is wrong; nothing yielded means that it holds. A remark is
something to know that breaks no promise.
"""

from __future__ import annotations

import re
import statistics
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import combinations
from typing import Any

from harness.codec import decode, encode, plain
from harness.digests import digest, example_digest, prompt_digest
from harness.errors import HarnessError
from harness.hostile import WORDS, TooLongError, hostile, patience, verdict_on
from harness.judging import all_judged
from harness.models import Gold, Model
from harness.play import play, rows, unsound
from harness.registry import Card
from harness.types import SPLITS, Completion, Example, Metric, Rollout, Row, Split, Task, Verdict


@dataclass(frozen=True)
class Finding:
    """Whether a law holds, and what there is to say about it."""

    law: str
    ok: bool
    note: str = ""


@dataclass(frozen=True)
class Remark:
    """Worth knowing; breaks no promise."""

    text: str


@dataclass
class Subject:
    """A task under examination: some of its examples, and what was learned on the way."""

    task: Task
    card: Card
    few: int = 20
    """Examples of each split that are judged; laws about whole splits read all of them."""
    patience: float = 3.0
    """Seconds that a verdict may take, whatever the output."""
    splits: dict[Split, Sequence[Example]] = field(default_factory=dict[Split, Sequence[Example]])
    played: list[Rollout] = field(default_factory=list[Rollout])
    hangs: bool = False

    @property
    def sample(self) -> list[Example]:
        """A few examples of every split, spread over it."""
        return [each for found in self.splits.values() for each in spread(found, self.few)]


Law = Callable[[Subject], Iterator[str | Remark]]


def task_contracts(
    task: Task, card: Card, *, few: int = 20, patience: float = 3.0
) -> list[Finding]:
    """Every law of tasks, checked in order; the later ones need what the first ones find.

    `few` examples a split are judged; `patience` is in seconds.
    """
    subject = Subject(task, card, few, max(patience, task.patience))
    findings: list[Finding] = []
    for name, law in LAWS.items():
        wrong: list[str] = []
        remarks: list[str] = []
        try:
            for found in law(subject):
                if isinstance(found, Remark):
                    remarks.append(found.text)
                else:
                    wrong.append(found)
        except Exception as error:
            wrong.append(f"{type(error).__name__}: {error}")
        findings.append(Finding(name, not wrong, "; ".join((wrong or remarks)[:3])))
        if subject.hangs or (name == "there are examples" and wrong):
            break  # what follows would find nothing, or hang too
    return findings


def spread(items: Sequence[Example], count: int) -> list[Example]:
    """At most `count` of the items, from the first to the last at equal steps."""
    if len(items) <= count:
        return list(items)
    return [items[number * (len(items) - 1) // (count - 1)] for number in range(count)]


# -- the laws


def card_is_complete(subject: Subject) -> Iterator[str | Remark]:
    card = subject.card
    if not card.title:
        yield "the module docstring's first line is not `name: what it does`"
    for heading in ("Data", "Scores"):
        if not card.sections.get(heading):
            yield f"the module docstring has no section {heading}"


def name_is_the_file(subject: Subject) -> Iterator[str | Remark]:
    family, _, member = subject.task.name.partition("/")
    bare = subject.task.name.partition("+")[0]  # settings follow the member's name
    if not member:
        yield f"the task's name is '{subject.task.name}', not family/member"
    elif family != subject.card.name:
        yield f"the task is called '{subject.task.name}' and its file '{subject.card.name}'"
    elif "Members" in subject.card.sections and bare not in subject.card.members:
        yield f"the card's Members do not list {member}"


def there_are_examples(subject: Subject) -> Iterator[str | Remark]:
    sizes: list[str] = []
    for split in SPLITS:
        try:
            subject.splits[split] = subject.task.examples(split)
        except HarnessError as error:
            yield f"{split} cannot be read: {error}"
            continue
        sizes.append(f"{split} {len(subject.splits[split])}")
    if not any(subject.splits.values()):
        yield "no split has an example"
    yield Remark(", ".join(sizes))


def ids_are_unique(subject: Subject) -> Iterator[str | Remark]:
    for split, examples in subject.splits.items():
        counts = Counter(example.id for example in examples)
        twice = [id for id, count in counts.items() if count > 1]
        if twice:
            yield f"{split} has {len(twice)} ids more than once, such as {', '.join(twice[:3])}"


def splits_are_disjoint(subject: Subject) -> Iterator[str | Remark]:
    names = {split: {e.id for e in found} for split, found in subject.splits.items()}
    asked = {
        split: {prompt_digest(subject.task.prompt(e)): e.id for e in found}
        for split, found in subject.splits.items()
    }
    for one, other in combinations(subject.splits, 2):
        shared = names[one] & names[other]
        if shared:
            yield f"{one} and {other} share {len(shared)} ids, such as {min(shared)}"
        same = set(asked[one]) & set(asked[other])
        if same:
            pairs = sorted(f"{asked[one][key]} = {asked[other][key]}" for key in same)
            yield f"{one} and {other} share {len(same)} prompts: {', '.join(pairs[:3])}"


def near_duplicates_between_splits(subject: Subject) -> Iterator[str | Remark]:
    from harness.hygiene import near_duplicates

    train = subject.splits.get("train", ())
    for split in ("dev", "test"):
        found = near_duplicates(train, subject.splits.get(split, ()))
        if found:
            first = found[0]
            yield Remark(
                f"{len(found)} of {len(subject.splits[split])} {split} examples share half of "
                f"their wording with a training example, such as {first.test} with {first.train} "
                f"({first.share:.0%})"
            )


def examples_are_the_same_twice(subject: Subject) -> Iterator[str | Remark]:
    for split, first in subject.splits.items():
        again = subject.task.examples(split)
        if list(map(example_digest, first)) != list(map(example_digest, again)):
            yield f"{split} differs from one call to the next: draw from a seeded generator"
    for example in subject.sample:
        one, other = subject.task.prompt(example), subject.task.prompt(example)
        if prompt_digest(one) != prompt_digest(other):
            yield f"the prompt of {example.id} differs from one call to the next"


def prompts_do_not_hold_the_answer(subject: Subject) -> Iterator[str | Remark]:
    task = subject.task
    held: list[str] = []
    told = [(e, str(task.gold(e)).strip()) for e in subject.sample]
    for example, gold in told:
        prompt = "\n".join(str(message.content) for message in task.prompt(example).spoken())
        if len(gold) > 1 and re.search(rf"(?<!\w){re.escape(gold)}(?!\w)", prompt):
            held.append(example.id)
    if held:
        text = f"the gold output stands in {len(held)} of {len(told)} prompts, such as {held[0]}"
        generated = task.source == "generated" and len(held) > len(told) / 2
        yield text if generated else Remark(text)


def gold_gets_full_marks(subject: Subject) -> Iterator[str | Remark]:
    task = subject.task
    played = _played(task, subject.sample, Gold(task), subject)
    subject.played = [rollout for rollout in played if isinstance(rollout, Rollout)]
    for fault in (each for each in played if not isinstance(each, Rollout)):
        yield f"{fault.prompt.example.id}: {fault.note}"
    solver = [rollout for rollout in subject.played if rollout.role == "solver"]
    for rollout in solver:
        verdict = rollout.verdict
        if verdict.reason != "ok":
            yield f"the gold of {rollout.example.id} is judged {verdict.reason}: {verdict.note}"
    if not solver:
        yield "no gold could be judged"
        return
    metric = task.metrics[0]
    value = measure(metric, [[verdict] * metric.needs for [verdict, *_] in _rows(solver)])
    best = metric.low if metric.better == "lower" else metric.high
    if metric.better != "neither" and abs(value - best) > 1e-9:
        yield f"with gold outputs {metric.name} is {value:.4f}, and its best is {best:g}"


def rewards_are_scores(subject: Subject) -> Iterator[str | Remark]:
    if not subject.task.reward:
        yield "reward is empty: say which scores training pays"
    for rollout in subject.played:
        absent = sorted(set(subject.task.reward) - set(rollout.verdict.scores))
        if absent:
            there = ", ".join(rollout.verdict.scores)
            yield f"reward weighs {', '.join(absent)}, and the scores are {there}"
            return


def hostile_outputs_are_judged(subject: Subject) -> Iterator[str | Remark]:
    names = set(subject.played[0].verdict.scores) if subject.played else None
    slowest, in_full, paid = 0.0, _pays_in_full(subject), set(subject.task.reward)
    for example in subject.sample[:3]:
        for output in hostile():
            shown = f"{output!r:.40}"
            begin = time.perf_counter()
            try:
                with patience(10 * subject.patience):
                    verdict = verdict_on(subject.task, example, output)
            except Exception as error:
                yield f"verify raises {type(error).__name__} on {shown}: {error}"
                continue
            except TooLongError:
                yield f"verify has not come back from {shown} after {10 * subject.patience:g} s"
                subject.hangs = True
                return
            seconds = time.perf_counter() - begin
            slowest = max(slowest, seconds)
            if seconds > subject.patience:
                yield f"verify takes {seconds:.1f} s on {shown}"
            fault = unsound(subject.task, verdict)
            if fault:
                yield f"on {shown} {fault}"
            elif names is not None and not names >= set(verdict.scores) >= names & paid:
                yield f"on {shown} the scores are {', '.join(verdict.scores)}, not those of gold"
            elif (
                (output is None or isinstance(output, str))
                and not output
                and _pays(subject.task, verdict) >= in_full
            ):
                yield f"{shown} is paid in full"
    yield Remark(f"slowest {slowest * 1000:.1f} ms")


def verdicts_are_the_same_everywhere(subject: Subject) -> Iterator[str | Remark]:
    """Twice, on other threads, and from what is stored."""
    if subject.task.dialogue is not None or subject.task.compare is not None:
        again = _played(subject.task, subject.sample, Gold(subject.task), subject)
        told = sorted(_judged(r) for r in again if isinstance(r, Rollout))
        if told != sorted(map(_judged, subject.played)):
            yield "playing the gold outputs again gives other verdicts"
        return
    outputs: list[Any] = [*WORDS[:5], *(r.completion.output for r in subject.played[:10])]
    pairs = [(e, Completion(output)) for e in subject.sample[:5] for output in outputs]

    def judged(pair: tuple[Example, Completion]) -> str:
        return digest(plain(subject.task.verify(*pair)))

    here = [judged(pair) for pair in pairs]
    with ThreadPoolExecutor(4) as pool:
        there = list(pool.map(judged, pairs))
    for (example, completion), one, other in zip(pairs, here, there, strict=True):
        if one != other:
            yield f"{completion.output!r:.40} to {example.id} is judged otherwise on a thread"


def rollouts_come_back_from_json(subject: Subject) -> Iterator[str | Remark]:
    import msgspec

    for rollout in subject.played:
        stored = msgspec.json.decode(msgspec.json.encode(encode(rollout)))
        back = decode(stored, rollout.example)
        if digest(encode(back)) != digest(encode(rollout)):
            yield f"the rollout of {rollout.example.id} is not the same after JSON"
        elif not (subject.task.dialogue or subject.task.compare or subject.task.judging):
            verdict = subject.task.verify(rollout.example, back.completion)
            if digest(verdict) != digest(rollout.verdict):
                yield f"the stored output of {rollout.example.id} is judged otherwise"


def metrics_are_defined(subject: Subject) -> Iterator[str | Remark]:
    task = subject.task
    names = [metric.name for metric in task.metrics]
    if not names:
        yield "there is no metric"
    if len(set(names)) < len(names):
        yield f"two metrics have the same name: {', '.join(names)}"
    gold = [row[0] for row in _rows([r for r in subject.played if r.role == "solver"])]
    for metric in task.metrics if gold else ():
        value = measure(metric, [[verdict] * metric.needs for verdict in gold])
        if not metric.low - 1e-9 <= value <= metric.high + 1e-9 and value == value:
            yield f"{metric.name} is {value:g}, outside of [{metric.low:g}, {metric.high:g}]"


def verdicts_are_quick(subject: Subject) -> Iterator[str | Remark]:
    seconds = [rollout.seconds for rollout in subject.played]
    if seconds:
        middle = statistics.median(seconds)
        if middle > subject.patience:
            yield f"a verdict takes {middle:.2f} s"
        yield Remark(f"median {middle * 1000:.2f} ms")


LAWS: Mapping[str, Law] = {
    "the card is complete": card_is_complete,
    "the name is that of the file": name_is_the_file,
    "there are examples": there_are_examples,
    "ids are unique": ids_are_unique,
    "splits share no id and no prompt": splits_are_disjoint,
    "near-duplicates between splits": near_duplicates_between_splits,
    "examples and prompts are the same twice": examples_are_the_same_twice,
    "prompts do not hold the answer": prompts_do_not_hold_the_answer,
    "gold gets full marks": gold_gets_full_marks,
    "rewards are made of scores": rewards_are_scores,
    "hostile outputs are judged": hostile_outputs_are_judged,
    "verdicts are the same everywhere": verdicts_are_the_same_everywhere,
    "rollouts come back from JSON": rollouts_come_back_from_json,
    "metrics are defined": metrics_are_defined,
    "verdicts are quick": verdicts_are_quick,
}


# -- their tools


def measure(metric: Metric, table: Sequence[Row]) -> float:
    """The metric of some rows; a mean over the examples that have a value."""
    if metric.compute is not None:
        return metric.compute(table)
    assert metric.each is not None, f"{metric.name} has neither `each` nor `compute`"
    values = [value for value in map(metric.each, table) if value == value]
    return statistics.fmean(values) if values else float("nan")


class _Anyone(Mapping[str, Model]):
    """One model in every role."""

    def __init__(self, model: Model) -> None:
        self.model = model

    def __getitem__(self, role: str) -> Model:
        return self.model

    def __iter__(self) -> Iterator[str]:
        return iter(("solver",))

    def __len__(self) -> int:
        return 1

    def __contains__(self, role: object) -> bool:
        return True


def _played(task: Task, examples: Sequence[Example], model: Model, subject: Subject) -> list[Any]:
    sets = {task.set(example) for example in examples}
    mates = [e for found in subject.splits.values() for e in found if task.set(e) in sets]
    whole = examples if task.compare is None else mates  # sets are compared whole
    return all_judged(task, play(task, list(map(task.prompt, whole)), _Anyone(model)), model)


def _rows(rollouts: Sequence[Rollout]) -> list[Row]:
    return rows(rollouts, list(dict.fromkeys(rollout.example.id for rollout in rollouts)))


def _judged(rollout: Rollout) -> str:
    return f"{rollout.example.id} {rollout.role} {digest(rollout.verdict)}"


def _pays(task: Task, verdict: Verdict) -> float:
    return sum(weight * verdict.scores.get(name, 0.0) for name, weight in task.reward.items())


def _pays_in_full(subject: Subject) -> float:
    paid = [_pays(subject.task, rollout.verdict) for rollout in subject.played]
    return max(paid) if paid else float("inf")
