"""One evaluation, from a task and a model to records: what `eval` does, and `train` at its end."""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from harness import intervals
from harness.codec import decode
from harness.commands import boxing, judging, screen
from harness.commands.opening import ModelOptions, check_roles, open_model
from harness.digests import digest, example_digest, prompt_digest
from harness.environment import commit, environment, machine
from harness.errors import DataError, IncompleteRun, UnknownName, UsageError
from harness.images import in_words
from harness.journal import Journal
from harness.models import Costly, Model, Sampling
from harness.play import Key, first, play, rows
from harness.types import Example, Fault, Metric, Prompt, Rollout, Split, Task
from results.record import Record, append, day
from results.run import RunFolder, folder_name, line, run_id


@dataclass(frozen=True, kw_only=True)
class Question:
    """What an evaluation asks; two of the same question are the same run."""

    task: Task
    split: Split
    rollouts: int
    limit: int | None
    sampling: Sampling
    wanted: tuple[str, ...] = ()
    """Metrics by name; empty for all that so many rollouts define."""
    roles: Mapping[str, Model] = field(default_factory=dict[str, Model])
    """Who answers for the task's further roles: they are part of how is measured."""

    def examples(self) -> list[Example]:
        """The examples asked, checked."""
        found = first(self.task, self.task.examples(self.split), self.limit)
        if not found:
            raise DataError(
                f"{self.task.name} has no {self.split} examples; "
                f"`harness show {self.task.name}` lists its splits"
            )
        twice = [id for id, count in Counter(e.id for e in found).items() if count > 1]
        if twice:
            raise DataError(f"{self.task.name} has examples of the same id: {', '.join(twice[:3])}")
        return found

    def metrics(self) -> list[Metric]:
        """The metrics asked for; UsageError where they need more rollouts."""
        known = {metric.name: metric for metric in self.task.metrics}
        for name in self.wanted:
            if name not in known:
                raise UnknownName(name, f"the metrics of {self.task.name}", known)
            if known[name].needs > self.rollouts:
                raise UsageError(
                    f"{name} needs {known[name].needs} rollouts per example and -n is "
                    f"{self.rollouts}: ask with -n {known[name].needs} or more"
                )
        chosen = [known[name] for name in self.wanted] or list(known.values())
        return [metric for metric in chosen if metric.needs <= self.rollouts]

    def described(self) -> dict[str, Any]:
        """What would be asked, for people; opens no model."""
        prompts = prompts_of(self)
        return {
            "task": self.task.name,
            "split": self.split,
            "examples": len(prompts),
            "rollouts": sum(p.rollouts for p in prompts),
            "metrics": [metric.name for metric in self.metrics()],
            "sampling": self.sampling,
            "first_prompt": [[m.speaker, in_words(m.content)] for m in prompts[0].spoken()],
        }

    def asks(self, model: Model, prompts: Sequence[Prompt]) -> dict[str, Any]:
        """All that fixes the numbers; its digest names the run."""
        return {
            "task": self.task.name,
            "version": self.task.version,
            "split": self.split,
            "limit": self.limit,
            "rollouts": self.rollouts,
            "metrics": [metric.name for metric in self.metrics()],
            "sampling": asdict(self.sampling),
            "examples": digest([example_digest(p.example) for p in prompts]),
            "prompts": digest([prompt_digest(p) for p in prompts]),
            "model": {"name": model.name, **model.describe()},
            **({"roles": judging.told(self.roles)} if self.roles else {}),
            **({"settings": told} if (told := self._settings()) else {}),
        }

    def _settings(self) -> dict[str, Any]:
        return {**self.task.settings, **boxing.mark(), **judging.named(self.roles)}


@dataclass(frozen=True)
class Outcome:
    """What an evaluation found."""

    folder: RunFolder
    report: Mapping[str, Any]
    records: tuple[Record, ...]
    rollouts: tuple[Rollout, ...]

    @property
    def complete(self) -> bool:
        """Whether every attempt was made and judged."""
        return bool(self.report["complete"])

    def require(self) -> None:
        """IncompleteRun unless it is complete."""
        if not self.complete:
            faults = [f"{count} x {note}" for note, count in self.report["faults"].items()]
            raise IncompleteRun(
                f"{self.report['missing']} rollouts could not be made or judged: "
                f"{'; '.join(faults)}. No number is recorded. The same command again asks for them"
            )


