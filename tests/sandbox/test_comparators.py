from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any

import pytest

from sandbox.comparators import comparator, register
from sandbox.comparators.lenient import STAGES
from sandbox.comparators.match import RIGHT
from sandbox.comparators.values import Unreadable, read_value
from sandbox.errors import BadProgram

DATA = Path(os.environ.get("HARNESS_DATA", "")) / "code"
OPTIONS = {
    "case_sensitive": "case",
    "space_change_sensitive": "space",
    "float_tolerance": "relative={0}:absolute={0}",
    "float_relative_tolerance": "relative={0}",
    "float_absolute_tolerance": "absolute={0}",
}


def accepts(name: str, expected: str, output: str) -> bool:
    return comparator(name).of_text("", expected, output).right


def test_tokens_agrees_with_the_validator_of_the_kattis_format() -> None:
    path = DATA / "token_validator_cases.json"
    if not path.is_file():
        pytest.skip("HARNESS_DATA holds no code/token_validator_cases.json")
    cases = json.loads(path.read_text("utf-8"))
    assert len(cases) == 24
    wrong = []
    for case in cases:
        words, options = list(case["args"]), list[str]()
        while words:
            option = OPTIONS[words.pop(0)]
            options.append(option.format(words.pop(0)) if "{0}" in option else option)
        name = ":".join(["tokens", *options])
        if accepts(name, case["judge_answer"], case["user_output"]) != (case["expected"] == "AC"):
            wrong.append(case["name"])
    assert not wrong


@pytest.mark.parametrize(
    ("name", "expected", "output", "right"),
    [
        ("strict", "a b\n", "a b  \n\n\n", True),
        ("strict", "a b\n", "a  b\n", False),
        ("strict", "a\nb", "a\n\nb", False),
        ("strict", "", "", True),
        ("livecodebench", "6\n", " 6.0 \n", True),
        ("livecodebench", "6", "06", True),
        ("livecodebench", "inf", "Infinity", True),
        ("livecodebench", "nan", "NaN", False),
        ("livecodebench", "1000", "1_000", True),
        ("livecodebench", "0.3", "0.30000000000000004", False),
        ("livecodebench", "1 2", "1  2", True),
        ("livecodebench", "a b", "a  b", False),
        ("livecodebench", "1\n2", "1\n\n2", False),
        ("tokens", "Yes", "yes", True),
        ("tokens:case", "Yes", "yes", False),
        ("tokens", "1000", "1_000", False),
        ("tokens", "k", "\u212a", False),
        ("tokens", "3", "\u0663", False),
        ("tokens:relative=1e-6", "3", "\u0663", False),
        ("tokens:relative=1e-6", "1000000", "1000000.5", True),
        ("tokens:relative=1e-6", "0", "1e-9", False),
        ("tokens:absolute=1e-6", "0", "1e-9", True),
        ("tokens:absolute=1", "inf", "1e999", False),
        ("sandboxfusion", "YES", "yes", True),
        ("sandboxfusion", "100000", "100000.9", True),
        ("sandboxfusion", "100000", "100002", False),
        ("sandboxfusion", "0", "0.0001", False),
    ],
)
def test_each_rule_of_text(name: str, expected: str, output: str, right: bool) -> None:
    assert accepts(name, expected, output) is right


@pytest.mark.parametrize(
    ("output", "stage"),
    [
        ("1 2 3\n", "exact"),
        (" 1 2 3 ", "trimmed"),
        ("1.0 2 3", "decimal"),
        ("1 2.0004 3", "allclose"),
        ("1\n2\n3", "spaces"),
        ("3 2 1", "set"),
    ],
)
def test_lenient_says_which_stage_accepted(output: str, stage: str) -> None:
    match = comparator("lenient").of_text("", "1 2 3\n", output)
    assert (match.right, match.stage) == (True, stage)


@pytest.mark.parametrize(
    ("expected", "output", "stage"),
    [("[1, 2]", "(1, 2)", "types"), ("a  b", "a b", "spaces"), ("{1, 2}", "{2, 1}", "types")],
)
def test_lenient_reads_literals_and_spaces(expected: str, output: str, stage: str) -> None:
    assert comparator("lenient").of_text("", expected, output).stage == stage
    assert stage in STAGES


def test_lenient_refuses_what_no_stage_accepts() -> None:
    assert not comparator("lenient").of_text("", "1 2 3", "1 2").right


HOSTILE = [
    "9" * 900_000,
    "-" + "9" * 900_000,
    "1e999999999",
    "1e999999999999999999999",
    "sNaN",
    "nan inf -inf",
    "\ufeff1",
    "\x00",
    "1\n" * 200_000,
    "[" * 100_000,
    "\u0661",
    "\x1b[31m1",
    "1" + "_1" * 100_000,
    "0" * 500_000 + "2",
]


@pytest.mark.parametrize("name", ["strict", "livecodebench", "tokens:relative=1e-6", "lenient"])
def test_no_output_stalls_a_comparator_or_makes_it_raise(name: str) -> None:
    rule = comparator(name)
    begin = time.process_time()
    for output in HOSTILE:
        right = rule.of_text("", "2", output).right
        assert right is (output[:1] == "0" and name in ("livecodebench", "lenient"))
        rule.of_text("", output, output)
    assert time.process_time() - begin < 30  # quadratic reading would take minutes


