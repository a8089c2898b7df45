from __future__ import annotations

import os
import re

import pytest

from harness import Completion, Example, Task, Verdict, registry
from harness.data import FOLDER
from harness.digests import digest
from harness.errors import DataError, SplitError
from harness.hygiene import check_trainable
from harness.types import SPLITS
from tasks import _arith, _math_sets
from tasks._shots import SHOTS
from tasks.mathqa import TASKS

needs_data = pytest.mark.skipif(
    not os.environ.get(FOLDER), reason=f"{FOLDER} names no folder with the public sets"
)
GENERATED = [task.name for task in TASKS if task.source == "generated"]
SCORED_ONLY = ("math500", "aime24", "aime25", "amc23", "svamp", "olympiad")


def member(name: str) -> Task:
    return registry.task(f"mathqa/{name}")


def judged(name: str, target: str, output: object, *, cut: bool = False) -> Verdict:
    example = Example("q", {"question": "?"}, target)
    return member(name).verify(example, Completion(output, stopped="budget" if cut else "done"))


# -- the generated levels


def test_the_levels_ask_what_their_names_say() -> None:
    shapes: dict[_arith.Level, str] = {
        "sums": r"What is [1-9]\d \+ [1-9]\d\?",
        1: r"What is \d{1,2} \+ \d{1,2}\?",
        2: r"What is \d{1,2} \+ \d{1,2} - \d{1,2}\?",
        3: r"What is .*\(.*[+*].*\).*\?",
        5: r"Solve \d+x( [+-] \d+)? = -?\d+ for x\.",
    }
    for level, shape in shapes.items():
        for split in SPLITS:
            for example in _arith.examples(level, split):
                assert re.fullmatch(shape, example.inputs["question"])


@pytest.mark.parametrize("level", ["sums", 1, 2, 3])
def test_answers_of_expressions_are_right(level: _arith.Level) -> None:
    for example in _arith.examples(level, "test"):
        [text] = re.findall(r"What is (.*)\?", example.inputs["question"])
        assert str(eval(text)) == example.target


def test_answers_of_equations_are_right() -> None:
    for example in _arith.examples(5, "test"):
        found = re.match(r"Solve (\d+)x(?: ([+-]) (\d+))? = (-?\d+)", example.inputs["question"])
        assert found is not None
        a, sign, b, c = found.groups()
        shift = int(f"{sign}{b}") if sign else 0
        assert int(a) * int(example.target) + shift == int(c)


def test_word_problems_are_right() -> None:
    a, b, c, d = 60, 20, 5, 3
    expected = [75] * 5 + [160] * 5 + [97] * 4 + [52] * 3 + [85] * 3
    assert len(_arith.TEMPLATES) == 20
    assert [count(a, b, c, d) for _, count in _arith.TEMPLATES] == expected
    for example in _arith.examples(4, "test"):
        assert int(example.target) > 0


@pytest.mark.parametrize("level", _arith.LEVELS)
def test_no_expression_is_in_two_splits(level: _arith.Level) -> None:
    found = [{e.tags["expression"] for e in _arith.examples(level, split)} for split in SPLITS]
    assert sum(map(len, found)) == len(set().union(*found))
    assert min(map(len, found)) >= 200


@pytest.mark.parametrize("level", ["sums", 1])
def test_a_sum_and_its_mirror_image_are_in_one_split(level: _arith.Level) -> None:
    pairs = [
        {frozenset(re.findall(r"\d+", e.inputs["question"])) for e in _arith.examples(level, s)}
        for s in SPLITS
    ]
    assert not pairs[0] & pairs[1] | pairs[0] & pairs[2] | pairs[1] & pairs[2]


def test_word_problems_share_no_name_thing_or_number_between_splits() -> None:
    for words in (_arith.WORDS, _arith.THINGS, _arith.REMAINDERS):
        assert len(set().union(*words.values())) == sum(map(len, words.values()))
    numbers = [set().union(*map(_arith.operands, _arith.examples(4, s))) for s in SPLITS]
    assert not numbers[0] & numbers[1] | numbers[0] & numbers[2] | numbers[1] & numbers[2]


def test_the_share_of_unseen_operands_is_told() -> None:
    assert _arith.unseen_operands(4) == 1.0
    assert _arith.unseen_operands("sums") == 0.0
    assert 0 <= _arith.unseen_operands(5) < 0.05


@pytest.mark.parametrize("name", GENERATED)
def test_prompts_do_not_hold_the_answer_outside_of_the_question(name: str) -> None:
    task = registry.task(name)
    for split in SPLITS:
        for example in task.examples(split)[:100]:
            [message] = task.prompt(example).messages
            rest = message.content.replace(example.inputs["question"], "")
            assert not re.search(rf"(?<!\d){re.escape(example.target)}(?!\d)", rest)


