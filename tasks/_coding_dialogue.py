"""Two turns: a program, the first test that it fails, a program again."""

from __future__ import annotations

from dataclasses import dataclass, replace

from harness import Dialogue, Prompt
from sandbox.judge import Judgement
from tasks._coding_scoring import Scoring, told_failure

NOTHING = "No program was found in your reply."
AGAIN = "Reply with the whole corrected program in one ```python code block."


@dataclass(frozen=True)
class Repair:
    """A dialogue whose last program is scored; one that needs no repair ends after the first."""

    scoring: Scoring
    public: bool
    """Whether only the tests of the prompt decide what is told; else all of them, as in
    LiveCodeBench's scenario."""

    def __call__(self, prompt: Prompt) -> Dialogue:
        """Scores `first` besides the others: whether the first program was right already."""
        scoring, example = self.scoring, prompt.example
        said = yield prompt
        code = scoring.code(said.output)
        if code is None:
            told, first, fails = NOTHING, 0.0, True
        else:
            found = scoring.judged(example, code, self._shown(prompt))
            first = scoring.verify(example, said).scores["correct"]
            fails = found.outcome != "AC"
            told = self._told(prompt, found) if fails else ""
        if fails:
            said = yield prompt.then(said, f"{told}\n\n{AGAIN}")
        verdict = scoring.verify(example, said)
        return replace(verdict, scores={**verdict.scores, "first": first, "turns": 1.0 + fails})

    def _shown(self, prompt: Prompt) -> int | None:
        if not self.public or self.scoring.seen is None:
            return None
        return self.scoring.seen(prompt.example)

    def _told(self, prompt: Prompt, found: Judgement) -> str:
        failure = told_failure(prompt.example, self.scoring, found)
        return f"Your program is not right yet.\n{failure}"
