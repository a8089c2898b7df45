"""A chain of digests through a file of records: what was written once does not change unseen.

Each line ends with two fields more: `before`, the link of a line above it, and `link`, the SHA-256
of all else that the line says. So a line that was changed does not fit its own link, and one that
was taken out is missed by the line that names it. Two branches of one file may be merged: both may
grow from the same line. Files from before there was a chain are sealed once: a `genesis` line tells
how many lines there were and their digest, which proves no more than that they are as they were
then. Lines taken off the end are missed only by those who noted an end before (`ends`), and whoever
can write the file can write a whole new chain: that, too, only a noted end shows.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec

from harness.errors import DataError

BEFORE, LINK, GENESIS = "before", "link", "genesis"
LONGEST_LINE = 1 << 28
SHA256 = re.compile(r"[0-9a-f]{64}")
START = ""
"""What stands before the first line."""


@dataclass(frozen=True)
class Break:
    """A line that is not as it was written, or not where."""

    line: int
    why: str


@dataclass
class Chain:
    """What a walk through the lines of a file found."""

    lines: int = 0
    """Records, linked or covered or neither."""
    linked: int = 0
    covered: int = 0
    """Records from before there was a chain, whose digest the genesis line tells."""
    last: str = START
    """Link of the last line that has one: what the next line is to name."""
    unlinked: int = 0
    """Records on top without a link, and without a genesis line so far."""
    breaks: list[Break] = field(default_factory=list[Break])
    links: set[str] = field(default_factory=set[str])
    _top: Any = field(default_factory=hashlib.sha256, repr=False)
    _children: set[str] = field(default_factory=set[str], repr=False)

    @property
    def sealed(self) -> bool:
        """Whether every line is linked or covered."""
        return self.unlinked == 0

    @property
    def ends(self) -> list[str]:
        """Links that no other line names: one, or one for each branch that was merged."""
        return sorted(self.links - self._children)

    def add(self, number: int, raw: bytes, table: Mapping[str, Any]) -> None:
        """Walk on to one line more, given as it stands and as it was read."""
        if GENESIS in table:
            self._seal(number, table)
        else:
            self.lines += 1
        if LINK not in table:
            self._bare(number, raw)
            return
        self.linked += GENESIS not in table
        before, link = table.get(BEFORE), table[LINK]
        if link != link_of(table):
            self.breaks.append(Break(number, "it was changed after it was written"))
        if before != START and before not in self.links:
            self.breaks.append(Break(number, "the line before it was changed or taken out"))
        if before == START and self.links and GENESIS not in table:
            self.breaks.append(Break(number, "it begins a second chain"))
        if isinstance(link, str):
            self.links.add(link)
            self.last = link
        if isinstance(before, str):
            self._children.add(before)

    def _bare(self, number: int, raw: bytes) -> None:
        if self.links:
            self.breaks.append(Break(number, "it has no link, and the lines above have"))
            return
        self.unlinked += 1
        self._top.update(raw.strip() + b"\n")

    def _seal(self, number: int, table: Mapping[str, Any]) -> None:
        told = table[GENESIS]
        if self.links and told.get("sha256") == self._top.hexdigest():
            return  # sealed on both branches
        if told != self.genesis():
            self.breaks.append(
                Break(number, f"the {self.unlinked} lines above are not those that it sealed")
            )
        self.covered, self.unlinked = self.unlinked, 0

    def genesis(self) -> dict[str, Any]:
        """What a genesis line says of the lines on top."""
        return {"lines": self.unlinked, "sha256": self._top.hexdigest()}


def linked(table: Mapping[str, Any], before: str) -> dict[str, Any]:
    """The table with its place in the chain."""
    placed = {**table, BEFORE: before}
    return {**placed, LINK: link_of(placed)}


def link_of(table: Mapping[str, Any]) -> str:
    """SHA-256 of the canonical JSON of all but the link itself, as 64 hex digits."""
    told = {key: value for key, value in table.items() if key != LINK}
    return hashlib.sha256(msgspec.json.encode(told, order="sorted")).hexdigest()


def unlinked(table: Mapping[str, Any]) -> dict[str, Any]:
    """The table without its place in the chain."""
    return {key: value for key, value in table.items() if key not in (BEFORE, LINK)}


def walk(lines: Iterable[tuple[int, bytes]], path: Path) -> Iterator[tuple[int, bytes, Any]]:
    """Lines as tables, with number and bytes; DataError names the line that is none."""
    for number, raw in lines:
        try:
            table = msgspec.json.decode(raw)
            if not isinstance(table, dict):
                raise DataError("no JSON object")
        except (DataError, msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise DataError(damage(path, number, error)) from error
        yield number, raw, table


def check(path: Path) -> Chain:
    """The chain of a file; an empty one where there is no file. A half-written end is left out."""
    chain = Chain()
    for number, raw, table in walk(raw_lines(path), path):
        chain.add(number, raw, table)
    return chain


def raw_lines(path: Path) -> Iterator[tuple[int, bytes]]:
    """Whole lines that are not blank, with their numbers from 1; the last may lack its end."""
    if not path.exists():
        return
    number = 0
    with path.open("rb") as file:
        while raw := file.readline(LONGEST_LINE):
            number += 1
            if len(raw) == LONGEST_LINE and not raw.endswith(b"\n"):
                raise DataError(f"{path}, line {number} is longer than {LONGEST_LINE:,} bytes")
            if raw.strip() and raw.endswith(b"\n"):
                yield number, raw


def half_written(path: Path) -> bool:
    """Whether the last line lacks its end, since its writer was killed."""
    if not path.exists() or not path.stat().st_size:
        return False
    with path.open("rb") as file:
        file.seek(-1, 2)
        return file.read(1) != b"\n"


def damage(path: Path, number: int, error: Exception) -> str:
    """What is said of a line that cannot be read."""
    return (
        f"{path}, line {number}: {error}. Mend or remove that line; records are only "
        "ever added, so an earlier version of the file has the same lines"
    )
