"""`rescore` gives a receipt of a run, and finds any number or rollout that was changed."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from harness.journal import Journal
from tests.command_line import Said, a_task_file, command, exchange


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A finished evaluation of a task in a file of its own, by the model that answers by luck."""
    task = a_task_file(tmp_path, "receipts")
    said = command("eval", task, "-m", "chance", "-n", "4", "-o", tmp_path / "results", "--json")
    assert said.code == 0, said.err
    (folder,) = (tmp_path / "results" / "runs").iterdir()
    return folder


def rescored(run: Path) -> tuple[Said, dict[str, Any]]:
    said = command("rescore", run, "--task", run.parents[2] / "receipts.py", "--json")
    return said, json.loads((run / "receipt.json").read_text())


def wrong(receipt: dict[str, Any]) -> dict[str, int]:
    return {check["what"]: check["wrong"] for check in receipt["checks"] if check["wrong"]}


def test_an_untouched_run_agrees(run: Path):
    said, receipt = rescored(run)
    assert said.code == 0
    assert json.loads(said.out) == receipt
    assert receipt["agrees"]
    assert receipt["version"] == {"then": 1, "now": 1}
    checked = {check["what"]: check["checked"] for check in receipt["checks"]}
    assert checked["verdicts"] == checked["attempts there"] == 40
    assert checked["numbers"] == 3 * 12
    assert checked["data digests"] == 2
    again = command("rescore", run.name, "-o", run.parents[1])
    assert again.code == 0
    assert "all agrees" in again.out
    assert receipt["rollouts_digest"] in again.out


def test_a_run_whose_limit_cuts_a_set_agrees_as_well(tmp_path: Path):
    asked = ("eval", "ragqa/miniature", "-m", "gold", "--limit", "20", "-o", tmp_path, "--json")
    assert command(*asked).code == 0
    (run,) = (tmp_path / "runs").iterdir()
    assert command("rescore", run).code == 0
    assert command("verify", "-o", tmp_path).code == 0


def change_report(run: Path, change: Callable[[dict[str, Any]], None]) -> None:
    report = json.loads((run / "report.json").read_text())
    change(report)
    (run / "report.json").write_text(json.dumps(report))


@pytest.mark.parametrize("number", ["value", "low", "high", "examples"])
def test_a_changed_number_is_found(run: Path, number: str):
    change_report(run, lambda report: report["metrics"][2].update({number: 0.25}))
    said, receipt = rescored(run)
    assert said.code == 1
    assert wrong(receipt) == {"numbers": 1}


def test_a_changed_value_of_one_example_is_found(run: Path):
    change_report(run, lambda report: report["metrics"][2]["values"].__setitem__(4, 0.5))
    assert wrong(rescored(run)[1]) == {"numbers": 1}


def lines_of(run: Path, keep: Callable[[int, dict[str, Any]], Any]) -> None:
    journal = Journal(run / "rollouts.jsonl")
    lines = [line for n, line in enumerate(journal.read()) if keep(n, line)]
    journal.closed_path.unlink()
    with journal:
        for line in lines:
            journal.append(line)


def test_a_rollout_that_is_gone_is_found(run: Path):
    lines_of(run, lambda n, line: n != 7)
    said, receipt = rescored(run)
    assert said.code == 1
    assert wrong(receipt) == {"attempts there": 1}


def test_a_score_that_was_raised_is_found(run: Path):
    lines_of(run, lambda n, line: n or line["verdict"]["scores"].update(correct=1.0) is None)
    assert wrong(rescored(run)[1]) == {"verdicts": 1}


def test_a_damaged_line_is_found(run: Path):
    lines_of(run, lambda n, line: True)
    with (run / "rollouts.jsonl").open("a") as file:
        file.write('{"half')
    assert wrong(rescored(run)[1]) == {"lines read": 1}


def test_a_task_of_another_version_is_said_to_be_one(run: Path):
    exchange(run.parents[2] / "receipts.py", "version=1", "version=2")
    said = command("rescore", run, "--task", run.parents[2] / "receipts.py")
    assert said.code == 1
    assert "version 1 then and has 2 now" in said.out


def test_other_data_are_found(run: Path):
    exchange(run.parents[2] / "receipts.py", "37 * number", "39 * number")
    said, receipt = rescored(run)
    assert said.code == 1
    assert "data digests" in wrong(receipt)


@pytest.mark.parametrize("place", ["/nowhere/at/all", "*", "x" * 200])
def test_a_place_that_is_no_run_is_a_usage_error(tmp_path: Path, place: str):
    said = command("rescore", place, "-o", tmp_path)
    assert said.code == 2
    assert f"no run '{place}'" in said.err


def test_an_unknown_run_is_a_usage_error(tmp_path: Path):
    said = command("rescore", "nothing", "-o", tmp_path)
    assert said.code == 2
    assert "no run 'nothing'" in said.err


@pytest.mark.parametrize("text", ["{}", '{"asks": 3}', '{"asks": {"task": "mathqa/arith1"}}', "x"])
def test_a_manifest_that_is_none_is_a_data_error(run: Path, text: str):
    (run / "manifest.json").write_text(text)
    said = command("rescore", run)
    assert said.code == 3
    assert said.err.startswith("error: ")


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished training run of the tiny policy."""
    place = tmp_path_factory.mktemp("trained")
    words = "train mathqa/arith1 -m text:tiny --steps 2 --max-tokens 4 --dev-every 1 --dev-limit 4"
    sizes = ["--set", "samplers.prompts=2", "--set", "samplers.rollouts=3", "--no-test"]
    said = command(*words.split(), *sizes, "-o", place)
    assert said.code == 0, said.err
    (folder,) = (place / "runs").iterdir()
    return folder


@pytest.fixture
def training(trained: Path, tmp_path: Path) -> Path:
    shutil.copytree(trained, tmp_path / "run", ignore=shutil.ignore_patterns("checkpoints"))
    return tmp_path / "run"


def test_a_training_run_agrees(training: Path):
    said = command("rescore", training)
    assert said.code == 0, said.out
    receipt = json.loads((training / "receipt.json").read_text())
    checked = {check["what"]: check["checked"] for check in receipt["checks"]}
    assert checked["training rewards"] == 2 * 2 * 3
    assert checked["verdicts"] == 2 * 2 * 3 + 3 * 4
    assert checked["numbers logged"] > 3 * 5


def test_a_reward_that_is_no_score_is_found(training: Path):
    lines_of(training, lambda n, line: "reward" not in line or line.update(reward=0.5) is None)
    said = command("rescore", training, "--json")
    assert said.code == 1
    assert wrong(json.loads(said.out)) == {"training rewards": 12}


def test_a_step_that_is_gone_is_found(training: Path):
    lines_of(training, lambda n, line: (line["phase"], line["step"]) != ("train", 2))
    said = command("rescore", training, "--json")
    assert said.code == 1
    assert set(wrong(json.loads(said.out))) == {"numbers logged"}


def test_a_dev_score_that_was_changed_is_found(training: Path):
    path = training / "metrics.jsonl"
    path.write_text(path.read_text().replace('"eval/pass@1":0.0', '"eval/pass@1":0.25', 1))
    said = command("rescore", training, "--json")
    assert said.code == 1
    assert wrong(json.loads(said.out)) == {"numbers logged": 1}
