"""`harness check`: does a task or recipe keep what every one promises?"""

from __future__ import annotations

import re
import subprocess
import sys
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from harness.contracts import Finding

ELSEWHERE = """
import sys
from harness import registry
from harness.digests import digest, example_digest, prompt_digest
from harness.types import SPLITS

task = registry.task(sys.argv[1])
found = [e for split in SPLITS for e in task.examples(split)]
print("digest", digest([[example_digest(e), prompt_digest(task.prompt(e))] for e in found]))
"""


def run(
    names: Annotated[list[str], typer.Argument(help="tasks or recipes, by name or path")],
    few: Annotated[int, typer.Option("--few", min=2, help="examples of each split to judge")] = 20,
    as_json: Annotated[bool, typer.Option("--json", help="machine-readable findings")] = False,
) -> None:
    """Check tasks and recipes against their contracts; exits with 1 where a law is broken."""
    from harness.commands import screen

    found = {name: findings(name, few) for name in names}
    left = {name: lines for name in names if (lines := _unfilled(name))}
    broken = sum(not finding.ok for each in found.values() for finding in each)
    if as_json:
        screen.emit({"ok": not broken, "findings": found, "unfilled": left})
    else:
        for name, each in found.items():
            print(name)
            for finding in each:
                mark = "ok    " if finding.ok else "BROKEN"
                print(f"  {mark} {finding.law}{': ' if finding.note else ''}{finding.note}")
        print(f"{broken} broken" if broken else "every law holds")
        for name, lines in left.items():
            print(f"{name}: still marked HERE: line {', '.join(map(str, lines))}")
    if broken:
        raise typer.Exit(1)


def findings(name: str, few: int) -> list[Finding]:
    """What the contracts find; of every member where a family is named."""
    from harness import registry
    from harness.commands.show import kind_of
    from harness.contracts import Finding, task_contracts
    from harness.errors import UsageError, need

    kind = kind_of(name)
    if kind == "task":
        card = registry.card("tasks", name)
        laws = task_contracts(registry.task(name), card, few=few)
        return laws if not any(finding.ok for finding in laws[-1:]) else [*laws, _elsewhere(name)]
    if kind == "family":
        members = registry.card("tasks", name).members
        return [
            Finding(f"{member}: {finding.law}", finding.ok, finding.note)
            for member in members
            for finding in findings(member, few)
        ]
    if kind == "recipe":
        need("torch", "train", f"checking the recipe {name}")
        from trainers.contracts import recipe_contracts

        found = registry.recipe(name)
        return recipe_contracts(found, registry.card("recipes", name), registry.task(found.home))
    raise UsageError(f"'{name}' is a {kind}; tasks and recipes have contracts")


def _unfilled(name: str) -> list[int]:
    """Lines of a file from `harness new` that nobody has filled yet."""
    from harness import registry
    from harness.commands.show import kind_of

    card = registry.card("recipes" if kind_of(name) == "recipe" else "tasks", name)
    text = card.path.read_text("utf-8") if card.path else ""
    lines = enumerate(text.splitlines(), 1)
    return [number for number, line in lines if re.search(r"(\[|# )HERE:", line)]


def _elsewhere(name: str) -> Finding:
    """Whether other processes, with other hash seeds, see the same examples and prompts."""
    from harness.contracts import Finding

    law = "other processes see the same examples"
    seen: set[str] = set()
    for seed in ("1", "2"):
        done = subprocess.run(
            [sys.executable, "-X", "utf8", "-c", ELSEWHERE, name],
            env={**_environment(), "PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
        )
        told = [line for line in done.stdout.splitlines() if line.startswith("digest ")]
        if not told:
            return Finding(law, False, (done.stderr.strip() or "nothing came back")[-300:])
        seen.add(told[-1])
    note = "" if len(seen) == 1 else "the hash seed moves them: do not rely on the order of a set"
    return Finding(law, len(seen) == 1, note)


def _environment() -> dict[str, str]:
    import os

    return {**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
