"""Does ps_grpo make answers agree? Consistency and accuracy before and after, beside grpo.

`tiny`: ragqa/miniature from five short supervised phases (a model that knows nothing is never
paid) on two of the six phrasings, so that the others are answered otherwise; each start is then
trained by grpo and by ps_grpo for as many steps and attempts. `real`: thirty steps
on a checkpoint of 135M, ragqa/paraphrase. Every number but the supervised phase comes from the
command line as users have it, test phrasings are those that training never saw, and the unit of
every comparison is the set. Killed at any moment, it goes on where it was.

    python tests/bench/rag.py [tiny|real] [-o results]

Ends with an error unless ps_grpo raises agreement at the level of 1 % in every comparison (exact or
drawn sign flips over sets, corrected by Holm), and accuracy is nowhere significantly lower.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

LEVEL = 0.01
FALLS = 0.05
"""Accuracy that is lower at this level has fallen."""
RECIPES = ("grpo", "ps_grpo")
METRICS = ("agreement", "correct", "all_correct")


@dataclass(frozen=True, kw_only=True)
class Trial:
    """One start on one task, trained by each recipe with one budget."""

    name: str
    task: str
    model: str
    steps: int
    lr: float
    sampler: str
    limit: int
    max_tokens: int
    dtype: str = "float32"
    seed: int = 0

    def asked(self) -> list[str]:
        """How the test split is asked, before and after alike: greedily."""
        how = f"--limit {self.limit} --max-tokens {self.max_tokens} --dtype {self.dtype} -b 64"
        return [self.task, *how.split()]

    def trained(self, recipe: str) -> list[str]:
        """How it is trained; both recipes without KL, so that they differ in the reward alone."""
        how = f"--steps {self.steps} --max-tokens {self.max_tokens} --seed {self.seed} --no-test"
        looks = "--dev-every 0 --save-every 10 --keep 1"
        changes = ["losses.KLToReference.beta=0", f"optimizer.lr={self.lr}", *self.sampler.split()]
        if recipe == "ps_grpo":
            changes.append("rewards.PayAgreement.similarity=token_f1")  # answers of one word
        return [
            *(self.task, "-m", self.model, "--recipe", recipe, *how.split(), *looks.split()),
            *("--dtype", self.dtype, "--set", *changes),
        ]


def tiny(output: Path) -> list[Trial]:
    """Five starts, each taught by a few hundred right answers."""
    return [
        Trial(
            name=f"rag-tiny-{seed}",
            task="ragqa/miniature",
            model=f"text:{start(seed, output)}",
            steps=40,
            lr=2e-4,
            sampler="samplers.prompts=24 samplers.rollouts=4",
            limit=600,
            max_tokens=4,
            seed=seed,
        )
        for seed in range(5)
    ]


def real() -> list[Trial]:
    """The embedded checkpoint."""
    return [
        Trial(
            name="rag-real",
            task="ragqa/paraphrase+k=2",
            model="text:smollm2",
            steps=30,
            lr=1e-5,
            sampler="samplers.prompts=12 samplers.rollouts=4",
            limit=120,
            max_tokens=24,
            dtype="bfloat16",
        )
    ]


WARM_STEPS, WARM_BATCH, WARM_RATE = 100, 64, 3e-3
WARM_PHRASINGS = 2
"""The first so many of six are taught."""


def start(seed: int, output: Path) -> Path:
    """The folder of a tiny model after its supervised phase; made if it is not there."""
    import numpy as np
    import torch

    from harness import registry
    from harness.models import Sampling
    from harness.types import Rollout, Verdict
    from trainers.policies.text import open_text

    folder = output / "runs" / f"rag-tiny-{seed}-start"
    if (folder / "whole").exists():
        return folder
    task = registry.task("ragqa/miniature")
    policy = open_text("tiny", Sampling(max_tokens=4), dtype="float32", seed=seed, batch_size=64)
    examples = [e for e in task.examples("train") if int(e.id.rpartition("/")[2]) < WARM_PHRASINGS]
    rng = np.random.default_rng(seed)
    optimizer = torch.optim.AdamW(policy.parameters(), lr=WARM_RATE)
    for step in range(WARM_STEPS):
        for group in optimizer.param_groups:
            group["lr"] = WARM_RATE * (1 - step / WARM_STEPS)
        shown = [examples[n] for n in rng.choice(len(examples), WARM_BATCH, replace=False)]
        turns = [(task.prompt(e), policy.spell(task.prompt(e), task.gold(e))) for e in shown]
        rollouts = [Rollout((turn,), Verdict({}), turn[0].example.id) for turn in turns]
        live = policy.review(rollouts, temperature=1.0)
        cost = -(live.logprobs * live.mask).sum() / live.mask.sum()
        optimizer.zero_grad()
        cost.backward()
        optimizer.step()
    folder.mkdir(parents=True, exist_ok=True)
    policy.save(folder)
    (folder / "whole").touch()
    return folder


def harness(*words: str | Path) -> str:
    """What `harness WORDS` prints; an error ends all."""
    from harness.commands import main

    out = io.StringIO()
    try:
        with contextlib.redirect_stdout(out):
            main([*map(str, words)])
    except SystemExit as end:
        if end.code:
            raise
    return out.getvalue()


def comparisons(trial: Trial, output: Path) -> Iterator[dict[str, Any]]:
    """Every recipe's model beside the start, metric by metric."""
    where = ("-o", output)
    before = f"{trial.name}-before"
    harness("eval", *trial.asked(), "-m", trial.model, "--name", before, *where)
    for recipe in RECIPES:
        name = f"{trial.name}-{recipe}"
        harness("train", *trial.trained(recipe), "--name", f"{name}-run", *where)
        policy = output / "runs" / f"{name}-run" / "policy"
        harness("eval", *trial.asked(), "-m", f"text:{policy}", "--name", f"{name}-after", *where)
        for metric in METRICS:
            told = harness(
                *("compare", f"{name}-after", before, "--metric", metric),
                *("--json", "--show", "0", *where),
            )
            [found] = json.loads(told)
            yield {"trial": trial, "recipe": recipe, "metric": metric, **found["pairs"][0]}


def verdict(found: list[dict[str, Any]]) -> bool:
    """Whether ps_grpo raised agreement everywhere and accuracy fell nowhere; prints the table."""
    from harness.comparing import holm

    print(
        f"{'start':12} {'recipe':8} {'metric':12} before  after   gain  95 % interval     p (Holm)"
    )
    good = True
    for metric in METRICS:
        rows = [each for each in found if each["metric"] == metric]
        for each, p in zip(rows, holm([row["p"] for row in rows]), strict=True):
            ours = each["recipe"] == "ps_grpo"
            if metric == "agreement" and ours:
                good &= each["difference"] > 0 and p < LEVEL
            if metric == "correct" and ours:
                good &= each["difference"] >= 0 or p >= FALLS
            print(
                f"{each['trial'].name:12} {each['recipe']:8} {metric:12} {each['mean_b']:.3f}   "
                f"{each['mean_a']:.3f} {each['difference']:6.3f}  "
                f"[{each['low']:.3f}, {each['high']:.3f}]  {p:.1e}"
            )
    return good


def main() -> int:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("part", nargs="?", choices=("tiny", "real"), help="default: both")
    parser.add_argument("-o", "--output", type=Path, default=Path("results"))
    asked = parser.parse_args()
    trials = tiny(asked.output) if asked.part != "real" else []
    trials += real() if asked.part != "tiny" else []
    good = verdict([each for trial in trials for each in comparisons(trial, asked.output)])
    print("agreement rose, accuracy did not fall" if good else "NOT as it should be")
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
