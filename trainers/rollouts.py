"""rollouts: how attempts come about. Wrappers that go round `play`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from harness.errors import UsageError
from harness.play import play as played
from harness.play import set_of
from harness.types import Completion, Fault, Prompt, Rollout, Turn
from trainers.recipe import Attempt, Run
from trainers.rewards import paying, reward


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


@dataclass(frozen=True)
class AnswerWithGold:
    """Ask nobody: the task's own gold output, spelled in the policy's steps, is the attempt."""

    def __call__(self, prompts: Sequence[Prompt], play: Attempt, run: Run) -> list[Rollout]:
        """One judged expert's rollout for each prompt."""
        policy, task = run.policies["solver"], run.task
        found: list[Rollout] = []
        for prompt in prompts:
            said = policy.spell(prompt, task.gold(prompt.example))
            verdict = task.verify(prompt.example, said)
            group = task.group(prompt.example)
            turn = (prompt.but(rollouts=1), said)
            found.append(Rollout((turn,), verdict, group, attempt=prompt.attempt, source="expert"))
        return found


@dataclass(frozen=True)
class RefillFlatGroups:
    """Leave out groups whose scores are all the same, and ask new examples until none is missing.

    DAPO's dynamic sampling: every group of a step has something to compare. What is paid for
    scores decides; what later reward stages add or take does not. Where examples form sets, whole
    ones are kept or left out: a set stays where one of its groups differs.
    """

    rounds: int = 10
    """At most so many rounds of questions a step, the first included; then what there is will do,
    and where no group differs the last flat one stays."""

    def __post_init__(self) -> None:
        if self.rounds < 1:
            raise UsageError(f"{self!r}: at least 1 round is asked")

    def __call__(self, prompts: Sequence[Prompt], play: Attempt, run: Run) -> list[Rollout]:
        """Rollouts of as many groups, or sets, as were asked for first, in the rounds' order."""
        wanted = len({_unit(prompt, run) for prompt in prompts})
        kept: dict[str, list[Rollout]] = {}
        asked: Counter[str] = Counter()
        flat: list[Rollout] = []
        groups, number = 0, 0
        for number in range(1, self.rounds + 1):
            for unit, found in _gathered(play(prompts), lambda r: r.set or r.group).items():
                each = _gathered(found, lambda r: r.group).values()
                groups += len(each)
                if not any(_differs(group, run) for group in each):
                    flat = found
                elif len(kept) < wanted:
                    kept[unit] = found
            if len(kept) >= wanted or number == self.rounds:
                break
            for prompt in prompts:
                asked[prompt.example.id] += prompt.rollouts
            more = run.recipe.samplers(run.examples, run)
            missing = [prompt for prompt in more if _unit(prompt, run) not in kept]
            prompts = [p.but(attempt=p.attempt + asked[p.example.id]) for p in missing]
        run.tally.put("groups/asked", groups)
        run.tally.put("groups/rounds", number)
        return [rollout for each in kept.values() for rollout in each] or flat


def _unit(prompt: Prompt, run: Run) -> str:
    """What an example is kept or left out with: its set, or else its group."""
    return set_of(run.task, prompt.example) or run.task.group(prompt.example)


def _gathered(
    rollouts: Sequence[Rollout], key: Callable[[Rollout], str]
) -> dict[str, list[Rollout]]:
    """Rollouts by key, in their order: all roles, so that no dialogue is torn apart."""
    found: dict[str, list[Rollout]] = {}
    for rollout in rollouts:
        found.setdefault(key(rollout), []).append(rollout)
    return found


def _differs(rollouts: Sequence[Rollout], run: Run) -> bool:
    """Whether the solver's attempts earned different sums of scores."""
    return len(set(paid([r for r in rollouts if r.role == "solver"], run))) > 1


@dataclass(frozen=True)
class Given:
    """A model that gives completions that there are already."""

    completions: Mapping[tuple[str, int], Completion]
    """By example and attempt."""
    name = "given"
    independent = True

    def answer(self, prompts: Sequence[Prompt]) -> Iterator[tuple[int, Completion]]:
        """The completion of each."""
        for number, prompt in enumerate(prompts):
            yield number, self.completions[prompt.example.id, prompt.attempt]

    def describe(self) -> Mapping[str, Any]:
        """Nothing but its name."""
        return {"engine": self.name}


def judged(turns: Sequence[Turn], run: Run) -> list[Rollout]:
    """Rollouts of answers that a wrapper has got elsewhere, in order; faults are left out.

    Of a task of single answers; no example comes twice with the same attempt.
    """
    given = Given({(asked.example.id, asked.attempt): said for asked, said in turns})
    asked = [prompt.but(rollouts=1) for prompt, _ in turns]
    found = list(played(run.task, asked, given, block=max(len(asked), 1)))
    run.tally.add("faults/given", sum(isinstance(outcome, Fault) for outcome in found))
    places = {(prompt.example.id, prompt.attempt): n for n, prompt in enumerate(asked)}
    rollouts = [outcome for outcome in found if isinstance(outcome, Rollout)]
    return sorted(rollouts, key=lambda rollout: places[rollout.example.id, rollout.attempt])


def by_example(prompts: Sequence[Prompt]) -> list[Prompt]:
    """One prompt an example: where a step asks one twice, it is asked as often in all."""
    merged: dict[str, Prompt] = {}
    for prompt in prompts:
        first = merged.get(prompt.example.id)
        often = prompt.rollouts + (first.rollouts if first else 0)
        merged[prompt.example.id] = (first or prompt).but(rollouts=often)
    return list(merged.values())


def paid(rollouts: Sequence[Rollout], run: Run) -> list[float]:
    """What the scores of each are paid; what later reward stages add or take is not known yet."""
    weights = paying(run.recipe).weights(run.task)
    return [reward(rollout.verdict, weights) for rollout in rollouts]


def solved(rollout: Rollout) -> bool:
    """Whether an attempt succeeded, as the ledger counts it."""
    return rollout.verdict.reason == "ok"
