from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from sandbox.errors import BadProgram, SandboxFault, SandboxUnavailable
from sandbox.judge import Case, Judgement, Submission, judge, judge_one
from sandbox.open import open_backend
from sandbox.prefix import PREFIX
from sandbox.session import Session
from sandbox.types import Backend, Call, Capabilities, Limits, Program, Result, Run, Stdin

DATA = Path(os.environ.get("HARNESS_DATA", "")) / "code"
QUIRKS = DATA / "lcb_judge_quirks.jsonl"
COMPATIBLE = "livecodebench-28fef95"
NO_SECRETS = "expected outputs do not enter the box"
NO_TESTS = "zero tests is an error"
EXPLAINED = {"steal expected (frames)": NO_SECRETS, "no tests": NO_TESTS}
"""Rows in which the compatible mode differs from the evaluator, and the rule that says why."""
PREFIXED = "the prefix imports what programs take for granted"
COMPILES = "a source that does not compile is CE, which the interpreter's exit status does not tell"
OTHERWISE = {"class with type annotations List": (PREFIXED, "AC"), "syntax error": (COMPILES, "CE")}
"""Rows in which the faithful mode differs from the plain interpreter."""
CODES: dict[Any, str] = {-2: "WA", -3: "TLE", -4: "RE", "harness_exception": "RE"}
EXITS = {"exit 0, output matches": "AC", "exit 0, output differs": "WA", "timeout": "TLE"}


@pytest.fixture(scope="module")
def local() -> Iterator[Backend]:
    backend = open_backend("local", workers=2)
    if not backend.capabilities().usable:
        pytest.skip(f"no local sandbox: {backend.capabilities().missing}")
    yield backend
    backend.close()


def cases(row: dict[str, Any]) -> tuple[Case, ...]:
    pairs = zip(row["inputs"], row["outputs"], strict=True)
    if row["fn_name"] is None:
        return tuple(Case(Stdin(given), wanted) for given, wanted in pairs)
    return tuple(
        Case(Call(row["fn_name"], tuple(map(json.loads, given.split("\n")))), wanted)
        for given, wanted in pairs
    )


def quirks() -> list[dict[str, Any]]:
    if not QUIRKS.is_file():
        pytest.skip("HARNESS_DATA holds no code/lcb_judge_quirks.jsonl")
    return [json.loads(line) for line in QUIRKS.read_text("utf-8").splitlines()]


def judged(backend: Backend, rows: Sequence[dict[str, Any]], mode: Any) -> list[Judgement]:
    asked = [
        Submission(
            source=row["code"],
            cases=cases(row),
            mode=mode,
            comparator="livecodebench",
            prefix=PREFIX,
            limits=Limits(cpu=row["timeout_s"]),
        )
        for row in rows
    ]
    found = dict(judge(backend, asked))
    return [found[number] for number in range(len(rows))]


def test_the_compatible_mode_gives_the_evaluators_verdicts(local: Backend) -> None:
    rows = [row for row in quirks() if row["inputs"]]
    assert len(rows) == 89
    differs = {}
    for row, found in zip(rows, judged(local, rows, COMPATIBLE), strict=True):
        told = row["lcb_results"][-1]
        wanted = "AC" if told is True else "WA" if told is False else CODES[told]
        if found.outcome != wanted:
            differs[row["name"]] = found.note
    assert set(differs) == set(EXPLAINED) - {"no tests"}, differs


def test_the_faithful_mode_does_what_the_plain_interpreter_does(local: Backend) -> None:
    rows = [row for row in quirks() if row["plain_interpreter"] is not None]
    assert len(rows) > 60
    differs = {}
    for row, found in zip(rows, judged(local, rows, "faithful"), strict=True):
        if found.outcome != EXITS.get(row["plain_interpreter"][0], "RE"):
            differs[row["name"]] = found.outcome
    assert differs == {name: outcome for name, (_, outcome) in OTHERWISE.items()}


