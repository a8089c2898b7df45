"""What a text model's name means: our own two, a file, a folder, or a repository of the hub."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from pathlib import Path

from harness.errors import ModelError
from trainers.text import files
from trainers.text.settings import TextSettings

OURS = "harness.json"
"""Beside a saved adapter: what its base is called here."""
WANTED = ("*.safetensors", "*.json", "*.jinja", "*.model", "*.txt", "*.tiktoken")
KINDS = "tiny, smollm2, a folder, a FILE.gguf, or a hub name such as Qwen/Qwen2.5-0.5B-Instruct"


@dataclass(frozen=True)
class Origin:
    """Where a model lies."""

    folder: Path | None
    """None: `tiny`, which is made in memory."""
    weights: tuple[Path, ...] = ()
    """The files that hold the weights, all whole; the adapter's come last."""
    gguf: Path | None = None
    revision: str = ""
    adapter: Path | None = None


def find(spec: str, settings: TextSettings) -> Origin:
    """Where the model of that name lies, fetched or converted if need be."""
    if spec == "tiny":
        return Origin(None)
    if spec == "smollm2":
        from trainers.policies.smollm2 import checkpoint

        folder = checkpoint(settings.cache or files.user_cache())
        return Origin(folder, (folder / "model.safetensors",), revision=folder.name)
    path = Path(spec).expanduser()
    if spec.endswith(".gguf"):
        if not path.is_file():
            raise ModelError(f"no file {path}; give the path of a GGUF file, or {KINDS}")
        return Origin(path.parent, (path,), gguf=path)
    if path.is_dir():
        return in_folder(path, "", settings)
    if re.fullmatch(r"[\w.-]+/[\w.-]+(@[\w./-]+)?", spec) and not spec.startswith("."):
        return _on_hub(spec, settings)
    raise ModelError(f"no model {path}; give {KINDS}")


def in_folder(folder: Path, revision: str, settings: TextSettings) -> Origin:
    """A checkpoint, or an adapter with the base that it names."""
    pickle = settings.allow_pickle
    if not (folder / "adapter_config.json").is_file():
        files.read_json(folder / "config.json")
        found = files.weight_files(folder, allow_pickle=pickle)
        return Origin(folder, tuple(found), revision=revision)
    named = files.read_json(folder / "adapter_config.json").get("base_model_name_or_path")
    if (folder / OURS).is_file():
        named = files.read_json(folder / OURS).get("base") or named
    base = settings.base or named
    if not base:
        raise ModelError(f"{folder}/adapter_config.json names no base model; give one with base=")
    added = files.weight_files(folder, "adapter_model", allow_pickle=pickle)
    try:
        origin = find(str(base), replace(settings, base=None))
    except ModelError as error:
        raise ModelError(
            f"the base of adapter {folder} is '{base}', and that cannot be opened: {error}"
        ) from error
    if origin.adapter is not None:
        raise ModelError(f"{base}, the base of adapter {folder}, is an adapter itself; merge it")
    return replace(origin, adapter=folder, weights=(*origin.weights, *added))


def _on_hub(spec: str, settings: TextSettings) -> Origin:
    from huggingface_hub import snapshot_download

    repository, _, revision = spec.partition("@")
    wanted = [*WANTED, *(files.PICKLED if settings.allow_pickle else ())]
    wanted += ["*.py"] if settings.trust_remote_code else []
    try:
        folder = Path(
            snapshot_download(repository, revision=revision or None, allow_patterns=wanted)
        )
    except Exception as error:  # the hub's client raises its own, httpx's and the system's
        raise ModelError(
            f"{repository}{f' at {revision}' if revision else ''} could not be fetched from the "
            f"hub ({type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}). "
            f"Check the name and the network, or give {KINDS}"
        ) from error
    return in_folder(folder, folder.name, settings)
