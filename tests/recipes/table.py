"""Which law of which recipe is shown by tests that pass: recipe x (oracle, limit, ...).

    python tests/recipes/table.py [--write PATH] [RECIPE ...]

Runs the tests of recipes here and now and counts those that passed. A test belongs to a column by
what its name says; laws that no recipe is exempt from stand in test_laws.py and are run with each
recipe's name. Ends with 1 where a test fails or a recipe has an empty cell.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

HERE = Path(__file__).resolve().parent
COLUMNS = {
    "oracle": r"oracle|worked|by_hand|formula",
    "limit": r"limit|grpo|trl|same_as|is_the_mean",
    "degenerate": r"degenerate|teach_nothing|flat|all_right|all_wrong|single|alone",
    "resume": r"resume|stopped_run|goes_on|saved",
    "invariance": r"invarian|padding|order|micro_batch|see_each_other|add_up",
}
"""What names of tests say; one test may belong to two columns."""
CONTRACT = ("degenerate", "resume", "invariance")
"""What the contracts of recipes try too."""


@dataclass
class Seen:
    """Passed and failed tests by recipe and column; a pytest plugin."""

    passed: Counter[tuple[str, str]] = field(default_factory=Counter[tuple[str, str]])
    failed: list[str] = field(default_factory=list[str])

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Count a test once it was called; what fails before or after fails too."""
        if report.failed:
            self.failed.append(report.nodeid)
        elif report.passed and report.when == "call":
            for cell in cells(report.nodeid):
                self.passed[cell] += 1


def cells(nodeid: str) -> list[tuple[str, str]]:
    """Recipe and columns of a test, by its file, its name, or the recipe's name in brackets."""
    file, _, test = nodeid.partition("::")
    name, _, rest = test.partition("[")
    given = rest.rstrip("]")
    if Path(file).stem == "test_every_recipe":
        return [(given, column) for column in CONTRACT]
    recipe = given if Path(file).stem == "test_laws" else Path(file).stem.removeprefix("test_")
    return [(recipe, column) for column, said in COLUMNS.items() if re.search(said, name)]


def table(names: Sequence[str], seen: Seen) -> str:
    """Markdown: how many tests show each."""
    head = ["recipe", *COLUMNS]
    rows = [head, ["---"] + ["---:"] * len(COLUMNS)]
    rows += [[name, *(str(seen.passed[name, c] or "none") for c in COLUMNS)] for name in names]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def main() -> int:
    """Run, print, and say whether anything is missing."""
    from harness import registry

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("recipes", nargs="*", metavar="RECIPE")
    parser.add_argument("--write", type=Path, metavar="PATH")
    asked = parser.parse_args()
    known = [card.name for card in registry.cards("recipes")]
    names = [registry.card("recipes", name).name for name in asked.recipes] or known
    files = [HERE / f"test_{name}.py" for name in names]
    shared = [HERE / "test_laws.py", HERE.parent / "contracts" / "test_every_recipe.py"]
    seen = Seen()
    chosen = [str(file) for file in files if file.exists()]
    chosen += [
        f"{file}::{test}[{name}]" for file in shared for test in tests(file) for name in names
    ]
    pytest.main(["-q", "--no-header", "-p", "no:cacheprovider", *chosen], plugins=[seen])
    found = table(names, seen)
    print(found)
    if asked.write:
        text = "# What is shown of each recipe\n\nTests that passed, by `make recipes-table`.\n\n"
        asked.write.write_text(text + found + "\n", "utf-8")
    empty = [f"{name}: no {c}" for name in names for c in COLUMNS if not seen.passed[name, c]]
    # grpo is the limit of others
    empty = [line for line in empty if line != "grpo: no limit"]
    for line in [*seen.failed, *empty]:
        print(line, file=sys.stderr)
    return int(bool(seen.failed or empty))


def tests(file: Path) -> list[str]:
    """Names of a file's tests that are run for every recipe."""
    return re.findall(r'parametrize\("name", NAMES\)\ndef (test_\w+)', file.read_text("utf-8"))


if __name__ == "__main__":
    raise SystemExit(main())
