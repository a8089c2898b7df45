"""`play` gives the same rollouts however it is stopped, and scores only what it could judge."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest

from harness import Completion, Example, Fault, Message, Prompt, Rollout, Task, Verdict
from harness.codec import decode, encode
from harness.errors import JudgeUnavailable, UsageError
from harness.models import Gold, Sampling, row_seed
from harness.play import blocks, play, rows
from harness.types import Dialogue, Metric

EXAMPLES = [Example(f"e{n}", {"n": n}, n) for n in range(7)]


def verify(example: Example, completion: Completion) -> Verdict:
    right = str(completion.output) == str(example.target)
    return Verdict({"correct": float(right)}, completion.output, "ok" if right else "wrong")


def a_task(**changes: Any) -> Task:
    task = Task(
        name="numbers/plain",
        version=1,
        examples=lambda split: EXAMPLES if split == "test" else [],
        prompt=lambda example: Prompt(example, (Message("user", f"{example.inputs['n']}?"),)),
        verify=verify,
        gold=lambda example: str(example.target),
        metrics=(Metric("correct", each=lambda row: row[0].scores["correct"]),),
        reward={"correct": 1.0},
    )
    return task.but(**changes)


@dataclass
class Dice:
    """Answers a number drawn from the prompt's own seed; with `block_noise` also from the batch."""

    name: str = "dice"
    independent: bool = True
    reverse: bool = False
    calls: list[list[tuple[str, int]]] = field(default_factory=list[list[tuple[str, int]]])

    def answer(self, prompts: Sequence[Prompt]) -> Iterator[tuple[int, Completion]]:
        self.calls.append([(p.example.id, p.attempt) for p in prompts])
        batch = "" if self.independent else f" of {len(prompts)}: {self.calls[-1]}"
        order = list(enumerate(prompts))
        for number, prompt in reversed(order) if self.reverse else order:
            rng = np.random.default_rng(row_seed(0, prompt))
            yield number, Completion(f"{rng.integers(7)}{batch}", steps=1)

    def describe(self) -> Mapping[str, Any]:
        return {}


@dataclass
class Answers:
    """Answers by a function of the prompt; None leaves the prompt out."""

    reply: Callable[[Prompt], Completion | None]
    name: str = "answers"
    independent: bool = True
    asked: list[list[Prompt]] = field(default_factory=list[list[Prompt]])

    def answer(self, prompts: Sequence[Prompt]) -> Iterator[tuple[int, Completion]]:
        self.asked.append(list(prompts))
        for number, prompt in enumerate(prompts):
            completion = self.reply(prompt)
            if completion is not None:
                yield number, completion

    def describe(self) -> Mapping[str, Any]:
        return {}


def asked(task: Task, rollouts: int = 3) -> list[Prompt]:
    return [task.prompt(example).but(rollouts=rollouts) for example in task.examples("test")]


def by_key(outcomes: Sequence[Rollout | Fault]) -> dict[tuple[str, str, int], Rollout]:
    rollouts = [outcome for outcome in outcomes if isinstance(outcome, Rollout)]
    found = {(r.role, r.example.id, r.attempt): r for r in rollouts}
    assert len(found) == len(rollouts)
    return found


def told(rollouts: Mapping[tuple[str, str, int], Rollout]) -> dict[tuple[str, str, int], Any]:
    return {key: {**encode(r), "seconds": 0} for key, r in rollouts.items()}


def compare(rollouts: Sequence[Rollout]) -> list[dict[str, float]]:
    best = max(int(str(r.completion.output)[0]) for r in rollouts)
    return [{"best": float(int(str(r.completion.output)[0]) == best)} for r in rollouts]


def opening_dialogue(prompt: Prompt) -> Dialogue:
    first = yield prompt
    second = yield prompt.then(first, "Are you sure?")
    return Verdict({"correct": float(first.output == second.output)}, [first.output, second.output])


