"""`harness rescore`: every verdict and number of a run derived again, without the model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from harness.types import Rollout, Task
    from results.rescoring import Check
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


def run(
    run: Annotated[str, typer.Argument(help="a run's folder, or the beginning of its id")],
    task: Annotated[
        str | None, typer.Option("--task", help="where the task lies, if it was named by a path")
    ] = None,
    output: Annotated[Path, typer.Option("--output-dir", "-o")] = Path("results"),
    as_json: Annotated[bool, typer.Option("--json", help="machine-readable receipt")] = False,
) -> None:
    """Derive a run's verdicts and numbers again without its model; exits with 0 if all agree."""
    from harness.commands import screen
    from results.run import find_run

    folder = find_run(run, output)
    receipt = receipt_of(folder, task)
    write_receipt(folder, receipt)
    if as_json:
        screen.emit(receipt)
    else:
        _print(folder, receipt)
    if not receipt["agrees"]:
        raise typer.Exit(1)


def receipt_of(folder: RunFolder, place: str | None = None) -> dict[str, Any]:
    """What a run says, checked against what follows from its rollouts."""
    from datetime import UTC, datetime

    from harness.environment import environment
    from results.rescoring import rescore

    manifest = folder.manifest
    asks = manifest["asks"]
    found = _task(place or manifest.get("place") or asks["task"])
    journal = folder.rollouts
    lines = list(journal.read())
    again = rescore(found, lines, asks.get("reward"))
    whole = _whole(folder, found, asks, again.rollouts)
    checks = [*again.checks, _data(found, asks), whole]
    if not whole.wrong:
        checks.append(_numbers(folder, found, asks, again.rollouts))
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


def _task(name: str) -> Task:
    from harness import registry
    from harness.errors import UnknownName, UsageError

    try:
        return registry.task(name)
    except UnknownName as error:
        raise UsageError(f"{error} If it lies in a file of its own, add --task PATH.py") from error


def write_receipt(folder: RunFolder, receipt: Mapping[str, Any]) -> None:
    """Beside the run's report."""
    import msgspec

    from harness.codec import plain
    from harness.journal import write_whole

    data = msgspec.json.format(msgspec.json.encode(plain(receipt)), indent=1)
    write_whole(folder.path / "receipt.json", data)


def _data(task: Task, asks: Mapping[str, Any]) -> Check:
    """Whether the examples and prompts are those that were asked."""
    from harness.digests import digest, example_digest, prompt_digest
    from results.rescoring import Check

    check = Check("data digests")
    examples = list(task.examples(asks.get("split", "train")))[: asks.get("limit")]
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
    from results.rescoring import Check

    check = Check("attempts there")
    report = folder.report
    if report is None or not report.get("complete") or "rollouts" not in asks:
        return check
    there = {(r.example.id, r.attempt) for r in rollouts if r.role == "solver"}
    for example in list(task.examples(asks["split"]))[: asks["limit"]]:
        for attempt in range(asks["rollouts"]):
            here = (example.id, attempt) in there
            check.note("" if here else f"{example.id} attempt {attempt} is not stored")
    return check


def _numbers(
    folder: RunFolder, task: Task, asks: Mapping[str, Any], rollouts: Sequence[Rollout]
) -> Check:
    """The report's numbers against those of the new verdicts, to the bit."""
    from dataclasses import asdict

    from harness.commands.evaluation import Question, make_records
    from harness.digests import digest
    from harness.models import Sampling
    from results.rescoring import Check

    check = Check("numbers")
    report = folder.report
    if report is None or not report.get("complete") or "metrics" not in asks:
        return check
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
        asdict(each) for each in make_records(question, asks, rollouts, folder.path.name, {})
    ]
    now = {record["metric"]: record for record in records}
    for then in report["metrics"]:
        name = then["metric"]
        if name not in now:
            check.note(f"{name} is no metric of {task.name} now")
            continue
        for number in NUMBERS:
            one, other = then.get(number), now[name].get(number)
            same = digest(one) == digest(other)
            check.note("" if same else f"{name}: {number} {one!r:.60} is now {other!r:.60}")
    return check


def _print(folder: RunFolder, receipt: Mapping[str, Any]) -> None:
    version = receipt["version"]
    print(f"{receipt['run']}: {receipt['task']}")
    for check in receipt["checks"]:
        wrong = f", {check.wrong} of them otherwise" if check.wrong else ""
        print(f"  {check.what:<18} {check.checked:>7} checked{wrong}")
        for complaint in check.first:
            print(f"    {complaint}")
    if version["then"] != version["now"]:
        print(
            f"  the task had version {version['then']} then and has {version['now']} now: its "
            "verdicts need not be the same. Check out the commit of then to compare like with like"
        )
    if receipt["rewards"] == "stages":
        print("  the recipe pays by stages of its own: its rewards are not derived from verdicts")
    moved = _moved(receipt["environment"])
    if moved:
        print(f"  other versions now: {', '.join(moved)}")
    print(f"  verdicts' digest   {receipt['rollouts_digest']}")
    print("all agrees" if receipt["agrees"] else "it does not agree")
    print(f"receipt: {folder.path / 'receipt.json'}")


def _moved(environment: Mapping[str, Any]) -> list[str]:
    """Packages whose version is another one now."""
    old, new = (_packages(environment[when]) for when in ("then", "now"))
    return [
        f"{name} {old.get(name, 'none')} -> {new.get(name, 'none')}"
        for name in sorted({*old, *new})
        if old.get(name) != new.get(name)
    ]


def _packages(environment: Mapping[str, Any] | None) -> dict[str, str]:
    return dict(environment["packages"]) if environment else {}
