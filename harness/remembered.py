"""remembered: a greedy model whose answers stay on disk, so that the same question costs once.

A file an answer, `KEY[:2]/KEY.json`, under the digest of who was asked (name and all that the model
says of itself: weights, engine, sampling) and of what was asked. Files are written whole; one that
cannot be read is asked for again. Answers that failed are not kept.

A server that exchanges what stands behind a name does not say so: remove the folder then.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from harness.caches import user_cache
from harness.codec import clean, plain
from harness.digests import digest, prompt_digest
from harness.journal import write_whole
from harness.models import Costly, Model
from harness.types import Completion, Prompt


class _Kept(msgspec.Struct, forbid_unknown_fields=True):
    """What a file holds."""

    model: str
    prompt: str
    output: str
    stopped: str
    steps: int


class Remembered:
    """A model that looks first for what it said before; only text is kept, no log-probabilities."""

    def __init__(self, model: Model, folder: Path | None = None) -> None:
        self.model = model
        self.name = model.name
        self.independent = model.independent
        self.folder = user_cache() / "judgements" if folder is None else folder
        self.recalled = 0
        self.asked = 0
        self._identity = digest([model.name, model.describe()])

    def answer(self, prompts: Sequence[Prompt]) -> Iterator[tuple[int, Completion]]:
        """What is kept first, then the rest as the model says it.

        Of a model that is not `independent` answers are kept once all of a call are there: a call
        that is cut off is made again as it was.
        """
        missing: list[int] = []
        for number, prompt in enumerate(prompts):
            known = self._read(prompt)
            if known is None:
                missing.append(number)
            else:
                self.recalled += 1
                yield number, known
        if not missing:
            return
        self.asked += len(missing)
        said: list[tuple[Prompt, Completion]] = []
        for place, completion in self.model.answer([prompts[number] for number in missing]):
            said.append((prompts[missing[place]], completion))
            if self.independent:
                self._write(*said.pop())
            yield missing[place], completion
        for prompt, completion in said:
            self._write(prompt, completion)

    def describe(self) -> Mapping[str, Any]:
        """As the model itself."""
        return self.model.describe()

    @property
    def costs(self) -> Mapping[str, Any]:
        """Questions asked and recalled, and the model's own costs."""
        own: Mapping[str, Any] = self.model.costs if isinstance(self.model, Costly) else {}
        return {**own, "asked": self.asked, "recalled": self.recalled}

    def _path(self, prompt: Prompt) -> Path:
        key = digest([self._identity, prompt_digest(prompt)])
        return self.folder / key[:2] / f"{key}.json"

    def _read(self, prompt: Prompt) -> Completion | None:
        try:
            kept = msgspec.json.decode(self._path(prompt).read_bytes(), type=_Kept)
        except (OSError, msgspec.MsgspecError, UnicodeDecodeError):
            return None
        if kept.model != self._identity or kept.prompt != prompt_digest(prompt):
            return None
        stopped = "budget" if kept.stopped == "budget" else "done"
        return Completion(kept.output, stopped, kept.steps)

    def _write(self, prompt: Prompt, completion: Completion) -> None:
        if completion.stopped == "failed" or not isinstance(completion.output, str):
            return
        kept = _Kept(
            self._identity,
            prompt_digest(prompt),
            clean(completion.output),
            completion.stopped,
            completion.steps,
        )
        write_whole(self._path(prompt), msgspec.json.encode(plain(msgspec.structs.asdict(kept))))
