"""Rows of the public sets of spatial reasoning, each read as its people publish it.

A row has id, question, options (where there are some), answer (a letter, or yes and no), the names
of its images, its kind, and its scene: what the unit of resampling is.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from harness.data import Cells, Source, in_folder, load, tell
from harness.digests import file_digest
from harness.errors import DataError
from tasks import _spatial_images as images
from tasks._settings import choice

LETTERS = "ABCDEFGH"
BLINK = ("Spatial_Relation", "Relative_Depth", "Multi-view_Reasoning")
FORMS = ("tqa", "vqa", "vtqa")
_OPTION = re.compile(r"^\(?([A-H])[.)]\s+(\S.*)$")

Row = Mapping[str, Any]


def vsr(settings: Mapping[str, str]) -> list[Row]:
    table = load(VSR)
    return [
        {
            "id": str(cells.get("id", f"vsr/zs/{number}")),
            "question": str(cells["caption"]).strip(),
            "answer": "yes" if int(cells["label"]) == 1 else "no",
            "images": [str(cells["image"])],
            "kind": str(cells["relation"]),
            "scene": str(cells["image"]),
        }
        for number, cells in enumerate(table.rows)
    ]


VSR = Source(
    file="spatial/vsr_zeroshot_test.jsonl",
    columns=("image", "caption", "label", "relation"),
)


def cvbench(settings: Mapping[str, str]) -> list[Row]:
    return [
        {
            "id": f"cvbench/{cells['idx']}",
            "question": str(cells["question"]).strip(),
            "options": [str(each) for each in cells["choices"]],
            "answer": _letter(cells),
            "images": images.cells_named(cells, ("image" if cells.get("image") else "filename",)),
            "kind": str(cells["task"]),
            "part": str(cells["source"]),
            "scene": str(cells.get("filename", cells["idx"])),
        }
        for cells in load(CVBENCH_ROWS).rows
    ]


def _kept(cells: Cells) -> Cells:
    """A row of the hub with its images in the cache, and their names in the row."""
    pictures = {key: images.kept(cell) for key, cell in cells.items() if hasattr(cell, "convert")}
    return {**cells, **pictures}


CVBENCH_ROWS = Source(
    file="spatial/cvbench_test.jsonl",
    hub="nyu-visionx/CV-Bench",
    columns=("question", "choices", "answer", "task", "source"),
    key="idx",
    shape=_kept,
)


def blink(settings: Mapping[str, str]) -> list[Row]:
    subset = settings["subset"]
    kinds = BLINK if subset == "all" else (choice(settings, "subset", BLINK),)
    found: list[Row] = []
    for kind in kinds:
        source = Source(
            file=f"spatial/blink_{kind}_val.jsonl",
            hub="BLINK-Benchmark/BLINK",
            config=kind,
            split="val",
            columns=("choices", "answer"),
            key="idx",
            shape=_kept,
        )
        for cells in load(source).rows:
            asked = cells.get("question") or cells.get("prompt")
            names = images.cells_named(cells, (f"image_{n}" for n in range(1, 5)))
            found.append(
                {
                    "id": f"blink/{cells['idx']}",
                    "question": str(asked).strip(),
                    "options": [str(each) for each in cells["choices"]],
                    "answer": _letter(cells),
                    "images": names,
                    "kind": kind,
                    "scene": str(cells["idx"]),
                }
            )
    return found


def whatsup(settings: Mapping[str, str]) -> list[Row]:
    """The first caption is the right one in the files; an image's name is a_PREPOSITION_b."""
    part = choice(settings, "part", ("images", "clevr"))
    path = in_folder(f"spatial/controlled_{part}_dataset.json", where=WHATSUP_FROM)
    try:
        rows = json.loads(path.read_text("utf-8"))
        names = [str(row["image_path"]).removeprefix("data/") for row in rows]
        captions = [[str(each) for each in row["caption_options"]] for row in rows]
    except (ValueError, KeyError, TypeError, OSError) as error:
        raise DataError(f"{path} is not What'sUp's list of images and captions: {error}") from error
    tell(f"spatial/whatsup/{part}", f"{path.name} sha256:{file_digest(path)[:16]}")
    return [
        {
            "id": f"whatsup/{name}",
            "question": "Which caption is true of the picture?",
            "options": options,
            "answer": "A",
            "images": [name],
            **_placed(name),
        }
        for name, options in zip(names, captions, strict=True)
    ]


WHATSUP_FROM = (
    "get its annotations and images as github.com/amitakamath/whatsup_vlms says, and put "
    "controlled_images_dataset.json or controlled_clevr_dataset.json into spatial/"
)
PREPOSITIONS = ("left_of", "right_of", "in-front_of", "behind", "on", "under")


def _placed(name: str) -> dict[str, str]:
    """`beer-bottle_on_armchair.jpeg`: the preposition, and the two things, which four share."""
    stem = name.rpartition("/")[2].partition(".")[0]
    for word in PREPOSITIONS:
        a, found, b = stem.partition(f"_{word}_")
        if found:
            return {"kind": word, "scene": f"{a} {b}"}
    raise DataError(f"the image {name} of What'sUp says none of {', '.join(PREPOSITIONS)}")


def spatialeval(settings: Mapping[str, str]) -> list[Row]:
    form = choice(settings, "form", FORMS)
    source = Source(
        file=f"spatial/spatialeval_{form}_test.jsonl",
        hub="MilaWang/SpatialEval",
        config=form,
        columns=("text", "oracle_option"),
        shape=_kept,
    )
    found: list[Row] = []
    for cells in load(source).rows:
        question, options = _split_options(str(cells["text"]))
        found.append(
            {
                "id": str(cells["id"]),
                "question": question,
                "options": options,
                "answer": str(cells["oracle_option"]).strip(" ().").upper(),
                "images": images.cells_named(cells, ("image",)) if form != "tqa" else [],
                "kind": str(cells["id"]).partition(".")[0],
                "scene": str(cells["id"]),
            }
        )
    return found


def _split_options(text: str) -> tuple[str, list[str]]:
    """The question, and the options that stand under it, a line each from A on."""
    lines = text.strip().splitlines()
    marked = [(at, hit) for at, line in enumerate(lines) if (hit := _OPTION.match(line.strip()))]
    options = [hit[2].strip() for _, hit in marked]
    if len(options) < 2 or [hit[1] for _, hit in marked] != list(LETTERS[: len(options)]):
        raise DataError(f"no options A, B, ... stand under the question: {text[:200]!r}")
    before = lines[: marked[0][0]]
    return "\n".join(before).strip(), options


def _letter(cells: Cells) -> str:
    return str(cells["answer"]).strip(" ().").upper()
