"""grit: reasoning with boxes, learned from the form of answers and from whether they are right.

Idea     Ask for `<think> text and boxes </think> <rethink> text </rethink> <answer>`. Pay a right
         answer, and beside it the form: tags, boxes before the second thought, and no repetition.
         No box is ever labeled; where objects are counted, their number must match the answer.
Formula  R = R_judge + R_bleu + R_ans + R_fmt + R_ground + R_rep.
         R_judge: the score `correct`. R_bleu: 0.1 BLEU-1 of the answer. R_ans: 0.5 for one
         `<answer>`, 0.25 for several. R_fmt: 0.5 k / 5, k of the four tags found in order, and 1
         where all are and a thought has two words. R_ground: 0.5 for a box before `<rethink>`, and
         1 where a count is asked and that many are there. R_rep = 0.5 (s_tok + s_word - 1), s the
         share of windows of 8 not equal to the next. A = (R - mean) / (std + eps), sample std.
Paper    GRIT: Teaching MLLMs to Think with Images, 2025; code: eric-ai-lab/GRIT.
Limits   The code asks a judge model for R_judge, of which an outage reads as zeros; here the task
         judges. It pays a count by the data set of a batch's first item; here by each example's
         tags. It takes any four integers for a box; here a JSON list of four numbers is one, and
         integers without brackets only where there is no such list. It pays the full R_rep for an
         empty reply; here nothing. Form is worth up to 2.5 beside 1 for being right: each part is
         logged as grit/NAME. No reward looks where a box is.
"""

import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from harness.similarity import bleu
from harness.types import Rollout
from trainers.advantages import CenterByMean, ScaleByStd
from trainers.batch import Batch
from trainers.losses import Clipped, KLToReference
from trainers.recipe import Run
from trainers.recipes.grpo import RECIPE as GRPO
from trainers.rewards import WeighScores
from trainers.samplers import Uniform

ANSWER = "<answer>"
TAGS = ("<think>", "</think>", "<rethink>", "</rethink>")
LIST = re.compile(r"\[[^\[\]]{1,200}\]")
FOUR = re.compile(r"(?<!\d)\d{1,9}(?:,\s{0,9}\d{1,9}){3}(?!\d)")
"""Any four integers, as the released code finds a box."""


@dataclass(frozen=True)
class PayAnswerWords:
    """weight x BLEU-1 of what follows the first `<answer>`, letters and digits alone."""

    weight: float = 0.1

    def __call__(self, batch: Batch, run: Run) -> Batch:
        """Rewards (N, 1) with what is paid."""
        return added(batch, run, "bleu", [self.weight * answer_bleu(r) for r in batch.rollouts])


@dataclass(frozen=True)
class PayAnswerTag:
    """weight for exactly one `<answer>`, half of it for several."""

    weight: float = 0.5

    def __call__(self, batch: Batch, run: Run) -> Batch:
        """Rewards (N, 1) with what is paid."""
        shares = [(0.0, 1.0, 0.5)[min(said(r).count(ANSWER), 2)] for r in batch.rollouts]
        return added(batch, run, "answer", [self.weight * share for share in shares])


@dataclass(frozen=True)
class PayTagOrder:
    """weight x the share of five: four tags in order, and all with a thought of two words."""

    weight: float = 0.5

    def __call__(self, batch: Batch, run: Run) -> Batch:
        """Rewards (N, 1) with what is paid."""
        paid = [self.weight * tags_in_order(said(r)) / 5 for r in batch.rollouts]
        return added(batch, run, "format", paid)


@dataclass(frozen=True)
class PayBoxes:
    """weight for a box before `<rethink>`; `count` more for as many as a count question counts."""

    weight: float = 0.5
    count: float = 1.0
    counting: Mapping[str, str] = field(default_factory=lambda: {"type": "count"})
    """Tags of the examples that ask for a count."""

    def __call__(self, batch: Batch, run: Run) -> Batch:
        """Rewards (N, 1) with what is paid."""
        return added(batch, run, "boxes", [self._paid(rollout) for rollout in batch.rollouts])

    def _paid(self, rollout: Rollout) -> float:
        before, second, _ = said(rollout).partition("<rethink>")
        found = boxes(before) if second else 0
        tags, target = rollout.example.tags, str(rollout.example.target)
        counts = all(tags.get(name) == value for name, value in self.counting.items())
        right = counts and bool(second) and str(found) == target
        return self.weight * (found > 0) + self.count * right


