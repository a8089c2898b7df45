"""Images in messages, on their way to people and servers; pictures of answers on a run's page."""

from __future__ import annotations

import base64
import io
import json
import math
import os
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from harness import Completion, Example, Message, Prompt, Task, Verdict, registry, viewing
from harness.errors import UsageError
from harness.images import in_words
from harness.models import Sampling
from harness.pictures import MOST_BOXES, drawing, held
from harness.wire import Allowed, Ask, body
from results.run import RunFolder
from tests.command_line import command
from tests.harness.runs import stored_run
from tests.harness.test_view import Parts, data_of

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "chrome"))), None)
HOSTILE = "<script>alert(1)</script> \u202e is left of <img src=x onerror=alert(2)>"
IMAGE = np.arange(2 * 3 * 3, dtype=np.uint8).reshape(2, 3, 3)


# -- images within messages


def request(content: Any, *, chat: bool = True) -> dict[str, Any]:
    prompt = Prompt(Example("e", {}, ""), (Message("user", content),))
    allowed = Allowed(logprobs=False, grouped=False)
    return body("m", Ask(prompt, 1, 0), Sampling(), allowed, chat=chat)


def test_images_travel_to_servers_as_png_without_loss() -> None:
    from PIL import Image

    (message,) = request((IMAGE, "What is it?"))["messages"]
    image, text = message["content"]
    assert text == {"type": "text", "text": "What is it?"}
    kind, _, data = image["image_url"]["url"].partition(",")
    assert kind == "data:image/png;base64"
    back = np.asarray(Image.open(io.BytesIO(base64.b64decode(data))))
    assert np.array_equal(back, IMAGE)


def test_text_in_parts_stays_text_and_other_arrays_are_refused() -> None:
    assert request(("a", "b"))["messages"][0]["content"] == "ab"
    for odd in (np.zeros((2, 3)), np.zeros((2, 3, 4), np.uint8)):
        with pytest.raises(UsageError, match="this prompt holds ndarray"):
            request((odd, "a"))
    with pytest.raises(UsageError, match="this prompt holds ndarray"):
        request((IMAGE, "a"), chat=False)


def test_people_are_told_the_size_of_an_image() -> None:
    assert in_words((IMAGE, "What is it?")) == "[image of 3 x 2 pixels]\nWhat is it?"
    assert in_words("plain") == "plain"
    assert in_words({"a": 1}) == {"a": 1}
    said = command("show", "spatial/scenes")
    assert "[image of 224 x 224 pixels]" in said.out
    told = json.loads(command("show", "spatial/scenes", "--json").out)
    assert told["first"]["prompt"][0][1].startswith("[image of 224 x 224 pixels]\nLook")


# -- pictures of answers


class Speaker:
    """Says one thing after another."""

    name = "speaker"
    independent = True

    def __init__(self, texts: Sequence[str]) -> None:
        self.texts = texts

    def answer(self, prompts: Sequence[Prompt]) -> Iterator[tuple[int, Completion]]:
        for number, _ in enumerate(prompts):
            yield number, Completion(self.texts[number % len(self.texts)], steps=1)

    def describe(self) -> dict[str, Any]:
        return {}


def scenes(count: int) -> Task:
    task = registry.task("spatial/scenes")
    some = task.examples("test")[:count]
    return task.but(examples=lambda split: some if split == "test" else ())


def a_run(place: Path) -> tuple[RunFolder, Task]:
    """Of gold, of claims that are true and false and none, and of what has no form."""
    task = scenes(3)
    gold = task.gold(task.examples("test")[0])
    said = (
        "<think>\nThere is a large purple cone at [59, 86, 94, 122].\n"
        "The large blue cube [200, 1, 150, nan] is left of the large purple cone.\n"
        f"There are 7 cubes.\n{HOSTILE}\nSo the answer is no.\n</think><answer>yes</answer>"
    )
    folder, _ = stored_run(place, task, Speaker([gold, said, HOSTILE]))
    return folder, task


def shown(folder: RunFolder, task: Task) -> str:
    rows = viewing.rows(folder.rollouts.read(), 100, drawing(task))
    return viewing.page("run", folder.manifest, None, rows)


def test_a_page_shows_scenes_boxes_and_which_claims_are_true(tmp_path: Path) -> None:
    folder, task = a_run(tmp_path / "run")
    html = shown(folder, task)
    by_id = {row["id"]: row["picture"] for row in data_of(html)["rows"]}
    right, wrong, formless = (by_id[each.id] for each in task.examples("test"))
    objects = task.examples("test")[0].inputs["scene"]["objects"]
    assert [each["kind"] for each in right["boxes"]] == ["true"] * len(objects) + ["hit"] * 2
    assert [each["kind"] for each in right["sentences"]] == ["true"] * 3 + ["concluded"]
    assert len(right["shapes"]) == len(objects) + 2  # sky and ground
    kinds = ["true", "false", "false", "unread", "concluded"]
    assert [each["kind"] for each in wrong["sentences"]] == kinds
    assert [each["kind"] for each in wrong["boxes"]][-2:] == ["hit", "miss"]
    assert wrong["sentences"][3]["text"] == HOSTILE
    assert formless["sentences"] == []
    assert {each["kind"] for each in formless["boxes"]} == {"true"}
    assert "Right is: " in right["caption"]


