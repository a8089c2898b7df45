import json
import subprocess
from pathlib import Path

import pytest

from harness.journal import write_whole
from results.record import append
from tests.killing import harness, start
from tests.records import a_record

WORLD = [
    a_record("text:small", [1.0] * 10 + [0.0] * 50, run="run-a"),
    a_record("text:large", [1.0] * 50 + [0.0] * 10, run="run-b"),
    a_record("text:small", [1.0] * 48 + [0.0] * 12, recipe="grpo", base="text:small", run="run-c"),
]


@pytest.fixture
def place(tmp_path: Path) -> Path:
    append(WORLD, tmp_path / "results" / "records")
    return tmp_path


def failing(arguments: list[str], folder: Path) -> tuple[int, str]:
    process: subprocess.Popen[str] = start(arguments, folder)
    _, err = process.communicate(timeout=60)
    return process.returncode, err


def test_publish_prints_boards_and_writes_tables_and_cards(place: Path):
    told = harness(["publish", "--pictures"], place)
    assert "text:small + grpo" in told
    tables = place / "results" / "tables"
    made = {str(path.relative_to(tables)) for path in tables.rglob("*") if path.is_file()}
    assert {f"mathqa.{kind}" for kind in ("md", "csv", "tex", "html")} <= made
    assert {f"overall.{kind}" for kind in ("md", "csv", "tex", "html")} <= made
    assert len([path for path in made if path.endswith("model-index.yaml")]) == 3
    assert len([path for path in made if path.endswith(".png")]) == 1
    rows = [line for line in (tables / "mathqa.md").read_text().splitlines() if "text:" in line]
    assert [row.split("|")[2].strip() for row in rows if row.startswith("|")] == ["1-2", "1-2", "3"]


def test_publish_speaks_json_and_a_dry_run_writes_nothing(place: Path):
    told = json.loads(harness(["publish", "--json", "--dry-run", "--board", "mathqa"], place))
    assert [row["rank"] for row in told["boards"][0]["rows"]] == ["1-2", "1-2", "3"]
    assert told["records"] == 3
    assert len(told["files"]) == 4
    assert not (place / "results" / "tables").exists()


def test_publish_again_writes_the_same_to_the_byte(place: Path):
    harness(["publish", "--to", "one"], place)
    harness(["publish", "--to", "two"], place)
    one, two = (
        {path.relative_to(place / name): path.read_bytes() for path in paths}
        for name in ("one", "two")
        for paths in [[p for p in (place / name).rglob("*") if p.is_file()]]
    )
    assert one == two


def test_a_board_may_be_a_file_of_ones_own(place: Path):
    source = (
        '"""mine: everything.\n\nRows  All.\n"""\nfrom leaderboards.board import Board\n'
        'BOARD = Board(name="mine", title="Mine", columns=("pass@*",))\n'
    )
    (place / "mine.py").write_text(source)
    harness(["publish", "--board", "mine.py", "--format", "csv"], place)
    assert [p.name for p in (place / "results" / "tables").iterdir()] == ["mine.csv"]


@pytest.mark.parametrize("report", [None, {"complete": False, "metrics": []}])
def test_numbers_of_a_run_that_is_not_complete_are_left_out(place: Path, report: object):
    run = place / "results" / "runs" / "run-b"
    write_whole(run / "manifest.json", "{}")
    if report is not None:
        write_whole(run / "report.json", json.dumps(report))
    told = json.loads(harness(["publish", "--json", "--board", "mathqa"], place))
    assert {row["run"] for row in told["boards"][0]["rows"]} == {"run-a", "run-c"}


def test_numbers_of_incomplete_runs_only_are_an_error(place: Path):
    for name in ("run-a", "run-b", "run-c"):
        write_whole(place / "results" / "runs" / name / "manifest.json", "{}")
    code, err = failing(["publish"], place)
    assert code == 7
    assert "not complete" in err


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["--board", "mathq"], 2, "Did you mean mathqa"),
        (["--format", "pdf"], 2, "no 'pdf' in formats"),
        (["--board", "none.py"], 2, "no file none.py"),
        (["--fresh"], 2, "say --site, too"),
    ],
)
def test_wrong_arguments_are_told(place: Path, arguments: list[str], code: int, said: str):
    found, err = failing(["publish", *arguments], place)
    assert (found, said in err) == (code, True)


def test_a_damaged_record_is_told_with_its_line(place: Path):
    path = place / "results" / "records" / "mathqa.jsonl"
    path.write_text(path.read_text() + "{}\n")
    code, err = failing(["publish"], place)
    assert code == 3
    assert "mathqa.jsonl, line 4" in err


def test_no_records_are_no_error(tmp_path: Path):
    assert "wrote" in harness(["publish"], tmp_path)
