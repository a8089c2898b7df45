"""What `compare` compares: runs and models found by name, paired example by example."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from harness.digests import digest
from harness.errors import DataError, HarnessError, IncompleteRun, UnknownName, UsageError
from leaderboards.pairs import clusters, examples
from leaderboards.rank import FREE_SETTINGS, setting
from leaderboards.sheets import row_name
from results.record import Record, record_of
from results.run import RunFolder, find_run

DATA = ("prompts", "examples")
"""Settings that digest all examples of a run: they tell nothing of runs of different length."""
Topic = tuple[str, str, str]
"""(task, split, metric)."""


@dataclass(frozen=True)
class Side:
    """One record of a comparison, and the value of each of its examples."""

    name: str
    record: Record
    values: Mapping[str, float]
    clusters: Mapping[str, str] | None
    prompts: Mapping[str, str] | None
    """Digest of what was read, by example; None where the rollouts are not here."""
    folder: RunFolder | None


@dataclass(frozen=True)
class Candidate:
    """What a name on the command line stands for."""

    name: str
    records: tuple[Record, ...]
    folder: RunFolder | None = None


def find(word: str, records: Sequence[Record], output: Path) -> Candidate:
    """The run of that path or id, or the model of that name among the records."""
    try:
        folder = find_run(word, output)
    except UsageError as no_run:
        measured = [record for record in records if record.ranked]
        named = [r for r in measured if word in (r.model, row_name(r))]
        exact = [r for r in named if row_name(r) == word]
        if named:
            return Candidate(word, tuple(exact or named))
        if "begins more than one" in str(no_run):
            raise
        runs = [path.parent.name for path in (output / "runs").glob("*/manifest.json")]
        known = {*map(row_name, measured), *runs}
        if not known:
            raise
        raise UnknownName(word, f"the runs and records of {output}", known) from no_run
    return Candidate(word, tuple(run_records(folder)), folder)


def run_records(folder: RunFolder) -> list[Record]:
    """The records in a run's report; IncompleteRun where it has none yet."""
    report = folder.report
    if report is None or report.get("complete") is not True:
        raise IncompleteRun(
            f"{folder.path} is not complete; the command that began it goes on from there"
        )
    tables = report.get("metrics")
    if not isinstance(tables, list) or not tables:
        raise DataError(f"the report of {folder.path} holds no metrics")
    try:
        return [record_of(table) for table in cast(list[dict[str, Any]], tables)]
    except (HarnessError, TypeError, ValueError) as error:
        raise DataError(f"{folder.path / 'report.json'} is damaged: {error}") from error


def topics(sides: Sequence[Candidate], task: str | None, metric: str | None) -> list[Topic]:
    """What all sides have been measured on: the headline of each task, or the metric asked for."""
    found = [_topics(side.records, metric) for side in sides]
    common = [t for t in found[0] if all(t in other for other in found[1:])]
    chosen = [topic for topic in common if task is None or topic[0] == task]
    if chosen:
        return chosen
    if task is not None and common:
        raise UnknownName(task, "the tasks they have in common", {t[0] for t in common})
    told = "; ".join(
        f"{side.name}: {', '.join(sorted({' '.join(t) for t in _topics(side.records, None)})[:5])}"
        for side in sides
    )
    what = f"the metric {metric}" if metric else "no task and split"
    raise UsageError(f"they have {what}{' not' if metric else ''} in common. {told}")


def _topics(records: Iterable[Record], metric: str | None) -> list[Topic]:
    heads: dict[tuple[str, str], Topic] = {}
    for record in records:
        if metric in (None, record.metric):
            heads.setdefault(
                (record.task, record.split), (record.task, record.split, record.metric)
            )
    return list(heads.values())


def gather(sides: Sequence[Candidate], topic: Topic, output: Path) -> list[Side]:
    """One record of each side: of one setting if they have one in common, else the latest."""
    offers = [[r for r in side.records if (r.task, r.split, r.metric) == topic] for side in sides]
    settings = [{digest(setting(r)) for r in offer} for offer in offers]
    shared = set[str].intersection(*settings)
    chosen: list[Side] = []
    for side, offer in zip(sides, offers, strict=True):
        alike = [r for r in offer if digest(setting(r)) in shared] or offer
        record = max(alike, key=lambda r: r.when)
        chosen.append(_side(side, record, output))
    return chosen