def test_pictures_add_no_element_and_no_permission_to_a_page(tmp_path: Path) -> None:
    folder, task = a_run(tmp_path / "run")
    with_pictures, without = (
        Parts(shown(folder, task)),
        Parts(shown(folder, task.but(picture=None))),
    )
    assert with_pictures.tags == without.tags


def test_a_picture_is_held_to_numbers_and_kinds_that_a_page_knows() -> None:
    box = {"box": [0, math.nan, math.inf, 1e30], "kind": "hit", "label": "x" * 10_000}
    made = held(
        {
            "width": 10,
            "height": 10,
            "image": "https://elsewhere.example/pixel.png",
            "shapes": [
                {"kind": "script", "points": [], "fill": "#000000"},
                {"kind": "rect", "points": [0, 0, 1, 1], "fill": "url(https://elsewhere.example)"},
                {"kind": "rect", "points": [0, 0, 1, 1], "fill": "#123abc"},
            ],
            "boxes": [box] * 1000,
            "sentences": [{"text": "t", "kind": "onclick"}],
        }
    )
    assert made["image"] == ""
    assert made["shapes"] == [{"kind": "rect", "points": [0, 0, 1, 1], "fill": "#123abc"}]
    assert len(made["boxes"]) == MOST_BOXES
    assert made["boxes"][0]["box"] == [0, 0, 0, 10_000]
    assert len(made["boxes"][0]["label"]) < 1000
    assert made["sentences"] == []
    assert json.loads(json.dumps(made, allow_nan=False)) == made


def test_a_picture_that_cannot_be_drawn_leaves_the_text(tmp_path: Path) -> None:
    folder, task = a_run(tmp_path / "run")

    def broken(example: Example, completion: Completion) -> dict[str, Any]:
        raise ZeroDivisionError

    rows = viewing.rows(folder.rollouts.read(), 100, drawing(task.but(picture=broken)))
    assert [row["picture"] for row in rows.rows] == [None] * 3
    gone = task.but(examples=lambda split: ())
    rows = viewing.rows(folder.rollouts.read(), 100, drawing(gone))
    assert [row["picture"] for row in rows.rows] == [None] * 3
    assert rows.damaged == 0


def test_tasks_without_pictures_are_drawn_by_nobody() -> None:
    def verify(example: Example, completion: Completion) -> Verdict:
        return Verdict({"correct": 1.0})

    assert drawing(registry.task("mathqa/sums")) is None
    assert drawing(scenes(1).but(verify=verify)) is not None


@pytest.mark.parametrize(("version", "drawn"), [(1, True), (0, False)])
def test_the_command_draws_runs_of_the_version_that_is_there(
    tmp_path: Path, version: int, drawn: bool
) -> None:
    folder, _ = a_run(tmp_path / "runs" / "seen")
    path = folder.path / "manifest.json"
    manifest = json.loads(path.read_text("utf-8"))
    manifest["asks"]["version"] = version
    path.write_text(json.dumps(manifest), "utf-8")
    html = tmp_path / "page.html"
    command("view", "seen", "--html", f"{html}", "-o", f"{tmp_path}")
    rows = data_of(html.read_text("utf-8"))["rows"]
    assert [bool(row.get("picture")) for row in rows] == [drawn] * 3
    assert ("Without pictures" in html.read_text("utf-8")) is not drawn


@pytest.mark.browser
def test_a_browser_draws_the_picture_within_the_pages_policy(tmp_path: Path) -> None:
    if not CHROMIUM:
        if os.environ.get("HARNESS_REQUIRE_BROWSER"):
            pytest.fail("no chromium on PATH")
        pytest.skip("no chromium on PATH: apt-get install chromium")
    folder, task = a_run(tmp_path / "run")
    page = tmp_path / "page.html"
    page.write_text(shown(folder, task), "utf-8")
    done = subprocess.run(
        [
            *(CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--dump-dom"),
            *("--enable-logging=stderr", "--virtual-time-budget=5000", page.as_uri()),
        ],
        capture_output=True,
        text=True,
        timeout=240,
        check=True,
    )
    assert "Content Security Policy" not in done.stderr, done.stderr
    assert done.stdout.count('class="box hit"') == 3
    assert done.stdout.count('class="box miss"') == 1
    assert done.stdout.count('class="claim true"') == 4
    assert done.stdout.count('class="claim false"') == 2
    assert "&lt;script&gt;alert(1)" in done.stdout
    assert "<img" not in done.stdout
