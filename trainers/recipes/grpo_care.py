"""grpo_care: a bonus for right answers that their own reasoning makes likely, told by a slow twin.

Idea     Of several right attempts, prefer those whose reasoning leads to the answer: a copy of the
         policy that follows it slowly reads question and reasoning, and says how likely the answer
         then is. What beats the mean of the right attempts of its group is paid more.
Formula  c_i = min(exp(mean of log pi_ref(o_it | question, o_i<t) over the answer's steps), cap);
         H = {i: a_i > least, a_i >= mean a of the group}, mu = mean of c over H;
         r_i + weight a_i where i in H and c_i >= mu - margin; A = (r - mean) / (std + eps), std of
         the sample; after every 10th step theta_ref <- 0.995 theta_ref + 0.005 theta.
         a: the score PayConfidence.accuracy. 10, 0.995: FollowSlowly.every, .decay.
Paper    Chen et al. 2025, GRPO-CARE, arXiv 2506.16141; code: TencentARC/GRPO-CARE.
Limits   The code takes H and mu over a device, which holds one prompt; here they are the group's.
         The answer's steps are those between the last <answer> and </answer>; without the tag there
         is no bonus, and opening="" takes the whole reply. What else is paid is the task's reward;
         the paper's is a + form. Margin 0.01 is the paper's for general videos. It draws with
         top_p=0.95. No KL, and with one update a batch nothing is ever clipped. The twin holds
         what learns, all weights or those of an adapter; buffers, which never learn, are shared.
         It is saved with each checkpoint, and takes the place of the weights while it reads, which
         weights that are spread over cards do not allow.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from harness.errors import UnknownName, UsageError
from harness.types import Rollout
from trainers.advantages import CenterByMean, ScaleByStd
from trainers.batch import Batch
from trainers.losses import Clipped
from trainers.policy import Policy
from trainers.recipe import AdamW, Run
from trainers.recipes.grpo import RECIPE as GRPO
from trainers.schedules import Number, at
from trainers.shards import any_shard

NEAR = 1e-6
"""Confidences that differ by less are the same: the last bits depend on what is read together."""


@dataclass(frozen=True)
class PayConfidence:
    """r + weight x accuracy where the slow reference is as sure of a right answer as of others."""

    weight: Number = 0.5
    accuracy: str = "correct"
    least: float = 0.1
    """Accuracy that is not above this is never paid more."""
    margin: Number = 0.0
    cap: float = 0.95
    """Surer is not better: else what is certain anyway would always win."""
    opening: str = "<answer>"
    closing: str = "</answer>"

    def __call__(self, batch: Batch, run: Run) -> Batch:
        """Rewards (N, 1) with the bonus; UnknownName where no verdict has the score."""
        if self.accuracy not in batch.scores:
            raise UnknownName(self.accuracy, "the scores of this task", batch.scores)
        accuracy = batch.scores[self.accuracy].unsqueeze(1).nan_to_num(0.0)
        answers = self._answers(batch)
        right = (accuracy > self.least) & (accuracy >= batch.peers().mean(accuracy))
        chosen = right & answers.any(1, keepdim=True)
        rows = chosen[:, 0].nonzero()[:, 0]
        sure = self._confidence(batch.take(rows), answers[rows], run).clamp(max=self.cap)
        mean = batch.peers(batch.group[rows]).mean(sure)
        paid = accuracy[rows] * (sure >= mean - at(self.margin, run) - NEAR)
        bonus = torch.zeros_like(accuracy).index_copy(0, rows, at(self.weight, run) * paid)
        run.tally.put("confidence/bonus", bonus.mean().item())
        run.tally.put("confidence/no_answer", float((right & ~chosen).sum()))
        if len(rows):
            run.tally.put("confidence/mean", sure.mean().item())
        return batch.but(rewards=batch.rewards + bonus)

    def _answers(self, batch: Batch) -> Bool[Tensor, "N T"]:
        """Which steps say the answer."""
        table = torch.zeros_like(batch.mask)
        for row, rollout in enumerate(batch.rollouts):
            first, last = self._span(rollout)
            table[row, first:last] = True
        return table & batch.mask

    def _span(self, rollout: Rollout) -> tuple[int, int]:
        """Steps of the last turn from which to before which it says its answer; (0, 0): nowhere."""
        pieces = rollout.completion.pieces
        text = "".join(pieces)
        begins = text.rfind(self.opening) + len(self.opening) if self.opening else 0
        if self.opening not in text:
            return 0, 0
        ends = text.find(self.closing, begins) if self.closing else -1
        ends = len(text) if ends < 0 else ends
        before, place, inside = rollout.steps - len(pieces), 0, list[int]()
        for number, piece in enumerate(pieces):
            if place < ends and place + len(piece) > begins and piece:
                inside.append(before + number)
            place += len(piece)
        return (inside[0], inside[-1] + 1) if inside else (0, 0)

    def _confidence(
        self, batch: Batch, answers: Bool[Tensor, "n T"], run: Run
    ) -> Float[Tensor, "n 1"]:
        """Geometric mean probability of the steps of each answer, under the slow reference."""
        with slow_reference(run) as reference, torch.no_grad():
            if not len(batch.rollouts):
                return batch.rewards.new_zeros((0, 1))
            logprobs = reference.review(batch.rollouts, temperature=1.0).logprobs
        answers = answers[:, : logprobs.shape[1]]
        return mean_probability(logprobs, answers)


def mean_probability(
    logprobs: Float[Tensor, "n T"], where: Bool[Tensor, "n T"]
) -> Float[Tensor, "n 1"]:
    """exp of the mean log-probability of some steps."""
    total = torch.where(where, logprobs, 0.0).sum(1, keepdim=True)
    return (total / where.sum(1, keepdim=True).clamp(min=1)).exp()


def slow_weights(run: Run) -> list[Tensor]:
    """Of the reference, in the order of the solver's parameters; those as they are at first."""
    weights = run.policies["solver"].parameters()
    if any_shard(weights):
        raise UsageError(
            "the slow reference takes the place of the weights, and these are spread over several "
            "processes; train with --sharding none, or only an adapter (--lora 16)"
        )
    made = run.memory.get("slow_reference")
    if made is None:
        made = {"weights": [weight.detach().clone() for weight in weights]}
        run.memory["slow_reference"] = made
    return made["weights"]


