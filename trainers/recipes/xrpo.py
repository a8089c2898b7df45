"""xrpo: spend attempts where rewards are uncertain, seed hopeless prompts, prize unlikely success.

Idea     Deal a step's attempts in rounds, each to the prompts whose mean reward another attempt
         would tell most about. Where all attempts at a prompt failed so far, show solved examples
         like it. Among right answers, pay more for those that the policy thought unlikely.
Formula  Pi_q = h_q(n) - h_q(n + 1) + lam sqrt(log(1 + T) / n), h_q(n) = t(1 - alpha/2; n - 1)
         s_q / sqrt(n) after n of T attempts with sample std s_q; the largest Pi_q is served first.
         A_i = (r_i - mean r) / (std r + eps); where A_i > 0, A_i += min(max(novelty (1 - eta_i),
         0), kappa A_i), eta_i = exp(s_i - mean s), s_i the mean log-probability of its steps.
         alpha, lam, least n: AllocateByGain. novelty, kappa: SharpenByNovelty. Loss as in grpo.
Paper    XRPO, ICML 2026, arXiv 2510.06672.
Limits   Formulas are second-hand; alpha, lam, least and the size of rounds are ours. The paper
         finds examples by an embedding of 8B; here it is the share of common letter triples. An
         answer is ranked among those to the same prompt, seeded ones apart. A prompt whose every
         attempt succeeded gets no more of them. Stopping early biases a group's mean a little.
         With least=samplers.rollouts, examples=0 and kappa=0 it is grpo with the sample's std.
"""

import heapq
import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache, lru_cache

import numpy as np
import torch

from harness.errors import UsageError
from harness.types import Prompt, Rollout
from trainers.advantages import CenterByMean, ScaleByStd
from trainers.batch import Batch
from trainers.recipe import Attempt, Run
from trainers.recipes.grpo import RECIPE as GRPO
from trainers.rollouts import by_example, paid, solved


@dataclass(frozen=True)
class AllocateByGain:
    """Ask every prompt `least` times, and deal the rest of the attempts in rounds."""

    least: int = 4
    rounds: int = 4
    """Into which the rest is cut; rewards are looked at before each."""
    alpha: float = 0.05
    lam: float = 1.0

    def __post_init__(self) -> None:
        if self.least < 1 or self.rounds < 1 or not 0 < self.alpha < 1:
            raise UsageError(
                f"{self!r}: at least 1 attempt, 1 round and an alpha between 0 and 1 are asked for"
            )

    def __call__(self, prompts: Sequence[Prompt], play: Attempt, run: Run) -> list[Rollout]:
        """As many rollouts as were asked for, in groups of different sizes."""
        prompts = by_example(prompts)
        counts = [min(self.least, prompt.rollouts) for prompt in prompts]
        left = sum(prompt.rollouts for prompt in prompts) - sum(counts)
        size = math.ceil(left / self.rounds)
        found = play([prompt.but(rollouts=n) for prompt, n in zip(prompts, counts, strict=True)])
        while left > 0:
            more = self.dealt(counts, _rewards(prompts, found, run), min(size, left))
            again = [
                prompt.but(rollouts=extra, attempt=prompt.attempt + count)
                for prompt, count, extra in zip(prompts, counts, more, strict=True)
                if extra
            ]
            found = [*found, *play(again)]
            counts = [count + extra for count, extra in zip(counts, more, strict=True)]
            left -= sum(more)
        run.tally.put("budget/least", min(counts))
        run.tally.put("budget/most", max(counts))
        return found

    def dealt(
        self, counts: Sequence[int], rewards: Sequence[Sequence[float] | None], attempts: int
    ) -> list[int]:
        """How many of the next attempts each prompt gets, after so many with these rewards.

        A prompt whose rewards are no list but None needs no more.
        """
        stds = [float(np.std(each, ddof=1)) if each and len(each) > 1 else 0.0 for each in rewards]
        total, more = sum(counts), [0] * len(counts)
        wanting = [n for n, each in enumerate(rewards) if each is not None] or range(len(counts))
        heap = [(-self.priority(counts[n], stds[n], total), n) for n in wanting]
        heapq.heapify(heap)
        for _ in range(attempts):
            urgent = heap[0][1]
            more[urgent] += 1
            later = self.priority(counts[urgent] + more[urgent], stds[urgent], total)
            heapq.heapreplace(heap, (-later, urgent))
        return more

    def priority(self, count: int, std: float, total: int) -> float:
        """Pi_q after `count` of `total` attempts."""
        gain = half_width(count, std, self.alpha) - half_width(count + 1, std, self.alpha)
        return gain + self.lam * math.sqrt(math.log1p(total) / count)


