"""The receipt of a run: what it says, against what follows from its rollouts."""

from __future__ import annotations

import math
import statistics
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

import msgspec

from harness import registry
from harness.codec import plain
from harness.commands.evaluation import Question, make_records
from harness.contracts import measure
from harness.digests import digest, example_digest, prompt_digest
from harness.environment import environment
from harness.errors import DataError, UnknownName, UsageError
from harness.journal import Journal, write_whole
from harness.models import Sampling
from harness.play import first, rows
from harness.types import Rollout, Row, Task
from results.rescoring import Check, Rescored, rescore
from results.run import RunFolder

NUMBERS = (
    "value",
    "low",
    "high",
    "better",
    "unit",
    "examples",
    "rollouts",
    "clusters",
    "reasons",
    "values",
    "example_ids_digest",
    "cluster_of",
)
"""Of a record: what follows from its rollouts."""
FACTS = (
    *("task", "version", "split", "model", "model_digest", "recipe", "base", "seeds"),
    *("sampling", "settings", "dtype", "engine", "batch", "threads", "digest"),
)
"""Of a record: what follows from the run's manifest."""


def receipt_of(folder: RunFolder, place: str | None = None) -> dict[str, Any]:
    """What a run says, checked against what follows from its rollouts."""
    try:
        return _receipt(folder, place)
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise DataError(
            f"the manifest or report of {folder.path} is not one of ours: "
            f"{type(error).__name__}: {error}"
        ) from error


