"""Our trainer on stored rollouts: recipes put together from stages, through the real learner."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field, fields, replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from harness import registry
from harness.models import Sampling
from harness.types import Completion, Example, Message, Prompt, Rollout, Verdict
from tests.conformance import processes
from tests.conformance.cases import Case, Stored
from tests.conformance.settings import ONCE, How, Settings
from tests.trainer_builders import a_run
from trainers.advantages import CenterByMean, ScaleByStd
from trainers.batch import Batch
from trainers.learner import Learner
from trainers.losses import Clipped, KLToReference
from trainers.policies.text import TextPolicy, open_text
from trainers.policy import Live
from trainers.recipe import Policies, Recipe, Run
from trainers.recipes.grpo import RECIPE as GRPO
from trainers.rewards import WeighScores
from trainers.text.layout import Text
from trainers.text.review import Reviewer
from trainers.text.settings import TextSettings
from trainers.weights import MaskTruncated, MeanOverLength, MeanOverRollouts, MeanOverSteps

KNOBS = {field.name for field in fields(TextSettings)}


@dataclass(frozen=True)
class LeaveOneOut:
    """A_i = r_i - mean of the others' rewards."""

    def __call__(self, batch: Batch, run: Run) -> Batch:
        """Advantages of the rewards' shape."""
        count = batch.peers().count(batch.rewards)
        return batch.but(advantages=batch.advantages * count / (count - 1))


@dataclass(frozen=True)
class SequenceClipped:
    """The clipped loss on the product of a rollout's ratios, or on their geometric mean."""

    low: float
    high: float
    product: bool = False

    def __call__(self, live: Live, batch: Batch, run: Run) -> Float[Tensor, "N T"]:
        """The same cost at each step."""
        gaps = (live.logprobs - batch.old_logprobs).masked_fill(~batch.mask, 0.0)
        steps = 1 if self.product else batch.mask.sum(1, keepdim=True).clamp(min=1)
        log = (gaps.sum(1, keepdim=True) / steps).expand_as(gaps)
        moved = replace(live, logprobs=log + batch.old_logprobs)
        return Clipped(self.low, self.high)(moved, batch, run)


@dataclass(frozen=True)
class Detached:
    """-stop(min(ratio, cap)) A log pi."""

    cap: float

    def __call__(self, live: Live, batch: Batch, run: Run) -> Float[Tensor, "N T"]:
        """The cost of each step."""
        gap = (live.logprobs - batch.old_logprobs).detach().masked_fill(~batch.mask, 0.0)
        return -gap.exp().clamp(max=self.cap) * batch.advantages * live.logprobs * batch.importance


def composed(settings: Settings) -> Recipe:
    """The recipe that the settings describe."""
    scale: dict[str, tuple[Any, ...]] = {
        "sample_std": (ScaleByStd(eps=settings.eps, ddof=1),),
        "population_std": (ScaleByStd(eps=settings.eps, ddof=0),),
        "none": (),
        "leave_one_out": (LeaveOneOut(),),
    }
    mean: dict[str, Any] = {
        "rollouts": MeanOverRollouts(),
        "steps": MeanOverSteps(),
        "length": MeanOverLength(settings.length),
    }
    loss: Any = Clipped(settings.low, settings.high)
    if settings.ratio != "token":
        loss = SequenceClipped(settings.low, settings.high, product=settings.ratio == "product")
    if settings.detached:
        loss = Detached(settings.high)
    masked = (MaskTruncated(),) if settings.mask_truncated else ()
    corrected = settings.sampler_correction
    return GRPO.but(
        rewards=(WeighScores({"paid": 1.0}),),
        advantages=(CenterByMean(), *scale[settings.scale]),
        weights=(*masked, mean[settings.mean]),
        losses=(loss, KLToReference(settings.beta, corrected=settings.corrected)),
        old_logprobs="sampled" if corrected else "reviewed",
        importance_cap=corrected or 2.0,
    )


def shipped(settings: Settings) -> Recipe:
    """The recipe of that name, paid by the stored rewards."""
    found = registry.recipe(settings.recipe)
    return found.but(rewards=(WeighScores({"paid": 1.0}),), max_tokens=settings.length)


