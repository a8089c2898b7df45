"""Memory that runs out for real: the same gradient in smaller parts, said once and counted."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from harness.errors import ModelError
from tests.trainer_builders import a_run, tiny
from tests.trainers.test_gradient_laws import RECIPE, distance, flat, learner_of, textbook
from trainers import memory
from trainers.learner import Learner
from trainers.policy import Extent

ROOT = Path(__file__).resolve().parents[2]
SHORT_OF_MEMORY = """
import gc, resource, warnings
import psutil, torch
from dataclasses import replace
from tests.trainer_builders import a_run, digits, tiny
from tests.trainers.test_gradient_laws import RECIPE, distance, flat
from harness.types import Rollout
from trainers.learner import Learner

torch.set_num_threads(1)
policy = tiny()
task = digits()
rollouts = []
for row in range(24):
    prompt = task.prompt(task.examples("train")[row // 4])
    said = policy.spell(prompt, "".join(chr(97 + (row * k) % 26) for k in range(600)))
    verdict = task.verify(prompt.example, said)
    verdict = replace(verdict, scores={"correct": 0.0, "close": row % 4 / 4})
    rollouts.append(Rollout(((prompt, said),), verdict, prompt.example.id, attempt=row % 4))

def gradient(positions):
    run = a_run(RECIPE, policy=policy)
    learner = Learner("solver", RECIPE, policy, positions)
    learner.gradient(learner.batch(rollouts, run), run, first=True)
    return flat(policy), run

wanted, run = gradient(700)
assert "oom_retries" not in run.tally.numbers()
entropy = run.tally.numbers()["entropy"]
policy.model.zero_grad()
gc.collect()
room = psutil.Process().memory_info().vms + ROOM
resource.setrlimit(resource.RLIMIT_AS, (room, resource.RLIM_INFINITY))
with warnings.catch_warnings(record=True) as said:
    warnings.simplefilter("always")
    found, run = gradient(10**6)
numbers = run.tally.numbers()
assert numbers["oom_retries"] >= 1, numbers
assert distance(found, wanted) < 1e-5
assert abs(numbers["entropy"] / entropy - 1) < 1e-5, "the failed try is not counted"
told = [str(each.message) for each in said if "memory ran out" in str(each.message)]
assert len(told) == numbers["oom_retries"], told
print("retries", numbers["oom_retries"], "budget", run.memory["positions"])
"""


@pytest.mark.skipif(sys.platform != "linux", reason="limits on addresses are Linux's")
def test_a_step_that_does_not_fit_is_done_in_smaller_parts():
    program = SHORT_OF_MEMORY.replace("ROOM", "120_000_000")
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert "retries" in done.stdout


def test_a_failure_in_the_middle_of_the_backward_pass_leaves_nothing_behind():
    """Half of the gradients are there already when memory runs out."""
    policy, rollouts = learner_of("full")
    middle = policy.model.get_decoder().layers[0].mlp.up_proj.weight
    fails = iter([True])

    def fail(weight: torch.Tensor) -> None:
        if next(fails, False):
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB")

    hook = middle.register_post_accumulate_grad_hook(fail)
    run = a_run(RECIPE, policy=policy)
    learner = Learner("solver", RECIPE, policy, 10**6)
    try:
        with pytest.warns(UserWarning, match="memory ran out in micro-batches of 1000000"):
            learner.gradient(learner.batch(rollouts, run), run, first=True)
    finally:
        hook.remove()
    assert distance(flat(policy), textbook("full")) < 1e-5
    assert run.tally.numbers()["oom_retries"] == 1
    assert run.memory["positions"]["solver"] < 10**6


def test_what_fits_in_no_part_is_said_with_a_way_out(monkeypatch: pytest.MonkeyPatch):
    policy, rollouts = learner_of("full")

    def fail(*args: object, **options: object) -> None:
        raise RuntimeError(
            "[enforce fail at alloc_cpu.cpp:124] . DefaultCPUAllocator: not enough memory"
        )

    monkeypatch.setattr(policy, "review", fail)
    run = a_run(RECIPE, policy=policy)
    learner = Learner("solver", RECIPE, policy, 10**6)
    batch = learner.batch(rollouts, run)
    with pytest.warns(match="ran out"), pytest.raises(ModelError, match=r"one rollout of .*--lora"):
        learner.gradient(batch, run, first=True)


def test_other_errors_are_no_shortage_of_memory(monkeypatch: pytest.MonkeyPatch):
    policy, rollouts = learner_of("full")

    def fail(*args: object, **options: object) -> None:
        raise RuntimeError("shapes differ")

    monkeypatch.setattr(policy, "review", fail)
    run = a_run(RECIPE, policy=policy)
    learner = Learner("solver", RECIPE, policy, 10**6)
    with pytest.raises(RuntimeError, match="shapes differ"):
        learner.gradient(learner.batch(rollouts, run), run, first=True)


def test_the_measured_bytes_tell_what_a_review_keeps():
    """Of a longer review, within a quarter; checkpointing keeps less."""
    policy, rollouts = learner_of("full")
    each = memory.bytes_per_position(policy, rollouts[1])
    with memory.keeping(policy.parameters()) as kept:
        live = policy.review([rollouts[1]] * 60)
    positions = memory.together([policy.extent(rollouts[1])] * 60)
    assert kept.bytes == pytest.approx(each * positions, rel=0.25)
    assert live.logprobs.requires_grad
    assert memory.bytes_per_position(tiny(checkpointing=True), rollouts[1]) < each / 2


def test_the_smallest_limit_counts(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    (tmp_path / "memory.max").write_text("5000000\n")
    (tmp_path / "memory.current").write_text("3000000\n")
    (tmp_path / "memory.stat").write_text("anon 10\ninactive_file 500000\n")
    assert memory._container(tmp_path) == 2_500_000
    (tmp_path / "memory.max").write_text("max\n")
    assert memory._container(tmp_path) is None
    assert memory._container(tmp_path / "nothing") is None
    monkeypatch.setattr(memory, "_container", lambda: 1000)
    assert memory.free(torch.device("cpu")) == 1000


@pytest.mark.parametrize(
    ("room", "shared", "wanted"),
    [(10**12, 10, 1024), (10**12, 700, 2048), (0, 700, 64), (10**6, 700, 256)],
)
def test_the_budget_is_a_power_of_two_within_the_free_memory(
    room: int, shared: int, wanted: int, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(memory, "free", lambda device: room)
    extents = [Extent(30, {"prompt": shared}), Extent(9)]
    assert memory.positions_that_fit(torch.device("cpu"), 1000.0, 0, extents) == wanted


def test_the_reference_of_an_adapter_shares_its_base():
    policy, rollouts = learner_of("lora")
    frozen = policy.frozen()
    base = {weight.data_ptr() for weight in policy.model.parameters()}
    own = [weight for weight in frozen.model.parameters() if weight.data_ptr() not in base]
    assert sum(w.nbytes for w in own) == sum(w.nbytes for w in policy.parameters())
    before = policy.review(rollouts).logprobs.detach()
    assert torch.equal(frozen.review(rollouts).logprobs, before)
    with torch.no_grad():
        kept = [weight.detach().clone() for weight in policy.parameters()]
        for weight in policy.parameters():
            weight.mul_(1.5)
    assert torch.equal(frozen.review(rollouts).logprobs, before)
    assert not torch.equal(policy.review(rollouts).logprobs, before)
    ((_, answer),) = frozen.answer([replace(rollouts[0].prompt, attempt=0)])
    assert answer.steps > 0
    with torch.no_grad():
        for weight, old in zip(policy.parameters(), kept, strict=True):
            weight.copy_(old)