def _side(candidate: Candidate, record: Record, output: Path) -> Side:
    if not record.values:
        raise UsageError(
            f"{record.metric} of {record.task} has no value of each example, so nothing can be "
            "paired; choose another with --metric"
        )
    folder = candidate.folder
    if folder is None:
        beside = RunFolder(output / "runs" / Path(record.run).name)
        folder = beside if (beside.path / "manifest.json").exists() else None
    prompts = _prompts(folder, record) if folder else None
    ids = sorted(prompts) if prompts else None
    return Side(
        candidate.name, record, examples(record, ids), clusters(record, ids), prompts, folder
    )


def _prompts(folder: RunFolder, record: Record) -> dict[str, str] | None:
    """Digest of the prompt of each example; None where no rollouts are kept."""
    journal = folder.rollouts
    found = {
        str(row["example"]): str(row.get("prompt_digest", ""))
        for row in journal.read()
        if row.get("role") == "solver" and "example" in row
    }
    if not found:
        return None
    if digest(sorted(found)) != record.example_ids_digest:
        raise DataError(
            f"the rollouts of {folder.path} are not those of its record: {len(found)} examples, "
            f"and {record.examples} were recorded; `harness rescore {folder.path.name}` tells more"
        )
    return found


def aligned(sides: Sequence[Side]) -> list[Side]:
    """The sides with ids that mean the same; UsageError where they may not be compared."""
    first = sides[0]
    for other in sides[1:]:
        _refuse(first, other)
    if all(side.prompts for side in sides):
        return list(sides)
    if len({side.record.example_ids_digest for side in sides}) == 1:
        known = next((sorted(side.prompts) for side in sides if side.prompts), None)
        return [_renamed(side, known) for side in sides]  # all were asked the same examples
    missing = next(side for side in sides if not side.prompts)
    raise UsageError(
        f"they were asked different examples, and the rollouts of {missing.name} are not here to "
        "pair the common ones"
    )


def _renamed(side: Side, ids: Sequence[str] | None) -> Side:
    r = side.record
    return Side(side.name, r, examples(r, ids), clusters(r, ids), side.prompts, side.folder)


def _refuse(a: Side, b: Side) -> None:
    """UsageError where two records do not measure the same thing."""
    left, right = setting(a.record), setting(b.record)
    fixed = ["version", "better", "unit"]
    odd = [name for name in fixed if left[name] != right[name]]
    free = {*FREE_SETTINGS, *DATA}
    names = {*left["settings"], *right["settings"]} - free
    odd += sorted(n for n in names if left["settings"].get(n) != right["settings"].get(n))
    if left["examples"] == right["examples"] and "prompts" not in odd:
        asked, other = left["settings"], right["settings"]
        odd += [name for name in DATA if asked.get(name) != other.get(name)]
    elif a.prompts and b.prompts:
        common = a.prompts.keys() & b.prompts.keys()
        if not common:
            raise UsageError(f"{a.name} and {b.name} have no example in common")
        odd += ["prompts"] if any(a.prompts[id] != b.prompts[id] for id in common) else []
    if odd:
        raise UsageError(
            f"{a.name} and {b.name} do not measure the same thing: they differ in "
            f"{', '.join(odd)}. Evaluate one of them again as the other was"
        )


def sampling_differences(sides: Sequence[Side]) -> list[str]:
    """Settings of sampling in which the sides differ, as lines for people."""
    tables = [setting(side.record)["sampling"] for side in sides]
    names = sorted({name for table in tables for name in table})
    return [
        f"{name} differs: " + ", ".join(str(table.get(name)) for table in tables)
        for name in names
        if len({str(table.get(name)) for table in tables}) > 1
    ]


def attempts(side: Side, ids: Sequence[str]) -> dict[str, list[dict[str, Any]]]:
    """The stored rollouts of some examples, by example, in the order of attempts."""
    found: dict[str, list[dict[str, Any]]] = {id: [] for id in ids}
    for row in _rows(side):
        if row.get("example") in found and row.get("role") == "solver":
            found[row["example"]].append(row)
    for rows in found.values():
        rows.sort(key=lambda row: int(row.get("attempt", 0)))
    return found


def _rows(side: Side) -> Iterator[dict[str, Any]]:
    if side.folder is not None and side.prompts:
        yield from side.folder.rollouts.read()
