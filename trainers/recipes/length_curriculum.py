"""length_curriculum: think at length first, then be paid for ever shorter answers.

Idea     A tight limit from the start keeps a model from finding out how to solve anything. Pay for
         answers of about a budget of tokens, and let the budget fall in steps while training.
Formula  r' = r + weight R(T), R = T / B up to B, then 1 - (T - B) / B, 0 above 2 B (triangle), or
         1 up to B and then the same (band); B = S_0 d^k after k of n drops, d = (S_n / S_0)^(1/n),
         one drop every steps / (n + 1). A = (r' - mean) / std. weight, shape: PayLength. S_0, S_n
         in parts of max_tokens, n: Budget.
Paper    Hammoud et al. 2025, Train Long, Think Short, arXiv 2508.08940.
Limits   With max_tokens=256 and steps=600 the budgets are the paper's 256, 179, 125, 88. Weight 0.5
         is its 0.3 to 0.6 for being right; 2 is its length-heavy mix. It pays form too, where the
         task has a score for that: --set rewards.WeighScores.scores='{"correct": 1, "form": 0.2}'.
         It also tells the budget in the prompt: --set 'rollouts=(TellBudget(),)'; evaluations ask
         without that line, so it is not the default. Wrong answers of the right length are paid:
         no filter of all-wrong groups goes with it. weight = 0 is grpo.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch

from harness.errors import UsageError
from harness.types import Prompt, Rollout
from trainers.advantages import CenterByMean, ScaleByStd
from trainers.batch import Batch
from trainers.recipe import Attempt, Run
from trainers.recipes.grpo import RECIPE as GRPO
from trainers.rewards import less
from trainers.schedules import Number, at


@dataclass(frozen=True)
class Budget:
    """Tokens that an answer should take: a function of the step, and of nothing else that moves."""

    start: float = 1.0
    """Part of the recipe's max_tokens at the first step, and `end` that at the last."""
    end: float = 0.343
    drops: int = 3
    fall: Literal["exponential", "linear"] = "exponential"
    """By equal factors or by equal amounts."""

    def __post_init__(self) -> None:
        if not (self.start > 0 and self.end > 0 and self.drops >= 0):
            raise UsageError(f"{self!r}: parts must be above 0, and drops not below 0")

    def exact(self, run: Run) -> float:
        """Before it is rounded; at least 1."""
        done = min(run.step * (self.drops + 1) // run.recipe.steps, self.drops)
        share = done / max(self.drops, 1)
        if self.fall == "linear":
            part = self.start + (self.end - self.start) * share
        else:
            part = self.start * (self.end / self.start) ** share
        return max(part * at(run.recipe.max_tokens, run), 1.0)

    def tokens(self, run: Run) -> int:
        """What prompts tell and rewards count with."""
        return round(self.exact(run))


@dataclass(frozen=True)
class PayLength:
    """r + weight R(T / B): the nearer to the budget, the more; right answers or not."""

    weight: Number = 0.5
    shape: Literal["triangle", "band"] = "triangle"
    """`band`: shorter than the budget is as good."""
    count: Literal["completion", "think"] = "completion"
    """Which steps are counted: all, or those up to the first `</think>`."""
    budget: Budget = Budget()

    def __call__(self, batch: Batch, run: Run) -> Batch:
        """The reward of a rollout; where steps are paid, each bears its part."""
        budget = self.budget.tokens(run)
        run.tally.put("length/budget", budget)
        steps = [_thought(r) if self.count == "think" else r.steps for r in batch.rollouts]
        length = batch.rewards.new_tensor(steps).unsqueeze(1) / budget
        rising = torch.ones_like(length) if self.shape == "band" else length
        paid = torch.where(length <= 1, rising, (2 - length).clamp(min=0)) * at(self.weight, run)
        run.tally.put("length/paid", paid.mean().item())
        return less(batch, -paid)


def _thought(rollout: Rollout) -> int:
    """Steps until the text has `</think>`, of all turns; all steps where it never does."""
    said, steps = "", 0
    for _, completion in rollout.turns:
        for piece in completion.pieces:
            said, steps = said + piece, steps + 1
            if "</think>" in said[-len(piece) - 8 :]:
                return steps
    return rollout.steps


@dataclass(frozen=True)
class TellBudget:
    """Ends each prompt with a line that tells the budget of the recipe's PayLength."""

    text: str = "Use exactly {budget} tokens."

    def __call__(self, prompts: Sequence[Prompt], play: Attempt, run: Run) -> list[Rollout]:
        """The line is a hint: `Prompt.plain` takes it away."""
        paying = [stage for stage in run.recipe.rewards if isinstance(stage, PayLength)]
        if not paying:
            raise UsageError("TellBudget tells the budget of PayLength, and the recipe has none")
        told = self.text.replace("{budget}", str(paying[0].budget.tokens(run)))
        return play([prompt.with_hint(told) for prompt in prompts])


RECIPE = GRPO.but(
    name="length_curriculum",
    home="ladders/wordy",
    paper="arXiv:2508.08940",
    rewards=(*GRPO.rewards, PayLength()),
    advantages=(CenterByMean(), ScaleByStd(eps=1e-8)),
)
