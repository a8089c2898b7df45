"""spo: one attempt a prompt, compared with what that prompt was worth before, not with siblings.

Idea     Groups waste attempts on prompts whose answers are all alike, and wait for their slowest
         member. Keep a running value of every prompt instead, a Beta belief that forgets faster
         the more the policy has moved; ask uncertain prompts more often.
Formula  v_x = alpha_x / (alpha_x + beta_x); prompts drawn without replacement by
         sqrt(v_x (1 - v_x)) + 0.05; A_x = (r_x - v_x - mean) / (std + eps), mean and std (ddof 1)
         of r - v over the batch; loss as in grpo. After the weights moved: D_x = mean_t
         |log pi_then - log pi_now| of the answer to x that was stored last (0 at first),
         rho_x = clip(2^(-D_x / 0.06), 0.875, 0.96), alpha_x <- rho_x alpha_x + r_x,
         beta_x <- rho_x beta_x + 1 - r_x. Terms: ByUncertainty, TrackValue, NormalizeOverBatch.
Paper    Single-stream Policy Optimization, ICLR 2026, arXiv 2509.13232; code:
         verl-project/verl-recipe.
Limits   The paper first asks every prompt 8 times: --set rollouts.EstimateOffline.rollouts=8 does
         so before the first step; otherwise alpha = beta = 0.5. It makes 8 updates on 1024
         prompts; here it is one on 64, fewer than 16 are too noisy to normalize, and PPO's second
         clip at 10 is left out. Rewards lie in [0, 1]. Several attempts of one step at a prompt
         count one after another. Every step reviews the stored answers once more. Where all values
         are the same it is grpo with the batch as its only group.
"""

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from harness.codec import decode, encode
from harness.errors import UsageError
from harness.play import whole_sets
from harness.types import Example, Prompt, Rollout, Verdict
from trainers.batch import Batch
from trainers.losses import Clipped, KLToReference
from trainers.recipe import Attempt, Run
from trainers.recipes.grpo import RECIPE as GRPO
from trainers.rewards import totals
from trainers.rollouts import paid
from trainers.schedules import Number, whole


def belief(asked: Example | Rollout, run: Run) -> dict[str, Any]:
    """alpha and beta of an example, and the answer that was stored last."""
    id = asked.id if isinstance(asked, Example) else asked.example.id
    return run.memory.get("spo", {}).get(id, {"alpha": 0.5, "beta": 0.5, "answer": None})


def value(asked: Example | Rollout, run: Run) -> float:
    """Expected reward of an example, in (0, 1)."""
    held = belief(asked, run)
    return held["alpha"] / (held["alpha"] + held["beta"])


