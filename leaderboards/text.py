"""Hostile text made fit for tables: model names and notes may hold anything at all."""

from __future__ import annotations

import math
import re
import unicodedata

LONGEST = 120
INVISIBLE = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})
"""Controls, direction marks and the like: what a reader cannot see, but a terminal obeys."""
_MARKDOWN = {ord(c): f"\\{c}" for c in "\\`*_[]|~$"} | {
    ord("<"): "&lt;",
    ord(">"): "&gt;",
    ord("&"): "&amp;",
}
_ESCAPED_SPAN = re.compile(r"\\\[([-\d.e+]+, [-\d.e+]+)\\\]")
_LATEX = {ord(c): f"\\{c}" for c in "&%$#_{}"} | {
    ord("~"): r"\textasciitilde{}",
    ord("^"): r"\textasciicircum{}",
    ord("\\"): r"\textbackslash{}",
    ord("["): "{[}",  # `\\\\ [` would be an option of the line break
    ord("*"): "{*}",
    ord("<"): r"\textless{}",
    ord(">"): r"\textgreater{}",
    ord("↑"): r"$\uparrow$",
    ord("↓"): r"$\downarrow$",
}


def visible(text: str, longest: int = LONGEST) -> str:
    """One line in which every character shows: `\\u202e` stands for a mark that would turn text."""
    cut = text if len(text) <= longest else f"{text[: longest - 1]}…"
    if cut.isprintable():  # most are, and looking at each character takes twenty times as long
        return cut.strip()
    spaced = cut.replace("\r\n", " ").replace("\n", " ").replace("\t", " ")
    return "".join(
        c if unicodedata.category(c) not in INVISIBLE else f"\\u{ord(c):04x}" for c in spaced
    ).strip()


def markdown(text: str) -> str:
    """Text that Markdown and the HTML in it leave alone."""
    escaped = visible(text, len(text) or 1).translate(_MARKDOWN)
    escaped = _ESCAPED_SPAN.sub(r"[\1]", escaped)
    return re.sub(r"^([#+-]|\d+[.)])(?=\s|$|#)", r"\\\1", escaped)


def latex(text: str) -> str:
    """Text that LaTeX typesets as it stands."""
    return visible(text, len(text) or 1).translate(_LATEX)


def csv_cell(value: object) -> object:
    """A cell that no spreadsheet takes for a formula; numbers stay numbers."""
    if not isinstance(value, str):
        return value
    shown = visible(value, 2_000)
    return f"'{shown}" if shown.startswith(("=", "+", "-", "@")) else shown


def number(value: float, half_width: float = math.nan) -> str:
    """A number with the digits that its interval can carry: two of the interval's own."""
    if math.isnan(half_width) or math.isinf(half_width) or half_width <= 0:
        return f"{value:.4g}"
    places = max(0, min(6, 1 - math.floor(math.log10(half_width))))
    return f"{value:.{places}f}" if abs(value) < 1e9 else f"{value:.4g}"


def span(low: float, high: float) -> str:
    """An interval, or nothing where there is none."""
    if math.isnan(low):
        return ""
    half = (high - low) / 2
    return f"[{number(low, half)}, {number(high, half)}]"
