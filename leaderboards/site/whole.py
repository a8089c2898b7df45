"""The whole site: which pages there are, and what stands on each."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from harness import registry
from harness.digests import file_digest
from leaderboards.board import Drawing
from leaderboards.charts import Chart, distinct, pareto, pass_curves, training
from leaderboards.diagrams import board_charts
from leaderboards.feed import rows_added, sentence
from leaderboards.rank import Ranking
from leaderboards.render import FORMATS, to_parquet
from leaderboards.site import tables
from leaderboards.site.addresses import (
    Row,
    board_page,
    model_page,
    ranking_file,
    recipe_page,
    rollouts_page,
    row_of,
    run_page,
    task_page,
    values_file,
)
from leaderboards.site.behind import facts, ranking_data, run_data, values_data
from leaderboards.site.building import HOUSE, Build
from leaderboards.site.folders import Folder
from leaderboards.site.grids import Grid, counted
from leaderboards.site.pages import page, script_file
from leaderboards.site.trainings import Learning, budget_charts, learning, profiles
from leaderboards.site.world import World, rows_of
from leaderboards.text import visible
from results.record import Record

NEWS = 12
DOWNLOADS = {"md": "Markdown", "csv": "CSV", "json": "JSON", "tex": "LaTeX", "parquet": "Parquet"}


@dataclass(frozen=True)
class Site:
    """The site of a world, going into a build."""

    world: World
    build: Build
    title: str = "Boards"

    def write(self) -> None:
        """Every page, its data and the assets."""
        self._assets()
        self._index()
        for drawing in self.world.drawings:
            self._board(drawing)
        self._lists()
        for task, keys in self.world.by_task.items():
            self._task(task, keys)
        for key in self.world.rankings:
            self._ranking(key)
        for row, records in self.world.by_row.items():
            self._model(row, records)
        for recipe, records in self.world.recipes.items():
            self._recipe(recipe, records)
        for run in self.world.by_run:
            self._run(run)

    def _page(self, template: str, path: str, title: str, data: Mapping[str, Any]) -> None:
        whole = {"island": {}, **data}
        self.build.add(path, [template, title, whole], lambda: page(template, path, title, whole))

    def _told(self, records: Sequence[Record]) -> list[Any]:
        """All that tables say of records: what they say themselves, their names and places."""
        world = self.world
        told: list[Any] = []
        for record in records:
            there = world.placed.get(id(record))
            place = (there.key, there.row, there.rank, there.rows) if there else ()
            told.append((world.ranks.digest_of(record), world.names[row_of(record)], place))
        return told

    def _assets(self) -> None:
        for path in sorted((HOUSE / "assets").iterdir()):
            if path.is_file():
                self.build.add(f"assets/{path.name}", file_digest(path), path.read_bytes)

    def _index(self) -> None:
        world = self.world
        boards = [
            {
                "title": drawing.board.title,
                "about": drawing.board.about,
                "address": board_page(drawing.board.name),
                "counts": _counts(drawing),
            }
            for drawing in world.drawings
        ]
        news = [
            {"day": record.when[:10], "text": sentence(record), "address": _address(record)}
            for record in rows_added(world.shown)[:NEWS]
        ]
        counts = (
            f"{counted(len(world.shown), 'number')} of {counted(len(world.by_row), 'model')} on "
            f"{counted(len(world.by_task), 'task')}, in {counted(len(world.by_run), 'run')}."
        )
        data = {"boards": boards, "news": news, "counts": counts, "scripted": False}
        self._page("index.html", "index.html", self.title, data)

    def _board(self, drawing: Drawing) -> None:
        name = drawing.board.name
        path = board_page(name)
        grids = [tables.board_grid(self.world, drawing)]
        if others := tables.reported_grid(self.world, drawing.reported):
            grids.append(others)
        stem = path.removesuffix(".html")
        made_from = [
            [name, drawing.board.title, drawing.board.about, drawing.board.layout],
            [self._placed(found) for found in drawing.rankings],
            self.world.ranks.group_digest(drawing.reported),
        ]
        for kind in DOWNLOADS:
            self.build.add(f"{stem}.{kind}", [kind, *made_from], _download(kind, drawing))
        data = {
            "about": drawing.board.about,
            "downloads": [
                (label, f"{stem.rpartition('/')[2]}.{kind}") for kind, label in DOWNLOADS.items()
            ],
            "rankings": tables.rankings_list(self.world, drawing),
            "island": {
                "page": "board",
                "grids": [grid.told for grid in grids],
                "charts": told(board_charts(drawing, self.world.reliable)),
            },
        }
        self._page("board.html", path, drawing.board.title, data)

    def _placed(self, found: Ranking) -> list[Any]:
        """All that a ranking says: its records and their places."""
        digests = [self.world.ranks.digest_of(record) for record in rows_of(found)]
        return [digests, [(p.first, p.last, p.needed, p.runs) for p in found.places]]

    def _lists(self) -> None:
        world = self.world
        learned = self._learned()
        titles = {recipe: _card_title(recipe) for recipe in world.recipes}
        charts = [*profiles(learned), *budget_charts(learned)]
        lists: list[tuple[str, str, Grid, Sequence[Chart]]] = [
            ("Models", "Every model that was measured.", tables.models_grid(world), ()),
            ("Tasks", "Every task with a measured number.", tables.tasks_grid(world), ()),
            ("Recipes", "What trained the models.", tables.recipes_grid(world, titles), charts),
            ("Runs", "Evaluations, and the trainings that lie here.", tables.runs_grid(world), ()),
        ]
        for title, about, grid, drawn in lists:
            island = {"page": "list", "grids": [grid.told], "charts": told(drawn)}
            path = f"{title.lower()}/index.html"
            self._page("list.html", path, title, {"about": about, "island": island})

    def _learned(self) -> list[Learning]:
        found = [self._learning(f) for f in self.world.folders.values() if f.recipe]
        return [each for each in found if each is not None]

    def _learning(self, folder: Folder) -> Learning | None:
        of = ["learning", folder.run, folder.stamp]
        return self.build.recall(of, Learning | None, lambda: learning(folder))

    def _task(self, task: str, keys: Sequence[str]) -> None:
        found = [self.world.rankings[key] for key in keys]
        charts: list[Chart] = pass_curves(found)
        headline = found[0].record.metric
        for each in (each for each in found if each.record.metric == headline):
            if (chart := pareto(each, self._tokens(rows_of(each)))) is not None:
                charts.append(chart)
        titles = distinct([tables.title(each.record) for each in found])
        rankings = [
            {"key": key, "title": visible(name)} for key, name in zip(keys, titles, strict=True)
        ]
        island = {"page": "task", "rankings": rankings, "charts": told(charts)}
        self._page("task.html", task_page(task), task, {"about": "", "island": island})

    def _tokens(self, records: Sequence[Record]) -> dict[str, float]:
        """Tokens per rollout of each run that tells."""
        found: dict[str, float] = {}
        for record in records:
            folder = self.world.folders.get(record.run)
            if folder and folder.tokens:
                found[record.run] = folder.tokens / (record.examples * record.rollouts)
        return found

    def _ranking(self, key: str) -> None:
        world = self.world
        records = rows_of(world.rankings[key])
        stamps = [folder.stamp for r in records if (folder := world.folders.get(r.run))]
        names = [world.names[row_of(record)] for record in records]
        made_from = [world.ranks.group_digest(world.members[key]), names, stamps]
        name = f"ranking-{key}"
        self.build.add(
            ranking_file(key), made_from, lambda: script_file(name, ranking_data(world, key))
        )
        self.build.add(
            values_file(key),
            made_from,
            lambda: script_file(f"values-{key}", values_data(world, key)),
        )

    def _model(self, row: Row, records: Sequence[Record]) -> None:
        path, name = model_page(row), self.world.names[row]
        self.build.add(
            path,
            ["model", self._told(records)],
            lambda: page("numbers.html", path, name, self._model_data(records)),
        )

    def _model_data(self, records: Sequence[Record]) -> dict[str, Any]:
        measured = [record for record in records if record.ranked]
        last = max(measured or records, key=lambda r: r.when)
        grids = [tables.numbers_grid(self.world, measured)]
        if others := tables.reported_grid(self.world, records):
            grids.append(others)
        known = ("model", "weights", "made from", "engine", "machine", "model learned until")
        return {
            "about": f"Trained by {last.recipe} from {last.base}." if last.recipe else "",
            "facts": [fact for fact in facts(last) if fact[0] in known],
            "sections_of_card": [],
            "island": {"page": "numbers", "grids": [g.told for g in grids if g.rows], "charts": []},
        }

    def _recipe(self, recipe: str, records: Sequence[Record]) -> None:
        folders = [f for f in self.world.folders.values() if f.recipe == recipe]
        runs = [chart for f in folders if (chart := training(f.run, f.steps)) is not None]
        grid = tables.numbers_grid(self.world, records)
        data = {
            "about": _card_title(recipe),
            "facts": [
                ["models", str(len({row_of(r) for r in records}))],
                ["training runs here", str(len(folders))],
            ],
            "sections_of_card": _card_sections(recipe),
            "island": {
                "page": "numbers",
                "grids": [grid.told] if grid.rows else [],
                "charts": told(runs[:12]),
            },
        }
        self._page("numbers.html", recipe_page(recipe), recipe, data)

    def _run(self, run: str) -> None:
        folder, path = self.world.folders.get(run), run_page(run)
        tasks = self.world.by_task
        known = [record.task in tasks for record in self.world.by_run[run]]
        if folder and not known:
            known = [str(folder.asks.get("task", "")) in tasks]
        told = ["run", self._told(self.world.by_run[run]), folder.stamp if folder else None, known]
        self.build.add(path, told, lambda: page("run.html", path, run, self._run_data(run)))
        if folder and folder.has_rollouts:
            self.build.add(rollouts_page(run), folder.stamp, folder.page)

    def _run_data(self, run: str) -> dict[str, Any]:
        data = run_data(self.world, run)
        folder = self.world.folders.get(run)
        chart = training(run, folder.steps) if folder and folder.recipe else None
        known = data["task"] in self.world.by_task
        data |= {"task_page": task_page(data["task"]) if known else ""}
        island = {"page": "run", "charts": told([chart] if chart else [])}
        return {**data, "island": island, "scripted": bool(chart)}


def told(charts: Sequence[Chart]) -> list[dict[str, Any]]:
    """Charts as a page reads them; names are made visible there as here."""
    return [
        {
            "title": visible(chart.title),
            "about": visible(chart.about, 300),
            "x": visible(chart.x),
            "y": visible(chart.y),
            "log_x": chart.log_x,
            "square": chart.square,
            "lines": [
                {
                    "name": visible(line.name, 60),
                    "x": line.x,
                    "y": line.y,
                    "low": line.low,
                    "high": line.high,
                    "x_low": line.x_low,
                    "x_high": line.x_high,
                    "labels": [visible(label, 60) for label in line.labels],
                    "shape": line.shape,
                }
                for line in chart.lines
            ],
        }
        for chart in charts
    ]


def _download(kind: str, drawing: Drawing) -> Callable[[], str | bytes]:
    return (lambda: to_parquet(drawing)) if kind == "parquet" else (lambda: FORMATS[kind](drawing))


def _counts(drawing: Drawing) -> str:
    rows = {row_of(record) for found in drawing.rankings for record in rows_of(found)}
    newest = max((r.when for f in drawing.rankings for r in rows_of(f)), default="")[:10]
    last = f", last on {newest}" if newest else ""
    return f"{counted(len(rows), 'model')}, {counted(len(drawing.rankings), 'ranking')}{last}"


def _address(record: Record) -> str:
    return run_page(record.run) if record.run else model_page(row_of(record))


@functools.cache
def _cards() -> dict[str, registry.Card]:
    """The cards of the recipes of this house; records may name any other."""
    return {card.name: card for card in registry.cards("recipes")}


def _card_title(recipe: str) -> str:
    return _cards()[recipe].title if recipe in _cards() else ""


def _card_sections(recipe: str) -> list[tuple[str, str]]:
    return list(_cards()[recipe].sections.items()) if recipe in _cards() else []
