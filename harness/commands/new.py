"""`harness new`: a task or a recipe to begin with, and its test."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import typer

TEMPLATES = Path(__file__).parent / "templates"
ROOMS = {"task": ("tasks", "tests/tasks"), "recipe": ("trainers/recipes", "tests/recipes")}


def run(
    kind: Annotated[str, typer.Argument(help="task or recipe")],
    name: Annotated[str, typer.Argument(help="family/member of a task, name of a recipe")],
    to: Annotated[
        Path | None,
        typer.Option("--to", help="folder; default the checkout's rooms, or the current folder"),
    ] = None,
) -> None:
    """Write a task or a recipe to begin with, and its test; fill the places marked HERE."""
    from string import Template

    from harness.errors import UnknownName

    if kind not in ROOMS:
        raise UnknownName(kind, "what can be made", ROOMS)
    family, member = _names(kind, name)
    code, test, called = _places(kind, family, member, to)
    words = {
        "family": family,
        "member": member,
        "recipe": family,
        "stage": "".join(word.title() for word in family.split("_")) + "Center",
        **_test_words(called, code),
    }
    _write(
        {
            path: Template((TEMPLATES / template).read_text("utf-8")).substitute(words)
            for path, template in ((code, f"{kind}.txt"), (test, f"{kind}_test.txt"))
        }
    )
    print(f"{code}\n{test}\n")
    print("next: fill the places marked HERE in both, then")
    print(f"  harness check {called}")
    laws = "" if kind == "task" or called.endswith(".py") else f"{test.parent} -k {called}"
    print(f"  python -m pytest {laws or test}")
    if kind == "task":
        print(f"  harness eval {called} --model gold")
    else:
        print(
            f"  harness train ladders/graded --recipe {called} --model text:tiny --warm-up 300 \\"
        )
        print(
            "    --steps 40 --max-tokens 16 --set optimizer.lr=3e-4   # a minute; reward must rise"
        )


def _names(kind: str, name: str) -> tuple[str, str]:
    """Family and member of a task, name and nothing of a recipe; both fit to name a file."""
    import keyword

    from harness.errors import UsageError

    family, slash, member = name.partition("/")
    wanted = [family, member] if kind == "task" and slash else [family]
    for word in wanted:
        if not word.isidentifier() or word != word.lower() or not word.isascii():
            raise UsageError(
                f"'{name}' cannot name a {kind}: use small letters, digits and _, as in "
                f"{'sums/digits' if kind == 'task' else 'mc_grpo'}"
            )
    if slash and kind == "recipe":
        raise UsageError(f"'{name}' cannot name a recipe: recipes have no members")
    if family in sys.stdlib_module_names or keyword.iskeyword(family):
        raise UsageError(f"'{family}' is the name of a module of Python itself; take another one")
    return family, member or "plain"


def _places(kind: str, family: str, member: str, to: Path | None) -> tuple[Path, Path, str]:
    """Where file and test go, and how the result is called."""
    from harness import registry
    from harness.errors import UsageError

    room, tests = ROOMS[kind]
    here = Path.cwd()
    checkout = (registry.HOUSE / "pyproject.toml").is_file()
    if to is None and checkout and here.is_relative_to(registry.HOUSE):
        kinds: dict[str, registry.Kind] = {"task": "tasks", "recipe": "recipes"}
        if family in {card.name for card in registry.cards(kinds[kind])}:
            raise UsageError(
                f"there is a {kind} of the name '{family}' already; "
                + ("add the member to its file" if kind == "task" else "take another name")
            )
        code = registry.HOUSE / room / f"{family}.py"
        test = registry.HOUSE / tests / f"test_{family}.py"
        return code, test, f"{family}/{member}" if kind == "task" else family
    folder = to or Path()
    code = folder / f"{family}.py"
    return code, folder / f"test_{family}.py", str(code)


def _test_words(called: str, code: Path) -> Mapping[str, str]:
    """How a test names its subject: by its name in the rooms, else by the file beside it."""
    if called.endswith(".py"):
        return {
            "imports": "\nfrom pathlib import Path\n",
            "name": f'str(Path(__file__).with_name("{code.name}"))',
        }
    return {"imports": "", "name": f'"{called}"'}


def _write(files: Mapping[Path, str]) -> None:
    from harness.errors import UsageError
    from harness.journal import write_whole

    there = [str(path) for path in files if path.exists()]
    if there:
        raise UsageError(f"{' and '.join(there)} exists; nothing was written")
    for path, text in files.items():
        write_whole(path, text)
