"""Opens what a command names: `text:PATH`, `served:NAME@URL`, `replay:RUN`, `gold`, ..."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from harness.errors import UnknownName, UsageError, need
from harness.models import Chance, Gold, Model, Sampling
from harness.types import Split, Task

FAMILIES: Mapping[str, str] = {
    "text:PATH": "a causal language model: hub id, folder, adapter, .gguf; smollm2, tiny",
    "vision:PATH": "an image-text model: hub id, folder, adapter; tiny",
    "forecast:PATH": "a network that forecasts series or fields: tiny, small, grid-tiny, folder",
    "served:NAME@URL": "any endpoint that speaks the OpenAI protocol",
    "replay:RUN": "the stored answers of a run",
    "gold": "what the task says is right",
    "chance": "answers to other questions",
}


WORDS = ("text", "vision", "served")
"""Families that answer in words."""


@dataclass(frozen=True, kw_only=True)
class ModelOptions:
    """How a model is opened; a family reads what concerns it."""

    dtype: str = "auto"
    device: str = "auto"
    batch_size: int = 16
    engine: str = "torch"
    chat: bool = True
    thinking: bool | None = None
    allow_pickle: bool = False
    trust_remote_code: bool = False
    max_concurrent: int = 16
    api_key_env: str = ""
    output: Path = field(default_factory=lambda: Path("results"))


def open_model(
    spec: str, task: Task, split: Split, sampling: Sampling, options: ModelOptions
) -> Model:
    """The model of that name, ready to answer; UnknownName or ModelError where there is none."""
    from harness import registry

    family, _, rest = spec.partition(":")
    shipped = registry.task_models(task.name)
    if spec in shipped:
        return shipped[spec](task, split, sampling)
    if family == "gold":
        return Gold(task)
    if family == "chance":
        return Chance(task, split, sampling)
    if family == "replay":
        return _replay(rest, options)
    check_words(task, spec)
    if family == "served":
        return _served(rest, sampling, options)
    if family in ("text", "vision") and rest:
        return open_text(spec, sampling, options)
    if family == "forecast" and rest:
        return open_forecast(rest, sampling)
    raise UnknownName(
        spec, "models", [*FAMILIES, "text:smollm2", "text:tiny", "vision:tiny", *shipped]
    )


def named_models(pairs: Sequence[str]) -> dict[str, str]:
    """ROLE=MODEL pairs as a table; UsageError where one is no such pair, or a role comes twice."""
    table: dict[str, str] = {}
    for pair in pairs:
        role, sign, spec = pair.partition("=")
        if not sign or not role or not spec or role in ("solver", "reference"):
            raise UsageError(
                f"--role {pair}: write ROLE=MODEL, as in judge=text:smollm2; the solver is --model"
            )
        if role in table:
            raise UsageError(f"--role {pair}: the role has a model already, {table[role]}")
        table[role] = spec
    return table


def check_roles(task: Task, given: Mapping[str, Any], also: Sequence[str] = ()) -> None:
    """UsageError unless every role of the task has a model, and every model a role.

    `also`: roles that somebody else uses, such as a recipe.
    """
    used = (*task.further, *also)
    for role in given:
        if role not in used:
            raise UsageError(
                f"--role {role}: {task.name} asks no '{role}'; it asks the solver"
                f"{''.join(f' and the {name}' for name in used)}"
            )
    for role in task.further:
        if role not in given:
            raise UsageError(
                f"{task.name} asks a '{role}' besides the solver: give one with --role {role}=MODEL"
            )


def open_forecast(rest: str, sampling: Sampling, **more: Any) -> Any:
    """A forecasting policy; needs the extra `train`."""
    need("torch", "train", f"forecast:{rest}")
    from trainers.policies.forecast import open_forecast as open_policy

    return open_policy(rest, sampling, **more)


def open_text(spec: str, sampling: Sampling, options: ModelOptions, **more: Any) -> Any:
    """A policy that speaks, `text:` or `vision:`; needs the extra of that name, or `train`."""
    family, _, rest = spec.partition(":")
    for module in ("torch", "transformers"):
        need(module, "vision" if family == "vision" else "train", spec)
    if family == "vision":
        from trainers.policies.vision import open_vision as open_policy
    else:
        from trainers.policies.text import open_text as open_policy

    return open_policy(
        rest,
        sampling,
        dtype=options.dtype,
        device=options.device,
        batch_size=options.batch_size,
        engine=options.engine,
        chat=options.chat,
        thinking=options.thinking,
        allow_pickle=options.allow_pickle,
        trust_remote_code=options.trust_remote_code,
        **more,
    )


def _served(rest: str, sampling: Sampling, options: ModelOptions) -> Model:
    from harness.endpoint import Endpoint
    from harness.served import Served

    thinking = {} if options.thinking is None else {"enable_thinking": options.thinking}
    endpoint = Endpoint.of(
        rest,
        chat=options.chat,
        concurrency=options.max_concurrent,
        key_env=options.api_key_env,
        template=thinking,
    )
    return Served(endpoint, sampling)


def _replay(rest: str, options: ModelOptions) -> Model:
    from harness.replay import Replay
    from results.run import find_run

    path = Path(rest)
    return Replay(path if path.exists() else find_run(rest, options.output).path)


def check_words(task: Task, spec: str) -> None:
    """UsageError where a model that answers in words is asked for rankings."""
    if spec.partition(":")[0] in WORDS and task.settings.get("answers") == "rankings":
        from harness import registry

        rank = ", ".join(sorted(registry.task_models(task.name)))
        raise UsageError(
            f"{spec} answers in words and {task.name} asks for rankings of passages: choose one "
            f"that ranks ({rank}), or ask it for answers over what they retrieve, as in ragqa/wiki"
        )
