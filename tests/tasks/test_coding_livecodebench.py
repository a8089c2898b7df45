"""LiveCodeBench's rows, releases, windows, private tests and scenarios."""

from __future__ import annotations

import base64
import json
import os
import pickle
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from harness import Completion, registry
from harness.data import FOLDER
from harness.errors import DataError, UnknownName, UsageError
from harness.metrics import pass_at_k
from harness.play import play
from harness.types import Fault, Rollout, Task, Verdict
from tasks import _coding_livecodebench as lcb
from tasks._coding_literals import executed, json_literal, literal, predicted
from tasks._coding_private import test_cases as unpacked
from tests.harness.runs import Parrot

ROWS = [{"input": "1\n", "output": "2\n", "testtype": "stdin"}]


def packed(content: Any, protocol: int = 4) -> str:
    return base64.b64encode(zlib.compress(pickle.dumps(content, protocol))).decode()


# -- private tests


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_private_tests_are_read_from_every_protocol_of_pickle(protocol: int) -> None:
    text = json.dumps(
        [{"input": "ü\u2028\n", "output": "x", "testtype": "stdin"}], ensure_ascii=False
    )
    assert unpacked(packed(text, protocol), "row")[0]["input"] == "ü\u2028\n"


def test_private_tests_may_be_plain_json() -> None:
    assert list(unpacked(json.dumps(ROWS), "row")) == ROWS
    assert unpacked("[]", "row") == ()


class Calls:
    def __reduce__(self) -> tuple[Any, ...]:
        return (os.system, ("false",))


@pytest.mark.parametrize(
    "content",
    [Calls(), os.system, {"a": 1}, ["x", "y"], b"bytes", 3, Path("x"), ("[]", Calls())],
    ids=["call", "name", "dict", "list", "bytes", "int", "object", "string and call"],
)
@pytest.mark.parametrize("protocol", [0, 2, 5])
def test_a_pickle_of_anything_but_a_string_is_refused_and_never_loaded(
    content: Any, protocol: int
) -> None:
    with pytest.raises(DataError, match="row"):
        unpacked(packed(content, protocol), "row")


@pytest.mark.parametrize(
    "stored",
    [
        "!!!",
        base64.b64encode(b"no zlib").decode(),
        packed("[1, 2]"),
        packed("{}"),
        packed("[" * 100_000),
        packed("not json"),
        packed(json.dumps(ROWS))[:-8],
        base64.b64encode(zlib.compress(b"\x80")).decode(),
        base64.b64encode(zlib.compress(b"")).decode(),
    ],
)
def test_damaged_private_tests_are_an_error_that_names_the_row(stored: str) -> None:
    with pytest.raises(DataError, match="abc123_a"):
        unpacked(stored, "abc123_a")


# -- releases, windows, errata


def row(number: int, **cells: Any) -> dict[str, Any]:
    return {
        "question_id": f"q{number}",
        "question_title": f"title-{number}",
        "question_content": f"Print n + {number}.",
        "platform": "atcoder",
        "contest_id": "c",
        "contest_date": f"2024-0{number % 9 + 1}-01T00:00:00",
        "starter_code": "",
        "difficulty": ("easy", "medium", "hard")[number % 3],
        "public_test_cases": json.dumps([{"input": "1\n", "output": f"{1 + number}\n"}]),
        "private_test_cases": packed(json.dumps([{"input": "5\n", "output": f"{5 + number}\n"}])),
        "metadata": "{}",
        **cells,
    }


