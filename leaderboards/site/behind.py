"""What lies behind a number: the rows of its ranking, how each two differ, and its run."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from leaderboards.rank import Ranking
from leaderboards.sheets import ARROWS, interval, settings_line, shown
from leaderboards.site.addresses import (
    model_page,
    recipe_page,
    rollouts_page,
    row_of,
    run_page,
    values_file,
)
from leaderboards.site.grids import text
from leaderboards.site.tables import title
from leaderboards.site.world import World, rows_of
from results.record import Record

MATRIX = 24
"""Rows of the table of wins."""
LEVELS = 64
"""Different values up to which an example's value is one letter."""
LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
NONE = "."
"""The letter of an example without a value."""


def ranking_data(world: World, key: str) -> dict[str, Any]:
    """A ranking with all that is known of its rows; the pairs are tested now."""
    members = world.members[key]
    found = world.ranks.whole(members)
    record = found.record
    return {
        "key": key,
        "title": text(title(record)),
        "metric": text(record.metric + ARROWS[record.better]),
        "better": record.better,
        "unit": text(record.unit),
        "settings": text(settings_line(found), 2_000),
        "rows": [
            row_data(world, each, place, world.names[row_of(each)])
            for each, place in zip(
                rows_of(found), found.places or [None] * len(found.unranked), strict=True
            )
        ],
        "ties": [list(tie) for tie in found.ties],
        "wins": _wins(found),
        "values": values_file(key) if _worth_comparing(found) else "",
    }


def row_data(world: World, record: Record, place: Any, name: str) -> dict[str, Any]:
    """A row: the number, how it was measured, and where its parts are."""
    folder = world.folders.get(record.run)
    receipt = folder.receipt if folder else None
    return {
        "name": text(name),
        "address": model_page(row_of(record)),
        "recipe": text(record.recipe),
        "recipe_address": recipe_page(record.recipe) if record.recipe else "",
        "rank": place.rank if place else "",
        "needed": place.needed if place else None,
        "runs": place.runs if place else 1,
        "value": float(f"{record.value:.6g}"),
        "low": _short(record.low),
        "high": _short(record.high),
        "shown": text(shown(record)),
        "interval": interval(record),
        "n": record.examples,
        "k": record.rollouts,
        "clusters": record.clusters,
        "seeds": ", ".join(map(str, record.seeds)),
        "reasons": {text(name): share for name, share in sorted(record.reasons.items())},
        "facts": facts(record),
        "run": text(record.run),
        "run_address": run_page(record.run),
        "rollouts": rollouts_page(record.run) if folder and folder.has_rollouts else "",
        "command": text(folder.command, 2_000) if folder else "",
        "receipt": receipt,
        "origin": record.origin,
        "seen": record.seen,
        "note": text(record.note, 400),
        "when": record.when[:10],
    }


def facts(record: Record) -> list[list[str]]:
    """Digests and circumstances, as names and texts; what is not known is left out."""
    found = {
        "model": record.model,
        "weights": record.model_digest,
        "made from": record.base,
        "decoding": ", ".join(f"{k} {v}" for k, v in record.sampling.items() if v != []),
        "dataset": record.dataset,
        "examples": record.example_ids_digest,
        "question": record.digest,
        "engine": " ".join(part for part in (record.engine, record.dtype) if part),
        "batch, threads": f"{record.batch}, {record.threads}" if record.batch else "",
        "machine": record.machine,
        "seconds": f"{record.seconds:g}" if record.seconds else "",
        "commit": record.commit,
        "measured": record.when,
        "origin": record.origin,
        "source": record.source,
        "model learned until": record.model_date,
        "examples public since": record.data_date,
    }
    return [[name, text(value, 300)] for name, value in found.items() if value]


def values_data(world: World, key: str) -> dict[str, Any]:
    """The value of each example for each row, and p of each pair after Holm's correction."""
    found = world.ranks.whole(world.members[key])
    records = rows_of(found)
    paired = _paired(records)
    levels = sorted({value for r in records for value in r.values if value == value})
    letters = paired and len(levels) <= LEVELS
    letter = dict(zip(levels, LETTERS, strict=False))
    rows: list[Any] = []
    for record in records if paired else []:
        if letters:
            rows.append("".join(letter.get(value, NONE) for value in record.values))
        else:
            rows.append([_short(value) for value in record.values])
    p = found.pairs.corrected if found.pairs is not None else np.ones((0, 0))
    return {
        "levels": [float(f"{level:.6g}") for level in levels] if letters else [],
        "rows": rows,
        "ids": _ids(world, records),
        "p": [[float(f"{p[i, j]:.3g}") for j in range(i)] for i in range(len(p))],
    }


def _ids(world: World, records: Sequence[Record]) -> list[str]:
    """The examples' names in the order of the values, where the rollouts of a run tell them."""
    for record in records:
        folder = world.folders.get(record.run)
        if record.values and folder and folder.has_rollouts:
            ids = folder.examples
            if len(ids) == len(record.values):
                return [text(id) for id in ids]
    return []


def run_data(world: World, run: str) -> dict[str, Any]:
    """The page of a run: its numbers, what was asked, by which command, and the receipt."""
    records = world.by_run[run]
    folder = world.folders.get(run)
    first = records[0] if records else None
    return {
        "run": run,
        "records": [
            {
                "metric": record.metric,
                "task": title(record),
                "shown": shown(record),
                "interval": interval(record),
                "n": record.examples,
                "k": record.rollouts,
                "model": world.names[row_of(record)],
                "model_page": model_page(row_of(record)),
                "ranking": world.placed[id(record)].key if id(record) in world.placed else "",
            }
            for record in records
        ],
        "facts": facts(first) if first else [],
        "reasons": sorted(first.reasons.items(), key=lambda each: -each[1]) if first else [],
        "setting": sorted(first.settings.items()) if first else [],
        "task": first.task if first else str(folder.asks.get("task", "")) if folder else "",
        "recipe": folder.recipe if folder else "",
        "command": folder.command if folder else "",
        "receipt": folder.receipt if folder else None,
        "rollouts": rollouts_page(run) if folder and folder.has_rollouts else "",
        "manifest": folder.manifest_text() if folder else "",
        "note": first.note if first else "",
    }


def _wins(found: Ranking) -> dict[str, Any] | None:
    """Share of examples on which a row is better than a column, and Holm's p, of the first rows."""
    if found.pairs is None or len(found.places) < 2:
        return None
    size = min(len(found.places), MATRIX)
    win, p = found.pairs.win[:size, :size], found.pairs.corrected[:size, :size]
    return {
        "win": [
            [None if math.isnan(x) else round(100 * x, 1) for x in row] for row in win.tolist()
        ],
        "p": [[float(f"{x:.2g}") for x in row] for row in p],
        "left_out": len(found.places) - size,
    }


def _worth_comparing(found: Ranking) -> bool:
    return found.pairs is not None and len(found.places) > 1


def _paired(records: Sequence[Record]) -> bool:
    first = records[0]
    return bool(first.values) and all(
        record.example_ids_digest == first.example_ids_digest
        and len(record.values) == len(first.values)
        for record in records
    )


def _short(value: float) -> float | None:
    return float(f"{value:.6g}") if math.isfinite(value) else None
