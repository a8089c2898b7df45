"""Cheap demonstrations of papers' claims: what was claimed, and what came out here.

    python tests/bench/claims_b.py [--write results/claims_b.md] [RECIPE ...]

Of unlikely, bnpo, gdpo, ngrpo, tempo, drpo and disco, on tables of logits under the recipes' own
stages. A claim that does not come out is told as such.
"""

from __future__ import annotations

import argparse
import math
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from tests.bench.toys import Toy, rollouts_of
from trainers.advantages import CenterByMean, ScaleByStd
from trainers.batch import Batch
from trainers.losses import Clipped, Discriminate
from trainers.recipe import Recipe
from trainers.recipes.bnpo import NormalizeByBeta
from trainers.recipes.disco import RECIPE as DISCO
from trainers.recipes.drpo import RECIPE as DRPO
from trainers.recipes.drpo import PreferShort
from trainers.recipes.gdpo import RECIPE as GDPO
from trainers.recipes.grpo import RECIPE as GRPO
from trainers.recipes.ngrpo import RECIPE as NGRPO
from trainers.recipes.tempo import RECIPE as TEMPO
from trainers.recipes.unlikely import RECIPE as UNLIKELY
from trainers.recipes.unlikely import RewardUnlikely
from trainers.rewards import WeighScores

PLAIN = GRPO.but(
    rewards=(WeighScores(),), advantages=(CenterByMean(), ScaleByStd(eps=1e-6, ddof=1))
)


@dataclass(frozen=True)
class Finding:
    """A claim and what came of it."""

    claim: str
    found: str
    holds: bool


def spread(values: Sequence[float]) -> str:
    """Mean and 95 % interval over seeds, by Student's t."""
    from scipy import stats

    x = np.array(values)
    if len(x) < 2 or x.std() == 0:
        return f"{x.mean():.3f}"
    half = stats.t.ppf(0.975, len(x) - 1) * x.std(ddof=1) / math.sqrt(len(x))
    return f"{x.mean():.3f} [{x.mean() - half:.3f}, {x.mean() + half:.3f}]"


def paired(ones: Sequence[float], others: Sequence[float]) -> bool:
    """Whether every seed has the first above the second."""
    return all(one > other for one, other in zip(ones, others, strict=True))


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
    for seed in range(10):
        rng = np.random.default_rng(seed)
        power = dict.fromkeys(stages, 0.0)
        for step in range(40):
            a = 1 + 3 * step / 39
            batch = coins(rng.beta(a, 5 - a, 64), 64, rng)
            for name, advantages in stages.items():
                recipe = GRPO.but(rewards=(WeighScores(),), advantages=advantages)
                toy = Toy(recipe, torch.zeros(1, 2), lr=0.0)
                for stage in advantages:
                    found = stage(batch, toy.run)
                power[name] += float((found.advantages**2).mean()) / 40
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
    exact = PLAIN.but(advantages=(CenterByMean(), ScaleByStd(eps=0.0)), losses=(Clipped(),))
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


# ---- a lock of four tokens: tempo

WIDE, TURNS = 4, 4
"""Choices a step, steps; steps 0 and 2 must be choice 0, the others do not matter."""


def places(taken: np.ndarray) -> np.ndarray:
    """The row of each step: the number of its prefix."""
    rows = np.zeros_like(taken)
    start, number = 0, np.zeros(len(taken), np.int64)
    for step in range(TURNS):
        rows[:, step] = start + number
        start, number = start + WIDE**step, number * WIDE + taken[:, step]
    return rows


def lock(toy: Toy, size: int, rng: np.random.Generator) -> tuple[np.ndarray, ...]:
    """Rollouts of the lock: rows, choices, log-probabilities, success."""
    taken, logs = np.zeros((size, TURNS), np.int64), np.zeros((size, TURNS))
    for step in range(TURNS):
        rows = places(taken)[:, step]
        taken[:, step], logs[:, step] = toy.draw(rows, rng)
    return places(taken), taken, logs, ((taken[:, 0] == 0) & (taken[:, 2] == 0)).astype(float)


ROWS = sum(WIDE**step for step in range(TURNS))


