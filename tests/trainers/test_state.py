"""Checkpoints: whole or not there, the last ones and the best kept, no pickle."""

import errno
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

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
    held.save(3, state, {"x": torch.tensor([1.5])}, write)
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
        held.save(step, {}, {}, write, [2] if step > 1 else [])
    assert held.steps() == [2, 5, 6]


def test_a_full_disk_leaves_the_older_one(tmp_path: Path):
    held = Checkpoints(tmp_path)
    held.save(1, {"step": 1}, {}, write)

    def full(path: Path) -> None:
        write(path)
        raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(DataError, match=r"the disk is full. Earlier checkpoints are kept"):
        held.save(2, {"step": 2}, {}, full)
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


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-8])


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(bytes(data))


HARM = [
    ("tensors.safetensors", cut, "changed"),
    ("tensors.safetensors", flip, "changed"),
    ("solver/weights", flip, "changed"),
    ("solver/weights", Path.unlink, "missing"),
    ("state.json", cut, "changed"),
    ("state.json", Path.unlink, "missing"),
    ("sha256.json", Path.unlink, "No such file"),
    ("sha256.json", cut, "JSONDecodeError"),
]


@pytest.mark.parametrize(
    ("file", "harm", "why"), HARM, ids=[f"{file}-{harm.__name__}" for file, harm, _ in HARM]
)
def test_a_damaged_one_is_passed_over_with_a_word(
    tmp_path: Path, file: str, harm: Callable[[Path], None], why: str
):
    held = Checkpoints(tmp_path, keep=3)
    for step in (1, 2, 3):
        held.save(step, {"step": step}, {"x": torch.ones(9)}, write)
    harm(held.path(3) / file)
    said: list[str] = []
    found = held.newest(said.append)
    assert found is not None
    assert (found[0], found[1]) == (2, {"step": 2})
    (word,) = said
    assert "step-000003 is damaged" in word
    assert why in word
    assert "going on from step 2" in word


def test_where_all_are_damaged_nothing_begins_anew_in_silence(tmp_path: Path):
    held = Checkpoints(tmp_path)
    held.save(1, {}, {"x": torch.ones(9)}, write)
    cut(held.path(1) / "tensors.safetensors")
    with pytest.raises(ModelError, match=r"step-000001 is damaged.*no whole one.*--fresh"):
        held.newest(print)
    assert Checkpoints(tmp_path / "none").newest(print) is None


def test_what_is_half_removed_is_no_checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """A kill while an old one goes leaves nothing under its name."""
    held = Checkpoints(tmp_path, keep=1)
    held.save(1, {}, {}, write)

    class Killed(BaseException):
        pass

    def dies(path: Path, ignore_errors: bool = False) -> None:
        if path.exists():
            next(path.rglob("*.json")).unlink()
            raise Killed

    with monkeypatch.context() as patch:
        patch.setattr("trainers.state.shutil.rmtree", dies)
        with pytest.raises(Killed):
            held.save(2, {}, {}, write)
    assert held.steps() == [2]
    held.clean()
    assert [path.name for path in tmp_path.iterdir()] == ["step-000002"]


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path):
    (tmp_path / "file").write_text("no folder")
    held = Checkpoints(tmp_path / "file" / "checkpoints")
    with pytest.raises(DataError, match=r"cannot write the checkpoint .*NotADirectory"):
        held.save(1, {}, {}, write)


def test_a_disk_that_fills_up_while_tensors_are_written_leaves_the_older_one(tmp_path: Path):
    """The system itself refuses to let files grow, as a full disk does."""
    program = """
import resource, signal, sys, torch
from pathlib import Path
from harness.errors import DataError
from trainers.state import Checkpoints
held = Checkpoints(Path(sys.argv[1]))
held.save(1, {"step": 1}, {"x": torch.ones(9)}, lambda path: None)
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, 50_000))
try:
    held.save(2, {"step": 2}, {"x": torch.ones(10**6)}, lambda path: None)
except DataError as error:
    print(error)
"""
    done = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path)], capture_output=True, text=True, timeout=120
    )
    assert "cannot write the checkpoint" in done.stdout, done.stderr
    assert "Earlier checkpoints are kept" in done.stdout
    assert [path.name for path in tmp_path.iterdir()] == ["step-000001"]
    assert Checkpoints(tmp_path).load(1)[0] == {"step": 1}


def test_paths_that_spell_alike_are_held_apart():
    tensors: dict[str, torch.Tensor] = {"memory.a.b": torch.zeros(1)}
    value = {"a": {"b": torch.ones(1)}, "a.b": torch.full((1,), 2.0), "a.b'": np.full(1, 3.0)}
    back = unpack(pack(value, tensors), tensors)
    assert [float(back["a"]["b"]), float(back["a.b"]), float(back["a.b'"][0])] == [1, 2, 3]
    assert len(tensors) == 4


@pytest.mark.parametrize(
    "odd",
    [
        {"$tensor": "x"},
        np.array(["text"]),
        np.array([1], dtype=">i4"),
        np.array([{}]),
        torch.eye(3).to_sparse(),
    ],
    ids=["dollar", "text", "big-endian", "object", "sparse"],
)
def test_what_safetensors_cannot_hold_is_refused_at_once(odd: object):
    with pytest.raises(UsageError, match="cannot give back"):
        pack({"stage": odd}, {})


@given(
    arrays(
        st.sampled_from(
            [np.bool_, np.int8, np.int64, np.uint8, np.float16, np.float32, np.float64]
        ),
        array_shapes(min_dims=0, min_side=0),
    )
)
def test_arrays_come_back_to_the_bit(x: np.ndarray):
    with tempfile.TemporaryDirectory() as folder:
        held = Checkpoints(Path(folder))
        held.save(1, {"x": x, "t": torch.from_numpy(x.copy())}, {}, lambda path: None)
        state, _ = held.load(1)
    assert state["x"].dtype == x.dtype
    assert state["x"].shape == state["t"].shape == x.shape
    assert state["x"].tobytes() == state["t"].numpy().tobytes() == x.tobytes()


def test_nothing_is_pickled(tmp_path: Path):
    held = Checkpoints(tmp_path)
    held.save(1, {"memory": {"x": np.ones(2)}}, {"y": torch.ones(2)}, write)
    for path in held.path(1).rglob("*"):
        assert path.suffix in ("", ".json", ".safetensors")
