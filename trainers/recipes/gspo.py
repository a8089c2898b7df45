"""gspo: clip whole answers, not tokens: the ratio is the geometric mean of an answer's ratios.

Idea     What is rewarded is an answer, so what is weighed and clipped should be one too. Ratios of
         single tokens are noise, above all in mixtures of experts.
Formula  s_i = exp(1/T_i sum_t log q_it), q as in grpo; A_i as in grpo;
         loss = mean_i -min(s_i A_i, clip(s_i, 1 - low, 1 + high) A_i).
         low, high: ClippedSequence.
Paper    Zheng et al. 2025, Group Sequence Policy Optimization, arXiv 2507.18071.
Limits   The ranges are the paper's, 3e-4 and 4e-4: a geometric mean hardly moves. They matter from
         the second update on the same rollouts on (the paper makes four): --set epochs=4. At ratio
         1 the gradient is that of grpo.
"""

from trainers.losses import ClippedSequence
from trainers.recipes.grpo import RECIPE as GRPO

RECIPE = GRPO.but(
    name="gspo",
    home="ladders/graded",
    paper="arXiv:2507.18071",
    losses=(ClippedSequence(low=3e-4, high=4e-4, ratio="geometric"),),
)