FUNCTIONS = {
    **dict.fromkeys(("Solution method", "plain function", "tuple result", "float for int"), "AC"),
    **dict.fromkeys(("state in self persists", "nested tuples", "from typing shadow"), "AC"),
    **dict.fromkeys(("float close", "str for int", "print instead of return"), "WA"),
    **dict.fromkeys(("generator result", "eq hack", "missing fn", "sys.exit in call-based"), "RE"),
}


def test_functions_are_judged_by_the_value_that_they_return(local: Backend) -> None:
    rows = [row for row in quirks() if row["name"] in FUNCTIONS]
    found = judged(local, rows, "faithful")
    told = {row["name"]: each.outcome for row, each in zip(rows, found, strict=True)}
    assert told == FUNCTIONS


# -- machinery


def test_a_submission_without_cases_is_an_error(local: Backend) -> None:
    with pytest.raises(BadProgram, match="without test cases"):
        judge_one(local, Submission(source="print(1)", cases=()))


def test_an_unknown_mode_or_comparator_is_an_error_before_anything_runs(local: Backend) -> None:
    case = Case(Stdin(""), "1")
    for words in ({"mode": "kind"}, {"comparator": "kind"}):
        with pytest.raises(BadProgram, match="there are"):
            judge_one(local, Submission(source="print(1)", cases=(case,), **words))  # type: ignore[arg-type]


def test_partial_judging_goes_on_after_an_exception_and_stops_at_a_limit(local: Backend) -> None:
    source = "n = int(input())\nassert n != 1\nwhile n == 3: pass\nprint(n if n != 2 else 0)"
    numbers = (0, 1, 2, 4, 3, 5)
    asked = tuple(Case(Stdin(f"{n}\n"), f"{n}\n") for n in numbers)
    limits = Limits(cpu=1)
    found = judge_one(local, Submission(source=source, cases=asked, partial=True, limits=limits))
    assert found.outcomes == ("AC", "RE", "WA", "AC", "TLE")
    assert (found.passed, found.cases, found.outcome, found.first) == (2, 6, "RE", 1)
    short = judge_one(local, Submission(source=source, cases=asked, limits=limits))
    assert short.outcomes == ("AC", "RE")


def test_output_that_is_no_text_is_wrong(local: Backend) -> None:
    source = "import os\nos.write(1, b'1\\xff')"
    found = judge_one(local, Submission(source=source, cases=(Case(Stdin(""), "1\ufffd"),)))
    assert found.outcome == "WA"
    assert "UTF-8" in found.note


def test_the_compatible_mode_counts_a_program_that_dies_after_its_first_failure_as_it_failed(
    local: Backend,
) -> None:
    source = "import os\nn = int(input())\nif n == 2: os._exit(0)\nprint(n + n // 1 * 0 + (n == 1))"
    asked = tuple(Case(Stdin(f"{n}\n"), f"{n}\n") for n in (0, 1, 2))
    found = judge_one(local, Submission(source=source, cases=asked, mode=COMPATIBLE))
    assert found.outcomes == ("AC", "WA")


def test_reports_forged_for_later_tests_are_not_more_than_there_are_tests(local: Backend) -> None:
    source = 'print(\'lcb-report x {"text": "1"}\')'
    asked = (Case(Stdin(""), "1"), Case(Stdin(""), "1"))
    found = judge_one(local, Submission(source=source, cases=asked, mode=COMPATIBLE))
    assert found.outcomes == ("WA",)


