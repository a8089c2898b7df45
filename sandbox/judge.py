"""The judge: submissions against test cases, outside of the box.

A case is a test and what is right. Programs go into the box with their tests alone; what they gave
is compared here, by a named comparator. Two modes:

faithful              what the plain interpreter does: real descriptors, `__main__`, exit status
livecodebench-28fef95 LiveCodeBench's evaluator at that commit, with its quirks (`livecodebench`)

Nothing is right by default: a result that is missing, doubled, too short or unreadable is a fault
of the machinery (SE), which is tried once more. SE is no verdict on the program.

Nor does what an earlier test left behind make a case wrong: where the process had run one before,
the case is run once more in a process of its own, and what comes of that counts.
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

    A result is judged when it comes, and its outputs are let go. Judgements are told when all of a
    round have come, as only then is it known that none came twice.

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
        read: dict[int, _Read] = {}
        doubled: set[int] = set()
        for place, result in backend.run([waiting[number].program() for number in numbers]):
            if place in read:
                doubled.add(place)
            elif place in range(len(numbers)):
                read[place] = waiting[numbers[place]].read(result)
        missing = read.keys() ^ set(range(len(numbers)))
        for place in (*read, *sorted(missing)):
            number = numbers[place]
            found = NOT_ONCE if place in doubled | missing else read[place]
            if waiting[number].take(found):
                yield number, waiting.pop(number).judgement()


def judge_one(backend: Backend, submission: Submission) -> Judgement:
    """The judgement on one submission."""
    [(_, found)] = judge(backend, [submission])
    return found


@dataclass(frozen=True)
class _Found:
    """What one case came to."""

    outcome: Outcome
    note: str
    stage: str = ""
    cpu: float = 0.0
    memory: int = 0
    weak: bool = False
    used: bool = False
    """An earlier test ran in the same process, and may be the reason where it is wrong."""


@dataclass(frozen=True)
class _Read:
    """What one result came to."""

    fault: str
    """Why it counts for nothing; empty where it counts."""
    cases: tuple[_Found, ...] = ()
    over: bool = True
    """The submission is not run on the cases that are missing."""
    ran: tuple[str, tuple[str, ...], str] = ("", (), "")
    """Backend, layers, interpreter."""


NOT_ONCE = _Read("the backend gave no result, or more than one")


@dataclass
class _Trial:
    """A submission under judgment: what is known of its cases so far."""

    submission: Submission
    rule: Comparator
    found: list[_Found] = field(default_factory=list[_Found])
    last: _Read | None = None
    again: list[int] = field(default_factory=list[int])
    """Cases that are being run in processes of their own."""
    retries: int = 0

    def program(self) -> Program:
        """What is still to be run."""
        asked = self.submission
        if asked.mode != "faithful":
            return livecodebench.program(
                asked.source, [case.test for case in asked.cases], asked.limits
            )
        return Program(
            source=asked.source,
            tests=tuple(case.test for case in self._asked()),
            limits=asked.limits,
            prefix=asked.prefix,
            isolation="test" if self.again else asked.isolation,
            stop_at_fault=not self.again,
        )

    def read(self, result: Result) -> _Read:
        """What is kept of a result."""
        asked = self.submission
        ran = (result.backend, result.layers, result.interpreter)
        tests = len(self._asked()) if asked.mode == "faithful" else 1
        fault = _fault(result, tests, stopped=not self.again)
        if fault:
            return _Read(fault)
        if asked.mode == "faithful":
            pairs = zip(self._asked(), result.runs, strict=False)
            cases = tuple(_found(run, *verdict(case, run, self.rule)) for case, run in pairs)
            return _Read("", cases, not (asked.partial and result.runs[-1].status == "RE"), ran)
        (run,) = result.runs
        expected = [case.expected for case in asked.cases]
        codes = livecodebench.codes(run, [case.test for case in asked.cases], expected)
        cases = tuple(_found(None, *livecodebench.outcome(code)) for code in codes)
        whole = replace(cases[0], cpu=run.cpu, memory=run.memory, weak=run.weak)
        return _Read("", (whole, *cases[1:]), ran=ran)

    def take(self, read: _Read) -> bool:
        """Note what came; whether the submission is done."""
        self.last = read
        if read.fault:
            self.retries += 1
            return self.retries > RETRIES
        if self.again:
            for number, found in zip(self.again, read.cases, strict=True):
                self.found[number] = found
        else:
            self.found.extend(read.cases)
            if len(self.found) < len(self.submission.cases) and not read.over:
                return False
        self.again = self._doubtful()
        return not self.again

    def _doubtful(self) -> list[int]:
        """Cases to run in processes of their own, since earlier tests may be all that is wrong.

        One is enough to begin with: a submission that is wrong in a process of its own is wrong,
        and most are in their first case, which always has one. If that one is right alone, all
        others are in doubt.
        """
        wrong = [number for number, found in enumerate(self.found) if found.outcome != "AC"]
        if any(not self.found[number].used for number in wrong):
            return []
        return wrong if self.again else wrong[:1]

    def _asked(self) -> Sequence[Case]:
        """The cases of the next round."""
        cases = self.submission.cases
        return [cases[each] for each in self.again] if self.again else cases[len(self.found) :]

    def judgement(self) -> Judgement:
        """The outcome of every case that was run."""
        cases, last, found = len(self.submission.cases), self.last, self.found
        if last is None or last.fault:
            fault = last.fault if last else "it was not run"
            told = Judgement(("SE",), cases, (fault[:LONGEST_NOTE],))
        else:
            outcomes: tuple[Outcome, ...] = tuple(each.outcome for each in found)
            stages = Counter(each.stage for each in found if each.stage)
            told = Judgement(outcomes, cases, tuple(each.note for each in found), dict(stages))
            backend, layers, interpreter = last.ran
            told = replace(told, backend=backend, layers=layers, interpreter=interpreter)
        return replace(
            told,
            weak=any(each.weak for each in found),
            cpu=sum(each.cpu for each in found),
            memory=max((each.memory for each in found), default=0),
        )


def _found(run: Run | None, outcome: Outcome, match: Match) -> _Found:
    note = "" if outcome == "AC" else _note(f"{outcome}: {match.note}")
    if run is None:
        return _Found(outcome, note, match.stage)
    return _Found(outcome, note, match.stage, run.cpu, run.memory, run.weak, run.used)


def _fault(result: Result, tests: int, *, stopped: bool) -> str:
    """What makes a result a fault of the machinery; empty where nothing does.

    `stopped`: the first test that does not end well is the last one.
    """
    runs = result.runs
    if any(run.status == "SE" for run in runs):
        return next(run.detail or "a fault of the sandbox" for run in runs if run.status == "SE")
    if not 0 < len(runs) <= tests:
        return f"{len(runs)} results for {tests} tests"
    if len(runs) < tests and (runs[-1].status == "OK" or not stopped):
        return f"{len(runs)} results for {tests} tests, and the last one ended well"
    return ""


ADDRESS = re.compile(r"0x[0-9a-fA-F]{6,16}")
"""Of an object in memory: it differs from run to run, and a note may not."""


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
