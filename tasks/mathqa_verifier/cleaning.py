r"""From an answer as it was written to clean LaTeX and its tokens; nothing is evaluated here."""

from __future__ import annotations

import re

from harness import reading

PLAIN = re.compile(r"[-+]?[0-9A-Za-z.]*[0-9A-Za-z]", re.ASCII)

_SYMBOLS = {
    "\u03c0": r"\pi ", "\u221a": r"\sqrt ", "\u2264": r"\le ", "\u2265": r"\ge ",
    "\u2260": r"\ne ", "\u221e": r"\infty ", "\u00b0": r"^\circ ", "\u00b7": r"\cdot ",
    "\u22c5": r"\cdot ", "\u222a": r"\cup ", "\u2229": r"\cap ", "\u2208": r"\in ",
    "\u00b1": r"\pm ", "\u2213": r"\mp ", "\u00f7": r"\div ", "\u03b8": r"\theta ",
    "\u03b1": r"\alpha ", "\u03b2": r"\beta ", "\u2205": r"\emptyset ", "\u211d": r"\mathbb{R}",
    "\u27e8": r"\langle ", "\u27e9": r"\rangle ", "\u2013": "-", "\u2014": "-", "\u00a0": " ",
    "\u2217": "*", "\u2032": "'", "\u2044": "/", "\u2212": "-", "\u00d7": r"\times ",
    "\u03c6": r"\phi ", "\u03bb": r"\lambda ", "\u221b": r"\sqrt[3]", "\u20ac": r"\text{euro}",
    "\u00a3": r"\text{pound}", "\u00a2": r"\text{cent}", "\u200b": "", "\ufeff": "",
}  # fmt: skip
_UNICODE = str.maketrans(_SYMBOLS)
_DROPPED = re.compile(
    r"(?P<row>\\\\(?:\s*\[[^\]]*\])?)"
    r"|(?P<group>,\s*\\!\s*|\{,\})"
    r"|(?<=\d)(?:\\[,:; ]|\\!|~)\s*(?=\d)"
    r"|(?P<money>\\\$)"
    r"|(?P<gone>\$|\\[()\[\]!]|\\(?:displaystyle|textstyle|limits|nolimits|big|Big|bigg|Bigg|bigl|"
    r"bigr|Bigl|Bigr|biggl|biggr|left|right|mathstrut)(?![A-Za-z])\.?)"
    r"|(?P<space>\\[,:; ]|~|\\(?:q?quad|thinspace|enspace|newline|hspace\{[^{}]*\})(?![A-Za-z]))"
    r"|(?P<renamed>\\(?:[dtc]frac|leq|geq|leqslant|geqslant|lt|gt|neq|degree|dbinom|tbinom|"
    r"ast|lbrace|rbrace|lbrack|rbrack|infin|colon|lvert|rvert|vert|mid|mathsf|rm|bf)(?![A-Za-z]))"
)
_RENAMED = {
    "dfrac": r"\frac", "tfrac": r"\frac", "cfrac": r"\frac", "leq": r"\le ", "geq": r"\ge ",
    "leqslant": r"\le ", "geqslant": r"\ge ", "lt": "<", "gt": ">", "neq": r"\ne ",
    "degree": r"^\circ ", "dbinom": r"\binom", "tbinom": r"\binom", "ast": "*", "lbrace": r"\{",
    "rbrace": r"\}", "lbrack": "[", "rbrack": "]", "infin": r"\infty ", "colon": ":",
    "lvert": "|", "rvert": "|", "vert": "|", "mid": "|", "mathsf": r"\mathrm", "rm": "", "bf": "",
}  # fmt: skip

