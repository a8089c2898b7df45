"""Record: one measured number with all that is needed to believe it, and the files they lie in.

`records/<family>.jsonl` holds one record a line and only grows. What a run says again replaces what
it said before, so the last line of a run and metric counts. A last line without its end (a writer
was killed) is left out and counted; any other damage is an error that names file and line. Lines
are chained by their digests (`results.chain`).

Where a number comes from is its origin. `measured`: here. `rescored`: submitted from elsewhere with
its rollouts, which were judged again here. `claimed`: submitted without them. `reported`: copied
from a page. Only the first two are ever ranked.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from datetime import date, datetime
from pathlib import Path
from typing import Any, Literal

import msgspec

from harness.codec import plain, revive
from harness.errors import BusyError, DataError
from harness.journal import Journal
from harness.types import Better, Split
from results import chain

Origin = Literal["measured", "rescored", "claimed", "reported"]
RANKED: frozenset[Origin] = frozenset({"measured", "rescored"})
NAME = re.compile(r"[A-Za-z0-9][\w.-]*(/[\w.+:=@-]+)*")
LONGEST_TEXT = 2_000
PATIENCE = 30.0
"""Seconds that `append` waits for another writer."""


@dataclass(frozen=True, kw_only=True)
class Record:
    """One number about one model; DataError where its parts contradict each other."""

    task: str
    version: int
    split: Split
    metric: str
    value: float
    low: float = math.nan
    """Lower end of the 95 % interval; NaN where none is known."""
    high: float = math.nan
    better: Better = "higher"
    unit: str = ""
    model: str
    """What a board shows."""
    model_digest: str = ""
    recipe: str = ""
    """What trained it; empty for a model as it came."""
    base: str = ""
    """What was trained."""
    seeds: list[int] = field(default_factory=list[int])
    examples: int
    rollouts: int = 1
    """Per example."""
    clusters: int = 0
    """Units of resampling; 0 where each example is its own."""
    sampling: dict[str, Any] = field(default_factory=dict[str, Any])
    settings: dict[str, Any] = field(default_factory=dict[str, Any])
    """Whatever else moves the number: prompts' digest, judge, window."""
    reasons: dict[str, float] = field(default_factory=dict[str, float])
    """Share of each reason among the verdicts."""
    values: list[float] = field(default_factory=list[float])
    """Of each example by sorted id, NaN where it has none. Empty for metrics of the whole."""
    example_ids_digest: str = ""
    cluster_of: list[int] = field(default_factory=list[int])
    """Cluster of each value; empty where each example is its own."""
    dtype: str = ""
    engine: str = ""
    batch: int = 0
    threads: int = 0
    dataset: str = ""
    """Where the questions come from: hub id and revision, or `generated`."""
    digest: str = ""
    """Of what the run's manifest asks."""
    run: str = ""
    commit: str = ""
    when: str = ""
    """ISO time in UTC."""
    seconds: float = 0.0
    machine: str = ""
    origin: Origin = "measured"
    source: str = ""
    """Address of the page that reports the number; who submitted it, of what was submitted."""
    model_date: str = ""
    """ISO date of the last that the model can have learned from, as its makers declare it."""
    data_date: str = ""
    """ISO date before which none of the examples was public."""
    note: str = ""

    def __post_init__(self) -> None:
        for name in ("low", "high"):  # one NaN, so that equal records compare equal
            if math.isnan(getattr(self, name)):
                object.__setattr__(self, name, math.nan)
        if not _sums_up(self.values) and any(value != value for value in self.values):
            values = [math.nan if value != value else value for value in self.values]
            object.__setattr__(self, "values", values)
        for wrong in _faults(self):
            raise DataError(f"a record of {self.task[:200]}, {self.metric[:100]}: {wrong}")

    @property
    def family(self) -> str:
        """The part of the task's name before the slash: the file the record lies in."""
        return self.task.partition("/")[0]

    @property
    def key(self) -> tuple[str, ...]:
        """Of two records with the same key the later one counts."""
        origin = "submitted" if self.origin in ("rescored", "claimed") else self.origin
        key = (origin, self.run, self.task, self.split, self.metric, self.recipe)
        return (*key, self.model, self.source) if origin == "reported" else key

    @property
    def ranked(self) -> bool:
        """Whether it may stand among measured numbers."""
        return self.origin in RANKED

    @property
    def seen(self) -> bool | None:
        """Whether the model may have learned from the examples; None where a date is not known."""
        if not self.model_date or not self.data_date:
            return None
        return self.data_date <= self.model_date

    def but(self, **changes: Any) -> Record:
        """The same record with some fields replaced."""
        return replace(self, **changes)


