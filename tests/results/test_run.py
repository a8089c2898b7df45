"""Run folders: a place that cannot be written is an error with words."""

from pathlib import Path

import pytest

from harness.errors import DataError
from results.run import RunFolder


def test_a_run_that_cannot_be_begun_says_where_and_why(tmp_path: Path):
    (tmp_path / "results").write_text("a file, no folder")
    folder = RunFolder(tmp_path / "results" / "runs" / "mine")
    with pytest.raises(DataError, match=r"cannot write .*manifest\.json.*Mend it and run"):
        folder.begin({"asks": {}})
