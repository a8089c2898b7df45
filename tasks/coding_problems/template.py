"""Template: a kind of problem, its parameters, a reference, and a property of right answers.

A problem is a template with one choice of parameters. Its expected outputs come from the reference;
`holds` checks each of them by another way (a definition, brute force, an inverse), so a slip in a
reference shows when the problem is made.
"""

from __future__ import annotations

import inspect
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from harness.errors import DataError

Arguments = tuple[Any, ...]
Params = Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Template:
    """A kind of problem. Arguments and results are JSON values."""

    level: Literal[1, 2, 3, 4, 5]
    text: str
    """What the function returns (or, of stdin problems, what is asked), with {parameters}."""
    solve: Callable[..., Any]
    """The reference: arguments by place, parameters by name; self-contained, as it is the gold."""
    draw: Callable[[random.Random, Params], Arguments]
    """Arguments of one test."""
    holds: Callable[[Arguments, Params, Any], bool]
    """Whether a result is right, found out by another way than the reference's."""
    choices: Mapping[str, Sequence[Any]] = field(default_factory=dict[str, Sequence[Any]])
    """Values of each parameter; every combination is a problem."""
    stdin: bool = False
    """The one argument is the text of standard input, the result the text to be printed."""

    @property
    def name(self) -> str:
        """That of the reference."""
        return self.solve.__name__

    @property
    def arguments(self) -> str:
        """Names of the arguments, as a signature lists them."""
        kinds = inspect.signature(self.solve).parameters.values()
        return ", ".join(each.name for each in kinds if each.kind is not each.KEYWORD_ONLY)

    def result(self, arguments: Arguments, params: Params) -> Any:
        """What is right for these arguments; DataError where reference and property disagree."""
        found = self.solve(*arguments, **params)
        if not self.holds(arguments, params, found):
            raise DataError(
                f"the reference of {self.name} {dict(params)} gives {found!r} for {arguments!r}, "
                "and its property does not hold: one of the two is wrong"
            )
        return found

    def gold(self, params: Params) -> str:
        """A program that solves the problem: the reference, and how it is called."""
        given = "".join(f", {name}={value!r}" for name, value in params.items())
        text = f"{inspect.getsource(self.solve).rstrip()}\n\n\n"
        if self.stdin:
            return f"import sys\n\n\n{text}print({self.name}(sys.stdin.read(){given}))\n"
        return (
            f"{text}def solve({self.arguments}):\n    return {self.name}({self.arguments}{given})\n"
        )
