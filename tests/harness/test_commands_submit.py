"""`submit` takes what it can derive again, marks the rest as claimed, and refuses what is odd."""

from __future__ import annotations

import io
import json
import shutil
import stat
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
import zstandard

from harness.codec import plain
from harness.journal import Journal
from leaderboards.board import Board, draw
from results import submission
from results.record import append, load
from tests.command_line import Said, a_task_file, command
from tests.records import a_record


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What a foreign machine made."""
    place = tmp_path_factory.mktemp("made")
    task = a_task_file(place, "foreign")
    said = command("eval", task, "-m", "chance", "-n", "2", "-o", place / "there", "--name", "one")
    assert said.code == 0, said.err
    return place


@pytest.fixture
def place(made: Path, tmp_path: Path) -> Path:
    shutil.copytree(made, tmp_path / "copy")
    return tmp_path / "copy"


def submitted(place: Path, what: Path, *words: str) -> Said:
    task = ["--task", place / "foreign.py"]
    return command("submit", what, "--by", "Someone", *task, "-o", place / "here", *words)


def here(place: Path) -> list[Any]:
    return load(place / "here" / "records")


def test_a_folder_of_results_is_rescored_and_can_be_verified(place: Path):
    said = submitted(place, place / "there")
    assert said.code == 0, said.err
    records = here(place)
    assert {record.origin for record in records} == {"rescored"}
    assert {record.source for record in records} == {"Someone"}
    assert len(records) == len(load(place / "there" / "records"))
    task = ["--task", place / "foreign.py"]
    proven = command("verify", "--strict", *task, "-o", place / "here", "--json")
    told = json.loads(proven.out)
    assert told["agrees"]
    assert {r["parts"]["rollouts"]["outcome"] for r in told["records"]} == {"ok"}
    assert submitted(place, place / "there").code == 0
    assert here(place) == records


def test_a_run_alone_and_a_zip_of_it_will_do(place: Path):
    assert "would be added" in submitted(place, place / "there/runs/one", "--dry-run").out
    assert here(place) == []
    shutil.make_archive(str(place / "packed"), "zip", place / "there")
    assert submitted(place, place / "packed.zip").code == 0
    assert {record.origin for record in here(place)} == {"rescored"}


def test_records_without_rollouts_are_claimed_and_never_ranked(place: Path):
    said = submitted(place, place / "there" / "records" / "foreign.jsonl")
    assert said.code == 0, said.err
    claimed = here(place)
    assert {record.origin for record in claimed} == {"claimed"}
    drawing = draw(Board(name="b", title="B"), claimed)
    assert drawing.rankings == ()
    assert "Claimed" in drawing.sheets[0].title
    assert submitted(place, place / "there").code == 0
    assert {record.origin for record in here(place)} == {"rescored"}
    again = submitted(place, place / "there" / "records" / "foreign.jsonl")
    assert again.code == 3
    assert "a claim cannot replace it" in again.err


def test_a_submission_cannot_replace_what_was_measured_here(place: Path):
    said = command("submit", place / "there", "--by", "X", "-o", place / "there")
    assert said.code == 3
    assert "was measured here" in said.err


def change_report(place: Path, change: Callable[[dict[str, Any]], Any]) -> None:
    path = place / "there" / "runs" / "one" / "report.json"
    report = json.loads(path.read_text())
    change(report["metrics"][0])
    path.write_text(json.dumps(report))


@pytest.mark.parametrize(
    "change",
    [
        lambda entry: entry.update(value=0.99, high=1.0),
        lambda entry: entry.update(model="gpt-99"),
        lambda entry: entry.update(sampling={**entry["sampling"], "temperature": 0.25}),
        lambda entry: entry.update(recipe="grpo"),
        lambda entry: entry.update(split="dev"),
    ],
    ids=["value", "model", "sampling", "recipe", "split"],
)
def test_a_report_that_does_not_follow_from_its_run_is_refused(place: Path, change: Any):
    change_report(place, change)
    said = submitted(place, place / "there" / "runs" / "one")
    assert said.code == 3
    assert "does not follow from its own rollouts" in said.err
    assert here(place) == []
    assert not list((place / "here" / "runs").glob("*"))


def test_a_record_that_differs_from_its_own_run_is_refused(place: Path):
    path = place / "there" / "records" / "foreign.jsonl"
    tables = [json.loads(line) for line in path.read_text().splitlines()]
    raised = {k: v for k, v in tables[0].items() if k not in ("link", "before")}
    raised.update(note="best of all")
    path.write_text(json.dumps(raised))
    said = submitted(place, place / "there")
    assert said.code == 3
    assert "than its run" in said.err


def table(**changes: Any) -> dict[str, Any]:
    return {**plain(a_record("m", [1, 0], run="r")), **changes}


@pytest.mark.parametrize(
    ("line", "why"),
    [
        (json.dumps(table(model="<script>alert(1)</script>")), "code on a page"),
        (json.dumps(table(note="see javascript:alert(1)")), "code on a page"),
        (json.dumps(table(sampling={"<img src=x>": 1})), "code on a page"),
        (json.dumps(table(model="\u202egpj.exe")), "U+202E"),
        (json.dumps(table(engine="a\x00b")), "U+0000"),
        (json.dumps(table(value={"$float": "nan"})), "gives no record"),
        (json.dumps(table(value=float("nan"))), "line 1"),
        (json.dumps(table(value=2.0)), "2.0"),
        (json.dumps(table(task="../../etc/passwd")), "no task's name"),
        (json.dumps(table(run="../../evil")), "no name for a run"),
        (json.dumps(table(run="..")), "no name for a run"),
        (json.dumps(table(color="red")), "no such field"),
        (json.dumps(table(origin="reported", source="https://example.org")), "no submission"),
        (json.dumps(table(model="m" * 3_000)), "characters"),
        (json.dumps({**table(), "before": "", "link": "0" * 64}), "its link does not fit"),
        ("[" * 100_000, "line 1"),
        ("x" * (submission.LONGEST_LINE + 5), "is longer than"),
        (" " * 10_000_000, "is longer than"),
        ("", "holds no record"),
    ],
    ids=lambda value: str(value)[:20],
)
def test_a_hostile_record_is_refused_with_the_reason(tmp_path: Path, line: str, why: str):
    path = tmp_path / "records.jsonl"
    path.write_text(line + "\n")
    said = command("submit", path, "--by", "X", "-o", tmp_path / "here")
    assert said.code in (2, 3), said.out
    assert why in said.err
    assert len(said.err) < 2_000
    assert load(tmp_path / "here" / "records") == []


def test_a_claim_whose_numbers_do_not_follow_from_its_values_is_refused(tmp_path: Path):
    path = tmp_path / "records.jsonl"
    claim = table(task="mathqa/sums", metric="pass@1", value=0.9, low=0.8, high=1.0)
    path.write_text(json.dumps(claim))
    said = command("submit", path, "--by", "X", "-o", tmp_path / "here")
    assert said.code == 3
    assert "the values give" in said.err


def test_the_list_beside_a_model_card_will_do(tmp_path: Path):
    path = tmp_path / "results.json"
    claims = [table(task="elsewhere/set", metric=name) for name in ("pass@1", "maj@2")]
    path.write_bytes(msgspec.json.encode(claims))
    assert command("submit", path, "--by", "X", "-o", tmp_path / "here").code == 0
    assert [r.metric for r in load(tmp_path / "here" / "records")] == ["pass@1", "maj@2"]


def packed(path: Path, name: str, data: bytes = b"x", mode: int = 0) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        member = zipfile.ZipInfo(name)
        member.external_attr = mode << 16
        member.compress_type = zipfile.ZIP_DEFLATED
        archive.writestr(member, data)
    return path


@pytest.mark.parametrize(
    ("name", "mode"),
    [
        ("../out.jsonl", 0),
        ("/etc/out.jsonl", 0),
        ("a/../../out.jsonl", 0),
        ("a\\..\\out.jsonl", 0),
        ("C:/out.jsonl", 0),
        ("records/link.jsonl", stat.S_IFLNK | 0o777),
        ("records/\u202eout.jsonl", 0),
    ],
)
def test_an_archive_that_would_leave_its_folder_is_refused(tmp_path: Path, name: str, mode: int):
    said = command(
        "submit", packed(tmp_path / "a.zip", name, mode=mode), "--by", "X", "-o", tmp_path / "here"
    )
    assert said.code == 3
    assert "leave its folder" in said.err or "no plain file" in said.err
    assert sorted(p.name for p in tmp_path.rglob("*")) == ["a.zip", "here"]


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> int:
    """The limit of all bytes, small enough for a test."""
    monkeypatch.setattr(submission._Budget, "__init__", lambda self: setattr(self, "left", 1 << 22))
    return 1 << 22


def test_a_bomb_of_zip_is_refused(tmp_path: Path, small: int):
    path = packed(tmp_path / "a.zip", "records/mathqa.jsonl", b"\0" * (small * 20))
    assert path.stat().st_size < small / 10
    said = command("submit", path, "--by", "X", "-o", tmp_path / "here")
    assert said.code == 3
    assert "unpacks to more than" in said.err


@pytest.mark.parametrize("frames", [1, 3])
def test_a_bomb_of_zstd_is_refused(place: Path, small: int, frames: int):
    frame = zstandard.compress(b" " * (small * 20 // frames))
    (place / "there" / "runs" / "one" / "rollouts.jsonl.zst").write_bytes(frame * frames)
    said = submitted(place, place / "there" / "runs" / "one")
    assert said.code == 3
    assert "unpacks to more than" in said.err


def test_a_line_of_ten_megabytes_in_a_run_is_refused(place: Path):
    run = place / "there" / "runs" / "one"
    journal = Journal(run / "rollouts.jsonl")
    lines = list(journal.read())
    journal.closed_path.unlink()
    lines[0]["turns"][0]["output"] = "a" * 10_000_000
    with journal:
        for line in lines:
            journal.append(line)
    said = submitted(place, run)
    assert said.code == 3
    assert "rollouts.jsonl, line 1 is longer than" in said.err


def test_links_are_not_followed(place: Path):
    run = place / "there" / "runs" / "one"
    (run / "report.json").unlink()
    (run / "report.json").symlink_to("/etc/passwd")
    said = submitted(place, run)
    assert said.code == 3
    assert "is a link" in said.err


def test_damaged_archives_are_told(tmp_path: Path):
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w") as archive:
        archive.writestr("records/mathqa.jsonl", "{}" * 1000)
    (tmp_path / "a.zip").write_bytes(data.getvalue()[:500])
    said = command("submit", tmp_path / "a.zip", "--by", "X", "-o", tmp_path / "here")
    assert said.code == 3
    assert "cannot be unpacked" in said.err


def test_a_run_of_a_task_that_is_not_here_is_only_told(place: Path):
    path = place / "there" / "runs" / "one" / "manifest.json"
    manifest = json.loads(path.read_text())
    manifest["asks"]["task"] = "nowhere/set"
    path.write_text(json.dumps(manifest))
    said = command("submit", path.parent, "--by", "X", "-o", place / "here")
    assert said.code == 2
    assert "no 'nowhere/set'" in said.err
    assert here(place) == []


def test_claims_of_a_run_that_was_measured_here_are_refused(tmp_path: Path):
    append([a_record("m", [1, 0], run="r")], tmp_path / "here" / "records")
    path = tmp_path / "records.jsonl"
    path.write_text(json.dumps(table(model="better")))
    said = command("submit", path, "--by", "X", "-o", tmp_path / "here")
    assert said.code == 3
    assert "was measured here" in said.err
