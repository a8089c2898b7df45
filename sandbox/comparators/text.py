"""Comparators of text: strict, livecodebench, tokens, sandboxfusion."""

from __future__ import annotations

import re
from dataclasses import dataclass

from sandbox.comparators.match import (
    RIGHT,
    Match,
    decimals,
    differs,
    near,
    number,
    same_decimals,
    stripped_lines,
    tokens,
)

REPLACED = "\ufffd"


def strict(expected: str, output: str) -> Match:
    """Lines right-trimmed, trailing blank lines dropped, the rest equal."""
    wanted, found = _trimmed(expected), _trimmed(output)
    for line, (one, other) in enumerate(zip(wanted, found, strict=False), 1):
        if one != other:
            return differs(one, other, f"line {line}")
    if len(wanted) != len(found):
        return Match(False, f"expected {len(wanted)} lines, got {len(found)}")
    return RIGHT


def _trimmed(text: str) -> list[str]:
    lines = [line.rstrip() for line in text.split("\n")]
    while lines and not lines[-1]:
        lines.pop()
    return lines


def livecodebench(expected: str, output: str) -> Match:
    """LiveCodeBench's rule at commit 28fef95: stripped lines, equal as text or as decimals."""
    wanted, found = stripped_lines(expected), stripped_lines(output)
    if len(wanted) != len(found):
        return Match(False, f"expected {len(wanted)} lines, got {len(found)}")
    for line, (one, other) in enumerate(zip(wanted, found, strict=True), 1):
        if one == other:
            continue
        ours, theirs = decimals(one), decimals(other)
        if ours is None or theirs is None or not same_decimals(ours, theirs):
            return differs(one, other, f"line {line}")
    return RIGHT


def sandboxfusion(expected: str, output: str) -> Match:
    """SandboxFusion's rule: lower-cased lines, or one float a line within relative 1e-5."""
    wanted, found = (stripped_lines(each.lower()) for each in (expected, output))
    if len(wanted) != len(found):
        return Match(False, f"expected {len(wanted)} lines, got {len(found)}")
    for line, (one, other) in enumerate(zip(wanted, found, strict=True), 1):
        if one == other:
            continue
        ours, theirs = number(one), number(other)
        if ours is None or theirs is None:
            return differs(one, other, f"line {line}")
        if abs(ours - theirs) / max(abs(ours), 1e-10) > 1e-5:
            return differs(one, other, f"line {line}")
    return RIGHT


@dataclass(frozen=True)
class Tokens:
    """The default output validator of the Kattis problem format."""

    relative: float | None = None
    """Tolerance of numbers, of the expected value; None: numbers are text."""
    absolute: float | None = None
    case: bool = False
    """Whether letter case counts."""
    space: bool = False
    """Whether white space counts, to the character."""

    def __call__(self, expected: str, output: str) -> Match:
        """Compare token by token; U+FFFD stands for bytes that were no text and equals nothing."""
        if REPLACED in output:
            return Match(False, "the output is not UTF-8 text")
        cut = _spaced if self.space else tokens
        wanted, found = cut(expected), cut(output)
        for place, (one, other) in enumerate(zip(wanted, found, strict=False), 1):
            if not self._same(one, other):
                return differs(one, other, f"token {place}")
        if len(wanted) != len(found):
            return Match(False, f"expected {len(wanted)} tokens, got {len(found)}")
        return RIGHT

    def _same(self, one: str, other: str) -> bool:
        if self.relative is not None or self.absolute is not None:
            ours = number(one)
            if ours is not None:
                theirs = number(other)
                bounds = (self.relative or 0.0, self.absolute or 0.0)
                return theirs is not None and near(ours, theirs, *bounds)
        return one == other or (not self.case and _lower(one) == _lower(other))


_UPPER = str.maketrans("ABCDEFGHIJKLMNOPQRSTUVWXYZ", "abcdefghijklmnopqrstuvwxyz")


def _lower(token: str) -> str:
    """ASCII letters only: `lower` would take the Kelvin sign for a k."""
    return token.translate(_UPPER)


def _spaced(text: str) -> list[str]:
    """Runs of white space and of all else, in order."""
    return re.findall(r"[ \t\n\r\v\f]+|[^ \t\n\r\v\f]+", text)
