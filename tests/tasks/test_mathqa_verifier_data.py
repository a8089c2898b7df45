"""The verifier on public data, where HARNESS_DATA says where that is."""

import gzip
import json
import os
import time
from pathlib import Path
from typing import Any

import pytest

from tasks.mathqa_verifier import equal, forget, judge

DATA = Path(os.environ.get("HARNESS_DATA") or "no folder") / "math"
pytestmark = pytest.mark.skipif(
    not DATA.is_dir(), reason="HARNESS_DATA names no folder with math/ in it"
)

# Where our verdict on a real completion differs from a stored one, and why ours is right.
AGAINST_MATH_VERIFY: dict[str, str] = {}
AGAINST_SOURCE = {
    "test/prealgebra/1003.json": "E11: the gold has a unit (degrees) that the answer leaves out",
    "test/algebra/2735.json": "E3: the same sum with its terms in another order",
    "test/precalculus/742.json": "E2: 0.09 is 9/100",
    "test/algebra/1031.json": "E2: 5.5 is 11/2",
    "test/precalculus/398.json": "E1: the same vector, its fractions with a slash in the gold",
    "test/precalculus/625.json": "E1: the same vector, its fractions with a slash in the gold",
}


def rows(name: str) -> list[dict[str, Any]]:
    """The rows of a file of JSON lines."""
    path = DATA / name
    text = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    return [json.loads(line) for line in text.decode("utf-8").splitlines()]


def prediction(row: dict[str, Any]) -> str:
    """What was predicted; long predictions are stored as parts and repeats."""
    return row.get("pred") or "".join(part * times for part, times in row.get("pred_parts", ()))


def verdict(row: dict[str, Any]) -> bool:
    """Our verdict on a row, in the mode it asks for."""
    if row["mode"] == "answer":
        return equal(row["gold"], prediction(row))
    scores = judge(row["gold"], prediction(row)).scores
    return bool(scores["correct" if row["strict"] else "lenient"])


def test_every_tricky_pair_is_judged_as_expected():
    forget()
    cases = rows("equivalence_cases.jsonl")
    assert len(cases) == 104
    assert [row["id"] for row in cases if verdict(row) != row["expected"]] == []


def test_no_hang_row_takes_long():
    forget()
    for row in rows("equivalence_cases.jsonl"):
        if row["tag"] == "hang":
            start = time.perf_counter()
            verdict(row)
            assert time.perf_counter() - start < 2.5, row["id"]


@pytest.mark.parametrize("name", ["math500", "aime24", "aime25", "amc23", "svamp", "gsm8k_test"])
def test_every_gold_gets_full_marks(name: str):
    full = {"correct": 1.0, "lenient": 1.0, "earned": 1.0}
    missed = [
        row["answer"]
        for row in rows(f"{name}.jsonl")
        if judge(str(row["answer"]), f"\\boxed{{{row['answer']}}}").scores != full
    ]
    assert missed == []


def test_every_olympiad_gold_gets_full_marks():
    missed = [
        row["answer"]
        for row in rows("olympiadbench_oe_to_maths_en.jsonl.gz")
        if judge(row["answer"], f"\\boxed{{{', '.join(row['answer'])}}}").scores["earned"] != 1
    ]
    assert missed == []


ALIKE = {
    ("(-2,1)", "-2,1"),
    ("-2,1", "1,-2"),
    ("10,\\!080", "10080"),
    ("120", "120^\\circ"),
    ("15", "15\\mbox{ cm}^2"),
    ("2 \\sqrt{5}", "2\\sqrt{5}"),
    ("30", "30^\\circ"),
    ("36", "36^\\circ"),
    ("36", "\\$36"),
    ("40", "40_9"),
    ("5", "x=5"),
    ("90", "90^\\circ"),
    ("\\frac14", "\\frac{1}{4}"),
}
"""All pairs of different golds of MATH-500 that are one answer by the rules E4, E5, E7, E11."""


@pytest.mark.slow
def test_golds_equal_no_gold_that_means_something_else():
    golds = sorted({row["answer"] for row in rows("math500.jsonl")})
    assert {(a, b) for a in golds for b in golds if a < b and equal(a, b)} == ALIKE


@pytest.mark.parametrize(
    ("verifier", "explained"),
    [("math_verify_0_9_0", AGAINST_MATH_VERIFY), ("source_verdict", AGAINST_SOURCE)],
)
def test_every_disagreement_on_real_completions_is_explained(
    verifier: str, explained: dict[str, str]
):
    found = {
        row["id"]: judge(row["gold"], row["completion"]).scores["correct"]
        for row in rows("completions_math500_250.jsonl.gz")
        if bool(judge(row["gold"], row["completion"]).scores["correct"]) != row[verifier]
    }
    assert found.keys() == explained.keys()
    assert set(found.values()) <= {1.0}  # each of them is a right answer that the other refused


def test_strict_and_lenient_reading_of_real_completions():
    loose = [
        row["id"]
        for row in rows("completions_math500_250.jsonl.gz")
        if len(set(judge(row["gold"], row["completion"]).scores.values())) > 1
    ]
    assert loose == []
