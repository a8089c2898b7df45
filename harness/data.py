"""Public data: rows from a folder that was given, or from the hub, checked before they are used.

The environment variable HARNESS_DATA names a folder with one folder a family (`math/aime24.jsonl`,
plain or `.gz`). Where it is set it is the only place that is read: the same command never mixes
files and hub. Rows come with their origin and digest, so that a record can say what was measured.
"""

from __future__ import annotations

import gzip
import json
import math
import os
import socket
import zlib
from collections import Counter
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any, cast
from urllib.parse import urlsplit

from harness.digests import digest, file_digest
from harness.errors import DataError

FOLDER = "HARNESS_DATA"
EMPTY = "is empty"
DIGITS = 4000
"""Longer integers stay text: Python refuses to print integers of more than 4300 digits."""

Cells = Mapping[str, Any]
"""One row as it was read."""


def as_it_is(cells: Cells) -> Cells | None:
    """The row unchanged."""
    return cells


def whatever(cells: Cells) -> Iterable[str]:
    """Nothing is wrong with the row."""
    return ()


@dataclass(frozen=True, kw_only=True)
class Source:
    """Where a public set lies and what its rows must hold."""

    file: str
    """Below HARNESS_DATA, such as `math/aime24.jsonl`; the same with or without `.gz` will do."""
    hub: str = ""
    """Dataset id; a set without one is read from a folder only."""
    config: str | None = None
    split: str = "test"
    revision: str | None = None
    data_files: tuple[str, ...] = ()
    """JSON lines of the hub's repository, for a set that has no loader of its own."""
    shape: Callable[[Cells], Cells | None] = as_it_is
    """A row of the hub as a row of the file; None leaves it out, and is counted."""
    columns: tuple[str, ...] = ("question", "answer")
    """What every row must have, and not empty."""
    check: Callable[[Cells], Iterable[str]] = whatever
    """What is wrong with a row that has all these columns, each fault in words."""
    key: str = "id"
    """Unique over the rows."""
    prefix: str = ""
    """Rows of the hub that have no key get `PREFIX/NUMBER`; the file's name if empty."""
    longest: int = 100_000
    """Characters that a needed column may have."""
    skip_empty: bool = False
    """Leave rows out, counted, in which a needed column is empty; otherwise they are an error."""

    @property
    def place(self) -> str:
        """The hub's id in one word, or the file."""
        parts = (self.hub, self.config or "", "+".join(self.data_files) or self.split)
        at = f"@{self.revision}" if self.revision else ""
        return "/".join(filter(None, parts)) + at if self.hub else self.file


@dataclass(frozen=True)
class Table:
    """Rows that were checked, and where they are from."""

    rows: tuple[Cells, ...]
    origin: str
    """`folder:math/aime24.jsonl sha256:...` or `hub:ID/CONFIG/SPLIT@REVISION`."""
    digest: str
    """Of all rows in their order."""
    left_out: Mapping[str, int] = field(default_factory=dict[str, int])
    """Rows that are not among them, by reason."""

    def __str__(self) -> str:
        """Origin, rows and what was left out, in one line."""
        missing = "".join(f", {count} left out ({why})" for why, count in self.left_out.items())
        return f"{self.origin}, {len(self.rows)} rows {self.digest}{missing}"


_tables: dict[tuple[Any, ...], Table] = {}
_told: dict[str, str] = {}


def load(source: Source) -> Table:
    """The rows of a source; the same table again for a file that did not change.

    Raises DataError, saying what was tried and what would do.
    """
    folder = os.environ.get(FOLDER, "")
    if folder:
        path = _found(Path(folder), source)
        stat = path.stat()
        key = (source, str(path.resolve()), stat.st_mtime_ns, stat.st_size)
        if key not in _tables:
            _tables[key] = _from_file(path, source)
        return _tables[key]
    if (source,) not in _tables:
        _tables[source,] = _from_hub(source)
    return _tables[source,]


def origins() -> dict[str, str]:
    """What this process has read so far: source to origin and digest, for a run's manifest."""
    return {key[0].place: str(table) for key, table in _tables.items()} | _told


def tell(place: str, text: str) -> None:
    """Note what was read by a reader of its own (tables of numbers, grids) for `origins`."""
    _told[place] = text


