"""Cheap demonstrations of papers' claims, on bandits under the recipes' own stages.

Of spo, knapsack_rl, xrpo, s_grpo, igrpo, scaf_grpo, mc_grpo and grpo_lambda. See `claims.py`.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import Parameter

from harness.models import Sampling
from harness.types import Completion, Example, Message, Prompt, Rollout, Verdict
from tests.bench.arms import Game, Seen, numbered
from tests.bench.claims_b import pass_at, strategist
from tests.bench.toys import PLAIN, Finding, paired, spread, task
from trainers.learner import Learner
from trainers.policy import Extent, Live
from trainers.recipe import Policies, Recipe, Run
from trainers.recipes.grpo_lambda import RECIPE as LAMBDA
from trainers.recipes.grpo_lambda import SwitchLengthPenalty
from trainers.recipes.igrpo import RECIPE as IGRPO
from trainers.recipes.igrpo import DraftThenRefine
from trainers.recipes.knapsack_rl import RECIPE as KNAPSACK
from trainers.recipes.knapsack_rl import Knapsack
from trainers.recipes.mc_grpo import RECIPE as MC
from trainers.recipes.s_grpo import RECIPE as SERIAL
from trainers.recipes.s_grpo import DecayByExit, TrainAfterCut
from trainers.recipes.scaf_grpo import RECIPE as SCAFFOLD
from trainers.recipes.scaf_grpo import ScaffoldHints
from trainers.recipes.spo import RECIPE as SPO
from trainers.recipes.spo import ByUncertainty, value
from trainers.recipes.xrpo import AllocateByGain, SharpenByNovelty
from trainers.rewards import WeighScores
from trainers.samplers import Uniform

PAID = (WeighScores(),)


def own_row(prompt: Prompt) -> Seen:
    """A row a prompt."""
    return Seen((int(prompt.example.id),))


def first_arm(prompt: Prompt, arm: int, rng: np.random.Generator) -> tuple[float, int]:
    """Arm 0 is right."""
    return float(arm == 0), 1


def spread_out(prompts: int, arms: int, deviation: float, seed: int) -> Tensor:
    """A table whose first arm is likely for some prompts and unlikely for others."""
    table = torch.zeros(prompts, arms)
    table[:, 0] = torch.tensor(np.random.default_rng(seed).normal(0, deviation, prompts))
    return table


def per_seed(found: Mapping[str, Sequence[float]]) -> str:
    """Means and intervals, by name."""
    return "; ".join(f"{name} {spread(values)}" for name, values in found.items())


# ---- spo


def spo() -> list[Finding]:
    """64 prompts of 20 answers, 20,000 samples, 32 a step."""
    arms: dict[str, Recipe] = {
        "grpo": PLAIN.but(samplers=Uniform(prompts=4, rollouts=8)),
        "spo": SPO.but(rewards=PAID, samplers=ByUncertainty(prompts=32)),
    }
    found: list[Finding] = []
    for lr in (4.0, 16.0):
        ends: dict[str, list[float]] = defaultdict(list)
        idle: dict[str, list[float]] = defaultdict(list)
        errors: list[float] = []
        for seed in range(3):
            for name, recipe in arms.items():
                table = spread_out(64, 20, 3.0, seed)
                game = Game(recipe, table, numbered(64), own_row, first_arm, lr, seed)
                nothing: list[float] = []
                for _ in range(20_000 // 32):
                    game.step()
                    nothing.append(float((game.batch.advantages == 0).float().mean()))
                right = game.chances()[:, 0]
                ends[name].append(float(right.mean()))
                idle[name].append(float(np.mean(nothing)))
                if name == "spo":
                    told = [value(example, game.run) for example in game.examples]
                    errors.append(float(np.abs(np.array(told) - right).mean()))
        found += [
            Finding(
                f"more is learned from 20,000 samples (rate {lr:g})",
                f"success at the end: {per_seed(ends)}",
                paired(ends["spo"], ends["grpo"]),
            ),
            Finding(
                f"no sample is without advantage (rate {lr:g})",
                f"share without: {per_seed(idle)}; |value - truth| at the end {spread(errors)}",
                max(idle["spo"]) == 0,
            ),
        ]
    return found


# ---- knapsack_rl


def knapsack_rl() -> list[Finding]:
    """24 prompts of 64 arms, 60 steps of 192 rollouts."""
    arms = {
        "uniform": PLAIN.but(samplers=Uniform(prompts=24, rollouts=8)),
        "knapsack": KNAPSACK.but(
            rewards=PAID, advantages=PLAIN.advantages, samplers=Knapsack(prompts=24, rollouts=8)
        ),
    }
    samples: dict[str, list[float]] = defaultdict(list)
    groups: dict[str, list[float]] = defaultdict(list)
    ends: dict[str, list[float]] = defaultdict(list)
    for seed in range(8):
        for name, recipe in arms.items():
            table = spread_out(24, 64, 3.0, seed)
            table[:, 0] += 1.0
            game = Game(recipe, table, numbered(24), own_row, first_arm, 4.0, seed)
            shares: list[tuple[float, float]] = []
            for _ in range(60):
                game.step()
                mixed = game.batch.peers().std(game.batch.rewards)[:, 0] > 0
                chosen = game.batch.group[mixed].unique()
                shares.append((float(mixed.float().mean()), len(chosen) / 24))
            by_sample, by_group = np.mean(shares, axis=0)
            samples[name].append(float(by_sample))
            groups[name].append(float(by_group))
            ends[name].append(float(game.chances()[:, 0].mean()))
    return [
        Finding(
            "more samples in mixed groups, in every seed",
            f"share of samples: {per_seed(samples)}",
            paired(samples["knapsack"], samples["uniform"]),
        ),
        Finding(
            "more groups are mixed (the paper counts samples)",
            f"share of groups: {per_seed(groups)}",
            paired(groups["knapsack"], groups["uniform"]),
        ),
        Finding(
            "higher success at equal rollouts",
            f"at the end: {per_seed(ends)}",
            paired(ends["knapsack"], ends["uniform"]),
        ),
    ]


# ---- xrpo


def xrpo() -> list[Finding]:
    """Allocation on Bernoulli prompts; prizes for unlikely success where strategies are shared."""
    errors: dict[str, list[float]] = defaultdict(list)
    mixed: dict[str, list[float]] = defaultdict(list)
    recipe = PLAIN.but(samplers=Uniform(prompts=32, rollouts=8))
    for seed in range(30):
        chance = np.random.default_rng(seed).beta(0.5, 0.5, 32)
        table = torch.tensor(np.log([chance, 1 - chance]).T.clip(-30), dtype=torch.float32)
        for name, wrappers in (("uniform", ()), ("rounds", (AllocateByGain(),))):
            game = Game(
                recipe.but(rollouts=wrappers), table, numbered(32), own_row, first_arm, 0, seed
            )
            game.step()
            batch = game.batch
            told = batch.peers().mean(batch.rewards)[:, 0].numpy()
            truth = chance[[int(r.example.id) for r in batch.rollouts]]
            first = {r.example.id: n for n, r in enumerate(batch.rollouts)}.values()
            errors[name].append(float(((told - truth) ** 2)[[*first]].mean()))
            mixed[name].append(float((batch.peers().std(batch.rewards) > 0).float().mean()))
    gap = np.subtract(mixed["rounds"], mixed["uniform"])
    less = np.subtract(errors["uniform"], errors["rounds"])
    one: dict[str, list[float]] = defaultdict(list)
    many: dict[str, list[float]] = defaultdict(list)
    sharp = PLAIN.but(advantages=(*PLAIN.advantages, SharpenByNovelty()))
    for name, arm in (("grpo", PLAIN), ("sharpened", sharp)):
        for seed in range(3):
            toy, _ = strategist(arm, seed, 150)
            one[name].append(pass_at(toy, 1, np.random.default_rng(1000 + seed)))
            many[name].append(pass_at(toy, 128, np.random.default_rng(1000 + seed)))
    return [
        Finding(
            "more rollouts in mixed groups at equal rollouts",
            f"{per_seed(mixed)}; difference {spread(gap.tolist())}",
            _above(gap),
        ),
        Finding(
            "pass rates are estimated with less error",
            f"mean squared error: {per_seed(errors)}; difference {spread(less.tolist())}",
            _above(less),
        ),
        Finding(
            "prizing unlikely success keeps pass@128",
            f"pass@1: {per_seed(one)}; pass@128: {per_seed(many)}",
            paired(many["sharpened"], many["grpo"]),
        ),
    ]


def _above(x: np.ndarray) -> bool:
    """Whether the mean is more than two standard errors above 0."""
    return bool(x.mean() > 2 * x.std(ddof=1) / math.sqrt(len(x)))


# ---- igrpo


def igrpo() -> list[Finding]:
    """24 prompts of 16 arms; a draft that is shown makes its arm likelier."""
    arms = {
        "grpo": PLAIN.but(samplers=Uniform(prompts=8, rollouts=16)),
        "igrpo": IGRPO.but(
            rewards=PAID,
            samplers=Uniform(prompts=8, rollouts=8),
            rollouts=(DraftThenRefine(drafts=8),),
        ),
    }

    def read(prompt: Prompt) -> Seen:
        row = (int(prompt.example.id),)
        return Seen(row, int(prompt.hints[0].splitlines()[1]), 2.0) if prompt.hints else Seen(row)

    ends: dict[str, list[float]] = defaultdict(list)
    flat: dict[str, list[float]] = defaultdict(list)
    gaps: list[float] = []
    for seed in range(5):
        for name, recipe in arms.items():
            table = spread_out(24, 16, 2.0, seed) - 1.0 * torch.eye(1, 16)
            game = Game(recipe, table, numbered(24), read, first_arm, 2.0, seed)
            same: list[float] = []
            for _ in range(100):
                before = game.chances()[:, 0]
                game.step()
                same.append(float((game.batch.peers().std(game.batch.rewards) == 0).float().mean()))
                if name == "igrpo":
                    asked = {int(r.example.id) for r in game.batch.rollouts}
                    exact = np.mean([1 - (1 - before[n]) ** 8 for n in asked])
                    gaps.append(game.run.tally.values["drafts/best"] - float(exact))
            ends[name].append(float(game.chances()[:, 0].mean()))
            flat[name].append(float(np.mean(same)))
    error = np.std(gaps) / math.sqrt(len(gaps))
    return [
        Finding(
            "the best draft is right as often as 1 - (1 - p)^8",
            f"mean difference over {len(gaps)} steps: {spread(gaps)}",
            bool(abs(np.mean(gaps)) < 3 * error),
        ),
        Finding(
            "higher success from the bare prompt at equal samples",
            f"at the end: {per_seed(ends)}; share of flat groups: {per_seed(flat)}",
            paired(ends["igrpo"], ends["grpo"]),
        ),
    ]


# ---- scaf_grpo

HINTS = {
    tier: [f"{tier} {start + n}" for n in range(1, 5)]
    for start, tier in ((0, "knowledge"), (4, "planning"), (8, "solution"))
}


def scaf_grpo() -> list[Finding]:
    """32 prompts of 16 arms that are hardly ever solved; a hint of level l adds 0.7 l."""

    def read(prompt: Prompt) -> Seen:
        level = int(prompt.hints[-1].split()[-1]) if prompt.hints else 0
        return Seen((int(prompt.example.id), 32), 0, 0.7 * level)

    ends: dict[str, list[float]] = defaultdict(list)
    dead: dict[str, list[float]] = defaultdict(list)
    levels: dict[str, list[float]] = defaultdict(list)
    for seed in range(5):
        table = torch.zeros(33, 16)
        table[:32, 0] = -4.0 + torch.tensor(np.random.default_rng(seed).normal(0, 1, 32))
        helped = SCAFFOLD.but(rewards=PAID, rollouts=(ScaffoldHints(exempt=20),))
        game = Game(helped, table, numbered(32, hints=HINTS), read, first_arm, 2.0, seed)
        flat: list[float] = []
        used: list[float] = []
        for _ in range(120):
            game.run.tally.values.clear()
            game.step()
            flat.append(float((game.batch.peers().std(game.batch.rewards) == 0).float().mean()))
            used.append(game.run.tally.values.get("scaffold/level", np.nan))
        plain = Game(PLAIN, table, numbered(32), read, first_arm, 2.0, seed)
        while plain.made < game.made:
            plain.step()
        ends["scaf_grpo"].append(float(game.chances()[:, 0].mean()))
        ends["grpo"].append(float(plain.chances()[:, 0].mean()))
        dead["exempt"].append(float(np.mean(flat[:20])))
        dead["next 20"].append(float(np.mean(flat[20:40])))
        told = np.array(used)[~np.isnan(used)]
        levels["first quarter"].append(float(told[: len(told) // 4].mean()))
        levels["last quarter"].append(float(told[-(len(told) // 4) :].mean()))
    return [
        Finding(
            "dead groups vanish when hints begin",
            f"share: {per_seed(dead)}",
            paired(dead["exempt"], dead["next 20"]),
        ),
        Finding(
            "less help is needed as training goes on",
            f"mean level of rescues: {per_seed(levels)}",
            paired(levels["first quarter"], levels["last quarter"]),
        ),
        Finding(
            "higher success without hints at equal generations",
            f"at the end: {per_seed(ends)}",
            paired(ends["scaf_grpo"], ends["grpo"]),
        ),
    ]


# ---- mc_grpo


def mc_grpo() -> list[Finding]:
    """Graded arms with noise and lucky outliers: what is lost with 2 rollouts instead of 8."""
    ends: dict[str, list[float]] = defaultdict(list)
    for seed in range(6):
        worth = np.random.default_rng(seed).uniform(0, 0.6, (16, 8))

        def graded(
            prompt: Prompt, arm: int, rng: np.random.Generator, worth: np.ndarray = worth
        ) -> tuple[float, int]:
            plain = worth[int(prompt.example.id), arm] + rng.normal(0, 0.1)
            return float(1.0 if rng.random() < 0.1 else plain), 1

        for size in (2, 8):
            for name, recipe in (
                ("mean", PLAIN.but(samplers=Uniform(prompts=16, rollouts=size))),
                ("median", MC.but(rewards=PAID, samplers=Uniform(prompts=16, rollouts=size + 1))),
            ):
                game = Game(recipe, torch.zeros(16, 8), numbered(16), own_row, graded, 1.0, seed)
                for _ in range(100):
                    game.step()
                ends[f"{name} G={size}"].append(float((game.chances() * worth).sum(1).mean()))
    gap = {
        name: np.subtract(ends[f"{name} G=8"], ends[f"{name} G=2"]).tolist()
        for name in ("mean", "median")
    }
    return [
        Finding(
            "the gap between 2 and 8 rollouts shrinks",
            f"score: {per_seed(ends)}; gap: {per_seed(gap)}",
            float(np.mean(gap["median"])) < float(np.mean(gap["mean"])),
        ),
        Finding(
            "at G = 2 the median beats the mean",
            f"difference: {spread(np.subtract(ends['median G=2'], ends['mean G=2']).tolist())}",
            _above(np.subtract(ends["median G=2"], ends["mean G=2"])),
        ),
    ]


# ---- grpo_lambda


def grpo_lambda() -> list[Finding]:
    """Lengths 1 to 12; four levels need 1, 3, 5, 7; a part of the preference is shared."""
    needs = np.array([1, 3, 5, 7])

    def read(prompt: Prompt) -> Seen:
        return Seen((int(prompt.example.id) % 4, 4))

    def chance(level: np.ndarray | int, length: np.ndarray | int) -> np.ndarray:
        return 1 / (1 + np.exp(-3.0 * (np.asarray(length) - needs[level] + 0.5 - 1)))

    def judge(prompt: Prompt, arm: int, rng: np.random.Generator) -> tuple[float, int]:
        return float(rng.random() < chance(int(prompt.example.id) % 4, arm + 1)), arm + 1

    arms = {
        "grpo": LAMBDA.but(rewards=PAID),
        "everywhere": LAMBDA.but(rewards=(*PAID, SwitchLengthPenalty(1.0, 0.6))),
        "lambda": LAMBDA.but(rewards=(*PAID, SwitchLengthPenalty(0.2, 0.6))),
    }
    right: dict[str, list[float]] = defaultdict(list)
    length: dict[str, list[float]] = defaultdict(list)
    hardest: dict[str, list[float]] = defaultdict(list)
    lengths = np.arange(1, 13)
    exact = chance(np.arange(4)[:, None], lengths)
    for seed in range(3):
        table = torch.zeros(5, 12)
        table[4] = torch.tensor(-((lengths - 8.0) ** 2) / 8)
        for name, recipe in arms.items():
            with_all = recipe.but(samplers=Uniform(prompts=20, rollouts=8))
            game = Game(with_all, table, numbered(20), read, judge, 2.0, seed)
            for _ in range(200):
                game.step()
            drawn = game.chances()[:4]
            right[name].append(float((drawn * exact).sum(1).mean()))
            hardest[name].append(float((drawn[3] * exact[3]).sum()))
            length[name].append(float((drawn @ lengths).mean()))
    return [
        Finding(
            "shorter than grpo, more often right than with the penalty everywhere",
            f"right: {per_seed(right)}; length: {per_seed(length)}",
            paired(length["grpo"], length["lambda"])
            and paired(right["lambda"], right["everywhere"]),
        ),
        Finding(
            "the hardest level is kept",
            f"right there: {per_seed(hardest)}",
            paired(hardest["lambda"], hardest["everywhere"]),
        ),
    ]


# ---- s_grpo


@dataclass
class Thinker:
    """Thinks on or stops, at each of so many steps; a rollout is a line of these choices."""

    table: Parameter
    sampling: Sampling = field(default_factory=Sampling)

    def review(self, rollouts: Sequence[Rollout], *, temperature: float | None = None) -> Live:
        """Steps of the thinker's own; what was put in has no row."""
        mask = self.decided(rollouts)
        steps = torch.arange(mask.shape[1]).expand_as(mask).clamp(max=len(self.table) - 1)
        taken = torch.zeros(mask.shape, dtype=torch.long)
        for row, rollout in enumerate(rollouts):
            choices = rollout.completion.trace["choices"]
            taken[row, : len(choices)] = torch.tensor(choices)
        logs = self.table.log_softmax(-1)[steps]
        entropy = -(logs.exp() * logs).sum(-1)
        picked = logs.gather(-1, taken.unsqueeze(-1)).squeeze(-1)
        return Live(picked.masked_fill(~mask, 0.0), entropy.masked_fill(~mask, 0.0), mask)

    def decided(self, rollouts: Sequence[Rollout]) -> Tensor:
        """All choices; not the step that an exit has more."""
        own = [len(r.completion.trace["choices"]) for r in rollouts]
        most = max(r.steps for r in rollouts)
        return torch.arange(most) < torch.tensor(own).unsqueeze(1)

    def extent(self, rollout: Rollout) -> Extent:
        """A position a step."""
        return Extent(rollout.steps)

    def size(self, rollout: Rollout) -> int:
        """A position a step."""
        return rollout.steps

    def parameters(self) -> list[Parameter]:
        """The table."""
        return [self.table]

    def refresh(self) -> None:
        """Nothing is kept."""


