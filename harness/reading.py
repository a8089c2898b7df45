r"""Reading answers out of text: boxed, tagged, last number, `####` line, code block.

What tasks share when they look for an answer in what a model wrote. Every function takes any text,
never raises, and takes time linear in its length; none knows what a right answer is.
"""

from __future__ import annotations

import re
import unicodedata

TURN_ENDS = (
    "<|im_end|>",
    "<|im_start|>",
    "<|endoftext|>",
    "<|end_of_text|>",
    "<|eot_id|>",
    "<|end|>",
    "<|user|>",
    "<end_of_turn>",
    "<start_of_turn>",
    "</s>",
    "<\uff5cend\u2581of\u2581sentence\uff5c>",
    "<|end\u2581of\u2581sentence|>",
)
"""Tokens after which a chat model has stopped speaking, as they look when a decoder keeps them."""

_RUNAWAY = re.compile(r"\n\nHuman:|\nUser:|" + "|".join(map(re.escape, TURN_ENDS)))
_BOX = re.compile(r"\\(?:boxed|fbox)(?![A-Za-z])[ \t]*")
_BOX_OR_BRACE = re.compile(r"\\(?:boxed|fbox)(?![A-Za-z])[ \t]*|\\.|[{}]", re.DOTALL)
_BRACE = re.compile(r"\\.|[{}]", re.DOTALL)
_BARE = re.compile(r"[^\s{}$\\]{1,100}")
_HASH = re.compile(r"(?<!#)####(?!#)[ \t]*([^\s][^\n]*)")
_NUMBER = re.compile(r"\d[\d,]*(?:\.\d+)?|\.\d+", re.ASCII)
_FENCE = re.compile(r"^[ \t]{0,3}(`{3,}+|~{3,}+)[ \t]*+([^\s`]*+)[^\n`]*+$", re.MULTILINE)

# What NFKC would flatten into something else: x² into x2, 3½ into 31/2.
_SUPERSCRIPTS = str.maketrans("⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻ⁿ", "0123456789+-n")
_SUPERSCRIPT_RUN = re.compile("[⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻ⁿ]+")
_VULGAR = re.compile("[¼½¾⅐-⅞]")


def normalized(text: str) -> str:
    r"""NFKC, but `x²` becomes `x^{2}` and `½` a fraction; minus is `-`, the times sign `\times`."""
    if text.isascii():
        return text
    text = _SUPERSCRIPT_RUN.sub(lambda run: f"^{{{run[0].translate(_SUPERSCRIPTS)}}}", text)
    text = _VULGAR.sub(_fraction, text)
    text = unicodedata.normalize("NFKC", text)
    return text.replace("\u2212", "-").replace("\u00d7", "\\times ").replace("\u2044", "/")


def _fraction(found: re.Match[str]) -> str:
    over, _, under = unicodedata.normalize("NFKC", found[0]).partition("\u2044")
    return f"\\frac{{{over}}}{{{under}}}"


def before_runaway(text: str) -> str:
    """The text up to the first sign that the model began to speak for somebody else."""
    found = _RUNAWAY.search(text)
    return text[: found.start()] if found else text


def after_thinking(text: str, tag: str = "think") -> str | None:
    """The text after the last closing tag; None if a thinking block is never closed."""
    opening, closing = f"<{tag}>", f"</{tag}>"
    before, found, after = text.rpartition(closing)
    rest = after if found else before + after
    return None if opening in rest else rest


def boxed(text: str) -> str | None:
    r"""What stands in the last complete `\boxed{...}` or `\fbox{...}`; `\boxed 42` counts too.

    Braces are counted; a box that is never closed is no box. Escaped braces are content.
    """
    at = max(text.rfind("\\boxed"), text.rfind("\\fbox"))
    if at < 0:
        return None
    last = _BOX.match(text, at)
    if last is not None:
        inside = _box_at(text, last.end())
        if inside is not None:
            return inside
    return _last_box(text)


def _box_at(text: str, start: int) -> str | None:
    if not text.startswith("{", start):
        bare = _BARE.match(text, start)
        return bare[0] if bare else None
    depth = 0
    for brace in _BRACE.finditer(text, start):
        if brace[0] == "{":
            depth += 1
        elif brace[0] == "}":
            depth -= 1
            if depth == 0:
                return text[start + 1 : brace.start()]
    return None


def _last_box(text: str) -> str | None:
    """The last complete box when the last box is not complete: one pass over all braces."""
    last: tuple[int, int] | None = None
    stack: list[int] = []  # where each open brace's content begins; -1 if it is no box
    opened = -1
    for token in _BOX_OR_BRACE.finditer(text):
        if token[0].startswith(("\\boxed", "\\fbox")):
            opened = token.end()
            bare = None if text.startswith("{", opened) else _BARE.match(text, opened)
            if bare:
                last = max(last or (0, 0), (opened, bare.end()))
        elif token[0] == "{":
            boxed_here = token.start() == opened
            stack.append(token.end() if boxed_here else -1)
        elif token[0] == "}" and stack:
            begun = stack.pop()
            if begun >= 0:
                last = max(last or (0, 0), (begun, token.start()))
    return text[last[0] : last[1]] if last else None


def hash_line(text: str) -> str | None:
    """What follows the last `####` on its line, as GSM8K writes its answers."""
    if "####" not in text:
        return None
    last: str | None = None
    for found in _HASH.finditer(text):
        last = found[1]
    return last.strip() if last is not None else None


def last_number(text: str) -> str | None:
    """The last number, with its sign if that is no subtraction; commas stay."""
    last: re.Match[str] | None = None
    for last in _NUMBER.finditer(text, _safe_start(text)):  # noqa: B007
        pass
    if last is None:
        return None
    number = last[0].rstrip(",")
    at = last.start()
    signed = text[at - 1 : at] == "-" and not text[: at - 1][-1:].isalnum()
    return f"-{number}" if signed and text[at - 2 : at - 1] not in (")", "}", "]") else number


def _safe_start(text: str) -> int:
    """Where the last line with a digit begins: nothing before it can hold the last number."""
    end = len(text)
    while end > 0:
        start = text.rfind("\n", 0, end) + 1
        if any(letter.isdigit() for letter in text[start:end]):
            return start
        end = start - 1
    return 0


def tagged(text: str, tag: str) -> str | None:
    """What stands in the last complete `<tag>...</tag>`; None if there is none."""
    end = text.rfind(f"</{tag}>")
    start = text.rfind(f"<{tag}>", 0, end) if end >= 0 else -1
    return text[start + len(tag) + 2 : end].strip() if start >= 0 else None


def code_block(text: str, language: str = "") -> str | None:
    """The last complete fenced code block, of that language (or unnamed) if one is given.

    A fence that is never closed holds no block: the program may have been cut.
    """
    last: str | None = None
    open_fence: tuple[str, str, int] | None = None
    for fence in _FENCE.finditer(text):
        marks, name = fence[1], fence[2].lower()
        if open_fence is None:
            open_fence = (marks, name, fence.end() + 1)
        elif marks[0] == open_fence[0][0] and len(marks) >= len(open_fence[0]) and not name:
            if not language or open_fence[1] in ("", language.lower()):
                last = text[open_fence[2] : max(fence.start(), open_fence[2])]
            open_fence = None
    return last
