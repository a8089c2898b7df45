"""Submissions: records from elsewhere, with or without the runs behind them. All of it is hostile.

A submission is a file of records (.jsonl, or .json as model cards have it), a run's folder, a
folder with `records` and `runs` as `--output-dir` has them, or a .zip of such a folder. Nothing in
it is run or followed: links, names that leave the folder, files that unpack to more than the
limits, and text that would pass for a page's own are refused, with the place of what was wrong.
"""

from __future__ import annotations

import re
import shutil
import stat
import unicodedata
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO

import msgspec

from harness.errors import DataError, UsageError
from results import chain
from results.record import Record, record_of
from results.run import folder_name, read_table

LONGEST_LINE = 4 << 20
MOST_BYTES = 256 << 20
"""Of all files together, unpacked."""
MOST_FILES = 2_000
MOST_RECORDS = 100_000
CHUNK = 1 << 20
RUN_FILES = (
    "manifest.json",
    "report.json",
    "rollouts.jsonl",
    "rollouts.jsonl.zst",
    "rollouts.arrays",
)
HIDDEN = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})
MARKUP = re.compile(r"<[!/?a-zA-Z]|javascript:|data:text/html", re.I)


@dataclass
class Submission:
    """What was handed in, checked as far as its form goes."""

    records: list[Record] = field(default_factory=list[Record])
    runs: dict[str, Path] = field(default_factory=dict[str, Path])
    """Folders by name, copied and unpacked."""


@dataclass
class _Budget:
    """How much more may be read."""

    left: int = MOST_BYTES

    def take(self, count: int, what: str) -> None:
        """Count bytes; DataError once there are too many."""
        self.left -= count
        if self.left < 0:
            raise DataError(
                f"{what} unpacks to more than {MOST_BYTES >> 20:,} MiB with what was read before "
                "it: that is refused. Hand in fewer runs at once"
            )


def read(path: Path, scratch: Path) -> Submission:
    """Read a file or folder; runs are copied below `scratch`. DataError where it is not fit."""
    if path.is_symlink() or not path.exists():
        raise UsageError(f"no file or folder {path}; a link is not followed")
    budget = _Budget()
    if path.suffix == ".zip":
        path = _unzipped(path, scratch / "zip", budget)
    if path.is_file():
        return Submission(_records(path, budget))
    found = Submission()
    for place in _files(path):
        if place.name == "manifest.json":
            name = folder_name(place.parent.resolve().name)
            if name in found.runs:
                raise DataError(f"two runs are named {name}")
            found.runs[name] = _copied(place.parent, scratch / "runs" / name, budget)
        elif place.match("records/*.jsonl") or place.name == "results.json":
            found.records += _records(place, budget)
    if not found.records and not found.runs:
        raise DataError(f"{path} holds neither records/*.jsonl, results.json nor a run's folder")
    return found


def _files(folder: Path) -> Iterator[Path]:
    """All files below a folder, in order; links are refused."""
    for number, place in enumerate(sorted(folder.rglob("*"))):
        if number > MOST_FILES:
            raise DataError(f"{folder} holds more than {MOST_FILES:,} files")
        if place.is_symlink():
            raise DataError(f"{place} is a link, which is refused")
        if place.is_file():
            yield place


def _records(path: Path, budget: _Budget) -> list[Record]:
    """The records of one file: JSON lines, or a JSON list or object."""
    if path.suffix == ".jsonl":
        tables = list(_tables(path, budget))
    elif path.suffix == ".json":
        budget.take(path.stat().st_size, str(path))
        if path.stat().st_size > 16 * LONGEST_LINE:
            raise DataError(
                f"{path} is longer than {16 * LONGEST_LINE:,} bytes; hand in JSON lines"
            )
        whole = _decoded(path.read_bytes(), str(path))
        tables = [(f"{path.name}, record {n}", each) for n, each in enumerate(_listed(whole), 1)]
    else:
        raise UsageError(f"{path} is none of .jsonl, .json and .zip, nor a folder")
    if len(tables) > MOST_RECORDS:
        raise DataError(f"{path} holds more than {MOST_RECORDS:,} records")
    return [_record(table, place) for place, table in tables]


def _listed(whole: Any) -> list[Any]:
    return whole if isinstance(whole, list) else [whole]


def _tables(path: Path, budget: _Budget) -> Iterator[tuple[str, Any]]:
    with path.open("rb") as file:
        for number, raw in short_lines(file, path.name):
            budget.take(len(raw), str(path))
            place = f"{path.name}, line {number}"
            table = _decoded(raw, place)
            if not isinstance(table, dict) or chain.GENESIS not in table:
                yield place, table


def short_lines(file: BinaryIO, name: str) -> Iterator[tuple[int, bytes]]:
    """Lines that are not blank, with their numbers; DataError for one that is too long."""
    number = 0
    while raw := file.readline(LONGEST_LINE + 1):
        number += 1
        if len(raw) > LONGEST_LINE:
            raise DataError(f"{name}, line {number} is longer than {LONGEST_LINE:,} bytes")
        if raw.strip():
            yield number, raw


