"""The claim of length_curriculum, on its home task: text:tiny in words, trained for seconds."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from scipy import stats

from tests.bench.toys import Finding, spread

HOUSE = Path(__file__).resolve().parents[2]
SEEDS = range(6)
BUDGET = "rewards.PayLength.budget"
ARMS = {
    "grpo": ("grpo", ()),
    "tight": ("length_curriculum", (f"{BUDGET}.start=0.343", f"{BUDGET}.drops=0")),
    "curriculum": ("length_curriculum", ()),
    "late": ("length_curriculum", (f"{BUDGET}.drops=1",)),
}
"""No word on length; the last budget from the first step; three drops; one drop, half way."""


def arm(name: str, seed: int, output: Path) -> tuple[float, float]:
    """Share right on the dev split, and mean tokens of the last step."""
    recipe, settings = ARMS[name]
    words = ["train", "ladders/wordy", "--recipe", recipe, "--model", "text:tiny", "--no-test"]
    words += ["--seed", str(seed), "--name", f"{name}-{seed}", "-o", str(output), "--json"]
    words += ["--warm-up", "300", "--budget", "2000rollouts", "--max-tokens", "16"]
    words += ["--dtype", "float32", "--dev-every", "32", "--dev-limit", "100", "--keep-best", "0"]
    words += ["--save-every", "1000", "--set", "optimizer.lr=3e-4", *settings]
    environment = {**os.environ, "PYTHONPATH": str(HOUSE), "OMP_NUM_THREADS": "1"}
    asked = [sys.executable, "-m", "harness", *words]
    subprocess.run(asked, env=environment, capture_output=True, check=True)
    report = json.loads((output / "runs" / f"{name}-{seed}" / "report.json").read_text("utf-8"))
    return report["dev_last"]["eval/pass@1"], report["last"]["completions/mean_length"]


def length_curriculum() -> list[Finding]:
    """Curriculum against its last budget from the start, one late drop, and no budget."""
    with tempfile.TemporaryDirectory() as folder:
        found = {
            name: list(zip(*(arm(name, seed, Path(folder)) for seed in SEEDS), strict=True))
            for name in ARMS
        }
    right = {name: values[0] for name, values in found.items()}
    tokens = {name: values[1] for name, values in found.items()}

    def told(names: str, numbers: dict[str, tuple[float, ...]]) -> str:
        return "; ".join(f"{name} {spread(numbers[name])}" for name in names.split())

    def better(one: str, other: str) -> bool:
        test = stats.ttest_rel(right[one], right[other], alternative="greater")
        return bool(test.pvalue < 0.05)

    shorter = max(max(tokens["tight"]), max(tokens["curriculum"])) < min(tokens["grpo"])
    return [
        Finding(
            "more are right than with the last budget from the start",
            told("tight curriculum", right),
            better("curriculum", "tight"),
        ),
        Finding(
            "one late drop is worse", told("late curriculum", right), better("curriculum", "late")
        ),
        Finding(
            "answers are shorter than without budgets",
            told("grpo tight curriculum", tokens),
            shorter,
        ),
    ]


CLAIMS: dict[str, Callable[[], list[Finding]]] = {"length_curriculum": length_curriculum}
