"""Speed on an accelerator: generation and training of random weights, against measured ceilings.

Every combination runs in a process of its own, so one that fails (out of memory, a kernel that is
missing) is reported and the others go on. A matrix product and a copy are measured first: MFU is
against what this card reached, not against its data sheet.

    make bench-gpu                                  0.5B, 1.5B and 7B shapes on the card
    make bench-gpu DEVICE=cpu SHAPES=tiny           tries every line without one

Writes results/bench_gpu.md and results/bench_gpu.json.
"""

from __future__ import annotations

import argparse
import importlib.util
import itertools
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

HOUSE = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(HOUSE))
WARM = 2
"""Steps that are not counted: kernels are built, graphs recorded."""


@dataclass(frozen=True)
class Load:
    """What a step does: as many rollouts of as many tokens."""

    prompts: int = 8
    rollouts: int = 8
    read: int = 256
    """Tokens of a prompt."""
    said: int = 256
    """Tokens of an answer."""
    steps: int = 5

    @property
    def positions(self) -> int:
        """Tokens that a step trains on, prompts counted once a group."""
        return self.prompts * (self.read + self.rollouts * self.said)

    @property
    def generated(self) -> int:
        return self.prompts * self.rollouts * self.said


LIGHT = Load(prompts=2, rollouts=2, read=16, said=8, steps=2)
"""For the shapes that only try the lines."""
VARIANTS: dict[str, dict[str, Any]] = {
    "default": {},
    "eager decode": {"graphs": False},
    "float32": {"autocast": False, "sample_dtype": None},
    "checkpointing": {"checkpointing": True},
    "compiled": {"compiled": True},
    "liger": {"kernels": "liger"},
}


def load_of(shape: str) -> Load:
    return LIGHT if shape in ("tiny", "small") else Load()


# ---- one combination, in a process of its own


def ours(name: str, variant: str, device: str) -> dict[str, Any]:
    """Median seconds of the parts of a training step, and what they come to."""
    import torch

    from tests.bench.shapes import SHAPES, random_policy, weighed, writing
    from trainers import cards
    from trainers.loop import Plan, Training
    from trainers.recipes.grpo import RECIPE
    from trainers.samplers import Uniform

    load, place = load_of(name), torch.device(device)
    half = cards.computes_bfloat16(place)
    settings = {
        "autocast": half,
        "sample_dtype": "bfloat16" if half else None,
        "batch_size": load.prompts * load.rollouts,
        **VARIANTS[variant],
    }
    policy = random_policy(SHAPES[name], device, **settings)
    recipe = RECIPE.but(
        samplers=Uniform(prompts=load.prompts, rollouts=load.rollouts),
        steps=WARM + load.steps,
        max_tokens=load.said,
    )
    found: list[Mapping[str, float]] = []
    with tempfile.TemporaryDirectory() as folder:
        training = Training(
            writing(load.read), recipe, {"solver": policy}, Path(folder), Plan(positions=16_384)
        )
        training.report = lambda step, numbers: found.append(numbers)
        for step in range(recipe.steps):
            training.run.step = step
            training._step()
    kept = found[WARM:]
    parts = ("generate", "review", "backward", "optimizer")
    spent = {part: statistics.median(x[f"time/{part}"] for x in kept) for part in parts}
    return {
        "seconds": spent,
        "step": statistics.median(x["step_time"] for x in kept),
        "peak_gb": max(x.get("memory/peak_gb", 0.0) for x in kept),
        "weights": weighed(policy.model),
        "parameters": sum(weight.numel() for weight in policy.model.parameters()),
        "bytes": 2 if half and settings["sample_dtype"] else 4,
        "trained": sum(weight.numel() for weight in policy.parameters()),
    }