@pytest.mark.parametrize("independent", [True, False])
@pytest.mark.parametrize(
    "changes",
    [{}, {"compare": compare}, {"dialogue": opening_dialogue}],
    ids=["one turn", "compared", "dialogue"],
)
def test_a_resumed_play_gives_the_rollouts_of_an_unbroken_one(
    changes: Mapping[str, Any], independent: bool
):
    task = a_task(**changes)
    prompts = asked(task)
    whole = by_key(list(play(task, prompts, Dice(independent=independent), block=4)))
    for stop in (1, 5, 6, 11, 20):
        first: list[Rollout | Fault] = []
        stream = play(task, prompts, Dice(independent=independent), block=4)
        for outcome in stream:
            first.append(outcome)
            if len(first) == stop:
                break
        stream.close()  # type: ignore[attr-defined]
        done = {(o.prompt.example.id, o.prompt.attempt) for o in first}
        rest = list(play(task, prompts, Dice(independent=independent), block=4, done=done))
        assert not done & {(o.prompt.example.id, o.prompt.attempt) for o in rest}
        assert told(by_key([*first, *rest])) == told(whole)


def test_an_independent_model_is_never_asked_again_what_is_there():
    task, model = a_task(), Dice()
    done = {("e0", 0), ("e0", 1), ("e3", 2)}
    list(play(task, asked(task), model, block=4, done=done))
    assert not done & {key for call in model.calls for key in call}
    assert sum(map(len, model.calls)) == 21 - 3


def test_a_dependent_model_is_asked_whole_blocks():
    task, model = a_task(), Dice(independent=False)
    whole = [[(p.example.id, p.attempt) for p in b] for b in blocks(task, asked(task), 4)]
    list(play(task, asked(task), model, block=4, done={*whole[0], whole[1][0]}))
    assert model.calls == whole[1:]


@pytest.mark.parametrize("block", [1, 2, 64])
def test_rollouts_do_not_depend_on_blocks_threads_or_order(block: int):
    task = a_task()
    expected = told(by_key(list(play(task, asked(task), Dice()))))
    model = Dice(reverse=True)
    assert told(by_key(list(play(task, asked(task), model, block=block, threads=1)))) == expected


def test_every_attempt_is_asked_once():
    task, model = a_task(), Dice()
    outcomes = by_key(list(play(task, asked(task), model, block=5)))
    assert set(outcomes) == {("solver", e.id, n) for e in EXAMPLES for n in range(3)}


def test_rollouts_come_out_while_the_model_goes_on():
    task = a_task()
    seen: list[int] = []
    count = 0

    def slowly(prompt: Prompt) -> Completion:
        seen.append(count)
        time.sleep(0.01)
        return Completion("1")

    for _ in play(task, asked(task, 1), Answers(slowly), block=1):
        count += 1
    assert seen[-1] > 0


def test_as_many_answers_are_judged_at_once_as_the_task_says():
    together = threading.Barrier(len(EXAMPLES))

    def judged(example: Example, completion: Completion) -> Verdict:
        together.wait(120)  # else BrokenBarrierError, and a fault
        return verify(example, completion)

    task = a_task(verify=judged, at_once=lambda: len(EXAMPLES))
    found = list(play(task, asked(task, 1), Answers(lambda _: Completion("1"))))
    assert [isinstance(each, Rollout) for each in found] == [True] * len(EXAMPLES)


def test_a_task_whose_judge_is_missing_asks_nobody():
    def missing() -> int:
        raise JudgeUnavailable("no judge")

    task, model = a_task(at_once=missing), Answers(lambda _: Completion("1"))
    done = {(e.id, 0) for e in EXAMPLES}
    assert list(play(task, asked(task, 1), model, done=done)) == []
    with pytest.raises(JudgeUnavailable):
        list(play(task, asked(task, 1), model))
    assert model.asked == []


@pytest.mark.parametrize(
    ("error", "named"),
    [(ValueError("no"), "ValueError"), (SystemExit(3), "SystemExit"), (MemoryError(), "Memory")],
)
def test_a_verifier_that_raises_is_a_fault_and_not_a_zero(error: BaseException, named: str):
    def broken(example: Example, completion: Completion) -> Verdict:
        if example.id == "e2":
            raise error
        return verify(example, completion)

    task = a_task(verify=broken)
    outcomes = list(play(task, asked(task, 2), Gold(task)))
    faults = [o for o in outcomes if isinstance(o, Fault)]
    assert [f.prompt.example.id for f in faults] == ["e2", "e2"]
    assert all(named in f.note for f in faults)
    assert len(outcomes) == 14