def in_folder(*names: str, where: str) -> Path:
    """The first of these files below HARNESS_DATA; names may be patterns, as in `air/PRSA_*.csv`.

    `where` says where people get the file. DataError where there is none, or no such folder.
    """
    folder = os.environ.get(FOLDER, "")
    if not folder:
        raise DataError(
            f"{names[0]} is on no hub: {where}, and set {FOLDER} to the folder above it"
        )
    for name in names:
        for path in sorted(Path(folder).glob(name)):
            return path
    raise DataError(f"no file {' or '.join(names)} in {FOLDER}={folder}; {where}")


def read_rows(path: Path) -> Iterator[tuple[int, Cells]]:
    """Line number and cells of each row of a JSON lines file, plain or gzip, one after another.

    Lines end with a newline only: U+2028 may stand within a row.
    """
    number = 0
    try:
        with gzip.open(path, "rb") if path.suffix == ".gz" else path.open("rb") as lines:
            for number, line in enumerate(lines, 1):
                if line.strip():
                    yield number, _cells(path, number, line)
    except (EOFError, OSError, zlib.error) as error:
        raise DataError(
            f"{path} cannot be read after line {number}: {error}; the file is cut or damaged, "
            "get it again"
        ) from error


def _cells(path: Path, number: int, line: bytes) -> Cells:
    try:
        row: object = json.loads(line.decode("utf-8-sig"), parse_int=_integer)
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path}, line {number} is not JSON: {error}") from error
    if not isinstance(row, dict):
        raise DataError(f"{path}, line {number} holds {type(row).__name__}, not a table of columns")
    return cast("dict[str, Any]", row)


def _integer(text: str) -> int | str:
    return int(text) if len(text) <= DIGITS else text


def _found(folder: Path, source: Source) -> Path:
    plain = source.file.removesuffix(".gz")
    for name in (source.file, plain, f"{plain}.gz"):
        if (folder / name).is_file():
            return folder / name
    near = (folder / plain).parent
    there = sorted(path.name for path in near.iterdir()) if near.is_dir() else []
    instead = f" or unset {FOLDER} to read {source.place} from the hub" if source.hub else ""
    raise DataError(
        f"no file {plain} or {plain}.gz in {FOLDER}={folder} "
        f"({near.name} holds: {', '.join(there[:12]) or 'nothing'}); put it there{instead}"
    )


def _from_file(path: Path, source: Source) -> Table:
    numbered = list(read_rows(path))
    rows, left_out = checked(numbered, source, f"{path}", "line")
    told = f"folder:{source.file} sha256:{file_digest(path)[:16]}"
    return Table(rows, told, digest(rows), left_out)


def checked(
    numbered: Iterable[tuple[int, Cells]], source: Source, where: str, unit: str = "row"
) -> tuple[tuple[Cells, ...], dict[str, int]]:
    """The rows that hold what the source asks for, and what was left out of them, by reason.

    DataError names what is wrong with the others, and in which lines or rows.
    """
    rows: list[Cells] = []
    left_out: Counter[str] = Counter()
    wrong: dict[str, list[str]] = {}
    seen: dict[str, int] = {}
    needed = tuple(dict.fromkeys((source.key, *source.columns)))
    for number, cells in numbered:
        faults = [each for name in needed if (each := _fault(cells, name, source.longest))]
        if faults and source.skip_empty and all(each.endswith(EMPTY) for each in faults):
            left_out[faults[0]] += 1
            continue
        for fault in faults or source.check(cells):
            wrong.setdefault(fault, []).append(f"{unit} {number}")
        name = str(cells.get(source.key))
        if name in seen:
            told = f"{unit}s {seen[name]} and {number} ({name[:60]})"
            wrong.setdefault(f"the same {source.key} twice", []).append(told)
        seen.setdefault(name, number)
        rows.append(cells)
    if not rows:
        raise DataError(f"{where} holds no rows{' that are filled' if left_out else ''}")
    if wrong:
        listed = "; ".join(f"{fault}: {_first(places)}" for fault, places in wrong.items())
        raise DataError(f"{where} cannot be used: {listed}")
    return tuple(rows), dict(left_out)


