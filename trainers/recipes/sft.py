"""sft: imitate the task's own answers, before or instead of learning from attempts.

Idea     The gold output of every example is spelled in the policy's own steps and made likelier:
         next-token cross-entropy for text, the Gaussian likelihood of what was observed for
         forecasts. No attempt is sampled.
Formula  loss = -sum_it log pi(o_it | x_i) / sum_i T_i over the steps of a batch's gold outputs.
Paper    None: maximum likelihood.
Limits   Steps that the gold output leaves open (a lead without observation) count nowhere. Rewards
         are those of gold and say nothing of the policy: watch the dev score.
"""

from trainers.advantages import CreditAll
from trainers.losses import Reinforce
from trainers.recipe import AdamW, Recipe
from trainers.rewards import WeighScores
from trainers.rollouts import AnswerWithGold
from trainers.samplers import Uniform
from trainers.weights import MeanOverSteps

RECIPE = Recipe(
    name="sft",
    home="mathqa/arith1",
    samplers=Uniform(prompts=32, rollouts=1),
    rollouts=(AnswerWithGold(),),
    rewards=(WeighScores(),),
    advantages=(CreditAll(),),
    weights=(MeanOverSteps(),),
    losses=(Reinforce(),),
    optimizer=AdamW(lr=1e-5, weight_decay=0.01),
)
