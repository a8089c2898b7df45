"""The public sets of mathqa: where they lie, their rows as examples, and their splits."""

from __future__ import annotations

import ast
import hashlib
import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from fractions import Fraction
from functools import partial

from harness import Example, Split
from harness.data import Cells, Source, load
from harness.errors import DataError

LONGEST = 2000
"""Characters of a gold answer; the verifier reads no longer ones."""


def only(source: Source, split: Split = "test") -> Callable[[Split], Sequence[Example]]:
    """The examples of a set that has one split only."""
    return lambda asked: _table(source) if asked == split else ()


def carved(train: Source, test: Source | None = None) -> Callable[[Split], Sequence[Example]]:
    """Train and dev out of one table, a twentieth of it dev by the hash of its id; test apart."""

    def examples(split: Split) -> Sequence[Example]:
        if split == "test":
            return _table(test) if test is not None else ()
        return [e for e in _table(train) if _held_out(e.id) == (split == "dev")]

    return examples


def _held_out(name: str) -> bool:
    return hashlib.sha256(f"dev/{name}".encode()).digest()[0] % 20 == 0


TAGS = ("level", "subject", "type", "exam", "subfield", "answer_type")


def _table(source: Source) -> Sequence[Example]:
    table = load(source)
    return [_example(cells, table.origin) for cells in table.rows]


def _example(cells: Cells, origin: str) -> Example:
    name, answer = str(cells["id"]), cells["answer"]
    golds = [str(each) for each in answer] if isinstance(answer, list) else [str(answer)]
    if max(map(len, golds)) > LONGEST:
        raise DataError(
            f"{origin}: the answer of {name} has {max(map(len, golds))} characters; the verifier "
            f"reads at most {LONGEST}. Shorten it or take the row out"
        )
    gold = ",".join(_tidy(each) for each in golds)
    if cells.get("equation") and "e+" in gold:
        gold = _solved(str(cells["equation"]))
    tags = {tag: cells[tag] for tag in TAGS if cells.get(tag) is not None}
    if cells.get("error"):
        tags["tolerance"] = float(cells["error"])
    return Example(name, {"question": str(cells["question"]).strip()}, gold, tags)


def _tidy(gold: str) -> str:
    """A gold as it is judged: no dollar signs, commas within numbers, leading zeros or `.0`."""
    text = gold.strip()
    if text.count("$") == 2 and text[0] == text[-1] == "$":
        text = text[1:-1].strip()
    plain = text.replace(",", "")
    if re.fullmatch(r"-?\d{1,3}(,\d{3})+|-?\d+", text) or re.fullmatch(r"-?\d+\.0", plain):
        whole = plain.partition(".")[0]
        return ("-" if whole[0] == "-" else "") + (whole.lstrip("-0") or "0")
    return text


def _solved(equation: str) -> str:
    """The value of an equation of SVAMP, which has four operators and brackets only."""
    value = _value(ast.parse(equation.strip(), mode="eval").body)
    return str(value)


def _value(node: ast.expr) -> Fraction:
    match node:
        case ast.BinOp(left, ast.Add(), right):
            return _value(left) + _value(right)
        case ast.BinOp(left, ast.Sub(), right):
            return _value(left) - _value(right)
        case ast.BinOp(left, ast.Mult(), right):
            return _value(left) * _value(right)
        case ast.BinOp(left, ast.Div(), right):
            return _value(left) / _value(right)
        case ast.Constant(int() | float() as number):
            return Fraction(number)
        case _:
            raise DataError(f"an equation holds {ast.dump(node)[:80]}, which is no arithmetic")


def _gsm8k(cells: Cells) -> Cells:
    """The answer stands after `####`."""
    solution = cells["answer"]
    answer = solution.rpartition("####")[2].strip().replace(",", "")
    return {"question": cells["question"], "solution": solution, "answer": answer}


def _renamed(cells: Cells, **names: str) -> Cells:
    return {ours: cells[theirs] for ours, theirs in names.items()}


def _svamp(cells: Cells) -> Cells:
    body = cells["Body"].rstrip()
    question = f"{body}{'' if body.endswith('.') else '.'} {cells['Question']}"
    rest = _renamed(cells, id="ID", answer="Answer", equation="Equation", type="Type")
    return {**rest, "question": question}


def _olympiad(cells: Cells) -> Cells:
    same_names = ("id", "question", "answer_type", "error", "subfield")
    return {**{name: cells[name] for name in same_names}, "answer": cells["final_answer"]}


GSM8K_TRAIN = Source(
    file="math/gsm8k_train.jsonl",
    hub="openai/gsm8k",
    config="main",
    split="train",
    shape=_gsm8k,
    prefix="gsm8k/train",
)
GSM8K_TEST = replace(GSM8K_TRAIN, file="math/gsm8k_test.jsonl", split="test", prefix="gsm8k/test")
MATH500 = Source(
    file="math/math500.jsonl",
    hub="HuggingFaceH4/MATH-500",
    shape=partial(
        _renamed,
        id="unique_id",
        question="problem",
        answer="answer",
        subject="subject",
        level="level",
    ),
)
MATH_TRAIN = Source(file="math/math_train_1500.jsonl", skip_empty=True)
AIME24 = Source(
    file="math/aime24.jsonl",
    hub="HuggingFaceH4/aime_2024",
    split="train",
    shape=partial(_renamed, question="problem", answer="answer"),
)
AIME25 = replace(AIME24, file="math/aime25.jsonl", hub="math-ai/aime25", split="test")
AMC23 = Source(
    file="math/amc23.jsonl",
    hub="math-ai/amc23",
    shape=partial(_renamed, question="question", answer="answer"),
)
SVAMP = Source(file="math/svamp.jsonl", hub="ChilleD/SVAMP", split="train+test", shape=_svamp)
OLYMPIAD = Source(
    file="math/olympiadbench_oe_to_maths_en.jsonl",
    hub="Hothan/OlympiadBench",
    config="OE_TO_maths_en_COMP",
    split="train",
    shape=_olympiad,
)