def _decoded(raw: bytes, place: str) -> Any:
    try:
        return msgspec.json.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise DataError(f"{place}: {str(error)[:300]}") from error


def _record(table: Any, place: str) -> Record:
    if not isinstance(table, dict):
        raise DataError(f"{place}: no JSON object")
    if chain.LINK in table and table[chain.LINK] != chain.link_of(table):
        raise DataError(f"{place}: it was changed after it was written: its link does not fit")
    try:
        record = record_of(chain.unlinked(table))
        if record.run:
            folder_name(record.run)
    except (DataError, UsageError) as error:
        raise DataError(f"{place}: {str(error)[:500]}") from error
    if record.origin == "reported":
        raise DataError(f"{place}: a number from a page is no submission; its origin is 'reported'")
    for words in _words(table):
        if fault := text_fault(words):
            raise DataError(f"{place}: {fault}")
    return record


def _words(value: Any) -> Iterator[str]:
    """All text in a value, keys too."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for key, each in value.items():
            yield str(key)
            yield from _words(each)
    elif isinstance(value, list):
        for each in value:
            yield from _words(each)


def text_fault(words: str) -> str:
    """Why text is not fit for a table, or nothing."""
    for character in words:
        if unicodedata.category(character) in HIDDEN:
            return f"{words[:60]!r} holds U+{ord(character):04X}, which does not show"
    found = MARKUP.search(words)
    return f"{words[:60]!r} holds {found[0]!r}, which is code on a page" if found else ""


def _copied(folder: Path, target: Path, budget: _Budget) -> Path:
    """The files of a run, unpacked within the limits, in a folder of ours."""
    target.mkdir(parents=True)
    for name in RUN_FILES:
        source = folder / name
        if not source.is_file():
            continue
        if source.is_symlink():
            raise DataError(f"{source} is a link, which is refused")
        with source.open("rb") as file:
            if name.endswith(".zst"):
                _inflated(file, target / "rollouts.jsonl", budget)
            else:
                _spilled(file, target / name, budget)
    for name in RUN_FILES[:2]:
        if (target / name).exists() and (target / name).stat().st_size > 16 * LONGEST_LINE:
            raise DataError(f"{folder.name}/{name} is longer than {16 * LONGEST_LINE:,} bytes")
    if (target / "rollouts.jsonl").exists():
        with (target / "rollouts.jsonl").open("rb") as file:
            for _ in short_lines(file, f"{folder.name}/rollouts.jsonl"):
                pass
    read_table(target / "manifest.json")
    return target


def _inflated(file: BinaryIO, target: Path, budget: _Budget) -> None:
    import zstandard

    if target.exists():
        raise DataError(f"{target.name} lies there packed and unpacked; which one counts?")
    unpacker = zstandard.ZstdDecompressor(max_window_size=1 << 27)
    try:
        with unpacker.stream_reader(file, read_across_frames=True) as stream:
            _spilled(stream, target, budget)
    except zstandard.ZstdError as error:
        raise DataError(f"rollouts.jsonl.zst is damaged: {error}") from error


def _spilled(file: Any, target: Path, budget: _Budget) -> None:
    with target.open("wb") as out:
        while piece := file.read(CHUNK):
            budget.take(len(piece), target.name)
            out.write(piece)


def _unzipped(path: Path, target: Path, budget: _Budget) -> Path:
    """The files of an archive below `target`; DataError for any that would lie elsewhere."""
    try:
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
            if len(members) > MOST_FILES:
                raise DataError(f"{path} holds more than {MOST_FILES:,} files")
            for member in members:
                place = _inside(member, path)
                if member.is_dir():
                    continue
                (target / place).parent.mkdir(parents=True, exist_ok=True)
                if (target / place).exists():
                    raise DataError(f"{path} holds {member.filename!r} twice")
                with archive.open(member) as file:
                    _spilled(file, target / place, budget)
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError, EOFError, OSError) as error:
        shutil.rmtree(target, ignore_errors=True)
        raise DataError(f"{path} cannot be unpacked: {str(error)[:300]}") from error
    return target


def _inside(member: zipfile.ZipInfo, path: Path) -> PurePosixPath:
    """The place of a member, which is a plain file or folder below the archive's own."""
    name = member.filename
    place = PurePosixPath(name)
    odd = "\\" in name or ":" in name or text_fault(name)
    if place.is_absolute() or ".." in place.parts or odd:
        raise DataError(f"{path} holds {name[:100]!r}, a name that could leave its folder")
    kind = stat.S_IFMT(member.external_attr >> 16)
    if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
        raise DataError(f"{path} holds {name[:100]!r}, which is no plain file")
    return place
