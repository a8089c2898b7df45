"""What the folder of a run adds to its records, where it lies beside them."""

from __future__ import annotations

import hashlib
import heapq
import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import msgspec

from harness.codec import plain
from harness.errors import DataError
from harness.journal import Journal
from leaderboards.text import visible
from results.run import RunFolder, read_table

FILES = ("manifest.json", "report.json", "receipt.json", "metrics.jsonl", "alarms.jsonl")
ROLLOUTS = ("rollouts.jsonl", "rollouts.jsonl.zst", "rollouts.arrays")
SAMPLED = 200
"""Rollouts on a page; all attempts at some examples, which are the same examples for every run."""
RECIPE = re.compile(r"Recipe\(name='([\w.-]+)'")


@dataclass(frozen=True)
class Folder:
    """One run folder; a part that is missing or damaged is left out of the page, not made up."""

    path: Path

    @property
    def run(self) -> str:
        """The run's name."""
        return self.path.name

    @cached_property
    def stamp(self) -> list[Any]:
        """Size and times of its files: what was drawn from them stands while these do.

        The time of the last change of the inode is one of them, which nobody can set back.
        """
        found: list[Any] = []
        for name in (*FILES, *ROLLOUTS, "metrics.jsonl.zst"):
            try:
                told = (self.path / name).stat()
            except OSError:
                continue
            found.append((name, told.st_size, told.st_mtime_ns, told.st_ctime_ns))
        return found

    @property
    def has_rollouts(self) -> bool:
        """Whether rollouts are stored."""
        return any(name in ROLLOUTS[:2] and size for name, size, *_ in self.stamp)

    @cached_property
    def manifest(self) -> Mapping[str, Any]:
        """What was asked."""
        return self._table("manifest.json")

    @cached_property
    def report(self) -> Mapping[str, Any]:
        """The numbers."""
        return self._table("report.json")

    @property
    def asks(self) -> Mapping[str, Any]:
        """The question."""
        return table(self.manifest.get("asks"))

    @property
    def recipe(self) -> str:
        """What the run trained with; empty for an evaluation."""
        told = self.asks.get("recipe")
        found = RECIPE.match(told) if isinstance(told, str) else None
        return found[1] if found else ""

    @property
    def command(self) -> str:
        """The command line that made it."""
        words = self.manifest.get("command")
        return shlex.join(map(str, words)) if isinstance(words, list) else ""

    @property
    def receipt(self) -> dict[str, Any] | None:
        """What `harness rescore` found: whether all agrees, and how much was checked."""
        found = self._table("receipt.json")
        if not found:
            return None
        listed = found.get("checks")
        checks = [table(each) for each in listed] if isinstance(listed, list) else []
        return {
            "agrees": found.get("agrees") is True,
            "when": str(found.get("when", ""))[:40],
            "checks": [
                {
                    "what": str(each.get("what"))[:80],
                    "checked": _count(each.get("checked")),
                    "wrong": _count(each.get("wrong")),
                }
                for each in checks[:20]
            ],
        }

    @property
    def tokens(self) -> float:
        """Tokens generated in all; 0 where nothing tells."""
        total = self.report.get("tokens")
        return float(total) if isinstance(total, int | float) else 0.0

    @cached_property
    def steps(self) -> list[dict[str, Any]]:
        """The lines that training logged."""
        return [line for line in self._lines("metrics.jsonl") if isinstance(line, dict)]

    @cached_property
    def examples(self) -> list[str]:
        """Ids of the examples that rollouts are stored of, sorted."""
        lines = self._lines("rollouts.jsonl")
        return sorted({str(line["example"]) for line in lines if "example" in table(line)})

    def page(self) -> str:
        """The page of sampled rollouts: the same as `harness view` shows."""
        from harness import viewing

        journal = RunFolder(self.path).rollouts
        kept = heapq.nsmallest(SAMPLED, enumerate(journal.read()), key=_order)
        rows = viewing.rows((line for _, line in kept), SAMPLED)
        rows.damaged += journal.damaged
        alarms = self._lines("alarms.jsonl")
        return viewing.page(
            self.run, self.manifest, self.report or None, rows, [table(each) for each in alarms]
        )

    def manifest_text(self, longest: int = 20_000) -> str:
        """The manifest as JSON to read."""
        encoded = msgspec.json.encode(plain(self.manifest))
        lines = msgspec.json.format(encoded, indent=1).decode()[:longest].splitlines()
        return "\n".join(_indent(line) + visible(line, 2_000) for line in lines)

    def _table(self, name: str) -> Mapping[str, Any]:
        try:
            return read_table(self.path / name)
        except DataError:
            return {}

    def _lines(self, name: str) -> list[Any]:
        try:
            return list(Journal(self.path / name).read())
        except DataError:
            return []


def folders(output: Path, runs: Sequence[str]) -> dict[str, Folder]:
    """Those of the runs that have a folder, and of every training run there, by name."""
    place = output / "runs"
    found = {path.parent.name: Folder(path.parent) for path in place.glob("*/manifest.json")}
    wanted = set(runs)
    return {
        name: folder
        for name, folder in sorted(found.items())
        if name in wanted or (folder.path / "metrics.jsonl").exists()
    }


def table(value: Any) -> Mapping[str, Any]:
    """The value if it is a table, else an empty one."""
    return value if isinstance(value, Mapping) else {}


def _indent(line: str) -> str:
    return " " * (len(line) - len(line.lstrip(" ")))


def _count(value: Any) -> int:
    return value if isinstance(value, int) else 0


def _order(numbered: tuple[int, Mapping[str, Any]]) -> tuple[str, int]:
    number, line = numbered
    example = str(line.get("example")) if isinstance(line, Mapping) else ""
    return hashlib.sha256(example.encode("utf-8", "replace")).hexdigest(), number
