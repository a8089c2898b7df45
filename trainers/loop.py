"""loop: the one training loop, for every recipe, task and policy.

A step: the sampler's prompts are played, judged, paid, credited, weighed, and learned from. What a
run is made of (policies, optimizers, generator, memory, ledger, place in the data) is saved whole,
so a run that was killed goes on to the numbers of an unbroken one.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch

from harness.errors import IncompleteRun, UsageError
from harness.models import Sampling
from harness.types import Fault, Prompt, Rollout, Task
from trainers import clocks, numbers, state
from trainers.alarms import Alarm, HeldOut, Watch
from trainers.budget import Budget, Spent
from trainers.development import Development
from trainers.learner import Learner
from trainers.policy import Policy
from trainers.recipe import Attempt, Ledger, Past, Policies, Recipe, Run, wrapped
from trainers.rehearsal import check_dev, rehearse, trainable
from trainers.rewards import totals
from trainers.schedules import at, whole
from trainers.shared import played
from trainers.tally import Tally
from trainers.tracking import Lines, Tracker, trackers
from trainers.world import ALONE, World


@dataclass(frozen=True, kw_only=True)
class Plan:
    """How a run goes, apart from its recipe."""

    seed: int = 0
    limit: int | None = None
    """The first so many training examples; None for all."""
    dev_every: int = 10
    """Steps from one look at the dev split to the next; 0 for none."""
    dev_rollouts: int = 1
    """1 is greedy; more are drawn at the recipe's temperature."""
    dev_limit: int | None = 100
    save_every: int = 10
    keep: int = 2
    """The last checkpoints stay, so many of them."""
    keep_best: int = 1
    """So stay those of the best looks at the dev split."""
    positions: int | None = None
    """Of a micro-batch: bounds memory, changes no number. None: as many as fit."""
    report_to: tuple[str, ...] = ()
    budget: Budget | None = None
    """Ends the run, instead of the recipe's steps: over those only its schedules go."""


@runtime_checkable
class Store(Protocol):
    """Where rollouts go."""

    def keep(self, phase: str, step: int, rollouts: Sequence[tuple[Rollout, float | None]]) -> None:
        """Store judged rollouts with their rewards; `step` counts from 1."""
        ...

    def prune(self, step: int) -> None:
        """Drop what came after a step."""
        ...


class Nowhere:
    """A store that keeps nothing."""

    def keep(self, phase: str, step: int, rollouts: Sequence[tuple[Rollout, float | None]]) -> None:
        """Nothing."""

    def prune(self, step: int) -> None:
        """Nothing."""


