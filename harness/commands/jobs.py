"""What a training run is asked for, and the models that it opens."""

from __future__ import annotations

import contextlib
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from harness import registry
from harness.commands import screen
from harness.commands.opening import (
    ModelOptions,
    check_roles,
    check_words,
    open_forecast,
    open_model,
    open_text,
)
from harness.digests import digest, example_digest, prompt_digest
from harness.errors import UsageError
from harness.images import in_words
from harness.models import Model, Sampling
from harness.types import Task
from trainers.cards import best_dtype, use_tf32
from trainers.loop import Plan
from trainers.policy import Policy
from trainers.recipe import Recipe
from trainers.rehearsal import trainable
from trainers.rewards import paid_scores
from trainers.text.load import device_name
from trainers.text.settings import LoRA
from trainers.world import ALONE, World
from trainers.written import difference


@dataclass(frozen=True, kw_only=True)
class Job:
    """What is to be learned, by whom, and how."""

    task: Task
    recipe: Recipe
    model: str
    plan: Plan
    options: ModelOptions
    roles: Mapping[str, str] = field(default_factory=dict[str, str])
    place: str = ""
    """Where the task lies, as the command named it."""
    lora: int = 0
    checkpointing: bool = False
    packing: bool = True
    sharing: bool = True
    world: World = ALONE
    """The processes that train together."""
    sharding: str = "none"
    """`fsdp`: each of them holds a part of the weights (see `TextSettings`)."""
    compiled: bool = False
    kernels: str = "torch"
    tf32: bool = False
    warm_up: int = 0
    """Supervised steps before training; 0 for none."""

    def described(self) -> dict[str, Any]:
        """Everything that was asked for, for people and for `--dry-run`; opens no model."""
        examples = trainable(self.task, self.plan.limit)
        differs = difference(self.recipe, registry.recipe("grpo"))
        return {
            "task": self.task.name,
            "model": self.model,
            "roles": dict(self.roles),
            "recipe": repr(self.recipe),
            "differs from grpo": {name: f"{old} -> {new}" for name, (old, new) in differs.items()},
            "pays": paid_scores(self.recipe, self.task),
            "train_examples": len(examples),
            "dev_examples": min(len(self.task.examples("dev")), self.plan.dev_limit or 10**9),
            "plan": asdict(self.plan),
            "options": asdict(self.options) | {"output": str(self.options.output)},
            "lora": self.lora,
            "processes": self.world.size,
            "sharding": self.sharding,
            "first_prompt": [
                [m.speaker, in_words(m.content)] for m in self.task.prompt(examples[0]).spoken()
            ],
        }

    def asks(self, policies: Mapping[str, Model]) -> dict[str, Any]:
        """All that fixes the numbers; its digest names the run."""
        plan, task = self.plan, self.task
        examples = trainable(task, plan.limit)
        return {
            "task": task.name,
            "version": task.version,
            "split": "train",
            "recipe": repr(self.recipe),
            "reward": paid_scores(self.recipe, task),
            "seed": plan.seed,
            "limit": plan.limit,
            "dev": [plan.dev_every, plan.dev_rollouts, plan.dev_limit],
            "positions": plan.positions,
            **({"budget": str(plan.budget)} if plan.budget else {}),
            **({"warm_up": self.warm_up} if self.warm_up else {}),
            "review": [self.packing, self.sharing, self.checkpointing],
            **({"processes": self.world.size} if self.world.size > 1 else {}),
            "examples": digest([example_digest(example) for example in examples]),
            "prompts": digest([prompt_digest(task.prompt(example)) for example in examples]),
            "model": {"name": self.model, **policies["solver"].describe()},
            **({"settings": dict(task.settings)} if task.settings else {}),
            "roles": {
                role: {"name": model.name, **model.describe()}
                for role, model in policies.items()
                if role != "solver"
            },
        }


