"""What people see: tables, progress with ETA, JSON for machines. Notices go to stderr."""

from __future__ import annotations

import sys
from collections.abc import Generator, Iterable, Mapping, Sequence
from contextlib import contextmanager
from typing import Any


def console(*, error: bool = False) -> Any:
    """A rich console on stdout, or on stderr."""
    from rich.console import Console

    return Console(stderr=error, highlight=False, soft_wrap=True, emoji=False)


def table(title: str, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Print a table; the first column is text, the others are aligned right."""
    from rich.markup import escape
    from rich.table import Table

    drawn = Table(title=escape(title) or None, title_justify="left", box=None, pad_edge=False)
    for number, column in enumerate(columns):
        drawn.add_column(column, justify="left" if number == 0 else "right", overflow="fold")
    for row in rows:
        drawn.add_row(*(escape(str(cell)) for cell in row))
    console().print(drawn)


def say(text: str) -> None:
    """A line for people, on stderr, so that stdout stays clean for tables and JSON."""
    print(text, file=sys.stderr)


def emit(value: Mapping[str, Any] | Sequence[Any]) -> None:
    """JSON on stdout."""
    import msgspec

    from harness.codec import plain

    print(msgspec.json.format(msgspec.json.encode(plain(value)), indent=2).decode())


class Meter:
    """Counts finished work: `advance(items, tokens)`."""

    def __init__(self, progress: Any, total: int) -> None:
        self._progress = progress
        self._job = progress.add_task("", total=total, rate="")
        self._tokens = 0
        self._start = progress.get_time()

    def advance(self, items: int = 1, tokens: int = 0) -> None:
        """So many items more, made of so many tokens."""
        self._tokens += tokens
        seconds = max(self._progress.get_time() - self._start, 1e-9)
        rate = f"{self._tokens / seconds:,.0f} tok/s" if self._tokens else ""
        self._progress.update(self._job, advance=items, rate=rate)


@contextmanager
def progress(what: str, total: int, done: int = 0) -> Generator[Meter]:
    """A bar with count, ETA and tokens per second on stderr."""
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    bar = Progress(
        TextColumn(what),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]}"),
        TimeElapsedColumn(),
        TextColumn("ETA"),
        TimeRemainingColumn(),
        console=console(error=True),
        refresh_per_second=4,
    )
    with bar:
        meter = Meter(bar, total)
        meter.advance(done)
        yield meter
