"""What a recipe's own stages cost: their share of a step, and how they grow with the rollouts.

    python tests/bench/stages.py [--recipes grpo,dapo] [--sizes 1000,10000,100000] [--write PAGE]

share   A recipe trains text:tiny on ladders/graded for some steps of 64 rollouts. Every sampler,
        wrapper, stage and loss is timed where it is called, less what it calls in turn: other
        stages, `play`, and what the policy does. At most 2 % of the step each.
growth  Every reward, advantage and weight stage and every loss on batches of 1,000 to 100,000
        rollouts in groups of 8, with answers that share prefixes. The exponent is that between
        the two largest: 1 is linear, and at most 1.15 is let through, for noise and caches.

All recipes of the registry take part but those that pay scores which this task has not. Ends with
an error where one is above a bound.
"""

from __future__ import annotations

import argparse
import contextlib
import math
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import numpy as np
import torch

from harness import registry
from harness.errors import UnknownName
from harness.models import Sampling
from harness.types import Completion, Rollout, Task
from trainers.batch import Batch
from trainers.loop import Plan, Training
from trainers.policies.text import TextPolicy, open_text
from trainers.policy import Live
from trainers.recipe import AdamW, Policies, Recipe, Run

HOME = "ladders/graded"
SHARE, EXPONENT = 0.02, 1.15
SLACK = 20e-6
"""Seconds a rollout: what is faster than that grows as it likes, for it is all overhead."""
STEPS, WARM = 12, 2
GROUP = 8
KINDS = ("samplers", "rollouts", "rewards", "advantages", "weights", "losses")


@dataclass
class Stopwatch:
    """Time by name, each without what was called inside."""

    spent: dict[str, float] = field(default_factory=lambda: defaultdict[str, float](float))
    inside: list[str] = field(default_factory=list[str])
    since: float = 0.0

    @contextlib.contextmanager
    def at(self, name: str) -> Iterator[None]:
        """Charge the time to this name, and no longer to the one around."""
        self._turn()
        self.inside.append(name)
        try:
            yield
        finally:
            self._turn()
            self.inside.pop()

    def _turn(self) -> None:
        now = time.process_time()
        if self.inside:
            self.spent[self.inside[-1]] += now - self.since
        self.since = now


@contextlib.contextmanager
def watched(kinds: Sequence[tuple[type, str]], watch: Stopwatch) -> Iterator[None]:
    """Methods of these classes are timed: the class and the method's name."""
    before = [(kind, name, getattr(kind, name)) for kind, name in kinds]

    def timed(kind: type, name: str, inner: Callable[..., Any]) -> Callable[..., Any]:
        label = kind.__name__ if name == "__call__" else f"{kind.__name__}.{name}"

        def call(*words: Any, **more: Any) -> Any:
            with watch.at(label):
                return inner(*words, **more)

        return call

    for kind, name, inner in before:
        setattr(kind, name, timed(kind, name, inner))
    try:
        yield
    finally:
        for kind, name, inner in before:
            setattr(kind, name, inner)


def stages(recipe: Recipe, kinds: Sequence[str] = KINDS) -> list[tuple[str, Any]]:
    """Kind and stage, in the order of the recipe."""
    found: list[tuple[str, Any]] = []
    for kind in kinds:
        held = getattr(recipe, kind)
        found += [(kind, each) for each in (held if isinstance(held, tuple) else (held,))]
    return found


def small(recipe: Recipe) -> Recipe:
    """The recipe as both parts run it."""
    return recipe.but(max_tokens=8, optimizer=AdamW(lr=1e-4), steps=STEPS)


def a_policy() -> TextPolicy:
    """text:tiny."""
    return open_text("tiny", Sampling(max_tokens=8), dtype="float32", batch_size=64)


# -- share


def shares(recipe: Recipe, task: Task) -> dict[str, float]:
    """Share of a step's processor time of each stage, by its class."""
    watch = Stopwatch()
    classes = {type(stage): None for _, stage in stages(recipe)}
    methods = [(kind, "__call__") for kind in classes]
    asked = ("answer", "resume", "resume_all", "review", "spell", "choices")
    methods += [(Training, "_play"), *((TextPolicy, name) for name in asked)]
    total = 0.0
    with tempfile.TemporaryDirectory() as folder:
        plan = Plan(dev_every=0, save_every=10**6)
        training = Training(task, small(recipe), {"solver": a_policy()}, Path(folder), plan)
        begun: list[float] = []
        training.report = lambda step, numbers: begun.append(time.process_time())
        with watched(methods, watch):
            inner = training._step

            def step() -> None:
                if training.run.step == WARM:
                    watch.spent.clear()
                inner()

            training._step = step  # type: ignore[method-assign]
            training.train()
        total = begun[-1] - begun[WARM - 1]
    return {kind.__name__: watch.spent.get(kind.__name__, 0.0) / total for kind in classes}


# -- growth


class Blank:
    """A policy whose reviews cost nothing, so that only stages are timed."""

    def __init__(self, inner: TextPolicy) -> None:
        self.inner = inner

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)

    def review(self, rollouts: Sequence[Rollout], *, temperature: float | None = None) -> Live:
        """Random log-probabilities."""
        mask = _mask(rollouts)
        return Live(_noise(mask), torch.ones(mask.shape), mask)

    def frozen(self) -> Blank:
        """Itself."""
        return self


