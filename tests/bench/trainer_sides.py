"""The two sides of `make bench-trainer`: one process each, which steps when it is told to.

    python tests/bench/trainer_sides.py SIDE WORKLOAD FOLDER      SIDE: see `trainer.py`

Reads lines from its input, one a step, and answers each with a line of JSON: seconds of the step,
peak resident memory so far, and how many tokens were read and said. Both sides learn the same
checkpoint in FOLDER from the same prompts, pay answers by the same function, and are made to say
answers of the same lengths: end tokens end nothing, each row's length is given.
"""

from __future__ import annotations

import json
import os
import resource
import sys
import time
import warnings
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))


@dataclass(frozen=True)
class Workload:
    """What a step is made of."""

    name: str
    prompts: int
    rollouts: int
    sentences: int
    """Of context, the same before each question: they make a prompt long."""
    shortest: int
    longest: int
    """Of an answer, in tokens; rows of a group lie evenly between."""

    def lengths(self) -> list[int]:
        """New tokens of each row of a group, in a mixed order."""
        most = max(self.rollouts - 1, 1)
        span = self.longest - self.shortest
        even = [self.shortest + span * row // most for row in range(self.rollouts)]
        return [even[5 * row % self.rollouts] for row in range(self.rollouts)]

    def questions(self) -> list[str]:
        """One for every prompt of sixty-four steps, all different, nearly all of one length."""
        context = "You are a careful helper who checks every number. " * self.sentences
        ask = "What is {} + {}? Say the number, then explain how it is found."
        return [context + ask.format(10 + n % 83, 11 + n % 79) for n in range(64 * self.prompts)]


WORKLOADS = {
    each.name: each
    for each in (
        Workload("short", 2, 8, 0, 32, 32),
        Workload("long", 2, 8, 36, 32, 32),
        Workload("ragged", 2, 8, 0, 8, 256),
        Workload("alike", 8, 4, 22, 32, 32),
        *(Workload(f"linear{n}", n // 8, 8, 0, 32, 32) for n in (16, 64, 256, 512)),
    )
}


def paid(text: str) -> float:
    """A reward that differs between nearly all answers, so that every group has a gradient."""
    return sum(map(ord, text)) % 97 / 96


def peak() -> float:
    """Largest resident memory of this process so far, in bytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024.0


@dataclass
class Pace:
    """Steps one at a time, as the input asks; the end of the input ends the process."""

    said: int = 0
    read: int = 0
    started: float = 0.0
    processor: float = 0.0

    def __post_init__(self) -> None:
        self.output = os.fdopen(os.dup(1), "w")
        os.dup2(2, 1)  # what libraries print is none of the answers

    def wait(self) -> None:
        """Until the next step is asked for."""
        if not sys.stdin.readline():
            os._exit(0)
        self.said = self.read = 0
        self.processor, self.started = time.process_time(), time.perf_counter()

    def tell(self, **more: float) -> None:
        """What the step took."""
        line = {
            "seconds": time.perf_counter() - self.started,
            "processor": time.process_time() - self.processor,
            "peak": peak(),
            "read": self.read,
            "said": self.said,
            **more,
        }
        self.output.write(json.dumps(line) + "\n")
        self.output.flush()


def ours(load: Workload, folder: Path, pace: Pace, *, lean: bool) -> None:
    """Our loop, as `harness train --dtype bfloat16` runs it, with `--checkpointing` if lean."""
    from tempfile import TemporaryDirectory

    from harness.models import Sampling
    from harness.types import Prompt
    from trainers.loop import Plan, Training
    from trainers.policies.text import TextPolicy
    from trainers.recipe import AdamW, Run
    from trainers.recipes.grpo import RECIPE
    from trainers.samplers import Uniform
    from trainers.text.load import load as read
    from trainers.text.settings import TextSettings

    class Paced(Uniform):
        """The first call is the rehearsal's."""

        rehearsed = False

        def __call__(self, examples: Sequence[Any], run: Run) -> list[Prompt]:
            if Paced.rehearsed:
                pace.wait()
            Paced.rehearsed = True
            return super().__call__(examples, run)

    settings = TextSettings(
        dtype="float32",
        autocast=True,
        sample_dtype="bfloat16",
        batch_size=64,
        checkpointing=lean,
    )
    loaded = replace(read(str(folder), settings), ends=frozenset[int]())
    policy = TextPolicy(loaded, Sampling(), settings)
    force_ours(policy, load.lengths(), pace)
    recipe = RECIPE.but(
        samplers=Paced(prompts=load.prompts, rollouts=load.rollouts),
        steps=10**6,
        max_tokens=load.longest,
        optimizer=AdamW(lr=1e-6),
    )
    plan = Plan(dev_every=0, save_every=10**9)

    def report(step: int, numbers: Any) -> None:
        parts = ("generate", "review", "backward", "optimizer")
        pace.tell(**{part: numbers.get(f"time/{part}", 0.0) for part in parts})

    with TemporaryDirectory() as place:
        Training(
            task_of(load), recipe, {"solver": policy}, Path(place), plan, report=report
        ).train()


def task_of(load: Workload) -> Any:
    """The questions as a task of ours."""
    from harness.types import Completion, Example, Message, Prompt, Split, Task, Verdict

    def examples(split: Split) -> list[Example]:
        asked = load.questions() if split == "train" else []
        return [Example(str(n), {"question": question}, "") for n, question in enumerate(asked)]

    def verify(example: Example, completion: Completion) -> Verdict:
        return Verdict({"paid": paid(str(completion.output))}, reason="ok")

    return Task(
        name="bench/trainer",
        version=1,
        examples=examples,
        prompt=lambda example: Prompt(example, (Message("user", example.inputs["question"]),)),
        verify=verify,
        gold=lambda example: "",
        metrics=(),
        reward={"paid": 1.0},
    )


def force_ours(policy: Any, lengths: list[int], pace: Pace) -> None:
    """Every job ends at its row's length."""
    draw = policy._decode

    def forced(jobs: Sequence[Any], sampling: Any) -> Iterator[Any]:
        most = sampling.max_tokens
        cut = [
            replace(job, budget=min(most, lengths[place % len(lengths)]))
            for place, job in enumerate(jobs)
        ]
        pace.read += sum(len(job.ids) for job in jobs)
        for job, drawn in draw(cut, sampling):
            pace.said += len(drawn.ids)
            yield job, drawn

    policy._decode = forced


def trl(load: Workload, folder: Path, pace: Pace, *, best: bool) -> None:
    """GRPOTrainer, as it is on a processor, or with weights in bfloat16."""
    from datasets import Dataset
    from transformers import TrainerCallback
    from trl import GRPOConfig, GRPOTrainer

    class Paced(TrainerCallback):
        def on_step_begin(self, *args: Any, **kwargs: Any) -> None:
            pace.wait()

        def on_step_end(self, *args: Any, **kwargs: Any) -> None:
            pace.tell()

    config = GRPOConfig(
        output_dir=str(folder.parent / "trl"),
        use_cpu=True,
        bf16=not best,
        learning_rate=1e-6,
        lr_scheduler_type="constant",
        per_device_train_batch_size=load.prompts * load.rollouts,
        gradient_accumulation_steps=1,
        num_generations=load.rollouts,
        max_completion_length=load.longest,
        max_steps=10**6,
        save_strategy="no",
        logging_strategy="no",
        report_to=[],
        disable_tqdm=True,
        model_init_kwargs={"dtype": "bfloat16" if best else "float32"},
    )
    rows = [{"prompt": [{"role": "user", "content": asked}]} for asked in load.questions()]
    trainer = GRPOTrainer(
        str(folder),
        reward_funcs=lambda completions, **columns: [paid(c[0]["content"]) for c in completions],
        args=config,
        train_dataset=Dataset.from_list(rows),
        callbacks=[Paced()],
    )
    force_theirs(trainer.model, load.lengths(), pace)
    trainer.train()


def force_theirs(model: Any, lengths: list[int], pace: Pace) -> None:
    """The end token is the only one at a row's last place, and impossible before."""
    import torch
    from transformers import LogitsProcessorList

    end = model.generation_config.eos_token_id
    generate = model.generate

    def forced(*args: Any, **kwargs: Any) -> Any:
        started = int(kwargs["input_ids"].shape[1])

        def rule(ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
            place = int(ids.shape[1]) - started + 1
            over = torch.tensor([place >= lengths[r % len(lengths)] for r in range(len(ids))])
            scores[:, end] = torch.where(over, 1e4, -1e4).to(scores.dtype)
            return scores

        found = generate(*args, logits_processor=LogitsProcessorList([rule]), **kwargs)
        pace.read += int(kwargs["attention_mask"].sum())
        pace.said += sum(lengths[row % len(lengths)] for row in range(len(found)))
        return found

    model.generate = forced


def main() -> None:
    """One side, until its input ends."""
    side, name, folder = sys.argv[1:4]
    pace = Pace()
    warnings.simplefilter("ignore")
    import torch

    from harness.commands.pages import keep_pages

    if side not in ("trl", "trl_best"):
        keep_pages()
    torch.manual_seed(0)
    with suppress(KeyboardInterrupt):
        if side in ("ours", "lean"):
            ours(WORKLOADS[name], Path(folder), pace, lean=side == "lean")
        else:
            trl(WORKLOADS[name], Path(folder), pace, best=side != "trl")


if __name__ == "__main__":
    main()
