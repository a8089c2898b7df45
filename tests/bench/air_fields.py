"""Forecasts of fields: does training against false alarms beat an alarm's threshold? `make air`.

The generated atmosphere on 16 x 16 cells, PM2.5 above 35 ug/m3 at 12 to 48 h, two years trained and
one tested, three seeds. A U-Net forecaster is fitted (sft) and trained on with air_grpo, at two
charges for a false alarm, and with plain grpo. The rival is the fitted forecaster itself, alarming
in each cell where its chance of the event passes a threshold that was chosen on the dev blocks.
Intervals are of paired bootstraps over blocks of five days.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import torch

from harness import Model, Rollout, Sampling, Split, Task, registry
from harness.play import play, rows
from tasks._air_grid_judging import cell_counts
from tests.bench.air import Arms, settings, trained
from tests.bench.air_judging import LOSS, SHOWN, Floats, blocks, paired, scores
from tests.bench.air_page import differences
from trainers.policies.forecast import open_forecast
from trainers.recipe import AdamW, Recipe
from trainers.recipes.air_grpo import ConstrainRates, PayClasses
from trainers.samplers import Uniform
from trainers.schedules import Cosine

NAME = "airquality/world_grid"
EVENT, LEADS = 35.0, (12, 24, 36, 48)
CHARGES = (0.1, 1.0)
"""For a false alarm; 0.1 is the published one. A right class pays 1."""
AIR = tuple(f"air_grpo, charge {charge:g}" for charge in CHARGES)
CLASSES, TUNED = "sft, class head", "sft, threshold for pofd"
BASELINES = ("persistence", "climatology")
THRESHOLDS = np.linspace(0.02, 0.98, 49)
HEAD = """# Fields: training against false alarms in the generated atmosphere