FIELDS = frozenset(f.name for f in fields(Record))


def record_of(table: Mapping[str, Any]) -> Record:
    """The record of a table (a line, or an entry of a run's report); DataError where it is none."""
    return _record_of(table, marked=True)


def _record_of(table: Mapping[str, Any], *, marked: bool) -> Record:
    """`marked`: whether anything in the table may be what `plain` made of no JSON."""
    unknown = sorted(set(table) - FIELDS)
    if unknown:
        raise DataError(
            f"no such field of a record: {', '.join(unknown)[:200]}. Was it written by a newer "
            "version of harness?"
        )
    try:
        return msgspec.convert(revive(dict(table)) if marked else table, Record)
    except (msgspec.ValidationError, ValueError, TypeError, KeyError) as error:
        raise DataError(str(error)) from error


def append(records: Iterable[Record], folder: Path) -> int:
    """Add records to the files of their families; gives the number of lines written.

    A record that is there already, but for time and duration, is not written again. Waits half a
    minute for another writer, then BusyError.
    """
    by_family: dict[str, list[Record]] = {}
    for record in records:
        checked = record_of(plain(record))  # nothing is written that could not be read again
        by_family.setdefault(checked.family, []).append(checked)
    written = 0
    for family, members in by_family.items():
        journal = _opened(folder / f"{family}.jsonl")
        try:
            written += _extend(journal, members)
        finally:
            journal.close()
    return written


def _extend(journal: Journal, records: Sequence[Record]) -> int:
    """Add what is new to an open file, each line linked to the one before."""
    there = {record.key: record for _, record in numbered(journal.path)}
    new: list[Record] = []
    for record in records:
        old = there.get(record.key)
        if old is None or record.but(when=old.when, seconds=old.seconds) != old:
            there[record.key] = record
            new.append(record)
    before = _sealed(journal) if new else chain.START
    for record in new:
        line = chain.linked(plain(record), before)
        journal.append(line)
        before = line[chain.LINK]
    return len(new)


def seal(folder: Path) -> list[Path]:
    """Chain the lines of files from before there was a chain; gives the files that were."""
    made: list[Path] = []
    for path in sorted(folder.glob("*.jsonl")):
        if not (links := chain.check(path)).sealed and not links.links:
            journal = _opened(path)
            try:
                _sealed(journal)
            finally:
                journal.close()
            made.append(path)
    return made


def _sealed(journal: Journal) -> str:
    """The link that the next line names; of a file without a chain, after it was sealed."""
    links = chain.check(journal.path)
    if links.sealed or links.links:
        return links.last
    line = chain.linked({chain.GENESIS: links.genesis()}, chain.START)
    journal.append(line)
    return line[chain.LINK]


def load(
    folder: Path,
    say: Callable[[str], None] | None = None,
    links: dict[Path, chain.Chain] | None = None,
) -> list[Record]:
    """All records of a folder, the latest of each key at the place of its first: file by file.

    `say` is told of half-written lines that were left out. DataError names file and line of
    whatever else is not a record. `links` is given the chain of each file: of the very bytes that
    the records were read from.
    """
    latest: dict[tuple[str, ...], Record] = {}
    for path in sorted(folder.glob("*.jsonl")):
        if chain.half_written(path):
            (say or _unheard)(f"1 half-written record at the end of {path} is left out")
        walked = chain.Chain() if links is not None else None
        for _, record in numbered(path, walked):
            if record.family != path.stem:
                raise DataError(f"{path} holds a record of {record.task}, which is not its family")
            latest[record.key] = record  # a run's first metric stays its first
        if links is not None and walked is not None:
            links[path] = walked
    return list(latest.values())


def _unheard(text: str) -> None:
    """Nobody asked."""


