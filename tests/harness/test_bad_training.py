"""Bad input to `harness train`: refused before the first step with what would do, or counted."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from harness.journal import Journal
from tests.command_line import Said, command, exchange

TASK = '''
"""say: say the digit that is shown.

Data     Made here.
Scores   close: nearness, 0 to 1.
"""

from harness import Example, Message, Metric, Prompt, Task, Verdict

LETTERS = {"train": "ab", "dev": "c", "test": "d"}


def examples(split):
    return [Example(f"{letter}{n}", {}, n) for letter in LETTERS[split] for n in range(10)]


def prompt(example):
    return Prompt(example, (Message("user", example.id),))


def verify(example, completion):
    text = str(completion.output)[:1]
    if not (text.isascii() and text.isdigit()):
        return Verdict({"close": 0.0}, reason="no_answer")
    return Verdict({"close": 1 - abs(int(text) - example.target) / 10}, text)


TASKS = [
    Task(
        name="say/digits",
        version=1,
        examples=examples,
        prompt=prompt,
        verify=verify,
        gold=lambda example: str(example.target),
        metrics=(Metric("close", each=lambda row: sum(v.scores["close"] for v in row) / len(row)),),
        reward={"close": 1.0},
    ),
]
'''


@pytest.fixture
def task(tmp_path: Path) -> Path:
    path = tmp_path / "say.py"
    path.write_text(TASK, "utf-8")
    return path


def trained(task: Path, *more: str | Path, model: str = "text:tiny") -> Said:
    """Two short steps."""
    base = "--steps 2 --max-tokens 2 --no-test --json --dev-limit 2 --name it".split()
    sizes = ("--set", "samplers.prompts=2", "--set", "samplers.rollouts=4")
    return command("train", task, "-m", model, *base, *sizes, *more, "-o", task.parent / "out")


def steps(task: Path) -> list[dict[str, float]]:
    """The log's lines of steps; none where nothing was trained."""
    log = Journal(task.parent / "out" / "runs" / "it" / "metrics.jsonl")
    return [line for line in log.read() if "reward" in line]


def refused(said: Said, task: Path, code: int, *words: str) -> None:
    assert said.code == code, said.err
    told = said.err.partition("error: ")[2]
    for word in words:
        assert word in told
    assert "Traceback" not in said.err
    assert steps(task) == []


def test_what_is_well_is_trained_and_says_what_the_loss_means(task: Path):
    said = trained(task)
    assert said.code == 0
    assert len(steps(task)) == 2
    assert said.err.count("on the printed loss: with one epoch") == 1
    assert json.loads(said.out)["alarms"] == []
    page = task.parent / "page.html"
    out = task.parent / "out"
    assert command("view", "it", "--html", page, "-o", out).code == 0
    assert "On the printed loss: with one epoch" in page.read_text("utf-8")


def test_a_score_that_the_task_lacks(task: Path):
    said = trained(task, "--set", 'rewards.WeighScores.scores={"grounded": 1.0}')
    refused(said, task, 2, "no 'grounded' in the scores of this task", "There are: close")


def test_a_schedule_that_goes_below_zero_as_it_is_written(task: Path):
    said = trained(task, "--set", "optimizer.lr=Linear(1e-3, -1e-3, 2)")
    refused(said, task, 2, "Linear(start=0.001, end=-0.001", "goes below 0", ">= 0")


def test_a_schedule_that_goes_below_zero_later_on(task: Path, tmp_path: Path):
    recipe = tmp_path / "falling.py"
    recipe.write_text(
        '"""falling: grpo with a rate that falls below 0.\n"""\n'
        "from dataclasses import dataclass\n"
        "from trainers.recipe import AdamW\n"
        "from trainers.recipes.grpo import RECIPE as GRPO\n\n\n"
        "@dataclass(frozen=True)\nclass Falling:\n"
        "    start: float = 1e-3\n\n"
        "    def value(self, step: int) -> float:\n"
        "        return self.start - 1e-3 * step\n\n\n"
        'RECIPE = GRPO.but(name="falling", optimizer=AdamW(lr=Falling()))\n',
        "utf-8",
    )
    said = trained(task, "--recipe", recipe, "--steps", "5")
    refused(
        said, task, 2, "optimizer.lr: Falling(start=0.001) is -0.001 at step 2", "never below 0"
    )