Made by `make air` in {minutes:.0f} minutes of one core, {seeds} seeds. 16 x 16 cells of the
generated atmosphere (`airquality/world_grid`), PM2.5 above 35 ug/m3 at 12, 24, 36 and 48 h, trained
on 2001 and 2002, scored on 2003, where {rate:.0%} of the cells are events. `sft` is
`forecast:grid-tiny` fitted by likelihood; `air_grpo`, at two charges for a false alarm, and plain
`grpo` (paid by `class_reward`) go on from it. `{tuned}` is `sft` with an alarm where its chance of
the event passes the threshold that has the lowest pofd on the dev blocks with F1 at most {loss}
below that of `sft` there; the chance is that along its mean forecast. `{classes}` is
`forecast:grid-tiny-classes`. Scores pool cells and leads and are means over seeds; intervals are of
1,000 paired draws of five-day blocks. Nothing was chosen on 2003.
"""


def recipes(steps: float) -> dict[str, Recipe]:
    """What is run, in the order in which it is run; all others begin where sft ends."""
    sft = registry.recipe("sft").but(
        samplers=Uniform(prompts=16, rollouts=1),
        optimizer=AdamW(lr=Cosine(3e-3, 1e-4, round(240 * steps)), weight_decay=0.1),
        steps=round(240 * steps),
    )
    later: dict[str, Any] = {
        "samplers": Uniform(prompts=12, rollouts=8),
        "optimizer": AdamW(lr=3e-4),
        "steps": round(100 * steps),
    }
    air = registry.recipe("air_grpo").but(**later)
    charged = {
        name: air.but(rewards=(PayClasses(false_alarm=charge), ConstrainRates()))
        for name, charge in zip(AIR, CHARGES, strict=True)
    }
    return {"sft": sft, **charged, "grpo": registry.recipe("grpo").but(**later)}


def cells_of(task: Task, model: Model, split: Split) -> dict[int, Floats]:
    """(N, 4) of the forecasts without drawing, at each lead."""
    examples = task.examples(split)
    made = play(task, [task.prompt(e) for e in examples], model, block=64)
    found = [each for each in made if isinstance(each, Rollout)]
    judged = rows(found, [e.id for e in examples])
    return {lead: np.array([cell_counts(row, [lead]) for row in judged]) for lead in LEADS}


def chances(task: Task, policy: Any, split: Split) -> tuple[Floats, Floats]:
    """(N, L, Y, X) the chance of the event along the mean forecast, and what was observed."""
    told: list[Floats] = []
    examples = task.examples(split)
    for begin in range(0, len(examples), 64):
        asked: list[Rollout] = []
        for example in examples[begin : begin + 64]:
            prompt = task.prompt(example)
            nobody = policy.spell(prompt, np.full_like(task.gold(example), np.nan))
            asked.append(Rollout(((prompt, nobody),), task.verify(example, nobody), example.id))
        content = asked[0].prompt.messages[0].content
        edge = (np.log1p(EVENT) - content["center"][0]) / content["spread"][0]
        with torch.no_grad():
            live = policy.review(asked)
        told.append(torch.special.ndtr((live.means - edge) / live.spreads).double().numpy())
    return np.concatenate(told), np.stack([task.gold(e) for e in examples]).astype(np.float64)


def alarmed(chance: Floats, observed: Floats, threshold: float) -> Floats:
    """(N, 4) cells of alarms where the chance is at least the threshold."""
    alarm, event, known = chance >= threshold, observed > EVENT, ~np.isnan(observed)
    cells = (alarm & event, alarm & ~event, ~alarm & event, ~alarm & ~event)
    return np.stack([(cell & known).sum((1, 2, 3)) for cell in cells], axis=1).astype(np.float64)


def tuned(chance: Floats, observed: Floats, floor: float) -> float:
    """The threshold of the lowest pofd with F1 above a floor; the best F1 if none is above."""
    tables = [scores(alarmed(chance, observed, t).sum(0)) for t in THRESHOLDS]
    kept = [n for n, each in enumerate(tables) if each["f1"] >= floor]
    if not kept:
        return float(THRESHOLDS[int(np.argmax([each["f1"] for each in tables]))])
    return float(THRESHOLDS[min(kept, key=lambda n: tables[n]["pofd"])])


def judged(task: Task, arms: Arms) -> dict[str, Any]:
    """Every score of every arm on the test year, pooled and by lead, and of sft on dev."""
    by_lead = {name: [cells_of(task, p, "test") for p in group] for name, group in arms.items()}
    for name in BASELINES:
        model = registry.task_models(task.name)[name](task, "test", Sampling())
        by_lead[name] = [cells_of(task, model, "test")] * len(arms["sft"])
    found = {name: np.stack([sum_of(each) for each in group]) for name, group in by_lead.items()}
    rival: list[Floats] = []
    thresholds: list[float] = []
    for policy in arms["sft"]:
        floor = scores(sum_of(cells_of(task, policy, "dev")).sum(0))["f1"] - LOSS
        thresholds.append(tuned(*chances(task, policy, "dev"), floor))
        rival.append(alarmed(*chances(task, policy, "test"), thresholds[-1]))
    found[TUNED] = np.stack(rival)
    labels = blocks(task.examples("test"))
    pairs = [("sft", name) for name in BASELINES]
    pairs += [(name, "sft") for name in found if name not in ("sft", *BASELINES)]
    pairs += [(name, TUNED) for name in AIR if name in found]
    table = found["sft"][0].sum(0)
    return {
        "rate": float((table[0] + table[2]) / table.sum()),
        "thresholds": thresholds,
        "scores": {name: _of_seeds(cells) for name, cells in found.items()},
        "pss": {name: [float(np.mean([scores(each[lead].sum(0))["pss"] for each in group]))
                       for lead in LEADS] for name, group in by_lead.items()},
        "pairs": {f"{a} - {b}": paired(found[a], found[b], labels) for a, b in pairs},
    }  # fmt: skip


def sum_of(cells: Mapping[int, Floats]) -> Floats:
    """(N, 4) over the leads."""
    return np.sum(list(cells.values()), axis=0)


def _of_seeds(cells: Floats) -> dict[str, list[float]]:
    each = [scores(table.sum(0)) for table in cells]
    return {name: [one[name] for one in each] for name in SHOWN}


# -- the page


def page(report: Mapping[str, Any]) -> str:
    """The whole page as Markdown."""
    minutes = sum(report["spent"].values()) / 60
    names = ", ".join(f"{each:.2f}" for each in report["thresholds"])
    return "\n".join([
        HEAD.format(minutes=minutes, seeds=report["seeds"], rate=report["rate"], tuned=TUNED,
                    loss=LOSS, classes=CLASSES),
        *(f"Left out of this run: {name}.\n" for name in report["left_out"]),
        "## On the test year\n",
        _table(SHOWN, {n: [np.nanmean(each[s]) for s in SHOWN]
                       for n, each in report["scores"].items()}),
        f"\nThresholds chosen on dev, a seed each: {names}. PSS by lead:\n",
        _table([f"{lead} h" for lead in LEADS], report["pss"]),
        "\nPaired differences (95 %), and for rates the relative change:\n",
        differences(report["pairs"]),
        "",
    ])  # fmt: skip


def _table(columns: Sequence[str], found: Mapping[str, Sequence[float]]) -> str:
    lines = ["| forecaster | " + " | ".join(columns) + " |", "|---" * (len(columns) + 1) + "|"]
    lines += [f"| {n} | " + " | ".join(f"{x:.3f}" for x in row) + " |" for n, row in found.items()]
    return "\n".join(lines)


def main() -> None:
    """All seeds; writes the numbers and the page."""
    given = settings((*AIR, "grpo", CLASSES))
    torch.set_num_threads(1)
    asked = recipes(given.steps)
    arms, spent = trained(given, asked, partial(open_forecast, "grid-tiny"), NAME)
    classes = partial(open_forecast, "grid-tiny-classes")
    more, cost = trained(given, {CLASSES: asked["sft"]}, classes, NAME)
    begun = time.process_time()
    report = judged(registry.task(NAME), arms | more)
    report |= {"spent": {**spent, **cost, "judging": time.process_time() - begun}}
    report |= {"seeds": given.seeds, "left_out": given.without}
    given.to.mkdir(parents=True, exist_ok=True)
    (given.to / "air_quality_fields.json").write_text(json.dumps(report, indent=1) + "\n")
    (given.to / "air_quality_fields.md").write_text(page(report))
    print(page(report))


if __name__ == "__main__":
    main()
