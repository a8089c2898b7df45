"""Extraction: which part of a reply is the program, by a named rule.

last_closed_fence    the last closed block tagged python or py, else the last closed block
fence_or_all         the same, else the whole text
whole_reply          the whole text: for models that continue a program
livecodebench        what stands between the last two lines that hold three backticks
open_r1              the last closed block tagged python, by a regular expression (rllm's too)
verl                 what follows the last "```python", up to the next three backticks
evalplus             the longest run of lines that parses; cubic, not for training

The name is stored with every verdict. Every rule takes any text, never raises, and, but for
evalplus (which reads no more than 100 lines), takes time linear in its length.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Mapping

from sandbox.errors import BadProgram

PYTHON = frozenset(("python", "py", "python3"))
LONGEST = 400_000
"""Characters of a reply; of a longer one the end is read."""
LINES = 100
"""Of a reply that evalplus' rule reads."""
_FENCE = re.compile(r"^[ \t]{0,3}(`{3,}+|~{3,}+)[ \t]*+([^\s`]*+)[^\n`]*+$", re.MULTILINE)


def extract(reply: object, rule: str = "last_closed_fence") -> str | None:
    """The program in a reply; None where the rule finds none. BadProgram for an unknown rule."""
    if rule not in RULES:
        raise BadProgram(f"no extraction rule '{rule}'; there are: {', '.join(RULES)}")
    if not isinstance(reply, str):
        return None
    found = RULES[rule](reply[-LONGEST:])
    return found if found is not None and found.strip() else None


def last_closed_fence(text: str) -> str | None:
    """The last closed block tagged python or py, else the last closed block of any kind."""
    last: str | None = None
    tagged: str | None = None
    opened: tuple[str, str, int] | None = None
    for fence in _FENCE.finditer(text):
        marks, name = fence[1], fence[2].lower()
        if opened is None:
            opened = (marks, name, fence.end() + 1)
        elif marks[0] == opened[0][0] and len(marks) >= len(opened[0]) and not name:
            last = text[opened[2] : max(fence.start(), opened[2])]
            tagged = last if opened[1] in PYTHON else tagged
            opened = None
        elif name in PYTHON:  # a block that was never closed: the next one begins here
            opened = (marks, name, fence.end() + 1)
    return tagged if tagged is not None else last


def fence_or_all(text: str) -> str | None:
    """The last closed block, or the whole reply where there is none."""
    found = last_closed_fence(text)
    return text if found is None else found


def whole_reply(text: str) -> str | None:
    """The reply as it is."""
    return text


def livecodebench(text: str) -> str | None:
    """Between the last two lines that hold three backticks; an open block gives prose."""
    lines = text.split("\n")
    fences = [number for number, line in enumerate(lines) if "```" in line]
    if len(fences) < 2:
        return None
    return "\n".join(lines[fences[-2] + 1 : fences[-1]])


def open_r1(text: str) -> str | None:
    """The last closed block tagged python."""
    last, start = None, text.find("```python\n")
    while start >= 0:
        begin = start + len("```python\n")
        end = text.find("```", begin)
        if end < 0:
            break
        last = text[begin:end]
        start = text.find("```python\n", end + 3)
    return last


def verl(text: str) -> str | None:
    """After the last "```python"; up to the next fence, or the end."""
    _, tag, after = text.rpartition("```python")
    return after.partition("```")[0] if tag else None


def evalplus(text: str) -> str | None:
    """The longest run of lines that parses as Python."""
    lines = text.split("\n")[-LINES:]
    for length in range(len(lines), 0, -1):
        for start in range(len(lines) - length + 1):
            run = lines[start : start + length]
            if run[0].strip() and _parses("\n".join(run)):
                return "\n".join(run)
    return None


def _parses(text: str) -> bool:
    try:
        ast.parse(text)
    except (SyntaxError, ValueError, MemoryError, RecursionError):
        return False
    return True


RULES: Mapping[str, Callable[[str], str | None]] = {
    "last_closed_fence": last_closed_fence,
    "fence_or_all": fence_or_all,
    "whole_reply": whole_reply,
    "livecodebench": livecodebench,
    "open_r1": open_r1,
    "verl": verl,
    "evalplus": evalplus,
}
NOT_IN_TRAINING = frozenset({"evalplus"})
"""Too slow to pay rewards by."""
