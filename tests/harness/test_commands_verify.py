"""`verify` finds what was changed by hand anywhere between a rollout and a board."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from harness.journal import Journal
from results import chain
from tests.command_line import Said, a_task_file, command

Table = dict[str, Any]


@pytest.fixture(scope="module")
def evaluated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished evaluation of a task in a file of its own, by the model that answers by luck."""
    place = tmp_path_factory.mktemp("evaluated")
    task = a_task_file(place, "proofs")
    said = command(
        "eval", task, "-m", "chance", "-n", "2", "-o", place / "results", "--name", "one"
    )
    assert said.code == 0, said.err
    return place


@pytest.fixture
def place(evaluated: Path, tmp_path: Path) -> Path:
    shutil.copytree(evaluated, tmp_path / "copy")
    return tmp_path / "copy"


def verified(place: Path, *words: str | Path) -> tuple[Said, dict[str, Any]]:
    task = place / "proofs.py"
    said = command("verify", *words, "--task", task, "-o", place / "results", "--json")
    return said, json.loads(said.out)


def outcomes(told: dict[str, Any], part: str) -> set[str]:
    return {record["parts"][part]["outcome"] for record in told["records"]}


def change_records(place: Path, change: Callable[[Table], Any], *, relink: bool = False) -> None:
    """Change every record by hand; `relink`: by one who can write a whole new chain."""
    (path,) = (place / "results" / "records").glob("*.jsonl")
    tables = [json.loads(line) for line in path.read_text().splitlines()]
    before = ""
    for number, table in enumerate(tables):
        change(table)
        if relink:
            tables[number] = chain.linked(chain.unlinked(table), before)
            before = tables[number]["link"]
    path.write_text("".join(json.dumps(table) + "\n" for table in tables))


def test_an_untouched_run_is_proven_in_all_parts(place: Path):
    said, told = verified(place)
    assert said.code == 0
    assert told["agrees"]
    assert len(told["records"]) == 2
    for part in ("chain", "data", "rollouts"):
        assert outcomes(told, part) == {"ok"}, part
    assert "ok" in outcomes(told, "numbers")
    assert verified(place, "one")[1] == told
    assert verified(place, place / "results" / "records" / "proofs.jsonl")[1] == told
    assert len(verified(place, f"{place / 'results' / 'records' / 'proofs.jsonl'}:2")[1]) == 3
    said = command("verify", "overall", "--task", place / "proofs.py", "-o", place / "results")
    assert said.code == 0
    assert "all that could be checked agrees: 1 records" in said.out


def test_a_record_changed_by_hand_is_caught_by_its_chain(place: Path):
    change_records(place, lambda table: table.update(model="better"))
    said, told = verified(place)
    assert said.code == 1
    assert outcomes(told, "chain") == {"wrong"}
    assert "proofs.jsonl:1: it was changed after it was written" in said.out


@pytest.mark.parametrize(
    ("change", "part"),
    [
        (lambda t: t.update(value=t["value"] + 0.01, high=t["high"] + 0.01), "numbers"),
        (lambda t: t.update(low=t["low"] - 0.001), "numbers"),
        (lambda t: t.update(model="better"), "rollouts"),
        (lambda t: t.update(seeds=[7]), "rollouts"),
        (lambda t: t.update(digest="0" * 16), "rollouts"),
        (lambda t: t.update(example_ids_digest="0" * 16), "data"),
        (lambda t: t["settings"].update(prompts="0" * 16), "data"),
    ],
    ids=["value", "interval", "model", "seeds", "asked", "ids", "prompts"],
)
def test_one_who_forges_the_chain_too_is_caught_by_what_the_record_is_made_of(
    place: Path, change: Callable[[Table], Any], part: str
):
    change_records(place, change, relink=True)
    said, told = verified(place)
    assert said.code == 1
    assert outcomes(told, "chain") == {"ok"}
    assert "wrong" in outcomes(told, part)


def test_a_verdict_changed_in_the_run_is_caught(place: Path):
    journal = Journal(place / "results" / "runs" / "one" / "rollouts.jsonl")
    lines = list(journal.read())
    journal.closed_path.unlink()
    lines[0]["verdict"]["scores"]["correct"] = 1.0 - lines[0]["verdict"]["scores"]["correct"]
    with journal:
        for line in lines:
            journal.append(line)
    said, told = verified(place)
    assert said.code == 1
    assert outcomes(told, "rollouts") == {"wrong"}


def test_what_cannot_be_checked_is_told_and_fails_only_where_that_is_asked(place: Path):
    shutil.rmtree(place / "results" / "runs")
    said, told = verified(place)
    assert said.code == 0
    assert outcomes(told, "rollouts") == {"unchecked"}
    assert "no rollouts here: there is no run one" in said.out
    assert verified(place, "--strict")[0].code == 1
    other = command("verify", "-o", place / "results")
    assert other.code == 0
    assert "not checked" in other.out


def test_lines_taken_off_the_end_are_missed_by_who_noted_the_end(place: Path):
    (path,) = (place / "results" / "records").glob("*.jsonl")
    noted = place / "chain.json"
    noted.write_text(json.dumps({path.stem: chain.check(path).ends}))
    assert verified(place, "--noted", noted)[0].code == 0
    path.write_text("".join(path.read_text().splitlines(keepends=True)[:-1]))
    assert verified(place)[0].code == 0
    said, told = verified(place, "--noted", noted)
    assert said.code == 1
    assert "is gone" in told["broken"][0]


def test_a_stored_file_never_names_code_to_run(place: Path):
    evil = place / "evil.py"
    evil.write_text(f"open({str(place / 'ran')!r}, 'w')\nTASKS = []\n")
    change_records(place, lambda table: table.update(task=f"{evil}"[1:]), relink=True)
    manifest = place / "results" / "runs" / "one" / "manifest.json"
    table = json.loads(manifest.read_text())
    table["asks"]["task"] = str(evil)
    manifest.write_text(json.dumps(table))
    said = command("rescore", manifest.parent)
    assert said.code == 2
    assert "a file of code" in said.err
    (path,) = (place / "results" / "records").glob("*.jsonl")
    assert command("verify", path, "-o", place / "results").code == 0
    assert not (place / "ran").exists()


@pytest.mark.parametrize("word", ["nothing", "mathq"])
def test_a_word_that_names_nothing_is_told(place: Path, word: str):
    said = command("verify", word, "-o", place / "results")
    assert said.code == 2
    assert "There are: one" in said.err
