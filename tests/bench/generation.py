"""Tokens per second of ragged sampling: our engine, transformers' `generate`, openvino-genai.

The same 64 prompts of text:smollm2 in bfloat16, each answered with its own number of tokens (8 to
--longest), sampled at temperature 1, no early end. Rounds are interleaved. What counts are the
tokens asked for; transformers answers all rows of a batch until its longest is done.

    python tests/bench/generation.py --rounds 3

Ends with an error if the median ratio is below 2 (transformers) or 0.65 (openvino-genai).
"""

from __future__ import annotations

import argparse
import random
import sys
import time
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
sys.path.insert(0, str(Path(__file__).resolve().parent))

import torch
from side_by_side import Run, interleaved, per_second

from harness.models import Sampling
from harness.types import Example, Message, Prompt
from trainers.engine import Engine, Job
from trainers.policies.text import TextPolicy, open_text

FLOORS = {"transformers": 2.0, "openvino-genai": 0.65}


def prompts(count: int, group: int, words: int) -> list[Prompt]:
    """One-digit sums, each asked `group` times, with so many words before it."""
    draw = random.Random(0)
    asked: list[Prompt] = []
    for number in range(-(-count // group)):
        before = " ".join(draw.choice(("one", "two", "three", "four")) for _ in range(words))
        text = f"{before} What is {draw.randint(1, 9)} + {draw.randint(1, 9)}? Answer shortly."
        asked += [
            Prompt(Example(str(number), {}, None), (Message("user", text),), attempt=attempt)
            for attempt in range(group)
        ]
    return asked[:count]


def jobs_of(policy: TextPolicy, asked: Sequence[Prompt], longest: int) -> list[Job]:
    """Each prompt with a budget of its own."""
    draw = random.Random(1)
    return [
        Job(number, tuple(policy.chat.ids(prompt)), draw.randint(8, longest), (7, number))
        for number, prompt in enumerate(asked)
    ]


def engine_run(engine: Engine, jobs: Sequence[Job]) -> Run:
    """Tokens drawn by one of our engines."""

    def run() -> float:
        drawn = [each for _, each in engine.draw(jobs, Sampling(max_tokens=1))]
        assert all(len(each.ids) > 0 for each in drawn)
        return float(sum(len(each.ids) for each in drawn))

    return run


class Enough:
    """Tells transformers which rows have their number of tokens."""

    def __init__(self, lengths: torch.Tensor) -> None:
        self.lengths = lengths

    def __call__(self, ids: torch.Tensor, scores: Any, **_: Any) -> torch.Tensor:
        """(N,) whether each row is done."""
        return ids.shape[1] >= self.lengths


def transformers_run(model: Any, pad: int, jobs: Sequence[Job]) -> Run:
    """The same jobs as one left-padded batch of `generate`."""
    from transformers import StoppingCriteriaList

    width = max(len(job.ids) for job in jobs)
    ids = torch.tensor([[pad] * (width - len(job.ids)) + list(job.ids) for job in jobs])
    mask = torch.tensor([[0] * (width - len(job.ids)) + [1] * len(job.ids) for job in jobs])
    lengths = torch.tensor([width + job.budget for job in jobs])

    def run() -> float:
        model.generate(
            ids,
            attention_mask=mask,
            do_sample=True,
            temperature=1.0,
            top_k=0,
            top_p=1.0,
            max_new_tokens=max(job.budget for job in jobs),
            eos_token_id=-1,
            pad_token_id=pad,
            stopping_criteria=StoppingCriteriaList([Enough(lengths)]),
        )
        return float(sum(job.budget for job in jobs))

    return run


def unending(engine: Any) -> Any:
    """An engine that knows no end token."""
    from dataclasses import replace

    engine.loaded = replace(engine.loaded, ends=frozenset())
    return engine


def main() -> int:
    """The command."""
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--count", type=int, default=64)
    parser.add_argument("--group", type=int, default=1, help="answers to each prompt")
    parser.add_argument("--words", type=int, default=0, help="put before each question")
    parser.add_argument("--longest", type=int, default=128)
    parser.add_argument("--rows", type=int, default=64)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--cpu", action="store_true", help="seconds of the processor, not wall")
    parser.add_argument("--without", nargs="*", default=[], help="competitors left out")
    asked = parser.parse_args()
    warnings.simplefilter("ignore")
    torch.set_num_threads(asked.threads)
    opened = {"dtype": "bfloat16", "batch_size": asked.rows}
    policy = open_text("smollm2", Sampling(), **opened)
    jobs = jobs_of(policy, prompts(asked.count, asked.group, asked.words), asked.longest)
    runs = {"ours": engine_run(unending(policy._engine), jobs)}
    if "transformers" not in asked.without:
        from transformers import AutoModelForCausalLM

        opener: Any = AutoModelForCausalLM
        model = opener.from_pretrained(policy.loaded.origin.folder, dtype=torch.bfloat16).eval()
        runs["transformers"] = transformers_run(model, 2, jobs)
    if "openvino-genai" not in asked.without:
        other = open_text("smollm2", Sampling(), engine="openvino", **opened)
        runs["openvino-genai"] = engine_run(unending(other._engine), jobs)
    tokens = sum(job.budget for job in jobs)
    print(
        f"{len(jobs)} sequences of 8 to {asked.longest} tokens ({tokens} in all) after prompts of "
        f"{len(jobs[0].ids)}, {asked.threads} threads, {policy.describe()['kernels']}; tokens/s"
    )
    clock = time.process_time if asked.cpu else time.perf_counter
    timed = {name: per_second(run, clock) for name, run in runs.items()}
    found = interleaved(timed, asked.rounds)
    reached = True
    for name in runs:
        print(f"{name:<16} {found.median(name):8.0f} tokens/s")
    for name, floor in FLOORS.items():
        if name in runs:
            good = sorted(found.ratio("ours", name))[asked.rounds // 2] >= floor
            reached = reached and good
            print(
                f"ours / {name}: {found.told('ours', name)}; asked for: {floor:g} "
                f"{'reached' if good else 'MISSED'}"
            )
    return 0 if reached else 1


if __name__ == "__main__":
    sys.exit(main())
