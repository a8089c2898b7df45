"""On a card: the same numbers as on a processor, whatever makes them fast."""

from __future__ import annotations

import importlib.util
from dataclasses import replace
from typing import Any

import pytest
import torch

from harness.models import Sampling
from harness.play import play
from harness.types import Rollout
from tests.bench.shapes import SHAPES, random_policy, writing
from tests.trainer_builders import digits
from tests.trainers.test_learner import RECIPES, gradient, played
from trainers.policies.text import TextPolicy, open_text
from trainers.text.decode import Job, decode
from trainers.text.graphs import Frames

pytestmark = [pytest.mark.gpu, pytest.mark.filterwarnings("ignore")]
SMALL = SHAPES["small"]


def tiny(device: str = "cuda", **settings: Any) -> TextPolicy:
    given = {"dtype": "float32", "batch_size": 64, "device": device, **settings}
    return open_text("tiny", Sampling(max_tokens=12, seed=3), **given)


def said(policy: TextPolicy, prompts: int = 4, rollouts: int = 4) -> list[Rollout]:
    task = digits()
    asked = [task.prompt(e).but(rollouts=rollouts) for e in task.examples("train")[:prompts]]
    found = [r for r in play(task, asked, policy) if isinstance(r, Rollout)]
    return sorted(found, key=lambda r: (r.example.id, r.attempt))


def cosine(one: torch.Tensor, other: torch.Tensor) -> float:
    return float(torch.nn.functional.cosine_similarity(one.cpu(), other.cpu(), dim=0))


def test_a_card_reviews_what_a_processor_said():
    here, there = tiny("cpu"), tiny()
    rollouts = said(here)
    ours, theirs = (policy.review(rollouts).logprobs.detach().cpu() for policy in (there, here))
    assert torch.allclose(ours, theirs, atol=1e-4)


@pytest.mark.parametrize("name", RECIPES)
def test_the_gradient_is_that_of_a_processor(name: str):
    here, there = tiny("cpu"), tiny()
    rollouts = played(here)
    ours, theirs = (
        gradient(policy, RECIPES[name], rollouts, positions=90) for policy in (there, here)
    )
    assert cosine(ours, theirs) > 0.9999


def test_bfloat16_stays_near_float32():
    """The mean gap in nats a token, and the direction of the gradient."""
    exact = random_policy(SMALL, "cuda")
    rough = random_policy(SMALL, "cuda", autocast=True, sample_dtype="bfloat16")
    rollouts = written(rough)
    ours, theirs = (policy.review(rollouts) for policy in (rough, exact))
    gap = (ours.logprobs - theirs.logprobs).detach().abs()[theirs.mask]
    assert float(gap.mean()) < 0.02
    assert float(gap.max()) < 0.3
    sampled = torch.cat([torch.from_numpy(r.completion.logprobs) for r in rollouts])
    reviewed = torch.cat([ours.logprobs[n, : r.steps] for n, r in enumerate(rollouts)])
    assert float((sampled - reviewed.detach().cpu()).abs().mean()) < 0.02
    recipe = RECIPES["steps"]
    slopes = [gradient(p, recipe, paid(rollouts), positions=10**9) for p in (rough, exact)]
    assert cosine(*slopes) > 0.99


def written(policy: TextPolicy) -> list[Rollout]:
    task = writing(32)
    policy.sampling = Sampling(max_tokens=24, seed=1)
    asked = [task.prompt(e).but(rollouts=4) for e in task.examples("train")[:4]]
    found = [r for r in play(task, asked, policy) if isinstance(r, Rollout)]
    return sorted(found, key=lambda r: (r.example.id, r.attempt))


def paid(rollouts: list[Rollout]) -> list[Rollout]:
    """With the scores that digits/say pays, different in every group."""
    return [
        replace(r, verdict=replace(r.verdict, scores={"correct": 0.0, "close": n % 4 / 3}))
        for n, r in enumerate(rollouts)
    ]


@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_graphs_draw_the_tokens_of_eager_steps(temperature: float):
    policy = tiny()
    frames = Frames(policy.model)
    for count in (3, 16, 16, 29):  # a shape that was recorded is used again
        texts = [tuple(8 + k % 90 for k in range(4 + n // 2 % 5)) for n in range(count)]
        jobs = [Job(n, text, 1 + 7 * n % 40, (n,)) for n, text in enumerate(texts)]
        sampling = Sampling(temperature=temperature, seed=count)
        given = {"rows": 16, "ends": policy.loaded.ends}
        graphed, eager = (
            {job.number: drawn for job, drawn in decode(policy.model, jobs, sampling, **more)}
            for more in ({**given, "frames": frames}, given)
        )
        for number, drawn in eager.items():
            assert graphed[number].ids == drawn.ids
            gap = torch.tensor(graphed[number].logprobs) - torch.tensor(drawn.logprobs)
            assert float(gap.abs().max()) < 1e-3
    assert all(frame.replay is not None for frame in frames.held.values())


def test_graphs_follow_the_weights():
    """A recorded step reads the weights as they are when it is replayed."""
    policy = tiny()
    before = [r.completion.trace["ids"] for r in said(policy)]
    with torch.no_grad():
        for weight in policy.parameters():
            weight.mul_(1.5)
    policy.refresh()
    after = [r.completion.trace["ids"] for r in said(policy)]
    fresh = tiny()
    with torch.no_grad():
        for weight in fresh.parameters():
            weight.mul_(1.5)
    assert after == [r.completion.trace["ids"] for r in said(fresh)]
    assert after != before


def test_compiled_layers_have_the_same_gradient():
    """Called without the shape checks of these tests, which cannot be compiled."""
    import os
    import subprocess
    import sys
    from pathlib import Path

    house = Path(__file__).resolve().parent.parent.parent
    command = [sys.executable, "-m", "tests.gpu.compiled"]
    known = {**os.environ, "PYTHONPATH": str(house)}
    subprocess.run(command, check=True, timeout=600, env=known)


def test_liger_reviews_as_we_do():
    if importlib.util.find_spec("liger_kernel") is None:
        pytest.skip("liger-kernel is not installed: pip install 'grpo-harness[liger]'")
    ours, theirs = random_policy(SMALL, "cuda"), random_policy(SMALL, "cuda", kernels="liger")
    rollouts = paid(written(ours))
    one, other = (policy.review(rollouts).logprobs.detach() for policy in (ours, theirs))
    assert torch.allclose(one, other, atol=1e-2)
    slopes = [
        gradient(policy, RECIPES["steps"], rollouts, positions=10**9) for policy in (ours, theirs)
    ]
    assert cosine(*slopes) > 0.999


def test_a_step_with_the_same_seed_gives_the_same_rollouts():
    assert [r.completion.trace for r in said(tiny())] == [r.completion.trace for r in said(tiny())]
