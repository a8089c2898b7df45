"""The conformance table: `make conformance` writes `results/conformance.md` and `.json`.

Every row is measured anew: the gradient that each trainer makes of the stored rollouts, beside that
of the plain reference in float64.
"""

from __future__ import annotations

import importlib.metadata
import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from tests.conformance.cases import Case, stored
from tests.conformance.ours import Ours
from tests.conformance.peer_trl import TRL
from tests.conformance.rows import Result, Row, every, held, measured, truth
from tests.conformance.settings import Trainer

HOUSE = Path(__file__).resolve().parents[2]
PAGE = HOUSE / "results" / "conformance.md"
HEAD = """# Conformance: whose gradient is the paper's, whatever the batching

`make conformance` writes this page. 24 stored rollouts in 6 groups (1 to 12 tokens, one-token and
truncated ones among them, one flat group) of a two-layer model are handed to every trainer; the
truth is the gradient that a plain loop computes from the formulas in float64, one rollout at a time
(`tests/conformance/plain.py`). "Old policy": ratios are taken against stored log-probabilities that
are 0.4 nats off, so that clipping matters.

Gap is |gradient - truth| / |truth| over all weights, in float32. Ours is the same up to 1e-5,
another trainer's is with a cosine above 0.9999 and a gap below 1e-4; precisions that cannot be
exact need a cosine of 0.98.
"""


def results(rows: Sequence[Row], trainers: Sequence[Trainer], case: Case) -> Iterator[Result]:
    """Each row by each trainer."""
    known: dict[Any, Any] = {}
    for row in rows:
        key = (row.truth or row.settings, row.change)
        if key not in known:
            known[key] = truth(row, case)
        for trainer in trainers:
            yield measured(row, trainer, case, known[key])


def page(found: Sequence[Result], trainers: Sequence[str]) -> str:
    """The table in Markdown, and below it why something differs or is not there."""
    by_row: dict[str, dict[str, Result]] = {}
    for result in found:
        by_row.setdefault(result.row, {})[result.trainer] = result
    lines = [HEAD, f"| row | {' | '.join(trainers)} |", "|---" * (len(trainers) + 1) + "|"]
    notes: dict[tuple[str, str], list[str]] = {}
    for row, cells in by_row.items():
        lines.append(f"| {row} | {' | '.join(cells[name].said for name in trainers)} |")
        for name in trainers:
            if cells[name].why and cells[name].status != "same":
                notes.setdefault((name, cells[name].why), []).append(row)
    lines += ["", "## Why", ""]
    lines += [f"- {name}: {why} ({'; '.join(rows)})." for (name, why), rows in notes.items()]
    packages = ", ".join(f"{p} {importlib.metadata.version(p)}" for p in installed())
    return "\n".join([*lines, "", f"Measured with {packages}.", ""])


def installed() -> list[str]:
    """The packages that the numbers depend on."""
    there = {each.name.lower() for each in importlib.metadata.distributions()}
    return [name for name in ("torch", "transformers", "trl") if name in there]


def show(found: Sequence[Result], rows: Sequence[Row], trainers: Sequence[str]) -> None:
    """The table on the screen, what is not as it should be in red."""
    from rich.console import Console
    from rich.table import Table

    color = {"same": "green", "differs": "yellow", "not available": "dim"}
    by_name = {row.name: row for row in rows}
    table = Table("row", *trainers, title="conformance", title_justify="left")
    cells: dict[str, list[str]] = {}
    for result in found:
        style = color[result.status] if held(result, by_name[result.row]) else "bold red"
        cells.setdefault(result.row, []).append(f"[{style}]{result.said}[/]")
    for row, said in cells.items():
        table.add_row(row, *said)
    console = Console(width=None if sys.stdout.isatty() else 160)
    console.print(table)
    for why in dict.fromkeys(f"{r.trainer}: {r.why}" for r in found if r.why):
        console.print(f"- {why}")


def main() -> None:
    """Measure, show, write; exit 1 where a row is not as the table promises."""
    import torch

    torch.set_num_threads(1)
    rows, case = every(), stored()
    trainers: list[Trainer] = [Ours()]
    if "trl" in installed():
        trainers.append(TRL())
    else:
        print("TRL is not installed, so its column is not measured: pip install '.[peers]'")
    found = list(results(rows, trainers, case))
    names = [trainer.name for trainer in trainers]
    show(found, rows, names)
    by_name = {row.name: row for row in rows}
    wrong = [result for result in found if not held(result, by_name[result.row])]
    for result in wrong:
        print(f"NOT AS PROMISED: {result.row}, {result.trainer}: {result.said} {result.why}")
    if len(trainers) > 1:
        PAGE.write_text(page(found, names), "utf-8")
        lines = json.dumps([asdict(result) for result in found], indent=1)
        PAGE.with_suffix(".json").write_text(lines + "\n", "utf-8")
        print(f"written to {PAGE.relative_to(HOUSE)}")
    sys.exit(bool(wrong))


if __name__ == "__main__":
    main()
