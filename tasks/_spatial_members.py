"""The generated members of spatial: scenes as pictures, as lists, as short lists."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import Any, Literal

from harness import Example, Message, Prompt, Split, Task
from tasks import _spatial_beginners as beginners
from tasks._spatial_metrics import MIRRORED, SCENES
from tasks._spatial_pairs import mirrored_scores
from tasks._spatial_picture import scene_picture
from tasks._splits import split_of
from tasks.spatial_claims.verdict import verify
from tasks.spatial_scenes import questions as asking
from tasks.spatial_scenes import world
from tasks.spatial_scenes.questions import Question
from tasks.spatial_scenes.render import picture
from tasks.spatial_scenes.world import Kind, Thing

VERSION = 1
SEEDS: Mapping[Split, int] = {"train": 1_000_000, "dev": 2_000_000, "test": 3_000_000}
"""The first seed of a split; each has room for a million scenes."""
COLUMNS = 9
"""Into which the short lists divide the picture."""
FORM = (
    "First reason inside <think></think> with short sentences such as: There is a small red cube"
    "{box}. The A is left of the B. So the answer is yes. Name objects by size, color and shape. "
    "Then give only the answer inside <answer></answer>."
)
SHOWN = "Look at the picture. {question} " + FORM.format(box=" at [x1, y1, x2, y2]")
LISTED = (
    "A camera sees these objects (u: pixels from the left, v: pixels from the top, z: meters "
    "from the camera):\n{objects}\n\n{question} " + FORM.format(box="")
)

Form = Literal["picture", "list", "short"]


PICTURED: Mapping[Split, int] = {"train": 300, "dev": 25, "test": 100}
LEARNED: Mapping[Split, int] = {"train": 500, "dev": 25, "test": 100}
SCORED: Mapping[Split, int] = {"test": 100}
PAIRED: Mapping[Split, int] = {"dev": 10, "test": 50}
SHORT: Mapping[Split, int] = {"train": 1000, "dev": 400, "test": 400}
"""Scenes of each split. Of the short lists only the questions whose hash fits a split are asked."""


@dataclass(frozen=True)
class Member:
    """What one member differs in."""

    form: Form
    scenes: Mapping[Split, int]
    kind: Kind = world.PLAIN
    mirrored: bool = False
    """Each scene is asked about as it is and mirrored; both are one set."""


MEMBERS: Mapping[str, Member] = {
    "scenes": Member("picture", PICTURED),
    "scenes_ood": Member("picture", SCORED, Kind(held_out=True)),
    "scenes_mirrored": Member("picture", PAIRED, mirrored=True),
    "scenes_text": Member("list", LEARNED),
    "scenes_text_ood": Member("list", SCORED, Kind(held_out=True)),
    "scenes_text_mirrored": Member("list", PAIRED, mirrored=True),
    "scenes_short": Member("short", SHORT, Kind(3, 3, columns=COLUMNS)),
    "scenes_pair": Member("short", SHORT, Kind(2, 2, columns=COLUMNS)),
}


# -- what is asked


@lru_cache(maxsize=32)
def examples(name: str, split: Split) -> tuple[Example, ...]:
    """A member's questions of a split, scene by scene."""
    member = MEMBERS[name]
    made: list[Example] = []
    for number in range(member.scenes.get(split, 0)):
        scene = world.drawn(SEEDS[split] + number, member.kind)
        id = f"{split}/{number:04d}"
        for place, question in enumerate(_questions(member, scene, number)):
            if member.form == "short" and split_of(short(scene, question)) != split:
                continue  # few enough questions for two scenes to ask the same
            made.append(_example(f"{id}/{place}", scene, question, number=id))
            if member.mirrored:
                turned = world.mirrored(scene)
                asked = asking.mirrored_question(question, world.things(turned))
                made.append(_example(f"{id}/{place}/mirrored", turned, asked, number=id))
    return tuple(_balanced(made)) if member.form == "short" else tuple(made)


def _balanced(made: Sequence[Example]) -> list[Example]:
    """As many to be answered yes as no: the last ones of the more frequent are left out."""
    least = min(sum(each.target == answer for each in made) for answer in ("yes", "no"))
    room = {"yes": least, "no": least}
    kept: list[Example] = []
    for each in made:
        if room[each.target]:
            room[each.target] -= 1
            kept.append(each)
    return kept


