"""`harness show`: what a name stands for."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Annotated, Any

import typer

SHOWN = 1200
"""Characters of a prompt or a gold output that are shown; JSON has them whole."""


def run(
    name: Annotated[str, typer.Argument(help="a task, recipe, board or model, or a path to one")],
    as_json: Annotated[bool, typer.Option("--json", help="machine-readable description")] = False,
) -> None:
    """Show what a name stands for: a task's first prompt and gold, a recipe's diff to grpo, ..."""
    from harness.commands import screen

    kind = kind_of(name)
    told = {"task": task, "family": family, "recipe": recipe, "board": board, "model": model}[kind](
        name
    )
    if as_json:
        screen.emit({"kind": kind, **told})
    else:
        _print(told)


def kind_of(name: str) -> str:
    """What a name or path stands for; UnknownName with what is near where nothing answers."""
    from harness import registry
    from harness.commands.opening import FAMILIES
    from harness.errors import DataError, UnknownName

    path = name.partition("::")[0]
    if path.endswith(".py"):
        text = registry.source(path)
        for kind, word in (("task", "TASKS"), ("recipe", "RECIPE"), ("board", "BOARD")):
            if any(line.startswith(word) for line in text.splitlines()):
                return kind
        raise DataError(f"{path} defines none of TASKS, RECIPE and BOARD; see `harness new`")
    tasks, recipes, boards = (registry.cards(kind) for kind in ("tasks", "recipes", "boards"))
    if "/" in name and ":" not in name and name.partition("/")[0] in {card.name for card in tasks}:
        return "task"
    for kind, found in (("family", tasks), ("recipe", recipes), ("board", boards)):
        if name in {card.name for card in found}:
            return kind
    families = {spec.partition(":")[0] for spec in FAMILIES}
    if name.partition(":")[0] in families:
        return "model"
    members = [member for card in tasks for member in card.members]
    others = [card.name for card in (*tasks, *recipes, *boards)]
    raise UnknownName(
        name, "tasks, recipes, boards and models", {*members, *others, *FAMILIES, *families}
    )


def task(name: str) -> dict[str, Any]:
    """A task's card, numbers, and its first example as a model meets it."""
    from harness import registry
    from harness.errors import HarnessError
    from harness.types import SPLITS, Example, Split

    found = registry.task(name)
    card = registry.card("tasks", name)
    splits: dict[str, Any] = {}
    first: tuple[Split, Example] | None = None
    for split in SPLITS:
        try:
            examples = found.examples(split)
        except HarnessError as error:
            splits[split] = f"not here: {error}"
            continue
        splits[split] = len(examples)
        if examples and (first is None or split == "test"):
            first = split, examples[0]
    told = {
        "name": found.name,
        "title": card.members.get(found.name, card.title),
        "file": str(card.path),
        "version": found.version,
        "source": found.source,
        "released": found.released,
        "card": card.sections,
        "splits": splits,
        "metrics": [_metric(metric) for metric in found.metrics],
        "reward": dict(found.reward),
    }
    return told if first is None else {**told, "first": _first(found, *first)}


def family(name: str) -> dict[str, Any]:
    """A family's card and members."""
    from harness import registry

    card = registry.card("tasks", name)
    return {**_card(card), "members": card.members}


def recipe(name: str) -> dict[str, Any]:
    """A recipe's card, its settings, and how it differs from grpo."""
    from harness import registry
    from harness.errors import need

    need("torch", "train", f"the recipe {name}")
    from trainers.written import difference

    found, base = registry.recipe(name), registry.recipe("grpo")
    differs = difference(found, base)
    return {
        **_card(registry.card("recipes", name)),
        "home": found.home,
        "paper": found.paper,
        "differs from grpo": {
            field: {"grpo": old, "here": new} for field, (old, new) in differs.items()
        },
        "written": repr(found),
    }


def board(name: str) -> dict[str, Any]:
    """A board's card."""
    from harness import registry

    return {**_card(registry.card("boards", name)), "written": repr(registry.board(name))}