LONGEST, ENOUGH = 16, 5
"""Steps of thought at most; and after how many of them the answer is as sure as it gets."""


def sure(steps: int) -> float:
    """Chance of a right answer after so many steps."""
    return 0.95 * min(steps / ENOUGH, 1.0)


def serial_group(
    policy: Any, name: str, size: int, exits: bool, rng: np.random.Generator
) -> list[Rollout]:
    """A path and its exits, or so many paths."""
    stop = policy.table.detach().double().softmax(-1)[:, 1].numpy()
    found: list[Rollout] = []

    def add(choices: list[int], more: int, thought: int) -> None:
        right = float(rng.random() < sure(thought))
        prompt = Prompt(Example(name, {}, None), (Message("user", name),), attempt=len(found))
        said = Completion("", steps=len(choices) + more, trace={"choices": choices})
        verdict = Verdict({"correct": right}, reason="ok" if right else "wrong")
        found.append(Rollout(((prompt, said),), verdict, name, attempt=len(found)))

    thought = 0
    for _ in range(1 if exits else size):
        ended = np.flatnonzero(rng.random(LONGEST) < stop)
        thought = int(ended[0]) if len(ended) else LONGEST
        add([0] * thought + ([1] if len(ended) else []), 0, thought)
    if exits and thought > 1:
        for place in sorted({int(n) for n in rng.integers(1, thought, size - 1)}):
            add([0] * place, 1, place)
    return found


