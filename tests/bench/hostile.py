"""The hostile suite as a table: programs met, by kind and way; an error where one is not.

HARNESS_DATA=... python tests/bench/hostile.py     ours, and the stored ones
python tests/bench/hostile.py                      ours alone
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

SUITE = Path(__file__).resolve().parents[1] / "sandbox" / "hostile.py"
WAYS: dict[str, list[str]] = {
    "all layers": [],
    "without namespaces": ["--off", "namespaces"],
    "without Landlock": ["--off", "landlock"],
}


def judged(words: list[str]) -> list[dict[str, Any]]:
    """A line for each program, and one for the layers."""
    folder = os.environ.get("HARNESS_DATA")
    stored = ["--stored", f"{folder}/code/hostile_programs.jsonl"] if folder else []
    command = [sys.executable, str(SUITE), *stored, *words]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(done.stderr)
    return [json.loads(line) for line in done.stdout.splitlines()]


def main() -> int:
    """The command."""
    print("| way | kind | met | verdicts |\n|---|---|---|---|")
    missed = []
    for way, words in WAYS.items():
        start = time.perf_counter()
        *said, last = judged(words)
        kinds = dict.fromkeys(each["kind"] for each in said)
        for kind in kinds:
            mine = [each for each in said if each["kind"] == kind]
            met = [each for each in mine if each["verdict"] in each["allowed"]]
            missed += [(way, each) for each in mine if each not in met]
            verdicts = Counter(each["verdict"] for each in mine if each in met)
            told = ", ".join(f"{name} {count}" for name, count in verdicts.most_common())
            print(f"| {way} | {kind} | {len(met)} of {len(mine)} | {told} |")
        print(f"| {way} | | {time.perf_counter() - start:.0f} s | {', '.join(last['layers'])} |")
    for way, each in missed:
        print(f"MISSED, {way}: {each}")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
