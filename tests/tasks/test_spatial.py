"""spatial: members and splits, pairs, public sets from a folder and from a hub, refusals."""

from __future__ import annotations

import json
import math
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from harness import Completion, Example, Prompt, Rollout, Task, Verdict, registry
from harness.contracts import measure
from harness.data import FOLDER
from harness.errors import DataError, SplitError, UnknownName, UsageError
from harness.hygiene import check_trainable
from harness.models import Gold
from harness.play import play
from harness.types import SPLITS
from tasks import _spatial_rows as rows
from tasks._spatial_members import MEMBERS
from tasks._spatial_metrics import CV_BENCH
from tasks._spatial_pairs import mirrored_scores, whatsup_scores
from tasks.spatial_scenes import world
from tests.builders import Parrot


def member(name: str) -> Task:
    return registry.task(f"spatial/{name}")


# -- generated members


@pytest.mark.parametrize("name", MEMBERS)
def test_splits_are_ranges_of_seeds_and_half_of_the_yes_or_no_answers_are_yes(name: str) -> None:
    seeds: set[int] = set()
    for split in SPLITS:
        found = member(name).examples(split)
        drawn = {each.inputs["scene"]["seed"] for each in found}
        assert not seeds & drawn
        seeds |= drawn
        said = Counter(each.target for each in found if each.target in ("yes", "no"))
        assert said["yes"] == said["no"]
    few = name == "scenes_pair"  # there are 432 questions in all
    assert len(member(name).examples("test")) >= (50 if few else 200)


@pytest.mark.parametrize("name", ["scenes_ood", "scenes_text_ood"])
def test_held_out_pairs_are_seen_out_of_distribution_only(name: str) -> None:
    def pairs(of: str) -> list[set[tuple[str, str]]]:
        return [
            {(t["color"], t["shape"]) for t in each.inputs["scene"]["objects"]}
            for split in SPLITS
            for each in member(of).examples(split)
        ]

    assert all(found & world.HELD_OUT for found in pairs(name))
    assert not any(found & world.HELD_OUT for found in pairs(name.removesuffix("_ood")))
    for each in member(name).examples("test"):
        if each.inputs["question"]["type"] == "relation":
            asked = each.inputs["question"]["a"] + each.inputs["question"]["b"]
            assert any(f"{color} {shape}" in asked for color, shape in world.HELD_OUT)


@pytest.mark.parametrize("name", ["scenes_ood", "scenes_mirrored", "scenes_text_mirrored"])
def test_what_is_scored_only_cannot_be_trained_on(name: str) -> None:
    with pytest.raises(SplitError, match="spatial/scenes"):
        check_trainable(member(name))


def test_lists_keep_the_order_of_every_relation() -> None:
    """Rounding must not decide: what the list says gives the answer."""
    for example in member("scenes_text").examples("test"):
        text = member("scenes_text").prompt(example).messages[0].content
        listed = [line for line in text.splitlines() if ": u " in line]
        told = {
            line.partition(":")[0]: [
                float(part.split()[1]) for part in line.split(": ")[1].split(", ")
            ]
            for line in listed
        }
        question = example.inputs["question"]
        if question["type"] == "relation":
            axis = 0 if question["rel"] in ("left of", "right of") else 2
            less = told[question["a"]][axis] < told[question["b"]][axis]
            true = less == (question["rel"] in ("left of", "closer than"))
            assert example.target == ("yes" if true else "no")


def test_short_lists_say_which_column_a_shape_is_in() -> None:
    task = member("scenes_short")
    for example in task.examples("test"):
        listed, _, asked = task.prompt(example).messages[0].content.partition(". ")
        columns = dict(part.split() for part in listed.split(", "))
        assert len(set(columns.values())) == len(columns) == 3
        a, rel, _, b = asked.rstrip("?").split()
        assert (columns[a] < columns[b]) == ((rel == "left") == (example.target == "yes"))


def test_the_picture_is_made_from_the_example_and_not_kept_in_it() -> None:
    task = member("scenes")
    example = task.examples("test")[0]
    image, text = task.prompt(example).messages[0].content
    assert image.dtype == np.uint8
    assert image.shape == (224, 224, 3)
    assert example.inputs["question"]["question"] in text
    assert json.loads(json.dumps(dict(example.inputs))) == example.inputs
    assert task.prompt(example).messages[0].content[0] is image  # drawn once


# -- pairs


def answered(example: Example, answer: str, correct: float) -> Rollout:
    verdict = Verdict({"correct": correct}, answer)
    return Rollout(((Prompt(example, ()), Completion(answer)),), verdict, "g")


