"""rollouts: how attempts come about. Wrappers that go round `play`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from harness.types import Prompt, Rollout
from trainers.recipe import Attempt, Run


@dataclass(frozen=True)
class HintOnFailure:
    """Where every attempt at an example failed, ask as often again with the example's hint.

    The hinted attempts stand in the place of the failed ones. Examples without the tag keep theirs.
    """

    tag: str = "hint"

    def __call__(self, prompts: Sequence[Prompt], play: Attempt, run: Run) -> list[Rollout]:
        """All rollouts, the hinted ones last."""
        first = play(prompts)
        solved = {r.example.id for r in first if r.verdict.reason == "ok"}
        again = [
            prompt.with_hint(str(prompt.example.tags[self.tag])).but(
                attempt=prompt.attempt + prompt.rollouts
            )
            for prompt in prompts
            if prompt.example.id not in solved and self.tag in prompt.example.tags
        ]
        hinted = {prompt.example.id for prompt in again}
        kept = [rollout for rollout in first if rollout.example.id not in hinted]
        return [*kept, *play(again)] if again else kept
