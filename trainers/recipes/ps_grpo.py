"""ps_grpo: reward answers that agree with the answers to other phrasings of the same question.

Idea     A set is one question in n phrasings, asked g times each. An attempt is paid for how alike
         its answer is to the answers to the other phrasings, and for being right; it is credited
         within its own phrasing, so that no phrasing gains for being easy.
Formula  r_ij = alpha x 1/(kappa s) sum over u in K_ij, m in M_u of sim(o_ij, o_um) + gamma f1_ij,
         K_ij: kappa phrasings drawn from those that are not i, M_u: s answers drawn from u's g.
         A_ij = (r_ij - mean_i) / (std_i + eps), over the g attempts at phrasing i.
         alpha: PayAgreement.weight. gamma: WeighScores, the task's reward. sim:
         PayAgreement.similarity. kappa, s: PayAgreement.phrasings and .rollouts; None takes all,
         which is the exact reward, of which the drawn one is an unbiased estimate.
Paper    Improving Consistency in Retrieval-Augmented Systems with Group Similarity Rewards,
         arXiv 2510.04392.
Limits   Read from notes on the paper; no code is public. alpha, gamma and beta are not told there:
         1, 1 and 0.04 here. Without gamma (--set rewards.WeighScores.scores={}) no label is
         needed, and a wrong answer of the majority is learned as well as a right one. With gamma it
         is so too while hardly any attempt is right, as where a form has to be found first: let
         agreement pay later, from the eleventh step by
         --set "rewards.PayAgreement.weight=Stairs(0,0.5,10,0.5)". Where all phrasings are shown
         what they need, being right is agreeing, and grpo does as well. The paper's best similarity
         is BLEU-2, one way, here over texts as they were read, where orders that a text is too
         short for are left out; for answers of one word take token_f1. Where examples are no sets
         it is grpo with KL.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, TypeVar

import numpy as np

from harness.errors import UsageError
from harness.models import row_seed
from harness.similarity import ONE_WAY, SIMILARITIES, agreement, like
from harness.types import Rollout
from trainers.batch import Batch
from trainers.losses import Clipped, KLToReference
from trainers.recipe import Run
from trainers.recipes.grpo import RECIPE as GRPO
from trainers.rewards import WeighScores
from trainers.samplers import Uniform
from trainers.schedules import Number, at

Item = TypeVar("Item")
Lexical = Literal["exact", "token_f1", "bleu1", "bleu2", "bleu4", "rouge_l"]
OneWay = Literal["bleu1_one_way", "bleu2_one_way"]


KNOWN = {**SIMILARITIES, **ONE_WAY}


@dataclass(frozen=True)
class PayAgreement:
    """Add weight x the mean similarity with answers to other examples of the set; alone: 0."""

    weight: Number = 1.0
    similarity: Lexical | OneWay = "bleu2_one_way"
    phrasings: int | None = 3
    """kappa: other examples that an answer is compared with; None or too many: all of them."""
    rollouts: int | None = 1
    """s: answers to each of them; None or too many: all of them."""

    def __post_init__(self) -> None:
        if any(count is not None and count < 1 for count in (self.phrasings, self.rollouts)):
            raise UsageError(f"{self!r}: an answer is compared with 1 other at least")

    def __call__(self, batch: Batch, run: Run) -> Batch:
        """Rewards (N, 1) with what agreement pays."""
        sets: dict[str, dict[str, list[int]]] = {}
        for row, rollout in enumerate(batch.rollouts):
            members = sets.setdefault(rollout.set or rollout.example.id, {})
            members.setdefault(rollout.example.id, []).append(row)
        paid = [0.0] * len(batch.rollouts)
        compared = 0
        for members in sets.values():
            for row, value, count in self._of_set(members, batch.rollouts, run):
                paid[row] = value
                compared += count
        run.tally.put("agreement", float(np.mean(paid)))
        run.tally.put("agreement/comparisons", compared)
        added = batch.rewards.new_tensor(paid).unsqueeze(1) * at(self.weight, run)
        return batch.but(rewards=batch.rewards + added)

    def _of_set(
        self, members: Mapping[str, Sequence[int]], rollouts: Sequence[Rollout], run: Run
    ) -> list[tuple[int, float, int]]:
        """Row, agreement and number of comparisons of each rollout of a set."""
        # numbered by attempt: the order of a batch decides nothing
        order = [
            sorted(members[id], key=lambda row: rollouts[row].attempt) for id in sorted(members)
        ]
        if self.phrasings is None and self.rollouts is None:
            exact = agreement(
                [[_said(rollouts[row]) for row in rows] for rows in order],
                KNOWN[self.similarity],
            )
            others = sum(map(len, order))
            return [
                (row, value, others - len(rows))
                for rows, values in zip(order, exact, strict=True)
                for row, value in zip(rows, values, strict=True)
            ]
        return [
            (row, *self._drawn(row, [other for other in order if other is not rows], rollouts, run))
            for rows in order
            for row in rows
        ]

    def _drawn(
        self, row: int, others: Sequence[Sequence[int]], rollouts: Sequence[Rollout], run: Run
    ) -> tuple[float, int]:
        """Agreement with answers drawn for this attempt alone, and how many they are."""
        if not others:
            return 0.0, 0
        told = row_seed(run.step, rollouts[row].prompt.but(attempt=rollouts[row].attempt))
        rng = np.random.default_rng((run.seed, *told))
        means: list[float] = []
        compared = 0
        for other in _some(others, self.phrasings, rng):
            drawn = _some(other, self.rollouts, rng)
            similarity = KNOWN[self.similarity]
            found = [like(_said(rollouts[row]), _said(rollouts[m]), similarity) for m in drawn]
            means.append(sum(found) / len(found))
            compared += len(found)
        return sum(means) / len(means), compared


def _some(items: Sequence[Item], count: int | None, rng: np.random.Generator) -> list[Item]:
    """So many of the items, without replacement; all of them where there are no more."""
    if count is None or count >= len(items):
        return list(items)
    return [items[number] for number in rng.choice(len(items), count, replace=False)]


def _said(rollout: Rollout) -> str | None:
    answer = rollout.verdict.answer
    return None if answer is None else str(answer)


RECIPE = GRPO.but(
    name="ps_grpo",
    home="ragqa/paraphrase",
    paper="arXiv:2510.04392",
    samplers=Uniform(prompts=12, rollouts=4),  # two sets of six phrasings
    rewards=(WeighScores(), PayAgreement()),
    losses=(Clipped(low=0.2, high=0.2), KLToReference(beta=0.04)),
)
