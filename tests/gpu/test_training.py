"""On a card: whole steps, their memory, and what happens when it is not enough."""

from __future__ import annotations

import math
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from harness.journal import Journal
from harness.models import Sampling
from harness.play import play
from harness.types import Rollout
from tests.bench.shapes import SHAPES, random_policy, writing
from tests.trainer_builders import a_run, digits
from trainers import cards
from trainers.learner import Learner
from trainers.loop import Plan, Training, deterministic
from trainers.policies.text import TextPolicy, open_text
from trainers.recipe import AdamW
from trainers.recipes.grpo import RECIPE
from trainers.samplers import Uniform

pytestmark = [pytest.mark.gpu, pytest.mark.filterwarnings("ignore")]
HALF = {"autocast": True, "sample_dtype": "bfloat16"}


def training(folder: Path, shape: str, steps: int = 1, **settings: object) -> Training:
    policy = random_policy(SHAPES[shape], "cuda", batch_size=32, **settings)
    recipe = RECIPE.but(
        samplers=Uniform(prompts=4, rollouts=8),
        steps=steps,
        max_tokens=32,
        optimizer=AdamW(lr=1e-4),
    )
    plan = Plan(dev_every=0, positions=16_384)
    return Training(writing(64), recipe, {"solver": policy}, folder, plan)


def attempts(policy: TextPolicy, read: int) -> list[Rollout]:
    """Four groups of eight."""
    task = writing(read)
    asked = [task.prompt(e).but(rollouts=8) for e in task.examples("train")[:4]]
    found = [r for r in play(task, asked, policy) if isinstance(r, Rollout)]
    return sorted(found, key=lambda r: (r.example.id, r.attempt))


def flat(policy: TextPolicy) -> torch.Tensor:
    """The gradient in one row."""
    found = [w.grad.flatten().float().cpu() for w in policy.parameters() if w.grad is not None]
    return torch.cat(found)


def test_a_step_of_the_half_billion_shape(tmp_path: Path):
    trained = training(tmp_path, "0.5B", **HALF)
    before = [weight.detach().clone() for weight in trained.learners[0].policy.parameters()]
    trained.train()
    (line,) = Journal(tmp_path / "metrics.jsonl").read()
    assert math.isfinite(line["grad_norm"])
    assert line["grad_norm"] > 0
    assert 0 < line["memory/peak_gb"] < 40
    after = trained.learners[0].policy.parameters()
    assert any(not torch.equal(old, new) for old, new in zip(before, after, strict=True))
    assert all(bool(weight.isfinite().all()) for weight in after)


def test_it_learns(tmp_path: Path):
    """The end-to-end truth, in bfloat16: digits by their nearness."""
    policy = open_text("tiny", Sampling(), dtype="float32", device="cuda", batch_size=64, **HALF)
    recipe = RECIPE.but(
        samplers=Uniform(prompts=8, rollouts=8),
        optimizer=AdamW(lr=3e-3),
        steps=60,
        max_tokens=3,
    )
    plan = Plan(dev_every=0)
    Training(digits(), recipe, {"solver": policy}, tmp_path, plan).train()
    rewards = [line["reward"] for line in Journal(tmp_path / "metrics.jsonl").read()]
    assert sum(rewards[-5:]) / 5 > sum(rewards[:5]) / 5 + 0.2


def test_checkpointing_takes_less_memory_for_the_same_gradient(tmp_path: Path):
    peaks, slopes = [], []
    for checkpointing in (False, True):
        trained = training(tmp_path, "0.5B", checkpointing=checkpointing, **HALF)
        policy = trained.run.policies["solver"]
        assert isinstance(policy, TextPolicy)
        policy.sampling = Sampling(max_tokens=64, seed=2)
        rollouts = attempts(policy, 256)
        run = a_run(RECIPE, task=writing(256), policy=policy)
        learner = Learner("solver", RECIPE, policy, 10**9)
        batch = learner.batch(rollouts, run)
        torch.cuda.reset_peak_memory_stats()
        learner.gradient(batch, run, first=True)
        peaks.append(torch.cuda.max_memory_allocated())
        slopes.append(flat(policy))
        del trained, policy, learner
        torch.cuda.empty_cache()
    assert peaks[1] < peaks[0]
    assert float(torch.nn.functional.cosine_similarity(slopes[0], slopes[1], dim=0)) > 0.99


def test_too_little_memory_for_the_whole_batch_is_enough_for_its_parts(tmp_path: Path):
    """A gradient that does not fit at once is made in parts, and is the same."""
    policy = random_policy(SHAPES["small"], "cuda", batch_size=64)
    policy.sampling = Sampling(max_tokens=256, seed=2)
    rollouts = attempts(policy, 256)
    batches, peaks, slopes = [], [], []
    for positions in (10**9, 2048):
        learner = Learner("solver", RECIPE, policy, positions)
        run = a_run(RECIPE, task=writing(256), policy=policy)
        batches.append(learner.batch(rollouts, run))
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
        learner.gradient(batches[-1], run, first=True)
        peaks.append(torch.cuda.max_memory_allocated())
        slopes.append(flat(policy))
    assert peaks[1] < peaks[0]
    assert float(torch.nn.functional.cosine_similarity(slopes[0], slopes[1], dim=0)) > 0.99999
    room = (peaks[0] + peaks[1]) / 2 / torch.cuda.get_device_properties(0).total_memory
    torch.cuda.empty_cache()
    torch.cuda.set_per_process_memory_fraction(room)
    try:
        learner.gradient(batches[-1], run, first=True)  # fits where the whole would not
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)


def test_the_card_is_described_and_measured():
    place = torch.device("cuda")
    assert cards.described(place)["card"]
    kind = torch.bfloat16 if cards.computes_bfloat16(place) else torch.float32
    found = cards.ceilings(place, kind)
    assert found.flops > 1e12
    assert found.bytes > 1e10


def test_the_command_line_trains_on_the_card(tmp_path: Path):
    """`harness train` as people call it; bfloat16 by itself where the card computes in it."""
    house = Path(__file__).resolve().parent.parent.parent
    words = (
        "train mathqa/sums --model text:tiny --steps 2 --max-tokens 8 --no-test --name card "
        "--set samplers.prompts=2 samplers.rollouts=4 --json -o"
    ).split()
    done = subprocess.run(
        [sys.executable, "-m", "harness", *words, str(tmp_path)],
        cwd=house,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    told = (tmp_path / "runs" / "card" / "manifest.json").read_text()
    assert '"cuda' in told
    if cards.computes_bfloat16(torch.device("cuda")):
        assert '"autocast": "bfloat16"' in told


def test_the_same_seed_gives_the_same_run(tmp_path: Path):
    deterministic()
    logs = []
    for name in ("one", "other"):
        training(tmp_path / name, "small", steps=2, **HALF).train()
        lines = Journal(tmp_path / name / "metrics.jsonl").read()
        logs.append([(line["reward"], line["grad_norm"]) for line in lines])
    assert logs[0] == logs[1]


@pytest.mark.skipif(torch.cuda.device_count() < 2, reason="one card or none")
@pytest.mark.parametrize("case", ["equal", "spread", "continued"])
def test_two_cards_train_to_what_one_does(
    case: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    from tests.trainers.test_processes import together

    assert together(case, tmp_path, monkeypatch) == 0
