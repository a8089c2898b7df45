"""What is stored is derived again to the bit, and whatever was changed is found."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from harness import Completion, Example, Message, Prompt, Rollout, Task, Verdict
from harness.play import play
from harness.types import Dialogue, Metric
from results.rescoring import Check, rescore
from results.run import line

EXAMPLES = [Example(f"e{n}", {"n": n}, n) for n in range(4)]
Lines = list[dict[str, Any]]


def verify(example: Example, completion: Completion) -> Verdict:
    text = str(completion.output)
    right = text == str(example.target)
    score = 1.0 if right else 0.1 + len(text) / 7
    return Verdict({"correct": float(right), "near": score}, [text], "ok" if right else "wrong")


def debate(opening: Prompt) -> Dialogue:
    first = yield opening
    doubt = yield Prompt(opening.example, (Message("user", str(first.output)),), role="judge")
    second = yield opening.then(first, str(doubt.output))
    return verify(opening.example, second)


def compare(rollouts: Sequence[Rollout]) -> list[dict[str, float]]:
    best = max(r.verdict.scores["near"] for r in rollouts)
    return [{"best": r.verdict.scores["near"] / best} for r in rollouts]


def a_task(**changes: Any) -> Task:
    return Task(
        name="numbers/plain",
        version=1,
        examples=lambda split: EXAMPLES,
        prompt=lambda example: Prompt(example, (Message("user", f"{example.inputs['n']}?"),)),
        verify=verify,
        gold=lambda example: str(example.target),
        metrics=(Metric("correct", each=lambda row: row[0].scores["correct"]),),
        reward={"correct": 1.0, "near": 0.3},
    ).but(**changes)


class Counter:
    """Answers 0, 1, 2, ... to the attempts, whatever is asked."""

    name = "counter"
    independent = True

    def answer(self, prompts: Sequence[Prompt]) -> Iterator[tuple[int, Completion]]:
        for number, prompt in enumerate(prompts):
            yield number, Completion(f"{prompt.attempt * len(prompt.messages)}", steps=1)

    def describe(self) -> Mapping[str, Any]:
        return {}


def stored(task: Task, **more: Any) -> Lines:
    """Lines as they come back from a file."""
    prompts = [task.prompt(example).but(rollouts=3) for example in EXAMPLES]
    played = play(task, prompts, {"solver": Counter(), "judge": Counter()})
    told = {"phase": "eval", "split": "test", **more}
    lines = [line(r, **told) for r in played if isinstance(r, Rollout)]
    return msgspec.json.decode(msgspec.json.encode(lines))


def wrong(checks: Sequence[Check]) -> dict[str, int]:
    return {check.what: check.wrong for check in checks if check.wrong}


KINDS = [{}, {"dialogue": debate}, {"compare": compare, "set": lambda example: "all"}]


@pytest.mark.parametrize("changes", KINDS, ids=["plain", "dialogue", "compare"])
def test_what_was_judged_is_judged_the_same_again(changes: Mapping[str, Any]):
    task = a_task(**changes)
    lines = stored(task)
    found = rescore(task, reversed(lines))
    assert found.agrees
    assert {check.what: check.checked for check in found.checks} == dict.fromkeys(
        ("lines read", "prompts as stored", "verdicts"), len(lines)
    )
    assert found.digest == rescore(task, lines).digest


def tampered(lines: Lines, number: int, *path: Any, value: Any) -> Lines:
    place: Any = lines[number]
    for word in path[:-1]:
        place = place[word]
    assert place[path[-1]] != value
    place[path[-1]] = value
    return lines


@pytest.mark.parametrize(
    ("path", "value", "what"),
    [
        (("verdict", "scores", "near"), 0.30000000000000004, "verdicts"),
        (("verdict", "scores", "more"), 1.0, "verdicts"),
        (("verdict", "answer"), ["7"], "verdicts"),
        (("verdict", "reason"), "crash", "verdicts"),
        (("turns", 0, "messages", 0, 1), "Say 0.", "prompts as stored"),
        (("prompt_digest",), "0" * 16, "prompts as stored"),
        (("example",), "e9", "lines read"),
        (("turns",), "none", "lines read"),
        (("attempt",), "x", "lines read"),
        (("split",), "exam", "lines read"),
    ],
    ids=lambda value: ".".join(map(str, value)) if isinstance(value, tuple) else None,
)
def test_whatever_was_changed_is_found(path: tuple[Any, ...], value: Any, what: str):
    task = a_task()
    lines = stored(task)
    lines[2]["verdict"]["scores"].setdefault("more", 0.0) if path[-1] == "more" else None
    before = rescore(task, lines).digest
    found = rescore(task, tampered(lines, 2, *path, value=value))
    assert wrong(found.checks)[what] == 1
    assert found.digest != before


def test_a_changed_output_is_judged_otherwise():
    task = a_task()
    found = rescore(task, tampered(stored(task), 4, "turns", 0, "output", value="12345"))
    assert wrong(found.checks) == {"verdicts": 1}


def test_a_verifier_that_changed_is_found():
    task = a_task()
    lines = stored(task)

    def other(example: Example, completion: Completion) -> Verdict:
        verdict = verify(example, completion)
        return Verdict({**verdict.scores, "near": 0.5}, verdict.answer, verdict.reason)

    def raising(example: Example, completion: Completion) -> Verdict:
        raise RuntimeError("no parser")

    assert wrong(rescore(a_task(verify=other), lines).checks) == {"verdicts": 12}
    found = rescore(a_task(verify=raising), lines)
    assert wrong(found.checks) == {"verdicts": 12}
    assert "no parser" in found.checks[2].first[0]


def test_a_line_stored_twice_agrees_unless_it_differs():
    task = a_task()
    lines = stored(task)
    later = {**lines[0], "seconds": 99.0}
    assert rescore(task, [*lines, later]).agrees
    other = json.loads(json.dumps(lines[0]))
    other["turns"][0]["output"] = "9"
    assert "lines read" in wrong(rescore(task, [*lines, other]).checks)


def test_a_dialogue_that_lost_a_role_or_a_turn_is_found():
    task = a_task(dialogue=debate)
    lines = stored(task)
    judges = [each for each in lines if each["role"] == "judge"]
    solvers = [each for each in lines if each["role"] == "solver"]
    assert wrong(rescore(task, [*judges[1:], *solvers]).checks) == {"verdicts": 1}
    assert wrong(rescore(task, [*judges, *solvers[1:]]).checks) == {"verdicts": 1}
    solvers[0]["turns"].pop()
    assert wrong(rescore(task, [*judges, *solvers]).checks) == {"verdicts": 1}


def test_a_set_that_lost_its_best_is_found():
    task = a_task(**KINDS[2])
    lines = stored(task)
    best = next(each for each in lines if each["verdict"]["scores"]["best"] == 1.0)
    rest = [each for each in lines if each["verdict"]["scores"] != best["verdict"]["scores"]]
    assert wrong(rescore(task, rest).checks) == {"verdicts": len(rest)}


def paid(pay: Callable[[dict[str, Any]], float]) -> Lines:
    lines = stored(a_task(), phase="train", split="train", step=3)
    return [{**each, "reward": float(np.float32(pay(each["verdict"]["scores"])))} for each in lines]


def test_training_rewards_are_the_weighted_scores_to_the_bit():
    weights = {"near": 0.3, "correct": 1.0}
    lines = paid(lambda scores: scores["correct"] + 0.3 * scores["near"])
    found = rescore(a_task(), lines, weights)
    assert found.agrees
    assert found.checks[-1] == Check("training rewards", 12)
    off = paid(lambda scores: scores["correct"] + 0.3000001 * scores["near"])
    assert wrong(rescore(a_task(), off, weights).checks)["training rewards"] > 0
    unknown = rescore(a_task(), lines, {"close": 1.0})
    assert wrong(unknown.checks) == {"training rewards": 12}


def test_rewards_of_a_recipes_own_stages_are_not_judged():
    found = rescore(a_task(), paid(lambda scores: -1.0), None)
    assert found.agrees
    assert "training rewards" not in {check.what for check in found.checks}


def test_steps_and_phases_are_kept_apart():
    task = a_task()
    lines = [*stored(task), *stored(task, phase="train", split="train", step=1)]
    again = stored(task, phase="train", split="train", step=2)
    again[0]["turns"][0]["output"] = "5"
    again[0]["verdict"] = {"scores": {}, "answer": None, "reason": "ok", "note": ""}
    found = rescore(task, [*lines, *again])
    assert wrong(found.checks) == {"verdicts": 1}
    assert "train step 2" in found.checks[2].first[0]


def test_training_and_evaluation_judge_and_pay_alike(tmp_path: Path):
    """One recipe learns for real; what it paid is what evaluation scores, bit for bit."""
    from tests.trainer_builders import digits, short, tiny
    from trainers.loop import Plan, Training
    from trainers.recipes.grpo import RECIPE

    lines: Lines = []

    class Store:
        def keep(
            self, phase: str, step: int, rollouts: Sequence[tuple[Rollout, float | None]]
        ) -> None:
            for rollout, reward in rollouts:
                told = {} if reward is None else {"reward": reward}
                lines.append(line(rollout, phase=phase, split=phase, step=step, **told))

        def prune(self, step: int) -> None:
            pass

    task = digits()
    plan = Plan(dev_every=1, dev_limit=5)
    training = Training(
        task, short(RECIPE), {"solver": tiny(max_tokens=3)}, tmp_path, plan, Store()
    )
    training.train()
    stored_lines = msgspec.json.decode(msgspec.json.encode(lines))
    found = rescore(task, stored_lines, task.reward)
    assert found.agrees, [check for check in found.checks if check.wrong]
    counts = {check.what: check.checked for check in found.checks}
    assert counts["training rewards"] == sum("reward" in each for each in lines) == 24
    assert counts["verdicts"] == len(lines) > 24