@dataclass(frozen=True)
class PayVariety:
    """weight x (s_tok + s_word - 1), at least 0; all of it for what is too short to repeat."""

    weight: float = 0.5
    window: int = 8

    def __call__(self, batch: Batch, run: Run) -> Batch:
        """Rewards (N, 1) with what is paid; an empty reply is paid nothing."""
        policy = run.policies[batch.rollouts[0].role]
        ids = policy.choices(batch.rollouts).tolist()
        paid = [
            self._paid(said(r), row[: r.steps]) for r, row in zip(batch.rollouts, ids, strict=True)
        ]
        return added(batch, run, "variety", paid)

    def _paid(self, text: str, ids: Sequence[int]) -> float:
        words, n = text.split(), self.window
        if not words:
            return 0.0
        if len(words) < n or len(ids) < 2 * n:
            return self.weight
        fresh = self._fresh(words, len(words) - n) + self._fresh(ids, len(ids) - 2 * n + 1)
        return self.weight * max(fresh - 1, 0.0)

    def _fresh(self, items: Sequence[str] | Sequence[int], windows: int) -> float:
        """Share of windows that differ from the next one; the last words have no whole next one."""
        n = self.window
        same = sum(items[i : i + n] == items[i + n : i + 2 * n] for i in range(windows))
        return 1 - same / max(windows, 1)


def added(batch: Batch, run: Run, name: str, paid: Sequence[float]) -> Batch:
    """The batch with that much more of a reward, which is logged."""
    run.tally.put(f"grit/{name}", math.fsum(paid) / max(len(paid), 1))
    return batch.but(rewards=batch.rewards + batch.rewards.new_tensor(paid).unsqueeze(1))


def said(rollout: Rollout) -> str:
    """The last reply as text; empty where it is none."""
    output = rollout.completion.output
    return output if isinstance(output, str) else ""


def answer_bleu(rollout: Rollout) -> float:
    """BLEU-1 of the answer and the example's target; 0 where there is no answer."""
    _, tag, rest = said(rollout).partition(ANSWER)
    return (
        bleu(_bare(rest.partition("</answer>")[0]), _bare(str(rollout.example.target)), 1)
        if tag
        else 0.0
    )


def tags_in_order(text: str) -> int:
    """0 to 5: the tags, each looked for behind the last place of the one before; and a thought."""
    rest, found = text, 0
    for tag in TAGS:
        if tag in rest:
            rest, found = rest.rpartition(tag)[2], found + 1
    thought = _bare(text.rpartition("<think>")[2].partition("</think>")[0]).split()
    return found + (found == len(TAGS) and len(thought) > 1)


def boxes(text: str) -> int:
    """How many boxes a text holds: JSON lists of four numbers, or else fours of integers."""
    return sum(_is_box(found[0]) for found in LIST.finditer(text)) or len(FOUR.findall(text))


def _is_box(text: str) -> bool:
    try:
        box = json.loads(text)
    except ValueError:
        return False
    return len(box) == 4 and all(type(x) in (int, float) and math.isfinite(x) for x in box)


def _bare(text: str) -> str:
    return re.sub(r"[^a-zA-Z0-9\s]", " ", text)


RECIPE = GRPO.but(
    name="grit",
    home="spatial/scenes_pair",
    paper="GRIT: Teaching MLLMs to Think with Images, 2025",
    samplers=Uniform(prompts=8, rollouts=4),
    rewards=(
        WeighScores({"correct": 1.0}),
        *(PayAnswerWords(), PayAnswerTag(), PayTagOrder(), PayBoxes(), PayVariety()),
    ),
    advantages=(CenterByMean(), ScaleByStd(eps=1e-4, ddof=1)),
    losses=(Clipped(low=0.2, high=0.2), KLToReference(beta=0.01)),
)