def a_pair(rel: str, kind: str = "relation") -> tuple[Example, Example]:
    question = {"type": kind, "rel": rel}
    return Example("e", {"question": question}, ""), Example(
        "e/mirrored", {"question": question}, ""
    )


@pytest.mark.parametrize(
    ("rel", "answers", "agree"),
    [
        ("left of", ("yes", "no"), 1.0),
        ("left of", ("yes", "yes"), 0.0),
        ("closer than", ("yes", "yes"), 1.0),
        ("closer than", ("yes", "no"), 0.0),
        ("left of", ("maybe", "maybe"), 0.0),
    ],
)
def test_an_answer_turns_in_the_mirror_only_where_left_and_right_decide(
    rel: str, answers: tuple[str, str], agree: float
) -> None:
    mates = [answered(e, said, 1.0) for e, said in zip(a_pair(rel), answers, strict=True)]
    assert [each["pair_consistent"] for each in mirrored_scores(mates)] == [agree, agree]


def test_pairs_of_several_rollouts_by_hand() -> None:
    one, other = a_pair("left of")
    said = [("yes", 1.0), ("yes", 1.0), ("no", 0.0)], [("no", 1.0), ("yes", 0.0)]
    mates = [answered(one, *each) for each in said[0]] + [
        answered(other, *each) for each in said[1]
    ]
    found = mirrored_scores(mates)
    assert [each["pair_consistent"] for each in found] == pytest.approx(
        [1 / 2, 1 / 2, 1 / 2, 2 / 3, 1 / 3]
    )
    assert [each["pair_correct"] for each in found] == pytest.approx([2 / 3 * 1 / 2] * 5)


def test_a_pair_without_its_other_half_agrees_with_nothing() -> None:
    one, _ = a_pair("left of")
    assert mirrored_scores([answered(one, "yes", 1.0)]) == [
        {"pair_consistent": 0.0, "pair_correct": 0.0}
    ]


def test_pairs_are_asked_together_and_weighed_by_scene() -> None:
    task = member("scenes_text_mirrored")
    examples = task.examples("test")[:16]
    played = play(task, [task.prompt(each) for each in examples], Gold(task))
    rollouts = [each for each in played if isinstance(each, Rollout)]
    assert len(rollouts) == 16
    assert all(r.verdict.scores["pair_consistent"] == 1 for r in rollouts)
    assert all(r.verdict.scores["pair_correct"] == 1 for r in rollouts)
    assert len({task.set(each) for each in examples}) == 8
    assert len({task.cluster(each) for each in examples}) == 2


def test_a_constant_answer_is_half_right_and_not_consistent_in_the_mirror() -> None:
    task = member("scenes_text_mirrored")
    examples = [e for e in task.examples("test") if e.inputs["question"].get("rel") == "left of"]
    said = "<think>\n</think><answer>yes</answer>"
    played = play(task, [task.prompt(each) for each in examples], Parrot(said))
    table = [[each.verdict] for each in played if isinstance(each, Rollout)]
    told = {metric.name: measure(metric, table) for metric in task.metrics}
    assert told["pass@1"] == 0.5
    assert told["pair_consistent"] == told["pair_correct"] == 0
    assert told["yes_rate"] == 1
    assert told["undetermined"] == 1
    assert math.isnan(told["box_hit_rate"])


def test_pairs_and_sets_of_four_by_hand() -> None:
    kinds = {"left_of": 1.0, "right_of": 0.0, "on": 1.0, "under": 0.5}
    mates = [answered(Example(k, {}, "", {"type": k}), "A", right) for k, right in kinds.items()]
    found = whatsup_scores(mates)
    assert [each["pair_correct"] for each in found] == [0, 0, 0.5, 0.5]
    assert {each["set_correct"] for each in found} == {0.0}


# -- public sets


def put(path: Path, *cells: dict[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(each) + "\n" for each in cells), "utf-8")


