import json
from pathlib import Path
from typing import Any

import pytest

from harness.commands.compare import compared, sentence
from harness.commands.sides import Candidate, aligned, find, gather, sampling_differences, topics
from harness.errors import DataError, HarnessError, IncompleteRun, UnknownName, UsageError
from harness.journal import Journal
from results.record import Record, append, load
from tests.killing import harness
from tests.records import a_record

EVAL = "eval mathqa/arith1 -n 2 --max-tokens 32 --json --model".split()


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Real runs: gold and chance on 20 examples, gold on 12, chance on dev."""
    folder = tmp_path_factory.mktemp("runs")
    harness([*EVAL, "gold", "--limit", "20"], folder)
    harness([*EVAL, "chance", "--limit", "20"], folder)
    harness([*EVAL, "gold", "--limit", "12", "-o", "short"], folder)
    harness([*EVAL, "chance", "--limit", "20", "--split", "dev", "-o", "dev"], folder)
    return folder


def run_of(folder: Path, model: str) -> str:
    (path,) = (folder / "runs").glob(f"*{model}*")
    return str(path)


def compare_runs(place: Path, *names: str, show: int = 3) -> dict[str, Any]:
    output = place / "results"
    found = [find(name, load(output / "records"), output) for name in names]
    (topic,) = topics(found, None, None)
    return compared(aligned(gather(found, topic, output)), show)


def test_runs_are_paired_example_by_example_with_what_they_answered(place: Path):
    gold, chance = (run_of(place / "results", name) for name in ("gold", "chance"))
    (pair,) = compare_runs(place, gold, chance)["pairs"]
    assert pair["n"] == 20
    assert pair["mean_a"] == 1.0
    assert pair["difference"] == pytest.approx(1.0 - pair["mean_b"])
    assert pair["separated"]
    assert pair["low"] <= pair["difference"] <= pair["high"]
    assert pair["b_higher"] == 0
    assert len(pair["examples"]) == 3
    first = pair["examples"][0]
    assert [each["reason"] for each in first["a"]["answers"]] == ["ok", "ok"]
    assert "wrong" in [each["reason"] for each in first["b"]["answers"]]
    assert first["prompt"]


def test_sets_are_what_is_counted_and_shown(tmp_path: Path):
    for model in ("bm25", "chance"):
        harness(["eval", "ragqa/lookup", "--model", model, "--limit", "60", "--json"], tmp_path)
    found = compare_runs(tmp_path, *(run_of(tmp_path / "results", m) for m in ("bm25", "chance")))
    (pair,) = found["pairs"]
    assert (pair["n"], pair["clusters"]) == (60, 10)
    shown = [example["id"].rsplit("/", 1)[0] for example in pair["examples"]]
    assert len(shown) == len({*shown}) == 3


def test_turned_round_the_difference_is_its_negative(place: Path):
    gold, chance = (run_of(place / "results", name) for name in ("gold", "chance"))
    (one,), (two,) = (compare_runs(place, *n)["pairs"] for n in ((gold, chance), (chance, gold)))
    assert (one["difference"], one["low"]) == pytest.approx((-two["difference"], -two["high"]))
    assert one["p"] == pytest.approx(two["p"])


def test_models_of_records_are_compared_like_their_runs(place: Path):
    by_name = compare_runs(place, "gold", "chance")["pairs"][0]
    by_run = compare_runs(place, *(run_of(place / "results", name) for name in ("gold", "chance")))[
        "pairs"
    ][0]
    ours = ("difference", "p", "low", "high", "n", "examples")
    assert [by_name[key] for key in ours] == [by_run[key] for key in ours]


def test_a_shorter_run_is_compared_on_the_examples_in_common(place: Path):
    short, chance = run_of(place / "short", "gold"), run_of(place / "results", "chance")
    (pair,) = compare_runs(place, short, chance)["pairs"]
    assert (pair["n"], pair["n_a"], pair["n_b"]) == (12, 12, 20)
    assert "on the 12 examples in common" in sentence(pair, "higher")


def test_a_record_without_its_run_is_paired_by_the_ids_of_the_other(place: Path):
    output = place / "results"
    gold, chance = (find(run_of(output, name), [], output) for name in ("gold", "chance"))
    alone = Candidate("alone", tuple(r.but(run="elsewhere") for r in chance.records))
    (topic,) = topics([gold, alone], None, None)
    (pair,) = compared(aligned(gather([gold, alone], topic, output)), 2)["pairs"]
    assert pair["n"] == 20
    first = pair["examples"][0]
    assert first["a"]["answers"]
    assert first["b"]["answers"] == []


def test_other_splits_and_metrics_are_refused(place: Path):
    dev, gold = run_of(place / "dev", "chance"), run_of(place / "results", "gold")
    found = [find(name, [], place) for name in (dev, gold)]
    with pytest.raises(UsageError, match="in common"):
        topics(found, None, None)
    with pytest.raises(UsageError, match="metric elegance"):
        topics([find(gold, [], place)] * 2, None, "elegance")
    with pytest.raises(UnknownName, match="mathqa/arith1"):
        topics([find(gold, [], place)] * 2, "mathqa/arith2", None)


def test_the_command_prints_and_speaks_json(place: Path):
    told = harness(["compare", "gold", "chance"], place)
    assert "gold (1" in told
    assert "is better than chance" in told
    read = json.loads(harness(["compare", "gold", "chance", "--json"], place))
    assert read[0]["pairs"][0]["n"] == 20


def test_rollouts_that_are_not_those_of_the_record_are_told(place: Path, tmp_path: Path):
    gold, chance = (run_of(place / "results", name) for name in ("gold", "chance"))
    run = find(gold, [], tmp_path)
    other = find(chance, [], tmp_path).folder
    mixed = Candidate("mixed", (run.records[0].but(example_ids_digest="0" * 16),), other)
    with pytest.raises(DataError, match="rescore"):
        gather([mixed, run], _topic(run.records[0]), tmp_path)


def test_a_run_that_is_not_complete_is_refused(place: Path, tmp_path: Path):
    run = tmp_path / "runs" / "begun"
    run.mkdir(parents=True)
    (run / "manifest.json").write_text("{}")
    with pytest.raises(IncompleteRun, match="not complete"):
        find("begun", [], tmp_path)
    (run / "report.json").write_text('{"complete": false}')
    with pytest.raises(IncompleteRun, match="not complete"):
        find("begun", [], tmp_path)


@pytest.mark.parametrize(
    "report",
    [
        '{"complete": true}',
        '{"complete": true, "metrics": [1]}',
        '{"complete": true, "metrics":',
        '{"complete": true, "metrics": [{"task": "x"}]}',
        "[]",
    ],
)
def test_a_damaged_report_is_told(tmp_path: Path, report: str):
    run = tmp_path / "runs" / "bad"
    run.mkdir(parents=True)
    (run / "manifest.json").write_text("{}")
    (run / "report.json").write_text(report)
    with pytest.raises(DataError, match="bad"):
        find("bad", [], tmp_path)


def _topic(record: Record) -> tuple[str, str, str]:
    return (record.task, record.split, record.metric)


def sides(tmp_path: Path, *records: Record) -> list[Any]:
    """Sides found among records only, without a run."""
    found = [Candidate(record.model, (record,)) for record in records]
    return gather(found, _topic(records[0]), tmp_path)


RIGHT, WRONG = [1.0] * 30, [1.0] * 12 + [0.0] * 18


def test_records_alone_are_compared_when_the_examples_are_the_same(tmp_path: Path):
    found = aligned(sides(tmp_path, a_record("a", RIGHT), a_record("b", WRONG)))
    (pair,) = compared(found, 3)["pairs"]
    assert pair["difference"] == pytest.approx(0.6)
    assert pair["a_higher"] == 18


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"version": 2}, "version"),
        ({"settings": {"prompts": "other"}}, "prompts"),
        ({"settings": {"prompts": "abcd", "judge": "strict"}}, "judge"),
        ({"better": "lower"}, "better"),
        ({"example_ids_digest": "other"}, "different examples"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_what_does_not_measure_the_same_is_refused(
    tmp_path: Path, change: dict[str, Any], said: str
):
    found = sides(tmp_path, a_record("a", RIGHT), a_record("b", WRONG, **change))
    with pytest.raises(UsageError, match=said):
        aligned(found)


def test_other_sampling_is_compared_and_told(tmp_path: Path):
    greedy = a_record("b", WRONG, sampling={"temperature": 0.0, "max_tokens": 16})
    found = aligned(sides(tmp_path, a_record("a", RIGHT), greedy))
    assert sampling_differences(found) == ["temperature differs: 1.0, 0.0"]


def test_a_metric_of_the_whole_cannot_be_paired(tmp_path: Path):
    with pytest.raises(UsageError, match="--metric"):
        sides(tmp_path, a_record("a", RIGHT).but(values=[]), a_record("b", WRONG))


def test_of_several_settings_the_common_one_is_compared(tmp_path: Path):
    greedy = {"temperature": 0.0, "max_tokens": 16}
    later = "2026-03-01T00:00:00+00:00"
    both = (a_record("a", RIGHT), a_record("a", WRONG, sampling=greedy, when=later, run="later"))
    found = [Candidate("a", both), Candidate("b", (a_record("b", WRONG),))]
    chosen = gather(found, _topic(both[0]), tmp_path)
    assert chosen[0].record == both[0]


def test_more_than_two_are_corrected_together(tmp_path: Path):
    three = [a_record("a", RIGHT), a_record("b", WRONG), a_record("c", WRONG)]
    pairs = compared(aligned(sides(tmp_path, *three)), 0)["pairs"]
    assert [(pair["a"], pair["b"]) for pair in pairs] == [("a", "b"), ("a", "c"), ("b", "c")]
    assert [pair["separated"] for pair in pairs] == [True, True, False]
    assert pairs[0]["p_holm"] == pytest.approx(3 * pairs[0]["p"])


def test_the_sentence_names_the_better_one(tmp_path: Path):
    found = aligned(sides(tmp_path, a_record("a", WRONG), a_record("b", RIGHT)))
    (pair,) = compared(found, 0)["pairs"]
    assert sentence(pair, "higher").startswith("b (1.00) is better than a (0.40)")
    assert sentence(pair, "lower").startswith("a (0.40) is better than b (1.00)")
    assert sentence(pair, "neither").startswith("b (1.00) is higher than a (0.40)")
    assert "not told apart" in sentence({**pair, "separated": False}, "higher")


def test_unknown_names_are_told_with_what_is_near(tmp_path: Path):
    append([a_record("text:smollm2", RIGHT)], tmp_path / "records")
    with pytest.raises(UnknownName, match="Did you mean text:smollm2"):
        find("text:smolm2", load(tmp_path / "records"), tmp_path)
    with pytest.raises(HarnessError, match="none yet"):
        find("x", [], tmp_path / "nowhere")


def test_damaged_lines_of_rollouts_do_not_stop_a_comparison(place: Path, tmp_path: Path):
    import shutil

    gold = Path(run_of(place / "results", "gold"))
    copy = tmp_path / "runs" / "copy"
    shutil.copytree(gold, copy)
    journal = Journal(copy / "rollouts.jsonl")
    with journal:
        pass
    with (copy / "rollouts.jsonl").open("a") as file:
        file.write('{"role": "solver"}\n[]\nnot json\n{"exam')
    chosen = find("copy", [], tmp_path)
    assert gather([chosen, chosen], _topic(chosen.records[0]), tmp_path)[0].prompts
