"""Public data of ragqa: published baselines of retrieval, and questions in several phrasings."""

from __future__ import annotations

import json
import math
import os
from pathlib import Path
from typing import Any

import pytest

from harness import Completion, Rollout, Task, registry
from harness.data import FOLDER
from harness.models import Gold, Sampling
from harness.play import first, play
from tasks.ragqa_facts.templates import TEMPLATES, phrasings

pytest.importorskip("bm25s")
pytest.importorskip("ir_measures")

public = pytest.mark.skipif(not os.environ.get(FOLDER), reason=f"{FOLDER} is not set")


def played(task: Task, model: Any, limit: int | None = None) -> list[Rollout]:
    asked = [task.prompt(example) for example in first(task, task.examples("test"), limit)]
    return [each for each in play(task, asked, model) if isinstance(each, Rollout)]


TIES = 1.5e-3
"""How bm25s decides between equal scores may differ between processors; recall is not touched."""
BASELINES = {
    "recall": {1: 0.8385, 3: 0.9561, 5: 0.9855, 10: 0.9958},
    "jaccard": {1: 0.9363, 3: 0.6619, 5: 0.5554, 10: 0.4468},
}


@public
def test_the_published_baselines_of_bm25():
    task = registry.task("ragqa/retrieval")
    model = registry.task_models(task.name)["bm25"](task, "test", Sampling())
    rollouts = played(task, model)
    assert len(rollouts) == 357 * 6
    for what, values in BASELINES.items():
        for k, value in values.items():
            found = sum(r.verdict.scores[f"{what}@{k}"] for r in rollouts) / len(rollouts)
            slack = 5e-5 if what == "recall" else TIES
            assert found == pytest.approx(value, abs=slack), (what, k)


HOPS = {
    "hotpotqa": {"recall@2": 0.5875, "recall@5": 0.7675, "recall@10": 0.8950, "ndcg@10": 0.7847},
    "2wiki": {"recall@2": 0.5534, "recall@5": 0.6875, "recall@10": 0.7317, "ndcg@10": 0.7292},
    "musique": {"recall@2": 0.3729, "recall@5": 0.4583, "recall@10": 0.5425, "ndcg@10": 0.5022},
}


@public
@pytest.mark.parametrize("name", HOPS)
def test_the_published_baselines_of_questions_with_several_hops(name: str):
    task = registry.task(f"ragqa/retrieval+questions={name}")
    model = registry.task_models(task.name)["bm25"](task, "test", Sampling())
    rollouts = played(task, model)
    for metric, value in HOPS[name].items():
        found = sum(r.verdict.scores[metric] for r in rollouts) / len(rollouts)
        assert found == pytest.approx(value, abs=TIES if metric == "ndcg@10" else 5e-5), metric


# ---- wordings

SHARED = frozenset(
    {
        "In what year did {s} come out?",
        "In which country is {s}?",
        "Name the country in which {s} lies.",
        "Name the occupation of {s}.",
        "What does {s} do for a living?",
        "What is the birthplace of {s}?",
        "What is the release year of {s}?",
        "When was {s} released?",
        "Where was {s} born?",
        "Which country is home to {s}?",
        "Who directed {s}?",
        "Who was the director of {s}?",
        "{s} was directed by whom?",
        "{s} works as what?",
    }
)
"""What the almanac's training and the frozen templates of the public groups both ask."""


def test_no_other_template_of_training_may_stand_in_the_public_groups():
    seen = {template for each in TEMPLATES.values() for template in phrasings(each, "train")}
    assert seen >= SHARED
    if not os.environ.get(FOLDER):
        return
    path = Path(os.environ[FOLDER]) / "rag" / "paraphrase_templates.json"
    frozen = json.loads(path.read_text("utf-8"))
    public = {text for relations in frozen.values() for each in relations.values() for text in each}
    assert seen & public == SHARED


@public
@pytest.mark.parametrize("name", ["wiki", "retrieval"])
def test_questions_in_wordings_of_training_are_tagged(name: str):
    examples = registry.task(f"ragqa/{name}").examples("test")
    trained = [e for e in examples if e.tags["wording"] == "trained"]
    assert (len(examples), len(trained)) == (2142, 488)
    assert len({e.tags["set"] for e in trained}) == 168
    assert {e.tags["wording"] for e in examples} == {"trained", "new"}


@public
def test_wiki_tells_trained_and_new_wordings_apart():
    task = registry.task("ragqa/wiki")
    by_name = {metric.name: metric for metric in task.metrics}
    rollouts = played(task, Gold(task), 60)
    trained = sum(r.example.tags["wording"] == "trained" for r in rollouts)
    for where, count in (("trained", trained), ("new", len(rollouts) - trained)):
        each = by_name[f"correct|{where}_wording"].each
        assert each is not None
        values = [each([r.verdict]) for r in rollouts]
        assert values.count(1.0) == count > 0
        assert sum(math.isnan(value) for value in values) == len(rollouts) - count


# ---- public questions


@public
def test_every_gold_of_the_public_questions_is_right():
    for name in ("nq_open", "musique"):
        task = registry.task(f"ragqa/open+questions={name}")
        for e in task.examples("test"):
            verdict = task.verify(e, Completion(task.gold(e)))
            assert verdict.scores["correct"] == 1, e.id


@public
def test_found_is_all_passages_of_several_hops():
    task = registry.task("ragqa/open+questions=musique+k=5")
    judged = [task.verify(e, Completion("")).scores for e in task.examples("test")]
    found, share = (sum(s[name] for s in judged) / len(judged) for name in ("found", "found_share"))
    assert (found, share) == (pytest.approx(0.089, abs=5e-3), pytest.approx(0.46, abs=0.02))
    assert "found_share" in {metric.name for metric in task.metrics}


@public
def test_questions_without_passages_have_no_numbers_about_passages():
    task = registry.task("ragqa/open+questions=nq_open")
    assert not {"found", "found_share", "retrieved_alike"} & {
        metric.name for metric in task.metrics
    }
    for rollout in played(task, Gold(task), 6):
        assert not {"found", "found_share", "retrieved_alike"} & {*rollout.verdict.scores}


@public
@pytest.mark.parametrize("name", ["hotpotqa", "nq_open"])
def test_public_questions_come_in_noisy_sets(name: str):
    task = registry.task(f"ragqa/open+questions={name}")
    rollouts = played(task, Gold(task), 60)
    assert all(r.verdict.scores["all_correct"] == 1 for r in rollouts)
    assert {r.example.inputs["phrasing"] for r in rollouts} == {"given", "noise"}
    shown = [r.example.inputs["passages"] for r in rollouts]
    assert all(shown) == (name == "hotpotqa")
