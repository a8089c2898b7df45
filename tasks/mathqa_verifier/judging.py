r"""The verdict about a completion: strict, lenient and training scores from one reading of it."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal, InvalidOperation
from fractions import Fraction

from harness import Verdict
from tasks.mathqa_verifier.cleaning import clean
from tasks.mathqa_verifier.equivalence import choices, compare
from tasks.mathqa_verifier.extraction import NOTHING, Extraction, found_in, spoken
from tasks.mathqa_verifier.matching import Mode

VERSION = 1
"""Raised by every change that moves a verdict."""
_SHOWN = 80


def judge(
    gold: str | Sequence[str],
    output: object,
    *,
    last_number: bool = False,
    tolerance: float | None = None,
    truncated: bool = False,
) -> Verdict:
    """The verdict about an output against a gold; never raises, whatever the output is.

    Scores, all 0 or 1: `correct` (strict reading, evaluation equivalence), `lenient` (also clauses
    and, with `last_number`, the last number), `earned` (strict reading, training equivalence).
    Several golds are answers that must all be given, in any order; `tolerance` is absolute.
    """
    wanted = gold if isinstance(gold, str) else ", ".join(str(each) for each in gold)
    told = spoken(output)
    strict = lenient = NOTHING
    if told is not None:
        choice = len(wanted) < 40 and bool(choices(clean(wanted)))
        strict = found_in(told, True, False, False)
        lenient = strict if strict.rule else found_in(told, False, last_number, choice)
    mode = Mode(tolerance=_rational(tolerance))
    outcome = _outcome(wanted, strict, mode)
    loose = outcome if lenient is strict else _outcome(wanted, lenient, mode)
    correct, also = outcome[0], loose[0]
    earned = correct and _outcome(wanted, strict, Mode(True, mode.tolerance))[0]
    answer = strict.answer if strict.answer is not None else lenient.answer
    failed = outcome[1] or loose[1]
    scores = {"correct": float(correct), "lenient": float(also), "earned": float(earned)}
    reason = _reason(correct, strict, lenient, failed, truncated)
    return Verdict(scores, answer, reason, _note(reason, wanted, answer, lenient))


def _outcome(gold: str, found: Extraction, mode: Mode) -> tuple[bool, str]:
    if found.answer is None:
        return False, ""
    outcome = compare(gold, found.answer, mode)
    return outcome.equal, outcome.how


def _rational(tolerance: float | None) -> Fraction | None:
    if tolerance is None:
        return None
    try:
        return Fraction(Decimal(str(tolerance)))
    except (InvalidOperation, ValueError, OverflowError):
        return None


def _reason(
    correct: bool, strict: Extraction, lenient: Extraction, failed: str, truncated: bool
) -> str:
    if correct:
        return "ok"
    if failed:
        return failed
    if strict.answer is not None:
        return "wrong"
    if truncated:
        return "truncated"
    if strict.reason == "bad_format" or lenient.answer is not None:
        return "bad_format"
    return "no_answer"


def _note(reason: str, gold: str, answer: str | None, lenient: Extraction) -> str:
    if answer is None:
        return f"{reason}: nothing to read, gold {_short(gold)}"
    where = lenient.rule.replace("_", " ")
    return f"{reason}: {where} says {_short(answer)}, gold {_short(gold)}"


def _short(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= _SHOWN else f"{line[: _SHOWN - 3]}..."
