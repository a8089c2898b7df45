"""The nouns: what every room of the house speaks of.

All are frozen, plain data: no I/O, no model, no torch. `dataclasses.replace` or `.but` change them.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal, cast

if TYPE_CHECKING:  # NumPy takes longer to import than all of the language
    import numpy as np
    from numpy.typing import NDArray

Split = Literal["train", "dev", "test"]
SPLITS: tuple[Split, ...] = ("train", "dev", "test")

Stopped = Literal["done", "budget", "failed"]
Source = Literal["policy", "expert", "teacher"]
Better = Literal["higher", "lower", "neither"]

REASONS = frozenset(
    {"ok", "wrong", "no_answer", "bad_format", "truncated"}
    | {"timeout", "crash", "contradiction", "ungrounded"}
)
"""Why a verdict is what it is. A family may add its own words through `Task.reasons`."""


@dataclass(frozen=True)
class Example:
    """An item: what is asked and what would be right."""

    id: str
    """Unique and stable within its task and split."""
    inputs: Mapping[str, Any]
    target: Any
    tags: Mapping[str, Any] = field(default_factory=dict[str, Any])
    """Level, topic, stratum, hint, cluster: what stages and tables may want to know."""


@dataclass(frozen=True)
class Message:
    """One turn of a conversation: who speaks, and what (text, an array, or a tuple of both)."""

    speaker: str
    content: Any


@dataclass(frozen=True)
class Prompt:
    """What is asked of a model."""

    example: Example
    messages: tuple[Message, ...]
    rollouts: int = 1
    """The budget: how many attempts `play` makes. A model is given prompts of one attempt each."""
    role: str = "solver"
    """Which policy answers."""
    hints: tuple[str, ...] = ()
    """Help that stages added, kept apart so that it can be taken away again."""
    attempt: int = 0
    """Which of the attempts at this example this is; with the seed it fixes the random draw."""

    def but(self, **changes: Any) -> Prompt:
        """The same prompt with some fields replaced."""
        return replace(self, **changes)

    def with_hint(self, text: str) -> Prompt:
        """The same prompt with one hint more."""
        return replace(self, hints=(*self.hints, text))

    def plain(self) -> Prompt:
        """The same prompt without hints."""
        return replace(self, hints=())

    def then(self, completion: Completion, reply: str) -> Prompt:
        """The next turn: what the model said, and what it is told in return."""
        said = Message("assistant", completion.output)
        return replace(self, messages=(*self.messages, said, Message("user", reply)))

    def spoken(self) -> tuple[Message, ...]:
        """The messages as a model reads them: hints stand at the end of the last message."""
        if not self.hints:
            return self.messages
        *before, last = self.messages
        return (*before, replace(last, content=_hinted(last.content, self.hints)))


@dataclass(frozen=True)
class Completion:
    """What a model gave for one prompt."""

    output: Any
    """What a verifier reads: text, an array, or None. Hostile until judged."""
    stopped: Stopped = "done"
    """`budget`: cut by the length limit. `failed`: the model gave nothing (see `note`)."""
    steps: int = 0
    """T, the number of decisions: tokens for text."""
    logprobs: NDArray[np.float32] | None = field(default=None, compare=False)
    """(T,) log-probability of each decision under the policy as it sampled, in nats."""
    pieces: tuple[str, ...] = ()
    """Text of each step, where a step has one."""
    trace: Mapping[str, Any] = field(default_factory=dict[str, Any], compare=False)
    """The family's own record (token ids, pixels); nobody else opens it, but for `images`: of each
    picture in the prompt {"given": [width, height], "seen": [width, height]} in pixels, as it was
    handed in and as the model saw it. Boxes in the output are in pixels of `seen`."""
    note: str = ""


@dataclass(frozen=True)
class Verdict:
    """What a verifier found: named scores in [0, 1] (or counts), and why."""

    scores: Mapping[str, float]
    answer: Any = None
    """What was read out of the completion; None when there was nothing to read."""
    reason: str = "ok"
    note: str = ""
    """One line for people."""


def _hinted(content: Any, hints: tuple[str, ...]) -> Any:
    """Content with hints after its last text; pictures and other arrays stay as they are."""
    if isinstance(content, str):
        return "\n\n".join((content, *hints))
    parts = cast(tuple[Any, ...], content) if isinstance(content, tuple) else (content,)
    if parts and isinstance(parts[-1], str):
        return (*parts[:-1], "\n\n".join((parts[-1], *hints)))
    return (*parts, "\n\n".join(hints))


Turn = tuple[Prompt, Completion]


@dataclass(frozen=True)
class Rollout:
    """One role's part of one judged attempt."""

    turns: tuple[Turn, ...]
    verdict: Verdict
    group: str
    """With whom it is compared."""
    role: str = "solver"
    attempt: int = 0
    source: Source = "policy"
    seconds: float = 0.0
    """Time that the verifier took."""
    set: str = ""
    """Which examples were asked together with its own; empty: none."""

    @property
    def prompt(self) -> Prompt:
        """The first prompt."""
        return self.turns[0][0]

    @property
    def completion(self) -> Completion:
        """The last completion."""
        return self.turns[-1][1]

    @property
    def example(self) -> Example:
        """The example that was asked."""
        return self.prompt.example

    @property
    def steps(self) -> int:
        """T over all turns."""
        return sum(completion.steps for _, completion in self.turns)


