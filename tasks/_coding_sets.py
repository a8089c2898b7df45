"""HumanEval and MBPP: their rows as examples, their tests, and the program that a reply makes."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache

from harness import Example, Split
from harness.data import Source, load
from sandbox.judge import Case
from sandbox.types import Assertions

HUMANEVAL = Source(
    file="code/humaneval.jsonl",
    hub="openai/openai_humaneval",
    key="task_id",
    columns=("prompt", "entry_point", "test", "canonical_solution"),
)
MBPP = Source(
    file="code/mbpp.jsonl",
    hub="google-research-datasets/mbpp",
    config="full",
    split="train+test+validation+prompt",
    key="task_id",
    columns=("text", "code", "test_list"),
)
MBPP_SPLITS: dict[Split, range] = {
    "test": range(11, 511),
    "dev": range(511, 601),
    "train": range(601, 975),
}
"""By task id, as the paper has them; 1 to 10 are its worked examples."""
WEAK = frozenset(("367", "533", "601", "927"))
"""Tests of MBPP that hand over classes or types: they share the program's process, so a program can
make them pass. They count in the test split, whose protocol they belong to, and in no other."""
STOPS = ("\nclass ", "\ndef ", "\n#", "\nif ", "\nprint(", "\nassert ", "\n```")
"""Where the completion of a function ends, as the paper of HumanEval has them."""


def humaneval(split: Split) -> Sequence[Example]:
    """The 164 problems; test only."""
    if split != "test":
        return ()
    return [
        Example(
            str(row["task_id"]),
            {"prompt": row["prompt"], "entry": row["entry_point"]},
            {"test": row["test"], "solution": row["canonical_solution"]},
        )
        for row in load(HUMANEVAL).rows
    ]


def humaneval_cases(example: Example) -> tuple[Case, ...]:
    """One test: `check`, with what stands before the function in the prompt."""
    entry = example.inputs["entry"]
    code = f"{preamble(example)}\n{example.target['test']}\n\ncheck({entry})\n"
    return (Case(Assertions(code, entry)),)


@lru_cache(maxsize=512)
def _preamble(prompt: str, entry: str) -> str:
    starts = [found.start() for found in re.finditer(rf"^def {re.escape(entry)}\b", prompt, re.M)]
    return prompt[: starts[-1]] if starts else ""


def preamble(example: Example) -> str:
    """Imports and functions that the prompt gives before the one that is asked for."""
    return _preamble(example.inputs["prompt"], example.inputs["entry"])


def whole_function(example: Example, code: str) -> str:
    """The program of a reply: the function alone if it is there, else the prompt's continuation."""
    entry = re.escape(example.inputs["entry"])
    if re.search(rf"^[ \t]*(?:async[ \t]+)?def[ \t]+{entry}\b", code, re.M):
        return f"{preamble(example)}\n{code}"
    return example.inputs["prompt"] + code


def continued(example: Example, code: str) -> str:
    """The program of a completion: the prompt, then the text up to the first stop."""
    ends = [at for stop in STOPS if (at := code.find(stop)) >= 0]
    return example.inputs["prompt"] + code[: min(ends, default=len(code))]


def humaneval_gold(example: Example) -> str:
    """The reference, with its signature."""
    return example.inputs["prompt"] + example.target["solution"]


def mbpp(split: Split) -> Sequence[Example]:
    """The problems of a split, by task id; nothing is trained or chosen by weak tests."""
    found = [each for each in whole_mbpp() if int(each.id) in MBPP_SPLITS[split]]
    return [each for each in found if split == "test" or not mbpp_weak(each)]


def whole_mbpp() -> Sequence[Example]:
    """All 974 problems, the ten worked examples too."""
    return [
        Example(
            str(row["task_id"]),
            {"question": row["text"], "tests": list(row["test_list"])},
            {"setup": row.get("test_setup_code") or "", "solution": row["code"]},
        )
        for row in load(MBPP).rows
    ]


def mbpp_cases(example: Example) -> tuple[Case, ...]:
    """Each assert after the set-up, which may use what the solution defines."""
    setup, split = example.target["setup"], not mbpp_weak(example)
    return tuple(
        Case(Assertions(f"{setup}\n{each}\n", entry=_entry(example), split=split))
        for each in example.inputs["tests"]
    )


def _entry(example: Example) -> str:
    """The function under test: the one of the reference that the first assert calls."""
    defined = re.findall(r"^def[ \t]+(\w+)", example.target["solution"], re.M)
    first = example.inputs["tests"][0]
    called = [name for name in defined if re.search(rf"\b{name}[ \t]*\(", first)]
    return called[0] if called else ""


def mbpp_weak(example: Example) -> bool:
    """Whether its tests share the program's process."""
    return example.id in WEAK


def mbpp_gold(example: Example) -> str:
    """The reference."""
    return str(example.target["solution"])
