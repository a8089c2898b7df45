"""drpo: shorter right answers count more among the right ones, and no right answer is pushed down.

Idea     A length penalty in the reward can put a right but long answer below its group's mean, and
         then teaches that it was wrong. Let length decide only how the right answers share their
         reward, and let the wrong ones stand apart.
Formula  loss = -mean_q J_q + the KL bound of disco, J = mean_+ w s - tau log mean_- exp(s / tau),
         w_i = exp(l_i / lam) / mean_+ exp(l / lam), l_i = 1 - T_i / C, s as in disco.
         lam, C: PreferShort. tau: Discriminate.
Paper    Li et al. 2025, DRPO, arXiv 2510.04474.
Limits   C is the longest answer that the recipe allows, its max_tokens; the code takes the padded
         width unless told otherwise. lam -> infinity is disco. Right is a verdict of `ok`, whatever
         else the task pays: see disco. The printed loss is -J; the code prints another number, of
         the same gradient.
"""

from dataclasses import dataclass

from trainers.batch import Batch
from trainers.recipe import Run
from trainers.recipes.disco import RECIPE as DISCO
from trainers.schedules import Number, at


@dataclass(frozen=True)
class PreferShort:
    """Right rollouts of a group share their advantages by exp((1 - T / C) / lam); same sum."""

    lam: Number = 0.1
    length: Number | None = None
    """C. None: the most that the recipe lets a rollout say, its `max_tokens`."""

    def __call__(self, batch: Batch, run: Run) -> Batch:
        """Wrong rollouts keep theirs. The largest exponent is taken off before exp."""
        most = at(run.recipe.max_tokens if self.length is None else self.length, run)
        short = 1 - batch.mask.sum(1, keepdim=True).double() / most
        right = batch.advantages.double().clamp(min=0)
        log = right.log() + short / at(self.lam, run)  # -inf: not right, no share
        peers = batch.peers()
        share = (log - peers.logsumexp(log)).exp() * peers.sum(right)
        return batch.but(advantages=batch.advantages.clamp(max=0) + share.float())


RECIPE = DISCO.but(
    name="drpo",
    home="ladders/wordy",
    paper="arXiv:2510.04474",
    advantages=(*DISCO.advantages, PreferShort(lam=0.1)),
)
