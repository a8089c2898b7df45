"""Checkpoints: whole or not there, the last ones and the best kept, no pickle."""

import errno
from pathlib import Path

import numpy as np
import pytest
import torch

from harness.errors import DataError, ModelError, UsageError
from trainers.state import Checkpoints, pack, unpack


def write(path: Path) -> None:
    (path / "solver").mkdir()
    (path / "solver" / "weights").write_bytes(b"1234")


def test_state_comes_back_as_it_was(tmp_path: Path):
    state = {
        "whole": 2**100,
        "real": 0.1,
        "odd": [float("inf"), None, True, "ü"],
        "memory": {"a": np.arange(6, dtype=np.int64).reshape(2, 3), "b": [torch.ones(2, 2)]},
    }
    held = Checkpoints(tmp_path)
    held.save(3, state, {"x": torch.tensor([1.5])}, write, None)
    found, tensors = held.load(3)
    assert found["whole"] == 2**100
    assert found["real"] == 0.1
    assert found["odd"] == [float("inf"), None, True, "ü"]
    assert np.array_equal(found["memory"]["a"], state["memory"]["a"])  # type: ignore[index]
    assert torch.equal(found["memory"]["b"][0], torch.ones(2, 2))
    assert tensors["x"].item() == 1.5


@pytest.mark.parametrize("odd", [{1, 2}, (1, 2), {1: 2}, object(), b"x"])
def test_what_would_not_come_back_is_refused(odd: object):
    with pytest.raises(UsageError, match=r"memory\.stage\.thing holds"):
        pack({"stage": {"thing": odd}}, {})


def test_packing_is_undone():
    tensors: dict[str, torch.Tensor] = {}
    value = {"a": [1, {"b": torch.arange(3)}], "c": float("-inf")}
    back = unpack(pack(value, tensors), tensors)
    assert torch.equal(back["a"][1]["b"], torch.arange(3))
    assert back["c"] == float("-inf")


def test_the_last_ones_and_the_best_stay(tmp_path: Path):
    held = Checkpoints(tmp_path, keep=2)
    for step in range(1, 7):
        held.save(step, {}, {}, write, 2 if step > 1 else None)
    assert held.steps() == [2, 5, 6]


def test_a_full_disk_leaves_the_older_one(tmp_path: Path):
    held = Checkpoints(tmp_path)
    held.save(1, {"step": 1}, {}, write, None)

    def full(path: Path) -> None:
        write(path)
        raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(DataError, match=r"the disk is full. Earlier checkpoints are kept"):
        held.save(2, {"step": 2}, {}, full, None)
    assert held.steps() == [1]
    assert held.load(1)[0] == {"step": 1}
    assert [path.name for path in tmp_path.iterdir()] == ["step-000001"]


def test_half_written_ones_are_no_checkpoints(tmp_path: Path):
    held = Checkpoints(tmp_path)
    draft = tmp_path / ".step-000009.part"
    draft.mkdir()
    (draft / "state.json").write_text("{}")
    assert held.steps() == []
    held.clean()
    assert not draft.exists()


def test_a_damaged_one_is_named(tmp_path: Path):
    held = Checkpoints(tmp_path)
    held.save(1, {}, {"x": torch.ones(9)}, write, None)
    path = held.path(1) / "tensors.safetensors"
    path.write_bytes(path.read_bytes()[:-8])
    with pytest.raises(ModelError, match=r"step-000001 is damaged.*remove that folder"):
        held.load(1)


def test_nothing_is_pickled(tmp_path: Path):
    held = Checkpoints(tmp_path)
    held.save(1, {"memory": {"x": np.ones(2)}}, {"y": torch.ones(2)}, write, None)
    for path in held.path(1).rglob("*"):
        assert path.suffix in ("", ".json", ".safetensors")
