"""A small world for tests of the site: boards, run folders, and names and answers that attack."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from harness import registry
from harness.commands.sites import Sources
from harness.journal import Journal
from results.chain import Chain
from results.record import Record, append, load
from tests.harness.runs import Parrot, stored_run, sums
from tests.records import HOSTILE, a_record

EXAMPLES = 60
ATTACKS = (
    *(
        f"<{tag} onload=attack() onerror=attack() src=x href=x>"
        for tag in (
            "script",
            "img",
            "svg",
            "iframe",
            "body",
            "video",
            "object",
            "embed",
            "link",
            "style",
        )
    ),
    *(
        f"</{tag}><script>attack()</script>"
        for tag in (
            "script",
            "title",
            "textarea",
            "style",
            "td",
            "bdi",
            "pre",
            "option",
            "noscript",
            "a",
        )
    ),
    *(f"{mark}><script>attack()</script>" for mark in ("'", '"', "`", "-->", "]]>", "'\"`", "\\'")),
    *(
        f"{scheme}attack()"
        for scheme in ("javascript:", "JaVaScRiPt:", "java\tscript:", "\x01javascript:")
    ),
    "data:text/html,<script>attack()</script>",
    "{{constructor.constructor('attack()')()}}",
    "${attack()}",
    "\\u003cscript\\u003eattack()\\u003c/script\\u003e",
    "\u2028attack()\u2029",
    "');attack();//",
    '");attack();//',
    "__proto__",
    "toString",
    "<template><script>attack()</script></template>",
    "<form action=javascript:attack()><button autofocus>x</button></form>",
    "<meta http-equiv=refresh content='0;url=javascript:attack()'>",
    "constructor",
    "<a href=javascript:attack()>x</a>",
    "<b>bold</b><br>%{x}<extra>",
    "<math><mi//xlink:href='data:x,<script>attack()</script>'>",
    "<details open ontoggle=attack()>",
    "<input autofocus onfocus=attack()>",
    "\u202e\u2066attack()\u2069\u202c",
    "#ranking=<img src=x onerror=attack()>",
)
"""Fifty texts of which none may run."""


def some_records(models: int = 24, seed: int = 0) -> list[Record]:
    """Models of rising skill on two tasks of mathqa and one of coding, two metrics each."""
    rng = np.random.default_rng(seed)
    made: list[Record] = []
    for task in ("mathqa/arith1", "mathqa/arith2", "coding/small"):
        for number in range(models):
            right = rng.random((EXAMPLES, 4)) < (number + 1) / (models + 2)
            told = {
                "task": task,
                "rollouts": 4,
                "run": f"{task.replace('/', '-')}-{number:02}",
                "seeds": [number],
                "seconds": 2.5 + number,
                "commit": "c0ffee",
            }
            for metric, values in (("pass@1", right.mean(axis=1)), ("pass@4", right.any(axis=1))):
                name = f"text:model-{number:02}"
                made.append(a_record(name, values.astype(float).tolist(), metric=metric, **told))
    return made


def hostile_records() -> list[Record]:
    """A model for each attack, its note and source attacking too."""
    return [
        a_record(
            text,
            [1.0, 0.0, 1.0],
            run=f"attack-{n}",
            note=text[:400],
            machine=text,
            dataset=text,
            task="mathqa/attacked",
            recipe=text if n % 3 == 0 else "",
            base="b" if n % 3 == 0 else "",
            reasons={text: 0.5, "ok": 0.5},
            sampling={ATTACKS[0]: ATTACKS[1]},
            settings={ATTACKS[2]: ATTACKS[3]},
            example_ids_digest="attacked",
        )
        for n, text in enumerate((*ATTACKS, *HOSTILE))
    ]


def some_forecasts() -> list[Record]:
    """Three forecasters with what a performance diagram is drawn of."""
    told = {"far_ratio": ([1.0, 0.0, 0.0, 0.0], "lower"), "pod": ([1.0, 1.0, 1.0, 0.0], "higher")}
    return [
        a_record(
            name, values, run=f"air-{name}", task="airquality/world", metric=metric, better=better
        )
        for name in ("persistence", "climatology", ATTACKS[1])
        for metric, (values, better) in told.items()
    ]


def a_run(place: Path, record: Record, completions: Sequence[str] = ("0", "2", "7")) -> None:
    """A folder for the run of a record: rollouts, command, receipt."""
    folder, _ = stored_run(
        place / "runs" / record.run,
        sums(record.examples, asks="What is {a}+{a}?"),
        Parrot(list(completions)),
        report={"complete": True, "tokens": 100 * record.examples, "metrics": []},
    )
    manifest = json.loads((folder.path / "manifest.json").read_text("utf-8"))
    manifest["command"] = ["harness", "eval", record.task, "-m", record.model]
    (folder.path / "manifest.json").write_text(json.dumps(manifest))
    receipt = {
        "agrees": True,
        "when": "2026-01-31T12:00:00+00:00",
        "checks": [{"what": "verdicts", "checked": record.examples, "wrong": 0, "first": []}],
    }
    (folder.path / "receipt.json").write_text(json.dumps(receipt))


def a_training(place: Path, run: str, recipe: str, pace: float) -> None:
    """A folder of a training run whose dev score rises at a pace."""
    folder = place / "runs" / run
    asks = {"task": "drills/digit", "recipe": f"Recipe(name='{recipe}', home='x')", "version": 1}
    folder.mkdir(parents=True)
    (folder / "manifest.json").write_text(
        json.dumps({"asks": asks, "base": "text:tiny", "command": ["harness", "train"]})
    )
    (folder / "report.json").write_text(json.dumps({"complete": True, "recipe": recipe}))
    journal = Journal(folder / "metrics.jsonl").open()
    for step in range(0, 41, 10):
        score = min(1.0, pace * step / 40)
        told: dict[str, Any] = {"step": step, "eval/pass@1": score}
        journal.append(told)
        spent = {"spent/rollouts": 8.0 * (step + 1), "spent/seconds": 0.5 * (step + 1) * pace}
        told = {"step": step + 1, "reward": score, "num_tokens": 100.0 * (step + 10)}
        journal.append({**told, **spent})
    journal.close(compress=False)


def a_world(place: Path) -> Path:
    """A results folder with everything: records, runs, trainings, attacks."""
    records = some_records()
    reported = a_record("text:paper", [1.0]).but(
        origin="reported", source="https://example.org/paper", run="", values=[]
    )
    append([*records, *hostile_records(), *some_forecasts(), reported], place / "records")
    for record in records[:4]:
        if record.metric == "pass@1":
            a_run(place, record, [*ATTACKS, "0"])
    for recipe, pace in (("grpo", 0.8), ("dapo", 1.2)):
        for seed in range(2):
            a_training(place, f"train-{recipe}-{seed}", recipe, pace + 0.1 * seed)
    return place


def sources(place: Path) -> Sources:
    """What a site of a results folder is made of, as `harness publish` reads it."""
    links: dict[Path, Chain] = {}
    records = load(place / "records", links=links)
    boards = [registry.board(card.name) for card in registry.cards("boards")]
    return Sources(boards, records, place, {path.stem: each.ends for path, each in links.items()})
