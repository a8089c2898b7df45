"""From where a model lies to a model that can be asked, and back to disk."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from harness.errors import ModelError, UsageError
from trainers.text import files
from trainers.text.chat import Chat
from trainers.text.layout import Places
from trainers.text.origin import OURS, Origin, find
from trainers.text.settings import TextSettings

if TYPE_CHECKING:
    from peft import PeftModel
    from torch import Tensor
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

Family = Literal["text", "vision"]


@dataclass(frozen=True)
class Loaded:
    """A model in memory, and where it came from."""

    spec: str
    origin: Origin
    model: PreTrainedModel
    """The causal model; adapter layers, if any, stand inside it."""
    chat: Chat
    ends: frozenset[int]
    """Tokens that end an answer."""
    peft: PeftModel | None = None
    """The same model in its adapter's wrapping."""
    family: Family = "text"
    places: Places | None = None
    """Where tokens stand, if not one after the other."""


def load(spec: str, settings: TextSettings, family: Family = "text") -> Loaded:
    """The model that a spec names, on its device, in evaluation mode; one of `vision` sees."""
    from trainers.text.attention import use_ours

    origin = find(spec, settings)
    if origin.folder is None:
        model, tokenizer = _made(settings, family)
    else:
        model, tokenizer = _read(origin, origin.folder, settings, family)
    if settings.sharding == "none":  # else every layer goes to its device as it is spread
        model.to(device_name(settings.device))  # type: ignore[arg-type]
    use_ours(model.eval())
    _hasten(model, settings)
    options = dict(settings.chat_options)
    if settings.thinking is not None:
        options["enable_thinking"] = settings.thinking
    eye, places = None, None
    if family == "vision":
        from trainers.vision.opening import opened

        eye, places = opened(model, tokenizer, origin.folder)
    chat = Chat(tokenizer, _context(model, tokenizer), settings.chat, options, eye)
    peft = None
    if origin.adapter is not None or settings.adapter is not None:
        from trainers.text import adapter

        if origin.adapter is not None:
            adapter.check_vocabulary(origin.adapter, tokenizer, model)
            peft = adapter.put_on(model, origin.adapter)
        elif settings.adapter is not None:
            peft = adapter.fresh(model, settings.adapter, settings.seed)
    ends = _ends(model, tokenizer)
    return Loaded(spec, origin, model, chat, ends, peft, family, places)


def _hasten(model: PreTrainedModel, settings: TextSettings) -> None:
    if settings.kernels == "torch" and not settings.compiled:
        return
    from trainers.text.kernels import compile_layers, use_liger

    if settings.kernels == "liger":
        use_liger(model)
    if settings.compiled:
        compile_layers(model)


def _made(
    settings: TextSettings, family: Family
) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    import torch

    if family == "vision":
        from trainers.policies.tiny_vision import tiny_model, tiny_tokenizer
    else:
        from trainers.policies.tiny_text import tiny_model, tiny_tokenizer

    model = tiny_model(settings.seed)
    if settings.dtype != "auto":
        model = model.to(getattr(torch, settings.dtype))
    return model, tiny_tokenizer()


def _read(
    origin: Origin, folder: Path, settings: TextSettings, family: Family
) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    opener: Any = AutoModelForCausalLM
    if family == "vision":
        from trainers.vision.opening import opener_for

        opener = opener_for(origin, folder)
    where: dict[str, Any] = {
        "trust_remote_code": settings.trust_remote_code,
        "local_files_only": True,
    }
    if origin.gguf is not None:
        where["gguf_file"] = origin.gguf.name
    pickled = any(file.match(kind) for file in origin.weights[:1] for kind in files.PICKLED)
    try:
        with quiet():
            tokenizer = AutoTokenizer.from_pretrained(folder, padding_side="left", **where)
            model, report = opener.from_pretrained(
                folder,
                dtype=settings.dtype,
                use_safetensors=not pickled and origin.gguf is None,
                output_loading_info=True,
                **where,
            )
    except Exception as error:  # a broken or foreign checkpoint makes transformers raise anything
        raise ModelError(_unreadable(origin, error)) from error
    lost = [*report["missing_keys"], *report["mismatched_keys"]]
    if lost:
        raise ModelError(
            f"{origin.weights[0]} lacks {len(lost)} of the weights of a {type(model).__name__}, "
            f"such as {sorted(map(str, lost))[0]}; {files.AGAIN}"
        )
    if origin.gguf is not None:
        from trainers.text.gguf import as_checkpoint, mend_tokenizer

        as_checkpoint(model)
        mend_tokenizer(tokenizer, origin.gguf)
    return model, tokenizer


@contextmanager
def quiet() -> Iterator[None]:
    """Without the progress bars that transformers draws over ours."""
    from transformers.utils import logging

    shown = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            logging.enable_progress_bar()


