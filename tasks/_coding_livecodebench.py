"""LiveCodeBench: its files, releases, windows and errata, and its rows as examples."""

from __future__ import annotations

import base64
import json
import re
import zlib
from collections.abc import Callable, Mapping, Sequence
from datetime import date
from functools import lru_cache, partial
from typing import Any

from harness import Example, Split
from harness.data import Cells, Source, load
from harness.errors import DataError, UnknownName, UsageError
from sandbox.judge import Case
from sandbox.types import Call, Stdin
from tasks._coding_private import test_cases

PARTS = 6
LITE = "livecodebench/code_generation_lite"
DIFFICULTIES = ("easy", "medium", "hard")
ANY = "any"
SEVERAL_ANSWERS = frozenset(
    (
        "abc311_c abc326_d abc327_b abc333_e abc343_e abc362_c abc343_a arc185_c "
        "find-words-containing-character find-the-peaks "
        "generate-binary-strings-without-adjacent-zeros"
    ).split()
)
INTERACTIVE = frozenset(("abc337_e", "abc355_e"))
BAD_TESTS = frozenset(
    ("abc350_c", "apply-operations-to-make-string-empty", "most-frequent-ids", "arc189_a")
)
ERRATA = SEVERAL_ANSWERS | INTERACTIVE | BAD_TESTS
"""Questions that LiveCodeBench itself lists as unfair, by question id or title."""


def _part(number: int) -> Source:
    name = f"test{number if number > 1 else ''}.jsonl"
    return Source(
        file=f"code/livecodebench/{name}",
        hub=LITE,
        data_files=(name,),
        key="question_id",
        columns=("question_content", "public_test_cases", "metadata"),
    )


SOURCES = tuple(_part(number) for number in range(1, PARTS + 1))
SAMPLE = Source(
    file="code/stdin_functional_lcb_schema.jsonl",
    key="question_id",
    columns=("question_content", "public_test_cases", "metadata", "reference_solution"),
)
OUTPUTS = Source(
    file="code/livecodebench_outputs.jsonl",
    hub="livecodebench/test_generation",
    key="key",
    shape=lambda cells: {**cells, "key": f"{cells['question_id']}/{cells['test_id']}"},
    columns=("question_content", "function_name", "test"),
)
EXECUTIONS = Source(
    file="code/livecodebench_execution.jsonl",
    hub="livecodebench/execution-v2",
    key="id",
    columns=("code", "input", "output"),
)


def parts(release: str) -> Sequence[Source]:
    """The files of a release: `release_v3` the first three, `v3` the third, `v2_v4` a range."""
    whole = re.fullmatch(r"release_v(\d)", release)
    some = re.fullmatch(r"v(\d)(?:_v(\d))?", release)
    if whole:
        first, last = 1, int(whole[1])
    elif some:
        first, last = int(some[1]), int(some[2] or some[1])
    elif release == "release_latest":
        first, last = 1, PARTS
    else:
        first, last = 0, 0
    if not 1 <= first <= last <= PARTS:
        known = [f"release_v{n}" for n in range(1, PARTS + 1)]
        raise UnknownName(release, "the releases", [*known, "v6", "v4_v5"])
    return SOURCES[first - 1 : last]


def day(text: str, name: str) -> date | None:
    """A date of the settings; None for `any`."""
    if text == ANY:
        return None
    try:
        return date.fromisoformat(text)
    except ValueError as error:
        raise UsageError(f"{name}={text} is no date; write it as 2024-08-01") from error


def examples(
    sources: Sequence[Source], settings: Mapping[str, str], shape: Callable[[Cells], Example]
) -> Callable[[Split], Sequence[Example]]:
    """The test split: rows of the sources inside the window, both ends included."""
    start, end = (day(settings[name], name) for name in ("start", "end"))
    if start is not None and end is not None and end < start:
        raise UsageError(f"start={start} lies after end={end}: no question is in that window")
    level = settings["difficulty"]

    def wanted(example: Example) -> bool:
        if level not in (ANY, example.tags["difficulty"]):
            return False
        if start is None and end is None:
            return True
        told = example.tags["date"]
        if not told:
            return False  # a row without a date is in no window
        when = date.fromisoformat(told[:10])
        return (start is None or start <= when) and (end is None or when <= end)

    def of(split: Split) -> Sequence[Example]:
        if split != "test":
            return ()
        return [e for source in sources for e in _rows(source, shape) if wanted(e)]

    return of