def open_policies(job: Job) -> dict[str, Any]:
    """The learner as `solver`, and a model for each further role."""
    trainable(job.task, job.plan.limit)  # what cannot be trained on is said before anything opens
    check_roles(job.task, job.roles, also=tuple(job.recipe.roles))
    drawn = Sampling(seed=job.plan.seed)
    begins = _warmed(job) if job.warm_up else job.model
    policies: dict[str, Any] = {"solver": _learner(job, begins, drawn)}
    for role, spec in job.roles.items():
        learns = role in job.recipe.roles
        opened = _learner(job, spec, drawn) if learns else None
        policies[role] = opened or open_model(spec, job.task, "train", drawn, job.options)
    absent = [role for role in job.recipe.roles if role not in policies]
    if absent:
        raise UsageError(
            f"{job.recipe.name} lets '{absent[0]}' learn too: give --role {absent[0]}=MODEL"
        )
    return policies


def _warmed(job: Job) -> str:
    """The model after its warm start, as a folder below `output`/warm; made where it is missing."""
    from trainers.warm import WarmUp, warm_up

    if job.world.size > 1:
        raise UsageError("--warm-up needs one process: begin with it alone, then train on with all")
    plain = replace(job, lora=0, plan=replace(job.plan, seed=0))
    policy = _learner(plain, job.model, Sampling())
    plan = WarmUp(steps=job.warm_up)
    examples = [example_digest(example) for example in job.task.examples("train")]
    asks = [job.task.name, job.task.version, examples, policy.describe(), asdict(plan)]
    name = "".join(c if c.isalnum() else "-" for c in f"{job.task.name}-{job.model}")
    folder = job.options.output / "warm" / f"{name[:80]}-{digest(asks)[:8]}"
    if not folder.exists():
        screen.say(f"warm start: {job.warm_up} supervised steps on the train split")
        cost = warm_up(policy, job.task, plan)
        screen.say(f"warm start: cost {cost:.3f} nats a token; kept in {folder}")
        draft = Path(tempfile.mkdtemp(prefix=".warm-", dir=_made(folder.parent)))
        policy.save(draft)
        with contextlib.suppress(OSError):  # another run was faster, with the same weights
            draft.rename(folder)
        shutil.rmtree(draft, ignore_errors=True)
    return f"{job.model.partition(':')[0]}:{folder}"


def _made(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _learner(job: Job, spec: str, drawn: Sampling) -> Policy:
    """A policy with float32 weights; bfloat16 is for what a text policy computes with them."""
    family, _, rest = spec.partition(":")
    if family == "forecast" and rest:
        untrained = not Path(rest).is_dir()
        return open_forecast(rest, drawn, **({"seed": job.plan.seed} if untrained else {}))
    if family not in ("text", "vision") or not rest:
        raise UsageError(
            f"'{spec}' cannot learn; text:PATH, text:smollm2, text:tiny, vision:PATH, vision:tiny, "
            "forecast:PATH, forecast:tiny and forecast:grid-tiny can"
        )
    check_words(job.task, spec)
    dtype = job.options.dtype
    if dtype == "auto":
        dtype = best_dtype(device_name(job.options.device))
    if dtype not in ("float32", "bfloat16"):
        raise UsageError(f"--dtype {dtype}: float32, bfloat16 or auto is computed with")
    if job.tf32:
        use_tf32()
    half = dtype == "bfloat16"
    options = replace(job.options, dtype="float32")
    return open_text(
        spec,
        drawn,
        options,
        autocast=half,
        sample_dtype="bfloat16" if half else None,
        checkpointing=job.checkpointing,
        packing=job.packing,
        sharing=job.sharing,
        adapter=LoRA(rank=job.lora, alpha=2.0 * job.lora) if job.lora else None,
        seed=job.plan.seed,
        world=job.world,
        sharding=job.sharding,
        compiled=job.compiled,
        kernels=job.kernels,
    )
