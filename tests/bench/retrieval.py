"""How fast and how small retrieval is: 12,086 passages beside what is asked, and a million.

`small` indexes a corpus of the size of the public one, asks 1,000 questions in a batch, and opens
the index anew from the cache. `large` streams a million generated passages into an index in the
cache, never holding them, and asks from the mapped index: the index alone. `file` goes the way of
`ragqa/retrieval --model bm25`: `rag/corpus.jsonl` below HARNESS_DATA is loaded, its passages are
held and found by their ids, so that its memory is that of the passages too. Each part runs in a
process of its own, so that its peak memory is its own; the cache is a folder that is removed at the
end.

    python tests/bench/retrieval.py [small|large|file] [--passages N] [--write FILE]

Ends with an error where a limit is passed: 3 s and 400 MB for the index, 1 s for 1,000 questions;
4 GB for a million passages.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

SIZES = {"small": 12_086, "file": 100_000, "large": 1_000_000}
QUESTIONS = 1_000
LIMITS = {
    "small": {"index seconds": 3.0, "batch seconds": 1.0, "peak MB": 400.0},
    "file": {},
    "large": {"peak MB": 4000.0},
}


class Passages:
    """Generated passages of some 60 words: read as often as one likes, never held at once."""

    def __init__(self, count: int) -> None:
        self.count = count
        draw = random.Random(0)
        letters = "abcdefghijklmnopqrstuvwxyz"
        words = {"".join(draw.choices(letters, k=draw.randint(4, 9))) for _ in range(60_000)}
        self.words = sorted(words)

    def text(self, number: int) -> str:
        """Words of Zipf's kind: rank from the product of two uniform draws."""
        draw = random.Random(number)
        size = len(self.words)
        ranks = (int(size ** draw.random()) - 1 for _ in range(draw.randint(40, 80)))
        return " ".join(self.words[rank] for rank in ranks)

    def __iter__(self) -> Iterator:
        from tasks.ragqa_retrieval.corpus import Passage

        for number in range(self.count):
            yield Passage(f"p{number:07}", f"title {number}", self.text(number))

    def questions(self) -> list[str]:
        """Six words out of a passage each."""
        draw = random.Random(1)
        rows = [draw.randrange(self.count) for _ in range(QUESTIONS)]
        return [" ".join(draw.sample(self.text(row).split(), 6)) for row in rows]


def part(count: int, cache: Path) -> dict[str, float]:
    """Build, ask, open again and ask; seconds and peak megabytes."""
    import numpy as np

    from tasks.ragqa_retrieval.corpus import best, passages_digest
    from tasks.ragqa_retrieval.lexical import Index

    passages = Passages(count)
    held = list(passages) if count < 100_000 else passages
    digest = passages_digest(held)
    questions = passages.questions()
    rank = np.arange(count)
    found: dict[str, float] = {}

    begin = time.perf_counter()
    index = Index.cached(held, digest, cache)
    found["index seconds"] = time.perf_counter() - begin
    found["peak MB"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024

    begin = time.perf_counter()
    first = [best(index.scores(index.known(q)), rank, 10).tolist() for q in questions]
    found["batch seconds"] = time.perf_counter() - begin

    begin = time.perf_counter()
    again = Index.cached(held, digest, cache)
    found["open seconds"] = time.perf_counter() - begin
    assert isinstance(again.inner.scores["data"], np.memmap)
    assert best(again.scores(again.known(questions[0])), rank, 10).tolist() == first[0]
    found["index MB"] = sum(f.stat().st_size for f in cache.rglob("*") if f.is_file()) / 2**20
    return found


def from_file(count: int, folder: Path) -> dict[str, float]:
    """Load, build and ask, as an evaluation does; seconds and peak megabytes."""
    (folder / "rag").mkdir()
    passages = Passages(count)
    with (folder / "rag/corpus.jsonl").open("w", encoding="utf-8") as file:
        file.writelines(json.dumps(vars(passage)) + "\n" for passage in passages)
    os.environ["HARNESS_DATA"] = str(folder)

    from tasks._ragqa_sets import wikipedia
    from tasks.ragqa_retrieval.lexical import BM25

    def peak() -> float:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024

    found: dict[str, float] = {}
    begin = time.perf_counter()
    corpus = wikipedia()
    found["load seconds"] = time.perf_counter() - begin
    found["peak MB, loaded"] = peak()

    retriever = BM25(corpus, cache=folder / "cache")
    begin = time.perf_counter()
    retriever.search(["title"], 10)
    found["index seconds"] = time.perf_counter() - begin
    begin = time.perf_counter()
    retriever.search(passages.questions(), 10)
    found["batch seconds"] = time.perf_counter() - begin
    found["peak MB"] = peak()
    return found


def measured(name: str, count: int) -> dict[str, float]:
    """A part in a process of its own."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, __file__, name, "--passages", str(count), "--into", folder]
        done = subprocess.run(command, check=True, capture_output=True, text=True)
    return json.loads(done.stdout.splitlines()[-1])


def main() -> int:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("part", nargs="?", choices=tuple(SIZES), help="default: all")
    parser.add_argument("--passages", type=int)
    parser.add_argument("--into", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--write", type=Path)
    asked = parser.parse_args()
    if asked.into:
        made = from_file if asked.part == "file" else part
        print(json.dumps(made(asked.passages, asked.into)))
        return 0
    lines = ["| part | passages | what | measured | limit |", "|---|---|---|---|---|"]
    good = True
    for name in [asked.part] if asked.part else SIZES:
        count = asked.passages or SIZES[name]
        for what, value in measured(name, count).items():
            limit = LIMITS[name].get(what)
            good &= limit is None or value <= limit
            told = "" if limit is None else f"{limit:g}"
            lines.append(f"| {name} | {count:,} | {what} | {value:.2f} | {told} |")
    print("\n".join(lines))
    if asked.write:
        about = "# Retrieval: speed and memory\n\n" + "\n\n".join(__doc__.split("\n\n")[:2]) + "\n"
        told = "Made by `make bench-retrieval`; one thread, peak of the process that indexes."
        asked.write.write_text("\n".join([about, told, "", *lines, ""]), "utf-8")
    print("within all limits" if good else "NOT within all limits")
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
