"""Comparators by name: when is an output right?

strict                      lines right-trimmed, trailing blank lines dropped; values of one type
livecodebench               LiveCodeBench's rule: lines equal as text or as decimals; values by ==
tokens                      Kattis' default: tokens, letter case aside. Options after colons, as in
                            tokens:relative=1e-6:absolute=1e-6:case:space
evalplus, evalplus:NAME     values: ==, floats within 1e-6; NAME is that of the function under test
sandboxfusion               lower-cased lines, one float a line within relative 1e-5
assertions                  the tests themselves assert: nothing is compared here
lenient                     a chain that says which of its stages accepted
checker:NAME                a trusted function for a problem with many right answers

The name is stored with every verdict: scores under different comparators are not comparable.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from sandbox.comparators import lenient, text, values
from sandbox.comparators.checkers import Checker, checker, register
from sandbox.comparators.evalplus import EvalPlus
from sandbox.comparators.match import Match, TextRule, ValueRule
from sandbox.errors import BadProgram

__all__ = ["Comparator", "Match", "comparator", "register"]


@dataclass(frozen=True)
class Comparator:
    """A named rule, for programs that write text and for functions that return values."""

    name: str
    text: TextRule
    value: ValueRule
    check: Checker | None = None
    """Stands in for both where it is given."""
    typed: bool = False
    """Values have to be of the expected types, those too that JSON cannot show."""

    def of_text(self, given: str, expected: str, output: str) -> Match:
        """Whether what a program wrote for this input is right."""
        if self.check is not None:
            return self.check(given, expected, output)
        return self.text(expected, output)

    def of_value(self, given: Any, expected: Any, output: Any) -> Match:
        """Whether what a function returned for these arguments is right."""
        if self.check is not None:
            return self.check(given, expected, output)
        return self.value(expected, output)


PLAIN: Mapping[str, tuple[TextRule, ValueRule]] = {
    "strict": (text.strict, values.strict),
    "livecodebench": (text.livecodebench, values.equal),
    "tokens": (text.Tokens(), values.equal),
    "sandboxfusion": (text.sandboxfusion, values.equal),
    "assertions": (text.strict, values.strict),
    "lenient": (lenient.of_text, lenient.of_value),
}


@lru_cache(maxsize=256)
def comparator(name: str) -> Comparator:
    """The comparator of that name; BadProgram, with the names there are, where there is none."""
    if name in PLAIN:
        rules = PLAIN[name]
        return Comparator(name, *rules, typed=rules[1] is values.strict)
    family, _, rest = name.partition(":")
    if family == "checker" and rest:
        return Comparator(name, text.strict, values.equal, checker(rest))
    if family == "evalplus":
        return Comparator(name, text.strict, values.equal, EvalPlus(rest))
    if family == "tokens" and rest:
        return _tokens(name, rest.split(":"))
    known = ", ".join((*PLAIN, "tokens:OPTIONS", "evalplus", "evalplus:NAME", "checker:NAME"))
    raise BadProgram(f"no comparator '{name}'; there are: {known}")


def _tokens(name: str, options: list[str]) -> Comparator:
    """Kattis' validator with options; values take its tolerances too."""
    bounds: dict[str, float] = {}
    flags: set[str] = set()
    for option in options:
        word, sign, number = option.partition("=")
        try:
            if word in ("relative", "absolute") and sign and float(number) >= 0:
                bounds[word] = float(number)
                continue
        except ValueError:
            pass
        if option not in ("case", "space"):
            raise BadProgram(
                f"'{option}' is no option of tokens; there are: relative=X, absolute=X, case, space"
            )
        flags.add(option)
    rule = text.Tokens(case="case" in flags, space="space" in flags, **bounds)
    close = values.Close(bounds.get("relative", 0.0), bounds.get("absolute", 0.0))
    return Comparator(name, rule, close if bounds else values.equal)
