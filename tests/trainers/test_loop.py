"""The loop: what it keeps, what it counts, what stops it, and that it goes on exactly."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from harness.codec import encode
from harness.errors import DataError, IncompleteRun, SplitError, UnknownName, UsageError
from harness.types import Completion, Example, Message, Prompt, Rollout, Task, Verdict
from tests.trainer_builders import digits, short, tiny
from trainers.alarms import Alarm
from trainers.clocks import PARTS
from trainers.contracts import CLOCKS
from trainers.loop import Plan, Training
from trainers.losses import Clipped, KLToReference
from trainers.recipe import AdamW, Recipe
from trainers.recipes.grpo import RECIPE as GRPO
from trainers.rewards import WeighScores
from trainers.rollouts import HintOnFailure
from trainers.samplers import Uniform
from trainers.schedules import Linear

FAST = short(GRPO, steps=4, optimizer=AdamW(lr=1e-3))


@dataclass
class Kept:
    """A store in memory."""

    lines: list[dict[str, Any]] = field(default_factory=list)

    def keep(self, phase: str, step: int, rollouts: Sequence[tuple[Rollout, float | None]]) -> None:
        for rollout, reward in rollouts:
            told = encode(rollout)
            told.pop("seconds")
            self.lines.append({"phase": phase, "step": step, "reward": reward, **told})

    def prune(self, step: int) -> None:
        self.lines = [line for line in self.lines if line["step"] <= step]


def training(
    folder: Path, recipe: Recipe = FAST, task: Task | None = None, **plan: Any
) -> Training:
    plan = {"dev_every": 2, "dev_limit": 4, "save_every": 2, **plan}
    return Training(
        task or digits(), recipe, {"solver": tiny()}, folder, Plan(**plan), store=Kept()
    )


def log(folder: Path) -> list[dict[str, float]]:
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return [{k: v for k, v in line.items() if not k.startswith(CLOCKS)} for line in lines]


def weights(one: Training) -> list[torch.Tensor]:
    return [p.detach() for p in one.run.policies["solver"].parameters()]


def same(one: Training, other: Training) -> bool:
    return (
        all(torch.equal(a, b) for a, b in zip(weights(one), weights(other), strict=True))
        and log(one.folder) == log(other.folder)
        and one.store.lines == other.store.lines  # type: ignore[attr-defined]
        and one.run.ledger == other.run.ledger
    )


def test_same_seed_same_numbers_and_another_seed_others(tmp_path: Path):
    one, two = training(tmp_path / "one"), training(tmp_path / "two")
    other = training(tmp_path / "other", seed=1)
    for each in (one, two, other):
        each.train()
    assert same(one, two)
    assert log(one.folder) != log(other.folder)


@dataclass(frozen=True)
class Remember:
    """A stage with a state and a chance of its own, as rich as states get."""

    def __call__(self, batch, run):
        memory = run.memory.setdefault("remember", {"seen": 0, "mean": torch.zeros(1)})
        memory["seen"] += len(batch.rollouts)
        memory["mean"] = 0.9 * memory["mean"] + batch.rewards.mean()
        noise = float(run.rng.normal()) + float(torch.rand(()))
        run.tally.put("noise", noise)
        return batch.but(advantages=batch.advantages - memory["mean"] + noise)


RICH = FAST.but(
    advantages=(*FAST.advantages, Remember()),
    losses=(Clipped(), KLToReference(0.1)),
    optimizer=AdamW(lr=Linear(1e-3, 1e-4, 4)),
    temperature=Linear(1.0, 0.5, 4),
    epochs=2,
)


@pytest.mark.parametrize("recipe", [FAST, RICH], ids=["grpo", "rich"])
@pytest.mark.parametrize("save_every", [1, 3])
def test_a_run_that_stopped_anywhere_goes_on_to_the_same_numbers(
    tmp_path: Path, recipe: Recipe, save_every: int
):
    unbroken = training(tmp_path / "unbroken", recipe, save_every=save_every)
    unbroken.train()

    class Killed(Exception):
        pass

    store: Any = None
    for dies_at in (1, 2, 3):
        broken = training(tmp_path / "broken", recipe, save_every=save_every)
        broken.store = store or broken.store
        store = broken.store

        def die(step: int, numbers: object, at: int = dies_at) -> None:
            if step == at:
                raise Killed

        broken.report = die
        with pytest.raises(Killed):
            broken.train()
    last = training(tmp_path / "broken", recipe, save_every=save_every)
    last.store = store
    last.train()
    assert same(last, unbroken)


def test_a_damaged_checkpoint_costs_its_steps_and_no_number(tmp_path: Path):
    unbroken = training(tmp_path / "unbroken", RICH, save_every=1)
    unbroken.train()
    first = training(tmp_path / "broken", RICH.but(steps=4), save_every=1)

    def stop(step: int, numbers: object) -> None:
        first.stopping = step == 3

    first.report = stop
    with pytest.raises(KeyboardInterrupt):
        first.train()
    path = first.checkpoints.path(3) / "solver" / "model.safetensors"
    data = bytearray(path.read_bytes())
    data[-5] ^= 16
    path.write_bytes(bytes(data))
    last = training(tmp_path / "broken", RICH, save_every=1)
    last.store = first.store
    said: list[str] = []
    last.say = said.append
    last.train()
    assert ["step-000003 is damaged" in word for word in said] == [True]
    assert same(last, unbroken)


def test_the_last_and_the_best_looks_keep_their_checkpoints(tmp_path: Path):
    one = training(tmp_path, FAST, dev_every=1, save_every=1, keep=1, keep_best=2)
    values = iter([0.1, 0.5, 0.2, 0.9, 0.4])
    look = one.development.look

    def look_as_told(*given: Any) -> Any:
        return replace(look(*given), headline=next(values))

    one.development.look = look_as_told  # type: ignore[method-assign]
    one.train()
    assert one.checkpoints.steps() == [1, 3, 4]
    assert [held["step"] for held in one.looks] == [3, 1]
    assert one.best == {"step": 3, "value": 0.9, "metric": "correct"}


def test_another_recipe_is_not_continued_in_silence(tmp_path: Path):
    training(tmp_path).train()
    with pytest.raises(UsageError, match=r"written by another recipe.*Give the same one"):
        training(tmp_path, FAST.but(epochs=2)).train()


def test_other_threads_are_told(tmp_path: Path):
    training(tmp_path).train()
    torch.set_num_threads(2)
    said: list[str] = []
    again = training(tmp_path)
    again.say = said.append
    again.train()
    assert said == [
        "the run was made with 1 threads and goes on with 2: its numbers may differ in their last "
        "bits"
    ]


def test_asked_to_stop_it_finishes_the_step_and_saves(tmp_path: Path):
    unbroken = training(tmp_path / "unbroken")
    unbroken.train()
    first = training(tmp_path / "stopped", save_every=100, dev_every=0)
    first.stopping = True
    with pytest.raises(KeyboardInterrupt):
        first.train()
    assert first.checkpoints.steps() == [1]


def test_faults_leave_their_group_and_are_counted(tmp_path: Path):
    def verify(example: Example, completion: Completion) -> Verdict:
        if completion.output and ord(str(completion.output)[0]) % 3 == 0:
            raise RuntimeError("the judge is down")
        return digits().verify(example, completion)

    one = training(tmp_path, task=digits().but(verify=verify), dev_every=0)
    with pytest.raises(DataError, match=r"rehearsal's attempt at .* failed: .*judge is down"):
        one.train()


def test_a_faulty_attempt_is_not_a_wrong_one(tmp_path: Path):
    calls: list[int] = []

    def verify(example: Example, completion: Completion) -> Verdict:
        calls.append(1)
        if len(calls) > 4 and len(calls) % 5 == 0:
            raise RuntimeError("the judge is down")
        return Verdict({"correct": 1.0, "close": 1.0})

    one = training(tmp_path, task=digits().but(verify=verify), dev_every=0)
    one.train()
    for line in log(tmp_path):
        assert line["faults"] in (2, 3)
        assert line["reward"] == 1
        assert line["frac_reward_zero_std"] == 1


def test_a_step_of_faults_alone_stops_the_run(tmp_path: Path):
    calls: list[int] = []

    def verify(example: Example, completion: Completion) -> Verdict:
        calls.append(1)
        if len(calls) > 4 + 12:
            raise RuntimeError("the judge is down")
        return digits().verify(example, completion)

    one = training(tmp_path, task=digits().but(verify=verify), dev_every=0, save_every=1)
    with pytest.raises(IncompleteRun, match=r"none of the 12 attempts of step 2.*judge is down"):
        one.train()
    assert one.checkpoints.steps() == [1]


def test_groups_without_spread_are_counted_and_move_nothing(tmp_path: Path):
    def verify(example: Example, completion: Completion) -> Verdict:
        return Verdict({"correct": 0.0, "close": 0.0}, reason="wrong")

    one = training(tmp_path, task=digits().but(verify=verify), dev_every=0)
    before = [p.clone() for p in weights(one)]
    one.train()
    assert all(torch.equal(a, b) for a, b in zip(before, weights(one), strict=True))
    line = log(tmp_path)[-1]
    assert line["frac_reward_zero_std"] == 1
    assert line["tokens/trained"] == 0
    assert line["grad_norm"] == 0


def test_training_pays_what_the_stored_verdict_says(tmp_path: Path):
    one = training(tmp_path)
    one.train()
    lines = [line for line in one.store.lines if line["phase"] == "train"]  # type: ignore[attr-defined]
    assert len(lines) == 4 * 12
    for line in lines:
        assert line["reward"] == float(np.float32(line["verdict"]["scores"]["close"]))


def test_the_log_has_the_names_that_dashboards_know(tmp_path: Path):
    training(tmp_path).train()
    lines = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    step = next(line for line in lines if line["step"] == 1)
    expected = """reward reward_std frac_reward_zero_std rewards/close/mean rewards/close/std
    num_tokens step_time completions/mean_length completions/min_length completions/max_length
    completions/clipped_ratio entropy loss clip_ratio/low_mean clip_ratio/low_min
    clip_ratio/high_mean clip_ratio/high_max clip_ratio/region_mean learning_rate grad_norm
    sampling/sampling_logp_difference/mean sampling/sampling_logp_difference/max
    sampling/importance_sampling_ratio/min sampling/importance_sampling_ratio/mean
    sampling/importance_sampling_ratio/max epoch masked_share advantage/max tokens_per_second
    time/generate time/verify time/review time/backward time/optimizer faults completions/empty
    tokens/generated tokens/trained tokens_per_second/generate time/other effective_prompt_ratio
    memory/peak_rss_mib rollouts""".split()
    assert [name for name in expected if name not in step] == []
    assert [line["step"] for line in lines if "eval/close" in line] == [0, 2, 4]


def test_the_parts_of_a_steps_time_add_up(tmp_path: Path):
    training(tmp_path, FAST.but(losses=(Clipped(), KLToReference(0.1)))).train()
    lines = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    parts = [f"time/{part}" for part in PARTS]
    for line in (line for line in lines if "reward" in line):
        assert sum(line[part] for part in parts) == pytest.approx(line["step_time"])
        assert all(line[part] >= 0 for part in parts)
        assert line["time/generate"] > 0
        assert line["time/review"] > 0
        assert line["memory/peak_rss_mib"] > 50


def test_verdicts_that_are_waited_for_are_no_generation(tmp_path: Path):
    def verify(example: Example, completion: Completion) -> Verdict:
        time.sleep(0.05)
        return digits().verify(example, completion)

    training(tmp_path, FAST.but(steps=1), digits().but(verify=verify), dev_every=0).train()
    [line] = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert line["time/verifiers"] >= 12 * 0.05
    assert line["time/verify"] >= 0.05  # of twelve on four threads, most after the last answer


def test_what_was_played_and_left_out_is_counted(tmp_path: Path):
    @dataclass(frozen=True)
    class Twice:
        def __call__(self, prompts, play, run):
            play([prompt.but(attempt=prompt.attempt + 100) for prompt in prompts])
            return play(prompts)

    one = training(tmp_path, FAST.but(rollouts=(Twice(),)), dev_every=0)
    one.train()
    for line in log(tmp_path):
        assert line["tokens/generated"] > 12 * line["completions/mean_length"]
        assert line["tokens/trained"] <= 12 * line["completions/mean_length"]


def test_alarms_are_told_and_kept(tmp_path: Path):
    def verify(example: Example, completion: Completion) -> Verdict:
        return Verdict({"correct": 0.0, "close": 0.0}, reason="wrong")

    one = training(tmp_path, FAST.but(steps=11), digits().but(verify=verify), dev_every=0)
    told: list[Alarm] = []
    one.warn = told.append
    one.train()
    assert [(alarm.kind, alarm.step) for alarm in told] == [("flat_groups", 10)]
    [line] = [json.loads(line) for line in (tmp_path / "alarms.jsonl").read_text().splitlines()]
    stored = {(kept["example"], kept["attempt"]) for kept in one.store.lines if kept["step"] == 10}  # type: ignore[attr-defined]
    assert {(shown["example"], shown["attempt"]) for shown in line["rollouts"]} <= stored
    assert len(line["rollouts"]) == 3


# ---- rehearsal


def test_a_score_that_the_task_lacks_is_found_before_the_first_step(tmp_path: Path):
    recipe = FAST.but(rewards=(WeighScores({"grounded": 1.0}),))
    one = training(tmp_path, recipe)
    with pytest.raises(UnknownName, match=r"no 'grounded' in the scores.*close, correct"):
        one.train()
    assert log(tmp_path) == []


def test_a_scored_split_is_not_trained_on(tmp_path: Path):
    task = digits().but(examples=lambda split: digits().examples("test"))
    with pytest.raises(SplitError, match="also scored"):
        training(tmp_path, task=task)
    with pytest.raises(SplitError, match="no train split"):
        training(tmp_path, task=digits().but(examples=lambda split: []))


def test_a_prompt_that_leaves_no_room_is_found_before_the_first_step(tmp_path: Path):
    def prompt(example: Example) -> Prompt:
        text = example.id * (2000 if example.id == "d9" else 1)
        return Prompt(example, (Message("user", text + example.inputs["q"]),))

    with pytest.raises(DataError, match=r"attempt at d9 failed.*context holds 2048"):
        training(tmp_path, task=digits().but(prompt=prompt)).train()


def test_a_schedule_that_goes_below_zero_is_found_when_it_does(tmp_path: Path):
    class Falling:
        def value(self, step: int) -> float:
            return 1.0 - step

    one = training(tmp_path, FAST.but(optimizer=AdamW(lr=Falling())))
    with pytest.raises(UsageError, match="never below 0"):
        one.train()


def test_a_memory_that_cannot_come_back_is_refused(tmp_path: Path):
    @dataclass(frozen=True)
    class Hoard:
        def __call__(self, batch, run):
            run.memory["hoard"] = {1, 2}
            return batch

    one = training(tmp_path, FAST.but(rewards=(*FAST.rewards, Hoard())))
    with pytest.raises(UsageError, match=r"memory\.hoard holds a set"):
        one.train()
    assert log(tmp_path) == []  # before the first step, not at the first checkpoint


def test_the_rehearsal_leaves_no_trace(tmp_path: Path):
    one = training(tmp_path)
    one.train()
    assert one.run.memory["uniform"]["place"] == 4 * 3
    assert sum(past.tries for past in one.run.ledger.past.values()) == 4 * 12


# ---- wrappers and roles


def test_wrappers_go_round_play(tmp_path: Path):
    hinted = digits().but(
        examples=lambda split: [replace(e, tags={"hint": "!"}) for e in digits().examples(split)]
    )
    one = training(tmp_path, FAST.but(rollouts=(HintOnFailure(),)), hinted)
    one.train()
    hints = [
        line["turns"][0]["hints"]
        for line in one.store.lines  # type: ignore[attr-defined]
        if line["phase"] == "train"
    ]
    assert ["!"] in hints


def test_a_second_role_learns_from_its_own_rollouts(tmp_path: Path):
    def dialogue(opening: Prompt):
        first = yield opening
        second = yield Prompt(
            opening.example,
            (Message("user", f"{opening.example.id}{str(first.output)[:1]}"),),
            role="judge",
            attempt=opening.attempt,
        )
        found = digits().verify(opening.example, first)
        kind = float(str(second.output)[:1].isdigit())
        return replace(found, scores={**found.scores, "kind": kind})

    recipe = FAST.but(roles={"judge": FAST.but(rewards=(WeighScores({"kind": 1.0}),))})
    policies = {"solver": tiny(), "judge": tiny(seed=5)}
    before = [[p.clone() for p in policy.parameters()] for policy in policies.values()]
    task = digits().but(dialogue=dialogue)
    one = Training(task, recipe, policies, tmp_path, Plan(dev_every=0, save_every=2))
    one.train()
    for old, policy in zip(before, policies.values(), strict=True):
        assert any(not torch.equal(a, b) for a, b in zip(old, policy.parameters(), strict=True))
    assert "judge/reward" in log(tmp_path)[0]
    assert (one.checkpoints.path(4) / "judge" / "model.safetensors").exists()
    again = Training(task, recipe, {"solver": tiny(), "judge": tiny(seed=5)}, tmp_path, one.plan)
    again.train()
    assert all(
        torch.equal(a, b)
        for a, b in zip(
            again.policies["judge"].parameters(), policies["judge"].parameters(), strict=True
        )
    )


def test_more_prompts_than_examples_are_drawn_apart(tmp_path: Path):
    recipe = FAST.but(samplers=Uniform(prompts=5, rollouts=2), steps=1)
    one = training(tmp_path, recipe, limit=2, dev_every=0)
    one.train()
    keys = [(line["example"], line["attempt"]) for line in one.store.lines]  # type: ignore[attr-defined]
    assert len(set(keys)) == 10
