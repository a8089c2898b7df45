"""Files of ragqa below HARNESS_DATA: what is read from them, and what is refused with its line."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from harness.data import FOLDER
from harness.errors import DataError
from tasks import _ragqa_sets as sets

Write = Callable[..., None]


@pytest.fixture
def written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Write:
    """Writes rows as `rag/NAME.jsonl` below a folder that HARNESS_DATA names."""
    (tmp_path / "rag").mkdir()
    monkeypatch.setenv(FOLDER, str(tmp_path))

    def write(name: str, *rows: dict[str, Any]) -> None:
        text = "".join(f"{json.dumps(row)}\n" for row in rows)
        (tmp_path / "rag" / f"{name}.jsonl").write_text(text, "utf-8")

    return write


# ---- the corpus


def test_integers_in_a_corpus_are_texts(written: Write):
    written(
        "corpus",
        {"id": 0, "title": 1984, "text": 1984},
        {"id": "x", "title": "X", "text": "of 1984"},
    )
    corpus = sets.wikipedia()
    assert [p.whole for p in corpus.passages] == ["1984. 1984", "X. of 1984"]
    assert sorted(corpus.by_id) == ["0", "x"]
    assert len(corpus.digest) == 16


@pytest.mark.parametrize("column", ["id", "title", "text"])
@pytest.mark.parametrize("value", [["a"], {"a": 1}, 1.5, True])
def test_what_is_no_text_in_a_corpus_is_refused_with_column_and_line(
    written: Write, column: str, value: Any
):
    row = {"id": "b", "title": "B", "text": "c", column: value}
    written("corpus", {"id": "a", "title": "A", "text": "b"}, row)
    kind = type(value).__name__
    with pytest.raises(DataError, match=rf"'{column}' is of type {kind}, .*: line 2$"):
        sets.wikipedia()
