r"""Whether an answer is the gold: strings, then structure, then numbers, then algebra (E1).

The frequent forms are decided here in microseconds. Only what neither the parser nor numbers can
decide goes to a worker that can be killed.
"""

from __future__ import annotations

import re
from collections import OrderedDict
from dataclasses import dataclass
from fractions import Fraction
from threading import Lock

from tasks.mathqa_verifier import workers
from tasks.mathqa_verifier.agreement import TOLERANCE, Undecided
from tasks.mathqa_verifier.answers import Collection, Matrix, Region, Value, Words, read
from tasks.mathqa_verifier.cleaning import PYTHONISH, braced, clean, tokens
from tasks.mathqa_verifier.exact import Unbounded, Undefined, exact
from tasks.mathqa_verifier.extraction import unreasonable
from tasks.mathqa_verifier.matching import Mode, matches
from tasks.mathqa_verifier.parsing import Unparsed

_NUMBER = re.compile(r"[-+]?(?:\d{1,3}(?:,\d{3})+|\d+)?(?:\.\d*)?", re.ASCII)
_FRACTION = re.compile(r"(-?)\\frac\{(-?\d{1,18})\}\{(\d{1,18})\}", re.ASCII)
_BASED = re.compile(r"(-?[0-9A-Z]+)_\{?(?:\\text\{)?(\d{1,2})\}{0,2}", re.ASCII)
_FONT = r"\\(?:text\w*|mathrm|mathbf|mbox)\s*\{\s*"
_LETTER = rf"\(?\s*(?:{_FONT})?\(?\s*(?:{_FONT})?([A-Ja-j])\s*\}}?\s*\)?\s*\}}?\s*\)?"
_CHOICE = re.compile(_LETTER)
_CHOICE_THEN = re.compile(
    rf"(?:{_FONT}\(?([A-Ja-j])(?:\)?\s*[.:]?\s*\}}|[.:)]\s)|\(([A-Ja-j])\)|([A-J])\s*[.:)])\s*(.*)",
    re.DOTALL,
)
_OPTION = re.compile(rf"(?:{_FONT}\(?\s*[A-J]\s*\)[.:]?\s*\}}|\([A-J]\))[\s:.]*(?=\S)")
_WRAPPED = re.compile(r"\\(?:text\w*|mbox|mathrm)\s*\{")
_NAN = re.compile(r"\\?(?:text\{)?\s*(?:nan|zoo|undefined)\s*\}?", re.IGNORECASE)
_SHORT_WORDS = frozenset(("yes", "no", "odd", "dne"))
_CACHE_SIZE = 50_000


@dataclass(frozen=True)
class Outcome:
    """A decision, and how it came about."""

    equal: bool
    how: str = ""
    """`timeout` or `crash` where a worker failed; else empty."""


_cache: OrderedDict[tuple[str, str, bool, Fraction | None], bool] = OrderedDict()
_lock = Lock()


def equal(gold: str, answer: str, *, training: bool = False) -> bool:
    """Whether an answer is the gold, by the rules E1-E21; never raises.

    `training` is the stricter form of E9: an inequality is not paid where the gold is an interval.
    """
    return compare(gold, answer, Mode(training)).equal


def same(a: str, b: str) -> bool:
    """Whether two answers say the same, neither being the gold: symmetric, for votes."""
    return equal(a, b) or equal(b, a)


def forget() -> None:
    """Empty the cache of verdicts."""
    with _lock:
        _cache.clear()


def compare(gold: str, answer: str, mode: Mode) -> Outcome:
    """The decision about one pair; workers that failed are not remembered."""
    key = (gold, answer, mode.training, mode.tolerance)
    known = _cache.get(key)
    if known is not None:
        return Outcome(known)
    try:
        outcome = _compare(gold, answer, mode)
    except Exception:  # hostile input that found a hole: counted, and never the end of a run
        outcome = Outcome(False, "crash")
    if not outcome.how:
        with _lock:
            _cache[key] = outcome.equal
            if len(_cache) > _CACHE_SIZE:
                _cache.popitem(last=False)
    return outcome


def _compare(gold: str, answer: str, mode: Mode) -> Outcome:
    gold, answer = clean(gold), clean(answer)
    if not answer or _NAN.fullmatch(answer):
        return Outcome(False)
    left, right = _plain(gold), _plain(answer)
    if left is not None and right is not None:
        return Outcome(_near(left, right, "." in gold or "." in answer, mode))
    if gold == answer:
        return Outcome(True)
    if unreasonable(answer) or PYTHONISH.search(answer) or _foreign_digits(answer):
        return Outcome(False)
    based = _bases(gold, answer)
    if based is not None:
        return Outcome(based)
    letters = choices(gold)
    if letters:
        return Outcome(chosen(answer) == letters)
    answer = _OPTION.sub("", answer, count=1) if _OPTION.match(answer) else answer
    if _same_text(gold, answer):
        return Outcome(True)
    return _structured(gold, answer, mode)


