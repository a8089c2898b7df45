"""grpo: learn from how each attempt compares with the other attempts at the same prompt.

Idea     Ask every prompt several times, judge the answers, and make those likelier that did better
         than their group, the others less likely. The group's mean stands in for a critic.
Formula  A_i = (r_i - mean r) / (std r + eps) within a group of G rollouts;
         loss = mean_i 1/T_i sum_t [-min(q A_i, clip(q, 1 - low, 1 + high) A_i) + beta KL_it],
         q = pi(o_it) / pi_old(o_it), KL_it = e^d - d - 1, d = log pi_ref(o_it) - log pi(o_it).
         G: samplers.rollouts. eps: ScaleByStd.eps. low, high: Clipped. beta: KLToReference.beta.
Paper    Shao et al. 2024, DeepSeekMath, arXiv 2402.03300.
Limits   The paper has beta = 0.04; here it is 0 as in most later work and in TRL, since judged
         answers need no leash: --set losses.KLToReference.beta=0.04 gives the paper's. Std is of
         the population; TRL and verl take the sample's: --set advantages.ScaleByStd.ddof=1. TRL
         moreover multiplies its KL with q: --set losses.KLToReference.corrected=true. A group
         whose rewards are all the same teaches nothing and is counted. On-policy, with one epoch,
         q = 1 and the printed loss is near 0 whatever is learned.
"""

from trainers.advantages import CenterByMean, ScaleByStd
from trainers.losses import Clipped, KLToReference
from trainers.recipe import Recipe
from trainers.rewards import WeighScores
from trainers.samplers import Uniform
from trainers.weights import MeanOverRollouts

RECIPE = Recipe(
    name="grpo",
    home="ladders/graded",
    paper="arXiv:2402.03300",
    samplers=Uniform(prompts=8, rollouts=8),
    rewards=(WeighScores(),),
    advantages=(CenterByMean(), ScaleByStd()),
    weights=(MeanOverRollouts(),),
    losses=(Clipped(low=0.2, high=0.2), KLToReference(beta=0.0)),
)
