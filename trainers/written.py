"""written: recipes as text. `read` gives back what a recipe prints; `change` sets single fields.

Text is data here, never code: only literals and calls of known stage classes are read.
"""

from __future__ import annotations

import ast
import re
import sys
import types
import typing
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass, replace
from importlib import import_module
from typing import Any, Literal, Union, get_args, get_origin

from harness.errors import UnknownName, UsageError
from trainers.recipe import AdamW, Recipe

MODULES = ("samplers", "rollouts", "rewards", "advantages", "weights", "losses", "schedules")
"""Whose stages any recipe may use; a recipe's own come with it."""


def known(recipe: Recipe | None = None) -> dict[str, Callable[..., Any]]:
    """Classes that a text may name: the shared stages, and all of a recipe's own modules."""
    found: dict[str, Callable[..., Any]] = {"Recipe": Recipe, "AdamW": AdamW}
    for name in MODULES:
        found |= stages(import_module(f"trainers.{name}"))
    for part in _parts(recipe):
        kind = type(part)
        module = sys.modules.get(kind.__module__)
        own = kind not in (Recipe, AdamW)
        found |= stages(module) if module is not None and own else {kind.__name__: kind}
    return found


def stages(module: types.ModuleType) -> dict[str, Callable[..., Any]]:
    """The dataclasses that a module defines, by name."""
    return {
        each.__name__: each
        for each in vars(module).values()
        if isinstance(each, type) and is_dataclass(each) and each.__module__ == module.__name__
    }


class Unreadable(UsageError):
    """Neither a literal nor a call of a known class."""


def read(text: str, names: Mapping[str, Callable[..., Any]]) -> Any:
    """The value of a literal, or of calls of known classes; Unreadable for anything else."""
    try:
        return _value(ast.parse(text.strip(), mode="eval").body, names)
    except (SyntaxError, ValueError, TypeError, MemoryError, RecursionError) as error:
        reason = f"{type(error).__name__}: {error}"
        raise Unreadable(f"cannot read {text[:200]!r} as a setting: {reason}") from error


def change(recipe: Recipe, settings: Sequence[str]) -> Recipe:
    """The recipe with settings such as `samplers.rollouts=5`, each checked against its annotation.

    A path steps through fields; in a tuple of stages the next word is a stage's class or number.
    """
    for setting in settings:
        path, sign, text = setting.partition("=")
        if not sign or not path.strip():
            raise UsageError(f"--set {setting!r}: write PATH=VALUE, as in optimizer.lr=2e-6")
        named = _Setting(path.strip(), text, known(recipe))
        recipe = named.into(recipe, named.path.split("."))
    return recipe


def difference(recipe: Recipe, base: Recipe) -> dict[str, tuple[str, str]]:
    """Fields that differ, as text: name to (base's, recipe's)."""
    return {
        field.name: (repr(getattr(base, field.name)), repr(getattr(recipe, field.name)))
        for field in fields(Recipe)
        if getattr(base, field.name) != getattr(recipe, field.name)
    }


def _parts(value: Any) -> Iterator[Any]:
    """All dataclass values inside a value."""
    if is_dataclass(value) and not isinstance(value, type):
        yield value
        for field in fields(value):
            yield from _parts(getattr(value, field.name))
    elif isinstance(value, tuple | list):
        for each in value:
            yield from _parts(each)
    elif isinstance(value, Mapping):
        for each in value.values():
            yield from _parts(each)


def _value(node: ast.expr, names: Mapping[str, Callable[..., Any]]) -> Any:
    match node:
        case ast.Call(func=ast.Name(id=name), args=args, keywords=keywords):
            if name not in names:
                raise UnknownName(name, "stages and schedules", names)
            given = {word.arg: _value(word.value, names) for word in keywords if word.arg}
            return names[name](*(_value(arg, names) for arg in args), **given)
        case ast.Tuple(elts=parts):
            return tuple(_value(part, names) for part in parts)
        case ast.List(elts=parts):
            return [_value(part, names) for part in parts]
        case ast.Dict(keys=keys, values=values) if None not in keys:
            pairs = zip(keys, values, strict=True)
            return {_value(k, names): _value(v, names) for k, v in pairs if k is not None}
        case _:
            return ast.literal_eval(node)