def _receipt(folder: RunFolder, place: str | None) -> dict[str, Any]:
    manifest = folder.manifest
    asks = manifest["asks"]
    found = stored_task(asks["task"], place)
    journal = folder.rollouts
    lines = list(journal.read())
    again = rescore(found, lines, asks.get("reward"))
    checks = [*again.checks, _data(found, asks)]
    if "recipe" in asks:
        checks.append(_logged(folder, found, asks, again))
    else:
        checks.append(_whole(folder, found, asks, again.rollouts))
        if not checks[-1].wrong:
            checks += _numbers(folder, found, manifest, again.rollouts)
    checks[0].checked += journal.damaged
    checks[0].wrong += journal.damaged
    then, now = int(asks["version"]), found.version
    return {
        "agrees": then == now and not any(check.wrong for check in checks),
        "run": folder.path.name,
        "task": found.name,
        "version": {"then": then, "now": now},
        "checks": checks,
        "rewards": "stages" if "recipe" in asks and not asks.get("reward") else "verdicts",
        "rollouts_digest": again.digest,
        "environment": {"then": manifest.get("environment"), "now": environment()},
        "when": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def stored_task(name: str, place: str | None = None) -> Task:
    """The task that a stored file names; only people name files of code to run, by `place`."""
    if place is None and name.partition("::")[0].endswith(".py"):
        raise UsageError(
            f"a stored file names the task '{name[:100]}', which is a file of code: if you trust "
            "it, name it by --task PATH.py"
        )
    try:
        return registry.task(place or name)
    except UnknownName as error:
        raise UsageError(
            f"{error} A task in a file of its own is named by --task PATH.py"
        ) from error


def write_receipt(folder: RunFolder, receipt: Mapping[str, Any]) -> None:
    """Beside the run's report."""
    data = msgspec.json.format(msgspec.json.encode(plain(receipt)), indent=1)
    write_whole(folder.path / "receipt.json", data)


def _data(task: Task, asks: Mapping[str, Any]) -> Check:
    """Whether the examples and prompts are those that were asked."""
    check = Check("data digests")
    if "recipe" in asks:
        from trainers.rehearsal import trainable

        examples = trainable(task, asks.get("limit"))
    else:
        examples = first(task, task.examples(asks["split"]), asks.get("limit"))
    now = {
        "examples": digest([example_digest(example) for example in examples]),
        "prompts": digest([prompt_digest(task.prompt(example)) for example in examples]),
    }
    for name, found in now.items():
        if name in asks:
            same = found == asks[name]
            check.note("" if same else f"{name} had digest {asks[name]} and have {found} now")
    return check


def _whole(
    folder: RunFolder, task: Task, asks: Mapping[str, Any], rollouts: Sequence[Rollout]
) -> Check:
    """Of a complete evaluation, whether every attempt is there."""
    check = Check("attempts there")
    report = folder.report
    if report is None or not report.get("complete") or "rollouts" not in asks:
        return check
    there = {(r.example.id, r.attempt) for r in rollouts if r.role == "solver"}
    for example in first(task, task.examples(asks["split"]), asks["limit"]):
        for attempt in range(asks["rollouts"]):
            here = (example.id, attempt) in there
            check.note("" if here else f"{example.id} attempt {attempt} is not stored")
    return check


def _numbers(
    folder: RunFolder, task: Task, manifest: Mapping[str, Any], rollouts: Sequence[Rollout]
) -> list[Check]:
    """The report's numbers against those of the new verdicts, and its facts, to the bit."""
    check, facts = Check("numbers"), Check("facts")
    asks = manifest["asks"]
    report = folder.report
    if report is None or not report.get("complete") or "metrics" not in asks:
        return [check]
    sampling: dict[str, Any] = {**asks["sampling"], "stop": tuple(asks["sampling"]["stop"])}
    question = Question(
        task=task,
        split=asks["split"],
        rollouts=asks["rollouts"],
        limit=asks["limit"],
        sampling=Sampling(**sampling),
        wanted=tuple(asks["metrics"]),
    )
    records = [
        asdict(each) for each in make_records(question, asks, rollouts, folder.path.name, manifest)
    ]
    now = {record["metric"]: record for record in records}
    for then in report["metrics"]:
        name = then["metric"]
        if name not in now:
            check.note(f"{name} is no metric of {task.name} now")
            continue
        for field in (*NUMBERS, *FACTS):
            one, other = then.get(field), now[name].get(field)
            same = digest(one) == digest(other)
            complaint = "" if same else f"{name}: {field} {one!r:.60} is now {other!r:.60}"
            (check if field in NUMBERS else facts).note(complaint)
    return [check, facts]


def _logged(folder: RunFolder, task: Task, asks: Mapping[str, Any], again: Rescored) -> Check:
    """What training logged of verdicts: dev scores and shares of reasons to the bit.

    Mean rewards to five digits, since trainers take them in float32.
    """
    check = Check("numbers logged")
    found: dict[tuple[str, int], list[Rollout]] = defaultdict(list)
    for (phase, step, *_), rollout in zip(again.keys, again.rollouts, strict=True):
        found[phase, step].append(rollout)
    order = [example.id for example in task.examples("dev")]
    scores = {f"eval/{metric.name}" for metric in task.metrics}
    alone = not asks.get("roles")
    journal = Journal(folder.path / "metrics.jsonl")
    for line in journal.read():
        step = int(line.get("step", 0))
        now = _dev_scores(task, rows(found["dev", step], order))
        made = found["train", step]
        if made and alone:
            now |= _shares(made)
        told = {name for name in line if name in scores or (alone and name.startswith("verdicts/"))}
        for name in sorted(told | (now.keys() & line.keys())):
            same = name in now and digest(now[name]) == digest(line[name])
            changed = f"step {step}: {name} {line[name]} is now {now.get(name, 'not derivable')}"
            check.note("" if same else changed)
        if made and alone and asks.get("reward") and "reward" in line:
            mean = statistics.fmean(_paid(rollout, asks["reward"]) for rollout in made)
            same = math.isclose(mean, line["reward"], rel_tol=1e-5, abs_tol=1e-6)
            check.note("" if same else f"step {step}: reward {line['reward']} is now {mean}")
    for _ in range(journal.damaged):
        check.note("a line of metrics.jsonl is damaged")
    return check


def _dev_scores(task: Task, judged: Sequence[Row]) -> dict[str, float]:
    scores: dict[str, float] = {}
    for metric in task.metrics:
        enough = [row for row in judged if len(row) >= metric.needs]
        if enough:
            scores[f"eval/{metric.name}"] = measure(metric, enough)
    return scores


def _shares(made: Sequence[Rollout]) -> dict[str, float]:
    reasons = Counter(rollout.verdict.reason for rollout in made)
    return {f"verdicts/{name}": count / len(made) for name, count in reasons.items()}


def _paid(rollout: Rollout, weights: Mapping[str, float]) -> float:
    scores = rollout.verdict.scores
    return sum(weight * scores.get(name, math.nan) for name, weight in weights.items())
