"""Claims about single steps and about lengths: tempo on a lock of four tokens, drpo on lengths.

Run by `claims.py`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from tests.bench.toys import PLAIN, Finding, Toy, paired, rollouts_of, spread
from trainers.batch import Batch
from trainers.recipe import Recipe
from trainers.recipes.disco import RECIPE as DISCO
from trainers.recipes.drpo import RECIPE as DRPO
from trainers.recipes.drpo import PreferShort
from trainers.recipes.tempo import RECIPE as TEMPO
from trainers.rewards import WeighScores

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
            f"mean size of A there to elsewhere: grpo {spread(idle['grpo'])}, "
            f"tempo {spread(idle['tempo'])}",
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
