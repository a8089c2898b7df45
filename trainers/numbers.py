"""numbers: what a step's log says of its rollouts. Names are TRL's where TRL has the number."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from jaxtyping import Float
from torch import Tensor

from harness.types import Completion, Fault, Rollout
from trainers.batch import Batch


def of_rollouts(rollouts: Sequence[Rollout], faults: Sequence[Fault]) -> dict[str, float]:
    """Lengths in steps, how answers ended, and why verdicts are what they are."""
    lengths = [rollout.steps for rollout in rollouts]
    whole = [r.steps for r in rollouts if r.completion.stopped != "budget"]
    reasons = Counter(rollout.verdict.reason for rollout in rollouts)
    return {
        **_spread("completions", "length", lengths),
        **_spread("completions", "terminated_length", whole),
        "completions/clipped_ratio": 1 - len(whole) / len(rollouts),
        "completions/empty": float(sum(_empty(rollout.completion) for rollout in rollouts)),
        "faults": float(len(faults)),
        "rollouts": float(len(rollouts)),
        "time/verifiers": sum(rollout.seconds for rollout in rollouts),
        **{f"verdicts/{name}": n / len(rollouts) for name, n in sorted(reasons.items())},
    }


def of_batch(
    batch: Batch, weights: Mapping[str, float], asked: float | None = None
) -> dict[str, float]:
    """Rewards, scores, groups that teach nothing, and how much of what was said counts.

    `weights` names the scores that are paid. `asked` is how many groups were played for this batch,
    where a recipe leaves some out.
    """
    paid = (
        (batch.rewards * batch.mask).sum(1) if batch.rewards.shape[1] > 1 else batch.rewards[:, 0]
    )
    same, groups, informative = flat_groups(batch)
    decided = batch.mask.sum().item()
    trained = ((batch.weights > 0) & (batch.advantages != 0) & batch.mask).sum().item()
    kept = ((batch.weights > 0) & batch.mask).sum().item()
    numbers = {
        "reward": paid.mean().item(),
        "reward_std": paid.std().item() if len(paid) > 1 else 0.0,
        "frac_reward_zero_std": same / max(groups, 1),
        "effective_prompt_ratio": (groups - same) / max(groups, asked or 0, 1),
        "effective_rollout_ratio": informative / max(len(batch.rollouts), 1),
        "groups": float(groups),
        "tokens/trained": float(trained),
        "masked_share": 1 - kept / decided if decided else 0.0,
        "advantage/max": batch.advantages.abs().max().item(),
        "weights/sum": batch.weights.sum().item(),
    }
    for name, score in batch.scores.items():
        told = score[~score.isnan()]
        if len(told) and (name in weights or len(batch.scores) <= 12):
            numbers[f"rewards/{name}/mean"] = told.mean().item()
            numbers[f"rewards/{name}/std"] = told.std().item() if len(told) > 1 else 0.0
    return numbers


def flat_groups(batch: Batch) -> tuple[int, int, int]:
    """Groups whose rewards are all the same, all groups, and rollouts in groups that differ."""

    def spread(rows: Float[Tensor, "G #T"]) -> Float[Tensor, "G #T"]:
        return (rows.amax(0, keepdim=True) - rows.amin(0, keepdim=True)).expand_as(rows)

    flat = batch.peers().each(batch.rewards, spread).amax(1) == 0
    groups = len(batch.group.unique())
    return len(batch.group[flat].unique()), groups, int((~flat).sum())


def _empty(completion: Completion) -> bool:
    """Nothing was decided, or nothing that a reader sees."""
    output = completion.output
    return not completion.steps or output is None or (isinstance(output, str) and not output)


def _spread(family: str, what: str, lengths: Sequence[int]) -> dict[str, float]:
    if not lengths:
        return {}
    found = {"mean": sum(lengths) / len(lengths), "min": min(lengths), "max": max(lengths)}
    return {f"{family}/{name}_{what}": float(value) for name, value in found.items()}