def _opened(path: Path) -> Journal:
    from tenacity import Retrying, retry_if_exception_type, stop_after_delay, wait_random

    waiting = Retrying(
        retry=retry_if_exception_type(BusyError),
        stop=stop_after_delay(PATIENCE),
        wait=wait_random(0.01, 0.1),
        reraise=True,
    )
    return waiting(Journal(path).open)


def numbered(path: Path, links: chain.Chain | None = None) -> Iterator[tuple[int, Record]]:
    """Every record of a file with the number of its line; DataError names the line of damage.

    `links` is walked along.
    """
    for number, raw, table in chain.walk(chain.raw_lines(path), path):
        if links is not None:
            links.add(number, raw, table)
        if chain.GENESIS in table:
            continue
        try:
            marked = b"$" in raw or b"\\u" in raw  # else nothing in it is to be revived
            yield number, _record_of(chain.unlinked(table), marked=marked)
        except DataError as error:
            raise DataError(chain.damage(path, number, error)) from error


def _faults(record: Record) -> Iterator[str]:
    """What contradicts itself."""
    if not NAME.fullmatch(record.task):
        yield f"'{record.task[:100]}' is no task's name; family/member would be"
    for name in FIELDS:
        text = getattr(record, name)
        if isinstance(text, str) and len(text) > LONGEST_TEXT:
            yield f"{name} has {len(text):,} characters; {LONGEST_TEXT:,} are the most"
    if not record.metric or not record.model:
        yield "metric and model need a name"
    yield from _number_faults(record)
    if record.ranked and not record.run:
        yield f"a {record.origin} number names its run"
    if record.origin == "claimed" and not record.source:
        yield "a claimed number names who claims it as its source"
    if record.origin == "reported" and not re.match(r"https?://\S+$", record.source):
        yield f"a reported number needs the address of its source, not '{record.source[:100]}'"
    yield from _date_faults(record)


def _date_faults(record: Record) -> Iterator[str]:
    if record.when:
        try:
            datetime.fromisoformat(record.when)
        except ValueError:
            yield f"'{record.when[:40]}' is no ISO time such as 2026-01-31T12:00:00+00:00"
    for text in filter(None, (record.model_date, record.data_date)):
        if not day(text):
            yield f"'{text[:40]}' is no ISO date such as 2026-01-31"


def day(text: str) -> str:
    """The text where it is an ISO date such as 2026-01-31, else nothing."""
    try:
        return text if date.fromisoformat(text).isoformat() == text else ""
    except ValueError:
        return ""


def _number_faults(record: Record) -> Iterator[str]:
    if not math.isfinite(record.value):
        yield f"the value is {record.value}; a metric without a number gives no record"
    if math.isnan(record.low) != math.isnan(record.high):
        yield f"[{record.low}, {record.high}] is half an interval; give both ends, or neither"
    if record.low > record.high:
        yield f"the interval [{record.low}, {record.high}] ends before it begins"
    counts = (record.version, record.examples, record.rollouts - 1, record.clusters)
    if min(counts) < 0 or (record.ranked and record.examples < 1):
        yield "version, examples, rollouts and clusters are counts, and something was measured"
    if record.values and len(record.values) != record.examples:
        yield f"{len(record.values)} values of {record.examples} examples"
    if record.values and not record.example_ids_digest:
        yield "values need example_ids_digest, or nothing can be paired with them"
    if record.cluster_of and len(record.cluster_of) != len(record.values):
        yield f"{len(record.cluster_of)} clusters of {len(record.values)} values"
    if not _sums_up(record.values) and any(math.isinf(value) for value in record.values):
        yield "the value of an example is infinite"
    if not all(0 <= share <= 1 for share in record.reasons.values()):
        yield f"shares of reasons lie in [0, 1]: {dict(record.reasons)}"
    if not math.isfinite(record.seconds) or record.seconds < 0:
        yield f"{record.seconds} seconds"


def _sums_up(values: Sequence[float]) -> bool:
    """Whether none is NaN or infinite, for sure: their sum, quickly found, would be, too."""
    return math.isfinite(sum(values))


def by_run(records: Sequence[Record]) -> dict[str, list[Record]]:
    """The measured and rescored records of each run, in their order."""
    found: dict[str, list[Record]] = {}
    for record in records:
        if record.ranked:
            found.setdefault(record.run, []).append(record)
    return found
