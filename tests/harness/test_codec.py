"""Rollouts come back from JSON as they were, whatever a model wrote; digests name content."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from harness import Completion, Example, Message, Prompt, Rollout, Verdict
from harness.codec import DEEPEST, clean, decode, encode, plain, revive
from harness.digests import digest, example_digest, file_digest, prompt_digest
from harness.errors import DataError

TEXT = st.text(st.characters(codec="utf-8"), max_size=20)
DIRTY = st.text(max_size=20)
ARRAYS = npst.arrays(
    st.sampled_from(["f4", "f8", "i8", "u1", "?", "c16", ">i4", "<U3"]),
    npst.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=3),
)
ATOMS = st.none() | st.booleans() | st.integers() | st.floats() | TEXT | st.binary(max_size=8)
KEYS = TEXT | st.sampled_from(["$array", "$float", "$int", "$bytes", "$$array", "$"])
VALUES = st.recursive(
    ATOMS | ARRAYS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3),
    max_leaves=8,
)


def there_and_back(value: Any) -> Any:
    return revive(msgspec.json.decode(msgspec.json.encode(plain(value))))


def same(one: Any, other: Any) -> bool:
    """Equal to the bit, NaN included."""
    if isinstance(one, np.ndarray):
        if not isinstance(other, np.ndarray) or one.shape != other.shape:
            return False
        little = one.astype(one.dtype.newbyteorder("<"))
        return little.dtype == other.dtype and little.tobytes() == other.tobytes()
    if isinstance(one, float):
        return isinstance(other, float) and repr(one) == repr(other)
    if isinstance(one, dict):
        return list(one) == list(other) and all(same(one[key], other[key]) for key in one)
    if isinstance(one, list):
        return len(one) == len(other) and all(map(same, one, other))
    return type(one) is type(other) and one == other


@given(VALUES)
@settings(max_examples=300, deadline=None)
def test_plain_values_come_back_to_the_bit(value: Any):
    assert same(value, there_and_back(value))


@given(VALUES)
@settings(max_examples=50, deadline=None)
def test_a_value_that_came_back_has_the_same_digest(value: Any):
    assert digest(there_and_back(value)) == digest(value)


@given(DIRTY, VALUES, VALUES, st.floats(allow_nan=False, allow_infinity=False))
@settings(max_examples=200, deadline=None)
def test_rollouts_come_back(text: str, answer: Any, trace: Any, score: float):
    example = Example("e1", {}, None)
    logprobs = np.array([-0.5, -np.inf, np.nan], np.float32)
    prompt = Prompt(example, (Message("user", clean(text)),), hints=(clean(text),), attempt=3)
    completion = Completion(
        output=clean(text),
        stopped="budget",
        steps=3,
        logprobs=logprobs,
        pieces=(clean(text), "b"),
        trace={"ids": trace},
        note=clean(text),
    )
    verdict = Verdict({"correct": score}, answer, "wrong", clean(text))
    rollout = Rollout(((prompt, completion),), verdict, "g", attempt=3, seconds=0.25)
    back = decode(msgspec.json.decode(msgspec.json.encode(encode(rollout))), example)
    assert back.turns == rollout.turns
    assert (back.group, back.role, back.attempt, back.source) == ("g", "solver", 3, "policy")
    assert back.seconds == 0.25
    assert same(answer, back.verdict.answer)
    assert back.verdict.scores == {"correct": score}
    assert back.completion.logprobs is not None
    assert back.completion.logprobs.tobytes() == logprobs.tobytes()
    assert same(trace, back.completion.trace["ids"])


@given(DIRTY)
def test_clean_text_can_be_stored_and_stays_clean(text: str):
    assert clean(text).encode().decode() == clean(text)
    assert clean(clean(text)) == clean(text)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (np.float64(0.1), 0.1),
        (np.float32(0.5), 0.5),
        (np.int64(7), 7),
        (np.bool_(True), True),
        (np.str_("a"), "a"),
        ((1, (2,)), [1, [2]]),
        ({3, 1, 2}, [1, 2, 3]),
        (10**6000, 10**6000),
        (-(10**6000), -(10**6000)),
        (np.array([1, None], object), [1, None]),
        ({"a\ud800": 1}, {"a?": 1}),
    ],
    ids=lambda value: str(type(value).__name__),
)
def test_other_kinds_come_back_as_the_nearest_plain_one(value: Any, expected: Any):
    back = there_and_back(value)
    assert type(back) is type(expected)
    assert back == expected


@pytest.mark.parametrize("nest", [lambda inner: [inner], lambda inner: {"a": inner}])
def test_nesting_deeper_than_a_stack_is_cut(nest: Any):
    value: Any = 1
    for _ in range(100_000):
        value = nest(value)
    assert str(there_and_back(value)).count("...") == 1
    shallow: Any = 1
    for _ in range(DEEPEST):
        shallow = nest(shallow)
    assert there_and_back(shallow) == shallow


DAMAGED = [
    {},
    {"verdict": 3},
    {"verdict": {"scores": {}, "answer": None, "reason": "ok"}},
    {"turns": [{"messages": [["user"]]}]},
    {"turns": "x"},
    {"attempt": "many"},
    {
        "turns": [
            {"messages": [], "hints": [], "output": {"$array": "<f4", "data": "!", "shape": []}}
        ]
    },
    {"turns": [{"messages": [], "hints": [], "output": {"$float": "much"}}]},
    {"turns": [{"messages": [], "hints": [], "output": {"$array": "O", "data": "", "shape": [0]}}]},
]


@pytest.mark.parametrize("changes", DAMAGED, ids=str)
def test_a_damaged_rollout_is_a_data_error(changes: dict[str, Any]):
    example = Example("e1", {}, None)
    prompt = Prompt(example, (Message("user", "?"),))
    table = encode(Rollout(((prompt, Completion("x")),), Verdict({}), "g"))
    damaged = {**table, **changes} if changes else {}
    with pytest.raises(DataError):
        decode(damaged, example)


def test_digests_name_content_and_not_order():
    assert digest({"a": 1, "b": (2, 3)}) == digest({"b": [2, 3], "a": 1})
    assert digest({"a": 1}) != digest({"a": 1.0})
    assert digest(["ab"]) != digest(["a", "b"])
    assert digest(np.arange(3)) != digest(np.arange(3.0))


def test_digests_are_the_same_in_every_process():
    code = (
        "from harness.digests import digest; "
        "print(digest({'words': {'one', 'two', 'three'}, 'x': 0.1 + 0.2}))"
    )
    found = {
        subprocess.run(
            [sys.executable, "-c", code],
            env={"PYTHONHASHSEED": seed, "PYTHONPATH": ":".join(sys.path)},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    }
    assert len(found) == 1


def test_an_examples_digest_is_its_question_and_its_answer():
    example = Example("e", {"q": "1+1"}, 2, {"level": 1})
    assert example_digest(example) == example_digest(Example("e", {"q": "1+1"}, 2))
    assert example_digest(example) != example_digest(Example("e", {"q": "1+1"}, 3))
    assert example_digest(example) != example_digest(Example("e", {"q": "1+2"}, 2))


def test_a_prompts_digest_is_what_the_model_reads():
    prompt = Prompt(Example("e", {}, 0), (Message("user", "1+1?"),))
    assert prompt_digest(prompt) == prompt_digest(prompt.but(attempt=4, rollouts=9))
    assert prompt_digest(prompt) != prompt_digest(prompt.with_hint("It is even."))


def test_a_files_digest_is_sha256(tmp_path: Any):
    (tmp_path / "x").write_bytes(b"abc")
    assert file_digest(tmp_path / "x") == (
        "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    )
