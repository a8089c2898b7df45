"""`check` finds what is broken: every law fails on a task that breaks it, and on that alone."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from harness import registry
from harness.contracts import LAWS, task_contracts
from tests.command_line import a_task_file, command, exchange

VERIFY = "    text = str(completion.output).strip()\n"
PROMPT = "    return Prompt("
TOLD = '    question += f" Is it {example.target:02d}?"\n' + PROMPT
GOLD = 'gold=lambda example: f"{example.target:02d}"'
THREAD = """    import threading
    if threading.current_thread() is not threading.main_thread():
        text = "7"
"""
BROKEN = [
    ("the card is complete", "Scores   correct", "Points   correct"),
    ("the name is that of the file", 'name="sums/digits"', 'name="adds/digits"'),
    ("there are examples", "    parts: dict", "    return []\n    parts: dict"),
    ("ids are unique", 'Example(f"{a}+{b}"', 'Example(f"{split}{a}"'),
    ("splits share no id and no prompt", "range(90, 100)", "range(85, 100)"),
    ("examples and prompts are the same twice", '"b": b}', '"b": b, "c": object()}'),
    ("prompts do not hold the answer", PROMPT, TOLD),
    ("gold gets full marks", GOLD, GOLD.replace("target", "target + 1")),
    ("rewards are made of scores", '"close": 0.3', '"near": 0.3'),
    ("hostile outputs are judged", VERIFY, "    text = completion.output.strip()\n"),
    ("verdicts are the same everywhere", VERIFY, VERIFY + THREAD),
    ("metrics are defined", "pass_at(1), pass_at(4)", "pass_at(1), pass_at(1)"),
]


def broken(path: Path) -> dict[str, str]:
    found = task_contracts(registry.task(str(path)), registry.card("tasks", str(path)), few=4)
    return {finding.law: finding.note for finding in found if not finding.ok}


@pytest.mark.parametrize(("law", "old", "new"), BROKEN, ids=[law for law, _, _ in BROKEN])
def test_each_law_is_broken_by_a_task_that_breaks_it(tmp_path: Path, law: str, old: str, new: str):
    assert law in broken(exchange(a_task_file(tmp_path), old, new))


def test_a_verifier_that_hangs_is_stopped_and_named(tmp_path: Path):
    path = exchange(
        a_task_file(tmp_path),
        VERIFY,
        VERIFY + "    import re\n    re.fullmatch(r'(9+)+x', text[:64])\n",
    )
    task = replace(registry.task(str(path)), patience=0.05)
    found = {
        f.law: f
        for f in task_contracts(task, registry.card("tasks", str(path)), few=2, patience=0.05)
    }
    assert not found["hostile outputs are judged"].ok
    assert "has not come back" in found["hostile outputs are judged"].note


def test_what_pays_for_silence_is_broken(tmp_path: Path):
    path = exchange(
        a_task_file(tmp_path), VERIFY, VERIFY + "    text = text or str(example.target)\n"
    )
    assert "paid in full" in broken(path)["hostile outputs are judged"]


def test_near_duplicates_are_told_and_break_nothing(tmp_path: Path):
    path = exchange(
        a_task_file(tmp_path),
        '{"a": a, "b": b}',
        '{"a": a, "b": b, "q": "Anna has " + str(a) + " red apples and buys some more of them"}',
    )
    task, card = registry.task(str(path)), registry.card("tasks", str(path))
    found = {finding.law: finding for finding in task_contracts(task, card, few=4)}
    assert found["near-duplicates between splits"].ok
    assert "test examples share" in found["near-duplicates between splits"].note


def test_check_exits_by_what_it_finds(tmp_path: Path):
    path = a_task_file(tmp_path)
    said = command("check", path)
    assert (said.code, said.err) == (0, "")
    assert all(law in said.out for law in LAWS)
    assert "every law holds" in said.out
    exchange(path, '"close": 0.3', '"near": 0.3')
    said = command("check", path, "--json")
    assert said.code == 1
    told = json.loads(said.out)
    assert not told["ok"]
    (findings,) = told["findings"].values()
    assert [f["law"] for f in findings if not f["ok"]] == ["rewards are made of scores"]


def test_examples_that_a_hash_seed_moves_are_found(tmp_path: Path):
    path = exchange(
        a_task_file(tmp_path),
        "for a, b in pairs]\n",
        'for a, b in sorted(pairs, key=lambda p: hash(f"{p}"))]\n',
    )
    said = command("check", path)
    assert said.code == 1
    assert "BROKEN other processes see the same examples" in said.out


REWARDS = "batch.rewards - "
COUNTED = "        batch = batch.but(rewards=batch.rewards * COUNT.pop())\n        center = "
BROKEN_RECIPES = [
    ("the card is complete", "Limits   In groups", "Bounds   In groups"),
    ("the name is that of the file", 'name="med"', 'name="median"'),
    ("prints and reads back", "share: float = 1.0", "share: object = print"),
    ("weights add up", '    paper="",', '    weights=(),\n    paper="",'),
    ("permuting rollouts", REWARDS, "batch.rewards * batch.rewards.cumsum(0) - "),
    ("degenerate groups", REWARDS, "batch.rewards / batch.rewards - "),
    ("two steps are finite", "        center = ", COUNTED),
]


@pytest.mark.parametrize(
    ("law", "old", "new"), BROKEN_RECIPES, ids=[law for law, _, _ in BROKEN_RECIPES]
)
def test_each_law_of_recipes_is_broken_by_one_that_breaks_it(
    tmp_path: Path, law: str, old: str, new: str
):
    assert command("new", "recipe", "med", "--to", tmp_path).code == 0
    path = exchange(tmp_path / "med.py", old, new)
    exchange(path, "\n\n@dataclass", "\n\nCOUNT = [n / 7 for n in range(1, 99)]\n\n\n@dataclass")
    said = command("check", path)
    assert said.code == 1
    assert any(line.startswith(f"  BROKEN {law}") for line in said.out.splitlines()), said.out


TORN = """
@dataclass(frozen=True)
class Torn:
    def __call__(self, live, batch, run):
        return -batch.advantages * (live.logprobs - live.logprobs.mean()) ** 2


RECIPE = """


def test_a_loss_that_reads_across_a_micro_batch_is_broken(tmp_path: Path):
    assert command("new", "recipe", "torn", "--to", tmp_path).code == 0
    path = exchange(tmp_path / "torn.py", '    paper="",', '    paper="",\n    losses=(Torn(),),')
    said = command("check", exchange(path, "\nRECIPE = ", TORN))
    assert said.code == 1
    assert "BROKEN micro-batches change no gradient: the gradient of a step's first" in said.out
    assert said.out.count("BROKEN") == 1


def test_places_that_nobody_filled_are_told_and_break_nothing(tmp_path: Path):
    assert command("new", "task", "adds/digits", "--to", tmp_path).code == 0
    path = tmp_path / "adds.py"
    marked = [n for n, line in enumerate(path.read_text().splitlines(), 1) if "HERE:" in line]
    said = command("check", path)
    assert said.code == 0
    assert f"still marked HERE: line {', '.join(map(str, marked))}" in said.out
    path.write_text(path.read_text().replace("HERE:", "done:"))
    assert "HERE" not in command("check", path).out


def test_check_of_a_model_says_what_has_contracts():
    said = command("check", "gold")
    assert said.code == 2
    assert "tasks and recipes have contracts" in said.err
