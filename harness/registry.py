"""Names to files to objects: the file system is the registry.

`tasks/mathqa.py` answers to every name that begins with `mathqa/`; `trainers/recipes/grpo.py` to
`grpo`. A name may also be a path, `my_tasks/sums.py` or `my_tasks/sums.py::sums/digits`, and other
distributions add theirs through the entry point groups `harness.tasks` and `harness.recipes`.
Listing reads the cards (module docstrings) and imports nothing.
"""

from __future__ import annotations

import ast
import importlib
import importlib.util
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from importlib.metadata import entry_points
from pathlib import Path
from types import ModuleType
from typing import Any, Literal

from harness.errors import DataError, UnknownName, UsageError, need
from harness.models import Encoder
from harness.types import Task

Kind = Literal["tasks", "recipes", "boards", "policies", "encoders"]

ROOMS: dict[Kind, str] = {
    "tasks": "tasks",
    "recipes": "trainers.recipes",
    "boards": "leaderboards.boards",
    "policies": "trainers.policies",
    "encoders": "trainers.encoders",
}
HOUSE = Path(__file__).resolve().parent.parent
_local: dict[str, ModuleType] = {}
"""Tasks that this process opened by their path, by name: all that follows may use the name."""


@dataclass(frozen=True)
class Card:
    """What a file says of itself, read without importing it."""

    name: str
    """Of the file: `mathqa`, `grpo`."""
    title: str
    """What it does, in plain words: the first line after the name."""
    sections: dict[str, str]
    """Heading to text: Idea, Formula, Paper, Limits, Data, Scores, Metric, Members."""
    path: Path | None

    @property
    def members(self) -> dict[str, str]:
        """Full name of each member, to a line on it; a file without such a section is its own."""
        listed = self.sections.get("Members", "")
        rows = (line.strip().partition(" ") for line in listed.splitlines() if line.strip())
        return {f"{self.name}/{member}": text.strip() for member, _, text in rows} or {
            self.name: self.title
        }


def cards(kind: Kind) -> list[Card]:
    """The cards of all files of a kind, by name."""
    found = [read_card(path) for path in _files(kind)]
    for point in _points(kind):
        path = _origin(point.module)
        if path is not None:
            found.append(replace(read_card(path), name=point.name))
    return sorted(found, key=lambda card: card.name)


def card(kind: Kind, name: str) -> Card:
    """The card of the file that a name, or a path, leads to."""
    path = name.partition("::")[0]
    if path.endswith(".py"):
        return read_card(_there(kind, Path(path)))
    family = name.partition("/")[0] if kind == "tasks" else name
    for found in cards(kind):
        if found.name == family:
            return found
    raise UnknownName(name, kind, [member for each in cards(kind) for member in each.members])


def read_card(path: Path) -> Card:
    """The card on top of a file; one that cannot be read says so in its title."""
    try:
        text = ast.get_docstring(ast.parse(path.read_text("utf-8"))) or ""
    except (SyntaxError, ValueError, OSError) as error:
        return Card(path.stem, f"cannot be read: {error}", {}, path)
    first, _, rest = text.partition("\n")
    title = first.partition(": ")[2] or first
    sections: dict[str, str] = {}
    heading = ""
    for line in rest.splitlines():
        found = re.match(r"([A-Z][a-z]+)\b(?: {1,}(.*))?$", line)
        if found and (found[2] is None or re.match(r"([A-Z][a-z]+ {2,}|Settings )\S", line)):
            heading = found[1]
            sections[heading] = (found[2] or "").strip()
        elif heading:
            sections[heading] = f"{sections[heading]}\n{line.strip()}".strip()
    return Card(path.stem, title.strip(), sections, path)


def task(name: str) -> Task:
    """The task of that name, or path."""
    module, member = _load("tasks", name)
    tasks: list[Task] = list(module.TASKS)
    if not member and len(tasks) == 1:
        return tasks[0]
    for each in tasks:
        if each.name == member:
            return each
    opener = getattr(module, "open_member", None)  # families too large to build at import
    if member and opener is not None:
        return opener(member.partition("/")[2])
    raise UnknownName(
        name, f"the {module.__name__.rpartition('.')[2]} tasks", [t.name for t in tasks]
    )


def task_models(name: str) -> dict[str, Any]:
    """Answerers that ship with a task's file: name to a factory `(task, split, seed) -> Model`."""
    module, _ = _load("tasks", name)
    return dict(getattr(module, "MODELS", {}))


def recipe(name: str) -> Any:
    """The recipe of that name, or path: the value of RECIPE in its file."""
    module, _ = _load("recipes", name)
    return module.RECIPE


def board(name: str) -> Any:
    """The board of that name: the value of BOARD in its file."""
    module, _ = _load("boards", name)
    return module.BOARD


def encoder(name: str) -> Encoder:
    """The encoder of that name: the value of ENCODER in its file. Needs the extra `train`."""
    need("torch", "train", f"the encoder {name}")
    need("transformers", "train", f"the encoder {name}")
    module, _ = _load("encoders", name)
    return module.ENCODER


def _load(kind: Kind, name: str) -> tuple[ModuleType, str]:
    path, _, member = name.partition("::")
    if path.endswith(".py"):
        return _from_path(kind, Path(path)), member
    if kind == "tasks" and name in _local:
        return _local[name], name
    family = name.partition("/")[0] if kind == "tasks" else name
    member = name if kind == "tasks" and "/" in name else ""
    if any(file.stem == family for file in _files(kind)):
        return importlib.import_module(f"{ROOMS[kind]}.{family}"), member
    for point in _points(kind):
        if point.name == family:
            return importlib.import_module(point.module), member
    known = [member for card in cards(kind) for member in card.members]
    raise UnknownName(name, kind, known)


def _from_path(kind: Kind, path: Path) -> ModuleType:
    wanted = {"tasks": "TASKS", "recipes": "RECIPE", "boards": "BOARD"}.get(kind, "")
    module_name = f"harness_local_{kind}_{path.stem}"
    spec = importlib.util.spec_from_file_location(module_name, _there(kind, path))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[module_name] = module
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        raise DataError(f"{path} does not import: {type(error).__name__}: {error}") from error
    if not hasattr(module, wanted):
        raise DataError(f"{path} defines no {wanted}; see `harness new {kind.rstrip('s')}`")
    if kind == "tasks":
        _local.update({each.name: module for each in module.TASKS})
    return module


def _there(kind: Kind, path: Path) -> Path:
    if not path.is_file():
        raise UsageError(
            f"no file {path}; a {kind.rstrip('s')} may be named by a path ending in .py"
        )
    return path


def _origin(module: str) -> Path | None:
    """Where a module lies; its parent packages are imported, itself it is not."""
    try:
        spec = importlib.util.find_spec(module)
    except ImportError:
        return None
    return Path(spec.origin) if spec is not None and spec.origin else None


def _files(kind: Kind) -> Iterator[Path]:
    folder = HOUSE.joinpath(*ROOMS[kind].split("."))
    for path in sorted(folder.glob("*.py")):
        if not path.stem.startswith("_"):
            yield path


def _points(kind: Kind) -> Iterator[Any]:
    yield from entry_points(group=f"harness.{kind}")


def source(path: str) -> str:
    """The text of a file that was named by its path; UsageError or DataError where it has none."""
    try:
        return Path(path).read_text("utf-8")
    except UnicodeDecodeError as error:
        raise DataError(f"{path} is not UTF-8 text: {error}") from error
    except OSError as error:
        raise UsageError(f"no file {path}: {error.strerror}") from error
