"""One training run, from a task, a recipe and a model to a checkpoint: what `train` carries out."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from harness import registry
from harness.commands import boxing, screen
from harness.commands.jobs import Job, open_policies
from harness.commands.pages import keep_pages
from harness.commands.stopping import interruptible
from harness.disk import unwritable
from harness.environment import environment
from harness.journal import Journal
from harness.models import Sampling
from harness.types import Rollout
from leaderboards.text import visible
from results.run import RunFolder, folder_name, line, run_id
from trainers.clocks import PARTS
from trainers.loop import Training, deterministic
from trainers.tracking import about_loss
from trainers.written import difference


@dataclass(frozen=True, kw_only=True)
class Test:
    """How the test split is scored at the end."""

    rollouts: int = 1
    limit: int | None = None


@dataclass(frozen=True)
class RunStore:
    """Rollouts as lines of the run's journal."""

    journal: Journal
    derivable: bool = True
    """Whether rewards follow from verdicts alone, so that a receipt can prove them."""

    def keep(self, phase: str, step: int, rollouts: Sequence[tuple[Rollout, float | None]]) -> None:
        """A line a rollout: phase, split, step, reward, and the rollout itself."""
        word = "reward" if self.derivable else "shaped_reward"
        for rollout, reward in rollouts:
            paid = {} if reward is None else {word: reward}
            self.journal.append(line(rollout, phase=phase, split=phase, step=step, **paid))

    def prune(self, step: int) -> None:
        """Drop what came after a step."""
        self.journal.prune(lambda row: row.get("step", step + 1) <= step)


def carry_out(
    job: Job, test: Test | None, name: str, *, fresh: bool, command: Sequence[str]
) -> dict[str, Any]:
    """Train, or go on, or find that it is done; then score the test split once.

    Of several processes the first one writes and scores.
    """
    keep_pages()
    policies = open_policies(job)
    asks = job.world.tell(job.asks(policies))
    named = folder_name(name) if name else run_id("train", job.task.name, job.model, asks)
    folder = RunFolder(job.options.output / "runs" / named)
    if fresh and job.world.first:
        folder.clear()
    report = job.world.tell(folder.report)
    if report is None:
        train = _train if job.world.first else _assist
        report = train(job, policies, folder, asks, command)
    elif job.world.first:
        folder.begin({"asks": asks})
        screen.say(f"{folder.path} is complete; --fresh begins anew")
    if test is not None and job.world.first and job.task.examples("test"):
        report = {**report, "test": score(job, test, folder, command)}
    return report


def _assist(
    job: Job,
    policies: Mapping[str, Any],
    folder: RunFolder,
    asks: Mapping[str, Any],
    command: Sequence[str],
) -> dict[str, Any]:
    """Train as every process but the first does: nothing is written, nothing said."""
    deterministic()
    training = Training(job.task, job.recipe, policies, folder.path, job.plan, world=job.world)
    with interruptible(training, quiet=True):
        training.train()
    return {}


def _train(
    job: Job,
    policies: Mapping[str, Any],
    folder: RunFolder,
    asks: Mapping[str, Any],
    command: Sequence[str],
) -> dict[str, Any]:
    deterministic()
    started = datetime.now(UTC).isoformat(timespec="seconds")
    manifest = {"asks": asks, "environment": environment(), "started": started}
    manifest["about_loss"] = about_loss(job.recipe)
    folder.begin({**manifest, "command": list(command), "base": job.model, "place": job.place})
    screen.say(f"on the printed loss: {manifest['about_loss']}")
    differs = difference(job.recipe, registry.recipe("grpo"))
    for field_name, (old, new) in differs.items():
        screen.say(f"differs from grpo in {field_name}: {old} -> {new}")
    begin = time.monotonic()
    journal = folder.rollouts.open()
    store = RunStore(journal, derivable=asks["reward"] is not None)
    try:
        training = Training(
            job.task, job.recipe, policies, folder.path, job.plan, store, world=job.world
        )
        with interruptible(training), screen.progress(job.task.name, job.recipe.steps) as meter:
            training.report, training.say = _Reporter(meter, job.recipe.steps), screen.say
            training.warn = lambda alarm: screen.say(visible(alarm.line(), 500))
            checkpoint = training.train()
        journal.close(compress=True)
    finally:
        journal.close()
    share(checkpoint / "solver", folder.path / "policy")
    report = summary(job, folder, training, time.monotonic() - begin)
    folder.finish(report)
    return report


