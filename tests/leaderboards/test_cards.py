import json
from pathlib import PurePosixPath

import pytest
import yaml
from huggingface_hub import parse_eval_result_entries
from huggingface_hub.repocard_data import model_index_to_eval_results

from leaderboards.cards import card_files, model_index, summary
from results.record import record_of
from tests.records import HOSTILE, a_record


def test_the_hub_reads_back_what_was_measured():
    record = a_record("text:m", [1, 0, 1, 1], dataset="openai/gsm8k/main@abc123", rollouts=2)
    files = card_files([record, record.but(metric="pass@2", value=0.9)])
    (folder,) = {path.parts[0] for path in files}
    name, results = model_index_to_eval_results(
        yaml.safe_load(files[PurePosixPath(folder, "model-index.yaml")])["model-index"]
    )
    assert name == "text:m"
    assert [(r.metric_type, r.metric_value) for r in results] == [("pass@1", 0.75), ("pass@2", 0.9)]
    assert {(r.dataset_type, r.dataset_revision) for r in results} == {("openai/gsm8k", "abc123")}
    entries = parse_eval_result_entries(
        yaml.safe_load(files[PurePosixPath(folder, ".eval_results", "harness.yaml")])
    )
    assert entries[0].value == 0.75
    assert (entries[0].dataset_id, entries[0].task_id) == ("openai/gsm8k", "arith1")
    assert entries[0].notes == summary(record)
    assert "n=4, k=2, temperature=1.0, max_tokens=16" in str(entries[0].notes)
    whole = json.loads(files[PurePosixPath(folder, "results.json")])
    assert record_of(whole[0]) == record


@pytest.mark.parametrize("dataset", ["", "generated", "math/svamp.jsonl", "math/x.jsonl.gz"])
def test_questions_that_are_not_on_the_hub_enter_no_leaderboard_of_it(dataset: str):
    files = card_files([a_record("m", [1, 0], dataset=dataset)])
    assert not [path for path in files if ".eval_results" in path.parts]
    assert len(files) == 2


def test_only_measured_weights_have_a_card():
    gold = a_record("gold", [1, 1], engine="gold")
    said = a_record("m", [1, 1]).but(origin="reported", source="https://example.org", run="")
    assert card_files([gold, said]) == {}


def test_every_model_has_a_safe_folder_of_its_own():
    names = [*HOSTILE, ".", "..", "a/b", "a-b", "a:b"]
    files = card_files([a_record(name, [1, 0], run=f"r{n}") for n, name in enumerate(names)])
    folders = {path.parts[0] for path in files}
    assert len(folders) == len(names)
    for folder in folders:
        assert folder.strip(".")
        assert not set(folder) - set(
            "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-"
        )


def test_weights_of_one_name_have_folders_of_their_own():
    one, two = a_record("m", [1, 0]), a_record("m", [1, 0], model_digest="ffff0000ffff", run="b")
    assert len({path.parts[0] for path in card_files([one, two])}) == 2


def test_a_second_measurement_replaces_the_first():
    one = a_record("m", [1, 0])
    two = one.but(run="b", value=1.0, values=[1.0, 1.0])
    (results,) = [t for p, t in card_files([one, two]).items() if p.name == "results.json"]
    assert [record["value"] for record in json.loads(results)] == [1.0]


def test_hostile_names_are_text_to_yaml():
    for name in HOSTILE:
        read = yaml.safe_load(model_index(name, [a_record(name, [1, 0])]))
        assert isinstance(read["model-index"][0]["name"], str)
