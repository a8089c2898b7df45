import subprocess
import sys

import harness
from tests.records import a_record


def test_a_frame_has_a_row_a_record_and_a_column_a_field():
    records = [a_record("a", [1, 0]), a_record("b", [1, 1], sampling={"temperature": 0.0})]
    frame = harness.frames(records)
    assert list(frame["model"]) == ["a", "b"]
    assert list(frame["sampling.temperature"]) == [1.0, 0.0]
    assert frame["values"][1] == [1.0, 1.0]
    assert frame["when"].dt.year.tolist() == [2026, 2026]
    assert frame.groupby("task")["value"].mean().tolist() == [0.75]


def test_no_records_give_an_empty_frame():
    assert len(harness.frames([])) == 0


def test_importing_harness_does_not_import_pandas():
    code = "import sys, harness; print('pandas' in sys.modules, callable(harness.frames))"
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert told.stdout.split() == ["False", "True"]
