"""scaf_grpo: where a whole group fails, learn from the success that needed the least help.

Idea     A group without a success teaches nothing. After a while without help, such questions are
         asked again with hints, from a first piece of knowledge up to whole solutions, and the
         success with the least of them takes the place of one failure.
Formula  Tiers of hints a question, each of up to 4 pieces; level l shows the first c pieces of its
         own tier, l = 1 .. 12 for three tiers. Where all G attempts fail: an attempt at each level,
         the success at the smallest l replaces the first attempt. A_i = (r_i - mean r) /
         (std r + eps) of the group as it then is; loss as in grpo.
         tiers, pieces, exempt, row: ScaffoldHints. eps: ScaleByStd.
Paper    Scaf-GRPO, ICLR 2026, arXiv 2510.19807; code: JIA-Lab-research/Scaf-GRPO.
Limits   All levels are asked at once, as in the code: one after another would be cheaper. Its
         script has exempt=50 and no planning: --set rollouts.ScaffoldHints.exempt=50
         rollouts.ScaffoldHints.tiers='("knowledge", "solution")'. row=hinted learns the success
         under the prompt that led to it, on-policy; row=bare under the plain question. The code can
         replace two attempts, one of each; here it is one. Examples without hints stay as they are;
         then, and where no group fails, it is grpo with the sample's std. Hints that hold the
         answer are counted: scaffold/leaked.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from harness.types import Example, Prompt, Rollout
from trainers.advantages import CenterByMean, ScaleByStd
from trainers.recipe import Attempt, Run
from trainers.recipes.grpo import RECIPE as GRPO
from trainers.rollouts import by_example, solved

Level = tuple[str, tuple[str, ...]]
"""A tier, and the hints that it shows."""


@dataclass(frozen=True)
class ScaffoldHints:
    """Where all attempts at an example failed, one success with the least hint for one of them."""

    tag: str = "hints"
    """Of the example, or else of its inputs: a table of tiers to pieces; or pieces, or one piece,
    as a single tier."""
    tiers: tuple[str, ...] = ("knowledge", "planning", "solution")
    """From the least help to the most."""
    pieces: int = 4
    """At most, of a tier."""
    exempt: int | None = None
    """First steps without any hint; None: 15 % of the recipe's."""
    row: Literal["hinted", "bare"] = "hinted"

    def __call__(self, prompts: Sequence[Prompt], play: Attempt, run: Run) -> list[Rollout]:
        """All groups, of the sizes that were asked for."""
        prompts = by_example(prompts)
        first = play(prompts)
        exempt = round(0.15 * run.recipe.steps) if self.exempt is None else self.exempt
        if run.step < exempt:
            return first
        right = {rollout.example.id for rollout in first if solved(rollout)}
        failed = [prompt for prompt in prompts if prompt.example.id not in right]
        levels = {prompt.example.id: self._levels(prompt.example) for prompt in failed}
        asked = [
            prompt.but(
                hints=(*prompt.hints, *pieces),
                rollouts=1,
                attempt=prompt.attempt + prompt.rollouts + level,
            )
            for prompt in failed
            for level, (_, pieces) in enumerate(levels[prompt.example.id])
        ]
        found = play(asked) if asked else []
        rescues: dict[str, Rollout] = {}
        for rollout in sorted(found, key=lambda rollout: rollout.attempt):
            if solved(rollout) and rollout.role == "solver":
                rescues.setdefault(rollout.example.id, rollout)
        self._log(failed, levels, rescues, run)
        return self._exchanged(first, rescues)

    def _levels(self, example: Example) -> list[Level]:
        """Tier and hints of each level, from the least help to the most."""
        held = example.tags.get(self.tag, example.inputs.get(self.tag, ()))
        table = held if isinstance(held, Mapping) else dict.fromkeys(self.tiers[:1], held)
        found: list[Level] = []
        for tier in self.tiers:
            pieces = table.get(tier, ())
            several = isinstance(pieces, list | tuple)
            texts = [str(piece) for piece in (pieces if several else [pieces]) if piece]
            shown = range(1, min(len(texts), self.pieces) + 1)
            found += [(tier, tuple(texts[:count])) for count in shown]
        return found

    def _exchanged(self, first: Sequence[Rollout], rescues: Mapping[str, Rollout]) -> list[Rollout]:
        """The first attempts, the earliest of a rescued group replaced."""
        waiting = dict(rescues)
        return [
            self._row(waiting.pop(rollout.example.id))
            if rollout.example.id in waiting and rollout.role == "solver"
            else rollout
            for rollout in first
        ]

    def _row(self, found: Rollout) -> Rollout:
        """A success as it is learned; nobody sampled it under the plain question."""
        if self.row == "hinted":
            return found
        turns = tuple((asked.plain(), replace(said, logprobs=None)) for asked, said in found.turns)
        return replace(found, turns=turns)

    def _log(
        self,
        failed: Sequence[Prompt],
        levels: Mapping[str, Sequence[Level]],
        rescues: Mapping[str, Rollout],
        run: Run,
    ) -> None:
        """Groups that failed, and the rescued ones by tier, level, and whether a hint told all."""
        used: list[tuple[int, str, bool]] = []
        for prompt in failed:
            if prompt.example.id in rescues:
                level = rescues[prompt.example.id].attempt - prompt.attempt - prompt.rollouts
                tier, pieces = levels[prompt.example.id][level]
                told = str(run.task.gold(prompt.example)) in "\n".join(pieces)
                used.append((level + 1, tier, told))
        tally = run.tally
        tally.put("scaffold/failed", len(failed))
        tally.put("scaffold/rescued", len(used))
        tally.put("scaffold/leaked", sum(leaked for _, _, leaked in used))
        for tier in self.tiers:
            tally.put(f"scaffold/{tier}", sum(name == tier for _, name, _ in used))
        if used:
            tally.put("scaffold/level", sum(level for level, _, _ in used) / len(used))


RECIPE = GRPO.but(
    name="scaf_grpo",
    home="ladders/hinted",
    paper="arXiv:2510.19807",
    rollouts=(ScaffoldHints(),),
    advantages=(CenterByMean(), ScaleByStd(eps=1e-6, ddof=1)),
)
