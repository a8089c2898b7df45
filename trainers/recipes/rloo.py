"""rloo: REINFORCE whose baseline is the mean reward of the other attempts.

Idea     An attempt's own reward in its baseline biases the gradient. Leave it out. An answer is one
         action: its log-probability is the sum over its steps, and nothing is divided by lengths.
Formula  A_i = r_i - 1/(G - 1) sum_{j != i} r_j; s_i = prod_t q_it, q as in grpo;
         loss = mean_i -min(s_i A_i, clip(s_i, 1 - low, 1 + high) A_i), of which the gradient at
         s = 1 is that of REINFORCE: -mean_i A_i sum_t d log pi(o_it).
         low, high: ClippedSequence.
Paper    Ahmadian et al. 2024, Back to Basics, arXiv 2402.14740; Kool et al. 2019.
Limits   The paper takes KL to the reference from the reward; here it is not, as no reference is
         needed for judged answers: --set 'rewards=(WeighScores(), ChargeKL(0.05))' does, in the
         sampler's log-probabilities. Clipping is TRL's and acts from the second epoch on; a product
         of many ratios leaves the range soon. The gradient grows with the length of answers.
"""

from trainers.advantages import CenterByOthers
from trainers.losses import ClippedSequence
from trainers.recipes.grpo import RECIPE as GRPO

RECIPE = GRPO.but(
    name="rloo",
    home="ladders/graded",
    paper="arXiv:2402.14740",
    advantages=(CenterByOthers(),),
    losses=(ClippedSequence(low=0.2, high=0.2, ratio="product"),),
)
