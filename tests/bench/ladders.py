"""Do the ladders tell recipes apart? Where text:tiny starts on each, and how many groups are flat.

    python tests/bench/ladders.py [--steps 300] [--write results/ladders.md]

After the warm start of `harness train --warm-up`, 8 attempts at each of 200 test questions: mean
score, pass@8, groups that are all right or all wrong, length, and a histogram of the groups by how
many of their attempts are right. Ends with an error where a member starts outside of 0.1 .. 0.7, or
has no mixed groups.
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import torch

from harness import registry
from harness.models import Sampling
from harness.play import play, rows
from harness.types import Rollout, Task
from trainers.policies.text import open_text
from trainers.warm import WarmUp, warm_up

GROUP = 8
BARS = " ▁▂▃▄▅▆▇█"
COLUMNS = ("task", "start", "pass@8", "all wrong", "all right", "steps", "right of 8: 0 to 8")


def started(task: Task, steps: int) -> tuple[list[str], bool]:
    """A row of the table, and whether the member does what it is for."""
    policy = open_text("tiny", Sampling(max_tokens=16, seed=1), dtype="float32", batch_size=64)
    warm_up(policy, task, WarmUp(steps=steps))
    examples = task.examples("test")
    prompts = [task.prompt(example).but(rollouts=GROUP) for example in examples]
    found = [r for r in play(task, prompts, policy) if isinstance(r, Rollout)]
    table = rows(found, [example.id for example in examples])
    right = [sum(verdict.scores["correct"] == 1 for verdict in row) for row in table]
    counts = Counter(right)
    start = sum(right) / (GROUP * len(right))
    wrong, whole = counts[0] / len(right), counts[GROUP] / len(right)
    most = max(counts.values())
    bars = "".join(BARS[-(-counts[k] * (len(BARS) - 1) // most)] for k in range(GROUP + 1))
    length = sum(rollout.steps for rollout in found) / len(found)
    row = [
        task.name,
        f"{start:.3f}",
        f"{sum(count > 0 for count in right) / len(right):.3f}",
        f"{wrong:.0%}",
        f"{whole:.0%}",
        f"{length:.1f}",
        bars,
    ]
    return row, 0.1 < start < 0.7 and wrong + whole < 0.8


def main() -> int:
    """The command."""
    from tabulate import tabulate

    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--steps", type=int, default=300, help="of the warm start")
    parser.add_argument("--write", type=Path, help="a page for the table")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    names = sorted(registry.card("tasks", "ladders").members)
    found = [started(registry.task(name), asked.steps) for name in names]
    table = tabulate([row for row, _ in found], COLUMNS, tablefmt="pipe", disable_numparse=True)
    print(table)
    if asked.write:
        about = (
            f"`make ladders`: text:tiny after {asked.steps} supervised steps on a beginner's "
            "answers, 8 attempts at each test question at temperature 1. A group that is all wrong "
            "or all right has nothing to compare; the last column shows how many groups have 0, 1, "
            "... 8 right attempts."
        )
        asked.write.write_text(f"# Where the ladders start\n\n{about}\n\n{table}\n", "utf-8")
    good = all(fine for _, fine in found)
    print("every member starts between 0.1 and 0.7" if good else "NOT every member starts well")
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