def a_batch(size: int, task: Task, policy: TextPolicy) -> Batch:
    """So many judged rollouts in groups of 8: three parts of an answer, each right or not."""
    rng = np.random.default_rng(0)
    examples = task.examples("train")
    spelled: dict[str, Completion] = {}
    rollouts: list[Rollout] = []
    for number in range(size):
        place, attempt = divmod(number, GROUP)
        base = examples[place % len(examples)]
        example = replace(base, id=f"{base.id}/{place}")
        parts = zip(base.inputs["question"], base.inputs["moved"], strict=False)
        said = "".join(pair[int(rng.integers(2))] for pair in parts)
        prompt = task.prompt(example).but(attempt=attempt)
        key = f"{base.inputs['question']} {said}"
        if key not in spelled:
            whole = policy.spell(prompt, said)
            spelled[key] = replace(
                whole, output=said, logprobs=np.full(whole.steps, -1.0, np.float32)
            )
        verdict = task.verify(example, spelled[key])
        rollouts.append(Rollout(((prompt, spelled[key]),), verdict, example.id, attempt=attempt))
    mask = _mask(rollouts)
    return Batch.of(rollouts, mask).but(old_logprobs=_noise(mask))


def _mask(rollouts: Sequence[Rollout]) -> torch.Tensor:
    steps = torch.tensor([rollout.steps for rollout in rollouts])
    return torch.arange(int(steps.max())) < steps.unsqueeze(1)


def _noise(mask: torch.Tensor) -> torch.Tensor:
    drawn = torch.rand(mask.shape, generator=torch.Generator().manual_seed(0))
    return (-1 - 0.01 * drawn) * mask


def durations(recipe: Recipe, task: Task, batch: Batch) -> dict[str, float]:
    """Seconds of each stage after sampling and playing, the best of some."""
    blank: Any = Blank(a_policy())
    found: dict[str, float] = {}
    for _ in range(3 if len(batch.rollouts) < 50_000 else 2):
        run = Run(
            task=task,
            recipe=small(recipe),
            policies=Policies({"solver": blank}),
            examples=task.examples("train"),
        )
        now = batch
        live = Live(_noise(batch.mask).requires_grad_(), torch.ones(batch.mask.shape), batch.mask)
        for kind, stage in stages(recipe, KINDS[2:]):
            begun = time.process_time()
            if kind == "losses":
                stage(live, now, run)
            else:
                now = stage(now, run)
            spent = time.process_time() - begun
            name = type(stage).__name__
            found[name] = min(spent, found.get(name, math.inf))
    return found


# -- the table


def measured(names: Sequence[str], sizes: Sequence[int]) -> tuple[list[list[str]], list[str]]:
    """A row a recipe and stage, and what is above a bound; each stage as set is timed once."""
    task = registry.task(HOME)
    batches = {size: a_batch(size, task, a_policy()) for size in sizes}
    rows: list[list[str]] = []
    above: list[str] = []
    known: set[str] = set()
    for name in names:
        recipe = registry.recipe(name)
        try:
            share = shares(recipe, task)
        except UnknownName as error:  # it pays scores of one kind of task alone
            print(f"{name} is left out: {error}", flush=True)
            continue
        grown = {size: durations(recipe, task, batch) for size, batch in batches.items()}
        for kind, stage in stages(recipe):
            own, label = type(stage).__name__, repr(stage)
            if label in known:
                continue
            known.add(label)
            times = [grown[size].get(own, math.nan) for size in sizes]
            slope = _slope(times, sizes)
            each = times[-1] / sizes[-1]
            rows.append(
                [name, kind, own, f"{share[own]:.2%}", *(_ms(t) for t in times), _number(slope)]
            )
            print("  ".join(rows[-1]), flush=True)
            if share[own] > SHARE:
                above.append(f"{name}: {own} takes {share[own]:.1%} of a step")
            if slope > EXPONENT and each > SLACK:
                above.append(f"{name}: {own} grows with the power {slope:.2f} of the rollouts")
    return rows, above


def _slope(times: Sequence[float], sizes: Sequence[int]) -> float:
    if len(sizes) < 2 or not min(times[-2:]) > 0:
        return math.nan
    return math.log(times[-1] / times[-2]) / math.log(sizes[-1] / sizes[-2])


def _ms(seconds: float) -> str:
    return "" if math.isnan(seconds) else f"{1000 * seconds:.2f}"


def _number(x: float) -> str:
    return "" if math.isnan(x) else f"{x:.2f}"


def main() -> int:
    """The command."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--recipes", default="", help="commas between; default: all")
    parser.add_argument("--sizes", default="1000,10000,100000")
    parser.add_argument("--write", type=Path, help="a page for the table")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    names = [n for n in asked.recipes.split(",") if n]
    names = names or [card.name for card in registry.cards("recipes")]
    sizes = [int(size) for size in asked.sizes.split(",")]
    rows, above = measured(names, sizes)
    columns = ["recipe", "kind", "stage", "share of a step"]
    columns += [f"ms at {size:,}" for size in sizes] + ["exponent"]
    if asked.write:
        asked.write.write_text(_page(columns, rows, above), "utf-8")
    print("\n".join(above) if above else "every stage is below 2 % of a step, and linear")
    return 1 if above else 0


def _page(columns: Sequence[str], rows: Sequence[Sequence[str]], above: Sequence[str]) -> str:
    from tabulate import tabulate

    table = tabulate(rows, columns, tablefmt="pipe", disable_numparse=True)
    head = "What the stages of recipes cost"
    about = (
        "`make bench-stages`. Share of the processor time of a step of 64 rollouts of text:tiny "
        f"on {HOME}, without what a stage calls in turn; and milliseconds on batches of so many "
        "rollouts in groups of 8, with the exponent between the two largest. Samplers and wrappers "
        "have no batch. Each stage stands at the first recipe that has it so."
    )
    bounds = "\n".join(f"- {line}" for line in above) or "Every stage keeps both bounds."
    return f"# {head}\n\n{about}\n\n{table}\n\n{bounds}\n"


if __name__ == "__main__":
    sys.exit(main())
