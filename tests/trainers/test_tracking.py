"""Numbers go where they are asked to go."""

import importlib.util
import json
from pathlib import Path

import pytest

from harness.errors import MissingExtra, UnknownName
from trainers.tracking import Lines, trackers


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


@pytest.mark.parametrize("place", ["wandb", "trackio"])
def test_what_is_not_installed_is_named_with_its_extra(tmp_path: Path, place: str):
    if importlib.util.find_spec(place) is not None:
        pytest.skip(f"{place} is installed")
    with pytest.raises(MissingExtra, match=rf"{place}.*grpo-harness\[tracking\]"):
        trackers([place], tmp_path, 0, {})


def test_an_unknown_place_is_refused(tmp_path: Path):
    with pytest.raises(UnknownName, match="Did you mean tensorboard"):
        trackers(["tensorbord"], tmp_path, 0, {})