class Broken:
    """A backend whose machinery fails in one way, the first few times it is asked."""

    name = "broken"

    def __init__(self, way: str, times: int = 99) -> None:
        self.way, self.times, self.asked = way, times, 0

    def capabilities(self) -> Capabilities:
        return Capabilities(self.name, self.way != "missing", {}, ("landlock: Linux 5.13",))

    def run(self, programs: Sequence[Program]) -> Iterator[tuple[int, Result]]:
        self.asked += 1
        for number, program in enumerate(programs):
            good = Result((Run("OK", b"1"),) * len(program.tests), "broken", (), "none")
            if self.asked > self.times:
                yield number, good
                continue
            runs = {
                "SE": (Run("SE", detail="the worker died"),),
                "short": good.runs[:-1],
                "long": (*good.runs, *good.runs),
                "none": (),
            }.get(self.way, good.runs)
            if self.way != "absent":
                yield number, Result(runs, "broken", (), "none")
            if self.way == "twice":
                yield number, good

    def close(self) -> None:
        pass


WAYS = ("SE", "short", "long", "none", "absent", "twice")
RIGHT = Submission(source="print(1)", cases=(Case(Stdin(""), "1"), Case(Stdin(""), "1")))


@pytest.mark.parametrize("way", WAYS)
def test_a_fault_of_the_machinery_is_tried_again_once_and_then_se(way: str) -> None:
    mended = Broken(way, times=1)
    assert judge_one(mended, RIGHT).outcome == "AC"
    broken = Broken(way)
    found = judge_one(broken, RIGHT)
    assert (found.outcome, found.passed, broken.asked) == ("SE", 0, 2)


def session(backend: Any, **words: Any) -> Session:
    return Session(opener=lambda spec: backend, **words)


def test_a_fault_is_raised_never_scored_and_never_kept() -> None:
    broken = Broken("SE", times=2)
    mine = session(broken)
    with pytest.raises(SandboxFault, match="the worker died"):
        mine.judged(RIGHT)
    assert mine.judged(RIGHT).outcome == "AC"
    assert (mine.programs, mine.faults, mine.hits) == (2, 1, 0)


def test_above_one_in_a_hundred_faults_everything_stops() -> None:
    mine = session(Broken("SE"))
    for _ in range(2):
        with pytest.raises(SandboxFault):
            mine.judged(RIGHT)
    with pytest.raises(SandboxUnavailable, match="3 of 3 programs"):
        mine.judged(RIGHT)


def test_missing_isolation_runs_nothing_and_says_what_is_missing() -> None:
    backend = Broken("missing")
    with pytest.raises(SandboxUnavailable, match="landlock: Linux"):
        session(backend).judged(RIGHT)
    assert backend.asked == 0


def test_the_same_submission_is_judged_once_and_another_one_again(tmp_path: Path) -> None:
    backend = Broken("fine")
    mine = session(backend, folder=tmp_path)
    first = mine.judged(RIGHT)
    assert mine.judged(RIGHT) == first
    assert backend.asked == 1
    changed = Case(Stdin(""), "2")
    assert mine.judged(Submission(source="print(1)", cases=(changed,))).outcome == "WA"
    other = Submission(source="print(1)", cases=RIGHT.cases, limits=Limits(cpu=3))
    mine.judged(other)
    assert backend.asked == 3
    later = session(backend, folder=tmp_path)
    assert later.judged(RIGHT) == first
    assert (backend.asked, later.hits) == (3, 1)


def test_a_damaged_verdict_on_disk_is_judged_anew(tmp_path: Path) -> None:
    mine = session(Broken("fine"), folder=tmp_path)
    mine.judged(RIGHT)
    [kept] = tmp_path.rglob("*.json")
    for text in ("{", "{}", '{"outcomes": "AC", "cases": 2}', "[" * 50_000):
        kept.write_text(text, "utf-8")
        again = Broken("fine")
        assert session(again, folder=tmp_path).judged(RIGHT).outcome == "AC"
        assert again.asked == 1


def test_running_without_isolation_has_to_be_accepted() -> None:
    mine = session(Broken("fine"))
    with pytest.raises(SandboxUnavailable, match="--i-accept-unsandboxed-code"):
        mine.choose("unsafe-process")
    assert mine.spec == "local"
