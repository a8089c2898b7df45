"""Metadata for model cards: `model-index`, `.eval_results/*.yaml`, and the records behind them.

Neither form has a place for n, interval, k or seeds, so they stand in the notes, and the whole
records lie beside them in `results.json`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

import msgspec

from harness.codec import plain
from harness.digests import digest
from leaderboards.rank import key_of
from leaderboards.sheets import interval, row_name, shown
from leaderboards.text import visible
from results.record import Record

HUB_ID = re.compile(
    r"(?P<id>[\w.-]+/[\w.-]+)(?<!\.jsonl)(?<!\.gz)(/[\w.-]+){0,2}(@(?P<revision>[\w.-]+))?"
)
"""ID, ID/CONFIG/SPLIT, either with @REVISION; a file of rows is no hub's."""
WITHOUT_WEIGHTS = frozenset({"gold", "chance"})
KINDS = {
    "vision": "image-text-to-text",
    "spatial": "image-text-to-text",
    "grounding": "image-text-to-text",
    "video": "video-text-to-text",
    "imagegen": "text-to-image",
    "airquality": "time-series-forecasting",
    "precipitation": "time-series-forecasting",
    "geospatial": "image-segmentation",
    "rerank": "text-ranking",
}
"""Task family to the hub's own kind of task; the others generate text."""


@dataclass(frozen=True)
class Card:
    """What a model's card is told."""

    name: str
    records: Sequence[Record]

    @property
    def files(self) -> Mapping[str, Callable[[], str]]:
        """What writes each of its files."""
        found = {"model-index.yaml": lambda: model_index(self.name, self.records)}
        if any(_dataset(record)[0] for record in self.records):
            found[".eval_results/harness.yaml"] = lambda: eval_results(self.records)
        return {**found, "results.json": lambda: _whole(self.records)}


def cards(
    records: Iterable[Record], key: Callable[[Record], str] = key_of
) -> dict[PurePosixPath, Card]:
    """The cards of all measured models by their folders; `key` may be one that remembers."""
    by_model: dict[tuple[str, str], dict[str, Record]] = {}
    for record in records:
        if record.ranked and record.engine not in WITHOUT_WEIGHTS:
            of_model = by_model.setdefault((row_name(record), record.model_digest), {})
            of_model[key(record)] = record  # measured again: the latest counts
    names = [name for name, _ in by_model]
    made: dict[PurePosixPath, Card] = {}
    for (name, weights), found in sorted(by_model.items()):
        alone = names.count(name) == 1
        folder = PurePosixPath(_folder(name if alone else f"{name}-{weights[:8]}"))
        made[folder] = Card(name, list(found.values()))
    return made


def card_files(records: Iterable[Record]) -> dict[PurePosixPath, str]:
    """Files of all measured models, each below a folder of its own."""
    return {
        folder / path: write()
        for folder, card in cards(records).items()
        for path, write in card.files.items()
    }


def model_index(name: str, records: Sequence[Record]) -> str:
    """The front matter of a model card, without the dashes."""
    from huggingface_hub import EvalResult, ModelCardData

    results = [
        EvalResult(
            task_type=KINDS.get(record.family, "text-generation"),
            dataset_type=_dataset(record)[0] or record.task,
            dataset_name=f"{record.task} v{record.version}",
            dataset_split=record.split,
            dataset_revision=_dataset(record)[1],
            dataset_args={"examples": record.examples, "ids": record.example_ids_digest},
            metric_type=record.metric,
            metric_name=summary(record),
            metric_value=record.value,
            metric_args={"rollouts": record.rollouts, "sampling": plain(record.sampling)},
        )
        for record in records
    ]
    card = ModelCardData(model_name=visible(name), eval_results=results)
    return _yaml(card.to_dict())


def eval_results(records: Sequence[Record]) -> str:
    """Entries for the leaderboards of hub datasets; empty where no question comes from the hub."""
    from huggingface_hub import EvalResultEntry, eval_result_entries_to_yaml

    entries = []
    for record in records:
        dataset, revision = _dataset(record)
        if dataset:
            entries.append(
                EvalResultEntry(
                    dataset_id=dataset,
                    task_id=record.task.partition("/")[2] or record.task,
                    value=record.value,
                    dataset_revision=revision,
                    date=record.when or None,
                    notes=summary(record),
                )
            )
    return _yaml(eval_result_entries_to_yaml(entries)) if entries else ""


def _yaml(value: Any) -> str:
    """As `ModelCardData.to_yaml` writes it, in a fifth of the time where libyaml is there."""
    import yaml

    dumper = yaml.CSafeDumper if yaml.__with_libyaml__ else yaml.SafeDumper
    return yaml.dump(value, Dumper=dumper, allow_unicode=True, sort_keys=False).strip() + "\n"


def _whole(records: Sequence[Record]) -> str:
    """The records with all that they say."""
    told = msgspec.json.encode([plain(record) for record in records])
    return msgspec.json.format(told, indent=1).decode() + "\n"


def summary(record: Record) -> str:
    """`avg@4 0.412 [0.385, 0.440] (n=1319, k=4, temperature=1.0, max_tokens=512)`."""
    drawn = [
        f"{name}={record.sampling[name]}"
        for name in ("temperature", "max_tokens")
        if name in record.sampling
    ]
    counts = ", ".join((f"n={record.examples}", f"k={record.rollouts}", *drawn))
    parts = (record.metric, shown(record), interval(record), f"({counts})")
    return visible(" ".join(part for part in parts if part), 300)


def _dataset(record: Record) -> tuple[str, str | None]:
    found = HUB_ID.fullmatch(record.dataset)
    return (found["id"], found["revision"]) if found else ("", None)


def _folder(name: str) -> str:
    """A name that is safe on every file system and differs where the models' names differ."""
    safe = re.sub(r"[^A-Za-z0-9._-]+", "-", name).strip("-.")[:80]
    return safe if safe == name else f"{safe or 'model'}-{digest(name)[:8]}"
