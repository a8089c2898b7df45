"""`harness eval`: score a model on a task."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from harness.types import Split

Flag = typer.Option


def run(
    task: Annotated[str, typer.Argument(help="family/member, or a path ending in .py")],
    model: Annotated[str, Flag("--model", "-m", help="text:PATH, served:NAME@URL, gold, ...")],
    rollouts: Annotated[
        int, Flag("--rollouts", "-n", "--samples", "--repeats", min=1, help="attempts per example")
    ] = 1,
    split: Annotated[str, Flag(help="train, dev or test")] = "test",
    limit: Annotated[int | None, Flag("--limit", "-L", min=1, help="the first N examples")] = None,
    metrics: Annotated[list[str] | None, Flag("--metrics", help="only these")] = None,
    roles: Annotated[
        list[str] | None, Flag("--role", help="ROLE=MODEL, as in judge=served:NAME@URL")
    ] = None,
    temperature: Annotated[
        float | None, Flag(help="0 is greedy; default 0 for -n 1, else 1")
    ] = None,
    top_p: Annotated[float, Flag("--top-p")] = 1.0,
    top_k: Annotated[int, Flag("--top-k", help="0 keeps all")] = 0,
    max_tokens: Annotated[int, Flag("--max-tokens", "--max-new-tokens")] = 512,
    stop: Annotated[list[str] | None, Flag(help="stop strings")] = None,
    seed: Annotated[int, Flag(min=0, max=2**32 - 1)] = 0,
    dtype: Annotated[str, Flag(help="auto, float32 or bfloat16")] = "auto",
    device: Annotated[str, Flag()] = "auto",
    batch_size: Annotated[int, Flag("--batch-size", "-b", min=1)] = 16,
    engine: Annotated[str, Flag(help="what draws for text: models: torch or openvino")] = "torch",
    chat: Annotated[bool, Flag("--chat/--no-chat", help="use the chat template")] = True,
    thinking: Annotated[
        bool | None, Flag("--thinking/--no-thinking", help="as templates know it; default: theirs")
    ] = None,
    max_concurrent: Annotated[int, Flag("--max-concurrent", "-c", min=1)] = 16,
    api_key_env: Annotated[
        str, Flag("--api-key-env", help="variable with the key; default OPENAI_API_KEY")
    ] = "",
    sandbox: Annotated[
        str, Flag(help="where programs are judged: local, docker, remote:URL")
    ] = "local",
    verdict_cache: Annotated[
        Path | None, Flag("--verdict-cache", help="a folder that keeps verdicts on programs")
    ] = None,
    unsandboxed: Annotated[
        bool, Flag("--i-accept-unsandboxed-code", help="permits --sandbox unsafe-process")
    ] = False,
    allow_pickle: Annotated[bool, Flag("--allow-pickle", help="load pickled weights")] = False,
    trust_remote_code: Annotated[bool, Flag("--trust-remote-code")] = False,
    output: Annotated[Path, Flag("--output-dir", "-o")] = Path("results"),
    name: Annotated[str, Flag(help="of the run's folder; default: from what is asked")] = "",
    fresh: Annotated[bool, Flag("--fresh", help="ask again, even what is there")] = False,
    dry_run: Annotated[bool, Flag("--dry-run", help="print what would be asked")] = False,
    as_json: Annotated[bool, Flag("--json", help="machine-readable result")] = False,
) -> None:
    """Score a model on a task; the same command again goes on where it stopped."""
    from dataclasses import replace

    from harness import registry
    from harness.commands import asked, boxing, judging, screen
    from harness.commands.evaluation import Question, carry_out
    from harness.commands.opening import ModelOptions, check_roles, named_models
    from harness.models import Sampling

    boxing.choose(sandbox, unsafe=unsandboxed, cache=verdict_cache)
    if temperature is None:
        temperature = 0.0 if rollouts == 1 else 1.0
    question = Question(
        task=registry.task(task),
        split=split_named(split),
        rollouts=rollouts,
        limit=limit,
        sampling=Sampling(
            temperature=temperature,
            top_p=top_p,
            top_k=top_k,
            max_tokens=max_tokens,
            stop=tuple(stop or ()),
            seed=seed,
        ),
        wanted=tuple(metrics or ()),
    )
    options = ModelOptions(
        dtype=dtype,
        device=device,
        batch_size=batch_size,
        engine=engine,
        chat=chat,
        thinking=thinking,
        allow_pickle=allow_pickle,
        trust_remote_code=trust_remote_code,
        max_concurrent=max_concurrent,
        api_key_env=api_key_env,
        output=output,
    )
    further = named_models(roles or ())
    check_roles(question.task, further)
    if dry_run:
        told = {"roles": further} if further else {}
        screen.emit({**question.described(), "model": model, **told, "options": options})
        return
    question = replace(question, roles=judging.open_roles(question, further, options))
    outcome = carry_out(question, model, options, command=asked.command(), name=name, fresh=fresh)
    if as_json:
        screen.emit({**outcome.report, "run": str(outcome.folder.path)})
    else:
        present(outcome)
    outcome.require()


def split_named(name: str) -> Split:
    """The split of that name; UnknownName where there is none."""
    from harness.errors import UnknownName
    from harness.types import SPLITS

    for split in SPLITS:
        if split == name:
            return split
    raise UnknownName(name, "splits", SPLITS)


def present(outcome: object) -> None:
    """The table, three failures with their reasons, and where everything lies."""
    from harness.commands import screen
    from harness.commands.evaluation import Outcome

    assert isinstance(outcome, Outcome)
    for record in outcome.records[:1]:
        screen.table(
            f"{record.task} v{record.version}, {record.split} split, {record.model}: "
            f"{record.examples} examples x {record.rollouts} rollouts"
            + (f", in {record.clusters} sets or clusters" if record.clusters else ""),
            ["metric", "value", "95 % interval", "better"],
            [
                [r.metric, f"{r.value:.4f}", f"[{r.low:.4f}, {r.high:.4f}]", r.better]
                for r in outcome.records
            ],
        )
        shares = ", ".join(f"{name} {share:.1%}" for name, share in record.reasons.items())
        print(f"verdicts: {shares}")
    failures = {r.set or r.example.id: r for r in outcome.rollouts if r.verdict.reason != "ok"}
    for rollout in list(failures.values())[:3]:
        said = " ".join(str(rollout.completion.output).split())[-160:]
        print(f"  {rollout.verdict.reason:<10} {rollout.example.id}: {rollout.verdict.note}")
        print(f"             said ...{said!r}")
    costs = {name: count for name, count in outcome.report["costs"].items() if count}
    if costs:
        print(f"costs: {', '.join(f'{name} {count}' for name, count in costs.items())}")
    for role, spent in outcome.report.get("roles", {}).items():
        print(f"{role}: {', '.join(f'{name} {count}' for name, count in spent.items() if count)}")
    print(f"everything is in {outcome.folder.path}; look at it with")
    print(f"  harness view {outcome.folder.path}")
