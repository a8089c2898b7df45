"""Stored rollouts answer as they did, and say what they do not hold."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.errors import DataError
from harness.models import Model
from harness.play import play
from harness.replay import Replay
from harness.types import Completion, Fault, Prompt, Rollout, Task
from results.run import line
from tests.harness.runs import Parrot, stored_run, sums


def asked(task: Task, rollouts: int = 1) -> list[Prompt]:
    return [task.prompt(e).but(rollouts=rollouts) for e in task.examples("test")]


def by_key(outcomes: list[Rollout]) -> dict[tuple[str, int], Rollout]:
    return {(o.example.id, o.attempt): o for o in outcomes}


def replayed(task: Task, place: Path, rollouts: int = 1) -> list[Rollout | Fault]:
    return list(play(task, asked(task, rollouts), Replay(place)))


@pytest.mark.parametrize("turns", [1, 3])
@pytest.mark.parametrize("closed", [True, False])
def test_a_replayed_run_has_the_same_verdicts(tmp_path: Path, turns: int, closed: bool) -> None:
    task = sums(turns=turns)
    model = Parrot(["0", "5", "4"])
    folder, made = stored_run(tmp_path / "run", task, model, rollouts=3, closed=closed)
    again = replayed(task, folder.path, rollouts=3)
    assert len(again) == 12
    rollouts = by_key([o for o in again if isinstance(o, Rollout)])
    for key, rollout in by_key(made).items():
        assert rollouts[key].verdict == rollout.verdict
        assert rollouts[key].completion == rollout.completion
        assert len(rollouts[key].turns) == turns
    assert isinstance(Replay(folder.path), Model)


def test_a_file_will_do_and_its_digest_does_not_depend_on_compression(tmp_path: Path) -> None:
    folder, _ = stored_run(tmp_path / "a", sums(), closed=False)
    by_folder, by_file = Replay(folder.path), Replay(folder.path / "rollouts.jsonl")
    folder.rollouts.open().close(compress=True)
    assert not (folder.path / "rollouts.jsonl").exists()
    closed = Replay(folder.path / "rollouts.jsonl.zst")
    assert by_folder.describe() == by_file.describe() == closed.describe()
    assert by_folder.name == by_file.name == closed.name == "replay:a"
    other, _ = stored_run(tmp_path / "b", sums(3))
    assert Replay(other.path).describe() != closed.describe()


def test_what_is_missing_is_said(tmp_path: Path) -> None:
    folder, _ = stored_run(tmp_path / "run", sums(3), rollouts=2)
    outcomes = replayed(sums(4), folder.path, rollouts=3)
    faults = {
        (f.prompt.example.id, f.prompt.attempt): f.note for f in outcomes if isinstance(f, Fault)
    }
    assert set(faults) == {("s0", 2), ("s1", 2), ("s2", 2), ("s3", 0), ("s3", 1), ("s3", 2)}
    assert "holds no attempt 2 at 's0' as solver" in faults["s0", 2]


def test_other_words_are_not_answered(tmp_path: Path) -> None:
    folder, _ = stored_run(tmp_path / "run", sums())
    outcomes = replayed(sums(asks="Please add {a} and {a}."), folder.path)
    assert all(isinstance(o, Fault) and "with other words" in o.note for o in outcomes)


def test_a_prompt_with_two_different_answers_is_not_answered(tmp_path: Path) -> None:
    folder, (first, *_) = stored_run(tmp_path / "run", sums(2), closed=False)
    prompt, _ = first.turns[0]
    with folder.rollouts as journal:
        other = Rollout(((prompt, Completion("another")),), first.verdict, first.group)
        journal.append(line(other, phase="train", step=2))
    outcomes = replayed(sums(2), folder.path)
    (fault,) = [o for o in outcomes if isinstance(o, Fault)]
    assert "more than one answer" in fault.note


def test_damaged_lines_are_counted_and_the_rest_is_used(tmp_path: Path) -> None:
    folder, _ = stored_run(tmp_path / "run", sums(), closed=False)
    file = folder.path / "rollouts.jsonl"
    lines = file.read_text("utf-8").splitlines()
    lines[1] = '{"example": "s1", "turns": 7}'
    lines[2] = lines[2][:50]
    file.write_text("\n".join([*lines, "[]", "\x00"]), "utf-8")
    model = Replay(folder.path)
    assert model.describe()["damaged"] == 4
    faults = [o for o in replayed(sums(), folder.path) if isinstance(o, Fault)]
    assert len(faults) == 2
    assert all("4 damaged lines" in f.note for f in faults)


@pytest.mark.parametrize("name", ["nowhere", "empty", "junk.jsonl", "junk.jsonl.zst"])
def test_a_place_without_rollouts_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "junk.jsonl").write_bytes(b"\x00\xff\n{}\n")
    (tmp_path / "other").mkdir()
    if name.endswith(".zst"):
        (tmp_path / "junk.jsonl").rename(tmp_path / "junk.jsonl.zst")
    with pytest.raises(DataError):
        Replay(tmp_path / name)