@dataclass(frozen=True)
class SeedInContext:
    """Later attempts at a prompt that failed every time see solved examples; goes inside rounds."""

    examples: int = 2
    longest: int = 600
    """Characters of an example that are shown."""

    def __call__(self, prompts: Sequence[Prompt], play: Attempt, run: Run) -> list[Rollout]:
        """The rollouts, seeded ones under the prompt that they saw."""
        held = run.memory.setdefault("xrpo", {"solved": {}, "step": -1, "failed": []})
        if held["step"] != run.step:
            held |= {"step": run.step, "failed": []}
        failed = set(held["failed"])
        asked = [self._seeded(p, held["solved"]) if p.example.id in failed else p for p in prompts]
        run.tally.add("rollouts/seeded", sum(len(p.hints) > 0 for p in asked))
        found = play(asked)
        right = {rollout.example.id for rollout in found if solved(rollout)}
        held["failed"] = sorted((failed | {p.example.id for p in prompts}) - right)
        for rollout in found:
            if solved(rollout) and rollout.role == "solver":
                question = str(rollout.prompt.messages[-1].content)
                answer = str(rollout.completion.output)[: self.longest]
                held["solved"][rollout.example.id] = [question[: self.longest], answer]
        return found

    def _seeded(self, prompt: Prompt, known: dict[str, list[str]]) -> Prompt:
        """The prompt with the nearest solved examples, its own never among them."""
        question = str(prompt.messages[-1].content)[: self.longest]
        others = [pair for id, pair in known.items() if id != prompt.example.id]
        nearest = sorted(others, key=lambda pair: -likeness(question, pair[0]))[: self.examples]
        shown = [f"{asked}\n{answer}" for asked, answer in nearest]
        return prompt.with_hint("\n\n".join(["Solved examples:", *shown])) if shown else prompt


@dataclass(frozen=True)
class SharpenByNovelty:
    """A_i > 0 grows by up to `kappa` of itself, the more the less likely the answer was."""

    novelty: float = 2.5
    kappa: float = 0.5

    def __call__(self, batch: Batch, run: Run) -> Batch:
        """Advantages of the same shape; wrong answers keep theirs."""
        numbers: dict[tuple[str, str, tuple[str, ...]], int] = {}
        alike = [(r.group, r.role, r.prompt.hints) for r in batch.rollouts]
        within = batch.group.new_tensor([numbers.setdefault(key, len(numbers)) for key in alike])
        told = batch.mask & batch.sampled_logprobs.isfinite()
        total = torch.where(told, batch.sampled_logprobs, 0.0).sum(1, keepdim=True)
        likely = total / told.sum(1, keepdim=True).clamp(min=1)
        eta = (likely - batch.peers(within).mean(likely)).exp()
        bonus = (self.novelty * (1 - eta)).clamp(min=0).minimum(self.kappa * batch.advantages)
        return batch.but(advantages=batch.advantages + bonus.clamp(min=0))


def half_width(count: int, std: float, alpha: float) -> float:
    """Of the interval round the mean of so many rewards; 0 where they were all the same."""
    return _quantile(count - 1, alpha) * std / math.sqrt(count) if std else 0.0


@cache
def _quantile(freedom: int, alpha: float) -> float:
    from scipy.special import stdtrit

    return float(stdtrit(freedom, 1 - alpha / 2))


def likeness(one: str, other: str) -> float:
    """Share of letter triples that two texts have in common, from 0 to 1 (Dice)."""
    a, b = _triples(one), _triples(other)
    return 2 * len(a & b) / (len(a) + len(b))


@lru_cache(maxsize=8192)
def _triples(text: str) -> frozenset[str]:
    return frozenset(text[n : n + 3] for n in range(max(len(text) - 2, 1)))


def _rewards(
    prompts: Sequence[Prompt], found: Sequence[Rollout], run: Run
) -> list[list[float] | None]:
    """Of every prompt's attempts so far; None where all of them succeeded."""
    failed: set[str] = set()
    table: dict[str, list[float]] = {prompt.example.id: [] for prompt in prompts}
    for rollout, reward in zip(found, paid(found, run), strict=True):
        if rollout.role == "solver":
            table[rollout.example.id].append(reward)
            failed |= set() if solved(rollout) else {rollout.example.id}
    return [each if id in failed or not each else None for id, each in table.items()]


RECIPE = GRPO.but(
    name="xrpo",
    home="ladders/rare",
    paper="arXiv:2510.06672",
    rollouts=(AllocateByGain(), SeedInContext()),
    advantages=(CenterByMean(), ScaleByStd(eps=1e-6, ddof=1), SharpenByNovelty()),
)