def model(name: str) -> dict[str, Any]:
    """What a model's name means, and the card of its family; no weights are loaded."""
    from harness import registry
    from harness.commands.opening import FAMILIES

    word = name.partition(":")[0]
    spec = next(spec for spec in FAMILIES if spec.partition(":")[0] == word)
    cards = {card.name: card for card in registry.cards("policies")}
    more = _card(cards[word]) if word in cards else {}
    return {**more, "name": name, "title": FAMILIES[spec], "form": spec}


def _card(card: Any) -> dict[str, Any]:
    return {
        "name": card.name,
        "title": card.title,
        "file": str(card.path),
        "card": {key: text for key, text in card.sections.items() if key != "Members"},
    }


def _metric(metric: Any) -> dict[str, Any]:
    return {
        "name": metric.name,
        "better": metric.better,
        "unit": metric.unit,
        "range": [metric.low, metric.high],
        "needs": metric.needs,
    }


def _first(found: Any, split: str, example: Any) -> dict[str, Any]:
    from harness.images import in_words
    from harness.models import Gold
    from harness.play import play
    from harness.types import Rollout

    prompt = found.prompt(example)
    (judged, *_) = [*play(found.but(compare=None), [prompt], Gold(found))]
    verdict = judged.verdict if isinstance(judged, Rollout) else judged.note
    return {
        "split": split,
        "id": example.id,
        "tags": dict(example.tags),
        "prompt": [[each.speaker, in_words(each.content)] for each in prompt.spoken()],
        "gold": found.gold(example),
        "verdict": verdict,
    }


def _print(told: Mapping[str, Any]) -> None:
    from harness.types import Verdict

    print(f"{told['name']}: {told['title']}")
    for key in ("form", "file", "version", "source", "released", "home", "paper"):
        if told.get(key):
            print(f"{key:<9} {told[key]}")
    for heading, text in told.get("card", {}).items():
        if heading != "Members":
            _section(heading, str(text).splitlines())
    if "members" in told:
        _section("Members", (f"{name}  {text}" for name, text in told["members"].items()))
    if "splits" in told:
        _section("Splits", (f"{name:<6} {size}" for name, size in told["splits"].items()))
        _section("Metrics", (_metric_line(metric) for metric in told["metrics"]))
        _section("Reward", (f"{weight:g} x {name}" for name, weight in told["reward"].items()))
    if "differs from grpo" in told:
        rows = told["differs from grpo"].items()
        lines = (f"{field}: {two['here']}\n    in grpo: {two['grpo']}" for field, two in rows)
        _section("Differs from grpo", lines if rows else ["in nothing"])
    if "first" in told:
        first = told["first"]
        print(f"\nThe first {first['split']} example, {first['id']}")
        for speaker, content in first["prompt"]:
            _section(f"[{speaker}]", [_cut(content)])
        _section("[gold]", [_cut(first["gold"])])
        verdict = first["verdict"]
        if isinstance(verdict, Verdict):
            scores = ", ".join(f"{name} {score:g}" for name, score in verdict.scores.items())
            verdict = f"{verdict.reason}: {scores}{'; ' if verdict.note else ''}{verdict.note}"
        _section("[verdict on the gold]", [verdict])
    elif "splits" in told:
        print("\nno example can be read here")


def _section(heading: str, lines: Iterable[str]) -> None:
    print(f"\n{heading}")
    for text in lines:
        for line in str(text).splitlines() or [""]:
            print(f"  {line}")


def _metric_line(metric: Mapping[str, Any]) -> str:
    low, high = metric["range"]
    needs = f", needs {metric['needs']} rollouts" if metric["needs"] > 1 else ""
    unit = f" {metric['unit']}" if metric["unit"] else ""
    return f"{metric['name']:<24} {metric['better']} is better, {low:g} to {high:g}{unit}{needs}"


def _cut(value: object) -> str:
    text = str(value)
    return text if len(text) <= SHOWN else f"{text[:SHOWN]} ... ({len(text)} characters)"
