"""What every task promises, present and future: the laws of `harness.contracts`, and three more.

Tasks whose data are public are tried where HARNESS_DATA is set, and skipped with the reason where
it is not.
"""

from __future__ import annotations

import functools
import json
import os
import statistics
import subprocess
import sys
import time

import pytest

from harness import Completion, Task, registry
from harness.contracts import LAWS, spread, task_contracts
from harness.data import FOLDER
from harness.digests import digest, example_digest, prompt_digest
from harness.errors import DataError, MissingExtra
from harness.types import SPLITS

CARDS = {member: card for card in registry.cards("tasks") for member in card.members}
QUICK_PUZZLES = frozenset(
    f"puzzles/{name}"
    for name in (
        "arc_1d basic_arithmetic complex_arithmetic game_of_life_halting graph_color "
        "isomorphic_strings n_queens prime_factorization propositional_logic word_ladder"
    ).split()
)
"""Of a hundred; the others are tried by the slow run."""


ELSEWHERE_ONLY = frozenset(
    f"coding/livecodebench{scenario}" for scenario in ("", "_repair", "_output", "_execution")
) | frozenset(f"spatial/{name}" for name in "vsr cvbench blink whatsup spatialeval".split())
ELSEWHERE_ONLY |= {"airquality/cmaq_obs"}
"""Statements of contest sites, photos of photographers, many gigabytes of fields: a folder of
public data need not hold them."""


def _quick(name: str) -> bool:
    return not name.startswith("puzzles/") or name in QUICK_PUZZLES


NAMES = [
    name if _quick(name) else pytest.param(name, marks=pytest.mark.slow) for name in sorted(CARDS)
]

SLOW_LAWS = frozenset(
    f"coding/{name}" for name in "humaneval mbpp livecodebench_sample generated_repair".split()
)
"""Their hostile outputs include programs that run until a limit ends them."""
LAW_NAMES = [
    name if _quick(name) and name not in SLOW_LAWS else pytest.param(name, marks=pytest.mark.slow)
    for name in sorted(CARDS)
]


def opened(name: str) -> Task:
    """The task with its data, or a skip that says why it cannot be tried here."""
    try:
        task = registry.task(name)
        for split in SPLITS:
            task.examples(split)
    except MissingExtra as error:
        pytest.skip(str(error))
    except DataError as error:
        if os.environ.get(FOLDER) and name not in ELSEWHERE_ONLY:
            raise
        pytest.skip(f"{FOLDER} is not set: {error}")
    return task


@pytest.mark.parametrize("name", LAW_NAMES)
def test_every_law_holds(name: str) -> None:
    findings = task_contracts(opened(name), CARDS[name], few=5)
    assert [finding.law for finding in findings] == list(LAWS)
    broken = [f"{finding.law}: {finding.note}" for finding in findings if not finding.ok]
    assert not broken


@pytest.mark.parametrize("name", NAMES)
def test_gold_gets_full_marks_on_every_score_that_training_pays(name: str) -> None:
    task = opened(name)
    if task.dialogue is not None or task.compare is not None:
        pytest.skip(f"{name} is judged by dialogue or comparison; its laws play it")
    for split in SPLITS:
        for example in spread(task.examples(split), 25):
            verdict = task.verify(example, Completion(task.gold(example), steps=1))
            paid = {score: verdict.scores[score] for score in task.reward}
            assert paid == dict.fromkeys(paid, 1.0), f"{example.id}: {verdict}"


@pytest.mark.parametrize("name", NAMES)
def test_ordinary_text_is_judged_within_50_ms(name: str) -> None:
    task = opened(name)
    if task.dialogue is not None:
        pytest.skip(f"{name} is judged by dialogue")
    example = next(example for split in SPLITS for example in task.examples(split))
    text = f"Let me think about it. First, 3 + 4 = 7.\n\nSo we get {task.gold(example)}"
    completion = Completion(text if isinstance(task.gold(example), str) else task.gold(example))
    task.verify(example, completion)  # the first one may start a process
    middles: list[float] = []
    for _ in range(3):  # other work on the machine may slow one round down
        taken: list[float] = []
        for _ in range(5):
            begin = time.perf_counter()
            task.verify(example, completion)
            taken.append(time.perf_counter() - begin)
        middles.append(statistics.median(taken))
        if middles[-1] < 0.05:
            return
    pytest.fail(f"medians of 5 verdicts: {middles} s")


ELSEWHERE = """
import json, sys
sys.path[:0] = json.loads(sys.argv[2])
from tests.contracts.test_every_task import fingerprints
print("fingerprints", json.dumps(fingerprints(json.loads(sys.argv[1]))))
"""


def fingerprints(names: list[str]) -> dict[str, str]:
    """Digest of all examples and prompts of each task; "" for one that cannot be read here."""
    found: dict[str, str] = {}
    for name in names:
        try:
            task = registry.task(name)
            examples = [e for split in SPLITS for e in task.examples(split)]
        except (DataError, MissingExtra):
            found[name] = ""
            continue
        found[name] = digest([[example_digest(e), prompt_digest(task.prompt(e))] for e in examples])
    return found


@functools.cache
def _elsewhere(hash_seed: str, slow: bool) -> dict[str, str]:
    names = [name for name in sorted(CARDS) if _quick(name) != slow]
    done = subprocess.run(
        [sys.executable, "-c", ELSEWHERE, json.dumps(names), json.dumps(sys.path)],
        env={**os.environ, "PYTHONHASHSEED": hash_seed},
        capture_output=True,
        text=True,
        check=False,
    )
    told = [line for line in done.stdout.splitlines() if line.startswith("fingerprints ")]
    assert told, done.stderr[-2000:]
    return json.loads(told[-1].partition(" ")[2])


@pytest.mark.parametrize("name", NAMES)
def test_another_process_with_another_hash_seed_sees_the_same_examples(name: str) -> None:
    opened(name)
    slow = not _quick(name)
    here = fingerprints([name])[name]
    assert _elsewhere("1", slow)[name] == here
