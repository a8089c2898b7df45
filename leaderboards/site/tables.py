"""The tables of boards, models, tasks, recipes and runs, as grids."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from leaderboards.board import Drawing
from leaderboards.charts import distinct
from leaderboards.rank import Ranking, mixed
from leaderboards.sheets import ARROWS, settings_line
from leaderboards.site.addresses import (
    Row,
    first_of,
    model_page,
    recipe_page,
    row_of,
    run_page,
    task_page,
)
from leaderboards.site.grids import Cell, Column, Grid, link, text, value_cell
from leaderboards.site.world import World, rows_of
from results.record import Record


def board_grid(world: World, drawing: Drawing) -> Grid:
    """Models down, the board's rankings across, those of one task under one header."""
    several = mixed(drawing.rankings)
    seen: dict[tuple[Any, ...], int] = {}
    columns = [
        Column(title="model", kind="link", wide=True, pinned=True),
        Column(title="recipe", kind="link"),
    ]
    cells: dict[Any, dict[int, Cell]] = {}
    for found in drawing.rankings:
        record = found.record
        alike = (record.task, record.version, record.split, record.metric)
        seen[alike] = seen.get(alike, 0) + 1
        mark = f" ({seen[alike]})" if several[alike] > 1 else ""
        columns.append(
            Column(
                title=f"{record.metric}{ARROWS[record.better]}{mark}",
                kind="value",
                group=f"{record.task} v{record.version} {record.split}",
                ranking=world.ranks.key_of(found.record),
                better=record.better,
                about=settings_line(found),
            )
        )
        for record, cell in _value_cells(world, found):
            cells.setdefault(row_of(record), {})[len(columns) - 1] = cell
    rows: list[list[Cell]] = []
    for row in _order(world, drawing, cells):
        recipe = row[2]
        rows.append(
            [
                link(world.names[row], model_page(row)),
                link(recipe, recipe_page(recipe)) if recipe else None,
                *(cells[row].get(n) for n in range(2, len(columns))),
            ]
        )
    if not any(row[1] for row in rows):
        del columns[1]
        for row in rows:
            del row[1]
    return Grid(
        name="board",
        label=f"{drawing.board.title}: models and their numbers",
        columns=columns,
        rows=rows,
    )


def _order(world: World, drawing: Drawing, rows: Iterable[Row]) -> list[Row]:
    """By name; on a board that ranks, those of its first ranking come first, best on top."""
    first: dict[Row, int] = {}
    if drawing.board.layout == "rankings" and drawing.rankings:
        first = {row_of(r): n for n, r in enumerate(rows_of(drawing.rankings[0]))}
    return sorted(rows, key=lambda row: (first.get(row, len(first)), world.names[row]))


def _value_cells(world: World, found: Ranking) -> list[tuple[Record, Cell]]:
    places = found.places or [None] * len(found.unranked)
    made: list[tuple[Record, Cell]] = []
    for place, record in zip(places, rows_of(found), strict=True):
        there = world.placed.get(id(record))
        made.append((record, value_cell(record, place, there.row if there else -1)))
    return made


def rankings_list(world: World, drawing: Drawing) -> list[dict[str, Any]]:
    """What is said of each ranking of a board below it."""
    titles = distinct([title(found.record) for found in drawing.rankings])
    return [
        {
            "title": text(name),
            "address": f"{task_page(found.record.task)}#ranking={world.ranks.key_of(found.record)}",
            "rows": len(rows_of(found)),
            "examples": found.record.examples,
            "leaders": leaders(found),
        }
        for name, found in zip(titles, drawing.rankings, strict=True)
    ]


def leaders(found: Ranking) -> str:
    """Who may be the best, in words."""
    first = [place for place in found.places if place.first == 1]
    if not first:
        return "not ranked: neither high nor low is better"
    if len(found.places) == 1:
        return "measured alone"
    if len(first) == 1:
        return "one is better than all others"
    return f"{len(first)} may be the best; the examples cannot tell them apart"


def title(record: Record) -> str:
    """Task, version, split and metric."""
    return f"{record.task} v{record.version} {record.split}: {record.metric}"


def numbers_grid(world: World, records: Sequence[Record]) -> Grid:
    """Every measured number of a model, or of a recipe's models."""
    many = len({row_of(record) for record in records}) > 1
    columns = [
        *([Column(title="model", kind="link", wide=True, pinned=True)] if many else []),
        Column(title="task", kind="link", wide=True, pinned=not many),
        Column(title="split"),
        Column(title="metric"),
        Column(title="value", kind="value"),
        Column(title="of", kind="number", about="rows of its ranking"),
        Column(title="n", kind="number", about="examples"),
        Column(title="k", kind="number", about="rollouts per example"),
        Column(title="seeds"),
        Column(title="seen", about="whether the model may have learned from the examples"),
        Column(title="measured"),
        Column(title="run", kind="link", wide=True),
    ]
    rows: list[list[Cell]] = []
    keys: list[str] = []
    for record in records:
        there = world.placed.get(id(record))
        if there is None:
            continue  # measured again since, or not measured
        keys.append(there.key)
        row = row_of(record)
        rows.append(
            [
                *([link(world.names[row], model_page(row))] if many else []),
                link(
                    f"{record.task} v{record.version}",
                    f"{task_page(record.task)}#ranking={there.key}",
                ),
                record.split,
                text(record.metric),
                [*value_cell(record, there.place, there.row), there.key],
                len(rows_of(there.ranking)),
                record.examples,
                record.rollouts,
                ", ".join(map(str, record.seeds)),
                {True: "maybe", False: "no", None: ""}[record.seen],
                record.when[:10],
                link(record.run, run_page(record.run)),
            ]
        )
    return Grid(name="numbers", label="Measured numbers", columns=columns, rows=rows)


