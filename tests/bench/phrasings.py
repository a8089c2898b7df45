"""Lets a model put public questions in other words, and keeps what passes the filters.

Writes `rag/phrasings_SET.jsonl` for HARNESS_DATA; `ragqa/open+questions=SET+phrasings=model` reads
it. Each row says which model wrote it. A second model may read the passages that hold the answer,
and phrasings that it answers otherwise are left out.

    python tests/bench/phrasings.py hotpotqa --model text:PATH [--reader text:PATH] -o FILE
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))


def main() -> int:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("questions", help="hotpotqa, 2wiki, musique, triviaqa, popqa, nq_open")
    parser.add_argument("--model", required=True)
    parser.add_argument("--reader")
    parser.add_argument("--limit", type=int)
    parser.add_argument("-o", "--output", type=Path, required=True)
    asked = parser.parse_args()
    from harness import registry
    from harness.commands.opening import ModelOptions, open_model
    from harness.data import load
    from harness.models import Sampling
    from tasks import _ragqa_open as public
    from tasks._ragqa_sets import listed, wikipedia
    from tasks.ragqa_phrasing.maker import Question, made, reasons

    task = registry.task(f"ragqa/open+questions={asked.questions}")
    sampling = Sampling(temperature=0.7, max_tokens=256)

    def opened(spec: str) -> Any:
        return open_model(spec, task, "test", sampling, ModelOptions())

    def question(row: Any) -> Question:
        passages = [wikipedia().by_id[id] for id in listed(row.get("supporting") or ())]
        told = "\n".join(f"{passage.title}: {passage.text}" for passage in passages)
        return Question(row["id"], row["question"], tuple(map(str, listed(row["answers"]))), told)

    rows = load(public.source(asked.questions)).rows[: asked.limit]
    reader = opened(asked.reader) if asked.reader else None
    found = made([question(row) for row in rows], opened(asked.model), reader)
    lines = [json.dumps(each.row(asked.model)) for each in found if len(each.phrasings) > 1]
    asked.output.write_text("\n".join([*lines, ""]), "utf-8")
    print(f"{len(lines)} of {len(found)} questions have other phrasings; left out:")
    for why, count in reasons(found).most_common():
        print(f"  {count:6} {why}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
