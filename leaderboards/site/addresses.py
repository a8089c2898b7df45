"""Where the page of a thing lies: names are hostile, a path is safe letters and a digest."""

from __future__ import annotations

import re
from collections.abc import Sequence

from harness.digests import digest
from results.record import Record

LONGEST = 60
Row = tuple[str, str, str, str]
"""Model, digest of its weights, recipe, base: what makes a row of a board."""


def row_of(record: Record) -> Row:
    """Whose number it is."""
    return (record.model, record.model_digest, record.recipe, record.base)


def slug(name: str, *more: str) -> str:
    """A name for a file: readable, the same everywhere, and no other name's; `more` tells apart."""
    safe = re.sub(r"[^A-Za-z0-9.]+", "-", name)[:LONGEST].strip("-.").lower()
    return f"{safe}-{digest([name, *more])[:8]}" if safe else digest([name, *more])


def model_page(row: Row) -> str:
    """The page of a row of boards: a model, or what a recipe made of one."""
    model, weights, recipe, base = row
    return (
        f"models/{slug(f'{base} {recipe}' if recipe else model, model, weights, recipe, base)}.html"
    )


def task_page(task: str) -> str:
    """The page of a task, whatever its version and split."""
    return f"tasks/{slug(task)}.html"


def recipe_page(recipe: str) -> str:
    """The page of a recipe."""
    return f"recipes/{slug(recipe)}.html"


def run_page(run: str) -> str:
    """The page of a run."""
    return f"runs/{slug(run)}.html"


def rollouts_page(run: str) -> str:
    """The page of a run's rollouts."""
    return f"runs/{slug(run)}-rollouts.html"


def board_page(board: str) -> str:
    """The page of a board."""
    return f"boards/{slug(board) if not board.isidentifier() else board}.html"


def ranking_file(key: str) -> str:
    """The data of a ranking: its rows, and how each two of them differ."""
    return f"data/ranking-{key}.js"


def values_file(key: str) -> str:
    """The value of every example for every row of a ranking."""
    return f"data/values-{key}.js"


def upward(page: str) -> str:
    """What leads from a page to the top: `../` for each folder it lies in."""
    return "../" * page.count("/")


def first_of(names: Sequence[str], more: int) -> str:
    """The first names, and how many there are besides."""
    return ", ".join(names[:more]) + (f" and {len(names) - more} more" if len(names) > more else "")
