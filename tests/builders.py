"""The few helpers that many tests share: judged rollouts, a model that repeats given texts."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from harness import Completion, Example, Message, Prompt, Rollout, Verdict


def judged(
    *scores: float, group: str = "q", score: str = "correct", steps: int = 1
) -> list[Rollout]:
    """One group of judged rollouts, one a score."""
    prompt = Prompt(Example(group, {"question": group}, ""), (Message("user", group),))
    return [
        Rollout(
            turns=((prompt.but(attempt=number), Completion("text", steps=steps)),),
            verdict=Verdict({score: value}, "text", "ok" if value == 1 else "wrong"),
            group=group,
            attempt=number,
        )
        for number, value in enumerate(scores)
    ]


class Parrot:
    """Says the given texts, one after another, over and over."""

    name = "parrot"

    def __init__(self, *texts: Any) -> None:
        self.texts = texts

    def answer(self, prompts: Sequence[Prompt]) -> Iterator[tuple[int, Completion]]:
        for number, prompt in enumerate(prompts):
            yield (
                number,
                Completion(self.texts[(number + prompt.attempt) % len(self.texts)], steps=1),
            )

    def describe(self) -> Mapping[str, Any]:
        return {"engine": "parrot"}