def thinker(recipe: Recipe, exits: bool, seed: int) -> tuple[float, float]:
    """Mean steps of thought and accuracy after 200 steps of 8 groups of 8."""
    rng = np.random.default_rng(seed)
    table = torch.zeros(LONGEST, 2)
    table[:, 0] = 2.5
    policy: Any = Thinker(Parameter(table))
    policies = Policies({"solver": policy})
    run = Run(task=task({"correct": 1.0}), recipe=recipe, policies=policies)
    learner = Learner("solver", recipe, policy, 10**9)
    for run.step in range(200):
        made = [r for n in range(8) for r in serial_group(policy, str(n), 8, exits, rng)]
        learner.gradient(learner.batch(made, run), run, first=True)
        if policy.table.grad is not None:
            with torch.no_grad():
                policy.table -= 4.0 * policy.table.grad
    stop = policy.table.detach().double().softmax(-1)[:, 1].numpy()
    reach = np.cumprod(np.concatenate([[1.0], 1 - stop]))
    ends = np.concatenate([reach[:-1] * stop, reach[-1:]])
    thought = np.arange(LONGEST + 1)
    return float(ends @ thought), float(ends @ [sure(int(n)) for n in thought])


def s_grpo() -> list[Finding]:
    """The answer is sure after 5 of up to 16 steps; the model begins by thinking on."""
    serial = replace(SERIAL, name="toy", rewards=(*PAID, DecayByExit()))
    arms = {
        "start": (None, False),
        "grpo": (PLAIN, False),
        "serial": (serial, True),
        "all": (serial.but(rewards=(*PAID, DecayByExit("all"))), True),
        "shortest": (serial.but(rewards=(*PAID, DecayByExit("shortest"))), True),
        "serial, prefix": (serial.but(weights=(TrainAfterCut(True), *PLAIN.weights)), True),
    }
    steps: dict[str, list[float]] = defaultdict(list)
    right: dict[str, list[float]] = defaultdict(list)
    for name, (recipe, exits) in arms.items():
        for seed in range(3):
            trained = recipe or PLAIN.but(rewards=(WeighScores({"correct": 0.0}),))
            thought, correct = thinker(trained, exits, seed)
            steps[name].append(thought)
            right[name].append(correct)
    told = f"steps: {per_seed(steps)}; right: {per_seed(right)}"
    kept = np.mean(right["serial"]) > np.mean(right["start"]) - 0.02
    return [
        Finding(
            "thinking moves towards what suffices, accuracy is kept",
            told,
            paired(steps["start"], steps["serial"]) and bool(kept),
        ),
        Finding(
            "paying all right exits alike keeps the length",
            "see above",
            bool(np.mean(steps["all"]) > np.mean(steps["serial"])),
        ),
        Finding(
            "paying the shortest alone is shorter and loses accuracy",
            "see above",
            paired(steps["serial"], steps["shortest"])
            and paired(right["serial"], right["shortest"]),
        ),
        Finding(
            "grpo keeps or grows the length",
            "see above",
            bool(np.mean(steps["grpo"]) >= 0.95 * np.mean(steps["start"])),
        ),
    ]


CLAIMS: dict[str, Callable[[], list[Finding]]] = {
    "spo": spo,
    "knapsack_rl": knapsack_rl,
    "xrpo": xrpo,
    "s_grpo": s_grpo,
    "igrpo": igrpo,
    "scaf_grpo": scaf_grpo,
    "mc_grpo": mc_grpo,
    "grpo_lambda": grpo_lambda,
}
