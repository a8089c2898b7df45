"""What of a record can be derived again from what lies here, and whether it comes out the same.

chain     the record's line is as it was written, where it was written
numbers   value and interval follow from the values of the examples, by the task's metric
data      the examples and prompts are those that the task has now
rollouts  the run lies here, its verdicts follow from its rollouts, its numbers from its verdicts,
          and the record says what the run says
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

import msgspec

from harness import intervals
from harness.commands.receipts import receipt_of, stored_task
from harness.digests import digest, example_digest, prompt_digest
from harness.errors import DataError, HarnessError, UsageError
from harness.play import first
from harness.types import Metric, Split, Task
from results import chain
from results.record import Record, numbered
from results.run import RunFolder

Outcome = Literal["ok", "wrong", "unchecked"]
PARTS = ("chain", "numbers", "data", "rollouts")
FREE = frozenset({"when", "seconds", "origin", "source", "note", "model_date", "data_date"})
"""Fields that a record and its run need not agree in."""
CLOSE = 1e-9
"""Sums over clusters may be taken in another order."""


@dataclass(frozen=True)
class Line:
    """A record and where it lies."""

    path: Path
    number: int
    record: Record

    @property
    def place(self) -> str:
        """`mathqa.jsonl:3`."""
        return f"{self.path.name}:{self.number}"


@dataclass(frozen=True)
class Found:
    """What came of one part of a proof."""

    outcome: Outcome
    why: str = ""


@dataclass(frozen=True)
class Proof:
    """What came of each part for one record."""

    line: Line
    parts: Mapping[str, Found]

    @property
    def wrong(self) -> bool:
        """Whether any part came out otherwise than it is written."""
        return any(found.outcome == "wrong" for found in self.parts.values())


@dataclass
class Verifier:
    """Proves records, and remembers what several of them share: tasks, runs, files."""

    output: Path
    place: str | None = None
    """Of a task that is named by its path."""
    _chains: dict[Path, chain.Chain] = field(default_factory=dict[Path, chain.Chain])
    _tasks: dict[str, Task | str] = field(default_factory=dict[str, Task | str])
    _digests: dict[tuple[Any, ...], tuple[str, str, str]] = field(
        default_factory=dict[tuple[Any, ...], tuple[str, str, str]]
    )
    _receipts: dict[str, dict[str, Any] | str] = field(
        default_factory=dict[str, dict[str, Any] | str]
    )

    def prove(self, line: Line) -> Proof:
        """All parts of one record."""
        record = line.record
        if not record.ranked:
            told = Found("unchecked", f"{record.origin}, not measured: {record.source[:200]}")
            rest = dict.fromkeys(PARTS[1:], told)
            return Proof(line, {"chain": self._chain(line), **rest})
        return Proof(line, {name: self.part(name, line) for name in PARTS})

    def part(self, name: str, line: Line) -> Found:
        """One part of a proof; of claims, too."""
        checks = {"numbers": self._numbers, "data": self._data, "rollouts": self._rollouts}
        return self._chain(line) if name == "chain" else checks[name](line.record)

    def chain_of(self, path: Path) -> chain.Chain:
        """The chain of a file of records."""
        if path not in self._chains:
            self._chains[path] = chain.check(path)
        return self._chains[path]

    def _chain(self, line: Line) -> Found:
        found = self.chain_of(line.path)
        for broken in found.breaks:
            if broken.line == line.number:
                return Found("wrong", f"{line.place}: {broken.why}")
        if not found.links:
            return Found("unchecked", f"{line.path.name} is from before lines were chained")
        return Found("ok")

    def _task(self, record: Record) -> Task | str:
        """The task of a record in its version; or why there is none."""
        name = record.task
        if name not in self._tasks:
            try:
                self._tasks[name] = stored_task(name, self.place)
            except HarnessError as error:
                self._tasks[name] = f"no task {name} here: {str(error)[:300]}"
        task = self._tasks[name]
        if isinstance(task, Task) and task.version != record.version:
            return f"{name} has version {task.version} now and had {record.version} then"
        return task

    def _numbers(self, record: Record) -> Found:
        if not record.values:
            return Found("unchecked", f"{record.metric} is a number of the whole, without values")
        task = self._task(record)
        if isinstance(task, str):
            return Found("unchecked", task)
        metric = next((each for each in task.metrics if each.name == record.metric), None)
        if metric is None or metric.each is None:
            return Found("unchecked", f"{task.name} has no such metric of examples now")
        try:
            return _derived(record, metric)
        except UsageError as error:
            return Found("wrong", f"{record.metric} of {record.run}: {error}")

    def _data(self, record: Record) -> Found:
        task = self._task(record)
        if isinstance(task, str):
            return Found("unchecked", task)
        if record.settings.get("unit") == "seed":
            return _seeds(record)
        try:
            now = self._asked(task, record.split, record.settings.get("limit"))
        except Exception as error:  # a data set may fail in any way
            return Found("unchecked", f"the examples of {task.name}: {error}")
        then = (
            record.example_ids_digest,
            record.settings.get("examples"),
            record.settings.get("prompts"),
        )
        for what, one, other in zip(("ids", "examples", "prompts"), then, now, strict=True):
            if one and one != other:
                why = f"{record.run}: {what} of {task.name} had digest {one} and have {other} now"
                return Found("wrong", why)
        return Found("ok" if any(then) else "unchecked", "" if any(then) else "no digest of data")

    def _asked(self, task: Task, split: Split, limit: Any) -> tuple[str, str, str]:
        key = (task.name, split, limit)
        if key not in self._digests:
            limit = limit if isinstance(limit, int) else None
            examples = first(task, task.examples(split), limit)
            self._digests[key] = (
                digest(sorted(example.id for example in examples)),
                digest([example_digest(example) for example in examples]),
                digest([prompt_digest(task.prompt(example)) for example in examples]),
            )
        return self._digests[key]

    def receipt(self, run: str) -> dict[str, Any] | str:
        """The receipt of a run that lies here; or why there is none."""
        if run not in self._receipts:
            folder = RunFolder(self.output / "runs" / run)
            try:
                if Path(run).name != run or not (folder.path / "manifest.json").exists():
                    raise DataError(f"no rollouts here: there is no run {run[:100]}")
                self._receipts[run] = receipt_of(folder, self.place)
            except HarnessError as error:
                self._receipts[run] = str(error)
        return self._receipts[run]

    def _rollouts(self, record: Record) -> Found:
        receipt = self.receipt(record.run)
        if isinstance(receipt, str):
            return Found("unchecked", receipt)
        version = receipt["version"]
        if version["then"] != version["now"]:
            return Found("unchecked", f"{record.run} is of another version of its task")
        wrong = [c for check in receipt["checks"] for c in check.first if check.wrong]
        if not receipt["agrees"]:
            return Found("wrong", f"{record.run}: {'; '.join(wrong)[:500]}")
        folder = RunFolder(self.output / "runs" / record.run)
        if digest(folder.manifest["asks"]) != record.digest:
            return Found("wrong", f"{record.run}: the run here was asked something else")
        entries = (folder.report or {}).get("metrics", [])
        same = [entry for entry in entries if entry.get("metric") == record.metric]
        if not same:
            return Found("wrong", f"{record.run} has no {record.metric}")
        for name, value in asdict(record).items():
            told = same[-1].get(name)
            if name not in FREE and digest(told) != digest(value):
                why = f"{record.run} {record.metric}: {name} {value!r:.60} is {told!r:.60} there"
                return Found("wrong", why)
        return Found("ok")


def _seeds(record: Record) -> Found:
    """A recipe has a value a seed; what each run was asked stands in its own folder."""
    if record.example_ids_digest != digest([f"seed {seed}" for seed in record.seeds]):
        return Found("wrong", f"{record.run}: the seeds are not those that the values are of")
    return Found("unchecked", "a value is a seed's: the questions stand in the runs")


def _derived(record: Record, metric: Metric) -> Found:
    """Value and interval from the values of the examples."""
    labels = list(map(str, record.cluster_of)) or None
    found = intervals.interval(record.values, labels, low=metric.low, high=metric.high)
    for name in ("value", "low", "high"):
        then, now = getattr(record, name), getattr(found, name)
        if math.isnan(then) and math.isnan(now):
            continue
        if not math.isclose(then, now, rel_tol=CLOSE, abs_tol=CLOSE):
            why = f"{record.run} {record.metric}: {name} {then!r}, but the values give {now!r}"
            return Found("wrong", why)
    return Found("ok")


def lines_of(path: Path) -> Iterator[Line]:
    """The records of a file, or of all files of a folder, that still count."""
    for file in sorted(path.glob("*.jsonl")) if path.is_dir() else [path]:
        latest: dict[tuple[str, ...], Line] = {}
        for number, record in numbered(file):
            latest[record.key] = Line(file, number, record)
        yield from latest.values()


def noted_ends(files: Iterable[Path]) -> dict[str, list[str]]:
    """The ends of the chains of files, by family: who keeps them sees what is taken off later."""
    return {path.stem: chain.check(path).ends for path in files}


def told_ends(ends: Mapping[str, list[str]]) -> str:
    """Noted ends as the text of `chain.json`."""
    return msgspec.json.format(msgspec.json.encode(ends), indent=1).decode() + "\n"