def summary(job: Job, folder: RunFolder, training: Training, seconds: float) -> dict[str, Any]:
    """The report of a finished run, from its log."""
    lines = list(Journal(folder.path / "metrics.jsonl").read())
    steps = [row for row in lines if "reward" in row]
    looks = [row for row in lines if "eval/faults" in row]
    spent = {part: sum(row.get(f"time/{part}", 0.0) for row in steps) for part in PARTS}
    said = sum(row["tokens/generated"] for row in steps)
    dev = [{n: x for n, x in row.items() if n != "step"} for row in looks]
    return {
        "complete": True,
        "task": job.task.name,
        "recipe": job.recipe.name,
        "model": job.model,
        "steps": int(steps[-1]["step"]),
        "first": steps[0],
        "last": steps[-1],
        "dev_first": dev[0] if dev else {},
        "dev_last": dev[-1] if dev else {},
        "best": training.best,
        "faults": sum(row["faults"] for row in steps),
        "time": spent,
        "tokens": said,
        "tokens_per_second": said / max(spent["generate"], 1e-9),
        "about_loss": about_loss(job.recipe),
        "alarms": list(Journal(folder.path / "alarms.jsonl").read()),
        "policy": str(folder.path / "policy"),
        **boxing.report(),
        "run": str(folder.path),
        "seconds": round(seconds, 3),
        "finished": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def score(job: Job, test: Test, trained: RunFolder, command: Sequence[str]) -> dict[str, Any]:
    """The test split, once, through the same code as `harness eval` of the trained model."""
    from harness.commands.evaluation import Question, carry_out
    from harness.commands.judging import open_roles

    recipe = job.recipe
    temperature = recipe.temperature if isinstance(recipe.temperature, int | float) else 1.0
    most = recipe.max_tokens if isinstance(recipe.max_tokens, int | float) else 512
    sampling = Sampling(
        temperature=0.0 if test.rollouts == 1 else temperature,
        top_p=recipe.top_p,
        max_tokens=int(most),
        stop=recipe.stop,
        seed=job.plan.seed,
    )
    question = Question(
        task=job.task, split="test", rollouts=test.rollouts, limit=test.limit, sampling=sampling
    )
    further = {role: job.roles[role] for role in job.task.roles if role not in recipe.roles}
    question = replace(question, roles=open_roles(question, further, job.options))
    spec = f"{job.model.partition(':')[0]}:{trained.path / 'policy'}"
    outcome = carry_out(question, spec, job.options, command=command)
    outcome.require()
    return {**outcome.report, "run": str(outcome.folder.path)}


@dataclass
class _Reporter:
    """Tells people how it goes: the bar at every step, a line now and then."""

    meter: screen.Meter
    steps: int
    last: int = 0

    def __call__(self, step: int, numbers: Mapping[str, float]) -> None:
        if "eval/faults" in numbers:
            found = ", ".join(
                f"{name.removeprefix('eval/')} {value:.4f}"
                for name, value in numbers.items()
                if name != "eval/faults"
            )
            screen.say(f"step {step}: dev {found}")
            return
        self.meter.advance(step - self.last, int(numbers["tokens/generated"]))
        self.last = step
        if step <= 3 or step % max(1, self.steps // 20) == 0:
            screen.say(
                f"step {step}: reward {numbers['reward']:.4f}, "
                f"flat groups {1 - numbers['effective_prompt_ratio']:.0%}, "
                f"length {numbers['completions/mean_length']:.1f}, "
                f"{numbers['step_time']:.1f} s"
            )


def share(source: Path, target: Path) -> None:
    """A copy of a folder that takes no room where the disk can link files; whole or not at all."""
    draft = target.with_name(f".{target.name}.part")
    for old in (draft, target):
        shutil.rmtree(old, ignore_errors=True)

    def place(one: str, other: str) -> None:
        try:
            os.link(one, other)
        except OSError:
            shutil.copy2(one, other)

    try:
        shutil.copytree(source, draft, copy_function=place)
        draft.replace(target)
    except OSError as error:
        shutil.rmtree(draft, ignore_errors=True)
        raise unwritable(target, error) from error
