"""Facts: one row a number with all that is known of it, as CSV, JSON and Parquet hold it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from leaderboards.rank import Ranking
from results.record import Record

SHOWN = (
    *("model", "recipe", "base", "task", "version", "split", "metric", "value", "low", "high"),
    *("better", "unit", "examples", "rollouts", "clusters", "seeds", "origin", "source", "dtype"),
    *("engine", "batch", "threads", "dataset", "model_digest", "example_ids_digest", "digest"),
    *("run", "commit", "when", "seconds", "machine", "sampling", "settings", "reasons", "note"),
)


def long_rows(found: Sequence[Ranking], reported: Sequence[Record]) -> list[dict[str, Any]]:
    """Measured first; `ranking`, `rank` and `needed` are empty where a number has none."""
    rows: list[dict[str, Any]] = []
    for number, ranking in enumerate(found):
        rows += [
            {"ranking": number, "rank": p.rank, **_facts(p.record), "needed": p.needed or ""}
            for p in ranking.places
        ]
        rows += [
            {"ranking": number, "rank": "", **_facts(r), "needed": ""} for r in ranking.unranked
        ]
    return [*rows, *({"ranking": "", "rank": "", **_facts(r), "needed": ""} for r in reported)]


def _facts(record: Record) -> dict[str, Any]:
    facts: dict[str, Any] = {}
    for name in SHOWN:
        value = getattr(record, name)
        if isinstance(value, Mapping):
            value = "; ".join(f"{key}={each}" for key, each in sorted(value.items()))
        elif isinstance(value, list):
            value = " ".join(map(str, value))
        facts[name] = value
    return facts