@dataclass
class Training:
    """A recipe at work on a task, in a folder."""

    task: Task
    recipe: Recipe
    policies: Mapping[str, Policy]
    """`solver` learns by the recipe, other roles by `recipe.roles` where that names them."""
    folder: Path
    plan: Plan = field(default_factory=Plan)
    store: Store = field(default_factory=Nowhere)
    report: Callable[[int, Mapping[str, float]], None] = lambda step, numbers: None
    """Told every line of the log."""
    say: Callable[[str], None] = lambda text: None
    """Told what a person should know."""
    warn: Callable[[Alarm], None] = lambda alarm: None
    """Told every alarm."""
    world: World = ALONE
    """All its processes hold the same state; the first one writes."""
    stopping: bool = False
    """Set from outside: finish the step, save, and raise KeyboardInterrupt."""

    def __post_init__(self) -> None:
        self.examples = trainable(self.task, self.plan.limit)
        check_dev(self.task, self.plan.dev_every)
        self.run = Run(
            task=self.task,
            recipe=self.recipe,
            policies=Policies(self.policies),
            examples=self.examples,
            seed=self.plan.seed,
            rng=np.random.default_rng((self.plan.seed, 1)),
        )
        recipes = {"solver": self.recipe, **self.recipe.roles}
        self.learners = [
            Learner(role, recipe, self.run.policies[role], self.plan.positions, self.world)
            for role, recipe in recipes.items()
        ]
        self.development = Development(
            self.task, self.plan.dev_rollouts, self.plan.dev_limit, self.world
        )
        self.checkpoints = state.Checkpoints(self.folder / "checkpoints", self.plan.keep)
        metrics = self.development.metrics if self.development.prompts else []
        held_out = HeldOut.of(next(iter(metrics), None), self.task.reward)
        self.watch = Watch(self.folder / "alarms.jsonl", held_out, lambda alarm: self.warn(alarm))
        self.tokens = 0
        self.spent = Spent()
        self.looks: list[dict[str, Any]] = []
        """The best looks at the dev split, the best first."""
        self.faults: list[Fault] = []
        self.trackers: list[Tracker] = []

    @property
    def best(self) -> dict[str, Any] | None:
        """Step, value and metric of the best look at the dev split."""
        return self.looks[0] if self.looks else None

    # ---- the run

    def train(self) -> Path:
        """Rehearse, go on from the last checkpoint if there is one, and finish; its folder."""
        if self.world.first:
            self.trackers = [Lines(self.folder / "metrics.jsonl")]
        try:
            rehearse(self.run, self.learners, self.examples, self.world)
            self.run.policies.seal()
            done = self._restore()
            self._cut_back(done)
            if done < 0:
                done = 0
                torch.manual_seed(self.plan.seed)  # stages that draw from torch begin alike
                if self.plan.dev_every:
                    self._look(0)
            while not self._over(done):
                self.run.step = done
                self._step()
                done += 1
                self._after(done)
            self.world.any(False)  # all is written when any process goes on
        finally:
            for tracker in self.trackers:
                tracker.close()
        return self.checkpoints.path(done)

    def _over(self, done: int) -> bool:
        """Whether so many steps are all: by the budget, or else by the recipe."""
        budget = self.plan.budget
        return done >= self.recipe.steps if budget is None else self.spent.reaches(budget)

    def _cut_back(self, done: int) -> None:
        """Logs and rollouts end where the checkpoint does; then dashboards go on from there."""
        self.store.prune(done)
        for tracker in self.trackers:
            if isinstance(tracker, Lines):
                tracker.prune(done)
                self.watch.recall([*tracker.journal.read()], done)
        if self.world.first:
            self.trackers.append(self.watch)
            settings = {"recipe": repr(self.recipe), **asdict(self.plan)}
            self.trackers += trackers(self.plan.report_to, self.folder, max(done, 0), settings)

    def _after(self, done: int) -> None:
        """After so many steps: look at dev, save, stop if asked to."""
        self.stopping = self.world.any(self.stopping)
        last = self._over(done)
        better = False
        if self.plan.dev_every and (last or done % self.plan.dev_every == 0):
            better = self._look(done)
        if last or better or self.stopping or done % self.plan.save_every == 0:
            self._save(done)
        if self.stopping and not last:
            raise KeyboardInterrupt

    def _step(self) -> None:
        started = time.perf_counter()
        run = self.run
        run.tally = Tally()
        for learner in self.learners:
            learner.policy.sampling = sampling(learner.recipe, run)
        prompts = run.recipe.samplers(self.examples, run)
        rollouts = self._attempts(prompts)
        for learner in self.learners:
            mine = [rollout for rollout in rollouts if rollout.role == learner.role]
            if mine:
                self._learn(learner, mine)
        self._log_step(rollouts, time.perf_counter() - started)

    def _learn(self, learner: Learner, rollouts: Sequence[Rollout]) -> None:
        run = self.run
        batch = learner.batch(rollouts, run)
        paid = totals(batch)
        self.store.keep("train", run.step + 1, list(zip(rollouts, paid, strict=True)))
        solver = learner.role == "solver"
        before = "" if solver else f"{learner.role}/"
        asked = run.tally.values.get("groups/asked")
        for name, value in numbers.of_batch(batch, run.task.reward, asked).items():
            run.tally.put(before + name, value)
        learner.learn(batch, run)
        self.tokens += sum(learner.policy.size(rollout) for rollout in rollouts)
        if solver:
            self.watch.shown = list(zip(rollouts, paid, strict=True))
            run.ledger.note(rollouts, paid, run.step)

    def _log_step(self, rollouts: Sequence[Rollout], seconds: float) -> None:
        told = self.run.tally.numbers()
        spent = clocks.split(told, seconds)
        said = told.get("tokens/generated", 0.0)
        line = {
            **numbers.of_rollouts(rollouts, self.faults),
            **told,
            **spent,
            **clocks.memory(),
            "num_tokens": float(self.tokens),
            **self.spent.add(told.get("rollouts/generated", 0.0), said, seconds),
            "tokens_per_second": said / seconds,
            "tokens_per_second/generate": said / max(spent["time/generate"], 1e-9),
            "step_time": seconds,
        }
        self._log(self.run.step + 1, line)

    def _log(self, step: int, line: Mapping[str, float]) -> None:
        for tracker in self.trackers:
            tracker.log(step, line)
        self.report(step, line)

    # ---- rollouts

    def _attempts(self, prompts: Sequence[Prompt]) -> list[Rollout]:
        """Rollouts of the prompts, inside the recipe's wrappers; IncompleteRun if none was made."""
        self.faults = []
        attempt: Attempt = self._play
        for wrapper in reversed(self.recipe.rollouts):
            attempt = wrapped(wrapper, attempt, self.run)
        rollouts = attempt(prompts)
        if not rollouts:
            why = sorted({fault.note for fault in self.faults})
            raise IncompleteRun(
                f"none of the {len(self.faults)} attempts of step {self.run.step + 1} could be "
                f"made or judged: {'; '.join(why[:3])}. Mend it and run the same command again"
            )
        return rollouts

    def _play(self, prompts: Sequence[Prompt]) -> list[Rollout]:
        started = time.perf_counter()
        found = played(self.world, self.task, prompts, clocks.clocked(self.run))
        clocks.playing(self.run, time.perf_counter() - started)
        self.faults += [outcome for outcome in found if isinstance(outcome, Fault)]
        rollouts = in_order(prompts, found)
        self.run.tally.add("tokens/generated", sum(rollout.steps for rollout in rollouts))
        self.run.tally.add("rollouts/generated", sum(r.role == "solver" for r in rollouts))
        return rollouts

    def _look(self, done: int) -> bool:
        """Play the dev split and log it; whether it is one of the best so far."""
        if not self.development.prompts:
            return False
        solver = self.run.policies["solver"]
        drawn = sampling(self.recipe, self.run)
        found = self.development.look(solver, dict(self.run.policies), drawn, self.plan.seed)
        self.store.keep("dev", done, [(rollout, None) for rollout in found.rollouts])
        self._log(done, found.numbers)
        return self._place(done, found.headline) and done > 0

    def _place(self, done: int, value: float) -> bool:
        """Put a look among the best ones; whether its checkpoint is to stay."""
        better = [self.development.better(value, look["value"]) for look in self.looks]
        place = better.index(True) if any(better) else len(self.looks)
        look = {"step": done, "value": value, "metric": self.development.headline}
        self.looks.insert(place, look)
        del self.looks[max(self.plan.keep_best, 1) :]
        return place < self.plan.keep_best

    # ---- state

    def _save(self, done: int) -> None:
        tensors = state.generators()
        for learner in self.learners:
            tensors |= state.optimizer_tensors(learner.optimizer, learner.role)
        table = {
            "step": done,
            "tokens": self.tokens,
            "spent": asdict(self.spent),
            "looks": self.looks,
            "generator": dict(self.run.rng.bit_generator.state),
            "memory": self.run.memory,
            "ledger": {id: asdict(past) for id, past in self.run.ledger.past.items()},
            "recipe": repr(self.recipe),
            "threads": torch.get_num_threads(),
        }

        def write(path: Path) -> None:
            for learner in self.learners:
                learner.policy.save(path / learner.role)

        if not self.world.first:
            write(self.folder)  # has its part in gathering the weights, and writes nothing
            return
        best = [look["step"] for look in self.looks[: self.plan.keep_best]]
        self.checkpoints.save(done, table, tensors, write, best)

    def _restore(self) -> int:
        """Go on from the last whole checkpoint; its step, or -1 where there is none."""
        if self.world.first:
            self.checkpoints.clean()
        self.world.tell(None)  # nobody looks before it is clean
        found = self.checkpoints.newest(self.say if self.world.first else lambda text: None)
        if found is None:
            return -1
        step, table, tensors = found
        self._agree(table, self.checkpoints.path(step))
        for learner in self.learners:
            learner.policy.load_state(self.checkpoints.path(step) / learner.role)
            state.restore_optimizer(learner.optimizer, learner.role, tensors)
        state.restore_generators(tensors)
        self.run.rng.bit_generator.state = table["generator"]
        self.run.memory = table["memory"]
        self.run.ledger = Ledger({id: Past(**past) for id, past in table["ledger"].items()})
        self.tokens, self.looks = table["tokens"], table["looks"]
        self.spent = Spent(**table["spent"])
        return step

    def _agree(self, table: Mapping[str, Any], path: Path) -> None:
        """UsageError where another recipe was at work; a word where the numbers may differ."""
        if table["recipe"] != repr(self.recipe):
            raise UsageError(
                f"{path} was written by another recipe: {table['recipe']}; this one is "
                f"{self.recipe!r}. Give the same one, or another folder"
            )
        if table["threads"] != torch.get_num_threads():
            self.say(
                f"the run was made with {table['threads']} threads and goes on with "
                f"{torch.get_num_threads()}: its numbers may differ in their last bits"
            )


def deterministic() -> None:
    """Ask torch for the same numbers every time, where it knows how."""
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # cuBLAS reads it when it begins
    torch.use_deterministic_algorithms(True, warn_only=True)
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]


def sampling(recipe: Recipe, run: Run) -> Sampling:
    """How this step's answers are drawn; every step has a seed of its own."""
    seed = int(np.random.SeedSequence((run.seed, run.step)).generate_state(1, np.uint64)[0])
    return Sampling(
        temperature=at(recipe.temperature, run),
        top_p=recipe.top_p,
        max_tokens=whole(recipe.max_tokens, run),
        stop=recipe.stop,
        seed=seed,
    )


def in_order(prompts: Sequence[Prompt], found: Sequence[Rollout | Fault]) -> list[Rollout]:
    """The rollouts among the outcomes, in the order of the prompts, attempts and roles."""
    places: dict[str, int] = {}
    for prompt in prompts:
        places.setdefault(prompt.example.id, len(places))
    rollouts = [outcome for outcome in found if isinstance(outcome, Rollout)]
    return sorted(rollouts, key=lambda r: (places[r.example.id], r.attempt, r.role))
