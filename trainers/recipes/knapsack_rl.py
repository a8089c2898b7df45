"""knapsack_rl: deal a step's attempts to the questions from which most is to be learned.

Idea     A group that is all right or all wrong has no gradient, so a few attempts suffice for easy
         questions, and hard ones need many. Fill a knapsack: an attempt costs 1 and is worth what
         it adds to the chance of a mixed group times the gain that such a group promises.
Formula  max sum_i V(n_i, p_i), sum n_i = prompts x rollouts, least <= n_i <= most;
         V(n, p) = (1 - p^n - (1 - p)^n) p (1 - p)^2, p the share of successes when the question
         was asked last. Fallback where that needs less than there is: an attempt at p costs
         ln(1 - alpha) / ln max(p, 1 - p), and the surplus goes to questions with p = 0.
         least, most, confidence (alpha), prior: Knapsack.
Paper    Knapsack RL, ICML 2026, arXiv 2509.25849.
Limits   A question that was never asked has the uniform number, so that the first epoch is grpo. p
         of few attempts is noisy: prior adds pseudo-attempts of either kind. floor=free counts the
         least attempts as worth nothing, as in released code, which deals easy questions one more.
         Every rollout weighs the same, so questions asked often weigh more. More rollouts are in
         mixed groups (effective_rollout_ratio), not more groups (effective_prompt_ratio).
"""

import heapq
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from harness.errors import UsageError
from harness.types import Example, Prompt
from trainers.recipe import Run
from trainers.recipes.grpo import RECIPE as GRPO
from trainers.samplers import Uniform
from trainers.schedules import Number, whole


@dataclass(frozen=True)
class Knapsack:
    """Every example once an epoch; a step's attempts dealt by what they are worth."""

    prompts: Number = 8
    rollouts: Number = 8
    """On average: the size of a group whose example was never asked."""
    least: int = 2
    most: int = 128
    confidence: float = 0.9
    """Of a mixed group: beyond the attempts that this takes, others are served first."""
    prior: float = 0.0
    """Pseudo-attempts of either kind that p is smoothed with."""
    floor: Literal["worth", "free"] = "worth"
    """Whether the least attempts are worth what they bring, or counted as nothing."""

    def __call__(self, examples: Sequence[Example], run: Run) -> list[Prompt]:
        """The next examples; where one comes twice in a step, its attempts are numbered on."""
        often = whole(self.rollouts, run)
        if not 1 <= self.least <= often <= self.most or not 0 < self.confidence < 1:
            raise UsageError(
                f"{self!r} asks {often} times on average; give least from 1 to that, most from "
                "that on, and a confidence between 0 and 1"
            )
        asked = Uniform(self.prompts, self.rollouts)(examples, run)
        budgets = self.budgets([self._rate(prompt.example.id, run) for prompt in asked], often)
        before: dict[str, int] = {}
        dealt: list[Prompt] = []
        for prompt, budget in zip(asked, budgets, strict=True):
            attempt = before.get(prompt.example.id, 0)
            before[prompt.example.id] = attempt + budget
            dealt.append(prompt.but(rollouts=budget, attempt=attempt))
        run.tally.put("budget/least", min(budgets))
        run.tally.put("budget/most", max(budgets))
        return dealt

    def budgets(self, rates: Sequence[float | None], often: int) -> list[int]:
        """Attempts at each by its rate of success, None where unknown; `often` on average."""
        mixed = {i: rate for i, rate in enumerate(rates) if rate is not None and 0 < rate < 1}
        unsolved = [i for i, rate in enumerate(rates) if rate == 0]
        if not mixed and not unsolved:
            return [often] * len(rates)
        flat = unsolved or [i for i in range(len(rates)) if i not in mixed]
        counts = [often if rate is None else self.least for rate in rates]
        left = often * len(rates) - sum(counts)
        enough = sum(max(self._cost(rate) - self.least, 0) for rate in mixed.values())
        wanted = min(left, enough) if flat else left
        left += self._fill(counts, mixed, wanted) - wanted
        for number in range(left):  # one after another: shared equally, the rest round robin
            counts[(flat or [*mixed])[number % len(flat or mixed)]] += 1
        return counts

    def _cost(self, rate: float) -> int:
        """Attempts for a mixed group at that confidence."""
        return int(min(self.most, math.log(1 - self.confidence) / math.log(max(rate, 1 - rate))))

    def _fill(self, counts: list[int], rates: dict[int, float], budget: int) -> int:
        """Deal `budget` attempts; what is left. V is concave in n, so the best next one is best."""
        start = {i: 0.0 if self.floor == "free" else value(self.least, p) for i, p in rates.items()}
        heap = [(start[i] - value(self.least + 1, p), i) for i, p in rates.items()]
        heap = [each for each in heap if counts[each[1]] < self.most]
        heapq.heapify(heap)
        while budget and heap:
            _, i = heapq.heappop(heap)
            counts[i] += 1
            budget -= 1
            if counts[i] < self.most:
                n, p = counts[i], rates[i]
                heapq.heappush(heap, (value(n, p) - value(n + 1, p), i))
        return budget

    def _rate(self, id: str, run: Run) -> float | None:
        past = run.ledger[id]
        if not past.asked:
            return None
        return (past.solved + self.prior) / (past.asked + 2 * self.prior)


def value(attempts: int, rate: float) -> float:
    """Chance of a mixed group times the first-order gain of the success rate."""
    return (1 - rate**attempts - (1 - rate) ** attempts) * rate * (1 - rate) ** 2


RECIPE = GRPO.but(
    name="knapsack_rl",
    home="ladders/graded",
    paper="arXiv:2509.25849",
    samplers=Knapsack(prompts=8, rollouts=8),
)
