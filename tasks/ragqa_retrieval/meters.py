"""A bar for what takes long the first time: encoding a corpus, linking its vectors."""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import contextmanager


@contextmanager
def meter(what: str, total: int) -> Generator[Callable[[int], None]]:
    """A bar with ETA on stderr; it is told how many more are done."""
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True)) as bar:
        job = bar.add_task(what, total=total)
        yield lambda count: bar.advance(job, count)
