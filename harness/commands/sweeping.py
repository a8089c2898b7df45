"""The cells of a sweep (recipe, task, seed), and how they are carried out within a core budget.

A cell is one `harness train` with everything that the sweep was told. Its report lies in
`cells/reports` once it is done, so a sweep that was killed asks for what is missing; a run that was
killed in the middle goes on from its checkpoint.
"""

from __future__ import annotations

import select
import shutil
import time
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from harness.commands import screen
from harness.commands.nursery import Nursery
from harness.errors import UsageError


@dataclass(frozen=True, order=True)
class Cell:
    """One run of a sweep."""

    seed: int
    recipe: str
    task: str

    @property
    def name(self) -> str:
        """Of its run's folder and its files."""
        text = f"{self.task}--{Path(self.recipe).stem}--{self.seed}"
        return "".join(c if c.isalnum() or c in "-_" else "-" for c in text)


@dataclass(frozen=True)
class Failure:
    """A cell that ended badly."""

    cell: Cell
    code: int | None
    why: str


@dataclass(frozen=True, kw_only=True)
class Sweep:
    """Cells, what all of them are told, and where they lie."""

    cells: tuple[Cell, ...]
    words: tuple[str, ...]
    """Flags of `harness train` that are the same in all."""
    unit: str
    """Of the budget: rollouts, tokens or seconds."""
    folder: Path

    def command(self, cell: Cell) -> list[str]:
        """The words of a cell's `harness`."""
        mine = ["--recipe", cell.recipe, "--seed", str(cell.seed), "--name", cell.name]
        return ["train", cell.task, *mine, "-o", str(self.folder / "cells"), "--json", *self.words]

    def report(self, cell: Cell) -> Path:
        """Where a cell's report lies once it is done."""
        return self.folder / "cells" / "reports" / f"{cell.name}.json"

    def log(self, cell: Cell) -> Path:
        """What a cell said."""
        return self.folder / "cells" / "logs" / f"{cell.name}.txt"

    def run(self, cell: Cell) -> Path:
        """A cell's run folder."""
        return self.folder / "cells" / "runs" / cell.name

    @property
    def open(self) -> list[Cell]:
        """What is not done, in the order in which it is carried out: seed by seed."""
        return sorted(cell for cell in self.cells if not self.report(cell).exists())


def seeds_of(text: str) -> list[int]:
    """`0..7` is eight seeds, `0,3,5` three; UsageError for anything else, or the same twice."""
    found: list[int] = []
    for part in text.split(","):
        first, dots, last = part.strip().partition("..")
        if not first.isdecimal() or (dots and not last.isdecimal()):
            raise UsageError(f"--seeds {text}: write 0..7, or 0,3,5")
        begin, end = int(first), int(last) if dots else int(first)
        if not 0 <= end - begin < 10_000:
            raise UsageError(f"--seeds {part}: the last is not after the first, or far from it")
        found += range(begin, end + 1)
    if len(set(found)) < len(found):
        raise UsageError(f"--seeds {text}: the same seed twice is the same run twice")
    return found


def carry_out(sweep: Sweep, jobs: int, threads: int) -> list[Failure]:
    """Run what is not done, so many at once; gives what failed.

    A failure stops nobody else. KeyboardInterrupt stops the children after their step.
    """
    waiting = sweep.open
    done = len(sweep.cells) - len(waiting)
    if done:
        screen.say(f"{done} of {len(sweep.cells)} runs are done already; going on")
    for kind in ("reports", "logs"):
        (sweep.folder / "cells" / kind).mkdir(parents=True, exist_ok=True)
    failures: list[Failure] = []
    with (
        screen.progress("sweep", len(sweep.cells), done) as meter,
        _crew(min(jobs, len(waiting)), threads) as crew,
    ):
        for cell, code, seconds in _carried_out(sweep, waiting, crew):
            meter.advance()
            if code == 0:
                screen.say(f"{cell.name}: {seconds:.0f} s")
                shutil.rmtree(sweep.run(cell) / "checkpoints", ignore_errors=True)
            else:
                failures.append(Failure(cell, code, _last_words(sweep.log(cell))))
                screen.say(f"{cell.name}: failed with {code}: {failures[-1].why}")
    return failures


def _carried_out(
    sweep: Sweep, waiting: Sequence[Cell], crew: list[Nursery]
) -> Iterator[tuple[Cell, int | None, float]]:
    """Cells as they end, with exit codes (None: their nursery went with them) and seconds."""
    queue = list(reversed(waiting))
    busy: dict[int, tuple[Cell, float]] = {}
    while queue or busy:
        for place, nursery in enumerate(crew):
            if queue and place not in busy:
                cell = queue.pop()
                nursery.begin(sweep.command(cell), _draft(sweep, cell), sweep.log(cell))
                busy[place] = cell, time.monotonic()
        readers = {crew[place].reader: place for place in busy}
        for reader in select.select(list(readers), [], [])[0]:
            place = readers[reader]
            cell, begun = busy.pop(place)
            code = crew[place].code()
            if code is None:
                crew[place].close()
                crew[place] = Nursery(crew[place].threads)
            if code == 0:
                _draft(sweep, cell).replace(sweep.report(cell))
            yield cell, code, time.monotonic() - begun


def _draft(sweep: Sweep, cell: Cell) -> Path:
    report = sweep.report(cell)
    return report.with_name(f".{report.name}.part")


@contextmanager
def _crew(count: int, threads: int) -> Generator[list[Nursery]]:
    """So many nurseries; all are told to stop before any is waited for."""
    crew = [Nursery(threads) for _ in range(count)]
    try:
        yield crew
    except KeyboardInterrupt:
        screen.say("asking the runs to finish their step and save")
        raise
    finally:
        for nursery in crew:
            nursery.stop()
        for nursery in crew:
            nursery.close()


def _last_words(log: Path) -> str:
    """The error that a run ended with, or else its last line."""
    try:
        lines = log.read_text("utf-8", "replace").splitlines()
    except OSError:
        return "it said nothing"
    errors = [line.removeprefix("error: ") for line in lines if line.startswith("error: ")]
    said = [line.strip() for line in lines if line.strip()]
    return (errors or said or ["it said nothing"])[-1][:300]
