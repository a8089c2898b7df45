"""Text of single tokens: what each token added to the text, also where it split a character."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

BROKEN = "�"
"""What decoders write for bytes that are no character (yet)."""
LONGEST = 4
"""Tokens that one character may be spread over (UTF-8 has four bytes at most)."""


class Pieces:
    """Decodes token by token: `add` gives the text that the token completed.

    A token that ends inside a character gives "" and the one that completes it the whole, so the
    pieces of a completion joined are its decoded text.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase) -> None:
        self.tokenizer = tokenizer
        self.ids: list[int] = []
        self.given = 0
        """Tokens before this one have given their text."""

    def add(self, token: int) -> str:
        """The text that this token adds."""
        self.ids.append(token)
        # two tokens of context: some decoders treat the first token of a text in another way
        start = max(0, self.given - 2)
        before = text(self.tokenizer, self.ids[start : self.given])
        after = text(self.tokenizer, self.ids[start:])
        if after.endswith(BROKEN) and len(self.ids) - self.given < LONGEST:
            return ""
        self.given = len(self.ids)
        return after[len(before) :]

    def rest(self) -> str:
        """What is left when no token follows: the broken end of a cut character."""
        start = max(0, self.given - 2)
        before = text(self.tokenizer, self.ids[start : self.given])
        self.given = len(self.ids)
        return text(self.tokenizer, self.ids[start:])[len(before) :]


def text(tokenizer: PreTrainedTokenizerBase, ids: Sequence[int]) -> str:
    """The text of the tokens, without special ones, spaces as they are."""
    decoded = tokenizer.decode(
        list(ids), skip_special_tokens=True, clean_up_tokenization_spaces=False
    )
    assert isinstance(decoded, str)
    return decoded


def pieces(tokenizer: PreTrainedTokenizerBase, ids: Sequence[int]) -> tuple[str, ...]:
    """The text that each token adds; joined, the decoded text."""
    reader = Pieces(tokenizer)
    found = [reader.add(token) for token in ids]
    if found:
        found[-1] += reader.rest()
    return tuple(found)


class Stop:
    """Told each token of one answer; says whether a stop string is complete."""

    def __init__(
        self, tokenizer: PreTrainedTokenizerBase, stops: Sequence[str], kept: Sequence[int] = ()
    ) -> None:
        self.reader = Pieces(tokenizer)
        self.stops = [stop for stop in stops if stop]
        self.longest = max(map(len, self.stops), default=0)
        self.tail = ""
        for token in kept:
            self._read(token)

    def __call__(self, token: int) -> bool:
        """Whether this token completed one."""
        new = self._read(token)
        return any(stop in new for stop in self.stops)

    def _read(self, token: int) -> str:
        """What is new, with enough before it to see a stop string that began earlier."""
        new = self.tail + self.reader.add(token)
        self.tail = new[max(0, len(new) - self.longest + 1) :] if self.longest > 1 else ""
        return new


def cut(written: str, stops: Sequence[str]) -> str:
    """The text before the first stop string."""
    ends = [place for stop in stops if stop and (place := written.find(stop)) >= 0]
    return written[: min(ends)] if ends else written
