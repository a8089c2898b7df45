"""Verdicts per second of our verifier and of math-verify, side by side.

Both judge the same completions in the same process, in interleaved rounds; our cache of verdicts is
emptied before every round, both are warm, and each reads the gold anew for every completion.

    python tests/bench/verifier.py            GSM8K-style answers, generated here
    HARNESS_DATA=... python tests/bench/verifier.py     and 250 real completions

Ends with an error if the median ratio is below 20 (GSM8K style) or 3 (real completions).
"""

from __future__ import annotations

import argparse
import gzip
import json
import logging
import os
import random
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

Pair = tuple[str, str]
NAMES = ("Ada", "Ben", "Carla", "Dev", "Elif", "Femi", "Goran", "Hana")
GIVEN_UP = 4.5
"""Seconds: math-verify gives up parsing after five."""
THINGS = ("apples", "clips", "books", "stickers", "tickets", "marbles")


def gsm8k_style(number: int, seed: int) -> list[Pair]:
    """Golds and worked solutions that end in `#### n` or a box; three in four are right."""
    draw = random.Random(seed)
    pairs: list[Pair] = []
    for _ in range(number):
        name, thing = draw.choice(NAMES), draw.choice(THINGS)
        first, times, spent = draw.randint(2, 90), draw.randint(2, 12), draw.randint(1, 99)
        total = first * times * draw.choice((1, 1, 10, 100))
        right = total - spent
        said = right if draw.random() < 0.75 else right + draw.randint(1, 20)
        steps = (
            f"{name} starts with {first} {thing} a day for {times} days.\n"
            f"That makes {first} * {times} = {first * times} {thing}, or {total} with the bonus.\n"
            f"Then {name} gives away {spent}, so {total} - {spent} = {said} {thing} are left.\n"
        )
        shown = draw.choice((f"{said}", f"{said:,}", f"{said}.00", f"${said:,}"))
        end = f"#### {shown}" if draw.random() < 0.5 else f"The answer is $\\boxed{{{said}}}$."
        pairs.append((str(right), steps + end))
    return pairs


def real_completions() -> list[Pair]:
    """The 250 stored completions, if HARNESS_DATA says where they are."""
    folder = os.environ.get("HARNESS_DATA")
    if not folder:
        return []
    path = Path(folder) / "math" / "completions_math500_250.jsonl.gz"
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        rows = [json.loads(line) for line in lines]
    return [(row["gold"], row["completion"]) for row in rows]


def ours(gold: str, text: str) -> bool:
    """Our verdict: strict, lenient and training scores; the strict one is given back."""
    from tasks.mathqa_verifier import judge

    return judge(gold, text).scores["correct"] == 1.0


def theirs(gold: str, text: str) -> bool:
    """The verdict of math-verify, used as its authors show, with its own time limits."""
    from math_verify import parse, verify

    return verify(parse(f"\\boxed{{{gold}}}"), parse(text))


def timed(judged: Callable[[str, str], bool], pairs: Sequence[Pair]) -> list[float]:
    """Seconds that each verdict of one round took; our cache is emptied before it."""
    from tasks.mathqa_verifier import forget

    forget()
    seconds: list[float] = []
    for gold, text in pairs:
        start = time.perf_counter()
        judged(gold, text)
        seconds.append(time.perf_counter() - start)
    return seconds


def compare(title: str, draw: Callable[[int], list[Pair]], rounds: int, floor: float) -> bool:
    """Run the rounds, print the figures, and tell whether the median ratio reaches the floor."""
    warm = draw(0)
    agreed = sum(ours(*pair) == theirs(*pair) for pair in warm)
    ours_rate, theirs_rate, ratios, finished, ended = [], [], [], [], 0
    for number in range(1, rounds + 1):
        pairs = draw(number)
        order = (ours, theirs) if number % 2 else (theirs, ours)
        times = {judged.__name__: timed(judged, pairs) for judged in order}
        ours_rate.append(len(pairs) / sum(times["ours"]))
        theirs_rate.append(len(pairs) / sum(times["theirs"]))
        ratios.append(sum(times["theirs"]) / sum(times["ours"]))
        both = zip(times["ours"], times["theirs"], strict=True)
        quick = [(our, their) for our, their in both if their < GIVEN_UP]
        finished.append(sum(their for _, their in quick) / sum(our for our, _ in quick))
        ended = len(quick)
    print(f"{title}: {len(warm)} completions a round, {rounds} rounds, {agreed} verdicts agree")
    for name, rates in (("ours", ours_rate), ("math-verify", theirs_rate)):
        print(
            f"  {name:12} {statistics.median(rates):10.0f} verdicts/s"
            f"   (min {min(rates):.0f}, max {max(rates):.0f})"
        )
    median = statistics.median(ratios)
    print(
        f"  ratio        {median:10.1f}x            (min {min(ratios):.1f}, max {max(ratios):.1f});"
        f" asked for: {floor:g}x {'reached' if median >= floor else 'MISSED'}"
    )
    if ended < len(warm):
        print(
            f"  without the {len(warm) - ended} completions on which math-verify ran into its time"
            f" limit: {statistics.median(finished):.1f}x"
            f" (min {min(finished):.1f}, max {max(finished):.1f})"
        )
    return median >= floor


def main() -> int:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--size", type=int, default=300, help="GSM8K-style completions a round")
    asked = parser.parse_args()
    logging.getLogger("math_verify").setLevel(logging.CRITICAL)
    reached = compare(
        "GSM8K style", lambda seed: gsm8k_style(asked.size, seed), asked.rounds, floor=20
    )
    stored = real_completions()
    if stored:
        real = compare("Real completions", lambda seed: stored, min(asked.rounds, 3), floor=3)
        reached = reached and real
    else:
        print("Real completions: skipped, HARNESS_DATA names no folder")
    return 0 if reached else 1


if __name__ == "__main__":
    sys.exit(main())