def photo(path: Path, shade: int = 90) -> None:
    from PIL import Image

    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (30, 20), (shade, shade, 200)).save(path)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of public data with a few rows of every set, and their photos."""
    from tasks import _spatial_public

    _spatial_public._examples.cache_clear()
    monkeypatch.setenv(FOLDER, str(tmp_path))
    spatial = tmp_path / "spatial"
    caption = {"caption": "The cat is under the bed.", "relation": "under"}
    put(
        spatial / "vsr_zeroshot_test.jsonl",
        *({"id": f"v{n}", "image": f"{n // 2}.jpg", "label": n % 2, **caption} for n in range(4)),
    )
    choices = {"question": "Where is it?", "choices": ["left", "right", "above"], "answer": "(B)"}
    put(
        spatial / "cvbench_test.jsonl",
        *(
            {"idx": n, "filename": f"img/{n}.png", "task": "Relation", "source": source, **choices}
            for n, source in enumerate(("ADE20K", "COCO", "Omni3D"))
        ),
    )
    for kind in rows.BLINK:
        put(
            spatial / f"blink_{kind}_val.jsonl",
            {"idx": f"val_{kind}_1", "image_1": "a.jpg", "image_2": "b.jpg", **choices},
        )
    put(
        spatial / "spatialeval_tqa_test.jsonl",
        {
            "id": "mazenav.tqa.0",
            "text": "How many turns?\nOptions:\nA. one.\nB. two.\nC. three.",
            "oracle_option": "C",
        },
    )
    words = ("left of", "right of", "on", "under")
    said = [f"A cup {word} a table" for word in words]
    options = [[said[n], *said[:n], *said[n + 1 :]] for n in range(4)]
    names = [f"data/controlled_images/cup_{w.replace(' ', '_')}_table.jpeg" for w in words]
    (spatial / "controlled_images_dataset.json").write_text(
        json.dumps(
            [
                {"image_path": name, "caption_options": shown}
                for name, shown in zip(names, options, strict=True)
            ]
        )
    )
    images = spatial / "images"
    for n in range(3):
        photo(images / "vsr" / f"{n}.jpg")
        photo(images / "cvbench" / "img" / f"{n}.png")
    for name in ("a.jpg", "b.jpg"):
        photo(images / "blink" / name)
    for name in names:
        photo(images / "whatsup" / name.removeprefix("data/"))
    return tmp_path


PUBLIC = {"vsr": 4, "cvbench": 3, "blink": 3, "whatsup": 4, "spatialeval+form=tqa": 1}


@pytest.mark.parametrize("name", PUBLIC)
def test_public_sets_are_read_shuffled_and_judged_without_grounding(
    name: str, folder: Path
) -> None:
    task = member(name)
    assert not task.examples("train")
    examples = task.examples("test")
    assert len(examples) == PUBLIC[name]
    prompts = [task.prompt(each) for each in examples]
    for example, prompt in zip(examples, prompts, strict=True):
        content = prompt.messages[0].content
        shown = [part.shape for part in content[:-1]] if isinstance(content, tuple) else []
        assert shown == [(20, 30, 3)] * len(example.inputs["images"])
    played = [*play(task, prompts, Gold(task))]
    found = [each.verdict for each in played if isinstance(each, Rollout)]
    assert [verdict.reason for verdict in found] == ["ok"] * len(examples)
    assert not any("grounding" in verdict.scores for verdict in found)
    for metric in task.metrics:
        value = measure(metric, [[verdict] for verdict in found])
        assert math.isnan(value) or 0 <= value <= 1, metric.name
    assert measure(task.metrics[0], [[verdict] for verdict in found]) == 1


def test_a_shuffle_moves_the_right_option_and_keeps_it_right(folder: Path) -> None:
    plain = member("whatsup+order=file").examples("test")
    assert {each.target for each in plain} == {"A"}
    letters: set[str] = set()
    for seed in range(5):
        for before, after in zip(
            plain, member(f"whatsup+order={seed}").examples("test"), strict=True
        ):
            options = after.inputs["question"]["options"]
            assert sorted(options) == sorted(before.inputs["question"]["options"])
            right = before.inputs["question"]["options"][0]
            assert options["ABCD".index(after.target)] == right
            letters.add(after.target)
    assert letters == set("ABCD")


def test_an_option_may_be_named_by_its_letter_or_in_words(folder: Path) -> None:
    task = member("cvbench")
    example = task.examples("test")[0]
    right = example.inputs["question"]["options"]["ABCD".index(example.target)]
    said = "<think>It is plain. So the answer is {}.</think><answer>{}</answer>"
    letter = example.target
    for answer in (letter, letter.lower(), f"({letter})", f"{letter}. {right}", right):
        verdict = task.verify(example, Completion(said.format(right, answer)))
        assert verdict.scores["accurate_consistent"] == 1
        assert verdict.scores[f"says_{letter}"] == 1
    other = next(each for each in example.inputs["question"]["options"] if each != right)
    assert task.verify(example, Completion(said.format(other, letter))).reason == "contradiction"


def test_a_caption_is_judged_as_true_or_false(folder: Path) -> None:
    task = member("vsr")
    false, true = task.examples("test")[:2]
    said = "<think>The cat is under the bed.</think><answer>yes</answer>"
    assert task.verify(true, Completion(said)).reason == "ok"
    assert task.verify(false, Completion(said)).scores["consistent"] == 1
    assert task.verify(false, Completion(said)).scores["correct"] == 0
    denied = said.replace("is under", "is not under")
    assert task.verify(true, Completion(denied)).reason == "contradiction"
    assert task.cluster(true) == task.cluster(false)


def test_cv_bench_weighs_its_sources_and_dimensions() -> None:
    def row(part: int, correct: float) -> list[Verdict]:
        return [Verdict({"part": float(part), "correct": correct})]

    table = [row(0, 1), row(0, 0), row(0, 0), row(0, 0), row(1, 1), row(2, 1), row(2, 0)]
    assert measure(CV_BENCH, table) == pytest.approx(((1 / 4 + 1) / 2 + 1 / 2) / 2)


@pytest.mark.parametrize(
    ("damage", "told"),
    [
        ("unlink", "1 of 2 images of spatial/vsr are missing, such as 1.jpg"),
        ("garbage", "is no image that can be read"),
    ],
)
def test_missing_or_broken_photos_are_named(folder: Path, damage: str, told: str) -> None:
    path = folder / "spatial/images/vsr/1.jpg"
    if damage == "unlink":
        path.unlink()
    else:
        path.write_bytes(b"no picture")
    task = member("vsr")
    with pytest.raises(DataError, match=told):
        [task.prompt(each) for each in task.examples("test")]


def test_names_of_photos_do_not_lead_out_of_their_folder(folder: Path) -> None:
    caption = {"caption": "A is on B.", "relation": "on", "label": 1}
    put(folder / "spatial/vsr_zeroshot_test.jsonl", {"id": "x", "image": "../../a.jpg", **caption})
    with pytest.raises(DataError, match=r"is no file below the images of spatial/vsr"):
        member("vsr").examples("test")


@pytest.mark.parametrize(
    ("name", "error"),
    [
        ("cvbench+order=x", UsageError),
        ("blink+subset=Jigsaw", UnknownName),
        ("spatialeval+form=q", UnknownName),
        ("vsr+order=1", UnknownName),
        ("scenes+order=1", UnknownName),
        ("scenery", UnknownName),
    ],
)
def test_settings_that_make_no_sense_are_refused(name: str, error: type[Exception]) -> None:
    with pytest.raises(error):
        member(name)


def test_rows_of_other_columns_are_refused_in_words(folder: Path) -> None:
    put(
        folder / "spatial/spatialeval_tqa_test.jsonl",
        {"id": "x", "text": "?", "oracle_option": "A"},
    )
    with pytest.raises(DataError, match="no options A, B"):
        member("spatialeval+form=tqa").examples("test")
    put(folder / "spatial/vsr_zeroshot_test.jsonl", {"id": "x", "image": "0.jpg", "label": "one"})
    with pytest.raises(DataError, match="caption"):
        member("vsr").examples("test")


@pytest.mark.slow
def test_photos_of_a_hub_are_kept_under_the_digest_of_their_pixels(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import datasets
    from PIL import Image

    from tasks import _spatial_public

    _spatial_public._examples.cache_clear()
    monkeypatch.delenv(FOLDER, raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    cells = {
        "idx": [0, 1],
        "task": ["Count", "Depth"],
        "source": ["COCO", "Omni3D"],
        "question": ["How many?", "Which is nearer?"],
        "choices": [["1", "2"], ["dog", "cat"]],
        "answer": ["(A)", "(B)"],
        "image": [Image.new("RGB", (8, 6), (shade, 0, 0)) for shade in (10, 20)],
    }
    made = datasets.Dataset.from_dict(cells).cast_column("image", datasets.Image())
    (tmp_path / "hub").mkdir()
    made.to_parquet(tmp_path / "hub" / "test.parquet")
    source = replace(rows.CVBENCH_ROWS, hub=str(tmp_path / "hub"))
    monkeypatch.setattr(rows, "CVBENCH_ROWS", source)
    task = member("cvbench")
    examples = task.examples("test")
    assert len({each.inputs["images"][0] for each in examples}) == 2
    shown = [task.prompt(each).messages[0].content[0] for each in examples]
    assert [image[0, 0].tolist() for image in shown] == [[10, 0, 0], [20, 0, 0]]


def test_pairs_are_asked_in_the_order_in_which_they_are_listed() -> None:
    task = member("scenes_pair")
    for example in task.examples("test"):
        listed, _, asked = task.prompt(example).messages[0].content.partition(". ")
        columns = dict(part.split() for part in listed.split(", "))
        a, rel, _, b = asked.rstrip("?").split()
        assert [a, b] == [*columns]
        assert (rel, columns[a] < columns[b]) == ("left", example.target == "yes")
