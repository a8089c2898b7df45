"""Files of ragqa below HARNESS_DATA: what is read from them, and what is refused with its line."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from harness import Completion, Rollout, registry
from harness.data import FOLDER, load
from harness.errors import DataError, UsageError
from harness.models import Sampling
from harness.play import play
from tasks import _ragqa_sets as sets
from tasks._ragqa_hops import passage_id
from tasks._ragqa_open import questions

pytest.importorskip("bm25s")
pytest.importorskip("ir_measures")

Write = Callable[..., None]


@pytest.fixture
def written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Write:
    """Writes rows as `rag/NAME.jsonl` below a folder that HARNESS_DATA names."""
    (tmp_path / "rag").mkdir()
    monkeypatch.setenv(FOLDER, str(tmp_path))

    def write(name: str, *rows: dict[str, Any]) -> None:
        text = "".join(f"{json.dumps(row)}\n" for row in rows)
        (tmp_path / "rag" / f"{name}.jsonl").write_text(text, "utf-8")

    return write


# ---- the corpus


def test_integers_in_a_corpus_are_texts(written: Write):
    written(
        "corpus",
        {"id": 0, "title": 1984, "text": 1984},
        {"id": "x", "title": "X", "text": "of 1984"},
    )
    corpus = sets.wikipedia()
    assert [p.whole for p in corpus.passages] == ["1984. 1984", "X. of 1984"]
    assert sorted(corpus.by_id) == ["0", "x"]
    assert len(corpus.digest) == 16


@pytest.mark.parametrize("column", ["id", "title", "text"])
@pytest.mark.parametrize("value", [["a"], {"a": 1}, 1.5, True])
def test_what_is_no_text_in_a_corpus_is_refused_with_column_and_line(
    written: Write, column: str, value: Any
):
    row = {"id": "b", "title": "B", "text": "c", column: value}
    written("corpus", {"id": "a", "title": "A", "text": "b"}, row)
    kind = type(value).__name__
    with pytest.raises(DataError, match=rf"'{column}' is of type {kind}, .*: line 2$"):
        sets.wikipedia()


# ---- windows


def story(first: str, count: int = 60) -> str:
    """Words of which the first stands at every tenth place."""
    return " ".join(first if n % 10 == 0 else f"w{n}" for n in range(count))


@pytest.fixture
def shelved(written: Write) -> None:
    written(
        "corpus",
        {"id": "a", "title": "A", "text": story("apple")},
        {"id": "b", "title": "B", "text": "an apple on a plum"},
        {"id": "c", "title": "C", "text": story("cherry")},
        *({"id": f"d{n}", "title": f"D{n}", "text": f"stone {n}"} for n in range(12)),
    )
    written(
        "paraphrase_groups",
        {"id": "g", "paraphrases": ["apple?", "an apple"], "answers": ["w1"], "passage": "a"},
    )


def ranked(name: str) -> list[Rollout]:
    task = registry.task(name)
    model = registry.task_models(task.name)["bm25-fixed"](task, "test", Sampling())
    asked = [task.prompt(example) for example in task.examples("test")]
    found = [each for each in play(task, asked, model) if isinstance(each, Rollout)]
    assert len(found) == len(asked)
    return found


@pytest.mark.usefixtures("shelved")
def test_windows_count_as_their_passage_once_in_the_place_of_the_best():
    for rollout in ranked("ragqa/retrieval+chunk=10+overlap=2"):
        ids = rollout.verdict.answer
        assert set(ids[:2]) == {"a", "b"}
        assert len(set(ids)) == len(ids) == 10, "windows of a passage take no place of another"
        assert rollout.verdict.scores["recall@2"] == rollout.verdict.scores["jaccard@10"] == 1


@pytest.mark.usefixtures("shelved")
def test_prompts_show_windows_and_what_is_found_is_told_of_passages():
    task = registry.task("ragqa/wiki+k=4+chunk=10")
    for example in task.examples("test"):
        windows = example.inputs["passages"]
        assert len(windows) == 4
        assert sum(id.startswith("a#") for id in windows) >= 3
        assert example.inputs["parents"] == list(dict.fromkeys(id[0] for id in windows))
        text = str(task.prompt(example).messages[-1].content)
        assert "[4] " in text
        assert "w45" not in text or "apple w41" in text, "a window is shown, not the passage"
        assert task.verify(example, Completion("w1")).scores["found"] == 1


@pytest.mark.usefixtures("shelved")
def test_whole_passages_have_the_names_settings_and_data_that_they_had():
    for name in ("wiki", "retrieval", "open"):
        task = registry.task(f"ragqa/{name}+chunk=0+overlap=0")
        assert task.name == f"ragqa/{name}"
        assert not {"chunk", "overlap"} & {*task.settings}
    cut = registry.task("ragqa/wiki+overlap=5+chunk=20")
    assert cut.name == "ragqa/wiki+chunk=20+overlap=5"
    assert (cut.settings["chunk"], cut.settings["overlap"]) == ("20", "5")
    assert registry.task("ragqa/retrieval+chunk=20").settings["chunk"] == "20"
    example = registry.task("ragqa/wiki").examples("test")[0]
    assert set(example.inputs) == {"question", "phrasing", "passages"}


@pytest.mark.parametrize(
    ("words", "match"),
    [
        ("chunk=ten", "chunk=ten is no number of words"),
        ("chunk=10+overlap=10", "cannot share overlap=10"),
        ("overlap=5", "cannot share overlap=5"),
    ],
)
def test_windows_that_make_no_sense_are_refused(words: str, match: str):
    for name in ("wiki", "retrieval", "open"):
        with pytest.raises(UsageError, match=match):
            registry.task(f"ragqa/{name}+{words}")


# ---- phrasings that a model wrote


@pytest.fixture
def asked(written: Write) -> Write:
    """Writes phrasings for three questions, of which the first two have some."""
    rows = [{"id": f"q{n}", "question": f"Who made {n}?", "answers": ["Ann"]} for n in range(3)]
    written("popqa_1000", *rows)

    def write(**changes: Any) -> None:
        good = {"id": "q0", "paraphrases": ["Who made 0?", "0: by whom?"], "phrasing": "model m"}
        other = {"id": "q1", "paraphrases": ["Who made 1?", "1: by whom?"], "phrasing": "model m"}
        written("phrasings_popqa", good, {**other, **changes})

    return write


WRITTEN = "ragqa/open+questions=popqa+phrasings=model"


def test_phrasings_of_a_model_are_read_with_the_model_that_wrote_them(asked: Write):
    asked()
    found = questions("popqa", "model", "test")
    assert [(a.set, a.number, a.phrasing) for a in found[:2]] == [
        ("model/q0", 0, "given"),
        ("model/q0", 1, "model m"),
    ]
    assert {a.set for a in found} == {"model/q0", "model/q1"}, "the third question has none"


def test_a_record_holds_who_wrote_the_phrasings_and_which(asked: Write):
    asked()
    first = registry.task(WRITTEN)
    assert first.settings["phrasings"] == "model"
    assert first.settings["phrasings_by"] == "model m"
    asked(phrasing="model n")
    other = registry.task(WRITTEN)
    assert other.settings["phrasings_by"] == "model m, model n"
    assert first.settings["phrasings_digest"] != other.settings["phrasings_digest"]
    assert "model n" in {e.inputs["phrasing"] for e in other.examples("test")}
    assert not [key for key in registry.task("ragqa/open").settings if key.startswith("phrasings_")]


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"paraphrases": ["A?", "A?"]}, "same text twice"),
        ({"paraphrases": ["A?", " A? "]}, "same text twice"),
        ({"paraphrases": "A?"}, "no list of texts"),
        ({"paraphrases": {"a": "A?"}}, "no list of texts"),
        ({"paraphrases": ["A?", 7]}, "no list of texts"),
        ({"paraphrases": ["A?"]}, "single text"),
        ({"paraphrases": ["A?", ""]}, "'paraphrases' is empty"),
        ({"id": "q9"}, "an id that no question of popqa has"),
        ({"phrasing": ["m"]}, "does not say in a text who made it"),
    ],
)
def test_phrasings_that_are_no_set_are_refused_with_file_and_line(
    asked: Write, changes: dict[str, Any], match: str
):
    asked(**changes)
    with pytest.raises(DataError, match=rf"phrasings_popqa\.jsonl .*{match}.*: line 2$"):
        registry.task(WRITTEN)


# ---- the hub

SKY = ("Sky", ["The sky is blue.", " It is above."])
SEA = ("Sea", ["The sea lies below  the sky."])
HOP = {
    "id": "1",
    "question": "What color is what the sea lies below?",
    "answer": "blue",
    "supporting_facts": {"title": ["Sea", "Sky", "Sea"], "sent_id": [0, 0, 0]},
    "context": {"title": ["Sea", "Sky"], "sentences": [SEA[1], SKY[1]]},
}
PARAGRAPHS = [
    {"idx": n, "title": title, "paragraph_text": " ".join(text), "is_supporting": title != "Fog"}
    for n, (title, text) in enumerate((SKY, ("Fog", ["Fog is gray."]), SEA))
]
MUSIQUE = {
    **{key: HOP[key] for key in ("id", "question", "answer")},
    "paragraphs": PARAGRAPHS,
    "answer_aliases": ["azure"],
    "answerable": True,
}
ROWS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "hotpotqa": (HOP, {**HOP, "id": "2", "supporting_facts": {"title": ["Fire"], "sent_id": [0]}}),
    "2wiki": (HOP, {**HOP, "id": "2", "supporting_facts": {"title": ["Fire"], "sent_id": [0]}}),
    "musique": (MUSIQUE, {**MUSIQUE, "id": "2", "answerable": False}),
}


@pytest.mark.parametrize("name", ROWS)
def test_questions_come_from_the_hub_with_their_passages(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """The hub is a folder here, which `datasets` reads as it does a repository."""
    datasets = pytest.importorskip("datasets")
    monkeypatch.delenv(FOLDER, raising=False)
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    lines = "".join(f"{json.dumps(row)}\n" for row in ROWS[name])
    (tmp_path / "validation.jsonl").write_text(lines, "utf-8")
    near = replace(sets.SUPPORTED[name], hub=str(tmp_path), config=None)
    monkeypatch.setitem(sets.SUPPORTED, name, near)
    assert load(near).left_out == {"not of this set": 1}
    sky, sea = passage_id("Sky", "The sky is blue. It is above."), passage_id("Sea", *SEA_TEXT)
    task = registry.task(f"ragqa/open+questions={name}+k=2")
    for example in task.examples("test"):
        assert example.tags["set"] == f"noise/{name}/1"
        assert set(example.target["gold"]) == {sky, sea}
        assert example.target["answers"][0] == "blue"
        assert "[2] " in str(task.prompt(example).messages[-1].content)
        assert len(example.inputs["passages"]) == 2
    [rollout] = ranked(f"ragqa/retrieval+questions={name}")
    assert set(rollout.verdict.answer) >= {sky, sea}
    assert rollout.verdict.scores["recall@5"] == 1


SEA_TEXT = ("The sea lies below the sky.",)


@pytest.mark.parametrize("name", ["hotpotqa", "2wiki", "musique"])
@pytest.mark.skipif(not os.environ.get(FOLDER), reason=f"{FOLDER} is not set")
def test_passages_have_the_same_ids_from_the_folder_and_from_the_hub(name: str):
    """What the folder holds, as the hub would give it, is the same question."""
    by_id = sets.wikipedia().by_id
    for row in load(sets.SUPPORTED[name]).rows[:20]:
        shown = [by_id[id] for id in row["context"]]
        right = [by_id[id].title for id in row["supporting"]]
        cells: dict[str, Any] = {
            "id": str(row["id"]).partition("/")[2],
            "question": row["question"],
            "answer": row["answers"][0],
            "answer_aliases": row["answers"][1:],
            "supporting_facts": {"title": right},
            "context": {"title": [p.title for p in shown], "sentences": [[p.text] for p in shown]},
            "paragraphs": [
                {"title": p.title, "paragraph_text": p.text, "is_supporting": p.title in right}
                for p in shown
            ],
        }
        shaped = sets.SUPPORTED[name].shape(cells)
        assert shaped is not None
        assert shaped["id"] == row["id"]
        assert set(shaped["supporting"]) >= set(row["supporting"])
        assert {id for id, *_ in shaped["passages"]} == set(row["context"])