def test_the_examples_are_those_that_records_were_measured_on() -> None:
    """Another digest is another test set: raise TEXTS in tasks/mathqa.py with it."""
    found = {
        level: digest([[e.id, e.inputs, e.target] for e in _arith.examples(level, "test")])
        for level in _arith.LEVELS
    }
    assert found == {
        "sums": "b815dc6f3991dac5",
        1: "972533560c63264c",
        2: "c37b23f398d926f2",
        3: "384014b7c07e4a73",
        4: "8a4512c372e58334",
        5: "98b2d32799f52009",
    }


# -- reading


@pytest.mark.parametrize(
    "reply", ["91", " 91.\n", "34 + 57 = 91", "= 91", "<think>34 + 57</think>\n91", "34+57=91."]
)
def test_sums_take_the_bare_number(reply: str) -> None:
    verdict = judged("sums", "91", reply)
    assert verdict.scores == {"correct": 1.0, "lenient": 1.0, "earned": 1.0}
    assert verdict.reason == "ok"


@pytest.mark.parametrize(
    "reply", ["The answer is 91", "91 apples", "\\boxed{91}", "So: 34 + 57 = 91"]
)
def test_sums_read_more_than_the_number_leniently_only(reply: str) -> None:
    verdict = judged("sums", "91", reply)
    assert verdict.scores == {"correct": 0.0, "lenient": 1.0, "earned": 0.0}
    assert verdict.reason == "bad_format"


@pytest.mark.parametrize("reply", ["92", "9 1", "34 + 57", "91 92", "34 + 57 = 81", "-91"])
def test_sums_refuse_another_number(reply: str) -> None:
    verdict = judged("sums", "91", reply)
    assert verdict.scores["correct"] == verdict.scores["earned"] == 0.0
    assert verdict.reason != "ok"


@pytest.mark.parametrize("reply", ["", None, b"91", 91, float("nan"), "<think>91", "9" * 200_000])
def test_sums_judge_anything(reply: object) -> None:
    verdict = judged("sums", "91", reply)
    assert set(verdict.scores.values()) == {0.0}
    assert verdict.reason in {"no_answer", "bad_format", "wrong"}


@pytest.mark.parametrize("name", ["sums", "arith1", "math500"])
def test_a_cut_reply_without_an_answer_is_truncated(name: str) -> None:
    assert judged(name, "91", "Let us see, first", cut=True).reason == "truncated"
    assert judged(name, "91", "Let us see, first").reason == "no_answer"


def test_the_last_number_counts_leniently_where_answers_are_numbers() -> None:
    for task in TASKS:
        name = task.name.partition("/")[2]
        loose = name == "svamp" or name.startswith(("gsm8k", "arith", "sums"))
        verdict = judged(name, "91", "Well, 34 and 57 make 91 together")
        assert verdict.scores["lenient"] == float(loose), name
        assert verdict.scores["correct"] == 0.0


def test_training_pays_the_strict_reading() -> None:
    paid = {task.name: task.reward for task in TASKS}
    assert paid.pop("mathqa/sums") == {"lenient": 0.5, "earned": 0.5}
    assert set(map(str, paid.values())) == {"{'earned': 1.0}"}
    assert judged("gsm8k", "91", "#### 91").scores["earned"] == 1.0
    assert judged("gsm8k", "91", "The answer is 91").scores == {
        "correct": 0.0,
        "lenient": 1.0,
        "earned": 0.0,
    }


def test_few_rollouts_leave_the_metrics_that_need_more_aside() -> None:
    names = {metric.name: metric.needs for metric in member("sums").metrics}
    assert member("sums").metrics[0].name == "pass@1"
    assert [name for name, needs in names.items() if needs <= 1] == [
        "pass@1",
        "lenient",
        "earned",
        "truncated_share",
        "no_answer_share",
    ]
    assert names["pass@8"] == names["maj@8"] == 8


# -- golds


@pytest.mark.parametrize(
    ("gold", "tidy"),
    [
        ("025", "25"),
        ("000", "0"),
        ("27.0", "27"),
        ("-51.0", "-51"),
        ("1,234", "1234"),
        ("12,345,678", "12345678"),
        ("$\\frac{1}{2}$", "\\frac{1}{2}"),
        ("$a$,$b$", "$a$,$b$"),
        ("3,4", "3,4"),
        ("0.5", "0.5"),
        ("10%", "10%"),
    ],
)
def test_golds_are_tidied(gold: str, tidy: str) -> None:
    assert _math_sets._tidy(gold) == tidy