PYTHONISH = re.compile(
    r"__|\*\*|:=|==|!=|//|;\s*\w+\s*\("
    r"|[\"'`]\s*[\w\s]*\s*[\"'`]"
    r"|\b(?:lambda|import|eval|exec|print|range|return|def|None|True|False)\b(?=\s*[:(.\w])"
    r"|\bfor\b.+\bin\b|\bif\b.+\belse\b"
    r"|[A-Za-z_]\w*\s*\.\s*[A-Za-z_]\w*\s*[(\[.]|\b[a-z]+\.[a-z_]+\b"
    r"|\)\s*\(\s*\)|\]\s*\[\s*\d+\s*\]|[a-z]\(\)"
)
"""Python source; no parser may see it."""

_TOKEN = re.compile(
    r"\\(?:text(?:bf|it|rm|sf|tt|normal|up)?|mbox|hbox|mathrm|mathbf|mathit|operatorname|boldsymbol)"
    r"\*?\s*\{(?P<text>(?:[^{}\\]|\\.|\{[^{}]*\})*)\}"
    r"|\\begin\s*\{(?P<open>[pbB]?(?:small)?matrix|array)\}(?:\s*\{[^{}]*\})?"
    r"|\\end\s*\{(?P<close>[pbB]?(?:small)?matrix|array)\}"
    r"|(?P<command>\\(?:mathbb\s*\{?\s*[A-Z]\s*\}?|[A-Za-z]+|.))"
    r"|(?P<number>\d+(?:\.\d+)?|\.\d+|\d+\.(?!\d))"
    r"|(?P<word>[A-Za-z]+)"
    r"|(?P<blank>\s+)"
    r"|(?P<other>.)",
    re.DOTALL,
)
_THOUSANDS = re.compile(r"\d{1,3}(?:,\d{3})+(?:\.\d+)?(?!,?\d)", re.ASCII)
_BARE_FIRST = re.compile(r"\\(frac|binom)\s*(\d)", re.ASCII)
_BARE_SECOND = re.compile(r"(\\(?:frac|binom)\s*\{[^{}]*\})\s*(\d)", re.ASCII)
_OPTION_LETTER = re.compile(r"\(\s*[A-Za-z]\s*\).*")
_NAMED = {
    "pi": "\\pi", "sqrt": "\\sqrt", "infinity": "\\infty", "infty": "\\infty", "inf": "\\infty",
    "sin": "\\sin", "cos": "\\cos", "tan": "\\tan", "cot": "\\cot", "sec": "\\sec",
    "csc": "\\csc", "ln": "\\ln", "log": "\\log", "exp": "\\exp", "arcsin": "\\arcsin",
    "arccos": "\\arccos", "arctan": "\\arctan", "theta": "\\theta", "alpha": "\\alpha",
    "beta": "\\beta", "sinh": "\\sinh", "cosh": "\\cosh", "tanh": "\\tanh", "gcd": "\\gcd",
    "min": "\\min", "max": "\\max", "union": "\\cup", "cup": "\\cup",
}  # fmt: skip
_SHORT_UNITS = frozenset((
    "cm", "mm", "km", "ft", "kg", "mg", "mph", "kph", "sec", "hr", "hrs", "lb", "lbs",
    "oz", "yd", "mi", "ml", "deg", "in", "min",
))  # fmt: skip
_CONJUNCTIONS = frozenset(("and", "or"))


def clean(answer: str) -> str:
    """The answer without wrappers, spacing and display commands, its spellings made one."""
    if PLAIN.fullmatch(answer):
        return answer
    if "boxed" in answer or "fbox" in answer:
        inside = reading.boxed(answer)
        answer = answer if inside is None else inside
    if not answer.isascii():
        answer = reading.normalized(answer.translate(_UNICODE)).translate(_UNICODE)
    if "\\" in answer or "$" in answer or "~" in answer or "{,}" in answer:
        answer = _DROPPED.sub(_replacement, answer)
    answer = answer.strip().strip("*").strip()
    while answer and (answer[-1] in ".,;:" or answer.endswith("\\\\")):
        answer = answer[: -1 if answer[-1] != "\\" else -2].rstrip()
    return answer


