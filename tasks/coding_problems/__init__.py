"""Generated programming problems: about 400 from 46 templates, of five levels, all with references.

Every combination of a template's parameters is one problem, and its hash decides its split: no
problem is in two. Ten tests each, drawn from a generator seeded with the problem's name: the first
three are shown in the prompt, the others are held out. Every expected output was checked by a
second way.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import random
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from harness import Split
from tasks.coding_problems import compositions, lines, numbers, planning, sequences
from tasks.coding_problems.template import Template

TEMPLATES = (
    *numbers.TEMPLATES,
    *sequences.TEMPLATES,
    *compositions.TEMPLATES,
    *lines.TEMPLATES,
    *planning.TEMPLATES,
)
LEVELS = (1, 2, 3, 4, 5)
SEEN, TESTS, DRAWN = 3, 10, 30


@dataclass(frozen=True)
class Problem:
    """One problem, with its tests."""

    name: str
    """`scale_shift/a=2,b=3`."""
    template: Template
    params: tuple[tuple[str, Any], ...]
    tests: tuple[tuple[Any, Any], ...]
    """(arguments as a list, result), the seen ones first."""

    @property
    def text(self) -> str:
        """What is asked."""
        told = {
            name: " and ".join([", ".join(map(str, value[:-1])), str(value[-1])])
            if isinstance(value, tuple)
            else value
            for name, value in self.params
        }
        return self.template.text.format(**told)

    @property
    def gold(self) -> str:
        """A program that solves it."""
        return self.template.gold(dict(self.params))


@lru_cache(maxsize=16)
def problems(level: int, split: Split) -> tuple[Problem, ...]:
    """The problems of a level's split, the same in every process; level 0: all levels."""
    if level == 0:
        return tuple(each for one in LEVELS for each in problems(one, split))
    chosen = (template for template in TEMPLATES if template.level == level)
    return tuple(each for template in chosen for each in _of(template, split))


def split_of(name: str) -> Split:
    """Where a problem belongs: one in six is test, one in ten dev."""
    bucket = hashlib.sha256(f"coding/{name}".encode()).digest()[0]
    return "test" if bucket < 43 else "dev" if bucket < 69 else "train"


def _of(template: Template, split: Split) -> Iterator[Problem]:
    for values in itertools.product(*template.choices.values()):
        params = dict(zip(template.choices, values, strict=True))
        name = f"{template.name}/{','.join(f'{k}={_word(v)}' for k, v in params.items())}"
        if split_of(name) == split:
            yield Problem(name, template, tuple(params.items()), _tests(template, params, name))


def _word(value: Any) -> str:
    return "-".join(map(str, value)) if isinstance(value, tuple) else str(value)


def _tests(template: Template, params: dict[str, Any], name: str) -> tuple[tuple[Any, Any], ...]:
    """Different arguments each, and of many results by turns: no constant passes them all."""
    rng = random.Random(f"coding/tests/{name}")
    arguments = {json.dumps(each): each for each in _drawn(template, params, rng)}
    by_result: dict[str, list[tuple[Any, Any]]] = {}
    for key, each in arguments.items():
        result = template.result(each, params)
        by_result.setdefault(json.dumps(result), []).append((json.loads(key), result))
    turns = itertools.zip_longest(*by_result.values())
    return tuple([test for turn in turns for test in turn if test is not None][:TESTS])


def _drawn(template: Template, params: dict[str, Any], rng: random.Random) -> Iterator[Any]:
    return (template.draw(rng, params) for _ in range(DRAWN))