Library = Callable[[int], None]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Made-up contests: six files of nine problems; contest dates are made up too."""
    monkeypatch.setenv(FOLDER, str(tmp_path))
    place = tmp_path / "code" / "livecodebench"
    place.mkdir(parents=True)
    for part in range(1, 7):
        rows = [row(n, question_id=f"p{part}q{n}") for n in range(9)]
        if part == 1:
            rows[4]["question_id"] = "abc311_c"
            rows[6]["question_title"] = "find-the-peaks"
        name = "test.jsonl" if part == 1 else f"test{part}.jsonl"
        (place / name).write_text("\n".join(map(json.dumps, rows)), "utf-8")
    return tmp_path


def opened(settings: str = "") -> Task:
    return registry.task(f"coding/livecodebench{settings}")


@pytest.mark.parametrize(
    ("release", "parts"),
    [
        ("release_v1", [1]),
        ("release_v3", [1, 2, 3]),
        ("release_latest", [1, 2, 3, 4, 5, 6]),
        ("v3", [3]),
        ("v4_v5", [4, 5]),
        ("v2_v2", [2]),
    ],
)
def test_a_release_is_the_files_up_to_it_and_a_difference_those_between(
    folder: Path, release: str, parts: list[int]
) -> None:
    found = opened(f"+release={release}").examples("test")
    assert len(found) == 9 * len(parts)
    known = {int(e.id[1]) for e in found if e.id.startswith("p")}
    assert known == set(parts)


@pytest.mark.parametrize("release", ["v0", "v7", "release_v9", "v5_v4", "newest", "v1_v9"])
def test_an_unknown_release_is_an_error_that_names_the_known_ones(release: str) -> None:
    with pytest.raises(UnknownName, match="the releases"):
        opened(f"+release={release}")


def test_a_window_holds_both_of_its_ends(folder: Path) -> None:
    found = opened("+release=v2+start=2024-03-01+end=2024-05-01").examples("test")
    assert sorted(e.tags["date"] for e in found) == ["2024-03-01", "2024-04-01", "2024-05-01"]


def test_a_row_without_a_date_is_in_no_window(folder: Path) -> None:
    path = folder / "code" / "livecodebench" / "test2.jsonl"
    path.write_text(json.dumps(row(1, contest_date=None)), "utf-8")
    assert len(opened("+release=v2").examples("test")) == 1
    assert not opened("+release=v2+start=2000-01-01").examples("test")


def test_a_date_that_is_none_is_an_error() -> None:
    with pytest.raises(UsageError, match="2024-08-01"):
        opened("+start=August").examples("test")


def test_a_window_that_ends_before_it_begins_is_an_error() -> None:
    with pytest.raises(UsageError, match="start=2024-05-01 lies after end=2024-03-01"):
        opened("+start=2024-05-01+end=2024-03-01")
    assert opened("+start=2024-05-01+end=2024-05-01").name


def test_a_comparator_that_the_judge_would_not_use_is_an_error() -> None:
    for judge, rule in (("faithful", "strict"), ("livecodebench-28fef95", "livecodebench")):
        assert opened(f"+judge={judge}+comparator={rule}").settings["comparator"] == rule
    with pytest.raises(UsageError, match="comparator=strict would not be used"):
        opened("+judge=livecodebench-28fef95+comparator=strict")


def test_difficulties_are_told_apart_and_can_be_chosen(folder: Path) -> None:
    assert len(opened("+release=v2+difficulty=hard").examples("test")) == 3
    with pytest.raises(UnknownName, match="medium"):
        opened("+difficulty=brutal")


def verdicts(task: Task, right: Callable[[str], bool]) -> list[list[Verdict]]:
    """What the verdicts would be, were these questions solved."""
    names = {"level", "unfair", "recent", "seen", "held_out", "tests", "compiles", "correct"}
    found = []
    for example in task.examples("test"):
        level = {"easy": 1.0, "medium": 2.0, "hard": 3.0}[example.tags["difficulty"]]
        unfair, solved = float(example.tags["unfair"]), float(right(example.id))
        recent = float(example.tags["date"] >= "2024-06-01")
        scores = {
            **dict.fromkeys(names, solved),
            "level": level,
            "unfair": unfair,
            "recent": recent,
        }
        found.append([Verdict(scores)])
    return found


def value(task: Task, name: str, rows: list[list[Verdict]]) -> float:
    metric = next(metric for metric in task.metrics if metric.name == name)
    assert metric.each is not None
    values = [x for x in map(metric.each, rows) if x == x]
    return sum(values) / len(values)


def test_questions_known_as_unfair_do_not_count_and_the_total_stands_beside(folder: Path) -> None:
    task = opened("+release=v1")
    assert sum(e.tags["unfair"] for e in task.examples("test")) == 2
    rows = verdicts(task, lambda id: id == "abc311_c")
    assert value(task, "pass@1", rows) == 0
    assert value(task, "pass@1|all", rows) == pytest.approx(1 / 9)
    everything = opened("+release=v1+exclude=none")
    assert value(everything, "pass@1", rows) == pytest.approx(1 / 9)
    assert "pass@1|all" not in {metric.name for metric in everything.metrics}


def test_pass_at_1_is_told_for_each_difficulty_and_from_a_cutoff_on(folder: Path) -> None:
    task = opened("+release=v2+cutoff=2024-06-01")
    rows = verdicts(task, lambda id: id in ("p2q0", "p2q5"))  # easy in January, hard in June
    assert value(task, "pass@1|easy", rows) == pytest.approx(1 / 3)
    assert value(task, "pass@1|medium", rows) == 0
    assert value(task, "pass@1|from 2024-06-01", rows) == pytest.approx(1 / 4)
    assert pass_at_k(10, 1, 5) == 0.5


# -- settings


def test_settings_have_one_name_however_they_are_typed() -> None:
    one = opened("+difficulty=hard+release=v5")
    other = opened("+release=v5+difficulty=hard+exclude=errata")
    assert one.name == other.name == "coding/livecodebench+release=v5+difficulty=hard"
    assert registry.task(one.name).name == one.name
    assert opened("+judge=faithful").name == "coding/livecodebench"


def test_a_tasks_settings_say_all_that_moves_its_numbers() -> None:
    told = opened("+start=2024-01-01").settings
    keys = {"release", "start", "end", "judge", "comparator", "exclude", "extraction", "difficulty"}
    assert keys <= set(told)
    assert (told["start"], told["judge"], told["exclude"]) == ("2024-01-01", "faithful", "errata")


@pytest.mark.parametrize(
    ("settings", "error"),
    [
        ("+color=red", UnknownName),
        ("+judge=kind", UnknownName),
        ("+extraction=best", UnknownName),
        ("+exclude=some", UnknownName),
        ("+release", UsageError),
        ("+=x", UsageError),
        ("+release=v1+release=v2", UsageError),
        ("+comparator=nearly", UsageError),
    ],
)
def test_a_setting_that_makes_no_sense_is_an_error(settings: str, error: type[Exception]) -> None:
    with pytest.raises(error):
        opened(settings)


# -- from the hub's layout


def test_the_hubs_files_are_read_one_by_one(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hub = folder / "code" / "livecodebench"
    monkeypatch.delenv(FOLDER)
    from dataclasses import replace

    source = replace(lcb.SOURCES[1], hub=str(hub))
    from harness.data import load

    table = load(source)
    assert [cells["question_id"] for cells in table.rows][:2] == ["p2q0", "p2q1"]


# -- scenarios answered with a literal


@pytest.mark.parametrize(
    ("reply", "answer"),
    [
        ("assert f(1, 2) == [3]", "[3]"),
        ("So:\n```python\nassert f('a == b') == 'c'\n```", "'c'"),
        ("assert f(1) == 2\nassert f(2) == 3", "3"),
        ("The answer is\n[1, 2]", "[1, 2]"),
        ("```python\n42\n```", "42"),
        ("", None),
        ("```", None),
    ],
)
def test_a_predicted_output_is_what_the_last_assertion_is_equal_to(
    reply: str, answer: str | None
) -> None:
    assert predicted(reply) == answer


@pytest.mark.parametrize(
    ("reply", "answer"),
    [
        ("[ANSWER]assert f(3) == 'x == y'[/ANSWER]", "'x == y'"),
        ("[ANSWER] 7 [/ANSWER]", "7"),
        ("[ANSWER]1[/ANSWER] no: [ANSWER]f(x=2) == (1, 2)[/ANSWER]", "(1, 2)"),
        ("assert f(3) == {1: 2}", "{1: 2}"),
    ],
)
def test_an_executed_output_stands_in_the_last_answer_tags(reply: str, answer: str) -> None:
    assert executed(reply) == answer


@pytest.mark.parametrize(
    "text",
    [
        "f(1)",
        "__import__('os').system('x')",
        "(" * 5_000,
        "9" * 5_000,
        "1" * 30_000,
        "[1, 2",
        "x",
        "1 +",
        "\x00",
        "(lambda: 1)()",
        "[i for i in (1,)]",
    ],
    ids=lambda text: text[:12],
)
def test_what_is_no_literal_is_never_run(text: str) -> None:
    assert literal(text) is None


def test_output_prediction_reads_rows_and_judges_literals(folder: Path) -> None:
    tests = json.dumps([{"input": "[1, 2]\n3", "output": "[4, 5]", "testtype": "functional"}])
    cells = {**row(1), "test_id": 2, "test": tests, "function_name": "f", "starter_code": "def f"}
    path = folder / "code" / "livecodebench_outputs.jsonl"
    path.write_text(json.dumps({**cells, "key": "q1/2"}), "utf-8")
    task = registry.task("coding/livecodebench_output")
    [example] = task.examples("test")
    assert "assert f([1, 2], 3) == ??" in task.prompt(example).messages[0].content
    judged = {
        "assert f([1, 2], 3) == [4, 5]": "ok",
        "(4, 5)": "ok",
        "[4, 6]": "wrong",
        "f(1)": "bad_format",
        "": "no_answer",
    }
    for reply, reason in judged.items():
        assert task.verify(example, Completion(reply)).reason == reason, reply
    assert task.verify(example, Completion(task.gold(example))).reason == "ok"


def test_code_execution_reads_rows_and_judges_literals(folder: Path) -> None:
    cells = {"code": "def f(a):\n    return a + 1", "input": "f(a=1)", "output": "2", "id": "s1"}
    path = folder / "code" / "livecodebench_execution.jsonl"
    path.write_text(json.dumps(cells | {"difficulty": "easy", "contest_date": None}), "utf-8")
    task = registry.task("coding/livecodebench_execution")
    [example] = task.examples("test")
    assert "assert f(a=1) == ??" in task.prompt(example).messages[0].content
    assert task.verify(example, Completion(task.gold(example))).reason == "ok"
    assert task.verify(example, Completion("[ANSWER]3[/ANSWER]")).reason == "wrong"
    assert json_literal("2") == literal("2")


# -- in the sandbox


def solution(number: int) -> str:
    return f"```python\nprint(int(input()) + {number})\n```"


def test_public_tests_are_seen_and_private_ones_held_out(folder: Path) -> None:
    task = opened("+release=v2")
    example = task.examples("test")[3]
    assert task.verify(example, Completion(solution(3))).reason == "ok"
    fitted = "```python\nn = int(input())\nprint(4 if n == 1 else 0)\n```"
    verdict = task.verify(example, Completion(fitted))
    assert (verdict.reason, verdict.scores["seen"], verdict.scores["held_out"]) == ("WA", 1.0, 0.0)
    assert value(task, "seen_gap", [[verdict]]) == 1.0
    assert "case 2 of 2: WA: line 1: expected '8', got '0'" in verdict.note


def test_the_gold_of_a_question_without_a_reference_is_a_table_of_its_tests(folder: Path) -> None:
    task = opened("+release=v2")
    for example in task.examples("test")[:3]:
        assert task.verify(example, Completion(task.gold(example))).reason == "ok"


def test_a_wrong_program_is_told_its_first_failing_test_once(folder: Path) -> None:
    task = registry.task("coding/livecodebench_repair+release=v2")
    example = task.examples("test")[3]

    class Learner(Parrot):
        def answer(self, prompts: Any) -> Any:
            for number, prompt in enumerate(prompts):
                turns = len(prompt.messages)
                yield number, Completion(solution(3 if turns > 2 else 2), steps=1)

    [outcome] = play(task, [task.prompt(example)], Learner([]))
    assert isinstance(outcome, Rollout)
    said = outcome.turns[1][0].messages[-1].content
    assert "Expected output:\n4" in said
    assert "got '3'" in said
    scores = outcome.verdict.scores
    assert (scores["correct"], scores["first"], scores["turns"]) == (1.0, 0.0, 2.0)


@pytest.mark.slow
def test_every_reference_of_the_sample_passes_and_every_failing_solution_is_refused() -> None:
    if not (Path(os.environ.get(FOLDER, "")) / lcb.SAMPLE.file).is_file():
        pytest.skip(f"{FOLDER} holds no {lcb.SAMPLE.file}")
    task = registry.task("coding/livecodebench_sample")
    rows = (Path(os.environ[FOLDER]) / lcb.SAMPLE.file).read_text("utf-8").splitlines()
    failing = {cells["question_id"]: cells["failing_solution"] for cells in map(json.loads, rows)}
    examples = task.examples("test")
    assert len(examples) == 11
    for example in examples:
        verdict = task.verify(example, Completion(task.gold(example)))
        assert verdict.reason == "ok", (example.id, verdict.note)
        assert verdict.scores["tests"] == 1.0
        refused = task.verify(example, Completion(f"```python\n{failing[example.id]}\n```"))
        assert refused.reason in ("WA", "TLE", "RE"), example.id
        assert refused.scores["correct"] == 0.0


def test_a_fault_of_the_sandbox_leaves_the_attempt_out(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from sandbox.session import Session
    from tests.sandbox.test_judge import Broken

    broken = Session(opener=lambda spec: Broken("SE"))
    monkeypatch.setattr("tasks._coding_scoring.SESSION", broken)
    task = opened("+release=v2")
    [outcome] = play(task, [task.prompt(task.examples("test")[0])], _Says())
    assert isinstance(outcome, Fault)
    assert "failed twice" in outcome.note


class _Says(Parrot):
    def __init__(self) -> None:
        super().__init__([])

    def answer(self, prompts: Any) -> Any:
        for number, _ in enumerate(prompts):
            yield number, Completion(solution(0), steps=1)