def trl(name: str, device: str) -> dict[str, Any]:
    """The same step by TRL's GRPOTrainer, in its default precision."""
    import warnings

    import torch
    from datasets import Dataset
    from transformers import TrainerCallback
    from trl import GRPOConfig, GRPOTrainer

    from tests.bench.shapes import SHAPES, random_model, weighed
    from trainers import cards
    from trainers.policies.tiny_text import tiny_tokenizer

    warnings.simplefilter("ignore")
    load, shape = load_of(name), SHAPES[name]
    marks: list[float] = []

    class Clock(TrainerCallback):
        def on_step_end(self, *args: Any, **kwargs: Any) -> None:
            cards.wait(torch.device(device))
            marks.append(time.perf_counter())

    def odd(completion_ids: Sequence[Sequence[int]], **_: Any) -> list[float]:
        return [sum(ids) % 7 / 6 for ids in completion_ids]

    rows = [{"prompt": f"{n:04d}" * (load.read // 4)} for n in range(256)]
    peft = None
    if shape.lora:
        from peft import LoraConfig

        peft = LoraConfig(r=shape.lora, target_modules="all-linear", task_type="CAUSAL_LM")
    with tempfile.TemporaryDirectory() as folder:
        options = GRPOConfig(
            output_dir=folder,
            per_device_train_batch_size=load.rollouts,
            gradient_accumulation_steps=load.prompts,
            num_generations=load.rollouts,
            max_completion_length=load.said,
            max_steps=WARM + load.steps,
            bf16=cards.computes_bfloat16(torch.device(device)),
            use_cpu=device == "cpu",
            report_to=[],
            save_strategy="no",
            logging_strategy="no",
            beta=0.0,
        )
        trainer = GRPOTrainer(
            model=random_model(shape, device),
            processing_class=tiny_tokenizer(),
            reward_funcs=odd,
            args=options,
            train_dataset=Dataset.from_list(rows),
            peft_config=peft,
            callbacks=[Clock()],
        )
        trainer.train()
    model: Any = trainer.accelerator.unwrap_model(trainer.model)
    return {
        "step": statistics.median(b - a for a, b in itertools.pairwise(marks[WARM - 1 :])),
        "peak_gb": torch.cuda.max_memory_allocated() / 1e9 if device != "cpu" else 0.0,
        "weights": weighed(model.get_base_model() if shape.lora else model),
    }


def probe(device: str) -> dict[str, Any]:
    """What the card is, and what it reaches."""
    import torch

    from trainers import cards

    place = torch.device(device)
    kind = torch.bfloat16 if cards.computes_bfloat16(place) else torch.float32
    found = cards.ceilings(place, kind)
    versions = {name: _version(name) for name in ("torch", "transformers", "trl", "liger-kernel")}
    told = {"card": device, **cards.described(place)}
    return {**told, **asdict(found), "dtype": str(kind), "versions": versions}


def _version(name: str) -> str:
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version(name)
    except PackageNotFoundError:
        return ""


# ---- all of them


def measured(words: Sequence[str], limit: float) -> dict[str, Any]:
    """What a process of its own found, or why it did not."""
    command = [sys.executable, "-W", "ignore", str(Path(__file__).resolve()), "--one", *words]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=limit)
    except subprocess.TimeoutExpired:
        return {"failed": f"not done after {limit:.0f} s"}
    lines = done.stdout.strip().splitlines()
    if done.returncode == 0 and lines:
        return json.loads(lines[-1])
    said = [line for line in done.stderr.strip().splitlines() if line.strip()]
    errors = [line for line in said if "Error" in line] or said
    return {"failed": (errors or [f"it ended with {done.returncode}"])[-1][:200]}


def figures(found: Mapping[str, Any], load: Load, top: Mapping[str, Any]) -> dict[str, float]:
    """Tokens per second, and shares of the ceilings."""
    weights, seconds = found["weights"], found["seconds"]
    learned = seconds["review"] + seconds["backward"]
    # a pass forward is 2 operations a weight and token; backward is twice that, or once where
    # the weights themselves learn nothing
    factor = 6 if found["trained"] > 0.5 * found["parameters"] else 4
    read = load.said * found["parameters"] * found["bytes"]
    return {
        "generated tokens/s": load.generated / seconds["generate"],
        "weights read, of the copy ceiling": read / seconds["generate"] / top["bytes"],
        "trained tokens/s": load.positions / learned,
        "MFU of review and backward": factor * weights * load.positions / learned / top["flops"],
        "step s": found["step"],
        "peak GB": found["peak_gb"],
    }


def page(report: Mapping[str, Any]) -> str:
    """The report for people."""
    top = report["probe"]
    lines = [
        "# Speed on an accelerator",
        "",
        "Random weights; made by `make bench-gpu`. MFU and bandwidth are shares of what the card",
        "reached in a matrix product and in a copy, not of its data sheet.",
        "",
        f"- device: {top['card']}, {top['dtype'].removeprefix('torch.')}",
        f"- matrix product: {top['flops'] / 1e12:.2f} TFLOP/s; copy: {top['bytes'] / 1e9:.1f} GB/s",
        f"- versions: {', '.join(f'{k} {v}' for k, v in top['versions'].items() if v)}",
        "",
    ]
    for shape, rows in report["shapes"].items():
        load = Load(**report["loads"][shape])
        lines += [
            f"## {shape}",
            "",
            f"{load.prompts} prompts x {load.rollouts} rollouts, {load.read} tokens read and "
            f"{load.said} said; medians of {load.steps} steps after {WARM}.",
            "",
            "| variant | step s | generated tok/s | of copy | trained tok/s | MFU | peak GB |",
            "|---|---:|---:|---:|---:|---:|---:|",
        ]
        for variant, found in rows.items():
            lines.append(_row(variant, found, load, top))
        lines.append("")
    return "\n".join(lines)


def _row(variant: str, found: Mapping[str, Any], load: Load, top: Mapping[str, Any]) -> str:
    if "failed" in found:
        return f"| {variant} | {found['failed'].replace('|', '/')} | | | | | |"
    if "seconds" not in found:
        return f"| {variant} | {found['step']:.3f} | | | | | {found['peak_gb']:.1f} |"
    n = figures(found, load, top)
    return (
        f"| {variant} | {n['step s']:.3f} | {n['generated tokens/s']:,.0f} | "
        f"{n['weights read, of the copy ceiling']:.1%} | {n['trained tokens/s']:,.0f} | "
        f"{n['MFU of review and backward']:.1%} | {n['peak GB']:.1f} |"
    )


def variants(device: str) -> list[str]:
    """Those that make sense here."""
    left_out = set() if importlib.util.find_spec("liger_kernel") else {"liger"}
    if device == "cpu":
        left_out |= {"liger", "eager decode", "float32"}  # there is nothing else on a processor
    return [name for name in VARIANTS if name not in left_out]


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--device", default="cuda")
    options.add_argument("--shapes", default="0.5B,1.5B,7B")
    options.add_argument("--limit", type=float, default=900, help="seconds of one combination")
    options.add_argument("--no-trl", action="store_true")
    options.add_argument("--output", type=Path, default=HOUSE / "results")
    options.add_argument("--one", nargs=3, help=argparse.SUPPRESS)
    given = options.parse_args()
    if given.one:
        shape, variant, device = given.one
        found = (
            probe(device)
            if shape == "probe"
            else trl(shape, device)
            if variant == "TRL"
            else ours(shape, variant, device)
        )
        print(json.dumps(found))
        return
    from tests.bench.shapes import SHAPES

    chosen = given.shapes.split(",")
    for name in chosen:
        if name not in SHAPES:
            sys.exit(f"no shape '{name}'; there are {', '.join(SHAPES)}")
    top = measured(["probe", "-", given.device], given.limit)
    if "failed" in top:
        sys.exit(
            f"no device '{given.device}' here: {top['failed']}. "
            "Try every line without one: make bench-gpu DEVICE=cpu SHAPES=tiny"
        )
    report: dict[str, Any] = {"probe": top, "shapes": {}, "loads": {}}
    peers = ["TRL"] if importlib.util.find_spec("trl") and not given.no_trl else []
    given.output.mkdir(parents=True, exist_ok=True)
    for name in chosen:
        report["loads"][name] = asdict(replace(load_of(name)))
        rows = report["shapes"].setdefault(name, {})
        for variant in [*variants(given.device), *peers]:
            rows[variant] = measured([name, variant, given.device], given.limit)
            print(_row(f"{name}, {variant}", rows[variant], load_of(name), top), flush=True)
            # written after each, so that a bench that is ended early has told what it found
            (given.output / "bench_gpu.json").write_text(json.dumps(report, indent=1), "utf-8")
            (given.output / "bench_gpu.md").write_text(page(report), "utf-8")
    print(f"written to {given.output / 'bench_gpu.md'}")


if __name__ == "__main__":
    main()
