"""grounding: an answer and the boxes that it rests on.

Data     Generated: the scenes and questions of spatial, from seeds of their own. What is to be
         boxed is every object that the question needs: both of a relation, all that are counted,
         the one at an end. Answers have GRIT's form: <think> text with [x1, y1, x2, y2] </think>
         <rethink> text </rethink> <answer> answer.
Scores   correct: what follows the first <answer> is right. iou: IoU of boxes and objects matched
         one to one for the largest sum, over the larger of both numbers, so that spraying boxes
         costs; 1 where nothing is to be boxed and nothing is. union_iou: of all boxes together
         with all objects together. found, boxes, wanted: matched pairs of IoU 0.5 or more, boxes
         said, objects to be boxed. Parts of GRIT's reward: bleu (BLEU-1 of the answer), answer_tag
         (1 for one <answer>, 0.5 for several), form (of the four tags in order and a thought of
         two words, how many of 5), boxed (a box before <rethink>), counted (as many boxes as a
         count question counts), varied (share of the windows of 8 words that differ from the next).
Metric   pass@1, iou, union_iou; box_precision and box_recall over all boxes. Intervals resample
         scenes.
Paper    GRIT, 2025; its reward needs no box labels, and looks at no box's place.
Limits   More than 200 boxes are as good as none. An empty reply is not varied, unlike in GRIT's
         code. Boxes are in pixels of the image that the model saw; its policy tells the transform.
Members  scenes       pictures of 224 x 224 pixels
         scenes_text  lists of objects with their boxes
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from functools import lru_cache, partial
from typing import Any

from harness import Completion, Example, Message, Prompt, Split, Task, Verdict
from harness.metrics import mean, pass_at, share
from harness.similarity import bleu
from tasks._spatial_members import scene_of
from tasks._spatial_metrics import rate
from tasks._spatial_picture import caption, shapes
from tasks.spatial_claims.boxes import (
    HIT,
    matched,
    mean_iou,
    read_box,
    scale_of,
    scaled,
    union_iou,
)
from tasks.spatial_claims.entailment import answer_of
from tasks.spatial_scenes import questions as asking
from tasks.spatial_scenes import world
from tasks.spatial_scenes.render import picture
from tasks.spatial_scenes.world import Box, Thing

SEEDS: Mapping[Split, int] = {"train": 5_000_000, "dev": 6_000_000, "test": 7_000_000}
SCENES: Mapping[Split, int] = {"train": 150, "dev": 25, "test": 100}
LONGEST, MOST = 32_000, 200
"""Characters that are read, and boxes."""
TAGS = ("<think>", "</think>", "<rethink>", "</rethink>")
ANSWER = "<answer>"
WINDOW = 8
FORM = (
    "First think inside <think></think>, with the box of every object that matters as "
    "[x1, y1, x2, y2] in pixels; then look again inside <rethink></rethink>; then give only the "
    "answer inside <answer></answer>. Name objects by size, color and shape."
)
_LIST = re.compile(r"\[([^\[\]]{1,200})\]")
_FOUR = re.compile(r"(?<!\d)\d{1,5}(?:, {0,4}\d{1,5}){3}(?!\d)", re.ASCII)
_MARK = re.compile(r"[^\w\s]")


# -- what is asked


@lru_cache(maxsize=4)
def examples(split: Split) -> tuple[Example, ...]:
    """Four questions of each scene of a split."""
    made: list[Example] = []
    for number in range(SCENES[split]):
        scene = world.drawn(SEEDS[split] + number)
        for place, question in enumerate(asking.questions(world.things(scene), number)):
            id = f"{split}/{number:04d}"
            tags = {"scene": id, "type": question["type"]}
            inputs = {"scene": scene, "question": question}
            made.append(Example(f"{id}/{place}", inputs, question["answer"], tags))
    return tuple(made)


def prompt(example: Example, *, listed: bool) -> Prompt:
    """The scene as a picture or as a list with boxes, and the question."""
    scene, question = example.inputs["scene"], example.inputs["question"]["question"]
    if not listed:
        text = f"Look at the picture. {question} {FORM}"
        return Prompt(example, (Message("user", (picture(scene), text)),))
    objects = "\n".join(
        f"{each.name}: {_written(each.box)}, {each.z:.1f} meters from the camera"
        for each in world.things(scene)
    )
    text = f"A camera sees these objects:\n{objects}\n\n{question} {FORM}"
    return Prompt(example, (Message("user", text),))


def gold(example: Example) -> str:
    """The objects with their boxes, and the answer."""
    told = [f"{each.name}: {_written(each.box)}" for each in _wanted(example)]
    thought = "\n".join(told) or "There are none."
    return (
        f"<think>\n{thought}\n</think>\n<rethink>This settles it.</rethink>\n"
        f"<answer>{example.target}</answer>"
    )


def _wanted(example: Example) -> list[Thing]:
    return asking.needed(example.inputs["question"], world.things(example.inputs["scene"]))


def _written(box: Box) -> str:
    return f"[{', '.join(f'{edge:.0f}' for edge in box)}]"


# -- judging


def boxes_in(text: str) -> list[Box]:
    """Lists of four numbers, or else fours of bare integers; none for more than MOST of them."""
    found = [box for hit in _LIST.finditer(text) if (box := read_box(hit[1])) is not None]
    if not found:
        found = [box for hit in _FOUR.finditer(text) if (box := read_box(hit[0])) is not None]
    return found if len(found) <= MOST else []


def verify(example: Example, completion: Completion) -> Verdict:
    """The answer, the boxes, and the parts of GRIT's reward."""
    output = completion.output
    said = output if isinstance(output, str) and len(output) <= LONGEST else ""
    question = example.inputs["question"]
    _, tag, rest = said.partition(ANSWER)
    answer = rest.partition("</answer>")[0].strip() if tag else ""
    correct = bool(answer) and answer_of(answer, question) == answer_of(example.target, question)
    before, second, _ = said.partition("<rethink>")
    told = boxes_in(before)
    scores = {
        "correct": float(correct),
        **_placed(told, [each.box for each in _wanted(example)], completion),
        "bleu": bleu(_bare(answer), _bare(example.target), 1) if answer else 0.0,
        "answer_tag": (0.0, 1.0, 0.5)[min(said.count(ANSWER), 2)],
        "form": _tags_in_order(said) / 5,
        "boxed": float(bool(second) and bool(told)),
        "counted": float(
            bool(second) and question["type"] == "count" and str(len(told)) == example.target
        ),
        "varied": _varied(said.split()),
    }
    if correct:
        return Verdict(scores, answer)
    note = f"right would be {example.target}"
    if answer:
        return Verdict(scores, answer, "wrong", note)
    reason = "bad_format" if said.strip() else "no_answer"
    return Verdict(scores, None, "truncated" if completion.stopped == "budget" else reason, note)