def reported_grid(world: World, records: Sequence[Record]) -> Grid | None:
    """Numbers that others claim or report: never ranked; None where there are none."""
    apart = [record for record in records if not record.ranked]
    columns = [
        Column(title="model", kind="link", wide=True, pinned=True),
        Column(title="task and metric", wide=True),
        Column(title="value", kind="value"),
        Column(title="origin"),
        Column(title="source", wide=True),
        Column(title="note", wide=True),
    ]
    rows: list[list[Cell]] = [
        [
            link(world.names[row_of(record)], model_page(row_of(record))),
            text(title(record)),
            value_cell(record),
            record.origin,
            text(record.source),
            text(record.note),
        ]
        for record in sorted(apart, key=lambda r: (r.task, r.metric, r.model))
    ]
    label = "Claimed or reported by others, not measured here and not ranked"
    return Grid(name="reported", label=label, columns=columns, rows=rows) if rows else None


def models_grid(world: World) -> Grid:
    """All models and what was made of them."""
    columns = [
        Column(title="model", kind="link", wide=True, pinned=True),
        Column(title="recipe", kind="link"),
        Column(title="tasks", kind="number"),
        Column(title="numbers", kind="number"),
        Column(title="families", wide=True),
        Column(title="measured"),
        Column(title="digest"),
    ]
    rows: list[list[Cell]] = [
        [
            link(world.names[row], model_page(row)),
            link(row[2], recipe_page(row[2])) if row[2] else None,
            len({record.task for record in records}),
            len(records),
            text(first_of(sorted({record.family for record in records}), 6)),
            max(record.when for record in records)[:10],
            text(row[1], 12),
        ]
        for row, records in world.by_row.items()
    ]
    return Grid(name="models", label="Models", columns=columns, rows=rows)


def tasks_grid(world: World) -> Grid:
    """All tasks."""
    columns = [
        Column(title="task", kind="link", wide=True, pinned=True),
        Column(title="family"),
        Column(title="rankings", kind="number"),
        Column(title="models", kind="number"),
        Column(title="examples", kind="number"),
        Column(title="questions from", wide=True),
        Column(title="measured"),
    ]
    rows: list[list[Cell]] = []
    for task, keys in sorted(world.by_task.items()):
        records = [record for key in keys for record in rows_of(world.rankings[key])]
        rows.append(
            [
                link(task, task_page(task)),
                records[0].family,
                len(keys),
                len({row_of(record) for record in records}),
                max(record.examples for record in records),
                text(first_of(sorted({r.dataset for r in records if r.dataset}), 3)),
                max(record.when for record in records)[:10],
            ]
        )
    return Grid(name="tasks", label="Tasks", columns=columns, rows=rows)


def recipes_grid(world: World, titles: Mapping[str, str]) -> Grid:
    """All recipes that trained something here."""
    columns = [
        Column(title="recipe", kind="link", pinned=True),
        Column(title="what it does", wide=True),
        Column(title="models", kind="number"),
        Column(title="tasks", kind="number"),
        Column(title="runs", kind="number", about="training runs that lie here"),
    ]
    runs = [folder.recipe for folder in world.folders.values()]
    rows: list[list[Cell]] = [
        [
            link(recipe, recipe_page(recipe)),
            text(titles.get(recipe, "")),
            len({row_of(record) for record in records}),
            len({record.task for record in records}),
            runs.count(recipe),
        ]
        for recipe, records in world.recipes.items()
    ]
    return Grid(name="recipes", label="Recipes", columns=columns, rows=rows)


def runs_grid(world: World) -> Grid:
    """All runs."""
    columns = [
        Column(title="run", kind="link", wide=True, pinned=True),
        Column(title="kind"),
        Column(title="task", wide=True),
        Column(title="model", wide=True),
        Column(title="recipe"),
        Column(title="numbers", kind="number"),
        Column(title="seconds", kind="number"),
        Column(title="measured"),
        Column(title="rescored", about="whether every verdict was derived again"),
    ]
    rows: list[list[Cell]] = []
    for run, records in world.by_run.items():
        folder = world.folders.get(run)
        asks = folder.asks if folder else {}
        receipt = folder.receipt if folder else None
        first = records[0] if records else None
        rows.append(
            [
                link(run, run_page(run)),
                "evaluation" if first else "training",
                text(first.task if first else str(asks.get("task", ""))),
                text(
                    world.names[row_of(first)]
                    if first
                    else str((folder.manifest if folder else {}).get("base", ""))
                ),
                text(first.recipe if first else folder.recipe if folder else ""),
                len(records),
                round(first.seconds, 1) if first else None,
                (
                    first.when
                    if first
                    else str((folder.manifest if folder else {}).get("started", ""))
                )[:10],
                "" if receipt is None else "agrees" if receipt["agrees"] else "differs",
            ]
        )
    return Grid(name="runs", label="Runs", columns=columns, rows=rows)
