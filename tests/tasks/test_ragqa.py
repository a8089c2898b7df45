"""ragqa: sets, scores and levels by hand; the published baselines; templates; bad input."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from harness import Completion, Example, Prompt, Rollout, Task, registry
from harness.data import FOLDER
from harness.errors import DataError, SplitError, UnknownName, UsageError
from harness.hygiene import check_trainable
from harness.models import Gold
from harness.play import first, play
from tasks import _ragqa_answers as answers
from tasks import _ragqa_sets as sets
from tasks.ragqa_facts import miniature, world
from tasks.ragqa_facts.templates import MINIATURE, SIZE, TEMPLATES, phrasings

pytest.importorskip("bm25s")
pytest.importorskip("ir_measures")


class Says:
    """Answers by a function of the prompt."""

    name, independent = "says", True

    def __init__(self, say: Callable[[Prompt], Any]) -> None:
        self.say = say

    def answer(self, prompts):
        for number, prompt in enumerate(prompts):
            yield number, Completion(self.say(prompt), steps=1)

    def describe(self) -> Mapping[str, Any]:
        return {}


def played(task: Task, model: Any, limit: int = 6, rollouts: int = 1) -> list[Rollout]:
    examples = first(task, task.examples("test"), limit)
    asked = [task.prompt(example).but(rollouts=rollouts) for example in examples]
    found = list(play(task, asked, model))
    assert all(isinstance(each, Rollout) for each in found), found[:1]
    return [each for each in found if isinstance(each, Rollout)]


def fact(*names: str) -> Example:
    target = {"answers": list(names), "gold": ["p"]}
    return Example("s/0", {"question": "?", "passages": ["p", "q"]}, target, {"set": "s"})


def judged(text: Any, *names: str) -> Mapping[str, float]:
    return answers.verify(fact(*names), Completion(text)).scores


# ---- reading and judging


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("<answer>Shawn Levy</answer>", "Shawn Levy"),
        ("<think>a <answer>no</answer></think> so <answer> Shawn\n Levy </answer>.", "Shawn Levy"),
        ("Answer: Shawn Levy", "Shawn Levy"),
        ("The answer is Shawn Levy", "Shawn Levy"),
        ("Shawn Levy", "Shawn Levy"),
        ("It was\nShawn Levy", None),
        ("<answer></answer>", None),
        ("<answer>the</answer>", "the"),
        ("<answer>A+</answer>", "A+"),
        ("---", "---"),
        ("Answer is: Shawn Levy", "Shawn Levy"),
        ("Answer:", None),
        ("Answers in Genesis", "Answers in Genesis"),
        ("Answering machine", "Answering machine"),
        ("The Answer", "The Answer"),
        ("Tomb of the Unknown Soldier", "Tomb of the Unknown Soldier"),
        ("unknown origin", "unknown origin"),
        ("The answer is not known", answers.REFUSAL),
        ("No information about the director is available", answers.REFUSAL),
        ("<answer>Shawn", None),
        ("", None),
        (None, None),
        (7, None),
        ("x" * 5000, None),
        ("I do not know.", answers.REFUSAL),
        ("<answer>It is not mentioned in the passages</answer>", answers.REFUSAL),
        ("<answer>unknown</answer>", answers.REFUSAL),
        ("<answer>Cannot be determined</answer>", answers.REFUSAL),
    ],
)
def test_answers_are_read(text: Any, answer: str | None):
    assert answers.read(Completion(text))[0] == answer


def test_any_alias_is_right_after_normalization():
    assert judged("<answer>The Shawn Levy!</answer>", "Levy", "shawn levy")["correct"] == 1
    wrong = judged("<answer>the 44th President Barack Obama</answer>", "Barack Obama")
    assert wrong["correct"] == 0
    assert wrong["f1"] == pytest.approx(2 / 3)
    assert wrong["found"] == 1
    assert judged("I don't know", "know")["f1"] == 0


@pytest.mark.parametrize("name", ["A+", "A", "---", "The The", "Unknown", "I Can't Tell You Why"])
def test_an_alias_is_right_whatever_it_looks_like(name: str):
    for text in (f"<answer>{name}</answer>", name, f"Answer: {name.upper()}"):
        found = judged(text, "x", name)
        assert (found["correct"], found["f1"], found["refused"]) == (1, 1, 0), text
    assert judged("<answer>+</answer>", name)["f1"] == 0


def needed(*gold: str) -> Example:
    return Example("s/0", {"question": "?", "passages": ["p", "q"]}, {**GOLD, "gold": gold})


GOLD = {"answers": ["a"]}


def test_found_is_all_that_is_needed_and_its_share_is_told_where_that_is_several():
    def found(*gold: str) -> tuple[float | None, float | None]:
        scores = answers.verify(needed(*gold), Completion("a")).scores
        return scores.get("found"), scores.get("found_share")

    assert found("p", "q") == (1, 1)
    assert found("p", "x") == (0, 0.5)
    assert found("x", "y", "p", "z") == (0, 0.25)
    assert found("p") == (1, None)
    assert found("x") == (0, None)
    assert found() == (None, None), "asked without passages"


@pytest.mark.parametrize(
    ("text", "stopped", "reason"),
    [
        ("<answer>Paris</answer>", "done", "ok"),
        ("<answer>b</answer>", "done", "wrong"),
        ("no idea\nat all", "done", "bad_format"),
        ("  ", "done", "no_answer"),
        ("I don't know", "done", "refused"),
        ("<answer>b", "budget", "truncated"),
    ],
)
def test_reasons(text: str, stopped: Any, reason: str):
    assert answers.verify(fact("Paris"), Completion(text, stopped=stopped)).reason == reason


# ---- sets


def answered(*texts: str | None, gold: str = "Shawn Levy") -> list[Mapping[str, float]]:
    """Scores of a set whose phrasings got these answers."""
    task = registry.task("ragqa/paraphrase")
    some = first(task, task.examples("test"), 6)[: len(texts)]
    told = dict(zip([e.id for e in some], texts, strict=True))
    prompts = [
        task.prompt(e).but(example=Example(e.id, e.inputs, {**e.target, "answers": [gold]}, e.tags))
        for e in some
    ]
    said = Says(lambda p: told[p.example.id] and f"<answer>{told[p.example.id]}</answer>")
    found = [r for r in play(task, prompts, said) if isinstance(r, Rollout)]
    return [r.verdict.scores for r in sorted(found, key=lambda r: r.example.id)]


def test_the_three_answers_of_the_films():
    found = answered("shawn levy", "Shawn Levy directed it", "Ryan Reynolds")
    assert [s["agreement"] for s in found] == pytest.approx([1 / 3, 1 / 3, 0])
    assert [s["same_class"] for s in found] == [0, 0, 0]
    assert [s["correct"] for s in found] == [1, 0, 0]
    assert [s["all_correct"] for s in found] == [0, 0, 0]


def test_two_right_answers_are_one_class_however_worded():
    found = answered("42", "The 42", "43", gold="42")
    assert [s["same_class"] for s in found] == [0.5, 0.5, 0]


def test_refusals_are_a_class_of_their_own():
    found = answered("I don't know", "it is not mentioned", "Shawn Levy")
    assert [s["same_class"] for s in found] == [0.5, 0.5, 0]
    assert [s["refused"] for s in found] == [1, 1, 0]
    assert [s["agreement"] for s in found] == [0.5, 0.5, 0]


def test_all_answers_empty_is_a_defined_score():
    for scores in answered(None, None, None):
        assert scores["agreement"] == scores["same_class"] == scores["all_correct"] == 0


def test_a_constant_answer_agrees_and_is_not_right():
    found = answered("Paris", "Paris", "Paris")
    assert [s["agreement"] for s in found] == [1, 1, 1]
    assert [s["all_correct"] for s in found] == [0, 0, 0]


def test_a_set_of_one_is_defined():
    [scores] = answered("Shawn Levy")
    assert scores["agreement"] == 0
    assert scores["all_correct"] == 1


def test_limits_keep_sets_whole_and_the_set_is_the_unit():
    task = registry.task("ragqa/paraphrase")
    examples = task.examples("test")
    assert len(first(task, examples, 20)) == 18
    assert len(first(task, examples, 3)) == 6, "one set at least"
    assert len(first(task, examples, None)) == len(examples)
    assert {task.cluster(e) for e in first(task, examples, 20)} == {
        task.set(e) for e in first(task, examples, 20)
    }


@pytest.mark.parametrize("name", ["ragqa/paraphrase", "ragqa/miniature"])
def test_gold_is_right_consistent_and_nothing_is_lost(name: str):
    for level in ("end_to_end", "generator", "attribution"):
        task = registry.task(f"{name}+level={level}" if level != "end_to_end" else name)
        for rollout in played(task, Gold(task), 12):
            scores = rollout.verdict.scores
            assert scores["correct"] == scores["agreement"] == scores["all_correct"] == 1
            assert scores.get("lost_agreement", 0) == 0


def test_at_the_level_of_the_generator_all_phrasings_get_the_passages_of_the_first():
    task = registry.task("ragqa/paraphrase+level=generator")
    own = registry.task("ragqa/paraphrase")
    for rollout in played(task, Gold(task), 60):
        assert rollout.verdict.scores["retrieved_alike"] == 1
    alike = [r.verdict.scores["retrieved_alike"] for r in played(own, Gold(own), 60)]
    assert min(alike) < 1
    shown = {e.id: e.inputs["passages"] for e in own.examples("test")}
    for example in task.examples("test")[:60]:
        assert example.inputs["passages"] == shown[f"{task.set(example)}/0"]


def test_attribution_is_the_generators_agreement_less_that_from_end_to_end():
    """A model that repeats the first passage's title agrees exactly as far as retrieval does."""
    task = registry.task("ragqa/paraphrase+level=attribution")

    def title(prompt: Prompt) -> str:
        found = re.search(r"\[3\] (.*?):", str(prompt.messages[-1].content))
        return f"<answer>{found[1] if found else ''}</answer>"

    rollouts = played(task, Says(title), 120)
    assert all(len(r.turns) == 2 for r in rollouts)
    for rollout in rollouts:
        scores = rollout.verdict.scores
        assert scores["generator_agreement"] == 1
        assert scores["lost_agreement"] == pytest.approx(1 - scores["agreement"])
    assert max(r.verdict.scores["lost_agreement"] for r in rollouts) > 0