def _unreadable(origin: Origin, error: Exception) -> str:
    reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
    would = "check that the folder is complete and its architecture known to transformers"
    if "trust_remote_code" in str(error):
        reason = "it brings its own program"
        would = "read that program, and if you trust it add --trust-remote-code"
    return f"{origin.gguf or origin.folder} cannot be opened: {reason}; {would}"


def device_name(name: str) -> str:
    """The device that a setting means: `auto` is the first accelerator, or the processor."""
    import torch

    if name != "auto":
        return _there(name)
    if torch.cuda.is_available():
        return "cuda"
    return "mps" if torch.backends.mps.is_available() else "cpu"


def _there(name: str) -> str:
    """The device, if this machine has it and this torch can use it; UsageError."""
    import torch

    try:
        torch.empty(0, device=name)
    except Exception as error:  # a driver, a build and a name each have their own
        why = str(error).splitlines()[0] if str(error) else type(error).__name__
        told = f"no device {name} here: {why[:200]}. Give auto, cpu, or a card of this machine"
        raise UsageError(told) from error
    return name


def _context(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> int:
    config = model.config.get_text_config()
    known = [getattr(config, "max_position_embeddings", None), tokenizer.model_max_length]
    rooms = [int(room) for room in known if isinstance(room, int) and 0 < room < 1e9]
    return min(rooms, default=2048)


def _ends(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> frozenset[int]:
    config = model.generation_config
    given = [tokenizer.eos_token_id, config.eos_token_id if config is not None else None]
    ends: set[int] = set()
    for each in given:
        ends.update(each if isinstance(each, list) else [] if each is None else [each])
    return frozenset(ends)


def save(loaded: Loaded, path: Path, state: Mapping[str, Tensor] | None = None) -> None:
    """Write a checkpoint folder, or only the adapter where there is one.

    `state` is what to write where the model itself holds only a part of it.
    """
    path.mkdir(parents=True, exist_ok=True)
    given: dict[str, Any] = {} if state is None else {"state_dict": dict(state)}
    if loaded.peft is None:
        with quiet():
            loaded.model.save_pretrained(path, **given)
    else:
        loaded.peft.save_pretrained(str(path), save_embedding_layers=False, **given)
        note = {"base": loaded.spec, "folder": str(loaded.origin.folder)}
        if loaded.origin.adapter is not None:
            note = files.read_json(loaded.origin.adapter / OURS)
        (path / OURS).write_text(json.dumps(note, indent=1), "utf-8")
    loaded.chat.tokenizer.save_pretrained(path)
    if loaded.chat.eye is not None and loaded.peft is None:
        loaded.chat.eye.save(path)


def describe(loaded: Loaded, settings: TextSettings, *, changed: bool) -> Mapping[str, Any]:
    """Weights, engine, precision, template: what decides an answer besides the sampling."""
    import platform

    import torch
    import transformers

    from trainers.cards import described

    cache = settings.cache or files.user_cache()
    told: dict[str, Any] = {
        "engine": "grpo-harness decode",
        "versions": {"torch": str(torch.__version__), "transformers": transformers.__version__},
        "architecture": type(loaded.model).__name__,
        "parameters": sum(weight.numel() for weight in loaded.model.parameters()),
        "revision": loaded.origin.revision,
        "dtype": str(loaded.model.dtype).removeprefix("torch."),
        "sample_dtype": settings.sample_dtype or str(loaded.model.dtype).removeprefix("torch."),
        "autocast": "bfloat16" if settings.autocast else None,
        "device": str(loaded.model.device),
        "threads": torch.get_num_threads(),
        "matmul_precision": torch.get_float32_matmul_precision(),
        "processor": f"{platform.machine()} {torch.backends.cpu.get_cpu_capability()}",
        "context": loaded.chat.context,
        "chat_template": loaded.chat.digest if loaded.chat.templated else None,
        "adapter": asdict(settings.adapter) if settings.adapter is not None else None,
    }
    told |= described(loaded.model.device)
    if loaded.chat.eye is not None:
        told["images"] = loaded.chat.eye.describe()
    changed_kernels = {"kernels": settings.kernels, "compiled": settings.compiled}
    if changed_kernels != {"kernels": "torch", "compiled": False}:
        told |= changed_kernels
    if settings.sharding != "none":
        told["sharding"] = settings.sharding
    if changed or not loaded.origin.weights:
        told["weights"] = {"in memory": state_digest(loaded.model)}
    else:
        told["weights"] = {
            file.name: files.known_sha256(file, cache) for file in loaded.origin.weights
        }
    return told


def state_digest(model: PreTrainedModel) -> str:
    """sha256 over names and bytes of all weights."""
    import torch

    from trainers.shards import whole

    digest = hashlib.sha256()
    for name, weight in sorted(model.state_dict().items()):
        digest.update(name.encode())
        flat = whole(weight.detach()).cpu().contiguous().flatten()
        digest.update(flat.view(torch.uint8).numpy().data)
    return digest.hexdigest()
