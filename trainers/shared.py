"""shared: one step's work, dealt to the processes of a run and brought together again.

Attempts are dealt in order, so neighbors of a group are answered together; a set that its task
compares is never cut. Verdicts are made where the answers are. All processes then hold all
rollouts, in one order, and do the same with them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from typing import Protocol, runtime_checkable

import torch

from harness.codec import decode, encode
from harness.models import Model
from harness.play import play
from harness.types import Fault, Prompt, Rollout, Task
from trainers.batch import Batch
from trainers.recipe import Run
from trainers.tally import Tally
from trainers.world import World, deal


@runtime_checkable
class Shared(Protocol):
    """A model that several processes must ask equally often."""

    def finish(self) -> None:
        """Nothing more is asked here: help those that are not done, and wait for them."""
        ...


def played(
    world: World,
    task: Task,
    prompts: Sequence[Prompt],
    models: Mapping[str, Model],
    block: int | None = None,
) -> list[Rollout | Fault]:
    """What `harness.play.play` gives for all prompts, each played by one of the processes.

    `block` attempts are asked at once; all by default.
    """
    attempts = [
        prompt.but(rollouts=1, attempt=prompt.attempt + number)
        for prompt in prompts
        for number in range(prompt.rollouts)
    ]
    if world.size == 1:
        return list(play(task, prompts, models, block=block or max(len(attempts), 1)))
    mine = _share(world, task, attempts)
    found = list(play(task, mine, models, block=block or max(len(mine), 1)))
    for model in models.values():
        if isinstance(model, Shared):
            model.finish()
    by_key = {(prompt.example.id, prompt.attempt): prompt for prompt in attempts}
    outcomes: list[Rollout | Fault] = []
    for told in world.gather([_told(outcome) for outcome in found]):
        for table in told:
            prompt = by_key[table["example"], table["attempt"]]
            if "fault" in table:
                outcomes.append(Fault(prompt, table["fault"]))
            else:
                outcomes.append(decode(table, prompt.example))
    return outcomes


def _share(world: World, task: Task, attempts: Sequence[Prompt]) -> list[Prompt]:
    """The attempts of this process: as many as the others', neighbors together."""
    if task.compare is None:
        start, stop = (len(attempts) * rank // world.size for rank in (world.rank, world.rank + 1))
        return list(attempts[start:stop])
    numbers: dict[str, int] = {}
    sets = [numbers.setdefault(task.set(p.example), len(numbers)) for p in attempts]
    rows = deal(sets, [1] * len(attempts), world.size, whole=True)[world.rank]
    return [attempts[row] for row in rows]


def _told(outcome: Rollout | Fault) -> dict[str, object]:
    if isinstance(outcome, Rollout):
        return encode(outcome)
    prompt = outcome.prompt
    return {"example": prompt.example.id, "attempt": prompt.attempt, "fault": outcome.note}


def agreed(world: World, batch: Batch) -> Batch:
    """The first process's rewards, advantages and weights: a last bit may differ between cards."""
    names = ("rewards", "advantages", "weights")
    told = {name: getattr(batch, name).detach().clone() for name in names}
    world.same_(list(told.values()))
    return batch.but(**told)


def blank(batch: Batch) -> Batch:
    """A rollout that can be reviewed, and of which nothing counts."""
    part = batch.take(torch.zeros(1, dtype=torch.long, device=batch.group.device))
    nothing = {"mask": torch.zeros_like(part.mask), "weights": torch.zeros_like(part.weights)}
    return part.but(sampled_logprobs=torch.full_like(part.weights, torch.nan), **nothing)


def reviewed(
    world: World,
    batch: Batch,
    sizes: Sequence[int],
    run: Run,
    review: Callable[[Batch, Run], Batch],
) -> Batch:
    """A batch after `review` of each process's share: log-probabilities and numbers of all.

    `sizes` is what each rollout costs. Gradients are left as they are; see `World.sum_gradients`.
    """
    hands = deal(batch.group.tolist(), sizes, world.size, whole=run.recipe.whole_groups)
    rows = torch.tensor(hands[world.rank], dtype=torch.long, device=batch.group.device)
    told = [torch.zeros_like(batch.old_logprobs), torch.zeros_like(batch.importance)]
    tally = Tally()
    found = review(batch.take(rows) if len(rows) else blank(batch), replace(run, tally=tally))
    if len(rows):
        steps = found.mask.shape[1]
        told[0][rows, :steps] = found.old_logprobs
        told[1][rows, :steps] = found.importance
    world.sum_(told)
    old, importance = told
    run.tally.merge(Tally.together([Tally(**other) for other in world.gather(asdict(tally))]))
    # columns beyond a share's longest rollout are padding, where importance is 1
    return batch.but(old_logprobs=old, importance=torch.where(batch.mask, importance, 1.0))
