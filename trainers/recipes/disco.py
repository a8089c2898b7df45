"""disco: rank right answers above wrong ones, without advantages or clipping, under a KL bound.

Idea     GRPO with rewards of 0 and 1 is a gap of scores times sqrt(p (1 - p)), so that questions
         that are nearly always or nearly never solved hardly count, and clipping makes entropy
         fall. Take the gap itself, let the likeliest wrong answers count most, and bound what
         an update may change by a penalty on KL instead of a clip.
Formula  loss = -mean_q J_q + beta / 2 [KL(old || pi) - delta]_+^2, J = mean_+ s - tau log mean_-
         exp(s / tau) over the right (+) and wrong (-) answers of a group, s = mean_t log pi(o_t),
         KL = mean over all steps of log pi_old - log pi. A group without both kinds has J = 0 and
         is counted in the mean. tau, s: Discriminate. delta, beta: KLBarrier.
Paper    Li et al. 2025, DisCO, arXiv 2505.12366.
Limits   DisCO-b, where wrong answers count alike: --set losses.Discriminate.tau=None. L-ratio:
         --set losses.Discriminate.score=ratio losses.Discriminate.tau=1. Right is a verdict of
         `ok`; the code compares the reward with 1 and 0: --set advantages.LabelSuccess.by=reward.
         The paper makes four updates a step on parts of it, here it is two on all of it: the bound
         is felt from the second on, and costs one more review. Its other estimator of KL,
         low_var_kl: --set losses.KLBarrier.estimator=k3. With tau=None, one update and groups that
         all have p right, it is grpo times 1 / sqrt(p (1 - p)).
"""

from trainers.advantages import LabelSuccess
from trainers.losses import Discriminate, KLBarrier
from trainers.recipes.grpo import RECIPE as GRPO
from trainers.weights import MeanOverGroups

RECIPE = GRPO.but(
    name="disco",
    home="ladders/graded",
    paper="arXiv:2505.12366",
    advantages=(LabelSuccess(),),
    weights=(MeanOverGroups(),),
    losses=(Discriminate(tau=10.0), KLBarrier(delta=1e-4, beta=1e3)),
    epochs=2,
    whole_groups=True,
)
