"""info_consistent: reward answers that say much, and as much to every phrasing of a request.

Idea     The group is a set of prompts that mean the same, each in a fresh context. An answer is
         paid for the entropy of its words, and for how little that differs from the entropy of the
         answers to the other prompts.
Formula  H(r) = -sum_v p(v) ln p(v) over the words of r; H_norm = (H - H_min) / (H_max - H_min) over
         the batch; gap_k = mean |H_k - H_l| over answers l to the other prompts of k's set;
         R_k = alpha H_norm + beta (1 - gap_k / MAX_GAP), MAX_GAP the largest gap of the batch;
         A = (R - mean) / (std + eps) over the group that the task declares.
         alpha: PayInformation.helpfulness. beta: PayInformation.stability. MAX_GAP:
         PayInformation.max_gap, in nats; 0 takes it from the batch. eps: ScaleByStd.eps.
Paper    Information-Consistent Language Model Recommendations through GRPO, arXiv 2512.12858.
Limits   Read from a note that quotes both scores: weights (0.5 each), bounds over the batch, and
         more than two prompts a set are inferred. Entropy knows nothing of content: two different
         answers of equal entropy are fully stable, and longer answers say more; look at the task's
         own scores beside it. With MAX_GAP from the batch the widest gap is never paid; a fixed
         one, ln of the vocabulary, saturates. Its task puts a set into one group.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from harness.similarity import entropy, tokens
from harness.types import Rollout
from trainers.advantages import CenterByMean, ScaleByStd
from trainers.batch import Batch
from trainers.losses import Clipped, KLToReference
from trainers.recipe import Run
from trainers.recipes.grpo import RECIPE as GRPO
from trainers.samplers import Uniform
from trainers.schedules import Number, at


@dataclass(frozen=True)
class PayInformation:
    """Rewards of entropy and of its stability over the prompts of a set, instead of any before."""

    helpfulness: Number = 0.5
    """Weight of the normalized entropy."""
    stability: Number = 0.5
    """Weight of 1 - gap / MAX_GAP."""
    max_gap: Number = 0.0
    """MAX_GAP in nats; 0: the largest gap of the batch."""

    def __call__(self, batch: Batch, run: Run) -> Batch:
        """Rewards (N, 1)."""
        said = np.array([words_entropy(rollout) for rollout in batch.rollouts])
        gaps = set_gaps(batch.rollouts, said)
        spread = float(np.ptp(said)) if len(said) else 0.0
        helpful = (said - said.min(initial=np.inf)) / spread if spread > 0 else np.zeros(len(said))
        widest = at(self.max_gap, run) or float(gaps.max(initial=0.0))
        stable = 1 - np.minimum(gaps / widest, 1.0) if widest > 0 else np.ones(len(said))
        run.tally.put("information/entropy", float(said.mean()))
        run.tally.put("information/gap", float(gaps.mean()))
        paid = at(self.helpfulness, run) * helpful + at(self.stability, run) * stable
        return batch.but(rewards=batch.rewards.new_tensor(paid.tolist()).unsqueeze(1))


def words_entropy(rollout: Rollout) -> float:
    """H(r) in nats, of the words of what was said; 0 for nothing."""
    output = rollout.completion.output
    return entropy(tokens(output)) if isinstance(output, str) else 0.0


def set_gaps(rollouts: Sequence[Rollout], said: np.ndarray) -> np.ndarray:
    """(N,) mean distance of each entropy from those of the set's other prompts; 0 for one alone."""
    gaps = np.zeros(len(rollouts))
    sets: dict[str, list[int]] = {}
    for row, rollout in enumerate(rollouts):
        if rollout.set:
            sets.setdefault(rollout.set, []).append(row)
    for rows in sets.values():
        ids = np.array([rollouts[row].example.id for row in rows])
        apart = np.abs(said[rows][:, None] - said[rows])
        apart[ids[:, None] == ids] = 0.0
        others = (ids[:, None] != ids).sum(1)
        gaps[rows] = apart.sum(1) / np.maximum(others, 1)
    return gaps


RECIPE = GRPO.but(
    name="info_consistent",
    home="recommend/phrasing",
    paper="arXiv:2512.12858",
    samplers=Uniform(prompts=12, rollouts=2),  # two sets of six phrasings
    rewards=(PayInformation(),),
    advantages=(CenterByMean(), ScaleByStd(eps=1e-6, ddof=1)),
    losses=(Clipped(low=0.2, high=0.2), KLToReference(beta=0.04)),
)
