"""The judge: submissions against test cases, outside of the box.

A case is a test and what is right. Programs go into the box with their tests alone; what they gave
is compared here, by a named comparator. Two modes:

faithful              what the plain interpreter does: real descriptors, `__main__`, exit status
livecodebench-28fef95 LiveCodeBench's evaluator at that commit, with its quirks (`livecodebench`)

Nothing is right by default: a result that is missing, doubled, too short or unreadable is a fault
of the machinery (SE), which is tried once more. SE is no verdict on the program.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

from sandbox import livecodebench
from sandbox.comparators import Comparator, Match, comparator
from sandbox.comparators.match import shown
from sandbox.comparators.values import Unreadable, read_value
from sandbox.errors import BadProgram
from sandbox.types import (
    Assertions,
    Backend,
    Call,
    Isolation,
    Limits,
    Outcome,
    Program,
    Result,
    Run,
    Stdin,
    Test,
)

Mode = Literal["faithful", "livecodebench-28fef95"]
MODES: tuple[Mode, ...] = ("faithful", "livecodebench-28fef95")
RETRIES = 1
"""Times that a fault of the machinery is tried again."""
LONGEST_NOTE = 300


@dataclass(frozen=True)
class Case:
    """A test and what is right."""

    test: Test
    expected: str = ""
    """Text for `Stdin`; JSON text of the value for `Call`; nothing for `Assertions`."""


@dataclass(frozen=True, kw_only=True)
class Submission:
    """A program, its cases, and the rules by which it is judged."""

    source: str
    cases: tuple[Case, ...]
    mode: Mode = "faithful"
    comparator: str = "tokens"
    limits: Limits = field(default_factory=Limits)
    prefix: str = ""
    isolation: Isolation = "program"
    partial: bool = False
    """Go on after a runtime error, so that the share of cases passed is known."""

    def checked(self) -> Comparator:
        """The comparator; BadProgram where the submission makes no sense."""
        if not self.cases:
            raise BadProgram("a submission without test cases: nothing would be judged")
        if self.mode not in MODES:
            raise BadProgram(f"no judge mode '{self.mode}'; there are: {', '.join(MODES)}")
        return comparator(self.comparator)


@dataclass(frozen=True)
class Judgement:
    """What became of a submission."""

    outcomes: tuple[Outcome, ...]
    """Of its cases in order. Cases after the one that ended it are absent, and not passed."""
    cases: int
    """How many there are."""
    notes: tuple[str, ...] = ()
    """Why each outcome is what it is; empty for AC."""
    stages: Mapping[str, int] = field(default_factory=dict[str, int])
    """How often each stage of a lenient comparator accepted."""
    weak: bool = False
    """A test shared its process with the submission."""
    cpu: float = 0.0
    """Seconds, of all cases."""
    memory: int = 0
    """Peak resident bytes."""
    backend: str = ""
    layers: tuple[str, ...] = ()
    interpreter: str = ""

    @property
    def passed(self) -> int:
        """Cases that are right."""
        return sum(outcome == "AC" for outcome in self.outcomes)

    @property
    def outcome(self) -> Outcome:
        """AC if every case is; else the first that is not. SE wherever one is SE."""
        wrong: list[Outcome] = [outcome for outcome in self.outcomes if outcome != "AC"]
        if "SE" in wrong or (not wrong and self.passed != self.cases):
            return "SE"
        return wrong[0] if wrong else "AC"

    @property
    def first(self) -> int | None:
        """The first case that is not right; None if all are."""
        for number, outcome in enumerate(self.outcomes):
            if outcome != "AC":
                return number
        return None if len(self.outcomes) == self.cases else len(self.outcomes)

    @property
    def note(self) -> str:
        """Of the first case that is not right."""
        number = self.first
        if number is None:
            return ""
        told = self.notes[number] if number < len(self.notes) else "it was not run"
        return f"case {number + 1} of {self.cases}: {told}"


def judge(backend: Backend, submissions: Sequence[Submission]) -> Iterator[tuple[int, Judgement]]:
    """Each submission's number with its judgement, in the order in which they finish.

    Raises BadProgram before anything is run where a submission has no cases, or names a mode or
    comparator that there is not; SandboxUnavailable where the backend refuses.
    """
    rules = [submission.checked() for submission in submissions]
    waiting = {
        number: _Trial(submission, rule)
        for number, (submission, rule) in enumerate(zip(submissions, rules, strict=True))
    }
    while waiting:
        numbers = list(waiting)
        told = _round(backend, [waiting[number].program() for number in numbers])
        for place, result in told:
            number = numbers[place]
            if waiting[number].take(result):
                yield number, waiting.pop(number).judgement()


def judge_one(backend: Backend, submission: Submission) -> Judgement:
    """The judgement on one submission."""
    [(_, found)] = judge(backend, [submission])
    return found


def _round(backend: Backend, programs: Sequence[Program]) -> Iterator[tuple[int, Result | None]]:
    """One result for each program, None for those that came out of the backend not once."""
    seen: Counter[int] = Counter()
    held: dict[int, Result] = {}
    for place, result in backend.run(programs):
        seen[place] += 1
        held[place] = result
    for place in range(len(programs)):
        yield place, held[place] if seen[place] == 1 else None


@dataclass
class _Trial:
    """A submission under judgment: what is known of its cases so far."""

    submission: Submission
    rule: Comparator
    runs: list[Run] = field(default_factory=list[Run])
    result: Result | None = None
    retries: int = 0
    broken: str = ""

    def program(self) -> Program:
        """What is still to be run."""
        asked = self.submission
        if asked.mode != "faithful":
            return livecodebench.program(
                asked.source, [case.test for case in asked.cases], asked.limits
            )
        return Program(
            source=asked.source,
            tests=tuple(case.test for case in asked.cases[len(self.runs) :]),
            limits=asked.limits,
            prefix=asked.prefix,
            isolation=asked.isolation,
        )

    def take(self, result: Result | None) -> bool:
        """Note a result; whether the submission is done."""
        asked = 1 if self.submission.mode != "faithful" else self._missing()
        broken = _fault(result, asked)
        if broken:
            self.retries += 1
            self.broken = broken
            return self.retries > RETRIES
        assert result is not None
        self.result, self.broken = result, ""
        self.runs.extend(result.runs)
        if self.submission.mode != "faithful" or not self._missing():
            return True
        return not (self.submission.partial and self.runs[-1].status == "RE")

    def _missing(self) -> int:
        return len(self.submission.cases) - len(self.runs)

    def judgement(self) -> Judgement:
        """The outcome of every case that was run."""
        asked = self.submission
        if self.broken or self.result is None:
            told = Judgement(("SE",), len(asked.cases), (self.broken[:LONGEST_NOTE],))
        elif asked.mode != "faithful":
            expected = [case.expected for case in asked.cases]
            tests = [case.test for case in asked.cases]
            codes = livecodebench.codes(self.runs[0], tests, expected)
            told = _judged([livecodebench.outcome(code) for code in codes], len(asked.cases))
        else:
            pairs = zip(asked.cases, self.runs, strict=False)
            told = _judged([verdict(case, run, self.rule) for case, run in pairs], len(asked.cases))
        return self._with_costs(told)

    def _with_costs(self, told: Judgement) -> Judgement:
        told = replace(
            told,
            weak=any(run.weak for run in self.runs),
            cpu=sum(run.cpu for run in self.runs),
            memory=max((run.memory for run in self.runs), default=0),
        )
        if self.result is None:
            return told
        found = self.result
        return replace(
            told, backend=found.backend, layers=found.layers, interpreter=found.interpreter
        )


def _fault(result: Result | None, tests: int) -> str:
    """What makes a result a fault of the machinery; empty where nothing does."""
    if result is None:
        return "the backend gave no result, or more than one"
    runs = result.runs
    if any(run.status == "SE" for run in runs):
        return next(run.detail or "a fault of the sandbox" for run in runs if run.status == "SE")
    if not 0 < len(runs) <= tests:
        return f"{len(runs)} results for {tests} tests"
    if len(runs) < tests and runs[-1].status == "OK":
        return f"{len(runs)} results for {tests} tests, and the last one ended well"
    return ""


ADDRESS = re.compile(r"0x[0-9a-fA-F]{6,16}")
"""Of an object in memory: it differs from run to run, and a note may not."""


def _judged(found: Sequence[tuple[Outcome, Match]], cases: int) -> Judgement:
    stages = Counter(match.stage for _, match in found if match.stage)
    notes = tuple("" if o == "AC" else _note(f"{o}: {m.note}") for o, m in found)
    return Judgement(tuple(o for o, _ in found), cases, notes, dict(stages))


def _note(text: str) -> str:
    return ADDRESS.sub("0x...", " ".join(text[: 2 * LONGEST_NOTE].split()))[:LONGEST_NOTE]


def verdict(case: Case, run: Run, rule: Comparator) -> tuple[Outcome, Match]:
    """The outcome of one case. The output is a stranger's: any failure to read it is WA."""
    asserts = isinstance(case.test, Assertions)
    if asserts and run.status == "RE" and run.detail.startswith("AssertionError"):
        return "WA", Match(False, run.detail)
    if run.status != "OK":
        return run.status, Match(False, run.detail)
    if isinstance(case.test, Assertions):
        return "AC", Match(True)
    if isinstance(case.test, Stdin):
        match = _of_text(case.test, case.expected, run, rule)
    else:
        match = _of_value(case.test, case.expected, run, rule)
    return ("AC" if match.right else "WA"), match


def _of_text(test: Stdin, expected: str, run: Run, rule: Comparator) -> Match:
    try:
        output = run.stdout.decode("utf-8")
    except UnicodeDecodeError:
        return Match(False, f"the output is not UTF-8 text: {shown(run.stdout[:60])}")
    try:
        return rule.of_text(test.text, expected, output)
    except (ArithmeticError, ValueError, RecursionError, MemoryError) as error:
        return Match(False, f"the output cannot be compared: {type(error).__name__}")


def _of_value(test: Call, expected: str, run: Run, rule: Comparator) -> Match:
    if run.value is None:
        return Match(False, "nothing was returned")
    if rule.typed and run.flattened:
        return Match(False, "other types: a tuple inside the value, or a key that is no string")
    wanted = read_value(expected)
    try:
        return rule.of_value(list(test.arguments), wanted, read_value(run.value))
    except Unreadable as error:
        return Match(False, f"the returned value cannot be read: {error}")
    except (ArithmeticError, ValueError, TypeError, RecursionError, MemoryError) as error:
        return Match(False, f"the returned value cannot be compared: {type(error).__name__}")
