"""Publishing to a git branch and to the hub, and what stands beside the tables."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Generator
from pathlib import Path
from xml.etree import ElementTree

import pytest
import yaml
from huggingface_hub import parse_eval_result_entries
from huggingface_hub.repocard_data import model_index_to_eval_results

from leaderboards.feed import atom, badge, badges, changes
from leaderboards.hub import merged_card
from results.record import append
from tests.command_line import Said, command
from tests.hub_stand_in import TOKEN, Hub, a_hub
from tests.records import HOSTILE, a_record

HOUSE = Path(__file__).resolve().parents[2]
WORLD = [
    a_record("text:small", [1.0] * 10 + [0.0] * 50, run="run-a", dataset="org/set@main"),
    a_record("text:large", [1.0] * 50 + [0.0] * 10, run="run-b", dataset="org/set@main"),
]


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    append(WORLD, tmp_path / "results" / "records")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def hub() -> Generator[Hub]:
    with a_hub() as found:
        yield found


def git(folder: Path, *words: str) -> str:
    names = {
        f"GIT_{who}_{what}": "x@example.org"
        for who in ("AUTHOR", "COMMITTER")
        for what in ("NAME", "EMAIL")
    }
    done = subprocess.run(
        ["git", *words], cwd=folder, capture_output=True, text=True, env={**os.environ, **names}
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.fixture
def repository(place: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for who in ("AUTHOR", "COMMITTER"):
        monkeypatch.setenv(f"GIT_{who}_NAME", "x")
        monkeypatch.setenv(f"GIT_{who}_EMAIL", "x@example.org")
    git(place, "init", "-q", "-b", "main")
    (place / "mine.txt").write_text("mine")
    git(place, "add", "mine.txt")
    git(place, "commit", "-q", "-m", "first")
    (place / "mine.txt").write_text("changed, and staged by nobody")
    return place


def test_a_branch_gets_the_files_as_one_commit_and_the_work_tree_stays(repository: Path):
    before = git(repository, "status", "--porcelain"), git(repository, "rev-parse", "HEAD")
    said = command("publish", "--to", "git:pages")
    assert said.code == 0, said.err
    listed = git(repository, "ls-tree", "-r", "--name-only", "pages").splitlines()
    assert {"overall.html", "feed.xml", "changes.md", "chain.json", ".nojekyll"} <= set(listed)
    assert "mine.txt" not in listed
    assert (
        git(repository, "status", "--porcelain"),
        git(repository, "rev-parse", "HEAD"),
    ) == before
    commit = git(repository, "rev-parse", "pages")
    assert commit in said.err
    assert command("publish", "--to", "git:pages").code == 0
    assert git(repository, "rev-parse", "pages") == commit
    append([a_record("new", [1, 0] * 30, run="run-c")], repository / "results" / "records")
    assert command("publish", "--to", "git:pages").code == 0
    assert git(repository, "rev-parse", "pages^") == commit


def test_a_branch_of_somebodys_work_is_refused(repository: Path):
    said = command("publish", "--to", "git:main")
    assert (said.code, "checked out" in said.err) == (2, True)
    git(repository, "branch", "other")
    said = command("publish", "--to", "git:other")
    assert (said.code, "holds other files" in said.err) == (2, True)
    assert git(repository, "log", "--format=%s", "other") == "first"
    assert command("publish", "--to", "git:a..b").code == 3


def test_a_dry_run_makes_no_branch_and_names_what_it_would_hold(repository: Path):
    said = command("publish", "--to", "git:pages", "--dry-run")
    assert said.code == 0
    assert "would send to git:pages" in said.err
    assert "  overall.html" in said.out
    assert git(repository, "branch", "--list", "pages") == ""


def sent(hub: Hub, place: Path, *words: str, token: str = TOKEN) -> Said:
    """`harness publish` in a process of its own, with the stand-in as its hub."""
    known = {
        "HF_ENDPOINT": hub.address,
        "HF_HUB_OFFLINE": "0",
        "HF_TOKEN": token,
        "HF_HOME": str(place / "hf"),
        "HF_HUB_DISABLE_XET": "1",
        "PYTHONPATH": str(HOUSE),
    }
    done = subprocess.run(
        [sys.executable, "-m", "harness", "publish", *words],
        cwd=place,
        env={**os.environ, **known},
        capture_output=True,
        text=True,
    )
    return Said(done.returncode, done.stdout, done.stderr)


def test_a_space_gets_the_pages_and_a_readme_that_makes_it_static(place: Path, hub: Hub):
    said = sent(hub, place, "--to", "hub:space/org/boards")
    assert said.code == 0, said.err
    files = hub.files["spaces/org/boards"]
    assert {"overall.html", "feed.xml", "README.md"} <= set(files)
    told = yaml.safe_load(files["README.md"].decode().split("---")[1])
    assert (told["sdk"], told["app_file"]) == ("static", "overall.html")
    assert hub.made[0]["sdk"] == "static"
    assert hub.messages == ["Boards from 2 records"]
    assert f"{'c' * 40}" in said.err
    assert sent(hub, place, "--to", "hub:space/org/boards").code == 0


def test_a_model_gets_its_scores_and_keeps_its_card(place: Path, hub: Hub):
    hub.files["models/org/small"] = {
        "README.md": b"---\nlicense: mit\nmodel-index:\n- name: Small\n  results:\n  - task:\n"
        b"      type: text-generation\n    dataset:\n      name: Other\n      type: other\n"
        b"    metrics:\n    - type: acc\n      value: 0.5\n---\n# Small\nIts own words.\n"
    }
    unnamed = sent(hub, place, "--to", "hub:model/org/small")
    assert unnamed.code == 2
    (name,) = [word.strip(".") for word in unnamed.err.split() if word.startswith("text-small")]
    said = sent(hub, place, "--to", "hub:model/org/small", "--model", name.rstrip(","))
    assert said.code == 0, said.err
    files = hub.files["models/org/small"]
    assert {"README.md", ".eval_results/harness.yaml", "results.json"} == set(files)
    _, front, words = files["README.md"].decode().split("---\n", 2)
    table = yaml.safe_load(front)
    assert (table["license"], words.strip()) == ("mit", "# Small\nIts own words.")
    _, results = model_index_to_eval_results(table["model-index"])
    assert {r.dataset_name for r in results} == {"Other", "mathqa/arith1 v1"}
    (entry,) = parse_eval_result_entries(yaml.safe_load(files[".eval_results/harness.yaml"]))
    assert entry.dataset_id == "org/set"
    assert json.loads(files["results.json"])[0]["model"] == "text:small"


def test_a_hub_that_refuses_is_told_and_gets_nothing(place: Path, hub: Hub):
    said = sent(hub, place, "--to", "hub:space/org/boards", token="hf_wrong")
    assert said.code == 2
    assert "the hub refuses (401)" in said.err
    assert hub.files == {}


def test_a_dry_run_asks_no_hub(place: Path):
    said = command("publish", "--to", "hub:space/org/boards", "--dry-run")
    assert said.code == 0
    assert "would send to hub:space/org/boards" in said.err


@pytest.mark.parametrize("to", ["git:", "hub:", "hub:dataset/a/b", "hub:space/a", "hub:space/../b"])
def test_a_destination_that_is_none_is_told(place: Path, to: str):
    assert command("publish", "--to", to).code == 2


def test_nothing_is_published_from_records_changed_by_hand(place: Path):
    path = place / "results" / "records" / "mathqa.jsonl"
    path.write_text(path.read_text().replace("text:small", "text:great", 1))
    said = command("publish")
    assert said.code == 3
    assert "line 1: it was changed after it was written" in said.err
    assert not (place / "results" / "tables").exists()


def test_only_rows_of_examples_younger_than_their_model_where_that_is_asked(place: Path):
    dated = [
        a_record(name, [1, 0], run=name, model_date=model, data_date="2024-01-31")
        for name, model in (("clean", "2023-12-01"), ("late", "2024-06-01"), ("unknown", ""))
    ]
    append(dated, place / "results" / "records")
    said = command("publish", "--unseen", "--json", "--dry-run", "--board", "mathqa")
    assert {row["model"] for row in json.loads(said.out)["boards"][0]["rows"]} == {"clean"}
    assert "4 rows may be of examples that their model knew" in said.err


def test_boards_stay_where_no_row_is_known_to_be_unseen(place: Path):
    assert command("publish").code == 0
    before = (place / "results" / "tables" / "mathqa.md").read_bytes()
    said = command("publish", "--unseen")
    assert said.code == 3
    assert "nothing is written" in said.err
    assert (place / "results" / "tables" / "mathqa.md").read_bytes() == before


def test_merging_a_card_twice_changes_nothing_more():
    index = (
        "model-index:\n- name: m\n  results:\n  - task:\n      type: text-generation\n"
        "    dataset:\n      name: D v1\n      type: d\n    metrics:\n    - type: acc\n"
        "      value: 0.25\n"
    )
    once = merged_card("", index)
    assert merged_card(once.decode(), index) == once
    raised = merged_card(once.decode(), index.replace("0.25", "0.75"))
    assert b"0.75" in raised
    assert b"0.25" not in raised


def test_feed_and_badges_are_well_formed_whatever_a_name_holds():
    records = [a_record(name, [1, 0] * 20, run=f"r{n}") for n, name in enumerate(HOSTILE)]
    feed = ElementTree.fromstring(atom(records, "Rows"))
    space = "{http://www.w3.org/2005/Atom}"
    entries = feed.findall(f"{space}entry")
    assert len(entries) == len(records)
    assert len({entry.findtext(f"{space}id") for entry in entries}) == len(records)
    assert all(entry.findtext(f"{space}updated") for entry in entries)
    files = badges(records)
    assert len(files) == len(records)
    for path, text in files.items():
        assert len(path.parts) == 2
        assert not list(ElementTree.fromstring(text).iter("{http://www.w3.org/2000/svg}script"))
    assert "<script" not in changes(records)
    assert atom(list(reversed(records)), "Rows") == atom(records, "Rows")


def test_a_badge_says_its_text_to_readers_of_screens():
    drawn = ElementTree.fromstring(badge("a & b", "<1>"))
    assert drawn.get("aria-label") == "a & b: <1>"