def _placed(told: Sequence[Box], gold: Sequence[Box], completion: Completion) -> dict[str, float]:
    scale = scale_of(completion.trace)
    given = [scaled(box, scale) for box in told]
    none = 1.0 if not told and not gold else 0.0
    answered = isinstance(completion.output, str) and bool(completion.output.strip())
    return {
        "iou": mean_iou(given, gold) if answered else 0.0,
        "union_iou": union_iou(given, gold) or none * answered,
        "found": float(sum(pair[2] >= HIT for pair in matched(given, gold))),
        "boxes": float(len(told)),
        "wanted": float(len(gold)),
    }


def _tags_in_order(text: str) -> int:
    """0 to 5: tags, each looked for behind the one before, and a thought of two words."""
    at, found = 0, 0
    for tag in TAGS:
        place = text.find(tag, at)
        if place >= 0:
            at, found = place + len(tag), found + 1
    thought = text.partition(TAGS[0])[2].partition(TAGS[1])[0].split()
    return found + (found == len(TAGS) and len(thought) > 1)


def _varied(words: Sequence[str]) -> float:
    """Share of windows that differ from the one that follows; 1 for what is too short for two."""
    windows = len(words) - 2 * WINDOW + 1
    if windows < 1:
        return float(bool(words))
    same = sum(
        words[at : at + WINDOW] == words[at + WINDOW : at + 2 * WINDOW] for at in range(windows)
    )
    return 1 - same / windows


def _bare(text: str) -> str:
    return _MARK.sub(" ", text.lower())


# -- tasks


def shown(example: Example, completion: Completion) -> Mapping[str, Any]:
    """The scene with the boxes to be found, and those that were said."""
    scene, wanted = example.inputs["scene"], _wanted(example)
    output = completion.output if isinstance(completion.output, str) else ""
    scale = scale_of(completion.trace)
    told = [scaled(box, scale) for box in boxes_in(output[:LONGEST].partition("<rethink>")[0])]
    pairs = matched(told, [each.box for each in wanted])
    hits = {place: wanted[at].name for place, at, iou in pairs if iou >= HIT}
    claimed = [
        {"box": box, "kind": "hit" if n in hits else "miss", "label": hits.get(n, "")}
        for n, box in enumerate(told)
    ]
    return {
        "width": scene["width"],
        "height": scene["height"],
        "caption": caption(example),
        "shapes": shapes(scene),
        "boxes": [{"box": t.box, "kind": "true", "label": t.name} for t in wanted] + claimed,
    }


METRICS = (
    pass_at(1),
    mean("iou"),
    mean("union_iou"),
    rate("box_precision", "found", "boxes"),
    rate("box_recall", "found", "wanted"),
    mean("boxes", high=math.inf, better="neither"),
    *(mean(name) for name in ("bleu", "answer_tag", "form", "boxed", "varied")),
    *(share(reason) for reason in ("truncated", "no_answer", "bad_format")),
)


def _task(name: str, *, listed: bool) -> Task:
    return Task(
        name=f"grounding/{name}",
        version=1,
        examples=examples,
        prompt=partial(prompt, listed=listed),
        verify=verify,
        gold=gold,
        metrics=METRICS,
        reward={"correct": 1.0, "form": 0.1},
        cluster=scene_of,
        picture=shown,
        source="generated",
    )


TASKS = [_task("scenes", listed=False), _task("scenes_text", listed=True)]
