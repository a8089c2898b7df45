"""`harness list`: what there is, read from cards; nothing is imported."""

from __future__ import annotations

from typing import Annotated, Any

import typer

KINDS = ("tasks", "recipes", "models", "boards")


def run(
    kind: Annotated[str | None, typer.Argument(help="tasks, recipes, models or boards")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="machine-readable list")] = False,
) -> None:
    """List tasks, recipes, models and boards; `harness show NAME` tells more of each."""
    from harness.commands import screen
    from harness.errors import UnknownName

    if kind is not None and kind not in KINDS:
        near = [known for known in KINDS if known.rstrip("s") == kind.rstrip("s")]
        if not near:
            raise UnknownName(kind, "kinds", KINDS)
        kind = near[0]
    found = {each: entries(each) for each in ([kind] if kind else KINDS)}
    if as_json:
        screen.emit(found)
        return
    for each, rows in found.items():
        print(f"{len(rows)} {each}")
        width = max((len(row["name"]) for row in rows), default=0)
        for row in rows:
            print(f"  {row['name']:<{width}}  {row['title']}")
        print()


def entries(kind: str) -> list[dict[str, Any]]:
    """Name, title and file of everything of a kind."""
    from harness import registry

    if kind == "models":
        from harness.commands.opening import FAMILIES

        return [{"name": name, "title": title} for name, title in FAMILIES.items()]
    rooms: dict[str, registry.Kind] = {"tasks": "tasks", "recipes": "recipes", "boards": "boards"}
    return [
        {"name": name, "title": title or card.title, "file": str(card.path)}
        for card in registry.cards(rooms[kind])
        for name, title in (card.members if kind == "tasks" else {card.name: card.title}).items()
    ]