def carry_out(
    question: Question,
    spec: str,
    options: ModelOptions,
    *,
    command: Sequence[str],
    name: str = "",
    fresh: bool = False,
) -> Outcome:
    """Open the model, ask what is not there yet, and append the records of a complete run.

    `name` is that of the run's folder; without one, the same question finds the same folder.
    """
    question.metrics()
    check_roles(question.task, question.roles)
    prompts = prompts_of(question)
    model = open_model(spec, question.task, question.split, question.sampling, options)
    asks = question.asks(model, prompts)
    named = folder_name(name) if name else run_id("eval", question.task.name, model.name, asks)
    folder = RunFolder(options.output / "runs" / named)
    if fresh:
        folder.clear()
    block = block_size(model, options.batch_size)
    provenance = {"command": list(command), **trained_by(spec)}
    outcome = evaluate(question, model, folder, prompts, block=block, provenance=provenance)
    if outcome.complete:
        append(outcome.records, options.output / "records")
    return outcome


def prompts_of(question: Question) -> list[Prompt]:
    """The prompts of a question, each with its budget."""
    task = question.task
    return [task.prompt(example).but(rollouts=question.rollouts) for example in question.examples()]


def evaluate(
    question: Question,
    model: Model,
    folder: RunFolder,
    prompts: Sequence[Prompt],
    *,
    block: int,
    provenance: Mapping[str, Any],
) -> Outcome:
    """Ask what is not there yet, judge it, and make the numbers from what is stored."""
    asks = question.asks(model, prompts)
    started = datetime.now(UTC).isoformat(timespec="seconds")
    folder.begin({"asks": asks, "environment": environment(), "started": started, **provenance})
    begin = time.monotonic()
    faults = _ask(question, model, folder, prompts, block)
    rollouts = stored(folder, [p.example for p in prompts])
    missing = sum(p.rollouts for p in prompts) - sum(r.role == "solver" for r in rollouts)
    seconds = round(time.monotonic() - begin, 3)
    records = tuple(
        make_records(question, asks, rollouts, folder.path.name, {**provenance, "seconds": seconds})
        if not missing
        else ()
    )
    report = {
        "complete": not missing,
        "missing": missing,
        "faults": dict(Counter(fault.note for fault in faults).most_common(20)),
        "metrics": [asdict(record) for record in records],
        "costs": model.costs if isinstance(model, Costly) else {},
        **({"roles": _costs(question.roles)} if question.roles else {}),
        "tokens": sum(rollout.steps for rollout in rollouts),
        "seconds": seconds,
        **boxing.report(),
        "finished": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    folder.finish(report)
    return Outcome(folder, report, records, tuple(rollouts))


def trained_by(spec: str) -> dict[str, Any]:
    """Recipe, base and seed of the run that a model named by its folder comes from."""
    folder = RunFolder(Path(spec.partition(":")[2]).parent)
    if not (folder.path / "manifest.json").exists() or folder.report is None:
        return {}
    asks, report = folder.manifest["asks"], folder.report
    if "recipe" not in report:
        return {}
    return {"recipe": report["recipe"], "base": report["model"], "seeds": [asks["seed"]]}


def block_size(model: Model, batch_size: int) -> int:
    """Attempts asked at once: what a kill may cost, and how far a model can sort and share."""
    return 4096 if model.independent else max(64, 4 * batch_size)


def stored(folder: RunFolder, examples: Sequence[Example]) -> list[Rollout]:
    """The rollouts of a folder, in the order of the examples and attempts."""
    order = {example.id: number for number, example in enumerate(examples)}
    found = {
        (order[row["example"]], row["attempt"], row["role"]): row
        for row in folder.rollouts.read()
        if row.get("example") in order
    }
    return [decode(found[key], examples[key[0]]) for key in sorted(found)]


def settings(asks: Mapping[str, Any]) -> dict[str, Any]:
    """What two records must share to be ranked together, besides task, metric and sampling."""
    shared = {key: asks[key] for key in ("limit", "examples", "prompts")}
    return {**shared, **asks.get("settings", {})}


def make_records(
    question: Question,
    asks: Mapping[str, Any],
    rollouts: Sequence[Rollout],
    run: str,
    provenance: Mapping[str, Any],
) -> list[Record]:
    """The records of stored rollouts: a pure function of its arguments."""
    solver = [rollout for rollout in rollouts if rollout.role == "solver"]
    by_id = {rollout.example.id: rollout.example for rollout in solver}
    ids = sorted(by_id)
    judged = rows(solver, ids)
    labels = [question.task.cluster(by_id[id]) for id in ids]
    numbers = {label: number for number, label in enumerate(dict.fromkeys(labels))}
    grouped = len(numbers) < len(ids)
    reasons = Counter(rollout.verdict.reason for rollout in solver)
    model = asks["model"]
    made: list[Record] = []
    for metric in question.metrics():
        found = intervals.estimate(metric, judged, labels if grouped else None)
        if not math.isfinite(found.value):
            continue  # no example has a value
        values = intervals.per_example(metric, judged) if metric.each is not None else ()
        made.append(
            Record(
                task=question.task.name,
                version=question.task.version,
                split=question.split,
                metric=metric.name,
                value=found.value,
                low=found.low,
                high=found.high,
                better=metric.better,
                unit=metric.unit,
                model=model["name"],
                model_digest=digest(model["weights"]) if "weights" in model else "",
                recipe=str(provenance.get("recipe", "")),
                base=str(provenance.get("base", "")),
                seeds=[question.sampling.seed, *provenance.get("seeds", ())],
                examples=len(ids),
                rollouts=question.rollouts,
                clusters=len(numbers) if grouped else 0,
                sampling=asdict(question.sampling),
                settings=settings(asks),
                reasons={name: count / len(solver) for name, count in sorted(reasons.items())},
                values=[float(value) for value in values],
                example_ids_digest=digest(ids),
                cluster_of=[numbers[label] for label in labels] if grouped and len(values) else [],
                dtype=str(model.get("dtype", "")),
                engine=str(model.get("engine", "")),
                batch=int(model.get("batch", {}).get("rows", 0)),
                threads=int(model.get("threads", 0)),
                digest=digest(asks),
                run=run,
                dataset=question.task.source,
                commit=commit(),
                when=datetime.now(UTC).isoformat(timespec="seconds"),
                seconds=float(provenance.get("seconds", 0.0)),
                machine=machine(),
                origin="measured",
                model_date=day(str(model.get("released", ""))),
                data_date=day(question.task.released),
            )
        )
    return made


def _costs(models: Mapping[str, Model]) -> dict[str, Any]:
    return {
        role: {"model": model.name, **(model.costs if isinstance(model, Costly) else {})}
        for role, model in models.items()
    }


def _ask(
    question: Question, model: Model, folder: RunFolder, prompts: Sequence[Prompt], block: int
) -> list[Fault]:
    journal = folder.rollouts.open()
    models = {"solver": model, **question.roles}

    def asked(known: set[Key]) -> Iterator[Rollout | Fault]:
        return play(question.task, prompts, models, block=block, done=known)

    try:
        known = _whole(journal)
        if question.task.judging is None:
            faults = _keep(question, journal, asked(known), prompts, known)
        else:
            with folder.answers as answers:
                known |= _whole(answers)
                faults = _keep(question, answers, asked(known), prompts, known)
                judging.judge(question, answers, journal, prompts)
        journal.close(compress=not faults)
        if not faults:
            folder.forget_answers()
        return faults
    finally:
        journal.close()


def _whole(journal: Journal) -> set[Key]:
    """The attempts that an open journal holds whole: the solver's line comes last."""
    known = {
        (row["example"], int(row["attempt"])) for row in journal.read() if row["role"] == "solver"
    }
    if journal.damaged:
        screen.say(f"{journal.damaged} damaged lines of {journal.path} will be made again")
        journal.prune(lambda _: True)
    return known


def _keep(
    question: Question,
    journal: Journal,
    outcomes: Iterator[Rollout | Fault],
    prompts: Sequence[Prompt],
    known: set[Key],
) -> list[Fault]:
    """Store rollouts as they come, besides those `known`; gives what could not be made."""
    total = sum(p.rollouts for p in prompts)
    if known:
        screen.say(f"{len(known)} of {total} rollouts are there already; going on")
    faults: list[Fault] = []
    with screen.progress(question.task.name, total, len(known)) as meter:
        for outcome in outcomes:
            if isinstance(outcome, Fault):
                faults.append(outcome)
                continue
            journal.append(line(outcome, phase="eval", split=question.split))
            meter.advance(outcome.role == "solver", outcome.steps)
    return faults
