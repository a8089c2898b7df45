"""alarms: what a log says that a reward curve hides, each with its step and three rollouts.

held_out      reward went up and the score on the dev split did not: the reward is being gamed
length        answers shrank to less than half (other than by ending before the limit that cut
              them), or doubled, and no more of them are right
entropy       the policy says nearly always the same, is not right, and gets no better (or so little
              is left that it cannot)
reasons       verdicts changed their kind: more replies in a bad form, cut, timed out, ...
flat_groups   nearly no group has anything to compare, and the task is not solved
faults        attempts could not be made or judged
not_finite    a number of the log is none

A window is the mean of the last steps, compared with that of the first ones. An alarm is raised
when its condition begins to hold, and again when it held no more in between.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from harness.journal import Journal
from harness.types import Metric, Rollout

WINDOW = 5
"""Steps of a window; nothing is said before two of them are full."""
SOLVED = 0.9
"""Share of right verdicts from which silence is no worry: there is nothing left to learn."""
RIGHT = "verdicts/ok"
Line = Mapping[str, float]
Worst = Callable[[Rollout, float], float]
"""Sorts rollouts, with what they were paid, for show: the largest first."""


@dataclass(frozen=True)
class Finding:
    """A condition that holds now, and which rollouts show it."""

    kind: str
    text: str
    worst: Worst = field(default=lambda rollout, paid: 0.0, compare=False)


@dataclass(frozen=True)
class Alarm:
    """A finding that just began to hold."""

    step: int
    kind: str
    text: str
    rollouts: tuple[Mapping[str, Any], ...] = ()
    """Up to three: example, attempt, reason, reward and what was said."""

    def line(self) -> str:
        """For people, in one line."""
        shown = "; ".join(
            f"{r['example']} #{r['attempt']} ({r['reason']}): {r['said'][:60]!r}"
            for r in self.rollouts
        )
        return f"alarm at step {self.step}, {self.kind}: {self.text}" + (
            f" | {shown}" if shown else ""
        )


@dataclass(frozen=True)
class HeldOut:
    """How the dev split's headline is read."""

    name: str = ""
    """Its key in the log; empty where there is none."""
    span: float = 1.0
    """From its worst value to its best."""
    best: float = 1.0
    sign: int = 1
    """-1 where lower is better."""
    paid: float = 1.0
    """The largest reward that scores in [0, 1] can earn."""

    @classmethod
    def of(cls, metric: Metric | None, reward: Mapping[str, float]) -> HeldOut:
        """Of a task's headline and its reward; none where the metric has no bounds to compare."""
        paid = sum(weight for weight in reward.values() if weight > 0)
        if metric is None or not math.isfinite(metric.high - metric.low) or not paid:
            return cls()
        lower = metric.better == "lower"
        best = metric.low if lower else metric.high
        sign = -1 if lower else 1
        return cls(f"eval/{metric.name}", metric.high - metric.low, best, sign, paid)


class Watch:
    """Reads a run's log as it grows; keeps alarms in a file and tells them. A tracker."""

    def __init__(
        self, path: Path, held_out: HeldOut, tell: Callable[[Alarm], None] = lambda alarm: None
    ) -> None:
        self.path = path
        self.held_out = held_out
        self.tell = tell
        self.steps: list[Line] = []
        self.looks: list[Line] = []
        self.active: set[str] = set()
        self.shown: Sequence[tuple[Rollout, float]] = ()
        """The newest rollouts with what they were paid."""

    def recall(self, lines: Sequence[Line], step: int) -> None:
        """Take in the log up to a step, and drop the alarms that came after it."""
        for line in lines:
            self._new(line)
        if self.path.exists():
            with Journal(self.path) as journal:
                journal.prune(lambda row: row.get("step", step + 1) <= step)

    def log(self, step: int, numbers: Line) -> None:
        """One line more."""
        for finding in self._new({"step": step, **numbers}):
            shown = sorted(self.shown, key=lambda pair: -finding.worst(*pair))[:3]
            told = tuple(_told(rollout, paid) for rollout, paid in shown)
            alarm = Alarm(step, finding.kind, finding.text, told)
            with Journal(self.path) as journal:
                journal.append(asdict(alarm))
            self.tell(alarm)

    def close(self) -> None:
        """Everything is written."""

    def _new(self, line: Line) -> list[Finding]:
        """What begins to hold with this line."""
        (self.steps if "reward" in line else self.looks).append(line)
        found = list(findings(self.steps, self.looks, self.held_out))
        new = [finding for finding in found if finding.kind not in self.active]
        self.active = {finding.kind for finding in found}
        return new


def findings(steps: Sequence[Line], looks: Sequence[Line], held_out: HeldOut) -> Iterator[Finding]:
    """Everything that is worrying about a log so far."""
    newest = steps[-1] if steps else {}
    odd = sorted(name for name, value in newest.items() if not math.isfinite(value))
    if odd:
        yield Finding("not_finite", f"{', '.join(odd[:4])} of the log")
    if len(steps) >= WINDOW:
        yield from _faults(steps)
    if len(steps) >= 2 * WINDOW:
        for rule in (_length, _entropy, _reasons, _flat_groups):
            yield from rule(steps)
        yield from _held_out(steps, looks, held_out)


