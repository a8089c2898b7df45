"""Training that is killed at any moment and run again ends at the numbers of an unbroken run."""

from __future__ import annotations

import hashlib
import json
import os
import random
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.commands.receipts import receipt_of
from harness.journal import Journal
from results.run import RunFolder
from tests.forks import Forks, Running
from tests.killing import harness, kill_at_random, start
from trainers.contracts import CLOCKS

TASK = '''
"""say: say the digit that is shown.

Data     Made here.
Scores   close: nearness, 0 to 1.
"""

from harness import Example, Message, Metric, Prompt, Task, Verdict

LETTERS = {"train": "ab", "dev": "c", "test": "d"}


def examples(split):
    return [
        Example(f"{letter}{digit}", {}, digit) for letter in LETTERS[split] for digit in range(10)
    ]


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
        prompt=lambda example: Prompt(example, (Message("user", example.id),)),
        verify=verify,
        gold=lambda example: str(example.target),
        metrics=(Metric("close", each=lambda row: sum(v.scores["close"] for v in row) / len(row)),),
        reward={"close": 1.0},
    ),
]
'''
COMMAND = (
    "train say.py --model text:tiny --steps 24 --max-tokens 3 --save-every 3 --dev-every 8 "
    "--set samplers.prompts=4 --set optimizer.lr=3e-3 --set epochs=2 --no-test --json"
).split()


def ended(folder: Path) -> tuple[str, list[str], list[str]]:
    """Digest of the weights, the log without its clocks and its alarms, every rollout in order."""
    (run,) = (folder / "results" / "runs").iterdir()
    (held,) = (run / "policy").glob("*model.safetensors")
    weights = hashlib.sha256(held.read_bytes()).hexdigest()
    log = [
        json.dumps({k: v for k, v in line.items() if not k.startswith(CLOCKS)})
        for line in Journal(run / "metrics.jsonl").read()
    ]
    log += [json.dumps(line) for line in Journal(run / "alarms.jsonl").read()]
    rollouts = []
    for line in Journal(run / "rollouts.jsonl").read():
        line.pop("seconds")
        rollouts.append(json.dumps(line, sort_keys=True))
    return weights, log, rollouts


def folder(place: Path) -> Path:
    place.mkdir()
    (place / "say.py").write_text(TASK)
    return place


def kill_while_learning(place: Path, rng: random.Random) -> bool:
    """Start the command, and kill it some steps after the log has grown; False if it was over."""
    logs = [*place.glob("results/runs/*/metrics.jsonl")]
    before = logs[0].stat().st_size if logs else 0
    process = start(COMMAND, place)
    while process.poll() is None:
        logs = [*place.glob("results/runs/*/metrics.jsonl")]
        if logs and logs[0].stat().st_size not in (0, before):
            break
        time.sleep(0.01)
    time.sleep(rng.uniform(0.0, 0.6))
    ended = process.poll() is not None
    if not ended:
        os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    return not ended


def test_killed_training_resumes_to_the_same_numbers(tmp_path: Path):
    kills = 2
    unbroken, broken = folder(tmp_path / "unbroken"), folder(tmp_path / "broken")
    begin = time.monotonic()
    harness(COMMAND, unbroken)
    seconds = time.monotonic() - begin
    rng = random.Random(kills)
    killed = 0
    for number in range(kills):
        if number % 3 == 2:  # anywhere, loading included
            killed += kill_at_random(COMMAND, broken, within=seconds, rng=rng)
        else:
            killed += kill_while_learning(broken, rng)
    harness(COMMAND, broken)
    assert killed > 0
    assert ended(broken) == ended(unbroken)
    (run,) = (broken / "results" / "runs").iterdir()
    receipt = receipt_of(RunFolder(run), str(broken / "say.py"))
    assert receipt["agrees"], receipt["checks"]
    assert {check.what: check.checked for check in receipt["checks"]}["training rewards"] == 24 * 32


RICH = (
    '"""rich: a recipe whose state is as rich as states get."""\n'
    + """
from dataclasses import dataclass

import torch

from trainers.losses import Clipped, KLToReference
from trainers.recipe import AdamW
from trainers.recipes.grpo import RECIPE as GRPO
from trainers.schedules import Linear


@dataclass(frozen=True)
class Remember:
    def __call__(self, batch, run):
        memory = run.memory.setdefault("remember", {"seen": 0, "mean": torch.zeros(1)})
        memory["seen"] += len(batch.rollouts)
        memory["mean"] = 0.9 * memory["mean"] + batch.rewards.mean()
        tries = sum(run.ledger[r.example.id].tries for r in batch.rollouts)
        noise = float(run.rng.normal()) + float(torch.rand(())) + tries / 100
        run.tally.put("noise", noise)
        return batch.but(advantages=batch.advantages - memory["mean"] + 0.01 * noise)


RECIPE = GRPO.but(
    name="rich",
    advantages=(*GRPO.advantages, Remember()),
    losses=(Clipped(), KLToReference(0.1)),
    optimizer=AdamW(lr=Linear(3e-3, 1e-3, 40)),
    temperature=Linear(1.0, 0.7, 40),
)
"""
)
KINDS = {
    "full": "",
    "adapter": "--lora 4",
    "rich": "--recipe rich.py",
    "writing": "--keep-best 2",
}


