"""HumanEval, MBPP and the generated members in the sandbox, and how replies become verdicts."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from harness import Completion, Example, Prompt, Task, Verdict, registry
from harness.contracts import spread
from harness.data import FOLDER
from harness.errors import JudgeUnavailable, UnknownName, UsageError
from harness.play import play
from harness.types import Rollout
from results.rescoring import rescore
from results.run import line
from sandbox.session import SESSION, Session
from tasks import _coding_sets as sets
from tests.sandbox.test_judge import Broken


def opened(name: str) -> Task:
    task = registry.task(f"coding/{name}")
    if task.source != "generated" and not (Path(os.environ.get(FOLDER, "")) / "code").is_dir():
        pytest.skip(f"{FOLDER} names no folder with code/")
    return task


def fenced(code: str) -> Completion:
    return Completion(f"Here it is:\n```python\n{code}\n```\nDone.", steps=1)


def problem(task: Task, name: str) -> Example:
    return next(e for s in ("train", "dev", "test") for e in task.examples(s) if e.id == name)


# -- verdicts

SCALE = "scale_shift/a=2,b=5"


@pytest.mark.parametrize(
    ("code", "reason", "scores"),
    [
        ("def solve(x):\n    return 2 * x + 5", "ok", {"correct": 1, "tests": 1, "held_out": 1}),
        ("class Solution:\n    def solve(self, x):\n        return x + x + 5", "ok", {"tests": 1}),
        ("def solve(x):\n    return 2 * x", "WA", {"correct": 0, "tests": 0, "compiles": 1}),
        ("def solve(x):\n    retur 2", "CE", {"correct": 0, "tests": 0, "compiles": 0}),
        ("def solve(x):\n    raise KeyError(x)", "RE", {"tests": 0, "compiles": 1}),
        ("def solve(x):\n    while True: pass", "TLE", {"tests": 0}),
        ("def solve(x):\n    return [0] * 10**10", "MLE", {"tests": 0}),
        ("def answer(x):\n    return 2 * x + 5", "RE", {"tests": 0}),
        ("import os\nos._exit(0)", "RE", {"tests": 0}),
        ("def solve(x):\n    print(2 * x + 5)", "WA", {"tests": 0}),
    ],
)
def test_a_program_gets_the_verdict_of_its_runs(
    code: str, reason: str, scores: dict[str, float]
) -> None:
    task = opened("generated")
    verdict = task.verify(problem(task, SCALE), fenced(code))
    assert verdict.reason == reason, verdict.note
    assert {name: verdict.scores[name] for name in scores} == scores


def test_a_program_fitted_to_the_shown_tests_is_told_by_the_gap() -> None:
    task = opened("generated")
    example = problem(task, SCALE)
    table = {given[0]: result for given, result in example.inputs["shown"]}
    verdict = task.verify(example, fenced(f"def solve(x):\n    return {table}.get(x, 0)"))
    assert (verdict.scores["seen"], verdict.scores["held_out"]) == (1.0, 0.0)
    assert verdict.scores["tests"] == 0.3
    gap = next(metric for metric in task.metrics if metric.name == "seen_gap")
    assert gap.each is not None
    assert gap.each([verdict]) == 1.0


@pytest.mark.parametrize(
    ("completion", "reason"),
    [
        (Completion("I cannot."), "no_answer"),
        (Completion("```python\ndef solve(x", stopped="budget"), "truncated"),
        (Completion(None), "no_answer"),
        (Completion("<think>```python\ndef solve(x): return 2*x+5\n```"), "no_answer"),
        (Completion("<think>no</think>```python\ndef solve(x): return 2*x+5\n```"), "ok"),
        (Completion("```python\ndef solve(x): return 2*x+5\n```", stopped="budget"), "ok"),
    ],
)
def test_a_reply_without_a_program_is_no_answer(completion: Completion, reason: str) -> None:
    task = opened("generated")
    assert task.verify(problem(task, SCALE), completion).reason == reason


def test_another_extraction_rule_reads_another_program() -> None:
    reply = Completion("def solve(x):\n    return 2 * x + 5\n")
    example = problem(opened("generated"), SCALE)
    assert opened("generated").verify(example, reply).reason == "no_answer"
    assert opened("generated+extraction=fence_or_all").verify(example, reply).reason == "ok"


def test_what_only_leniency_accepted_is_told() -> None:
    task = opened("generated+comparator=lenient")
    example = problem(task, SCALE)
    loose = task.verify(example, fenced("def solve(x):\n    return str(2 * x + 5) + '.0'"))
    assert (loose.scores["correct"], loose.scores["lenient"]) == (1.0, 1.0)
    assert "accepted as decimal" in loose.note
    exact = task.verify(example, fenced("def solve(x):\n    return 2 * x + 5"))
    assert (exact.scores["correct"], exact.scores["lenient"]) == (1.0, 0.0)


def test_levels_are_chosen_by_a_setting_and_are_metrics() -> None:
    task = opened("generated+level=2-3")
    assert task.name == "coding/generated+level=2-3"
    assert {e.tags["level"] for e in task.examples("train")} == {2, 3}
    names = {metric.name for metric in task.metrics}
    assert {"pass@1|level 2", "pass@5|level 3"} <= names
    assert "pass@1|level 1" not in names
    for bad in ("0", "6", "1-9", "easy", "3-1"):
        with pytest.raises(UsageError, match="level="):
            opened(f"generated+level={bad}").examples("train")
    with pytest.raises(UsageError, match="too slow to pay rewards by"):
        opened("generated+extraction=evalplus")
    with pytest.raises(UnknownName, match="the settings of coding/generated"):
        opened("generated+release=v1")


def test_a_problem_of_every_template_is_solved_by_its_reference() -> None:
    task = opened("generated")
    one_each = {e.tags["topic"]: e for e in task.examples("train")}
    assert len(one_each) == 46
    found = passes(task, list(one_each.values()))
    assert {id: v.note for id, v in found.items() if v.reason != "ok"} == {}


# -- repair


class Says:
    """A model that says these things, turn by turn."""

    name = "says"
    independent = True

    def __init__(self, *programs: str) -> None:
        self.programs, self.asked = programs, 0

    def answer(self, prompts: Sequence[Prompt]) -> Iterator[tuple[int, Completion]]:
        self.asked += len(prompts)
        for number, prompt in enumerate(prompts):
            yield number, fenced(self.programs[len(prompt.messages) // 2])

    def describe(self) -> dict[str, Any]:
        return {}


RIGHT = "def solve(x):\n    return 2 * x + 5"
WRONG = "def solve(x):\n    return 2 * x + 4"


@pytest.mark.parametrize(
    ("programs", "scores"),
    [
        ((RIGHT,), {"correct": 1, "first": 1, "turns": 1}),
        ((WRONG, RIGHT), {"correct": 1, "first": 0, "turns": 2}),
        ((WRONG, WRONG), {"correct": 0, "first": 0, "turns": 2}),
        (("", RIGHT), {"correct": 1, "first": 0, "turns": 2}),
    ],
)
def test_repair_scores_the_last_program(
    programs: tuple[str, ...], scores: dict[str, float]
) -> None:
    task = opened("generated_repair")
    example = problem(task, SCALE)
    [outcome] = play(task, [task.prompt(example)], Says(*programs))
    assert isinstance(outcome, Rollout)
    assert {name: outcome.verdict.scores[name] for name in scores} == scores
    assert len(outcome.turns) == scores["turns"]
    split = next(s for s in ("train", "dev", "test") if example in task.examples(s))
    again = rescore(task, [{**line(outcome, phase="eval", split=split)}])
    assert again.agrees, [check.first for check in again.checks]


def test_repair_tells_shown_tests_only() -> None:
    task = opened("generated_repair")
    example = problem(task, SCALE)
    table = {given[0]: result for given, result in example.inputs["shown"]}
    fitted = f"def solve(x):\n    return {table}.get(x, 0)"
    [outcome] = play(task, [task.prompt(example)], Says(fitted))
    assert isinstance(outcome, Rollout)
    assert len(outcome.turns) == 1  # what is held out is not told
    assert outcome.verdict.scores["correct"] == 0
    [outcome] = play(task, [task.prompt(example)], Says(WRONG, RIGHT))
    assert isinstance(outcome, Rollout)
    said = outcome.turns[1][0].messages[-1].content
    given, result = example.inputs["shown"][0]
    assert f"solve({given[0]!r}) should return {result}" in said


# -- the process' session


def test_missing_isolation_stops_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    refuses = Session(opener=lambda spec: Broken("missing"))
    monkeypatch.setattr("tasks._coding_scoring.SESSION", refuses)
    task = opened("generated")
    prompts = [task.prompt(problem(task, SCALE))]
    model = Says(RIGHT)
    with pytest.raises(JudgeUnavailable, match="landlock"):
        list(play(task, prompts, model))
    assert not model.asked


# -- public sets


def test_a_whole_function_stands_alone_and_a_body_continues_the_prompt() -> None:
    inputs = {"prompt": 'import math\n\n\ndef f(x):\n    """Root."""\n', "entry": "f"}
    example = Example("x", inputs, {})
    assert sets.preamble(example) == "import math\n\n\n"
    whole = "def f(x):\n    return math.sqrt(x)"
    assert sets.whole_function(example, whole) == f"import math\n\n\n\n{whole}"
    assert sets.whole_function(example, "    return 1") == inputs["prompt"] + "    return 1"
    assert sets.whole_function(example, "def fa(x): pass").startswith(inputs["prompt"])
    assert (
        sets.continued(example, "    return 1\n\ndef g():") == inputs["prompt"] + "    return 1\n"
    )


HACKS = {
    "an always-equal result": (
        "class A:\n    def __eq__(self, other): return True\n"
        "    def __lt__(self, other): return True\n"
        "def {entry}(*words): return A()"
    ),
    "a silent exit": "import os\nos._exit(0)",
    "an exit in the call": "def {entry}(*words):\n    raise SystemExit(0)",
    "a patched builtin": (
        "import builtins\nbuiltins.abs = lambda x: 0\nbuiltins.AssertionError = Exception\n"
        "def {entry}(*words): return None"
    ),
    "a look at the frames": (
        "import sys\ndef {entry}(*words):\n    f = sys._getframe()\n"
        "    while f.f_back: f = f.f_back\n"
        "    f.f_globals['check'] = lambda c: None\n    return None"
    ),
}


@pytest.mark.parametrize("hack", HACKS)
def test_no_known_hack_passes_the_assertions_of_humaneval(hack: str) -> None:
    task = opened("humaneval")
    for example in task.examples("test")[:3]:
        code = HACKS[hack].replace("{entry}", example.inputs["entry"])
        verdict = task.verify(example, fenced(code))
        assert verdict.scores["correct"] == 0, (example.id, verdict)
        assert verdict.reason in ("WA", "RE")


def test_a_failed_assertion_is_a_wrong_answer_and_an_exception_is_not() -> None:
    task = opened("mbpp")
    example = problem(task, "11")
    name = example.inputs["tests"][0].removeprefix("assert ").partition("(")[0]
    wrong = task.verify(example, fenced(f"def {name}(s, ch):\n    return 'heo'"))
    assert (wrong.reason, wrong.scores["tests"]) == ("WA", pytest.approx(1 / 3))
    raises = task.verify(example, fenced(f"def {name}(s, ch):\n    raise KeyError(s)"))
    assert (raises.reason, raises.scores["tests"]) == ("RE", 0.0)


def passes(task: Task, examples: Sequence[Example]) -> dict[str, Verdict]:
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda e: task.verify(e, Completion(task.gold(e))), examples))
    return {e.id: v for e, v in zip(examples, found, strict=True)}


@pytest.mark.parametrize(
    ("form", "count"),
    [
        ("chat", 25),
        ("completion", 10),
        pytest.param("chat", 164, marks=pytest.mark.slow),
        pytest.param("completion", 164, marks=pytest.mark.slow),
    ],
)
def test_every_reference_of_humaneval_passes(form: str, count: int) -> None:
    task = opened(f"humaneval+form={form}")
    found = passes(task, spread(task.examples("test"), count))
    assert len(found) == count
    assert {id: v.note for id, v in found.items() if v.reason != "ok"} == {}


@pytest.mark.slow
def test_every_reference_of_mbpp_passes_and_the_weak_ones_say_so() -> None:
    task = opened("mbpp")
    found = passes(task, sets.whole_mbpp())
    assert len(found) == 974
    assert {id: v.note for id, v in found.items() if v.reason != "ok"} == {}
    assert {id for id, v in found.items() if "weak isolation" in v.note} == sets.WEAK
    assert {id for id, v in found.items() if v.scores["weak"]} == sets.WEAK


def test_the_splits_of_mbpp_are_those_of_its_paper_and_only_its_test_has_weak_tests() -> None:
    task = opened("mbpp")
    ids = {split: {e.id for e in task.examples(split)} for split in ("train", "dev", "test")}
    assert {split: len(each) for split, each in ids.items()} == {
        "train": 374 - 2,
        "dev": 90 - 1,
        "test": 500,
    }
    assert {split: each & sets.WEAK for split, each in ids.items()} == {
        "train": set(),
        "dev": set(),
        "test": {"367"},
    }


ALWAYS_EQUAL = "class A:\n    def __eq__(self, other): return True\ndef {entry}(*words): return A()"


def test_what_a_weak_test_may_have_been_made_to_say_is_a_metric_beside_the_headline() -> None:
    task = opened("mbpp")
    assert [metric.name for metric in task.metrics[:2]] == ["pass@1", "weak_share"]
    share = task.metrics[1].each
    assert share is not None
    weak = next(e for e in sets.whole_mbpp() if e.id == "533")
    bribed = task.verify(weak, fenced(ALWAYS_EQUAL.replace("{entry}", "remove_datatype")))
    honest = task.verify(problem(task, "11"), fenced("def remove_Occ(s, ch): return s"))
    none = task.verify(weak, Completion("no program"))
    assert (bribed.scores["correct"], share([bribed])) == (1.0, 1.0)
    assert (share([honest]), share([none])) == (0.0, 1.0)


def test_no_row_that_training_pays_by_can_be_bribed() -> None:
    task = opened("mbpp")
    paid = [e for split in ("train", "dev") for e in task.examples(split)]
    assert all(case.test.split for e in paid for case in sets.mbpp_cases(e))  # type: ignore[union-attr]
    for example in spread(task.examples("train"), 3):
        name = sets.mbpp_cases(example)[0].test.entry  # type: ignore[union-attr]
        verdict = task.verify(example, fenced(ALWAYS_EQUAL.replace("{entry}", name)))
        assert (verdict.scores["correct"], verdict.scores["weak"]) == (0.0, 0.0), example.id


def test_unsandboxed_numbers_are_marked_and_stand_on_no_board(tmp_path: Path) -> None:
    from leaderboards.board import admissible
    from results.record import load
    from tests.command_line import command

    words = ("eval", "coding/generated+level=1", "--model", "gold", "--limit", "3")
    refused = command(*words, "--sandbox", "unsafe-process", "-o", str(tmp_path))
    assert refused.code == 8
    assert "--i-accept-unsandboxed-code" in refused.err
    accepted = ("--sandbox", "unsafe-process", "--i-accept-unsandboxed-code")
    try:
        done = command(*words, *accepted, "-o", str(tmp_path))
    finally:
        SESSION.choose("local")
    assert done.code == 0, done.err
    records = load(tmp_path / "records")
    assert records
    assert all(record.settings["sandbox"] == "unsafe-process" for record in records)
    assert not any(map(admissible, records))
    assert command("train", *words[1:], *accepted, "-o", str(tmp_path)).code == 2
