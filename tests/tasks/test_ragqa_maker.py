"""The command that lets a model phrase public questions: who reads, and how errors look."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from harness import Completion, Prompt
from harness.commands import opening
from harness.errors import UnknownName, UsageError
from harness.models import Sampling
from tests.bench import phrasings


class Said:
    """Proposes three phrasings; reads `starred` as another question."""

    name, independent = "said", True

    def answer(self, prompts: Sequence[Prompt]) -> Iterator[tuple[int, Completion]]:
        for number, prompt in enumerate(prompts):
            text = str(prompt.messages[-1].content)
            if "other ways" in text:
                yield number, Completion("Free Guy is by whom?\nWho starred in Free Guy?")
            else:
                right = "starred" not in text
                yield number, Completion(f"<answer>{'Shawn Levy' if right else 'No'}</answer>")

    def describe(self) -> Mapping[str, Any]:
        return {}


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of one question and its passage."""
    folder = tmp_path / "rag"
    folder.mkdir()
    passage = {"id": "p", "title": "Free Guy", "text": "A film by Shawn Levy."}
    asked = {"id": "q", "question": "Who directed Free Guy?", "answers": ["Shawn Levy"]}
    (folder / "corpus.jsonl").write_text(json.dumps(passage) + "\n", "utf-8")
    more = {"supporting": ["p"]}
    (folder / "hotpotqa_200.jsonl").write_text(json.dumps(asked | more) + "\n", "utf-8")
    monkeypatch.setenv("HARNESS_DATA", str(tmp_path))
    return tmp_path


def test_the_reader_is_greedy_and_there_unless_it_is_left_out(
    data: Path, monkeypatch: pytest.MonkeyPatch
):
    seen: list[tuple[str, float]] = []

    def opened(spec: str, task: Any, split: str, sampling: Sampling, options: Any) -> Said:
        seen.append((spec, sampling.temperature))
        return Said()

    monkeypatch.setattr(opening, "open_model", opened)
    out = data / "out.jsonl"
    for reader, wanted, told, count in (
        ([], [("m", 0.7), ("m", 0.0)], "m", 2),
        (["--reader", "r"], [("m", 0.7), ("r", 0.0)], "r", 2),
        (["--reader", "none"], [("m", 0.7)], "none", 3),
    ):
        seen.clear()
        assert phrasings.main(["hotpotqa", "--model", "m", *reader, "-o", str(out)]) == 0
        assert seen == wanted
        [row] = map(json.loads, out.read_text("utf-8").splitlines())
        assert len(row["paraphrases"]) == count
        assert (row["phrasing"], row["reader"]) == ("model m", told)


@pytest.mark.parametrize(
    ("questions", "model", "code"),
    [("hotpot", "text:tiny", UnknownName.code), ("hotpotqa", "replay:nosuch", UsageError.code)],
)
def test_what_cannot_be_done_is_told_in_a_line_with_its_exit_code(
    data: Path, capsys: pytest.CaptureFixture[str], questions: str, model: str, code: int
):
    out = data / "out.jsonl"
    assert phrasings.main([questions, "--model", model, "-o", str(out)]) == code
    told = capsys.readouterr().err
    assert told.startswith("error: ")
    assert "Traceback" not in told
    assert not out.exists()
