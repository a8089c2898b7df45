"""What `new` writes keeps its contracts as it is, and never writes over anything."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from harness import registry
from tests.command_line import command


def run_pytest(path: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", path.name],
        cwd=path.parent,
        env={**os.environ, "PYTHONPATH": str(registry.HOUSE), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
    )


@pytest.mark.parametrize(("kind", "name"), [("task", "adds/digits"), ("recipe", "med_grpo")])
def test_a_new_file_keeps_its_contracts_unedited(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, name: str
):
    monkeypatch.chdir(tmp_path)
    said = command("new", kind, name)
    assert said.code == 0, said.err
    code, test = tmp_path / f"{name.split('/')[0]}.py", tmp_path / f"test_{name.split('/')[0]}.py"
    assert str(code.name) in said.out
    assert 30 <= len(code.read_text().splitlines()) <= 50
    assert 10 <= len(test.read_text().splitlines()) <= 30
    assert "HERE" in code.read_text()
    assert "HERE" in test.read_text()
    checked = command("check", code.name)
    assert checked.code == 0, checked.out
    done = run_pytest(test)
    assert done.returncode == 0, done.stdout


def test_a_new_files_test_fails_when_the_file_is_wrong(tmp_path: Path):
    command("new", "task", "adds/digits", "--to", tmp_path)
    code = tmp_path / "adds.py"
    code.write_text(code.read_text().replace("a + b) for", "a + b + 1) for"))
    code.write_text(code.read_text().replace("float(error == 0)", "float(error == 1)"))
    assert run_pytest(tmp_path / "test_adds.py").returncode == 1


def test_in_the_checkout_files_go_to_their_rooms(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    for room in ("tasks", "trainers/recipes", "tests/tasks", "tests/recipes"):
        (tmp_path / room).mkdir(parents=True)
    (tmp_path / "pyproject.toml").touch()
    monkeypatch.setattr(registry, "HOUSE", tmp_path)
    monkeypatch.chdir(tmp_path / "tests")
    assert command("new", "task", "adds/digits").code == 0
    assert command("new", "recipe", "med_grpo").code == 0
    assert (tmp_path / "tasks/adds.py").exists()
    assert (tmp_path / "trainers/recipes/med_grpo.py").exists()
    assert '"adds/digits"' in (tmp_path / "tests/tasks/test_adds.py").read_text()
    assert 'NAME = "med_grpo"' in (tmp_path / "tests/recipes/test_med_grpo.py").read_text()
    again = command("new", "task", "adds/others")
    assert again.code == 2
    assert "add the member to its file" in again.err


def test_nothing_is_written_over(tmp_path: Path):
    (tmp_path / "test_adds.py").write_text("mine")
    said = command("new", "task", "adds/digits", "--to", tmp_path)
    assert said.code == 2
    assert "nothing was written" in said.err
    assert [path.name for path in tmp_path.iterdir()] == ["test_adds.py"]
    assert (tmp_path / "test_adds.py").read_text() == "mine"


@pytest.mark.parametrize(
    "words",
    [("task", "Adds"), ("task", "a-b"), ("task", "json"), ("task", "a/b/c"), ("task", "../x"),
     ("recipe", "a/b"), ("recipe", "class"), ("board", "x"), ("task", "")],
)  # fmt: skip
def test_names_that_make_no_module_are_refused(tmp_path: Path, words: tuple[str, str]):
    said = command("new", *words, "--to", tmp_path)
    assert said.code == 2
    assert said.err.startswith("error: ")
    assert list(tmp_path.iterdir()) == []