def tempo() -> list[Finding]:
    """Token credit near the exact one; and how much of the speed is step size."""
    sampled = PLAIN.but(rewards=(WeighScores(),))
    ours = TEMPO.but(rewards=(WeighScores(),))
    found: dict[str, list[float]] = {"grpo": [], "tempo": []}
    idle: dict[str, list[float]] = {"grpo": [], "tempo": []}
    for seed in range(8):
        rng = np.random.default_rng(seed)
        for name, recipe in (("grpo", sampled), ("tempo", ours)):
            credit, exact, rest = [], [], []
            for _ in range(60):
                toy = Toy(recipe, 0.5 * torch.randn(ROWS, WIDE, generator=_seeded(rng)), 0.0)
                rows, taken, logs, won = lock(toy, 16, rng)
                made = rollouts_of(rows, taken, logs, {"correct": won}, np.zeros(16, np.int64))
                batch = toy.learner.batch(made, toy.run)
                given = batch.advantages.expand(16, TURNS).numpy()
                exact += _first_advantage(toy, taken).tolist()
                credit += given[:, 0].tolist()
                size = np.abs(given).mean(0)
                rest.append((size[1] + size[3]) / max(size[0] + size[2], 1e-9))
            found[name].append(float(np.corrcoef(credit, exact)[0, 1]))
            idle[name].append(float(np.mean([x for x in rest if x > 0])))
    speed = {
        "grpo": [_steps_to(sampled, 1.0, seed) for seed in range(8)],
        "tempo": [_steps_to(ours, 1.0, seed) for seed in range(8)],
        "grpo, rate doubled": [_steps_to(sampled, 2.0, seed) for seed in range(8)],
    }
    told = "; ".join(f"{name} {spread(each)}" for name, each in speed.items())
    return [
        Finding(
            "credit of the first token is nearer to the exact one",
            f"correlation: grpo {spread(found['grpo'])}, tempo {spread(found['tempo'])}",
            paired(found["tempo"], found["grpo"]),
        ),
        Finding(
            "irrelevant tokens get less of it",
            f"|A| there / elsewhere: grpo {spread(idle['grpo'])}, tempo {spread(idle['tempo'])}",
            paired(idle["grpo"], idle["tempo"]),
        ),
        Finding(
            "fewer steps to 90 % at the same rate",
            told,
            np.mean(speed["tempo"]) < np.mean(speed["grpo"]),
        ),
        Finding(
            "fewer also than grpo at twice the rate",
            "see above",
            np.mean(speed["tempo"]) < np.mean(speed["grpo, rate doubled"]),
        ),
    ]


def _seeded(rng: np.random.Generator) -> torch.Generator:
    return torch.Generator().manual_seed(int(rng.integers(2**31)))


def _chances(toy: Toy) -> np.ndarray:
    """Chance to win after each first choice."""
    probs = toy.probs
    third = np.array([probs[1 + WIDE + n, 0] for n in range(WIDE**2)]).reshape(WIDE, WIDE)
    after = (probs[1 : 1 + WIDE] * third).sum(1)
    return np.where(np.arange(WIDE) == 0, after, 0.0)


def _first_advantage(toy: Toy, taken: np.ndarray) -> np.ndarray:
    chance = _chances(toy)
    return chance[taken[:, 0]] - float(toy.probs[0] @ chance)


def _steps_to(recipe: Recipe, rate: float, seed: int) -> int:
    """Steps until 90 % of draws win; at most 200."""
    rng = np.random.default_rng(seed)
    toy = Toy(recipe, torch.zeros(ROWS, WIDE), lr=rate * 4)
    for step in range(1, 201):
        rows, taken, logs, won = lock(toy, 64, rng)
        group = np.repeat(np.arange(4), 16)
        toy.learn(rollouts_of(rows, taken, logs, {"correct": won}, group))
        if float(toy.probs[0] @ _chances(toy)) >= 0.9:
            return step
    return 200


# ---- short, middle and long answers: drpo

SHORT, LONG, CHANCES = (
    np.array([20, 60, 90]),
    100,
    np.array([[0.55, 0.75, 0.85], [0.3, 0.6, 0.8], [0.7, 0.8, 0.9]]),
)
"""Lengths, the limit, and the chance of being right by prompt and length."""


@dataclass(frozen=True)
class ToldLength:
    """PreferShort, or a charge on the reward, by a length that a toy tells in its note."""

    inner: object

    def __call__(self, batch: Batch, run: object) -> Batch:
        """Steps are as many as the note says, then one again."""
        steps = torch.tensor([int(r.completion.note) for r in batch.rollouts])
        wide = batch.but(mask=torch.arange(LONG) < steps[:, None])
        return self.inner(wide, run).but(mask=batch.mask)  # type: ignore[operator]


@dataclass(frozen=True)
class ChargeLength:
    """A right answer's reward less weight x T / C, as length penalties have it."""

    weight: float

    def __call__(self, batch: Batch, run: object) -> Batch:
        """By the note's length."""
        part = torch.tensor([[int(r.completion.note) / LONG] for r in batch.rollouts])
        return batch.but(rewards=batch.rewards * (1 - self.weight * part))


