"""dapo: every group has something to compare, every token counts alike, and good luck may grow.

Idea     Four changes to GRPO for long reasoning. Groups whose answers are all right or all wrong
         teach nothing: leave them out and ask others. Clip less where a step gets likelier, so that
         rare steps may grow. Average over steps, so that long answers are not diluted. Take reward
         from answers near the length limit, softly.
Formula  A_i = (r_i - mean r) / (std r + eps), r_i = score_i - penalty x overlong_i;
         loss = 1/sum_i T_i sum_i sum_t -min(q A_i, clip(q, 1 - low, 1 + high) A_i), q as in grpo;
         overlong_i = 0 up to L - B steps, then (T_i - L + B) / B, 1 at L steps.
         low, high: Clipped. L: max_tokens. B: PenalizeOverlong.share x L. penalty:
         PenalizeOverlong. Rounds of questions a step: RefillFlatGroups.rounds.
Paper    Yu et al. 2025, DAPO, arXiv 2503.14476.
Limits   The paper asks without end; here a step ends after 10 rounds, as in verl, with the groups
         that there are. It pays -1 and 1 and takes up to 1 from long answers; scores from 0 to 1,
         with half of that penalty, have the same advantages. Groups are told flat by their scores,
         before the penalty. TRL's loss type of this name is the mean over steps alone. The paper
         makes 16 updates a step; here it is one, and clipping begins with --set epochs=2.
"""

from trainers.losses import Clipped
from trainers.recipes.grpo import RECIPE as GRPO
from trainers.rewards import PenalizeOverlong
from trainers.rollouts import RefillFlatGroups
from trainers.weights import MeanOverSteps

RECIPE = GRPO.but(
    name="dapo",
    home="ladders/graded",
    paper="arXiv:2503.14476",
    rollouts=(RefillFlatGroups(rounds=10),),
    rewards=(*GRPO.rewards, PenalizeOverlong(share=0.2, penalty=0.5)),
    weights=(MeanOverSteps(),),
    losses=(Clipped(low=0.2, high=0.28),),
)