def test_answers_that_svamp_rounds_are_computed() -> None:
    cells = {"id": "c", "question": "?", "answer": "2.20906e+07"}
    equation = "( ( 1357.0 * 223.0 ) * 73.0 )"
    assert _math_sets._example({**cells, "equation": equation}, "").target == "22090603"
    with pytest.raises(DataError, match="which is no arithmetic"):
        _math_sets._example({**cells, "equation": "__import__('os')"}, "")


def test_an_answer_of_5000_digits_is_refused_with_its_row() -> None:
    with pytest.raises(DataError, match="the answer of c has 5000 characters"):
        _math_sets._example({"id": "c", "question": "?", "answer": "7" * 5000}, "folder:x")


def test_a_tolerance_is_kept_and_used() -> None:
    cells = {"id": 1, "question": "?", "answer": ["4.2"], "error": "1e-1"}
    example = _math_sets._example(cells, "")
    assert example.tags["tolerance"] == 0.1
    task = member("olympiad")
    assert task.verify(example, Completion("\\boxed{4.25}")).scores["correct"] == 1.0
    assert task.verify(example, Completion("\\boxed{4.5}")).scores["correct"] == 0.0


# -- rows of the hub


def test_rows_of_the_hub_become_those_of_the_files() -> None:
    gsm8k = {"question": "How many?", "answer": "2 * 617 = <<2*617=1234>>1234\n#### 1,234"}
    assert _math_sets._gsm8k(gsm8k)["answer"] == "1234"
    svamp = {
        "ID": "chal-1",
        "Body": "Each pack costs 76 dollars",
        "Question": "How much?",
        "Answer": "51.0",
        "Equation": "( 76.0 - 25.0 )",
        "Type": "Subtraction",
    }
    assert _math_sets._svamp(svamp)["question"] == "Each pack costs 76 dollars. How much?"
    olympiad = {
        "id": 1606,
        "question": "?",
        "final_answer": ["2"],
        "answer_type": "Numerical",
        "error": None,
        "subfield": "Algebra",
    }
    assert _math_sets._olympiad(olympiad)["answer"] == ["2"]
    shaped = _math_sets.AIME24.shape({"problem": "?", "answer": "025", "id": 3})
    assert shaped == {"question": "?", "answer": "025"}


# -- public sets


SIZES = {
    "gsm8k": (7090, 383, 1319),
    "gsm8k_8shot": (7090, 383, 1319),
    "math500": (0, 0, 500),
    "math_train": (1406, 92, 0),
    "aime24": (0, 0, 30),
    "aime25": (0, 0, 30),
    "amc23": (0, 0, 40),
    "svamp": (0, 0, 1000),
    "olympiad": (0, 0, 675),
}


@needs_data
@pytest.mark.parametrize("name", SIZES)
def test_public_sets_have_their_sizes(name: str) -> None:
    assert tuple(len(member(name).examples(split)) for split in SPLITS) == SIZES[name]


@needs_data
@pytest.mark.parametrize("name", SIZES)
def test_every_public_gold_gets_full_marks(name: str) -> None:
    task = member(name)
    split = "test" if task.examples("test") else "dev"
    wrong = [
        example.id
        for example in task.examples(split)
        if set(task.verify(example, Completion(task.gold(example))).scores.values()) != {1.0}
    ]
    assert wrong == []


@needs_data
def test_rounded_golds_of_svamp_are_whole_numbers() -> None:
    golds = [example.target for example in member("svamp").examples("test")]
    assert not [gold for gold in golds if "e" in gold]
    assert {"22090603", "1538832", "1054997"} <= set(golds)


@needs_data
@pytest.mark.parametrize("name", SCORED_ONLY)
def test_scored_sets_are_not_trained_on(name: str) -> None:
    with pytest.raises(SplitError, match=f"mathqa/{name} is scored only.*mathqa/gsm8k"):
        check_trainable(member(name))


@needs_data
@pytest.mark.parametrize("name", ["gsm8k", "math_train", "arith4"])
def test_training_sets_are_trained_on(name: str) -> None:
    check_trainable(member(name))


@needs_data
def test_worked_examples_are_in_no_split() -> None:
    asked = {e.inputs["question"] for split in SPLITS for e in member("gsm8k").examples(split)}
    assert not asked & {question for question, _ in SHOTS}


def test_worked_examples_are_worked_right() -> None:
    assert len(SHOTS) == 8
    for question, answer in SHOTS:
        verdict = judged("gsm8k_8shot", answer.rpartition("#### ")[2], answer)
        assert verdict.scores["correct"] == 1.0, question
        for left, right in re.findall(r"([\d*/+ -]+) = (\d+)", answer):
            if re.search(r"\d\s*[-+*/]", left):
                assert eval(left) == int(right)
