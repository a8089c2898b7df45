"""igrpo: draft first, then learn to improve on the best draft.

Idea     Half of a step's budget goes to drafts. The best one, by its reward, is shown beside the
         question, and the other half are refinements of it; only these are learned from. As drafts
         get better so does what is improved on.
Formula  d_1 .. d_N ~ pi_old(. | q), d* = the first of the best; q' = q and d*;
         o_1 .. o_G ~ pi_old(. | q'); A_j = (r_j - mean r) / std r, std of the sample; loss as in
         grpo, every probability given q'. N: DraftThenRefine.drafts. G: samplers.rollouts.
Paper    iGRPO: Self-Feedback-Driven LLM Reasoning, 2026, arXiv 2602.09000.
Limits   N + G attempts a question cost what grpo's group of N + G does: 4 + 4 here against its 8,
         8 + 8 against 16 in the paper. The paper's wording of q' is in a supplement; this one is
         ours. A refinement that repeats a right draft is paid in full: rollouts/copied is logged.
         Evaluation asks q alone. The paper has a KL term of unknown size: as in grpo, it is off.
         With drafts=0 it is grpo with the sample's std.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from harness.types import Prompt, Rollout
from trainers.advantages import CenterByMean, ScaleByStd
from trainers.recipe import Attempt, Run
from trainers.recipes.grpo import RECIPE as GRPO
from trainers.rollouts import by_example, paid
from trainers.samplers import Uniform


@dataclass(frozen=True)
class DraftThenRefine:
    """Draft `drafts` times; ask again with the best draft as a hint."""

    drafts: int = 4
    before: str = "A draft of an answer:"
    after: str = "The draft may be wrong. Give the best answer that you can."
    longest: int = 2000
    """Characters of a draft that are shown, its first ones."""

    def __call__(self, prompts: Sequence[Prompt], play: Attempt, run: Run) -> list[Rollout]:
        """The refinements; a question whose drafts all failed to be made is asked as it is."""
        if self.drafts < 1:
            return play(prompts)
        prompts = by_example(prompts)
        drafts = play([prompt.but(rollouts=self.drafts) for prompt in prompts])
        rewards = paid(drafts, run)
        best: dict[str, tuple[float, str]] = {}
        for draft, reward in zip(drafts, rewards, strict=True):
            id = draft.example.id
            if draft.role == "solver" and (id not in best or reward > best[id][0]):
                best[id] = reward, str(draft.completion.output or "")
        asked = [self._refined(prompt, best.get(prompt.example.id)) for prompt in prompts]
        found = play(asked)
        if best:
            run.tally.put("drafts/reward", sum(rewards) / len(rewards))
            run.tally.put("drafts/best", sum(reward for reward, _ in best.values()) / len(best))
            copied = [str(r.completion.output) == best.get(r.example.id, (0, ""))[1] for r in found]
            run.tally.put("rollouts/copied", sum(copied) / max(len(copied), 1))
        return found

    def _refined(self, prompt: Prompt, draft: tuple[float, str] | None) -> Prompt:
        """The question with a draft, its attempts numbered after those of the drafts."""
        later = prompt.but(attempt=prompt.attempt + self.drafts)
        if draft is None:
            return later
        return later.with_hint(f"{self.before}\n{draft[1][: self.longest]}\n\n{self.after}")


RECIPE = GRPO.but(
    name="igrpo",
    home="ladders/graded",
    paper="arXiv:2602.09000",
    samplers=Uniform(prompts=8, rollouts=4),
    rollouts=(DraftThenRefine(drafts=4),),
    advantages=(CenterByMean(), ScaleByStd(eps=1e-9, ddof=1)),
)
