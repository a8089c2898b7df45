"""cispo: a capped ratio weighs each token's gradient, and no token is ever clipped away.

Idea     PPO's clip drops the gradient of tokens that moved much, and those are the rare words at
         which reasoning turns. Cap the importance weight instead, and stop its gradient.
Formula  loss = 1/sum_i T_i sum_i sum_t -sg(clip(q, floor, cap)) A_i log pi(o_it), q and A_i as in
         grpo; sg: no gradient. floor, cap: CappedReinforce.
Paper    MiniMax 2025, MiniMax-M1, arXiv 2506.13585.
Limits   The paper has no lower bound and tunes the upper one without telling it; 5 is the cap of
         ScaleRL (arXiv 2510.13786), as in TRL, whose epsilon_high is the cap itself, not cap - 1.
         On-policy the gradient is that of grpo with MeanOverSteps. The printed loss is a weighted
         sum of log-probabilities, and not near 0.
"""

from trainers.losses import CappedReinforce
from trainers.recipes.grpo import RECIPE as GRPO
from trainers.weights import MeanOverSteps

RECIPE = GRPO.but(
    name="cispo",
    home="ladders/graded",
    paper="arXiv:2506.13585",
    weights=(MeanOverSteps(),),
    losses=(CappedReinforce(floor=0.0, cap=5.0),),
)