@pytest.mark.parametrize(
    "verdict",
    [
        None,
        {"correct": 1.0},
        Verdict({"correct": float("nan")}),
        Verdict({"correct": 1.0}, "", "?"),
    ],
    ids=["none", "table", "nan", "reason"],
)
def test_an_unsound_verdict_is_a_fault(verdict: Any):
    task = a_task(verify=lambda example, completion: verdict)
    assert all(isinstance(o, Fault) for o in play(task, asked(task), Gold(task)))


def test_a_model_that_answers_fewer_is_counted():
    task = a_task()
    model = Answers(lambda prompt: None if prompt.example.id == "e1" else Completion("1"))
    outcomes = list(play(task, asked(task, 2), model, block=3))
    faults = [o for o in outcomes if isinstance(o, Fault)]
    assert [f.prompt.example.id for f in faults] == ["e1", "e1"]
    assert all("fewer" in f.note for f in faults)
    assert len(outcomes) == 14


def test_a_failed_completion_is_a_fault_with_its_note():
    task = a_task()
    model = Answers(lambda prompt: Completion(None, stopped="failed", note="HTTP 503"))
    assert {o.note for o in play(task, asked(task), model) if isinstance(o, Fault)} == {"HTTP 503"}


def test_dialogues_run_in_lock_step():
    task = a_task(dialogue=opening_dialogue)
    model = Dice()
    outcomes = by_key(list(play(task, asked(task), model, block=6)))
    sizes = [len(call) for call in model.calls]
    assert sizes == [6, 6, 6, 6, 6, 6, 3, 3]  # 21 attempts: both turns of a block, then the next
    assert all(len(r.turns) == 2 for r in outcomes.values())
    assert all(len(r.turns[1][0].messages) == 3 for r in outcomes.values())


def test_dialogues_of_unequal_length_end_by_themselves():
    def dialogue(prompt: Prompt) -> Dialogue:
        turns = 1 + prompt.example.inputs["n"] % 3
        for _ in range(turns):
            said = yield prompt
            prompt = prompt.then(said, "Go on.")
        return Verdict({"correct": 1.0, "turns": float(turns)})

    task = a_task(dialogue=dialogue)
    outcomes = by_key(list(play(task, asked(task), Dice())))
    assert all(len(r.turns) == r.verdict.scores["turns"] for r in outcomes.values())


def debate(prompt: Prompt) -> Dialogue:
    said = yield prompt
    judged = yield Prompt(prompt.example, (Message("user", str(said.output)),), role="judge")
    again = yield prompt.then(said, str(judged.output))
    return Verdict({"correct": float(again.output == str(prompt.example.target))})


def test_roles_get_their_turns():
    task = a_task(dialogue=debate)
    judge = Answers(lambda prompt: Completion(f"judged {prompt.messages[-1].content}"))
    models = {"solver": Gold(task), "judge": judge}
    outcomes = list(play(task, asked(task, 1), models))
    found = by_key(outcomes)
    assert {key[0] for key in found} == {"solver", "judge"}
    for (role, id, _), rollout in found.items():
        assert len(rollout.turns) == {"solver": 2, "judge": 1}[role]
        assert rollout.verdict == found["solver", id, 0].verdict
        if role == "solver":
            assert rollout.turns[1][0].messages[-1].content == f"judged {rollout.example.target}"
    assert all(prompt.role == "judge" for call in judge.asked for prompt in call)


def test_the_role_asked_first_comes_last():
    """A journal that holds its line holds the whole attempt."""
    task = a_task(dialogue=debate)
    judge = Answers(lambda prompt: Completion("yes"))
    roles = [
        o.role
        for o in play(task, asked(task, 1), {"solver": Gold(task), "judge": judge})
        if isinstance(o, Rollout)
    ]
    assert roles == ["judge", "solver"] * 7


def test_a_missing_role_says_how_to_give_one():
    task = a_task(dialogue=debate)
    with pytest.raises(UsageError, match="--role judge=MODEL"):
        list(play(task, asked(task), Gold(task)))


def test_a_dialogue_that_raises_or_ends_at_once_is_a_fault():
    def broken(prompt: Prompt) -> Dialogue:
        n = prompt.example.inputs["n"]
        if n == 0:
            raise ValueError("before the first question")
        if n == 1:
            return Verdict({"correct": 1.0})
        said = yield prompt
        if n == 2:
            raise KeyError("after it")
        return verify(prompt.example, said)

    task = a_task(dialogue=broken)
    outcomes = list(play(task, asked(task, 1), Gold(task), block=2))
    notes = {o.prompt.example.id: o.note for o in outcomes if isinstance(o, Fault)}
    assert set(notes) == {"e0", "e1", "e2"}
    assert "before the first" in notes["e0"]
    assert "before it asked" in notes["e1"]
    assert "KeyError" in notes["e2"]
    assert len(outcomes) == 7


