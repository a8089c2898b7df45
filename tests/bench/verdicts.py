"""1,000 programs judged four times: twice on an idle machine, twice under load. All must agree.

`python tests/bench/verdicts.py`. The programs are the references of the generated problems, as they
are and with mistakes: wrong values, exceptions, endless loops, floods of output, no syntax. Load is
a busy process for each core and one more. Prints the verdicts' counts, the times, and differences.
"""

from __future__ import annotations

import multiprocessing
import os
import random
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent.parent))

from harness import registry
from sandbox.judge import Case, Submission, judge
from sandbox.open import open_backend
from sandbox.prefix import PREFIX
from sandbox.types import Backend, Limits

PROGRAMS = 1000
MISTAKES = {
    "right": lambda code: code,
    "wrong": lambda code: code.replace("return ", "return 0 * ", 1).replace(
        "print(", "print(1, ", 1
    ),
    "raises": lambda code: f"{code}\nraise ValueError",
    "no syntax": lambda code: f"{code}\n)",
    "flood": lambda code: f"while True: print('x' * 10**5)\n{code}",
    "loops": lambda code: f"while True: pass\n{code}",
}
WEIGHTS = (70, 16, 8, 3, 1, 2)


def submissions() -> list[Submission]:
    """The programs, the same in every run."""
    task, rng = registry.task("coding/generated"), random.Random(0)
    scoring = task.verify.__self__  # type: ignore[attr-defined]
    examples = [e for split in ("train", "dev", "test") for e in task.examples(split)]
    found = []
    for number in range(PROGRAMS):
        example = examples[number % len(examples)]
        mistake = rng.choices(list(MISTAKES), WEIGHTS)[0]
        code = MISTAKES[mistake](example.target["solution"])
        cases: tuple[Case, ...] = tuple(scoring.cases(example))
        limits = Limits(cpu=0.5)
        found.append(Submission(source=code, cases=cases, limits=limits, prefix=PREFIX))
    return [replace(each, source=f"{each.source}\n# {n}") for n, each in enumerate(found)]


def outcomes(backend: Backend, asked: list[Submission]) -> list[str]:
    """Of each program: the outcome of every case that was run."""
    found = dict(judge(backend, asked))
    return [" ".join(found[number].outcomes) for number in range(len(asked))]


def _spin() -> None:
    while True:
        pass


@contextmanager
def load() -> Iterator[None]:
    """Every core busy, and one process more."""
    spinners = [
        multiprocessing.Process(target=_spin, daemon=True) for _ in range((os.cpu_count() or 1) + 1)
    ]
    for spinner in spinners:
        spinner.start()
    try:
        yield
    finally:
        for spinner in spinners:
            spinner.kill()


def main() -> None:
    """Judge, compare, print; exits with 1 where two runs differ."""
    asked, runs = submissions(), dict[str, list[str]]()
    backend = open_backend("local")
    for label in ("idle 1", "idle 2", "load 1", "load 2"):
        begin = time.monotonic()
        if label.startswith("load"):
            with load():
                runs[label] = outcomes(backend, asked)
        else:
            runs[label] = outcomes(backend, asked)
        print(f"{label}: {time.monotonic() - begin:.1f} s for {len(asked)} programs")
    backend.close()
    first = runs["idle 1"]
    last = Counter((each.split() or ["none"])[-1] for each in first)
    print("last outcomes:", ", ".join(f"{name} {count}" for name, count in last.most_common()))
    different = {
        (label, number): (first[number], told)
        for label, found in runs.items()
        for number, told in enumerate(found)
        if told != first[number]
    }
    for (label, number), (one, other) in list(different.items())[:10]:
        print(f"program {number}: idle 1 {one!r}, {label} {other!r}")
    print(f"{len(different)} differences")
    sys.exit(bool(different))


if __name__ == "__main__":
    main()