# ---- the generated families


def test_templates_of_training_and_test_are_disjoint():
    def bare(text: str) -> str:
        return " ".join(re.findall(r"\w+", re.sub(r"\{\w\}", "", text.lower())))

    for name, both in {**TEMPLATES, "miniature": MINIATURE}.items():
        assert len(both) == 2 * SIZE
        assert len({bare(each) for each in both}) == 2 * SIZE, name
        assert all("{s}" in each for each in both)
        train, dev, test = (set(phrasings(both, split)) for split in ("train", "dev", "test"))
        assert train == dev
        assert not train & test
    questions = {s: {a.question for a in sets.almanac(s)} for s in ("train", "dev", "test")}
    assert not questions["train"] & questions["test"]


def test_articles_hold_every_answer_and_notices_hold_none():
    corpus = sets.encyclopedia()
    for subject in world.subjects():
        for answer in subject.facts.values():
            assert answer in corpus.by_id[subject.id].text
            assert answer not in corpus.by_id[f"{subject.id}/notice"].text


def test_subjects_of_the_splits_differ():
    where: dict[str, set[str]] = {}
    for split in ("train", "dev", "test"):
        for asked in sets.almanac(split):
            where.setdefault(asked.gold[0], set()).add(split)
    assert all(len(splits) == 1 for splits in where.values())
    assert {miniature.split_of(name) for name, _ in miniature.counts()} == {"train", "dev", "test"}