@dataclass(frozen=True)
class Fault:
    """An attempt that could not be made or judged: no verdict, so it counts neither way."""

    prompt: Prompt
    note: str


Row = Sequence[Verdict]
"""The verdicts of one example, a column a rollout."""


@dataclass(frozen=True)
class Sums:
    """A metric of the whole corpus that needs no more than sums over examples."""

    each: Callable[[Row], Sequence[float]]
    """What an example adds: K numbers."""
    value: Callable[[NDArray[np.float64]], NDArray[np.float64]]
    """(..., K) sums to (...) values; NaN where there is none."""


@dataclass(frozen=True)
class Metric:
    """One number about many examples.

    Either `each` gives the value of one example and the metric is the mean over examples (NaN: the
    example has no value and is left out), or `compute` takes all rows at once.
    """

    name: str
    each: Callable[[Row], float] | None = None
    compute: Callable[[Sequence[Row]], float] | None = None
    sums: Sums | None = None
    """Set where `compute` is a function of sums over examples: then resampling is quick."""
    better: Better = "higher"
    unit: str = ""
    low: float = 0.0
    high: float = 1.0
    needs: int = 1
    """Fewest rollouts per example for which the metric is defined."""


Dialogue = Generator[Prompt, Completion, Verdict]


@dataclass(frozen=True, kw_only=True)
class Judging:
    """What another model is asked about the answers of a set once all are in, and what follows.

    Both functions are pure and get the rollouts of one whole set, by example and attempt. What the
    model said is stored with the run, so the scores can be derived again without it.
    """

    role: str = "judge"
    """Who is asked; greedily."""
    prompts: Callable[[Sequence[Rollout]], Sequence[Prompt]]
    """Each about one of these rollouts: it bears its example and attempt. No two are the same."""
    scores: Callable[[Sequence[Rollout], Mapping[str, Completion]], Sequence[Mapping[str, float]]]
    """Added to each rollout's own; what was said comes by the digest of its prompt."""
    max_tokens: int = 16


def by_id(example: Example) -> str:
    """The default group and cluster: every example stands for itself."""
    return example.id


@dataclass(frozen=True, kw_only=True)
class Task:
    """Examples to prompts, answers to named scores. Evaluation and training share it whole."""

    name: str
    """`family/member`."""
    version: int
    """Raised by every change that moves numbers."""
    examples: Callable[[Split], Sequence[Example]]
    """Examples of a split; an empty list where the task has none of it."""
    prompt: Callable[[Example], Prompt]
    verify: Callable[[Example, Completion], Verdict]
    """Pure; never raises, whatever the completion holds."""
    gold: Callable[[Example], Any]
    """An output that gets full marks."""
    metrics: tuple[Metric, ...]
    """The first one is the task's headline."""
    reward: Mapping[str, float]
    """Weights of scores: what training pays by default."""
    demonstrations: Callable[[Example], Sequence[tuple[Prompt, str]]] | None = None
    """What a supervised warm start is shown of an example, as prompts and what is said to them.
    None: the prompt and the gold output."""
    dialogue: Callable[[Prompt], Dialogue] | None = None
    """Many turns: yields prompts, receives completions, returns the verdict."""
    compare: Callable[[Sequence[Rollout]], Sequence[Mapping[str, float]]] | None = None
    """Scores that need the whole set, added to each rollout's own."""
    judging: Judging | None = None
    """Scores of whole sets that a further model decides. For evaluation: training refuses it."""
    roles: tuple[str, ...] = ()
    """Whom its dialogue asks besides the solver; `--role` names a model for each."""
    set: Callable[[Example], str] = by_id
    """Which examples are one set: asked in the same step and block, compared with each other, and
    never cut by a limit. By default every example is a set of its own."""
    group: Callable[[Example], str] = by_id
    """With whose rewards a rollout's reward is compared when credit is given."""
    cluster: Callable[[Example], str] = by_id
    """The unit of resampling for intervals: scene, day block; unless given, the set."""
    picture: Callable[[Example, Completion], Mapping[str, Any] | None] | None = None
    """What a person is shown beside an answer, as `harness.pictures` reads it; None: nothing."""
    reasons: frozenset[str] = REASONS
    released: str = ""
    """ISO date on which the questions became public, for contamination filters."""
    source: str = ""
    """Where the data come from: hub id and revision, or `generated`."""
    settings: Mapping[str, Any] = field(default_factory=dict[str, Any])
    """What else moves its numbers and a record must hold: judge, comparator, release, window."""
    at_once: Callable[[], int] | None = None
    """How many verdicts are best worked on together, asked when the first answers are due: programs
    that run elsewhere. JudgeUnavailable where nothing can be judged. None: verdicts are quick."""
    patience: float = 3.0
    """Seconds that a verdict may take, whatever the output; those that run programs need more."""

    def __post_init__(self) -> None:
        if self.cluster is by_id:
            object.__setattr__(self, "cluster", self.set)

    def but(self, **changes: Any) -> Task:
        """The same task with some fields replaced."""
        return replace(self, **changes)

    @property
    def further(self) -> tuple[str, ...]:
        """All roles besides the solver: of the dialogue, and of who judges."""
        return (*self.roles, *([self.judging.role] if self.judging else []))

    @property
    def family(self) -> str:
        """The part of the name before the slash."""
        return self.name.partition("/")[0]
