"""`list` and `show` tell what there is, for people and for machines."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from harness import registry
from tests.command_line import a_task_file, command, exchange


def test_list_names_every_kind_with_its_count():
    said = command("list")
    assert said.code == 0
    for kind in ("tasks", "recipes", "boards"):
        names = [
            m for c in registry.cards(kind) for m in (c.members if kind == "tasks" else [c.name])
        ]
        assert f"{len(names)} {kind}" in said.out
        assert all(f"  {name} " in said.out for name in names)
    assert "served:NAME@URL" in said.out


@pytest.mark.parametrize("kind", ["tasks", "recipes", "models", "boards", "task"])
def test_list_of_a_kind_is_that_kind_alone(kind: str):
    found = json.loads(command("list", kind, "--json").out)
    assert list(found) == [kind if kind.endswith("s") else f"{kind}s"]
    (rows,) = found.values()
    assert rows
    assert all(row["name"] and row["title"] for row in rows)


def test_an_unknown_kind_says_what_is_near():
    said = command("list", "taks")
    assert (said.code, said.out) == (2, "")
    assert "Did you mean tasks" in said.err


def test_show_task_tells_what_the_model_reads_and_what_is_right(tmp_path: Path):
    path = a_task_file(tmp_path)
    said = command("show", path)
    assert said.code == 0
    for text in ("sums/digits", "What is 3 + 0?", "03", "ok: correct 1, close 1", "train  80"):
        assert text in said.out
    told = json.loads(command("show", path, "--json").out)
    assert told["kind"] == "task"
    assert told["splits"] == {"train": 80, "dev": 10, "test": 10}
    assert told["first"]["prompt"][0][0] == "user"
    assert told["first"]["verdict"]["scores"] == {"correct": 1.0, "close": 1.0}
    assert [metric["name"] for metric in told["metrics"]] == ["pass@1", "pass@4", "close"]


def test_show_says_which_split_cannot_be_read(tmp_path: Path):
    path = exchange(
        a_task_file(tmp_path),
        "    parts: dict",
        "    if split == 'train':\n"
        "        from harness.errors import DataError\n"
        "        raise DataError('no such folder')\n"
        "    parts: dict",
    )
    said = command("show", path)
    assert said.code == 0
    assert "not here: no such folder" in said.out
    assert "The first test example" in said.out


def test_show_family_lists_its_members():
    told = json.loads(command("show", "mathqa", "--json").out)
    assert told["kind"] == "family"
    assert "mathqa/gsm8k" in told["members"]
    assert told["card"]["Scores"]


def test_show_generated_task_of_the_house():
    told = json.loads(command("show", "mathqa/arith1", "--json").out)
    assert min(told["splits"].values()) > 100
    assert told["first"]["verdict"]["reason"] == "ok"


def test_show_recipe_tells_how_it_differs(tmp_path: Path):
    path = tmp_path / "wide.py"
    path.write_text(
        '"""wide: grpo with larger groups."""\n'
        "from trainers.recipes.grpo import RECIPE as GRPO\n"
        "from trainers.samplers import Uniform\n"
        'RECIPE = GRPO.but(name="wide", samplers=Uniform(prompts=4, rollouts=32))\n'
    )
    told = json.loads(command("show", path, "--json").out)
    assert set(told["differs from grpo"]) == {"name", "samplers"}
    assert "rollouts=32" in told["differs from grpo"]["samplers"]["here"]
    assert "in nothing" in command("show", "grpo").out


@pytest.mark.parametrize("name", ["text:tiny", "gold", "served:x@http://localhost:1"])
def test_show_model_loads_nothing(name: str):
    told = json.loads(command("show", name, "--json").out)
    assert (told["kind"], told["name"]) == ("model", name)


@pytest.mark.parametrize(
    ("name", "near"), [("mathqua", "mathqa"), ("gpro", "grpo"), ("mathqa/gsm8", "mathqa/gsm8k")]
)
def test_show_of_nothing_says_what_is_near(name: str, near: str):
    said = command("show", name)
    assert said.code == 2
    assert "Did you mean" in said.err
    assert near in said.err


def test_show_of_a_file_that_defines_nothing(tmp_path: Path):
    (tmp_path / "empty.py").write_text("x = 1\n")
    assert "defines none of TASKS" in command("show", tmp_path / "empty.py").err
    assert command("show", tmp_path / "absent.py").code == 2


def test_threads_are_prepared_and_what_the_environment_says_stays(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("GOMP_SPINCOUNT", "7")
    monkeypatch.delenv("THP_MEM_ALLOC_ENABLE", raising=False)
    assert command("list", "--help").code == 0
    assert os.environ["GOMP_SPINCOUNT"] == "7"
    assert os.environ["THP_MEM_ALLOC_ENABLE"] == "1"
