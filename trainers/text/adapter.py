"""Low-rank adapters through peft: a fresh one to learn, or a stored one to go on with."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import TYPE_CHECKING

from harness.errors import ModelError, UsageError, need
from trainers.text import files
from trainers.text.settings import LoRA

if TYPE_CHECKING:
    from peft import PeftModel
    from transformers import PreTrainedModel, PreTrainedTokenizerBase


def fresh(model: PreTrainedModel, settings: LoRA, seed: int) -> PeftModel:
    """The model with a new adapter that changes nothing yet; only the adapter learns."""
    import torch

    peft = need("peft", "train", "an adapter")
    targets = settings.targets if isinstance(settings.targets, str) else list(settings.targets)
    config = peft.LoraConfig(
        r=settings.rank,
        lora_alpha=settings.alpha,
        lora_dropout=settings.dropout,
        target_modules=targets,
        task_type="CAUSAL_LM",
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        try:
            with warnings.catch_warnings():
                # peft asks transformers for things under names that are about to go
                warnings.simplefilter("ignore", FutureWarning)
                return peft.get_peft_model(model, config).eval()
        except ValueError as error:
            raise UsageError(f"no adapter fits on this model: {error}") from error


def put_on(model: PreTrainedModel, folder: Path) -> PeftModel:
    """The model with a stored adapter, which may learn on; ModelError if it is for another."""
    peft = need("peft", "train", "an adapter")
    stored = _shapes(folder)
    try:
        with warnings.catch_warnings():
            # a missing key is no error to peft; we count the keys ourselves below
            warnings.simplefilter("ignore")
            adapted = peft.PeftModel.from_pretrained(model, str(folder), is_trainable=True)
    except (ValueError, RuntimeError, KeyError, TypeError) as error:
        reason = str(error).strip().splitlines()[0]
        raise ModelError(_foreign(folder, model, reason)) from error
    state = peft.get_peft_model_state_dict(adapted)
    if stored is not None and stored != {name: list(held.shape) for name, held in state.items()}:
        odd = sorted(set(stored) ^ set(state)) or ["the shapes"]
        raise ModelError(_foreign(folder, model, f"{odd[0]} differs"))
    return adapted.eval()


def check_vocabulary(
    folder: Path, tokenizer: PreTrainedTokenizerBase, model: PreTrainedModel
) -> None:
    """ModelError where the adapter was learned on other tokens than those of its base.

    Its layers may fit all the same: then every token would stand for another, without a word.
    """
    if not any((folder / name).exists() for name in ("tokenizer.json", "tokenizer_config.json")):
        return
    from transformers import AutoTokenizer

    own: dict[str, int] = AutoTokenizer.from_pretrained(folder, local_files_only=True).get_vocab()
    base: dict[str, int] = tokenizer.get_vocab()
    odd = sorted(token for token, number in own.items() if base.get(token) != number)
    rows = int(model.get_input_embeddings().weight.size(0))  # pyright: ignore[reportCallIssue]
    if odd or max(own.values(), default=0) >= rows:
        which = (
            f"{odd[0]!r} is token {own[odd[0]]} there and {base.get(odd[0])} here" if odd else ""
        )
        reason = f"its vocabulary has {len(own)} tokens, the base's {len(base)} in {rows} rows"
        raise ModelError(_foreign(folder, model, f"{reason}; {which}" if which else reason))


def _shapes(folder: Path) -> dict[str, list[int]] | None:
    from safetensors import safe_open

    (file,) = files.weight_files(folder, "adapter_model", allow_pickle=True)
    if file.suffix != ".safetensors":
        return None
    with safe_open(file, framework="pt") as opened:
        return {name: list(opened.get_slice(name).get_shape()) for name in opened.keys()}  # noqa: SIM118


def _foreign(folder: Path, model: PreTrainedModel, reason: str) -> str:
    return (
        f"the adapter {folder} was made for another base than {type(model).__name__} "
        f"'{model.config.name_or_path}' ({reason}); give the base it was learned on with base="
    )
