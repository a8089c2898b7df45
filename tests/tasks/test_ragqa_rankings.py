"""Rankings of ragqa: their metrics by hand, the models that give them, and those that cannot."""

from __future__ import annotations

from typing import Any

import pytest

from harness import Completion, Example, Rollout, registry
from harness.commands.opening import ModelOptions, open_model
from harness.errors import UsageError
from harness.models import Sampling
from harness.play import first, play
from tasks import _ragqa_search as search
from tasks import _ragqa_sets as sets

pytest.importorskip("bm25s")
pytest.importorskip("ir_measures")


def test_ranking_metrics_by_hand():
    example = Example("s/0", {"question": "?"}, {"gold": ["b", "c", "e", "zz"]}, {"set": "s"})
    found = search.verify(example, Completion(list("abcde"))).scores
    assert found["recall@5"] == pytest.approx(0.75)
    assert found["recall@1"] == 0
    assert found["reciprocal_rank"] == pytest.approx(0.5)
    assert found["ndcg@10"] == pytest.approx(0.592512, abs=1e-6)


@pytest.mark.parametrize("output", [None, "a", [], [None, 3], {"a": 1}, [["b"]], 7])
def test_what_is_no_ranking_is_worth_nothing(output: Any):
    example = Example("s/0", {"question": "?"}, {"gold": ["b"]}, {"set": "s"})
    found = search.verify(example, Completion(output))
    assert found.reason == "no_answer"
    assert set(found.scores.values()) == {0.0}


def test_an_id_that_is_named_twice_counts_once():
    example = Example("s/0", {"question": "?"}, {"gold": ["b"]}, {"set": "s"})
    found = search.verify(example, Completion(["a", "a", "a", "b"])).scores
    assert found["reciprocal_rank"] == 0.5
    assert found["recall@2"] == 1


def test_retrievers_are_models_of_rankings_alone():
    task = registry.task("ragqa/lookup")
    model = registry.task_models("ragqa/lookup")["bm25-fixed"](task, "test", Sampling())
    asked = [task.prompt(example) for example in first(task, task.examples("test"), 60)]
    rollouts = [each for each in play(task, asked, model) if isinstance(each, Rollout)]
    assert sum(r.verdict.scores["recall@10"] for r in rollouts) / len(rollouts) > 0.9
    assert model.describe()["corpus"] == sets.encyclopedia().digest
    with pytest.raises(UsageError, match=r"\+retriever=bm25"):
        registry.task_models("ragqa/lookup")["bm25-fixed"](
            registry.task("ragqa/paraphrase"), "test", Sampling()
        )


@pytest.mark.parametrize("name", ["bm25", "bm25-fixed"])
def test_who_asks_for_the_wrong_retriever_is_told_of_the_one_whose_ties_are_fixed(name: str):
    task = registry.task("ragqa/paraphrase")
    with pytest.raises(UsageError, match=r"ragqa/paraphrase\+retriever=bm25, or measure"):
        registry.task_models(task.name)[name](task, "test", Sampling())


@pytest.mark.parametrize("spec", ["text:smollm2", "served:m@http://localhost:1", "vision:tiny"])
def test_a_model_that_answers_in_words_is_refused_where_rankings_are_asked_for(spec: str):
    for name in ("ragqa/retrieval", "ragqa/lookup"):
        with pytest.raises(UsageError, match=r"asks for rankings .* \(bm25, bm25-fixed"):
            open_model(spec, registry.task(name), "test", Sampling(), ModelOptions())