def drpo() -> list[Finding]:
    """Accuracy and length for charges on the reward and for sharing among right answers."""
    charged = {
        f"grpo, charge {w}": PLAIN.but(rewards=(WeighScores(), ChargeLength(w)))
        for w in (0.0, 0.1, 0.3)
    }
    shared = {
        f"drpo, lam {lam:g}": DRPO.but(
            rewards=(WeighScores(),),
            advantages=(*DISCO.advantages, ToldLength(PreferShort(lam, LONG))),
        )
        for lam in (1e9, 1.0, 0.5, 0.3)
    }
    ends = {
        name: [_answers(r, seed) for seed in range(6)] for name, r in {**charged, **shared}.items()
    }
    told = "; ".join(
        f"{name}: {spread([a for a, _ in each])} / {np.mean([n for _, n in each]):.1f}"
        for name, each in ends.items()
    )
    mean = {name: np.mean(each, axis=0) for name, each in ends.items()}
    free, half = mean["drpo, lam 1e+09"], mean["drpo, lam 1"]
    never = _signs()
    return [
        Finding(
            "no right answer is pushed down, at any lam",
            f"smallest coefficient of a right answer: {never:.3g}",
            never >= 0,
        ),
        Finding(
            "shorter at no loss of accuracy",
            f"accuracy / length: {told}",
            bool(half[1] < free[1] - 1 and half[0] > free[0] - 0.01),
        ),
    ]


def _answers(recipe: Recipe, seed: int) -> tuple[float, float]:
    """Accuracy and mean length after 400 steps."""
    rng = np.random.default_rng(seed)
    toy = Toy(recipe, torch.zeros(3, 3), lr=0.5)
    group = np.repeat(np.arange(3), 8)
    for _ in range(400):
        rows = group[:, None]
        taken, logs = toy.draw(rows, rng)
        right = (rng.random(len(group)) < CHANCES[group, taken[:, 0]]).astype(float)
        made = rollouts_of(rows, taken, logs, {"correct": right}, group, SHORT[taken[:, 0]])
        toy.learn(made)
    probs = toy.probs
    return float((probs * CHANCES).sum(1).mean()), float((probs @ SHORT).mean())


def _signs() -> float:
    """The smallest coefficient of any right answer over lengths and lam."""
    rng, least = np.random.default_rng(0), np.inf
    for lam in (0.02, 0.1, 1.0, 1e9):
        lengths, right = rng.integers(1, LONG, 400), rng.random(400) < 0.5
        zeros = np.zeros((400, 1), np.int64)
        group = np.repeat(np.arange(50), 8)
        made = rollouts_of(zeros, zeros, zeros * 1.0, {"correct": right * 1.0}, group, lengths)
        recipe = DRPO.but(
            rewards=(WeighScores(),),
            advantages=(*DISCO.advantages, ToldLength(PreferShort(lam, LONG))),
        )
        toy = Toy(recipe, torch.zeros(1, 2), 0.0)
        found = toy.learner.batch(made, toy.run).advantages[:, 0].numpy()
        least = min(least, float(found[right].min()))
    return least


CLAIMS: dict[str, Callable[[], list[Finding]]] = {
    "unlikely": unlikely,
    "bnpo": bnpo,
    "gdpo": gdpo,
    "ngrpo": ngrpo,
    "tempo": tempo,
    "drpo": drpo,
    "disco": disco,
}


def main() -> None:
    """Run those that are asked for; print a table, and write it where asked."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("recipes", nargs="*", metavar="RECIPE", default=[*CLAIMS])
    parser.add_argument("--write", type=Path, metavar="PATH")
    asked = parser.parse_args()
    lines = ["| recipe | claim | what came out | holds |", "|---|---|---|---|"]
    print("\n".join(lines), flush=True)
    for name in asked.recipes:
        started = time.perf_counter()
        for finding in CLAIMS[name]():
            holds = "yes" if finding.holds else "**no**"
            lines.append(f"| {name} | {finding.claim} | {finding.found} | {holds} |")
            print(lines[-1], flush=True)
        print(f"{name}: {time.perf_counter() - started:.0f} s", file=sys.stderr, flush=True)
    if asked.write:
        title = "# Claims of papers, on toys of seconds\n\n"
        asked.write.write_text(title + "\n".join(lines) + "\n", "utf-8")


if __name__ == "__main__":
    main()
