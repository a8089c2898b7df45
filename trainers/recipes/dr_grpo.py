"""dr_grpo: GRPO without its two biases: no division by the group's std, none by a rollout's length.

Idea     Dividing by std favors questions that are nearly always or nearly never solved. Dividing by
         each rollout's length makes long wrong answers cheap, so that they grow. Do neither.
Formula  A_i = r_i - mean r within a group of G rollouts;
         loss = 1/(N L) sum_i sum_t -min(q A_i, clip(q, 1 - low, 1 + high) A_i), q as in grpo,
         N rollouts of all groups, L a constant: MeanOverLength.length.
Paper    Liu et al. 2025, Understanding R1-Zero-Like Training, arXiv 2503.20783.
Limits   L is the recipe's max_tokens, as in the paper's code and in TRL; it scales the gradient
         like the learning rate does, but before it is clipped (optimizer.max_grad_norm). With
         rollouts of one length L and ScaleByStd put back, it is grpo.
"""

from trainers.advantages import CenterByMean
from trainers.recipes.grpo import RECIPE as GRPO
from trainers.weights import MeanOverLength

RECIPE = GRPO.but(
    name="dr_grpo",
    home="ladders/graded",
    paper="arXiv:2503.20783",
    advantages=(CenterByMean(),),
    weights=(MeanOverLength(),),
)