@pytest.mark.parametrize(
    ("name", "count"), [("k=1", 0), ("k=2", 2), ("k=3", 364)], ids=["one", "two", "three"]
)
def test_articles_of_test_subjects_in_training_prompts_are_as_the_card_says(name: str, count: int):
    """Frozen, as trained records rest on these prompts; the card and the pages tell the numbers."""
    split = {subject.id: subject.split for subject in world.subjects()}
    task = registry.task(f"ragqa/paraphrase+{name}")
    shown = [{split.get(id) for id in e.inputs["passages"]} for e in task.examples("train")]
    assert (len(shown), sum("test" in each for each in shown)) == (2550, count)


def test_no_line_of_a_test_name_is_shown_in_training():
    task = registry.task("ragqa/miniature")
    shown = {id.partition("/")[0] for e in task.examples("train") for id in e.inputs["passages"]}
    assert not [name for name in shown if miniature.split_of(name) == "test"]


def test_retrieval_hangs_on_the_wording_and_still_finds_most():
    task = registry.task("ragqa/paraphrase")
    rollouts = played(task, Gold(task), 600)
    found = [r.verdict.scores["found"] for r in rollouts]
    alike = [r.verdict.scores["retrieved_alike"] for r in rollouts]
    assert 0.85 < sum(found) / len(found) < 1
    assert 0.3 < sum(alike) / len(alike) < 0.95


