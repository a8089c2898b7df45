"""From a prompt to token ids: the tokenizer, its chat template, and the room there is."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from harness.errors import ModelError
from harness.types import Message, Prompt
from trainers.unspeakable import Unspeakable

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from trainers.vision.eye import Eye


@dataclass(frozen=True)
class Chat:
    """How a model is spoken to."""

    tokenizer: PreTrainedTokenizerBase
    context: int
    """Tokens that prompt and answer may take together."""
    templated: bool = True
    """False: plain text, the messages' contents joined by a blank line, special tokens added."""
    options: Mapping[str, Any] = field(default_factory=dict[str, Any])
    """For the template, such as `enable_thinking`."""
    eye: Eye | None = None
    """Reads pictures; None: the model knows words alone."""

    def __post_init__(self) -> None:
        if self.templated and not self.tokenizer.chat_template:
            raise ModelError(
                f"the tokenizer of {self.tokenizer.name_or_path or 'this model'} has no chat "
                "template, so it is a base model or its template got lost; ask it in plain text "
                "with --no-chat (chat=False), or add chat_template.jinja to its folder"
            )

    def written(self, prompt: Prompt) -> str:
        """The prompt as the model reads it, special tokens spelled out."""
        token = self.eye.token if self.eye is not None else ""
        told = [(message.speaker, _parts(message, token)) for message in prompt.spoken()]
        if not self.templated:
            return "\n\n".join(_joined(parts, token) for _, parts in told)
        spoken: list[dict[str, Any]] = [
            {"role": role, "content": _listed(parts) if token else _joined(parts, token)}
            for role, parts in told
        ]
        try:
            written = self.tokenizer.apply_chat_template(
                spoken, tokenize=False, add_generation_prompt=True, **self.options
            )
        except Exception as error:  # a template is a foreign program and raises what it likes
            raise Unspeakable(f"the chat template refused the prompt: {error}") from error
        assert isinstance(written, str)
        return written

    def ids(self, prompt: Prompt) -> list[int]:
        """The prompt's tokens; raises Unspeakable when it leaves no room for an answer."""
        ids = self.encode(self.written(prompt), special=not self.templated)
        if self.eye is not None:
            ids = self.eye.spliced(ids, prompt)
        if not ids:
            raise Unspeakable("the prompt is empty")
        if len(ids) >= self.context:
            raise Unspeakable(
                f"the prompt has {len(ids)} tokens and the model's context holds {self.context}"
            )
        return ids

    def encode(self, written: str, *, special: bool = False) -> list[int]:
        """Tokens of a text; special tokens that are spelled out in it are read as such."""
        return list(self.tokenizer(written, add_special_tokens=special, verbose=False)["input_ids"])

    def asked(self, prompt: Prompt) -> str:
        """Digest of what the model is asked, to see whether stored prompt tokens still hold."""
        spoken = prompt.spoken() if self.eye is None else self.eye.named(prompt)
        return hashlib.sha256(repr(spoken).encode("utf-8", "replace")).hexdigest()[:16]

    def showing(self, prompts: Iterable[Prompt]) -> AbstractContextManager[None]:
        """While it lasts, the model may be asked for what these prompts show."""
        return nullcontext() if self.eye is None else self.eye.album.showing(prompts)

    def shown(self, prompt: Prompt) -> dict[str, Any]:
        """What a completion's trace tells of the prompt's pictures."""
        return {} if self.eye is None else self.eye.told(prompt)

    @property
    def digest(self) -> str:
        """Of everything that decides the prompt's tokens besides the vocabulary."""
        template = self.tokenizer.chat_template if self.templated else None
        told = repr((template, sorted(self.options.items())))
        return hashlib.sha256(told.encode()).hexdigest()


def _parts(message: Message, token: str) -> list[str | None]:
    """Text and, as None, pictures; texts that follow each other are one.

    `token` is what stands for a picture, empty for a model that sees none.
    """
    parts = message.content if isinstance(message.content, tuple) else (message.content,)
    found: list[str | None] = []
    for part in parts:
        if isinstance(part, str):
            if token and token in part:
                raise Unspeakable(
                    f"a {message.speaker}'s message spells out {token}, which stands for an image"
                )
            before = found.pop() if found and found[-1] is not None else None
            found.append(part if before is None else f"{before}\n{part}")
        elif token and isinstance(part, np.ndarray):
            found.append(None)
        else:
            blind = isinstance(part, np.ndarray)
            would = "; for images open a model that sees, as in vision:PATH" if blind else ""
            raise Unspeakable(
                f"a {'vision' if token else 'text'} model cannot read a {type(part).__name__} in "
                f"a {message.speaker}'s message{would}"
            )
    return found


def _joined(parts: list[str | None], token: str) -> str:
    return "\n".join(token if part is None else part for part in parts)


def _listed(parts: list[str | None]) -> list[dict[str, str]]:
    """As templates of models that see want it."""
    return [{"type": "image"} if p is None else {"type": "text", "text": p} for p in parts]