@dataclass
class Ours:
    """This project's trainer."""

    name: str = "ours"
    place: Path = field(default_factory=lambda: Path(tempfile.mkdtemp(prefix="conformance-")))
    opened: dict[tuple[Any, ...], TextPolicy] = field(default_factory=dict)
    world: Any = None
    """The processes that this one shares the rollouts with."""

    def lacks(self, settings: Settings, how: How) -> str:
        """What there is no switch for."""
        if settings.mean == "steps_locally":
            return (
                "a mean over the steps of each micro-batch, which depends on the cut, is not made"
            )
        known = {card.name for card in registry.cards("recipes")} if settings.recipe else set()
        if settings.recipe and settings.recipe not in known:
            return f"this version ships no recipe '{settings.recipe}'"
        if how.processes > 1 and find_spec("trainers.launch") is None:
            return "this version trains in one process"
        if how.packing != "own" and "packing" not in KNOBS:
            return "this version has no packing"
        return ""

    def gradient(self, case: Case, settings: Settings, how: How = ONCE) -> dict[str, Tensor]:
        """Gradients of all weights by name."""
        if how.processes > 1:
            return processes.gradient(case, settings, how, self.place)
        case = case.ordered(how.order)
        policy = self.policy(case, how)
        recipe = shipped(settings) if settings.recipe else composed(settings)
        policies: dict[str, Any] = {"solver": policy}
        if settings.beta:
            policies["reference"] = self.policy(case, how, reference=True)
        run = replace(a_run(recipe, policy=policy), policies=Policies(policies))
        rollouts = [as_rollout(policy, each, n, settings) for n, each in enumerate(case.rollouts)]
        sizes = [policy.size(rollout) for rollout in rollouts]
        together = {} if self.world is None else {"world": self.world}
        learner = Learner("solver", recipe, policy, max(sum(sizes) // how.parts, 1), **together)
        batch = padded(learner.batch(rollouts, run), how.padding)
        if settings.off_policy:
            batch = batch.but(old_logprobs=table([r.old for r in case.rollouts], batch.mask))
        learner.gradient(batch, run, first=not settings.off_policy)
        return {
            name: torch.zeros_like(weight) if weight.grad is None else weight.grad.clone()
            for name, weight in policy.model.named_parameters()
        }

    def policy(self, case: Case, how: How, *, reference: bool = False) -> TextPolicy:
        """The case's model, opened as anybody's checkpoint is, and read as asked."""
        key = (reference, how.packing, how.dtype, how.saving, how.head, how.prefix, how.side)
        if key in self.opened:
            return self.opened[key]
        name = "reference" if reference else "policy"
        chosen: dict[str, Any] = {"packing": how.packing == "on"} if how.packing != "own" else {}
        policy = open_text(
            str(case.save(self.place / name, reference=reference)),
            Sampling(),
            dtype="float32",
            device="cpu",
            autocast=how.dtype == "bfloat16",
            checkpointing=how.saving,
            **chosen,
        )
        if how.head == "whole":
            policy._reviewer = replace(policy._reviewer, bare_head=False)
        if how.side == "right":
            policy._reviewer = ReadWhole(**vars(policy._reviewer))
        if how.prefix == "apart":
            policy._reviewer = ReadApart(**vars(policy._reviewer))
        return self.opened.setdefault(key, policy)


class ReadWhole(Reviewer):
    """Prompts and answers in one, padded on the right, no prompt shared."""

    def _read_shared(self, texts: Sequence[Text]) -> Float[Tensor, "S H"]:
        return self._read_whole(texts, self._decoder)


class ReadApart(Reviewer):
    """Every text in a review of its own, so that no prompt is shared and nothing padded."""

    def review(self, texts: Sequence[Text], rows: int, columns: int) -> Live:
        """The sum of what each gives."""
        lives = [super(ReadApart, self).review([text], rows, columns) for text in texts]
        return Live(
            torch.stack([live.logprobs for live in lives]).sum(0),
            torch.stack([live.entropy for live in lives]).sum(0),
            torch.stack([live.mask for live in lives]).any(0),
        )


def as_rollout(policy: TextPolicy, stored: Stored, number: int, settings: Settings) -> Rollout:
    """A stored rollout in our nouns, with its tokens as they were stored."""
    example = Example(stored.question, {"q": stored.question}, "")
    prompt = Prompt(example, (Message("user", stored.question),), attempt=number)
    trace = policy.spell(prompt, "").trace
    assert tuple(trace["prompt"]) == stored.prompt, "the template writes the prompt otherwise"
    trace = {**trace, "ids": list(stored.ids), "temperature": settings.temperature}
    said = Completion(
        policy.chat.tokenizer.decode(list(stored.ids), skip_special_tokens=True),
        steps=len(stored.ids),
        logprobs=np.array(stored.sampled, np.float32),
        stopped="done" if stored.ended else "budget",
        trace=trace,
    )
    verdict = Verdict({"paid": stored.reward}, reason="wrong")
    return Rollout(((prompt, said),), verdict, stored.question, attempt=number)


def table(rows: Sequence[Sequence[float]], mask: Tensor) -> Float[Tensor, "N T"]:
    """Numbers of each step, 0 behind the last."""
    made = torch.zeros(mask.shape)
    for number, row in enumerate(rows):
        made[number, : len(row)] = torch.tensor(row)
    return made


def padded(batch: Batch, columns: int) -> Batch:
    """The batch with so many columns more, in which nothing happens."""
    names = ("weights", "mask", "sampled_logprobs", "old_logprobs", "importance")
    wider = {n: torch.nn.functional.pad(getattr(batch, n), (0, columns)) for n in names}
    return batch.but(**wider) if columns else batch
