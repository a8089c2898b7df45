"""Public sets of spatial reasoning: their rows as examples, options shuffled, form as for scenes.

Grounding has no columns here: what is true of the photos is not known.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import Any

from harness import Completion, Example, Message, Prompt, Split, Task, Verdict
from harness.errors import DataError, UsageError
from tasks import _spatial_images as images
from tasks import _spatial_rows as rows
from tasks._settings import choice
from tasks._spatial_metrics import CAPTIONS, CHOICES, CVBENCH, WHATSUP
from tasks._spatial_pairs import whatsup_scores
from tasks._spatial_picture import caption, sentences
from tasks._spatial_rows import BLINK, FORMS, LETTERS, Row
from tasks.spatial_claims.verdict import judgment
from tasks.spatial_claims.verdict import verify as verdict

VERSION = 1
SAID = (
    "First reason inside <think></think> in short sentences, the last one such as: So the answer "
    "is {shape}. Then give only the {what} inside <answer></answer>."
)
CAPTION = 'Look at the picture. Is this true of it: "{question}"? ' + SAID.format(
    shape="yes", what="word yes or no"
)
CHOICE = "{question}\n{options}\n" + SAID.format(shape="(B)", what="letter")
COCO = "Each row's image_link says where it is from (COCO, train2017 and val2017)"


@dataclass(frozen=True, kw_only=True)
class Public:
    """One public set."""

    rows: Callable[[Mapping[str, str]], Sequence[Row]]
    """With these settings; DataError where they cannot be had."""
    place: str
    where: str
    """Where images are to be had."""
    metrics: tuple[Any, ...] = CHOICES
    settings: Mapping[str, str]
    """With their defaults."""
    released: str = ""


SETS: Mapping[str, Public] = {
    "vsr": Public(
        rows=rows.vsr,
        place=rows.VSR.file,
        where=COCO,
        metrics=CAPTIONS,
        settings={},
        released="2022-04-30",
    ),
    "cvbench": Public(
        rows=rows.cvbench,
        place=rows.CVBENCH_ROWS.hub,
        where="They are in the hub's repository, below img/",
        metrics=CVBENCH,
        settings={"order": "0"},
        released="2024-06-24",
    ),
    "blink": Public(
        rows=rows.blink,
        place="BLINK-Benchmark/BLINK",
        where="They are in the hub's parquet files",
        settings={"subset": "all", "order": "0"},
        released="2024-04-18",
    ),
    "whatsup": Public(
        rows=rows.whatsup,
        place="github.com/amitakamath/whatsup_vlms",
        where=rows.WHATSUP_FROM,
        metrics=WHATSUP,
        settings={"part": "images", "order": "0"},
        released="2023-10-30",
    ),
    "spatialeval": Public(
        rows=rows.spatialeval,
        place="MilaWang/SpatialEval",
        where="They are in the hub's parquet files",
        settings={"form": "vqa", "order": "0"},
        released="2024-06-21",
    ),
}


# -- examples and tasks


@lru_cache(maxsize=16)
def _examples(name: str, settings: tuple[tuple[str, str], ...]) -> tuple[Example, ...]:
    given = dict(settings)
    try:
        found = SETS[name].rows(given)
    except (KeyError, TypeError, ValueError) as error:
        told = f"{type(error).__name__}: {error}"
        raise DataError(
            f"rows of spatial/{name} have other columns than are known: {told}"
        ) from error
    images.check_there(name, (each for row in found for each in row["images"]), SETS[name].where)
    return tuple(_example(row, given.get("order", "file")) for row in found)


def _example(row: Row, order: str) -> Example:
    tags = {"scene": row["scene"], "type": row["kind"], "part": row.get("part", "")}
    question: dict[str, Any] = {"type": "caption", "question": row["question"]}
    target = row["answer"]
    if "options" in row:
        options: list[str] = row["options"]
        if target not in LETTERS[: len(options)] or not target:
            raise DataError(f"the answer '{target}' to {row['id']} is none of its options")
        right = LETTERS.index(target)
        places = list(range(len(options)))
        if order != "file":
            random.Random(f"spatial/{order}/{row['id']}").shuffle(places)
        question |= {"type": "choice", "options": [options[place] for place in places]}
        target = LETTERS[places.index(right)]
    return Example(row["id"], {"question": question, "images": list(row["images"])}, target, tags)


def prompt(example: Example, name: str) -> Prompt:
    """The images, the question with its options, and the form of the answer."""
    question = example.inputs["question"]
    if question["type"] == "caption":
        text = CAPTION.format(question=question["question"])
    else:
        lettered = zip(LETTERS, question["options"], strict=False)
        options = "\n".join(f"({letter}) {option}" for letter, option in lettered)
        text = CHOICE.format(question=question["question"], options=options)
    shown = [images.opened(name, each) for each in example.inputs["images"]]
    return Prompt(example, (Message("user", (*shown, text) if shown else text),))


def verify(example: Example, completion: Completion, *, parts: tuple[str, ...] = ()) -> Verdict:
    """Correctness and consistency, and for the biases which option is said."""
    found = verdict(example, completion)
    scores = dict(found.scores)
    if example.inputs["question"]["type"] == "choice":
        scores |= {f"says_{letter}": float(found.answer == letter) for letter in LETTERS[:4]}
    if parts:
        part = example.tags["part"]
        scores["part"] = float(parts.index(part)) if part in parts else float(len(parts))
    return Verdict(scores, found.answer, found.reason, found.note)


def gold(example: Example) -> str:
    """The answer and nothing more: what is true of a photo is not known."""
    said = example.target if example.target in ("yes", "no") else f"({example.target})"
    return f"<think>\nSo the answer is {said}.\n</think>\n<answer>{example.target}</answer>"


def picture(example: Example, completion: Completion, name: str) -> Mapping[str, Any] | None:
    """The first photo, and the sentences of the reasoning; None where nothing is shown."""
    if not example.inputs["images"]:
        return None
    width, height, url = images.thumbnail(name, example.inputs["images"][0])
    said = sentences(judgment(example, completion, None))
    told = {"caption": caption(example), "sentences": said}
    return {"width": width, "height": height, "image": url, **told}


def public(name: str, member: str, settings: Mapping[str, str]) -> Task:
    """A public member; UsageError or UnknownName for settings that make no sense."""
    order = settings.get("order", "file")
    if order != "file" and not (order.isascii() and order.isdigit()):
        raise UsageError(f"order={order} shuffles no options: a number will do, or file")
    if member == "blink" and settings["subset"] != "all":
        choice(settings, "subset", (*BLINK, "all"))
    for key, known in (("part", ("images", "clevr")), ("form", FORMS)):
        if key in settings:
            choice(settings, key, known)
    given = tuple(settings.items())
    task = Task(
        name=f"spatial/{name}",
        version=VERSION,
        examples=partial(_of_split, member, given),
        prompt=partial(prompt, name=member),
        verify=partial(verify, parts=PARTS if member == "cvbench" else ()),
        gold=gold,
        metrics=SETS[member].metrics,
        reward={"correct": 1.0, "format": 0.1},
        picture=partial(picture, name=member),
        cluster=lambda example: str(example.tags["scene"]),
        source=SETS[member].place,
        released=SETS[member].released,
        settings=dict(settings),
    )
    if member != "whatsup":
        return task
    return task.but(set=lambda example: f"{example.tags['scene']} set", compare=whatsup_scores)


PARTS = ("ADE20K", "COCO", "Omni3D")


def _of_split(member: str, given: tuple[tuple[str, str], ...], split: Split) -> Sequence[Example]:
    return _examples(member, given) if split == "test" else ()
