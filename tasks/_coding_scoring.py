"""A reply as a program, its judgement, and the judgement as a verdict: shared by all of coding.

The sandbox is asked through the session of the process. What it cannot judge is a fault, which
leaves the attempt out; where it cannot be relied on at all the run stops.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from harness import Completion, Example, Verdict
from harness.errors import HarnessError, JudgeUnavailable, UsageError
from harness.reading import after_thinking
from sandbox.errors import BadProgram, SandboxFault, SandboxUnavailable
from sandbox.extraction import extract
from sandbox.judge import Case, Judgement, Mode, Submission
from sandbox.prefix import PREFIX
from sandbox.session import SESSION
from sandbox.types import Limits

OUTCOMES = frozenset({"WA", "RE", "TLE", "MLE", "OLE", "CE"})
"""Reasons of coding, besides the house's own; AC is `ok`."""
LONGEST_ANSWER = 20_000
"""Characters of a program that a verdict keeps."""
FULL = {"correct": 1.0, "tests": 1.0, "compiles": 1.0}
NONE = {"correct": 0.0, "tests": 0.0, "compiles": 0.0}


def as_it_is(example: Example, code: str) -> str:
    """The program unchanged."""
    return code


@dataclass(frozen=True, kw_only=True)
class Scoring:
    """How the replies of one member are read and judged."""

    cases: Callable[[Example], Sequence[Case]]
    seen: Callable[[Example], int] | None = None
    """How many of the cases, the first ones, stand in the prompt; None: the gap is not told."""
    source: Callable[[Example, str], str] = as_it_is
    """The whole program of what was extracted."""
    tags: Callable[[Example], Mapping[str, float]] = lambda example: {}
    """Scores of the example itself, for metrics of a part: level, fair."""
    weak: Callable[[Example], bool] | None = None
    """Whether an example's tests share the program's process; None: they are no assertions."""
    comparator: Callable[[Example], str] | str = "tokens"
    mode: Mode = "faithful"
    extraction: str = "last_closed_fence"
    limits: Limits = field(default_factory=Limits)
    partial: bool = False
    prefix: str = PREFIX

    def verify(self, example: Example, completion: Completion) -> Verdict:
        """The verdict on one reply; raises only where nothing could be judged."""
        code = self.code(completion.output)
        if code is None:
            reason = "truncated" if completion.stopped == "budget" else "no_answer"
            note = f"no program was found by the rule {self.extraction}"
            return Verdict(self._scores(example, NONE, None), None, reason, note)
        found = self.judged(example, code)
        return self.verdict(example, code, found)

    def code(self, output: object) -> str | None:
        """The program in a reply, by the named rule."""
        if not isinstance(output, str):
            return None
        said = output if self.extraction == "livecodebench" else after_thinking(output)
        return None if said is None else extract(said, self.extraction)

    def judged(self, example: Example, code: str, first: int | None = None) -> Judgement:
        """The judgement on a program; on the `first` cases only, where so many are asked for."""
        rule = self.comparator if isinstance(self.comparator, str) else self.comparator(example)
        return judgement(
            Submission(
                source=self.source(example, code),
                cases=tuple(self.cases(example))[:first],
                mode=self.mode,
                comparator=rule,
                limits=self.limits,
                prefix=self.prefix,
                partial=self.partial,
            )
        )

    def verdict(self, example: Example, code: str, found: Judgement) -> Verdict:
        """A judgement in the house's words."""
        scores = {
            "correct": float(found.outcome == "AC"),
            "tests": found.passed / found.cases,
            "compiles": float(found.outcome != "CE"),
        }
        reason = "ok" if found.outcome == "AC" else found.outcome
        weak = " (weak isolation: the tests share the program's process)"
        accepted = sorted(name for name in found.stages if name != "exact")
        note = found.note or (f"accepted as {', '.join(accepted)}" if accepted else "")
        note += weak if self._weak(example, found) else ""
        answer = code[:LONGEST_ANSWER]
        return Verdict(self._scores(example, scores, found), answer, reason, note.strip())

    def _weak(self, example: Example, found: Judgement | None) -> bool:
        ran = found is not None and found.weak
        return ran or (self.weak is not None and self.weak(example))

    def _scores(
        self, example: Example, scores: Mapping[str, float], found: Judgement | None
    ) -> dict[str, float]:
        told = dict(scores)
        if self.weak is not None:
            told["weak"] = float(self._weak(example, found))
        if self.comparator == "lenient":  # a jump in these is an early sign of hacking
            stages = found.stages if found else {}
            late = sum(count for name, count in stages.items() if name not in ("exact", "trimmed"))
            told["lenient"] = late / len(self.cases(example))
        if self.seen is not None:
            shown = self.seen(example)
            told |= shares(found.outcomes if found else (), shown, len(self.cases(example)))
        return {**told, **self.tags(example)}


def shares(outcomes: Sequence[str], seen: int, cases: int) -> dict[str, float]:
    """Shares of the seen and of the held-out cases that passed; 1 where there are none."""
    right = [number for number, outcome in enumerate(outcomes) if outcome == "AC"]
    shown = sum(number < seen for number in right)
    hidden = len(right) - shown
    return {
        "seen": shown / seen if seen else 1.0,
        "held_out": hidden / (cases - seen) if cases > seen else 1.0,
    }


def judgement(submission: Submission) -> Judgement:
    """What the session's backend says; the sandbox's errors become the house's."""
    try:
        return SESSION.judged(submission)
    except SandboxUnavailable as error:
        raise JudgeUnavailable(str(error)) from error
    except SandboxFault as error:
        raise HarnessError(str(error)) from error
    except BadProgram as error:
        raise UsageError(str(error)) from error


def at_once() -> int:
    """Programs that the session's backend is best given at a time; it is opened."""
    try:
        return SESSION.at_once()
    except SandboxUnavailable as error:
        raise JudgeUnavailable(str(error)) from error


def fenced(code: str) -> str:
    """A program as a reply would hold it."""
    return f"```python\n{code.rstrip()}\n```"


def told_failure(example: Example, scoring: Scoring, found: Judgement) -> str:
    """What a model is told of its first failing case: input, what is right, what happened."""
    from sandbox.types import Assertions, Call, Stdin

    number = found.first
    assert number is not None, "nothing failed"
    case = scoring.cases(example)[number]
    if isinstance(case.test, Stdin):
        asked = f"Input:\n{_short(case.test.text)}\nExpected output:\n{_short(case.expected)}"
    elif isinstance(case.test, Call):
        arguments = ", ".join(repr(each) for each in case.test.arguments)
        asked = f"{case.test.name}({_short(arguments)}) should return {_short(case.expected)}"
    else:
        assert isinstance(case.test, Assertions)
        asked = f"This test should pass:\n{_short(case.test.code)}"
    return f"{asked}\nWhat happened: {found.notes[number] if found.notes else found.note}"


def _short(text: str, most: int = 400) -> str:
    return text if len(text) <= most else f"{text[: most // 2]} ... {text[-most // 2 :]}"


Settings = Mapping[str, Any]
