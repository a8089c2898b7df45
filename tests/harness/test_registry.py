"""Names lead to files; cards are read without importing what they describe."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from harness import registry
from harness.errors import DataError, UnknownName, UsageError
from tests.command_line import a_task_file, exchange

CARD = '''"""sums: add two digits.

Data     All pairs,
         made here.
Scores   correct: 1 if right. Note: a colon is no heading.
Members  digits  two digits
         words   number words
"""

import this_is_not_installed
'''


def test_a_card_is_read_without_importing(tmp_path: Path):
    (tmp_path / "sums.py").write_text(CARD)
    card = registry.read_card(tmp_path / "sums.py")
    assert (card.name, card.title) == ("sums", "add two digits.")
    assert card.sections["Data"] == "All pairs,\nmade here."
    assert card.sections["Scores"].startswith("correct: 1 if right")
    assert card.members == {"sums/digits": "two digits", "sums/words": "number words"}


def test_a_file_without_members_is_its_own(tmp_path: Path):
    (tmp_path / "grpo.py").write_text('"""grpo: learn from peers."""')
    assert registry.read_card(tmp_path / "grpo.py").members == {"grpo": "learn from peers."}


@pytest.mark.parametrize("content", [b"def (:", b"\xff\xfe", b"x = '\0'"], ids=repr)
def test_a_file_that_cannot_be_read_says_so_in_its_title(tmp_path: Path, content: bytes):
    (tmp_path / "broken.py").write_bytes(content)
    assert "cannot be read" in registry.read_card(tmp_path / "broken.py").title


def test_a_task_is_opened_by_path_and_then_by_name(tmp_path: Path):
    path = a_task_file(tmp_path, "by_path")
    task = registry.task(str(path))
    assert task.name == "by_path/digits"
    assert registry.task(f"{path}::by_path/digits").name == task.name
    assert registry.task("by_path/digits").name == task.name
    assert registry.task_models("by_path/digits") == {}
    assert registry.card("tasks", str(path)).name == "by_path"


def test_an_unknown_member_names_those_that_there_are(tmp_path: Path):
    path = a_task_file(tmp_path)
    with pytest.raises(UnknownName, match="sums/digits"):
        registry.task(f"{path}::sums/digit")


def test_an_unknown_name_says_what_is_near():
    with pytest.raises(UnknownName, match="Did you mean mathqa/gsm8k"):
        registry.task("mathqua/gsm8k")
    with pytest.raises(UnknownName, match=r"Did you mean .*grpo"):
        registry.recipe("gpro")
    with pytest.raises(UnknownName, match=r"Did you mean .*grpo"):
        registry.card("recipes", "gpro")


def test_a_path_to_nothing_and_a_file_of_nothing_are_told_apart(tmp_path: Path):
    with pytest.raises(UsageError, match="no file"):
        registry.task(str(tmp_path / "absent.py"))
    (tmp_path / "empty.py").write_text("")
    with pytest.raises(DataError, match="defines no TASKS"):
        registry.task(str(tmp_path / "empty.py"))
    broken = exchange(a_task_file(tmp_path), "from harness.metrics", "from harness.metric")
    with pytest.raises(DataError, match="does not import: ModuleNotFoundError"):
        registry.task(str(broken))


def test_other_distributions_add_tasks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    a_task_file(tmp_path, "elsewhere")
    about = tmp_path / "other_tasks-1.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: other-tasks\nVersion: 1.0\n")
    (about / "entry_points.txt").write_text(
        "[harness.tasks]\nelsewhere = elsewhere\ngone = gone.away\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    try:
        assert "elsewhere/digits" in {m for c in registry.cards("tasks") for m in c.members}
        assert registry.card("tasks", "elsewhere/digits").path == tmp_path / "elsewhere.py"
        assert "elsewhere" not in sys.modules
        assert registry.task("elsewhere/digits").version == 1
    finally:
        sys.modules.pop("elsewhere", None)
