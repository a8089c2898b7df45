"""`harness train --sweep`, or `harness sweep`: recipes x tasks x seeds at a matched budget."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from harness.commands.sweeping import Cell, Failure, Sweep
    from results.record import Record

Flag = typer.Option
PASSES_ON = True
"""Flags that are not its own are those of `harness train`, and are told to every run."""
OWN = frozenset({"--recipe", "-r", "--seed", "--name", "--output-dir", "-o", "--json", "--fresh"})
BASE = "grpo"
"""What every recipe is compared with."""


def run(
    context: typer.Context,
    budget: Annotated[
        str, Flag(help="of every run, seed by seed: 20000rollouts, 2e6tokens or 600s")
    ],
    model: Annotated[str, Flag("--model", "-m", help="what learns: text:PATH")] = "text:tiny",
    recipes: Annotated[
        list[str] | None, Flag("--recipes", help="names, commas between; default: all")
    ] = None,
    tasks: Annotated[
        list[str] | None,
        Flag("--tasks", help="names, commas between; default: each recipe's home, grpo on all"),
    ] = None,
    seeds: Annotated[str, Flag(help="0..7, or 0,3,5")] = "0..7",
    jobs: Annotated[int | None, Flag(min=1, help="runs at once; default: as many as cores")] = None,
    threads: Annotated[int, Flag(min=1, help="of each run")] = 1,
    name: Annotated[str, Flag(help="of the sweep's folder; default: from what is asked")] = "",
    output: Annotated[Path, Flag("--output-dir", "-o")] = Path("results"),
    fresh: Annotated[bool, Flag("--fresh", help="begin anew, whatever is there")] = False,
    dry_run: Annotated[bool, Flag("--dry-run", help="print what would be run")] = False,
    as_json: Annotated[bool, Flag("--json", help="machine-readable result")] = False,
) -> None:
    """Train recipes x tasks x seeds at a matched budget; all other flags are those of `train`."""
    from harness.commands import screen, sweeping
    from harness.errors import IncompleteRun, need

    need("torch", "train", "training")
    from harness.commands.recipe_records import records_of
    from results.record import append
    from trainers.budget import Budget

    matched = Budget.of(budget)
    words = ["--model", model, "--budget", str(matched), *context.args]
    cells = _cells(_names(recipes), _names(tasks), sweeping.seeds_of(seeds))
    _check(cells, words)
    folder = _placed(cells, words, name, output, fresh=fresh and not dry_run)
    sweep = sweeping.Sweep(cells=tuple(cells), words=tuple(words), unit=matched.unit, folder=folder)
    if dry_run:
        _announce(sweep, as_json=as_json)
        return
    _begun(sweep)
    failures = sweeping.carry_out(sweep, jobs or len(os.sched_getaffinity(0)), threads)
    records = records_of(sweep)
    written = append(records, output / "records")
    left = len(sweep.open)
    if as_json:
        failed = [{"run": f.cell.name, "code": f.code, "why": f.why} for f in failures]
        screen.emit({"sweep": str(sweep.folder), "records": len(records), "failed": failed})
    else:
        _present(failures, records)
        print(f"{written} records more in {output / 'records'}; harness publish draws the board")
    if left:
        raise IncompleteRun(
            f"{left} of {len(sweep.cells)} runs failed, and no number is recorded of a recipe and "
            "task that lack a seed. The same command again tries them once more"
        )


def _names(given: Sequence[str] | None) -> list[str]:
    return list(dict.fromkeys(n for part in given or () for n in part.split(",") if n))


def _cells(recipes: list[str], tasks: list[str], seeds: list[int]) -> list[Cell]:
    """All runs; UnknownName where a recipe or task is none."""
    from harness import registry
    from harness.commands.sweeping import Cell

    recipes = recipes or [card.name for card in registry.cards("recipes")]
    homes = {recipe: registry.recipe(recipe).home for recipe in recipes}
    pairs = [(recipe, task) for recipe in recipes for task in tasks or [homes[recipe]]]
    if not tasks and BASE in recipes:
        pairs += [(BASE, home) for home in homes.values()]
    for _, task in pairs:
        registry.task(task)
    return [Cell(seed, recipe, task) for recipe, task in dict.fromkeys(pairs) for seed in seeds]


def _check(cells: Sequence[Cell], words: Sequence[str]) -> None:
    """UsageError at once where `harness train` would not understand its words."""
    from harness.commands import takes
    from harness.errors import UsageError

    for word in words:
        if word.partition("=")[0] in OWN:
            raise UsageError(f"{word}: a sweep gives that to each run; see --recipes and --seeds")
    takes(["train", cells[0].task, *words])


def _placed(
    cells: Sequence[Cell], words: Sequence[str], name: str, output: Path, *, fresh: bool
) -> Path:
    """The sweep's folder, which the same question finds again."""
    import shutil

    from harness.digests import digest
    from harness.errors import UsageError
    from results.run import folder_name, read_table

    told = [[cell.seed, cell.recipe, cell.task] for cell in cells]
    named = folder_name(name) if name else f"sweep-{digest([told, list(words)])[:8]}"
    folder = output / "sweeps" / named
    if fresh:
        shutil.rmtree(folder, ignore_errors=True)
    manifest = folder / "sweep.json"
    if manifest.exists() and read_table(manifest)["words"] != list(words):
        raise UsageError(f"{folder} holds a sweep of other flags; give another --name, or --fresh")
    return folder


def _begun(sweep: Sweep) -> None:
    """Write down what was asked, with which code."""
    import msgspec

    from harness.commands import asked
    from harness.environment import environment
    from harness.journal import write_whole

    table = {
        "command": asked.command(),
        "words": list(sweep.words),
        "cells": [[cell.recipe, cell.task, cell.seed] for cell in sweep.cells],
        "environment": environment(),
    }
    write_whole(
        sweep.folder / "sweep.json", msgspec.json.format(msgspec.json.encode(table), indent=1)
    )


def _announce(sweep: Sweep, *, as_json: bool) -> None:
    """What would be run."""
    from harness.commands import screen

    if as_json:
        commands = [sweep.command(cell) for cell in sweep.cells]
        screen.emit({"sweep": str(sweep.folder), "open": len(sweep.open), "commands": commands})
        return
    counts: dict[tuple[str, str], int] = {}
    for cell in sweep.cells:
        counts[cell.task, cell.recipe] = counts.get((cell.task, cell.recipe), 0) + 1
    rows = [[recipe, task, count] for (task, recipe), count in sorted(counts.items())]
    screen.table(str(sweep.folder), ["recipe", "task", "seeds"], rows)
    print(f"{len(sweep.cells)} runs, {len(sweep.open)} of them to do; each is")
    print(f"  harness {' '.join(sweep.command(sweep.cells[0]))}")


def _present(failures: Sequence[Failure], records: Sequence[Record]) -> None:
    """Final scores, and what failed."""
    from harness.commands import screen
    from leaderboards.text import visible

    rows = [
        [r.task, r.recipe, f"{r.value:.4f}", f"[{r.low:.4f}, {r.high:.4f}]", r.examples]
        for r in sorted(records, key=lambda r: (r.task, -r.value))
        if r.split == "test" and r.metric == _headline(r.task)
    ]
    screen.table("test split", ["task", "recipe", "score", "95 % over seeds", "seeds"], rows)
    if failures:
        table = [[f.cell.name, f.code, visible(f.why, 300)] for f in failures]
        screen.table("failed", ["run", "code", "why"], table)


def _headline(task: str) -> str:
    from harness import registry

    return registry.task(task).metrics[0].name
