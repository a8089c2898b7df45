"""Model, the protocol that evaluation needs, and the two answerers that need no weights."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from harness.errors import UsageError
from harness.types import Completion, Example, Prompt, Split, Task

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


@dataclass(frozen=True, kw_only=True)
class Sampling:
    """How answers are drawn. Stored with every run: rows that differ in it are not comparable."""

    temperature: float = 1.0
    """0 is greedy."""
    top_p: float = 1.0
    top_k: int = 0
    """0 keeps all."""
    max_tokens: int = 512
    stop: tuple[str, ...] = ()
    seed: int = 0

    def __post_init__(self) -> None:
        wrong = {
            "temperature": self.temperature < 0 or not math.isfinite(self.temperature),
            "top_p": not 0 < self.top_p <= 1,
            "top_k": self.top_k < 0,
            "max_tokens": self.max_tokens < 1,
        }
        for name, bad in wrong.items():
            if bad:
                raise UsageError(
                    f"{name} = {getattr(self, name)} makes no sense: temperature >= 0, "
                    "0 < top_p <= 1, top_k >= 0 and max_tokens >= 1 are asked for"
                )


@runtime_checkable
class Model(Protocol):
    """Answers prompts."""

    name: str
    """What a board shows, such as `text:smollm2`."""
    independent: bool
    """Whether an answer is the same to the bit whatever else is asked in the same call."""

    def answer(self, prompts: Sequence[Prompt]) -> Iterator[tuple[int, Completion]]:
        """One completion a prompt, each with its prompt's number as soon as it is finished.

        The order is free. The draw of a prompt depends on the seed, its example, attempt, role and
        turn, never on its neighbors; `rollouts` is not read here.
        """
        ...

    def describe(self) -> Mapping[str, Any]:
        """What a manifest must hold: weights' digest, dtype, engine, batch policy, sampling."""
        ...


@runtime_checkable
class Costly(Protocol):
    """A model that counts what its answers cost: requests, retries, failures."""

    @property
    def costs(self) -> Mapping[str, Any]:
        """So far."""
        ...


@runtime_checkable
class Encoder(Protocol):
    """Texts to vectors whose products are cosines."""

    name: str
    """Of all that fixes its vectors: weights, length, pooling."""
    width: int

    def encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """(N, width), each of length 1."""
        ...


def row_seed(seed: int, prompt: Prompt) -> tuple[int, ...]:
    """Entropy for one prompt's own generator: `np.random.default_rng(row_seed(...))`."""
    told = f"{prompt.example.id}\0{prompt.role}\0{prompt.attempt}\0{len(prompt.messages)}"
    return (seed, *told.encode())


class Gold:
    """Answers what the task says is right: the ceiling, and a check of the verifier."""

    name = "gold"
    independent = True

    def __init__(self, task: Task) -> None:
        self.task = task

    def answer(self, prompts: Sequence[Prompt]) -> Iterator[tuple[int, Completion]]:
        """The gold output of each prompt's example."""
        for number, prompt in enumerate(prompts):
            output = self.task.gold(prompt.example)
            yield number, Completion(output, steps=1)

    def describe(self) -> Mapping[str, Any]:
        """Nothing but its name."""
        return {"engine": "gold"}


class Chance:
    """Answers with the gold of another example of the same split: what luck is worth here."""

    name = "chance"
    independent = True

    def __init__(self, task: Task, split: Split, sampling: Sampling) -> None:
        self.task = task
        self.sampling = sampling
        self.examples: Sequence[Example] = task.examples(split)

    def answer(self, prompts: Sequence[Prompt]) -> Iterator[tuple[int, Completion]]:
        """A random other example's gold output for each prompt."""
        import numpy as np

        for number, prompt in enumerate(prompts):
            rng = np.random.default_rng(row_seed(self.sampling.seed, prompt))
            own = self.task.set(prompt.example)
            others = [e for e in self.examples if self.task.set(e) != own] or self.examples
            other = others[int(rng.integers(len(others)))]
            yield number, Completion(self.task.gold(other), steps=1)

    def describe(self) -> Mapping[str, Any]:
        """Its seed."""
        return {"engine": "chance", "sampling": asdict(self.sampling)}
