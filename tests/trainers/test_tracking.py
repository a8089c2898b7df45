"""Numbers go where they are asked to go."""

import contextlib
import importlib.util
import json
import sqlite3
from pathlib import Path

import pytest

from harness.errors import MissingExtra, UnknownName
from trainers.recipes.drpo import RECIPE as DRPO
from trainers.recipes.grpo import RECIPE as GRPO
from trainers.tracking import Lines, about_loss, trackers


def test_only_a_loss_of_ratios_is_said_to_begin_near_0():
    assert "near 0 whatever is learned" in about_loss(GRPO)
    said = about_loss(DRPO)
    assert "near 0" not in said
    assert type(DRPO.losses[0]).__name__ in said


def test_lines_are_cut_back_to_the_checkpoint(tmp_path: Path):
    lines = Lines(tmp_path / "metrics.jsonl")
    for step in range(5):
        lines.log(step, {"reward": step / 10})
    lines.prune(2)
    lines.log(3, {"reward": 0.9})
    lines.close()
    found = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert [(line["step"], line["reward"]) for line in found] == [
        (0, 0.0),
        (1, 0.1),
        (2, 0.2),
        (3, 0.9),
    ]


def test_tensorboard_gets_every_number(tmp_path: Path):
    event_files = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    (board,) = trackers(["tensorboard"], tmp_path, 0, {})
    board.log(1, {"reward": 0.25, "eval/correct": 0.5})
    board.close()
    read = event_files.EventAccumulator(str(tmp_path / "tensorboard"))
    read.Reload()
    assert [(e.step, e.value) for e in read.Scalars("reward")] == [(1, 0.25)]
    assert read.Scalars("eval/correct")[0].value == 0.5


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # wandb's and its libraries' own
def test_wandb_gets_every_number_offline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    wandb = pytest.importorskip("wandb")
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_SILENT", "true")
    (run,) = trackers(["wandb"], tmp_path / "run", 0, {"recipe": "grpo", "seed": 3})
    run.log(1, {"reward": 0.25, "eval/correct": 0.5})
    run.log(2, {"reward": 0.75})
    run.close()
    (file,) = (tmp_path / "run" / "wandb").glob("offline-run-*/*.wandb")
    from wandb.proto import wandb_internal_pb2

    data, told = file.read_bytes(), list[dict[str, float]]()
    place = 7  # a header, then records of one block: checksum, length, kind, message
    while place + 7 <= len(data):
        length = int.from_bytes(data[place + 4 : place + 6], "little")
        record = wandb_internal_pb2.Record()
        record.ParseFromString(data[place + 7 : place + 7 + length])
        place += 7 + length
        if record.WhichOneof("record_type") == "history":
            items = record.history.item
            names = [item.key or "/".join(item.nested_key) for item in items]
            values = [json.loads(item.value_json) for item in items]
            told.append(dict(zip(names, values, strict=True)))
    assert [(line["_step"], line["reward"]) for line in told] == [(1, 0.25), (2, 0.75)]
    assert told[0]["eval/correct"] == 0.5
    assert wandb.run is None


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # trackio's and its libraries' own
def test_trackio_gets_every_number_without_a_network(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    if importlib.util.find_spec("trackio") is None:
        pytest.skip("trackio is not installed")
    monkeypatch.setenv("TRACKIO_DIR", str(tmp_path / "trackio"))  # read as it is imported
    (run,) = trackers(["trackio"], tmp_path / "run", 0, {"recipe": "grpo"})
    run.log(1, {"reward": 0.25, "eval/correct": 0.5})
    run.log(2, {"reward": 0.75})
    run.close()
    (file,) = (tmp_path / "trackio").glob("*.db")
    with contextlib.closing(sqlite3.connect(file)) as stored:
        told = stored.execute(
            "SELECT run_name, step, metrics FROM metrics ORDER BY step"
        ).fetchall()
    assert [(name, step) for name, step, _ in told] == [("run", 1), ("run", 2)]
    assert json.loads(told[0][2]) == {"reward": 0.25, "eval/correct": 0.5}


@pytest.mark.parametrize("place", ["wandb", "trackio"])
def test_what_is_not_installed_is_named_with_its_extra(tmp_path: Path, place: str):
    if importlib.util.find_spec(place) is not None:
        pytest.skip(f"{place} is installed")
    with pytest.raises(MissingExtra, match=rf"{place}.*grpo-harness\[tracking\]"):
        trackers([place], tmp_path, 0, {})


def test_an_unknown_place_is_refused(tmp_path: Path):
    with pytest.raises(UnknownName, match="Did you mean tensorboard"):
        trackers(["tensorbord"], tmp_path, 0, {})