def _replacement(found: re.Match[str]) -> str:
    kind = found.lastgroup
    if kind == "row":
        return "\\\\"
    if kind == "group":
        return "," if found[0] != "{,}" else ""
    if kind == "money":
        return "\\$"
    if kind == "space":
        return " "
    if kind == "renamed":
        return _RENAMED[found[0][1:]]
    return ""


def tokens(cleaned: str) -> list[str]:
    r"""The tokens of a cleaned answer; a text token begins with `"`.

    Arguments without braces get them (`\frac12`, `x^2y`), numbers lose their thousands separators
    outside of brackets, and known function names lose the need for a backslash.
    """
    found: list[str] = []
    depth = at = 0
    while at < len(cleaned):
        if depth == 0 and cleaned[at].isdigit():
            grouped = _THOUSANDS.match(cleaned, at)
            if grouped and cleaned[max(at - 1, 0)] not in ",.":
                found.append(grouped[0].replace(",", ""))
                at = grouped.end()
                continue
        token = _TOKEN.match(cleaned, at)
        assert token is not None  # the last alternative takes any character
        at = token.end()
        kind, written = token.lastgroup, token[0]
        if kind == "blank":
            between = found and found[-1][:1].isdigit() and cleaned[at : at + 1].isdigit()
            if between and not _takes_digit(found) and found[-2:-1] not in (["_"], ["^"]):
                found.append(" ")  # `3 1/2`, and two numbers side by side
            continue
        depth += written in ("(", "[", "\\{") or kind == "open"
        depth -= written in (")", "]", "\\}") or kind == "close"
        _append(found, kind, written, token)
    return found


def braced(cleaned: str) -> str:
    r"""The same LaTeX with braces around digits that are arguments of `\frac` and `\binom`."""
    first = _BARE_FIRST.sub(r"\\\1{\2}", cleaned)
    return _BARE_SECOND.sub(r"\1{\2}", first)


def _append(found: list[str], kind: str | None, written: str, token: re.Match[str]) -> None:
    if kind == "text":
        _append_text(found, written, token["text"].replace("~", " ").replace("\\ ", " ").strip())
    elif kind == "open":
        found.append("\\begin")
    elif kind == "close":
        found.append("\\end")
    elif kind == "word":
        _append_word(found, written)
    elif kind == "number" and found and len(written) > 1 and _takes_digit(found):
        found.extend((written[0], written[1:]))
    elif kind == "command" and written.startswith("\\mathbb"):
        found.append("\\mathbb" + written.rstrip("} ")[-1])
    else:
        found.append(written)


def _takes_digit(found: list[str]) -> bool:
    """Whether the next argument is a single digit because braces were left out."""
    if found[-1] in ("\\frac", "\\binom"):
        return True
    before = found[-2:-1]
    return before in (["\\frac"], ["\\binom"]) and found[-1].isdigit()


def _append_text(found: list[str], written: str, text: str) -> None:
    if _OPTION_LETTER.fullmatch(text):
        found.append('"' + text)
    elif len(text) == 1 and text.isalpha() and not written.startswith(("\\text", "\\mbox")):
        found.append('"' + text if found and found[-1][:1].isdigit() else text)
    elif text in _NAMED:
        found.append(_NAMED[text])
    elif text and (text[0].isdigit() or text[0] in "-+(\\"):
        found.extend(tokens(text))  # a value that was wrapped
    elif text:
        found.append('"' + text)


def _append_word(found: list[str], word: str) -> None:
    after_number = bool(found) and (found[-1][:1].isdigit() or found[-1] in ")}%")
    if word in _CONJUNCTIONS or (word in _SHORT_UNITS and after_number):
        found.append('"' + word)
    elif word in _NAMED:
        found.append(_NAMED[word])
    elif len(word) >= 4:
        found.append('"' + word)
    else:
        found.extend(word)
