"""Lets a model put public questions in other words, and keeps what passes the filters.

Writes `rag/phrasings_SET.jsonl` for HARNESS_DATA; `ragqa/open+questions=SET+phrasings=model` reads
it. Each row says which model wrote it. A reader, the same model unless another is named, answers
each phrasing greedily from the passages that hold the answer; what it answers otherwise is left
out, and the row says who read. Questions without passages cannot be read so.

    python tests/bench/phrasings.py hotpotqa --model text:PATH [--reader text:PATH] -o FILE
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))


def main(arguments: Sequence[str] | None = None) -> int:
    """The command: its exit code is that of the error that ended it, as of `harness`."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("questions", help="hotpotqa, 2wiki, musique, triviaqa, popqa, nq_open")
    parser.add_argument("--model", required=True)
    parser.add_argument("--reader", help="default: the model; none: leaves this filter out")
    parser.add_argument("--limit", type=int)
    parser.add_argument("-o", "--output", type=Path, required=True)
    from harness.errors import HarnessError

    try:
        _write(parser.parse_args(arguments))
    except HarnessError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.code
    return 0


def _write(asked: argparse.Namespace) -> None:
    from harness import registry
    from harness.commands.opening import ModelOptions, open_model
    from harness.data import load
    from harness.models import Sampling
    from tasks import _ragqa_open as public
    from tasks.ragqa_phrasing.maker import made, reasons

    task = registry.task(f"ragqa/open+questions={asked.questions}")
    rows = load(public.source(asked.questions)).rows[: asked.limit]

    def opened(spec: str, temperature: float) -> Any:
        sampling = Sampling(temperature=temperature, max_tokens=256)
        return open_model(spec, task, "test", sampling, ModelOptions())

    by = asked.reader or asked.model
    maker = opened(asked.model, 0.7)
    reader = None if by == "none" else opened(by, 0.0)
    found = made([_question(row) for row in rows], maker, reader)
    kept = [each.row(asked.model, by) for each in found if len(each.phrasings) > 1]
    asked.output.write_text("".join(json.dumps(row) + "\n" for row in kept), "utf-8")
    print(f"{len(kept)} of {len(found)} questions have other phrasings; left out:")
    for why, count in reasons(found).most_common():
        print(f"  {count:6} {why}")


def _question(row: Any) -> Any:
    """With the passages that hold its answer, where the set names them."""
    from tasks._ragqa_sets import listed, wikipedia
    from tasks.ragqa_phrasing.maker import Question

    passages = [wikipedia().by_id[str(id)] for id in listed(row.get("supporting") or ())]
    told = "\n".join(f"{passage.title}: {passage.text}" for passage in passages)
    return Question(str(row["id"]), row["question"], tuple(map(str, listed(row["answers"]))), told)


if __name__ == "__main__":
    sys.exit(main())