def test_a_number_below_zero(task: Path):
    said = trained(task, "--set", "losses.Clipped.low=-0.2")
    refused(said, task, 2, "losses.Clipped.low", "is -0.2", "never below 0")


def test_a_reward_that_is_no_number(task: Path):
    exchange(task, "1 - abs(int(text) - example.target) / 10", 'float("nan")')
    exchange(task, '{"close": 0.0}', '{"close": float("nan")}')
    said = trained(task)
    refused(said, task, 3, "rehearsal's attempt", "gave no finite number for close")


def test_a_reward_that_is_no_number_now_and_then_is_masked_and_counted(task: Path):
    count = "import itertools\nCALLS = itertools.count()\n\n\ndef verify(example, completion):\n"
    exchange(task, "def verify(example, completion):\n", count + "    number = next(CALLS)\n")
    odd = '0.0 if number < 16 or number % 3 else float("nan")'
    exchange(task, '{"close": 0.0}', f'{{"close": {odd}}}')
    assert trained(task, "--dev-every", "0").code == 0
    lines = steps(task)
    assert sum(line["faults"] for line in lines) >= 1
    for line in lines:
        assert line["faults"] + line["rollouts"] == 8
        assert line["reward"] >= 0


def test_an_empty_completion_is_judged_and_counted(task: Path):
    # 7 of the 102 tokens of the tiny model say nothing that a reader sees
    said = trained(task, "--max-tokens", "1", "--set", "samplers.rollouts=64")
    assert said.code == 0
    lines = steps(task)
    assert sum(line["completions/empty"] for line in lines) >= 1
    assert all(0 <= line["reward"] <= 1 for line in lines)
    stored = Journal(task.parent / "out" / "runs" / "it" / "rollouts.jsonl").read()
    empty = [row for row in stored if row["phase"] == "train" and not row["turns"][0]["output"]]
    assert len(empty) == sum(line["completions/empty"] for line in lines)
    assert all(row["verdict"]["reason"] == "no_answer" and row["reward"] == 0 for row in empty)


def test_a_prompt_that_is_longer_than_the_context(task: Path):
    long = 'example.id * (3000 if example.id == "b7" else 1)'
    exchange(task, 'Message("user", example.id)', f'Message("user", {long})')
    refused(trained(task), task, 3, "attempt at b7 failed", "context holds 2048")


def test_an_adapter_whose_base_has_another_vocabulary(task: Path, tmp_path: Path):
    from harness.models import Sampling
    from trainers.policies.text import open_text
    from trainers.text.settings import LoRA

    open_text("tiny", Sampling()).save(tmp_path / "base")
    policy = open_text(str(tmp_path / "base"), Sampling(), adapter=LoRA(rank=2))
    policy.save(tmp_path / "adapter")
    assert trained(task, model=f"text:{tmp_path / 'adapter'}").code == 0
    shutil.rmtree(tmp_path / "out")
    tokens = tmp_path / "base" / "tokenizer.json"
    table = json.loads(tokens.read_text("utf-8"))
    words = table["model"]["vocab"]
    words["7"], words["8"] = words["8"], words["7"]
    tokens.write_text(json.dumps(table), "utf-8")
    said = trained(task, model=f"text:{tmp_path / 'adapter'}")
    refused(said, task, 4, "was made for another base", "vocabulary", "'7' is token")


def test_a_dev_split_that_is_missing(task: Path):
    exchange(task, '"dev": "c"', '"dev": ""')
    refused(trained(task), task, 3, "say/digits has no dev split", "--dev-every 0")
    assert trained(task, "--dev-every", "0", "--fresh").code == 0


@pytest.mark.parametrize("recipe", ["grpo", "dapo", "rloo"])
def test_groups_of_one_attempt(task: Path, recipe: str):
    said = trained(task, "--recipe", recipe, "--set", "samplers.rollouts=1")
    refused(said, task, 2, f"{recipe} compares the attempts", "--set samplers.rollouts=8")


def test_no_attempt_at_all(task: Path):
    said = trained(task, "--set", "samplers.rollouts=0")
    refused(said, task, 2, "at least 1 is counted")