def test_nothing_is_trained_at_the_level_of_attribution():
    task = registry.task("ragqa/paraphrase+level=attribution")
    with pytest.raises(SplitError, match="scored only"):
        check_trainable(task)
    assert not task.examples("train")
    assert task.examples("dev")
    assert task.examples("test")


# ---- bad input


@pytest.mark.parametrize(
    ("name", "error", "match"),
    [
        ("ragqa/paraphrase+k=0", UsageError, "a number from 1 to 50"),
        ("ragqa/paraphrase+k=many", UsageError, "a number from 1 to 50"),
        ("ragqa/paraphrase+level=middle", UnknownName, "middle"),
        ("ragqa/paraphrase+retriever=bm52", UnknownName, "Did you mean bm25"),
        ("ragqa/paraphrase+depth=3", UnknownName, "settings of ragqa/paraphrase"),
        ("ragqa/paraphrase+level=attribution+cosine=minilm", UsageError, "attribution"),
        ("ragqa/retrieval+questions=nq", UnknownName, "nq"),
        ("ragqa/paraphrases", UnknownName, "Did you mean"),
        ("ragqa/miniature+shots=2", UsageError, "worked answers have no place"),
        ("ragqa/open+questions=triviaqa+k=5", UsageError, "k=5 would change nothing"),
        ("ragqa/open+questions=popqa+retriever=hybrid", UsageError, "without passages"),
        ("ragqa/open+questions=nq_open+level=attribution", UsageError, "without passages"),
    ],
)
def test_settings_that_make_no_sense_are_told(name: str, error: type[Exception], match: str):
    with pytest.raises(error, match=match):
        registry.task(name)


@pytest.mark.parametrize("phrased", [["one?"], ["same?", "same?"], []])
def test_a_set_of_one_is_refused_when_it_is_read(phrased: list[str]):
    row = {"id": "x", "paraphrases": phrased, "answers": ["a"], "passage": "p"}
    with pytest.raises(DataError, match="two different ones"):
        sets.grouped([row])


def test_questions_about_another_corpus_are_refused(tmp_path: Path, monkeypatch):
    folder = tmp_path / "rag"
    folder.mkdir()
    (folder / "corpus.jsonl").write_text('{"id": "a", "title": "A", "text": "b"}\n', "utf-8")
    (folder / "paraphrase_groups.jsonl").write_text(
        '{"id": "g", "paraphrases": ["x?", "y?"], "answers": ["b"], "passage": "zzz"}\n', "utf-8"
    )
    monkeypatch.setenv(FOLDER, str(tmp_path))
    with pytest.raises(DataError, match=r"names 1 passages .* such as zzz"):
        registry.task("ragqa/retrieval").examples("test")
