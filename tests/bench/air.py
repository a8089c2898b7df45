"""Does training against false alarms beat turning the alarm's threshold? `make air`, six minutes.

Aotizhongxin, daily PM2.5 above 75 ug/m3 at 48 h and at all leads; training 2013-03 to 2016-02, test
2016-03 to 2017-02, three seeds. A forecaster is fitted (sft), and trained on with air_grpo and with
plain grpo. The rival is the fitted forecaster itself with a threshold on its probability of the
event, tuned on the dev blocks. Intervals are of paired bootstraps over blocks of five days.
Everything that chooses (steps, thresholds) looks at the dev blocks alone.
"""

from __future__ import annotations

import argparse
import json
import math
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from harness import Example, Rollout, Sampling, Task, registry
from harness.play import play, rows
from harness.types import Row
from harness.verification import EVENT_SCORES, Counts
from tasks._air_cases import BLOCK, LEADS
from tasks._air_judging import event_counts
from trainers.loop import Plan, Training
from trainers.policies.forecast import open_forecast
from trainers.recipe import AdamW, Recipe
from trainers.samplers import Uniform
from trainers.schedules import Cosine

NAME = "airquality/aotizhongxin+event=75"
EVENT, CLASS = 75.0, 3
DRAWS = 1000
MEMBERS = 64
SHOWN = ("pod", "far_ratio", "pofd", "csi", "f1", "bias", "ets", "pss")
Floats = NDArray[np.float64]


def recipes(steps: float) -> dict[str, Recipe]:
    """What is run, in the order in which it is run; both others begin where sft ends."""
    sft = registry.recipe("sft").but(
        samplers=Uniform(prompts=64, rollouts=1),
        optimizer=AdamW(lr=Cosine(3e-3, 1e-4, round(240 * steps)), weight_decay=0.1),
        steps=round(240 * steps),
    )
    grpo = registry.recipe("grpo").but(
        samplers=Uniform(prompts=32, rollouts=8), optimizer=AdamW(lr=1e-3), steps=round(120 * steps)
    )
    air = registry.recipe("air_grpo").but(steps=round(120 * steps))
    return {"sft": sft, "air_grpo": air, "grpo": grpo}


def fitted(task: Task, recipe: Recipe, policy: Any, seed: int) -> Any:
    """The policy after the recipe."""
    with tempfile.TemporaryDirectory() as folder:
        plan = Plan(seed=seed, dev_every=0, save_every=10**9, keep=1)
        Training(task, recipe, {"solver": policy}, Path(folder), plan).train()
    return policy


def answered(task: Task, policy: Any, split: Any, members: int = 0) -> list[Row]:
    """Verdicts on a split: one forecast without drawing, or so many drawn ones."""
    policy.sampling = Sampling(temperature=1.0 if members else 0.0, seed=1)
    examples = task.examples(split)
    prompts = [task.prompt(e).but(rollouts=max(members, 1)) for e in examples]
    found = [each for each in play(task, prompts, policy, block=512) if isinstance(each, Rollout)]
    return rows(found, [e.id for e in examples])
