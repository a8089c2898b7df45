"""Claims of unlikely, bnpo, gdpo, ngrpo, tempo, drpo and disco, for `claims.py`.

On tables of logits under the recipes' own stages.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch

from tests.bench.claims_of_steps import drpo, tempo
from tests.bench.toys import PLAIN, Finding, Toy, paired, rollouts_of, spread
from trainers.advantages import CenterByMean, ScaleByStd
from trainers.batch import Batch
from trainers.losses import Clipped, Discriminate
from trainers.recipe import Recipe
from trainers.recipes.bnpo import NormalizeByBeta
from trainers.recipes.disco import RECIPE as DISCO
from trainers.recipes.gdpo import RECIPE as GDPO
from trainers.recipes.grpo import RECIPE as GRPO
from trainers.recipes.ngrpo import RECIPE as NGRPO
from trainers.recipes.unlikely import RECIPE as UNLIKELY
from trainers.recipes.unlikely import RewardUnlikely
from trainers.rewards import WeighScores

# ---- strategies that all problems share: unlikely, ngrpo

POPULAR, STRATEGIES, GROUP, PROBLEMS = {0: 0.45, 1: 0.35}, 24, 32, 16
"""Popular strategies solve so many problems, each of the 22 rare ones one in ten."""


def solves(problems: int, rng: np.random.Generator) -> np.ndarray:
    """Which strategy solves which problem (problems, strategies)."""
    chance = np.array([POPULAR.get(s, 0.1) for s in range(STRATEGIES)])
    return rng.random((problems, STRATEGIES)) < chance


def strategist(
    recipe: Recipe, seed: int, steps: int, hard: float = 0.0
) -> tuple[Toy, np.random.Generator]:
    """The recipe after so many steps on fresh problems; popular strategies begin as popular."""
    rng = np.random.default_rng(seed)
    logits = torch.full((1, STRATEGIES), 0.0)
    logits[0, :2] = 3.0
    toy = Toy(recipe, logits, lr=1.0)
    for _ in range(steps):
        right = solves(PROBLEMS, rng) & (rng.random((PROBLEMS, 1)) >= hard)
        group = np.repeat(np.arange(PROBLEMS), GROUP)
        rows = np.zeros((len(group), 1), np.int64)
        taken, logprobs = toy.draw(rows, rng)
        correct = right[group, taken[:, 0]].astype(float)
        toy.learn(rollouts_of(rows, taken, logprobs, {"correct": correct}, group))
    return toy, rng


def pass_at(toy: Toy, many: int, rng: np.random.Generator) -> float:
    """Of 4,000 held-out problems: the chance that one of so many draws solves it."""
    won = solves(4000, rng) @ toy.probs[0]
    return float((1 - (1 - won) ** many).mean())


def unlikely() -> list[Finding]:
    """GRPO sharpens, and the more the rank is charged, the less pass@many suffers."""
    seeds = range(3)
    free = UNLIKELY.but(losses=(Clipped(),), epochs=1, rewards=(WeighScores(),))
    arms = {"base": (free, 0), "grpo": (PLAIN, 150)}
    for beta in (0.25, 0.5):
        arms[f"beta {beta}"] = (free.but(rewards=(WeighScores(), RewardUnlikely(beta))), 150)
    one: dict[str, list[float]] = {name: [] for name in arms}
    many: dict[str, list[float]] = {name: [] for name in arms}
    for name, (recipe, steps) in arms.items():
        for seed in seeds:
            toy, _ = strategist(recipe, seed, steps)
            held_out = np.random.default_rng(1000 + seed)
            one[name].append(pass_at(toy, 1, held_out))
            many[name].append(pass_at(toy, 128, np.random.default_rng(1000 + seed)))
    told = "; ".join(f"{n}: {spread(one[n])} / {spread(many[n])}" for n in arms)
    sharper = paired(one["grpo"], one["base"]) and paired(many["base"], many["grpo"])
    kept = paired(many["beta 0.5"], many["beta 0.25"]) and paired(many["beta 0.25"], many["grpo"])
    return [
        Finding("GRPO raises pass@1 and lowers pass@128", f"pass@1 / pass@128: {told}", sharper),
        Finding("pass@128 rises with beta in every seed", "see above", kept),
    ]


def ngrpo() -> list[Finding]:
    """All-wrong groups get a gradient; whether that helps is another question."""
    seeds = range(5)
    shares: dict[str, list[float]] = {"grpo": [], "ngrpo": []}
    best: dict[str, list[float]] = {"grpo": [], "ngrpo": []}
    for name, recipe in (("grpo", PLAIN), ("ngrpo", NGRPO.but(rewards=(WeighScores(),)))):
        for seed in seeds:
            toy, rng = strategist(recipe, seed, 0)
            right = solves(200, rng) & (rng.random((200, 1)) >= 0.7)
            group = np.repeat(np.arange(200), 8)
            rows = np.zeros((1600, 1), np.int64)
            taken, logprobs = toy.draw(rows, rng)
            correct = right[group, taken[:, 0]].astype(float)
            made = rollouts_of(rows, taken, logprobs, {"correct": correct}, group)
            batch = toy.learner.batch(made, toy.run)
            used = (batch.advantages[:, 0] != 0) & (batch.weights.sum(1) > 0)
            shares[name].append(len(batch.group[used].unique()) / 200)
            toy, _ = strategist(recipe, seed, 80, hard=0.7)
            best[name].append(pass_at(toy, 1, np.random.default_rng(seed)))
    wins = sum(a > b for a, b in zip(best["ngrpo"], best["grpo"], strict=True))
    return [
        Finding(
            "more groups of hard problems teach",
            f"share: grpo {spread(shares['grpo'])}, ngrpo {spread(shares['ngrpo'])}",
            paired(shares["ngrpo"], shares["grpo"]),
        ),
        Finding(
            "higher accuracy than grpo",
            f"pass@1: grpo {spread(best['grpo'])}, ngrpo {spread(best['ngrpo'])}; higher in {wins} "
            f"of {len(seeds)} seeds",
            wins == len(seeds),
        ),
    ]


# ---- groups of coins: bnpo, disco


def coins(rates: np.ndarray, size: int, rng: np.random.Generator) -> Batch:
    """A group a rate, its rewards 1 that often."""
    group = np.repeat(np.arange(len(rates)), size)
    correct = (rng.random(len(group)) < rates[group]).astype(float)
    zeros = np.zeros((len(group), 1), np.int64)
    made = rollouts_of(zeros, zeros, zeros - 1.0, {"correct": correct}, group)
    batch = Batch.of(made, torch.ones(len(group), 1, dtype=torch.bool))
    return batch.but(rewards=batch.scores["correct"].unsqueeze(1))


def bnpo() -> list[Finding]:
    """alpha and beta follow a drift of success rates; E[A^2] is the least of three."""
    stages = {
        "reinforce": (CenterByMean(),),
        "grpo": (NormalizeByBeta(alpha=1.5, beta=1.5),),
        "bnpo": (NormalizeByBeta(),),
    }
    shares = {name: [] for name in stages}
    drift: list[tuple[float, float]] = []
    for seed in range(5):
        rng = np.random.default_rng(seed)
        power = dict.fromkeys(stages, 0.0)
        for step in range(20):
            a = 1 + 3 * step / 19
            batch = coins(rng.beta(a, 5 - a, 64), 16, rng)
            for name, advantages in stages.items():
                recipe = GRPO.but(rewards=(WeighScores(),), advantages=advantages)
                toy = Toy(recipe, torch.zeros(1, 2), lr=0.0)
                for stage in advantages:
                    found = stage(batch, toy.run)
                power[name] += float((found.advantages**2).mean()) / 20
            told = toy.run.tally.values
            drift.append((a, told["beta/correct/alpha"] - told["beta/correct/beta"]))
        for name in stages:
            shares[name].append(power[name])
    a, gap = np.array(drift).T
    follows = float(np.corrcoef(a, gap)[0, 1])
    told = ", ".join(f"{name} {spread(values)}" for name, values in shares.items())
    least = paired(shares["grpo"], shares["bnpo"]) and paired(shares["reinforce"], shares["bnpo"])
    return [
        Finding(
            "the fit follows the drift of success rates",
            f"correlation of alpha - beta with the drift {follows:.3f}",
            follows > 0.9,
        ),
        Finding("the least second moment of the three", f"E[A^2]: {told}", least),
    ]


def disco() -> list[Finding]:
    """How hard a prompt's score gap is pushed, by how often it is solved."""
    rng = np.random.default_rng(0)
    pushes: dict[str, list[list[float]]] = {"grpo": [], "disco": []}
    rates = (0.05, 0.125, 0.5)
    exact = PLAIN.but(advantages=(CenterByMean(), ScaleByStd(eps=1e-9)), losses=(Clipped(),))
    basic = DISCO.but(losses=(Discriminate(tau=None),), rewards=(WeighScores(),))
    for rate in rates:
        batch = coins(np.full(4000, rate), 8, rng)
        for name, recipe in (("grpo", exact), ("disco", basic)):
            toy = Toy(recipe, torch.zeros(1, 2), lr=0.0)
            pushes[name].append(_pushes(toy, batch))
    grpo, ours = ([spread(each) for each in pushes[name]] for name in ("grpo", "disco"))
    means = {name: [float(np.mean(each)) for each in pushes[name]] for name in pushes}
    hard = means["grpo"][0] / means["grpo"][2], means["disco"][0] / means["disco"][2]
    told = "; ".join(f"p = {p}: {a}, {b}" for p, a, b in zip(rates, grpo, ours, strict=True))
    return [
        Finding(
            "hard prompts are pushed as hard as others",
            f"grpo, disco-b: {told}; p = 0.05 relative to 0.5: {hard[0]:.2f}, {hard[1]:.2f}",
            hard[1] > hard[0],
        ),
    ]


