"""From a prompt to token ids: the tokenizer, its chat template, and the room there is."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from harness.errors import ModelError
from harness.types import Message, Prompt

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


class Unspeakable(Exception):
    """One prompt that this model cannot be asked; becomes a failed completion."""


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

    def __post_init__(self) -> None:
        if self.templated and not self.tokenizer.chat_template:
            raise ModelError(
                f"the tokenizer of {self.tokenizer.name_or_path or 'this model'} has no chat "
                "template, so it is a base model or its template got lost; ask it in plain text "
                "with --no-chat (chat=False), or add chat_template.jinja to its folder"
            )

    def written(self, prompt: Prompt) -> str:
        """The prompt as the model reads it, special tokens spelled out."""
        spoken = [_spoken(message) for message in prompt.spoken()]
        if not self.templated:
            return "\n\n".join(message["content"] for message in spoken)
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

    @property
    def digest(self) -> str:
        """Of everything that decides the prompt's tokens besides the vocabulary."""
        template = self.tokenizer.chat_template if self.templated else None
        told = repr((template, sorted(self.options.items())))
        return hashlib.sha256(told.encode()).hexdigest()


def _spoken(message: Message) -> dict[str, str]:
    parts = message.content if isinstance(message.content, tuple) else (message.content,)
    for part in parts:
        if not isinstance(part, str):
            raise Unspeakable(
                f"a text model cannot read a {type(part).__name__} in a {message.speaker}'s message"
            )
    return {"role": message.speaker, "content": "\n".join(parts)}