@dataclass(frozen=True)
class _Setting:
    """One `PATH=VALUE`."""

    path: str
    text: str
    names: Mapping[str, Callable[..., Any]]

    def into(self, owner: Any, words: Sequence[str]) -> Any:
        """The owner with what the words lead to replaced."""
        word, *rest = words
        if isinstance(owner, tuple):
            place = self._place(owner, word)
            new = self.into(owner[place], rest) if rest else read(self.text, self.names)
            return (*owner[:place], new, *owner[place + 1 :])
        if isinstance(owner, Mapping):
            if rest and word not in owner:
                raise UnknownName(word, f"--set {self.path}", owner)
            return {**owner, word: self.into(owner[word], rest) if rest else self._first(Any)}
        if not is_dataclass(owner):
            raise UsageError(f"--set {self.path}: {owner!r} has no field '{word}'")
        names = [field.name for field in fields(owner)]
        if word not in names:
            kind = type(owner).__name__
            raise UnknownName(word, f"the fields of {kind} (--set {self.path})", names)
        if rest:
            return replace(owner, **{word: self.into(getattr(owner, word), rest)})  # type: ignore[type-var]
        value = self._first(typing.get_type_hints(type(owner))[word])
        return replace(owner, **{word: value})  # type: ignore[type-var]

    def _first(self, wanted: Any) -> Any:
        """The first reading of the text that fits the annotation."""
        for value in _readings(self.text, self.names):
            if fits(value, wanted):
                return value
        asked = " or ".join(filter(None, (*kinds(wanted), ", ".join(choices(wanted)))))
        raise UsageError(f"--set {self.path}={self.text}: {self.path} takes {asked}")

    def _place(self, owner: tuple[Any, ...], word: str) -> int:
        """Which of the stages: by number, or by class where that is unique."""
        if word.isdecimal() and int(word) < len(owner):
            return int(word)
        kinds = [type(stage).__name__ for stage in owner]
        if kinds.count(word) == 1:
            return kinds.index(word)
        there = {*kinds, *map(str, range(len(owner)))}
        raise UnknownName(word, f"the stages of --set {self.path}", there)


def _readings(text: str, names: Mapping[str, Callable[..., Any]]) -> Iterator[Any]:
    """A text may be a value, one stage where several may stand, or itself."""
    if text.lower() in ("true", "false"):
        yield text.lower() == "true"
    try:
        value = read(text, names)
    except Unreadable:
        pass
    else:
        yield value
        yield (value,)
    yield text


def choices(wanted: Any) -> list[str]:
    """The words that an annotation lists, such as those of two literals of which either may be."""
    origin, inner = get_origin(wanted), get_args(wanted)
    if origin in (Union, types.UnionType):
        return [word for each in inner for word in choices(each)]
    return list(map(str, inner)) if origin is Literal else []


def kinds(wanted: Any) -> list[str]:
    """The types that an annotation takes, but for its literals, by name."""
    origin, inner = get_origin(wanted), get_args(wanted)
    if origin in (Union, types.UnionType):
        return [name for each in inner for name in kinds(each)]
    if origin is Literal:
        return []
    if wanted is types.NoneType:
        return ["None"]
    plain = isinstance(wanted, type) and origin is None
    return [wanted.__name__ if plain else re.sub(r"(?:\w+\.)+(?=\w)", "", str(wanted))]


def fits(value: Any, wanted: Any) -> bool:
    """Whether a value is of an annotation's kind: an int is a float, a bool is no number."""
    origin, inner = get_origin(wanted), get_args(wanted)
    if wanted is Any:
        return True
    if origin in (Union, types.UnionType):
        return any(fits(value, each) for each in inner)
    if origin is Literal:
        return value in inner
    if origin is tuple:
        if not isinstance(value, tuple):
            return False
        kinds = [inner[0]] * len(value) if inner[-1:] == (...,) else list(inner)
        return len(kinds) == len(value) and all(map(fits, value, kinds))
    if origin is not None and isinstance(origin, type):
        if issubclass(origin, Mapping):
            pairs = isinstance(value, Mapping) and value.items()
            return pairs is not False and all(
                fits(k, inner[0]) and fits(v, inner[1]) for k, v in pairs
            )
        return isinstance(value, origin)
    if wanted is None or wanted is types.NoneType:
        return value is None
    if wanted is float:
        return isinstance(value, int | float) and not isinstance(value, bool)
    if wanted is int:
        return isinstance(value, int) and not isinstance(value, bool)
    return isinstance(value, wanted) and not isinstance(value, type)