@pytest.fixture(scope="module")
def forks() -> Iterator[Forks]:
    made = Forks()
    yield made
    made.close()


def logged(place: Path) -> int:
    """Bytes of the log."""
    return sum(path.stat().st_size for path in place.glob("results/runs/*/metrics.jsonl"))


def kill_at_a_random_moment(running: Running, place: Path, rng: random.Random) -> bool:
    """A third while it starts, the others soon after it went on; False if it was over."""
    deadline = time.monotonic() + 120
    if rng.random() < 1 / 3:
        running.ended(rng.uniform(0.0, 1.0))
        return running.alive and running.kill()
    before = logged(place)
    while running.alive and logged(place) <= before and time.monotonic() < deadline:
        running.ended(0.005)
    running.ended(rng.uniform(0.0, 0.3))
    return running.alive and running.kill()


def kill_while_a_checkpoint_is_written(running: Running, place: Path, rng: random.Random) -> bool:
    """As soon as a draft is seen, or an old one that goes, or up to 20 ms later."""
    deadline = time.monotonic() + 120
    for _ in range(rng.randrange(1, 4)):
        while running.alive and not drafts(place) and time.monotonic() < deadline:
            running.ended(0.0005)
    running.ended(rng.uniform(0.0, 0.02))
    return running.alive and running.kill()


def drafts(place: Path) -> list[Path]:
    return list(place.glob("results/runs/*/checkpoints/.step-*.part"))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "kills"), [("full", 30), ("adapter", 6), ("rich", 8), ("writing", 10)]
)
def test_killed_thirty_times_it_ends_where_the_unbroken_run_does(
    tmp_path: Path, forks: Forks, kind: str, kills: int
):
    """Weights, log and every rollout, to the bit; for each moment at which a run can die."""
    steps = 3 * kills
    command = (
        f"train say.py --model text:tiny --steps {steps} --max-tokens 3 --save-every 2 "
        f"--dev-every 6 --dev-limit 4 --keep 1 {KINDS[kind]} --set samplers.prompts=2 "
        "samplers.rollouts=3 epochs=2 --no-test --json"
    ).split()
    if kind != "rich":
        command += ["--set", "optimizer.lr=3e-3"]
    unbroken, broken = folder(tmp_path / "unbroken"), folder(tmp_path / "broken")
    for place in (unbroken, broken):
        (place / "rich.py").write_text(RICH)
    forks.run(command, unbroken)
    rng = random.Random(kind)
    kill = kill_while_a_checkpoint_is_written if kind == "writing" else kill_at_a_random_moment
    killed = halves = 0
    while killed < kills:
        assert kill(forks.start(command, broken), broken, rng), f"over after {killed} kills"
        killed += 1
        halves += bool(drafts(broken))
    forks.run(command, broken)
    assert kind != "writing" or halves > 2, "no kill hit a checkpoint that was being written"
    assert not drafts(broken)
    assert ended(broken) == ended(unbroken)


def test_an_interrupt_saves_and_says_how_to_go_on(tmp_path: Path):
    place = folder(tmp_path / "stopped")
    process = start([*COMMAND, "--steps", "500"], place)
    for _ in range(600):
        logs = list(place.glob("results/runs/*/metrics.jsonl"))
        if logs and logs[0].read_text().count("\n") > 3:
            break
        time.sleep(0.1)
    os.kill(process.pid, signal.SIGINT)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "the same command goes on from there" in said
    (checkpoint,) = sorted(place.glob("results/runs/*/checkpoints/step-*"))[-1:]
    lines = (checkpoint.parent.parent / "metrics.jsonl").read_text().splitlines()
    assert int(checkpoint.name.removeprefix("step-")) == json.loads(lines[-1])["step"]


def test_two_runs_into_one_folder_are_refused(tmp_path: Path):
    place = folder(tmp_path / "busy")
    with Journal(place / "results" / "runs" / "mine" / "rollouts.jsonl"):
        process = start([*COMMAND, "--name", "mine"], place)
        _, said = process.communicate(timeout=60)
    assert process.returncode == 5
    assert "another process writes" in said