@contextmanager
def slow_reference(run: Run) -> Iterator[Policy]:
    """The solver with the slow weights in the place of its own."""
    policy, slow = run.policies["solver"], slow_weights(run)
    weights = policy.parameters()
    own = [weight.data for weight in weights]
    try:
        for weight, other in zip(weights, slow, strict=True):
            weight.data = other
        yield policy
    finally:
        for weight, other in zip(weights, own, strict=True):
            weight.data = other


@dataclass(frozen=True)
class FollowSlowly:
    """After every so many steps the slow reference goes a little towards the policy."""

    every: int = 10
    """0: it stays the policy before its first step."""
    decay: float = 0.995

    def __call__(self, batch: Batch, run: Run) -> Batch:
        """The batch as it is."""
        if self.every and (run.step + 1) % self.every == 0:
            pairs = zip(slow_weights(run), run.policies["solver"].parameters(), strict=True)
            for slow, weight in pairs:
                slow.lerp_(weight.detach(), 1 - self.decay)
        return batch


RECIPE = GRPO.but(
    name="grpo_care",
    home="spatial/scenes_pair",
    paper="arXiv:2506.16141",
    rewards=(*GRPO.rewards, PayConfidence()),
    advantages=(CenterByMean(), ScaleByStd(eps=1e-4, ddof=1)),
    losses=(Clipped(low=0.2, high=0.2),),
    updates=(FollowSlowly(),),
    optimizer=AdamW(lr=1e-6, max_grad_norm=5.0),
)
