"""Units of measurement under one name each, so that two different ones can be told apart (E11)."""

from __future__ import annotations

import re
from functools import lru_cache

_NAMES = {
    "centimeter": "cm centimetre", "meter": "m metre", "kilometer": "km kilometre",
    "millimeter": "mm millimetre", "inch": "in inche", "foot": "ft feet", "yard": "yd",
    "mile": "mi", "gram": "g gm", "kilogram": "kg kilo", "milligram": "mg", "pound": "lb",
    "ounce": "oz", "second": "s sec", "minute": "min", "hour": "h hr", "liter": "l litre",
    "milliliter": "ml millilitre", "dollar": "usd buck", "cent": "penny pennie",
    "degree": "deg \\circ ^\\circ", "radian": "rad", "people": "person",
}  # fmt: skip
_BY_NAME = {short: name for name, shorts in _NAMES.items() for short in shorts.split()}
_NO_UNIT = frozenset(("unit", "square unit", "cubic unit", "unit^2", "unit^3", "in total", "total"))
_POWERS = ((r"\b(?:square|sq\.?)\s+(\S+)", r"\1^2"), (r"\b(?:cubic|cu\.?)\s+(\S+)", r"\1^3"))
_RATES = {"mph": "mile/hour", "kph": "kilometer/hour", "kmh": "kilometer/hour"}


@lru_cache(maxsize=512)
def unit_name(written: str) -> str:
    """The one name of a unit; empty for none, and for words that only say `units`."""
    text = (
        written.casefold().replace("\\%", " ").replace("%", " ").replace("{", "").replace("}", "")
    )
    text = text.replace("\\cdot", " ").replace(" per ", "/").replace("\\", " ")
    for pattern, form in _POWERS:
        text = re.sub(pattern, form, text)
    text = re.sub(r"\s*([/^])\s*", r"\1", text)
    text = re.sub(r"[^\w/^ ]+", "", text)
    if text.strip() in _NO_UNIT:
        return ""
    text = " ".join(re.sub(r"[a-z]+", lambda word: _singular(word[0]), text).split())
    return "" if text in _NO_UNIT else _RATES.get(text, text)


def _singular(word: str) -> str:
    if word in _BY_NAME:
        return _BY_NAME[word]
    if len(word) > 3 and word.endswith("s") and not word.endswith("ss"):
        word = word[:-1]
    return _BY_NAME.get(word, word)