def _questions(member: Member, scene: Mapping[str, Any], number: int) -> list[Question]:
    seen = world.things(scene)
    if member.form == "short":
        pair = len(seen) == 2
        return [asking.pair_question(seen)] if pair else asking.short_questions(seen, number)
    return asking.questions(seen, number, held_out=member.kind.held_out)


def _example(id: str, scene: Mapping[str, Any], question: Question, *, number: str) -> Example:
    tags = {"scene": number, "type": question["type"]}
    return Example(id, {"scene": scene, "question": question}, question["answer"], tags)


def set_of(example: Example) -> str:
    """A question of a scene and the same of its mirrored scene."""
    return f"{example.id.removesuffix('/mirrored')}/pair"


def scene_of(example: Example) -> str:
    """The unit of resampling: questions about one scene are not independent."""
    return str(example.tags["scene"])


def words_of(example: Example) -> str:
    """The unit of the short lists: some scenes look alike there, and are asked the same."""
    return short(example.inputs["scene"], example.inputs["question"])


def prompt(example: Example, form: Form) -> Prompt:
    """The scene in the member's form, the question, and the form of the answer."""
    scene, question = example.inputs["scene"], example.inputs["question"]
    if form == "short":
        return Prompt(example, (Message("user", short(scene, question)),))
    if form == "list":
        objects = "\n".join(
            f"{each.name}: u {each.u:.0f}, v {each.v:.0f}, z {each.z:.1f}"
            for each in world.things(scene)
        )
        text = LISTED.format(objects=objects, question=question["question"])
        return Prompt(example, (Message("user", text),))
    text = SHOWN.format(question=question["question"])
    return Prompt(example, (Message("user", (picture(scene), text)),))


def short(scene: Mapping[str, Any], question: Question) -> str:
    """`cube 3, cone 7, sphere 5. cube left of cone?`: columns from the left, then the question."""
    listed = ", ".join(
        f"{each.shape} {world.column(each.u, COLUMNS)}" for each in world.things(scene)
    )
    return f"{listed}. {question['a']} {question['rel']} {question['b']}?"


# -- what would be right


def gold(example: Example, form: Form) -> str:
    """Reasoning that is true, settles the question and says where things are; and the answer."""
    scene = world.things(example.inputs["scene"])
    question = example.inputs["question"]
    boxed = form == "picture"
    if form == "short":
        claim = f"the {question['a']} is {_true_relation(question)} the {question['b']}"
        return f"<think>{claim}</think><answer>{example.target}</answer>"
    needed = asking.needed(question, scene)
    told = [f"There is a {each.name}{_at(each, boxed)}." for each in needed]
    if question["type"] == "relation":
        told.append(f"The {question['a']} is {_true_relation(question)} the {question['b']}.")
    elif question["type"] == "count":
        one = len(needed) == 1
        some = "is 1" if one else f"are {len(needed) or 'no'}"
        told.append(f"There {some} {question['desc']}{'' if one else 's'}.")
    else:
        told.append(f"The {needed[0].name} is the {question['which']} object.")
    reasoning = "\n".join([*told, f"So the answer is {example.target}."])
    return f"<think>\n{reasoning}\n</think>\n<answer>{example.target}</answer>"


def demonstrations(example: Example) -> list[tuple[Prompt, str]]:
    """What a beginner says of a short list."""
    return beginners.demonstrations(example, prompt(example, "short"))


def _true_relation(question: Question) -> str:
    return question["rel"] if question["answer"] == "yes" else asking.OPPOSITE[question["rel"]]


def _at(thing: Thing, boxed: bool) -> str:
    return f" at [{', '.join(f'{edge:.0f}' for edge in thing.box)}]" if boxed else ""


# -- tasks


def generated(name: str) -> Task:
    """A generated member."""
    member = MEMBERS[name]
    task = Task(
        name=f"spatial/{name}",
        version=VERSION,
        examples=partial(examples, name),
        prompt=partial(prompt, form=member.form),
        verify=verify,
        gold=partial(gold, form=member.form),
        metrics=SCENES,
        reward={"correct": 1.0, "format": 0.1},
        cluster=words_of if member.form == "short" else scene_of,
        picture=scene_picture,
        demonstrations=demonstrations if member.form == "short" else None,
        source="generated",
    )
    return (
        task.but(set=set_of, compare=mirrored_scores, metrics=MIRRORED) if member.mirrored else task
    )
