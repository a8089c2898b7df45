"""`harness train`: let a model learn a task."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

Flag = typer.Option


def run(
    task: Annotated[str, typer.Argument(help="family/member, or a path ending in .py")],
    model: Annotated[str, Flag("--model", "-m", help="what learns: text:PATH")],
    recipe: Annotated[
        str, Flag("--recipe", "-r", help="a recipe, or a path ending in .py")
    ] = "grpo",
    settings: Annotated[
        list[str] | None,
        Flag("--set", help="PATH=VALUE, as in samplers.rollouts=5 optimizer.lr=2e-6"),
    ] = None,
    steps: Annotated[int | None, Flag(min=1, help="optimizer steps; default: the recipe's")] = None,
    budget: Annotated[
        str | None,
        Flag(help="what ends the run instead of steps: 20000rollouts, 2e6tokens or 600s"),
    ] = None,
    warm_up: Annotated[
        int, Flag("--warm-up", min=0, help="supervised steps before, on what the task shows")
    ] = 0,
    temperature: Annotated[float | None, Flag(help="of training; default: the recipe's")] = None,
    max_tokens: Annotated[int | None, Flag("--max-tokens", "--max-new-tokens", min=1)] = None,
    limit: Annotated[int | None, Flag("--limit", "-L", min=1, help="the first N examples")] = None,
    seed: Annotated[int, Flag(min=0, max=2**32 - 1)] = 0,
    dev_every: Annotated[int, Flag("--dev-every", min=0, help="steps; 0 for never")] = 10,
    dev_rollouts: Annotated[
        int, Flag("--dev-rollouts", min=1, help="1 is greedy, more are sampled")
    ] = 1,
    dev_limit: Annotated[int, Flag("--dev-limit", min=1, help="dev examples looked at")] = 100,
    save_every: Annotated[int, Flag("--save-every", min=1, help="steps between checkpoints")] = 10,
    keep: Annotated[int, Flag(min=1, help="last checkpoints that stay")] = 2,
    keep_best: Annotated[
        int, Flag("--keep-best", min=0, help="so do those of the best looks at dev")
    ] = 1,
    test: Annotated[bool, Flag("--test/--no-test", help="score the test split at the end")] = True,
    test_rollouts: Annotated[int, Flag("--test-rollouts", min=1, help="1 is greedy")] = 1,
    test_limit: Annotated[int | None, Flag("--test-limit", min=1)] = None,
    lora: Annotated[int, Flag(min=0, help="rank of an adapter to learn; 0: all weights")] = 0,
    dtype: Annotated[
        str, Flag(help="of the computation: float32, bfloat16, auto; what learns is float32")
    ] = "auto",
    checkpointing: Annotated[bool, Flag("--checkpointing", help="less memory, more time")] = False,
    packing: Annotated[
        bool, Flag("--packing/--no-packing", help="review without padding between texts")
    ] = True,
    sharing: Annotated[
        bool, Flag("--sharing/--no-sharing", help="review the prompt of a group once")
    ] = True,
    positions: Annotated[
        int | None,
        Flag(min=1, help="tokens of a micro-batch; default: as many as fit into memory"),
    ] = None,
    device: Annotated[str, Flag()] = "auto",
    compiled: Annotated[bool, Flag("--compile", help="compile the layers")] = False,
    kernels: Annotated[str, Flag(help="torch, or liger on a card")] = "torch",
    tf32: Annotated[bool, Flag("--tf32", help="faster float32 products on a card")] = False,
    batch_size: Annotated[int, Flag("--batch-size", "-b", min=1, help="answers at once")] = 64,
    chat: Annotated[bool, Flag("--chat/--no-chat", help="use the chat template")] = True,
    processes: Annotated[
        int, Flag(min=1, help="on this machine, one a card; torchrun works too")
    ] = 1,
    sharding: Annotated[
        str, Flag(help="none, or fsdp: weights spread over the processes")
    ] = "none",
    roles: Annotated[list[str] | None, Flag("--role", help="ROLE=MODEL, for further roles")] = None,
    report_to: Annotated[
        list[str] | None, Flag("--report-to", help="tensorboard, wandb, trackio; JSON lines always")
    ] = None,
    sandbox: Annotated[
        str, Flag(help="where programs are judged: local, docker, remote:URL")
    ] = "local",
    verdict_cache: Annotated[
        Path | None, Flag("--verdict-cache", help="a folder that keeps verdicts on programs")
    ] = None,
    allow_pickle: Annotated[bool, Flag("--allow-pickle", help="load pickled weights")] = False,
    trust_remote_code: Annotated[bool, Flag("--trust-remote-code")] = False,
    name: Annotated[str, Flag(help="of the run's folder; default: from what is asked")] = "",
    output: Annotated[Path, Flag("--output-dir", "-o")] = Path("results"),
    fresh: Annotated[bool, Flag("--fresh", help="begin anew, whatever is there")] = False,
    dry_run: Annotated[bool, Flag("--dry-run", help="print what would be done")] = False,
    sweep: Annotated[
        bool, Flag("--sweep", help="many such runs: see `harness train --sweep --help`")
    ] = False,
    as_json: Annotated[bool, Flag("--json", help="machine-readable result")] = False,
) -> None:
    """Let a model learn a task; the same command again goes on where it stopped."""
    from harness import registry
    from harness.commands import asked, boxing, screen
    from harness.commands.opening import ModelOptions, named_models
    from harness.errors import need

    need("torch", "train", "training")
    boxing.choose(sandbox, cache=verdict_cache)
    from harness.commands import jobs, training
    from trainers.budget import Budget
    from trainers.loop import Plan
    from trainers.world import joined
    from trainers.written import change

    if processes > 1 and "RANK" not in os.environ:
        from trainers.launch import launch

        sys.exit(launch(processes, asked.words()))
    with joined() as world:
        found = change(registry.recipe(recipe), settings or ())
        given = {"steps": steps, "temperature": temperature, "max_tokens": max_tokens}
        ends = Budget.of(budget) if budget else None
        found = ends.stretched(found) if ends else found
        found = found.but(**{key: value for key, value in given.items() if value is not None})
        job = jobs.Job(
            task=registry.task(task),
            recipe=found,
            model=model,
            roles=named_models(roles or ()),
            plan=Plan(
                seed=seed,
                limit=limit,
                dev_every=dev_every,
                dev_rollouts=dev_rollouts,
                dev_limit=dev_limit,
                save_every=save_every,
                keep=keep,
                keep_best=keep_best,
                positions=positions,
                report_to=tuple(report_to or ()),
                budget=ends,
            ),
            options=ModelOptions(
                dtype=dtype,
                device=device,
                batch_size=batch_size,
                chat=chat,
                allow_pickle=allow_pickle,
                trust_remote_code=trust_remote_code,
                output=output,
            ),
            place=task,
            lora=lora,
            checkpointing=checkpointing,
            packing=packing,
            sharing=sharing,
            world=world,
            sharding=sharding,
            compiled=compiled,
            kernels=kernels,
            tf32=tf32,
            warm_up=warm_up,
        )
        if dry_run:
            if world.first:
                screen.emit(job.described())
            return
        tested = training.Test(rollouts=test_rollouts, limit=test_limit) if test else None
        report = training.carry_out(job, tested, name, fresh=fresh, command=asked.command())
        if not world.first:
            return
        if as_json:
            screen.emit(report)
        else:
            present(report, task)


def present(report: dict[str, Any], task: str) -> None:
    """What was learned, where the time went, and where everything lies."""
    from harness.commands import screen
    from leaderboards.text import visible

    first, last = report["first"], report["last"]
    names = [n for n in ("reward", "completions/mean_length", "entropy", "loss") if n in last]
    rows = [[n, f"{first[n]:.4f}", f"{last[n]:.4f}"] for n in names if n in first]
    dev = [n for n in report["dev_first"] if n != "eval/faults"]
    rows += [[n, f"{report['dev_first'][n]:.4f}", f"{report['dev_last'][n]:.4f}"] for n in dev]
    title = f"{report['task']}, {report['recipe']}, {report['model']}: {report['steps']} steps"
    screen.table(title, ["number", "first", "last"], rows)
    spent = ", ".join(f"{part} {seconds:.1f} s" for part, seconds in report["time"].items())
    print(f"time: {spent}; {report['tokens_per_second']:.0f} tokens/s sampled")
    if "loss" in last:
        print(f"on the loss: {report['about_loss']}")
    alarms = [
        [a["kind"], a["step"], visible(str(a["text"]), 300)] for a in report.get("alarms", ())
    ]
    if alarms:
        screen.table("alarms", ["kind", "step", "what"], alarms)
        print(f"rollouts that show them: {report['run']}/alarms.jsonl, or harness view")
    else:
        print("no alarms")
    for found in report.get("test", {}).get("metrics", ()):
        between = f"[{found['low']:.4f}, {found['high']:.4f}]"
        print(
            f"test {found['metric']} {found['value']:.4f} {between}, {found['examples']} examples"
        )
    print(f"the model is in {report['policy']}; score it with")
    family = report["model"].partition(":")[0]
    print(f"  harness eval {task} --model {family}:{report['policy']}")