def _rows(source: Source, shape: Callable[[Cells], Example]) -> Sequence[Example]:
    return [shape(cells) for cells in load(source).rows]


def _tags(cells: Cells) -> dict[str, Any]:
    level = str(cells.get("difficulty") or "").lower()
    return {
        "difficulty": level if level in DIFFICULTIES else "other",
        "date": str(cells.get("contest_date") or "")[:10],
        "platform": cells.get("platform") or "",
        "unfair": bool({str(cells.get(k)) for k in ("question_id", "question_title")} & ERRATA),
    }


def problem(cells: Cells) -> Example:
    """A row of code generation. Its tests stay packed until they are needed."""
    name = str(cells["question_id"])
    try:
        metadata = json.loads(cells["metadata"] or "{}")
    except ValueError as error:
        raise DataError(f"the metadata of {name} is not JSON: {error}") from error
    inputs = {"question": cells["question_content"], "starter": cells.get("starter_code") or ""}
    target = {
        "public": cells["public_test_cases"],
        "private": cells.get("private_test_cases") or "[]",
        "function": metadata.get("func_name") or "",
        "reference": cells.get("reference_solution") or "",
        "checker": CHECKERS.get(name, ""),
    }
    return Example(name, inputs, target, _tags(cells))


CHECKERS = {"cc_1025_B": "checker:divides_one_of_each_pair"}
"""Problems with many right answers whose rule is known here."""


def cases(example: Example) -> tuple[Case, ...]:
    """Public, then private tests."""
    return _cases(example.id, *(example.target[k] for k in ("public", "private", "function")))


@lru_cache(maxsize=128)
def _cases(name: str, public: str, private: str, function: str) -> tuple[Case, ...]:
    rows = [*test_cases(public, name), *test_cases(private, name)]
    return tuple(map(partial(_case, name, function), rows))


def _case(name: str, function: str, row: Mapping[str, Any]) -> Case:
    if not function:
        return Case(Stdin(row["input"]), row["output"])
    try:
        arguments = [json.loads(line) for line in row["input"].split("\n")]
        json.loads(row["output"])
    except (ValueError, RecursionError) as error:
        raise DataError(f"a test of {name} is not JSON: {error}") from error
    return Case(Call(function, tuple(arguments)), row["output"])


def seen(example: Example) -> int:
    """The number of public tests."""
    return len(test_cases(example.target["public"], example.id))


def reference(example: Example) -> str:
    """The row's own solution, or a table of its tests: a program that gets full marks."""
    target = example.target
    if target["reference"]:
        return str(target["reference"])
    if target["function"]:
        return _call_table(example)
    table = {c.test.text: c.expected for c in cases(example) if isinstance(c.test, Stdin)}
    return f"{_unpacking(table)}print(table[sys.stdin.read()], end='')\n"


def _call_table(example: Example) -> str:
    table: dict[str, Any] = {}
    for case in cases(example):
        assert isinstance(case.test, Call)
        table[json.dumps(list(case.test.arguments))] = json.loads(case.expected)
    name = example.target["function"]
    return (
        f"{_unpacking(table)}\nclass Solution:\n    def {name}(self, *arguments):\n"
        "        return table[json.dumps(list(arguments))]\n"
    )


def _unpacking(table: Mapping[str, Any]) -> str:
    packed = base64.b85encode(zlib.compress(json.dumps(table).encode(), 9)).decode()
    return (
        "import base64, json, sys, zlib\n"
        f"table = json.loads(zlib.decompress(base64.b85decode({packed!r})))\n"
    )


def output_row(cells: Cells) -> Example:
    """A row of test-output prediction."""
    rows = test_cases(str(cells["test"]), str(cells["key"]))
    if len(rows) != 1:
        raise DataError(f"{cells['key']} has {len(rows)} tests, and not one")
    inputs = {
        "question": cells["question_content"],
        "starter": cells.get("starter_code") or "",
        "function": cells["function_name"],
        "input": rows[0]["input"],
    }
    return Example(str(cells["key"]), inputs, rows[0]["output"], _tags(cells))


def execution_row(cells: Cells) -> Example:
    """A row of code execution."""
    inputs = {"code": cells["code"], "input": cells["input"]}
    return Example(str(cells["id"]), inputs, str(cells["output"]), _tags(cells))