def by_parity(example: Example) -> str:
    return str(example.inputs["n"] % 2)


@pytest.mark.parametrize("block", [1, 4, 64])
def test_compare_adds_scores_to_whole_sets(block: int):
    sizes: list[int] = []

    def counted(rollouts: Sequence[Rollout]) -> list[dict[str, float]]:
        sizes.append(len(rollouts))
        keys = [(r.example.id, r.attempt) for r in rollouts]
        assert keys == sorted(keys)
        return compare(rollouts)

    task = a_task(compare=counted, set=by_parity)
    outcomes = by_key(list(play(task, asked(task), Dice(reverse=True), block=block)))
    assert sorted(sizes) == [9, 12]
    assert all(set(r.verdict.scores) == {"correct", "best"} for r in outcomes.values())
    assert {r.set for r in outcomes.values()} == {"0", "1"}
    assert {r.group for r in outcomes.values()} == {r.example.id for r in outcomes.values()}


def test_a_set_that_lacks_a_member_is_not_compared():
    task = a_task(compare=compare, set=by_parity)
    model = Answers(lambda p: None if (p.example.id, p.attempt) == ("e1", 1) else Completion("1"))
    outcomes = list(play(task, asked(task, 2), model))
    assert {key[1] for key in by_key(outcomes)} == {"e0", "e2", "e4", "e6"}
    faults = [o for o in outcomes if isinstance(o, Fault)]
    assert sorted(f.prompt.example.id for f in faults) == ["e1", "e1", "e3", "e3", "e5", "e5"]


@pytest.mark.parametrize(
    "broken",
    [
        lambda rollouts: [{}],
        lambda rollouts: [{"best": float("inf")} for _ in rollouts],
        lambda rollouts: rollouts[99],
    ],
    ids=["too few", "infinite", "raises"],
)
def test_a_broken_comparison_is_a_fault(broken: Any):
    task = a_task(compare=broken)
    assert all(isinstance(o, Fault) for o in play(task, asked(task), Gold(task)))


def test_verifiers_run_on_threads_while_others_wait():
    barrier = threading.Barrier(3)

    def together(example: Example, completion: Completion) -> Verdict:
        barrier.wait(timeout=10)
        return verify(example, completion)

    task = a_task(verify=together, examples=lambda split: EXAMPLES[:3])
    outcomes = list(play(task, asked(task, 1), Gold(task), threads=3))
    assert all(isinstance(o, Rollout) for o in outcomes)


@pytest.mark.parametrize(
    "output", ["a\ud800b", {"a": (1, 2)}, ["x", {"y": "\udfff"}], (1, (2, 3)), {3, 1}], ids=repr
)
def test_what_is_judged_is_what_is_stored(output: Any):
    seen: list[Any] = []

    def remember(example: Example, completion: Completion) -> Verdict:
        seen.append(completion.output)
        return Verdict({"correct": 0.0}, None, "wrong")

    task = a_task(verify=remember, examples=lambda split: EXAMPLES[:1])
    (rollout,) = by_key(
        list(play(task, asked(task, 1), Answers(lambda _: Completion(output))))
    ).values()
    assert decode(encode(rollout), EXAMPLES[0]).completion.output == seen[0]


def test_rows_are_examples_in_order_and_columns_attempts():
    task = a_task()
    found = list(by_key(list(play(task, asked(task), Dice()))).values())
    order = [e.id for e in reversed(EXAMPLES)]
    table = rows(found[::-1], [*order, "absent"])
    by = by_key(found)
    assert table == [[by["solver", id, n].verdict for n in range(3)] for id in order]


def test_a_sampling_that_makes_no_sense_is_refused():
    for wrong in ({"temperature": -1.0}, {"top_p": 0.0}, {"top_k": -1}, {"max_tokens": 0}):
        with pytest.raises(UsageError, match=next(iter(wrong))):
            Sampling(**wrong)  # type: ignore[arg-type]
