"""`harness submit`: records from elsewhere, judged again where their rollouts are given."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from results.record import Record

Flag = typer.Option


def run(
    what: Annotated[
        Path, typer.Argument(help="records (.jsonl, .json), a run's folder, results, or a .zip")
    ],
    by: Annotated[str, Flag(help="who submits: a name, or the address of a page")],
    task: Annotated[
        str | None, Flag("--task", help="where the task lies, if it was named by a path")
    ] = None,
    dry_run: Annotated[bool, Flag("--dry-run", help="check only; nothing is stored")] = False,
    output: Annotated[Path, Flag("--output-dir", "-o", help="where records and runs lie")] = Path(
        "results"
    ),
    as_json: Annotated[bool, Flag("--json", help="machine-readable result")] = False,
) -> None:
    """Check records from elsewhere, judge their rollouts again, and add them: rescored or claimed.

    Rescored records are ranked with those measured here. Claimed ones, which came without rollouts,
    never are. That the model named did give the answers is taken on trust in both.
    """
    from harness.commands import screen
    from harness.errors import UsageError
    from results.record import append
    from results.submission import read, text_fault

    if not by.strip() or len(by) > 200 or text_fault(by):
        raise UsageError(f"--by names who submits in at most 200 plain characters, not {by[:60]!r}")
    output.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".submitted-", dir=output) as scratch:
        found = read(what, Path(scratch))
        rescored, left = _rescored(found.runs, task, by)
        claimed = _claimed(found.records, rescored, by)
        _check(rescored, claimed, output, task)
        if not rescored and not claimed:
            raise UsageError(f"{what} holds no record: {'; '.join(left) or 'none at all'}")
        if not dry_run:
            for name in {record.run for record in rescored}:
                _moved(found.runs[name], output / "runs" / name)
            append([*rescored, *claimed], output / "records")
    told = {"rescored": rescored, "claimed": claimed, "not rescored": left}
    if as_json:
        screen.emit(told)
        return
    for record in (*rescored, *claimed):
        print(f"{record.origin:<9} {record.task} {record.metric} {record.value:.4g} {record.model}")
    for why in left:
        screen.say(f"not rescored: {why}")
    done = "would be added" if dry_run else "added"
    print(f"{len(rescored)} rescored and {len(claimed)} claimed records {done}, by {by}")


def _rescored(
    runs: Mapping[str, Path], task: str | None, by: str
) -> tuple[list[Record], list[str]]:
    """Records of the runs whose every number was derived again; and why others were not.

    DataError where a number came out otherwise.
    """
    from harness.commands.receipts import receipt_of, write_receipt
    from harness.errors import DataError, UsageError
    from results.run import RunFolder

    records: list[Record] = []
    left: list[str] = []
    for name, path in runs.items():
        folder = RunFolder(path)
        try:
            receipt = receipt_of(folder, task)
        except UsageError as error:  # there is no such task here
            left.append(f"{name}: {str(error)[:300]}")
            continue
        version = receipt["version"]
        if version["then"] != version["now"]:
            left.append(f"{name}: its task had version {version['then']}, here {version['now']}")
            continue
        if not receipt["agrees"]:
            wrong = [each for check in receipt["checks"] for each in check.first if check.wrong]
            raise DataError(
                f"run {name} does not follow from its own rollouts: {'; '.join(wrong)[:600]}"
            )
        made = _entries(folder, name)
        if not made:
            left.append(f"{name}: no complete evaluation")
            continue
        write_receipt(folder, receipt)
        records += [record.but(origin="rescored", source=by) for record in made]
    return records, left


def _entries(folder: Any, name: str) -> list[Record]:
    """The records of a run's report, which its receipt agreed with."""
    from harness.codec import plain
    from harness.errors import DataError
    from results.record import record_of
    from results.submission import text_fault

    report = folder.report
    if report is None or report.get("complete") is not True or "recipe" in report:
        return []
    made = [record_of(plain(entry)) for entry in report["metrics"]]
    for record in made:
        if record.run != name:
            raise DataError(f"the run in folder {name} says that it is '{record.run[:100]}'")
        for words in (record.model, record.metric, record.recipe, record.base, record.machine):
            if fault := text_fault(words):
                raise DataError(f"run {name}: {fault}")
    return made


def _claimed(records: Sequence[Record], rescored: Sequence[Record], by: str) -> list[Record]:
    """The records that no rollouts came with; DataError where one contradicts its own rollouts."""
    from harness.errors import DataError

    derived = {record.key: record for record in rescored}
    claimed: list[Record] = []
    for record in records:
        claim = record.but(origin="claimed", source=by)
        own = derived.get(claim.key)
        if own is None:
            claimed.append(claim)
        elif claim.but(origin="rescored") != own:
            raise DataError(
                f"the record {record.metric} of run {record.run} says {record.value!r}, or other "
                f"things, than its run, which says {own.value!r}"
            )
    return claimed


def _check(
    rescored: Sequence[Record], claimed: Sequence[Record], output: Path, task: str | None
) -> None:
    """DataError where a record is refused for what it says, or for what is here already."""
    from harness.commands.proofs import Line, Verifier
    from harness.errors import DataError
    from results.record import load

    there = load(output / "records")
    measured = {record.run for record in there if record.origin == "measured"}
    better = {record.key for record in there if record.origin == "rescored"}
    verifier = Verifier(output, task)
    for record in (*rescored, *claimed):
        if record.run in measured:
            raise DataError(f"run {record.run} was measured here: a submission cannot replace it")
        if record.origin == "claimed" and record.key in better:
            raise DataError(f"run {record.run} was rescored here: a claim cannot replace it")
    for record in claimed:
        line = Line(Path("submitted.jsonl"), 0, record)
        for part in ("numbers", "data"):
            found = verifier.part(part, line)
            if found.outcome == "wrong":
                raise DataError(f"a claimed record is refused: {found.why}")


def _moved(source: Path, target: Path) -> None:
    """The run among those that lie here; one of the same name stays, if it is the same."""
    from harness.errors import DataError
    from results.run import RunFolder

    if not target.exists():
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.move(source, target)
    elif RunFolder(target).manifest.get("asks") != RunFolder(source).manifest.get("asks"):
        raise DataError(f"another run lies in {target}; rename the one that is submitted")
