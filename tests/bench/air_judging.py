"""How `tests/bench/air.py` judges: alarms at 48 h by point forecasts and by thresholds.

A table of cells is (N, 4): hits, false alarms, misses and correct negatives of each example.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness import Example, Model, Rollout, Split, Task
from harness.play import play, rows
from harness.verification import EVENT_SCORES, Counts
from tasks._air_judging import event_counts

EVENT, CLASS, LEAD = 75.0, 3, 48
DRAWS = 1000
LOSS, GOAL = 0.03, 0.3
"""F1 that may be lost, and the share by which far_ratio and pofd are to fall."""
SHOWN = ("pod", "far_ratio", "pofd", "csi", "f1", "bias", "ets", "pss")
RATES = ("far_ratio", "pofd")
NORMAL = NormalDist()
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Chances:
    """What a forecaster gives the event on a split."""

    chance: Floats
    """(N,) in [0, 1]."""
    event: Floats
    """(N,) 1 or 0; NaN without observation."""

    def alarms(self, threshold: float) -> Floats:
        """(N, 4) cells of alarms where the chance is at least the threshold."""
        alarm, known = self.chance >= threshold, ~np.isnan(self.event)
        happened = self.event == 1
        cells = (alarm & happened, alarm & ~happened, ~alarm & happened, ~alarm & ~happened)
        return np.stack([cell & known for cell in cells], axis=1).astype(np.float64)

    def curve(self) -> list[dict[str, float]]:
        """The scores at every threshold that raises another set of alarms."""
        known = ~np.isnan(self.event)
        return [
            {"threshold": float(t), **scores(self.alarms(t).sum(0))}
            for t in np.unique(self.chance[known])
        ]

    def auc(self) -> float:
        """The chance that an event was given more than a quiet day was."""
        event, quiet = self.chance[self.event == 1], self.chance[self.event == 0]
        above = (event[:, None] > quiet[None]).mean() + (event[:, None] == quiet[None]).mean() / 2
        return float(above)


def chances(task: Task, policy: Any, split: Split) -> Chances:
    """Of the Gaussian that a policy gives the first lead: no draws, so no noise."""
    examples = task.examples(split)
    prompts = [task.prompt(example) for example in examples]
    edges = [policy.spell(prompt, [EVENT]) for prompt in prompts]
    asked = [
        Rollout(((prompt, edge),), task.verify(prompt.example, edge), prompt.example.id)
        for prompt, edge in zip(prompts, edges, strict=True)
    ]
    live = policy.review(asked)
    edge = np.array([float(each.trace["z"][0]) for each in edges])
    mean, spread = (x[:, 0].detach().double().numpy() for x in (live.means, live.spreads))
    chance = np.array([NORMAL.cdf(each) for each in (mean - edge) / spread])
    target = [math.nan if e.target[0] is None else float(e.target[0] > EVENT) for e in examples]
    return Chances(chance, np.array(target))


def point_cells(task: Task, model: Model, split: Split) -> Floats:
    """(N, 4) of the forecasts themselves, without drawing."""
    examples = task.examples(split)
    made = play(task, [task.prompt(e) for e in examples], model, block=512)
    found = [each for each in made if isinstance(each, Rollout)]
    judged = rows(found, [e.id for e in examples])
    return np.array([event_counts(row, CLASS, [LEAD]) for row in judged])


def blocks(examples: Sequence[Example]) -> list[str]:
    """Of five issue days each."""
    return [str(e.tags["block"]) for e in examples]


def scores(table: Floats) -> dict[str, float]:
    """Every score of summed cells (4,)."""
    return {name: float(EVENT_SCORES[name].of(Counts.stacked(table))) for name in SHOWN}


def tuned(dev: Chances, goal: str, floor: float = -math.inf) -> float:
    """The threshold that is best on dev: highest pss, or lowest pofd with F1 above a floor."""
    sign = -1.0 if goal == "pofd" else 1.0
    kept = [each for each in dev.curve() if each["f1"] >= floor]
    return max(kept, key=lambda each: sign * each[goal])["threshold"]


def paired(ours: Floats, theirs: Floats, labels: Sequence[str]) -> dict[str, Any]:
    """(S, N, 4) cells of S seeds: differences of every score, with intervals over day blocks.

    Scores are means over seeds; all seeds share the drawn blocks. Relative changes of rates are
    (ours - theirs) / theirs.
    """
    names, index = np.unique(np.asarray(labels), return_inverse=True)
    draws = np.random.default_rng(0).integers(len(names), size=(DRAWS, len(names)))
    sums = [np.zeros((len(each), len(names), 4)) for each in (ours, theirs)]
    for total, each in zip(sums, (ours, theirs), strict=True):
        for seed in range(len(each)):
            np.add.at(total[seed], index, each[seed])
    found: dict[str, Any] = {}
    for name in SHOWN:
        score = EVENT_SCORES[name].of
        a, b = (float(np.nanmean(score(Counts.stacked(t.sum(1))))) for t in sums)
        x, y = (np.nanmean(score(Counts.stacked(t[:, draws].sum(2))), axis=0) for t in sums)
        found[name] = {"ours": a, "theirs": b, "gap": a - b, **_ends(x - y)}
        if name in RATES:
            change = {f"change_{end}": value for end, value in _ends((x - y) / y).items()}
            found[name] |= {"change": (a - b) / b, **change}
    return found


def _ends(values: Floats) -> dict[str, float]:
    low, high = np.nanquantile(values, (0.025, 0.975))
    return {"low": float(low), "high": float(high)}


def reach(curve: Sequence[Mapping[str, float]], base: Mapping[str, float]) -> dict[str, float]:
    """How far a threshold can lower each rate where F1 falls by LOSS at most: relative changes.

    Each rate has its own best threshold. Where no threshold keeps F1, nothing is reached: 0.
    """
    kept = [each for each in curve if each["f1"] >= base["f1"] - LOSS]
    return {
        rate: min((each[rate] for each in kept), default=base[rate]) / base[rate] - 1
        for rate in RATES
    }


def needed(base: Mapping[str, float], rate: float) -> dict[str, float]:
    """What the goal asks of a forecaster, from its scores and the share of events `rate`.

    pod and pofd of the point where far_ratio has fallen by GOAL and F1 by LOSS; if pofd has not
    fallen by GOAL there, the goal asks for still more. auc: of two Gaussians of one spread that
    have this point on their curve.
    """
    false, f1 = (1 - GOAL) * base["far_ratio"], base["f1"] - LOSS
    right = 1 - false
    pod = f1 * right / (2 * right - f1)
    pofd = pod * false / right * rate / (1 - rate)
    auc = 1.0  # of the flawless, where the point lies beyond every curve
    if 0 < pofd < pod < 1:
        auc = NORMAL.cdf((NORMAL.inv_cdf(pod) - NORMAL.inv_cdf(pofd)) / math.sqrt(2))
    return {"pod": pod, "far_ratio": false, "pofd": pofd, "f1": f1, "auc": auc}
