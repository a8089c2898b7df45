"""The generated problems: their references, their tests, and their splits."""

from __future__ import annotations

import json
import random
from dataclasses import replace
from typing import Any

import pytest

from harness.errors import DataError
from harness.types import SPLITS
from tasks.coding_problems import LEVELS, SEEN, TEMPLATES, TESTS, problems, split_of
from tasks.coding_problems.numbers import scale_shift
from tasks.coding_problems.template import Params, Template

EVERY = [(split, problem) for split in SPLITS for problem in problems(0, split)]


def test_there_are_hundreds_on_every_level_and_in_every_split() -> None:
    assert len(EVERY) > 400
    for level in LEVELS:
        assert [len(problems(level, split)) > 3 for split in SPLITS] == [True] * 3
    assert len({template.name for template in TEMPLATES}) == len(TEMPLATES)


def test_no_problem_is_in_two_splits_and_none_is_asked_twice() -> None:
    names = [problem.name for _, problem in EVERY]
    texts = [problem.text for _, problem in EVERY]
    assert len(set(names)) == len(names)
    assert len(set(texts)) == len(texts)
    assert all(split_of(problem.name) == split for split, problem in EVERY)
    assert not any("{" in text.replace("{}", "") for text in texts)


def test_every_problem_has_ten_different_tests_that_are_json() -> None:
    for _, problem in EVERY:
        given = [json.dumps(arguments) for arguments, _ in problem.tests]
        assert len(set(given)) == len(given) == TESTS, problem.name
        assert json.loads(json.dumps(problem.tests)) == [list(test) for test in problem.tests]


def test_no_constant_passes_the_tests_of_a_problem() -> None:
    for _, problem in EVERY:
        shown = {json.dumps(result) for _, result in problem.tests[:SEEN]}
        hidden = {json.dumps(result) for _, result in problem.tests[SEEN:]}
        assert len(shown | hidden) > 1, problem.name
        assert len(hidden) > 1, problem.name


def wrong_by_one(result: object) -> object:
    if isinstance(result, bool):
        return not result
    if isinstance(result, int):
        return result + 1
    if isinstance(result, str) and result.lstrip("-").isdigit():
        return str(int(result) + 1)
    return [*result, result[-1]] if isinstance(result, list) and result else None


def refused(template: Template, arguments: list[Any], params: Params, result: object) -> bool:
    """Whether a result is not right; one that the property cannot even read is not."""
    try:
        return not template.holds(tuple(arguments), params, result)
    except (IndexError, ValueError):
        return True


def test_the_second_way_refuses_results_that_are_wrong() -> None:
    tried = 0
    for _, problem in EVERY:
        params = dict(problem.params)
        for arguments, result in problem.tests[:2]:
            wrong = wrong_by_one(result)
            if wrong is not None:
                tried += 1
                assert refused(problem.template, arguments, params, wrong), problem.name
    assert tried > 500


def test_a_reference_that_is_wrong_makes_no_problem() -> None:
    right = next(template for template in TEMPLATES if template.name == "scale_shift")
    wrong = replace(right, solve=lambda x, *, a, b: a * x - b)
    with pytest.raises(DataError, match="its property does not hold"):
        wrong.result((3,), {"a": 2, "b": 1})
    assert right.result((3,), {"a": 2, "b": 1}) == scale_shift(3, a=2, b=1) == 7


def test_inputs_are_drawn_from_the_generator_alone() -> None:
    for template in TEMPLATES:
        params = {name: values[0] for name, values in template.choices.items()}
        one, other = (template.draw(random.Random(7), params) for _ in range(2))
        assert one == other


def test_a_template_shows_its_arguments_as_the_reference_names_them() -> None:
    template = Template(
        level=1,
        text="x",
        solve=scale_shift,
        draw=lambda rng, params: (1,),
        holds=lambda args, params, result: True,
    )
    assert (template.name, template.arguments) == ("scale_shift", "x")
    assert "def solve(x):\n    return scale_shift(x, a=2, b=3)" in template.gold({"a": 2, "b": 3})
