"""Does training teach? Held-out scores before and after, example by example.

`real`: grpo on a checkpoint of 135M, three generated tasks, three seeds each. `tiny`: the recipes
of peers on a model that knows nothing, three seeds each. Every number comes from the command line
as users have it; records go to OUTPUT/records. Killed at any moment, it goes on where it was.

    python tests/bench/learning.py [real|tiny] [-o results]

Ends with an error if any of the paired gains is not above 0 at the level of 1 % (exact sign flips,
corrected by Holm).
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

SEEDS = (0, 1, 2)
LEVEL = 0.01


@dataclass(frozen=True, kw_only=True)
class Trial:
    """One recipe on one task from one model."""

    name: str
    task: str
    model: str
    recipe: str
    steps: int
    lr: float
    max_tokens: int = 8
    temperature: float = 0.8
    dtype: str = "float32"

    def asked(self) -> list[str]:
        """How the test split is asked, before and after alike."""
        how = f"-n 4 --limit 100 --max-tokens {self.max_tokens} --temperature {self.temperature}"
        return [self.task, *how.split(), "--dtype", self.dtype, "-b", "64"]

    def trained(self, seed: int) -> list[str]:
        """How it is trained."""
        sizes = "samplers.prompts=8 samplers.rollouts=8"
        how = f"--steps {self.steps} --max-tokens {self.max_tokens} --seed {seed} --no-test"
        looks = "--dev-every 10 --dev-limit 50 --save-every 5 --keep 1"
        return [
            *(self.task, "-m", self.model, "--recipe", self.recipe, *how.split(), *looks.split()),
            *("--temperature", f"{self.temperature}", "--dtype", self.dtype),
            *("--set", *sizes.split(), f"optimizer.lr={self.lr}"),
        ]


REAL = tuple(
    Trial(
        name=f"learn-{member}",
        task=f"drills/{member}",
        model="text:smollm2",
        recipe="grpo",
        steps=steps,
        lr=1e-5,
        dtype="bfloat16",
    )
    for member, steps in (("reversal", 12), ("sorting", 20), ("successor", 12))
)
TINY = tuple(
    Trial(
        name=f"learn-digit-{recipe}",
        task="drills/digit",
        model="text:tiny",
        recipe=recipe,
        steps=60,
        lr=3e-3,
        max_tokens=4,
        temperature=1.0,
    )
    for recipe in ("grpo", "dr_grpo", "dapo", "gspo", "rloo", "cispo")
)


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


def gains(trial: Trial, output: Path) -> Iterator[dict[str, Any]]:
    """The paired comparison of each seed."""
    before = f"{trial.name.rpartition('-')[0] if trial.model == 'text:tiny' else trial.name}-before"
    asked, where = trial.asked(), ("-o", output)
    harness("eval", *asked, "-m", trial.model, "--name", before, *where)
    for seed in SEEDS:
        name = f"{trial.name}-{seed}"
        harness("train", *trial.trained(seed), "--name", f"{name}-run", *where)
        policy = output / "runs" / f"{name}-run" / "policy"
        harness("eval", *asked, "-m", f"text:{policy}", "--name", f"{name}-after", *where)
        [found] = json.loads(
            harness("compare", f"{name}-after", before, "--json", "--show", "0", *where)
        )
        yield {"trial": trial, "seed": seed, **found["pairs"][0]}


def main() -> int:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("part", nargs="?", choices=("real", "tiny"), help="default: both")
    parser.add_argument("-o", "--output", type=Path, default=Path("results"))
    asked = parser.parse_args()
    from harness.comparing import holm

    trials = {"real": REAL, "tiny": TINY, None: (*REAL, *TINY)}[asked.part]
    found = [gain for trial in trials for gain in gains(trial, asked.output)]
    significant = True
    print(f"{'task':18} {'recipe':8} seed  before  after   gain  95 % interval     p (Holm)")
    for gain, p in zip(found, holm([gain["p"] for gain in found]), strict=True):
        trial: Trial = gain["trial"]
        significant &= gain["difference"] > 0 and p < LEVEL
        print(
            f"{trial.task:18} {trial.recipe:8} {gain['seed']:4}  {gain['mean_b']:.3f}   "
            f"{gain['mean_a']:.3f}  {gain['difference']:.3f}  "
            f"[{gain['low']:.3f}, {gain['high']:.3f}]  {p:.1e}"
        )
    print("every gain is significant" if significant else "NOT every gain is significant")
    return 0 if significant else 1


if __name__ == "__main__":
    sys.exit(main())