def _window(steps: Sequence[Line], name: str) -> tuple[float, float]:
    """Means of the first and of the last steps; a name that a line lacks counts 0 there."""
    ends = (steps[:WINDOW], steps[-WINDOW:])
    first, last = (sum(line.get(name, 0.0) for line in part) / WINDOW for part in ends)
    return first, last


def _faults(steps: Sequence[Line]) -> Iterator[Finding]:
    part = steps[-WINDOW:]
    lost = sum(line.get("faults", 0.0) for line in part)
    made = sum(line.get("rollouts", 0.0) for line in part)
    if lost > 0.05 * (lost + made):
        share = lost / (lost + made)
        yield Finding("faults", f"{share:.0%} of the attempts could not be made or judged")


def _length(steps: Sequence[Line]) -> Iterator[Finding]:
    was, now = _window(steps, "completions/mean_length")
    right_was, right_now = _window(steps, RIGHT)
    if right_now > right_was + 0.05 or right_now > SOLVED:
        return
    cut_was, cut_now = _window(steps, "completions/clipped_ratio")
    if was >= 2 and now < was / 2 and cut_now > cut_was - 0.2:  # not those that learned to end
        text = f"answers shrank from {was:.1f} to {now:.1f} steps, and no more of them are right"
        yield Finding("length", text, lambda rollout, paid: -rollout.steps)
    if now > 2 * was:
        text = f"answers grew from {was:.1f} to {now:.1f} steps, and no more of them are right"
        yield Finding("length", text, lambda rollout, paid: rollout.steps)


def _entropy(steps: Sequence[Line]) -> Iterator[Finding]:
    was, now = _window(steps, "entropy")
    right_was, right = _window(steps, RIGHT)
    little = 0.1 if right <= right_was + 0.05 else 0.01  # a policy that learns gets surer, too
    if now < 0.1 * was and now < little and right < SOLVED:
        yield Finding(
            "entropy",
            f"entropy fell from {was:.3f} to {now:.3f} nats a step with {right:.0%} right: "
            "what is said is nearly always the same",
            lambda rollout, paid: -float(rollout.verdict.reason == "ok"),
        )


def _reasons(steps: Sequence[Line]) -> Iterator[Finding]:
    names = {n for line in (*steps[:WINDOW], *steps[-WINDOW:]) for n in line}
    for name in sorted(n for n in names if n.startswith("verdicts/") and n != RIGHT):
        was, now = _window(steps, name)
        right_was, right_now = _window(steps, RIGHT)
        reason = name.removeprefix("verdicts/")
        # more wrong answers are a worry only where there were right ones
        if now > was + 0.2 and (reason != "wrong" or right_now < right_was - 0.2):
            yield Finding(
                "reasons",
                f"{now:.0%} of the verdicts are '{reason}', {was:.0%} were at first",
                lambda rollout, paid, reason=reason: float(rollout.verdict.reason == reason),
            )
            return


def _flat_groups(steps: Sequence[Line]) -> Iterator[Finding]:
    part = steps[-WINDOW:]
    flat = sum(line.get("frac_reward_zero_std", 0.0) for line in part) / WINDOW
    flat = max(flat, sum(1 - line.get("effective_prompt_ratio", 1.0) for line in part) / WINDOW)
    right = _window(steps, RIGHT)[1]
    if flat > 0.95 and right < SOLVED:
        yield Finding(
            "flat_groups",
            f"{flat:.0%} of the groups have nothing to compare, with {right:.0%} right: a "
            "score that tells more, easier examples or more rollouts would help",
        )


def _held_out(steps: Sequence[Line], looks: Sequence[Line], held_out: HeldOut) -> Iterator[Finding]:
    told = [look[held_out.name] for look in looks if held_out.name in look]
    if len(told) < 3:
        return
    was, now = _window(steps, "reward")
    reward = (now - was) / held_out.paid
    score = held_out.sign * (told[-1] - told[0]) / held_out.span
    short = held_out.sign * (held_out.best - told[-1]) / held_out.span
    if reward > 0.15 and score < 0.25 * reward and short > 1 - SOLVED:
        metric = held_out.name.removeprefix("eval/")
        yield Finding(
            "held_out",
            f"reward went from {was:.3f} to {now:.3f}, {metric} on the dev split from "
            f"{told[0]:.3f} to {told[-1]:.3f}",
            lambda rollout, paid: paid,
        )


def _told(rollout: Rollout, paid: float) -> dict[str, Any]:
    said = rollout.completion.output
    return {
        "example": rollout.example.id,
        "attempt": rollout.attempt,
        "reason": rollout.verdict.reason,
        "reward": paid,
        "said": said[:200] if isinstance(said, str) else type(said).__name__,
    }