def test_a_very_long_number_is_still_equal_to_itself() -> None:
    digits = "7" * 300_000
    assert accepts("livecodebench", digits, digits)
    assert not accepts("livecodebench", digits, digits[:-1] + "8")


@pytest.mark.parametrize(
    ("name", "expected", "output", "right"),
    [
        ("livecodebench", 2, 2.0, True),
        ("livecodebench", 1, True, True),
        ("strict", 1, True, False),
        ("strict", [1, [2]], [1, [2.0]], False),
        ("strict", {"a": 1}, {"a": 1}, True),
        ("livecodebench", float("nan"), float("nan"), False),
        ("tokens:relative=1e-6", [0.3], [0.1 + 0.2], True),
        ("tokens:relative=1e-6", {"a": [1.0]}, {"a": [1.1]}, False),
        ("tokens", 0.3, 0.1 + 0.2, False),
        ("evalplus", 0.3, 0.1 + 0.2, True),
        ("evalplus", [0.3, 1.0], [0.1 + 0.2, 1.0], True),
        ("evalplus", [0.3, 1], [0.1 + 0.2, 1], False),
        ("evalplus", 2.0, 2, True),
        ("evalplus", 0.5, True, False),
        ("evalplus:similar_elements", [4, 5], [5, 4, 4], True),
        ("evalplus:similar_elements", [4, 5], [5], False),
        ("evalplus:check_str", True, "a match", True),
        ("evalplus:check_str", True, None, False),
        ("evalplus:check_str", False, True, False),
        ("evalplus:sum_div", 7, 0, True),
        ("evalplus:are_equivalent", True, "anything", True),
        ("lenient", [1, 2], "[1, 2]", True),
        ("lenient", 0.3, 0.30000001, True),
    ],
)
def test_each_rule_of_values(name: str, expected: Any, output: Any, right: bool) -> None:
    assert comparator(name).of_value([], expected, output).right is right


def test_evalplus_takes_any_zero_of_the_polynomial() -> None:
    rule = comparator("evalplus:find_zero")
    assert rule.of_value([[-6, 11, -6, 1]], 1.0, 3.0000000001).right
    assert not rule.of_value([[-6, 11, -6, 1]], 1.0, 2.5).right
    assert not rule.of_value([[-6, 11, -6, 1]], 1.0, "2").right


def test_evalplus_computes_two_problems_of_mbpp_again() -> None:
    assert comparator("evalplus:surface_Area").of_value([3, 4], 33, 35).right  # rounded as a whole
    assert comparator("evalplus:digit_distance_nums").of_value([123, 256], 6, 7).right
    assert not comparator("evalplus:digit_distance_nums").of_value([123, 256], 7, 6).right


def test_values_from_the_box_are_read_without_quadratic_work() -> None:
    digits = "9" * 200_000
    assert read_value(digits) == read_value(f" {digits} ")
    assert read_value(digits) != read_value(digits[:-1] + "8")
    for text in ("[" * 100_000, "", "nope", "{1: 2}"):
        with pytest.raises(Unreadable):
            read_value(text)


def test_a_value_nested_deep_is_not_right_and_raises_nothing() -> None:
    deep: list[Any] = []
    for _ in range(3_000):
        deep = [deep]
    other = json.loads(json.dumps([]))
    for name in ("livecodebench", "strict", "evalplus", "tokens:relative=1"):
        assert not comparator(name).of_value([], other, deep).right


def test_checkers_accept_every_right_answer_and_no_other() -> None:
    rule = comparator("checker:divides_one_of_each_pair")
    given = "3\n17 18\n15 24\n12 15\n"
    for output, right in (("3", True), ("2", True), ("6", True), ("5", False), ("-1", False)):
        assert rule.of_text(given, "6", output).right is right
    for output in ("", "two", "1", "0", "2 3", "9" * 1000, "-2"):
        assert not rule.of_text(given, "6", output).right
    assert comparator("checker:any_order").of_text("", "1 2 2", "2 1 2").right
    assert not comparator("checker:any_order").of_text("", "1 2 2", "2 1 1").right


def test_a_checker_can_be_added_once_and_is_found_by_name() -> None:
    def even(given: Any, expected: Any, output: Any) -> Any:
        return RIGHT if str(output).strip()[-1:] in "02468" else comparator("strict").text("", "x")

    register("even_for_this_test", even)
    assert comparator("checker:even_for_this_test").of_text("", "2", "4").right
    with pytest.raises(BadProgram, match="already"):
        register("even_for_this_test", lambda *_: RIGHT)


@pytest.mark.parametrize(
    "name", ["nearly", "checker:nobody", "tokens:relative=-1", "tokens:loud", "tokens:absolute=x"]
)
def test_an_unknown_comparator_is_an_error_that_names_the_known_ones(name: str) -> None:
    with pytest.raises(BadProgram, match="there are"):
        comparator(name)