def _pushes(toy: Toy, batch: Batch) -> list[float]:
    """What each group's right answers are pushed up, were it the only group."""
    from trainers.policy import Live

    for stage in (*toy.recipe.advantages, *toy.recipe.weights):
        batch = stage(batch, toy.run)
    logprobs = torch.zeros_like(batch.weights).requires_grad_()
    live = Live(logprobs, torch.zeros_like(batch.weights), batch.mask)
    cost = (toy.recipe.losses[0](live, batch, toy.run) * batch.weights).sum()
    cost.backward()
    assert logprobs.grad is not None
    up = (-logprobs.grad).clamp(min=0)
    groups = len(batch.group.unique())
    return (batch.peers().sum(up)[:: len(up) // groups, 0] * groups).tolist()


# ---- two rewards of unequal scale: gdpo


def gdpo() -> list[Finding]:
    """A small reward beside a large one: the sum may forget it."""
    ends: dict[str, list[list[float]]] = {"grpo": [], "gdpo": []}
    paid = {"large": 1.0, "small": 1.0}
    for seed in range(5):
        rng = np.random.default_rng(seed)
        large, small = rng.uniform(0, 10, 64), (rng.random(64) < 0.15).astype(float)
        for name, recipe in (("grpo", PLAIN), ("gdpo", GDPO.but(rewards=(WeighScores(),)))):
            toy, draw = Toy(recipe, torch.zeros(1, 64), 0.5, paid), np.random.default_rng(seed)
            for _ in range(300):
                rows = np.zeros((64, 1), np.int64)
                taken, logprobs = toy.draw(rows, draw)
                scores = {"large": large[taken[:, 0]], "small": small[taken[:, 0]]}
                group = np.repeat(np.arange(4), 16)
                toy.learn(rollouts_of(rows, taken, logprobs, scores, group))
            ends[name].append([float(toy.probs[0] @ small), float(toy.probs[0] @ large)])
    told = {n: ", ".join(f"{s:.3f}" for s, _ in each) for n, each in ends.items()}
    worst = {n: min(s for s, _ in each) for n, each in ends.items()}
    return [
        Finding(
            "the small reward is never lost",
            f"its mean at the end by seed: grpo {told['grpo']}; gdpo {told['gdpo']}",
            worst["gdpo"] > 0.9,
        ),
        Finding(
            "where the sum loses it in some seed",
            f"worst: grpo {worst['grpo']:.3f}, gdpo {worst['gdpo']:.3f}",
            worst["grpo"] < 0.5,
        ),
    ]


CLAIMS: dict[str, Callable[[], list[Finding]]] = {
    "unlikely": unlikely,
    "bnpo": bnpo,
    "gdpo": gdpo,
    "ngrpo": ngrpo,
    "tempo": tempo,
    "drpo": drpo,
    "disco": disco,
}
