"""Steps in fixed shapes give what growing ones give; compiled layers have the same gradient."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from harness.models import Sampling
from tests.trainer_builders import tiny
from tests.trainers.test_learner import RECIPES, gradient, played
from trainers import cards
from trainers.policies.text import TextPolicy
from trainers.text.decode import Drawn, Job, decode
from trainers.text.graphs import LENGTHS, Frames, bucket
from trainers.text.kernels import compile_layers


def jobs(number: int, *, long: int = 0) -> list[Job]:
    """Prompts of ragged lengths, some of them equal, with ragged budgets."""
    texts = [tuple(8 + k % 90 for k in range(4 + (n // 2) % 5 + long)) for n in range(number)]
    return [Job(n, ids, 1 + 7 * n % 23, (n,)) for n, ids in enumerate(texts)]


def drawn(
    policy: TextPolicy, asked: list[Job], sampling: Sampling, frames: Frames | None
) -> dict[int, Drawn]:
    given = {"rows": 8, "ends": policy.loaded.ends, "frames": frames}
    return {job.number: said for job, said in decode(policy.model, asked, sampling, **given)}


@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_fixed_shapes_change_no_token(temperature: float):
    policy = tiny()
    frames = Frames(policy.model)
    for number, long in ((13, 0), (8, LENGTHS), (3, 2)):
        sampling = Sampling(temperature=temperature, seed=number)
        asked = jobs(number, long=long)
        fixed = drawn(policy, asked, sampling, frames)
        growing = drawn(policy, asked, sampling, None)
        assert fixed.keys() == growing.keys()
        for each, said in growing.items():
            assert fixed[each].ids == said.ids
            assert torch.allclose(
                torch.tensor(fixed[each].logprobs), torch.tensor(said.logprobs), atol=1e-4
            )
    assert {shape[1] for shape in frames.held} == {LENGTHS, 2 * LENGTHS}


def test_frames_that_were_used_long_ago_are_let_go(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("trainers.text.graphs.KEPT", 2)
    policy = tiny()
    frames = Frames(policy.model)
    for number in (1, 2, 4, 8):
        drawn(policy, jobs(number), Sampling(), frames)
    assert len(frames.held) == 2


def test_buckets_hold_their_rows_and_few_more():
    assert [bucket(n) for n in (1, 2, 3, 5, 8, 9, 16, 17)] == [1, 2, 4, 8, 8, 16, 16, 24]


def test_a_processor_computes_in_float32_unless_told_and_tells_no_card():
    assert cards.best_dtype("cpu") == "float32"
    assert cards.described(torch.device("cpu")) == {}
    assert "card" not in tiny().describe()


def test_ceilings_are_measured():
    found = cards.ceilings(torch.device("cpu"), torch.float32)
    assert found.flops > 1e8
    assert found.bytes > 1e7


@pytest.mark.slow
def test_compiled_layers_have_the_same_gradient():
    """In a process of its own: the shape checks of these tests cannot be compiled."""
    known = {**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parent.parent.parent)}
    command = [sys.executable, "-m", "tests.trainers.test_graphs"]
    subprocess.run(command, check=True, timeout=300, env=known)


def main() -> None:
    """Both gradients of a whole batch."""
    plain, compiled = tiny(), tiny()
    # the graphs of `compiled=True`; the C++ that a processor would make of them takes minutes
    compile_layers(compiled.model, backend="aot_eager")
    rollouts = played(plain, prompts=2, rollouts=2)
    found = [gradient(p, RECIPES["steps"], rollouts, positions=10**9) for p in (plain, compiled)]
    assert float(found[0].norm()) > 0
    assert float((found[1] - found[0]).norm() / found[0].norm()) < 1e-5
    assert torch._dynamo.utils.counters["stats"]["unique_graphs"] > 0


if __name__ == "__main__":
    main()
