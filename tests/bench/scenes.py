"""Verdicts per second on reasoning about scenes, and the longest verdict on hostile text.

    python tests/bench/scenes.py

One core, thread time. Traces are right answers of spatial/scenes with boxes, the same with a wrong
relation, and the same without the form. Ends with an error below 2,000 verdicts per second, or
where a hostile text takes 50 ms.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from harness import Completion, Example, registry

ROUNDS, LEAST, LONGEST = 5, 2_000, 0.05
HOSTILE = {
    "200 kB of garbage": "a[<think>1,." * 17_000,
    "unclosed tags": "<think>" * 30_000,
    "10,000 boxes": "<think>"
    + "There is a red cube at [1, 2, 3, 4].\n" * 10_000
    + "</think><answer>yes</answer>",
    "boxes without number": "<think>"
    + "There is a cube at [nan, inf, -1, 1e999].\n" * 700
    + "</think><answer>yes</answer>",
    "inverted boxes": "<think>"
    + "The cube [90,90,1,1] is below the cone [9,9,0,0].\n" * 600
    + "</think><answer>no</answer>",
}


def traces() -> list[tuple[Example, Completion]]:
    """Three traces of each test example."""
    task = registry.task("spatial/scenes")
    found: list[tuple[Example, Completion]] = []
    for example in task.examples("test"):
        gold = task.gold(example)
        wrong = gold.replace(" is left of ", " is right of ").replace("yes", "no")
        found += [(example, Completion(said)) for said in (gold, wrong, gold[7:])]
    return found


def main() -> None:
    """Measure, print, and end with 1 where a bound is missed."""
    verify, judged = registry.task("spatial/scenes").verify, traces()
    rates: list[float] = []
    for _ in range(ROUNDS):
        begin = time.thread_time()
        for example, completion in judged:
            verify(example, completion)
        rates.append(len(judged) / (time.thread_time() - begin))
    rate = sorted(rates)[ROUNDS // 2]
    print(f"spatial/scenes: {rate:,.0f} verdicts per second (median of {ROUNDS} rounds)")
    slowest = 0.0
    for name, said in HOSTILE.items():
        begin = time.thread_time()
        verdict = verify(judged[0][0], Completion(said))
        seconds = time.thread_time() - begin
        slowest = max(slowest, seconds)
        print(f"  {name}: {seconds * 1000:.1f} ms, {verdict.reason}")
    sys.exit(rate < LEAST or slowest >= LONGEST)


if __name__ == "__main__":
    main()
