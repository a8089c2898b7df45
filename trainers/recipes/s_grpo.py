"""s_grpo: cut one line of thought at several places, and pay most for the first cut that suffices.

Idea     Reasoning goes on after the answer is known. Sample one full path, stop it at random places
         and have it answer there: a serial group. Right answers earn less the later they come, so
         the model learns to think no longer than it must.
Formula  Exit i says o_1 .. o_{P_i}, the inducer, and an answer; P_i uniform on the thinking.
         From the earliest exit to the full path, the k-th right one has r = 1 / 2^(k - 1), wrong
         ones 0; A_i = r_i - mean r; loss as in grpo, without KL. Exits: ExitEarly.exits.
Paper    S-GRPO: Early Exit via Reinforcement Learning in Reasoning Models, 2025, arXiv 2505.07686.
Limits   Known from secondary sources; sizes and the inducer's wording are ours. Of an exit only
         what follows the cut is learned, --set weights.TrainAfterCut.prefix=true takes all, as
         unofficial code does; the inducer is never learned. Thinking ends where the end tag begins,
         or with the answer. Cuts that fall together are made once, so groups may be smaller;
         answers without a place to cut teach nothing. Tasks with dialogues are refused. Ablations:
         DecayByExit.scheme. With scheme=all, and ScaleByStd put back, advantages are those of grpo.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import accumulate
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from harness.errors import UsageError
from harness.types import Completion, Prompt, Rollout
from trainers.advantages import CenterByMean
from trainers.batch import Batch
from trainers.losses import Clipped
from trainers.recipe import Attempt, Run
from trainers.recipes.grpo import RECIPE as GRPO
from trainers.rollouts import by_example, judged, solved
from trainers.samplers import Uniform


@dataclass(frozen=True)
class ExitEarly:
    """Beside each attempt, the answers that it gives when it is stopped earlier."""

    exits: int = 7
    inducer: str = "\n\nTime is limited: I stop thinking and answer now.\n</think>\n\n"
    end: str = "</think>"
    """What ends the thinking; an answer without it is all thinking."""
    answer: int = 64
    """The most steps of an exit's answer."""
    whole_words: bool = True
    """Cut between words only."""

    def __call__(self, prompts: Sequence[Prompt], play: Attempt, run: Run) -> list[Rollout]:
        """Every attempt with its exits, as a group of their own."""
        if run.task.dialogue is not None:
            raise UsageError(
                f"exits are cut from single answers, and {run.task.name} is a dialogue"
            )
        prompts = by_example(prompts)
        often = {prompt.example.id: prompt.rollouts for prompt in prompts}
        full = play(prompts)
        asked: list[Prompt] = []
        cuts: list[tuple[Rollout, int]] = []
        for path in full:
            for number, place in enumerate(self._drawn(path.completion, run), 1):
                later = path.attempt + number * often[path.example.id]
                asked.append(path.prompt.but(attempt=later))
                cuts.append((path, place))
        policy = run.policies["solver"]
        said = policy.resume_all(cuts, insert=self.inducer, budget=self.answer) if cuts else []
        found = judged(list(zip(asked, said, strict=True)), run)
        of = {(p.example.id, p.attempt): cut for p, cut in zip(asked, cuts, strict=True)}
        exits = [(exit, *of[exit.example.id, exit.attempt]) for exit in found]
        drawn = int(policy.decided(found).sum()) - sum(place for _, _, place in exits)
        run.tally.add("tokens/generated", drawn)
        run.tally.add("rollouts/generated", len(exits))
        groups = [(path, path) for path in full] + [(exit, path) for exit, path, _ in exits]
        return [replace(r, group=f"{path.group}#{path.attempt}") for r, path in groups]

    def _drawn(self, said: Completion, run: Run) -> list[int]:
        """Steps before which an answer is cut, in order, none twice."""
        places = self._places(said)
        chance = run.rng.integers(len(places), size=self.exits) if places else []
        return sorted({places[number] for number in chance})

    def _places(self, said: Completion) -> list[int]:
        """Steps before which the thinking may be cut: neither at its start nor at its end."""
        text = "".join(said.pieces)
        end = text.find(self.end) if self.end in text else len(text)
        starts = accumulate(map(len, said.pieces), initial=0)
        return [
            step
            for step, (start, piece) in enumerate(zip(starts, said.pieces, strict=False))
            if 0 < start < end
            and piece
            and not (self.whole_words and text[start - 1 : start + 1].isalnum())
        ]


@dataclass(frozen=True)
class DecayByExit:
    """From the earliest cut to the full path: the k-th right answer keeps 1 / 2^(k - 1)."""

    scheme: Literal["decaying", "shortest", "all"] = "decaying"
    """shortest: the first right answer alone is paid. all: every right one alike."""

    def __call__(self, batch: Batch, run: Run) -> Batch:
        """Rewards (N, #T); wrong answers have 0."""
        cut, group = cuts(batch).tolist(), batch.group.tolist()
        right: Counter[int] = Counter()
        share = [0.0] * len(cut)
        for row in sorted(range(len(cut)), key=lambda n: (cut[n], batch.rollouts[n].attempt)):
            if solved(batch.rollouts[row]):
                before = right[group[row]]
                first = float(before == 0)
                share[row] = {"decaying": 0.5**before, "shortest": first, "all": 1.0}[self.scheme]
                right[group[row]] += 1
        return batch.but(rewards=batch.rewards * batch.rewards.new_tensor(share).unsqueeze(1))


@dataclass(frozen=True)
class TrainAfterCut:
    """Weight 0 for what an exit has from its full path."""

    prefix: bool = False
    """True leaves the weights as they are."""

    def __call__(self, batch: Batch, run: Run) -> Batch:
        """Full paths keep all weights."""
        if self.prefix:
            return batch
        cut = cuts(batch).unsqueeze(1)
        column = torch.arange(batch.mask.shape[1], device=cut.device)
        return batch.but(weights=batch.weights * (cut.isinf() | (column >= cut)))


def cuts(batch: Batch) -> Float[Tensor, " N"]:
    """The step at which something was put into a rollout first; infinite where nothing was."""
    steps = batch.group.new_tensor([rollout.steps for rollout in batch.rollouts]).unsqueeze(1)
    column = torch.arange(batch.mask.shape[1], device=steps.device)
    foreign = ~batch.mask & (column < steps)
    return torch.where(foreign, column.float(), torch.inf).amin(1)


RECIPE = GRPO.but(
    name="s_grpo",
    home="ladders/wordy",
    paper="arXiv:2505.07686",
    samplers=Uniform(prompts=8, rollouts=1),
    rollouts=(ExitEarly(exits=7),),
    rewards=(*GRPO.rewards, DecayByExit()),
    advantages=(CenterByMean(),),
    weights=(TrainAfterCut(), *GRPO.weights),
    losses=(Clipped(low=0.2, high=0.2),),
)