def _fault(cells: Cells, column: str, longest: int) -> str:
    if column not in cells:
        return f"no column '{column}' (there are: {', '.join(map(str, cells)) or 'none'})"
    value = cells[column]
    if isinstance(value, float) and not math.isfinite(value):
        return f"'{column}' is {value}"
    if value is None or (isinstance(value, str | list) and not _filled(cast(Any, value))):
        return f"'{column}' {EMPTY}"
    if isinstance(value, str) and len(value) > longest:
        return f"'{column}' has more than {longest} characters"
    return ""


def _filled(value: str | list[Any]) -> bool:
    if isinstance(value, str):
        return bool(value.strip())
    return bool(value) and all(each is not None and str(each).strip() for each in value)


def _first(places: list[str]) -> str:
    rest = f" and {len(places) - 3} more" if len(places) > 3 else ""
    return ", ".join(places[:3]) + rest


def _from_hub(source: Source) -> Table:
    if not source.hub:
        raise DataError(
            f"{source.file} is on no hub: set {FOLDER} to a folder that holds {source.file}"
        )
    found = _fetched(source)
    prefix = source.prefix or Path(source.file).name.partition(".")[0]
    kept: list[tuple[int, Cells]] = []
    unwanted = 0
    for number, cells in enumerate(found):
        try:
            shaped = source.shape(cast("dict[str, Any]", cells))
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise DataError(
                f"row {number} of {source.place} does not have the columns that are known of it "
                f"({type(error).__name__}: {error}); there are: {', '.join(map(str, cells))}"
            ) from error
        if shaped is None:
            unwanted += 1
            continue
        kept.append((number, {source.key: f"{prefix}/{number}", **shaped}))
    rows, left_out = checked(kept, source, source.place)
    if unwanted:
        left_out["not of this set"] = unwanted
    return Table(rows, f"hub:{source.place}{_commit(found)}", digest(rows), left_out)


def _fetched(source: Source) -> Any:
    datasets: Any = import_module("datasets")
    with _without_waiting(source):
        try:
            if source.data_files:
                return datasets.load_dataset("json", data_files=_addresses(source), split="train")
            return datasets.load_dataset(
                source.hub, source.config, split=source.split, revision=source.revision
            )
        except Exception as error:  # the hub's client raises errors of many libraries
            raise DataError(
                f"{source.place} did not come from the hub ({type(error).__name__}: "
                f"{' '.join(str(error).split())[:200]}). Set {FOLDER} to a folder with "
                f"{source.file}, or connect to the hub"
            ) from error


def _addresses(source: Source) -> list[str]:
    """Of single files in a repository of the hub, or in a folder that stands for one."""
    if Path(source.hub).exists():
        return [str(Path(source.hub) / name) for name in source.data_files]
    at = f"@{source.revision}" if source.revision else ""
    return [f"hf://datasets/{source.hub}{at}/{name}" for name in source.data_files]


@contextmanager
def _without_waiting(source: Source) -> Generator[None]:
    """Offline, the hub's client retries for half a minute; with offline mode on it looks at its
    cache at once."""
    config: Any = import_module("datasets.config")
    constants: Any = import_module("huggingface_hub.constants")
    host = urlsplit(str(constants.ENDPOINT)).hostname or ""
    proxied = any(os.environ.get(name) for name in ("HTTPS_PROXY", "https_proxy", "ALL_PROXY"))
    if Path(source.hub).exists() or proxied or _resolves(host):
        yield
        return
    before = (constants.HF_HUB_OFFLINE, config.HF_HUB_OFFLINE)
    constants.HF_HUB_OFFLINE = config.HF_HUB_OFFLINE = True
    try:
        yield
    finally:
        constants.HF_HUB_OFFLINE, config.HF_HUB_OFFLINE = before


def _resolves(host: str) -> bool:
    try:
        socket.getaddrinfo(host, 443)
    except OSError:
        return False
    return True


def _commit(found: Any) -> str:
    """The hub's commit, as it stands in the addresses of the files that were read."""
    addresses: list[str] = list(found.info.download_checksums or ())
    for address in addresses:
        _, at, rest = address.partition("@")
        if at:
            return f" commit:{rest.partition('/')[0]}"
    return ""