def _plain(cleaned: str) -> Fraction | None:
    """The value of a number or simple fraction; None for anything else."""
    if _NUMBER.fullmatch(cleaned):
        digits = cleaned.replace(",", "").rstrip(".")
        if digits[-1:].isdigit() and len(digits) < 4000:
            return Fraction(digits if digits.lstrip("+-")[:1] != "." else digits.replace(".", "0."))
        return None
    found = _FRACTION.fullmatch(cleaned)
    if found and int(found[3]):
        return Fraction(int(found[2]), int(found[3])) * (-1 if found[1] else 1)
    return None


def _foreign_digits(answer: str) -> bool:
    return not answer.isascii() and any(sign.isdecimal() and sign > "9" for sign in answer)


def _near(gold: Fraction, answer: Fraction, rounded: bool, mode: Mode) -> bool:
    if gold == answer:
        return True
    gap = abs(gold - answer)
    if mode.tolerance is not None and gap <= mode.tolerance:
        return True
    return rounded and gap <= TOLERANCE * max(1, abs(gold))


def _bases(gold: str, answer: str) -> bool | None:
    """E12: the same digits; a subscript may be missing but may not differ."""
    left, right = _BASED.fullmatch(gold), _BASED.fullmatch(answer)
    if left and right:
        return left[1] == right[1] and left[2] == right[2]
    if not left and not right:
        return None
    digits, other = (left[1], answer) if left else (right[1] if right else "", gold)
    return digits == other if re.fullmatch(r"-?[0-9A-Z]+", other, re.ASCII) else False


def choices(gold: str) -> frozenset[str]:
    """The letters that a gold of a multiple-choice question names; empty for any other gold."""
    parts = re.split(r",|\\text\{\s*and\s*\}|\band\b", gold)
    letters: set[str] = set()
    for part in parts:
        found = _CHOICE.fullmatch(part.strip())
        bare = part.strip()
        if not found or (len(bare) == 1 and not bare.isupper()):
            return frozenset()
        letters.add(found[1].upper())
    return frozenset(letters)


def chosen(answer: str) -> frozenset[str]:
    """The letters that an answer to a multiple-choice question names."""
    found = _CHOICE.fullmatch(answer)
    if found:
        return frozenset(found[1].upper())
    parts = [_CHOICE.fullmatch(part.strip()) for part in re.split(r",|\band\b", answer)]
    if all(parts):
        return frozenset(part[1].upper() for part in parts if part)
    option = _CHOICE_THEN.fullmatch(answer)
    if option and not re.search(r"\([A-J]\)", option[4]):
        return frozenset((option[1] or option[2] or option[3]).upper())
    return frozenset()


def _same_text(gold: str, answer: str) -> bool:
    """E14: the same words but for case and spaces, where words are meant."""
    key = _text_key(gold)
    if key != _text_key(answer):
        return False
    if re.sub(r"\s+", "", gold) == re.sub(r"\s+", "", answer):
        return True
    wordy = _WRAPPED.search(gold) or _WRAPPED.search(answer)
    letters = re.fullmatch(r"[a-z]+(?:[-'][a-z]+)*", key)
    return bool(letters) and (bool(wordy) or len(key) > 3 or key in _SHORT_WORDS)


def _text_key(cleaned: str) -> str:
    unwrapped = _WRAPPED.sub("", cleaned)
    return re.sub(r"[\s{}]+|[.!]$", "", unwrapped).casefold()


def _structured(gold: str, answer: str, mode: Mode) -> Outcome:
    try:
        if tokens(gold) == tokens(answer):
            return Outcome(True)
        meant, said = read(gold), read(answer)
        if isinstance(meant, Words) != isinstance(said, Words):
            return Outcome(False)
        return Outcome(matches(meant, said, mode))
    except Undecided:
        return _by_algebra(gold, answer)
    except Unparsed:
        known = workers.algebraic(gold) or workers.algebraic(answer)
        known = known and _open_to_algebra(gold) and _open_to_algebra(answer)
        return _by_algebra(gold, answer) if known else Outcome(False)
    except (Undefined, Unbounded, RecursionError, IndexError, AssertionError):
        return Outcome(False)


def _open_to_algebra(cleaned: str) -> bool:
    """Whether an answer is a value of bounded size, or of a kind that only algebra can read."""
    try:
        known = read(cleaned)
        if isinstance(known, Value):
            exact(known.tree)
        return isinstance(known, Value | Matrix | Region) or known == Collection((), "set")
    except Unparsed:
        return True
    except (Undefined, Unbounded, RecursionError, IndexError):
        return False


def _by_algebra(gold: str, answer: str) -> Outcome:
    if not workers.admissible(gold) or not workers.admissible(answer):
        return Outcome(False)
    verdict = workers.decide(braced(gold), braced(answer))
    if isinstance(verdict, bool):
        return Outcome(verdict)
    return Outcome(False, verdict)