@dataclass(frozen=True)
class ByUncertainty:
    """Examples drawn without replacement, the more likely the less is known of their reward.

    An example that is drawn brings its set, where a task has sets: a step asks whole ones alone.
    """

    prompts: Number = 64
    """Examples in a step; of sets with more, one set."""
    floor: float = 0.05
    """Added to the standard deviation of the belief's mean."""

    def __call__(self, examples: Sequence[Example], run: Run) -> list[Prompt]:
        """One attempt each; where more are asked for than there are examples, all come again."""
        values = np.array([value(example, run) for example in examples])
        run.tally.put("value/mean", values.mean())
        rounds, more = divmod(whole(self.prompts, run), len(examples))
        often = Counter([*range(len(examples))] * rounds)
        for members in self._drawn(examples, values, more, run):
            if often and len(members) > more:
                break
            often.update(members)
            more -= len(members)
        return [run.task.prompt(examples[n]).but(rollouts=k) for n, k in often.items()]

    def _drawn(
        self, examples: Sequence[Example], values: NDArray[np.float64], count: int, run: Run
    ) -> list[list[int]]:
        """So many sets, or all, as numbers of their examples; drawn by the chances of these."""
        places = {example.id: number for number, example in enumerate(examples)}
        sets = [[places[e.id] for e in members] for members in whole_sets(run.task, examples)]
        chances = self.chances(values)
        likely = np.array([chances[members].sum() for members in sets])
        drawn = run.rng.choice(len(sets), min(count, len(sets)), replace=False, p=likely)
        return [sets[number] for number in drawn.tolist()]

    def chances(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """Of the first draw, by expected reward."""
        weights = np.sqrt(values * (1 - values)) + self.floor
        return weights / weights.sum()


@dataclass(frozen=True)
class EstimateOffline:
    """Before the first step, ask every example so many times to know what it is worth."""

    rollouts: int = 0
    """The paper has 8; 0 leaves it out."""
    memory: int = 8
    """Attempts that the estimate counts as, 1 / (1 - least rho)."""

    def __call__(self, prompts: Sequence[Prompt], play: Attempt, run: Run) -> list[Rollout]:
        """The attempts of the step, its prompts chosen anew once values are known."""
        if not self.rollouts or "spo" in run.memory:
            return play(prompts)
        found = play([run.task.prompt(e).but(rollouts=self.rollouts) for e in run.examples])
        rewards: dict[str, list[float]] = {}
        for rollout, reward in zip(found, paid(found, run), strict=True):
            rewards.setdefault(rollout.example.id, []).append(_unit(reward))
        run.memory["spo"] = {
            id: {
                "alpha": self.memory * (sum(each) + 0.5) / (len(each) + 1),
                "beta": self.memory * (len(each) - sum(each) + 0.5) / (len(each) + 1),
                "answer": None,
            }
            for id, each in rewards.items()
        }
        again = run.recipe.samplers(run.examples, run)
        return play([prompt.but(attempt=prompt.attempt + self.rollouts) for prompt in again])


@dataclass(frozen=True)
class CenterByTrackedValue:
    """A_i = r_i - v of its prompt, the value from before this step."""

    def __call__(self, batch: Batch, run: Run) -> Batch:
        """Advantages (N, 1); UsageError where a reward is outside [0, 1]."""
        gaps = [
            [_unit(reward) - value(rollout, run)]
            for rollout, reward in zip(batch.rollouts, totals(batch), strict=True)
        ]
        run.tally.put("value/error", sum(abs(gap) for (gap,) in gaps) / max(len(gaps), 1))
        return batch.but(advantages=batch.rewards.new_tensor(gaps))


@dataclass(frozen=True)
class NormalizeOverBatch:
    """(A_i - mean A) / (std A + eps) over the rollouts of a batch, std of the sample."""

    eps: float = 1e-8

    def __call__(self, batch: Batch, run: Run) -> Batch:
        """A rollout counts once, however long; 0 where it is the only one."""
        peers = batch.peers(torch.zeros_like(batch.group))
        centered = batch.advantages - peers.mean(batch.advantages)
        return batch.but(advantages=centered / (peers.std(batch.advantages, 1) + self.eps))


@dataclass(frozen=True)
class TrackValue:
    """Bring the rewards of a step into the values, which forget as far as the policy moved."""

    halving: float = 0.06
    """Nats a step of an answer at which half would be forgotten."""
    least: float = 0.875
    most: float = 0.96

    def __call__(self, batch: Batch, run: Run) -> Batch:
        """The batch as it is."""
        beliefs = run.memory.setdefault("spo", {})
        moved, rewards = self._moved(batch, run), totals(batch)
        for row in sorted(range(len(rewards)), key=lambda row: batch.rollouts[row].attempt):
            rollout, reward = batch.rollouts[row], _unit(rewards[row])
            held, rho = belief(rollout, run), self.rho(moved.pop(rollout.example.id, 0.0))
            beliefs[rollout.example.id] = {
                "alpha": rho * held["alpha"] + reward,
                "beta": rho * held["beta"] + 1 - reward,
                "answer": json.dumps(encode(_lean(rollout))),
                "logprobs": batch.old_logprobs[row, batch.mask[row]].float().cpu().numpy(),
            }
        return batch

    def rho(self, distance: float) -> float:
        """What is kept of a belief when the policy has moved so many nats a step."""
        return min(max(2 ** (-distance / self.halving), self.least), self.most)

    def _moved(self, batch: Batch, run: Run) -> dict[str, float]:
        """D of every prompt of which an answer is stored."""
        known = {r.example.id: (r.example, belief(r, run)) for r in batch.rollouts}
        known = {id: (example, held) for id, (example, held) in known.items() if held["answer"]}
        answers = [decode(json.loads(held["answer"]), example) for example, held in known.values()]
        if not answers:
            return {}
        with torch.no_grad():
            live = run.policies[answers[0].role].review(answers)
        distances = [
            np.abs(held["logprobs"] - live.logprobs[row, live.mask[row]].cpu().numpy())
            for row, (_, held) in enumerate(known.values())
        ]
        return {id: float(d.mean()) for id, d in zip(known, distances, strict=True) if len(d)}


def _lean(rollout: Rollout) -> Rollout:
    """What a review needs of it."""
    turns = ((asked, replace(said, logprobs=None, pieces=())) for asked, said in rollout.turns)
    return replace(rollout, turns=tuple(turns), verdict=Verdict({}), seconds=0.0)


def _unit(reward: float) -> float:
    if not -1e-6 <= reward <= 1 + 1e-6:
        raise UsageError(
            f"a value is tracked of rewards from 0 to 1, and one is {reward}; pay a single score, "
            """as in --set 'rewards=(WeighScores({"correct": 1.0}),)'"""
        )
    return min(max(reward, 0.0), 1.0)


RECIPE = GRPO.but(
    name="spo",
    home="ladders/graded",
    paper="arXiv:2509.13232",
    samplers=ByUncertainty(prompts=64),
    rollouts=(EstimateOffline(rollouts=0),),
    advantages=(CenterByTrackedValue(), NormalizeOverBatch()),
    losses=(Clipped(low=0.2, high=0.28), KLToReference(beta=0.0)),
    updates=(TrackValue(),),
)
